//! Files of an image's root, seen as from inside: links never lead out of it.
//!
//! What an image is made of may come from strangers; its links are followed as on the node ([`rooted`]).

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::rooted;

/// The largest file that is read whole.
const MAX_READ_BYTES: u64 = 512 << 20;

/// An image's root, unpacked.
#[derive(Debug, Clone)]
pub(super) struct Root {
    path: PathBuf,
}

impl Root {
    /// The root at this directory.
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The directory itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a path of the image really is, all links followed. What is missing is taken as
    /// it is written.
    pub(super) fn resolve(&self, path: impl AsRef<Path>) -> anyhow::Result<PathBuf> {
        let path = path.as_ref();
        rooted::resolve(&self.path, path)
            .with_context(|| format!("{} in the image", path.display()))
    }

    /// Where a path of the image really is, the last part taken as it is.
    pub(super) fn resolve_parent(&self, path: impl AsRef<Path>) -> anyhow::Result<PathBuf> {
        let path = path.as_ref();
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(self.path.clone());
        };
        Ok(self.resolve(parent)?.join(name))
    }

    /// What a path leads to; none if there is nothing.
    pub(super) fn metadata(&self, path: impl AsRef<Path>) -> anyhow::Result<Option<Metadata>> {
        let place = self.resolve(path)?;
        none_if_missing(fs::symlink_metadata(&place))
            .with_context(|| format!("cannot look at {}", place.display()))
    }

    /// Whether there is something at the path.
    pub(super) fn exists(&self, path: impl AsRef<Path>) -> bool {
        matches!(self.metadata(path), Ok(Some(_)))
    }

    /// The bytes of a file; none if there is nothing, or no file.
    pub(super) fn read(&self, path: impl AsRef<Path>) -> anyhow::Result<Option<Vec<u8>>> {
        let place = self.resolve(path)?;
        let failed = || format!("cannot read {}", place.display());
        match none_if_missing(fs::symlink_metadata(&place)).with_context(failed)? {
            Some(metadata) if metadata.is_file() => {}
            _ => return Ok(None),
        }
        let mut bytes = Vec::new();
        let file = File::open(&place).with_context(failed)?;
        file.take(MAX_READ_BYTES + 1)
            .read_to_end(&mut bytes)
            .with_context(failed)?;
        if bytes.len() as u64 > MAX_READ_BYTES {
            bail!(
                "{} is larger than the limit of {MAX_READ_BYTES} bytes",
                place.display()
            );
        }
        Ok(Some(bytes))
    }

    /// The text of a file; none if there is nothing, or no file.
    pub(super) fn read_text(&self, path: impl AsRef<Path>) -> anyhow::Result<Option<String>> {
        let bytes = self.read(path)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The names in a directory, sorted; none if there is no directory.
    pub(super) fn names(&self, path: impl AsRef<Path>) -> anyhow::Result<Vec<String>> {
        let place = self.resolve(path)?;
        let failed = || format!("cannot list {}", place.display());
        let entries = match fs::read_dir(&place) {
            Ok(entries) => entries,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error).with_context(failed),
        };
        let mut names = Vec::new();
        for entry in entries {
            if let Ok(name) = entry.with_context(failed)?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Makes a directory with all above it; what is there stays as it is.
    pub(super) fn directory(&self, path: impl AsRef<Path>) -> anyhow::Result<PathBuf> {
        let place = self.resolve(path)?;
        fs::create_dir_all(&place)
            .with_context(|| format!("cannot make the directory {}", place.display()))?;
        Ok(place)
    }

    /// Writes a file of root's, and the directories above it. A link in its place is replaced,
    /// not followed.
    pub(super) fn write(
        &self,
        path: impl AsRef<Path>,
        bytes: impl AsRef<[u8]>,
        mode: u32,
    ) -> anyhow::Result<()> {
        let place = self.make_room(path.as_ref())?;
        fs::write(&place, bytes)
            .and_then(|()| fs::set_permissions(&place, Permissions::from_mode(mode)))
            .with_context(|| format!("cannot write {}", place.display()))
    }

    /// Makes a symbolic link, and the directories above it; what is there is replaced.
    pub(super) fn link(
        &self,
        path: impl AsRef<Path>,
        target: impl AsRef<Path>,
    ) -> anyhow::Result<()> {
        let place = self.make_room(path.as_ref())?;
        symlink(target, &place).with_context(|| format!("cannot make the link {}", place.display()))
    }

    /// Removes a file, a link, or a directory with all that is in it. Nothing there is fine.
    pub(super) fn remove(&self, path: impl AsRef<Path>) -> anyhow::Result<()> {
        remove(&self.resolve_parent(path)?)
    }

    /// Removes what is in a directory.
    pub(super) fn empty(&self, path: impl AsRef<Path>) -> anyhow::Result<()> {
        let place = self.resolve(path)?;
        let Some(entries) = none_if_missing(fs::read_dir(&place))
            .with_context(|| format!("cannot list {}", place.display()))?
        else {
            return Ok(());
        };
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", place.display()))?;
            remove(&entry.path())?;
        }
        Ok(())
    }

    /// Sets the owner of what a path is, links not followed.
    pub(super) fn own(&self, path: impl AsRef<Path>, uid: u32, gid: u32) -> anyhow::Result<()> {
        let place = self.resolve_parent(path)?;
        lchown(&place, Some(uid), Some(gid))
            .with_context(|| format!("cannot set the owner of {}", place.display()))
    }

    fn make_room(&self, path: &Path) -> anyhow::Result<PathBuf> {
        if let Some(parent) = path.parent() {
            self.directory(parent)?;
        }
        let place = self.resolve_parent(path)?;
        remove(&place)?;
        Ok(place)
    }
}

