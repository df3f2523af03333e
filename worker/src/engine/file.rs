//! One file: read, scanned, counted, told. This is the hot path.

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use regexctl_proto::domain::Weight;
use regexctl_proto::v1;
use regexctl_scan::{BinaryEnd, Matches, ScanError, needs_transcoding};
use regexctl_source::{ErrorKind, File, Read, SkipReason};

use super::range::RANGE_BYTES;
use super::shard::Shard;
use super::thread::Thread;
use super::unit::{OpenDir, Range, Unit};
use super::walk::count_skip;

/// A file of at least this many bytes is split, where the search allows it.
const SPLIT_FILE_BYTES: u64 = 32 << 20;

/// The most ranges a file is split into at first.
const MAX_RANGES: u64 = 4096;

/// A file that the user named.
pub(super) struct Named {
    pub(super) root: u32,
    pub(super) path: Vec<u8>,
    pub(super) weight: Weight,
}

impl Thread<'_> {
    /// A file of a directory, already counted as seen and wanted.
    pub(super) fn file(&mut self, shard: &Arc<Shard>, dir: &OpenDir, name: &CStr) {
        let plan = &shard.plan;
        let max_size = plan.filter.max_filesize();
        if plan.want == v1::Want::Files && max_size.is_none() {
            return self.listed(shard, dir.root, dir.child(name));
        }
        let len = match dir.handle.read(name, &mut self.buffer) {
            Ok(Read::Whole(len)) => len,
            Ok(Read::Longer(file)) => {
                let path = dir.child(name);
                return self.longer(
                    shard,
                    (dir.root, path, false),
                    Weight::default(),
                    &file.into(),
                );
            }
            Err(error) => {
                self.output.tally.failed += 1;
                return self.source_error(shard, dir.root, dir.child(name), &error, false);
            }
        };
        if max_size.is_some_and(|max| len as u64 > max) {
            return count_skip(&mut self.output.tally, SkipReason::Size);
        }
        if plan.want == v1::Want::Files {
            return self.listed(shard, dir.root, dir.child(name));
        }
        self.scan_whole(shard, len, false, || (dir.root, dir.child(name)));
    }

    /// A file that the user named, already counted as seen.
    pub(super) fn named_file(&mut self, shard: &Arc<Shard>, named: Named, file: Box<dyn File>) {
        let Named { root, path, weight } = named;
        self.open_file(shard, (root, path, true), weight, &file.into());
    }

    /// A file that was opened already, counted as seen and wanted.
    pub(super) fn opened_file(
        &mut self,
        shard: &Arc<Shard>,
        root: u32,
        path: Vec<u8>,
        named: bool,
        file: &Arc<dyn File>,
    ) {
        self.open_file(shard, (root, path, named), Weight::default(), file);
    }

    fn open_file(
        &mut self,
        shard: &Arc<Shard>,
        (root, path, named): (u32, Vec<u8>, bool),
        weight: Weight,
        file: &Arc<dyn File>,
    ) {
        let max_size = shard.plan.filter.max_filesize().filter(|_| !named);
        if shard.plan.want == v1::Want::Files && max_size.is_none() {
            return self.listed(shard, root, path);
        }
        let capacity = self.buffer.capacity();
        let len = match file.read_at(self.buffer.space(), 0) {
            Ok(len) => len,
            Err(error) => {
                self.output.tally.failed += 1;
                return self.source_error(shard, root, path, &error, false);
            }
        };
        if len == capacity {
            return self.longer(shard, (root, path, named), weight, file);
        }
        if max_size.is_some_and(|max| len as u64 > max) {
            return count_skip(&mut self.output.tally, SkipReason::Size);
        }
        if shard.plan.want == v1::Want::Files {
            return self.listed(shard, root, path);
        }
        self.scan_whole(shard, len, named, || (root, path));
    }

    /// Tells the name of a file that is not opened.
    fn listed(&mut self, shard: &Shard, root: u32, path: Vec<u8>) {
        self.output.tally.scanned += 1;
        self.output.tally.matched += 1;
        shard.add_results(self.output.file(v1::FileMatches {
            root,
            path,
            ..v1::FileMatches::default()
        }));
    }

    /// Scans the first `len` bytes of the buffer, which are a whole file. The path is only made for a result.
    fn scan_whole(
        &mut self,
        shard: &Arc<Shard>,
        len: usize,
        named: bool,
        path: impl FnOnce() -> (u32, Vec<u8>),
    ) {
        let started = shard.plan.timing.then(Instant::now);
        let scanner = self.scanners.get(&shard.plan);
        let (bytes, matches) = (self.buffer.filled(len), &mut self.matches);
        let result = guarded(|| scanner.scan_slice(bytes, named, matches));
        self.scanned(shard, &result, None, started, path);
    }

    /// A file that goes on behind the buffer, whose first bytes are in it.
    fn longer(
        &mut self,
        shard: &Arc<Shard>,
        (root, path, named): (u32, Vec<u8>, bool),
        weight: Weight,
        file: &Arc<dyn File>,
    ) {
        let plan = &shard.plan;
        let size = match file.size() {
            Ok(size) => size,
            Err(error) => {
                self.output.tally.failed += 1;
                return self.source_error(shard, root, path, &error, false);
            }
        };
        if !named && plan.filter.max_filesize().is_some_and(|max| size > max) {
            return count_skip(&mut self.output.tally, SkipReason::Size);
        }
        if plan.want == v1::Want::Files {
            return self.listed(shard, root, path);
        }
        let first = self.buffer.filled(self.buffer.capacity());
        // A NUL at once: not a text, so the scan ends early or the lines do not matter.
        let is_text = plan.text_mode() || !first.contains(&0);
        if plan.splittable && size >= SPLIT_FILE_BYTES && is_text && !needs_transcoding(first) {
            self.output.tally.scanned += 1;
            return self.split(shard, root, &path, size, weight, file);
        }
        let started = plan.timing.then(Instant::now);
        let mut reader = Reader {
            first,
            file: &**file,
            offset: first.len() as u64,
            at_end: false,
            shard,
        };
        let (scanner, matches) = (self.scanners.get(plan), &mut self.matches);
        let result = guarded(|| scanner.scan_reader(&mut reader, named, matches));
        let end = reader.offset;
        let shrank = (reader.at_end && end < size).then_some(Shrank { size, end });
        self.scanned(shard, &result, shrank, started, || (root, path));
    }

    /// Cuts a large file into ranges, the first of which is taken first.
    fn split(
        &mut self,
        shard: &Arc<Shard>,
        root: u32,
        path: &[u8],
        size: u64,
        weight: Weight,
        file: &Arc<dyn File>,
    ) {
        let step = RANGE_BYTES.max(size.div_ceil(MAX_RANGES));
        let count = size.div_ceil(step);
        let mut ranges: Vec<Unit> = (0..count)
            .zip(weight.split(count))
            .map(|(i, weight)| {
                Unit::Range(Range {
                    root,
                    path: path.to_vec(),
                    start: i * step,
                    end: size.min((i + 1) * step),
                    size,
                    weight,
                    file: Some(Arc::clone(file)),
                })
            })
            .collect();
        ranges.reverse();
        // All threads take them in order, so that few results wait for an earlier range.
        self.shared.share(shard, ranges.into_iter());
    }

    /// Counts and tells the result of a scan. Of a file that shrank, what was found is told; that nothing was found
    /// is not known.
    fn scanned(
        &mut self,
        shard: &Shard,
        result: &Result<bool, ScanFailure>,
        shrank: Option<Shrank>,
        started: Option<Instant>,
        path: impl FnOnce() -> (u32, Vec<u8>),
    ) {
        let tally = &mut self.output.tally;
        tally.bytes_searched += self.matches.bytes_searched;
        let hit = match (result, shrank) {
            (Ok(hit), None) => {
                tally.scanned += 1;
                if !hit {
                    return self.matches.clear();
                }
                true
            }
            (Ok(hit), Some(_)) => {
                tally.failed += 1;
                *hit && shard.plan.want != v1::Want::FilesWithoutMatch
            }
            (Err(ScanFailure::Scan(ScanError::Cancelled)), _) => {
                tally.failed += 1;
                return self.matches.clear();
            }
            (Err(failure), _) => {
                tally.failed += 1;
                let (kind, message) = failure.describe();
                let (root, path) = path();
                if matches!(failure, ScanFailure::Panic) {
                    self.scanners.forget();
                    self.matches = Matches::new();
                }
                self.matches.clear();
                return self.error(shard, root, path, kind, message, false);
            }
        };
        let (root, path) = path();
        if let Some(shrank) = shrank {
            let (kind, message) = (v1::FileErrorKind::Other, shrank.to_string());
            self.error(shard, root, path.clone(), kind, message, false);
            if !hit {
                return self.matches.clear();
            }
        }
        let mut file = into_message(&mut self.matches, root, path);
        if let Some(started) = started {
            file.elapsed_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        }
        let tally = &mut self.output.tally;
        tally.matched += 1;
        tally.matched_lines += file.matched_lines;
        tally.matches += file.matches;
        shard.add_results(self.output.file(file));
    }
}

