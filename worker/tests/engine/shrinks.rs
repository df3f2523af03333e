//! Files that are made shorter, and directories that vanish, while they are searched.

use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use regexctl_proto::domain::{Task, Weight};
use regexctl_proto::v1;
use regexctl_source::{
    Dir, File, Links, Listing, LocalSource, Map, NameSlice, Opened, Read, ReadBuf, Roots, Source,
    SourceError,
};

use crate::rig::{Outcome, Rig, TINY, UNLIMITED, spec};

/// Of 4000 bytes, numbered, and each matches.
fn lines(count: usize) -> Vec<u8> {
    let filler = "x".repeat(3984);
    let line = |number| format!("{number:010} foo {filler}\n").into_bytes();
    (0..count).flat_map(line).collect()
}

fn cut(path: &Path, size: u64) {
    let file = fs::File::options().write(true).open(path);
    let file = file.expect("the test made it");
    file.set_len(size).expect("it is the test's");
}

/// The kernel's files, of which one is cut when the first read at or behind `at` is about to happen.
#[derive(Debug, Clone)]
struct Cutting {
    source: LocalSource,
    how: Arc<Cut>,
}

#[derive(Debug)]
struct Cut {
    path: PathBuf,
    at: u64,
    to: u64,
    done: AtomicBool,
}

impl Cutting {
    fn new(path: PathBuf, at: u64, to: u64) -> Self {
        Self {
            source: LocalSource::new(Roots::everything()),
            how: Arc::new(Cut {
                path,
                at,
                to,
                done: AtomicBool::new(false),
            }),
        }
    }

    fn opened(&self, opened: Opened) -> Opened {
        match opened {
            Opened::File(file) => Opened::File(self.file(file)),
            Opened::Dir(dir) => Opened::Dir(Box::new(CuttingDir(dir, self.clone()))),
            other => other,
        }
    }

    fn file(&self, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(CuttingFile(file, Arc::clone(&self.how)))
    }
}

impl Source for Cutting {
    fn open(&self, path: &[u8], links: Links) -> Result<Opened, SourceError> {
        Ok(self.opened(self.source.open(path, links)?))
    }

    fn canonical(&self, path: &[u8]) -> Result<Vec<u8>, SourceError> {
        self.source.canonical(path)
    }
}

#[derive(Debug)]
struct CuttingDir(Box<dyn Dir>, Cutting);

impl Dir for CuttingDir {
    fn list(
        &self,
        slice: NameSlice,
        max_bytes: usize,
        out: &mut Listing,
    ) -> Result<NameSlice, SourceError> {
        self.0.list(slice, max_bytes, out)
    }

    fn read(&self, name: &CStr, buf: &mut ReadBuf) -> Result<Read, SourceError> {
        Ok(match self.0.read(name, buf)? {
            Read::Longer(file) => Read::Longer(self.1.file(file)),
            whole @ Read::Whole(_) => whole,
        })
    }

    fn open_child(&self, name: &CStr, links: Links) -> Result<Opened, SourceError> {
        Ok(self.1.opened(self.0.open_child(name, links)?))
    }

    fn file_size(&self, name: &CStr, links: Links) -> Result<u64, SourceError> {
        self.0.file_size(name, links)
    }

    fn identity(&self) -> Result<(u64, u64), SourceError> {
        self.0.identity()
    }

    fn source(&self) -> &dyn Source {
        &self.1
    }
}

#[derive(Debug)]
struct CuttingFile(Box<dyn File>, Arc<Cut>);

impl File for CuttingFile {
    fn size(&self) -> Result<u64, SourceError> {
        self.0.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, SourceError> {
        let Cut { path, at, to, done } = &*self.1;
        if offset >= *at && !done.swap(true, Ordering::Relaxed) {
            cut(path, *to);
        }
        self.0.read_at(buf, offset)
    }

    fn map(&self) -> Option<Map> {
        self.0.map()
    }
}

/// What was found lies before the cut, and all of it was found; the error says what happened.
#[track_caller]
fn assert_told(outcome: &Outcome, found: &[u8], of_part: bool) {
    let lines: Vec<u8> = outcome.lines().into_values().flatten().flatten().collect();
    assert!(lines == found, "{} bytes, not {}", lines.len(), found.len());
    assert!(!outcome.errors.is_empty());
    for error in &outcome.errors {
        assert_eq!((&error.path[..], error.of_part), (&b"f"[..], of_part));
        assert!(error.message.starts_with("shrank"), "{}", error.message);
    }
}

#[test]
fn a_split_file_that_shrank_between_two_shards_is_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (path, text) = (dir.path().join("f"), lines(10_000));
    for to in [0, 1_000_000, 1_000_001, 39_999_999] {
        fs::write(&path, &text).expect("it can be written");
        let outcome = Rig::new(2).run_disturbed(
            &spec(dir.path(), "foo", v1::Want::Lines),
            vec![Task::root(0, Weight::WHOLE)],
            TINY,
            1,
            |shards| {
                if shards == 1 {
                    cut(&path, to as u64);
                }
            },
        );
        // The rest of a line is a line; its first byte does not match.
        let end = if to == 1_000_001 { 1_000_000 } else { to };
        assert_told(&outcome, &text[..end], true);
        // Here the file counts as scanned; the hub counts it as failed.
        assert_eq!((outcome.tally.seen, outcome.tally.scanned), (1, 1));
        let mut parts: Vec<_> = outcome.files.iter().filter_map(|file| file.part).collect();
        parts.sort_by_key(|part| part.start);
        assert!(parts.windows(2).all(|two| two[0].end == two[1].start));
        assert!(
            parts
                .last()
                .is_some_and(|part| part.last && part.end == 40_000_000)
        );
    }
}

