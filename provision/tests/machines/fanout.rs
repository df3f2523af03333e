//! `regex-provision exec`, `copy` and `ssh`, against real sshd on three addresses of a network of their own.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Daemon, Namespace, find, needs, until};
use crate::serve::site::{Server, Site};

const PORT: u16 = 2222;

/// Three nodes with sshd, and one address at which nobody is.
struct Nodes {
    net: Namespace,
    dir: TempDir,
    _sshd: Daemon,
}

impl Nodes {
    /// None where it cannot be made.
    fn start() -> Option<Self> {
        if !needs(&["ssh", "scp", "ssh-keygen", "ip"]) {
            return None;
        }
        let sshd = find("sshd")?;
        let addresses = [
            "10.77.0.1/24",
            "10.77.0.11/24",
            "10.77.0.12/24",
            "10.77.0.13/24",
        ];
        let net = Namespace::new(&addresses)?;
        let dir = TempDir::new().expect("temporary directories can be made");
        let path = dir.path();
        for key in ["host", "client"] {
            let made = Command::new("ssh-keygen")
                .current_dir(path)
                .args(["-q", "-t", "ed25519", "-N", "", "-f", key])
                .status();
            assert!(made.expect("it starts").success());
        }
        fs::copy(path.join("client.pub"), path.join("authorized")).expect("it is ours");
        // What a node is: its address, as sshd sees it.
        let config = format!(
            "Port {PORT}\nAddressFamily inet\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n",
            path.display()
        );
        fs::write(path.join("sshd.conf"), config).expect("it is ours");
        // sshd as root wants the directory to which it locks its unprivileged half.
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").expect("root may make it");
        }
        let mut command = net.command(sshd.to_str().expect("the path is text"));
        command.args(["-D", "-e", "-f"]).arg(path.join("sshd.conf"));
        let nodes = Self {
            _sshd: Daemon::start(command),
            net,
            dir,
        };
        nodes.write_cluster("boot");
        until("sshd answers", || {
            let told = nodes.run(&["exec", "s1", "true"]);
            told.status.success().then_some(())
        });
        Some(nodes)
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write_cluster(&self, host_keys: &str) {
        let text = Self::text(host_keys);
        fs::write(self.path().join("cluster.toml"), text).expect("it is ours");
    }

    fn text(host_keys: &str) -> String {
        let user = String::from_utf8(Command::new("id").arg("-un").output().expect("id").stdout);
        format!(
            r#"
[cluster]
name = "test"
interface = "br0"
subnet = "10.77.0.0/24"
master = "10.77.0.1"

[image.base]
source = {{ kind = "debootstrap", suite = "bookworm" }}

[profile.default]
image = "base"

[ssh]
user = "{}"
port = {PORT}
host-keys = "{host_keys}"
connect-timeout = "5s"

[[node]]
name = "s[1-4]"
mac = ["52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03", "52:54:00:00:00:04"]
address = "10.77.0.11"
profile = "default"
"#,
            user.expect("it is text").trim()
        )
    }

    fn run(&self, args: &[&str]) -> Output {
        let output = self.command(args).output();
        output.expect("the binary under test starts")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.net.command(env!("CARGO_BIN_EXE_regex-provision"));
        command
            .current_dir(self.path())
            .env("HOME", self.path())
            .env_remove("SSH_AUTH_SOCK")
            .args(&args[..1])
            .args([
                "-o",
                &format!("IdentityFile={}/client", self.path().display()),
            ])
            .args(&args[1..])
            .stdin(Stdio::null());
        command
    }
}

#[track_caller]
fn expect(output: &Output, code: i32, stdout: &str) -> String {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        (output.status.code(), &*printed),
        (Some(code), stdout),
        "{told}"
    );
    told
}

