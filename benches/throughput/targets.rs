//! What regexctl must reach, and whether it does.

use serde::Serialize;

use crate::cases::CaseName;
use crate::measure::{CaseReport, Verdict};
use crate::tools::Tool;

/// One target and what was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    /// The case.
    pub(crate) case: String,
    /// What is measured.
    pub(crate) what: &'static str,
    /// The most that it may be.
    pub(crate) at_most: f64,
    /// What it is; none when it was not measured.
    pub(crate) measured: Option<f64>,
}

impl Target {
    /// Whether it is met, if it was measured.
    pub(crate) fn met(&self) -> Option<bool> {
        self.measured.map(|measured| measured <= self.at_most)
    }
}

const MIB: f64 = 1_048_576.0;

type Measure = fn(&CaseReport) -> Option<f64>;

/// Every target: case, what, at most, and how it is measured. Those in MiB are peaks of
/// resident memory.
const TARGETS: &[(CaseName, &str, f64, Measure)] = &[
    (
        CaseName::SmallSelective,
        "wall, regexctl / rg",
        0.75,
        |case| wall(case, Tool::Rg),
    ),
    (
        CaseName::SmallSelective,
        "CPU, regexctl / rg",
        0.75,
        |case| case.ratio(Tool::Regexctl, Tool::Rg, |sample| sample.cpu),
    ),
    (
        CaseName::SmallSelective,
        "wall, regexctl / floor",
        1.25,
        |case| wall(case, Tool::Floor),
    ),
    (
        CaseName::SmallSelective,
        "wall, cluster / embedded",
        1.3,
        |case| case.ratio(Tool::Cluster, Tool::Regexctl, |sample| sample.wall),
    ),
    (CaseName::SmallSelective, "regexctl, MiB", 64.0, |case| {
        Some(case.row(Tool::Regexctl)?.peak_rss() as f64 / MIB)
    }),
    (CaseName::SmallSelective, "master, MiB", 64.0, |case| {
        Some(case.row(Tool::Cluster)?.master_rss()? as f64 / MIB)
    }),
    (
        CaseName::SmallSelective,
        "first match / wall",
        0.25,
        |case| {
            case.row(Tool::Regexctl)?
                .median(|sample| Some(sample.first_output? / sample.wall))
        },
    ),
    (
        CaseName::SourceSuspend,
        "wall, regexctl / rg",
        0.9,
        |case| wall(case, Tool::Rg),
    ),
    (
        CaseName::SourceNoLiteral,
        "wall, regexctl / rg",
        1.0,
        |case| wall(case, Tool::Rg),
    ),
    (CaseName::EveryLine, "wall, regexctl / rg", 1.2, |case| {
        wall(case, Tool::Rg)
    }),
    (
        CaseName::EveryLine,
        "rows with other lines than rg",
        0.0,
        |case| {
            let wrong =
                |row: &&crate::measure::Row| row.tool.is_ours() && row.verdict != Verdict::Right;
            case.row(Tool::Regexctl)?;
            Some(case.rows.iter().filter(wrong).count() as f64)
        },
    ),
    (CaseName::Startup, "regexctl --version, ms", 10.0, |case| {
        milliseconds(case, Tool::RegexctlVersion)
    }),
    (CaseName::Startup, "an empty directory, ms", 20.0, |case| {
        milliseconds(case, Tool::Regexctl)
    }),
];

fn wall(case: &CaseReport, base: Tool) -> Option<f64> {
    case.ratio(Tool::Regexctl, base, |sample| sample.wall)
}

fn milliseconds(case: &CaseReport, tool: Tool) -> Option<f64> {
    case.row(tool)?.median(|sample| Some(sample.wall * 1000.0))
}

/// The targets of the cases that were run.
pub(crate) fn judge(cases: &[CaseReport]) -> Vec<Target> {
    TARGETS
        .iter()
        .filter_map(|&(name, what, at_most, measure)| {
            let name = name.name();
            let case = cases.iter().find(|case| case.name == name)?;
            Some(Target {
                case: name,
                what,
                at_most,
                measured: measure(case),
            })
        })
        .collect()
}
