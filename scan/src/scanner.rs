//! One thread's scanner: bytes in, columns out.
//!
//! Two searchers share the work. `direct` takes a file in memory, without looking for a byte order mark, and is
//! the fast path. `stream` reads through a line buffer, transcodes, and turns NUL into line
//! terminators or ends at it, exactly as ripgrep does without memory maps. A file in memory goes
//! the second way only when it holds a NUL that matters, needs transcoding, is longer than the longest
//! line allowed, or when what is found depends on how much the line buffer holds, so that its result does not depend on
//! how it was read.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grep_matcher::Matcher;
use grep_regex::{RegexCaptures, RegexMatcher};
use grep_searcher::{BinaryDetection, MmapChoice, Searcher, SearcherBuilder};
use memchr::{memchr, memrchr};

use crate::error::{ScanError, SpecError, Stop};
use crate::interrupt::{Input, Interruptible, LINE_BUFFER_BYTES};
use crate::matches::{BinaryEnd, Matches};
use crate::pattern::Pattern;
use crate::sink::{FileSink, Wanted};
use crate::spec::{
    Binary, Encoding, MAX_FILE_RESULT_BYTES, SearchSpec, Want, needs_transcoding, splits,
};

/// The longest byte order mark.
const MARK_BYTES: usize = 3;

/// Scans files, one after the other, for one pattern. Each thread has its own.
///
/// It keeps its buffers and the matcher's caches, so that a file without a match costs no allocation.
pub struct Scanner {
    pub(crate) matcher: RegexMatcher,
    pub(crate) captures: Option<RegexCaptures>,
    pub(crate) cancel: Arc<AtomicBool>,
    pub(crate) wanted: Wanted,
    pub(crate) binary: Binary,
    pub(crate) encoding: Encoding,
    pub(crate) max_line_bytes: usize,
    /// Nothing can match, so nothing is searched, whatever is wanted; as in ripgrep.
    pub(crate) hopeless: bool,
    /// What is found depends on how much of the file the line buffer holds at a time, so files must pass
    /// through that; see [`buffer_matters`].
    buffer_matters: bool,
    /// The pattern looks at the characters around a place; see [`stray_line`].
    looks_around: bool,
    /// See [`kept_place`].
    may_lose_place: bool,
    pub(crate) splittable: bool,
    pub(crate) direct: Engine,
    stream: Engine,
    /// Space for a file whose matches may span lines.
    pub(crate) whole: Vec<u8>,
    /// Its twin that searches aside.
    pub(crate) other: Option<Box<Scanner>>,
}

/// What the searcher does about NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nul {
    Ignore,
    /// It becomes a line terminator.
    Convert,
    /// The file ends.
    Quit,
}

/// A searcher that is switched between ways to treat NUL.
pub(crate) struct Engine {
    builder: SearcherBuilder,
    searcher: Searcher,
    nul: Nul,
}

impl Engine {
    fn new(builder: &SearcherBuilder) -> Self {
        Self {
            builder: builder.clone(),
            searcher: builder.build(),
            nul: Nul::Ignore,
        }
    }

    /// Gives back what buffers have grown to.
    fn renew(&mut self) {
        self.searcher = self.builder.build();
        self.nul = Nul::Ignore;
    }

    pub(crate) fn with(&mut self, nul: Nul) -> &mut Searcher {
        if nul != self.nul {
            self.searcher.set_binary_detection(match nul {
                Nul::Ignore => BinaryDetection::none(),
                Nul::Convert => BinaryDetection::convert(0),
                Nul::Quit => BinaryDetection::quit(0),
            });
            self.nul = nul;
        }
        &mut self.searcher
    }
}