#[test]
fn commands_and_files_reach_the_nodes() {
    let Some(nodes) = Nodes::start() else {
        return;
    };
    // Equal outputs are one; the address tells nodes apart.
    let told = nodes.run(&[
        "exec",
        "s[1-3]",
        "echo same; test $(echo $SSH_CONNECTION | cut -d' ' -f3) != 10.77.0.12 || echo two >&2",
    ]);
    let printed = String::from_utf8(told.stdout.clone()).expect("it is text");
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    assert!(
        printed.starts_with("--- s[1,3] (2)\nsame\n--- s2 (1)\n"),
        "{printed}"
    );
    // Several words arrive as they are.
    expect(
        &nodes.run(&[
            "exec", "s1", "--", "printf", "%s|", "a b", "$HOME", "*", "it's",
        ]),
        0,
        "--- s1 (1)\na b|$HOME|*|it's|\n",
    );
    // Who failed, and how, is told; how many is the exit status.
    let told = nodes.run(&[
        "exec",
        "@all",
        "exit $(echo $SSH_CONNECTION | cut -d' ' -f3 | tail -c 2)",
    ]);
    let told = expect(&told, 4, "");
    for line in [
        "s1: exit status 1",
        "s2: exit status 2",
        "s3: exit status 3",
        "s4: cannot log in: ",
        "4 of 4 nodes failed",
    ] {
        assert!(
            told.contains(&format!("regex-provision: {line}")),
            "no {line:?} in {told}"
        );
    }
    // One that hangs costs its time.
    let told = nodes.run(&[
        "exec",
        "s1",
        "--timeout",
        "2s",
        "echo begun; exec sleep 1000",
    ]);
    let told = expect(&told, 1, "--- s1 (1)\nbegun\n");
    assert!(told.contains("s1: not done within 2 s"), "{told}");
    // Lines as they come.
    let told = nodes.run(&["exec", "--stream", "s[1-2]", "echo a; printf b; echo c >&2"]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    let mut lines: Vec<_> = std::str::from_utf8(&told.stdout)
        .expect("it is text")
        .lines()
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, ["s1: a", "s1: b", "s2: a", "s2: b"]);
    let mut lines: Vec<_> = std::str::from_utf8(&told.stderr)
        .expect("it is text")
        .lines()
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, ["s1: c", "s2: c"]);

    // Files.
    fs::create_dir(nodes.path().join("there")).expect("it is ours");
    fs::create_dir(nodes.path().join("some")).expect("it is ours");
    fs::write(nodes.path().join("some/file with a space"), "content\n").expect("it is ours");
    let there = format!("{}/there/", nodes.path().display());
    expect(&nodes.run(&["copy", "s1", "some", &there]), 0, "");
    let copied = fs::read_to_string(nodes.path().join("there/some/file with a space"));
    assert_eq!(copied.expect("it was copied"), "content\n");
    let told = nodes.run(&["copy", "s[1-2]", "some", "/not/there/"]);
    let said = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        said.starts_with("--- s[1-2] (2)\nscp: ") && said.contains("/not/there"),
        "{said}"
    );
    let told = expect(&told, 2, &said);
    assert!(told.contains("s[1-2]: exit status 1"), "{told}");
    let told = expect(&nodes.run(&["copy", "s1", "not-there", &there]), 255, "");
    assert!(told.contains("not-there: nothing was copied"), "{told}");

    // A login, here with a command.
    let told = nodes.run(&["ssh", "s2", "--", "echo", "hello   there"]);
    expect(&told, 0, "hello   there\n");
    let told = nodes.run(&["ssh", "s[1-2]"]);
    assert_eq!(told.status.code(), Some(2));

    // Nodes that nobody knows.
    let told = expect(&nodes.run(&["exec", "t1", "true"]), 255, "");
    assert!(told.contains("t1"), "{told}");

    // Keys that stay are remembered, and another one is refused.
    nodes.write_cluster("kept");
    expect(&nodes.run(&["exec", "s1", "true"]), 0, "");
    let known = nodes.path().join(".ssh/known_hosts.regex-provision");
    let text = fs::read_to_string(&known).expect("the key is remembered");
    assert!(text.starts_with("s1 ssh-ed25519 "), "{text}");
    let client = fs::read_to_string(nodes.path().join("client.pub")).expect("it is ours");
    fs::write(&known, format!("s1 {client}")).expect("it is ours");
    let told = expect(&nodes.run(&["exec", "s1", "true"]), 1, "");
    assert!(told.contains("s1: cannot log in: "), "{told}");
}

