//! What the boot endpoint sends, and to how many at once, in how much memory: `regex-provision serve` itself, on
//! loopback, over a directory as `image build` and `apply` leave it.
//!
//!     cargo bench -p regexctl-provision --bench serve -- [--quick]
//!
//! Two parts, each round of which has a server of its own, so that its peak is that of the round:
//!
//! - `fetch`: clients fetch one artifact over and over, each over a connection of its own that is kept. Once, before, the
//!   artifact is fetched whole and its digest is checked.
//! - `crowd`: nodes boot at once, as tests/machines/serve/crowd.rs has it: scripts, kernel, initramfs, root, overlay
//!   and reports, every artifact checked by its digest. They boot until the server remembers as many boots of each as
//!   it ever does, since that is what takes most of its memory. The first node that fails ends the benchmark. Then the same
//!   in a network of its own, where dnsmasq, run by the server, gives each node its address first; that needs root.
//!
//! Clients and server share the cores. So `fetch` is measured twice: with clients that have the kernel throw away what
//! has arrived (`MSG_TRUNC`, see `fetch`), which leaves most of the time to the server, as where clients are other
//! machines; and with clients that read everything into a buffer. What a network card and its driver cost is in neither.
//! The server's processor time for each GB is the figure that does not depend on what clients do.
//!
//! Exit status: 0 measured, and targets met; 1 a target was missed; anything else if an answer was wrong or a node did not boot.

mod fetch;
mod process;
#[path = "../shared/mod.rs"]
mod shared;

#[expect(dead_code, reason = "tests/machines uses the rest")]
#[path = "../../tests/machines/harness.rs"]
mod harness;
#[expect(
    dead_code,
    unused_imports,
    reason = "tests/machines uses the rest, and what it is for are tests"
)]
#[path = "../../tests/machines/serve"]
mod serve {
    pub(crate) mod client;
    pub(crate) mod crowd;
    pub(crate) mod dhcp;
    pub(crate) mod site;
}

use std::process::ExitCode;

use fetch::Reading;
use regexctl_provision::status::record::BOOTS_KEPT;
use serve::crowd::{self, Place, percentile};
use serve::site::Site;
use shared::{Bound, Target, judge, median};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Size {
    rounds: usize,
    clients: usize,
    /// Of the artifact that is fetched.
    bytes: usize,
    /// By each client in each round.
    fetches: usize,
    nodes: usize,
    /// How many times they boot.
    boots: usize,
}

const FULL: Size = Size {
    rounds: 5,
    clients: 64,
    bytes: 96_000_000,
    fetches: 4,
    nodes: 1000,
    // The server remembers the last boots of each node: in the last rounds as many as it ever does.
    boots: BOOTS_KEPT + 2,
};

const QUICK: Size = Size {
    rounds: 1,
    clients: 64,
    bytes: 2_000_000,
    fetches: 2,
    nodes: 100,
    boots: 1,
};

/// What all clients are to get together, in GB/s.
const LEAST_RATE: f64 = 2.0;

/// What the server may take, in MiB.
const MOST_MEMORY: f64 = 64.0;

fn main() -> ExitCode {
    let quick = shared::is_quick();
    let size = if quick { QUICK } else { FULL };
    // A socket for each node that boots.
    process::raise_open_files();
    let [rate, peak] = fetch_artifact(&size);
    let crowd = boot_crowd(&size);
    boot_crowd_with_dhcp(&size);
    judge(&[rate, peak, crowd], quick)
}

