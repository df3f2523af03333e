//! Large files, range by range.
//!
//! A range `start..end` stands for the lines that **begin** in it, so a line belongs to exactly one range wherever
//! the cuts fall. It is searched in pieces of whole lines, and each piece is told as a
//! [`v1::Part`]. Parts tile the file: the first part of a range begins at its `start`, the last ends at its
//! `end`, and in between they meet at line starts; so the master can put them in order
//! and number the lines without knowing where the lines of other ranges are. A range in which no line
//! begins, or which a truncation has taken away, is one part without lines.
//!
//! A file that was made shorter since it was split is searched as far as it goes, and that is told as an error of it.

use std::sync::Arc;

use memchr::{memchr, memchr_iter, memrchr};
use regexctl_proto::domain::Weight;
use regexctl_proto::v1;
use regexctl_scan::Matches;
use regexctl_source::{File, Links, Opened, SourceError};

use super::file::{ScanFailure, Shrank, error_kind, guarded, into_message};
use super::shard::Shard;
use super::thread::Thread;
use super::unit::{Range, Unit, absolute};

/// The size of the ranges that a large file is first split into, in bytes.
pub(super) const RANGE_BYTES: u64 = 8 << 20;

/// How much of a range is searched, and told, at a time, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// A piece of a file, in memory.
struct Window<'a> {
    file: &'a dyn File,
    bytes: &'a mut Vec<u8>,
    /// Offset of the first byte in the file.
    base: u64,
    /// The file ends behind the last byte.
    at_end: bool,
    /// The size of the file when it was split.
    size: u64,
    /// Where a read found the file's end, when that is before `size`.
    cut_at: Option<u64>,
}

impl Window<'_> {
    /// Reads until there are `len` bytes, or the file ends.
    fn fill(&mut self, len: usize) -> Result<(), SourceError> {
        let mut have = self.bytes.len();
        if have >= len {
            return Ok(());
        }
        self.bytes.resize(len, 0);
        while have < len && !self.at_end {
            let got = self
                .file
                .read_at(&mut self.bytes[have..], self.base + have as u64);
            match got {
                Ok(0) => {
                    let end = self.base + have as u64;
                    self.at_end = true;
                    self.cut_at = self.cut_at.or((end < self.size).then_some(end));
                }
                Ok(n) => have += n,
                Err(error) => {
                    self.bytes.truncate(have);
                    return Err(error);
                }
            }
        }
        self.bytes.truncate(have);
        Ok(())
    }

    /// Forgets the first `len` bytes.
    fn consume(&mut self, len: usize) {
        self.bytes.drain(..len);
        self.base += len as u64;
    }

    /// Moves to the first line that begins at or behind `start` and before `end`; false when none does.
    fn seek_line(&mut self, start: u64, end: u64, terminator: u8) -> Result<bool, SourceError> {
        if start == 0 {
            self.fill(1)?;
            return Ok(!self.bytes.is_empty());
        }
        // The line before ends with the terminator that this one begins behind.
        self.base = start - 1;
        while self.base < end - 1 {
            self.fill(PIECE_BYTES)?;
            let own = self.bytes.len().min(clamp(end - 1 - self.base));
            if let Some(at) = memchr(terminator, &self.bytes[..own]) {
                self.consume(at + 1);
                self.fill(1)?;
                return Ok(!self.bytes.is_empty());
            }
            if self.at_end {
                return Ok(false);
            }
            self.consume(own);
        }
        Ok(false)
    }

    /// Fills the window with whole lines, at least one, that begin before `end`; returns their length.
    fn lines(&mut self, end: u64, terminator: u8, max_line: usize) -> Result<usize, Failure> {
        let mut want = PIECE_BYTES;
        loop {
            self.fill(want).map_err(Failure::Source)?;
            // The last byte before `end` closes the last line, or is inside of it.
            let last = clamp(end - 1 - self.base);
            if let Some(tail) = self.bytes.get(last..) {
                if let Some(at) = memchr(terminator, tail) {
                    return Ok(last + at + 1);
                }
            } else if let Some(at) = memrchr(terminator, self.bytes) {
                return Ok(at + 1);
            }
            if self.at_end {
                return Ok(self.bytes.len());
            }
            if self.bytes.len() >= max_line.saturating_add(PIECE_BYTES) {
                return Err(Failure::LineTooLong(max_line));
            }
            want = self.bytes.len() * 2;
        }
    }
}

impl Window<'_> {
    /// How many lines begin between the window's base, where one does, and `end`, as far as it can be read.
    fn count_lines(&mut self, end: u64, terminator: u8) -> u64 {
        self.bytes.clear();
        self.at_end = false;
        let mut lines = 0;
        let mut last = terminator;
        while self.base < end && !self.at_end && self.fill(PIECE_BYTES).is_ok() {
            let own = self.bytes.len().min(clamp(end - self.base));
            lines += memchr_iter(terminator, &self.bytes[..own]).count() as u64;
            last = self.bytes[..own].last().copied().unwrap_or(last);
            self.consume(self.bytes.len());
        }
        // The last line ends in a later range, where it is not counted.
        lines + u64::from(last != terminator)
    }
}

/// A distance in a file as an index into memory; only compared with lengths of what is in memory.
fn clamp(distance: u64) -> usize {
    usize::try_from(distance).unwrap_or(usize::MAX)
}

enum Failure {
    Source(SourceError),
    LineTooLong(usize),
    Scan(ScanFailure),
    Shrank(Shrank),
}

