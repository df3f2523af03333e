//! Changing what is on disk, one at a time.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use super::{Artifact, Digest, Manifest, Store, StoreError, Temp, durable, temp};
use crate::model::ImageName;

/// How long a writer waits for another one.
pub const LOCK_WAIT: Duration = Duration::from_secs(30);

/// How often it looks.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// The directories of a store, and who may look into them.
const DIRECTORIES: [(&str, u32); 8] = [
    ("", 0o755),
    ("artifacts", 0o755),
    ("manifests", 0o755),
    ("images", 0o755),
    ("trees", 0o755),
    ("generations", 0o755),
    ("nodes", 0o755),
    // Roots in the making hold what only root may read.
    ("tmp", 0o700),
];

/// What may be in a directory that is to become a store: what a file system has of itself, what
/// may be kept of an earlier store, what `serve` makes, and what a killed process has made first.
const MAY_BE_BEFORE: [&str; 4] = ["lost+found", "cache", "nodes", "artifacts"];

/// The store, locked.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    /// Dropped last, and with it the lock.
    _lock: File,
}

impl Writer {
    pub(super) fn lock(store: Store) -> Result<Self, StoreError> {
        may_be_store(&store)?;
        for (name, mode) in DIRECTORIES {
            let path = store.root.join(name);
            let mut builder = fs::DirBuilder::new();
            builder.recursive(name.is_empty()).mode(mode);
            match builder.create(&path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(StoreError::io("make the directory", &path, error));
                }
                _ => {}
            }
        }
        let lock = take_lock(&store.root)?;
        temp::sweep(&store.root.join("tmp"))?;
        Ok(Self { store, _lock: lock })
    }

    /// What can be read.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A directory for work that is not finished. It outlives the lock.
    pub fn temp(&self, purpose: &str) -> Result<Temp, StoreError> {
        Temp::make(&self.store.root.join("tmp"), purpose)
    }

    /// Writes these bytes as an artifact, if it is not there yet.
    pub fn put_bytes(&mut self, bytes: &[u8]) -> Result<Artifact, StoreError> {
        let artifacts = self.put_all([bytes])?;
        Ok(artifacts[0])
    }

    /// Writes many artifacts, in their order, with one sync for all: what takes the time is the
    /// disk, not the bytes.
    pub fn put_all<'a>(
        &mut self,
        all: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<Artifact>, StoreError> {
        let temp = self.temp("artifacts")?;
        let mut artifacts = Vec::new();
        let mut new = BTreeSet::new();
        for bytes in all {
            let artifact = Artifact {
                sha256: Digest::of(bytes),
                size: bytes.len() as u64,
            };
            artifacts.push(artifact);
            if !self.has(artifact) && new.insert(artifact.sha256) {
                let path = temp.path().join(artifact.sha256.to_string());
                fs::write(&path, bytes)
                    .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o444)))
                    .map_err(|error| StoreError::io("write", &path, error))?;
            }
        }
        if !new.is_empty() {
            durable::sync_all_of(temp.path())?;
        }
        for digest in &new {
            let path = temp.path().join(digest.to_string());
            let place = self.store.artifact_path(*digest);
            fs::rename(&path, &place)
                .map_err(|error| StoreError::io("move something to", &place, error))?;
        }
        if !new.is_empty() {
            durable::sync_directory(&self.store.root.join("artifacts"))?;
        }
        Ok(artifacts)
    }

    /// Makes a file an artifact. The file must lie on the store's file system, such as in a
    /// [`Temp`], and is moved. An artifact that is there already is replaced: should it be
    /// damaged, it is whole again.
    pub fn put_file(&mut self, path: &Path) -> Result<Artifact, StoreError> {
        let (sha256, size) = durable::digest_of(path)?;
        let failed = |error| StoreError::io("sync", path, error);
        fs::set_permissions(path, Permissions::from_mode(0o444)).map_err(failed)?;
        File::open(path)
            .and_then(|file| file.sync_all())
            .map_err(failed)?;
        durable::rename(path, &self.store.artifact_path(sha256))?;
        Ok(Artifact { sha256, size })
    }

    /// Whether an artifact is there, by its name and its size.
    fn has(&self, artifact: Artifact) -> bool {
        let path = self.store.artifact_path(artifact.sha256);
        fs::metadata(path).is_ok_and(|metadata| metadata.len() == artifact.size)
    }

    /// Makes a directory the unpacked root of the packed one that has this digest. It must lie
    /// on the store's file system and is moved; if the tree is there already, it stays where it is.
    pub fn put_tree(&mut self, root: Digest, path: &Path) -> Result<(), StoreError> {
        let place = self.store.tree_path(root);
        if place.exists() {
            return Ok(());
        }
        durable::sync_all_of(path)?;
        durable::rename(path, &place)
    }

    /// The same, but in the place of the tree that is there, in one step where the file system has one.
    pub fn replace_tree(&mut self, root: Digest, path: &Path) -> Result<(), StoreError> {
        let place = self.store.tree_path(root);
        if !place.exists() {
            return self.put_tree(root, path);
        }
        durable::sync_all_of(path)?;
        if !durable::exchange(path, &place)? {
            self.remove(&place)?;
            durable::rename(path, &place)?;
        }
        Ok(())
    }

    /// Writes a manifest, and gives the image's digest. Everything that it names must be there.
    pub fn put_manifest(&mut self, manifest: &Manifest) -> Result<Digest, StoreError> {
        for digest in manifest.artifacts() {
            if !self.store.artifact_path(digest).exists() {
                return Err(self.missing("the artifact", digest));
            }
        }
        if let Some(tree) = manifest.tree
            && !self.store.tree_path(tree).exists()
        {
            return Err(self.missing("the tree", tree));
        }
        let bytes = manifest.to_bytes();
        let digest = Digest::of(&bytes);
        self.replace(&self.store.manifest_path(digest), &bytes, 0o444)?;
        Ok(digest)
    }

    /// Writes a manifest and publishes it under its image's name: from then on that is what the
    /// name means.
    pub fn publish(&mut self, manifest: &Manifest) -> Result<Digest, StoreError> {
        let digest = self.put_manifest(manifest)?;
        self.point(&manifest.image, digest)?;
        Ok(digest)
    }

    /// Makes a name mean an image that is there.
    pub fn point(&mut self, name: &ImageName, digest: Digest) -> Result<(), StoreError> {
        let target = PathBuf::from(format!("../manifests/{digest}.json"));
        let link = self.store.root.join("images").join(name.as_str());
        self.replace_link(&link, &target)
    }

    /// Replaces a file of the store, or makes it, in one step.
    pub fn replace(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
        let temp = self.temp("file")?;
        let new = temp.path().join("new");
        durable::write(&new, bytes, mode)?;
        durable::rename(&new, path)
    }

    /// Replaces a symbolic link of the store, or makes it, in one step.
    pub fn replace_link(&self, path: &Path, target: &Path) -> Result<(), StoreError> {
        let temp = self.temp("link")?;
        let new = temp.path().join("new");
        symlink(target, &new).map_err(|error| StoreError::io("make the link", &new, error))?;
        durable::rename(&new, path)
    }

    /// Moves a file or a directory that was made in a [`Temp`] to its place in the store, synced. Where
    /// a directory goes there must be nothing.
    pub fn place(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        durable::sync_all_of(from)?;
        durable::rename(from, to)
    }

    /// The same with many that were made in one [`Temp`] and go into one directory, synced once.
    pub fn place_all(&self, moves: &[(PathBuf, PathBuf)]) -> Result<(), StoreError> {
        let Some((from, to)) = moves.first() else {
            return Ok(());
        };
        durable::sync_all_of(from)?;
        for (from, to) in moves {
            fs::rename(from, to).map_err(|error| StoreError::io("move something to", to, error))?;
        }
        to.parent().map_or(Ok(()), durable::sync_directory)
    }

    /// Removes a file or a directory of the store. A directory is gone from its place at once,
    /// however long its removal takes, and whatever happens in between.
    pub fn remove(&mut self, path: &Path) -> Result<(), StoreError> {
        let temp = self.temp("removed")?;
        durable::rename(path, &temp.path().join("it"))?;
        path.parent().map_or(Ok(()), durable::sync_directory)
    }

    fn missing(&self, what: &'static str, digest: Digest) -> StoreError {
        StoreError::Missing {
            what,
            digest,
            root: self.store.root.clone(),
        }
    }
}

