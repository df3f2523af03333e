//! What commands have tried and the boot endpoint has not heard, for it did not run or had no time: lines of JSON in the file
//! `tried` beside the records. It takes them in while it runs, and when it begins.
//!
//! Invariants:
//! - the file never has more than [`MAX_BYTES`]: the oldest lines make room for new ones;
//! - whoever writes holds the file's lock, and has seen then that it is still the one with the name; so whoever renames the file
//!   and takes the lock reads all that was written;
//! - what was taken in stays in `tried.taken` until it is in the records. It may be taken in twice: each line has its time;
//! - a line that is torn or foreign is left out, and takes no other with it;
//! - nobody waits for a lock for long: whoever may read the file may lock it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::status::{At, Tried};
use crate::store::Store;

/// The most that is kept: some 10,000 nodes.
const MAX_BYTES: u64 = 4 << 20;

/// How long whoever adds something waits for the file's lock; nobody writes for so long.
const ADD_WAIT: Duration = Duration::from_secs(5);

/// How long whoever reads waits for it, before it leaves the file for the next time.
const READ_WAIT: Duration = Duration::from_millis(200);

/// What one command has tried.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    at: At,
    tried: Tried,
}

fn file(store: &Store) -> PathBuf {
    store.nodes().join("tried")
}

/// What is being taken in.
fn taken(store: &Store) -> PathBuf {
    store.nodes().join("tried.taken")
}

/// Keeps what was tried. Only where records are kept already.
pub(super) fn add(store: &Store, at: At, tried: Tried) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Entry { at, tried })?;
    line.push(b'\n');
    let mut file = open(&file(store))?;
    let mut length = file.metadata()?.len();
    if is_torn(&file, length)? {
        line.insert(0, b'\n');
    }
    if length + line.len() as u64 > MAX_BYTES {
        make_room(&mut file, length)?;
        length = file.metadata()?.len();
    }
    let written = file.write_all(&line);
    if written.is_err() {
        // What is there of it has no use, and the disk may be full. If it stays, the next line is not written behind it.
        let _ = file.set_len(length);
    }
    written
}

/// Whether the last line has no end: the disk was full, or whoever wrote it was killed.
fn is_torn(file: &File, length: u64) -> io::Result<bool> {
    let Some(end) = length.checked_sub(1) else {
        return Ok(false);
    };
    let mut last = [0];
    file.read_exact_at(&mut last, end)?;
    Ok(last != *b"\n")
}

/// The file, with its lock, to be appended to.
fn open(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        locked(|| file.try_lock(), ADD_WAIT)?;
        let ours = file.metadata()?;
        let is_current = fs::metadata(path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
        if is_current {
            return Ok(file);
        }
        // It was taken in while we waited for the lock.
    }
}

/// Takes a lock, if it can be had in time.
fn locked(mut take: impl FnMut() -> Result<(), TryLockError>, wait: Duration) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match take() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if began.elapsed() > wait => {
                let what = "another process does not give up its lock";
                return Err(io::Error::new(ErrorKind::TimedOut, what));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Leaves the newer half of the lines.
fn make_room(file: &mut File, length: u64) -> io::Result<()> {
    file.seek(io::SeekFrom::Start(length.saturating_sub(MAX_BYTES / 2)))?;
    let mut half = Vec::new();
    (&*file).take(MAX_BYTES).read_to_end(&mut half)?;
    // The first is most likely cut.
    let first = half.iter().position(|&byte| byte == b'\n');
    let whole = first.map_or(&[][..], |end| &half[end + 1..]);
    file.set_len(0)?;
    file.write_all(whole)
}

/// Hands on what was kept, in its order, and leaves it there. An error says what could not be read; the rest is handed on.
pub(super) fn look(store: &Store, mut each: impl FnMut(At, Tried)) -> anyhow::Result<()> {
    let taken = read(&taken(store), &mut each);
    let file = read(&file(store), &mut each);
    taken.and(file).map(drop)
}

/// Takes in what was kept, in its order. Tells whether there was any; then it is to be removed once it is in the records. After
/// an error, what could be read was handed on, and all of it stays.
pub(super) fn take(store: &Store, mut each: impl FnMut(At, Tried)) -> anyhow::Result<bool> {
    let taken = taken(store);
    // What was not removed the last time may not be in the records.
    if !taken.exists() {
        let file = file(store);
        match fs::rename(&file, &taken) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot rename {}", file.display()));
            }
        }
    }
    read(&taken, &mut each)
}

/// Hands on what a file has. Tells whether there is one.
fn read(path: &Path, each: &mut impl FnMut(At, Tried)) -> anyhow::Result<bool> {
    let cannot_read = || format!("cannot read {}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(cannot_read),
    };
    // Whoever had it before it was renamed may still write.
    locked(|| file.try_lock_shared(), READ_WAIT).with_context(cannot_read)?;
    for line in BufReader::new(file.take(MAX_BYTES)).split(b'\n') {
        let line = line.with_context(cannot_read)?;
        if let Ok(Entry { at, tried }) = serde_json::from_slice(&line) {
            each(at, tried);
        }
    }
    Ok(true)
}

