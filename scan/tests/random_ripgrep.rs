//! Random flags, patterns and files: a file in memory and the same file as a stream give what ripgrep gives, in
//! each combination of the flags that change how lines are found.

mod common;

use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError};
use regexctl_scan::{Matches, Pattern, Scanner, Want, splittable};

use common::found::{Found, found_by_ripgrep, found_here};
use common::{run_ripgrep, scan_in_parts, specs};

/// One of `choices`, as a flag; the empty one is none.
fn one_of(choices: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(choices)
}

/// Flags that are ripgrep's, and mean something together.
fn flags() -> impl Strategy<Value = Vec<&'static str>> {
    (
        one_of(&["-uuu", "-uuu", "-uu", "-a"]),
        one_of(&["", "", "-U"]),
        one_of(&["", "", "--crlf", "--null-data"]),
        one_of(&["", "", "", "-x", "-w"]),
        one_of(&["", "", "-v"]),
        one_of(&["", "", "-m1", "-m2", "-m3"]),
        one_of(&["", "", "-A1", "-A2", "-B1", "-C1", "-C3"]),
        one_of(&[
            "",
            "",
            "",
            "-i",
            "--multiline-dotall",
            "--no-unicode",
            "-r<$0>",
        ]),
    )
        .prop_map(|(bytes, span, ends, sides, invert, most, context, more)| {
            let all = [bytes, span, ends, sides, invert, most, context, more];
            all.into_iter().filter(|flag| !flag.is_empty()).collect()
        })
}

/// Pieces of patterns, few letters, so that something matches.
fn patterns() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[ab]".prop_map(String::from),
        6 => one_of(&[".", r"\s", r"\b", "^", "$", "*", "+", "[^a]", r"\x00?", r"\r", r"(?s:.)"])
            .prop_map(String::from),
        2 => one_of(&["|", "(?-m:^)", "(?-m:$)", r"\A", r"\z", r"\n?", r"\W", "é?"])
            .prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn contents() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => "[abA]{1,3}".prop_map(String::into_bytes),
        6 => one_of(&["\n", "\n", "\r\n", "\r", " ", "\n\n"]).prop_map(Into::into),
        1 => one_of(&["\0", "\0\0", "a\0b", "\0\n", "é"]).prop_map(Into::into),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Some small files, and at times one that is longer than ripgrep's buffer. That is the last, because a line
/// longer than the buffer makes ripgrep read further ahead in each later file.
fn files() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let large = (contents(), contents(), 60_000_usize..140_000).prop_map(|(text, end, size)| {
        let mut bytes = Vec::new();
        while bytes.len() < size && !text.is_empty() {
            bytes.extend_from_slice(&text);
        }
        bytes.extend(end);
        bytes
    });
    let last = prop_oneof![15 => Just(None), 1 => large.prop_map(Some)];
    (prop::collection::vec(contents(), 1..8), last).prop_map(|(mut files, last)| {
        files.extend(last);
        files
    })
}

/// Reads a few bytes at a time, then more and more.
struct Slowly<'a>(&'a [u8], usize);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.1);
        self.1 = self.1 * 3 / 2 + 1;
        self.0.read(&mut buffer[..length])
    }
}

/// How a file can be given to a scanner.
#[derive(Debug, Clone, Copy)]
enum Way {
    Slice,
    Stream,
    Parts,
}

impl Way {
    /// Scans a file; whether it has a result.
    fn scan(self, scanner: &mut Scanner, bytes: &[u8], out: &mut Matches) -> bool {
        let hit = match self {
            Self::Slice => scanner.scan_slice(bytes, false, out),
            Self::Stream => scanner.scan_reader(Slowly(bytes, 1), false, out),
            Self::Parts => scan_in_parts(scanner, bytes, 20).map(|joined| {
                *out = joined;
                out.matched_lines > 0
            }),
        };
        hit.expect("no limit is met")
    }
}

