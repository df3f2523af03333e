//! `regex-provision exec` and `copy` for many nodes at once, through an `ssh` and a `scp` of the test's own.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::harness::{expect, program};
use crate::serve::site::Site;

/// The directory of a site; the addresses of its nodes begin at 10.77.1.0.
fn directory(site: &Site) -> PathBuf {
    let file = site.file();
    file.parent().expect("a file is in a directory").to_owned()
}

/// Runs a command for the nodes of a site, where `name` is this script.
fn command(site: &Site, (name, script): (&str, &str), args: &[&str]) -> Command {
    let directory = directory(site);
    let mut command = site.command(args);
    command
        .current_dir(&directory)
        .env("PATH", program(&directory, name, script))
        .env("HOME", &directory);
    command
}

fn run(site: &Site, script: (&str, &str), args: &[&str]) -> Output {
    let output = command(site, script, args).output();
    output.expect("the binary under test starts")
}

#[test]
fn the_status_counts_up_to_100_nodes() {
    for (nodes, status) in [(100, 100), (101, 101), (130, 101)] {
        let site = Site::new(nodes, "");
        let told = run(&site, ("ssh", "exit 7"), &["exec", "@all", "true"]);
        let told = expect(&told, status, "");
        let last = nodes - 1;
        for line in [
            format!("regex-provision: s[0-{last}]: exit status 7\n"),
            format!("regex-provision: {nodes} of {nodes} nodes failed\n"),
        ] {
            assert!(told.contains(&line), "no {line:?} in {told}");
        }
    }
}

/// Waits until as many of it run as there are nodes.
fn together(directory: &Path, nodes: usize) -> String {
    format!(
        "cd {} && : > began.$$; until set -- began.*; [ $# -ge {nodes} ]; do sleep 0.1; done; echo together",
        directory.display()
    )
}

/// A shell that lets itself and what it runs have few files open, and then is that command.
fn with_limit(limit: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("ulimit {limit}; exec \"$@\""), "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// Each waits for all others, so it goes well only if they run at once.
#[test]
fn as_many_run_at_once_as_was_asked_for_whatever_may_be_open() {
    let site = Site::new(40, "");
    let script = together(&directory(&site), 40);
    let args = ["exec", "@all", "-P", "40", "--timeout", "50s", "true"];
    let command = command(&site, ("ssh", &script), &args);
    let told = with_limit("-S -n 64", &command).output();
    let told = told.expect("the shell starts");
    expect(&told, 0, "--- s[0-39] (40)\ntogether\n");
}

/// Fewer at once are better than failures.
#[test]
fn a_window_is_no_larger_than_what_may_be_open() {
    let site = Site::new(40, "");
    let args = ["exec", "@all", "-P", "40", "true"];
    let command = command(&site, ("ssh", "echo well"), &args);
    let told = with_limit("-n 64", &command).output();
    let told = told.expect("the shell starts");
    expect(&told, 0, "--- s[0-39] (40)\nwell\n");
}

/// Only one that is not there can be installed.
#[test]
fn the_package_is_named_where_the_program_is_missing() {
    let site = Site::new(1, "");
    let empty = directory(&site).join("empty");
    std::fs::create_dir(&empty).expect("it is ours");
    let exec = |path: &Path| {
        let mut command = command(&site, ("other", ""), &["exec", "s0", "true"]);
        let output = command.env("PATH", path).output();
        expect(&output.expect("the binary under test starts"), 1, "")
    };
    let told = exec(&empty);
    assert!(told.contains("s0: cannot run ssh: "), "{told}");
    assert!(told.contains("openssh-client"), "{told}");
    std::fs::write(empty.join("ssh"), "not a program").expect("it is ours");
    let told = exec(&empty);
    assert!(told.contains("s0: cannot run ssh: "), "{told}");
    assert!(!told.contains("openssh-client"), "{told}");
}

#[test]
fn what_hangs_costs_its_time_and_no_other_node() {
    let site = Site::new(2, "");
    let script = "case $* in *10.77.1.0:*) exec sleep 1000;; esac";
    let args = ["copy", "@all", "--timeout", "1s", "cluster.toml", "/tmp"];
    let told = expect(&run(&site, ("scp", script), &args), 1, "");
    assert!(told.contains("s0: not done within 1 s"), "{told}");
    assert!(told.contains("1 of 2 nodes failed"), "{told}");
}

/// A pipe whose reader has gone.
fn closed() -> Stdio {
    let (ours, theirs) = UnixStream::pair().expect("there are sockets");
    drop(theirs);
    Stdio::from(std::os::fd::OwnedFd::from(ours))
}

fn full() -> Stdio {
    let full = File::options().write(true).open("/dev/full");
    full.expect("Linux has it").into()
}

#[test]
fn what_cannot_be_printed_hides_no_failure() {
    let site = Site::new(4, "");
    // Each prints something else.
    let (bad, good) = ("echo \"$@\"; exit 3", "echo \"$@\"");
    let lost = "cannot write to standard output: ";
    for window in [&["--stream"][..], &["-P", "4"]] {
        for (out, script, status, is_told) in [
            (closed(), bad, 4, false),
            (closed(), good, 0, false),
            (full(), bad, 4, true),
            (full(), good, 102, true),
        ] {
            let args = [&["exec", "@all"], window, &["true"]].concat();
            let mut command = command(&site, ("ssh", script), &args);
            let output = command.stdout(out).stderr(Stdio::piped()).spawn();
            let output = output.and_then(std::process::Child::wait_with_output);
            let told = expect(&output.expect("the binary under test starts"), status, "");
            assert_eq!(told.contains(lost), is_told, "{told}");
            let failed = "s[0-3]: exit status 3\nregex-provision: 4 of 4 nodes failed\n";
            assert_eq!(told.contains(failed), status == 4, "{told}");
        }
    }
    // What was done was done.
    let mut text = std::fs::read_to_string(site.file()).expect("it is there");
    text.push_str("bmc = { kind = \"command\", on = [\"true\"], off = [\"true\"] }\n");
    site.describe(&text);
    for json in [&[][..], &["--json"]] {
        let args = [&["power", "on", "@all"], json].concat();
        let output = site
            .command(&args)
            .stdout(full())
            .stderr(Stdio::piped())
            .spawn();
        let output = output.and_then(std::process::Child::wait_with_output);
        let told = expect(&output.expect("the binary under test starts"), 1, "");
        assert!(told.contains(lost) && !told.contains("failed"), "{told}");
        let output = site.command(&args).stdout(closed()).status();
        assert_eq!(
            output.expect("the binary under test starts").code(),
            Some(0)
        );
    }
}
