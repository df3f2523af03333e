//! From what was typed to what is submitted.
//!
//! [`Work::new`] takes the flags, the configuration and the [`Environment`] and settles
//! everything that depends on them together: the description of the job that goes to the
//! master, where each result's path comes from, and how results are printed. It reads what
//! the flags name (`-f`, `--files-from`), and looks at PATHs only where ripgrep
//! does: to know whether there is one file or many.
//!
//! Whether the pattern compiles and the filters make sense is not checked here but by
//! `regexctl_worker::plan`, which is what the workers use.
//!
//! Invariants:
//! - the paths of a [`v1::JobSpec`] are absolute, have no `.` and no `..`, and are those of
//!   the nodes; the paths of a [`DisplayRoot`] are as they were typed;
//! - `spec.roots`, `walk` and `roots` of a [`Request`] have the same length and order.

mod environment;
mod error;
mod lists;
mod paths;
mod patterns;
mod search;

#[cfg(test)]
mod tests;

use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use regexctl_proto::limits::MAX_ROOTS;
use regexctl_proto::v1;

pub use environment::Environment;
pub use error::JobError;
pub use lists::NamedPaths;
pub use paths::DisplayRoot;

use crate::config::Config;
use crate::flags::{Mode, RunArgs, Sort};
use crate::print::PrintConfig;
use lists::Lists;
use paths::{Paths, Translation};

/// What `regexctl run` is to do.
#[derive(Debug)]
pub enum Work {
    /// `--type-list`
    TypeList,
    /// Anything else.
    Search(Box<Request>),
}

/// A job, and how its results are shown.
#[derive(Debug)]
pub struct Request {
    /// What the master gets.
    pub spec: v1::JobSpec,
    /// Whether each root is walked; one that is not only carries [`Request::paths`].
    pub walk: Vec<bool>,
    /// What the paths below each root are printed as.
    pub roots: Vec<DisplayRoot>,
    /// The paths of `--files-from`.
    pub paths: Vec<NamedPaths>,
    /// Standard input is searched, too; nodes cannot, so this process does.
    pub stdin: bool,
    /// PATHs that are not there, and are not in `spec`. Looked for only without a master.
    pub missing: Vec<MissingPath>,
    /// How results are printed.
    pub print: PrintConfig,
    /// In which order.
    pub sort: Sort,
    /// The first result ends the job (`-q`).
    pub quit_after_match: bool,
    /// Without it nothing can match, and nothing need be run: no pattern, or `-m 0`.
    pub can_match: bool,
    /// Errors about single files are printed.
    pub messages: bool,
    /// Progress is shown.
    pub progress: bool,
    /// How many threads search; none: as many as there are cores.
    pub threads: Option<usize>,
}

/// A PATH that is not there.
#[derive(Debug)]
pub struct MissingPath {
    /// As typed.
    pub path: Vec<u8>,
    /// What the system says.
    pub error: std::io::Error,
}

/// What standard input is called in the output.
pub const STDIN_NAME: &[u8] = b"<stdin>";

impl Work {
    /// Settles a job. `master` is set when one will run it; `stdin` is read when a flag says so.
    pub fn new(
        args: RunArgs,
        config: &Config,
        environment: &Environment,
        master: bool,
        stdin: &mut dyn Read,
    ) -> Result<Self, JobError> {
        if args.mode == Mode::TypeList {
            return Ok(Self::TypeList);
        }
        let mut stdin = Stdin {
            reader: stdin,
            used_by: None,
        };
        let mut args = args;
        let patterns = patterns::read(&mut args, &mut stdin)?;
        let maps = config.maps.iter().chain(&args.maps).cloned();
        let translation = Translation::new(if master { maps.collect() } else { Vec::new() });
        let base = translation.apply(environment.cwd.as_os_str().as_bytes());

        let mut lists = Lists::new(&environment.cwd, &translation);
        for from in &args.files_from {
            lists.read(from, &mut stdin)?;
        }
        let paths = Paths::new(&args, environment, &translation, master, &stdin)?;

        let mut spec = v1::JobSpec {
            pattern: Some(patterns::spec(&args, patterns)),
            filter: Some(search::filter(&args, environment, base)),
            ..v1::JobSpec::default()
        };
        let print = search::print(&args, environment, &paths);
        let search = search::search(&args, &print);
        let can_match = search::can_match(&args, &spec);
        spec.search = Some(search);

        let mut walk = Vec::new();
        let mut roots = Vec::new();
        for root in paths.roots {
            spec.roots.push(v1::Root { path: root.path });
            roots.push(root.display);
            walk.push(true);
        }
        let mut named = Vec::new();
        for list in lists.finish() {
            named.push(NamedPaths {
                root: u32::try_from(roots.len()).map_err(|_| JobError::TooManyRoots)?,
                paths: list.paths,
            });
            spec.roots.push(v1::Root { path: list.root });
            roots.push(DisplayRoot::typed(list.typed));
            walk.push(false);
        }
        if roots.len() > MAX_ROOTS {
            return Err(JobError::TooManyRoots);
        }
        Ok(Self::Search(Box::new(Request {
            spec,
            walk,
            roots,
            paths: named,
            stdin: paths.stdin,
            missing: paths.missing,
            print,
            sort: args.sort,
            quit_after_match: args.quiet && !args.stats,
            can_match,
            messages: !args.no_messages,
            progress: args.progress.unwrap_or(environment.stderr_is_terminal),
            threads: args.threads,
        })))
    }
}

/// Standard input, which only one can read.
struct Stdin<'a> {
    reader: &'a mut dyn Read,
    /// The flag that has read it.
    used_by: Option<&'static str>,
}

impl Stdin<'_> {
    fn take(&mut self, user: &'static str) -> Result<&mut dyn Read, JobError> {
        if let Some(first) = self.used_by.replace(user) {
            return Err(JobError::StdinTwice {
                first,
                second: user,
            });
        }
        Ok(self.reader)
    }
}
