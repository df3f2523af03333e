use std::net::Ipv4Addr;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::*;
use crate::model::MacAddr;
use crate::store::Digest;

const IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);

fn mac(number: u8) -> MacAddr {
    MacAddr::new([0x52, 0x54, 0, 0, 0, number]).expect("an address of one machine")
}

/// A board that knows the nodes 1 to 3.
fn board() -> Board {
    let mut board = Board::new(4);
    board.set_known((1..=3).map(mac), 4);
    board
}

fn seconds(seconds: u64) -> At {
    At(1_000_000 + seconds * 1000)
}

fn dhcp(number: u8, client: Client, said: Dhcp) -> Event {
    let mac = mac(number);
    Event::Dhcp { mac, client, said }
}

fn offer() -> Offer {
    Offer {
        generation: 7,
        image: "base".parse().expect("a name"),
        manifest: Digest::of(b"manifest"),
        kernel: Digest::of(b"kernel"),
        initramfs: Digest::of(b"initramfs"),
        overlay: Digest::of(b"overlay"),
        arguments: "panic=10".into(),
    }
}

fn script(number: u8) -> Event {
    Event::Script {
        mac: mac(number),
        address: IP,
        offer: Some(Arc::new(offer())),
        words: Words::default(),
    }
}

fn report(number: u8, boot: &str, stage: Stage, ok: bool) -> Event {
    Event::Report {
        mac: mac(number),
        address: IP,
        report: Report {
            boot: Some(boot.parse().expect("an id")),
            stage,
            percent: 0,
            words: Words::new(if ok { "well" } else { "no lease" }),
            ok,
        },
    }
}

/// Hears everything, a second each.
fn hear(board: &mut Board, from: u64, events: Vec<Event>) {
    for (event, at) in events.into_iter().zip(from..) {
        board.hear(seconds(at), event);
    }
}

/// A boot over BIOS PXE and iPXE, as it is heard.
fn whole_boot(number: u8, id: &str) -> Vec<Event> {
    let file = Words::new("undionly.kpxe");
    vec![
        dhcp(number, Client::Firmware, Dhcp::Discover),
        dhcp(number, Client::Firmware, Dhcp::Offer(IP)),
        dhcp(number, Client::Firmware, Dhcp::Request),
        dhcp(number, Client::Firmware, Dhcp::Ack(IP)),
        Event::Tftp {
            address: IP,
            file,
            mac: None,
        },
        dhcp(number, Client::Ipxe, Dhcp::Discover),
        dhcp(number, Client::Ipxe, Dhcp::Ack(IP)),
        Event::FirstScript { address: IP },
        script(number),
        Event::Fetched {
            address: IP,
            digest: offer().kernel,
        },
        Event::Fetched {
            address: IP,
            digest: offer().initramfs,
        },
        dhcp(number, Client::Other, Dhcp::Discover),
        dhcp(number, Client::Other, Dhcp::Ack(IP)),
        report(number, id, Stage::Kernel, true),
        report(number, id, Stage::Image, true),
        report(number, id, Stage::Verified, true),
        report(number, id, Stage::Root, true),
        report(number, id, Stage::System, true),
    ]
}

/// `doctor` asks who answers DHCP.
#[test]
fn the_probe_is_no_machine() {
    let mac = MacAddr::new(PROBE).expect("an address of one machine");
    let mut board = board();
    let said = [
        Dhcp::Discover,
        Dhcp::Offer(IP),
        Dhcp::NoAddress,
        Dhcp::Ack(IP),
    ];
    for said in said {
        let client = Client::Firmware;
        board.hear(seconds(1), Event::Dhcp { mac, client, said });
    }
    assert_eq!((board.unknown(), board.pool(At(13))), (Vec::new(), None));
    assert_eq!((board.who(IP), board.drain(usize::MAX)), (None, Vec::new()));
}

