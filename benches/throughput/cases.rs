//! What is measured: a pattern, a corpus, and the programs that can do it.

use clap::ValueEnum;

use crate::corpus::{Corpora, Corpus};
use crate::tools::Tool;

/// A case, as named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CaseName {
    SmallSelective,
    SmallNone,
    SourceSuspend,
    SourceNoLiteral,
    EveryLine,
    BigFile,
    Startup,
}

/// A case that is ready to be measured.
pub(crate) struct Case {
    /// As on the command line.
    pub(crate) name: String,
    /// For people.
    pub(crate) about: &'static str,
    /// What is searched for.
    pub(crate) pattern: &'static str,
    /// The same for ugrep, whose `\s` also matches a line feed.
    pub(crate) ugrep_pattern: &'static str,
    /// What is searched.
    pub(crate) corpus: Corpus,
    /// How many lines match, when that is known.
    pub(crate) expected_lines: Option<u64>,
    /// Whom to measure, in the order of a round.
    pub(crate) tools: &'static [Tool],
    /// Rounds for each one that was asked for: short runs need more of them.
    pub(crate) rounds_factor: u32,
}

/// All that search a tree.
const SEARCHERS: &[Tool] = &[
    Tool::Regexctl,
    Tool::Rg,
    Tool::Cluster,
    Tool::Floor,
    Tool::Ugrep,
    Tool::Grep,
    Tool::XargsGrep,
];

/// In one file there is nothing for xargs to share out, and the floor is one thread's.
const FILE_SEARCHERS: &[Tool] = &[
    Tool::Regexctl,
    Tool::Rg,
    Tool::Cluster,
    Tool::Ugrep,
    Tool::Grep,
];

const STARTUP: &[Tool] = &[
    Tool::RegexctlVersion,
    Tool::RgVersion,
    Tool::Regexctl,
    Tool::Rg,
    Tool::Grep,
];

/// Matches the planted lines of logs.
const SELECTIVE: &str = "ECC error on DIMM_[0-9]+ at row";

/// Matches nothing: the word is in no vocabulary.
const ABSENT: &str = "uncorrectable parity [0-9]+";

impl CaseName {
    /// All of them, in the order in which they are run.
    pub(crate) const ALL: [Self; 7] = [
        Self::Startup,
        Self::SmallSelective,
        Self::SmallNone,
        Self::SourceSuspend,
        Self::SourceNoLiteral,
        Self::EveryLine,
        Self::BigFile,
    ];

    /// As on the command line.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value().expect("no case is skipped");
        value.get_name().to_owned()
    }

    /// The case, with its corpus made.
    pub(crate) fn prepare(self, corpora: &Corpora) -> anyhow::Result<Case> {
        let (about, pattern, corpus) = match self {
            Self::SmallSelective => ("small files, few matches", SELECTIVE, corpora.small()?),
            Self::SmallNone => ("small files, no match", ABSENT, corpora.small()?),
            Self::SourceSuspend => ("a source tree", "[A-Z]+_SUSPEND", corpora.source()?),
            Self::SourceNoLiteral => (
                "a source tree, a pattern without a literal",
                r"\w{5}\s+\w{5}\s+\w{5}",
                corpora.source()?,
            ),
            Self::EveryLine => ("every line matches", "", corpora.lines()?),
            Self::BigFile => ("one large file, few matches", SELECTIVE, corpora.big()?),
            Self::Startup => (
                "an empty directory, and --version",
                ABSENT,
                corpora.empty()?,
            ),
        };
        let planted = corpus.contents.map(|contents| contents.planted);
        let expected_lines = match self {
            Self::SmallSelective | Self::SourceSuspend | Self::BigFile => planted,
            Self::SmallNone => Some(0),
            Self::SourceNoLiteral | Self::EveryLine | Self::Startup => None,
        };
        Ok(Case {
            name: self.name(),
            about,
            pattern,
            ugrep_pattern: match self {
                Self::SourceNoLiteral => r"\w{5}[ \t]+\w{5}[ \t]+\w{5}",
                _ => pattern,
            },
            corpus,
            expected_lines,
            tools: match self {
                Self::BigFile => FILE_SEARCHERS,
                Self::Startup => STARTUP,
                _ => SEARCHERS,
            },
            rounds_factor: if self == Self::Startup { 10 } else { 1 },
        })
    }
}
