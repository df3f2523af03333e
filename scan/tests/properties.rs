//! Properties on random text: against the `regex` crate line by line, and parts against the whole.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use regexctl_scan::{
    Binary, Matches, Pattern, PatternSpec, Scanner, SearchSpec, StreamScan, Want, splittable,
};

fn scanner(pattern: &str, search: &SearchSpec) -> Scanner {
    let spec = PatternSpec {
        patterns: vec![pattern.to_owned()],
        ..PatternSpec::default()
    };
    assert!(splittable(&spec, search));
    let pattern = Pattern::compile(&spec).expect("a good pattern");
    let cancel = Arc::new(AtomicBool::new(false));
    Scanner::new(&pattern, search, cancel).expect("a good search")
}

fn patterns() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a",
        "",
        "^",
        "$",
        "^$",
        "b*",
        "a.c",
        r"\bab?\b",
        r"[ab]+\s",
        r"(a|bb)+c?$",
        "é",
        r"\B",
    ])
}

fn text() -> impl Strategy<Value = String> {
    proptest::string::string_regex("([abcé ]{0,6}\n){0,30}[abc]{0,4}").expect("a good expression")
}

fn all_columns(binary: Binary) -> SearchSpec {
    SearchSpec {
        submatches: true,
        line_numbers: true,
        offsets: true,
        binary,
        ..SearchSpec::default()
    }
}

fn narrow(size: usize) -> u32 {
    u32::try_from(size).expect("the texts are small")
}

/// Adds a part, before which there are `lines` lines.
fn append(joined: &mut Matches, part: Matches, lines: u64) {
    joined
        .line_numbers
        .extend(part.line_numbers.iter().map(|n| n + lines));
    joined.offsets.extend(part.offsets);
    joined.lengths.extend(part.lengths);
    joined.text.extend(part.text);
    joined.submatch_counts.extend(part.submatch_counts);
    joined.submatch_starts.extend(part.submatch_starts);
    joined.submatch_ends.extend(part.submatch_ends);
    joined.matched_lines += part.matched_lines;
    joined.matches += part.matches;
    joined.bytes_searched += part.bytes_searched;
    joined.binary_offset = joined.binary_offset.or(part.binary_offset);
}

/// Scans the parts that end behind the given lines, and joins them.
fn join(scanner: &mut Scanner, text: &[u8], cuts: &[bool], budget: u64) -> (Matches, u64) {
    let mut joined = Matches::new();
    let (mut start, mut lines, mut line) = (0, 0, 0);
    let mut end = 0;
    while end < text.len() {
        let rest = text[end..].iter().position(|&b| b == b'\n');
        end = rest.map_or(text.len(), |i| end + i + 1);
        line += 1;
        if end < text.len() && !cuts[line % cuts.len()] {
            continue;
        }
        while start < end {
            let mut part = Matches::new();
            let scan = scanner
                .scan_part(&text[start..end], start as u64, budget, &mut part)
                .expect("no limit is met");
            assert_eq!(part.bytes_searched, scan.consumed as u64);
            assert_eq!(scan.hit, part.matched_lines > 0);
            append(&mut joined, part, lines);
            lines += scan.lines;
            start += scan.consumed;
        }
    }
    (joined, lines)
}