#[test]
fn all_that_one_boot_says_is_one_boot() {
    let mut board = board();
    hear(&mut board, 0, whole_boot(1, "a"));
    // The system renews its lease.
    board.hear(seconds(900), dhcp(1, Client::Other, Dhcp::Ack(IP)));
    let record = board.record(mac(1)).expect("it was heard of");
    assert_eq!(record.boots.len(), 1);
    let boot = &record.boots[0];
    assert_eq!(boot.began, seconds(0));
    assert_eq!(boot.last, seconds(17));
    assert_eq!(boot.reached(), Some(Stage::System));
    assert_eq!(boot.kernel_sent, Some(seconds(9)));
    assert_eq!(boot.initramfs_sent, Some(seconds(10)));
    let times: Vec<_> = boot
        .times()
        .map(|(stage, time)| (stage, time.as_secs()))
        .collect();
    assert_eq!(
        times,
        [
            (Stage::Loader, 4),
            (Stage::Script, 4),
            (Stage::Kernel, 5),
            (Stage::Image, 1),
            (Stage::Verified, 1),
            (Stage::Root, 1),
            (Stage::System, 1),
        ]
    );
    assert!(board.unknown().is_empty());
}

#[test]
fn a_machine_that_is_switched_off_and_on_begins_anew_wherever_it_was() {
    let whole = whole_boot(1, "a");
    for cut in 5..whole.len() {
        let mut board = board();
        hear(&mut board, 0, whole[..cut].to_vec());
        // Behind the loader's own question the firmware's begins a new boot.
        hear(&mut board, 100, whole_boot(1, "b"));
        let record = board.record(mac(1)).expect("it was heard of");
        assert_eq!(record.boots.len(), 2, "cut behind event {cut}");
        assert_eq!(record.boots[1].began, seconds(100));
        assert_eq!(record.boots[1].reached(), Some(Stage::System));
        assert_eq!(record.duplicate, None);
    }
}

#[test]
fn without_dhcp_the_script_begins_a_boot() {
    let mut board = board();
    hear(
        &mut board,
        0,
        vec![script(1), report(1, "a", Stage::Kernel, true), script(1)],
    );
    assert_eq!(
        board.record(mac(1)).map(|record| record.boots.len()),
        Some(2)
    );
    // A loader that tries again is still in the same boot; one that comes back later is not.
    board.hear(seconds(10), script(1));
    assert_eq!(
        board.record(mac(1)).map(|record| record.boots.len()),
        Some(2)
    );
    board.hear(seconds(60), script(1));
    assert_eq!(
        board.record(mac(1)).map(|record| record.boots.len()),
        Some(3)
    );
}

#[test]
fn a_report_whose_beginning_was_not_heard_is_a_boot() {
    let mut board = board();
    board.hear(seconds(0), report(1, "a", Stage::Image, true));
    board.hear(seconds(1), report(1, "b", Stage::Kernel, true));
    let record = board.record(mac(1)).expect("it was heard of");
    assert_eq!(record.boots.len(), 2);
    assert_eq!(record.duplicate, None);
}

#[test]
fn two_machines_with_one_address_are_told_apart_by_the_ids_of_their_boots() {
    let mut board = board();
    hear(
        &mut board,
        0,
        vec![
            script(1),
            script(1),
            report(1, "a", Stage::Kernel, true),
            report(1, "b", Stage::Kernel, true),
        ],
    );
    assert_eq!(
        board.record(mac(1)).map(|r| r.duplicate.is_some()),
        Some(false)
    );
    board.hear(seconds(4), report(1, "a", Stage::Image, true));
    let record = board.record(mac(1)).expect("it was heard of");
    let duplicate = record.duplicate.as_ref().expect("they took turns");
    assert_eq!(duplicate.boots.each_ref().map(BootId::as_str), ["b", "a"]);
    assert_eq!(duplicate.at, seconds(4));
    assert_eq!(duplicate.addresses, [IP]);
}

#[test]
fn a_failure_lasts_until_it_goes_on() {
    let mut board = board();
    hear(
        &mut board,
        0,
        vec![script(1), report(1, "a", Stage::Image, false)],
    );
    let failure = |board: &Board| {
        let boot = board.record(mac(1)).and_then(Record::current).cloned();
        boot.and_then(|boot| boot.failure)
    };
    assert_eq!(
        failure(&board),
        Some(Failure {
            stage: Stage::Image,
            at: seconds(1),
            words: Words::new("no lease"),
        })
    );
    board.hear(seconds(2), report(1, "a", Stage::Image, true));
    assert_eq!(failure(&board), None);
    let boot = board
        .record(mac(1))
        .and_then(Record::current)
        .expect("a boot");
    assert_eq!(boot.steps[&Stage::Image].failures, 1);
}

