//! Processes that die in the middle of a job: workers, the master, the reader of the output.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::cluster::Cluster;
use crate::harness::command::{self, Process, search};
use crate::harness::normal::difference;
use crate::harness::scratch::{Scratch, linked_files, small_files};
use crate::harness::{Seeded, until};

/// What ripgrep prints, its lines sorted.
fn expected(cwd: &Path, args: &[&str]) -> Vec<Vec<u8>> {
    let mut rg = command::rg(cwd);
    rg.arg("-uuu").args(args);
    let told = command::run(rg);
    told.expect_code(0);
    sorted(&told.stdout)
}

fn sorted(output: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<_> = output
        .split_inclusive(|&b| b == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    lines.sort();
    lines
}

#[track_caller]
fn assert_same(ours: &[Vec<u8>], theirs: &[Vec<u8>], context: &str) {
    if ours != theirs {
        let difference = difference(&ours.concat(), &theirs.concat());
        panic!(
            "{context}: {} lines, not {}; {difference}",
            ours.len(),
            theirs.len()
        );
    }
}

#[test]
fn output_is_identical_when_workers_are_killed() {
    const RUNS: u64 = 20;
    const WORKERS: usize = 3;
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    small_files(&tree, 20_000, 3, 1);
    let args = ["-n", "(foo|lease|needle) [0-9]+5", "."];
    let expected = expected(&tree, &args);
    let mut cluster = Cluster::start(&scratch.path(), WORKERS);
    for seed in 0..RUNS {
        let mut seeded = Seeded(seed);
        let mut points: Vec<usize> = (0..1 + seeded.below(2))
            .map(|_| seeded.below(expected.len()))
            .collect();
        points.sort_unstable();
        let mut client = Process::start(search(&tree, Some(&cluster.url), args), None);
        let mut stdout = BufReader::new(client.stdout());
        let mut lines = Vec::with_capacity(expected.len());
        // The point at which a worker dies is the number of lines that have come by then.
        for point in points {
            while lines.len() < point {
                let mut line = Vec::new();
                let read = stdout.read_until(b'\n', &mut line).expect("it can be read");
                if read == 0 {
                    break;
                }
                lines.push(line);
            }
            let victim = seeded.below(WORKERS);
            cluster.kill_worker(victim);
            cluster.start_worker(victim);
        }
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).expect("it can be read");
        lines.extend(rest.split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec));
        lines.sort();
        let told = client.finish();
        told.expect_code(0);
        assert_same(&lines, &expected, &format!("seed {seed}: {told}"));
    }
}

/// A job that does not end by itself while a test looks at it.
fn long_job(scratch: &Scratch) -> PathBuf {
    let tree = scratch.dir("long");
    let line = format!("foo {}\n", "x".repeat(500));
    linked_files(&tree, 3000, line.repeat(400).as_bytes());
    tree
}

/// Starts a job, and waits for its first line.
fn started(cwd: &Path, master: Option<&str>) -> (Process, BufReader<ChildStdout>) {
    let mut client = Process::start(search(cwd, master, ["-n", "foo", "."]), None);
    let mut stdout = BufReader::new(client.stdout());
    let mut line = Vec::new();
    stdout.read_until(b'\n', &mut line).expect("it can be read");
    assert!(line.ends_with(b"\n"), "no line came: {}", client.finish());
    (client, stdout)
}

#[test]
fn a_master_that_dies_is_named() {
    let scratch = Scratch::new();
    let tree = long_job(&scratch);
    let cluster = Cluster::start(&scratch.path(), 2);
    let (client, mut stdout) = started(&tree, Some(&cluster.url));
    cluster.master.signal(Signal::KILL);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("it can be read");
    let told = client.finish();
    told.expect_code(2)
        .expect_error(&cluster.url)
        .expect_error("not all there are");
}

#[test]
fn a_master_that_is_stopped_says_so() {
    let scratch = Scratch::new();
    let tree = long_job(&scratch);
    let cluster = Cluster::start(&scratch.path(), 2);
    let (client, mut stdout) = started(&tree, Some(&cluster.url));
    cluster.master.signal(Signal::TERM);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("it can be read");
    client
        .finish()
        .expect_code(2)
        .expect_error("not all there are");
}

