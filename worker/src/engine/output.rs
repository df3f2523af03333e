//! Gathers results into batches.

use regexctl_proto::domain::{error_cost, matches_cost};
use regexctl_proto::limits::MAX_BATCH_BYTES;
use regexctl_proto::v1;

/// Results in the order they were found, and the counters that belong to them.
#[derive(Debug, Default)]
pub(super) struct Output {
    full: Vec<v1::ResultBatch>,
    open: v1::ResultBatch,
    open_bytes: u64,
    pub(super) tally: v1::Tally,
}

impl Output {
    /// Adds a file's result; returns its cost in bytes.
    pub(super) fn file(&mut self, file: v1::FileMatches) -> u64 {
        let cost = matches_cost(&file);
        self.open.files.push(file);
        self.grew(cost);
        cost
    }

    /// Adds an error; returns its cost in bytes.
    pub(super) fn error(&mut self, error: v1::FileError) -> u64 {
        let cost = error_cost(&error);
        self.open.errors.push(error);
        self.grew(cost);
        cost
    }

    fn grew(&mut self, cost: u64) {
        self.open_bytes += cost;
        if self.open_bytes >= MAX_BATCH_BYTES as u64 {
            self.close();
        }
    }

    /// Ends the open batch. What it has grown to is given back: batches wait, and are counted by what is in them.
    fn close(&mut self) {
        let mut batch = std::mem::take(&mut self.open);
        batch.files.shrink_to_fit();
        batch.errors.shrink_to_fit();
        self.full.push(batch);
        self.open_bytes = 0;
    }

    /// Takes over everything of `other`, which is empty afterwards.
    pub(super) fn absorb(&mut self, other: &mut Self) {
        self.tally.absorb(&std::mem::take(&mut other.tally));
        self.full.append(&mut other.full);
        self.open.files.append(&mut other.open.files);
        self.open.errors.append(&mut other.open.errors);
        let cost = std::mem::take(&mut other.open_bytes);
        self.grew(cost);
    }

    /// The batches, and the sum of the counters.
    pub(super) fn finish(mut self) -> (Vec<v1::ResultBatch>, v1::Tally) {
        if !self.open.files.is_empty() || !self.open.errors.is_empty() {
            self.close();
        }
        (self.full, self.tally)
    }
}