#[test]
fn a_worker_of_the_boot_before_does_not_count() {
    let mut board = board();
    hear(&mut board, 100, whole_boot(1, "a"));
    let registered = |since| Event::Registered {
        mac: mac(1),
        since: seconds(since),
        words: Words::new("s1"),
    };
    board.hear(seconds(200), registered(50));
    let reached = |board: &Board| {
        board
            .record(mac(1))
            .and_then(Record::current)
            .and_then(Boot::reached)
    };
    assert_eq!(reached(&board), Some(Stage::System));
    board.hear(seconds(201), registered(199));
    assert_eq!(reached(&board), Some(Stage::Worker));
    board.drain(usize::MAX);
    board.hear(seconds(202), registered(199));
    assert_eq!(board.drain(usize::MAX), [], "nothing new was heard");
}

#[test]
fn an_empty_pool_is_seen_until_somebody_gets_an_address() {
    let mut board = board();
    board.hear(seconds(0), dhcp(9, Client::Other, Dhcp::NoAddress));
    board.hear(seconds(1), dhcp(8, Client::Firmware, Dhcp::NoAddress));
    assert_eq!(
        board.pool(seconds(2)),
        Some(&Pool {
            at: seconds(1),
            mac: mac(8),
            times: 2
        })
    );
    assert_eq!(board.unknown().len(), 2);
    // A node has its own address, so that tells nothing.
    board.hear(seconds(2), dhcp(1, Client::Firmware, Dhcp::Ack(IP)));
    assert!(board.pool(seconds(2)).is_some());
    board.hear(seconds(3), dhcp(9, Client::Other, Dhcp::Ack(IP)));
    assert_eq!(board.pool(seconds(3)), None);
}

#[test]
fn an_empty_pool_is_forgotten_when_who_asked_has_an_address_or_is_a_node() {
    let mut board = board();
    let asks = |board: &mut Board| {
        board.hear(seconds(0), dhcp(9, Client::Firmware, Dhcp::NoAddress));
        assert!(board.pool(seconds(599)).is_some());
    };
    asks(&mut board);
    assert_eq!(board.pool(seconds(601)), None, "it may have gone");
    // It has become a node.
    board.set_known([mac(1), mac(9)], 4);
    assert_eq!(board.pool(seconds(1)), None);
    board.set_known([mac(1)], 4);
    // It was heard from an address, wherever it has that from.
    asks(&mut board);
    board.hear(seconds(2), script(9));
    assert_eq!(board.pool(seconds(2)), None);
    // Without a range a node that has none is a fault of its own.
    board.hear(seconds(3), dhcp(1, Client::Firmware, Dhcp::NoAddress));
    board.hear(seconds(4), dhcp(1, Client::Firmware, Dhcp::Ack(IP)));
    assert_eq!(board.pool(seconds(4)), None);
}

#[test]
fn unknown_machines_are_bounded_and_the_one_seen_longest_ago_goes() {
    let mut board = board();
    for number in 10..20 {
        board.hear(
            seconds(number.into()),
            dhcp(number, Client::Ipxe, Dhcp::Discover),
        );
    }
    // Whatever asks for an address and boots from elsewhere is nobody's business.
    board.hear(seconds(30), dhcp(40, Client::Other, Dhcp::Discover));
    let macs: Vec<_> = board.unknown().iter().map(|machine| machine.mac).collect();
    assert_eq!(macs, [mac(19), mac(18), mac(17), mac(16)]);
}

#[test]
fn an_approved_machine_is_unknown_no_more() {
    let mut board = board();
    board.hear(seconds(0), script(9));
    let inventory = Inventory {
        cores: 24,
        ..Inventory::default()
    };
    let machine = Event::Machine {
        mac: mac(9),
        address: IP,
        inventory,
    };
    board.hear(seconds(1), machine);
    assert_eq!(
        board.unknown()[0].inventory.as_ref().map(|i| i.cores),
        Some(24)
    );
    board.set_known([mac(1), mac(9)], 4);
    assert!(board.unknown().is_empty());
    hear(&mut board, 10, whole_boot(9, "a"));
    assert_eq!(
        board.record(mac(9)).map(|record| record.boots.len()),
        Some(1)
    );
}

