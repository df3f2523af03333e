//! A job, as the hub keeps it beside the scheduler: spec, output, tally, reader.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use regexctl_proto::domain::{Slice, Task, TaskKind, error_cost};
use regexctl_proto::limits::MAX_BATCH_BYTES;
use regexctl_proto::v1::{self, JobOutcome};

use crate::assemble::{Assembler, Output};
use crate::outbox::Outbox;
use crate::scheduler::{Held, JobProgress, JobStats};
use crate::tally;

/// Progress is told so often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Who reads a job.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reader {
    /// Nobody, since then.
    Absent(Duration),
    /// Somebody.
    Present,
}

/// See the module's comment.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) spec: Arc<v1::JobSpec>,
    /// Encoded.
    pub(super) spec_bytes: usize,
    pub(super) roots: usize,
    pub(super) outbox: Arc<Outbox>,
    pub(super) reader: Reader,
    /// A reader took a batch.
    pub(super) was_read: bool,
    /// The end is in the outbox.
    pub(super) ended: bool,
    assembler: Assembler,
    /// What the scheduler was told of the assembler.
    held: Held,
    tally: v1::Tally,
    /// Split files of which a range, and directories of which a later slice, failed or was given up.
    failed: BTreeSet<(u32, Vec<u8>)>,
    /// When progress was last told.
    progress: Duration,
}

/// What the scheduler is to hear of a job's output.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) dropped: u64,
    pub(super) held: Option<Held>,
}

impl Job {
    pub(super) fn new(
        now: Duration,
        spec: Arc<v1::JobSpec>,
        spec_bytes: usize,
        output_bytes: u64,
    ) -> Self {
        Self {
            assembler: Assembler::new(&spec, output_bytes, now),
            roots: spec.roots.len(),
            spec,
            spec_bytes,
            outbox: Arc::new(Outbox::default()),
            reader: Reader::Absent(now),
            was_read: false,
            ended: false,
            held: Held::default(),
            tally: v1::Tally::default(),
            failed: BTreeSet::new(),
            progress: now,
        }
    }

    /// An accepted commit.
    pub(super) fn add(
        &mut self,
        now: Duration,
        shard: u64,
        node: &Arc<str>,
        tally: &v1::Tally,
        mut results: Vec<v1::ResultBatch>,
    ) -> Settled {
        self.tally.absorb(tally);
        let mut out = Output::default();
        out.dropped_bytes += self.fail_parts(&mut results);
        self.assembler.add(now, shard, node, results, &mut out);
        self.settle(out)
    }

    /// Counts a split file as failed with the first error of its ranges, and a directory with the first of its slices, and
    /// drops the others. Returns their cost.
    fn fail_parts(&mut self, results: &mut [v1::ResultBatch]) -> u64 {
        let mut dropped = 0;
        for batch in results {
            batch.errors.retain(|error| {
                if !error.of_part {
                    return true;
                }
                let first = self.failed.insert((error.root, error.path.clone()));
                if first {
                    tally::fail_part(&mut self.tally, error.directory);
                } else {
                    dropped += error_cost(error);
                }
                first
            });
        }
        dropped
    }

    /// Tasks that were given up.
    pub(super) fn abandon(&mut self, tasks: &[Task], attempts: u32) -> Settled {
        let mut batch = v1::ResultBatch::default();
        let mut bytes = 0;
        for task in tasks {
            let first = match &task.kind {
                TaskKind::Range { path, .. } => self.failed.insert((task.root, path.clone())),
                TaskKind::Tree { path, slice } if slice.start != Slice::WHOLE.start => {
                    self.failed.insert((task.root, path.clone()))
                }
                TaskKind::Tree { .. } | TaskKind::Paths { .. } => true,
            };
            for error in tally::abandon(&mut self.tally, task, attempts, first) {
                bytes += error_cost(&error);
                batch.errors.push(error);
                if bytes >= MAX_BATCH_BYTES as u64 {
                    self.outbox.push(vec![(std::mem::take(&mut batch), 0)]);
                    bytes = 0;
                }
            }
        }
        if !batch.errors.is_empty() {
            self.outbox.push(vec![(batch, 0)]);
        }
        let mut out = Output::default();
        self.assembler.abandon(tasks, &mut out);
        self.settle(out)
    }

    pub(super) fn release_all(&mut self) -> Settled {
        let mut out = Output::default();
        self.assembler.release_all(&mut out);
        self.settle(out)
    }

    /// Time passed.
    pub(super) fn tick(&mut self, now: Duration) -> Settled {
        let mut out = Output::default();
        self.assembler.tick(now, &mut out);
        self.settle(out)
    }