/// Moves the columns into a message; `matches` is empty afterwards.
pub(crate) fn into_message(matches: &mut Matches, root: u32, path: Vec<u8>) -> v1::FileMatches {
    let matches = std::mem::take(matches);
    let binary_end = match matches.binary_end {
        BinaryEnd::None => v1::BinaryEnd::None,
        BinaryEnd::Matched => v1::BinaryEnd::Matched,
        BinaryEnd::Skipped => v1::BinaryEnd::Skipped,
    };
    v1::FileMatches {
        root,
        path,
        kinds: matches.kinds,
        line_numbers: matches.line_numbers,
        offsets: matches.offsets,
        lengths: matches.lengths,
        text: matches.text,
        submatch_counts: matches.submatch_counts,
        submatch_starts: matches.submatch_starts,
        submatch_ends: matches.submatch_ends,
        replacement_lengths: matches.replacement_lengths,
        replacement_text: matches.replacement_text,
        matched_lines: matches.matched_lines,
        matches: matches.matches,
        bytes_searched: matches.bytes_searched,
        binary_offset: matches.binary_offset,
        binary_end: binary_end.into(),
        ..v1::FileMatches::default()
    }
}

/// Why a scan gave no result.
#[derive(Debug)]
pub(super) enum ScanFailure {
    Scan(ScanError),
    /// A bug, which costs one file and not the node.
    Panic,
}

