//! Records on disk: one file of JSON lines below `nodes/`, appended to, and written anew when it
//! has grown.
//!
//! Invariants:
//! - a line says how something is, not how it has changed; so a line that is missing or there twice
//!   harms nothing but itself;
//! - what [`Journal::append`] has returned from survives a power loss. A line that was torn by one is
//!   the last one, and is left out;
//! - the file is written anew beside the old one, and renamed;
//! - one process writes: it holds `nodes/lock`. Anybody may read.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Line;

/// The format that this version writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// The longest line, in bytes; a machine with 64 disks and names as long as may be has 200 KB.
pub const MAX_LINE_BYTES: u64 = 1 << 20;

/// The file is not written anew before it has this many bytes.
const LEAST_BYTES: u64 = 4 << 20;

/// How often it may grow to its size before it is written anew.
const GROWTH: u64 = 3;

/// The file's first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
}

/// Why records cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refused.
    #[error("cannot {what} {}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process writes.
    #[error(
        "another `regex-provision serve` uses {}; end that one first, or give this one another directory", .0.display()
    )]
    Locked(PathBuf),
    /// Another version has written it.
    #[error("{} has the format {found}, this version reads {FORMAT}; move it away to begin anew", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
}

impl JournalError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadBack {
    /// Lines that were understood.
    pub lines: usize,
    /// Lines that were not, other than a torn one at the end.
    pub damaged: usize,
}

/// The records, to be written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// As many it had when it was written anew.
    base: u64,
    /// Something could not be written: only all of it makes the file right again.
    is_stale: bool,
    /// Dropped last, and with it the lock.
    _lock: File,
}

/// A directory whose records were read and are to be written anew, with its lock.
#[derive(Debug)]
pub struct Opened {
    path: PathBuf,
    lock: File,
}

impl Opened {
    /// Writes everything that is to be kept, as it comes. What was there before stays until then.
    pub fn begin(self, all: impl Iterator<Item = Line>) -> Result<Journal, JournalError> {
        let (file, bytes) = write_anew(&self.path, all)?;
        Ok(Journal {
            path: self.path,
            file,
            bytes,
            base: bytes,
            is_stale: false,
            _lock: self.lock,
        })
    }
}

impl Journal {
    /// Takes the lock of a directory, which is made if it is missing, reads what is there and hands it to `restore`.
    /// Then [`Opened::begin`] writes the file anew.
    pub fn open(
        directory: &Path,
        restore: impl FnMut(Line),
    ) -> Result<(Opened, ReadBack), JournalError> {
        fs::create_dir_all(directory).map_err(JournalError::io("make the directory", directory))?;
        let lock = take_lock(directory)?;
        let read = read(directory, restore)?;
        let path = file(directory);
        if read.damaged > 0 {
            let aside = directory.join("journal.damaged");
            fs::rename(&path, &aside).map_err(JournalError::io("move away", &path))?;
        }
        Ok((Opened { path, lock }, read))
    }

    /// Appends lines, synced. After an error, [`Journal::wants_all`] holds.
    pub fn append(&mut self, lines: &[Line]) -> Result<(), JournalError> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line).expect("a line can always be written as JSON");
            text.push(b'\n');
        }
        let written = self
            .file
            .write_all(&text)
            .and_then(|()| self.file.sync_data());
        self.is_stale |= written.is_err();
        written.map_err(JournalError::io("write", &self.path))?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Whether it is time to write all of it anew.
    pub fn wants_all(&self) -> bool {
        self.is_stale || self.bytes > (self.base * (GROWTH + 1)).max(LEAST_BYTES)
    }

    /// Writes everything anew.
    pub fn replace(&mut self, all: impl Iterator<Item = Line>) -> Result<(), JournalError> {
        // Whatever happens, what is there now stays until the new file has its name; and then not all of it is there.
        self.is_stale = true;
        let (file, bytes) = write_anew(&self.path, all)?;
        (self.file, self.bytes, self.base, self.is_stale) = (file, bytes, bytes, false);
        Ok(())
    }
}

/// Reads what a directory has, if it has anything. No lock is needed: what is being written is at worst a
/// torn line at the end.
pub fn read(directory: &Path, mut restore: impl FnMut(Line)) -> Result<ReadBack, JournalError> {
    let path = file(directory);
    let input = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(ReadBack::default()),
        Err(error) => return Err(JournalError::io("open", &path)(error)),
    };
    let mut input = BufReader::new(input);
    let mut text = Vec::new();
    let mut count = ReadBack::default();
    let mut is_first = true;
    loop {
        text.clear();
        let mut limited = (&mut input).take(MAX_LINE_BYTES);
        limited
            .read_until(b'\n', &mut text)
            .map_err(JournalError::io("read", &path))?;
        if text.last() != Some(&b'\n') && (text.len() as u64) < MAX_LINE_BYTES {
            // The end, or a line that was torn by a power loss.
            return Ok(count);
        }
        if is_first {
            is_first = false;
            match serde_json::from_slice(&text) {
                Ok(Header { format: FORMAT }) => {}
                Ok(Header { format }) => {
                    let found = format.to_string();
                    return Err(JournalError::Format { path, found });
                }
                Err(_) => count.damaged += 1,
            }
            continue;
        }
        match serde_json::from_slice(&text) {
            Ok(line) => {
                count.lines += 1;
                restore(line);
            }
            Err(_) => count.damaged += 1,
        }
    }
}