fn fetch_artifact(size: &Size) -> [Target; 2] {
    let site = Site::new(1, "");
    site.build_with_root("one", size.bytes);
    site.apply(1);
    let image = "base".parse().expect("a name");
    let (_, manifest) = site.store().image(&image).expect("it was built");
    let root = manifest.root.sha256;
    {
        let server = site.serve();
        fetch::check(server.address, root);
        server.end();
    }
    println!(
        "{} clients, {} times {} MB each on one connection; rounds: {}, medians\n",
        size.clients,
        size.fetches,
        size.bytes / 1_000_000,
        size.rounds
    );
    println!("| clients | GB/s | min - max | server's CPU s / GB | server's peak MiB |");
    println!("|---|---|---|---|---|");
    let total = (size.clients * size.fetches * size.bytes) as f64 / 1e9;
    let mut rounds = Vec::new();
    for round in 0..size.rounds {
        for reading in [Reading::ThrowAway, Reading::Copy] {
            let server = site.serve();
            let before = process::cpu_seconds(server.pid());
            let took = fetch::all(
                server.address,
                root,
                size.bytes,
                size.clients,
                size.fetches,
                reading,
            );
            let cpu = process::cpu_seconds(server.pid()) - before;
            let peak = process::peak_mib(server.pid());
            server.end();
            let rate = total / took.as_secs_f64();
            eprintln!("round {}, {reading}: {rate:.2} GB/s", round + 1);
            rounds.push((reading, rate, cpu / total, peak));
        }
    }
    let of = |reading, figure: fn(&(Reading, f64, f64, f64)) -> f64| {
        let chosen = rounds.iter().filter(move |round| round.0 == reading);
        chosen.map(figure).collect::<Vec<_>>()
    };
    let highest = |values: Vec<f64>| values.into_iter().fold(0.0, f64::max);
    for reading in [Reading::ThrowAway, Reading::Copy] {
        let rates = of(reading, |round| round.1);
        println!(
            "| {reading} | {:.2} | {:.2} - {:.2} | {:.3} | {:.1} |",
            median(rates.iter().copied()),
            rates.iter().copied().fold(f64::INFINITY, f64::min),
            highest(rates),
            median(of(reading, |round| round.2).into_iter()),
            highest(of(reading, |round| round.3)),
        );
    }
    [
        Target {
            what: "fetch: all clients together, GB/s",
            bound: Bound::AtLeast(LEAST_RATE),
            measured: median(of(Reading::ThrowAway, |round| round.1).into_iter()),
        },
        Target {
            what: "fetch: peak of the server, MiB",
            bound: Bound::AtMost(MOST_MEMORY),
            measured: highest(rounds.iter().map(|round| round.3).collect()),
        },
    ]
}

fn boot_crowd(size: &Size) -> Target {
    let site = Site::new(size.nodes, "");
    site.build("one");
    site.apply(1);
    println!(
        "\n{} nodes that boot at once, roots of {} kB\n",
        size.nodes,
        serve::site::ROOT_BYTES / 1000
    );
    println!("| round | p50 s | p95 s | max s | server's peak MiB |");
    println!("|---|---|---|---|---|");
    let mut highest: f64 = 0.0;
    for round in 1..=size.boots {
        let server = site.serve();
        let took = crowd::boot(server.address, size.nodes, Place::Loopback);
        let took = took.unwrap_or_else(|why| panic!("{why}"));
        let peak = process::peak_mib(server.pid());
        server.end();
        let [p50, p95, max] =
            [50, 95, 100].map(|percent| percentile(&took.all, percent).as_secs_f64());
        println!("| {round} | {p50:.2} | {p95:.2} | {max:.2} | {peak:.1} |");
        highest = highest.max(peak);
    }
    println!("\nevery node booted, in every round");
    Target {
        what: "crowd: peak of the server, MiB",
        bound: Bound::AtMost(MOST_MEMORY),
        measured: highest,
    }
}

/// The same with what comes before: each node is given its address by dnsmasq, which the server runs, as at a small site.
fn boot_crowd_with_dhcp(size: &Size) {
    let network = rustix::process::geteuid().is_root().then(Site::network);
    let Some(network) = network.flatten() else {
        println!("\nnot root: nodes that ask for their addresses are NOT measured");
        return;
    };
    let site = Site::new(size.nodes, "");
    site.build("one");
    site.apply(1);
    println!(
        "\n{} nodes at once that ask dnsmasq for their addresses, then boot\n",
        size.nodes
    );
    println!("| round | address p50 s | p95 s | max s | up p50 s | p95 s | max s |");
    println!("|---|---|---|---|---|---|---|");
    for round in 1..=size.rounds {
        let server = site.serve_in(&network);
        let took = crowd::boot(server.address, size.nodes, Place::Network(&network));
        let took = took.unwrap_or_else(|why| panic!("{why}"));
        server.end();
        let row = [&took.dhcp, &took.all].into_iter().flat_map(|times| {
            [50, 95, 100].map(|percent| format!("{:.2}", percentile(times, percent).as_secs_f64()))
        });
        println!("| {round} | {} |", row.collect::<Vec<_>>().join(" | "));
    }
    println!("\nevery node was given its address and booted, in every round");
}
