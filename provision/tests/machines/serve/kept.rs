//! A directory: who serves it, and what is learnt from it without asking over HTTP.

use std::fs;

use regexctl_provision::serve::Served;
use regexctl_provision::status::State;
use regexctl_provision::store::Digest;

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
