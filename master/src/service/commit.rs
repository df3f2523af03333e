//! The chunks of a commit, joined and checked.
//!
//! Invariant: a commit reaches the hub whole or not at all.

use std::time::Duration;

use regexctl_proto::cut::{JoinError, Joiner, check_columns};
use regexctl_proto::domain::{
    BadMessage, BootId, LeaseId, Task, check_any_path, error_cost, matches_cost,
};
use regexctl_proto::v1;
use regexctl_proto::v1::commit_chunk::Part;

use crate::hub::Commit;

/// The most bytes of results and remainder in one commit. A shard ends at its result budget, but finishes the
/// files begun.
const MAX_COMMIT_BYTES: u64 = 256 << 20;

/// Takes the chunks of one commit.
#[derive(Debug)]
pub(super) struct Chunks {
    commit: Commit,
    joiner: Joiner,
    taken: u64,
    bytes: u64,
}

impl Chunks {
    /// Begins with the header; its version was checked.
    pub(super) fn new(header: &v1::CommitHeader) -> Result<Self, BadMessage> {
        let lease = header
            .lease
            .ok_or_else(|| BadMessage::missing("CommitHeader.lease"))?;
        Ok(Self {
            commit: Commit {
                lease: LeaseId::try_from(lease)?,
                boot_id: BootId::try_from(header.boot_id.as_slice())?,
                tally: header.tally.unwrap_or_default(),
                time: Duration::from_millis(header.millis.into()),
                remainder: Vec::new(),
                results: Vec::new(),
            },
            joiner: Joiner::default(),
            taken: 1,
            bytes: 0,
        })
    }

    /// Takes the next chunk; true when it was the end.
    pub(super) fn push(&mut self, chunk: v1::CommitChunk) -> Result<bool, BadMessage> {
        let part = chunk
            .part
            .ok_or_else(|| BadMessage::missing("CommitChunk.part"))?;
        match part {
            Part::Header(_) => {
                return Err(BadMessage::new("CommitChunk.header", "there was one"));
            }
            Part::Results(batch) => self.results(batch)?,
            Part::Remainder(remainder) => {
                for task in remainder.tasks {
                    let task = Task::try_from(task)?;
                    self.charge(task.cost())?;
                    self.commit.remainder.push(task);
                }
            }
            Part::End(end) => {
                if end.chunks != self.taken {
                    let problem = format!("{}, but {} came", end.chunks, self.taken);
                    return Err(BadMessage::new("CommitEnd.chunks", problem));
                }
                return Ok(true);
            }
        }
        self.taken += 1;
        Ok(false)
    }

    /// The commit, when the end has come.
    pub(super) fn finish(self) -> Result<Commit, BadMessage> {
        self.joiner.finish().map_err(columns)?;
        Ok(self.commit)
    }

    fn results(&mut self, batch: v1::ResultBatch) -> Result<(), BadMessage> {
        let mut files = Vec::with_capacity(batch.files.len());
        for piece in batch.files {
            check_any_path("FileMatches.path", &piece.path)?;
            self.charge(matches_cost(&piece))?;
            let Some(file) = self.joiner.push(piece).map_err(columns)? else {
                continue;
            };
            check_columns(&file).map_err(columns)?;
            if file.part.is_some_and(|part| part.start > part.end) {
                return Err(BadMessage::new("Part.end", "before its start"));
            }
            files.push(tidy(file));
        }
        for error in &batch.errors {
            check_any_path("FileError.path", &error.path)?;
            self.charge(error_cost(error))?;
        }
        self.commit.results.push(v1::ResultBatch {
            files,
            errors: batch.errors,
            nodes: Vec::new(),
        });
        Ok(())
    }

    fn charge(&mut self, bytes: u64) -> Result<(), BadMessage> {
        self.bytes += bytes;
        if self.bytes > MAX_COMMIT_BYTES {
            let problem = format!("more than {MAX_COMMIT_BYTES} bytes");
            return Err(BadMessage::new("CommitChunk", problem));
        }
        Ok(())
    }
}

/// Without what is the master's to set, and without the room that decoding and joining have left: it may wait
/// for a slow reader.
fn tidy(mut file: v1::FileMatches) -> v1::FileMatches {
    file.continues = false;
    file.line_numbers.shrink_to_fit();
    file.offsets.shrink_to_fit();
    file.lengths.shrink_to_fit();
    file.text.shrink_to_fit();
    file.submatch_counts.shrink_to_fit();
    file.submatch_starts.shrink_to_fit();
    file.submatch_ends.shrink_to_fit();
    file.replacement_lengths.shrink_to_fit();
    file.replacement_text.shrink_to_fit();
    file
}

fn columns(error: JoinError) -> BadMessage {
    BadMessage::new("FileMatches", error.to_string())
}
