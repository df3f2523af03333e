//! A stream that has no path and no size, such as standard input, searched as it comes.
//!
//! Where the search allows it, lines are searched as soon as they have arrived and told at once, as the parts
//! of one file, so that `tail -f log | regexctl run foo` prints while the log grows. Else the stream is
//! searched as a whole.

use std::io::{self, Read};
use std::sync::Arc;

use memchr::memrchr;
use regexctl_proto::v1;
use regexctl_scan::{BinaryEnd, Matches, ScanError, Scanner, needs_transcoding};

use crate::engine::into_message;
use crate::plan::Plan;

/// How much is read at a time, in bytes.
const READ_BYTES: usize = 64 << 10;

/// How many bytes the encoding is guessed from.
const SNIFF_BYTES: usize = 3;

/// What became of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It was searched to its end, or as far as the search needed it.
    Searched,
    /// The receiver of the results wanted no more.
    Stopped,
}

/// Searches `reader`; `tell` gets the results, all but the last with `continues` set, and says whether it
/// wants more. The tally counts the stream as one file.
pub fn search(
    plan: &Arc<Plan>,
    mut reader: impl Read,
    tally: &mut v1::Tally,
    mut tell: impl FnMut(v1::FileMatches) -> bool,
) -> Result<Heard, ScanError> {
    let Some(mut scanner) = plan.scanner() else {
        return Ok(Heard::Searched);
    };
    tally.seen += 1;
    let mut first = Vec::new();
    let sniffed = read_some(&mut reader, &mut first, SNIFF_BYTES);
    let result = match sniffed {
        Err(error) => Err(ScanError::Io(error)),
        Ok(()) if plan.splittable && !needs_transcoding(&first) => {
            Pieces::new(plan, &mut scanner, first).run(reader, tally, &mut tell)
        }
        Ok(()) => whole(&mut scanner, first.chain_with(reader), tally, &mut tell),
    };
    match result {
        Ok(heard) => {
            tally.scanned += 1;
            Ok(heard)
        }
        Err(error) => {
            tally.failed += 1;
            Err(error)
        }
    }
}

trait ChainWith {
    fn chain_with(self, reader: impl Read) -> impl Read;
}

impl ChainWith for Vec<u8> {
    fn chain_with(self, reader: impl Read) -> impl Read {
        io::Cursor::new(self).chain(reader)
    }
}

/// Reads until `bytes` has `len`, or the stream ends.
fn read_some(reader: &mut impl Read, bytes: &mut Vec<u8>, len: usize) -> io::Result<()> {
    let missing = len.saturating_sub(bytes.len()) as u64;
    reader.take(missing).read_to_end(bytes).map(drop)
}

fn whole(
    scanner: &mut Scanner,
    reader: impl Read,
    tally: &mut v1::Tally,
    tell: &mut impl FnMut(v1::FileMatches) -> bool,
) -> Result<Heard, ScanError> {
    let mut matches = Matches::new();
    let hit = scanner.scan_reader(reader, true, &mut matches)?;
    tally.bytes_searched += matches.bytes_searched;
    if !hit {
        return Ok(Heard::Searched);
    }
    tally.matched += 1;
    tally.matched_lines += matches.matched_lines;
    tally.matches += matches.matches;
    let told = tell(into_message(&mut matches, 0, Vec::new()));
    Ok(if told {
        Heard::Searched
    } else {
        Heard::Stopped
    })
}

/// A stream, searched line by line as it arrives.
struct Pieces<'a> {
    plan: &'a Plan,
    scanner: &'a mut Scanner,
    /// Read and not yet searched.
    bytes: Vec<u8>,
    /// Offset of the first of them.
    base: u64,
    /// Lines before it.
    lines: u64,
    /// The first NUL.
    binary_offset: Option<u64>,
    told: bool,
}

impl<'a> Pieces<'a> {
    fn new(plan: &'a Plan, scanner: &'a mut Scanner, bytes: Vec<u8>) -> Self {
        Self {
            plan,
            scanner,
            bytes,
            base: 0,
            lines: 0,
            binary_offset: None,
            told: false,
        }
    }

    fn run(
        mut self,
        mut reader: impl Read,
        tally: &mut v1::Tally,
        tell: &mut impl FnMut(v1::FileMatches) -> bool,
    ) -> Result<Heard, ScanError> {
        let terminator = self.scanner.line_terminator();
        let mut wants_more = true;
        let mut at_end = false;
        // Where no terminator was found yet.
        let mut looked = 0;
        while !at_end && wants_more {
            let end = if let Some(at) = memrchr(terminator, &self.bytes[looked..]) {
                looked + at + 1
            } else {
                let have = self.bytes.len();
                looked = have;
                self.bytes.resize(have + READ_BYTES, 0);
                let read = loop {
                    match reader.read(&mut self.bytes[have..]) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        other => break other,
                    }
                };
                self.bytes.truncate(have + *read.as_ref().unwrap_or(&0));
                at_end = read.map_err(ScanError::Io)? == 0;
                if !at_end && self.bytes.len() < self.plan.max_line_bytes() {
                    continue;
                }
                self.bytes.len()
            };
            looked = 0;
            wants_more = self.search(end, tally, tell)?;
        }
        if self.told {
            // Closes what was told as going on.
            wants_more &= tell(v1::FileMatches {
                binary_offset: self.binary_offset,
                ..v1::FileMatches::default()
            });
        }
        Ok(if wants_more || at_end {
            Heard::Searched
        } else {
            Heard::Stopped
        })
    }

    /// Searches the first `end` bytes; false when no more is wanted.
    fn search(
        &mut self,
        end: usize,
        tally: &mut v1::Tally,
        tell: &mut impl FnMut(v1::FileMatches) -> bool,
    ) -> Result<bool, ScanError> {
        let mut matches = Matches::new();
        let part =
            (self.scanner).scan_part(&self.bytes[..end], self.base, u64::MAX, &mut matches)?;
        self.bytes.drain(..part.consumed);
        self.base += part.consumed as u64;
        tally.bytes_searched += part.consumed as u64;
        let mut matched = matches.matched_lines > 0;
        let mut ended = matches.binary_end == BinaryEnd::Matched;
        if self.binary_offset.is_some() && matched && !self.plan.text_mode() {
            // A match behind a NUL of an earlier piece: told without its line.
            matches = Matches {
                binary_end: BinaryEnd::Matched,
                matched_lines: 1,
                ..Matches::new()
            };
            ended = true;
        }
        self.binary_offset = self.binary_offset.or(matches.binary_offset);
        for number in &mut matches.line_numbers {
            *number += self.lines;
        }
        self.lines += part.lines;
        matched |= ended;
        if !matched {
            return Ok(true);
        }
        tally.matched += u64::from(!self.told);
        tally.matched_lines += matches.matched_lines;
        tally.matches += matches.matches;
        let mut file = into_message(&mut matches, 0, Vec::new());
        file.continues = true;
        file.binary_offset = self.binary_offset;
        self.told = true;
        Ok(tell(file) && !ended)
    }
}
