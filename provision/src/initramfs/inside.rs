//! Reads files of an image's root without ever leaving it.
//!
//! What an image is made of may come from strangers (an OCI archive), and the initramfs is
//! served to whoever asks. A link in it that points to a file of the master must not get it out.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Error;

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

    /// Where `path`, relative to the root, really is; none where there is nothing.
    pub(super) fn find(&self, path: &Path) -> Result<Option<PathBuf>, Error> {
        let wanted = self.root.join(path);
        match wanted.canonicalize() {
            Ok(found) if found.starts_with(&self.root) => Ok(Some(found)),
            Ok(found) => Err(Error::Outside { wanted, found }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("cannot open", &wanted, error)),
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
    fn a_link_out_of_the_root_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        fs::write(dir.path().join("secret"), "key").unwrap();
        fs::write(root.join("usr/lib/inside"), "ok").unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        let inside = Inside::new(&root).unwrap();
        assert_eq!(
            inside.read(Path::new("lib/inside")).unwrap().unwrap(),
            b"ok"
        );
        assert!(inside.read(Path::new("lib/missing")).unwrap().is_none());
        let error = inside.read(Path::new("out")).unwrap_err().to_string();
        assert!(error.contains("leads out of the image"), "{error}");
        let error = inside.read(Path::new("../secret")).unwrap_err().to_string();
        assert!(error.contains("leads out of the image"), "{error}");
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