impl ScanFailure {
    pub(super) fn describe(&self) -> (v1::FileErrorKind, String) {
        match self {
            Self::Scan(error) => {
                let kind = match error {
                    ScanError::Io(_) => v1::FileErrorKind::Io,
                    ScanError::LineTooLong { .. } => v1::FileErrorKind::Limit,
                    _ => v1::FileErrorKind::Other,
                };
                (kind, error.to_string())
            }
            Self::Panic => (
                v1::FileErrorKind::Other,
                "internal error while the file was scanned; please report it".to_owned(),
            ),
        }
    }
}

/// A file ended before its size: it was made shorter while it was searched, and what was cut off was not
/// searched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shrank {
    /// Its size when its search began.
    pub(super) size: u64,
    /// Where a read found its end.
    pub(super) end: u64,
}

impl fmt::Display for Shrank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, end } = self;
        write!(
            f,
            "shrank while it was searched: of its {size} bytes, nothing was left at byte {end}; search it again"
        )
    }
}

/// Runs a scan; a panic in it is an error of the file.
pub(super) fn guarded<T>(scan: impl FnOnce() -> Result<T, ScanError>) -> Result<T, ScanFailure> {
    match catch_unwind(AssertUnwindSafe(scan)) {
        Ok(result) => result.map_err(ScanFailure::Scan),
        Err(_) => Err(ScanFailure::Panic),
    }
}

/// A file as a stream, from the bytes already read on; tells the shard that it advances.
struct Reader<'a> {
    first: &'a [u8],
    file: &'a dyn File,
    offset: u64,
    /// The last read found the end.
    at_end: bool,
    shard: &'a Shard,
}

impl io::Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.shard.is_dead() {
            return Err(io::Error::other("cancelled"));
        }
        if !self.first.is_empty() {
            return self.first.read(buf);
        }
        let len = (self.file.read_at(buf, self.offset))
            .map_err(|error| io::Error::other(error.to_string()))?;
        self.offset += len as u64;
        self.at_end = len == 0 && !buf.is_empty();
        self.shard.tick(0, 0);
        Ok(len)
    }
}

/// The protocol's word for a source's error.
pub(super) fn error_kind(kind: ErrorKind) -> v1::FileErrorKind {
    match kind {
        ErrorKind::NotFound => v1::FileErrorKind::NotFound,
        ErrorKind::Permission => v1::FileErrorKind::Permission,
        ErrorKind::OutsideRoots => v1::FileErrorKind::OutsideRoots,
        ErrorKind::Io => v1::FileErrorKind::Io,
        ErrorKind::Loop => v1::FileErrorKind::Loop,
        ErrorKind::TooLong => v1::FileErrorKind::Limit,
        ErrorKind::Changed | ErrorKind::Other => v1::FileErrorKind::Other,
    }
}
