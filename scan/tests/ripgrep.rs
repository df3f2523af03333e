//! The same bytes, patterns and flags as ripgrep: the same lines, submatches, context,
//! counts and binary files.

mod common;
#[path = "common/corpus.rs"]
mod haystacks;

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use regexctl_scan::{
    BinaryEnd, KIND_BREAK, KIND_MATCH, Matches, Pattern, PatternError, Scanner, SearchSpec,
    SpecError, Want, needs_transcoding, splittable,
};

use common::found::{Found, found_by_ripgrep, found_here, show};
use common::{run_ripgrep, scan_in_parts, specs};
use haystacks::corpus;

const PATTERNS: &[&str] = &[
    "Sherlock",
    "",
    "^$",
    "foo",
    r"\bfoo\b",
    r"\w+\s+\w+",
    "(?P<first>[A-Za-z]+)lock( |$)",
    "nothing here matches",
    "a*",
    r"[^\n]*\r?$",
    r"start(?s:.*?)end",
    "δ|s|k",
    r"-2",
    r"(?m)^.$",
    r"\Afoo|last\z",
    r"\x00",
    r"foo\n",
    "(unclosed",
    r"(?-u)\xE9",
    r"line 1\d{3} ",
];

const FLAGS: &[&[&str]] = &[
    &["-uuu"],
    &["-uu"],
    &["-a"],
    &["-uuu", "-i"],
    &["-uuu", "-S"],
    &["-uuu", "-F"],
    &["-uuu", "-F", "-i", "-w"],
    &["-uuu", "-w"],
    &["-uuu", "-x"],
    &["-uuu", "-v"],
    &["-a", "-v", "-C1"],
    &["-uuu", "-A2"],
    &["-uuu", "-B2"],
    &["-uu", "-C3"],
    &["-uuu", "-C1", "-v"],
    &["-uuu", "-m1"],
    &["-uuu", "-m2", "-A2"],
    &["-uuu", "-m0"],
    &["-uuu", "-m3", "-v"],
    &["-uuu", "-U"],
    &["-uu", "-U"],
    &["-a", "-U"],
    &["-uuu", "-U", "-m2"],
    &["-uuu", "-U", "--multiline-dotall"],
    &["-uuu", "-U", "-C1"],
    &["-uuu", "-U", "-v"],
    &["-uuu", "-U", "--crlf"],
    &["-uuu", "--crlf"],
    &["-uuu", "--crlf", "-x"],
    &["-uuu", "--crlf", "-v"],
    &["--null-data"],
    &["--null-data", "-x"],
    &["-uuu", "--null-data", "-C1"],
    &["-uuu", "--no-unicode", "-i"],
    &["-uuu", "-Enone"],
    &["-uuu", "-Elatin1"],
    &["-uu", "-Eutf-16le"],
    &["-uuu", "-r<$first$0>"],
    &["-uuu", "-U", "-r<$first$0>"],
    &["-uuu", "-v", "-C1", "-r[$1]"],
];

/// The sets of flags and the patterns to try together, numbered: all patterns with the first set,
/// and with each other every fourth; all with the variable `REGEXCTL_TEST_ALL`.
fn cases() -> impl Iterator<Item = (usize, &'static [&'static str], &'static str)> {
    FLAGS.iter().enumerate().flat_map(move |(set, flags)| {
        PATTERNS
            .iter()
            .enumerate()
            .filter(move |(pattern, _)| all() || set == 0 || (set + pattern) % 4 == 0)
            .map(move |(pattern, text)| (set + pattern / 4, *flags, *text))
    })
}

fn all() -> bool {
    std::env::var_os("REGEXCTL_TEST_ALL").is_some()
}

#[derive(Debug)]
enum Refusal {
    Pattern(PatternError),
    Search(SpecError),
}

fn scanner(flags: &[&str], pattern: &str) -> Result<(Scanner, SearchSpec, bool), Refusal> {
    let (pattern_spec, search_spec) = specs(flags, pattern);
    let compiled = Pattern::compile(&pattern_spec).map_err(Refusal::Pattern)?;
    let cancel = Arc::new(AtomicBool::new(false));
    let scanner = Scanner::new(&compiled, &search_spec, cancel).map_err(Refusal::Search)?;
    let splits = splittable(&pattern_spec, &search_spec);
    Ok((scanner, search_spec, splits))
}

