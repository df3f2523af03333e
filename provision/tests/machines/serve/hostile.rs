//! What the boot endpoint does with requests that no node would make.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::process::Signal;

use super::super::harness::until;
use super::client::{Connection, connect, get, post};
use super::site::{Site, mac};

/// Sends bytes, and reads what comes until the connection ends or nothing comes any more.
fn throw(server: &super::site::Server, bytes: &[u8]) -> String {
    let mut stream = connect(server.address);
    // It may have answered and ended before all was sent.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a time");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn what_is_wrong_is_refused_with_a_reason() {
    let site = Site::new(1, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let stage = format!("/stage/{}", mac(0));
    let long = "x".repeat(9000);
    for (answer, status, words) in [
        (
            get(server.address, "/boot/zz.ipxe"),
            400,
            "is not an Ethernet address",
        ),
        (
            get(server.address, "/boot/ff-ff-ff-ff-ff-ff.ipxe"),
            400,
            "group address",
        ),
        (get(server.address, "/boot/%ff%fe.ipxe"), 400, ""),
        (get(server.address, "/boot/x"), 404, "there are /boot.ipxe"),
        (get(server.address, "/artifact/../../etc/passwd"), 404, ""),
        (
            get(server.address, "/artifact/%2e%2e%2fcluster.toml"),
            404,
            "",
        ),
        (get(server.address, "/nodes/journal"), 404, ""),
        (post(server.address, "/boot.ipxe", "x"), 405, ""),
        (
            post(server.address, &stage, "stage=up"),
            400,
            "the field stage: no such stage",
        ),
        (post(server.address, &stage, &long), 413, ""),
        (
            post(server.address, "/stage/x", "stage=kernel"),
            400,
            "Ethernet",
        ),
        (
            post(server.address, &format!("/discover/{}", mac(9)), "{"),
            400,
            "the inventory: EOF",
        ),
        (
            post(
                server.address,
                &format!("/discover/{}", mac(9)),
                &"x".repeat(70_000),
            ),
            413,
            "",
        ),
    ] {
        assert_eq!(
            (answer.status, answer.text().contains(words)),
            (status, true),
            "{}",
            answer.text()
        );
    }
    assert!(throw(&server, b"nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    let head = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(5000));
    assert!(throw(&server, head.as_bytes()).starts_with("HTTP/1.1 431"));
    // Nothing of it was kept.
    let status = server.status();
    assert_eq!(
        (status.nodes[0].boot.is_none(), status.unknown.len()),
        (true, 0)
    );
    server.end();
}

#[test]
fn whatever_is_sent_the_endpoint_lives() {
    let site = Site::new(1, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let piece = prop_oneof![
        "(GET|POST|HEAD|PUT|\u{0}) ",
        "/(artifact|boot|stage|discover|status.json|)[/a-f0-9%.-]{0,40}",
        Just(format!("/stage/{}", mac(0))),
        Just(format!("/boot/{}.ipxe", mac(0))),
        " HTTP/[01].[019]\r\n",
        "(Range|Content-Length|Transfer-Encoding|Expect|If-None-Match): [ -~]{0,20}\r\n",
        Just("\r\n".to_owned()),
        "(boot|stage|percent|ok|message)=[ -~]{0,30}&",
        "[\u{0}-\u{ff}]{0,40}",
    ];
    let cases = if cfg!(debug_assertions) { 150 } else { 1000 };
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let run = runner.run(&proptest::collection::vec(piece, 0..12), |pieces| {
        throw(&server, pieces.concat().as_bytes());
        prop_assert_eq!(get(server.address, "/").status, 200);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
    server.end();
}

#[test]
fn connections_have_a_limit_and_further_ones_wait() {
    let site = Site::new(1, "[serve]\nmax-connections = 16");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let mut idle: Vec<_> = (0..16).map(|_| Connection::new(server.address)).collect();
    // They are served: what they ask is answered, and they stay.
    let digest = "0".repeat(64);
    for connection in &mut idle {
        assert_eq!(
            connection
                .ask(&format!("GET /artifact/{digest}"), "", b"")
                .status,
            404
        );
    }
    let mut late = Connection::new(server.address);
    late.send("GET /", "Connection: close\r\n", b"");
    assert!(late.is_silent_for(Duration::from_millis(300)));
    idle.pop();
    assert_eq!(late.answer(false).status, 200);
    server.end();
}

/// All are busy when the limit is lowered, and there is always somebody who waits.
#[test]
fn a_limit_that_is_lowered_holds_when_connections_have_ended() {
    let site = Site::new(1, "[serve]\nmax-connections = 32");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let ask = format!("GET /artifact/{}", "0".repeat(64));
    let mut idle: Vec<_> = (0..31).map(|_| Connection::new(server.address)).collect();
    for connection in &mut idle {
        assert_eq!(connection.ask(&ask, "", b"").status, 404);
    }
    let text = std::fs::read_to_string(site.file()).expect("it is there");
    site.describe(&text.replace("= 32", "= 16"));
    site.apply(2);
    // One connection at a time is left for whoever asks, until it is followed.
    let mut late = until("it is followed", || {
        let mut late = Connection::new(server.address);
        late.send("GET /", "Connection: close\r\n", b"");
        // Longer than it takes to be answered.
        late.is_silent_for(Duration::from_secs(3)).then_some(late)
    });
    for left in (16..31).rev() {
        assert!(late.is_silent_for(Duration::from_millis(20)), "{left}");
        idle.truncate(left);
    }
    assert!(late.is_silent_for(Duration::from_millis(300)));
    idle.pop();
    assert_eq!(late.answer(false).status, 200);
    drop(idle);
    server.end();
}

#[test]
fn whoever_is_in_the_middle_of_something_does_not_keep_it_from_ending() {
    let site = Site::new(1, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let mut idle = Connection::new(server.address);
    assert_eq!(
        idle.ask(&format!("GET /artifact/{}", "0".repeat(64)), "", b"")
            .status,
        404
    );
    let mut half = connect(server.address);
    half.write_all(b"GET /boot.ip").expect("it can be sent");
    let mut slow = connect(server.address);
    slow.write_all(b"POST /stage/x HTTP/1.1\r\nContent-Length: 9\r\n\r\nstage")
        .expect("it can be sent");
    server.signal(Signal::HUP);
    assert_eq!(server.status().generation, Some(1));
    server.end();
}