/// ssh ends with 255 when it has no connection, and when the command does.
#[test]
fn what_was_printed_is_shown_however_it_ends() {
    let Some(nodes) = Nodes::start() else {
        return;
    };
    for (command, printed) in [
        ("echo out; exit 255", "--- s1 (1)\nout\n"),
        (
            "echo ssh: no such thing >&2; exit 255",
            "--- s1 (1)\nssh: no such thing\n",
        ),
        ("exit 255", ""),
    ] {
        let told = expect(&nodes.run(&["exec", "s1", command]), 1, printed);
        assert!(
            told.contains("regex-provision: s1: exit status 255\n"),
            "{told}"
        );
    }
    // More than may be on its way: some of it has arrived when the connection ends.
    let lost = "echo begun; head -c 3000000 /dev/zero | tr '\\0' x; kill -9 $PPID; sleep 60";
    let told = nodes.run(&["exec", "s1", lost]);
    let said = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(1), "{said}");
    assert!(told.stdout.starts_with(b"--- s1 (1)\nbegun\nxxx"), "{said}");
    assert!(said.contains("s1: the connection was lost: "), "{said}");
    let told = nodes.run(&["exec", "s1", "kill -9 $PPID; sleep 60"]);
    let told = expect(&told, 1, "");
    assert!(told.contains("s1: the connection was lost: "), "{told}");
    // As of a node that has lost its power; the server that is held goes when we have seen it, or in a minute.
    let seen = nodes.path().join("seen");
    let silent = format!(
        "kill -STOP $PPID; for i in $(seq 600); do [ -e {} ] && break; sleep 0.1; done; kill -9 $PPID",
        seen.display()
    );
    let told = nodes.run(&[
        "exec",
        "-o",
        "ServerAliveInterval=1",
        "-o",
        "ServerAliveCountMax=1",
        "s1",
        &silent,
    ]);
    fs::write(&seen, "").expect("it is ours");
    let told = expect(&told, 1, "");
    assert!(
        told.contains("s1: the connection was lost: Timeout, server 10.77.0.11 not responding."),
        "{told}"
    );

    // The reason is what ssh says, not what scp says of it.
    fs::write(nodes.path().join("file"), "content\n").expect("it is ours");
    let there = format!("{}/there", nodes.path().display());
    let told = expect(&nodes.run(&["copy", "s4", "file", &there]), 1, "");
    assert!(
        told.contains("s4: cannot log in: ssh: connect to host 10.77.0.14 port 2222: "),
        "{told}"
    );
    let told = nodes.run(&["copy", "-u", "nobody-at-all", "s1", "file", &there]);
    let told = expect(&told, 1, "");
    assert!(told.contains("Permission denied"), "{told}");
    // A name with a colon is no machine's.
    fs::write(nodes.path().join("x:y"), "content\n").expect("it is ours");
    expect(&nodes.run(&["copy", "s1", "x:y", &there]), 0, "");
    let copied = fs::read_to_string(&there).expect("it was copied");
    assert_eq!(copied, "content\n");
}

