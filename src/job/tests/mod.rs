//! Command lines in a known environment, against the jobs that they become.

mod lists;
mod paths;
mod search;

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::*;
use crate::flags::{self, Action};
use crate::print::Mode as Print;

/// A working directory, with surroundings that a test may change.
struct Place {
    dir: tempfile::TempDir,
    environment: Environment,
    config: Config,
    master: bool,
    stdin: &'static [u8],
}

impl Place {
    /// `a.txt`, `b.txt`, `src/`, `src/deep/` and `link`, a symbolic link to `src/deep`.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cwd = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(cwd.join("src/deep")).unwrap();
        std::fs::write(cwd.join("a.txt"), "a").unwrap();
        std::fs::write(cwd.join("b.txt"), "b").unwrap();
        symlink("src/deep", cwd.join("link")).unwrap();
        Self {
            dir,
            environment: Environment {
                cwd,
                stdout_is_terminal: false,
                stderr_is_terminal: false,
                shows_colors: false,
                stdin_is_readable: false,
                global_ignore: b"*.bak\n".to_vec(),
            },
            config: Config::default(),
            master: false,
            stdin: b"",
        }
    }

    fn terminal(mut self) -> Self {
        self.environment.stdout_is_terminal = true;
        self.environment.shows_colors = true;
        self
    }

    fn try_run(&self, line: &str) -> Result<Request, JobError> {
        let words = ["regexctl", "run"]
            .into_iter()
            .chain(line.split_whitespace());
        let Ok(Action::Run(typed)) = flags::parse(words.map(OsString::from)) else {
            panic!("{line}: not a run");
        };
        let args = typed.resolve(&self.config).unwrap();
        let mut stdin = self.stdin;
        let work = Work::new(
            args,
            &self.config,
            &self.environment,
            self.master,
            &mut stdin,
        )?;
        match work {
            Work::Search(request) => Ok(*request),
            Work::TypeList => panic!("{line}: a list of types"),
        }
    }

    fn run(&self, line: &str) -> Request {
        self.try_run(line)
            .unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn error(&self, line: &str) -> String {
        self.try_run(line)
            .expect_err("the line is wrong")
            .to_string()
    }

    fn path(&self, below: &str) -> String {
        let path = if below.is_empty() {
            self.environment.cwd.clone()
        } else {
            self.environment.cwd.join(below)
        };
        path.to_str().unwrap().to_owned()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn roots(request: &Request) -> Vec<String> {
    assert_eq!(request.spec.roots.len(), request.roots.len());
    assert_eq!(request.spec.roots.len(), request.walk.len());
    request
        .spec
        .roots
        .iter()
        .map(|root| text(&root.path))
        .collect()
}

fn shown(request: &Request, root: usize, path: &str) -> String {
    let mut out = Vec::new();
    request.roots[root].path(path.as_bytes(), &mut out);
    text(&out)
}

fn search(request: &Request) -> &v1::SearchSpec {
    request.spec.search.as_ref().unwrap()
}
