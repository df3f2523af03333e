//! From the searcher's events to columns.
//!
//! What is told, counted and left out, and in which order, follows ripgrep's printers: the
//! standard one for `Want::Lines`, its JSON printer for `Binary::Report`, and the summary for the rest.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use grep_matcher::{Captures, LineTerminator, Match, Matcher};
use grep_regex::{RegexCaptures, RegexMatcher};
use grep_searcher::{Searcher, Sink, SinkContext, SinkContextKind, SinkFinish, SinkMatch};

use crate::aside::{Aside, IN_PLACE_BYTES, search_aside};
use crate::error::Stop;
use crate::matches::{KIND_BREAK, KIND_CONTEXT_AFTER, KIND_CONTEXT_BEFORE, KIND_MATCH, Matches};
use crate::spec::Want;

/// How far behind a record over several lines the matcher may look to find its submatches
/// again, in bytes. ripgrep's value: spans must be the same.
const LOOK_AHEAD_BYTES: usize = 128;

/// How many submatches of a long line are told at once.
const TOLD_SUBMATCHES: usize = 1024;

/// What a scanner gathers: the same for all files.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) want: Want,
    pub(crate) submatches: bool,
    pub(crate) line_numbers: bool,
    pub(crate) offsets: bool,
    pub(crate) invert: bool,
    pub(crate) replacement: Option<Vec<u8>>,
    pub(crate) line_terminator: LineTerminator,
    /// A match may in fact span lines.
    pub(crate) multi_line: bool,
    pub(crate) max_result_bytes: u64,
}

/// Gathers one file, or one part.
pub(crate) struct FileSink<'a> {
    pub(crate) wanted: &'a Wanted,
    pub(crate) matcher: &'a RegexMatcher,
    pub(crate) cancel: &'a AtomicBool,
    /// Space for the groups of a match, when they are replaced.
    pub(crate) captures: Option<&'a mut RegexCaptures>,
    pub(crate) out: &'a mut Matches,
    /// Once a NUL is known, the next match ends the scan and is not told.
    pub(crate) hide_after_nul: bool,
    pub(crate) nul_seen: bool,
    /// Added to each offset.
    pub(crate) base: u64,
    /// The cost of results at which the scan ends behind a line.
    pub(crate) budget: u64,
    /// How often the searcher told of a match.
    pub(crate) sunk: u64,
    /// Where the budget ended the scan, with [`Stop::Enough`], from the first byte searched.
    pub(crate) stopped_at: Option<u64>,
}

impl Sink for FileSink<'_> {
    type Error = Stop;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, Stop> {
        self.sunk += 1;
        match self.wanted.want {
            Want::Lines => self.line(found),
            Want::CountLines => {
                // Where a record holds several lines, ripgrep counts its matches.
                self.out.matched_lines += if self.wanted.multi_line {
                    self.count_submatches(found)?.max(1)
                } else {
                    1
                };
                Ok(true)
            }
            Want::CountMatches => {
                self.out.matched_lines += self.lines(found);
                // Inverted, the count is of what `CountLines` counts.
                self.out.matches += if self.wanted.invert && !self.wanted.multi_line {
                    1
                } else {
                    self.count_submatches(found)?.max(1)
                };
                Ok(true)
            }
            Want::FilesWithMatch | Want::FilesWithoutMatch => {
                self.out.matched_lines = 1;
                Ok(false)
            }
        }
    }

    fn context(&mut self, _: &Searcher, context: &SinkContext<'_>) -> Result<bool, Stop> {
        if self.wanted.want != Want::Lines {
            return Ok(true);
        }
        if self.hidden() {
            return Ok(false);
        }
        let kind = match context.kind() {
            SinkContextKind::Before => KIND_CONTEXT_BEFORE,
            SinkContextKind::After | SinkContextKind::Other => KIND_CONTEXT_AFTER,
        };
        let bytes = context.bytes();
        let offset = context.absolute_byte_offset();
        self.push_record(kind, bytes, offset, context.line_number());
        if self.wanted.invert {
            // What is context here are the lines that match.
            self.push_submatches(bytes, 0..bytes.len());
        } else if self.wanted.submatches {
            self.out.submatch_counts.push(0);
        }
        self.check()?;
        Ok(true)
    }

    fn context_break(&mut self, _: &Searcher) -> Result<bool, Stop> {
        if self.wanted.want == Want::Lines {
            self.push_record(KIND_BREAK, &[], 0, Some(0));
            if self.wanted.submatches {
                self.out.submatch_counts.push(0);
            }
        }
        Ok(true)
    }

    fn binary_data(&mut self, _: &Searcher, offset: u64) -> Result<bool, Stop> {
        self.nul_seen = true;
        self.out.binary_offset = Some(offset);
        Ok(true)
    }

    fn finish(&mut self, _: &Searcher, finish: &SinkFinish) -> Result<(), Stop> {
        self.out.bytes_searched = finish.byte_count();
        self.out.binary_offset = finish.binary_byte_offset();
        Ok(())
    }
}

