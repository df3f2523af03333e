//! Reads files of an image's root without ever leaving it.
//!
//! What an image is made of may come from strangers (an OCI archive), and the initramfs is
//! served to whoever asks. A link in it that points to a file of the master must not get it out.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::Error;
use crate::rooted;

/// The largest file that is read whole, 512 MiB: far above any module or firmware.
const LARGEST_READ: u64 = 512 << 20;

/// An image's root.
#[derive(Debug, Clone)]
pub(super) struct Inside {
    /// Without any link in it.
    root: PathBuf,
}

impl Inside {
    pub(super) fn new(root: &Path) -> Result<Inside, Error> {
        let root = root
            .canonicalize()
            .map_err(|source| Error::io("cannot open the root", root, source))?;
        Ok(Inside { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where `path` of the root really is; none where there is nothing. A link means what it means on a node, one that begins
    /// with a slash too.
    pub(super) fn find(&self, path: &Path) -> Result<Option<PathBuf>, Error> {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        let io = |source| Error::io("cannot open", &self.root.join(below), source);
        let place = rooted::resolve(&self.root, below).map_err(io)?;
        match place.symlink_metadata() {
            Ok(_) => Ok(Some(place)),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(error) => Err(io(error)),
        }
    }

    /// The bytes of a regular file; none where there is no such file.
    pub(super) fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        self.find(path)?.map(|found| read(&found)).transpose()
    }

    /// The first of these directories that is there.
    pub(super) fn first_directory(&self, paths: &[PathBuf]) -> Result<Option<PathBuf>, Error> {
        for path in paths {
            if let Some(found) = self.find(path)?
                && found.is_dir()
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The bytes of a regular file, if they are not too many.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let io = |source| Error::io("cannot read", path, source);
    let file = fs::File::open(path).map_err(io)?;
    let about = file.metadata().map_err(io)?;
    if !about.is_file() {
        return Err(Error::NoFile { path: path.into() });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0));
    file.take(LARGEST_READ + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > LARGEST_READ {
        return Err(Error::TooLarge {
            path: path.into(),
            limit: LARGEST_READ,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_where_they_lead_on_a_node() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        fs::write(dir.path().join("secret"), "key").unwrap();
        fs::write(root.join("usr/lib/inside"), "ok").unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("/usr/lib", root.join("bin")).unwrap();
        symlink(dir.path().join("secret"), root.join("far")).unwrap();
        let inside = Inside::new(&root).unwrap();
        assert_eq!(
            inside.read(Path::new("lib/inside")).unwrap().unwrap(),
            b"ok"
        );
        assert!(inside.read(Path::new("lib/missing")).unwrap().is_none());
        // Out of the root leads none: it is the root's own top that they come to.
        for name in ["out", "../secret", "far"] {
            assert_eq!(inside.read(Path::new(name)).unwrap(), None, "{name}");
        }
        fs::write(root.join("secret"), "its own").unwrap();
        for name in ["out", "../secret"] {
            let read = inside.read(Path::new(name)).unwrap();
            assert_eq!(read.as_deref(), Some(&b"its own"[..]), "{name}");
        }
        assert_eq!(
            inside.read(Path::new("bin/inside")).unwrap().unwrap(),
            b"ok"
        );
        let directory = inside.first_directory(&["bin".into()]).unwrap().unwrap();
        assert_eq!(directory, inside.root().join("usr/lib"));
        assert!(inside.read(&directory.join("inside")).unwrap().is_some());
    }

    #[test]
    fn a_directory_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("busybox")).unwrap();
        let inside = Inside::new(dir.path()).unwrap();
        assert!(matches!(
            inside.read(Path::new("busybox")),
            Err(Error::NoFile { .. })
        ));
    }
}
