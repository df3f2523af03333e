//! A reader that does not read: memory stays bounded everywhere, and nothing is lost.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead, BufReader};

use rustix::process::Pid;

use crate::harness::cluster::Cluster;
use crate::harness::command::{self, Process, search};
use crate::harness::scratch::{Scratch, linked_files};
use crate::harness::until;

/// The most memory that any process may have held, in KiB.
const MAX_RESIDENT_KIB: u64 = 200 << 10;

/// How often the same state is to be seen before it is taken for a standstill.
const LOOKS: usize = 20;

/// The largest resident set of a process so far, in KiB.
fn peak_kib(pid: Pid) -> u64 {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line
        .expect("a process that runs has one")
        .trim()
        .trim_end_matches(" kB");
    number.parse().expect("it is a number")
}

/// Every line's hash, sorted: an output of hundreds of megabytes in little memory.
fn hashes(output: impl BufRead) -> Vec<u64> {
    let mut hashes: Vec<u64> = output
        .split(b'\n')
        .map(|line| {
            let mut hasher = DefaultHasher::new();
            line.expect("it can be read").hash(&mut hasher);
            hasher.finish()
        })
        .collect();
    hashes.sort_unstable();
    hashes
}

/// Waits until `state` stays the same.
fn until_still<T: PartialEq>(what: &str, mut state: impl FnMut() -> T) {
    let (mut last, mut same) = (state(), 0);
    until(what, || {
        let now = state();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        (same >= LOOKS).then_some(())
    });
}

#[test]
fn a_slow_reader_stops_the_scan_and_not_the_machines() {
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    // 500 MB of output from 250 KB on disk, a directory.
    let line = format!("foo {}\n", "x".repeat(8000));
    linked_files(&tree, 2000, line.repeat(31).as_bytes());
    let mut rg = command::rg(&tree);
    rg.args(["-uuu", "-n", "", "."]);
    let mut rg = Process::start(rg, None);
    let expected = hashes(BufReader::new(rg.stdout()));
    rg.finish().expect_code(0);

    let cluster = Cluster::start(&scratch.path(), 2);
    let args = ["-n", "", "."];
    let mut client = Process::start(search(&tree, Some(&cluster.url), args), None);
    let mut stdout = BufReader::new(client.stdout());
    let begun = stdout.fill_buf().expect("it can be read").len();
    assert!(begun > 0, "{}", client.finish());
    let pids = [
        client.pid(),
        cluster.master.pid(),
        cluster.worker(0).pid(),
        cluster.worker(1).pid(),
    ];
    // As long as something is scanned, some worker holds a lease.
    until_still("nothing is scanned and no memory grows", || {
        (cluster.leases(), pids.map(peak_kib))
    });
    assert!(client.is_running());
    assert_eq!(
        cluster.leases(),
        0,
        "no lease is granted while nobody reads"
    );
    let peaks = pids.map(peak_kib);
    assert!(
        peaks.iter().all(|&peak| peak < MAX_RESIDENT_KIB),
        "KiB: {peaks:?}"
    );

    let ours = hashes(stdout);
    client.finish().expect_code(0);
    assert!(
        ours == expected,
        "{} lines, not {}",
        ours.len(),
        expected.len()
    );
    let peaks = pids[1..]
        .iter()
        .map(|&pid| peak_kib(pid))
        .collect::<Vec<_>>();
    assert!(
        peaks.iter().all(|&peak| peak < MAX_RESIDENT_KIB),
        "KiB: {peaks:?}"
    );
}

#[test]
fn a_slow_reader_of_an_embedded_job_bounds_its_memory() {
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    let line = format!("foo {}\n", "x".repeat(8000));
    linked_files(&tree, 2000, line.repeat(31).as_bytes());
    let mut client = Process::start(search(&tree, None, ["-n", "", "."]), None);
    let mut stdout = BufReader::new(client.stdout());
    stdout.fill_buf().expect("it can be read");
    let pid = client.pid();
    until_still("no memory grows", || peak_kib(pid));
    assert!(client.is_running());
    let peak = peak_kib(pid);
    assert!(peak < MAX_RESIDENT_KIB, "{peak} KiB");
    assert_eq!(hashes(stdout).len(), 2000 * 31);
    client.finish().expect_code(0);
}
