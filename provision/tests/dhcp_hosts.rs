//! `regex-provision dhcp-hosts` as a person runs it: what it prints, and what the daemons
//! that are to read it say.
//!
//! The daemons' own checkers are the oracles. Where one is not installed its test says so
//! and passes, but with `CI` in the environment it fails.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const LIST: &str = "\
# name   address      Ethernet address
n001     10.0.0.1     52:54:00:00:00:01
N002     10.0.0.2     52-54-00-00-00-02   # rack 1

login.cluster.example 10.0.0.254 0a1b.2C3D.4e5f
";

/// Names that are words of the servers' languages, or look like numbers in one.
const AWKWARD: &[&str] = &[
    "host",
    "group",
    "subnet",
    "option",
    "if",
    "else",
    "true",
    "null",
    "include",
    "deny",
    "not",
    "hardware",
    "dead",
    "beef",
    "0a",
    "1a2b",
    "0x10",
    "1e5",
    "1-2",
    "a-1",
    "3com",
    "id",
    "set",
    "net",
    "tag",
    "m",
    "12ms",
    "1.2.3.a",
    "infinite.example",
    "ignore.example",
    "x--y",
    "ethernet",
    "any",
];

fn run(arguments: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_regex-provision"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary under test starts");
    let mut pipe = child.stdin.take().expect("stdin is a pipe");
    // The program may end without reading its input.
    let _ = pipe.write_all(stdin);
    drop(pipe);
    child.wait_with_output().expect("the child is ours")
}

fn rendered(format: &str, list: &str) -> String {
    let output = run(&["dhcp-hosts", "--format", format], list.as_bytes());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""));
    String::from_utf8(output.stdout).expect("the output is ASCII")
}

fn awkward_list() -> String {
    let awkward = AWKWARD
        .iter()
        .enumerate()
        .map(|(index, name)| format!("{name} 10.0.1.{index} 52:54:00:00:01:{index:02x}"));
    let longest = format!("{} 10.0.2.1 52:54:00:00:02:01", "l".repeat(63));
    let lines: Vec<_> = awkward.chain([LIST.to_owned(), longest]).collect();
    lines.join("\n")
}

