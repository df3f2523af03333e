//! A directory for one test, and the trees in it.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Seeded;

/// A directory that goes away with the test.
pub(crate) struct Scratch(TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("regexctl-e2e-").tempdir();
        Self(dir.expect("the directory for temporary files can be written"))
    }

    /// Absolute, without symbolic links.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().canonicalize().expect("it is there")
    }

    /// A new directory in it.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(&path).expect("it can be written");
        path
    }
}

/// Writes a file, and the directories above it.
pub(crate) fn write(root: &Path, path: impl AsRef<Path>, contents: impl AsRef<[u8]>) {
    let path = root.join(path);
    let parent = path.parent().expect("it is below the root");
    fs::create_dir_all(parent).unwrap_or_else(|e| panic!("{}: {e}", parent.display()));
    fs::write(&path, contents).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// `files` small files of seeded words in directories of fifty, `lines` lines each.
pub(crate) fn small_files(root: &Path, files: usize, lines: usize, seed: u64) {
    let mut seeded = Seeded(seed);
    for number in 0..files {
        let mut text = String::new();
        for line in 0..lines {
            let word = WORDS[seeded.below(WORDS.len())];
            text.push_str(&format!(
                "{word} {} {number} {line}\n",
                seeded.next() % 1000
            ));
        }
        let (a, b) = (number / 2500, number / 50);
        if number % 50 == 0 {
            fs::create_dir_all(root.join(format!("{a}/{b}"))).expect("it can be written");
        }
        let path = root.join(format!("{a}/{b}/file-{number}.txt"));
        fs::write(path, text).expect("it can be written");
    }
}

/// Words that patterns of the tests match, and words that they do not.
pub(crate) const WORDS: &[&str] = &[
    "shard", "lease", "attempt", "frontier", "Commit", "commit", "worker", "master", "needle",
    "haystack", "foo", "bar", "foobar", "été", "straße", "x",
];

/// `links` names for the same file, at most 1000 a directory: much to read, little to write.
pub(crate) fn linked_files(root: &Path, links: usize, contents: &[u8]) {
    fs::create_dir_all(root).expect("it can be written");
    for number in 0..links {
        let dir = root.join(format!("d{}", number / 1000));
        let path = dir.join(format!("f{number}"));
        if number % 1000 == 0 {
            fs::create_dir_all(&dir).expect("it can be written");
            // A file of its own a directory: there is a limit to the links of one.
            fs::write(&path, contents).expect("it can be written");
        } else {
            let first = dir.join(format!("f{}", number / 1000 * 1000));
            fs::hard_link(first, &path).expect("the file system has hard links");
        }
    }
}

/// A path's bytes.
pub(crate) fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
