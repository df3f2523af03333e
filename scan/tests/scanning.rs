//! Limits, parts of binary files, and what is refused.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use regexctl_scan::{
    Binary, BinaryEnd, CaseMode, Encoding, Limits, Matches, PartScan, Pattern, PatternError,
    PatternSpec, ScanError, Scanner, SearchSpec, SpecError, Want, needs_transcoding, splittable,
};

fn pattern(pattern: &str) -> PatternSpec {
    PatternSpec {
        patterns: vec![pattern.to_owned()],
        ..PatternSpec::default()
    }
}

fn scanner(spec: &PatternSpec, search: &SearchSpec) -> Scanner {
    let compiled = Pattern::compile(spec).expect("a good pattern");
    Scanner::new(&compiled, search, Arc::default()).expect("a good search")
}

fn scan(spec: &PatternSpec, search: &SearchSpec, bytes: &[u8]) -> (bool, Matches) {
    let mut out = Matches::new();
    let hit = scanner(spec, search).scan_slice(bytes, false, &mut out);
    (hit.expect("no limit is met"), out)
}

#[test]
fn no_pattern_matches_nothing_in_each_case_mode() {
    for case in [CaseMode::Sensitive, CaseMode::Insensitive, CaseMode::Smart] {
        let none = PatternSpec {
            case,
            ..PatternSpec::default()
        };
        for want in [Want::Lines, Want::CountLines, Want::FilesWithoutMatch] {
            let search = SearchSpec {
                want,
                ..SearchSpec::default()
            };
            assert_eq!(scan(&none, &search, b"a\n\nb\n"), (false, Matches::new()));
        }
        let search = SearchSpec {
            invert: true,
            ..SearchSpec::default()
        };
        assert_eq!(scan(&none, &search, b"a\n\nb\n").1.matched_lines, 3);
    }
}

#[test]
fn several_patterns_are_alternatives() {
    let spec = PatternSpec {
        patterns: vec!["one".into(), "t.o".into()],
        ..PatternSpec::default()
    };
    let (_, out) = scan(&spec, &SearchSpec::default(), b"one\nthree\ntwo\n");
    assert_eq!(out.text, b"one\ntwo\n");
}

#[test]
fn a_bad_pattern_is_shown_with_a_caret() {
    let error = Pattern::compile(&pattern("a(b")).expect_err("a group is open");
    assert!(matches!(error, PatternError::Syntax(_)));
    let message = error.to_string();
    assert!(message.contains("unclosed group"), "{message}");
    assert!(message.lines().any(|line| line.trim() == "^"), "{message}");
}

#[test]
fn a_line_terminator_needs_multi_line() {
    let mut spec = pattern(r"a\nb");
    let error = Pattern::compile(&spec).expect_err("a match lies in a line");
    assert_eq!(error, PatternError::LineTerminator("\n".into()));
    assert!(error.to_string().contains("-U"), "{error}");
    spec.multi_line = true;
    let (_, out) = scan(&spec, &SearchSpec::default(), b"x\na\nb\nc\n");
    assert_eq!(out.text, b"a\nb\n");
}

