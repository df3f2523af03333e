//! What matching costs a file: `cargo bench -p regexctl-scan`.
//!
//! One file of 1.5 KB, as in the corpus of many small files, scanned again and again; and 1 MiB for what
//! a byte costs. Beside each pattern, the `regex` crate on the same bytes, which knows nothing of
//! lines, and `memchr` for one NUL, which each file must be searched for.

use std::sync::Arc;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use regexctl_scan::{Matches, Pattern, PatternSpec, Scanner, SearchSpec, Want};

/// Selective, none in the text; a literal inside; no literal; a match; each line matches.
const PATTERNS: [&str; 5] = [
    "PM_RESUME",
    "[A-Z]+_SUSPEND",
    r"\w{5}\s+\w{30}\s+\w{5}",
    "counter 7 ",
    "",
];

const SIZES: [usize; 2] = [1536, 1 << 20];

fn text(size: usize) -> Vec<u8> {
    let line = |i: usize| format!("static int field_{i} = value; /* counter {i} */\n");
    let mut text: Vec<u8> = (0..)
        .flat_map(|i| line(i).into_bytes())
        .take(size)
        .collect();
    text.pop();
    text.push(b'\n');
    text
}

fn scanner(pattern: &str, search: &SearchSpec) -> Scanner {
    let spec = PatternSpec {
        patterns: vec![pattern.to_owned()],
        ..PatternSpec::default()
    };
    let pattern = Pattern::compile(&spec).expect("a good pattern");
    Scanner::new(&pattern, search, Arc::default()).expect("a good search")
}

fn scan(bencher: Bencher<'_, '_>, search: &SearchSpec, pattern: &str, size: usize) {
    let (text, mut scanner) = (text(size), scanner(pattern, search));
    let mut out = Matches::new();
    bencher
        .counter(BytesCount::of_slice(&text))
        .bench_local(|| {
            out.clear();
            scanner
                .scan_slice(black_box(&text), false, &mut out)
                .expect("no limit is met")
        });
}

#[divan::bench(args = PATTERNS, consts = SIZES)]
fn lines<const SIZE: usize>(bencher: Bencher<'_, '_>, pattern: &str) {
    let search = SearchSpec {
        line_numbers: true,
        ..SearchSpec::default()
    };
    scan(bencher, &search, pattern, SIZE);
}

#[divan::bench(args = PATTERNS, consts = SIZES)]
fn count<const SIZE: usize>(bencher: Bencher<'_, '_>, pattern: &str) {
    let search = SearchSpec {
        want: Want::CountLines,
        ..SearchSpec::default()
    };
    scan(bencher, &search, pattern, SIZE);
}

#[divan::bench(args = PATTERNS, consts = SIZES)]
fn submatches<const SIZE: usize>(bencher: Bencher<'_, '_>, pattern: &str) {
    let search = SearchSpec {
        line_numbers: true,
        offsets: true,
        submatches: true,
        ..SearchSpec::default()
    };
    scan(bencher, &search, pattern, SIZE);
}

/// A file with a NUL at its end goes through the line buffer.
#[divan::bench(args = PATTERNS)]
fn binary(bencher: Bencher<'_, '_>, pattern: &str) {
    let (mut text, mut scanner) = (text(1536), scanner(pattern, &SearchSpec::default()));
    text.push(0);
    let mut out = Matches::new();
    bencher
        .counter(BytesCount::of_slice(&text))
        .bench_local(|| {
            out.clear();
            scanner
                .scan_slice(black_box(&text), false, &mut out)
                .expect("no limit is met")
        });
}

#[divan::bench(args = PATTERNS, consts = SIZES)]
fn bare_regex<const SIZE: usize>(bencher: Bencher<'_, '_>, pattern: &str) {
    let text = text(SIZE);
    let regex = regex::bytes::Regex::new(pattern).expect("a good pattern");
    bencher
        .counter(BytesCount::of_slice(&text))
        .bench_local(|| regex.find_iter(black_box(&text)).count());
}

#[divan::bench(consts = SIZES)]
fn bare_memchr<const SIZE: usize>(bencher: Bencher<'_, '_>) {
    let text = text(SIZE);
    bencher
        .counter(BytesCount::of_slice(&text))
        .bench_local(|| memchr::memchr(0, black_box(&text)));
}

fn main() {
    divan::main();
}
