//! `regex-provision doctor`

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::json;

use super::file::FileArgs;
use super::output::{counted, print, stdout_has_colours};
use crate::doctor::{Finding, Level, Options, examine};
use crate::model::Timespan;

/// Find what keeps nodes from booting, on this machine and its network.
///
/// The services are asked as a node asks them: a DHCP discovery is sent, a loader is fetched over TFTP, the boot
/// endpoint is asked over HTTP. Nothing is changed. Exit status: 0 no problem and no warning, 1 some, 2 nothing was looked at.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sudo regex-provision doctor
  sudo regex-provision doctor --json | jq '.[] | select(.level != \"fine\")'")]
pub(super) struct Args {
    /// Print a JSON array
    #[arg(long)]
    json: bool,

    /// How long to wait for DHCP servers
    #[arg(long, value_name = "TIME", default_value = "4s")]
    dhcp_wait: Timespan,

    #[command(flatten)]
    file: FileArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let cluster = args.file.load()?;
    let options = Options {
        dhcp_wait: args.dhcp_wait.0,
        ..Options::default()
    };
    let findings = examine(&cluster, options);
    print(&if args.json {
        as_json(&findings)
    } else {
        as_text(&findings, stdout_has_colours())
    })?;
    let bad = findings
        .iter()
        .any(|finding| finding.level >= Level::Warning);
    Ok(if bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn as_json(findings: &[Finding]) -> String {
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "topic": finding.topic,
                "level": finding.level.word(),
                "what": finding.what,
                "fix": finding.fix,
            })
        })
        .collect();
    format!("{:#}\n", serde_json::Value::from(findings))
}

fn as_text(findings: &[Finding], colours: bool) -> String {
    let mut told = String::new();
    for finding in findings {
        let colour = match finding.level {
            Level::Fine => "32",
            Level::Unknown => "36",
            Level::Warning => "33",
            Level::Problem => "31",
        };
        let level = format!("{:<8}", finding.level.word());
        let level = if colours {
            format!("\x1b[{colour}m{level}\x1b[0m")
        } else {
            level
        };
        let _ = writeln!(told, "{level} {:<9} {}", finding.topic, finding.what);
        if let Some(fix) = &finding.fix {
            let _ = writeln!(told, "{:18} -> {fix}", "");
        }
    }
    let count = |level| {
        findings
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    };
    let _ = writeln!(
        told,
        "{}, {}, {} unknown, {} fine",
        counted(count(Level::Problem), "problem"),
        counted(count(Level::Warning), "warning"),
        count(Level::Unknown),
        count(Level::Fine),
    );
    told
}
