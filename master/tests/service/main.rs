//! The service on a real port, against workers and clients that speak the protocol by hand.

mod peer;
mod process;

use std::time::Duration;

use peer::{Master, Worker, client, end_of, grants, matches, spec, submit, submit_walk};
use regexctl_proto::limits::{MAX_MESSAGE_BYTES, PROTOCOL};
use regexctl_proto::v1::commit_chunk::Part;
use regexctl_proto::v1::results_reply::Event;
use regexctl_proto::v1::{self, CommitOutcome, JobOutcome};
use tonic::Code;

#[tokio::test]
async fn a_job_from_submission_to_its_end() {
    let master = Master::start().await;
    let mut worker = Worker::attach(&master, "n1", 1).await;
    let mut client = client(&master).await;
    let job = submit(&mut client, 1).await;
    let mut results = client
        .results(v1::ResultsRequest { job })
        .await
        .expect("there is no reader yet")
        .into_inner();

    let orders = worker.orders_with_grants().await;
    assert_eq!(orders.jobs.len(), 1);
    assert_eq!(orders.jobs[0].spec, Some(spec(1)));
    let grant = orders.grants[0].clone();
    let lease = grant.lease.expect("a grant has a lease");
    let rest = grant.tasks.clone();
    let outcome = worker.commit(lease, vec![matches("a")], rest).await;
    assert_eq!(outcome, Ok(CommitOutcome::Accepted));
    let outcome = worker.commit(lease, vec![matches("a")], Vec::new()).await;
    assert_eq!(outcome, Ok(CommitOutcome::Duplicate));
    let grant = worker.orders_with_grants().await.grants.remove(0);
    let lease = grant.lease.expect("a grant has a lease");
    let outcome = worker.commit(lease, vec![matches("b")], Vec::new()).await;
    assert_eq!(outcome, Ok(CommitOutcome::Accepted));

    let (files, end) = end_of(&mut results).await;
    let paths: Vec<_> = files.iter().map(|file| file.path.as_slice()).collect();
    assert_eq!(paths, [b"a", b"b"]);
    assert_eq!(end.outcome(), JobOutcome::Complete);
    assert_eq!((end.shards, end.duplicates), (2, 1));
    let late = client.results(v1::ResultsRequest { job }).await;
    assert_eq!(late.expect_err("it was read").code(), Code::NotFound);
}

#[tokio::test]
async fn a_worker_that_comes_back_keeps_its_leases() {
    let master = Master::start().await;
    let mut worker = Worker::attach(&master, "n1", 1).await;
    let mut client = client(&master).await;
    let job = submit(&mut client, 1).await;
    let lease = grants(&worker.orders_with_grants().await)[0];
    drop(worker);
    let mut worker = Worker::attach(&master, "n1", 1).await;
    assert_eq!(grants(&worker.orders_with_grants().await), [lease]);
    drop(worker);
    // Another life of the process has to start over.
    let mut worker = Worker::attach(&master, "n1", 2).await;
    let again = grants(&worker.orders_with_grants().await)[0];
    assert_eq!((again.shard, again.attempt), (lease.shard, 2));
    let outcome = worker.commit(again, Vec::new(), Vec::new()).await;
    assert_eq!(outcome, Ok(CommitOutcome::Accepted));
    let mut results = client
        .results(v1::ResultsRequest { job })
        .await
        .expect("there is no reader yet")
        .into_inner();
    let (_, end) = end_of(&mut results).await;
    assert_eq!(end.retries, 1);
}

#[tokio::test]
async fn a_second_stream_of_a_process_ends_the_first() {
    let master = Master::start().await;
    let mut first = Worker::attach(&master, "n1", 1).await;
    let _second = Worker::attach(&master, "n1", 1).await;
    assert_eq!(first.end().await, Code::Unavailable);
}