#[test]
fn the_limits_of_patterns_hold() {
    let mut spec = pattern("abcde");
    spec.limits.pattern_bytes = 5;
    let too_long = PatternError::TooLong { bytes: 6, limit: 5 };
    assert_eq!(Pattern::compile(&spec).expect_err("6 bytes"), too_long);

    let mut spec = pattern(r"\w{1000}");
    spec.limits.compiled_bytes = 1 << 20;
    let too_large = PatternError::TooLarge { limit: 1 << 20 };
    assert_eq!(Pattern::compile(&spec).expect_err("large"), too_large);

    let spec = pattern(&("(".repeat(5000) + &")".repeat(5000)));
    let error = Pattern::compile(&spec).expect_err("deep");
    assert!(error.to_string().contains("nest"), "{error}");

    // Each doubles what it repeats; none may be expanded before it is measured.
    let bombs = [
        r"((((((((a{0,1000}){0,1000}){0,1000}){0,1000}){0,1000}){0,1000}){0,1000}){0,1000})",
        r"(\pL{1000}\w{1000}){1000}",
        r"(?i)(?:\p{L}|\p{N}|\p{S}){0,500}{500}",
    ];
    for bomb in bombs {
        let started = Instant::now();
        let error = Pattern::compile(&pattern(bomb)).expect_err(bomb);
        assert!(matches!(error, PatternError::TooLarge { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20), "{bomb}");
    }
}

#[test]
fn a_small_dfa_cache_only_costs_time() {
    let mut spec = pattern(r"\w{5}\s+\w{5}");
    spec.limits = Limits {
        dfa_bytes: 1,
        ..Limits::default()
    };
    let (hit, _) = scan(&spec, &SearchSpec::default(), b"alpha gamma\n");
    assert!(hit);
}

#[test]
fn what_cannot_be_done_is_refused() {
    let refused = |spec: &PatternSpec, search: &SearchSpec| {
        let compiled = Pattern::compile(spec).expect("a good pattern");
        Scanner::new(&compiled, search, Arc::default()).err()
    };
    let label = SearchSpec {
        encoding: Encoding::Label("klingon".into()),
        ..SearchSpec::default()
    };
    let unknown = Some(SpecError::UnknownEncoding("klingon".into()));
    assert_eq!(refused(&pattern("a"), &label), unknown);
    let no_line = SearchSpec {
        max_line_bytes: 0,
        ..SearchSpec::default()
    };
    assert_eq!(
        refused(&pattern("a"), &no_line),
        Some(SpecError::NoLineBytes)
    );
    let nul = pattern(r"a\x00b");
    let never = Some(SpecError::NulNeverMatches);
    assert_eq!(refused(&nul, &SearchSpec::default()), never);
    let text = SearchSpec {
        binary: Binary::Text,
        ..SearchSpec::default()
    };
    assert_eq!(scan(&nul, &text, b"xa\0bx\n").1.matched_lines, 1);
    let both = PatternSpec {
        crlf: true,
        null_data: true,
        ..pattern("a")
    };
    let error = Pattern::compile(&both).expect_err("two ends of a line");
    assert_eq!(error, PatternError::LineEnds);
}

#[test]
fn a_line_that_is_too_long_fails_its_file_however_it_is_read() {
    let search = SearchSpec {
        max_line_bytes: 1000,
        ..SearchSpec::default()
    };
    let mut scanner = scanner(&pattern("x"), &search);
    let is_limit = |result: Result<_, ScanError>| match result {
        Ok(_) => false,
        Err(ScanError::LineTooLong { limit: 1000 }) => true,
        Err(other) => panic!("{other}"),
    };
    for before in [0, 1, 500, 5000, 200_000] {
        for length in [10, 998, 999, 1000, 1001, 5000, 300_000] {
            for terminated in [false, true] {
                let mut bytes = b"short line\n".repeat(before / 10);
                bytes.extend(std::iter::repeat_n(b'x', length));
                bytes.extend(terminated.then_some(b'\n'));
                let too_long = length >= 1000;
                let case = format!("{before} {length} {terminated}");
                let mut out = Matches::new();
                let sliced = is_limit(scanner.scan_slice(&bytes, false, &mut out));
                out.clear();
                let streamed = is_limit(scanner.scan_reader(&bytes[..], false, &mut out));
                out.clear();
                let part = scanner.scan_part(&bytes, 0, u64::MAX, &mut out);
                let part = is_limit(part.map(|_| true));
                assert_eq!([sliced, streamed, part], [too_long; 3], "{case}");
                out.clear();
            }
        }
    }
}

#[test]
fn results_that_are_too_large_fail_their_file() {
    let search = SearchSpec {
        submatches: true,
        ..SearchSpec::default()
    };
    let mut scanner = scanner(&pattern("a"), &search);
    scanner.set_max_result_bytes(10_000);
    let mut out = Matches::new();
    // Many lines, and one line with many submatches.
    for bytes in ["a\n".repeat(10_000), "a".repeat(10_000)] {
        let result = scanner.scan_slice(bytes.as_bytes(), false, &mut out);
        let limit = Err(10_000);
        let got = result.map_err(|error| match error {
            ScanError::ResultTooLarge { limit } => limit,
            other => panic!("{other}"),
        });
        assert_eq!(got, limit);
        assert_eq!(out, Matches::new());
    }
    assert!(scanner.scan_slice(b"a\n", false, &mut out).is_ok());
}

#[test]
fn a_reader_s_error_is_the_file_s() {
    struct Failing(bool);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if std::mem::take(&mut self.0) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if buffer.len() > 1000 {
                buffer[..2].copy_from_slice(b"a\n");
                self.0 = false;
                return Err(io::Error::from_raw_os_error(5));
            }
            buffer.fill(b'a');
            Ok(buffer.len())
        }
    }
    let mut out = Matches::new();
    let mut scanner = scanner(&pattern("a"), &SearchSpec::default());
    let error = scanner.scan_reader(Failing(true), false, &mut out);
    assert!(matches!(error, Err(ScanError::Io(e)) if e.raw_os_error() == Some(5)));
    assert_eq!(out, Matches::new());
}

