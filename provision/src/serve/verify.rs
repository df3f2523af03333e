//! Whether artifacts on the master's disk are what was built. A node verifies its packed root itself; what loads its kernel
//! and its initramfs verifies nothing, so they are verified here before they are handed out over HTTP: once for each file,
//! as long as the file stays the same.
//!
//! What the signed GRUB loads comes from dnsmasq, over TFTP, and nobody can hold it back. So all that loaders load is read
//! when a generation is loaded, and the status tells what is damaged.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::store::Digest;

/// The files of which it is remembered whether they are right. Each generation has a few.
const MAX_REMEMBERED: usize = 256;

/// What tells that a file is still the one that was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Version {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// The digest of a file, once it was read.
type Found = Arc<OnceCell<Digest>>;

/// What is known of files.
#[derive(Debug, Default)]
pub(super) struct Verified {
    files: Mutex<HashMap<(Digest, Version), Found>>,
}

impl Verified {
    /// The digest of an open file that is to have this one. Whoever asks while it is read waits for the same reading.
    pub(super) async fn digest(&self, digest: Digest, file: &File) -> io::Result<Digest> {
        let metadata = file.metadata()?;
        let version = Version {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        };
        let cell = {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            if files.len() >= MAX_REMEMBERED && !files.contains_key(&(digest, version)) {
                files.clear();
            }
            Arc::clone(files.entry((digest, version)).or_default())
        };
        let read = || async {
            let file = file.try_clone()?;
            // It was opened for one request, which has read nothing of it.
            let read = tokio::task::spawn_blocking(move || Digest::of_reader(&file));
            let (found, _) = read.await.map_err(io::Error::other)??;
            Ok(found)
        };
        cell.get_or_try_init(read).await.copied()
    }
}
