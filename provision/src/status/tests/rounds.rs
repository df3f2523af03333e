//! One node, boot after boot: what is concluded from what came before.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::super::view::{MasterStatus, WorkerStatus};
use super::super::*;
use super::heard::{Heard, NODES, cluster, mac, nothing_heard, offer};
use crate::model::Cluster;

/// What is told of the first node at that second.
fn first_node(cluster: &Cluster, heard: &Heard, at: u64, workers: &Workers) -> Status {
    build(Known {
        at: At(at * 1000),
        serving_since: None,
        generation: Some(7),
        cluster,
        offers: &vec![Ok(Arc::new(offer("new"))); NODES],
        board: &heard.board,
        workers,
        daemons: vec![],
        warnings: vec![],
    })
}

#[track_caller]
fn assert_first(status: &Status, state: State, parts: &[&str]) {
    let node = &status.nodes[0];
    assert_eq!(node.state, state, "{}", node.reason);
    for part in parts {
        assert!(
            node.reason.contains(part),
            "no {part:?} in {:?}",
            node.reason
        );
    }
}

#[test]
fn a_master_that_does_not_answer_takes_nobody_away() {
    let cluster = cluster();
    let mut heard = nothing_heard(&cluster);
    heard
        .node(1, 100)
        .reach(Stage::System)
        .report("b-1", Stage::Worker, 0, true, "");
    let of = |workers: &Workers| {
        let status = build(Known {
            at: At(1_000_000),
            serving_since: None,
            generation: None,
            cluster: &cluster,
            offers: &vec![Err("the image base has not been built".to_owned().into()); NODES],
            board: &heard.board,
            workers,
            daemons: vec![],
            warnings: vec![],
        });
        (status.nodes[0].state, status.warnings.join("\n"))
    };
    assert_eq!(of(&Workers::default()).0, State::Up);
    let mut workers = Workers {
        since: Some(At(200_000)),
        ..Workers::default()
    };
    workers.status.answered = Some(At(999_000));
    assert_eq!(of(&workers).0, State::Lost);
    workers.status.answered = Some(At(900_000));
    workers.status.url = Some("http://10.77.0.1:7411".into());
    workers.status.error = Some("connection refused".into());
    let (state, warnings) = of(&workers);
    assert_eq!(state, State::Up);
    assert!(
        warnings
            .contains("regex-master at http://10.77.0.1:7411 does not answer: connection refused")
    );
}

/// The kernel panics and the machine boots again, every 20 seconds.
#[test]
fn a_machine_whose_kernel_panics_is_stuck_and_not_on_its_way() {
    let cluster = cluster();
    let mut heard = nothing_heard(&cluster);
    for boot in 0..14 {
        heard
            .node(1, boot * 20)
            .script("new")
            .fetched(b"kernel")
            .fetched(b"initramfs");
    }
    let of = |heard: &Heard, at| first_node(&cluster, heard, at, &Workers::default());
    let panics = [
        "script: ",
        "the kernel starts and the machine boots again (does it panic? see its console)",
        "boot 14 in a row that did not arrive",
    ];
    assert_first(&of(&heard, 265), State::Stuck, &panics);
    // The next one has come less far yet.
    heard.node(1, 280).address_given();
    let panics = [panics[0], panics[1], "boot 15 in a row"];
    assert_first(&of(&heard, 282), State::Stuck, &panics);
    // It comes further.
    heard
        .node(1, 300)
        .script("new")
        .report("b-1", Stage::Kernel, 0, true, "");
    assert_first(&of(&heard, 302), State::Booting, &["kernel"]);
}

/// Two boots had no room for their root; somebody has mended that, and the third goes well.
#[test]
fn a_good_boot_after_bad_ones_is_on_its_way() {
    let cluster = cluster();
    let mut heard = nothing_heard(&cluster);
    for (boot, at) in [("b-1", 0), ("b-2", 100)] {
        heard
            .node(1, at)
            .script("new")
            .fetched(b"kernel")
            .fetched(b"initramfs")
            .report(boot, Stage::Kernel, 0, true, "")
            .report(boot, Stage::Image, 0, false, "no room");
    }
    let of = |heard: &Heard, at| first_node(&cluster, heard, at, &Workers::default());
    // Only its loader has asked yet.
    heard.node(1, 200).script("new");
    let furthest = "image: it comes no further, and boots again (image: no room)";
    assert_first(&of(&heard, 202), State::Stuck, &[furthest]);
    let before = "the boots before this one came no further than image (image: no room)";
    for (at, stage, percent, told) in [
        (210, Stage::Kernel, 0, "kernel; "),
        (220, Stage::Image, 0, "image; "),
        (230, Stage::Image, 60, "image 60%; "),
    ] {
        heard.node(1, at).report("b-3", stage, percent, true, "");
        let told = format!("{told}{before}");
        assert_first(&of(&heard, at + 2), State::Booting, &[&told]);
    }
    // It is silent for too long.
    assert_first(
        &of(&heard, 2000),
        State::Stuck,
        &["image: 60% of its root, and no more for", "boot 3 in a row"],
    );
    // Where the others never were there is nothing to suspect.
    heard
        .node(1, 240)
        .report("b-3", Stage::Verified, 0, true, "");
    let status = of(&heard, 242);
    assert_first(&status, State::Booting, &["verified"]);
    assert!(!status.nodes[0].reason.contains("before this one"));
}

