//! Removing what nobody needs any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;

use super::fail;
use super::stage::Stage;
use crate::store::{Damaged, Digest, Store, Writer};

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Images that are neither published, nor part of a generation, nor what a node runs or was told to boot last.
    pub images: Vec<Digest>,
    /// Files that no image and no generation names.
    pub artifacts: Vec<Digest>,
    /// Unpacked roots that no image names.
    pub trees: Vec<Digest>,
    /// What can be made again: paths below the store.
    pub cache: Vec<PathBuf>,
    /// Images in use whose manifests cannot be read. As long as there are such, no artifact and no tree is removed.
    pub damaged: BTreeMap<Digest, Damaged>,
    /// How many bytes of disk all that takes. What has two names there is counted once.
    pub bytes: u64,
}

/// Removes images, artifacts and trees that are not in use; with `cache` also all that can be made again. With
/// `dry_run` only says what would go.
pub fn prune(store: &Store, cache: bool, dry_run: bool) -> anyhow::Result<Pruned> {
    // Under the lock, so that nothing is put and not yet named; and where there is no store, none is made.
    let mut writer = store.existing()?.lock()?;
    let used = store.in_use()?;
    let not_in = |all: Vec<Digest>, used: &BTreeSet<Digest>| -> Vec<Digest> {
        all.into_iter()
            .filter(|digest| !used.contains(digest))
            .collect()
    };
    let mut pruned = Pruned {
        images: not_in(store.manifests()?, &used.manifests),
        artifacts: not_in(store.artifacts()?, &used.artifacts),
        trees: not_in(store.trees()?, &used.trees),
        cache: Vec::new(),
        damaged: used.damaged.clone(),
        bytes: 0,
    };
    let mut idle = Vec::new();
    if cache {
        idle = nobody_builds(store)?;
        for kind in ["base", "stage", "apt"] {
            let path = store.cache(kind);
            if path.exists() {
                pruned.cache.push(path);
            }
        }
    } else {
        for stage in stages_without_image(store)? {
            if let Some(lock) = nobody_builds_of(&stage)? {
                idle.push(lock);
                pruned.cache.push(stage);
            }
        }
    }
    // Manifests come first: one is there only while all that it names is.
    let images = pruned
        .images
        .iter()
        .map(|digest| store.manifest_path(*digest));
    let trees = pruned.trees.iter().map(|digest| store.tree_path(*digest));
    let artifacts = pruned.artifacts.iter();
    let artifacts = artifacts.map(|digest| store.artifact_path(*digest));
    let paths: [Vec<PathBuf>; 4] = [
        images.collect(),
        trees.collect(),
        artifacts.collect(),
        pruned.cache.clone(),
    ];
    let mut counted = BTreeSet::new();
    for path in paths.iter().flatten() {
        pruned.bytes += disk_bytes(path, &mut counted)?;
    }
    if !dry_run {
        for (paths, step) in paths.iter().zip(fail::PRUNE_STEPS) {
            for path in paths {
                writer.remove(path)?;
            }
            fail::here(step);
        }
        unused_bases(&mut writer)?;
    }
    drop(idle);
    for path in &mut pruned.cache {
        if let Ok(below) = path.strip_prefix(store.root()) {
            *path = below.to_owned();
        }
    }
    Ok(pruned)
}

/// Removes base roots that no stage in the cache was made from.
pub(super) fn unused_bases(writer: &mut Writer) -> anyhow::Result<()> {
    let store = writer.store().clone();
    let mut used = BTreeSet::new();
    for directory in directories(&store.cache("stage"))? {
        for stage in directories(&directory)? {
            if let Some(stage) = Stage::look(stage)? {
                used.extend(stage.meta.base.map(|base| format!("{base}.tar")));
            }
        }
    }
    for path in entries(&store.cache("base"))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !used.contains(&*name) {
            writer.remove(&path)?;
        }
    }
    Ok(())
}

/// Stages of images that are not published any more.
fn stages_without_image(store: &Store) -> anyhow::Result<Vec<PathBuf>> {
    let published: BTreeSet<String> = store.names()?.iter().map(ToString::to_string).collect();
    let mut stages = directories(&store.cache("stage"))?;
    stages.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !published.contains(&*name)
    });
    Ok(stages)
}

/// Takes the locks of all images, or says that one is being built.
fn nobody_builds(store: &Store) -> anyhow::Result<Vec<fs::File>> {
    let mut locks = Vec::new();
    for path in entries(&store.cache("stage"))? {
        if path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let lock =
            fs::File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        if lock.try_lock().is_err() {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            bail!("the image {name} is being built; remove the cache when that has ended");
        }
        locks.push(lock);
    }
    Ok(locks)
}

/// Takes the lock of a stage's image; none if it is being built. One without a lock is nobody's.
fn nobody_builds_of(stage: &Path) -> anyhow::Result<Option<fs::File>> {
    let mut path = stage.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let lock = match fs::File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => fs::File::open(stage),
        opened => opened,
    };
    let lock = lock.with_context(|| format!("cannot open {}", path.display()))?;
    Ok(lock.try_lock().is_ok().then_some(lock))
}

fn entries(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let failed = || format!("cannot list {}", directory.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).with_context(failed)? {
        paths.push(entry.with_context(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn directories(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = entries(directory)?;
    paths.retain(|path| path.is_dir());
    Ok(paths)
}

/// The disk space of all below a path whose files have no other names, or were not counted yet.
fn disk_bytes(path: &Path, counted: &mut BTreeSet<(u64, u64)>) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    /// What `st_blocks` counts in.
    const BLOCK: u64 = 512;
    let mut bytes = 0;
    for entry in walkdir::WalkDir::new(path) {
        let entry = entry.with_context(|| format!("cannot list {}", path.display()))?;
        let metadata = entry
            .metadata()
            .with_context(|| format!("cannot look at {}", entry.path().display()))?;
        if counted.insert((metadata.dev(), metadata.ino())) {
            bytes += metadata.blocks() * BLOCK;
        }
    }
    Ok(bytes)
}
