//! Scans end soon after the flag is raised, whatever they are doing.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use regexctl_scan::{Matches, Pattern, PatternSpec, ScanError, Scanner, SearchSpec};

fn pattern(pattern: &str) -> PatternSpec {
    PatternSpec {
        patterns: vec![pattern.to_owned()],
        ..PatternSpec::default()
    }
}

#[test]
fn cancelling_ends_each_way_to_scan() {
    let cancel = Arc::new(AtomicBool::new(true));
    let compiled = Pattern::compile(&pattern("a")).expect("a good pattern");
    let search = SearchSpec::default();
    let scanner = Scanner::new(&compiled, &search, Arc::clone(&cancel));
    let mut scanner = scanner.expect("a good search");
    let mut out = Matches::new();
    let slice = scanner.scan_slice(b"a\n", false, &mut out);
    assert!(matches!(slice, Err(ScanError::Cancelled)));
    let reader = scanner.scan_reader(&b"a\n"[..], false, &mut out);
    assert!(matches!(reader, Err(ScanError::Cancelled)));
    let part = scanner.scan_part(b"a\n", 0, 100, &mut out);
    assert!(matches!(part, Err(ScanError::Cancelled)));
    cancel.store(false, Ordering::Relaxed);
    assert!(matches!(
        scanner.scan_slice(b"a\n", false, &mut out),
        Ok(true)
    ));
}

/// The flag is raised while a scan runs that finds nothing and would take far longer.
#[test]
fn a_running_scan_is_cancelled() {
    /// Has no end; raises the flag after some bytes.
    struct Endless<'a>(u64, &'a AtomicBool);
    impl Read for Endless<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(b'x');
            self.0 += buffer.len() as u64;
            self.1.store(self.0 > 1 << 20, Ordering::Relaxed);
            Ok(buffer.len())
        }
    }
    let cancel = Arc::new(AtomicBool::new(false));
    let compiled = Pattern::compile(&pattern(r"(x+x+)+y|[a-w]{9}\W")).expect("a good pattern");
    let search = SearchSpec::default();
    let scanner = Scanner::new(&compiled, &search, Arc::clone(&cancel));
    let mut scanner = scanner.expect("a good search");
    let mut out = Matches::new();
    let result = scanner.scan_reader(Endless(0, &cancel), false, &mut out);
    assert!(matches!(result, Err(ScanError::Cancelled)));

    let large = ("x".repeat(99) + "\n").repeat(1_200_000);
    cancel.store(false, Ordering::Relaxed);
    let both = Barrier::new(2);
    std::thread::scope(|threads| {
        let raiser = threads.spawn(|| {
            both.wait();
            cancel.store(true, Ordering::Relaxed);
            Instant::now()
        });
        both.wait();
        let result = scanner.scan_slice(large.as_bytes(), false, &mut out);
        let ended = Instant::now();
        assert!(matches!(result, Err(ScanError::Cancelled)));
        let took = ended.saturating_duration_since(raiser.join().expect("it does not panic"));
        // 100 ms is promised; a busy machine may stop a thread for longer.
        assert!(took < Duration::from_secs(2), "{took:?}");
    });
}

/// The time that threads of this name have worked, in ticks of the system's clock.
fn worked(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("every process has threads");
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let of_name = tasks.filter_map(Result::ok).filter(|task| {
        // Those that end meanwhile have none.
        read(task.path().join("comm")).trim_end() == name
    });
    of_name
        .filter_map(|task| {
            let stat = read(task.path().join("stat"));
            let (_, numbers) = stat.rsplit_once(')')?;
            numbers.split_whitespace().nth(11)?.parse::<u64>().ok()
        })
        .sum()
}

/// The flag is raised while the regex engine is at work in one search, which would take far longer.
#[test]
fn a_running_search_is_cancelled() {
    // The engine does not stop within what looks like a match to its end.
    let long = "é".repeat(8 << 20);
    let line = format!("short\nshort\n{long}\n");
    let rest = format!("é 1{long}\n");
    is_cancelled("a file", &long, true, None, "reader");
    is_cancelled("a line of a slice", &line, false, None, "slice");
    is_cancelled("a line of a stream", &line, false, None, "reader");
    is_cancelled("a line of a part", &line, false, None, "part");
    is_cancelled("a line without an end", &long, false, None, "slice");
    is_cancelled("the rest of a line", &rest, false, None, "part");
    is_cancelled("a replaced rest", &rest, false, Some("x"), "slice");
}

