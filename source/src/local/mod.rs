//! The kernel's file systems.
//!
//! [`Roots`] says what may be opened, `resolve` turns a path into a descriptor within them, `dir` and
//! `file` are the open things, `fs_kind` is what we have to know of a file system.
//!
//! Invariant: every descriptor of a restricted source was opened relative to a root, or to a
//! directory that was, by a single name or by `openat2` with `RESOLVE_BENEATH`.

mod dir;
mod file;
mod fs_kind;
mod resolve;
mod roots;

use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;

use crate::{Links, Opened, Source, SourceError, SpecialKind};

use dir::LocalDir;
use file::LocalFile;
use fs_kind::{FsKind, KnownKinds};
use resolve::OpenError;

pub use file::Map;
pub use roots::{Roots, RootsError};

/// A directory: the open of anything else fails before it has an effect.
const DIR_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// A regular file. `NONBLOCK` and `NOCTTY`: should it be a FIFO or a terminal by now, it neither
/// blocks nor becomes ours.
const FILE_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Whatever there is, without opening it.
const LOOK_FLAGS: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// The kernel's file systems, all of them or those below some roots.
#[derive(Debug, Clone)]
pub struct LocalSource {
    roots: Arc<Roots>,
    kinds: Arc<KnownKinds>,
}

impl LocalSource {
    /// A source that opens what `roots` allow.
    #[must_use]
    pub fn new(roots: Roots) -> Self {
        Self {
            roots: Arc::new(roots),
            kinds: Arc::default(),
        }
    }

    /// Opens what `open` leads to, after a look at what it is.
    ///
    /// `path` is where it is, for a restricted source.
    fn classify(
        &self,
        open: impl Fn(OFlags) -> Result<OwnedFd, OpenError>,
        links: Links,
        path: impl FnOnce() -> Vec<u8>,
    ) -> Result<Opened, SourceError> {
        let extra = match links {
            Links::Follow => OFlags::empty(),
            Links::Refuse => OFlags::NOFOLLOW,
        };
        // Most are directories, and this says so in one call, without opening anything else.
        match open(DIR_FLAGS | extra) {
            Ok(fd) => return self.opened_dir(fd, path),
            Err(OpenError::Os(Errno::NOTDIR)) => {}
            // A link in the last component, where the kernel reports it so, or a true loop.
            Err(OpenError::Os(Errno::LOOP)) if links == Links::Refuse => {}
            Err(error) => return Err(error.into()),
        }
        let stat = fstat(open(LOOK_FLAGS | extra)?)?;
        match special_kind(FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Symlink) => return Ok(Opened::Symlink),
            Ok(FileType::Directory) => {
                // It became one since the first call.
                return self.opened_dir(open(DIR_FLAGS | extra)?, path);
            }
            Ok(_) => {}
            Err(kind) => return Ok(Opened::Special(kind)),
        }
        let fd = open(FILE_FLAGS | extra)?;
        let stat = fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(SourceError::changed("changed its type while it was opened"));
        }
        let fs = self.kinds.of(stat.st_dev, &fd)?;
        if fs == FsKind::Kernel && self.roots.are_restricted() {
            return Ok(Opened::Special(SpecialKind::KernelFs));
        }
        Ok(Opened::File(Box::new(LocalFile::new(fd, fs))))
    }

    fn opened_dir(
        &self,
        fd: OwnedFd,
        path: impl FnOnce() -> Vec<u8>,
    ) -> Result<Opened, SourceError> {
        let stat = fstat(&fd)?;
        let fs = self.kinds.of(stat.st_dev, &fd)?;
        let restricted = self.roots.are_restricted();
        if fs == FsKind::Kernel && restricted {
            return Ok(Opened::Special(SpecialKind::KernelFs));
        }
        let path = if restricted { path() } else { Vec::new() };
        Ok(Opened::Dir(Box::new(LocalDir::new(
            fd,
            (stat.st_dev, stat.st_ino),
            fs,
            self.clone(),
            path,
        ))))
    }
}

impl Source for LocalSource {
    fn open(&self, path: &[u8], links: Links) -> Result<Opened, SourceError> {
        self.classify(
            |flags| resolve::open(&self.roots, path, flags),
            links,
            || path.to_vec(),
        )
    }

    fn canonical(&self, path: &[u8]) -> Result<Vec<u8>, SourceError> {
        Ok(resolve::canonical(&self.roots, path)?)
    }
}

/// A file type that may be looked at further, or the reason why not.
fn special_kind(file_type: FileType) -> Result<FileType, SpecialKind> {
    match file_type {
        FileType::RegularFile | FileType::Directory | FileType::Symlink => Ok(file_type),
        FileType::Fifo => Err(SpecialKind::Fifo),
        FileType::CharacterDevice => Err(SpecialKind::CharDevice),
        FileType::BlockDevice => Err(SpecialKind::BlockDevice),
        FileType::Socket => Err(SpecialKind::Socket),
        FileType::Unknown => Err(SpecialKind::Unknown),
    }
}
