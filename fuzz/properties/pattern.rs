//! Any text is refused or is a pattern; any bytes can be searched for it, in all modes; and
//! the result is the same whether they are in memory or come as a stream.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use regexctl_scan::{
    Binary, CaseMode, Limits, Matches, Pattern, PatternSpec, Scanner, SearchSpec, Want,
};

/// Panics where that does not hold. The input is three bytes of modes, the pattern, the
/// byte 0xff, which is never in a text, and what is searched.
pub(crate) fn holds(data: &[u8]) {
    let [modes, more_modes, wants, rest @ ..] = data else {
        return;
    };
    let mut parts = rest.splitn(2, |&b| b == 0xff);
    let (pattern, haystack) = (parts.next().unwrap_or(b""), parts.next().unwrap_or(b""));
    let Ok(pattern) = std::str::from_utf8(pattern) else {
        return;
    };
    let bit = |byte: u8, bit: u8| byte >> bit & 1 == 1;
    let pattern = PatternSpec {
        patterns: pattern.split('\u{1}').map(str::to_owned).collect(),
        fixed_strings: bit(*modes, 0),
        word: bit(*modes, 1),
        whole_line: bit(*modes, 2),
        case: [
            CaseMode::Sensitive,
            CaseMode::Insensitive,
            CaseMode::Smart,
            CaseMode::Smart,
        ][usize::from(modes >> 3 & 3)],
        multi_line: bit(*modes, 5),
        dot_matches_new_line: bit(*modes, 6),
        crlf: bit(*modes, 7),
        null_data: bit(*more_modes, 0),
        no_unicode: bit(*more_modes, 1),
        // Low, so that a single input is quick.
        limits: Limits {
            pattern_bytes: 4096,
            compiled_bytes: 1 << 20,
            dfa_bytes: 1 << 20,
        },
    };
    let search = SearchSpec {
        want: [
            Want::Lines,
            Want::CountLines,
            Want::CountMatches,
            Want::FilesWithMatch,
        ][usize::from(wants & 3)],
        submatches: bit(*more_modes, 2),
        line_numbers: bit(*more_modes, 3),
        offsets: bit(*more_modes, 4),
        invert: bit(*more_modes, 5),
        binary: [Binary::Search, Binary::Skip, Binary::Text, Binary::Report]
            [usize::from(more_modes >> 6)],
        before_context: usize::from(wants >> 2 & 3),
        after_context: usize::from(wants >> 4 & 3),
        max_count: bit(*wants, 6).then_some(2),
        replacement: bit(*wants, 7).then(|| b"<$0>".to_vec()),
        ..SearchSpec::default()
    };
    let Ok(compiled) = Pattern::compile(&pattern) else {
        return;
    };
    let Ok(mut scanner) = Scanner::new(&compiled, &search, Arc::new(AtomicBool::new(false))) else {
        return;
    };
    let mut in_memory = Matches::new();
    let mut streamed = Matches::new();
    let first = scanner.scan_slice(haystack, false, &mut in_memory);
    let second = scanner.scan_reader(Slowly(haystack), false, &mut streamed);
    let (first, second) = (first.ok(), second.ok());
    assert_eq!(
        (first, &in_memory),
        (second, &streamed),
        "{pattern:?} {search:?}"
    );
}

/// Reads a few bytes at a time.
struct Slowly<'a>(&'a [u8]);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(3);
        self.0.read(&mut buffer[..length])
    }
}
