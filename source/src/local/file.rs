//! An open regular file.

use std::ops::Deref;

use rustix::fd::OwnedFd;
use rustix::fs::fstat;
use rustix::io::{pread, retry_on_intr};

use crate::{File, SourceError};

use super::fs_kind::FsKind;

/// A regular file of a kernel's file system.
#[derive(Debug)]
pub(super) struct LocalFile {
    fd: OwnedFd,
    fs: FsKind,
}

impl LocalFile {
    pub(super) fn new(fd: OwnedFd, fs: FsKind) -> Self {
        Self { fd, fs }
    }
}

impl File for LocalFile {
    fn size(&self) -> Result<u64, SourceError> {
        let stat = fstat(&self.fd)?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0)) // negative only from a broken file system
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, SourceError> {
        Ok(retry_on_intr(|| pread(&self.fd, &mut *buf, offset))?)
    }

    fn map(&self) -> Option<Map> {
        if self.fs != FsKind::Local || self.size().ok()? == 0 {
            return None;
        }
        Map::new(&self.fd)
    }
}

/// A file in memory.
///
/// What the caller has to accept: while a file is mapped, somebody may change it. The bytes then
/// change under the reader, as they may between two reads, and nothing in a search depends on their
/// staying the same. If the file is made shorter, touching what was cut off kills the process with
/// SIGBUS. That is why files are only mapped where no other machine can change them, and why a daemon
/// that must live through a truncation by its own machine's programs reads instead of mapping.
#[derive(Debug)]
pub struct Map(memmap2::Mmap);

impl Map {
    #[expect(
        unsafe_code,
        reason = "mapping a file is unsafe in Rust; the contract is accepted in the comment of Map"
    )]
    fn new(fd: &OwnedFd) -> Option<Self> {
        // SAFETY: the map is private to us, read only, and handed out as bytes without any invariant;
        // see above for a file that is changed meanwhile.
        unsafe { memmap2::Mmap::map(fd) }.ok().map(Self)
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
