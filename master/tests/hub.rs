//! The hub without a network: as the embedded mode drives it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use regexctl_master::Hub;
use regexctl_master::hub::{
    AttachError, Commit, Hello, HubConfig, Load, ResultsError, ResultsReader, SubmitError,
    initial_tasks,
};
use regexctl_master::scheduler::{LeaseReport, Report, WorkerKey};
use regexctl_proto::domain::{BootId, Grant, JobId, LeaseId, Task, TaskKind, Weight};
use regexctl_proto::v1::results_reply::Event;
use regexctl_proto::v1::{self, CommitOutcome, JobOutcome};

fn spec(roots: usize) -> v1::JobSpec {
    v1::JobSpec {
        pattern: Some(v1::PatternSpec {
            patterns: vec!["x".to_owned()],
            ..v1::PatternSpec::default()
        }),
        roots: (0..roots)
            .map(|i| v1::Root {
                path: format!("/r{i}").into_bytes(),
            })
            .collect(),
        ..v1::JobSpec::default()
    }
}

fn hello(name: &str, boot: u8) -> Hello {
    Hello {
        name: name.to_owned(),
        address: "here".to_owned(),
        boot_id: BootId([boot; 16]),
        version: "1".to_owned(),
        threads: 3,
        slots: 2,
    }
}

fn attach(hub: &Hub, name: &str, boot: u8) -> WorkerKey {
    hub.attach(hello(name, boot), || {}).expect("it attaches")
}

fn submit(hub: &Hub, roots: usize) -> JobId {
    let tasks = initial_tasks(&vec![true; roots], Vec::new());
    hub.submit(spec(roots), tasks).expect("it is taken")
}

fn grants(hub: &Hub, worker: WorkerKey) -> Vec<Grant> {
    hub.orders(worker).expect("it is attached").grants
}

fn matches(path: &str) -> v1::FileMatches {
    v1::FileMatches {
        path: path.into(),
        matched_lines: 1,
        lengths: vec![2],
        text: b"x\n".to_vec(),
        ..v1::FileMatches::default()
    }
}

fn commit(lease: LeaseId, boot: u8, files: Vec<v1::FileMatches>, remainder: Vec<Task>) -> Commit {
    let n = files.len() as u64;
    Commit {
        lease,
        boot_id: BootId([boot; 16]),
        tally: v1::Tally {
            seen: n,
            scanned: n,
            matched: n,
            ..v1::Tally::default()
        },
        time: Duration::from_millis(10),
        remainder,
        results: vec![v1::ResultBatch {
            files,
            ..v1::ResultBatch::default()
        }],
    }
}

fn accept(hub: &Hub, commit: Commit) {
    assert_eq!(hub.commit(commit), Ok(CommitOutcome::Accepted));
}

/// Reads to the end: paths with nodes, errors, and the end.
fn drain(reader: &mut ResultsReader) -> (Vec<String>, Vec<v1::FileError>, v1::JobEnd) {
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    loop {
        match reader
            .blocking_recv()
            .expect("the end comes before nothing")
        {
            Event::Batch(batch) => {
                files.extend(batch.files.iter().map(|file| {
                    let path = String::from_utf8_lossy(&file.path);
                    format!("{}:{path}", batch.nodes[file.node as usize])
                }));
                errors.extend(batch.errors);
            }
            Event::Progress(_) => {}
            Event::Finished(end) => {
                assert!(reader.blocking_recv().is_none());
                return (files, errors, end);
            }
        }
    }
}

/// Ticks until `done` gives something.
fn tick_until<T>(hub: &Hub, mut done: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        hub.tick();
        if let Some(value) = done() {
            return value;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "it never comes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_job_from_submission_to_its_end() {
    let hub = Hub::new(HubConfig::embedded());
    let wakes = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&wakes);
    let worker = hub
        .attach(hello("n", 1), move || {
            counter.fetch_add(1, Ordering::Relaxed);
        })
        .expect("it attaches");
    let before = wakes.load(Ordering::Relaxed);
    let job = submit(&hub, 2);
    assert!(
        wakes.load(Ordering::Relaxed) > before,
        "it is woken for work"
    );
    let mut reader = hub.results(job).expect("there is no reader yet");
    let orders = hub.orders(worker).expect("it is attached");
    assert_eq!(orders.jobs.len(), 1);
    assert_eq!(*orders.jobs[0].1, spec(2));
    assert_eq!(orders.grants.len(), 2);
    let rest = vec![Task::root(1, orders.grants[1].tasks[0].weight)];
    accept(
        &hub,
        commit(orders.grants[0].lease, 1, vec![matches("a")], Vec::new()),
    );
    accept(
        &hub,
        commit(orders.grants[1].lease, 1, vec![matches("b")], rest),
    );
    let last = grants(&hub, worker).remove(0);
    accept(&hub, commit(last.lease, 1, vec![matches("c")], Vec::new()));
    let (files, errors, end) = drain(&mut reader);
    assert_eq!(files, ["n:a", "n:b", "n:c"]);
    assert!(errors.is_empty());
    assert_eq!(end.outcome(), JobOutcome::Complete);
    assert_eq!(end.shards, 3);
    assert_eq!(end.tally.map(|tally| tally.matched), Some(3));
    assert_eq!(hub.results(job).err(), Some(ResultsError::Unknown(job)));
}

