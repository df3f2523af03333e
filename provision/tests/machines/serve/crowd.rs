//! Many nodes that boot at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use regexctl_provision::status::view::NodeStatus;
use regexctl_provision::status::{Stage, State};
use regexctl_provision::store::Digest;

use super::super::harness::{Namespace, missing, needs, until};
use super::client::{Connection, IPXE};
use super::dhcp;
use super::site::{Site, mac};

/// As many as fit into a test of a few seconds where nothing is optimised.
const NODES: usize = if cfg!(debug_assertions) { 200 } else { 1000 };

/// Where nodes are.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// Addresses of loopback, which they simply have.
    Loopback,
    /// A network of its own, where they ask a DHCP server first.
    Network(&'a Namespace),
}

/// How long nodes took, each list sorted.
pub(crate) struct Took {
    /// Until they had an address; empty on loopback.
    pub(crate) dhcp: Vec<Duration>,
    /// Until they were up.
    pub(crate) all: Vec<Duration>,
}

/// Boots that many nodes at once, each from an address of its own: DHCP, scripts, kernel, initramfs, root, overlay and reports, every
/// artifact checked by its digest. The error is that of the first that failed.
pub(crate) fn boot(server: SocketAddr, nodes: usize, place: Place<'_>) -> Result<Took, String> {
    let asks = usize::from(matches!(place, Place::Network(_)));
    let begin = Barrier::new(nodes + asks);
    let (mut tell, heard): (Vec<_>, Vec<_>) = (0..nodes).map(|_| mpsc::channel()).unzip();
    let results: Vec<_> = thread::scope(|scope| {
        let begin = &begin;
        let firmware = match place {
            Place::Loopback => None,
            Place::Network(network) => Some(scope.spawn(move || {
                network.enter();
                let macs: Vec<_> = (0..nodes).map(ethernet).collect();
                begin.wait();
                // Whoever still waits when this ends is told by the end of its channel.
                dhcp::all_ask("br0", &macs, |number, address| {
                    // A node that has failed already says so itself.
                    let _ = tell[number].send(address);
                })
                .map(|()| tell.clear())
            })),
        };
        let start = |(number, heard): (usize, mpsc::Receiver<Ipv4Addr>)| {
            let boot = move || {
                if let Place::Network(network) = place {
                    network.enter();
                }
                begin.wait();
                let began = Instant::now();
                let address = match place {
                    Place::Loopback => in_loopback(number),
                    Place::Network(_) => {
                        let given = heard.recv().map_err(|_| "no address came".to_owned())?;
                        if given != in_network(number) {
                            return Err(format!("node {number} was given {given}"));
                        }
                        given
                    }
                };
                let addressed = began.elapsed();
                one(server, number, address).map(|()| (addressed, began.elapsed()))
            };
            let builder = thread::Builder::new().stack_size(256 << 10);
            builder
                .spawn_scoped(scope, boot)
                .expect("a thread can be made")
        };
        let threads: Vec<_> = heard.into_iter().enumerate().map(start).collect();
        let joined =
            |result: thread::Result<_>| result.unwrap_or_else(|_| Err("it panicked".to_owned()));
        let asked = firmware.map_or(Ok(()), |thread| joined(thread.join()));
        let mut results: Vec<_> = threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err("it panicked".to_owned()))
            })
            .collect();
        if let Err(why) = asked {
            results.insert(0, Err(why));
        }
        results
    });
    let took = results.into_iter().collect::<Result<Vec<_>, _>>()?;
    let sorted = |which: fn(&(Duration, Duration)) -> Duration| {
        let mut times: Vec<_> = took.iter().map(which).collect();
        times.sort_unstable();
        times
    };
    let dhcp = if asks == 0 {
        Vec::new()
    } else {
        sorted(|took| took.0)
    };
    Ok(Took {
        dhcp,
        all: sorted(|took| took.1),
    })
}

/// The address of a node on loopback. Each its own: what comes from another's address is taken for that one's.
fn in_loopback(number: usize) -> Ipv4Addr {
    let [high, low] = u16::try_from(number + 1)
        .expect("there are fewer nodes")
        .to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

/// The address of a node as the site describes it.
fn in_network(number: usize) -> Ipv4Addr {
    let first = u32::from(Ipv4Addr::new(10, 77, 1, 0));
    Ipv4Addr::from(first + u32::try_from(number).expect("there are fewer nodes"))
}

/// The Ethernet address of a node.
fn ethernet(number: usize) -> [u8; 6] {
    let text = mac(number);
    let bytes = text
        .split('-')
        .map(|byte| u8::from_str_radix(byte, 16).expect("two digits"));
    bytes.collect::<Vec<_>>().try_into().expect("six bytes")
}

fn one(server: SocketAddr, number: usize, address: Ipv4Addr) -> Result<(), String> {
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
    let took = boot(server.address, NODES, Place::Loopback).expect("all boot");
    let [p50, p95] = [50, 95].map(|percent| percentile(&took.all, percent));
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

#[test]
fn many_nodes_are_given_their_addresses_and_boot_at_once() {
    if !needs(&["dnsmasq", "ip"]) {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return missing("root");
    }
    let Some(network) = Site::network() else {
        return;
    };
    let site = Site::new(NODES, "");
    site.build("one");
    site.apply(1);
    let server = site.serve_in(&network);
    let took = boot(server.address, NODES, Place::Network(&network)).expect("all boot");
    assert_eq!((took.dhcp.len(), took.all.len()), (NODES, NODES));
    let [p50, p95] = [50, 95].map(|percent| percentile(&took.dhcp, percent));
    eprintln!("{NODES} nodes at once: DHCP p50 {p50:?}, p95 {p95:?}");
    // The log of dnsmasq is read as it comes.
    until(
        "all are up, by one boot, and DHCP was heard of each",
        || {
            let status = site.status_in(&network)?;
            let is_up = |node: &NodeStatus| {
                let boot = node.boot.as_ref()?;
                let heard = boot.stages.iter().any(|stage| stage.stage == Stage::Dhcp);
                (node.state == State::Up && boot.number == 1 && heard).then_some(())
            };
            status.nodes.iter().try_for_each(is_up)
        },
    );
    server.end();
}