#[tokio::test]
async fn cancel_takes_the_leases_away() {
    let master = Master::start().await;
    let mut worker = Worker::attach(&master, "n1", 1).await;
    let mut client = client(&master).await;
    let job = submit(&mut client, 3).await;
    let mut results = client
        .results(v1::ResultsRequest { job })
        .await
        .expect("there is no reader yet")
        .into_inner();
    let lease = grants(&worker.orders_with_grants().await)[0];
    client
        .cancel(v1::CancelRequest { job })
        .await
        .expect("it can always be cancelled");
    let (_, end) = end_of(&mut results).await;
    assert_eq!(end.outcome(), JobOutcome::Cancelled);
    worker.orders_until(|orders| orders.held.is_empty()).await;
    let outcome = worker.commit(lease, Vec::new(), Vec::new()).await;
    assert_eq!(outcome, Ok(CommitOutcome::Unknown));
    client
        .cancel(v1::CancelRequest { job })
        .await
        .expect("that it is over is no error");
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_job() {
    let master = Master::with(|config| config.orphan_grace = Duration::from_millis(100)).await;
    let mut worker = Worker::attach(&master, "n1", 1).await;
    let mut client = client(&master).await;
    let job = submit(&mut client, 3).await;
    let results = client
        .results(v1::ResultsRequest { job })
        .await
        .expect("there is no reader yet");
    worker.orders_with_grants().await;
    drop(results);
    worker.orders_until(|orders| orders.held.is_empty()).await;
}

#[tokio::test]
async fn a_slow_reader_holds_up_the_leases() {
    let master = Master::with(|config| config.output_bytes = 4 << 20).await;
    let mut worker = Worker::attach(&master, "n1", 1).await;
    let mut client = client(&master).await;
    let job = submit(&mut client, 500).await;
    let mut results = client
        .results(v1::ResultsRequest { job })
        .await
        .expect("there is no reader yet")
        .into_inner();
    let large = |n: usize| v1::FileMatches {
        lengths: vec![900 << 10],
        text: vec![b'x'; 900 << 10],
        ..matches(&n.to_string())
    };
    // Commits go on until neither the limit nor the buffers of the connection take more.
    let mut commits = 0;
    while let Some(lease) = worker.next_lease(Duration::from_millis(500)).await {
        let outcome = worker.commit(lease, vec![large(commits)], Vec::new()).await;
        assert_eq!(outcome, Ok(CommitOutcome::Accepted));
        commits += 1;
        assert!(commits < 40, "4 MiB, and what the connection holds");
    }
    // Those are granted at once; what comes after them depends on the buffers.
    assert!(commits >= 3);
    let mut seen = 0;
    while seen < commits {
        let reply = results.message().await.expect("it goes on");
        if let Some(Event::Batch(batch)) = reply.and_then(|reply| reply.event) {
            seen += batch.files.len();
        }
    }
    assert!(worker.next_lease(Duration::from_secs(10)).await.is_some());
}

#[tokio::test]
async fn a_large_file_is_cut_on_the_way_in_and_out() {
    let master = Master::start().await;
    let mut worker = Worker::attach(&master, "n1", 1).await;
    let mut client = client(&master).await;
    let job = submit(&mut client, 1).await;
    let mut results = client
        .results(v1::ResultsRequest { job })
        .await
        .expect("there is no reader yet")
        .into_inner();
    let lease = grants(&worker.orders_with_grants().await)[0];
    let large = v1::FileMatches {
        lengths: vec![1 << 20; 9],
        text: vec![b'x'; 9 << 20],
        ..matches("large")
    };
    let outcome = worker.commit(lease, vec![large.clone()], Vec::new()).await;
    assert_eq!(outcome, Ok(CommitOutcome::Accepted));
    let (files, _) = end_of(&mut results).await;
    let expected = v1::FileMatches {
        shard: lease.shard,
        ..large
    };
    assert_eq!(files, [expected]);
}

#[tokio::test]
async fn another_version_is_refused_with_both_numbers() {
    let master = Master::start().await;
    let theirs = PROTOCOL + 1;
    let says_both = |status: tonic::Status| {
        assert_eq!(status.code(), Code::FailedPrecondition);
        let message = status.message();
        assert!(message.contains(&theirs.to_string()), "{message}");
        assert!(message.contains(&PROTOCOL.to_string()), "{message}");
    };
    let mut client = client(&master).await;
    let header = v1::SubmitHeader {
        protocol: theirs,
        ..peer::header(1)
    };
    says_both(submit_walk(&mut client, header).await.expect_err("submit"));
    let nodes = client.nodes(v1::NodesRequest { protocol: theirs }).await;
    says_both(nodes.expect_err("nodes"));
    let report = v1::WorkerReport {
        protocol: theirs,
        ..peer::report("n1", 1)
    };
    says_both(
        Worker::try_attach(&master, report)
            .await
            .err()
            .expect("attach"),
    );
    let worker = Worker::attach(&master, "n1", 1).await;
    let chunk = Part::Header(v1::CommitHeader {
        protocol: theirs,
        ..v1::CommitHeader::default()
    });
    says_both(worker.send_commit(vec![chunk]).await.expect_err("commit"));
}

#[tokio::test]
async fn bad_reports_end_their_stream_only() {
    let master = Master::start().await;
    let good = peer::report("n1", 1);
    let lease = v1::LeaseProgress::default();
    for bad in [
        v1::WorkerReport {
            boot_id: vec![1; 15],
            ..good.clone()
        },
        v1::WorkerReport {
            slots: 0,
            ..good.clone()
        },
        v1::WorkerReport {
            slots: 65,
            ..good.clone()
        },
        v1::WorkerReport {
            name: "x".repeat(300),
            ..good.clone()
        },
        v1::WorkerReport {
            leases: vec![lease],
            ..good.clone()
        },
        v1::WorkerReport {
            leases: vec![peer::progress(v1::Lease::default()); 1],
            ..good.clone()
        },
        v1::WorkerReport {
            jobs: vec![0; 100_000],
            ..good.clone()
        },
    ] {
        let status = Worker::try_attach(&master, bad).await.err().expect("bad");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    // In the middle of a stream, too.
    let mut worker = Worker::attach(&master, "n1", 1).await;
    let mut other = Worker::attach(&master, "n2", 2).await;
    worker
        .report(v1::WorkerReport {
            boot_id: vec![9; 16],
            ..good
        })
        .await;
    assert_eq!(worker.end().await, Code::InvalidArgument);
    let mut client = client(&master).await;
    submit(&mut client, 1).await;
    assert_eq!(grants(&other.orders_with_grants().await).len(), 1);
}

#[tokio::test]
async fn bad_submissions_are_refused() {
    let master = Master::start().await;
    let mut client = client(&master).await;
    let good = peer::header(1);
    let with_root = |path: &[u8]| {
        let mut header = peer::header(1);
        if let Some(spec) = &mut header.spec {
            spec.roots[0].path = path.to_vec();
        }
        header
    };
    let too_large = {
        let mut header = peer::header(1);
        if let Some(pattern) = header.spec.as_mut().and_then(|spec| spec.pattern.as_mut()) {
            pattern.patterns = vec!["x".repeat(3 << 20)];
        }
        header
    };
    for (header, code) in [
        (peer::header(0), Code::InvalidArgument),
        (with_root(b"relative"), Code::InvalidArgument),
        (with_root(b"/with\0nul"), Code::InvalidArgument),
        (
            with_root("/".repeat(70_000).as_bytes()),
            Code::InvalidArgument,
        ),
        (
            v1::SubmitHeader {
                walk: vec![true; 2],
                ..good.clone()
            },
            Code::InvalidArgument,
        ),
        (
            v1::SubmitHeader { spec: None, ..good },
            Code::InvalidArgument,
        ),
        (too_large, Code::ResourceExhausted),
    ] {
        let status = submit_walk(&mut client, header).await.expect_err("bad");
        assert_eq!(status.code(), code, "{status}");
    }
    let empty = client.submit(tokio_stream::empty()).await;
    assert_eq!(empty.expect_err("empty").code(), Code::InvalidArgument);
    let paths = v1::SubmitPaths {
        root: 5,
        paths: vec![b"a".to_vec()],
    };
    let status = peer::submit_paths(&mut client, vec![paths]).await;
    assert_eq!(status.expect_err("no root").code(), Code::InvalidArgument);
    let chunk = || v1::SubmitPaths {
        root: 0,
        paths: vec![vec![b'x'; 60_000]; 60],
    };
    let flood = (0..20).map(|_| chunk()).collect();
    let status = peer::submit_paths(&mut client, flood).await;
    let status = status.expect_err("more than 64 MiB");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("67108864"), "{status}");
}

#[tokio::test]
async fn named_paths_become_tasks() {
    let master = Master::start().await;
    let mut worker = Worker::attach(&master, "n1", 1).await;
    let mut client = client(&master).await;
    let paths = v1::SubmitPaths {
        root: 0,
        paths: vec![b"a".to_vec(), b"/b".to_vec()],
    };
    let job = peer::submit_paths(&mut client, vec![paths.clone()]).await;
    job.expect("it is taken");
    let tasks = worker.orders_with_grants().await.grants.remove(0).tasks;
    let kind = v1::task::Kind::Paths(v1::Paths { paths: paths.paths });
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0].kind, Some(kind));
}

