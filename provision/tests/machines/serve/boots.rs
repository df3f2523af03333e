//! How nodes boot, and what is known of it.

use std::fs;
use std::net::Ipv4Addr;

use regexctl_provision::status::{Stage, State};
use regexctl_provision::store::Digest;

use super::client::{Answer, Connection, IPXE, get, get_as_wget, post};
use super::script::Script;
use super::site::{ROOT_BYTES, Server, Site, mac};

fn report(server: &Server, number: usize, form: &str) -> Answer {
    post(server.address, &format!("/stage/{}", mac(number)), form)
}

/// A whole boot, every byte checked against the digest that it was asked by.
pub(super) fn boot(server: &Server, number: usize, id: &str) -> Script {
    assert!(
        get(server.address, "/boot.ipxe")
            .text()
            .starts_with("#!ipxe")
    );
    let script = get(server.address, &format!("/boot/{}.ipxe", mac(number)));
    assert_eq!(script.status, 200, "{}", script.text());
    let script = Script::read(&script.text());
    for path in [&script.kernel, &script.initramfs] {
        fetch(server, path);
    }
    for stage in ["kernel", "image"] {
        let form = format!("boot={id}&stage={stage}&percent=0&message=it+goes+on&ok=1");
        assert_eq!(report(server, number, &form).status, 200);
    }
    let root = fetch(
        server,
        &format!("/artifact/{}", script.argument("rp.image=")),
    );
    assert_eq!(root.len(), ROOT_BYTES);
    let overlay = fetch(
        server,
        &format!("/artifact/{}/overlay.tar", script.argument("rp.overlay=")),
    );
    assert!(overlay.windows(12).any(|bytes| bytes == b"etc/hostname"));
    for stage in ["verified", "root", "system", "worker"] {
        let form = format!("boot={id}&stage={stage}&percent=100&message=&ok=1");
        assert_eq!(report(server, number, &form).status, 200);
    }
    script
}

