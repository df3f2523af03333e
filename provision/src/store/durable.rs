//! Files that survive a power loss: written under another name, synced, renamed.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::{Digest, StoreError};

/// Writes a new file and syncs it. `path` must not exist.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
    let failed = |error| StoreError::io("write", path, error);
    let mut file = File::create_new(path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.set_permissions(Permissions::from_mode(mode))
        .map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// Moves something into its place, on the same file system, and syncs the place.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|error| StoreError::io("move something to", to, error))?;
    to.parent().map_or(Ok(()), sync_directory)
}

/// Makes two things that are there change places, on one file system, and syncs the second place. Tells whether it could: not every
/// file system can.
pub(super) fn exchange(one: &Path, other: &Path) -> Result<bool, StoreError> {
    match rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => return Ok(false),
        Err(error) => return Err(StoreError::io("move something to", other, error.into())),
    }
    other.parent().map_or(Ok(()), sync_directory)?;
    Ok(true)
}

/// Makes the names in a directory survive a power loss.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| StoreError::io("sync", path, error))
}

/// Makes everything on the file system of a directory survive a power loss: quicker than
/// file by file, where there are many.
pub(super) fn sync_all_of(path: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::io("sync the file system of", path, error);
    let directory = File::open(path).map_err(failed)?;
    rustix::fs::syncfs(&directory).map_err(|error| failed(error.into()))
}

/// The digest and size of a file.
pub(super) fn digest_of(path: &Path) -> Result<(Digest, u64), StoreError> {
    File::open(path)
        .and_then(Digest::of_reader)
        .map_err(|error| StoreError::io("read", path, error))
}

/// Reads a whole file, if it is not larger than that.
pub(super) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, StoreError> {
    let failed = |error| StoreError::io("read", path, error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > limit {
        let path = path.to_owned();
        return Err(StoreError::TooLarge { path, limit });
    }
    Ok(bytes)
}
