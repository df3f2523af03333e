//! Scans that can be cancelled while they run.
//!
//! The searcher looks up only between matches and reads, and in a large buffer without a
//! match that is too rare. So its matcher is wrapped: what it searches for lines is
//! cut, at line ends, into pieces of [`PIECE_BYTES`], and the flag is read before each.
//! One search in one piece is not interrupted. A line that is longer by far, and a large file whose matches may span lines, is
//! searched aside, see [`crate::aside`].

use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use grep_matcher::{ByteSet, LineMatchKind, LineTerminator, Match, Matcher, NoCaptures, NoError};
use grep_regex::RegexMatcher;
use memchr::{memchr, memrchr};

use crate::aside::{Aside, IN_PLACE_BYTES, search_aside};

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
        self.find(piece, RegexMatcher::find_candidate_line)
    }

    /// One search; aside, where it may take long.
    fn find<T: Send + 'static>(
        &self,
        bytes: &[u8],
        find: impl Fn(&RegexMatcher, &[u8]) -> Result<T, NoError> + Copy + Send + 'static,
    ) -> Result<T, Interrupted> {
        self.check()?;
        if bytes.len() > IN_PLACE_BYTES {
            let (matcher, copy) = (self.inner.clone(), bytes.to_vec());
            let mut told = None;
            let search = move |tell: &SyncSender<_>| {
                // Nobody listens any more when the scanner has turned away.
                let _ = tell.send(find(&matcher, &copy));
            };
            let aside = search_aside(self.cancel, search, |found| {
                told = Some(found);
                true
            });
            match (aside, told) {
                (Aside::Cancelled, _) => return Err(Interrupted),
                (_, Some(found)) => return found.map_err(|_| Interrupted),
                // Without a thread nothing is told.
                (Aside::NoThread | Aside::Done, None) => {}
            }
        }
        find(self.inner, bytes).map_err(|_| Interrupted)
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

    /// The searcher asks once for each line.
    fn shortest_match_at(&self, haystack: &[u8], at: usize) -> Result<Option<usize>, Interrupted> {
        self.find(haystack, move |matcher, haystack| {
            matcher.shortest_match_at(haystack, at)
        })
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
        loop {
            let rest = &haystack[start..];
            let length = self.piece(rest);
            let is_last = length == rest.len();
            match self.candidate(&rest[..length])? {
                Some(LineMatchKind::Candidate(at)) => {
                    return Ok(Some(LineMatchKind::Candidate(start + at)));
                }
                // A match at the end of the piece is empty, as it does not hold the terminator
                // before it. It belongs to the line behind, which the next piece decides.
                Some(LineMatchKind::Confirmed(at)) if at < length || is_last => {
                    return Ok(Some(LineMatchKind::Confirmed(start + at)));
                }
                Some(LineMatchKind::Confirmed(_)) | None if is_last => return Ok(None),
                Some(LineMatchKind::Confirmed(_)) | None => start += length,
            }
        }
    }
}

impl Interruptible<'_> {
    /// How much of `rest` is searched next: whole lines; a long one by itself, so that it is copied only once.
    fn piece(&self, rest: &[u8]) -> usize {
        let Some(behind) = rest.get(PIECE_BYTES..) else {
            return rest.len();
        };
        let end = memchr(self.terminator, behind).map_or(rest.len(), |at| PIECE_BYTES + at + 1);
        if end <= IN_PLACE_BYTES {
            return end;
        }
        memrchr(self.terminator, &rest[..PIECE_BYTES]).map_or(end, |at| at + 1)
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