#[test]
fn what_is_known_is_told_when_it_is_interrupted() {
    let Some(nodes) = Nodes::start() else {
        return;
    };
    let begun = nodes.path().join("begun");
    let line = format!(
        "case $SSH_CONNECTION in *10.77.0.11*) echo done;; *) touch {}; exec sleep 1000;; esac",
        begun.display()
    );
    let exec = nodes
        .command(&["exec", "-P", "1", "s[1-3]", &line])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary under test starts");
    until("the second has begun", || begun.exists().then_some(()));
    let pid = i32::try_from(exec.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("it has a number"), Signal::INT).expect("it runs");
    let output = exec.wait_with_output().expect("it is ours");
    let told = expect(&output, 2, "--- s1 (1)\ndone\n");
    for line in [
        "s2: had not ended when this was interrupted",
        "s3: not begun, for this was interrupted",
        "2 of 3 nodes failed",
    ] {
        assert!(told.contains(line), "no {line:?} in {told}");
    }
}

/// The status of these commands counts nodes, so nothing else may look like it.
#[test]
fn a_command_line_that_is_not_understood_is_no_number_of_nodes() {
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regex-provision"));
        let output = command.args(args).output();
        output.expect("the binary under test starts").status.code()
    };
    assert_eq!(run(&["exec", "s1"]), Some(255));
    assert_eq!(run(&["exec", "--never", "s1", "true"]), Some(255));
    assert_eq!(run(&["copy", "s1"]), Some(255));
    assert_eq!(run(&["exec", "--help"]), Some(0));
    assert_eq!(run(&["power", "explode", "s1"]), Some(2));
}

#[test]
fn nobody_is_told_as_nobody() {
    let dir = TempDir::new().expect("temporary directories can be made");
    let text = Nodes::text("boot");
    for args in [
        &["exec", "@all", "-x", "@all", "true"][..],
        &["copy", "@all", "-x", "@all", "cluster.toml", "/tmp"],
        &["power", "on", "@all", "-x", "@all"],
    ] {
        let told = crate::harness::provision(dir.path(), &text, args);
        let told = expect(&told, 0, "");
        assert!(told.contains("no node is meant"), "{told}");
    }
}

/// Whom `exec` and `copy` reach, and whom not, everybody sees.
#[test]
fn the_status_knows_whom_ssh_has_reached() {
    let Some(nodes) = Nodes::start() else {
        return;
    };
    let site = Site::new(0, "");
    let serve = format!(
        "[serve]\ndirectory = \"{}\"\n",
        site.store().root().display()
    );
    site.describe(&(Nodes::text("boot") + &serve));
    site.build("one");
    site.apply(1);
    let mut command = nodes.net.command(env!("CARGO_BIN_EXE_regex-provision"));
    command
        .args(["serve", "--no-daemons", "--listen", "10.77.0.1:8080"])
        .env("REGEX_PROVISION_FILE", site.file());
    let _server = Server::start(command, &site.log());
    let unreached = || {
        let mut command = nodes.net.command(env!("CARGO_BIN_EXE_regex-provision"));
        let output = command
            .args(["status", "--json"])
            .env("REGEX_PROVISION_FILE", site.file())
            .output()
            .expect("the binary under test starts");
        let status: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        let nodes = status["nodes"].as_array().expect("there are some").iter();
        let told = nodes.filter(|node| node["unreached"].to_string().contains("cannot log in"));
        let names = told.map(|node| node["name"].as_str().unwrap_or_default().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(unreached(), [""; 0]);
    nodes.run(&["exec", "@all", "true"]);
    until("the last is told", || (unreached() == ["s4"]).then_some(()));
    fs::write(nodes.path().join("file"), "content\n").expect("it is ours");
    let told = nodes.run(&[
        "copy",
        "-u",
        "nobody-at-all",
        "s[1-2]",
        "file",
        "/not/there",
    ]);
    let told = expect(&told, 2, "");
    assert!(told.contains("s2: cannot log in: nobody-at-all@"), "{told}");
    until("two more are told", || {
        (unreached() == ["s1", "s2", "s4"]).then_some(())
    });
    // A copy that fails has reached its node, and so has a command.
    nodes.run(&["copy", "s1", "file", "/not/there/"]);
    nodes.run(&["exec", "s2", "exit 255"]);
    until("they are reached", || (unreached() == ["s4"]).then_some(()));
}