#[test]
fn results_of_a_late_commit_are_seen_once() {
    let hub = Hub::new(HubConfig {
        worker_grace: Duration::ZERO,
        ..HubConfig::default()
    });
    let slow = attach(&hub, "slow", 1);
    let job = submit(&hub, 1);
    let mut reader = hub.results(job).expect("there is no reader yet");
    let first = grants(&hub, slow).remove(0).lease;
    hub.detach(slow);
    let other = attach(&hub, "other", 2);
    let second = tick_until(&hub, || grants(&hub, other).pop()).lease;
    assert_eq!(second.attempt.0, 2);
    accept(&hub, commit(first, 1, vec![matches("a")], Vec::new()));
    let late = hub.commit(commit(second, 2, vec![matches("a")], Vec::new()));
    assert_eq!(late, Ok(CommitOutcome::Unknown), "the job is over");
    let (files, _, end) = drain(&mut reader);
    assert_eq!(files, ["slow:a"]);
    assert_eq!(end.retries, 1);
}

#[test]
fn commits_that_cannot_be_right_are_refused() {
    let hub = Hub::new(HubConfig::default());
    let worker = attach(&hub, "n", 1);
    submit(&hub, 1);
    let lease = grants(&hub, worker).remove(0).lease;
    let stranger = commit(lease, 9, Vec::new(), Vec::new());
    assert_eq!(hub.commit(stranger), Ok(CommitOutcome::Unknown));
    let root = v1::FileMatches {
        root: 1,
        ..matches("a")
    };
    let error = hub.commit(commit(lease, 1, vec![root], Vec::new()));
    assert_eq!(error.expect_err("there is one root").field, "ResultBatch");
    let rest = vec![Task::root(1, Weight(0))];
    let error = hub.commit(commit(lease, 1, Vec::new(), rest));
    assert_eq!(error.expect_err("there is one root").field, "Task.root");
    accept(&hub, commit(lease, 1, Vec::new(), Vec::new()));
}

#[test]
fn a_reader_that_does_not_read_holds_up_the_leases() {
    let hub = Hub::new(HubConfig {
        output_bytes: 256 << 10,
        ..HubConfig::default()
    });
    let worker = attach(&hub, "n", 1);
    let job = submit(&hub, 500);
    let mut reader = hub.results(job).expect("there is no reader yet");
    let large = || v1::FileMatches {
        lengths: vec![32 << 10],
        text: vec![b'x'; 32 << 10],
        ..matches("a")
    };
    let mut commits = 0;
    while let Some(grant) = grants(&hub, worker).pop() {
        accept(&hub, commit(grant.lease, 1, vec![large()], Vec::new()));
        commits += 1;
        assert!(commits < 20, "the limit is 256 KiB");
    }
    assert!(commits >= 3);
    assert!(matches!(reader.blocking_recv(), Some(Event::Batch(_))));
    assert!(matches!(reader.blocking_recv(), Some(Event::Batch(_))));
    assert!(!grants(&hub, worker).is_empty(), "there is room again");
}

#[test]
fn a_cancelled_job_ends_at_once() {
    let hub = Hub::new(HubConfig::default());
    let worker = attach(&hub, "n", 1);
    let job = submit(&hub, 5);
    let mut reader = hub.results(job).expect("there is no reader yet");
    let lease = grants(&hub, worker).remove(0).lease;
    hub.cancel(job);
    assert!(hub.orders(worker).expect("it is attached").held.is_empty());
    let late = hub.commit(commit(lease, 1, vec![matches("a")], Vec::new()));
    assert_eq!(late, Ok(CommitOutcome::Unknown));
    let (files, _, end) = drain(&mut reader);
    assert!(files.is_empty());
    assert_eq!(end.outcome(), JobOutcome::Cancelled);
    hub.cancel(job);
}

