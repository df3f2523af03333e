//! What people read: every way in which a node can be somewhere, with its reason.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::view::{DaemonStatus, MasterStatus, WorkerStatus};
use super::*;
use crate::model::{self, Cluster, MacAddr};
use crate::store::Digest;

const NODES: usize = 18;

fn cluster() -> Cluster {
    let macs: Vec<_> = (1..=NODES)
        .map(|number| format!("\"52:54:00:00:00:{number:02x}\""))
        .collect();
    let text = format!(
        r#"
[cluster]
name = "lab"
interface = "br0"
subnet = "10.77.0.0/24"
master = "10.77.0.1"
[dhcp]
range = "10.77.0.200-10.77.0.201"
[image.base]
source = {{ kind = "debootstrap", suite = "bookworm" }}
[export.data]
path = "/srv/data"
[profile.default]
image = "base"
[[node]]
name = "s[01-{NODES}]"
mac = [{}]
address = "10.77.0.11"
"#,
        macs.join(", ")
    );
    model::parse(&text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn mac(number: u8) -> MacAddr {
    MacAddr::new([0x52, 0x54, 0, 0, 0, number]).expect("an address of one machine")
}

fn offer(what: &str) -> Offer {
    Offer {
        generation: 7,
        image: "base".parse().expect("a name"),
        manifest: Digest::of(what.as_bytes()),
        kernel: Digest::of(b"kernel"),
        initramfs: Digest::of(b"initramfs"),
        overlay: Digest::of(b"overlay"),
        arguments: "quiet".into(),
    }
}

struct Heard {
    board: Board,
    number: u8,
    at: u64,
}

impl Heard {
    fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 10 + self.number)
    }

    /// From now on it is about this node, which begins at that second.
    fn node(&mut self, number: u8, at: u64) -> &mut Self {
        (self.number, self.at) = (number, at);
        self
    }

    fn hear(&mut self, event: Event) -> &mut Self {
        self.board.hear(At(self.at * 1000), event);
        self.at += 1;
        self
    }

    fn dhcp(&mut self, said: Dhcp) -> &mut Self {
        let (mac, client) = (mac(self.number), Client::Firmware);
        self.hear(Event::Dhcp { mac, client, said })
    }

    fn address_given(&mut self) -> &mut Self {
        let address = self.address();
        self.dhcp(Dhcp::Discover).dhcp(Dhcp::Ack(address))
    }

    fn script(&mut self, offered: &str) -> &mut Self {
        let event = Event::Script {
            mac: mac(self.number),
            address: self.address(),
            offer: Some(Box::new(offer(offered))),
            words: Words::new("iPXE"),
        };
        self.hear(event)
    }

    fn fetched(&mut self, what: &[u8]) -> &mut Self {
        let (address, digest) = (self.address(), Digest::of(what));
        self.hear(Event::Fetched { address, digest })
    }

    fn report(
        &mut self,
        boot: &str,
        stage: Stage,
        percent: u8,
        ok: bool,
        words: &str,
    ) -> &mut Self {
        let report = Report {
            boot: boot.parse().ok(),
            stage,
            percent,
            words: Words::new(words),
            ok,
        };
        let event = Event::Report {
            mac: mac(self.number),
            address: self.address(),
            report,
        };
        self.hear(event)
    }

    /// All stages up to one.
    fn reach(&mut self, last: Stage) -> &mut Self {
        self.address_given()
            .script("new")
            .fetched(b"kernel")
            .fetched(b"initramfs");
        for stage in [
            Stage::Kernel,
            Stage::Image,
            Stage::Verified,
            Stage::Root,
            Stage::System,
        ] {
            if stage <= last {
                self.report("b-1", stage, 0, true, "");
            }
        }
        self
    }
}

/// What was heard, every case in one cluster; the last moment is second 10,000.
fn heard(cluster: &Cluster) -> Heard {
    let mut board = Board::new(8);
    board.set_known(cluster.nodes().iter().map(|node| node.mac), 8);
    let mut heard = Heard {
        board,
        number: 0,
        at: 0,
    };
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

#[test]
fn a_master_that_does_not_answer_takes_nobody_away() {
    let cluster = cluster();
    let mut board = Board::new(8);
    board.set_known(cluster.nodes().iter().map(|node| node.mac), 8);
    let mut heard = Heard {
        board,
        number: 0,
        at: 0,
    };
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

fn nothing_heard(cluster: &Cluster) -> Heard {
    let mut board = Board::new(8);
    board.set_known(cluster.nodes().iter().map(|node| node.mac), 8);
    Heard {
        board,
        number: 1,
        at: 0,
    }
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
    let worker = WorkerStatus {
        since: At(110_000),
        version: Words::new("0.1.0"),
        draining: false,
    };
    let attached = |at: u64| Workers {
        status: MasterStatus {
            answered: Some(At(at * 1000)),
            ..MasterStatus::default()
        },
        attached: [(mac(1), worker.clone())].into(),
        since: Some(At(0)),
        ..Workers::default()
    };
    let of = |at, workers: &Workers| first_node(&cluster, &heard, at, workers);
    assert_first(&of(5010, &attached(5010)), State::Booting, &[]);
    assert_first(
        &of(5900, &attached(5900)),
        State::Up,
        &["its worker is attached", "script"],
    );
    assert_first(&of(5900, &Workers::default()), State::Stuck, &[]);
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