/// Where ripgrep ends with a panic.
#[test]
fn a_lost_place_is_told() {
    let spec = PatternSpec {
        multi_line: true,
        ..pattern("[^a]a")
    };
    let search = SearchSpec {
        invert: true,
        max_count: Some(1),
        after_context: 1,
        ..SearchSpec::default()
    };
    let mut scanner = scanner(&spec, &search);
    let mut out = Matches::new();
    for _ in 0..2 {
        let lost = scanner.scan_slice(b"\n\na\n\n", false, &mut out);
        assert!(matches!(lost, Err(ScanError::PlaceLost)), "{lost:?}");
        let lost = scanner.scan_reader(&b"\n\na\n\n"[..], false, &mut out);
        assert!(matches!(lost, Err(ScanError::PlaceLost)), "{lost:?}");
        assert_eq!(out, Matches::new());
        let hit = scanner.scan_slice(b"b\n", false, &mut out);
        assert!(hit.expect("it has one line"));
        out.clear();
    }
}

/// What is found aside is what is found in place.
#[test]
fn a_large_search_over_lines_is_as_a_small_one() {
    let spec = PatternSpec {
        multi_line: true,
        ..pattern(r"b\n(c)")
    };
    let search = SearchSpec {
        submatches: true,
        line_numbers: true,
        offsets: true,
        replacement: Some(b"<$1>".to_vec()),
        ..SearchSpec::default()
    };
    let mut scanner = scanner(&spec, &search);
    let end = b"b\nc\nd\n";
    for lines in [1_u32, 1_000_000] {
        let large = [&b"aaa\n".repeat(lines as usize), &end[..]].concat();
        let utf16: Vec<u8> = [0xFF, 0xFE]
            .into_iter()
            .chain(large.iter().flat_map(|&byte| [byte, 0]))
            .collect();
        for bytes in [&large, &utf16] {
            for as_stream in [false, true] {
                let mut out = Matches::new();
                let hit = if as_stream {
                    scanner.scan_reader(&bytes[..], false, &mut out)
                } else {
                    scanner.scan_slice(bytes, false, &mut out)
                };
                assert!(hit.expect("no limit is met"));
                let expected = Matches {
                    line_numbers: vec![u64::from(lines) + 1],
                    offsets: vec![u64::from(lines) * 4],
                    lengths: vec![4],
                    text: b"b\nc\n".to_vec(),
                    submatch_counts: vec![1],
                    submatch_starts: vec![0],
                    submatch_ends: vec![3],
                    replacement_lengths: vec![3],
                    replacement_text: b"<c>".to_vec(),
                    matched_lines: 2,
                    matches: 1,
                    bytes_searched: large.len() as u64,
                    ..Matches::new()
                };
                assert_eq!(out, expected);
            }
        }
    }
}

