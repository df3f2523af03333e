//! What is on disk below `serve.directory`: images, artifacts, trees, generations.
//!
//! ```text
//! artifacts/<sha256>         immutable files of mode 0444: kernel, initramfs, packed root, overlay of a node
//! manifests/<sha256>.json    one image as it was built ([`Manifest`])
//! images/<NAME>              link to ../manifests/<sha256>.json: what was last published under the name
//! trees/<sha256>/            an unpacked root, named by the digest of the packed one; served over NFS
//! generations/<N>/           what `apply` installed
//! current                    link to generations/<N>: what is in force
//! nodes/                     what is known of nodes, kept over restarts
//! cache/                     what can be made again: base roots, packages
//! tmp/                       work that is not finished
//! lock                       held by whoever changes any of this
//! ```
//!
//! A [`Store`] reads and needs no lock: what it reads never changes, but for the links, which
//! are replaced by a rename. A [`Writer`] holds the lock and is the only way to change
//! something. It is to be held for the moment of a change, not for the hours of a build: what
//! a build makes lies in a [`Temp`] until it is put into place.
//!
//! Invariants:
//! - whatever has its name is whole: everything is written elsewhere, synced, and renamed; so after a power
//!   loss at any moment the old state is there or the new one;
//! - an artifact's name is the digest of its bytes, a manifest's too;
//! - a manifest is there only after all that it names;
//! - what a killed command leaves in `tmp/` is removed by the next [`Writer`].
//!
//! A generation may name digests in any of its files, as 64 hexadecimal digits: [`Store::in_use`] finds
//! them, so that pruning never takes what a node may still boot; and what each node runs, which it may still read.

mod digest;
mod durable;
mod error;
mod manifest;
mod temp;
mod used;
mod writer;

#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub use digest::{Digest, DigestError, Hasher};
pub use error::StoreError;
pub use manifest::{
    Artifact, FORMAT, InitramfsContents, MAX_MANIFEST_BYTES, Manifest, Package, Root, RootFormat,
    WithoutUsr, Worker,
};
pub use temp::Temp;
pub use used::{Damaged, InUse, Need};
pub use writer::{LOCK_WAIT, Writer};

use crate::model::ImageName;

/// The directory that holds everything, to be read.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store at this directory, which need not exist: an empty store is one without images.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the directory is a store, which is known by what only a store has.
    pub fn exists(&self) -> bool {
        let has = |name| {
            let metadata = fs::symlink_metadata(self.root.join(name));
            metadata.is_ok_and(|metadata| metadata.is_dir())
        };
        has("manifests") && has("artifacts")
    }

    /// The same store, which must be there.
    pub fn existing(&self) -> Result<&Self, StoreError> {
        if self.exists() {
            Ok(self)
        } else {
            Err(StoreError::NoStore(self.root.clone()))
        }
    }

    /// Takes the lock, and removes what killed commands have left. Makes the directories that
    /// are missing, but never in a directory that holds anything of others. Waits for another writer for
    /// [`LOCK_WAIT`] at most.
    pub fn lock(&self) -> Result<Writer, StoreError> {
        Writer::lock(self.clone())
    }

    /// Where the artifact is, if it is there.
    pub fn artifact_path(&self, digest: Digest) -> PathBuf {
        self.root.join("artifacts").join(digest.to_string())
    }

    /// Where the manifest is, if it is there.
    pub fn manifest_path(&self, digest: Digest) -> PathBuf {
        self.root.join("manifests").join(format!("{digest}.json"))
    }

    /// Where the unpacked root is, if it is there.
    pub fn tree_path(&self, digest: Digest) -> PathBuf {
        self.root.join("trees").join(digest.to_string())
    }

    /// Where the generations are.
    pub fn generations(&self) -> PathBuf {
        self.root.join("generations")
    }

    /// Where what is known of nodes is kept.
    pub fn nodes(&self) -> PathBuf {
        self.root.join("nodes")
    }

    /// What can be made again, by its kind, such as `base` or `apt`.
    pub fn cache(&self, kind: &str) -> PathBuf {
        self.root.join("cache").join(kind)
    }

    /// Reads a manifest, and makes sure that it is the one that the digest names.
    pub fn manifest(&self, digest: Digest) -> Result<Manifest, StoreError> {
        let path = self.manifest_path(digest);
        let bytes = durable::read_limited(&path, MAX_MANIFEST_BYTES)?;
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(StoreError::Altered { path, found });
        }
        Manifest::parse(&bytes).map_err(|source| StoreError::Manifest { path, source })
    }

    /// The digest of what was last published under a name; none if nothing was.
    pub fn published(&self, name: &ImageName) -> Result<Option<Digest>, StoreError> {
        let path = self.root.join("images").join(name.as_str());
        let target = match fs::read_link(&path) {
            Ok(target) => target,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read the link", &path, error)),
        };
        let digest = target
            .file_stem()
            .and_then(|stem| stem.to_str())
            .and_then(|stem| stem.parse().ok());
        match digest {
            Some(digest) => Ok(Some(digest)),
            None => Err(StoreError::NotALink { path, target }),
        }
    }

    /// What was last published under a name, which must exist.
    pub fn image(&self, name: &ImageName) -> Result<(Digest, Manifest), StoreError> {
        match self.published(name)? {
            Some(digest) => Ok((digest, self.manifest(digest)?)),
            None => Err(StoreError::NoImage {
                name: name.clone(),
                known: self.names()?,
            }),
        }
    }

    /// The names under which something is published, sorted.
    pub fn names(&self) -> Result<Vec<ImageName>, StoreError> {
        let names = list(&self.root.join("images"))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The digests of all manifests, sorted.
    pub fn manifests(&self) -> Result<Vec<Digest>, StoreError> {
        let names = list(&self.root.join("manifests"))?;
        Ok(names
            .iter()
            .filter_map(|name| name.strip_suffix(".json")?.parse().ok())
            .collect())
    }

    /// The digests of all artifacts, sorted.
    pub fn artifacts(&self) -> Result<Vec<Digest>, StoreError> {
        let names = list(&self.root.join("artifacts"))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The digests of all unpacked roots, sorted.
    pub fn trees(&self) -> Result<Vec<Digest>, StoreError> {
        let names = list(&self.root.join("trees"))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Whether an artifact's bytes are what its name says. Reads all of it.
    pub fn verify(&self, digest: Digest) -> Result<(), StoreError> {
        let path = self.artifact_path(digest);
        let (found, _) = durable::digest_of(&path)?;
        if found == digest {
            Ok(())
        } else {
            Err(StoreError::Altered { path, found })
        }
    }

    /// What a generation, a published image, a kept manifest or what a node runs needs: everything else may be
    /// removed.
    pub fn in_use(&self) -> Result<InUse, StoreError> {
        used::in_use(self)
    }
}

/// The names in a directory that are text, sorted; none if it does not exist.
fn list(directory: &Path) -> Result<Vec<String>, StoreError> {
    let failed = |error| StoreError::io("list", directory, error);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