#[test]
fn json_is_that_of_ripgrep() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = corpus(dir.path());
    for (_, flags, pattern) in cases() {
        let flags: Vec<&str> = flags.iter().copied().chain(["--json"]).collect();
        let context = format!("rg {flags:?} {pattern:?}");
        // They match before each byte, which is much JSON for large files.
        let dense = matches!(pattern, "" | "a*");
        let small = ["--max-filesize=20K"].into_iter().filter(|_| dense);
        let with_size: Vec<&str> = flags.iter().copied().chain(small).collect();
        let output = run_ripgrep(dir.path(), &with_size, pattern);
        let (mut scanner, _, splits) = match scanner(&flags, pattern) {
            Ok(scanner) => scanner,
            // ripgrep does not look at the pattern then.
            Err(_) if flags.contains(&"-m0") => continue,
            Err(refusal) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(2), "{context}: {refusal:?}");
                check_refusal(&refusal, &said, &context);
                continue;
            }
        };
        // A submatch may end behind its record: with -U and -m the last record is cut short. Then
        // ripgrep panics, and no result is expected of it.
        if output.status.code() == Some(101) {
            assert!(flags.contains(&"-U") && flags.contains(&"-m2"), "{context}");
            continue;
        }
        let expected = found_by_ripgrep(&output.stdout);
        assert_ne!(output.status.code(), Some(2), "{context}: {output:?}");
        let (mut sliced, mut streamed, mut split) = (Vec::new(), Vec::new(), Vec::new());
        let fits = |bytes: &[u8]| !dense || bytes.len() <= 20 << 10;
        for (path, bytes) in files.iter().filter(|(_, bytes)| fits(bytes)) {
            let path = path.to_str().expect("names are ASCII");
            let mut out = Matches::new();
            if scanner
                .scan_slice(bytes, false, &mut out)
                .expect("no limit is met")
            {
                sliced.push(found_here(path, &out));
            }
            let slow = std::io::BufReader::with_capacity(1000, &bytes[..]);
            out.clear();
            let hit = scanner.scan_reader(slow, false, &mut out);
            if hit.expect("memory does not fail") {
                streamed.push(found_here(path, &out));
            }
            let transcodes = needs_transcoding(bytes) && !flags.contains(&"-Enone");
            if splits && transcodes {
                // Such a file is scanned whole.
                split.extend(sliced.last().filter(|last| last.path == path).cloned());
            } else if splits {
                let out = scan_in_parts(&mut scanner, bytes, 3000).expect("splittable");
                if out.matched_lines > 0 {
                    split.push(found_here(path, &out));
                }
            }
        }
        compare(&context, "slice", &sliced, &expected);
        compare(&context, "stream", &streamed, &expected);
        if splits {
            compare(&context, "parts", &split, &expected);
        }
    }
}

fn compare(context: &str, how: &str, got: &[Found], expected: &[Found]) {
    let paths = |list: &[Found]| list.iter().map(|f| f.path.clone()).collect::<Vec<_>>();
    assert_eq!(paths(got), paths(expected), "{context} ({how}): files");
    for (got, file) in got.iter().zip(expected) {
        for (record, other) in got.records.iter().zip(&file.records) {
            assert_eq!(record, other, "{context} ({how}): {}", got.path);
        }
        let rest = |f: &Found| {
            (
                f.records.len(),
                f.binary_offset,
                f.matched_lines,
                f.matches,
                f.bytes_searched,
            )
        };
        assert_eq!(rest(got), rest(file), "{context} ({how}): {}", got.path);
    }
}

fn check_refusal(refusal: &Refusal, said: &str, context: &str) {
    match refusal {
        Refusal::Pattern(PatternError::Syntax(message)) => {
            assert_eq!(format!("rg: {message}\n"), said, "{context}");
        }
        Refusal::Pattern(PatternError::LineTerminator(literal)) => {
            let words = format!("the literal {literal:?} is not allowed in a regex");
            assert!(said.contains(&words), "{context}: {said}");
        }
        Refusal::Search(SpecError::NulNeverMatches) => {
            assert!(said.contains("impossible to match"), "{context}: {said}");
        }
        other => panic!("{context}: {other:?}, ripgrep: {said}"),
    }
}

