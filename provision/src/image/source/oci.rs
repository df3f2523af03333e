//! OCI images: a layout directory, or a tar archive of one.
//!
//! `index.json` names manifests, a manifest names layers, a layer is a tar archive that is laid over those
//! before it. Everything but the index is named by the digest of its bytes, which is checked. Reference: the OCI
//! image specification 1.1, image-layout and layer.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::super::inside;
use super::super::root::Root;
use super::archive;
use crate::store::Digest;

/// The largest index, manifest or configuration.
const MAX_JSON_BYTES: u64 = 8 << 20;

/// The most layers of an image.
const MAX_LAYERS: usize = 1024;

/// How many indices may name one another.
const MAX_DEPTH: usize = 4;

/// The annotation by which `index.json` names images.
const REFERENCE: &str = "org.opencontainers.image.ref.name";

#[derive(Debug, Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    layers: Vec<Descriptor>,
}

/// What stands for the image: the digest of its manifest, which names all the rest.
pub(super) fn digest(path: &Path, reference: Option<&str>) -> anyhow::Result<String> {
    if path.is_dir() {
        let image = Layout::at(path).image(reference);
        let image = image.with_context(|| format!("the OCI image {}", path.display()))?;
        return Ok(image.digest);
    }
    // Inside an archive the manifest may be anywhere, so the whole archive stands for it.
    let (digest, _) = File::open(path)
        .and_then(Digest::of_reader)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(format!("{digest} {}", reference.unwrap_or_default()))
}

/// Lays the layers of an image over one another in the root.
pub(super) fn unpack(
    root: &Root,
    path: &Path,
    reference: Option<&str>,
    work: &Path,
) -> anyhow::Result<()> {
    let directory = if path.is_dir() {
        path.to_owned()
    } else {
        let directory = work.join("oci");
        fs::create_dir(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        archive::unpack(&Root::new(&directory), path)?;
        directory
    };
    let of_what = || format!("the OCI image {}", path.display());
    let layout = Layout::at(&directory);
    let image = layout.image(reference).with_context(of_what)?;
    let manifest: Manifest = layout.json(&image.digest).with_context(of_what)?;
    let count = manifest.layers.len();
    if count == 0 || count > MAX_LAYERS {
        bail!(
            "the OCI image {} has {count} layers; 1 to {MAX_LAYERS} are possible",
            path.display()
        );
    }
    for (index, layer) in manifest.layers.iter().enumerate() {
        let which = || format!("{}, layer {} of {count}", of_what(), index + 1);
        let blob = layout.blob(&layer.digest).with_context(which)?;
        let file = File::open(&blob).with_context(which)?;
        let archive = archive::plain(file).with_context(which)?;
        inside::unpack(root, archive, true).with_context(which)?;
    }
    Ok(())
}

struct Layout {
    root: Root,
}

impl Layout {
    fn at(directory: &Path) -> Self {
        Self {
            root: Root::new(directory),
        }
    }

    /// The manifest that is wanted: the one of the name, of this machine's kind.
    fn image(&self, reference: Option<&str>) -> anyhow::Result<Descriptor> {
        let text = self
            .root
            .read("index.json")?
            .context("it has no index.json; it is no OCI layout")?;
        let index: Index = serde_json::from_slice(&text).context("its index.json is damaged")?;
        let mut candidates = index.manifests;
        if let Some(reference) = reference {
            let known = names(&candidates);
            candidates.retain(|descriptor| {
                let name = descriptor.annotations.get(REFERENCE);
                name.is_some_and(|name| name == reference)
            });
            if candidates.is_empty() {
                bail!("it holds no image {reference:?}; it holds {known}");
            }
        }
        for _ in 0..MAX_DEPTH {
            candidates.retain(|descriptor| {
                descriptor.platform.as_ref().is_none_or(|platform| {
                    platform.os == "linux" && platform.architecture == "amd64"
                })
            });
            let only = match &candidates[..] {
                [only] => only.clone(),
                [] => bail!("it holds no image for linux/amd64"),
                several => bail!(
                    "it holds {} images; choose one by its reference: {}",
                    several.len(),
                    names(several)
                ),
            };
            let is_index = only.media_type.ends_with(".image.index.v1+json")
                || only.media_type.ends_with(".manifest.list.v2+json");
            if !is_index {
                return Ok(only);
            }
            let index: Index = self.json(&only.digest)?;
            candidates = index.manifests;
        }
        bail!("its indices name one another more than {MAX_DEPTH} deep")
    }

    /// Where the bytes of a digest are. They are checked.
    fn blob(&self, digest: &str) -> anyhow::Result<PathBuf> {
        let hex = digest
            .strip_prefix("sha256:")
            .with_context(|| format!("the digest {digest} is none of SHA-256"))?;
        let wanted: Digest = hex.parse()?;
        let path = self.root.resolve(format!("blobs/sha256/{wanted}"))?;
        let (found, _) = File::open(&path)
            .and_then(Digest::of_reader)
            .with_context(|| format!("cannot read the blob {wanted}"))?;
        if found != wanted {
            bail!("the blob {wanted} is damaged: its digest is {found}");
        }
        Ok(path)
    }

    fn json<T: for<'a> Deserialize<'a>>(&self, digest: &str) -> anyhow::Result<T> {
        let path = self.blob(digest)?;
        let mut text = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(MAX_JSON_BYTES).read_to_end(&mut text))
            .with_context(|| format!("cannot read the blob {digest}"))?;
        serde_json::from_slice(&text).with_context(|| format!("the blob {digest} is damaged"))
    }
}

/// The names of images, for a message.
fn names(descriptors: &[Descriptor]) -> String {
    let name = |descriptor: &Descriptor| match descriptor.annotations.get(REFERENCE) {
        Some(name) => name.clone(),
        None => "one without a name".to_owned(),
    };
    let names: Vec<String> = descriptors.iter().map(name).collect();
    names.join(", ")
}