#[test]
fn a_worker_that_is_stopped_drains() {
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    small_files(&tree, 8000, 3, 2);
    let args = ["-n", "foo", "."];
    let expected = expected(&tree, &args);
    let mut cluster = Cluster::start(&scratch.path(), 3);
    let (client, mut stdout) = started(&tree, Some(&cluster.url));
    cluster.worker(1).signal(Signal::TERM);
    let drained = cluster.finish_worker(1);
    drained.expect_code(0);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("it can be read");
    client.finish().expect_code(0);
    // The first line was taken by `started`.
    let rest = sorted(&rest);
    assert_eq!(rest.len() + 1, expected.len());
    assert!(rest.iter().all(|line| expected.binary_search(line).is_ok()));
    cluster.wait_for_workers(2);
    // To the master that is no loss.
    assert_eq!(cluster.master_log(), "");
}

#[test]
fn a_job_goes_on_with_workers_that_come_later() {
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    small_files(&tree, 500, 3, 3);
    let args = ["-n", "foo", "."];
    let expected = expected(&tree, &args);
    let mut cluster = Cluster::master(&[&scratch.path()]);
    let client = Process::start(search(&tree, Some(&cluster.url), args), None);
    cluster.add_worker();
    let told = client.finish();
    told.expect_code(0);
    assert_same(&sorted(&told.stdout), &expected, "a worker came later");
}

#[test]
fn a_worker_comes_back_to_a_new_master() {
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    small_files(&tree, 500, 3, 4);
    let args = ["-n", "foo", "."];
    let expected = expected(&tree, &args);
    let mut cluster = Cluster::start(&scratch.path(), 2);
    cluster.restart_master();
    cluster.wait_for_workers(2);
    let told = command::run(search(&tree, Some(&cluster.url), args));
    told.expect_code(0);
    assert_same(&sorted(&told.stdout), &expected, "on the new master");
}

#[test]
fn an_interrupted_job_is_cancelled_on_the_cluster() {
    let scratch = Scratch::new();
    let tree = long_job(&scratch);
    let cluster = Cluster::start(&scratch.path(), 3);
    for signal in [Signal::INT, Signal::TERM] {
        let (client, mut stdout) = started(&tree, Some(&cluster.url));
        // Read on, for without a reader nothing would be scanned.
        let reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        until("workers hold leases", || {
            (cluster.leases() > 0).then_some(())
        });
        let signalled = Instant::now();
        client.signal(signal);
        until("no worker holds a lease", || {
            (cluster.leases() == 0).then_some(())
        });
        let took = signalled.elapsed();
        client.finish().expect_code(130);
        let read = reader.join().expect("it does not panic");
        read.expect("it can be read");
        assert!(
            took < Duration::from_secs(1),
            "leases were held for {took:?}"
        );
    }
}

#[test]
fn an_interrupted_embedded_job_ends_at_once() {
    let scratch = Scratch::new();
    let tree = long_job(&scratch);
    let (client, mut stdout) = started(&tree, None);
    let signalled = Instant::now();
    client.signal(Signal::INT);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("it can be read");
    client.finish().expect_code(130);
    let took = signalled.elapsed();
    assert!(took < Duration::from_secs(1), "it took {took:?}");
}

/// `| head -1`
#[test]
fn a_reader_that_goes_away_ends_the_job_quietly() {
    let scratch = Scratch::new();
    let tree = long_job(&scratch);
    let cluster = Cluster::start(&scratch.path(), 2);
    for master in [None, Some(cluster.url.as_str())] {
        let (client, stdout) = started(&tree, master);
        drop(stdout);
        let told = client.finish();
        told.expect_code(0);
        assert_eq!(told.stderr, "", "{told}");
    }
    until("no worker holds a lease", || {
        (cluster.leases() == 0).then_some(())
    });
}

/// The client is killed and cannot cancel: the master does, after its grace.
#[test]
fn the_job_of_a_client_that_was_killed_is_cancelled() {
    let scratch = Scratch::new();
    let tree = long_job(&scratch);
    let cluster = Cluster::start(&scratch.path(), 2);
    let (client, stdout) = started(&tree, Some(&cluster.url));
    client.signal(Signal::KILL);
    drop(stdout);
    client.finish();
    // The next job is served while the lost one is still remembered, and after.
    let told = command::run(search(&tree, Some(&cluster.url), ["-q", "foo", "."]));
    told.expect_code(0);
    until("no worker holds a lease", || {
        (cluster.leases() == 0).then_some(())
    });
}
