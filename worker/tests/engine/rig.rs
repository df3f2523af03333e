//! Drives an engine as a master does, and gathers what it gives.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use regexctl_proto::domain::{Attempt, Budget, Grant, JobId, LeaseId, ShardId, Task, Weight};
use regexctl_proto::v1;
use regexctl_source::{LocalSource, Roots, Source};
use regexctl_worker::engine::{Engine, EngineConfig, Finished};
use regexctl_worker::plan::Plan;

/// Everything a job gave.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) files: Vec<v1::FileMatches>,
    pub(crate) errors: Vec<v1::FileError>,
    pub(crate) tally: v1::Tally,
    pub(crate) shards: u64,
    /// The most text of lines in one shard, in bytes.
    pub(crate) largest: usize,
    /// Weight of the remainders against the shards'.
    done: u64,
}

impl Outcome {
    /// Matching lines by path, parts of split files in their order.
    pub(crate) fn lines(&self) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by_key(|f| (f.path.clone(), f.part.map_or(0, |part| part.start)));
        let mut lines: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
        for file in files {
            let mut text = file.text.as_slice();
            let of_file = lines.entry(file.path.clone()).or_default();
            for &length in &file.lengths {
                let (line, rest) = text.split_at(length as usize);
                of_file.push(line.to_vec());
                text = rest;
            }
        }
        lines.retain(|_, lines| !lines.is_empty());
        lines
    }

    pub(crate) fn paths(&self) -> Vec<Vec<u8>> {
        let mut paths: Vec<_> = self.files.iter().map(|f| f.path.clone()).collect();
        paths.sort();
        paths
    }
}

pub(crate) struct Rig {
    /// Counts jobs: a lease is never granted twice.
    jobs: std::cell::Cell<u64>,
    pub(crate) engine: Engine,
    pub(crate) finished: mpsc::Receiver<Finished>,
}

impl Rig {
    pub(crate) fn new(threads: usize) -> Self {
        Self::on(LocalSource::new(Roots::everything()), threads)
    }

    pub(crate) fn on(source: impl Source + 'static, threads: usize) -> Self {
        let (tx, finished) = mpsc::channel();
        let tx = Mutex::new(tx);
        let config = EngineConfig {
            threads,
            source: Arc::new(source),
        };
        let engine = Engine::new(config, move |done| {
            let tx = tx.lock().expect("no thread panics while it sends");
            tx.send(done).expect("the rig outlives its engine");
        });
        Self {
            jobs: std::cell::Cell::new(0),
            engine: engine.expect("threads start"),
            finished,
        }
    }

    /// Runs a job as a master would, every shard under `budget`, `per_shard` tasks each.
    pub(crate) fn run(
        &self,
        spec: &v1::JobSpec,
        tasks: Vec<Task>,
        budget: Budget,
        per_shard: usize,
    ) -> Outcome {
        self.run_disturbed(spec, tasks, budget, per_shard, |_| {})
    }

    /// The same; `behind` is called behind each shard, with how many there were.
    pub(crate) fn run_disturbed(
        &self,
        spec: &v1::JobSpec,
        tasks: Vec<Task>,
        budget: Budget,
        per_shard: usize,
        mut behind: impl FnMut(u64),
    ) -> Outcome {
        let plan = Arc::new(Plan::compile(spec).expect("the job is sound"));
        let mut frontier = VecDeque::from(tasks);
        let mut outcome = Outcome::default();
        self.jobs.set(self.jobs.get() + 1);
        while !frontier.is_empty() {
            let tasks: Vec<Task> = frontier.drain(..per_shard.min(frontier.len())).collect();
            let weight: u64 = tasks.iter().map(|task| task.weight.0).sum();
            outcome.shards += 1;
            assert!(outcome.shards < 100_000, "the job does not advance");
            let lease = LeaseId {
                job: JobId(self.jobs.get()),
                shard: ShardId(outcome.shards),
                attempt: Attempt(1),
            };
            let grant = Grant {
                lease,
                budget,
                tasks,
            };
            self.engine.grant(grant, Arc::clone(&plan));
            let done = self
                .finished
                .recv_timeout(Duration::from_secs(60))
                .expect("a shard ends");
            assert_eq!(done.lease, lease);
            let left: u64 = done.remainder.iter().map(|task| task.weight.0).sum();
            assert!(left <= weight, "{left} of {weight}");
            outcome.done += weight - left;
            let cost: u64 = done.remainder.iter().map(Task::cost).sum();
            assert!(cost <= budget.remainder_bytes);
            for task in done.remainder.into_iter().rev() {
                frontier.push_front(task);
            }
            outcome.tally.absorb(&done.tally);
            let files = done.results.iter().flat_map(|batch| &batch.files);
            let text = files.map(|file| file.text.len()).sum();
            outcome.largest = outcome.largest.max(text);
            for batch in done.results {
                outcome.files.extend(batch.files);
                outcome.errors.extend(batch.errors);
            }
            behind(outcome.shards);
        }
        assert!(outcome.tally.balances(), "{:?}", outcome.tally);
        assert_eq!(outcome.done, Weight::WHOLE.0);
        outcome
    }

    pub(crate) fn root(&self, spec: &v1::JobSpec, budget: Budget) -> Outcome {
        self.run(spec, vec![Task::root(0, Weight::WHOLE)], budget, 8)
    }
}

pub(crate) fn spec(root: &Path, pattern: &str, want: v1::Want) -> v1::JobSpec {
    v1::JobSpec {
        pattern: Some(v1::PatternSpec {
            patterns: vec![pattern.to_owned()],
            ..v1::PatternSpec::default()
        }),
        search: Some(v1::SearchSpec {
            want: want.into(),
            line_numbers: true,
            offsets: true,
            ..v1::SearchSpec::default()
        }),
        filter: None,
        roots: vec![v1::Root {
            path: root.as_os_str().as_bytes().to_vec(),
        }],
    }
}

pub(crate) const UNLIMITED: Budget = Budget {
    time: Duration::from_secs(3600),
    result_bytes: u64::MAX,
    remainder_bytes: 1 << 20,
};

/// Ends at the first look.
pub(crate) const TINY: Budget = Budget {
    time: Duration::ZERO,
    result_bytes: 1,
    remainder_bytes: 1 << 20,
};
