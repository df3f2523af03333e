//! Unpacking tar archives, plain ones of a file system and layers of OCI images.
//!
//! Runs with the image's root as its root directory ([`super::inside`]), so a link of the archive leads
//! where it leads on the node. Owners, permissions, times and extended attributes are kept. Devices are left out: a node
//! has its own.
//!
//! In a layer, `.wh.NAME` removes what the layers below have as NAME, and `.wh..wh..opq` what they have
//! in its directory; what the layer itself brings stays, wherever the archive has it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tar::{Archive, Entry, EntryType};

/// The most entries of an archive.
const MAX_ENTRIES: u64 = 10_000_000;

/// The beginning of names that remove something.
const WHITEOUT: &[u8] = b".wh.";

/// The name that removes everything in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an archive was made into.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// Entries unpacked.
    pub(super) entries: u64,
    /// Devices and sockets left out.
    pub(super) left_out: u64,
    /// Paths removed by a layer.
    pub(super) removed: u64,
}

/// Unpacks into the root directory.
pub(super) fn unpack(archive: impl Read, layer: bool) -> anyhow::Result<Told> {
    let mut archive = Archive::new(archive);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(true);
    archive.set_unpack_xattrs(true);
    let mut told = Told::default();
    // Of this layer, so not to be removed by it.
    let mut ours: BTreeSet<PathBuf> = BTreeSet::new();
    // Directories may have no write permission: they are made right at the end.
    let mut directories = Vec::new();
    let mut seen = 0;
    for entry in archive.entries().context("not a tar archive")? {
        let mut entry = entry.context("the tar archive is damaged")?;
        seen += 1;
        if seen > MAX_ENTRIES {
            bail!("the archive has more than {MAX_ENTRIES} entries");
        }
        let path = entry.path().context("the tar archive is damaged")?;
        let Some(path) = clean(&path)? else {
            continue;
        };
        refuse_sparse(&mut entry, &path)?;
        let name = path.file_name().unwrap_or_default().as_bytes();
        if layer && name.starts_with(WHITEOUT) {
            told.removed += white_out(&path, name, &ours)?;
            continue;
        }
        if layer {
            ours.extend(path.ancestors().map(Path::to_owned));
        }
        match entry.header().entry_type() {
            EntryType::Block | EntryType::Char => {
                told.left_out += 1;
                continue;
            }
            EntryType::Fifo => {
                // No program of the image waits at one that nobody has made.
                told.left_out += 1;
                continue;
            }
            EntryType::XGlobalHeader => continue,
            EntryType::Directory => {
                make_directory(&path, layer)?;
                directories.push((path, entry));
                told.entries += 1;
                continue;
            }
            _ => {}
        }
        make_room(&path)?;
        entry
            .unpack_in("/")
            .with_context(|| format!("cannot unpack {}", path.display()))?;
        told.entries += 1;
    }
    // The deepest ones first, so that making one does not need permission in another.
    for (path, mut directory) in directories.into_iter().rev() {
        // A link keeps what it has, and so does what came later in its place.
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            continue;
        }
        directory
            .unpack_in("/")
            .context("cannot set what belongs to a directory")?;
    }
    if told.entries == 0 && told.removed == 0 && !layer {
        bail!("the archive is empty");
    }
    Ok(told)
}

/// What the archive holds of a sparse file of the posix format is not the file, but a map of it and what is between the holes;
/// and its path is not the file's.
fn refuse_sparse(entry: &mut Entry<'_, impl Read>, path: &Path) -> anyhow::Result<()> {
    let Some(extensions) = entry
        .pax_extensions()
        .context("the tar archive is damaged")?
    else {
        return Ok(());
    };
    let (mut is_sparse, mut name) = (false, path.display().to_string());
    for extension in extensions {
        let extension = extension.context("the tar archive is damaged")?;
        is_sparse |= extension.key_bytes().starts_with(b"GNU.sparse.");
        if extension.key_bytes() == b"GNU.sparse.name" {
            name = String::from_utf8_lossy(extension.value_bytes()).into_owned();
        }
    }
    if is_sparse {
        bail!(
            "the archive holds {name} as a sparse file of the format posix, which cannot be unpacked; make the archive with \
             --format=gnu, or without --sparse"
        );
    }
    Ok(())
}

/// The path from the root; none for the root itself.
fn clean(path: &Path) -> anyhow::Result<Option<PathBuf>> {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                bail!("the archive holds the path {}, with `..`", path.display())
            }
        }
    }
    Ok((clean.parent().is_some()).then_some(clean))
}

/// Makes a directory where something else may be. A link to a directory stays one in an archive of a root, and gives way to the
/// directory of a layer, as it does for those who run OCI images.
fn make_directory(path: &Path, layer: bool) -> anyhow::Result<()> {
    let metadata = if layer {
        fs::symlink_metadata(path)
    } else {
        fs::metadata(path)
    };
    if !metadata.is_ok_and(|metadata| metadata.is_dir()) {
        make_room(path)?;
        fs::create_dir(path)
            .with_context(|| format!("cannot make the directory {}", path.display()))?;
    }
    Ok(())
}

/// Removes what a file takes the place of, and makes the directories above.
fn make_room(path: &Path) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot make the directory {}", parent.display()))?;
    }
    remove(path)
}

fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

fn white_out(path: &Path, name: &[u8], ours: &BTreeSet<PathBuf>) -> anyhow::Result<u64> {
    let Some(parent) = path.parent() else {
        return Ok(0);
    };
    if name != OPAQUE {
        let hidden = parent.join(OsStr::from_bytes(&name[WHITEOUT.len()..]));
        if hidden.parent() != Some(parent) {
            bail!("the layer holds {}, which names nothing", path.display());
        }
        return remove_below(&hidden, ours);
    }
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot list {}", parent.display()));
        }
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", parent.display()))?;
        removed += remove_below(&entry.path(), ours)?;
    }
    Ok(removed)
}

/// Removes what is at the path, but for what this layer brought.
fn remove_below(path: &Path, ours: &BTreeSet<PathBuf>) -> anyhow::Result<u64> {
    if !ours.contains(path) {
        let was_there = fs::symlink_metadata(path).is_ok();
        remove(path)?;
        return Ok(u64::from(was_there));
    }
    let is_directory = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let mut removed = 0;
    if is_directory {
        let failed = || format!("cannot list {}", path.display());
        for entry in fs::read_dir(path).with_context(failed)? {
            removed += remove_below(&entry.with_context(failed)?.path(), ours)?;
        }
    }
    Ok(removed)
}
