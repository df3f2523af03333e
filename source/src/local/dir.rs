//! An open directory: the hot path.

use std::cell::RefCell;
use std::ffi::CStr;
use std::sync::{Mutex, PoisonError};

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, fstat, openat, openat2, seek,
    statat,
};
use rustix::io::{Errno, pread, read, retry_on_intr};

use crate::listing::SliceFill;
use crate::{
    Dir, EntryKind, Links, Listing, NameSlice, Opened, Read, ReadBuf, Source, SourceError,
};

use super::file::LocalFile;
use super::fs_kind::FsKind;
use super::resolve::{self, OpenError};
use super::{FILE_FLAGS, LocalSource};

/// What one `getdents64` may fill, in bytes: about 2000 entries. On NFS it is also how much one
/// READDIR asks for.
const DIRENTS_BYTES: usize = 64 << 10;

thread_local! {
    static DIRENTS: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(DIRENTS_BYTES));
}

/// A directory of a kernel's file system.
#[derive(Debug)]
pub(super) struct LocalDir {
    fd: OwnedFd,
    /// Device and inode number.
    identity: (u64, u64),
    fs: FsKind,
    source: LocalSource,
    /// Absolute; empty when the source is not restricted.
    path: Vec<u8>,
    /// Whether the descriptor's position has moved. Held while it is in use.
    listed: Mutex<bool>,
}

impl LocalDir {
    pub(super) fn new(
        fd: OwnedFd,
        identity: (u64, u64),
        fs: FsKind,
        source: LocalSource,
        path: Vec<u8>,
    ) -> Self {
        Self {
            fd,
            identity,
            fs,
            source,
            path,
            listed: Mutex::new(false),
        }
    }

    fn child_path(&self, name: &CStr) -> Vec<u8> {
        let mut path = self.path.clone();
        path.push(b'/');
        path.extend_from_slice(name.to_bytes());
        path
    }

    /// Opens an entry, following it within the roots.
    fn open_following(&self, name: &CStr, flags: OFlags) -> Result<OwnedFd, OpenError> {
        if !self.source.roots.are_restricted() {
            return open_at(&self.fd, name, flags);
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let opened = retry_on_intr(|| openat2(&self.fd, name, flags, Mode::empty(), resolve));
        match opened {
            Ok(fd) => Ok(fd),
            // It leads up or elsewhere; whether to a root is to be seen.
            Err(Errno::XDEV | Errno::NOSYS | Errno::PERM | Errno::AGAIN) => {
                resolve::open_slowly(&self.source.roots, &self.child_path(name), flags)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn entry_kind(&self, name: &CStr, file_type: FileType) -> EntryKind {
        match file_type {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Dir,
            FileType::Symlink => EntryKind::Symlink,
            FileType::Unknown => {
                match retry_on_intr(|| statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)) {
                    Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                        FileType::Unknown => EntryKind::Special,
                        known => self.entry_kind(name, known),
                    },
                    // Reading it will meet the same error, and report it.
                    Err(_) => EntryKind::File,
                }
            }
            _ => EntryKind::Special,
        }
    }

    fn list_from_here(&self, fill: &mut SliceFill<'_>) -> Result<(), Errno> {
        DIRENTS.with_borrow_mut(|dirents| {
            let mut entries = RawDir::new(&self.fd, dirents.spare_capacity_mut());
            while let Some(entry) = entries.next() {
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(Errno::INTR) => continue,
                    Err(errno) => return Err(errno),
                };
                let name = entry.file_name();
                if !matches!(name.to_bytes(), b"." | b"..") {
                    let kind = || self.entry_kind(name, entry.file_type());
                    fill.offer(name, entry.ino(), kind);
                }
            }
            Ok(())
        })
    }

    /// A file whose first read filled the buffer.
    fn longer(&self, fd: OwnedFd, filled: usize) -> Result<Read, SourceError> {
        check_is_file(&fd)?;
        let mut next = [0];
        if retry_on_intr(|| pread(&fd, &mut next, filled as u64))? == 0 {
            return Ok(Read::Whole(filled));
        }
        Ok(Read::Longer(Box::new(LocalFile::new(fd, self.fs))))
    }
}

impl Dir for LocalDir {
    fn list(
        &self,
        slice: NameSlice,
        max_bytes: usize,
        out: &mut Listing,
    ) -> Result<NameSlice, SourceError> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if *listed {
            seek(&self.fd, SeekFrom::Start(0))?;
        }
        *listed = true;
        let mut fill = SliceFill::new(out, slice, max_bytes);
        self.list_from_here(&mut fill)?;
        Ok(fill.finish())
    }

    fn read(&self, name: &CStr, buf: &mut ReadBuf) -> Result<Read, SourceError> {
        check_name(name)?;
        let flags = FILE_FLAGS | OFlags::NOFOLLOW;
        let fd =
            retry_on_intr(|| openat(&self.fd, name, flags, Mode::empty())).map_err(read_error)?;
        let space = buf.space();
        let mut filled = 0;
        while filled < space.len() {
            let got = retry_on_intr(|| read(&fd, &mut space[filled..])).map_err(read_error)?;
            filled += got;
            if got == 0 || (filled < space.len() && self.fs.short_read_is_end()) {
                if filled == 0 {
                    check_is_file(&fd)?; // a FIFO, too, has nothing to read
                }
                return Ok(Read::Whole(filled));
            }
        }
        self.longer(fd, filled)
    }

    fn open_child(&self, name: &CStr, links: Links) -> Result<Opened, SourceError> {
        check_name(name)?;
        let open = |flags| match links {
            Links::Refuse => open_at(&self.fd, name, flags),
            Links::Follow => self.open_following(name, flags),
        };
        let path = || self.child_path(name);
        self.source.classify(open, links, path)
    }

    fn file_size(&self, name: &CStr, links: Links) -> Result<u64, SourceError> {
        check_name(name)?;
        let stat = match links {
            Links::Refuse => retry_on_intr(|| statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW))?,
            Links::Follow => fstat(self.open_following(name, super::LOOK_FLAGS)?)?,
        };
        Ok(u64::try_from(stat.st_size).unwrap_or(0)) // negative only from a broken file system
    }

    fn identity(&self) -> Result<(u64, u64), SourceError> {
        Ok(self.identity)
    }

    fn source(&self) -> &dyn Source {
        &self.source
    }
}

fn open_at(dir: &OwnedFd, name: &CStr, flags: OFlags) -> Result<OwnedFd, OpenError> {
    Ok(retry_on_intr(|| openat(dir, name, flags, Mode::empty()))?)
}

/// Refuses what is not a single name: with `O_NOFOLLOW`, that is all that keeps a directory from
/// being left.
fn check_name(name: &CStr) -> Result<(), SourceError> {
    let name = name.to_bytes();
    if name.contains(&b'/') || matches!(name, b"" | b"." | b"..") {
        return Err(SourceError::outside_roots());
    }
    Ok(())
}

fn check_is_file(fd: &OwnedFd) -> Result<(), SourceError> {
    match FileType::from_raw_mode(fstat(fd)?.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(not_a_file_any_more()),
    }
}

fn read_error(errno: Errno) -> SourceError {
    match errno {
        Errno::LOOP => SourceError::changed("it has become a symbolic link"),
        Errno::ISDIR => SourceError::changed("it has become a directory"),
        Errno::NXIO | Errno::AGAIN => not_a_file_any_more(),
        errno => errno.into(),
    }
}

fn not_a_file_any_more() -> SourceError {
    SourceError::changed("it is not a regular file any more")
}