#[test]
fn a_machine_whose_loader_does_nothing_is_stuck() {
    let cluster = cluster();
    let mut heard = nothing_heard(&cluster);
    let mut boot = |at| {
        heard.node(1, at).address_given().hear(Event::Tftp {
            address: Ipv4Addr::new(10, 77, 0, 11),
            file: Words::new("undionly.kpxe"),
            mac: None,
        });
        first_node(&cluster, &heard, at + 3, &Workers::default())
    };
    assert_first(&boot(0), State::Booting, &[]);
    assert_first(&boot(40), State::Booting, &[]);
    let parts = ["loader: ", "undionly.kpxe", "is the HTTP port open"];
    for round in 2..10 {
        let status = boot(round * 40);
        assert_first(&status, State::Stuck, &parts);
        let attempts = status.nodes[0].attempts;
        assert_eq!(u64::from(attempts), round + 1);
    }
    // Weeks later somebody switches it on.
    assert_first(&boot(3_000_000), State::Booting, &[]);
}

#[test]
fn asking_for_an_address_again_and_again_is_no_progress() {
    let cluster = cluster();
    let mut heard = nothing_heard(&cluster);
    for round in 0..6 {
        heard.node(1, round * 46).address_given();
    }
    let status = first_node(&cluster, &heard, 235, &Workers::default());
    assert_first(&status, State::Stuck, &["is UDP port 69 open?"]);
}

/// At that second, regex-master has the worker of the first node.
fn attached(at: u64) -> Workers {
    let worker = WorkerStatus {
        since: At(110_000),
        version: Words::new("0.1.0"),
        draining: false,
    };
    Workers {
        status: MasterStatus {
            answered: Some(At(at * 1000)),
            ..MasterStatus::default()
        },
        attached: [(mac(1), worker)].into(),
        since: Some(At(0)),
        ..Workers::default()
    }
}

/// Somebody has looked at its script.
#[test]
fn a_node_whose_worker_stays_attached_is_up() {
    let cluster = cluster();
    let mut heard = nothing_heard(&cluster);
    heard
        .node(1, 100)
        .reach(Stage::System)
        .report("b-1", Stage::Worker, 0, true, "");
    heard.node(1, 5000).script("new");
    let of = |at, workers: &Workers| first_node(&cluster, &heard, at, workers);
    assert_first(&of(5010, &attached(5010)), State::Booting, &[]);
    assert_first(
        &of(5900, &attached(5900)),
        State::Up,
        &["its worker is attached", "script"],
    );
    assert_first(&of(5900, &Workers::default()), State::Stuck, &[]);
    // So often that whoever asks was told to stop.
    let address = heard.address();
    heard.node(1, 6000).hear(Event::Stopped {
        mac: mac(1),
        address,
        words: Words::new("goes round"),
    });
    let of = |at, workers: &Workers| first_node(&cluster, &heard, at, workers);
    let asked = [
        "its worker is attached",
        "in its name",
        "(script: goes round)",
    ];
    assert_first(&of(6900, &attached(6900)), State::Up, &asked);
    assert_first(
        &of(6900, &Workers::default()),
        State::Failed,
        &["goes round"],
    );
    // Its own system is refused its address: that is no stranger's trouble.
    heard.node(1, 7000).hear(Event::Dhcp {
        mac: mac(1),
        client: Client::Other,
        said: Dhcp::Refused(Words::new("wrong network")),
    });
    let status = first_node(&cluster, &heard, 7900, &attached(7900));
    assert_first(&status, State::Failed, &["dhcp: ", "wrong network"]);
}