    /// Whether progress should be told now.
    pub(super) fn progress_due(&mut self, now: Duration) -> bool {
        let reads = matches!(self.reader, Reader::Present);
        let due = reads && !self.ended && now.saturating_sub(self.progress) >= PROGRESS_INTERVAL;
        if due {
            self.progress = now;
        }
        due
    }

    pub(super) fn tell_progress(&self, progress: JobProgress, workers: u32, threads: u32) {
        let mut tally = self.tally;
        let live = v1::Tally {
            seen: progress.files,
            scanned: progress.files,
            bytes_searched: progress.bytes,
            ..v1::Tally::default()
        };
        tally.absorb(&live);
        self.outbox.set_progress(v1::Progress {
            tally: Some(tally),
            done: progress.done.0,
            workers,
            threads,
            leased: progress.leased,
            waiting: progress.waiting,
        });
    }

    pub(super) fn end(&mut self, outcome: JobOutcome, reason: &str, stats: JobStats) {
        if self.ended {
            return;
        }
        if outcome == JobOutcome::Complete {
            // Nothing is left to wait for.
            self.release_all();
        }
        self.ended = true;
        let end = v1::JobEnd {
            outcome: outcome.into(),
            reason: reason.to_owned(),
            tally: Some(self.tally),
            shards: stats.shards,
            retries: stats.retries,
            duplicates: stats.duplicates,
        };
        self.outbox.finish(end, outcome != JobOutcome::Complete);
    }

    fn settle(&mut self, mut out: Output) -> Settled {
        self.outbox.push(out.take_batches());
        let tally = &mut self.tally;
        tally.matched = tally.matched.saturating_add(out.matched);
        tally.matched_lines = tally.matched_lines.saturating_sub(out.dropped_lines);
        tally.matches = tally.matches.saturating_sub(out.dropped_matches);
        let held = self.assembler.held();
        let changed = held != self.held;
        if changed {
            self.held.clone_from(&held);
        }
        Settled {
            dropped: out.dropped_bytes,
            held: changed.then_some(held),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regexctl_proto::domain::Weight;
    use regexctl_proto::v1::results_reply::Event;

    #[test]
    fn what_was_split_fails_once_whatever_becomes_of_its_parts() {
        let spec = v1::JobSpec {
            roots: vec![v1::Root::default()],
            ..v1::JobSpec::default()
        };
        let now = Duration::ZERO;
        let mut job = Job::new(now, Arc::new(spec), 0, 1 << 20);
        let error = |path: &str| v1::FileError {
            path: path.into(),
            message: "shrank".to_owned(),
            of_part: true,
            ..v1::FileError::default()
        };
        let batch = |paths: &[&str]| v1::ResultBatch {
            errors: paths.iter().map(|path| error(path)).collect(),
            ..v1::ResultBatch::default()
        };
        let node: Arc<str> = "node".into();
        // Who found the files counted them, and who listed the directory first.
        let found = v1::Tally {
            seen: 3,
            scanned: 3,
            dirs_seen: 2,
            dirs_listed: 2,
            ..v1::Tally::default()
        };
        let first = job.add(now, 1, &node, &found, vec![batch(&["a", "b", "a"])]);
        assert_eq!(first.dropped, error_cost(&error("a")));
        let none = v1::Tally::default();
        let second = job.add(now, 2, &node, &none, vec![batch(&["b"]), batch(&["b"])]);
        assert_eq!(second.dropped, 2 * error_cost(&error("b")));
        let range = Task {
            root: 0,
            weight: Weight(0),
            kind: TaskKind::Range {
                path: b"b".to_vec(),
                start: 0,
                end: 9,
                size: 9,
            },
        };
        let slice = |start| Task {
            root: 0,
            weight: Weight(0),
            kind: TaskKind::Tree {
                path: b"d".to_vec(),
                slice: Slice { start, end: 9 },
            },
        };
        job.abandon(&[range, slice(2), slice(5)], 8);
        let mut of_slice = batch(&["d"]);
        of_slice.errors[0].directory = true;
        job.add(now, 3, &node, &none, vec![of_slice]);
        assert_eq!((job.tally.scanned, job.tally.failed), (1, 2));
        assert_eq!((job.tally.dirs_listed, job.tally.dirs_failed), (1, 1));
        assert!(job.tally.balances());
        job.end(JobOutcome::Complete, "", JobStats::default());
        let mut told = Vec::new();
        while let Some((Event::Batch(batch), _)) = job.outbox.wait() {
            told.extend(batch.errors.into_iter().map(|error| error.path));
        }
        assert_eq!(told, [b"a", b"b", b"d"]);
    }
}
