//! Which absolute paths a [`LocalSource`](super::LocalSource) may open.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::{ErrorKind, SourceError};

use super::DIR_FLAGS;
use super::fs_kind::FsKind;

/// The directories below which a source may open files.
#[derive(Debug)]
pub struct Roots {
    roots: Vec<Root>,
    restricted: bool,
}

/// A directory that cannot be a root.
#[derive(Debug, thiserror::Error)]
#[error("cannot open root {}", path.display())]
pub struct RootsError {
    /// As it was given.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: SourceError,
}

/// One directory. Paths begin with a slash and end without one, so `/` itself is empty.
#[derive(Debug)]
pub(super) struct Root {
    /// As it was given, made absolute.
    path: Vec<u8>,
    /// Without symbolic links.
    pub(super) real: Vec<u8>,
    /// `None` when everything may be opened.
    fd: Option<OwnedFd>,
}

impl Roots {
    /// Everything that the process may read.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            roots: vec![Root {
                path: Vec::new(),
                real: Vec::new(),
                fd: None,
            }],
            restricted: false,
        }
    }

    /// What lies below these directories. They are opened now and kept open: renaming a root, or
    /// putting another directory in its place, does not change what the source reads.
    ///
    /// Roots may contain one another. An empty list allows nothing.
    pub fn open(paths: &[PathBuf]) -> Result<Self, RootsError> {
        let roots = paths.iter().map(|path| {
            Root::open(path).map_err(|error| RootsError {
                path: path.clone(),
                source: error,
            })
        });
        Ok(Self {
            roots: roots.collect::<Result<_, _>>()?,
            restricted: true,
        })
    }

    pub(super) fn are_restricted(&self) -> bool {
        self.restricted
    }

    /// The innermost root that an absolute path lies below by its text, and the rest of the path.
    pub(super) fn find<'p>(&self, path: &'p [u8]) -> Option<(&Root, &'p [u8])> {
        if path.first() != Some(&b'/') {
            return None;
        }
        let candidates = self
            .roots
            .iter()
            .flat_map(|root| [(&root.path, root), (&root.real, root)]);
        candidates
            .filter_map(|(prefix, root)| Some((root, strip_root(prefix, path)?)))
            .min_by_key(|(_, rest)| rest.len())
    }
}

impl Root {
    fn open(path: &Path) -> Result<Self, SourceError> {
        let io = |error: std::io::Error| {
            rustix::io::Errno::from_io_error(&error).map_or_else(
                || SourceError::new(ErrorKind::Other, error.to_string()),
                SourceError::from,
            )
        };
        let absolute = std::path::absolute(path).map_err(io)?;
        let fd = openat(CWD, &absolute, DIR_FLAGS, Mode::empty())?;
        if FsKind::of(&fd)? == FsKind::Kernel {
            return Err(SourceError::new(
                ErrorKind::Other,
                "on a file system of the kernel, where nothing is ever read",
            ));
        }
        let real = std::fs::canonicalize(&absolute).map_err(io)?;
        Ok(Self {
            path: trimmed(absolute),
            real: trimmed(real),
            fd: Some(fd),
        })
    }

    /// A descriptor of the root for looking up names.
    pub(super) fn handle(&self) -> Result<OwnedFd, rustix::io::Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match &self.fd {
            Some(fd) => openat(fd, ".", flags, Mode::empty()),
            None => openat(CWD, "/", flags, Mode::empty()),
        }
    }

    /// The descriptor of a restricted root.
    pub(super) fn fd(&self) -> Option<&OwnedFd> {
        self.fd.as_ref()
    }
}

fn trimmed(path: PathBuf) -> Vec<u8> {
    let mut bytes = path.into_os_string().into_vec();
    while bytes.last() == Some(&b'/') {
        bytes.pop();
    }
    bytes
}

/// The rest of `path` behind `prefix`, component by component, so that `/ab` is not below `/a`. A `..`
/// in the part that is compared matches nothing.
fn strip_root<'p>(prefix: &[u8], path: &'p [u8]) -> Option<&'p [u8]> {
    let mut rest = path;
    for wanted in Path::new(OsStr::from_bytes(prefix)).iter().skip(1) {
        let component = loop {
            rest = skip_slashes(rest);
            let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
            let (component, behind) = rest.split_at(end);
            rest = behind;
            if component != b"." {
                break component;
            }
        };
        if component != wanted.as_bytes() {
            return None;
        }
    }
    Some(skip_slashes(rest))
}

fn skip_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().take_while(|&&b| b == b'/').count();
    &path[end..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_whole_components() {
        for (prefix, path, rest) in [
            ("/a", "/a/b/c", Some("b/c")),
            ("/a", "/a", Some("")),
            ("/a", "//.//a/.//b", Some(".//b")),
            ("/a", "/ab", None),
            ("/a/b", "/a", None),
            ("/a", "/x/../a/b", None),
            ("", "/x/y", Some("x/y")),
            ("", "/", Some("")),
        ] {
            let got = strip_root(prefix.as_bytes(), path.as_bytes());
            assert_eq!(got, rest.map(str::as_bytes), "{prefix} {path}");
        }
    }

    #[test]
    fn a_root_that_cannot_be_opened_is_named() {
        let error = Roots::open(&["/no/such/root".into()]).expect_err("it does not exist");
        assert_eq!(error.to_string(), "cannot open root /no/such/root");
        assert_eq!(error.source.to_string(), "no such file or directory");
        let error = Roots::open(&["/proc/self".into()]).expect_err("nothing there may be opened");
        assert_eq!(error.to_string(), "cannot open root /proc/self");
        assert!(error.source.message.contains("kernel"), "{error:?}");
    }

    #[test]
    fn the_innermost_root_is_found() {
        let outer = tempfile::tempdir().expect("a writable temporary directory");
        let inner = outer.path().join("in");
        std::fs::create_dir(&inner).expect("as above");
        let roots = Roots::open(&[outer.path().into(), inner.clone()]).expect("both exist");
        let path = inner.join("x");
        let (root, rest) = roots.find(path.as_os_str().as_bytes()).expect("below both");
        assert_eq!(
            (root.path.as_slice(), rest),
            (inner.as_os_str().as_bytes(), &b"x"[..])
        );
        assert!(roots.find(b"/etc/passwd").is_none());
        assert!(roots.find(b"relative").is_none());
    }
}
