//! Running programs of the system: by their paths, with lists of arguments, without a shell.
//!
//! A program dies with us: whoever kills this process, by whatever signal, leaves none behind.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context, bail};

/// Where programs are looked for: as root's login does.
const DIRECTORIES: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// How many lines of a failed program's messages are told.
const TOLD_LINES: usize = 12;

/// How much of a line is kept, in bytes.
const MAX_LINE_BYTES: u64 = 2048;

/// How much of what a program prints is kept, in bytes.
const MAX_OUTPUT_BYTES: u64 = 64 << 20;

/// Variables that programs may see: what leads to a proxy, and the terminal's kind.
const PASSED_ON: [&str; 9] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "TERM",
];

/// A program of the system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool {
    name: &'static str,
    /// The Debian package that has it.
    package: &'static str,
}

pub(super) const DEPMOD: Tool = Tool::new("depmod", "kmod");
pub(super) const MKFS_EROFS: Tool = Tool::new("mkfs.erofs", "erofs-utils");
pub(super) const MKSQUASHFS: Tool = Tool::new("mksquashfs", "squashfs-tools");
pub(super) const UNSQUASHFS: Tool = Tool::new("unsquashfs", "squashfs-tools");
pub(super) const MOUNT: Tool = Tool::new("mount", "mount");
pub(super) const MMDEBSTRAP: Tool = Tool::new("mmdebstrap", "mmdebstrap");
pub(super) const SETPRIV: Tool = Tool::new("setpriv", "util-linux");
pub(super) const UNSHARE: Tool = Tool::new("unshare", "util-linux");
pub(super) const TAR: Tool = Tool::new("tar", "tar");

impl Tool {
    const fn new(name: &'static str, package: &'static str) -> Self {
        Self { name, package }
    }

    /// Where it is.
    pub(super) fn path(self) -> anyhow::Result<PathBuf> {
        let found = DIRECTORIES
            .iter()
            .map(|directory| Path::new(directory).join(self.name))
            .find(|path| path.exists());
        found.with_context(|| {
            format!(
                "there is no {} on this machine; install the Debian package {}",
                self.name, self.package
            )
        })
    }

    /// A command that runs it, and dies with us.
    pub(super) fn command(self) -> anyhow::Result<Command> {
        let mut command = dying_with_us()?;
        command.arg(self.path()?);
        Ok(command)
    }
}

/// A command to which a program and its arguments are added; that program is killed when we end.
pub(super) fn dying_with_us() -> anyhow::Result<Command> {
    let mut command = Command::new(SETPRIV.path()?);
    command.args(["--pdeathsig", "KILL", "--"]);
    clean(&mut command);
    Ok(command)
}

/// Leaves only what programs may know of our environment.
fn clean(command: &mut Command) {
    command.env_clear();
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("PATH", DIRECTORIES.join(":"))
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", "/root");
}

/// Runs a command to its end. What it prints is given back; a failure is told with its last
/// messages.
pub(super) fn output(command: &mut Command, what: &str, stdin: Stdio) -> anyhow::Result<Vec<u8>> {
    let child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    // The command holds its ends open for as long as it lives: whoever feeds a child that has ended, or was never started, would
    // wait for ever.
    command.stdin(Stdio::null());
    let mut child = child.with_context(|| format!("cannot start {what}"))?;
    let messages = child.stderr.take().context("a pipe was asked for")?;
    let messages = thread::spawn(move || last_lines(messages));
    let mut printed = Vec::new();
    let stdout = child.stdout.take().context("a pipe was asked for")?;
    stdout
        .take(MAX_OUTPUT_BYTES)
        .read_to_end(&mut printed)
        .with_context(|| format!("cannot read what {what} prints"))?;
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for {what}"))?;
    let messages = messages.join().unwrap_or_default();
    judge(what, status, &messages)?;
    Ok(printed)
}

/// Runs a command to its end; what it prints is told only if it fails.
pub(super) fn quietly(command: &mut Command, what: &str) -> anyhow::Result<()> {
    // Both into one pipe, so that the messages are in order.
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("cannot make a pipe")?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("cannot start {what}"))?;
    // The command holds the pipe's other end open for as long as it lives.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let messages = last_lines(reader);
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for {what}"))?;
    judge(what, status, &messages)
}

fn judge(what: &str, status: ExitStatus, messages: &[String]) -> anyhow::Result<()> {
    if status.success() {
        return Ok(());
    }
    let told = messages.join("\n  ");
    if told.is_empty() {
        bail!("{what} failed: {status}, without a message");
    }
    bail!("{what} failed: {status}; it said last\n  {told}")
}

/// The last lines that come, each cut.
fn last_lines(from: impl Read) -> Vec<String> {
    let mut from = BufReader::new(from);
    let mut lines = VecDeque::new();
    loop {
        let mut line = Vec::new();
        match from
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
        {
            Ok(0) | Err(_) => return lines.into(),
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        // Progress bars are no messages.
        let line = line.rsplit('\r').next().unwrap_or(line);
        if !line.is_empty() {
            lines.push_back(line.to_owned());
        }
        if lines.len() > TOLD_LINES {
            lines.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = dying_with_us().expect("util-linux is there");
        command.args(["/bin/sh", "-c", script]);
        command
    }

    #[test]
    fn a_failure_tells_its_last_words() {
        let script =
            "i=0; while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); done; echo why >&2; exit 3";
        let error = quietly(&mut sh(script), "the script").expect_err("it exits with 3");
        let text = error.to_string();
        assert!(
            text.starts_with("the script failed: exit status: 3"),
            "{text}"
        );
        assert!(text.ends_with("line 48\n  line 49\n  why"), "{text}");
        assert!(!text.contains("line 37\n"), "{text}");
        let error = quietly(&mut sh("exit 1"), "the script").expect_err("it exits with 1");
        assert!(error.to_string().ends_with("without a message"), "{error}");
    }

    #[test]
    fn what_is_printed_is_given_back() {
        let printed = output(
            &mut sh("echo out; echo err >&2"),
            "the script",
            Stdio::null(),
        )
        .expect("it works");
        assert_eq!(printed, b"out\n");
    }

    #[test]
    fn nobody_feeds_a_program_that_was_never_started() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let mut command = Command::new("/nowhere/program");
        let error = output(&mut command, "the program", Stdio::from(reader));
        let error = error.expect_err("it is not there");
        assert_eq!(error.to_string(), "cannot start the program");
        // The children of other tests hold all pipes for the moment until they are programs.
        let mut ends = [PollFd::new(&writer, PollFlags::empty())];
        let limit = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        poll(&mut ends, Some(&limit)).expect("a pipe can be waited for");
        assert_eq!(ends[0].revents(), PollFlags::ERR, "somebody may read");
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = Tool::new("no-such-program", "some-package")
            .path()
            .expect_err("there is none");
        assert_eq!(
            error.to_string(),
            "there is no no-such-program on this machine; install the Debian package some-package"
        );
    }
}
