//! What is still needed.
//!
//! Generations are somebody else's: this reads any file in them, and takes whatever looks like
//! a digest for one that is in use. That may keep too much, never too little.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use walkdir::WalkDir;

use super::{Digest, Store, StoreError};

/// What must stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InUse {
    /// Manifests that are published or belong to a generation.
    pub manifests: BTreeSet<Digest>,
    /// Artifacts that those manifests or a generation name.
    pub artifacts: BTreeSet<Digest>,
    /// Trees that those manifests or a generation name.
    pub trees: BTreeSet<Digest>,
}

pub(super) fn in_use(store: &Store) -> Result<InUse, StoreError> {
    let mut named = BTreeSet::new();
    for name in store.names()? {
        named.extend(store.published(&name)?);
    }
    let generations = store.generations();
    if generations.exists() {
        digests_below(&generations, &mut named)?;
    }
    let mut used = InUse::default();
    for digest in &named {
        if store.manifest_path(*digest).exists() {
            let manifest = store.manifest(*digest)?;
            used.manifests.insert(*digest);
            used.artifacts.extend(manifest.artifacts());
            used.trees.extend(manifest.tree);
        }
    }
    used.artifacts.extend(&named);
    used.trees.extend(&named);
    used.artifacts
        .retain(|digest| store.artifact_path(*digest).exists());
    used.trees
        .retain(|digest| store.tree_path(*digest).exists());
    Ok(used)
}

/// Adds every digest that a file below the directory names.
fn digests_below(directory: &Path, into: &mut BTreeSet<Digest>) -> Result<(), StoreError> {
    for entry in WalkDir::new(directory) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(directory).to_owned();
            StoreError::io("list", path, error.into())
        })?;
        if entry.file_type().is_file() {
            let path = entry.path();
            let bytes = fs::read(path).map_err(|error| StoreError::io("read", path, error))?;
            into.extend(digests_in(&bytes));
        } else if entry.file_type().is_symlink()
            && let Ok(target) = fs::read_link(entry.path())
        {
            into.extend(digests_in(target.as_os_str().as_encoded_bytes()));
        }
    }
    Ok(())
}

/// The runs of exactly 64 hexadecimal digits.
fn digests_in(bytes: &[u8]) -> impl Iterator<Item = Digest> {
    bytes
        .split(|byte| !byte.is_ascii_hexdigit())
        .filter(|run| run.len() == Digest::TEXT_LENGTH)
        .filter_map(|run| str::from_utf8(run).ok()?.parse().ok())
}
