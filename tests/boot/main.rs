//! From bare metal to the first match, for real: machines without anything in them boot from the network, become workers,
//! and search a tree over NFS.
//!
//! Everything is what a site would have: `regex-provision` makes the configuration and the image and serves them with dnsmasq and
//! NFS-Ganesha; the machines are QEMU's, in software, with a BIOS or UEFI, switched on and off by a simulated BMC. It all
//! lives in namespaces of its own and leaves nothing behind but the packages and the base root of the image, which the
//! next run finds.
//!
//! Needs root, /dev/net/tun, and the Debian packages that tests/run installs. The image comes from a Debian mirror.

mod guest;
mod imports;
mod neighbour;
mod programs;
mod rig;
mod services;
mod site;
mod ways;
mod whole_way;

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rig::Entry;

/// What nothing outlasts: the image is built from nothing, packages and all, and each state may take its patience.
const LIMIT: Duration = Duration::from_secs(25 * 60);

/// One after the other: they share the bed of packages, and there are few cores.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn machines_boot_from_nothing_and_search() {
    go("machines_boot_from_nothing_and_search", whole_way::go);
}

#[test]
fn every_way_to_boot_brings_a_node_up() {
    go("every_way_to_boot_brings_a_node_up", ways::go);
}

/// Runs the inside of the test of this name.
fn go(name: &str, inside: fn()) {
    // A failure of the other one is told by itself.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let before = of_this_machine();
    match rig::enter(
        &["--exact", name, "--nocapture", "--test-threads", "1"],
        LIMIT,
    ) {
        Entry::Inside => inside(),
        Entry::Done => assert_eq!(of_this_machine(), before, "this machine was changed"),
        Entry::Missed => panic!("failed inside, see above"),
    }
}

/// What `apply` would change on a real master.
fn of_this_machine() -> Vec<Option<String>> {
    let files = [
        "hosts",
        "chrony/conf.d/regex-provision.conf",
        "rsyslog.d/30-regex-provision.conf",
        "systemd/system/regex-master.service",
        "systemd/system/regex-provision-serve.service",
    ];
    let read = |name| fs::read_to_string(Path::new("/etc").join(name)).ok();
    files.into_iter().map(read).collect()
}

/// Says what is being done, and when.
fn say(began: Instant, what: &str) {
    eprintln!("[{:5.1} s] {what}", began.elapsed().as_secs_f64());
}

/// The stages of a node's boot and the seconds from its beginning.
fn stages(node: &serde_json::Value) -> String {
    let began = node["boot"]["began"].as_u64().unwrap_or(0);
    let stages = node["boot"]["stages"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut words = Vec::new();
    for stage in &stages {
        let at = stage["at"].as_u64().unwrap_or(0).saturating_sub(began);
        let name = stage["stage"].as_str().unwrap_or("?");
        words.push(format!("{name} {}.{}", at / 1000, at % 1000 / 100));
    }
    words.join(", ")
}
