//! Files to search, and the two ways to print what is in them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use regexctl::print::{Mode, Printer, Summary};
use regexctl_proto::v1::{BinaryEnd, FileMatches, Tally};
use regexctl_scan as scan;

use super::flags::Run;

/// A directory of files, sorted by their paths.
pub(crate) struct Fixture {
    dir: tempfile::TempDir,
    files: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Fixture {
    /// Small files of many kinds.
    pub(crate) fn small() -> Self {
        Self::new(files())
    }

    /// The small files, and some in which a NUL comes late.
    pub(crate) fn with_late_nul() -> Self {
        // ripgrep reads 64 KiB at first, and what comes before a NUL in them is not printed.
        let filler = format!("{}\n", ".".repeat(999)).repeat(70);
        let mut files = files();
        files.extend([
            (
                b"d/late.bin".to_vec(),
                format!("{PROSE}{filler}foo\nhere\0 foo\n").into_bytes(),
            ),
            (
                b"d/late-unmatched.bin".to_vec(),
                format!("foo\n{filler}here\0\n").into_bytes(),
            ),
        ]);
        Self::new(files)
    }

    fn new(mut files: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        files.sort();
        for (path, content) in &files {
            let path = dir.path().join(OsString::from_vec(path.clone()));
            let parent = path.parent().expect("the path has the directory above it");
            std::fs::create_dir_all(parent).expect("a directory can be made");
            std::fs::write(&path, content).expect("a file can be written");
        }
        Self { dir, files }
    }

    /// What ripgrep prints.
    pub(crate) fn ripgrep(&self, run: &Run) -> Vec<u8> {
        let program = std::env::var_os("RG").map_or_else(|| PathBuf::from("rg"), PathBuf::from);
        let unrestricted = if run.args.iter().any(|a| a == "--no-binary") {
            "-uu"
        } else {
            "-uuu"
        };
        let args = run.args.iter().filter(|a| *a != "--no-binary");
        let output = Command::new(&program)
            .args(["--no-config", "--no-heading", "--no-mmap", unrestricted])
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .unwrap_or_else(|e| panic!("{}: {e}; name ripgrep 15 in RG", program.display()));
        assert!(
            output.status.code().is_some_and(|code| code < 2),
            "rg {:?}: {}",
            run.args,
            output.stderr.escape_ascii()
        );
        output.stdout
    }

    /// What the printer prints. `all_columns` fills columns that it does not ask for; a file's
    /// records come in messages of `records_a_message`.
    pub(crate) fn print(&self, run: &Run, all_columns: bool, records_a_message: usize) -> Vec<u8> {
        let needed = run.print.columns();
        let search = scan::SearchSpec {
            submatches: needed.submatches || all_columns,
            line_numbers: needed.line_numbers || all_columns,
            offsets: needed.offsets || all_columns,
            ..run.search.clone()
        };
        let mut scanner =
            scan::Scanner::new(&run.compiled, &search, Arc::new(AtomicBool::new(false)))
                .expect("the test's search is valid");
        let mut printer = Printer::new(run.print.clone(), Vec::new());
        let mut tally = Tally::default();
        for (path, content) in &self.files {
            let mut found = scan::Matches::new();
            let hit = scanner
                .scan_slice(content, false, &mut found)
                .expect("the file can be scanned");
            tally.scanned += 1;
            tally.bytes_searched += found.bytes_searched;
            // Context alone is a result, too.
            tally.matched += u64::from(found.matched_lines > 0);
            tally.matched_lines += found.matched_lines;
            tally.matches += found.matches;
            if hit || run.print.mode == Mode::Files {
                for message in messages(found, records_a_message) {
                    printer
                        .file(path, &message, &[])
                        .expect("a Vec takes everything");
                }
            }
        }
        let summary = Summary {
            tally,
            ..Summary::default()
        };
        printer.finish(&summary).expect("a Vec takes everything")
    }
}

/// The result of a file as messages, all but the last of which continue.
fn messages(found: scan::Matches, records_a_message: usize) -> Vec<FileMatches> {
    let whole = FileMatches {
        kinds: found.kinds,
        line_numbers: found.line_numbers,
        offsets: found.offsets,
        lengths: found.lengths,
        text: found.text,
        submatch_counts: found.submatch_counts,
        submatch_starts: found.submatch_starts,
        submatch_ends: found.submatch_ends,
        replacement_lengths: found.replacement_lengths,
        replacement_text: found.replacement_text,
        matched_lines: found.matched_lines,
        matches: found.matches,
        bytes_searched: found.bytes_searched,
        binary_offset: found.binary_offset,
        binary_end: match found.binary_end {
            scan::BinaryEnd::None => BinaryEnd::None,
            scan::BinaryEnd::Matched => BinaryEnd::Matched,
            scan::BinaryEnd::Skipped => BinaryEnd::Skipped,
        }
        .into(),
        ..FileMatches::default()
    };
    if records_a_message == usize::MAX {
        return vec![whole];
    }
    let mut rest = whole;
    let mut messages = Vec::new();
    while rest.lengths.len() > records_a_message {
        let head = split_off_head(&mut rest, records_a_message);
        messages.push(head);
    }
    messages.push(rest);
    messages
}

/// The first `records` of `rest`; counts and the like stay with `rest`.
fn split_off_head(rest: &mut FileMatches, records: usize) -> FileMatches {
    fn head<T>(column: &mut Vec<T>, n: usize) -> Vec<T> {
        let n = n.min(column.len());
        column.drain(..n).collect()
    }
    let sum = |lengths: &[u32]| lengths.iter().map(|&n| n as usize).sum::<usize>();
    let lengths = head(&mut rest.lengths, records);
    let submatch_counts = head(&mut rest.submatch_counts, records);
    let submatches = sum(&submatch_counts);
    let replacement_lengths = head(&mut rest.replacement_lengths, submatches);
    FileMatches {
        kinds: head(&mut rest.kinds, records),
        line_numbers: head(&mut rest.line_numbers, records),
        offsets: head(&mut rest.offsets, records),
        text: head(&mut rest.text, sum(&lengths)),
        submatch_starts: head(&mut rest.submatch_starts, submatches),
        submatch_ends: head(&mut rest.submatch_ends, submatches),
        replacement_text: head(&mut rest.replacement_text, sum(&replacement_lengths)),
        lengths,
        submatch_counts,
        replacement_lengths,
        continues: true,
        ..FileMatches::default()
    }
}

const PROSE: &str = "foo bar baz\n\tfoo twice foo\n\n   bar   \nnothing here\nfoofoo barbar\n\
     some Foo\n      \nlast foo, then bar and more, and a long line behind it\n";

fn files() -> Vec<(Vec<u8>, Vec<u8>)> {
    let long = format!(
        "{}foo{}bar\n{}\n",
        "x".repeat(50),
        "y".repeat(50),
        "foo ".repeat(30)
    );
    let context: String = (0..40)
        .map(|i| {
            if i % 7 == 3 {
                "foo\n".to_owned()
            } else {
                format!("line {i}\n")
            }
        })
        .collect();
    [
        (&b"a.txt"[..], PROSE.as_bytes().to_vec()),
        (b"b.txt", PROSE.replace('\n', "\r\n").into_bytes()),
        (
            b"c/unicode.txt",
            "e\u{301}te\u{301} foo \u{1F469}\u{200D}\u{1F52C}\u{e9}\u{e9} foo \
            \u{65e5}\u{672c}\u{8a9e}\u{65e5}\u{672c}\u{8a9e} bar\nno terminator foo"
                .as_bytes()
                .to_vec(),
        ),
        (b"c/context.txt", context.into_bytes()),
        (b"d/early.bin", b"foo\nbar\0\nfoo\n".to_vec()),
        (
            b"e/latin1.txt",
            b"caf\xe9 foo\n\xff\xfe\xfd bar\nfoo \xe9".to_vec(),
        ),
        (b"e/nul.txt", b"foo\nbar\0second foo\n\0\0last".to_vec()),
        (b"f/long.txt", long.into_bytes()),
        (b"f/empty.txt", Vec::new()),
        (b"f/one.txt", b"\n".to_vec()),
        (b"g/name with space", b"foo\n".to_vec()),
        (b"g/\xff\xe9 name", b"foo \"quoted\" \\ \x01\x7f\n".to_vec()),
        (b"g/ctl\t\"name\"", b"bar\n".to_vec()),
        (b"g/none.txt", b"...\n".to_vec()),
    ]
    .map(|(path, content)| (path.to_vec(), content))
    .into_iter()
    .collect()
}
