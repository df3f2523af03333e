//! What an image consists of, and what takes how much of it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context;
use serde::Serialize;

use super::listing::{Listing, MAX_LISTING_BYTES};
use crate::store::{Manifest, Store};

/// How deep directories are told.
const DEPTH: usize = 2;

/// What takes how much, the largest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// Bytes by package; what belongs to none is not in it.
    pub packages: Vec<(String, u64)>,
    /// Bytes by directory, with all below it; two levels.
    pub directories: Vec<(String, u64)>,
}

/// Looks through the listing of an image.
pub fn contents(store: &Store, manifest: &Manifest) -> anyhow::Result<Contents> {
    let listing = read(store, manifest)?;
    let packages = manifest
        .packages
        .iter()
        .map(|package| (package.name.clone(), package.size));
    let mut directories: BTreeMap<String, u64> = BTreeMap::new();
    for entry in &listing.entries {
        let above = entry.path.rsplit_once('/').map_or("", |(above, _)| above);
        let mut path = String::new();
        for part in above.split('/').filter(|part| !part.is_empty()).take(DEPTH) {
            path.push('/');
            path.push_str(part);
            *directories.entry(path.clone()).or_default() += entry.size;
        }
    }
    Ok(Contents {
        packages: largest_first(packages),
        directories: largest_first(directories),
    })
}

fn largest_first(sizes: impl IntoIterator<Item = (String, u64)>) -> Vec<(String, u64)> {
    let mut sizes: Vec<_> = sizes.into_iter().filter(|(_, size)| *size > 0).collect();
    sizes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    sizes
}

/// The listing of an image.
pub(super) fn read(store: &Store, manifest: &Manifest) -> anyhow::Result<Listing> {
    let path = store.artifact_path(manifest.listing.sha256);
    if manifest.listing.size > MAX_LISTING_BYTES {
        anyhow::bail!("{} is too large for a listing", path.display());
    }
    store.verify(manifest.listing.sha256)?;
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Listing::parse(&text).with_context(|| path.display().to_string())
}