/// Somebody was told, in the name of a node that is up, what it would boot now.
#[test]
fn what_somebody_else_was_told_the_node_does_not_run() {
    let cluster = cluster();
    let mut heard = nothing_heard(&cluster);
    heard
        .node(1, 100)
        .script("old")
        .report("b-1", Stage::Kernel, 0, true, "")
        .report("b-1", Stage::Worker, 0, true, "");
    heard.node(1, 5000).script("new");
    let check = |heard: &Heard, at| {
        let status = first_node(&cluster, heard, at, &attached(at));
        assert_first(&status, State::Up, &["in its name"]);
        let node = &status.nodes[0];
        let booted = node.booted.as_ref().map(|booted| booted.manifest.clone());
        assert_eq!(booted, Some(offer("old").manifest.to_string()));
        assert!(
            node.reboot
                .as_ref()
                .is_some_and(|why| why.contains("built again")),
            "{:?}",
            node.reboot
        );
        let rows = status.timing.iter();
        let totals = rows.filter(|timing| timing.stage == "total");
        assert_eq!(totals.map(|timing| timing.boots).sum::<usize>(), 1);
    };
    check(&heard, 5900);
    // regex-master was started anew, and all workers with it.
    let registered = |since: u64| Event::Registered {
        mac: mac(1),
        since: At(since * 1000),
        words: Words::new("s01"),
    };
    heard.node(1, 6000).hear(registered(5950));
    check(&heard, 6100);
    // However often that is done, the boot that it runs is kept.
    for round in 0..20 {
        heard.node(1, 7000 + round * 100).script("new");
    }
    check(&heard, 9900);
    let kept = &heard.board.record(mac(1)).expect("it was heard of").boots;
    assert_eq!(kept.len(), BOOTS_KEPT);
    assert_eq!(
        kept.iter()
            .map(|boot| boot.number)
            .take(2)
            .collect::<Vec<_>>(),
        [1, 16]
    );
    // It boots, and nobody hears its reports; what it has loaded was seen.
    heard
        .node(1, 20_000)
        .script("new")
        .fetched(b"kernel")
        .fetched(b"initramfs")
        .hear(registered(20_001));
    let reached = |heard: &Heard| heard.board.record(mac(1))?.current()?.reached();
    assert_eq!(reached(&heard), Some(Stage::Script), "the one of before");
    heard.node(1, 20_060).hear(registered(20_050));
    assert_eq!(reached(&heard), Some(Stage::Worker));
    let status = first_node(&cluster, &heard, 20_100, &attached(20_100));
    assert_first(&status, State::Up, &["booted in 60 s"]);
}

#[test]
fn a_worker_that_fails_has_not_arrived() {
    let cluster = cluster();
    let mut heard = nothing_heard(&cluster);
    for (boot, at) in [("b-1", 0), ("b-2", 1000)] {
        heard
            .node(1, at)
            .address_given()
            .script("new")
            .report(boot, Stage::System, 0, true, "")
            .report(boot, Stage::Worker, 0, false, "exit status: 2");
    }
    let status = first_node(&cluster, &heard, 1010, &Workers::default());
    assert_first(&status, State::Failed, &["worker: exit status: 2"]);
    assert_eq!(status.nodes[0].attempts, 2);
    assert!(status.timing.iter().all(|timing| timing.stage != "total"));
    // It is started again, and now it works.
    heard
        .node(1, 1103)
        .report("b-2", Stage::Worker, 0, true, "");
    let status = first_node(&cluster, &heard, 1110, &Workers::default());
    assert_first(&status, State::Up, &["booted in 103 s"]);
    let total = status.timing.iter().find(|timing| timing.stage == "total");
    assert_eq!(
        total.map(|total| (total.boots, total.p50)),
        Some((1, 103_000))
    );
}

#[test]
fn a_root_that_was_refused_begins_again_at_nothing() {
    let cluster = cluster();
    let mut heard = nothing_heard(&cluster);
    heard
        .node(1, 0)
        .reach(Stage::Kernel)
        .report("b-1", Stage::Image, 100, true, "all")
        .report("b-1", Stage::Image, 0, false, "refused")
        .report("b-1", Stage::Image, 12, true, "again");
    let status = first_node(&cluster, &heard, 20, &Workers::default());
    assert_first(&status, State::Booting, &["image 12%: again"]);
}

#[test]
fn a_machine_that_was_not_seen_for_a_day_is_old() {
    let cluster = cluster();
    let mut heard = nothing_heard(&cluster);
    heard.node(200, 0).dhcp(Dhcp::Discover);
    let day = 24 * 3600;
    let of = |at| {
        let status = first_node(&cluster, &heard, at, &Workers::default());
        (
            status.warnings.len(),
            show::unknown(status.at, &status.unknown),
        )
    };
    let (warnings, shown) = of(day);
    assert_eq!(warnings, 1);
    assert!(!shown.contains("old: "), "{shown}");
    let (warnings, shown) = of(day + 1);
    assert_eq!(warnings, 0);
    assert!(
        shown.contains("old: asks for an address")
            && shown.contains("node forget 52:54:00:00:00:c8"),
        "{shown}"
    );
}

/// Who may not read a host key does not know what a node would boot; that says nothing of the node.
#[test]
fn what_may_not_be_read_is_no_fault_of_a_node() {
    let cluster = cluster();
    let heard = nothing_heard(&cluster);
    let denied = NoOffer {
        why: "its host key KEY cannot be read: Permission denied".into(),
        is_denied: true,
    };
    let status = build(Known {
        at: At(0),
        serving_since: None,
        generation: Some(7),
        cluster: &cluster,
        offers: &vec![Err(denied); NODES],
        board: &heard.board,
        workers: &Workers::default(),
        daemons: vec![],
        warnings: vec![],
    });
    assert_eq!(
        status.nodes[0].reboot.as_deref(),
        Some(
            "cannot tell what it would boot now: its host key KEY cannot be read: Permission denied \
             (run it with sudo)"
        )
    );
}
