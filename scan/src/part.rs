//! Parts of a file that is split.
//!
//! A part is some whole lines; the last may lack its terminator. What is found in it does not depend
//! on other parts, but for a NUL: once a file is known to be binary, its next match ends its scan. A part says
//! where its first NUL is and whether a match came at or behind the line that holds it; whoever joins
//! the parts drops what follows the first NUL. (ripgrep, which knows of a NUL as soon
//! as its buffer holds it, may leave out up to 64 KiB of lines before it that are told here.)

use std::sync::atomic::Ordering;

use memchr::{memchr, memchr_iter, memchr2_iter, memrchr, memrchr2};

use crate::error::{ScanError, Stop};
use crate::interrupt::Interruptible;
use crate::matches::{BinaryEnd, KIND_MATCH, Matches};
use crate::scanner::{Nul, Scanner};
use crate::sink::FileSink;
use crate::spec::{Binary, Want};

/// How far the scan of a part came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartScan {
    /// Bytes scanned, from the part's first; the end of a line, or the part's.
    pub consumed: usize,
    /// Line terminators among them; 0 when line numbers are not wanted.
    pub lines: u64,
    /// Something matched. A part without a match may still have `Matches::binary_offset`, which
    /// whoever joins the parts must know.
    pub hit: bool,
}

impl Scanner {
    /// Scans some whole lines of a file; the first begins at `base` of the file. Offsets
    /// are those of the file, line numbers count from 1 in `bytes`, `Matches::bytes_searched` is
    /// what was consumed.
    ///
    /// Ends behind a line when `out`, which must be clear, costs more than `max_result_bytes`.
    /// After an error `out` is clear.
    pub fn scan_part(
        &mut self,
        bytes: &[u8],
        base: u64,
        max_result_bytes: u64,
        out: &mut Matches,
    ) -> Result<PartScan, ScanError> {
        debug_assert_eq!(*out, Matches::new(), "the result must be clear");
        if !self.splittable {
            return Err(ScanError::NotSplittable);
        }
        if self.cancel.load(Ordering::Relaxed) {
            return Err(ScanError::Cancelled);
        }
        self.check_lines(bytes)?;
        let part = if self.hopeless {
            Ok((bytes.len(), false))
        } else {
            self.search_part(bytes, base, max_result_bytes, out)
        };
        let (consumed, hit) = match part {
            Ok(part) => part,
            Err(stop) => {
                out.clear();
                return Err(self.scan_error(stop, false));
            }
        };
        out.bytes_searched = consumed as u64;
        Ok(PartScan {
            consumed,
            lines: self.count_lines(&bytes[..consumed], base, out),
            hit,
        })
    }

    /// Where the scan ended, and whether anything matched.
    fn search_part(
        &mut self,
        bytes: &[u8],
        base: u64,
        budget: u64,
        out: &mut Matches,
    ) -> Result<(usize, bool), Stop> {
        let first_nul = match self.binary {
            Binary::Text => None,
            Binary::Search | Binary::Skip | Binary::Report => memchr(0, bytes),
        };
        let Some(nul) = first_nul else {
            return self.search_lines(bytes, base, budget, Nul::Ignore, false, out);
        };
        if self.wanted.want != Want::Lines || self.binary == Binary::Report {
            let part = self.search_lines(bytes, base, budget, Nul::Convert, false, out)?;
            out.binary_offset = (nul < part.0).then_some(base + nul as u64);
            return Ok(part);
        }
        let terminator = self.wanted.line_terminator.as_byte();
        let line = memrchr(terminator, &bytes[..nul]).map_or(0, |end| end + 1);
        let (text, binary) = bytes.split_at(line);
        let (consumed, told) = self.search_lines(text, base, budget, Nul::Ignore, false, out)?;
        if consumed < line {
            return Ok((consumed, told));
        }
        let (_, hidden) = self.search_lines(binary, 0, budget, Nul::Convert, true, out)?;
        out.binary_offset = Some(base + nul as u64);
        if hidden {
            out.binary_end = BinaryEnd::Matched;
        }
        Ok((bytes.len(), told || hidden))
    }

    fn search_lines(
        &mut self,
        bytes: &[u8],
        base: u64,
        budget: u64,
        nul: Nul,
        hide: bool,
        out: &mut Matches,
    ) -> Result<(usize, bool), Stop> {
        let matcher = Interruptible {
            inner: &self.matcher,
            cancel: &self.cancel,
            terminator: self.wanted.line_terminator.as_byte(),
        };
        let mut sink = FileSink {
            wanted: &self.wanted,
            matcher: &self.matcher,
            cancel: &self.cancel,
            captures: self.captures.as_mut(),
            out,
            hide_after_nul: hide,
            nul_seen: hide,
            base,
            budget,
            sunk: 0,
            stopped_at: None,
        };
        let searcher = self.direct.with(nul);
        let result = match nul {
            Nul::Ignore => searcher.search_slice(matcher, bytes, &mut sink),
            // A slice would be searched with its NULs in place.
            Nul::Convert | Nul::Quit => searcher.search_reader(matcher, bytes, &mut sink),
        };
        match result {
            Ok(()) | Err(Stop::Enough) => {}
            Err(stop) => return Err(stop),
        }
        let consumed = sink.stopped_at.map_or(bytes.len(), |end| {
            usize::try_from(end).expect("the end of a line of `bytes`")
        });
        Ok((consumed, sink.sunk > 0))
    }

    /// Fails when a line is longer than the longest allowed, under the condition under which the
    /// line buffer of a stream fails.
    fn check_lines(&self, bytes: &[u8]) -> Result<(), ScanError> {
        let limit = self.max_line_bytes;
        let terminator = self.wanted.line_terminator.as_byte();
        let mut start = 0;
        while bytes.len() - start >= limit {
            let line = &bytes[start..start + limit];
            let end = match self.binary {
                Binary::Text => memrchr(terminator, line),
                _ => memrchr2(terminator, 0, line),
            };
            start += end.ok_or(ScanError::LineTooLong { limit })? + 1;
        }
        Ok(())
    }

    /// Counts line terminators in the part's consumed `bytes`.
    fn count_lines(&self, bytes: &[u8], base: u64, out: &Matches) -> u64 {
        if !self.wanted.line_numbers || self.wanted.want != Want::Lines {
            return 0;
        }
        // The searcher has counted up to the last record.
        let (before, start) = match (out.line_numbers.last(), out.offsets.last()) {
            (Some(&number), Some(&offset)) => (number - 1, offset - base),
            _ => (0, 0),
        };
        let start = usize::try_from(start).expect("the record begins in `bytes`");
        let terminator = self.wanted.line_terminator.as_byte();
        let rest = &bytes[start..];
        let count = match self.binary {
            Binary::Report => memchr2_iter(terminator, 0, rest).count(),
            _ => memchr_iter(terminator, rest).count(),
        };
        debug_assert!(out.kinds.iter().all(|&kind| kind == KIND_MATCH));
        before + count as u64
    }
}
