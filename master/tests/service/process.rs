//! `regex-master` as a process.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn command(data: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regex-master"));
    command
        .args(["serve", "--listen", listen, "--log", "warn", "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A running master; killed when the test fails.
struct Running(Child);

impl Running {
    /// Starts it, and waits until it listens; with its address.
    fn start(data: &Path) -> (Self, String) {
        let mut child = command(data, "127.0.0.1:0").spawn().expect("it starts");
        let stdout = child.stdout.as_mut().expect("it is piped");
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        read.expect("it can be read");
        let address = line.trim_end().strip_prefix("listening on ");
        let address = address.expect("the line that tests rely on").to_owned();
        (Self(child), address)
    }

    /// Sends a signal; how it ended and what it said.
    fn signal(mut self, signal: Signal) -> (Option<i32>, String) {
        let pid = i32::try_from(self.0.id()).expect("a pid");
        let pid = Pid::from_raw(pid).expect("it is not 0");
        kill_process(pid, signal).expect("it runs");
        let status = self.0.wait().expect("it can be waited for");
        let mut said = String::new();
        let stderr = self.0.stderr.as_mut().expect("it is piped");
        stderr.read_to_string(&mut said).expect("it is text");
        (status.code(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn failure(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty());
    said
}

#[test]
fn a_signal_ends_it_well() {
    let dir = tempfile::tempdir().expect("a directory");
    for signal in [Signal::TERM, Signal::INT] {
        // The directory is made, and free again.
        let (master, address) = Running::start(&dir.path().join("a/b"));
        assert!(address.starts_with("127.0.0.1:"));
        let (code, said) = master.signal(signal);
        assert_eq!((code, said.as_str()), (Some(0), ""));
    }
}

#[test]
fn one_master_uses_a_data_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let (first, _) = Running::start(dir.path());
    let second = command(dir.path(), "127.0.0.1:0").output();
    let said = failure(&second.expect("it starts"));
    assert!(
        said.contains("another master uses the data directory"),
        "{said}"
    );
    assert!(said.contains(&dir.path().display().to_string()), "{said}");
    assert_eq!(first.signal(Signal::TERM).0, Some(0));
}

#[test]
fn what_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let said = failure(&command(dir.path(), &address).output().expect("it starts"));
    let expected = format!("cannot listen on {address} (--listen)");
    assert!(said.contains(&expected), "{said}");
    assert!(said.to_lowercase().contains("in use"), "{said}");

    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("it can be written");
    let said = failure(&command(&file, "127.0.0.1:0").output().expect("it starts"));
    assert!(said.contains("cannot make the data directory"), "{said}");
    assert!(said.contains("(--data)"), "{said}");

    let mut wrong = command(dir.path(), "127.0.0.1:0");
    let said = failure(&wrong.args(["--output", "0"]).output().expect("it starts"));
    assert!(said.contains("--output"), "{said}");
}