#[test]
fn a_job_has_one_reader_and_an_orphan_is_cancelled() {
    let hub = Hub::new(HubConfig {
        orphan_grace: Duration::from_millis(50),
        ..HubConfig::default()
    });
    let worker = attach(&hub, "n", 1);
    let job = submit(&hub, 5);
    let reader = hub.results(job).expect("there is no reader yet");
    assert_eq!(hub.results(job).err(), Some(ResultsError::Taken(job)));
    drop(reader);
    let mut reader = hub.results(job).expect("nothing was read yet");
    let lease = grants(&hub, worker).remove(0).lease;
    accept(&hub, commit(lease, 1, vec![matches("a")], Vec::new()));
    assert!(matches!(reader.blocking_recv(), Some(Event::Batch(_))));
    drop(reader);
    assert_eq!(hub.results(job).err(), Some(ResultsError::Partial(job)));
    tick_until(&hub, || {
        let gone = hub.results(job).err() == Some(ResultsError::Unknown(job));
        gone.then_some(())
    });
    assert!(hub.orders(worker).expect("it is attached").held.is_empty());
}

#[test]
fn a_shard_that_kills_its_workers_is_told_as_an_error() {
    let hub = Hub::new(HubConfig {
        worker_grace: Duration::ZERO,
        max_attempts: 3,
        ..HubConfig::default()
    });
    let job = submit(&hub, 1);
    let mut reader = hub.results(job).expect("there is no reader yet");
    for boot in 1..=3 {
        let worker = attach(&hub, "n", boot);
        tick_until(&hub, || grants(&hub, worker).pop());
        hub.detach(worker);
    }
    hub.tick();
    let (files, errors, end) = drain(&mut reader);
    assert!(files.is_empty());
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].kind(), v1::FileErrorKind::Abandoned);
    assert_eq!(end.outcome(), JobOutcome::Complete);
    let tally = end.tally.expect("the end has one");
    assert_eq!(tally.dirs_failed, 1);
    assert!(tally.balances());
}

#[test]
fn progress_counts_what_leases_have_done() {
    let hub = Hub::new(HubConfig::default());
    let worker = attach(&hub, "n", 1);
    let job = submit(&hub, 5);
    let mut reader = hub.results(job).expect("there is no reader yet");
    let lease = grants(&hub, worker).remove(0).lease;
    let report = Report {
        revision: 0,
        slots: 2,
        draining: false,
        leases: vec![LeaseReport {
            lease,
            ticks: 9,
            files: 40,
            bytes: 4000,
        }],
        jobs: vec![job],
    };
    let load = Load {
        load_centi: 150,
        files_per_second: 7,
        bytes_per_second: 8,
    };
    hub.report(worker, report, load)
        .expect("it keeps the rules");
    let progress = std::thread::scope(|scope| {
        let reading = scope.spawn(|| reader.blocking_recv());
        tick_until(&hub, || reading.is_finished().then_some(()));
        reading.join().expect("the reader does not panic")
    });
    let Some(Event::Progress(progress)) = progress else {
        panic!("{progress:?} is no progress");
    };
    let tally = progress.tally.expect("progress has one");
    assert_eq!((tally.scanned, tally.bytes_searched), (40, 4000));
    assert_eq!((progress.workers, progress.threads), (1, 3));
    assert_eq!(progress.leased, 2);
    let nodes = hub.nodes();
    assert_eq!(nodes.len(), 1);
    assert_eq!((nodes[0].name.as_str(), nodes[0].leases), ("n", 2));
    assert_eq!((nodes[0].load_centi, nodes[0].files_per_second), (150, 7));
}

#[test]
fn large_orders_come_one_after_the_other() {
    let hub = Hub::new(HubConfig::default());
    let worker = attach(&hub, "n", 1);
    let big = |i: u8| v1::JobSpec {
        pattern: Some(v1::PatternSpec {
            patterns: vec![char::from(b'a' + i).to_string().repeat((2 << 20) - 1000)],
            ..v1::PatternSpec::default()
        }),
        ..spec(1)
    };
    let jobs: Vec<JobId> = (0..2)
        .map(|i| {
            let tasks = initial_tasks(&[true], Vec::new());
            hub.submit(big(i), tasks).expect("it is taken")
        })
        .collect();
    let first = hub.orders(worker).expect("it is attached");
    assert_eq!(first.held.len(), 1, "two specs do not fit into a message");
    assert_eq!(first.jobs.len(), 1);
    let report = Report {
        revision: first.revision,
        slots: 2,
        draining: false,
        leases: vec![LeaseReport {
            lease: first.held[0],
            ticks: 0,
            files: 0,
            bytes: 0,
        }],
        jobs: vec![jobs[0]],
    };
    hub.report(worker, report, Load::default())
        .expect("it keeps the rules");
    let second = hub.orders(worker).expect("it is attached");
    assert_eq!(second.held.len(), 2);
    assert_eq!(second.jobs.len(), 1);
    assert_eq!(second.jobs[0].0, jobs[1]);
}

