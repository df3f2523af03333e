//! Runs a case: once to warm up and to check the output, then the timed rounds.

use serde::Serialize;

use crate::cases::Case;
use crate::cluster::Cluster;
use crate::process::{self, Check, Output, Sample};
use crate::tools::{Tool, Tools};

/// A peer whose first run took longer than this, in seconds, is timed in one round only.
const SLOW_SECONDS: f64 = 30.0;

/// What a case measured.
#[derive(Debug, Serialize)]
pub(crate) struct CaseReport {
    /// As on the command line.
    pub(crate) name: String,
    /// For people.
    pub(crate) about: &'static str,
    /// What was searched for.
    pub(crate) pattern: &'static str,
    /// Files and bytes that were searched, when known.
    pub(crate) files: Option<u64>,
    /// See `files`.
    pub(crate) bytes: Option<u64>,
    /// Whom it was measured of.
    pub(crate) rows: Vec<Row>,
    /// Who was left out, and why.
    pub(crate) left_out: Vec<LeftOut>,
}

/// The runs of one program.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Who.
    pub(crate) tool: Tool,
    /// What its output is.
    pub(crate) verdict: Verdict,
    /// What it printed when that was checked.
    pub(crate) output: Output,
    /// One a round.
    pub(crate) samples: Vec<Sample>,
}

/// A program that could not be measured.
#[derive(Debug, Serialize)]
pub(crate) struct LeftOut {
    /// Who.
    pub(crate) tool: Tool,
    /// Why.
    pub(crate) why: String,
}

/// How an output compares with the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Verdict {
    /// The same lines, or nothing to compare.
    Right,
    /// As many lines and bytes, but lines are torn: several processes wrote at once.
    Torn,
    /// Something else.
    Wrong,
}

/// Measures a case in `runs` rounds (or a multiple, as the case says).
pub(crate) fn case(tools: &Tools, case: &Case, runs: u32) -> anyhow::Result<CaseReport> {
    let contents = case.corpus.contents;
    let mut report = CaseReport {
        name: case.name.clone(),
        about: case.about,
        pattern: case.pattern,
        files: contents.map(|contents| contents.files),
        bytes: contents.map(|contents| contents.bytes),
        rows: Vec::new(),
        left_out: Vec::new(),
    };
    let mut runner = Runner {
        tools,
        case,
        cluster: None,
    };
    let mut warm_ups = Vec::new();
    for &tool in case.tools {
        match runner.run(tool, Check::Hash) {
            Ok(sample) => warm_ups.push((tool, sample)),
            Err(error) => report.left_out.push(LeftOut {
                tool,
                why: format!("{error:#}"),
            }),
        }
    }
    // The reference is ripgrep, or else the first that is not ours.
    let reference = warm_ups
        .iter()
        .filter(|(tool, _)| tool.searches())
        .min_by_key(|(tool, _)| (*tool != Tool::Rg, tool.is_ours()))
        .map(|(_, sample)| sample.output);
    for (tool, sample) in &warm_ups {
        report.rows.push(Row {
            tool: *tool,
            verdict: verdict(case, *tool, sample.output, reference),
            output: sample.output,
            samples: Vec::new(),
        });
    }
    for round in 0..runs * case.rounds_factor {
        for (row, (_, warm_up)) in report.rows.iter_mut().zip(&warm_ups) {
            if round > 0 && warm_up.wall > SLOW_SECONDS && !row.tool.is_ours() {
                continue;
            }
            let sample = runner.run(row.tool, Check::Count)?;
            let Output { lines, bytes, .. } = sample.output;
            if (lines, bytes) != (row.output.lines, row.output.bytes) {
                row.verdict = Verdict::Wrong;
            }
            row.samples.push(sample);
        }
    }
    Ok(report)
}

fn verdict(case: &Case, tool: Tool, output: Output, reference: Option<Output>) -> Verdict {
    if !tool.searches() {
        return Verdict::Right;
    }
    let expected = case
        .expected_lines
        .is_none_or(|lines| lines == output.lines);
    match reference {
        _ if !expected => Verdict::Wrong,
        Some(reference) if output.hash == reference.hash => Verdict::Right,
        Some(reference)
            if tool == Tool::XargsGrep
                && (output.lines, output.bytes) == (reference.lines, reference.bytes) =>
        {
            Verdict::Torn
        }
        Some(_) => Verdict::Wrong,
        None => Verdict::Right,
    }
}

/// Runs the programs of a case, and keeps its cluster between the runs.
struct Runner<'a> {
    tools: &'a Tools,
    case: &'a Case,
    cluster: Option<Cluster>,
}

impl Runner<'_> {
    fn run(&mut self, tool: Tool, check: Check) -> anyhow::Result<Sample> {
        if tool == Tool::Cluster {
            return self.run_cluster(check);
        }
        let command = self.tools.command(tool, self.case, "")?;
        process::measure(command, check, |status| tool.accepts(status))
    }

    /// CPU and memory are the client's and the daemons' together.
    fn run_cluster(&mut self, check: Check) -> anyhow::Result<Sample> {
        let cluster = match self.cluster.take() {
            Some(cluster) => cluster,
            None => Cluster::start(&self.tools.cluster()?, &self.case.corpus.path)?,
        };
        let cluster = self.cluster.insert(cluster);
        let command = self
            .tools
            .command(Tool::Cluster, self.case, cluster.url())?;
        let before = cluster.usage()?;
        let sample = process::measure(command, check, |status| Tool::Cluster.accepts(status))?;
        let after = cluster.usage()?;
        Ok(Sample {
            cpu: sample.cpu + after.cpu.saturating_sub(before.cpu).as_secs_f64(),
            peak_rss: sample.peak_rss.max(after.worker_rss).max(after.master_rss),
            master_rss: Some(after.master_rss),
            ..sample
        })
    }
}

impl CaseReport {
    /// The row of a program that was measured.
    pub(crate) fn row(&self, tool: Tool) -> Option<&Row> {
        self.rows.iter().find(|row| row.tool == tool)
    }

    /// The median over the rounds of what `metric` says of `tool`, divided by what it says of
    /// `base` in the same round.
    pub(crate) fn ratio(
        &self,
        tool: Tool,
        base: Tool,
        metric: impl Fn(&Sample) -> f64,
    ) -> Option<f64> {
        let pairs = self.row(tool)?.samples.iter().zip(&self.row(base)?.samples);
        median(pairs.map(|(ours, theirs)| metric(ours) / metric(theirs)))
    }
}

impl Row {
    /// The median of what `metric` says of each round.
    pub(crate) fn median(&self, metric: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        median(self.samples.iter().filter_map(metric))
    }

    /// The largest resident set, bytes.
    pub(crate) fn peak_rss(&self) -> u64 {
        self.samples
            .iter()
            .map(|sample| sample.peak_rss)
            .max()
            .unwrap_or(0)
    }

    /// The master's, bytes.
    pub(crate) fn master_rss(&self) -> Option<u64> {
        self.samples
            .iter()
            .filter_map(|sample| sample.master_rss)
            .max()
    }
}

/// The median of some numbers; the mean of the middle two when there are two.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}
