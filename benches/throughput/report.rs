//! The report, as text, Markdown and JSON.

use std::fmt::Write as _;
use std::fs;

use serde::Serialize;

use crate::measure::{CaseReport, Row, Verdict};
use crate::process::Sample;
use crate::targets::{self, Target};
use crate::tools::{Tool, Tools};

/// All that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    quick: bool,
    runs: u32,
    machine: Machine,
    versions: Vec<(String, String)>,
    pub(crate) cases: Vec<CaseReport>,
    targets: Vec<Target>,
}

/// What it was measured on.
#[derive(Debug, Serialize)]
struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
}

impl Report {
    /// An empty report.
    pub(crate) fn new(tools: &Tools, quick: bool, runs: u32) -> Self {
        Self {
            quick,
            runs,
            machine: Machine {
                cores: tools.cores(),
                processor: processor(),
                kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                    .map_or_else(|_| "unknown".to_owned(), |text| text.trim_end().to_owned()),
            },
            versions: tools.versions(),
            cases: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// Compares the cases with the targets.
    pub(crate) fn judge(&mut self) {
        self.targets = targets::judge(&self.cases);
    }

    /// Whether every program of ours ran, and no output is wrong.
    pub(crate) fn is_right(&self) -> bool {
        self.cases.iter().all(|case| {
            !case
                .rows
                .iter()
                .any(|row| row.tool.is_ours() && row.verdict == Verdict::Wrong)
                && !case.left_out.iter().any(|left_out| left_out.tool.is_ours())
        })
    }

    /// The targets and what it all was measured on, for a terminal.
    pub(crate) fn summary_text(&self) -> String {
        let mut out = String::new();
        out += "targets\n";
        out += &table(&TARGET_HEADINGS, &self.target_rows(), text_row);
        for line in self.environment() {
            out += "  ";
            out += &line;
            out.push('\n');
        }
        out
    }

    /// The whole report as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        for line in self.environment() {
            out += "- ";
            out += &line;
            out.push('\n');
        }
        for case in &self.cases {
            out += "\n### ";
            out += &title(case);
            out += "\n\n";
            out += &table(&CASE_HEADINGS, &case_rows(case), markdown_row);
            for left_out in &case.left_out {
                out += "\nLeft out: ";
                out += &left_out_text(left_out.tool, &left_out.why);
                out.push('\n');
            }
        }
        out += "\n### Targets\n\n";
        out += &table(&TARGET_HEADINGS, &self.target_rows(), markdown_row);
        out
    }

    fn environment(&self) -> Vec<String> {
        let Machine {
            cores,
            processor,
            kernel,
        } = &self.machine;
        let mut lines = vec![
            format!("{cores} cores, {processor}, Linux {kernel}, warm page cache"),
            format!(
                "medians of {} rounds (start-up: ten times as many){}",
                self.runs,
                if self.quick {
                    "; --quick: too small to judge the targets"
                } else {
                    ""
                }
            ),
        ];
        lines.extend(
            self.versions
                .iter()
                .map(|(name, version)| format!("{name}: {version}")),
        );
        lines
    }

    fn target_rows(&self) -> Vec<Vec<String>> {
        self.targets
            .iter()
            .map(|target| {
                let met = match target.met() {
                    None => "not measured",
                    Some(_) if self.quick => "not judged",
                    Some(true) => "met",
                    Some(false) => "MISSED",
                };
                vec![
                    target.case.clone(),
                    target.what.to_owned(),
                    format!("{:.2}", target.at_most),
                    optional(target.measured),
                    met.to_owned(),
                ]
            })
            .collect()
    }
}

const TARGET_HEADINGS: [&str; 5] = ["case", "what", "at most", "measured", ""];

const CASE_HEADINGS: [&str; 11] = [
    "program",
    "wall s",
    "min - max",
    "CPU s",
    "peak MiB",
    "first out ms",
    "lines",
    "wall/rg",
    "CPU/rg",
    "wall/floor",
    "output",
];

/// The table of one case, for a terminal.
pub(crate) fn case_text(case: &CaseReport) -> String {
    let mut out = title(case);
    out.push('\n');
    out += &table(&CASE_HEADINGS, &case_rows(case), text_row);
    for left_out in &case.left_out {
        out += "  left out: ";
        out += &left_out_text(left_out.tool, &left_out.why);
        out.push('\n');
    }
    out.push('\n');
    out
}

fn left_out_text(tool: Tool, why: &str) -> String {
    format!("{tool}: {}", why.trim_end())
}

fn title(case: &CaseReport) -> String {
    let mut out = format!("{}: {}, pattern '{}'", case.name, case.about, case.pattern);
    if let (Some(files), Some(bytes)) = (case.files, case.bytes) {
        write!(out, ", {files} files, {} MB", bytes / 1_000_000).expect("a String takes any text");
    }
    out
}

fn case_rows(case: &CaseReport) -> Vec<Vec<String>> {
    case.rows.iter().map(|row| case_row(case, row)).collect()
}

fn case_row(case: &CaseReport, row: &Row) -> Vec<String> {
    let walls = || row.samples.iter().map(|sample| sample.wall);
    let ratio = |base: Tool, metric: fn(&Sample) -> f64| {
        let comparable = row.tool.searches() || row.tool == Tool::Floor;
        optional(case.ratio(row.tool, base, metric).filter(|_| comparable))
    };
    vec![
        row.tool.to_string(),
        seconds(row.median(|sample| Some(sample.wall))),
        format!(
            "{} - {}",
            seconds(walls().min_by(f64::total_cmp)),
            seconds(walls().max_by(f64::total_cmp))
        ),
        seconds(row.median(|sample| Some(sample.cpu))),
        format!("{:.1}", row.peak_rss() as f64 / 1_048_576.0),
        row.median(|sample| sample.first_output)
            .map_or_else(|| "-".to_owned(), |time| format!("{:.1}", time * 1000.0)),
        if row.tool.searches() {
            row.output.lines.to_string()
        } else {
            "-".to_owned()
        },
        ratio(Tool::Rg, |sample| sample.wall),
        ratio(Tool::Rg, |sample| sample.cpu),
        ratio(Tool::Floor, |sample| sample.wall),
        match row.verdict {
            Verdict::Right => "right",
            Verdict::Torn => "torn lines",
            Verdict::Wrong => "WRONG",
        }
        .to_owned(),
    ]
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

/// A table whose lines are written by `line`, from the cells and the widths of the columns.
fn table(
    headings: &[&str],
    rows: &[Vec<String>],
    line: fn(&[String], &[usize]) -> String,
) -> String {
    let headings: Vec<_> = headings.iter().map(|&heading| heading.to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&headings]).map(|row| row[column].len());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..headings.len()).map(width).collect();
    let rules: Vec<_> = widths
        .iter()
        .map(|&width| "-".repeat(width.max(3)))
        .collect();
    [&headings, &rules]
        .into_iter()
        .chain(rows)
        .map(|row| line(row, &widths))
        .collect()
}

fn text_row(cells: &[String], widths: &[usize]) -> String {
    let cells: Vec<_> = cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:width$}"))
        .collect();
    format!("  {}\n", cells.join("  ").trim_end())
}

fn markdown_row(cells: &[String], _widths: &[usize]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// The name of the processor.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or_else(
            || "unknown processor".to_owned(),
            |(_, name)| name.trim().to_owned(),
        )
}