/// A scanner for flags, what it wants, and the ways in which it can be used; none when ripgrep refuses them, too.
///
/// Where a line begins in the middle of a character, what is found depends on where the buffer is cut, and parts are cut
/// elsewhere: see [`splittable`].
fn scanner(
    flags: &[&str],
    pattern: &str,
    files: &[Vec<u8>],
) -> Option<(Scanner, Want, &'static [Way])> {
    let (pattern, search) = specs(flags, pattern);
    let compiled = Pattern::compile(&pattern).ok()?;
    let scanner = Scanner::new(&compiled, &search, Arc::new(AtomicBool::new(false))).ok()?;
    let ways: &[Way] = if splittable(&pattern, &search)
        && files.iter().all(|bytes| str::from_utf8(bytes).is_ok())
    {
        &[Way::Slice, Way::Stream, Way::Parts]
    } else {
        &[Way::Slice, Way::Stream]
    };
    Some((scanner, search.want, ways))
}

fn path(number: usize) -> String {
    format!("./{number}")
}

/// Whether ripgrep has panicked, so that no result is expected. With -U and -m it cuts the last record short, and panics when a
/// submatch ends behind it; and with -v and context, too, it loses its place.
fn panics(theirs: &Output, flags: &[&str]) -> bool {
    let has = |start: &str| flags.iter().any(|flag| flag.starts_with(start));
    theirs.status.code() == Some(101) && has("-U") && has("-m")
}

fn json_is_ripgreps(
    dir: &Path,
    flags: &[&str],
    pattern: &str,
    files: &[Vec<u8>],
) -> Result<(), TestCaseError> {
    let flags = [flags, &["--json"]].concat();
    let theirs = run_ripgrep(dir, &flags, pattern);
    let Some((mut scanner, _, ways)) = scanner(&flags, pattern, files) else {
        prop_assert_eq!(
            theirs.status.code(),
            Some(2),
            "rg {:?} {:?}",
            flags,
            pattern
        );
        return Ok(());
    };
    if panics(&theirs, &flags) {
        return Ok(());
    }
    prop_assert!(matches!(theirs.status.code(), Some(0 | 1)), "{:?}", theirs);
    let expected = found_by_ripgrep(&theirs.stdout);
    for way in ways {
        let mut found = Vec::new();
        for (number, bytes) in files.iter().enumerate() {
            let mut out = Matches::new();
            if way.scan(&mut scanner, bytes, &mut out) {
                found.push(found_here(&path(number), &out));
            }
        }
        for (ours, theirs) in found.iter().zip(&expected) {
            prop_assert!(
                ours == theirs,
                "rg {:?} {:?} ({:?})\nours {}\nrg's {}",
                flags,
                pattern,
                way,
                brief(ours),
                brief(theirs)
            );
        }
        prop_assert_eq!(
            found.len(),
            expected.len(),
            "rg {:?} {:?} ({:?})",
            flags,
            pattern,
            way
        );
    }
    Ok(())
}

/// What of a result a failure shows.
fn brief(found: &Found) -> String {
    let mut text = format!("{found:?}");
    text.truncate(3000);
    text
}

fn counts_are_ripgreps(
    dir: &Path,
    flags: &[&str],
    pattern: &str,
    files: &[Vec<u8>],
) -> Result<(), TestCaseError> {
    for want in ["-c", "--count-matches", "-l", "--files-without-match"] {
        let flags = [flags, &[want, "-H"]].concat();
        let Some((mut scanner, want, ways)) = scanner(&flags, pattern, files) else {
            return Ok(());
        };
        let theirs = run_ripgrep(dir, &flags, pattern);
        if panics(&theirs, &flags) {
            continue;
        }
        let end = [scanner.line_terminator()];
        let end = if flags.contains(&"--crlf") {
            "\r\n"
        } else {
            std::str::from_utf8(&end).expect("ASCII")
        };
        for way in ways {
            let mut said = String::new();
            for (number, bytes) in files.iter().enumerate() {
                let mut out = Matches::new();
                if way.scan(&mut scanner, bytes, &mut out) {
                    said += &path(number);
                    match want {
                        Want::CountLines => write!(said, ":{}", out.matched_lines),
                        Want::CountMatches => write!(said, ":{}", out.matches),
                        _ => Ok(()),
                    }
                    .expect("memory does not fail");
                    said += end;
                }
            }
            let theirs = String::from_utf8_lossy(&theirs.stdout);
            prop_assert_eq!(&*said, &*theirs, "rg {:?} {:?} ({:?})", flags, pattern, way);
        }
    }
    Ok(())
}