impl Scanner {
    /// A scanner for one thread. When `cancel` is raised, a running scan ends with
    /// [`ScanError::Cancelled`], and so does each later one.
    pub fn new(
        pattern: &Pattern,
        spec: &SearchSpec,
        cancel: Arc<AtomicBool>,
    ) -> Result<Self, SpecError> {
        let binary = if pattern.null_data {
            Binary::Text
        } else {
            spec.binary
        };
        if pattern.needs_nul && binary != Binary::Text {
            return Err(SpecError::NulNeverMatches);
        }
        if spec.max_line_bytes == 0 {
            return Err(SpecError::NoLineBytes);
        }
        let max_line_bytes = spec.max_line_bytes.min(u32::MAX as usize);
        let matcher = pattern.matcher.clone();
        let mut builder = SearcherBuilder::new();
        builder
            .line_terminator(pattern.line_terminator)
            .invert_match(spec.invert)
            .line_number(spec.line_numbers && spec.want == Want::Lines)
            .multi_line(pattern.multi_line)
            .max_matches(spec.max_count)
            .memory_map(MmapChoice::never())
            .heap_limit(Some(max_line_bytes))
            // Counts, too, depend on context: behind the last match that `max_count` allows, ripgrep
            // goes on through its context, and counts the matching lines there.
            .before_context(spec.before_context)
            .after_context(spec.after_context)
            .bom_sniffing(false);
        let direct = Engine::new(&builder);
        builder.bom_sniffing(spec.encoding != Encoding::Raw);
        if let Encoding::Label(label) = &spec.encoding {
            let encoding = grep_searcher::Encoding::new(label)
                .map_err(|_| SpecError::UnknownEncoding(label.clone()))?;
            builder.encoding(Some(encoding));
        }
        let stream = Engine::new(&builder);
        let captures = spec.replacement.as_ref().map(|_| captures(&matcher));
        let wanted = Wanted {
            want: spec.want,
            submatches: spec.submatches || spec.replacement.is_some(),
            line_numbers: spec.line_numbers,
            offsets: spec.offsets,
            invert: spec.invert,
            replacement: spec.replacement.clone(),
            line_terminator: pattern.line_terminator,
            multi_line: stream.searcher.multi_line_with_matcher(&matcher),
            max_result_bytes: MAX_FILE_RESULT_BYTES,
        };
        Ok(Self {
            captures,
            cancel,
            binary,
            encoding: spec.encoding.clone(),
            max_line_bytes,
            may_lose_place: wanted.multi_line
                && spec.invert
                && spec.max_count.is_some()
                && spec.after_context > 0,
            looks_around: pattern.looks_around && !wanted.multi_line,
            buffer_matters: !wanted.multi_line && buffer_matters(pattern, spec),
            hopeless: (pattern.is_empty && !spec.invert) || spec.max_count == Some(0),
            splittable: splits(pattern.multi_line, pattern.null_data, spec),
            wanted,
            matcher,
            direct,
            stream,
            whole: Vec::new(),
            other: None,
        })
    }

    /// Another scanner for the same, of another thread.
    pub(crate) fn twin(&self) -> Self {
        Self {
            matcher: self.matcher.clone(),
            captures: self.captures.as_ref().map(|_| captures(&self.matcher)),
            cancel: Arc::clone(&self.cancel),
            wanted: self.wanted.clone(),
            encoding: self.encoding.clone(),
            direct: Engine::new(&self.direct.builder),
            stream: Engine::new(&self.stream.builder),
            whole: Vec::new(),
            other: None,
            ..*self
        }
    }

    /// Sets what the results of one file may take, as [`Matches::cost`] counts them, in place of
    /// [`MAX_FILE_RESULT_BYTES`], which is also the most that can be set.
    pub fn set_max_result_bytes(&mut self, limit: u64) {
        self.wanted.max_result_bytes = limit.min(MAX_FILE_RESULT_BYTES);
        self.other = None;
    }

    /// The byte at which lines end.
    pub fn line_terminator(&self) -> u8 {
        self.wanted.line_terminator.as_byte()
    }