proptest! {
    #[test]
    fn lines_and_submatches_are_those_of_the_regex_crate(pattern in patterns(), text in text()) {
        let mut scanner = scanner(pattern, &all_columns(Binary::Search));
        let mut out = Matches::new();
        let hit = scanner.scan_slice(text.as_bytes(), false, &mut out).expect("no limit is met");
        let oracle = regex::bytes::Regex::new(pattern).expect("a good pattern");
        let mut expected = Matches::new();
        let mut offset = 0;
        for (i, line) in text.split_inclusive('\n').enumerate() {
            let bare = line.strip_suffix('\n').unwrap_or(line).as_bytes();
            if oracle.is_match(bare) {
                expected.line_numbers.push(i as u64 + 1);
                expected.offsets.push(offset);
                expected.lengths.push(narrow(line.len()));
                expected.text.extend(line.as_bytes());
                // An empty match behind an unterminated last line is not one, as in ripgrep.
                let spans: Vec<_> = oracle
                    .find_iter(bare)
                    .filter(|m| m.start() < line.len())
                    .collect();
                expected.submatch_counts.push(narrow(spans.len()));
                expected.submatch_starts.extend(spans.iter().map(|m| narrow(m.start())));
                expected.submatch_ends.extend(spans.iter().map(|m| narrow(m.end())));
                expected.matches += spans.len() as u64;
                expected.matched_lines += 1;
            }
            offset += line.len() as u64;
        }
        expected.bytes_searched = text.len() as u64;
        prop_assert_eq!(hit, expected.matched_lines > 0);
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn parts_joined_are_the_whole(
        pattern in patterns(),
        text in text(),
        cuts in prop::collection::vec(any::<bool>(), 1..20),
        budget in 0_u64..500,
        invert in any::<bool>(),
    ) {
        let search = SearchSpec { invert, ..all_columns(Binary::Text) };
        let mut scanner = scanner(pattern, &search);
        let (joined, lines) = join(&mut scanner, text.as_bytes(), &cuts, budget);
        let mut whole = Matches::new();
        scanner.scan_slice(text.as_bytes(), false, &mut whole).expect("no limit is met");
        prop_assert_eq!(joined, whole);
        prop_assert_eq!(lines, text.bytes().filter(|&b| b == b'\n').count() as u64);
    }

    #[test]
    fn parts_of_a_binary_file_are_the_whole(
        pattern in patterns(),
        bytes in prop::collection::vec(prop::sample::select(b"ab \n\0".to_vec()), 0..300),
        cuts in prop::collection::vec(any::<bool>(), 1..20),
        budget in 0_u64..500,
        want in prop::sample::select(vec![Want::Lines, Want::CountLines, Want::CountMatches]),
    ) {
        let search = SearchSpec { want, ..all_columns(Binary::Report) };
        let mut scanner = scanner(pattern, &search);
        let (joined, _) = join(&mut scanner, &bytes, &cuts, budget);
        let mut whole = Matches::new();
        scanner.scan_slice(&bytes, false, &mut whole).expect("no limit is met");
        if whole.matched_lines > 0 {
            prop_assert_eq!(joined, whole);
        } else {
            prop_assert_eq!(joined.matched_lines, 0);
        }
    }

    #[test]
    fn a_beginning_and_the_part_behind_it_are_the_whole(
        pattern in patterns(),
        bytes in prop::collection::vec(prop::sample::select(b"aabbbc  \n\n\0".to_vec()), 0..300),
        binary in prop::sample::select(vec![Binary::Report, Binary::Text]),
        budget in 0_u64..500,
        chunk in 1_usize..50,
        invert in any::<bool>(),
    ) {
        let search = SearchSpec { invert, ..all_columns(binary) };
        let mut scanner = scanner(pattern, &search);
        let (mut whole, mut joined) = (Matches::new(), Matches::new());
        let hit = scanner.scan_slice(&bytes, false, &mut whole).expect("no limit is met");
        let reader = std::io::BufReader::with_capacity(chunk, &bytes[..]);
        let beginning = scanner.scan_beginning(reader, false, budget, &mut joined);
        match beginning.expect("no limit is met") {
            StreamScan::Whole { hit: same } => prop_assert_eq!(hit, same),
            StreamScan::Stopped { offset, lines } => {
                prop_assert!(joined.cost() > budget);
                prop_assert_eq!(joined.bytes_searched, offset);
                let rest = &bytes[usize::try_from(offset).expect("a small text")..];
                let mut part = Matches::new();
                scanner.scan_part(rest, offset, u64::MAX, &mut part).expect("no limit is met");
                append(&mut joined, part, lines);
            }
        }
        prop_assert_eq!(joined, whole);
    }

    #[test]
    fn a_stream_is_scanned_as_a_slice_is(
        pattern in patterns(),
        bytes in prop::collection::vec(prop::sample::select(b"ab \n\0".to_vec()), 0..300),
        chunk in 1_usize..50,
        binary in prop::sample::select(vec![Binary::Search, Binary::Skip, Binary::Text]),
        named in any::<bool>(),
        context in 0_usize..3,
    ) {
        let search = SearchSpec {
            before_context: context,
            after_context: context,
            ..all_columns(binary)
        };
        let spec = PatternSpec { patterns: vec![pattern.into()], ..PatternSpec::default() };
        let compiled = Pattern::compile(&spec).expect("a good pattern");
        let cancel = Arc::new(AtomicBool::new(false));
        let mut scanner = Scanner::new(&compiled, &search, cancel).expect("a good search");
        let (mut sliced, mut streamed) = (Matches::new(), Matches::new());
        let hit = scanner.scan_slice(&bytes, named, &mut sliced).expect("no limit is met");
        let reader = std::io::BufReader::with_capacity(chunk, &bytes[..]);
        let same = scanner.scan_reader(reader, named, &mut streamed).expect("no limit is met");
        prop_assert_eq!(hit, same);
        prop_assert_eq!(sliced, streamed);
    }

    #[test]
    fn no_pattern_panics(pattern in ".{0,40}", word in any::<bool>(), multi_line in any::<bool>()) {
        let spec = PatternSpec {
            patterns: vec![pattern],
            word,
            multi_line,
            ..PatternSpec::default()
        };
        if let Ok(pattern) = Pattern::compile(&spec) {
            let cancel = Arc::new(AtomicBool::new(false));
            if let Ok(mut scanner) = Scanner::new(&pattern, &SearchSpec::default(), cancel) {
                let scanned = scanner.scan_slice(b"some\nlines\n", false, &mut Matches::new());
                prop_assert!(scanned.is_ok());
            }
        }
    }
}

/// More than the line buffer holds: a scan that ends at its budget must not go on with the next filling of it.
#[test]
fn parts_end_at_their_budget_wherever_it_is() {
    let mut bytes = Vec::new();
    for i in 0..20_000 {
        bytes.extend_from_slice(format!("line {i}\n").as_bytes());
        if i == 17_000 {
            bytes.push(0);
        }
    }
    for (invert, pattern) in [(false, "line"), (true, "none"), (true, "77")] {
        let search = SearchSpec {
            invert,
            ..all_columns(Binary::Report)
        };
        let mut scanner = scanner(pattern, &search);
        let mut whole = Matches::new();
        let hit = scanner.scan_slice(&bytes, false, &mut whole);
        assert!(hit.expect("no limit is met"));
        for budget in [0, 10_000, 1_000_000] {
            let (joined, _) = join(&mut scanner, &bytes, &[false], budget);
            assert!(joined == whole, "{pattern} {invert} {budget}");
            let mut joined = Matches::new();
            let scan = scanner.scan_beginning(&bytes[..], false, budget, &mut joined);
            let StreamScan::Stopped { offset, lines } = scan.expect("no limit is met") else {
                assert!(joined == whole, "{pattern} {invert} {budget}");
                continue;
            };
            let rest = &bytes[usize::try_from(offset).expect("a small text")..];
            let mut part = Matches::new();
            let scan = scanner.scan_part(rest, offset, u64::MAX, &mut part);
            scan.expect("no limit is met");
            append(&mut joined, part, lines);
            assert!(
                joined == whole,
                "{pattern} {invert} {budget}, from a beginning"
            );
        }
    }
}
