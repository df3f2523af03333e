//! Searches that can be cancelled while the regex engine is at work.
//!
//! A search for the next match runs through all that is left of a line, or of the file where matches may span lines, and the engine
//! looks up from nothing. So a long line, or such a large file, is searched **aside**, on a thread of its own, while its scanner
//! waits for what that finds and for the flag. When the flag is raised first, the scanner turns away at once, and the thread ends at
//! the next match, or the end of what it searches, with nobody to tell.
//!
//! Invariant: of such abandoned threads there are at most [`MAX_ABANDONED`]; while there are so many, everything is searched in
//! place.

use std::io::Read;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::error::{ScanError, Stop};
use crate::interrupt::Input;
use crate::matches::Matches;
use crate::scanner::{Nul, Scanner, Source};

/// A line, or a file whose matches may span lines, of at most so many bytes is searched in place. Slow patterns, such as those with word boundaries between letters that
/// are not ASCII, take some 10 MB a second.
pub(crate) const IN_PLACE_BYTES: usize = 512 << 10;

/// How often the flag is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// The most threads, of all scanners of the process, whose search was cancelled and goes on to its next match. Each keeps
/// its file in memory.
const MAX_ABANDONED: usize = 16;

/// How much that a thread has found may wait.
const WAITING: usize = 4;

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
            self.scan_to_end(Source::Stream(bytes), nul, out)
        } else {
            self.scan_to_end::<&[u8]>(Source::Slice(bytes), nul, out)
        }
    }

    fn scan_aside(
        &mut self,
        bytes: Vec<u8>,
        nul: Nul,
        out: &mut Matches,
    ) -> Result<bool, ScanError> {
        let mut other = self.other.take().unwrap_or_else(|| Box::new(self.twin()));
        let bytes = Arc::new(bytes);
        let of_thread = Arc::clone(&bytes);
        let search = move |tell: &SyncSender<_>| {
            let mut out = Matches::new();
            let result = other.scan_in_place(&of_thread, nul, &mut out);
            // Nobody listens any more when the scanner has turned away.
            let _ = tell.send((other, out, result));
        };
        let mut told = None;
        let aside = search_aside(&self.cancel, search, |found| {
            told = Some(found);
            true
        });
        match (aside, told) {
            (Aside::Cancelled, _) => Err(ScanError::Cancelled),
            (Aside::Done, Some((other, found, result))) => {
                self.other = Some(other);
                *out = found;
                result
            }
            // Without a thread nothing is told.
            (Aside::NoThread | Aside::Done, _) => self.scan_in_place(&bytes, nul, out),
        }
    }
}

/// What became of a search aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aside {
    /// It has ended, or no more was wanted.
    Done,
    /// The flag was raised first.
    Cancelled,
    /// It was not begun: there was no thread for it.
    NoThread,
}

/// Runs `search` on a thread of its own, and hands what it tells to `each`, until that wants no more. Turns away when the flag is
/// raised.
pub(crate) fn search_aside<T: Send + 'static>(
    cancel: &AtomicBool,
    search: impl FnOnce(&SyncSender<T>) + Send + 'static,
    mut each: impl FnMut(T) -> bool,
) -> Aside {
    let (tell, told) = mpsc::sync_channel(WAITING);
    let Some(thread) = start(move || search(&tell)) else {
        return Aside::NoThread;
    };
    loop {
        match told.recv_timeout(LOOK_INTERVAL) {
            Ok(found) => {
                if !each(found) {
                    abandoned().push(thread);
                    return Aside::Done;
                }
            }
            Err(RecvTimeoutError::Timeout) if cancel.load(Ordering::Relaxed) => {
                abandoned().push(thread);
                return Aside::Cancelled;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                if let Err(panic) = thread.join() {
                    resume_unwind(panic);
                }
                return Aside::Done;
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
