//! Why a job cannot be made of what was typed.

use std::io;

use regexctl_proto::limits::{MAX_JOB_PATHS_BYTES, MAX_PATH_BYTES, MAX_ROOTS};

/// Each says what, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Nothing says what to search for.
    #[error("no pattern; give one as the first argument, or with -e or -f")]
    NoPattern,
    /// The first argument is not text.
    #[error("the pattern is not UTF-8; a pattern names other bytes by escapes, such as (?-u)\\xFF")]
    PatternNotUtf8,
    /// `-f`
    #[error("cannot read the patterns of {path}")]
    PatternFile {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A line of a `-f` file is not text.
    #[error(
        "{path}:{line}: the pattern is not UTF-8 at byte {offset}; a pattern names other bytes by \
         escapes, such as (?-u)\\xFF"
    )]
    PatternLine {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
        /// From 0, in the line.
        offset: usize,
    },
    /// The files of `-f` are longer than patterns may be.
    #[error(
        "the patterns of {path} are longer than {limit} bytes; --max-pattern-size sets another limit"
    )]
    PatternsTooLong {
        /// The file.
        path: String,
        /// What they may take.
        limit: u64,
    },
    /// `--files-from`
    #[error("cannot read the list of paths {path}")]
    List {
        /// The list.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A path in a list cannot be one.
    #[error("{list}: path {number} {problem}")]
    ListedPath {
        /// The list.
        list: String,
        /// From 1.
        number: usize,
        /// What is wrong, and what to do.
        problem: &'static str,
    },
    /// A path in a list is too long.
    #[error("{list}: path {number} is longer than {MAX_PATH_BYTES} bytes")]
    ListedPathTooLong {
        /// The list.
        list: String,
        /// From 1.
        number: usize,
    },
    /// The lists hold more than a job may.
    #[error(
        "{list}: the lists hold more than {MAX_JOB_PATHS_BYTES} bytes of paths; split them over \
         several jobs, or name directories as PATHs"
    )]
    ListsTooLong {
        /// The list that was one too many.
        list: String,
    },
    /// Two want to read it.
    #[error("standard input cannot be read by both {first} and {second}")]
    StdinTwice {
        /// Who came first.
        first: &'static str,
        /// Who came second.
        second: &'static str,
    },
    /// The working directory is gone.
    #[error("cannot tell the working directory; was it deleted?")]
    WorkingDirectory(#[source] io::Error),
    /// More PATHs than a job may have.
    #[error("more than {MAX_ROOTS} paths; put them into a list for --files-from")]
    TooManyRoots,
}
