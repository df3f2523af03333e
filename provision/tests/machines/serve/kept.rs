//! A directory: who serves it, and what is learnt from it without asking over HTTP.

use std::fs::{self, File};

use regexctl_provision::serve::Served;
use regexctl_provision::status::State;
use regexctl_provision::store::Digest;

use super::super::harness::needs;
use super::boots::boot;
use super::client::{get, post};
use super::site::{Site, mac};

#[test]
fn sets_of_nodes_know_who_is_up() {
    let site = Site::new(3, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    boot(&server, 1, "b-1");
    server.until("it is up", |status| status.nodes[1].state == State::Up);
    server.end();
    for (set, nodes) in [
        ("@up", "s1\n"),
        ("@down", "s[0,2]\n"),
        ("@all,!@down", "s1\n"),
    ] {
        let (code, out, told) = site.run(&["node", "list", set, "--fold"]);
        assert_eq!((code, out.as_str()), (Some(0), nodes), "{set}: {told}");
        assert!(told.contains("by what it has kept"), "{told}");
    }
}

/// Somebody asks for what nobody has before anything else was asked for.
#[test]
fn what_is_not_there_is_looked_for_among_all_nodes_files() {
    let site = Site::new(2, "");
    site.build("one");
    site.apply(1);
    let served = Served::load(&site.store()).expect("it can be loaded");
    let served = served.expect("something was applied");
    assert_eq!(served.overlay(Digest::of(b"nobody's")), None);
    let node = &served.cluster.nodes()[1];
    let offer = served.offer(node).expect("its image is there");
    assert!(served.overlay(offer.overlay).is_some());
}

#[test]
fn one_process_serves_a_directory_and_nothing_needs_to_be_applied_first() {
    let site = Site::new(1, "");
    let (code, _, told) = site.run(&["serve", "--no-daemons"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("run `regex-provision apply` first"), "{told}");
    let server = site.serve();
    assert_eq!(get(server.address, "/boot.ipxe").status, 503);
    assert!(
        get(server.address, "/status.json")
            .text()
            .contains("nothing has been applied yet")
    );
    let (code, _, told) = site.run(&["serve", "--no-daemons", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(2));
    assert!(
        told.contains("another `regex-provision serve` uses"),
        "{told}"
    );
    site.build("one");
    site.apply(1);
    super::super::harness::until("it is served", || {
        (get(server.address, "/boot.ipxe").status == 200).then_some(())
    });
    server.end();
}

/// Commands that cannot reach a node tell the boot endpoint, which tells everybody, until one can.
#[test]
fn what_commands_cannot_reach_is_told() {
    let site = Site::new(2, "");
    let mut text = fs::read_to_string(site.file()).expect("it is there");
    text.push_str(
        "bmc = { kind = \"command\", on = [\"true\"], off = [\"true\"], status = [\"sh\", \"-c\", \"echo no answer from the PDU >&2; exit 1\"] }\n",
    );
    site.describe(&text);
    site.build("one");
    site.apply(1);
    let server = site.serve();
    boot(&server, 1, "b-1");
    let (code, _, told) = site.run_with(&server, &["power", "status", "s[0-1]"]);
    assert_eq!(code, Some(1), "{told}");
    let ssh = format!(
        "{{\"means\":\"ssh\",\"nodes\":[{{\"mac\":\"{}\",\"problem\":\"cannot log in: no route\"}}]}}",
        mac(1)
    );
    assert_eq!(post(server.address, "/tried", &ssh).status, 200);
    let status = server.until("both are told", |status| {
        status.nodes[1].unreached.len() == 2
    });
    let reason = &status.nodes[1].reason;
    assert!(
        reason.starts_with("booted in ")
            && reason.contains("; power: ")
            && reason.contains("no answer from the PDU")
            && reason.contains("; ssh: cannot log in: no route ("),
        "{reason}"
    );
    // It is remembered, and forgotten when all is well.
    server.end();
    let server = site.serve();
    assert_eq!(server.node("s0").unreached.len(), 1);
    site.describe(&text.replace("exit 1", "echo on"));
    let (code, out, told) = site.run_with(&server, &["power", "status", "s[0-1]"]);
    assert_eq!((code, out.as_str()), (Some(0), "s[0-1]: on\n"), "{told}");
    let status = server.until("power is well", |status| {
        status.nodes[0].unreached.is_empty()
    });
    assert_eq!(status.nodes[1].unreached.len(), 1);
    for wrong in ["", "{}", "{\"means\":\"feet\",\"nodes\":[]}"] {
        assert_eq!(post(server.address, "/tried", wrong).status, 400, "{wrong}");
    }
    server.end();
}

/// What stands in the place of the file that commands leave is no file.
#[test]
fn what_commands_have_left_and_cannot_be_read_is_told_once() {
    let site = Site::new(1, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let taken = site.store().nodes().join("tried.taken");
    fs::create_dir(&taken).expect("the directory is ours");
    let told = "what commands have tried cannot be taken in: cannot read ";
    server.until("it is told", |status| {
        let mut warnings = status.warnings.iter();
        warnings.any(|warning| warning.starts_with(told))
    });
    fs::remove_dir(&taken).expect("the directory is ours");
    server.until("nothing is wrong", |status| status.warnings.is_empty());
    let log = fs::read_to_string(site.log()).expect("it is there");
    let lines = log.lines().filter(|line| line.contains(told));
    let errors = lines.filter(|line| line.contains("ERROR"));
    assert_eq!(errors.count(), 1, "{log}");
    server.end();
    // Nor is it kept from whoever asks while nobody serves.
    fs::create_dir(&taken).expect("the directory is ours");
    let (code, out, log) = site.run(&["status", "--json"]);
    assert_eq!(code, Some(0), "{log}");
    assert!(out.contains(told), "{out}");
}

/// Whoever was to hear that it is ready is gone.
#[test]
fn a_server_that_cannot_say_that_it_is_ready_leaves_nothing_behind() {
    let Some(network) = Site::network() else {
        return;
    };
    if !needs(&["dnsmasq"]) {
        return;
    }
    let site = Site::new(1, "");
    site.build("one");
    site.apply(1);
    let full = File::options().write(true).open("/dev/full");
    let mut command = site.command_in(&network, &["serve"]);
    let output = command
        .stdout(full.expect("it is everywhere"))
        .output()
        .expect("the program starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("cannot write to standard output"), "{told}");
    assert!(told.contains("stopping"), "{told}");
    // A daemon that was started has ended, and its number is removed behind it.
    let number = site.store().root().join("run/dnsmasq.supervised");
    assert!(!number.exists(), "{told}");
}
