//! The PATHs of the command line: what they mean on the nodes, and how they are printed.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::error::JobError;
use super::{Environment, MissingPath, Stdin};
use crate::flags::{Mapping, Mode, RunArgs};

/// How the paths below one root are printed: as ripgrep would, from what was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayRoot {
    /// What stands before the path below the root; empty when nothing was typed.
    prefix: Vec<u8>,
}

impl DisplayRoot {
    /// A PATH as typed.
    pub(super) fn typed(path: Vec<u8>) -> Self {
        Self { prefix: path }
    }

    /// The working directory, when no PATH was typed: paths are printed without `./`.
    fn implicit() -> Self {
        Self { prefix: Vec::new() }
    }

    /// Appends what is printed for `path`, which is relative to the root, or empty for the
    /// root itself.
    pub fn path(&self, path: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        if !path.is_empty() && self.prefix.last().is_some_and(|&b| b != b'/') {
            out.push(b'/');
        }
        out.extend_from_slice(path);
    }
}

/// `--map`: from paths here to paths on the nodes.
#[derive(Debug)]
pub(super) struct Translation {
    maps: Vec<Mapping>,
}

impl Translation {
    pub(super) fn new(maps: Vec<Mapping>) -> Self {
        Self { maps }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.maps.is_empty()
    }

    /// The mapping with the longest FROM that `path` is or lies below; of equal ones the last.
    pub(super) fn find(&self, path: &Path) -> Option<&Mapping> {
        let fitting = self.maps.iter().filter(|map| path.starts_with(&map.from));
        fitting.max_by_key(|map| map.from.components().count())
    }

    /// The absolute path `path`, as the nodes name it.
    pub(super) fn apply(&self, path: &[u8]) -> Vec<u8> {
        let path = Path::new(OsStr::from_bytes(path));
        let Some(map) = self.find(path) else {
            return path.as_os_str().as_bytes().to_vec();
        };
        let below = path
            .strip_prefix(&map.from)
            .expect("`find` returns a mapping whose FROM the path starts with");
        // Joined component by component, for neither `//` nor a trailing `/`.
        let mapped: PathBuf = map.to.components().chain(below.components()).collect();
        mapped.into_os_string().into_vec()
    }
}

/// The absolute path that `typed` means to the kernel, without `.`, `..` and needless `/`.
///
/// Symbolic links stay as they are typed, so that the nodes see the path that the person
/// sees; but what stands before a `..` is resolved, because a link's parent is that of its
/// target. A directory that is not there has no target, and its `..` is taken by name.
pub(super) fn absolute(cwd: &Path, typed: &[u8]) -> Vec<u8> {
    let mut path = if typed.first() == Some(&b'/') {
        PathBuf::from("/")
    } else {
        cwd.to_path_buf()
    };
    for component in typed.split(|&b| b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                if let Ok(real) = path.canonicalize() {
                    path = real;
                }
                path.pop();
            }
            name => path.push(OsStr::from_bytes(name)),
        }
    }
    path.into_os_string().into_vec()
}

/// One PATH.
pub(super) struct Root {
    /// On the nodes.
    pub(super) path: Vec<u8>,
    pub(super) display: DisplayRoot,
}

/// All of them.
pub(super) struct Paths {
    pub(super) roots: Vec<Root>,
    pub(super) missing: Vec<MissingPath>,
    /// Standard input is searched.
    pub(super) stdin: bool,
    /// Nothing but standard input is.
    pub(super) only_stdin: bool,
    /// There is exactly one PATH, and it is no directory: paths need not be printed.
    pub(super) one_file: bool,
}

impl Paths {
    /// What `args.positional` names, the pattern being taken away already.
    pub(super) fn new(
        args: &RunArgs,
        environment: &Environment,
        translation: &Translation,
        master: bool,
        stdin: &Stdin<'_>,
    ) -> Result<Self, JobError> {
        let mut paths = Self {
            roots: Vec::new(),
            missing: Vec::new(),
            stdin: false,
            only_stdin: false,
            one_file: false,
        };
        if args.positional.is_empty() {
            if args.files_from.is_empty() {
                paths.implicit(args, environment, translation, stdin);
            }
            return Ok(paths);
        }
        for typed in args.positional.iter().map(|typed| typed.as_bytes()) {
            if typed == b"-" {
                if let Some(first) = stdin.used_by {
                    return Err(JobError::StdinTwice {
                        first,
                        second: "the path -",
                    });
                }
                paths.stdin = true;
                continue;
            }
            match look(&environment.cwd, typed) {
                // On the nodes it may well be there.
                Err(error) if !master || typed.is_empty() => paths.missing.push(MissingPath {
                    path: typed.to_vec(),
                    error,
                }),
                _ => paths.roots.push(Root {
                    path: translation.apply(&absolute(&environment.cwd, typed)),
                    display: DisplayRoot::typed(typed.to_vec()),
                }),
            }
        }
        if let [only] = &args.positional[..]
            && args.files_from.is_empty()
        {
            let is_directory = look(&environment.cwd, only.as_bytes());
            paths.only_stdin = paths.stdin;
            // One that is not there may be a directory on the nodes.
            paths.one_file = paths.stdin || !is_directory.unwrap_or(master);
        }
        Ok(paths)
    }

    /// Without a PATH: what is piped in, else the working directory.
    fn implicit(
        &mut self,
        args: &RunArgs,
        environment: &Environment,
        translation: &Translation,
        stdin: &Stdin<'_>,
    ) {
        if environment.stdin_is_readable
            && stdin.used_by.is_none()
            && matches!(args.mode, Mode::Search(_))
        {
            self.stdin = true;
            self.only_stdin = true;
            self.one_file = true;
        } else {
            self.roots.push(Root {
                path: translation.apply(environment.cwd.as_os_str().as_bytes()),
                display: DisplayRoot::implicit(),
            });
        }
    }
}

/// Whether `typed` is a directory, symbolic links followed.
fn look(cwd: &Path, typed: &[u8]) -> io::Result<bool> {
    if typed.is_empty() {
        // Joined to the working directory it would be that directory.
        return Err(io::Error::from_raw_os_error(
            rustix::io::Errno::NOENT.raw_os_error(),
        ));
    }
    let path = cwd.join(OsStr::from_bytes(typed));
    std::fs::metadata(path).map(|metadata| metadata.is_dir())
}
