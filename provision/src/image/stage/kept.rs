//! A stage in the cache: what is known of it, and whether it is what it was.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::super::listing::Listing;
use super::super::worker::Has;
use crate::store::{Digest, InitramfsContents, Package};

/// What is known of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Meta {
    /// Of each file beside this one its digest.
    pub(in super::super) files: BTreeMap<String, Digest>,
    /// The base root in the cache that it was made from, if any.
    pub(in super::super) base: Option<Digest>,
    pub(in super::super) kernel_version: String,
    pub(in super::super) contents: InitramfsContents,
    pub(in super::super) packages: Vec<Package>,
    pub(in super::super) has: Has,
}

/// A stage that is there.
pub(in super::super) struct Stage {
    pub(in super::super) directory: PathBuf,
    pub(in super::super) meta: Meta,
}

/// The files of a stage that images are made of.
pub(super) const FILES: [&str; 7] = [
    "kernel",
    "initramfs",
    "packed",
    "packed-without-usr",
    "ramdisk",
    "ramdisk-without-usr",
    "listing",
];

impl Stage {
    /// Opens the one at this directory; none if it is not there. Reads all of it: what is damaged is an error, for an image made
    /// of it would have a digest that fits the damage.
    pub(in super::super) fn open(directory: PathBuf) -> anyhow::Result<Option<Self>> {
        let Some(stage) = Self::look(directory)? else {
            return Ok(None);
        };
        for (name, digest) in &stage.meta.files {
            let path = stage.file(name);
            let (found, _) = File::open(&path)
                .and_then(Digest::of_reader)
                .with_context(|| format!("cannot read {}", path.display()))?;
            if found != *digest {
                bail!(
                    "{} is damaged: its SHA-256 is {found}, not {digest}",
                    path.display()
                );
            }
        }
        let wanted = stage.listing()?;
        let found = unpacked(&stage.root(), &stage.layer())?;
        if let Some(path) = wanted.first_difference(&found) {
            let of_layer = Path::new(path).starts_with("opt");
            let above = if of_layer {
                stage.layer()
            } else {
                stage.root()
            };
            bail!(
                "{} is damaged: it is not what it was",
                above.join(path).display()
            );
        }
        Ok(Some(stage))
    }

    /// What the root and the layer are made of.
    pub(in super::super) fn listing(&self) -> anyhow::Result<Listing> {
        let path = self.file("listing");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Listing::parse(&text).with_context(|| path.display().to_string())
    }

    /// Reads what is known of the one at this directory, and nothing else of it.
    pub(in super::super) fn look(directory: PathBuf) -> anyhow::Result<Option<Self>> {
        let path = directory.join("meta.json");
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // One of another version is made again.
        let Ok(meta) = serde_json::from_slice(&text) else {
            return Ok(None);
        };
        Ok(Some(Self { directory, meta }))
    }

    pub(in super::super) fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    pub(in super::super) fn layer(&self) -> PathBuf {
        self.directory.join("layer")
    }

    pub(in super::super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The listing of a root and of the layer that comes behind it.
pub(super) fn unpacked(root: &Path, layer: &Path) -> anyhow::Result<Listing> {
    let mut listing = Listing::of(root, "")?;
    listing.lay_over(Listing::of(layer, "")?);
    Ok(listing)
}
