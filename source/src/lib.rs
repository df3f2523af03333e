//! Files, and nothing of patterns: lists directories, reads files, and says which of them a job is
//! about.
//!
//! A [`Source`] is a kind of file system. [`LocalSource`] is the kernel's, with whatever is mounted
//! there; one that speaks NFS itself will come, so nothing outside it assumes a descriptor. The traits
//! are cut for the one path where the time goes, a great many small files:
//!
//! - a directory is opened once and lists itself into a reused, packed [`Listing`], which knows what
//!   each entry is, so nothing is asked about a file before it is opened;
//! - [`Dir::read`] opens a file relative to its directory and reads it with one read into a reused
//!   [`ReadBuf`]. A read that does not fill the buffer ends the file, and a file that does fill it is
//!   thereby found to be large: it comes back as a [`File`], to be read in pieces;
//! - a directory too large for memory, or for one worker, is cut by the hash of its names into
//!   [`NameSlice`]s, so that a part of it can be handed on without naming anything.
//!
//! [`Filter`] decides about each entry as ripgrep does (globs, file types, hidden names, ignore
//! files), but with our own walk: the caller carries a [`Scope`] from directory to directory.
//!
//! What this crate does not do: it starts no threads, keeps no state between calls beside open
//! directories, and knows neither jobs nor the wire. Every call may block, as file systems do.
//!
//! Invariants:
//! - a source with roots never opens anything outside them, whatever the names and links are;
//! - nothing but directories and regular files is ever opened for reading: opening a FIFO or a
//!   device can block or act;
//! - an error is returned, never swallowed: each entry is read, skipped with a reason, or failed.

mod buffer;
mod error;
mod filter;
mod listing;
mod local;
mod name_hash;

use std::ffi::CStr;
use std::fmt;

pub use buffer::{READ_BUFFER_BYTES, ReadBuf};
pub use error::{ErrorKind, SourceError};
pub use filter::{
    Filter, FilterError, FilterSpec, GlobSpec, MAX_IGNORE_FILE_BYTES, MAX_NOTES, Scope, SkipReason,
    TypeSpec, Verdict, type_list,
};
pub use listing::{Entry, EntryKind, Listing, MIN_LISTING_BYTES, SliceFill};
pub use local::{LocalSource, Map, Roots, RootsError};
pub use name_hash::{NameSlice, name_hash};

/// What is done about a symbolic link in the last component of a path. Links before it are always
/// followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Links {
    /// Open what it leads to.
    Follow,
    /// Answer [`Opened::Symlink`].
    Refuse,
}

/// What a path turned out to be.
#[derive(Debug)]
pub enum Opened {
    /// A directory.
    Dir(Box<dyn Dir>),
    /// A regular file.
    File(Box<dyn File>),
    /// A symbolic link; only with [`Links::Refuse`].
    Symlink,
    /// Something that is not opened.
    Special(SpecialKind),
}

/// What is never opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecialKind {
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A socket.
    Socket,
    /// A file or directory of `/proc` and its like, to a source with roots.
    KernelFs,
    /// A type that is not known here.
    Unknown,
}

impl fmt::Display for SpecialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fifo => "FIFO",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Socket => "socket",
            Self::KernelFs => "kernel file system",
            Self::Unknown => "unknown file type",
        })
    }
}

/// A kind of file system.
pub trait Source: Send + Sync + fmt::Debug {
    /// Opens an absolute path.
    fn open(&self, path: &[u8], links: Links) -> Result<Opened, SourceError>;

    /// The absolute path without symbolic links, `.` and `..`, of something that exists.
    fn canonical(&self, path: &[u8]) -> Result<Vec<u8>, SourceError>;
}

/// An open directory.
///
/// A name that is given to one is a single component; anything else is
/// [`OutsideRoots`](ErrorKind::OutsideRoots).
pub trait Dir: Send + Sync + fmt::Debug {
    /// Lists the entries whose name hash lies in `slice` into `out`, without `.` and `..`.
    ///
    /// When they do not fit into `max_bytes` (at least [`MIN_LISTING_BYTES`]), only the lower part
    /// of the slice is kept. Returns the slice really covered, which begins where `slice` does: `out`
    /// holds exactly the entries whose hash is in it, and the caller goes on behind its end.
    ///
    /// The entries are in order of their hash when the returned slice is not the one asked for; else
    /// in the order in which they are best read. [`Listing::sort_by_hash`] is for a caller that will
    /// cut the slice further.
    fn list(
        &self,
        slice: NameSlice,
        max_bytes: usize,
        out: &mut Listing,
    ) -> Result<NameSlice, SourceError>;

    /// Reads a regular file from its start: the whole of it when it fits into `buf`. Does not follow
    /// a symbolic link: that, and an entry that is no longer a file, is
    /// [`Changed`](ErrorKind::Changed).
    fn read(&self, name: &CStr, buf: &mut ReadBuf) -> Result<Read, SourceError>;

    /// Opens an entry.
    fn open_child(&self, name: &CStr, links: Links) -> Result<Opened, SourceError>;

    /// The size of a file in bytes, without opening it.
    fn file_size(&self, name: &CStr, links: Links) -> Result<u64, SourceError>;

    /// Device and inode number: two directories are the same when both are.
    fn identity(&self) -> Result<(u64, u64), SourceError>;

    /// The source that it is a directory of.
    fn source(&self) -> &dyn Source;
}

/// How [`Dir::read`] ended.
#[derive(Debug)]
pub enum Read {
    /// The file is this many bytes, at the start of the buffer.
    Whole(usize),
    /// The buffer is full of the file's first bytes, and the file goes on. The position of the file is
    /// undefined.
    Longer(Box<dyn File>),
}

/// An open regular file.
pub trait File: Send + Sync + fmt::Debug {
    /// Its size now, in bytes. Files of kernel file systems may say 0 and still have bytes.
    fn size(&self) -> Result<u64, SourceError>;

    /// Reads at a byte offset; 0 is the end of the file. Fewer bytes than fit say nothing.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, SourceError>;

    /// The file in memory, where that is safe enough: not on network file systems, see [`Map`].
    /// `None` as well when it is empty or mapping fails; the caller reads instead.
    fn map(&self) -> Option<Map>;
}