#[test]
fn a_split_file_that_shrinks_under_a_reader_is_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (path, text) = (dir.path().join("f"), lines(10_000));
    fs::write(&path, &text).expect("it can be written");
    // One thread reads the ranges in order.
    let source = Cutting::new(path, 12_000_000, 20_000_000);
    let spec = spec(dir.path(), "foo", v1::Want::Lines);
    let outcome = Rig::on(source, 1).root(&spec, UNLIMITED);
    assert_told(&outcome, &text[..20_000_000], true);
}

#[test]
fn a_file_that_shrinks_while_it_is_read_as_a_stream_is_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (path, text) = (dir.path().join("f"), lines(1000));
    for (want, pattern) in [
        (v1::Want::Lines, "foo"),
        (v1::Want::CountLines, "foo"),
        (v1::Want::FilesWithMatch, "0000000999 foo"),
        (v1::Want::FilesWithoutMatch, "0000000999 foo"),
    ] {
        fs::write(&path, &text).expect("it can be written");
        let source = Cutting::new(path.clone(), 1_000_000, 2_000_000);
        let outcome = Rig::on(source, 1).root(&spec(dir.path(), pattern, want), UNLIMITED);
        let found = if want == v1::Want::Lines {
            &text[..2_000_000]
        } else {
            &[]
        };
        assert_told(&outcome, found, false);
        assert_eq!(outcome.errors.len(), 1);
        let tally = &outcome.tally;
        assert_eq!((tally.seen, tally.scanned, tally.failed), (1, 0, 1));
        // Whether the line was in what was cut off is not known.
        let counted: Vec<_> = outcome
            .files
            .iter()
            .map(|file| file.matched_lines)
            .collect();
        let expected: &[u64] = if pattern == "foo" { &[500] } else { &[] };
        assert_eq!(
            (&counted[..], tally.matched),
            (expected, expected.len() as u64)
        );
    }
    // What is known before the cut is reached is known.
    fs::write(&path, &text).expect("it can be written");
    let source = Cutting::new(path, 1_000_000, 2_000_000);
    let spec = spec(dir.path(), "0000000300 foo", v1::Want::FilesWithMatch);
    let outcome = Rig::on(source, 1).root(&spec, UNLIMITED);
    assert_eq!((outcome.files.len(), outcome.errors.len()), (1, 0));
    assert_eq!((outcome.tally.scanned, outcome.tally.failed), (1, 0));
}

#[test]
fn a_file_that_grows_is_no_error() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (path, text) = (dir.path().join("f"), lines(10_000));
    for size in [1_000, 10_000] {
        fs::write(&path, &text[..size * 4000]).expect("it can be written");
        // A cut to a larger size adds NULs.
        let to = size as u64 * 4000 + 50;
        let source = Cutting::new(path.clone(), 1_000_000, to);
        let spec = spec(dir.path(), "foo", v1::Want::CountLines);
        let outcome = Rig::on(source, 2).root(&spec, UNLIMITED);
        assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
        let counted: u64 = outcome.files.iter().map(|file| file.matched_lines).sum();
        assert_eq!(counted, size as u64);
    }
}

#[test]
fn a_directory_that_vanishes_between_two_slices_is_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for path in ["sub", ""] {
        let sub = dir.path().join("root").join(path);
        fs::create_dir_all(&sub).expect("it can be made");
        for number in 0..2000 {
            fs::write(sub.join(number.to_string()), "foo\n").expect("it can be written");
        }
        let mut seen = 0;
        let outcome = Rig::new(1).run_disturbed(
            &spec(&dir.path().join("root"), "foo", v1::Want::Lines),
            vec![Task::root(0, Weight::WHOLE)],
            TINY,
            1,
            |shards| {
                seen = shards;
                // The first lists the root, and the second the directory in it.
                if shards == 2 {
                    fs::remove_dir_all(&sub).expect("it is the test's");
                }
            },
        );
        assert!(seen > 2, "the directory was done in two shards");
        assert!(!outcome.errors.is_empty());
        for error in &outcome.errors {
            assert_eq!(error.path, path.as_bytes());
            assert_eq!(error.kind(), v1::FileErrorKind::NotFound);
            assert!(error.directory && error.of_part, "{error:?}");
        }
        // Here it counts as listed; the hub counts it as failed.
        assert_eq!(outcome.tally.dirs_failed, 0);
        assert_eq!(
            (outcome.tally.failed, outcome.tally.scanned),
            (0, outcome.tally.seen)
        );
        fs::remove_dir_all(dir.path().join("root")).ok();
    }
}
