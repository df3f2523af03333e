//! Packing a root into a file system, and unpacking it.
//!
//! Equal roots give equal bytes: `created` stands for every time that is later, and there are no random numbers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::run::{MKFS_EROFS, MKSQUASHFS, UNSQUASHFS, quietly};
use super::tree::{self, Filter};
use super::{inside, show};
use crate::model::image::PackFormat;
use crate::store::{Digest, Manifest, RootFormat, Store};

/// The size of squashfs's blocks: larger ones pack a little better and cost a node more to read a part of.
const BLOCK_BYTES: u32 = 256 << 10;

/// The most that lz4hc knows.
const MAX_LZ4_LEVEL: u8 = 12;

/// Makes sure that what packs a root is on this machine.
pub(super) fn tools(format: PackFormat) -> anyhow::Result<()> {
    let tool = match format {
        PackFormat::Squashfs => MKSQUASHFS,
        PackFormat::Erofs => MKFS_EROFS,
    };
    tool.path().map(drop)
}

/// Packs a directory as squashfs. The directories `hollow` at its top are empty in it.
pub(super) fn squashfs(
    directory: &Path,
    to: &Path,
    level: u8,
    created: u64,
    hollow: &[&str],
) -> anyhow::Result<()> {
    let mut command = mksquashfs(directory, to, created)?;
    command.args(["-noappend", "-comp", "zstd", "-Xcompression-level"]);
    command.arg(level.to_string());
    command.arg("-b").arg(BLOCK_BYTES.to_string());
    if !hollow.is_empty() {
        // Names are relative to the top.
        command.args(["-wildcards", "-e"]);
        command.args(hollow.iter().map(|name| format!("{name}/*")));
    }
    quietly(&mut command, "mksquashfs")
}

/// Adds a directory, under its own name, to the top of a squashfs that has none of that name.
pub(super) fn append(directory: &Path, to: &Path, created: u64) -> anyhow::Result<()> {
    let mut command = mksquashfs(directory, to, created)?;
    command.arg("-keep-as-directory");
    quietly(&mut command, "mksquashfs, which adds the worker")
}

fn mksquashfs(directory: &Path, to: &Path, created: u64) -> anyhow::Result<Command> {
    let mut command = MKSQUASHFS.command()?;
    command
        .arg(directory)
        .arg(to)
        .args(["-quiet", "-no-progress", "-no-recovery", "-no-exports"])
        // The root directory itself. What is added makes it anew, and everybody's if that is not told otherwise.
        .args(["-root-mode", "755"])
        // Its time, and the latest that a file may have.
        .env("SOURCE_DATE_EPOCH", created.to_string());
    Ok(command)
}

/// Packs a directory as erofs.
pub(super) fn erofs(directory: &Path, to: &Path, level: u8, created: u64) -> anyhow::Result<()> {
    let mut command = MKFS_EROFS.command()?;
    command
        .arg(format!("-zlz4hc,{}", level.min(MAX_LZ4_LEVEL)))
        .arg(format!("-T{created}"))
        .args(["-U", "00000000-0000-0000-0000-000000000000", "--quiet"])
        .arg(to)
        .arg(directory);
    quietly(&mut command, "mkfs.erofs")
}

/// Unpacks the root of an image into a directory that is not there yet.
pub(super) fn unpack(store: &Store, manifest: &Manifest, to: &Path) -> anyhow::Result<()> {
    if let Some(tree) = manifest.tree {
        let nothing = Filter::new::<&str>(&[])?;
        let tree = store.tree_path(tree);
        tree::copy(&tree, to, Path::new("/"), &nothing)?;
        // Nobody has looked at it since it was made, and what is made of it would have a digest that fits the damage.
        return match show::read(store, manifest)?.damage(to)? {
            None => Ok(()),
            Some(path) => bail!(
                "{} is damaged; build the image again",
                tree.join(path.strip_prefix(to).unwrap_or(&path)).display()
            ),
        };
    }
    let packed = whole(store, manifest.root.sha256)?;
    match manifest.root.format {
        RootFormat::Squashfs => {
            let mut command = UNSQUASHFS.command()?;
            command
                .args(["-quiet", "-no-progress", "-strict-errors", "-dest"])
                .arg(to)
                .arg(&packed);
            quietly(&mut command, "unsquashfs")
        }
        RootFormat::Erofs => {
            // fsck.erofs, which can extract, loses capabilities and makes a file of each hard link.
            let mount = to.with_extension("mount");
            fs::create_dir(&mount).with_context(|| format!("cannot make {}", mount.display()))?;
            inside::copy_mounted(&packed, "erofs", &mount, to)?;
            fs::remove_dir(&mount).with_context(|| format!("cannot remove {}", mount.display()))
        }
    }
}

/// Where an artifact is, if its bytes are right.
fn whole(store: &Store, digest: Digest) -> anyhow::Result<PathBuf> {
    store.verify(digest)?;
    Ok(store.artifact_path(digest))
}

/// Fails if a packed root is larger than its declaration allows.
pub(super) fn check_size(size: u64, limit: Option<crate::model::ByteSize>) -> anyhow::Result<()> {
    if let Some(limit) = limit
        && size > limit.0
    {
        bail!(
            "the packed root has {size} bytes, `max-size` allows {limit}; `regex-provision image show` tells what takes how much"
        );
    }
    Ok(())
}