#[test]
fn a_part_with_a_nul_tells_where_it_is() {
    let search = SearchSpec {
        line_numbers: true,
        offsets: true,
        ..SearchSpec::default()
    };
    let mut scanner = scanner(&pattern("a"), &search);
    let mut part = |bytes: &[u8], budget: u64| {
        let mut out = Matches::new();
        let scan = scanner.scan_part(bytes, 100, budget, &mut out);
        (scan.expect("no limit is met"), out)
    };
    let scanned = |consumed, lines, hit| PartScan {
        consumed,
        lines,
        hit,
    };
    // A match before the line of the NUL is told; the one in that line ends the scan.
    let (scan, out) = part(b"a1\nb\na\0a\na2\n", 1000);
    assert_eq!(scan, scanned(12, 4, true));
    assert_eq!(
        (&out.text[..], &out.offsets[..]),
        (&b"a1\n"[..], &[100][..])
    );
    assert_eq!(out.matched_lines, 2);
    assert_eq!(
        (out.binary_offset, out.binary_end),
        (Some(106), BinaryEnd::Matched)
    );
    // A match behind it, not in its line.
    let (scan, out) = part(b"b\n\0b\na2\n", 1000);
    assert_eq!(scan, scanned(8, 3, true));
    assert!(out.text.is_empty());
    assert_eq!(
        (out.binary_offset, out.binary_end),
        (Some(102), BinaryEnd::Matched)
    );
    // None.
    let (scan, out) = part(b"a1\nb\0b\n", 1000);
    assert_eq!(scan, scanned(7, 2, true));
    assert_eq!(
        (out.binary_offset, out.binary_end),
        (Some(104), BinaryEnd::None)
    );
    let (scan, out) = part(b"b\0b\n", 1000);
    assert_eq!(scan, scanned(4, 1, false));
    assert_eq!(
        (out.binary_offset, out.binary_end),
        (Some(101), BinaryEnd::None)
    );
    // The budget ends the part before the NUL is met.
    let (scan, out) = part(b"a1\na2\n\0a\n", 64);
    assert_eq!(scan, scanned(3, 1, true));
    assert_eq!((out.binary_offset, out.binary_end), (None, BinaryEnd::None));
}

#[test]
fn only_what_can_be_split_is_split() {
    let search = SearchSpec::default();
    assert!(splittable(&pattern("a"), &search));
    let refuse = |change: fn(&mut PatternSpec, &mut SearchSpec)| {
        let (mut p, mut s) = (pattern("a"), SearchSpec::default());
        change(&mut p, &mut s);
        assert!(!splittable(&p, &s), "{p:?} {s:?}");
    };
    refuse(|p, _| p.multi_line = true);
    refuse(|p, _| p.patterns.push(r"\Ab".into()));
    refuse(|p, _| p.patterns.push("(?-m)^b".into()));
    refuse(|p, _| (p.null_data, p.whole_line) = (true, true));
    refuse(|_, s| s.before_context = 1);
    refuse(|_, s| s.after_context = 1);
    refuse(|_, s| s.max_count = Some(1));
    refuse(|_, s| s.encoding = Encoding::Label("latin1".into()));
    refuse(|_, s| s.binary = Binary::Skip);
    refuse(|_, s| s.want = Want::FilesWithMatch);
    let whole = SearchSpec {
        after_context: 1,
        ..SearchSpec::default()
    };
    let result = scanner(&pattern("a"), &whole).scan_part(b"a\n", 0, 100, &mut Matches::new());
    assert!(matches!(result, Err(ScanError::NotSplittable)));
    assert!(needs_transcoding(b"\xFF\xFEa\0"));
    assert!(needs_transcoding(b"\xEF\xBB\xBF"));
    assert!(!needs_transcoding(b"\xEF\xBB"));
}

#[test]
fn a_mark_inside_a_file_is_text() {
    let search = SearchSpec {
        offsets: true,
        ..SearchSpec::default()
    };
    let mut out = Matches::new();
    let bytes = b"\xEF\xBB\xBFa\n";
    let scan = scanner(&pattern("a"), &search).scan_part(bytes, 10, 100, &mut out);
    assert_eq!(scan.expect("no limit is met").consumed, 5);
    assert_eq!((&out.text[..], out.offsets[0]), (&bytes[..], 10));
}

#[test]
fn a_long_line_in_one_file_does_not_change_the_next() {
    // The NUL lies behind the first read of a new line buffer, and before that of a grown one.
    let mut binary = b"match\n".repeat(12_000);
    binary.push(0);
    binary.extend(b"\nmatch\n");
    let long = "x".repeat(300_000);
    for encoding in [Encoding::Auto, Encoding::Label("latin1".into())] {
        let search = SearchSpec {
            encoding,
            ..SearchSpec::default()
        };
        let mut scanner = scanner(&pattern("match"), &search);
        let mut results = Vec::new();
        for _ in 0..2 {
            let mut out = Matches::new();
            let hit = scanner.scan_reader(&binary[..], false, &mut out);
            assert!(hit.expect("no limit is met"));
            assert!(!out.text.is_empty());
            results.push(out);
            let hit = scanner.scan_reader(long.as_bytes(), false, &mut Matches::new());
            assert!(!hit.expect("no limit is met"));
        }
        assert_eq!(results[0], results[1]);
    }
}