/// Makes sure that a directory is a store, or may become one. What is in `tmp/` of a store is removed, so
/// this must never be said of somebody else's directory.
fn may_be_store(store: &Store) -> Result<(), StoreError> {
    let root = &store.root;
    if !store.exists() {
        let names = list_all(root)?;
        let is_foreign = |name: &&OsString| !MAY_BE_BEFORE.iter().any(|ours| *name == ours);
        let foreign = names.iter().find(is_foreign);
        if let Some(foreign) = foreign {
            return Err(StoreError::NotAStore {
                root: root.clone(),
                holds: foreign.to_string_lossy().into_owned(),
            });
        }
    }
    let tmp = root.join("tmp");
    if tmp.is_symlink() {
        let what = "it is a link, and what is in it is to be removed; make it a directory";
        let source = io::Error::new(ErrorKind::InvalidInput, what);
        return Err(StoreError::io("use", tmp, source));
    }
    Ok(())
}

/// The names in a directory; none if it does not exist.
fn list_all(directory: &Path) -> Result<Vec<OsString>, StoreError> {
    let failed = |error| StoreError::io("list", directory, error);
    match fs::read_dir(directory) {
        Ok(entries) => entries
            .map(|entry| Ok(entry.map_err(failed)?.file_name()))
            .collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

/// Locks `lock`, and writes into it who has it.
fn take_lock(root: &Path) -> Result<File, StoreError> {
    let path = root.join("lock");
    let failed = |error| StoreError::io("lock", &path, error);
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    let began = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_WAIT => {
                thread::sleep(LOCK_POLL);
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Who has it is only told to help.
                let _ = lock.take(20).read_to_string(&mut text);
                return Err(StoreError::Locked {
                    root: root.to_owned(),
                    holder: text.trim().parse().ok(),
                });
            }
        }
    }
    lock.set_len(0)
        .and_then(|()| writeln!(lock, "{}", process::id()))
        .map_err(failed)?;
    Ok(lock)
}