    /// Scans a whole file that is in memory. `named`: the user named this very file, so that
    /// [`Binary::Skip`] does not skip it.
    ///
    /// Returns whether the file has a result to report. If not, `out`, which must be clear, tells only the
    /// bytes searched, and of the NUL that was met. After an error it is clear.
    pub fn scan_slice(
        &mut self,
        bytes: &[u8],
        named: bool,
        out: &mut Matches,
    ) -> Result<bool, ScanError> {
        let nul = self.nul(named);
        if self.wanted.multi_line {
            return self.scan_over_lines(bytes, nul, out);
        }
        if self.must_stream(bytes) {
            return self.scan(Source::Stream(bytes), nul, out);
        }
        if nul == Nul::Ignore || memchr(0, bytes).is_none() {
            return self.scan::<&[u8]>(Source::Slice(bytes), Nul::Ignore, out);
        }
        self.scan(Source::Stream(bytes), nul, out)
    }

    /// Scans a whole file that is read as a stream; like [`Self::scan_slice`]. A flag raised is
    /// seen before each read.
    pub fn scan_reader(
        &mut self,
        reader: impl Read,
        named: bool,
        out: &mut Matches,
    ) -> Result<bool, ScanError> {
        let nul = self.nul(named);
        if self.wanted.multi_line && !self.hopeless {
            return self.read_over_lines(reader, nul, out);
        }
        self.scan(Source::Stream(reader), nul, out)
    }

    fn nul(&self, named: bool) -> Nul {
        match self.binary {
            Binary::Text => Nul::Ignore,
            Binary::Skip if !named => Nul::Quit,
            Binary::Search | Binary::Skip | Binary::Report => Nul::Convert,
        }
    }

    /// Whether a file that begins with these bytes is not searched as it is.
    pub(crate) fn transcodes(&self, bytes: &[u8]) -> bool {
        match self.encoding {
            Encoding::Raw => false,
            Encoding::Auto => needs_transcoding(bytes),
            Encoding::Label(_) => true,
        }
    }

    pub(crate) fn must_stream(&self, bytes: &[u8]) -> bool {
        self.transcodes(bytes)
            || bytes.len() >= self.max_line_bytes
            || self.buffer_matters
            || (self.looks_around && stray_line(bytes, self.line_terminator()))
    }

    pub(crate) fn scan<R: Read>(
        &mut self,
        source: Source<'_, R>,
        nul: Nul,
        out: &mut Matches,
    ) -> Result<bool, ScanError> {
        debug_assert_eq!(*out, Matches::new(), "the result must be clear");
        if self.cancel.load(Ordering::Relaxed) {
            return Err(ScanError::Cancelled);
        }
        if self.hopeless {
            return Ok(false);
        }
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
            hide_after_nul: nul == Nul::Convert && self.binary != Binary::Report,
            nul_seen: false,
            base: 0,
            budget: u64::MAX,
            sunk: 0,
            stopped_at: None,
        };
        let (result, reader_failed) = match source {
            Source::Slice(bytes) => {
                let searcher = self.direct.with(nul);
                let search = || searcher.search_slice(matcher, bytes, &mut sink);
                (kept_place(self.may_lose_place, search), false)
            }
            Source::Stream(reader) => {
                let mut input = Input::new(reader, &self.cancel);
                let searcher = self.stream.with(nul);
                let search = || searcher.search_reader(matcher, &mut input, &mut sink);
                let result = kept_place(self.may_lose_place, search);
                if input.may_have_grown_buffer(self.max_line_bytes) {
                    self.stream.renew();
                }
                (result, input.failed)
            }
        };
        let found = sink.sunk > 0;
        if let Err(stop) = result {
            out.clear();
            return Err(self.scan_error(stop, reader_failed));
        }
        let hit = conclude(&self.wanted, nul, self.binary, found, out);
        if !hit {
            out.clear_found();
        }
        Ok(hit)
    }

    pub(crate) fn scan_error(&self, stop: Stop, reader_failed: bool) -> ScanError {
        match stop {
            Stop::Cancelled => ScanError::Cancelled,
            Stop::PlaceLost => ScanError::PlaceLost,
            Stop::ResultTooLarge => ScanError::ResultTooLarge {
                limit: self.wanted.max_result_bytes,
            },
            Stop::Io(error) if reader_failed => ScanError::Io(error),
            Stop::Io(_) if self.cancel.load(Ordering::Relaxed) => ScanError::Cancelled,
            // What is left is the buffer that may not grow.
            Stop::Io(_) => ScanError::LineTooLong {
                limit: self.max_line_bytes,
            },
            // `Pattern` sets the terminator of both, so this does not happen.
            Stop::Config(error) => ScanError::Io(std::io::Error::other(error)),
        }
    }
}

