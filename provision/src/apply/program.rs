//! Programs of the system: found by name, run with a list of arguments, never by a shell, never for ever.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fmt};

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(5);

/// The most that is kept of what a program says.
const MAX_OUTPUT: u64 = 1 << 20;

/// The lines that are told of a program that failed.
const TOLD_LINES: usize = 12;

/// Where a program is: on `PATH`, or in the administrator's directories.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into(), "/usr/bin".into()])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// What a program did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// As a person would type it.
    command: String,
    /// How it ended; none if it was still running when its time was over, and was killed.
    pub(crate) status: Option<ExitStatus>,
    /// What it said, on either stream.
    pub(crate) output: String,
}

impl Ran {
    /// Whether it ended by itself, with 0.
    pub(crate) fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// The command, how it ended, and the last that it said.
impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "`{}` ended with {status}", self.command)?,
            None => write!(f, "`{}` did not end", self.command)?,
        }
        let lines: Vec<_> = self
            .output
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let begin = lines.len().saturating_sub(TOLD_LINES);
        for (index, line) in lines[begin..].iter().enumerate() {
            write!(f, "{}{line}", if index == 0 { ": " } else { "\n  " })?;
        }
        Ok(())
    }
}

/// Whether a key that is typed to end us ends a program, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// It does.
    Ours,
    /// It does not: what is under way is to be undone in order.
    Own,
}

/// Runs a program to its end, or until `enough` holds of what it has said, or its time is over; then it is killed.
pub(crate) fn run_until<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
    group: Group,
    time: Duration,
    enough: impl Fn(&str) -> bool,
) -> io::Result<Ran> {
    let mut command = Command::new(program);
    command.args(arguments);
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    let words = words.join(" ");
    // A file, not a pipe: nobody has to read while the program writes, and children that it
    // leaves behind do not keep us waiting.
    let output = rustix::fs::memfd_create("output", rustix::fs::MemfdFlags::CLOEXEC)?;
    let output = File::from(output);
    command.stdin(Stdio::null());
    command
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?);
    if group == Group::Own {
        command.process_group(0);
    }
    // As the words of programs are read, they are to be English.
    command.env("LC_ALL", "C.UTF-8");
    let mut child = command.spawn()?;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if began.elapsed() > time || enough(&read(&output)?) {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(POLL);
    };
    Ok(Ran {
        command: words,
        status,
        output: read(&output)?,
    })
}

/// Runs a program to its end, but not longer than that.
pub(crate) fn run<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
    time: Duration,
) -> io::Result<Ran> {
    run_until(program, arguments, Group::Ours, time, |_| false)
}

/// What was written so far. The offset, which is the program's, stays where it is.
fn read(output: &File) -> io::Result<String> {
    let length = output.metadata()?.len().min(MAX_OUTPUT);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    output.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_told_with_its_last_words() {
        let time = Duration::from_secs(30);
        let script = "echo one; echo two >&2; exit 3";
        let ran = run("/bin/sh", ["-c", script], time).expect("there is a shell");
        assert!(!ran.succeeded());
        assert_eq!(
            ran.to_string(),
            "`/bin/sh -c echo one; echo two >&2; exit 3` ended with exit status: 3: one\n  two"
        );
    }

    #[test]
    fn a_program_that_has_said_enough_is_ended() {
        let script = "echo ready; exec sleep 600";
        let enough = |said: &str| said.contains("ready");
        let time = Duration::from_secs(30);
        let ran = run_until("/bin/sh", ["-c", script], Group::Ours, time, enough);
        let ran = ran.expect("there is a shell");
        assert_eq!((ran.status, ran.output.as_str()), (None, "ready\n"));
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let ran = run("/bin/sleep", ["600"], Duration::from_millis(20)).expect("there is sleep");
        assert_eq!(ran.to_string(), "`/bin/sleep 600` did not end");
    }
}