/// ripgrep's standard output for what was found, with line numbers and offsets.
fn print(
    path: &str,
    out: &Matches,
    want: Want,
    term: &[u8],
    printed: &mut Vec<u8>,
) -> io::Result<()> {
    match want {
        Want::CountLines => write!(printed, "{path}:{}", out.matched_lines)?,
        Want::CountMatches => write!(printed, "{path}:{}", out.matches)?,
        Want::FilesWithMatch | Want::FilesWithoutMatch => write!(printed, "{path}")?,
        Want::Lines => return print_lines(path, out, term, printed),
    }
    printed.write_all(term)
}

fn print_lines(path: &str, out: &Matches, term: &[u8], printed: &mut Vec<u8>) -> io::Result<()> {
    let mut text = &out.text[..];
    for (i, &length) in out.lengths.iter().enumerate() {
        let kind = out.kinds.get(i).copied().unwrap_or(KIND_MATCH);
        let (record, rest) = text.split_at(length as usize);
        text = rest;
        if kind == KIND_BREAK {
            printed.extend(b"--");
            printed.extend(term);
            continue;
        }
        let sep = if kind == KIND_MATCH { ':' } else { '-' };
        let (mut number, mut offset) = (out.line_numbers[i], out.offsets[i]);
        for line in record.split_inclusive(|b| Some(b) == term.last()) {
            write!(printed, "{path}{sep}{number}{sep}{offset}{sep}")?;
            printed.extend(line);
            if line.last() != term.last() {
                printed.extend(term);
            }
            number += 1;
            offset += line.len() as u64;
        }
    }
    let nul = r#"found "\0" byte around offset"#;
    let offset = out.binary_offset.unwrap_or(0);
    match out.binary_end {
        BinaryEnd::None => Ok(()),
        BinaryEnd::Matched => {
            writeln!(printed, "{path}: binary file matches ({nul} {offset})")
        }
        BinaryEnd::Skipped => writeln!(
            printed,
            "{path}: WARNING: stopped searching binary file after match ({nul} {offset})"
        ),
    }
}

#[test]
fn text_and_summaries_are_those_of_ripgrep() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = corpus(dir.path());
    // Lines for each case, and one of the others, or all.
    let wants: &[&[&str]] = &[
        &["-n", "-b", "-H", "--no-heading"],
        &["-H", "-c"],
        &["-H", "--count-matches"],
        &["-l"],
        &["--files-without-match"],
    ];
    // Replacements are printed in place, which is the printer's work.
    for (number, flags, pattern) in cases() {
        if flags.iter().any(|flag| flag.starts_with("-r")) {
            continue;
        }
        for (i, want) in wants.iter().enumerate() {
            if !all() && i > 0 && i != 1 + number % 4 {
                continue;
            }
            let flags: Vec<&str> = flags.iter().chain(*want).copied().collect();
            if let Ok((mut scanner, spec, _)) = scanner(&flags, pattern) {
                check_text(dir.path(), &flags, pattern, &mut scanner, &spec, &files);
            }
        }
    }
}

fn check_text(
    dir: &std::path::Path,
    flags: &[&str],
    pattern: &str,
    scanner: &mut Scanner,
    spec: &SearchSpec,
    files: &[(std::path::PathBuf, Vec<u8>)],
) {
    let output = run_ripgrep(dir, flags, pattern);
    let mut printed = Vec::new();
    for (path, bytes) in files {
        let mut out = Matches::new();
        if scanner
            .scan_slice(bytes, false, &mut out)
            .expect("no limit is met")
        {
            let byte = [scanner.line_terminator()];
            let term = if flags.contains(&"--crlf") {
                b"\r\n"
            } else {
                &byte[..]
            };
            // ripgrep puts a break between files with context, too.
            let context = spec.want == Want::Lines && spec.before_context + spec.after_context > 0;
            if context && !printed.is_empty() && !out.lengths.is_empty() {
                printed.extend(b"--");
                printed.extend(term);
            }
            let path = path.to_str().expect("names are ASCII");
            print(path, &out, spec.want, term, &mut printed).expect("memory does not fail");
        }
    }
    if printed != output.stdout {
        let lines = |text: &[u8]| text.split(|&b| b == b'\n').map(show).collect::<Vec<_>>();
        let (got, expected) = (lines(&printed), lines(&output.stdout));
        let differ = got.iter().zip(&expected).find(|(g, e)| g != e);
        let (g, e) = (got.len(), expected.len());
        panic!("rg {flags:?} {pattern:?}: {differ:?}, lines {g} and {e}");
    }
}
