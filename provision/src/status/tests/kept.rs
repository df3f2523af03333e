//! What a board remembers, and for how long.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::super::board::MAX_ADDRESSES;
use super::super::*;
use super::heard::{cluster, mac, nothing_heard};

fn tried(number: u8, problem: Option<&str>) -> Tried {
    let node = TriedNode {
        mac: mac(number),
        problem: problem.map(Words::new),
    };
    Tried {
        means: Means::Power,
        nodes: vec![node],
    }
}

fn unreached(board: &Board, number: u8) -> Option<&str> {
    let record = board.record(mac(number))?;
    let problem = record.unreached.get(&Means::Power)?;
    Some(problem.words.as_str())
}

/// A board that has read what another one has written.
fn read_back(board: &mut Board) -> Board {
    let mut again = Board::new(8);
    for line in board.drain(usize::MAX) {
        let text = serde_json::to_string(&line).expect("a line can be written");
        again.restore(serde_json::from_str(&text).expect("and read"));
    }
    again
}

#[test]
fn what_was_tried_before_something_else_was_heard_is_old() {
    let cluster = cluster();
    let mut board = nothing_heard(&cluster).board;
    board.catch_up(At(30), [(At(10), tried(1, Some("no answer")))]);
    assert_eq!(unreached(&board, 1), Some("no answer"));
    // The same is read twice.
    board.catch_up(At(30), [(At(10), tried(1, Some("no answer")))]);
    assert_eq!(board.drain(usize::MAX).len(), 1);
    board.hear(
        At(20),
        Event::Tried {
            mac: mac(1),
            means: Means::Power,
            problem: None,
        },
    );
    board.catch_up(At(30), [(At(19), tried(1, Some("no answer")))]);
    assert_eq!(unreached(&board, 1), None);
    // Nor does it come back in the next process.
    let mut again = read_back(&mut board);
    again.set_known([mac(1)], 8);
    again.catch_up(At(30), [(At(19), tried(1, Some("no answer")))]);
    assert_eq!(unreached(&again, 1), None);
    again.catch_up(At(30), [(At(21), tried(1, Some("again")))]);
    assert_eq!(unreached(&again, 1), Some("again"));
    // The clock has been set back: what is heard now is new.
    let reached = Event::Tried {
        mac: mac(1),
        means: Means::Power,
        problem: None,
    };
    again.hear(At(5), reached);
    assert_eq!(unreached(&again, 1), None);
    // Of no node, nothing is kept.
    again.catch_up(At(30), [(At(22), tried(2, Some("who?")))]);
    assert_eq!(again.record(mac(2)), None);
}

/// Lines are in the order in which they were written, whatever the clock said.
#[test]
fn a_clock_that_is_set_back_loses_nothing_that_was_tried() {
    let cluster = cluster();
    let (fails, goes_well) = (tried(1, Some("no answer")), tried(1, None));
    for (known, now, left, told) in [
        // It fails at 40, and goes well at 35 by the clock that was set back.
        (Some(20), 36, vec![(40, &fails), (35, &goes_well)], None),
        (Some(20), 50, vec![(40, &fails), (35, &goes_well)], None),
        (Some(37), 50, vec![(40, &fails), (35, &goes_well)], None),
        (
            None,
            50,
            vec![(40, &goes_well), (35, &fails)],
            Some("no answer"),
        ),
        // What is known is of before the clock was set back.
        (Some(40), 36, vec![(35, &fails)], Some("no answer")),
        // It was not.
        (Some(40), 50, vec![(35, &fails)], None),
        (Some(40), 50, vec![(30, &goes_well), (35, &fails)], None),
    ] {
        let mut board = nothing_heard(&cluster).board;
        if let Some(at) = known {
            board.catch_up(At(at), [(At(at), goes_well.clone())]);
        }
        // It may be read twice.
        for _ in 0..2 {
            let lines = left.iter().map(|(at, tried)| (At(*at), (*tried).clone()));
            board.catch_up(At(now), lines);
            assert_eq!(unreached(&board, 1), told, "{known:?} {now} {left:?}");
        }
    }
}

/// All boots that are kept have one, and each has a kernel's command line.
#[test]
fn what_a_node_is_offered_again_is_kept_once_and_no_room_is_left_over() {
    let cluster = cluster();
    let mut heard = nothing_heard(&cluster);
    for boot in 0..3 * BOOTS_KEPT as u64 {
        heard.node(1, boot * 100).address_given().script("new");
    }
    let check = |board: &Board| {
        let boots = &board.record(mac(1)).expect("it was heard of").boots;
        assert_eq!(boots.len(), BOOTS_KEPT);
        assert!(boots.capacity() <= BOOTS_KEPT, "{}", boots.capacity());
        let mut offers = boots
            .iter()
            .map(|boot| boot.offer.as_ref().expect("it was told"));
        let first = offers.next().expect("there are some");
        assert!(offers.all(|offer| Arc::ptr_eq(first, offer)));
        boots.back().map(|boot| boot.number)
    };
    assert_eq!(check(&heard.board), Some(24));
    assert_eq!(check(&read_back(&mut heard.board)), Some(24));
}

/// Its initramfs cannot be fetched; scripts let it ask again after a while.
#[test]
fn whoever_asks_again_for_what_failed_to_load_is_in_the_same_boot() {
    let cluster = cluster();
    let mut heard = nothing_heard(&cluster);
    let boots = |board: &Board| board.record(mac(1)).map(|record| record.boots.len());
    for round in 0..20 {
        heard.node(1, round * 31).script("new").fetched(b"kernel");
    }
    assert_eq!(boots(&heard.board), Some(1));
    // It has all of it, and asks again: its kernel does not come up.
    heard.node(1, 600).fetched(b"initramfs");
    heard.node(1, 620).script("new");
    assert_eq!(boots(&heard.board), Some(2));
}

/// Somebody makes up addresses.
#[test]
fn addresses_have_a_limit_and_nodes_are_known_by_theirs() {
    let cluster = cluster();
    let mut board = nothing_heard(&cluster).board;
    let node = cluster.nodes()[0].address.get();
    board.set_fixed([(node, mac(1))]);
    let first = u32::from(Ipv4Addr::new(11, 0, 0, 0));
    let words = Words::default;
    for (at, address) in
        (0..).zip(first..first + u32::try_from(MAX_ADDRESSES).expect("it is small") + 10)
    {
        let address = Ipv4Addr::from(address);
        board.hear(
            At(at),
            Event::Script {
                mac: mac(2),
                address,
                offer: None,
                words: words(),
            },
        );
        assert_eq!(board.who(address), Some(mac(2)));
    }
    assert_eq!(board.who(Ipv4Addr::from(first)), None);
    assert_eq!(board.who(node), Some(mac(1)));
}
