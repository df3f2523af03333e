//! Commands that reach nodes, and the boot endpoint: what they tell it, and whom it has them reach.

use std::fmt::Write as _;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use regexctl_provision::status::State;

use super::super::harness::program;
use super::boots::boot;
use super::client::post;
use super::site::{Server, Site, mac};

/// Waits until the boot endpoint tells what was told it after all else, for it may tell a status for a moment longer than
/// it is true; which nodes are not reached.
fn unreached(server: &Server, last: usize) -> Vec<String> {
    let tried = format!(
        "{{\"means\":\"ssh\",\"nodes\":[{{\"mac\":\"{}\",\"problem\":\"the last\"}}]}}",
        mac(last)
    );
    assert_eq!(post(server.address, "/tried", &tried).status, 200);
    let status = server.until("the last is told", |status| {
        !status.nodes[last].unreached.is_empty()
    });
    let nodes = status.nodes.into_iter().enumerate();
    let told = nodes.filter(|(at, node)| *at != last && !node.unreached.is_empty());
    told.map(|(_, node)| node.name).collect()
}

/// What keeps the master from asking a node says nothing of the node.
#[test]
fn nodes_that_power_did_not_ask_are_not_unreached() {
    let site = Site::new(2, "");
    let mut text = fs::read_to_string(site.file()).expect("it is there");
    for (name, number, bmc) in [
        (
            "asked",
            10,
            "kind = \"command\", on = [\"true\"], status = [\"false\"]",
        ),
        (
            "strange",
            11,
            "kind = \"command\", on = [\"true\"], status = [\"echo\", \"perhaps\"]",
        ),
        (
            "slow",
            12,
            "kind = \"command\", on = [\"true\"], status = [\"sleep\", \"1000\"]",
        ),
        (
            "no-program",
            13,
            "kind = \"command\", on = [\"true\"], status = [\"/not/there\"]",
        ),
        ("no-command", 14, "kind = \"command\", on = [\"true\"]"),
        (
            "no-password",
            15,
            "kind = \"redfish\", address = \"127.0.0.1\", port = 1, credentials = \"/not/there\"",
        ),
        ("wakes", 16, "kind = \"wol\""),
    ] {
        let mac = mac(number);
        write!(
            text,
            "[[node]]\nname = \"{name}\"\nmac = \"{mac}\"\naddress = \"10.77.2.{number}\"\nbmc = {{ {bmc} }}\n"
        )
        .expect("writing to a String cannot fail");
    }
    let power = "[power]\ntimeout = \"1s\"\n[image.base]";
    site.describe(&text.replacen("[image.base]", power, 1));
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let (code, out, told) = site.run_with(&server, &["power", "status", "@all"]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{told}");
    for said in [
        "s[0-1]: cluster.toml says no bmc for it",
        "asked: false: ",
        "strange: the status command answered",
        "slow: no answer from sleep within 1 s",
        "no-program: cannot run /not/there",
        "no-command: command cannot status",
        "no-password: cannot read the credentials",
        "wakes: wol cannot do status",
        "9 of 9 nodes failed",
    ] {
        assert!(told.contains(said), "no {said:?} in {told}");
    }
    assert_eq!(unreached(&server, 1), ["asked", "strange", "slow"]);
    server.end();
}

/// Whoever reads the output has seen enough of it; whoever looks at the status has not.
#[test]
fn what_is_not_printed_is_told_all_the_same() {
    let site = Site::new(4, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let directory = site.file();
    let directory = directory.parent().expect("a file is in a directory");
    let ssh = "case $* in *-V) exit 255;; *10.77.1.0*) echo hello;; *) echo ssh: no route > \"$2\"; exit 255;; esac";
    let (reader, writer) = UnixStream::pair().expect("there are sockets");
    drop(reader);
    let output = site
        .command(&["exec", "@all", "true"])
        .env("PATH", program(directory, "ssh", ssh))
        .env("HOME", directory)
        .env("REGEX_PROVISION_SERVER", server.url())
        .stdout(Stdio::from(OwnedFd::from(writer)))
        .stderr(Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .expect("the binary under test starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(
        told.contains("s[1-3]: cannot log in: ssh: no route"),
        "{told}"
    );
    assert_eq!(unreached(&server, 0), ["s1", "s2", "s3"]);
    server.end();
}

#[test]
fn sets_by_state_and_by_image_lead_to_their_nodes() {
    let site = Site::new(3, "");
    let mut text = fs::read_to_string(site.file()).expect("it is there");
    text.push_str("bmc = { kind = \"command\", on = [\"true\"], status = [\"echo\", \"off\"] }\n");
    site.describe(&text);
    site.build("one");
    site.apply(1);
    let server = site.serve();
    boot(&server, 1, "b-1");
    server.until("it is up", |status| status.nodes[1].state == State::Up);
    let directory = site.file();
    let directory = directory.parent().expect("a file is in a directory");
    let path = program(directory, "ssh", "echo hello");
    let run = |args: &[&str]| {
        let mut command: Command = site.command(args);
        let output = command
            .env("PATH", &path)
            .env("HOME", directory)
            .env("REGEX_PROVISION_SERVER", server.url())
            .output()
            .expect("the binary under test starts");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {told}");
        String::from_utf8(output.stdout).expect("it is text")
    };
    for (set, folded, count) in [
        ("@down", "s[0,2]", 2),
        ("@up", "s1", 1),
        ("@image=base", "s[0-2]", 3),
        ("@image=base,!@down", "s1", 1),
    ] {
        let printed = run(&["exec", set, "true"]);
        assert_eq!(printed, format!("--- {folded} ({count})\nhello\n"), "{set}");
        let printed = run(&["power", "status", set]);
        assert_eq!(printed, format!("{folded}: off\n"), "{set}");
    }
    server.end();
}