/// Searches. Where matches may span lines and lines that do not match are wanted, at most so many of them with context behind
/// them, the searcher steps back to that context behind the last match, and when it then meets what it
/// has already seen it panics; ripgrep ends with that.
fn kept_place(may_lose_place: bool, search: impl FnOnce() -> Result<(), Stop>) -> Result<(), Stop> {
    if !may_lose_place {
        return search();
    }
    // What the search had in hand is given up or cleared by the caller.
    catch_unwind(AssertUnwindSafe(search)).unwrap_or(Err(Stop::PlaceLost))
}

/// Whether a search by lines finds something else when the line buffer holds all of the file.
///
/// The pattern may have an anchor that is not one of the lines searched: `\A`, or `^` where NUL ends lines. A line matches by
/// itself, but its submatches are found only where the buffer begins or ends. And where a scan ends early, ripgrep
/// goes on to the end of its buffer for lines of context, and, when lines that do not match are wanted, tells the
/// buffer, or its lines up to the next that does, as searched.
fn buffer_matters(pattern: &Pattern, spec: &SearchSpec) -> bool {
    let context = spec.before_context + spec.after_context > 0;
    let one_is_enough = matches!(spec.want, Want::FilesWithMatch | Want::FilesWithoutMatch);
    pattern.anchors
        || (spec.max_count.is_some() && (context || spec.invert))
        || (one_is_enough && spec.invert)
}

/// Whether some line, with which the line buffer may begin, begins in the middle of a character. For such bytes the regex engine
/// looks for the character's start in up to three bytes before, and so sees the line before, when the buffer holds
/// it.
fn stray_line(bytes: &[u8], terminator: u8) -> bool {
    let is_stray = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    if bytes.len() > LINE_BUFFER_BYTES {
        return !bytes.is_ascii();
    }
    // The first bytes are read by themselves, to find a byte order mark; and a last line that is not terminated, at the end.
    let mut first = bytes.iter().take(MARK_BYTES).enumerate();
    let stray_first = first.any(|(at, &byte)| byte == terminator && is_stray(at + 1));
    stray_first || memrchr(terminator, bytes).is_some_and(|at| is_stray(at + 1))
}

fn captures(matcher: &RegexMatcher) -> RegexCaptures {
    let captures = matcher.new_captures();
    captures.expect("the matcher of grep-regex has no errors")
}

/// Where the bytes of a file are.
pub(crate) enum Source<'a, R> {
    Slice(&'a [u8]),
    Stream(R),
}

/// Whether the file has a result to report, and what is to be said about its NUL.
fn conclude(wanted: &Wanted, nul: Nul, binary: Binary, found: bool, out: &mut Matches) -> bool {
    let hit = match wanted.want {
        // Context without a match: of an empty match over lines behind the last terminator, which
        // itself is not told. ripgrep prints it.
        Want::Lines => found || out.records() > 0,
        Want::CountLines | Want::CountMatches | Want::FilesWithMatch => found,
        Want::FilesWithoutMatch => !found,
    };
    if out.binary_offset.is_none() {
        return hit;
    }
    if nul == Nul::Quit {
        out.binary_end = BinaryEnd::Skipped;
        // Lines already found are told; what is said of a whole file would not be true.
        return hit && wanted.want == Want::Lines;
    }
    if wanted.want == Want::Lines && found && binary != Binary::Report {
        out.binary_end = BinaryEnd::Matched;
    }
    hit
}
