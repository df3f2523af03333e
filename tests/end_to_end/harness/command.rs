//! Runs a program to its end, or to a time limit, and keeps all that it said.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::{PATIENCE, programs};

/// How a program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The command line, for failure messages.
    pub(crate) command: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Finished {
    /// The exit code; none when a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Fails the test unless the exit code is `code`.
    #[track_caller]
    pub(crate) fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(self.code(), Some(code), "{self}");
        self
    }

    /// Fails the test unless standard error holds `part`.
    #[track_caller]
    pub(crate) fn expect_error(&self, part: &str) -> &Self {
        assert!(
            self.stderr.contains(part),
            "{part:?} is not said in\n{self}"
        );
        self
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}\n{}", self.command, self.status)?;
        writeln!(f, "--- standard output\n{}", excerpt(&self.stdout))?;
        writeln!(f, "--- standard error\n{}", excerpt(self.stderr.as_bytes()))
    }
}

/// What a failure message shows of an output.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 4000;
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned();
    match bytes.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}\n... and {more} bytes"),
    }
}

/// A program that this test may wait for, signal and read from. Killed when dropped.
pub(crate) struct Process {
    command: String,
    child: Child,
    stderr: Option<JoinHandle<Vec<u8>>>,
    stdin: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts it with pipes; its standard error is read from the start.
    pub(crate) fn start(command: Command, input: Option<&[u8]>) -> Self {
        Self::spawn(command, input, Stdio::piped(), Stdio::piped())
    }

    /// Starts a daemon that logs to a file.
    pub(crate) fn daemon(command: Command, log: File) -> Self {
        Self::spawn(command, None, Stdio::piped(), log.into())
    }

    /// Starts it with a terminal as its standard error, and perhaps as its standard output.
    pub(crate) fn on_terminal(command: Command, stdout: Stdio, stderr: Stdio) -> Self {
        Self::spawn(command, None, stdout, stderr)
    }

    fn spawn(mut command: Command, input: Option<&[u8]>, stdout: Stdio, stderr: Stdio) -> Self {
        let said = format!("{command:?}");
        let stdin = if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let mut child = command
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {said}: {error}"));
        let stderr = child.stderr.take();
        let stdin = input.map(<[u8]>::to_vec).map(|input| {
            let mut stdin = child.stdin.take().expect("it is piped");
            // The program need not read all of it.
            thread::spawn(move || drop(stdin.write_all(&input)))
        });
        Self {
            command: said,
            child,
            stderr: stderr.map(|stderr| thread::spawn(move || drain(stderr))),
            stdin,
        }
    }

    /// Its standard output, to be read, or dropped, by the caller.
    pub(crate) fn stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("it is taken once")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal)
            .expect("it is our child, and not waited for yet");
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Waits for its end; reads what is left of standard output unless the caller has taken that.
    pub(crate) fn finish(self) -> Finished {
        self.finish_within(PATIENCE)
    }

    fn finish_within(mut self, limit: Duration) -> Finished {
        let stdout = self.child.stdout.take();
        let stdout = stdout.map(|stdout| thread::spawn(move || drain(stdout)));
        let pid = self.pid();
        let (ended, end) = mpsc::channel();
        thread::spawn(move || {
            // It is not reaped here, so its id stays its own until it is below.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while rustix::process::waitid(WaitId::Pid(pid), options)
                .is_err_and(|error| error == rustix::io::Errno::INTR)
            {}
            // The receiver is gone only when the test has failed.
            let _ = ended.send(());
        });
        let late = end.recv_timeout(limit).is_err();
        if late {
            self.signal(Signal::KILL);
        }
        let status = self.child.wait().expect("it is our child");
        let joined = |reader: JoinHandle<Vec<u8>>| reader.join().expect("a reader does not panic");
        let finished = Finished {
            command: std::mem::take(&mut self.command),
            status,
            stdout: stdout.map(joined).unwrap_or_default(),
            stderr: String::from_utf8_lossy(&self.stderr.take().map(joined).unwrap_or_default())
                .into_owned(),
        };
        if let Some(writer) = self.stdin.take() {
            writer.join().expect("a writer does not panic");
        }
        assert!(!late, "it had not ended after {limit:?}:\n{finished}");
        finished
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn drain(mut reader: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A broken pipe ends what there is.
    let _ = reader.read_to_end(&mut bytes);
    bytes
}

/// `regexctl`, in a directory, untouched by the settings of whoever runs the tests.
pub(crate) fn regexctl(cwd: &Path) -> Command {
    clean(programs::regexctl(), cwd)
}

/// ripgrep, likewise, so that what it prints of a file depends on that file alone.
///
/// Without memory maps: with one, which it takes for a single named file, it finds a NUL late in the file only at the
/// end, and prints lines that it does not print otherwise. And with one thread, in the order of paths: a line longer than a
/// thread's buffer makes that larger for good, so that the thread finds a late NUL sooner in each file it takes later, and
/// prints fewer lines before it.
pub(crate) fn rg(cwd: &Path) -> Command {
    let mut command = clean(programs::rg(), cwd);
    command.args(["--no-config", "--no-mmap", "--sort", "path"]);
    command
}

fn clean(program: &Path, cwd: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(cwd);
    for variable in ["REGEXCTL_MASTER", "REGEXCTL_CONFIG", "RIPGREP_CONFIG_PATH"] {
        command.env_remove(variable);
    }
    // No configuration file and no global gitignore file is there.
    command
        .env("HOME", "/nonexistent")
        .env("XDG_CONFIG_HOME", "/nonexistent");
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: Command) -> Finished {
    Process::start(command, None).finish()
}

/// Runs a command to its end, with `input` piped in.
pub(crate) fn run_with(command: Command, input: &[u8]) -> Finished {
    Process::start(command, Some(input)).finish()
}

/// `regexctl run`, embedded or on a master.
pub(crate) fn search<S: AsRef<OsStr>>(
    cwd: &Path,
    master: Option<&str>,
    args: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = regexctl(cwd);
    command.arg("run");
    if let Some(url) = master {
        command.args(["--master", url]);
    }
    command.args(args);
    command
}
