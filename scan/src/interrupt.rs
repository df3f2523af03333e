//! Scans that can be cancelled while they run.
//!
//! The searcher looks up only between matches and reads, and in a large buffer without a
//! match that is too rare. So its matcher is wrapped: what it searches for lines is
//! cut, at line ends, into pieces of [`PIECE_BYTES`], and the flag is read before each.
//! One search in one piece or one line is not interrupted; nor is one in a file, when matches span lines: a large file is
//! searched aside, see [`crate::aside`].

use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use grep_matcher::{ByteSet, LineMatchKind, LineTerminator, Match, Matcher, NoCaptures};
use grep_regex::RegexMatcher;
use memchr::memchr;

/// How much is searched, about, between two looks at the flag.
const PIECE_BYTES: usize = 64 << 10;

/// The flag was raised.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

/// A matcher that fails when the flag is raised, and else finds what `inner` finds.
pub(crate) struct Interruptible<'a> {
    pub(crate) inner: &'a RegexMatcher,
    pub(crate) cancel: &'a AtomicBool,
    /// The byte that ends a line.
    pub(crate) terminator: u8,
}

impl Interruptible<'_> {
    fn check(&self) -> Result<(), Interrupted> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Interrupted);
        }
        Ok(())
    }

    fn candidate(&self, piece: &[u8]) -> Result<Option<LineMatchKind>, Interrupted> {
        self.check()?;
        self.inner
            .find_candidate_line(piece)
            .map_err(|_| Interrupted)
    }
}

impl Matcher for Interruptible<'_> {
    // The searcher asks for no captures.
    type Captures = NoCaptures;
    type Error = Interrupted;

    fn find_at(&self, haystack: &[u8], at: usize) -> Result<Option<Match>, Interrupted> {
        self.check()?;
        self.inner.find_at(haystack, at).map_err(|_| Interrupted)
    }

    fn new_captures(&self) -> Result<NoCaptures, Interrupted> {
        Ok(NoCaptures::new())
    }

    fn shortest_match_at(&self, haystack: &[u8], at: usize) -> Result<Option<usize>, Interrupted> {
        self.check()?;
        self.inner
            .shortest_match_at(haystack, at)
            .map_err(|_| Interrupted)
    }

    fn non_matching_bytes(&self) -> Option<&ByteSet> {
        self.inner.non_matching_bytes()
    }

    fn line_terminator(&self) -> Option<LineTerminator> {
        self.inner.line_terminator()
    }

    /// Called only for patterns no match of which holds a line terminator.
    fn find_candidate_line(&self, haystack: &[u8]) -> Result<Option<LineMatchKind>, Interrupted> {
        let mut start = 0;
        while let Some(rest) = haystack.get(start + PIECE_BYTES..) {
            let Some(line_rest) = memchr(self.terminator, rest) else {
                break;
            };
            let end = start + PIECE_BYTES + line_rest + 1;
            match self.candidate(&haystack[start..end])? {
                Some(LineMatchKind::Candidate(at)) => {
                    return Ok(Some(LineMatchKind::Candidate(start + at)));
                }
                // A match at the end of the piece is empty, as it does not hold the terminator
                // before it. It belongs to the line behind, which the next piece decides.
                Some(LineMatchKind::Confirmed(at)) if start + at < end => {
                    return Ok(Some(LineMatchKind::Confirmed(start + at)));
                }
                Some(LineMatchKind::Confirmed(_)) | None => start = end,
            }
        }
        let last = self.candidate(&haystack[start..])?;
        Ok(last.map(|kind| match kind {
            LineMatchKind::Confirmed(at) => LineMatchKind::Confirmed(start + at),
            LineMatchKind::Candidate(at) => LineMatchKind::Candidate(start + at),
        }))
    }
}

/// The line buffer of a new searcher, in bytes.
pub(crate) const LINE_BUFFER_BYTES: usize = 64 << 10;

/// What a transcoder asks for at a time, in bytes.
const DECODE_BUFFER_BYTES: usize = 8 << 10;

/// A reader that fails when the flag is raised, and fills the buffer it is given or has come to
/// the end, so that what the searcher sees at a time does not depend on how much is read at a time.
pub(crate) struct Input<'a, R> {
    reader: R,
    cancel: &'a AtomicBool,
    /// The reader has failed by itself.
    pub(crate) failed: bool,
    total: usize,
    largest_request: usize,
}

impl<'a, R> Input<'a, R> {
    pub(crate) fn new(reader: R, cancel: &'a AtomicBool) -> Self {
        Self {
            reader,
            cancel,
            failed: false,
            total: 0,
            largest_request: 0,
        }
    }

    /// Whether the searcher that read this may have grown its buffer for a long line. It reads
    /// ahead further then, and finds a NUL earlier, in each later file. `limit` is the most the buffer may
    /// hold.
    pub(crate) fn may_have_grown_buffer(&self, limit: usize) -> bool {
        // Unless a transcoder reads, the buffer's free space is what is asked for.
        let is_seen = self.largest_request > DECODE_BUFFER_BYTES && limit >= 4 * LINE_BUFFER_BYTES;
        if is_seen {
            self.largest_request > LINE_BUFFER_BYTES
        } else {
            // A byte becomes three of UTF-8 at most.
            self.total.saturating_mul(3) >= LINE_BUFFER_BYTES.min(limit)
        }
    }
}

impl<R: Read> Read for Input<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.largest_request = self.largest_request.max(buffer.len());
        let mut filled = 0;
        while filled < buffer.len() {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(io::Error::other(Interrupted.to_string()));
            }
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
            }
        }
        self.total += filled;
        Ok(filled)
    }
}
