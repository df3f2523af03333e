//! What a copy leaves out: by pattern, by what it is, by where it lies, and because it is gone.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// What a copy leaves out.
pub(in crate::image) struct Filter {
    patterns: Gitignore,
    /// Whatever the names by which they are met: device and number.
    pub(super) without: BTreeSet<(u64, u64)>,
    /// Not even looked into: other file systems, such as mounted network ones.
    pub(super) one_file_system: bool,
    /// Whether files go while they are copied, as in a system that runs.
    pub(super) may_vanish: bool,
    /// Is called before something is copied.
    #[cfg(test)]
    pub(super) before: Option<fn(&Path)>,
}

impl Filter {
    /// Patterns as rsync writes them: those with a slash in front are relative to the top, others may match anywhere;
    /// `*` stays in one directory, `**` does not; a slash at the end means directories.
    pub(in crate::image) fn new<S: AsRef<str>>(patterns: &[S]) -> anyhow::Result<Self> {
        let mut builder = GitignoreBuilder::new("/");
        for pattern in patterns {
            let pattern = pattern.as_ref();
            builder
                .add_line(None, &as_gitignore(pattern))
                .with_context(|| format!("{pattern:?} is no pattern"))?;
        }
        Ok(Self {
            patterns: builder
                .build()
                .context("the patterns of what is left out")?,
            without: BTreeSet::new(),
            one_file_system: false,
            may_vanish: false,
            #[cfg(test)]
            before: None,
        })
    }

    /// Leaves out these files and directories, by whatever names they are met. What is not there cannot be met.
    pub(in crate::image) fn without(mut self, paths: &[PathBuf]) -> Self {
        let there = paths.iter().filter_map(|path| fs::metadata(path).ok());
        self.without = there.map(|it| (it.dev(), it.ino())).collect();
        self
    }

    /// Leaves out what is gone when its turn comes.
    pub(in crate::image) fn of_a_running_system(mut self) -> Self {
        self.may_vanish = true;
        self
    }

    /// Stays on the file system that it begins on.
    pub(in crate::image) fn on_one_file_system(mut self) -> Self {
        self.one_file_system = true;
        self
    }

    /// The result; none if what it is of is gone, and may be.
    pub(super) fn unless_gone<T>(&self, result: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
        let is_gone = |error: &anyhow::Error| {
            error.chain().any(|cause| {
                let of_system = cause.downcast_ref::<io::Error>();
                of_system.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
            })
        };
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.may_vanish && is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(in crate::image) fn leaves_out(&self, path: &Path, is_directory: bool) -> bool {
        self.patterns.matched(path, is_directory).is_ignore()
    }
}

/// The same pattern in the words of git, which has other special characters, and ties a slash in the middle to the top.
fn as_gitignore(pattern: &str) -> String {
    let body = pattern.trim_end_matches('/');
    if pattern.starts_with('/') {
        pattern.to_owned()
    } else if body.contains('/') {
        format!("**/{pattern}")
    } else if pattern.starts_with(['#', '!']) {
        format!("\\{pattern}")
    } else {
        pattern.to_owned()
    }
}
