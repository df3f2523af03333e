//! A file without a match costs no allocation once a scanner is warm.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use regexctl_scan::{Matches, Pattern, PatternSpec, Scanner, SearchSpec, Want};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

#[expect(unsafe_code, reason = "an allocator is an unsafe trait")]
// SAFETY: every call is handed on to the system's allocator as it is; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(mut work: impl FnMut()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

fn scanner(pattern: &str, search: &SearchSpec) -> Scanner {
    let spec = PatternSpec {
        patterns: vec![pattern.to_owned()],
        ..PatternSpec::default()
    };
    let pattern = Pattern::compile(&spec).expect("a good pattern");
    let cancel = Arc::new(AtomicBool::new(false));
    Scanner::new(&pattern, search, cancel).expect("a good search")
}

#[test]
fn a_file_without_a_match_allocates_nothing() {
    let text = "some words of a file, 0123456789\n".repeat(45);
    let mut with_nul = text.clone().into_bytes();
    with_nul[700] = 0;
    let files: [&[u8]; 4] = [
        text.as_bytes(),
        &with_nul,
        b"",
        b"\xEF\xBB\xBFtext with a mark\n",
    ];
    let patterns = [
        "PM_RESUME",
        "[A-Z]+_SUSPEND",
        r"\w{5}\s+\w{30}\s+\w{5}",
        "^$",
        r"\Anone",
    ];
    for want in [Want::Lines, Want::CountMatches, Want::FilesWithMatch] {
        for pattern in patterns {
            let search = SearchSpec {
                want,
                submatches: true,
                line_numbers: true,
                offsets: true,
                replacement: Some(b"$0".to_vec()),
                ..SearchSpec::default()
            };
            let mut scanner = scanner(pattern, &search);
            let mut out = Matches::new();
            let mut scan = |named| {
                for file in files {
                    out.clear();
                    let hit = scanner.scan_slice(file, named, &mut out);
                    assert!(!hit.expect("no limit is met"), "{pattern} must not match");
                }
            };
            // The caches of the matcher fill.
            scan(false);
            assert_eq!(allocations(|| scan(false)), 0, "{pattern} {want:?}");
            assert_eq!(allocations(|| scan(true)), 0, "{pattern} {want:?}, named");
        }
    }
}

#[test]
fn allocations_are_counted() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}
