//! What the assembler lets go: batches for the client, and what to correct in the tally.

use std::sync::Arc;

use regexctl_proto::limits::MAX_BATCH_BYTES;
use regexctl_proto::v1;

/// One `FileMatches`, and what it was charged.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) file: v1::FileMatches,
    pub(super) node: Arc<str>,
    pub(super) cost: u64,
}

/// What was released by one or more calls of the assembler.
#[derive(Debug, Default)]
pub struct Output {
    /// In order, each with what it was charged when it was committed.
    batches: Vec<(v1::ResultBatch, u64)>,
    /// The last batch is of pieces, and may take more.
    growing: bool,
    /// Result bytes that were dropped.
    pub dropped_bytes: u64,
    /// Split files that turned out to have a result.
    pub matched: u64,
    /// Matching lines that were counted and are not told, because the scan of the file as a whole
    /// would not have reached them.
    pub dropped_lines: u64,
    /// Matches, likewise.
    pub dropped_matches: u64,
}

impl Output {
    /// Whether there is something for the client.
    pub fn has_batches(&self) -> bool {
        !self.batches.is_empty()
    }

    /// Takes the batches out.
    pub fn take_batches(&mut self) -> Vec<(v1::ResultBatch, u64)> {
        self.growing = false;
        std::mem::take(&mut self.batches)
    }

    /// Adds a batch as it is.
    pub(super) fn push_batch(&mut self, batch: v1::ResultBatch, cost: u64) {
        self.growing = false;
        self.batches.push((batch, cost));
    }

    /// Adds one result.
    pub(super) fn push(&mut self, piece: Piece) {
        let fits = |total: u64| total + piece.cost <= MAX_BATCH_BYTES as u64;
        if !self.growing || !self.batches.last().is_some_and(|(_, total)| fits(*total)) {
            self.batches.push((v1::ResultBatch::default(), 0));
            self.growing = true;
        }
        let Some((batch, total)) = self.batches.last_mut() else {
            return;
        };
        let mut file = piece.file;
        let known = batch.nodes.iter().position(|name| **name == *piece.node);
        let node = known.unwrap_or_else(|| {
            batch.nodes.push(piece.node.to_string());
            batch.nodes.len() - 1
        });
        // A batch has far fewer pieces than 2^32.
        file.node = u32::try_from(node).unwrap_or(u32::MAX);
        batch.files.push(file);
        *total += piece.cost;
    }

    /// Drops a result whose matches do not count.
    pub(super) fn drop_piece(&mut self, piece: &Piece) {
        self.dropped_bytes += piece.cost;
        self.dropped_lines += piece.file.matched_lines;
        self.dropped_matches += piece.file.matches;
    }
}