/// Removes what was taken in.
pub(super) fn remove(store: &Store) -> anyhow::Result<()> {
    let path = taken(store);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::status::{Means, TriedNode, Words};

    fn store(temp: &tempfile::TempDir) -> Store {
        let store = Store::at(temp.path());
        fs::create_dir_all(store.nodes()).expect("the directory is ours");
        store
    }

    fn tried(words: &str) -> Tried {
        let node = TriedNode {
            mac: "52:54:00:00:00:01".parse().expect("an address"),
            problem: Some(Words::new(words)),
        };
        Tried {
            means: Means::Ssh,
            nodes: vec![node; 10],
        }
    }

    /// Times, in the order in which they are taken in.
    fn take_all(store: &Store) -> Vec<u64> {
        let mut times = Vec::new();
        take(store, |at, _| times.push(at.0)).expect("it can be read");
        times
    }

    #[test]
    fn what_is_new_has_room() {
        let temp = tempfile::tempdir().expect("a directory");
        let store = store(&temp);
        let long = tried(&"x".repeat(400));
        for at in 0..2_000 {
            add(&store, At(at), long.clone()).expect("it can be written");
            assert!(fs::metadata(file(&store)).expect("it is there").len() <= MAX_BYTES);
        }
        let times = take_all(&store);
        let newest: Vec<_> = (times[0]..2_000).collect();
        assert_eq!(times, newest);
        assert!(times.len() > 300, "{}", times.len());
    }

    #[test]
    fn what_is_taken_in_stays_until_it_is_removed() {
        let temp = tempfile::tempdir().expect("a directory");
        let store = store(&temp);
        assert_eq!(take_all(&store), [0; 0]);
        add(&store, At(1), tried("no route")).expect("it can be written");
        assert_eq!(take_all(&store), [1]);
        add(&store, At(2), tried("no route")).expect("it can be written");
        assert_eq!(take_all(&store), [1]);
        let mut all = Vec::new();
        look(&store, |at, _| all.push(at.0)).expect("it can be read");
        assert_eq!(all, [1, 2]);
        remove(&store).expect("it can be removed");
        assert_eq!(take_all(&store), [2]);
        remove(&store).expect("it can be removed");
        assert_eq!(take_all(&store), [0; 0]);
    }

    #[test]
    fn a_lock_that_is_not_given_up_holds_nobody_and_loses_nothing() {
        let temp = tempfile::tempdir().expect("a directory");
        let store = store(&temp);
        add(&store, At(1), tried("no route")).expect("it can be written");
        let other = File::open(file(&store)).expect("anybody may read it");
        other.lock().expect("nobody else has it");
        let error = take(&store, |_, _| panic!("it is being written")).expect_err("it is locked");
        assert!(format!("{error:#}").contains("lock"), "{error:#}");
        drop(other);
        assert_eq!(take_all(&store), [1]);
    }

    /// The disk was full in the middle of a line, and somebody has written what is no text.
    #[test]
    fn a_line_that_is_torn_or_foreign_takes_no_other_with_it() {
        let temp = tempfile::tempdir().expect("a directory");
        let store = store(&temp);
        add(&store, At(1), tried("no route")).expect("it can be written");
        let whole = fs::read(file(&store)).expect("it is there");
        let half = &whole[..whole.len() / 2];
        for (at, torn) in [(2, half), (3, b"\xff\xfe\n"), (4, b"\xff"), (5, b"{}\n")] {
            let mut end = File::options().append(true).open(file(&store));
            let written = end.as_mut().map(|end| end.write_all(torn));
            written.expect("it is ours").expect("the directory is ours");
            add(&store, At(at), tried("no route")).expect("it can be written");
        }
        assert_eq!(take_all(&store), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn what_cannot_be_read_is_told_and_stays() {
        let temp = tempfile::tempdir().expect("a directory");
        let store = store(&temp);
        add(&store, At(1), tried("no route")).expect("it can be written");
        fs::create_dir(taken(&store)).expect("the directory is ours");
        for _ in 0..2 {
            let error = take(&store, |_, _| panic!("it has no lines")).expect_err("a directory");
            assert!(error.to_string().contains("tried.taken"), "{error:#}");
        }
        let mut all = Vec::new();
        look(&store, |at, _| all.push(at.0)).expect_err("one of them is a directory");
        assert_eq!(all, [1]);
        fs::remove_dir(taken(&store)).expect("the directory is ours");
        assert_eq!(take_all(&store), [1]);
    }

    #[test]
    fn whatever_is_written_while_it_is_taken_in_is_taken_in_once() {
        const EACH: u64 = 2_000;
        let temp = tempfile::tempdir().expect("a directory");
        let store = store(&temp);
        let ended = AtomicBool::new(false);
        let mut times = Vec::new();
        thread::scope(|scope| {
            let write = |writer: u64| {
                let store = &store;
                scope.spawn(move || {
                    for number in 0..EACH {
                        let at = At(writer * EACH + number);
                        add(store, at, tried("no route")).expect("it can be written");
                    }
                })
            };
            let writers: Vec<_> = (0..3).map(write).collect();
            let (ended, times) = (&ended, &mut times);
            let (store, all) = (&store, scope);
            all.spawn(move || {
                let mut is_last = false;
                while !is_last {
                    is_last = ended.load(Ordering::Acquire);
                    times.extend(take_all(store));
                    remove(store).expect("it can be removed");
                }
            });
            for writer in writers {
                writer.join().expect("it does not panic");
            }
            ended.store(true, Ordering::Release);
        });
        times.sort_unstable();
        assert_eq!(times, (0..3 * EACH).collect::<Vec<_>>());
    }
}
