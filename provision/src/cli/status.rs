//! `regex-provision status`

use std::io::{IsTerminal as _, Write as _};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context as _;

use super::file::FileArgs;
use super::output::{print, stdout_has_colours, tell};
use super::set::{ExcludeArgs, SET_HELP};
use crate::model::{Cluster, Node};
use crate::nodeset::NodeSet;
use crate::serve::{Answer, ask, states};
use crate::status::show::{self, Look};
use crate::status::view::NodeStatus;

/// How often `--watch` looks.
const EVERY: Duration = Duration::from_secs(1);

/// Where the boot endpoint is.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ServerArgs {
    /// The boot endpoint to ask [default: `REGEX_PROVISION_SERVER`, else that of cluster.toml; if it does not answer, what it has kept]
    #[arg(long, value_name = "URL")]
    pub(super) server: Option<String>,
}

/// Show where nodes are, why, and what they have booted.
///
/// Each node's furthest stage, when it was last heard of, the image that it has booted, and the reason: the node's own
/// words when it failed; what to look at when it hangs; why a reboot is needed, if what it would boot now is something else.
/// For one node alone, how it came up, stage by stage.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  regex-provision status
  regex-provision status --watch '@rack1'
  regex-provision status s3                # how it came up, stage by stage
  regex-provision status --timing

{SET_HELP}"))]
pub(super) struct Args {
    /// The nodes; without this, all
    #[arg(value_name = "NODES")]
    nodes: Option<NodeSet>,

    #[command(flatten)]
    exclude: ExcludeArgs,

    /// Look again every second, until interrupted
    #[arg(long, short)]
    watch: bool,

    /// Print JSON; with --watch a line each time
    #[arg(long, conflicts_with = "timing")]
    json: bool,

    /// Print how long stages took in the last boots: half of them, and 95 of 100, at most
    #[arg(long)]
    timing: bool,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    file: FileArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let cluster = args.file.load()?;
    if !args.watch {
        let (text, note) = look(args, &cluster, None)?;
        tell(&note);
        return print(&text);
    }
    // What is not in the cluster now will not be there in a second either.
    args.exclude
        .select_by(args.nodes.as_ref(), &cluster, Some(&|_: &Node| None))?;
    let is_terminal = std::io::stdout().is_terminal() && !args.json;
    loop {
        let size = is_terminal.then(terminal_size);
        // A boot endpoint that is restarted is no reason to end.
        let (text, note) = look(args, &cluster, size)
            .unwrap_or_else(|error| (String::new(), format!("{error:#}\n")));
        let mut out = String::new();
        if is_terminal {
            // Home, and behind the text clear the rest: nothing flickers.
            let text = (note + &text).replace('\n', "\u{1b}[K\n");
            out = format!("\u{1b}[H{text}\u{1b}[J");
        } else {
            tell(&note);
            out.push_str(&text);
        }
        let mut stdout = std::io::stdout().lock();
        let written = stdout
            .write_all(out.as_bytes())
            .and_then(|()| stdout.flush());
        match written {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            result => result.context("cannot write to standard output")?,
        }
        drop(stdout);
        sleep(EVERY);
    }
}

/// What is shown, and what is said about it.
fn look(
    args: &Args,
    cluster: &Cluster,
    size: Option<(usize, usize)>,
) -> anyhow::Result<(String, String)> {
    let Answer { mut status, kept } = ask(cluster, args.server.server.as_deref())?;
    let note = kept.map_or_else(String::new, |why| {
        format!("regex-provision: {why}; this is what it has kept\n")
    });
    let states = states(&status);
    let chosen = args
        .exclude
        .select_by(args.nodes.as_ref(), cluster, Some(&states))?;
    let names: std::collections::HashSet<_> =
        chosen.iter().map(|node| node.name.as_str()).collect();
    let is_all = args.nodes.is_none() && args.exclude.exclude.is_empty();
    if args.json {
        if !is_all {
            status.nodes.retain(|node| names.contains(&*node.name));
        }
        let json = if args.watch {
            serde_json::to_string(&status)
        } else {
            serde_json::to_string_pretty(&status)
        };
        return Ok((json? + "\n", note));
    }
    if args.timing {
        return Ok((show::timing(&status), note));
    }
    let nodes: Vec<&NodeStatus> = status
        .nodes
        .iter()
        .filter(|node| is_all || names.contains(&*node.name))
        .collect();
    let look = Look {
        colours: stdout_has_colours(),
        width: size.map(|(width, _)| width),
        height: size.map(|(_, height)| height.saturating_sub(1 + note.lines().count())),
    };
    let text = match &nodes[..] {
        [one] if !is_all => show::one(one),
        nodes => show::nodes(&status, nodes, look),
    };
    Ok((text, note))
}

/// Columns and lines of the terminal.
fn terminal_size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}
