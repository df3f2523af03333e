//! The throughput benchmark: `cargo bench --bench throughput -- [--quick] ...`.
//!
//! Makes its corpus from a seed, then times regexctl, embedded and as a cluster on
//! loopback, beside ripgrep, ugrep, GNU grep, `xargs -P grep`, and the floor: a bare
//! open, read and close of every file. Every program is measured as a process, output
//! drained through a pipe, in alternation round by round, after a first run that warms the
//! page cache and is checked: all programs must print the same lines.
//!
//! A ratio is the median over the rounds of the ratio within a round, so that a drift of
//! the machine meets both sides. Exit status: 0 measured (targets met or not), 1 wrong
//! output or a run of regexctl that failed, 2 the benchmark itself could not run.
//!
//! The modules: `corpus` and `text` make the files, `cases` says what is run on them,
//! `tools` how each program is called, `cluster` runs the daemons, `process` measures one
//! process, `floor` is the floor, `measure` runs the rounds, `report` prints.

mod cases;
mod cluster;
mod corpus;
mod floor;
mod measure;
mod process;
mod report;
mod targets;
mod text;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::cases::CaseName;
use crate::corpus::Corpora;
use crate::report::Report;
use crate::tools::Tools;

/// Time regexctl beside its peers.
#[derive(Parser)]
#[command(name = "throughput")]
struct Options {
    /// A hundredth of the files and fewer rounds: checks that everything runs
    #[arg(long)]
    quick: bool,
    /// Only this case; may be given several times
    #[arg(long = "case", value_name = "NAME", value_enum)]
    cases: Vec<CaseName>,
    /// Rounds of each case [default: 5, or 3 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Where the corpus is made and kept [default: corpus/ in the target directory]
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// A source tree to search, such as Linux's, in place of the generated one
    #[arg(long, value_name = "DIR")]
    source_tree: Option<PathBuf>,
    /// Also write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write the report as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// The ripgrep to compare with [default: $RG, or rg on the PATH]
    #[arg(long, value_name = "PATH")]
    rg: Option<PathBuf>,
    /// Given by `cargo bench`; means nothing
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the floor on this tree, and nothing else
    #[arg(long, hide = true, value_name = "DIR")]
    floor: Option<PathBuf>,
    /// How many files the floor must find
    #[arg(long, hide = true, value_name = "N")]
    floor_files: Option<u64>,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("throughput: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every output was right.
fn run(options: Options) -> anyhow::Result<bool> {
    if let Some(tree) = options.floor {
        return floor::run(&tree, options.floor_files).map(|()| true);
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_regexctl"));
    let target = binary
        .ancestors()
        .nth(2)
        .context("the binary of regexctl is not in a target directory")?;
    let corpora = Corpora {
        dir: options.corpus.unwrap_or_else(|| target.join("corpus")),
        quick: options.quick,
        source_tree: options.source_tree,
    };
    let tools = Tools::find(binary, target, options.rg)?;
    let runs = options.runs.unwrap_or(if options.quick { 3 } else { 5 });
    let names = if options.cases.is_empty() {
        CaseName::ALL.to_vec()
    } else {
        options.cases
    };

    let mut report = Report::new(&tools, options.quick, runs);
    for name in names {
        let case = name.prepare(&corpora)?;
        let result = measure::case(&tools, &case, runs)?;
        print!("{}", report::case_text(&result));
        report.cases.push(result);
    }
    report.judge();
    print!("{}", report.summary_text());
    if let Some(path) = options.json {
        write(&path, &serde_json::to_string_pretty(&report)?)?;
    }
    if let Some(path) = options.markdown {
        write(&path, &report.markdown())?;
    }
    Ok(report.is_right())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
