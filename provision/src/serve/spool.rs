//! What commands have tried and the boot endpoint has not heard, for it did not run or had no time: lines of JSON in the file
//! `tried` beside the records. It takes them in while it runs, and when it begins.
//!
//! Invariants:
//! - the file never has more than [`MAX_BYTES`]: the oldest lines make room for new ones;
//! - whoever writes holds the file's lock, and has seen then that it is still the one with the name; so whoever renames the file
//!   and takes the lock reads all that was written;
//! - what was taken in stays in `tried.taken` until it is in the records. It may be taken in twice: each line has its time;
//! - a line that is torn or foreign is left out;
//! - nobody waits for a lock for long: whoever may read the file may lock it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

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
    let length = file.metadata()?.len();
    if length + line.len() as u64 > MAX_BYTES {
        make_room(&mut file, length)?;
    }
    file.write_all(&line)
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

/// Hands on what was kept, in its order, and leaves it there.
pub(super) fn look(store: &Store, mut each: impl FnMut(At, Tried)) {
    read(&taken(store), &mut each);
    read(&file(store), &mut each);
}

/// Takes in what was kept, in its order. Tells whether there was any that could be read; then it is to be removed once it is in
/// the records.
pub(super) fn take(store: &Store, mut each: impl FnMut(At, Tried)) -> bool {
    let taken = taken(store);
    // What was not removed the last time may not be in the records.
    if !taken.exists() {
        match fs::rename(file(store), &taken) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return false,
            Err(error) => {
                let path = taken.display();
                tracing::warn!(%path, %error, "cannot take in what commands have tried");
                return false;
            }
        }
    }
    read(&taken, &mut each)
}

/// Tells whether it could be read.
fn read(path: &Path, each: &mut impl FnMut(At, Tried)) -> bool {
    // Whoever had it before it was renamed may still write.
    let file = File::open(path)
        .and_then(|file| locked(|| file.try_lock_shared(), READ_WAIT).map(|()| file));
    let file = match file {
        Ok(file) => file,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "cannot read what commands have tried");
            }
            return false;
        }
    };
    let lines = BufReader::new(file.take(MAX_BYTES)).lines();
    for line in lines.map_while(Result::ok) {
        if let Ok(Entry { at, tried }) = serde_json::from_str(&line) {
            each(at, tried);
        }
    }
    true
}

/// Removes what was taken in.
pub(super) fn remove(store: &Store) {
    let path = taken(store);
    if let Err(error) = fs::remove_file(&path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove what commands have tried");
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
        take(store, |at, _| times.push(at.0));
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
        look(&store, |at, _| all.push(at.0));
        assert_eq!(all, [1, 2]);
        remove(&store);
        assert_eq!(take_all(&store), [2]);
        remove(&store);
        assert_eq!(take_all(&store), [0; 0]);
    }

    #[test]
    fn a_lock_that_is_not_given_up_holds_nobody_and_loses_nothing() {
        let temp = tempfile::tempdir().expect("a directory");
        let store = store(&temp);
        add(&store, At(1), tried("no route")).expect("it can be written");
        let other = File::open(file(&store)).expect("anybody may read it");
        other.lock().expect("nobody else has it");
        assert!(!take(&store, |_, _| panic!("it is being written")));
        drop(other);
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
                    remove(store);
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
