//! Patterns to matchers, bytes to matches.
//!
//! A [`Pattern`] is compiled once a job from a [`PatternSpec`]. Each thread makes its own
//! [`Scanner`] from it and a [`SearchSpec`], and gives it files: whole, in memory
//! ([`Scanner::scan_slice`]) or as a stream ([`Scanner::scan_reader`]), or some lines of a
//! large file ([`Scanner::scan_part`]). What is found comes back as columns, in [`Matches`].
//!
//! The matching is that of ripgrep, whose libraries do the work here (`grep-regex`,
//! `grep-searcher`): the same bytes, patterns and settings give the same lines, submatches,
//! counts and context, and the same decision about binary files. ripgrep without memory maps
//! is the reference, and the tests compare with it.
//!
//! This crate opens no file and knows of no job, lease, node or message.
//!
//! **Invariant.** The result of a file does not depend on how it was read, whole or as a stream; nor on
//! how it was split, where [`splittable`] allows it.
//!
//! **Invariant.** A file without a match costs no allocation once a scanner is warm.
//!
//! **Invariant.** Everything is limited: patterns ([`Limits`]), lines
//! ([`SearchSpec::max_line_bytes`]), a file's results ([`MAX_FILE_RESULT_BYTES`]).

mod aside;
mod error;
mod interrupt;
mod matches;
mod part;
mod pattern;
mod scanner;
mod sink;
mod spec;

pub use error::{PatternError, ScanError, SpecError};
pub use matches::{
    BinaryEnd, KIND_BREAK, KIND_CONTEXT_AFTER, KIND_CONTEXT_BEFORE, KIND_MATCH, Matches,
};
pub use part::PartScan;
pub use pattern::Pattern;
pub use scanner::Scanner;
pub use spec::{
    Binary, CaseMode, Encoding, Limits, MAX_COMPILED_BYTES, MAX_DFA_BYTES, MAX_FILE_RESULT_BYTES,
    MAX_LINE_BYTES, MAX_PATTERN_BYTES, MAX_PATTERN_NESTING, PatternSpec, SearchSpec, Want,
    needs_transcoding, splittable,
};