impl FileSink<'_> {
    /// Whether what is found now must not be told.
    fn hidden(&self) -> bool {
        self.hide_after_nul && self.nul_seen
    }

    fn line(&mut self, found: &SinkMatch<'_>) -> Result<bool, Stop> {
        self.out.matched_lines += self.lines(found);
        if self.hidden() {
            if self.wanted.submatches {
                self.out.matches += self.count_submatches(found)?;
            }
            return Ok(false);
        }
        let offset = found.absolute_byte_offset();
        self.push_record(KIND_MATCH, found.bytes(), offset, found.line_number());
        if self.wanted.submatches {
            let count = self.push_submatches(found.buffer(), found.bytes_range_in_buffer());
            self.out.matches += u64::from(count);
        }
        self.check()?;
        if self.out.cost() > self.budget {
            self.stopped_at = Some(offset + found.bytes().len() as u64);
            return Err(Stop::Enough);
        }
        Ok(true)
    }

    /// How many lines a record of a match has.
    fn lines(&self, found: &SinkMatch<'_>) -> u64 {
        if self.wanted.multi_line {
            found.lines().count() as u64
        } else {
            1
        }
    }

    fn push_record(&mut self, kind: u8, bytes: &[u8], offset: u64, line_number: Option<u64>) {
        self.out.push_kind(kind);
        if self.wanted.line_numbers {
            // The searcher counts lines when they are wanted.
            self.out.line_numbers.push(line_number.unwrap_or(0));
        }
        if self.wanted.offsets {
            let base = if kind == KIND_BREAK { 0 } else { self.base };
            self.out.offsets.push(base + offset);
        }
        self.out.lengths.push(narrow(bytes.len()));
        self.out.text.extend_from_slice(bytes);
    }

    /// Adds the submatches, and what replaces them, of the record at `range` of `buffer`. Returns how many
    /// there are.
    fn push_submatches(&mut self, buffer: &[u8], range: Range<usize>) -> u32 {
        if !self.wanted.submatches {
            return 0;
        }
        let haystack = self.haystack(buffer, &range);
        let (out, cancel) = (&mut *self.out, self.cancel);
        let limit = self.wanted.max_result_bytes;
        let before = out.submatch_starts.len();
        let push = |out: &mut Matches, found: Match| {
            let end = found.end().min(range.end);
            out.submatch_starts
                .push(narrow(found.start() - range.start));
            out.submatch_ends.push(narrow(end - range.start));
            // The caller finds out which of both it was.
            out.cost() <= limit && !cancel.load(Ordering::Relaxed)
        };
        let replacing = match (&self.wanted.replacement, self.captures.as_deref_mut()) {
            (Some(replacement), Some(captures)) => Some((&replacement[..], captures)),
            _ => None,
        };
        let is_replaced = replacing.is_some();
        search_submatches(
            self.matcher,
            cancel,
            haystack,
            &range,
            replacing,
            |found, text| {
                if is_replaced {
                    out.replacement_text.extend_from_slice(text);
                    out.replacement_lengths.push(narrow(text.len()));
                }
                push(out, found)
            },
        );
        let count = narrow(out.submatch_starts.len() - before);
        out.submatch_counts.push(count);
        count
    }

    fn count_submatches(&self, found: &SinkMatch<'_>) -> Result<u64, Stop> {
        let range = found.bytes_range_in_buffer();
        let haystack = self.haystack(found.buffer(), &range);
        let mut count = 0;
        search_submatches(self.matcher, self.cancel, haystack, &range, None, |_, _| {
            let goes_on = !self.cancel.load(Ordering::Relaxed);
            count += u64::from(goes_on);
            goes_on
        });
        self.check_cancelled()?;
        Ok(count)
    }

    /// What of `buffer` the matcher may see when it looks for submatches in `range`.
    fn haystack<'b>(&self, buffer: &'b [u8], range: &Range<usize>) -> &'b [u8] {
        if self.wanted.multi_line {
            return &buffer[..buffer.len().min(range.end + LOOK_AHEAD_BYTES)];
        }
        // A look-around must not see the line's terminator, which the searcher did not show either.
        let terminator = self.wanted.line_terminator;
        let line = &buffer[..range.end];
        match line.split_last() {
            Some((&last, rest)) if last == terminator.as_byte() => match rest.split_last() {
                Some((b'\r', rest)) if terminator.is_crlf() => rest,
                _ => rest,
            },
            _ => line,
        }
    }

    fn check(&self) -> Result<(), Stop> {
        self.check_cancelled()?;
        if self.out.cost() > self.wanted.max_result_bytes {
            return Err(Stop::ResultTooLarge);
        }
        Ok(())
    }

    fn check_cancelled(&self) -> Result<(), Stop> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Stop::Cancelled);
        }
        Ok(())
    }
}