#[test]
fn dnsmasq_lines() {
    insta::assert_snapshot!(rendered("dnsmasq", LIST), @r"
    dhcp-host=52:54:00:00:00:01,10.0.0.1,n001
    dhcp-host=52:54:00:00:00:02,10.0.0.2,n002
    dhcp-host=0a:1b:2c:3d:4e:5f,10.0.0.254,login.cluster.example
    ");
    let default = run(&["dhcp-hosts"], LIST.as_bytes());
    assert_eq!(default.stdout, rendered("dnsmasq", LIST).into_bytes());
}

#[test]
fn isc_blocks() {
    insta::assert_snapshot!(rendered("isc", LIST), @r#"
    host n001 {
      hardware ethernet 52:54:00:00:00:01;
      fixed-address 10.0.0.1;
      option host-name "n001";
    }
    host n002 {
      hardware ethernet 52:54:00:00:00:02;
      fixed-address 10.0.0.2;
      option host-name "n002";
    }
    host login.cluster.example {
      hardware ethernet 0a:1b:2c:3d:4e:5f;
      fixed-address 10.0.0.254;
      option host-name "login.cluster.example";
    }
    "#);
}

#[test]
fn kea_reservations() {
    insta::assert_snapshot!(rendered("kea", LIST), @r#"
    [
      { "hw-address": "52:54:00:00:00:01", "ip-address": "10.0.0.1", "hostname": "n001" },
      { "hw-address": "52:54:00:00:00:02", "ip-address": "10.0.0.2", "hostname": "n002" },
      { "hw-address": "0a:1b:2c:3d:4e:5f", "ip-address": "10.0.0.254", "hostname": "login.cluster.example" }
    ]
    "#);
    assert_eq!(rendered("kea", "# nobody\n"), "[]\n");
}

#[test]
fn problems_are_all_reported_and_nothing_is_printed() {
    let list = "\
n001 10.0.0.1 52:54:00:00:00:01
n001 10.0.0.1 52:54:00:00:00:01
n_3  10.0.0   52:54:00:00:00
n004 10.0.0.4 52:54:00:00:00:04 server
n005
";
    for format in ["dnsmasq", "isc", "kea"] {
        let output = run(&["dhcp-hosts", "--format", format], list.as_bytes());
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(output.stdout, b"");
        insta::allow_duplicates! {
            insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr), @r#"
            stdin:2:1: the host name n001 is also in line 1; each may occur once
            stdin:2:6: the IPv4 address 10.0.0.1 is also in line 1; each may occur once
            stdin:2:15: the Ethernet address 52:54:00:00:00:01 is also in line 1; each may occur once
            stdin:3:1: '_' in a host name; use letters, digits and hyphens
            stdin:3:6: "10.0.0" is not an IPv4 address; write four numbers of 0 to 255 without leading zeros, such as 10.0.0.1
            stdin:3:15: "52:54:00:00:00" is not an Ethernet address; write six pairs of hex digits, such as 52:54:00:12:34:56
            stdin:4:33: unexpected "server" after the Ethernet address; begin a comment with #
            stdin:5:5: the IPv4 address is missing; a line has three fields: hostname ip mac
            regex-provision: 8 problems in the host list stdin; nothing was printed
            "#);
        }
    }
}

#[test]
fn the_list_may_be_a_file() {
    let dir = TempDir::new().expect("a temporary directory");
    let path = dir.path().join("hosts.txt");
    fs::write(&path, LIST).expect("the directory is ours");
    let path = path.to_str().expect("temporary paths are UTF-8");
    let from_file = run(&["dhcp-hosts", path], b"n9 bad\n");
    assert_eq!(from_file.stdout, rendered("dnsmasq", LIST).into_bytes());
    assert_eq!(
        run(&["dhcp-hosts", "-"], LIST.as_bytes()).stdout,
        from_file.stdout
    );

    fs::write(path, "n1\n").expect("the directory is ours");
    let bad = run(&["dhcp-hosts", path], b"");
    let stderr = String::from_utf8_lossy(&bad.stderr);
    assert_eq!(bad.status.code(), Some(2));
    assert!(stderr.starts_with(&format!("{path}:1:3: ")), "{stderr}");

    let absent = format!("{path}.absent");
    let missing = run(&["dhcp-hosts", &absent], b"");
    let stderr = String::from_utf8_lossy(&missing.stderr);
    assert_eq!(
        (missing.status.code(), &*missing.stdout),
        (Some(2), &b""[..])
    );
    assert!(
        stderr.contains(&absent) && stderr.contains("No such file"),
        "{stderr}"
    );
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    for arguments in [&["dhcp-hosts", "--format", "bind"][..], &["apply"], &[]] {
        let output = run(arguments, b"");
        assert_eq!((output.status.code(), &*output.stdout), (Some(2), &b""[..]));
    }
}

/// Where a checker is installed: on PATH, or in the administrator's directories.
fn checker(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        assert!(
            env::var_os("CI").is_none(),
            "{name} is not installed; tests/run fetches it"
        );
        // Not with `eprintln!`, which a test that passes says to nobody.
        let _ = writeln!(
            io::stderr(),
            "SKIPPED: {name} is not installed, so its view of our output is not known"
        );
    }
    found
}

/// Runs a checker on a configuration file that includes the rendered list, and expects it to
/// accept this one and to refuse a broken one, for an oracle that accepts all tells nothing.
fn check(name: &str, format: &str, arguments: &[&str], configuration: impl Fn(&Path) -> String) {
    let Some(checker) = checker(name) else { return };
    let dir = TempDir::new().expect("a temporary directory");
    let included = dir.path().join("nodes");
    let main = dir.path().join("main.conf");
    fs::write(&main, configuration(&included)).expect("the directory is ours");
    let good = rendered(format, &awkward_list());
    let bad = good.replacen("52:54:00:00:00:01", "52:54:zz", 1);
    for (text, accepted) in [(good, true), (bad, false)] {
        fs::write(&included, &text).expect("the directory is ours");
        let output = Command::new(&checker)
            .args(arguments)
            .arg(&main)
            .output()
            .expect("the checker starts");
        assert!(
            output.status.success() == accepted,
            "{name} ended with {}\n{}{}\non\n{text}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
    }
}

#[test]
fn dnsmasq_accepts_its_lines() {
    check("dnsmasq", "dnsmasq", &["--test", "-C"], |included| {
        format!(
            "dhcp-range=10.0.0.0,static,255.255.0.0\nconf-file={}\n",
            included.display()
        )
    });
}

#[test]
fn dhcpd_accepts_its_blocks() {
    check("dhcpd", "isc", &["-t", "-q", "-cf"], |included| {
        format!(
            "subnet 10.0.0.0 netmask 255.255.0.0 {{}}\ninclude \"{}\";\n",
            included.display()
        )
    });
}

#[test]
fn kea_accepts_its_reservations() {
    check("kea-dhcp4", "kea", &["-t"], |included| {
        format!(
            r#"{{ "Dhcp4": {{
                "interfaces-config": {{ "interfaces": [] }},
                "lease-database": {{ "type": "memfile", "persist": false }},
                "subnet4": [{{
                    "id": 1, "subnet": "10.0.0.0/16",
                    "reservations": <?include "{}"?>
                }}]
            }} }}"#,
            included.display()
        )
    });
}