impl Failure {
    fn describe(&self) -> (v1::FileErrorKind, String) {
        match self {
            Self::Source(error) => (error_kind(error.kind), error.to_string()),
            Self::LineTooLong(limit) => (
                v1::FileErrorKind::Limit,
                format!("a line is longer than {limit} bytes (see --max-line-size)"),
            ),
            Self::Scan(failure) => failure.describe(),
            Self::Shrank(shrank) => (v1::FileErrorKind::Other, shrank.to_string()),
        }
    }
}

impl Thread<'_> {
    /// Searches a range, and gives its rest back when the budget ends in the middle.
    pub(super) fn range(&mut self, shard: &Arc<Shard>, mut range: Range) {
        let file = match self.range_file(shard, &mut range) {
            Ok(file) => file,
            Err(error) => return self.range_failed(shard, range, 0, &Failure::Source(error)),
        };
        let mut bytes = std::mem::take(&mut self.window);
        bytes.clear();
        let mut window = Window {
            base: range.start,
            bytes: &mut bytes,
            at_end: false,
            file: &*file,
            size: range.size,
            cut_at: None,
        };
        let terminator = self.scanners.get(&shard.plan).line_terminator();
        let result = match window.seek_line(range.start, range.end, terminator) {
            Ok(true) => self.pieces(shard, &mut range, &mut window, terminator),
            Ok(false) => {
                self.part(shard, &range, range.end, 0);
                Ok(())
            }
            Err(error) => Err(Failure::Source(error)),
        };
        // What the next ranges' line numbers need, as far as it can be told.
        let lines = match &result {
            Err(_) if shard.plan.line_numbers() => window.count_lines(range.end, terminator),
            _ => 0,
        };
        let cut_at = window.cut_at;
        self.window = bytes;
        if let Err(failure) = result {
            self.range_failed(shard, range, lines, &failure);
        } else if let Some(end) = cut_at {
            let size = range.size;
            self.range_error(shard, range, &Failure::Shrank(Shrank { size, end }));
        }
    }

    fn range_file(&self, shard: &Shard, range: &mut Range) -> Result<Arc<dyn File>, SourceError> {
        if let Some(file) = range.file.take() {
            return Ok(file);
        }
        let path = absolute(&shard.plan, range.root, &range.path);
        match self.shared.source.open(&path, Links::Follow)? {
            Opened::File(file) => Ok(file.into()),
            _ => Err(SourceError::new(
                regexctl_source::ErrorKind::Changed,
                "not a regular file any more",
            )),
        }
    }

    /// The lines of a range, piece by piece, from the window's base on.
    fn pieces(
        &mut self,
        shard: &Arc<Shard>,
        range: &mut Range,
        window: &mut Window<'_>,
        terminator: u8,
    ) -> Result<(), Failure> {
        let max_line = shard.plan.max_line_bytes();
        loop {
            if shard.is_dead() {
                return Ok(());
            }
            let len = window.lines(range.end, terminator, max_line)?;
            let room = shard.result_room().max(1);
            let scanner = self.scanners.get(&shard.plan);
            let (lines, matches) = (&window.bytes[..len], &mut self.matches);
            let scan = guarded(|| scanner.scan_part(lines, window.base, room, matches))
                .map_err(Failure::Scan)?;
            window.consume(scan.consumed);
            let done = window.base >= range.end || (window.at_end && window.bytes.is_empty());
            let part_end = if done { range.end } else { window.base };
            let share = share(range, part_end);
            self.part(shard, range, part_end, scan.lines);
            self.output.tally.bytes_searched += scan.consumed as u64;
            shard.tick(0, scan.consumed as u64);
            if done {
                return Ok(());
            }
            range.start = part_end;
            range.weight.0 -= share.0;
            if shard.is_expired() {
                let rest = Range {
                    path: range.path.clone(),
                    file: None,
                    ..*range
                };
                if shard.give_back(Unit::Range(rest)).is_none() {
                    return Ok(());
                }
            }
        }
    }

    /// Tells the part of the file from `range.start` to `end`, with what is in `self.matches`.
    fn part(&mut self, shard: &Shard, range: &Range, end: u64, lines: u64) {
        let mut file = into_message(&mut self.matches, range.root, range.path.clone());
        file.part = Some(v1::Part {
            start: range.start,
            end,
            lines,
            last: end == range.size,
        });
        let tally = &mut self.output.tally;
        tally.matched_lines += file.matched_lines;
        tally.matches += file.matches;
        shard.add_results(self.output.file(file));
    }

    /// Tells that the rest of a range could not be searched, which has `lines` lines.
    fn range_failed(&mut self, shard: &Shard, range: Range, lines: u64, failure: &Failure) {
        if shard.is_dead() {
            return;
        }
        if matches!(failure, Failure::Scan(ScanFailure::Panic)) {
            self.scanners.forget();
        }
        self.matches = Matches::new();
        self.part(shard, &range, range.end, lines);
        self.range_error(shard, range, failure);
    }

    /// Tells an error of a range. Here the file stays counted as scanned: who puts the ranges together counts it as
    /// failed, once.
    fn range_error(&mut self, shard: &Shard, range: Range, failure: &Failure) {
        let (kind, message) = failure.describe();
        shard.add_results(self.output.error(v1::FileError {
            root: range.root,
            path: range.path,
            kind: kind.into(),
            message,
            directory: false,
            of_part: true,
        }));
    }
}

/// The weight of a range up to `end`.
fn share(range: &Range, end: u64) -> Weight {
    let part = u128::from(range.weight.0) * u128::from(end - range.start);
    let share = part / u128::from(range.end - range.start);
    Weight(u64::try_from(share).expect("at most the range's own weight"))
}
