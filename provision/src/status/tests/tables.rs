//! What people read: every way in which a node can be somewhere, with its reason.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::super::view::{DaemonStatus, MasterStatus, WorkerStatus};
use super::super::*;
use super::heard::{Heard, NODES, cluster, mac, nothing_heard, offer};
use crate::model::Cluster;

/// What was heard, every case in one cluster; the last moment is second 10,000.
fn heard(cluster: &Cluster) -> Heard {
    let mut heard = nothing_heard(cluster);
    // s01 was never heard of. The next ones got stuck.
    heard.node(2, 9000).address_given();
    heard.node(3, 9000).address_given().hear(Event::Tftp {
        address: Ipv4Addr::new(10, 77, 0, 13),
        file: Words::new("undionly.kpxe"),
        mac: None,
    });
    heard.node(4, 9000).address_given().script("new");
    heard
        .node(5, 9000)
        .address_given()
        .script("new")
        .fetched(b"kernel");
    heard
        .node(6, 9000)
        .address_given()
        .script("new")
        .fetched(b"kernel")
        .fetched(b"initramfs");
    heard.node(7, 9000).reach(Stage::Kernel);
    heard
        .node(8, 9000)
        .reach(Stage::Kernel)
        .report("b-1", Stage::Image, 42, true, "1 of 2 bytes");
    heard.node(9, 9000).reach(Stage::Root);
    heard.node(10, 9000).reach(Stage::System);
    // These failed.
    heard.node(11, 9900).reach(Stage::Kernel).report(
        "b-1",
        Stage::Image,
        0,
        false,
        "refused: has SHA-256 abc",
    );
    heard
        .node(12, 8000)
        .reach(Stage::Kernel)
        .report("b-1", Stage::Root, 0, false, "no memory");
    heard
        .node(12, 9900)
        .reach(Stage::Kernel)
        .report("b-2", Stage::Root, 0, false, "no memory");
    heard.node(13, 9990).address_given().hear(Event::Stopped {
        mac: mac(13),
        address: Ipv4Addr::new(10, 77, 0, 23),
        words: Words::new("asked for its boot script 6 times within 20 s"),
    });
    // These are on their way, or there.
    heard
        .node(14, 9990)
        .reach(Stage::Kernel)
        .report("b-1", Stage::Image, 70, true, "");
    heard.node(15, 9000).reach(Stage::System);
    heard.node(16, 9000).reach(Stage::System);
    for (number, at) in [(15, 9020), (16, 9020)] {
        let words = Words::new("attached");
        let since = At(at * 1000);
        heard.node(number, at).hear(Event::Registered {
            mac: mac(number),
            since,
            words,
        });
    }
    // What it has booted is not what it would boot now.
    heard
        .node(17, 9000)
        .address_given()
        .script("old")
        .report("b-1", Stage::Worker, 0, true, "");
    // Two machines.
    heard.node(18, 9950).script("new").script("new");
    for boot in ["aaaa", "bbbb", "aaaa"] {
        heard.report(boot, Stage::Kernel, 0, true, "");
    }
    // Strangers.
    heard
        .node(200, 9990)
        .dhcp(Dhcp::NoAddress)
        .dhcp(Dhcp::NoAddress);
    heard.node(201, 9980).hear(Event::Machine {
        mac: mac(201),
        address: Ipv4Addr::new(10, 77, 0, 200),
        inventory: Inventory::parse(
            br#"{"vendor":"Dell Inc.","product":"R640","memory_kib":50331648,"cores":24,
                "disks":[{"name":"sda","bytes":480103981056}],"nics":[{"name":"eth0","driver":"ixgbe"}]}"#,
        )
        .expect("it is right"),
    });
    heard
}

/// What is concluded from it.
fn status() -> Status {
    let cluster = cluster();
    let heard = heard(&cluster);
    let now = At(10_000_000);
    let worker = WorkerStatus {
        since: At(9_020_000),
        version: Words::new("0.1.0"),
        draining: false,
    };
    let workers = Workers {
        status: MasterStatus {
            url: Some("http://10.77.0.1:7411".into()),
            answered: Some(At(9_999_000)),
            error: None,
            workers: 2,
        },
        attached: [(mac(15), worker.clone()), (mac(17), worker)].into(),
        left: [(mac(16), At(9_500_000))].into(),
        since: Some(At(9_000_000)),
    };
    let wanted = Ok(Arc::new(offer("new")));
    let daemon = |name: &str, pid, ended: Option<&str>| DaemonStatus {
        name: name.into(),
        wanted: true,
        pid,
        since: now,
        restarts: 3,
        ended: ended.map(str::to_owned),
    };
    build(Known {
        at: now,
        serving_since: Some(At(5_000_000)),
        generation: Some(7),
        cluster: &cluster,
        offers: &vec![wanted; NODES],
        board: &heard.board,
        workers: &workers,
        daemons: vec![
            daemon("ganesha.nfsd", Some(4), None),
            daemon(
                "dnsmasq",
                None,
                Some("exit status: 2: failed to bind DHCP server socket"),
            ),
        ],
        warnings: vec![],
    })
}

const PLAIN: show::Look = show::Look {
    colours: false,
    width: None,
    height: None,
};

#[test]
fn every_node_is_somewhere_for_a_reason() {
    let status = status();
    let nodes: Vec<_> = status.nodes.iter().collect();
    insta::assert_snapshot!(show::nodes(&status, &nodes, PLAIN));
}

#[test]
fn a_small_terminal_shows_what_is_wrong() {
    let status = status();
    let nodes: Vec<_> = status.nodes.iter().collect();
    let look = show::Look {
        colours: true,
        width: Some(60),
        height: Some(14),
    };
    let shown = show::nodes(&status, &nodes, look);
    assert_eq!(shown.lines().count(), 13);
    insta::assert_snapshot!(shown.replace('\u{1b}', "ESC"));
}

#[test]
fn one_node_is_told_stage_by_stage() {
    let status = status();
    insta::assert_snapshot!(
        show::one(&status.nodes[16]) + &show::one(&status.nodes[10]) + &show::one(&status.nodes[0])
    );
}

#[test]
fn strangers_and_times_are_tables() {
    let status = status();
    insta::assert_snapshot!(
        show::unknown(status.at, &status.unknown) + "\n" + &show::timing(&status)
    );
}

#[test]
fn json_is_read_back() {
    let status = status();
    let json = serde_json::to_string_pretty(&status).expect("it can be written");
    assert_eq!(
        serde_json::from_str::<Status>(&json).expect("and read"),
        status
    );
    let value: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    insta::assert_snapshot!(serde_json::to_string_pretty(&value["nodes"][16]).expect("it is JSON"));
}