#[tokio::test]
async fn bad_commits_are_refused_and_the_shard_stays() {
    let master = Master::start().await;
    let mut worker = Worker::attach(&master, "n1", 1).await;
    let mut client = client(&master).await;
    submit(&mut client, 1).await;
    let lease = grants(&worker.orders_with_grants().await)[0];
    let header = || worker.commit_header(lease);
    let end = |chunks| Part::End(v1::CommitEnd { chunks });
    let results = |file| {
        Part::Results(v1::ResultBatch {
            files: vec![file],
            ..v1::ResultBatch::default()
        })
    };
    let rest = |task| Part::Remainder(v1::CommitRemainder { tasks: vec![task] });
    let lies = v1::FileMatches {
        lengths: vec![50],
        ..matches("a")
    };
    let torn = v1::FileMatches {
        cut: true,
        ..matches("a")
    };
    let tree = |path: &[u8]| {
        Some(v1::task::Kind::Tree(v1::Tree {
            path: path.to_vec(),
            slice_start: 0,
            slice_end: u32::MAX,
        }))
    };
    let task = |weight, kind| v1::Task {
        root: 0,
        weight,
        kind,
    };
    for chunks in [
        vec![],
        vec![end(0)],
        vec![header()],
        vec![header(), end(2)],
        vec![header(), header(), end(2)],
        vec![header(), results(lies), end(2)],
        vec![header(), results(torn), end(2)],
        vec![header(), rest(task(0, None)), end(2)],
        vec![header(), rest(task(0, tree(b"../up"))), end(2)],
        vec![header(), rest(task(u64::MAX, tree(b"d"))), end(2)],
        vec![
            Part::Header(v1::CommitHeader {
                protocol: PROTOCOL,
                ..v1::CommitHeader::default()
            }),
            end(1),
        ],
    ] {
        let status = worker.send_commit(chunks.clone()).await.expect_err("bad");
        assert_eq!(status.code(), Code::InvalidArgument, "{chunks:?}: {status}");
    }
    let outcome = worker.commit(lease, Vec::new(), Vec::new()).await;
    assert_eq!(outcome, Ok(CommitOutcome::Accepted));
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused() {
    let master = Master::start().await;
    let worker = Worker::attach(&master, "n1", 1).await;
    let huge = Part::Results(v1::ResultBatch {
        nodes: vec!["x".repeat(MAX_MESSAGE_BYTES + 1)],
        ..v1::ResultBatch::default()
    });
    let header = worker.commit_header(peer::lease(1, 1, 1));
    let status = worker.send_commit(vec![header, huge]).await;
    assert_eq!(status.expect_err("too large").code(), Code::OutOfRange);
    assert_eq!(peer::nodes(&master).await.len(), 1, "the master goes on");
}

#[tokio::test]
async fn nodes_are_those_that_are_attached() {
    let master = Master::start().await;
    assert!(peer::nodes(&master).await.is_empty());
    let worker = Worker::attach(&master, "n1", 1).await;
    let nodes = peer::nodes(&master).await;
    assert_eq!(nodes.len(), 1);
    assert_eq!((nodes[0].name.as_str(), nodes[0].threads), ("n1", 4));
    assert!(nodes[0].address.starts_with("127.0.0.1:"));
    drop(worker);
    while !peer::nodes(&master).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_master_that_stops_says_so() {
    let mut master = Master::start().await;
    let mut worker = Worker::attach(&master, "n1", 1).await;
    let mut client = client(&master).await;
    let job = submit(&mut client, 1).await;
    let mut results = client
        .results(v1::ResultsRequest { job })
        .await
        .expect("there is no reader yet")
        .into_inner();
    worker.orders_with_grants().await;
    master.stop();
    let (_, end) = end_of(&mut results).await;
    assert_eq!(end.outcome(), JobOutcome::Failed);
    assert_eq!(end.reason, "master is stopping");
    assert_eq!(worker.end().await, Code::Unavailable);
    drop((worker, client, results));
    master.stopped().await;
}