fn file(directory: &Path) -> PathBuf {
    directory.join("journal")
}

fn take_lock(directory: &Path) -> Result<File, JournalError> {
    let path = directory.join("lock");
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(JournalError::io("open", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(JournalError::io("lock", &path)(error)),
    }
}

fn write_anew(path: &Path, lines: impl Iterator<Item = Line>) -> Result<(File, u64), JournalError> {
    let new = path.with_extension("new");
    let write = || {
        let mut output = BufWriter::new(File::create(&new)?);
        serde_json::to_writer(&mut output, &Header { format: FORMAT })?;
        output.write_all(b"\n")?;
        for line in lines {
            serde_json::to_writer(&mut output, &line)?;
            output.write_all(b"\n")?;
        }
        output.into_inner()?.sync_all()?;
        fs::rename(&new, path)?;
        if let Some(parent) = path.parent() {
            File::open(parent)?.sync_all()?;
        }
        let file = OpenOptions::new().append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    };
    write().map_err(JournalError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::super::{At, Boot, Stage, Words};
    use super::*;

    fn line(number: u64) -> Line {
        let mut boot = Boot::new(number, At(5));
        boot.hear(Stage::Dhcp, At(5)).words = Words::new("asks");
        Line::Boot {
            mac: "52:54:00:00:00:01".parse().expect("an address"),
            boot: Box::new(boot),
        }
    }

    fn lines_of(directory: &Path) -> (Vec<Line>, ReadBack) {
        let mut lines = Vec::new();
        let read = read(directory, |line| lines.push(line)).expect("it can be read");
        (lines, read)
    }

    fn open(directory: &Path) -> (Journal, ReadBack) {
        let mut kept = Vec::new();
        let opened = Journal::open(directory, |line| kept.push(line));
        let (opened, read) = opened.expect("it can be opened");
        let journal = opened.begin(kept.into_iter()).expect("it can be written");
        (journal, read)
    }

    #[test]
    fn what_was_appended_is_there_after_whatever_cut() {
        let temp = tempfile::tempdir().expect("a directory");
        let directory = temp.path();
        let (mut journal, read) = open(directory);
        assert_eq!(read, ReadBack::default());
        journal
            .append(&[line(1), line(2)])
            .expect("it can be written");
        drop(journal);
        let whole = fs::read(file(directory)).expect("it is there");
        let ends: Vec<_> = (0..whole.len()).filter(|&at| whole[at] == b'\n').collect();
        for cut in 0..=whole.len() {
            fs::write(file(directory), &whole[..cut]).expect("it can be written");
            let complete = ends.iter().skip(1).filter(|&&end| end < cut).count();
            let (mut journal, read) = open(directory);
            assert_eq!((read.lines, read.damaged), (complete, 0), "cut at {cut}");
            journal.append(&[line(9)]).expect("it can be written");
            drop(journal);
            let (lines, _) = lines_of(directory);
            assert_eq!(lines.len(), complete + 1, "cut at {cut}");
            assert_eq!(lines.last(), Some(&line(9)));
        }
    }

    #[test]
    fn damaged_lines_are_left_out_and_the_file_is_kept() {
        let temp = tempfile::tempdir().expect("a directory");
        let directory = temp.path();
        let (mut journal, _) = open(directory);
        journal
            .append(&[line(1), line(2), line(3)])
            .expect("it can be written");
        drop(journal);
        let text = fs::read_to_string(file(directory)).expect("it is there");
        let mut lines: Vec<_> = text.lines().collect();
        lines[2] = "{\"boot\":";
        fs::write(file(directory), lines.join("\n") + "\n").expect("it can be written");
        let (_journal, read) = open(directory);
        assert_eq!((read.lines, read.damaged), (2, 1));
        assert_eq!(lines_of(directory).0, [line(1), line(3)]);
        assert!(directory.join("journal.damaged").exists());
    }

    #[test]
    fn one_process_writes() {
        let temp = tempfile::tempdir().expect("a directory");
        let (journal, _) = open(temp.path());
        let second = Journal::open(temp.path(), |_| {});
        assert!(matches!(second, Err(JournalError::Locked(_))));
        drop(journal);
        open(temp.path());
    }

    #[test]
    fn another_format_is_refused_and_left_alone() {
        let temp = tempfile::tempdir().expect("a directory");
        fs::write(file(temp.path()), "{\"format\":2}\n{}\n").expect("it can be written");
        let error = Journal::open(temp.path(), |_| {}).expect_err("another format");
        assert!(error.to_string().contains("has the format 2"), "{error}");
        assert_eq!(
            fs::read_to_string(file(temp.path())).expect("it is there"),
            "{\"format\":2}\n{}\n"
        );
    }

    #[test]
    fn a_file_that_has_grown_is_written_anew() {
        let temp = tempfile::tempdir().expect("a directory");
        let (mut journal, _) = open(temp.path());
        let many = vec![line(1); 10_000];
        while !journal.wants_all() {
            journal.append(&many).expect("it can be written");
        }
        journal
            .replace(std::iter::once(line(1)))
            .expect("it can be written");
        assert!(!journal.wants_all());
        journal.append(&[line(2)]).expect("it can be written");
        assert_eq!(lines_of(temp.path()).0, [line(1), line(2)]);
    }
}