/// Fetches an artifact, which must be what its path says.
fn fetch(server: &Server, path: &str) -> Vec<u8> {
    let answer = get(server.address, path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let digest = path.split('/').nth(2).expect("a digest");
    assert_eq!(Digest::of(&answer.body).to_string(), digest);
    assert_eq!(answer.field("etag"), Some(format!("\"{digest}\"").as_str()));
    answer.body
}

#[test]
fn a_node_boots_and_is_remembered_over_restarts() {
    let site = Site::new(3, "");
    let manifest = site.build("one").to_string();
    site.apply(1);
    let server = site.serve();
    let script = boot(&server, 1, "b-1");
    assert_eq!(script.argument("BOOTIF="), format!("01-{}", mac(1)));
    assert_eq!(script.argument("rp.manifest="), manifest);
    let failed = report(
        &server,
        2,
        "boot=c-1&stage=image&ok=0&percent=0&message=no+such+host%3a+gone",
    );
    assert_eq!(failed.status, 200);

    let check = |server: &Server| {
        let status = server.status();
        assert_eq!(
            (status.generation, status.cluster.as_str()),
            (Some(1), "lab")
        );
        let [never, up, failed] = &status.nodes[..] else {
            panic!("three nodes")
        };
        assert_eq!(
            (never.state, up.state, failed.state),
            (State::Never, State::Up, State::Failed)
        );
        let boot = up.boot.as_ref().expect("it has booted");
        let stages: Vec<_> = boot.stages.iter().map(|stage| stage.stage).collect();
        // Nobody hears DHCP here, and whose the first script was is not known by then.
        assert_eq!(stages, Stage::ALL[2..]);
        assert_eq!(
            up.booted.as_ref().map(|digests| &digests.manifest),
            Some(&manifest)
        );
        assert_eq!((up.booted == up.wanted, &up.reboot), (true, &None));
        assert!(
            failed.reason.starts_with("image: no such host: gone ("),
            "{}",
            failed.reason
        );
        boot.clone()
    };
    let before = check(&server);
    server.end();
    let server = site.serve();
    assert_eq!(check(&server), before);
    assert!(
        server
            .status()
            .timing
            .iter()
            .any(|timing| timing.stage == "total" && timing.boots == 1)
    );

    // What was on disk is told without anybody who serves.
    server.end();
    let (code, out, told) = site.run(&["status", "--json"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("does not answer") && told.contains("what it has kept"),
        "{told}"
    );
    let status: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!(status["serving_since"], serde_json::Value::Null);
    assert_eq!(status["nodes"][1]["state"], "up");
    let (code, out, told) = site.run(&["status", "s1"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(out.contains("verified") && out.contains("id b-1"), "{out}");
}

#[test]
fn what_was_heard_before_a_kill_is_there() {
    let site = Site::new(2, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    boot(&server, 0, "b-1");
    let journal = site.store().nodes().join("journal");
    super::super::harness::until("it is on disk", || {
        let text = fs::read_to_string(&journal).expect("it is there");
        text.contains("\"worker\"").then_some(())
    });
    server.kill();
    let server = site.serve();
    assert_eq!(server.node("s0").state, State::Up);
}

#[test]
fn a_new_generation_is_followed_and_a_reboot_is_asked_for() {
    let site = Site::new(2, "");
    let old = site.build("one");
    site.apply(1);
    let server = site.serve();
    boot(&server, 0, "b-1");
    let new = site.build("two");
    // Published is not applied.
    assert_eq!(server.node("s0").reboot, None);
    site.apply(2);
    let status = server.until("the generation is served", |status| {
        status.generation == Some(2)
    });
    let reason = format!(
        "the image base was built again: {} instead of {}",
        new.short(),
        old.short()
    );
    assert_eq!(status.nodes[0].reboot.as_ref(), Some(&reason));
    assert_eq!(status.nodes[1].reboot, None);
    let (code, out, told) = site.run(&["status", "--server", &server.url()]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        out.contains(&format!("reboot needed, because: {reason}")),
        "{out}"
    );
    assert_eq!(
        boot(&server, 0, "b-2").argument("rp.manifest="),
        new.to_string()
    );
    server.until("no reboot is needed any more", |status| {
        status.nodes[0].reboot.is_none()
    });

    // One that cannot be loaded is told, and the one of before is served on.
    fs::remove_file(site.store().manifest_path(new)).expect("it is there");
    site.apply_again(3);
    let status = server.until("it is told", |status| !status.warnings.is_empty());
    assert_eq!(status.generation, Some(2));
    assert!(
        status.warnings[0].contains("cannot load what was applied")
            && status.warnings[0].contains("generation 2 is served on"),
        "{:?}",
        status.warnings
    );
    // `apply` reads it here.
    let about = get(server.address, "/").text();
    assert!(
        about.starts_with(
            "regex-provision: cluster lab, generation 2\ncannot load what was applied"
        ),
        "{about}"
    );
    site.build("three");
    site.apply(4);
    let status = server.until("the next one is served", |status| {
        status.generation == Some(4)
    });
    assert_eq!(status.warnings, [] as [&str; 0]);
}

#[test]
fn a_node_gets_its_own_files_by_what_it_was_told_before_a_restart() {
    let site = Site::new(20, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let script = get(server.address, &format!("/boot/{}.ipxe", mac(17)));
    let overlay = Script::read(&script.text())
        .argument("rp.overlay=")
        .to_owned();
    server.end();
    let server = site.serve();
    fetch(&server, &format!("/artifact/{overlay}"));
    assert_eq!(
        get(server.address, &format!("/artifact/{}", "0".repeat(64))).status,
        404
    );
}

#[test]
fn an_unknown_machine_waits_is_approved_and_boots() {
    let site = Site::new(2, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let url = server.url();
    let stranger = mac(0x77);
    let script = get(server.address, &format!("/boot/{stranger}.ipxe")).text();
    assert_eq!(Script::read(&script).argument("rp.root="), "wait");
    let inventory = r#"{"vendor":"Dell Inc.","product":"R640","serial":"x","memory_kib":50331648,"cores":24,
        "disks":[{"name":"sda","model":"m","bytes":480103981056}],"nics":[{"name":"eth0","mac":"a","driver":"ixgbe"}]}"#;
    assert_eq!(
        post(server.address, &format!("/discover/{stranger}"), inventory).status,
        200
    );
    let (code, out, told) = site.run(&["node", "discover", "--server", &url]);
    assert_eq!(code, Some(0), "{told}");
    for part in [
        "52:54:00:00:00:77",
        "Dell Inc. R640",
        "48 GiB",
        "24",
        "sda:447 GiB",
        "eth0:ixgbe",
        "waits",
    ] {
        assert!(out.contains(part), "no {part} in\n{out}");
    }
    assert!(server.status().warnings[0].contains("node discover"));

    // Another MAC is nobody's.
    let (code, _, told) = site.run(&[
        "node",
        "approve",
        "52:54:00:00:00:78",
        "s9",
        "--server",
        &url,
    ]);
    assert_eq!(code, Some(2));
    assert!(
        told.contains("no machine 52:54:00:00:00:78 was heard of; these wait: 52:54:00:00:00:77"),
        "{told}"
    );
    // Nor is a name that is taken.
    let before = fs::read_to_string(site.file()).expect("it is there");
    let (code, _, told) = site.run(&[
        "node",
        "approve",
        "52:54:00:00:00:77",
        "s1",
        "--server",
        &url,
    ]);
    assert_eq!(code, Some(2));
    assert!(
        told.contains("s1") && told.contains("nothing was written"),
        "{told}"
    );
    assert_eq!(
        fs::read_to_string(site.file()).expect("it is there"),
        before
    );
    let (code, out, told) = site.run(&[
        "node",
        "approve",
        "52:54:00:00:00:77",
        "s9",
        "--server",
        &url,
    ]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        out.contains("10.77.1.2")
            && out.contains("boots the image base into ram")
            && out.contains("plan"),
        "{out}"
    );

    let is_waiting = || {
        let script = get_as_wget(server.address, &format!("/boot/{stranger}.ipxe")).text();
        Script::read(&script).argument("rp.root=") == "wait"
    };
    // It asks again and again, as often as it likes.
    for _ in 0..20 {
        assert!(is_waiting());
    }
    site.apply(2);
    server.until("the generation is served", |status| {
        status.generation == Some(2)
    });
    assert!(!is_waiting());
    assert!(server.status().unknown.is_empty());
    assert_eq!(server.node("s9").state, State::Never, "asking is no boot");
    boot(&server, 0x77, "b-1");
    server.until("it is up", |status| {
        let node = status.nodes.iter().find(|node| node.name == "s9");
        node.is_some_and(|node| node.state == State::Up)
    });
}

#[test]
fn strangers_are_sent_away_where_it_is_so_said_and_never_too_many_are_kept() {
    let site = Site::new(1, "[serve]\nunknown = \"refuse\"\nmax-unknown = 5");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    for number in 0x100..0x120 {
        let script = get(server.address, &format!("/boot/{}.ipxe", mac(number))).text();
        assert!(
            script.contains("booting from elsewhere") && script.contains("exit 1"),
            "{script}"
        );
    }
    let unknown = server.status().unknown;
    assert_eq!(unknown.len(), 5);
    assert!(
        unknown
            .iter()
            .any(|machine| machine.mac == "52:54:00:00:01:1f")
    );
}

#[test]
fn a_machine_that_goes_round_is_told_to_stop() {
    let site = Site::new(3, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let ask = |number| get(server.address, &format!("/boot/{}.ipxe", mac(number))).text();
    for _ in 0..5 {
        assert!(ask(0).contains("kernel http"));
    }
    let told = ask(0);
    assert!(
        told.contains("6 times within") && told.contains("exit 1") && !told.contains("kernel http"),
        "{told}"
    );
    assert!(ask(1).contains("kernel http"), "another machine boots");
    let node = server.node("s0");
    assert_eq!(node.state, State::Failed);
    assert!(
        node.reason
            .contains("without starting a kernel; told to stop"),
        "{}",
        node.reason
    );
    // The first script, too: by now it is known whose the address is, and both are at 127.0.0.1.
    for _ in 0..6 {
        get(server.address, "/boot.ipxe");
    }
    assert!(get(server.address, "/boot.ipxe").text().contains("exit 1"));
    // Whoever asks in a node's name, from elsewhere, keeps only himself from booting.
    let ask_from = |last, number| {
        let path = format!("GET /boot/{}.ipxe", mac(number));
        let fields = format!("{IPXE}Connection: close\r\n");
        let mut connection = Connection::from(Ipv4Addr::new(127, 0, 0, last), server.address);
        connection.ask(&path, &fields, b"").text()
    };
    for _ in 0..6 {
        ask_from(2, 2);
    }
    assert!(ask_from(2, 2).contains("exit 1"));
    assert!(ask_from(3, 2).contains("kernel http"));
    // What is offered anew may be tried anew.
    site.apply(2);
    server.until("the generation is served", |status| {
        status.generation == Some(2)
    });
    assert!(ask(0).contains("kernel http"));
}

#[test]
fn a_node_whose_image_is_missing_says_so() {
    let site = Site::new(1, "");
    site.build("one");
    site.apply(1);
    let text = fs::read_to_string(site.file()).expect("it is there");
    site.describe(&text.replace(
        "image = \"base\"\n",
        "image = \"base\"\nroot = \"ramdisk\"\n",
    ));
    site.apply(2);
    let server = site.serve();
    let script = get(server.address, &format!("/boot/{}.ipxe", mac(0))).text();
    assert!(
        script.contains("cannot boot now") && script.contains("sleep 30"),
        "{script}"
    );
    // Nor is it left to its firmware, whatever happens to the next question.
    assert!(
        script.contains("|| goto again") && !script.contains("exit"),
        "{script}"
    );
    let node = server.node("s0");
    assert_eq!(node.state, State::Failed);
    assert!(
        node.reason.contains("was built without a ramdisk"),
        "{}",
        node.reason
    );
    assert!(
        node.reboot
            .as_deref()
            .is_some_and(|reason| reason.starts_with("it could not boot now"))
    );
}

/// Its host key is gone for a while.
#[test]
fn a_node_boots_when_what_was_missing_is_there() {
    let site = Site::new(1, "[ssh]\nhost-keys = \"kept\"");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let ask = || get(server.address, &format!("/boot/{}.ipxe", mac(0))).text();
    let script = ask();
    assert!(
        script.contains("cannot boot now") && script.contains("host key"),
        "{script}"
    );
    let keys = site.store().root().join("hostkeys/s0");
    fs::create_dir_all(&keys).expect("the directory is ours");
    for name in ["ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"] {
        fs::write(keys.join(name), "a key\n").expect("the directory is ours");
    }
    let script = ask();
    assert!(script.contains("kernel http"), "{script}");
    let status = server.until("it could boot", |status| status.nodes[0].wanted.is_some());
    assert_eq!(status.nodes[0].reboot, None);
    server.end();
}

#[test]
fn artifacts_are_for_ever_and_come_in_parts() {
    let site = Site::new(1, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let script = get(server.address, &format!("/boot/{}.ipxe", mac(0))).text();
    let path = format!(
        "/artifact/{}/root.squashfs",
        Script::read(&script).argument("rp.image=")
    );
    let whole = fetch(&server, &path);
    // One connection for all.
    let mut connection = Connection::new(server.address);
    let mut ask =
        |method: &str, fields: &str| connection.ask(&format!("{method} {path}"), fields, b"");
    let head = ask("HEAD", "");
    assert_eq!(
        (head.status, head.field("content-length")),
        (200, Some("300000"))
    );
    assert_eq!(
        head.field("cache-control"),
        Some("public, max-age=31536000, immutable")
    );
    let etag = head.field("etag").expect("a tag").to_owned();
    assert_eq!(
        ask("GET", &format!("If-None-Match: {etag}\r\n")).status,
        304
    );
    let part = ask("GET", "Range: bytes=299990-\r\n");
    assert_eq!(
        (part.status, part.field("content-range")),
        (206, Some("bytes 299990-299999/300000"))
    );
    assert_eq!(part.body, whole[299_990..]);
    // A fetch that was cut off goes on, and there is no more than all.
    let rest = ask("GET", &format!("Range: bytes=7-\r\nIf-Range: {etag}\r\n"));
    assert_eq!(rest.body, whole[7..]);
    assert_eq!(ask("GET", "Range: bytes=300000-\r\n").status, 416);
    assert_eq!(
        ask("GET", "Range: bytes=5-9, 11-12\r\n").body.len(),
        ROOT_BYTES
    );
    // Several at once are answered in their order.
    for range in ["0-0", "1-2"] {
        connection.send(
            &format!("GET {path}"),
            &format!("Range: bytes={range}\r\n"),
            b"",
        );
    }
    assert_eq!(connection.answer(false).body, whole[..1]);
    assert_eq!(connection.answer(false).body, whole[1..3]);
    let last = connection.ask(&format!("GET {path}"), "Connection: close\r\n", b"");
    assert_eq!(
        (last.body.len(), last.field("connection")),
        (ROOT_BYTES, Some("close"))
    );
    assert!(connection.has_ended());
}