fn is_cancelled(name: &str, large: &str, multi_line: bool, replacement: Option<&str>, way: &str) {
    let search = SearchSpec {
        submatches: true,
        replacement: replacement.map(|text| text.as_bytes().to_vec()),
        ..SearchSpec::default()
    };
    let cancel = Arc::new(AtomicBool::new(false));
    let spec = PatternSpec {
        multi_line,
        ..pattern(r"\b\w+\b\s+\b\d")
    };
    let compiled = Pattern::compile(&spec).expect("a good pattern");
    let scanner = Scanner::new(&compiled, &search, Arc::clone(&cancel));
    let mut scanner = scanner.expect("a good search");
    let mut out = Matches::new();
    let ended = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let raiser = threads.spawn(|| {
            // A fifth of a second of work: it has read the file, and is deep in it.
            while worked("scan-aside") < 20 && !ended.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            cancel.store(true, Ordering::Relaxed);
            Instant::now()
        });
        let bytes = large.as_bytes();
        let result = match way {
            "slice" => scanner.scan_slice(bytes, false, &mut out).map(drop),
            "reader" => scanner.scan_reader(bytes, false, &mut out).map(drop),
            _ => scanner.scan_part(bytes, 0, 1 << 30, &mut out).map(drop),
        };
        let now = Instant::now();
        ended.store(true, Ordering::Relaxed);
        assert!(
            matches!(result, Err(ScanError::Cancelled)),
            "{name}: {result:?}"
        );
        let took = now.saturating_duration_since(raiser.join().expect("it does not panic"));
        // 100 ms is promised; a busy machine may stop a thread for longer.
        assert!(took < Duration::from_secs(2), "{name}: {took:?}");
    });
    assert_eq!(out, Matches::new());
    // It does not wait for what it has turned away from.
    cancel.store(false, Ordering::Relaxed);
    let text = if multi_line { "é\n1" } else { "é 1" };
    let hit = scanner.scan_reader(text.as_bytes(), false, &mut out);
    assert!(hit.expect("the flag is down"), "{name}");
    // The next one counts the work of its own thread.
    while worked("scan-aside") > 0 {
        std::thread::yield_now();
    }
}

/// What is found in long lines is what is found in short ones, whoever searches them.
#[test]
fn long_lines_are_searched_as_short_ones() {
    let cancel = Arc::new(AtomicBool::new(false));
    let line = "word 1 and word 2, ".repeat(1 << 16);
    let text = format!("word 0\n{line}\nnothing\n{line}");
    let compiled = Pattern::compile(&pattern(r"w(o)rd \d")).expect("a good pattern");
    for replacement in [None, Some(b"<$1>".to_vec())] {
        let search = SearchSpec {
            submatches: true,
            line_numbers: true,
            offsets: true,
            replacement: replacement.clone(),
            ..SearchSpec::default()
        };
        let scanner = Scanner::new(&compiled, &search, Arc::clone(&cancel));
        let mut scanner = scanner.expect("a good search");
        let mut out = Matches::new();
        let hit = scanner.scan_slice(text.as_bytes(), false, &mut out);
        assert!(hit.expect("it is not cancelled"));
        let each = 2 << 16;
        assert_eq!(out.line_numbers, [1, 2, 4]);
        assert_eq!(out.submatch_counts, [1, each, each]);
        assert_eq!(out.submatch_starts[..4], [0, 0, 11, 19]);
        assert_eq!(out.submatch_ends[..4], [6, 6, 17, 25]);
        assert_eq!(out.matches, 1 + 2 * u64::from(each));
        if replacement.is_some() {
            assert_eq!(out.replacement_text, b"<o>".repeat(1 + 2 * each as usize));
        }
    }
}