/// A size inside one record, or of one file's result.
fn narrow(size: usize) -> u32 {
    u32::try_from(size).expect(
        "a record is at most max_line_bytes, which is at most u32::MAX, and results of a file \
         end the scan at 1 GiB",
    )
}

/// Searches for the matches that begin in `range`, and hands each, with what replaces it, to `each`, until that wants no more;
/// aside, where that may take long.
fn search_submatches(
    matcher: &RegexMatcher,
    cancel: &AtomicBool,
    haystack: &[u8],
    range: &Range<usize>,
    replacing: Option<(&[u8], &mut RegexCaptures)>,
    mut each: impl FnMut(Match, &[u8]) -> bool,
) {
    if range.len() > IN_PLACE_BYTES {
        let (matcher, haystack, range) = (matcher.clone(), haystack.to_vec(), range.clone());
        let replacing = replacing
            .as_ref()
            .map(|(replacement, captures)| (replacement.to_vec(), RegexCaptures::clone(captures)));
        let search = move |tell: &SyncSender<Vec<(Match, Vec<u8>)>>| {
            let mut replacing = replacing;
            let replacing = replacing
                .as_mut()
                .map(|(replacement, captures)| (&replacement[..], captures));
            let mut found = Vec::new();
            find_submatches(&matcher, &haystack, &range, replacing, |submatch, text| {
                found.push((submatch, text.to_vec()));
                // An error says that nobody listens any more.
                found.len() < TOLD_SUBMATCHES || tell.send(std::mem::take(&mut found)).is_ok()
            });
            let _ = tell.send(found);
        };
        let mut all = |found: Vec<(Match, Vec<u8>)>| {
            let mut found = found.into_iter();
            found.all(|(submatch, text)| each(submatch, &text))
        };
        if search_aside(cancel, search, &mut all) != Aside::NoThread {
            return;
        }
    }
    find_submatches(matcher, haystack, range, replacing, each);
}

/// The same, in place.
fn find_submatches(
    matcher: &RegexMatcher,
    haystack: &[u8],
    range: &Range<usize>,
    replacing: Option<(&[u8], &mut RegexCaptures)>,
    mut each: impl FnMut(Match, &[u8]) -> bool,
) {
    let result = match replacing {
        Some((replacement, captures)) => {
            let mut text = Vec::new();
            matcher.captures_iter_at(haystack, range.start, captures, |groups| {
                let Some(found) = groups.get(0).filter(|m| m.start() < range.end) else {
                    return false;
                };
                text.clear();
                let index = |name: &str| matcher.capture_index(name);
                groups.interpolate(index, haystack, replacement, &mut text);
                each(found, &text)
            })
        }
        None => matcher.find_iter_at(haystack, range.start, |found| {
            found.start() < range.end && each(found, &[])
        }),
    };
    infallible(&result);
}

/// The matcher of `grep-regex` has no errors.
fn infallible(result: &Result<(), grep_matcher::NoError>) {
    debug_assert!(result.is_ok());
}
