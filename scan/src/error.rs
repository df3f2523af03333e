//! What can go wrong: in a pattern, in a specification, in a scan.

use std::io;

use grep_searcher::{ConfigError, SinkError};

/// A pattern that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The parser's own words, with a caret under the place.
    #[error("{0}")]
    Syntax(String),
    /// A literal line terminator in a pattern whose matches lie within a line.
    #[error(
        "the literal {0:?} is not allowed in a pattern, as a match lies within a line; \
         with -U (--multiline) it may span lines"
    )]
    LineTerminator(String),
    /// The patterns are too long.
    #[error(
        "the patterns take {bytes} bytes, the limit is {limit}; --max-pattern-size sets another"
    )]
    TooLong {
        /// What they take.
        bytes: usize,
        /// What they may take.
        limit: usize,
    },
    /// The patterns are too large when compiled.
    #[error(
        "the compiled pattern takes more than the limit of {limit} bytes; --regex-size-limit sets another"
    )]
    TooLarge {
        /// What it may take.
        limit: usize,
    },
    /// Lines cannot end in both ways.
    #[error("lines end either with CRLF (--crlf) or with NUL (--null-data), not both")]
    LineEnds,
}

/// A search that cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No encoding has this label.
    #[error("unknown encoding: {0}")]
    UnknownEncoding(String),
    /// No line could be so short.
    #[error("the longest line may not have 0 bytes")]
    NoLineBytes,
    /// The pattern holds a NUL, which marks a binary file and so never matches.
    #[error(
        "the pattern contains \"\\0\" but it is impossible to match, as NUL marks a binary file; \
         with -a (--text) it is a byte like any other"
    )]
    NulNeverMatches,
}

/// Why a file has no result.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The reader failed.
    #[error(transparent)]
    Io(io::Error),
    /// A line, or the file when matches may span lines, is too long.
    #[error("a line is longer than {limit} bytes (see --max-line-size)")]
    LineTooLong {
        /// `SearchSpec::max_line_bytes`.
        limit: usize,
    },
    /// The results of the file are too large.
    #[error("the results of the file take more than the limit of {limit} bytes")]
    ResultTooLarge {
        /// [`crate::MAX_FILE_RESULT_BYTES`], or what was set in its place.
        limit: u64,
    },
    /// The flag that the scanner was made with was raised.
    #[error("cancelled")]
    Cancelled,
    /// The searcher lost its place in the file, and no result of it can be trusted.
    #[error(
        "the search lost its place: -m with -U, -v and lines of context behind a match (-A, -C) does not work \
         for every file; leave one of them out"
    )]
    PlaceLost,
    /// A part was given to a scanner whose search [`crate::splittable`] refuses.
    #[error("this search cannot be done in parts")]
    NotSplittable,
}

/// How a search ends before its time, as seen by the searcher.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The reader, or the searcher's buffer that may not grow.
    Io(io::Error),
    /// The sink has gathered too much.
    ResultTooLarge,
    /// The matcher or the sink saw the flag.
    Cancelled,
    /// The searcher panicked, see [`ScanError::PlaceLost`].
    PlaceLost,
    /// The matcher and the searcher do not go together.
    Config(ConfigError),
}

impl SinkError for Stop {
    fn error_message<T: std::fmt::Display>(_: T) -> Self {
        // The matcher's only error is that it was cancelled.
        Self::Cancelled
    }

    fn error_io(error: io::Error) -> Self {
        Self::Io(error)
    }

    fn error_config(error: ConfigError) -> Self {
        Self::Config(error)
    }
}
