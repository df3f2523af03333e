//! Searches over lines that can be cancelled while the regex engine is at work.
//!
//! Where matches may span lines, a search for the next match runs through all that is left of the file, and the engine
//! looks up from nothing. So a large file is searched **aside**, on a thread of its own, while its scanner waits for
//! the end of that and for the flag. When the flag is raised first, the scanner turns away at once, and the thread ends at the
//! next match, or the file's end, with nobody to tell.
//!
//! Invariant: of such abandoned threads there are at most [`MAX_ABANDONED`]; while there are so many, files are searched in
//! place.

use std::io::Read;
use std::panic::resume_unwind;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::error::{ScanError, Stop};
use crate::interrupt::Input;
use crate::matches::Matches;
use crate::scanner::{Nul, Scanner, Source};

/// A file of at most so many bytes is searched in place. Slow patterns, such as those with word boundaries between letters that
/// are not ASCII, take some 10 MB a second.
const IN_PLACE_BYTES: usize = 512 << 10;

/// How often the flag is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// The most threads, of all scanners of the process, whose search was cancelled and goes on to its next match. Each keeps
/// its file in memory.
const MAX_ABANDONED: usize = 16;

/// See [`MAX_ABANDONED`].
static ABANDONED: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// What is read to see whether the file is transcoded, in bytes.
const SNIFF_BYTES: usize = 4;

/// A file that is transcoded may be so much larger than its text: two bytes of UTF-16 can be one of UTF-8.
const MOST_SHRINKING: usize = 2;

impl Scanner {
    /// Scans a file whose matches may span lines.
    pub(crate) fn scan_over_lines(
        &mut self,
        bytes: &[u8],
        nul: Nul,
        out: &mut Matches,
    ) -> Result<bool, ScanError> {
        if bytes.len() <= IN_PLACE_BYTES {
            return self.scan_in_place(bytes, nul, out);
        }
        self.scan_aside(bytes.to_vec(), nul, out)
    }

    /// The same for a stream. All of it must be in memory, so it is read first.
    pub(crate) fn read_over_lines(
        &mut self,
        reader: impl Read,
        nul: Nul,
        out: &mut Matches,
    ) -> Result<bool, ScanError> {
        let mut bytes = std::mem::take(&mut self.whole);
        bytes.clear();
        self.read_whole(reader, &mut bytes)?;
        if bytes.len() > IN_PLACE_BYTES {
            return self.scan_aside(bytes, nul, out);
        }
        let result = self.scan_in_place(&bytes, nul, out);
        self.whole = bytes;
        result
    }

    fn read_whole(&self, reader: impl Read, bytes: &mut Vec<u8>) -> Result<(), ScanError> {
        let mut input = Input::new(reader, &self.cancel);
        let mut limit = self.max_line_bytes.min(SNIFF_BYTES);
        loop {
            let missing = (limit - bytes.len()) as u64;
            if let Err(error) = input.by_ref().take(missing).read_to_end(bytes) {
                return Err(self.scan_error(Stop::Io(error), input.failed));
            }
            if bytes.len() < limit {
                return Ok(());
            }
            let most = if self.transcodes(bytes) {
                (self.max_line_bytes.saturating_mul(MOST_SHRINKING)).saturating_add(SNIFF_BYTES)
            } else {
                self.max_line_bytes
            };
            if limit == most {
                let limit = self.max_line_bytes;
                return Err(ScanError::LineTooLong { limit });
            }
            limit = most;
        }
    }

    fn scan_in_place(
        &mut self,
        bytes: &[u8],
        nul: Nul,
        out: &mut Matches,
    ) -> Result<bool, ScanError> {
        // In memory, the searcher of matches over lines treats NUL as ripgrep does.
        if self.must_stream(bytes) {
            self.scan(Source::Stream(bytes), nul, out)
        } else {
            self.scan::<&[u8]>(Source::Slice(bytes), nul, out)
        }
    }

    fn scan_aside(
        &mut self,
        bytes: Vec<u8>,
        nul: Nul,
        out: &mut Matches,
    ) -> Result<bool, ScanError> {
        let mut other = self.other.take().unwrap_or_else(|| Box::new(self.twin()));
        let (tell, told) = mpsc::sync_channel(1);
        let bytes = Arc::new(bytes);
        let of_thread = Arc::clone(&bytes);
        let thread = start(move || {
            let mut out = Matches::new();
            let result = other.scan_in_place(&of_thread, nul, &mut out);
            // Nobody listens any more when the scanner has turned away.
            let _ = tell.send((other, out, result));
        });
        let Some(thread) = thread else {
            return self.scan_in_place(&bytes, nul, out);
        };
        loop {
            match told.recv_timeout(LOOK_INTERVAL) {
                Ok((other, found, result)) => {
                    self.other = Some(other);
                    *out = found;
                    return result;
                }
                Err(RecvTimeoutError::Timeout) if self.cancel.load(Ordering::Relaxed) => {
                    abandoned().push(thread);
                    return Err(ScanError::Cancelled);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let panic = thread.join().expect_err("it has told nothing");
                    resume_unwind(panic);
                }
            }
        }
    }
}

fn abandoned() -> MutexGuard<'static, Vec<JoinHandle<()>>> {
    // Each change is one call of the vector's.
    ABANDONED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a thread; none when too many are abandoned, or the system has none.
fn start(search: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    let mut threads = abandoned();
    threads.retain(|thread| !thread.is_finished());
    if threads.len() >= MAX_ABANDONED {
        return None;
    }
    let builder = thread::Builder::new().name("scan-aside".to_owned());
    builder.spawn(search).ok()
}
