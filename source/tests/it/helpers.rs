//! Opening things, with the panics that a test wants.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use regexctl_source::{
    Dir, ErrorKind, File, Links, LocalSource, Opened, Read, ReadBuf, Roots, Source, SourceError,
};

pub(crate) const PLENTY: usize = 64 << 20;

pub(crate) fn everything() -> LocalSource {
    LocalSource::new(Roots::everything())
}

pub(crate) fn beneath(root: &Path) -> LocalSource {
    LocalSource::new(Roots::open(&[root.to_path_buf()]).expect("the root exists"))
}

pub(crate) fn temp() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let path = dir.path().canonicalize().expect("it exists");
    (dir, path)
}

pub(crate) fn open(source: &dyn Source, path: &Path, links: Links) -> Result<Opened, SourceError> {
    source.open(path.as_os_str().as_bytes(), links)
}

pub(crate) fn open_dir(source: &dyn Source, path: &Path) -> Box<dyn Dir> {
    match open(source, path, Links::Follow) {
        Ok(Opened::Dir(dir)) => dir,
        other => panic!("{} is not opened as a directory: {other:?}", path.display()),
    }
}

pub(crate) fn open_file(source: &dyn Source, path: &Path) -> Box<dyn File> {
    match open(source, path, Links::Follow) {
        Ok(Opened::File(file)) => file,
        other => panic!("{} is not opened as a file: {other:?}", path.display()),
    }
}

pub(crate) fn open_error(source: &dyn Source, path: &Path) -> ErrorKind {
    match open(source, path, Links::Follow) {
        Err(error) => error.kind,
        Ok(opened) => panic!("{} should not open: {opened:?}", path.display()),
    }
}

pub(crate) fn contents(file: &dyn File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buf = [0; 1000];
    loop {
        let got = file
            .read_at(&mut buf, bytes.len() as u64)
            .expect("it reads");
        if got == 0 {
            return bytes;
        }
        bytes.extend_from_slice(&buf[..got]);
    }
}

pub(crate) fn read_name(dir: &dyn Dir, name: &str, buf: &mut ReadBuf) -> Result<Read, SourceError> {
    dir.read(&CString::new(name).expect("no NUL"), buf)
}
