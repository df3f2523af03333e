//! What a job depends on beside the flags. Looked up once, so that everything behind it is
//! a function of its arguments.

use std::env;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::fs::{FileType, fstat};

use super::error::JobError;

/// The process's surroundings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The working directory, as the kernel names it: absolute, without symbolic links.
    pub cwd: PathBuf,
    /// Standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Standard error is a terminal.
    pub stderr_is_terminal: bool,
    /// What standard output is a terminal of shows colours.
    pub shows_colors: bool,
    /// Something was piped or redirected into standard input.
    pub stdin_is_readable: bool,
    /// The lines of the user's global gitignore file.
    pub global_ignore: Vec<u8>,
}

impl Environment {
    /// Looks around. `ignore`: ignore files will be honoured, so the global one is read.
    pub fn detect(ignore: bool) -> Result<Self, JobError> {
        let stdout_is_terminal = std::io::stdout().is_terminal();
        Ok(Self {
            cwd: env::current_dir().map_err(JobError::WorkingDirectory)?,
            stdout_is_terminal,
            stderr_is_terminal: std::io::stderr().is_terminal(),
            shows_colors: stdout_is_terminal && terminal_shows_colors(),
            stdin_is_readable: stdin_is_readable(),
            global_ignore: if ignore { global_ignore() } else { Vec::new() },
        })
    }
}

/// As ripgrep decides: the terminal has a name and is not dumb, and <https://no-color.org>.
fn terminal_shows_colors() -> bool {
    env::var_os("TERM").is_some_and(|term| term != "dumb") && env::var_os("NO_COLOR").is_none()
}

/// A file, a pipe or a socket; a terminal or /dev/null is not.
fn stdin_is_readable() -> bool {
    let stdin = std::io::stdin();
    fstat(stdin.as_fd()).is_ok_and(|stat| {
        matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::RegularFile | FileType::Fifo | FileType::Socket
        )
    })
}

/// git's `core.excludesFile`; one that cannot be read has no lines, as for git.
fn global_ignore() -> Vec<u8> {
    ignore::gitignore::gitconfig_excludes_path()
        .and_then(|path| std::fs::read(path).ok())
        .unwrap_or_default()
}
