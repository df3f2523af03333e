//! The floor: list, open, read and close every file of a tree on all cores, and nothing
//! else. No program that reads the files can be quicker by much.
//!
//! It runs as a process of its own (this benchmark with `--floor DIR`), so that it is
//! measured as the others are. Directories are the unit of work.

use std::collections::VecDeque;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, bail};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io;

/// Bytes of one read; larger files take several.
const READ_BYTES: usize = 64 << 10;

/// Reads everything below `root` and prints how many files that were; an error when they are
/// not `expected`.
pub(crate) fn run(root: &Path, expected: Option<u64>) -> anyhow::Result<()> {
    let threads = thread::available_parallelism()?.get();
    let root = CString::new(root.as_os_str().as_bytes())?;
    let queue = Queue::new(root);
    let counts = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| read_all(&queue)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a reader does not panic"))
            .collect::<io::Result<Vec<u64>>>()
    })
    .context("cannot read the tree")?;
    let files = counts.iter().sum::<u64>();
    println!("{files}");
    if let Some(expected) = expected.filter(|&expected| expected != files) {
        bail!("read {files} files, not {expected}");
    }
    Ok(())
}

/// The directories that wait, and how many are waiting or being read.
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: VecDeque<CString>,
    open: usize,
}

impl Queue {
    fn new(root: CString) -> Self {
        let state = State {
            waiting: VecDeque::from([root]),
            open: 1,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// The state: a panic elsewhere leaves it whole, for each change is one step.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, directory: CString) {
        let mut state = self.lock();
        state.waiting.push_back(directory);
        state.open += 1;
        drop(state);
        self.changed.notify_one();
    }

    /// The newest directory; none when all are done.
    fn pop(&self) -> Option<CString> {
        let mut state = self.lock();
        loop {
            if state.open == 0 {
                return None;
            }
            if let Some(directory) = state.waiting.pop_back() {
                return Some(directory);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self) {
        let mut state = self.lock();
        state.open -= 1;
        if state.open == 0 {
            drop(state);
            self.changed.notify_all();
        }
    }
}

/// Reads directories from the queue until it is done; how many files they had.
fn read_all(queue: &Queue) -> io::Result<u64> {
    let mut listing = vec![MaybeUninit::uninit(); 32 << 10];
    let mut buffer = vec![0; READ_BYTES];
    let mut files = 0;
    let mut result = Ok(());
    while let Some(path) = queue.pop() {
        // After an error the queue is still emptied, so that nobody waits for ever.
        if result.is_ok() {
            result = read_directory(queue, &path, &mut listing, &mut buffer, &mut files);
        }
        queue.done();
    }
    result.map(|()| files)
}

fn read_directory(
    queue: &Queue,
    path: &CString,
    listing: &mut [MaybeUninit<u8>],
    buffer: &mut [u8],
    files: &mut u64,
) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = fs::open(path, flags, Mode::empty())?;
    let mut entries = RawDir::new(&directory, listing);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let status = fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(status.st_mode)
            }
            kind => kind,
        };
        match kind {
            FileType::Directory if !matches!(name.to_bytes(), b"." | b"..") => {
                let child = [path.to_bytes(), b"/", name.to_bytes()].concat();
                queue.push(CString::new(child).expect("its parts are without NUL"));
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = fs::openat(&directory, name, flags, Mode::empty())?;
                read_file(&file, buffer)?;
                *files += 1;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads to the end: a read that does not fill the buffer is the last.
fn read_file(file: &OwnedFd, buffer: &mut [u8]) -> io::Result<()> {
    while io::read(file, &mut *buffer)? == buffer.len() {}
    Ok(())
}