fn config(cases: u32) -> Config {
    let default = Config::default();
    Config {
        cases: default.cases.min(cases).max(default.cases / 256 * cases),
        failure_persistence: None,
        ..default
    }
}

fn is_ripgreps(flags: &[&str], pattern: &str, files: &[Vec<u8>]) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (number, bytes) in files.iter().enumerate() {
        std::fs::write(dir.path().join(path(number)), bytes).expect("it can be written");
    }
    json_is_ripgreps(dir.path(), flags, pattern, files)?;
    counts_are_ripgreps(dir.path(), flags, pattern, files)
}

/// What random searches have found, or would find too rarely.
#[test]
fn corners_are_ripgreps() {
    let large = |line: &[u8], count: usize| [&line.repeat(count), &b"end"[..]].concat();
    let corners: &[(&[&str], &str, &[u8])] = &[
        // A scan that ends early: how much of the file it has searched, and the context behind its last match.
        (&["-a", "-v", "-m1"], "a", b"\na"),
        (&["-a", "-v", "-m2"], "a", &large(b"b\nb\na\n", 20_000)),
        (&["-uuu", "-v", "-m2", "-C3"], r"\z", b"a\nA\n\r"),
        (&["-uuu", "-m1", "-A2"], "a", b"a\nb\na\nb\na"),
        (&["-uuu", "--crlf", "-v", "-m1", "-A1"], "a", b"b\r\na\r\nb"),
        (
            &["-uuu", "--crlf", "-v", "-m1", "-A3"],
            "a",
            b"b\r\nb\r\nb\r\nb",
        ),
        // Anchors of the text, in the last line and in the line buffer.
        (&["-uuu", "-U"], r"\Aa", b"a\nb\na"),
        (&["-uuu", "-U"], r"\Aa|b\z", b"b\nb\na"),
        (&["-uuu", "-U"], r"\Aa|b\z", &large(b"b\na\n", 40_000)),
        (&["-uuu"], r"\Aa|b\z", &large(b"b\na\n", 40_000)),
        // Anchors in lines that NUL ends.
        (&["--null-data", "-U"], "^a$", b"a\nb\0a\0\na\0a"),
        (&["--null-data", "-x"], "a", b"a\nb\0a\0\na\0a"),
        (&["--null-data", "-x", "-U"], "a", b"a\nb\0a\0\na\0a"),
        (&["--null-data", "-x"], "a", &large(b"a\0b\na\0", 30_000)),
        (&["--null-data", "-C1"], "^a$", b"a\nb\0b\0a\0\na\0a"),
        (
            &["--null-data", "-U", "-B2"],
            r"a\x00",
            b"a\nb\0b\0a\0\na\0a",
        ),
        // A character begins before its line, as the regex engine sees it.
        (&["-uuu", "-w"], "", b"a\n\x80"),
        (&["-uuu"], r"a\b|\b", b"a\n\x80"),
        (&["-uuu", "-w"], "", b"aaa\na\n\x80\n\x80\n"),
        (&["-uuu"], r"\B", &large(b"a\n\x80\n\x80\x80a\n", 20_000)),
        // Behind the limit of -m, -U -v takes lines that match for such that do not.
        (&["-uuu", "-U", "-v", "-m1"], "[^a]", b"\nAb"),
    ];
    for (flags, pattern, bytes) in corners {
        if let Err(error) = is_ripgreps(flags, pattern, &[bytes.to_vec()]) {
            panic!("{error}");
        }
    }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn random_searches_are_ripgreps(flags in flags(), pattern in patterns(), files in files()) {
        is_ripgreps(&flags, &pattern, &files)?;
    }
}