#[test]
fn only_so_many_boots_are_kept() {
    let mut board = board();
    for (at, id) in ('a'..='z').enumerate() {
        hear(&mut board, at as u64 * 100, whole_boot(1, &id.to_string()));
    }
    let record = board.record(mac(1)).expect("it was heard of");
    assert_eq!(record.boots.len(), BOOTS_KEPT);
    assert_eq!(record.current().map(|boot| boot.number), Some(26));
}

fn any_event() -> impl Strategy<Value = Event> {
    let client = prop_oneof![
        Just(Client::Firmware),
        Just(Client::Ipxe),
        Just(Client::Other)
    ];
    let said = prop_oneof![
        Just(Dhcp::Discover),
        Just(Dhcp::Request),
        Just(Dhcp::Ack(IP)),
        Just(Dhcp::Offer(IP)),
        Just(Dhcp::NoAddress),
        Just(Dhcp::Refused(Words::new("no"))),
    ];
    let reports = (1u8..8, "[a-c]", 0usize..9, any::<bool>());
    prop_oneof![
        (1u8..8, client, said).prop_map(|(number, client, said)| dhcp(number, client, said)),
        (1u8..8).prop_map(script),
        reports.prop_map(|(number, id, stage, ok)| report(number, &id, Stage::ALL[stage], ok)),
        Just(Event::FirstScript { address: IP }),
        (1u8..8).prop_map(|number| Event::Stopped {
            mac: mac(number),
            address: IP,
            words: Words::new("again")
        }),
        Just(Event::Fetched {
            address: IP,
            digest: offer().kernel
        }),
        (1u8..8, 0u64..100).prop_map(|(number, since)| Event::Registered {
            mac: mac(number),
            since: seconds(since),
            words: Words::default()
        }),
    ]
}

proptest! {
    /// Whatever is heard in whatever order, at whatever times: bounds hold, and the lines that were drained,
    /// replayed, give the same board.
    #[test]
    fn what_is_kept_gives_back_what_was_known(events in vec((any_event(), 0u64..100), 0..60)) {
        let mut board = board();
        let mut kept = Vec::new();
        for (event, at) in events {
            board.hear(seconds(at), event);
            if at % 3 == 0 {
                kept.extend(board.drain(usize::MAX));
            }
        }
        kept.extend(board.drain(usize::MAX));
        let mut again = Board::new(4);
        for line in kept {
            let text = serde_json::to_string(&line).expect("a line can be written");
            again.restore(serde_json::from_str(&text).expect("and read"));
        }
        prop_assert!(board.unknown().len() <= 4);
        prop_assert_eq!(board.unknown(), again.unknown());
        for number in 0..8 {
            let (old, new) = (board.record(mac(number)), again.record(mac(number)));
            prop_assert!(old.is_none_or(|record| record.boots.len() <= BOOTS_KEPT));
            prop_assert_eq!(old.map(|r| &r.boots), new.map(|r| &r.boots));
            prop_assert_eq!(old.map(|r| &r.duplicate), new.map(|r| &r.duplicate));
        }
        let mut whole = Board::new(4);
        board.lines().for_each(|line| whole.restore(line));
        prop_assert_eq!(board.unknown(), whole.unknown());
    }
}

/// Many boot at once, and what they ask over HTTP is heard before what they asked dnsmasq.
#[test]
fn a_log_that_is_behind_begins_no_other_boot() {
    let mut board = board();
    board.hear(seconds(10), script(1));
    board.hear(seconds(11), report(1, "a", Stage::Kernel, true));
    for said in [
        Dhcp::Discover,
        Dhcp::Offer(IP),
        Dhcp::Request,
        Dhcp::Ack(IP),
    ] {
        board.hear(seconds(12), dhcp(1, Client::Firmware, said));
    }
    board.hear(seconds(12), dhcp(1, Client::Ipxe, Dhcp::Discover));
    let boots = |board: &Board| board.record(mac(1)).expect("it is known").boots.clone();
    let of_one = boots(&board);
    assert_eq!(of_one.len(), 1);
    assert!(of_one[0].steps.contains_key(&Stage::Dhcp));
    // So late it is the next one.
    board.hear(seconds(16), dhcp(1, Client::Firmware, Dhcp::Discover));
    assert_eq!(boots(&board).len(), 2);
}
