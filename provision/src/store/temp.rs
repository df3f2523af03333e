//! Work that is not finished: directories in `tmp/`, each locked by the process that uses it.
//!
//! The kernel gives the lock back when the process dies, however it dies. So a directory that
//! nobody has locked was left by somebody who was killed, and is removed.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use super::StoreError;

/// A directory of mode 0700 in the store's `tmp/`; on the store's own file system, so that
/// what is made in it can be renamed into place. Removed when it goes out of scope.
#[derive(Debug)]
pub struct Temp {
    path: PathBuf,
    /// Its lock says that somebody lives.
    _lock: File,
}

impl Temp {
    /// Makes one. `purpose` is for people who look.
    pub(super) fn make(parent: &Path, purpose: &str) -> Result<Self, StoreError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{purpose}.{}.{count}", process::id()));
            let failed = |error| StoreError::io("make the directory", &path, error);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                // Of a process that had our number once.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(failed(error)),
            }
            let Ok(lock) = File::open(&path) else {
                continue;
            };
            // Between the two calls a sweep may have taken it for something left behind.
            if lock.try_lock().is_ok() && is_still(&path, &lock) {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next writer.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Whether the path still names what is open.
fn is_still(path: &Path, open: &File) -> bool {
    let (Ok(named), Ok(opened)) = (fs::symlink_metadata(path), open.metadata()) else {
        return false;
    };
    (named.dev(), named.ino()) == (opened.dev(), opened.ino())
}

/// Removes what nobody holds a lock on.
pub(super) fn sweep(parent: &Path) -> Result<(), StoreError> {
    for name in super::list(parent)? {
        let path = parent.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(StoreError::io("open", &path, error)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &path, error)),
        }
        let is_directory = file.metadata().is_ok_and(|metadata| metadata.is_dir());
        let removed = if is_directory {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(StoreError::io("remove", &path, error));
            }
            _ => {}
        }
    }
    Ok(())
}