fn none_if_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn remove(place: &Path) -> anyhow::Result<()> {
    let metadata = none_if_missing(fs::symlink_metadata(place));
    let removed = metadata.and_then(|metadata| match metadata {
        Some(metadata) if metadata.is_dir() => fs::remove_dir_all(place),
        Some(_) => fs::remove_file(place),
        None => Ok(()),
    });
    removed.with_context(|| format!("cannot remove {}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_never_lead_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let outside = directory.path().join("outside");
        fs::write(&outside, "the master's").expect("a file");
        let root = Root::new(directory.path().join("root"));
        root.directory("/usr/lib").expect("a directory");
        root.link("/lib", "usr/lib").expect("a link");
        root.link("/absolute", "/usr").expect("a link");
        root.link("/climbing", "../../../../outside")
            .expect("a link");
        root.link("/whole", outside.to_str().expect("text"))
            .expect("a link");
        root.link("/loop", "loop").expect("a link");

        root.write("/absolute/lib/one", "1", 0o644).expect("a file");
        assert_eq!(root.read("/lib/one").expect("read"), Some(b"1".to_vec()));
        assert_eq!(
            root.read("/lib/../lib/one").expect("read"),
            root.read("lib/one").expect("read")
        );
        for path in ["/climbing", "/whole", "/../outside", "/missing", "/usr"] {
            assert_eq!(root.read(path).expect(path), None);
        }
        let error = root.read("/loop").expect_err("it has no end");
        assert!(format!("{error:#}").contains("too many links"), "{error}");

        // What is written takes a link's place.
        root.write("/climbing", "ours", 0o600).expect("a file");
        root.write("/whole", "ours", 0o600).expect("a file");
        assert_eq!(
            fs::read_to_string(&outside).expect("a file"),
            "the master's"
        );
        assert_eq!(root.read("/whole").expect("read"), Some(b"ours".to_vec()));
        root.link("/whole", "/").expect("a link");
        root.remove("/whole").expect("only the link");
        assert!(root.exists("/usr/lib/one"));
        root.empty("/absolute").expect("it is a directory");
        assert_eq!(root.names("/usr").expect("names"), Vec::<String>::new());
        assert_eq!(root.names("/missing").expect("names"), Vec::<String>::new());
    }
}