#[test]
fn limits_are_named() {
    let hub = Hub::new(HubConfig {
        max_jobs: 1,
        max_workers: 1,
        spec_bytes: 1000,
        ..HubConfig::default()
    });
    let tasks = || initial_tasks(&[true], Vec::new());
    let none = hub.submit(spec(0), Vec::new());
    assert!(matches!(none, Err(SubmitError::Bad(_))));
    let error = hub.submit(spec(500), tasks()).expect_err("it is too large");
    assert!(error.to_string().contains("the limit is 1000"), "{error}");
    submit(&hub, 1);
    let error = hub.submit(spec(1), tasks()).expect_err("there is one");
    assert_eq!(error.to_string(), "jobs: 2, the limit is 1");
    attach(&hub, "n", 1);
    let error = hub.attach(hello("m", 2), || {});
    assert_eq!(error, Err(AttachError::TooMany(1)));
    let none = Hello {
        slots: 0,
        ..hello("m", 2)
    };
    assert!(matches!(hub.attach(none, || {}), Err(AttachError::Bad(_))));
}

#[test]
fn a_stopped_hub_fails_its_jobs() {
    let hub = Hub::new(HubConfig::default());
    let worker = attach(&hub, "n", 1);
    let job = submit(&hub, 1);
    let mut reader = hub.results(job).expect("there is no reader yet");
    hub.stop("master is stopping");
    let (_, _, end) = drain(&mut reader);
    assert_eq!(end.outcome(), JobOutcome::Failed);
    assert_eq!(end.reason, "master is stopping");
    assert!(hub.orders(worker).is_none());
    assert_eq!(hub.attach(hello("n", 2), || {}), Err(AttachError::Stopping));
    let tasks = initial_tasks(&[true], Vec::new());
    assert_eq!(hub.submit(spec(1), tasks), Err(SubmitError::Stopping));
}

#[test]
fn parts_of_a_split_file_pass_through_the_assembler() {
    let hub = Hub::new(HubConfig::default());
    let worker = attach(&hub, "n", 1);
    let job = submit(&hub, 1);
    let mut reader = hub.results(job).expect("there is no reader yet");
    let whole = grants(&hub, worker).remove(0);
    let range = |start, end, weight| Task {
        root: 0,
        weight,
        kind: TaskKind::Range {
            path: b"f".to_vec(),
            start,
            end,
            size: 20,
        },
    };
    let mut halves = whole.tasks[0].weight.split(2);
    let mut half = || halves.next().expect("there are two");
    let rest = vec![range(0, 10, half()), range(10, 20, half())];
    accept(&hub, commit(whole.lease, 1, Vec::new(), rest));
    let part = |start: u64, end: u64| v1::FileMatches {
        line_numbers: vec![1],
        part: Some(v1::Part {
            start,
            end,
            lines: 5,
            last: end == 20,
        }),
        ..matches("f")
    };
    let granted = grants(&hub, worker);
    assert_eq!(granted.len(), 2);
    for (grant, (start, end)) in granted.iter().zip([(0, 10), (10, 20)]).rev() {
        let mut parts = commit(grant.lease, 1, vec![part(start, end)], Vec::new());
        // Counted where it was found; a worker does not count parts as matched.
        parts.tally = v1::Tally::default();
        accept(&hub, parts);
    }
    let Some(Event::Batch(batch)) = reader.blocking_recv() else {
        panic!("there are matches");
    };
    let lines: Vec<_> = batch.files.iter().map(|f| f.line_numbers[0]).collect();
    assert_eq!(lines, [1, 6]);
    let continues: Vec<_> = batch.files.iter().map(|f| f.continues).collect();
    assert_eq!(continues, [true, false]);
    let (_, _, end) = drain(&mut reader);
    assert_eq!(end.tally.map(|tally| tally.matched), Some(1));
}
