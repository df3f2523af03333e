//! `--files-from`: paths named one by one.
//!
//! A listed path is searched as it is and printed as it is listed. Most are handed over
//! untouched, relative to the working directory; one whose meaning the nodes could not tell,
//! because of a `..` or of a `--map`, is split into a root that is translated here and the rest.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use regexctl_proto::limits::{MAX_JOB_PATHS_BYTES, MAX_PATH_BYTES};

use super::Stdin;
use super::error::JobError;
use super::paths::{Translation, absolute};
use crate::flags::FilesFrom;

/// Paths to be searched one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPaths {
    /// Index of the root that they are relative to, when they are not absolute.
    pub root: u32,
    /// In the order listed.
    pub paths: Vec<Vec<u8>>,
}

/// The lists, as far as they are read.
pub(super) struct Lists<'a> {
    cwd: &'a Path,
    translation: &'a Translation,
    by_root: Vec<List>,
    /// From the typed prefix of a root to its index in `by_root`.
    by_prefix: HashMap<Vec<u8>, usize>,
    /// Of all paths.
    bytes: usize,
}

/// Paths below one root.
pub(super) struct List {
    /// On the nodes.
    pub(super) root: Vec<u8>,
    /// What is printed before the paths.
    pub(super) typed: Vec<u8>,
    pub(super) paths: Vec<Vec<u8>>,
}

impl<'a> Lists<'a> {
    pub(super) fn new(cwd: &'a Path, translation: &'a Translation) -> Self {
        Self {
            cwd,
            translation,
            by_root: Vec::new(),
            by_prefix: HashMap::new(),
            bytes: 0,
        }
    }

    /// Reads one list to its end.
    pub(super) fn read(&mut self, from: &FilesFrom, stdin: &mut Stdin<'_>) -> Result<(), JobError> {
        if from.list == Path::new("-") {
            let flag = match from.terminator {
                0 => "--files0-from",
                _ => "--files-from",
            };
            let reader = BufReader::new(stdin.take(flag)?);
            return self.read_from(reader, "standard input", from.terminator);
        }
        let name = from.list.display().to_string();
        match File::open(&from.list) {
            Ok(file) => self.read_from(BufReader::new(file), &name, from.terminator),
            Err(source) => Err(JobError::List { path: name, source }),
        }
    }

    fn read_from(
        &mut self,
        mut reader: impl BufRead,
        name: &str,
        terminator: u8,
    ) -> Result<(), JobError> {
        let list = || name.to_owned();
        let mut path = Vec::new();
        for number in 1.. {
            path.clear();
            // The terminator, and a byte to tell a path that is too long.
            let mut limited = (&mut reader).take(MAX_PATH_BYTES as u64 + 2);
            let read = limited.read_until(terminator, &mut path);
            let read = read.map_err(|source| JobError::List {
                path: list(),
                source,
            })?;
            if read == 0 {
                break;
            }
            if path.last() == Some(&terminator) {
                path.pop();
            }
            let problem = if path.len() > MAX_PATH_BYTES {
                return Err(JobError::ListedPathTooLong {
                    list: list(),
                    number,
                });
            } else if path.contains(&0) {
                Some("holds a NUL byte; is the list one for --files0-from?")
            } else if path.is_empty() && terminator == 0 {
                Some("is empty")
            } else {
                None
            };
            if let Some(problem) = problem {
                return Err(JobError::ListedPath {
                    list: list(),
                    number,
                    problem,
                });
            }
            if path.is_empty() {
                continue;
            }
            self.bytes += path.len();
            if self.bytes > MAX_JOB_PATHS_BYTES {
                return Err(JobError::ListsTooLong { list: list() });
            }
            self.add(&path);
        }
        Ok(())
    }

    fn add(&mut self, path: &[u8]) {
        let (prefix, root) = self.split(path);
        let rest = &path[prefix..];
        let typed = &path[..prefix];
        let index = if let Some(&index) = self.by_prefix.get(typed) {
            index
        } else {
            let root = root.unwrap_or_else(|| self.translation.apply(&absolute(self.cwd, typed)));
            self.by_prefix.insert(typed.to_vec(), self.by_root.len());
            self.by_root.push(List {
                root,
                typed: typed.to_vec(),
                paths: Vec::new(),
            });
            self.by_root.len() - 1
        };
        self.by_root[index].paths.push(rest.to_vec());
    }

    /// How much of `path` the root stands for, and the root where a mapping names it.
    fn split(&self, path: &[u8]) -> (usize, Option<Vec<u8>>) {
        let after_dots = end_of_last_parent(path);
        if after_dots > 0 || self.translation.is_empty() {
            return (after_dots, None);
        }
        let full = self.cwd.join(OsStr::from_bytes(path));
        let Some(map) = self.translation.find(&full) else {
            return (0, None);
        };
        let relative = path.first() != Some(&b'/');
        if relative && self.cwd.starts_with(&map.from) {
            // The root for the working directory is translated by the same mapping.
            return (0, None);
        }
        let below = full
            .strip_prefix(&map.from)
            .expect("`find` returns a mapping whose FROM the path starts with");
        let prefix = path.len() - below.as_os_str().len();
        (prefix, Some(map.to.as_os_str().as_bytes().to_vec()))
    }

    pub(super) fn finish(self) -> impl Iterator<Item = List> {
        self.by_root.into_iter()
    }
}

/// The index behind the last `..` component and the `/` after it; 0 when there is none.
fn end_of_last_parent(path: &[u8]) -> usize {
    let mut end = 0;
    let mut start = 0;
    for component in path.split(|&b| b == b'/') {
        let next = start + component.len() + 1;
        if component == b".." {
            end = next.min(path.len());
        }
        start = next;
    }
    end
}
