//! A finished shard as the chunks of a commit.

use std::sync::Arc;

use regexctl_proto::cut::cut;
use regexctl_proto::domain::{BootId, LeaseId, Task, error_cost, matches_cost};
use regexctl_proto::limits::{MAX_BATCH_BYTES, PROTOCOL};
use regexctl_proto::v1;
use regexctl_proto::v1::commit_chunk::Part;

use crate::engine::Finished;

/// The most tasks of a remainder in one chunk, by their cost in bytes.
const REMAINDER_CHUNK_BYTES: u64 = 256 << 10;

/// A finished shard, kept until the master has answered its commit.
pub(super) struct Pending {
    pub(super) lease: LeaseId,
    pub(super) chunks: Arc<Vec<v1::CommitChunk>>,
    /// A task is sending it.
    pub(super) sending: bool,
    files: u64,
    bytes: u64,
}

impl Pending {
    pub(super) fn new(done: Finished, boot_id: BootId) -> Self {
        let lease = done.lease;
        let (files, bytes) = (done.tally.scanned, done.tally.bytes_searched);
        let header = Part::Header(v1::CommitHeader {
            protocol: PROTOCOL,
            lease: Some(lease.into()),
            boot_id: boot_id.0.to_vec(),
            millis: u32::try_from(done.time.as_millis()).unwrap_or(u32::MAX),
            tally: Some(done.tally),
        });
        let mut parts = vec![header];
        parts.extend(batches(done.results).map(Part::Results));
        parts.extend(remainders(done.remainder).map(Part::Remainder));
        parts.push(Part::End(v1::CommitEnd {
            chunks: parts.len() as u64,
        }));
        let chunks = parts
            .into_iter()
            .map(|part| v1::CommitChunk { part: Some(part) })
            .collect();
        Self {
            lease,
            chunks: Arc::new(chunks),
            sending: false,
            files,
            bytes,
        }
    }

    /// The lease is still held, and at its end: its ticks do not grow.
    pub(super) fn progress(&self) -> v1::LeaseProgress {
        v1::LeaseProgress {
            lease: Some(self.lease.into()),
            ticks: u64::MAX,
            files: self.files,
            bytes: self.bytes,
        }
    }
}

/// Batches of at most about `MAX_BATCH_BYTES`, larger files cut.
fn batches(results: Vec<v1::ResultBatch>) -> impl Iterator<Item = v1::ResultBatch> {
    let mut batches = Vec::with_capacity(results.len());
    for result in results {
        let mut open = v1::ResultBatch {
            nodes: result.nodes,
            ..v1::ResultBatch::default()
        };
        let mut bytes = 0;
        for file in result.files {
            for piece in cut(file, MAX_BATCH_BYTES) {
                bytes += matches_cost(&piece);
                open.files.push(piece);
                if bytes >= MAX_BATCH_BYTES as u64 {
                    batches.push(std::mem::take(&mut open));
                    bytes = 0;
                }
            }
        }
        for error in result.errors {
            bytes += error_cost(&error);
            open.errors.push(error);
            if bytes >= MAX_BATCH_BYTES as u64 {
                batches.push(std::mem::take(&mut open));
                bytes = 0;
            }
        }
        if bytes > 0 {
            batches.push(open);
        }
    }
    batches.into_iter()
}

fn remainders(tasks: Vec<Task>) -> impl Iterator<Item = v1::CommitRemainder> {
    let mut chunks = Vec::new();
    let mut open = v1::CommitRemainder::default();
    let mut bytes = 0;
    for task in tasks {
        bytes += task.cost();
        open.tasks.push(task.into());
        if bytes >= REMAINDER_CHUNK_BYTES {
            chunks.push(std::mem::take(&mut open));
            bytes = 0;
        }
    }
    if !open.tasks.is_empty() {
        chunks.push(open);
    }
    chunks.into_iter()
}
