//! `regex-provision init` on a real machine: one in a network namespace of its own.
//!
//! The test starts itself again under `unshare`, makes a bridge with an address, and answers on
//! UDP port 67 as a DHCP server would. Where namespaces cannot be made it says so and passes, but
//! with `CI` in the environment it fails.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::net::UdpSocket;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Set where the test runs inside of the namespace.
const INSIDE: &str = "REGEX_PROVISION_TEST_INSIDE";

/// Ways to get a namespace: as anybody, and as root where users may make none.
const WAYS: [&[&str]; 2] = [
    &["--user", "--map-root-user", "--net", "--mount", "--"],
    &["--net", "--mount", "--"],
];

/// Runs a test of this file in a namespace of its own, if there can be one.
fn enter(test: &str) {
    let works = |way: &&&[&str]| {
        let try_out = "mount -t sysfs sysfs /sys && ip link add br9 type bridge";
        let mut command = Command::new("unshare");
        let output = command.args(**way).args(["sh", "-c", try_out]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let Some(way) = WAYS.iter().find(works) else {
        assert!(
            env::var_os("CI").is_none(),
            "no network namespace can be made (unshare --user --net, ip)"
        );
        // Not with `eprintln!`, which a test that passes says to nobody.
        let _ = writeln!(
            io::stderr(),
            "SKIPPED: no network namespace can be made, so init was not tried on a machine"
        );
        return;
    };
    let status = Command::new("unshare")
        .args(*way)
        .arg(env::current_exe().expect("the test is a program"))
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare starts");
    assert!(status.success(), "inside of the namespace: {status}");
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.expect("ip starts").success(), "ip {arguments}");
}

fn run(dir: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_regex-provision"))
        .args(arguments)
        .current_dir(dir.path())
        .env("HOME", dir.path())
        .stdin(Stdio::null())
        .output()
        .expect("the binary under test starts")
}

#[test]
fn a_machine_is_looked_at() {
    if env::var_os(INSIDE).is_none() {
        enter("a_machine_is_looked_at");
        return;
    }
    let mount = Command::new("mount")
        .args(["-t", "sysfs", "sysfs", "/sys"])
        .status();
    assert!(mount.expect("mount starts").success());
    ip("link set lo up");
    ip("link add br9 type bridge");
    ip("addr add 10.7.0.1/22 dev br9");
    ip("link set br9 up");
    ip("link add up9 type veth peer name peer9");
    ip("addr add 198.51.100.9/24 dev up9");
    ip("link set up9 up");
    ip("link set peer9 up");
    ip("route add default via 198.51.100.1 dev up9");

    let dir = TempDir::new().expect("a temporary directory");
    let file = dir.path().join("cluster.toml");
    let output = run(&dir, &["init"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let text = fs::read_to_string(&file).expect("it was written");
    for line in [
        "#   br9: bridge, 10.7.0.1/22",
        "#   up9: virtual, 198.51.100.9/24, default route to 198.51.100.1\n",
        "interface = \"br9\"\nsubnet = \"10.7.0.0/22\"\nmaster = \"10.7.0.1\" ",
        "mode = \"full\"\nrange = \"10.7.3.51-10.7.3.254\" ",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
    assert!(!text.contains("CONFLICT"), "{text}");
    let check = run(&dir, &["check"]);
    assert_eq!((check.status.code(), &*check.stderr), (Some(0), &b""[..]));

    // What is there is not overwritten unasked.
    fs::write(&file, "mine").expect("the directory is ours");
    let output = run(&dir, &["init"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(2), &b""[..]));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "regex-provision: cluster.toml is there already; --force overwrites it\n"
    );
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "mine");

    // Whoever answers DHCP is named.
    let server = UdpSocket::bind("0.0.0.0:67").expect("nobody else is in this namespace");
    let output = run(&dir, &["init", "--force", "--interface", "up9"]);
    drop(server);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let own = format!("(process {})", std::process::id());
    assert!(
        stderr.contains("conflict: ") && stderr.contains(&own) && stderr.contains("0.0.0.0:67"),
        "{stderr}"
    );
    let text = fs::read_to_string(&file).expect("it was written");
    assert!(
        text.contains("# CONFLICT: this machine answers DHCP already:\n"),
        "{text}"
    );
    assert!(
        text.contains("interface = \"up9\"") && text.contains("mode = \"proxy\""),
        "{text}"
    );
    // Who answers on another interface only is not in the way.
    let server = UdpSocket::bind("10.7.0.1:67").expect("nobody else is in this namespace");
    let output = run(&dir, &["init", "--force", "--interface", "up9"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let output = run(&dir, &["init", "--force", "--interface", "br9"]);
    drop(server);
    assert!(String::from_utf8_lossy(&output.stderr).contains("10.7.0.1:67"));
    let printed = run(&dir, &["init", "-"]);
    assert!(String::from_utf8_lossy(&printed.stdout).contains("interface = \"br9\""));
    assert_eq!(fs::read_dir(dir.path()).expect("ours").count(), 1);
}

#[test]
fn a_machine_without_a_network_is_told_what_is_missing() {
    if env::var_os(INSIDE).is_none() {
        enter("a_machine_without_a_network_is_told_what_is_missing");
        return;
    }
    let mount = Command::new("mount")
        .args(["-t", "sysfs", "sysfs", "/sys"])
        .status();
    assert!(mount.expect("mount starts").success());
    ip("link add br9 type bridge");
    let dir = TempDir::new().expect("a temporary directory");
    let output = run(&dir, &["init"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("no interface here has an IPv4 address"),
        "{stderr}"
    );
    assert_eq!(fs::read_dir(dir.path()).expect("ours").count(), 0);
}
