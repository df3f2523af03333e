//! `regex-provision power on|off|cycle|status`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::file::FileArgs;
use super::output::{counted, print, tell};
use super::set::{NO_NODE, SET_HELP, SetArgs};
use crate::model::{Cluster, Node};
use crate::nodeset::fold;
use crate::power::{self, Action, Options, PowerError, Reply};
use crate::process::heed_signals;
use crate::serve::tell_tried;
use crate::status::{Means, TriedNode, Words};

/// Switch nodes on and off, and ask whether they are.
///
/// How a node is switched stands in cluster.toml (`bmc`): IPMI, Redfish, Wake-on-LAN, or commands of the site.
/// Nodes that are switched on begin one after the other, as `[power]` says. Exit status: 0 done for all, 1 failed
/// for some, or the answers could not be printed, 2 nothing was done.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = format!("\
Examples:
  regex-provision power status @all
  regex-provision power on 'rack1n[01-24]'
  regex-provision power cycle '@image=base'

{SET_HELP}"))]
pub(super) enum Command {
    /// Switch nodes on
    #[command(after_help = format!("\
Examples:
  regex-provision power on @all
  regex-provision power on s3 --netboot

{SET_HELP}"))]
    On(StartArgs),
    /// Switch nodes off, at once, as the power button does when it is held
    #[command(after_help = format!("\
Examples:
  regex-provision power off s3
  regex-provision power off '@rack1' --yes

{SET_HELP}"))]
    Off(ActArgs),
    /// Switch nodes off and on; those that are off are switched on
    #[command(after_help = format!("\
Examples:
  regex-provision power cycle '@down'
  regex-provision power cycle '@image=base' --yes

{SET_HELP}"))]
    Cycle(StartArgs),
    /// Ask whether nodes are on
    #[command(after_help = format!("\
Examples:
  regex-provision power status @all
  regex-provision power status @all --json | jq -r 'select(.error).node'

{SET_HELP}"))]
    Status(AskArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct StartArgs {
    #[command(flatten)]
    act: ActArgs,

    /// Boot from the network this time, whatever the firmware's order is (ipmi, redfish)
    #[arg(long)]
    netboot: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ActArgs {
    #[command(flatten)]
    ask: AskArgs,

    /// Do not ask first, however many nodes there are
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct AskArgs {
    #[command(flatten)]
    nodes: SetArgs,

    /// Print a JSON object a node and line, as the answers come
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    file: FileArgs,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let (action, ask, yes, netboot) = match command {
        Command::On(args) => (Action::On, &args.act.ask, args.act.yes, args.netboot),
        Command::Off(args) => (Action::Off, &args.ask, args.yes, false),
        Command::Cycle(args) => (Action::Cycle, &args.act.ask, args.act.yes, args.netboot),
        Command::Status(args) => (Action::Status, args, true, false),
    };
    let cluster = ask.file.load()?;
    let nodes = ask.nodes.select(&cluster)?;
    if nodes.is_empty() {
        tell(NO_NODE);
        return Ok(ExitCode::SUCCESS);
    }
    if !yes {
        confirm(&cluster, action, &nodes)?;
    }
    heed_signals().context("cannot listen for signals")?;
    let mut replies: BTreeMap<Reply, Vec<&Node>> = BTreeMap::new();
    let mut failures: BTreeMap<String, Vec<&Node>> = BTreeMap::new();
    let mut printed = Ok(());
    let mut tried = Vec::with_capacity(nodes.len());
    power::run(
        &cluster,
        &nodes,
        action,
        Options { netboot },
        |(node, result)| {
            if ask.json && printed.is_ok() {
                printed = print(&line(node, action, &result));
            }
            let problem = result.as_ref().err();
            if problem.is_none_or(PowerError::is_of_node) {
                tried.push(TriedNode {
                    mac: node.mac,
                    problem: problem.map(|error| Words::new(&error.to_string())),
                });
            }
            match result {
                Ok(reply) => replies.entry(reply).or_default().push(node),
                Err(error) => failures.entry(error.to_string()).or_default().push(node),
            }
        },
    );
    tell_tried(&cluster, Means::Power, &tried);
    if !ask.json {
        let mut told = String::new();
        for (reply, nodes) in &replies {
            writeln!(told, "{}: {}", names(nodes), word(*reply, action))
                .expect("writing to a String cannot fail");
        }
        printed = print(&told);
    }
    for (error, nodes) in &failures {
        tell(&format!("regex-provision: {}: {error}\n", names(nodes)));
    }
    let failed: usize = failures.values().map(Vec::len).sum();
    if failed > 0 {
        let all = counted(nodes.len(), "node");
        tell(&format!(
            "regex-provision: power {action}: {failed} of {all} failed\n"
        ));
    }
    // Something was done, so this is not an error of the command.
    if let Err(error) = &printed {
        tell(&format!("regex-provision: {error:#}\n"));
    }
    Ok(if failed == 0 && printed.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn names(nodes: &[&Node]) -> String {
    fold(nodes.iter().map(|node| node.name.as_str()))
}

fn word(reply: Reply, action: Action) -> String {
    match (reply, action) {
        (Reply::On, Action::On) => "on already".to_owned(),
        (Reply::Off, Action::Off) => "off already".to_owned(),
        (Reply::On, _) => "on".to_owned(),
        (Reply::Off, _) => "off".to_owned(),
        (Reply::Told, _) => format!("told to {}", verb(action)),
        (Reply::Sent, _) => "packet sent; nobody acknowledges it".to_owned(),
    }
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::On => "switch on",
        Action::Off => "switch off",
        Action::Cycle => "switch off and on",
        Action::Status => "answer",
    }
}

fn line(node: &Node, action: Action, result: &Result<Reply, PowerError>) -> String {
    let (reply, error) = match result {
        Ok(Reply::On) => (Some("on"), None),
        Ok(Reply::Off) => (Some("off"), None),
        Ok(Reply::Told) => (Some("told"), None),
        Ok(Reply::Sent) => (Some("sent"), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let line = json!({
        "node": node.name.as_str(),
        "action": action.word(),
        "reply": reply,
        "error": error,
    });
    format!("{line}\n")
}

/// Asks before many nodes are switched.
fn confirm(cluster: &Cluster, action: Action, nodes: &[&Node]) -> anyhow::Result<()> {
    let many = usize::try_from(cluster.power.confirm).unwrap_or(usize::MAX);
    if nodes.len() < many {
        return Ok(());
    }
    let what = format!("{} {}", verb(action), counted(nodes.len(), "node"));
    if !io::stdin().is_terminal() {
        bail!("to {what} without being asked, say --yes; nothing was done");
    }
    tell(&format!(
        "{what}: {}\nType the number of nodes to go on: ",
        names(nodes)
    ));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() != nodes.len().to_string() {
        bail!("not confirmed; nothing was done");
    }
    Ok(())
}
