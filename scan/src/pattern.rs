//! Patterns, compiled.
//!
//! The settings are those of ripgrep, so that the same patterns mean the same. No input makes
//! [`Pattern::compile`] panic or run without bound: the length of the patterns, the depth
//! of their nesting and the size of the automaton are limited.

use grep_matcher::{LineTerminator, Matcher as _};
use grep_regex::{Error, ErrorKind, RegexMatcher, RegexMatcherBuilder};

use crate::error::PatternError;
use crate::spec::{CaseMode, MAX_PATTERN_NESTING, PatternSpec, may_anchor_text};

/// A compiled pattern, shared by threads; each makes its own [`crate::Scanner`] of it.
#[derive(Debug, Clone)]
pub struct Pattern {
    pub(crate) matcher: RegexMatcher,
    pub(crate) line_terminator: LineTerminator,
    pub(crate) multi_line: bool,
    /// NUL ends lines, so it does not mark a binary file.
    pub(crate) null_data: bool,
    /// There was no pattern.
    pub(crate) is_empty: bool,
    /// It holds a literal NUL, and can match only where NUL is a byte like any other.
    pub(crate) needs_nul: bool,
    /// It may have an anchor that is not one of lines.
    pub(crate) anchors: bool,
    /// It may ask whether the characters around a place are of a word.
    pub(crate) looks_around: bool,
}

impl Pattern {
    /// Compiles all patterns into one matcher.
    pub fn compile(spec: &PatternSpec) -> Result<Self, PatternError> {
        if spec.crlf && spec.null_data {
            return Err(PatternError::LineEnds);
        }
        let bytes = spec.patterns.iter().map(|p| p.len() + 1).sum();
        let limit = spec.limits.pattern_bytes;
        if bytes > limit {
            return Err(PatternError::TooLong { bytes, limit });
        }
        let mut builder = builder(spec);
        let (matcher, needs_nul) = match builder.build_many(&spec.patterns) {
            Err(error) if matches!(error.kind(), ErrorKind::Banned(_)) => {
                let built = builder.ban_byte(None).build_many(&spec.patterns);
                (built.map_err(|e| describe(&e, spec))?, true)
            }
            built => (built.map_err(|e| describe(&e, spec))?, false),
        };
        // Where a match must lie in a line, the matcher knows best.
        let anchors = if spec.multi_line {
            may_anchor_text(spec)
        } else {
            matcher.line_terminator().is_none()
        };
        Ok(Self {
            matcher,
            line_terminator: if spec.crlf {
                LineTerminator::crlf()
            } else if spec.null_data {
                LineTerminator::byte(0)
            } else {
                LineTerminator::byte(b'\n')
            },
            multi_line: spec.multi_line,
            null_data: spec.null_data,
            is_empty: spec.patterns.is_empty(),
            needs_nul,
            anchors: spec.null_data || anchors,
            looks_around: may_look_around(spec),
        })
    }

    /// Whether a match may in fact span lines: that was asked for, and the pattern can match a
    /// line terminator. Where it cannot, the search and its records are line by line.
    pub fn spans_lines(&self) -> bool {
        let terminator = self.line_terminator.as_byte();
        self.multi_line
            && self.matcher.line_terminator() != Some(self.line_terminator)
            && !self
                .matcher
                .non_matching_bytes()
                .is_some_and(|bytes| bytes.contains(terminator))
    }
}

/// Whether a pattern may hold a word boundary of Unicode: `\b` and its relatives, or what `word` adds. May say yes for a
/// pattern that holds none.
fn may_look_around(spec: &PatternSpec) -> bool {
    const BOUNDARIES: [&str; 4] = ["\\b", "\\B", "\\<", "\\>"];
    let holds = |text: &String| BOUNDARIES.iter().any(|sign| text.contains(sign));
    !spec.no_unicode && (spec.word || (!spec.fixed_strings && spec.patterns.iter().any(holds)))
}

fn builder(spec: &PatternSpec) -> RegexMatcherBuilder {
    let mut builder = RegexMatcherBuilder::new();
    builder
        .multi_line(true)
        .unicode(!spec.no_unicode)
        .octal(false)
        .nest_limit(MAX_PATTERN_NESTING)
        .fixed_strings(spec.fixed_strings)
        .whole_line(spec.whole_line)
        .word(spec.word)
        .size_limit(spec.limits.compiled_bytes)
        .dfa_size_limit(spec.limits.dfa_bytes);
    // No pattern at all must match nothing in each mode, and parsing none of them, which case
    // folding would need, yields the empty pattern, which matches everything.
    if !spec.patterns.is_empty() {
        match spec.case {
            CaseMode::Sensitive => {}
            CaseMode::Insensitive => {
                builder.case_insensitive(true);
            }
            CaseMode::Smart => {
                builder.case_smart(true);
            }
        }
    }
    if spec.multi_line {
        builder.dot_matches_new_line(spec.dot_matches_new_line);
        if spec.crlf {
            // `crlf` sets the terminator, too, which a match may hold here.
            builder.crlf(true).line_terminator(None);
        }
    } else if spec.crlf {
        builder.crlf(true);
    } else {
        builder.line_terminator(Some(if spec.null_data { 0 } else { b'\n' }));
    }
    if !spec.null_data {
        builder.ban_byte(Some(0));
    }
    builder
}

fn describe(error: &Error, spec: &PatternSpec) -> PatternError {
    match error.kind() {
        ErrorKind::NotAllowed(literal) => PatternError::LineTerminator(literal.clone()),
        // The only error of the compiler that is not of the syntax, and known by its words alone.
        ErrorKind::Regex(message) if message.starts_with("compiled regex exceeds size limit") => {
            PatternError::TooLarge {
                limit: spec.limits.compiled_bytes,
            }
        }
        _ => PatternError::Syntax(error.to_string()),
    }
}
