//! Many nodes that boot at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use regexctl_provision::status::State;
use regexctl_provision::store::Digest;

use super::client::{Connection, IPXE};
use super::site::{Site, mac};

/// As many as fit into a test of a few seconds where nothing is optimised.
const NODES: usize = if cfg!(debug_assertions) { 200 } else { 1000 };

/// Boots that many nodes at once, each from an address of its own: scripts, kernel, initramfs, root, overlay and reports, every
/// artifact checked by its digest. Gives how long each took, sorted; the error is that of the first that failed.
pub(crate) fn boot(server: SocketAddr, nodes: usize) -> Result<Vec<Duration>, String> {
    let begin = Barrier::new(nodes);
    let results: Vec<_> = thread::scope(|scope| {
        let start = |number| {
            let begin = &begin;
            let boot = move || {
                begin.wait();
                let began = Instant::now();
                one(server, number).map(|()| began.elapsed())
            };
            let builder = thread::Builder::new().stack_size(256 << 10);
            builder
                .spawn_scoped(scope, boot)
                .expect("a thread can be made")
        };
        let threads: Vec<_> = (0..nodes).map(start).collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err("it panicked".to_owned()))
            })
            .collect()
    });
    let mut took = results.into_iter().collect::<Result<Vec<_>, _>>()?;
    took.sort_unstable();
    Ok(took)
}

fn one(server: SocketAddr, number: usize) -> Result<(), String> {
    // Each its own: what comes from another's address is taken for that one's.
    let [high, low] = u16::try_from(number + 1)
        .expect("there are fewer nodes")
        .to_be_bytes();
    let address = Ipv4Addr::new(127, 1, high, low);
    let ask = |line: &str, body: &str| {
        let mut connection = Connection::from(address, server);
        let answer = connection.ask(
            line,
            &format!("{IPXE}Connection: close\r\n"),
            body.as_bytes(),
        );
        if answer.status == 200 {
            Ok(answer)
        } else {
            Err(format!("{line}: {} {}", answer.status, answer.text()))
        }
    };
    let fetch = |digest: &str| {
        let answer = ask(&format!("GET /artifact/{digest}"), "")?;
        if Digest::of(&answer.body).to_string() == digest {
            Ok(())
        } else {
            Err(format!("{digest} is not what was sent"))
        }
    };
    let say = |stage: &str| {
        let form = format!("boot=b-{number}&stage={stage}&percent=0&message=&ok=1");
        ask(&format!("POST /stage/{}", mac(number)), &form).map(drop)
    };
    ask("GET /boot.ipxe", "")?;
    let script = ask(&format!("GET /boot/{}.ipxe", mac(number)), "")?.text();
    let after = |word: &str| {
        let (_, rest) = script
            .split_once(word)
            .ok_or_else(|| format!("no {word} in {script}"))?;
        Ok::<_, String>(rest.get(..Digest::TEXT_LENGTH).unwrap_or(rest))
    };
    let kernel = after("kernel http://10.77.0.1:8080/artifact/")?;
    let initramfs = after("initrd http://10.77.0.1:8080/artifact/")?;
    fetch(kernel)?;
    fetch(initramfs)?;
    say("kernel")?;
    say("image")?;
    fetch(after("rp.image=")?)?;
    say("verified")?;
    fetch(after("rp.overlay=")?)?;
    say("root")?;
    say("system")?;
    say("worker")
}

/// The value that so many of 100 do not exceed.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1)]
}

#[test]
fn many_nodes_boot_at_once_and_none_fails() {
    let site = Site::new(NODES, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let took = boot(server.address, NODES).expect("all boot");
    let [p50, p95] = [50, 95].map(|percent| percentile(&took, percent));
    eprintln!("{NODES} nodes at once: p50 {p50:?}, p95 {p95:?}");
    // A status may be told for a moment longer than it is true.
    let status = server.until("all are up", |status| {
        status.nodes.iter().all(|node| node.state == State::Up)
    });
    let total = status
        .timing
        .iter()
        .find(|timing| timing.stage == "total")
        .expect("all have booted");
    assert_eq!(total.boots, NODES);
    server.end();
}
