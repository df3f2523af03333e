//! People who look, and commands that ask: what they do to what is known of nodes, and what they are told.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::Arc;

use regexctl_provision::serve::Served;
use regexctl_provision::serve::app::App;
use regexctl_provision::status::{Board, Event, Stage, State};
use regexctl_provision::store::Digest;

use super::super::harness::until;
use super::boots::boot;
use super::client::{ask_with, get, post};
use super::script::Script;
use super::site::{Server, Site, mac};

/// Only a loader that asks is a boot.
#[test]
fn whoever_looks_at_a_script_boots_nothing() {
    let site = Site::new(2, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    boot(&server, 1, "b-1");
    let before = server.node("s1");
    assert_eq!(before.state, State::Up);
    for number in [0, 1, 0x77] {
        let path = format!("/boot/{}.ipxe", mac(number));
        for fields in [
            "User-Agent: curl/8.5.0\r\n",
            "User-Agent: Mozilla/5.0\r\n",
            "",
        ] {
            let answer = ask_with(server.address, &format!("GET {path}"), fields);
            assert!(answer.text().contains("kernel http"), "{}", answer.text());
            ask_with(server.address, "GET /boot.ipxe", fields);
        }
        let head = format!("HEAD {path}");
        for _ in 0..10 {
            let answer = ask_with(server.address, &head, "User-Agent: iPXE/1.21.1\r\n");
            assert_eq!(answer.status, 200);
        }
    }
    // A status may be told for a moment longer than it is true; one that knows this is of after all that.
    let tried = format!(
        "{{\"means\":\"ssh\",\"nodes\":[{{\"mac\":\"{}\",\"problem\":\"no route\"}}]}}",
        mac(1)
    );
    assert_eq!(post(server.address, "/tried", &tried).status, 200);
    let status = server.until("it is told", |status| !status.nodes[1].unreached.is_empty());
    assert_eq!(
        status.nodes[0].state,
        State::Never,
        "{}",
        status.nodes[0].reason
    );
    assert_eq!(
        status.nodes[1].state,
        State::Up,
        "{}",
        status.nodes[1].reason
    );
    assert_eq!(status.nodes[1].boot, before.boot);
    assert_eq!(status.unknown, []);
    server.end();
}

/// A kernel that was altered on the disk is not handed out: a node cannot tell. A packed root is, for that it can.
#[test]
fn what_nodes_cannot_verify_is_verified_here() {
    let site = Site::new(1, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let path = format!("/boot/{}.ipxe", mac(0));
    let script = Script::read(&get(server.address, &path).text());
    let alter = |path: &str| {
        let digest: Digest = path.parse().expect("a digest");
        let file = site.store().artifact_path(digest);
        let mut bytes = fs::read(&file).expect("it is there");
        bytes[7] ^= 1;
        fs::remove_file(&file).expect("the directory is ours");
        fs::write(&file, bytes).expect("the directory is ours");
        digest
    };
    let of = |path: &str| path.split('/').nth(2).expect("a digest").to_owned();
    assert_eq!(get(server.address, &script.kernel).status, 200);
    let initramfs = alter(&of(&script.initramfs));
    alter(script.argument("rp.image="));
    for _ in 0..2 {
        let answer = get(server.address, &script.initramfs);
        assert_eq!(answer.status, 500);
        let text = answer.text();
        assert!(
            text.contains(&initramfs.to_string()) && text.contains("image build"),
            "{text}"
        );
    }
    let status = server.until("it is told", |status| !status.warnings.is_empty());
    let told = &status.warnings[0];
    assert!(
        told.contains(&initramfs.to_string()) && told.contains("image build"),
        "{told}"
    );
    assert_eq!(get(server.address, &script.kernel).status, 200);
    let root = format!("/artifact/{}", script.argument("rp.image="));
    assert_eq!(get(server.address, &root).status, 200);
    // It is put right.
    let name = initramfs.to_string();
    alter(&name);
    assert_eq!(get(server.address, &script.initramfs).status, 200);
    server.until("nothing is wrong", |status| status.warnings.is_empty());
    server.end();

    // A loader asks for it by a script of before what was applied, and of before this process.
    alter(&name);
    site.build("two");
    site.apply(2);
    let server = site.serve();
    let answer = get(server.address, &script.initramfs);
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(answer.text().contains(&name), "{}", answer.text());
    assert_eq!(get(server.address, &script.kernel).status, 200);
    server.until("nothing is wrong", |status| status.warnings.is_empty());
    // What fails to load is asked for anew, and there is something else to load now.
    let text = get(server.address, &path).text();
    let (_, after) = text.split_once(":failed\n").expect("loading may fail");
    assert!(
        after.contains(
            "\nchain --replace --autofree http://10.77.0.1:8080/boot/${netX/mac:hexhyp}.ipxe"
        ),
        "{text}"
    );
    let anew = Script::read(&text);
    assert_ne!(anew.initramfs, script.initramfs);
    assert_eq!(get(server.address, &anew.initramfs).status, 200);
    server.end();
}

/// What GRUB loads comes over TFTP, past whoever verifies; so it is told before anybody has asked for it.
#[test]
fn what_is_damaged_is_told_when_it_begins_to_be_served() {
    let site = Site::new(1, "");
    site.build("one");
    site.apply(1);
    let base = "base".parse().expect("a name");
    let (_, manifest) = site.store().image(&base).expect("it was built");
    let kernel = site.store().artifact_path(manifest.kernel.sha256);
    fs::remove_file(&kernel).expect("the directory is ours");
    fs::write(&kernel, "not what was built").expect("the directory is ours");
    let server = site.serve();
    let is_told = |what: &str| {
        let what = format!("the kernel of the image base {what}");
        server.until(&what, |status| {
            let mut warnings = status.warnings.iter();
            warnings.any(|warning| warning.starts_with(&what))
        });
    };
    is_told("is damaged");
    fs::remove_file(&kernel).expect("the directory is ours");
    is_told("is missing: there is no");
    fs::create_dir(&kernel).expect("the directory is ours");
    is_told("cannot be read from the master's disk");
    server.end();
    // So it is where nothing was told of it before.
    let server = site.serve();
    server.until("it is told", |status| !status.warnings.is_empty());
    fs::remove_dir(&kernel).expect("the directory is ours");
    site.build("one");
    server.until("it is there again", |status| status.warnings.is_empty());
    server.end();
}

#[test]
fn a_machine_that_will_not_come_back_is_forgotten() {
    let site = Site::new(1, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    for number in [0x77, 0x78] {
        get(server.address, &format!("/boot/{}.ipxe", mac(number)));
    }
    server.until("both are seen", |status| status.unknown.len() == 2);
    let (code, out, told) = site.run_with(&server, &["node", "forget", "52:54:00:00:00:77"]);
    assert_eq!((code, told.as_str()), (Some(0), ""), "{out}");
    let status = server.until("one is left", |status| status.unknown.len() == 1);
    assert_eq!(status.unknown[0].mac, "52:54:00:00:00:78");
    // A node is no such machine, and nobody is not either.
    for (mac, why) in [
        (mac(0), "is the node s0"),
        (mac(0x79), "these wait: 52:54:00:00:00:78"),
    ] {
        let (code, _, told) = site.run_with(&server, &["node", "forget", &mac]);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains(why), "{told}");
    }
    // Where nobody serves, what is kept is written.
    server.end();
    let (code, out, told) = site.run(&["node", "forget", "52:54:00:00:00:78"]);
    assert_eq!(code, Some(0), "{out}{told}");
    let (_, out, _) = site.run(&["node", "discover", "--json"]);
    assert_eq!(out, "[]\n");
}

/// Another DHCP server gives out addresses: which are free, nobody knows here.
#[test]
fn no_address_is_made_up_where_another_server_gives_them() {
    let site = Site::new(1, "[dhcp]\nmode = \"proxy\"");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    get(server.address, &format!("/boot/{}.ipxe", mac(0x77)));
    let approve = ["node", "approve", "52:54:00:00:00:77", "s9"];
    let (code, out, told) = site.run_with(&server, &approve);
    assert_eq!(code, Some(2), "{out}");
    assert!(
        told.contains("--address") && told.contains("127.0.0.1") && told.contains("proxy"),
        "{told}"
    );
    let named = [&approve[..], &["--address", "10.77.9.9"]].concat();
    let (code, out, told) = site.run_with(&server, &named);
    assert_eq!(code, Some(0), "{told}");
    assert!(out.contains("10.77.9.9"), "{out}");
    server.end();
}

/// What a command has found while nobody served is told by whoever serves next, and by `status` before.
#[test]
fn what_was_tried_while_nobody_served_is_not_lost() {
    let site = Site::new(2, "");
    let mut text = fs::read_to_string(site.file()).expect("it is there");
    text.push_str(
        "bmc = { kind = \"command\", on = [\"true\"], off = [\"true\"], status = [\"sh\", \"-c\", \"echo no answer from the PDU >&2; exit 1\"] }\n",
    );
    site.describe(&text);
    site.build("one");
    site.apply(1);
    site.serve().end();
    let (code, _, told) = site.run(&["power", "status", "s1"]);
    assert_eq!(code, Some(1), "{told}");
    let (code, out, told) = site.run(&["status", "s1"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(out.contains("no answer from the PDU"), "{out}");
    let server = site.serve();
    let node = server.node("s1");
    assert!(
        node.reason.contains("no answer from the PDU"),
        "{}",
        node.reason
    );
    // It is taken in once: what was mended since stays mended.
    let mended = format!(
        "{{\"means\":\"power\",\"nodes\":[{{\"mac\":\"{}\",\"problem\":null}}]}}",
        mac(1)
    );
    assert_eq!(post(server.address, "/tried", &mended).status, 200);
    server.end();
    let server = site.serve();
    assert!(server.node("s1").unreached.is_empty());

    // It serves, and had no time to listen.
    let spool = site.store().nodes().join("tried");
    let (code, _, told) = site.run(&["power", "status", "s1"]);
    assert_eq!(code, Some(1), "{told}");
    server.until("it is told", |status| !status.nodes[1].unreached.is_empty());
    // The file goes when it is in the records.
    let gone = || {
        let taken = spool.with_extension("taken");
        (!spool.exists() && !taken.exists()).then_some(())
    };
    until("it is in the records", gone);
    assert_eq!(post(server.address, "/tried", &mended).status, 200);
    server.until("it is mended", |status| {
        status.nodes[1].unreached.is_empty()
    });
    // What was written before that, and comes to light after it, is old.
    let old = format!(
        "{{\"at\":1,\"tried\":{{\"means\":\"power\",\"nodes\":[{{\"mac\":\"{}\",\"problem\":\"old\"}}]}}}}\n",
        mac(1)
    );
    fs::write(&spool, &old).expect("the directory is ours");
    until("it is taken in", gone);
    server.end();
    fs::write(&spool, &old).expect("the directory is ours");
    let server = site.serve();
    until("it is taken in", gone);
    let node = server.node("s1");
    assert!(node.unreached.is_empty(), "{}", node.reason);
    server.end();
}

/// Nobody hears DHCP: whose an address is, cluster.toml tells.
#[test]
fn a_node_is_known_by_its_address_before_it_says_who_it_is() {
    let site = Site::new(2, "[dhcp]\nmode = \"external\"");
    site.build("one");
    site.apply(1);
    let app = Arc::new(App::new(site.store(), Board::new(4)));
    let served = Served::load(&site.store()).expect("it can be loaded");
    app.serve(Arc::new(served.expect("something was applied")));
    let nodes = site.cluster();
    let node = &nodes.nodes()[1];
    app.hear(Event::FirstScript {
        address: node.address.get(),
    });
    let stage = |mac| {
        let board = app.board();
        board
            .record(mac)
            .and_then(|record| record.current()?.reached())
    };
    assert_eq!(stage(node.mac), Some(Stage::Loader));
    app.hear(Event::FirstScript {
        address: Ipv4Addr::new(10, 77, 200, 200),
    });
    assert_eq!(stage(nodes.nodes()[0].mac), None);
}

#[test]
fn a_status_that_is_watched_goes_on_and_what_is_not_there_is_not_watched() {
    let site = Site::new(1, "");
    site.build("one");
    site.apply(1);
    let (code, told) = site.run_to_its_end(&["status", "--watch", "s9"]);
    assert_eq!(code, Some(2), "{told}");
    assert_eq!(told.matches("s9").count(), 1, "{told}");
    let server = site.serve();
    let mut watch = site.command(&["status", "--watch", "--json", "s0"]);
    let mut watch = watch
        .env("REGEX_PROVISION_SERVER", server.url())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let mut until = |state: &str| {
        super::super::harness::until(state, || {
            let line = lines.next().expect("it goes on").expect("it is text");
            let status: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
            (status["nodes"][0]["state"] == state).then_some(())
        });
    };
    until("never");
    boot(&server, 0, "b-1");
    until("up");
    watch.kill().expect("it is ours and runs");
    watch.wait().expect("it is ours");
    server.end();
}

#[test]
fn a_server_that_cannot_be_is_told_why() {
    let site = Site::new(1, "");
    site.build("one");
    site.apply(1);
    let (code, told) =
        site.run_to_its_end(&["serve", "--no-daemons", "--listen", "192.0.2.1:8080"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(
        told.contains("no interface of this machine has the address 192.0.2.1"),
        "{told}"
    );
    let typo = site.store().root().with_file_name("typo");
    let directory = typo.to_str().expect("it is UTF-8");
    let (code, told) = site.run_to_its_end(&[
        "serve",
        "--no-daemons",
        "--directory",
        directory,
        "--listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(code, Some(2), "{told}");
    assert!(
        told.contains(directory) && told.contains("there is no directory"),
        "{told}"
    );
    assert!(!typo.exists());
}

/// Where systemd runs dnsmasq, its journal is followed; here a script says what journalctl would.
#[test]
fn the_journal_of_dnsmasq_is_followed() {
    let site = Site::new(1, "[dhcp]\nrange = \"10.77.3.1-10.77.3.1\"");
    site.build("one");
    site.apply(1);
    let programs = site.store().root().with_file_name("programs");
    fs::create_dir(&programs).expect("the directory is ours");
    let (log, asked) = (programs.join("log"), programs.join("asked"));
    fs::write(
        &log,
        "\
dnsmasq-dhcp[12]: 1 vendor class: PXEClient:Arch:00000:UNDI:002001
dnsmasq-dhcp[12]: 1 DHCPDISCOVER(br0) 52:54:00:00:00:00
dnsmasq-dhcp[12]: 1 DHCPACK(br0) 10.77.1.0 52:54:00:00:00:00 s0
dnsmasq-tftp[12]: sent /srv/tftp/undionly.kpxe to 10.77.1.0
dnsmasq-dhcp[12]: 2 DHCPDISCOVER(br0) 52:54:00:00:00:99 no address available
",
    )
    .expect("the directory is ours");
    let script = format!(
        "#!/bin/sh\necho \"$@\" > {}\nexec tail -n +1 -f {}\n",
        asked.display(),
        log.display()
    );
    let journalctl = programs.join("journalctl");
    fs::write(&journalctl, script).expect("the directory is ours");
    fs::set_permissions(&journalctl, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(programs.clone()).chain(std::env::split_paths(&path));
    let mut command = site.command(&["serve", "--no-daemons", "--listen", "127.0.0.1:0"]);
    command.env("PATH", std::env::join_paths(all).expect("no colons"));
    let server = Server::start(command, &site.log());
    let status = server.until("the log was read to its end", |status| {
        let empty = "the dynamic range 10.77.3.1-10.77.3.1 has no free address";
        let mut warnings = status.warnings.iter();
        warnings.any(|warning| warning.contains(empty))
    });
    let boot = status.nodes[0].boot.as_ref().expect("it was heard");
    let stages: Vec<_> = boot.stages.iter().map(|stage| stage.stage).collect();
    assert_eq!(stages, [Stage::Dhcp, Stage::Loader]);
    let asked = fs::read_to_string(&asked).expect("it was asked");
    assert!(
        asked.contains("--follow") && asked.contains("--unit regex-provision-dnsmasq"),
        "{asked}"
    );
    server.end();
}
