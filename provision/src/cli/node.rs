//! `regex-provision node list|import`; `discover` has the rest

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;

use super::file::{FileArgs, missing, summary, tell_problems};
use super::output::{counted, print, table, tell};
use super::set::{ExcludeArgs, SET_HELP};
use super::{dhcp_hosts, discover};
use crate::file::{Old, replace};
use crate::import::{ImportError, Imported, import};
use crate::model::{self, BmcKind, Cluster, Node, ProfileName};
use crate::nodeset::{NodeSet, fold};

/// List and add nodes.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  regex-provision node import < host_ip_mac.txt
  regex-provision node list")]
pub(super) enum Command {
    List(ListArgs),
    Import(ImportArgs),
    Discover(discover::DiscoverArgs),
    Approve(discover::ApproveArgs),
    Forget(discover::ForgetArgs),
}

/// List nodes with what cluster.toml says of them.
#[derive(Debug, clap::Args)]
#[command(visible_alias = "ls", after_help = format!("\
Examples:
  regex-provision node list
  regex-provision node list '@big' --fold
  regex-provision node list --json | jq -r '.[].mac'

{SET_HELP}"))]
pub(super) struct ListArgs {
    /// The nodes; without this, all
    #[arg(value_name = "NODES")]
    nodes: Option<NodeSet>,

    #[command(flatten)]
    exclude: ExcludeArgs,

    /// Print one line: the names, by ranges
    #[arg(long, conflicts_with = "json")]
    fold: bool,

    /// Print a JSON array with everything that is known of each node, but no secrets
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    file: FileArgs,
}

/// Add the nodes of a host list to cluster.toml.
///
/// Each line of the list has three fields: hostname, IPv4 address, Ethernet address. Each becomes
/// a section behind the nodes that are there; comments and formatting of the file stay. All mistakes
/// are reported at once, with their place in the list, and then nothing is written.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision node import < host_ip_mac.txt
  regex-provision node import --profile rack1 rack1.txt")]
pub(super) struct ImportArgs {
    /// The host list; standard input when absent or -
    #[arg(value_name = "LIST")]
    list: Option<PathBuf>,

    /// The profile of the nodes
    #[arg(long, value_name = "NAME")]
    profile: Option<ProfileName>,

    /// Print the new file instead of writing it
    #[arg(long, short = 'n')]
    dry_run: bool,

    #[command(flatten)]
    file: FileArgs,
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(args) => list(&args),
        Command::Import(args) => add(&args),
        Command::Discover(args) => discover::discover(&args),
        Command::Approve(args) => discover::approve(&args),
        Command::Forget(args) => discover::forget(&args),
    }
}

fn list(args: &ListArgs) -> anyhow::Result<()> {
    let cluster = args.file.load()?;
    let nodes = args.exclude.select(args.nodes.as_ref(), &cluster)?;
    if args.json {
        let nodes: Vec<_> = nodes.iter().map(|node| described(&cluster, node)).collect();
        return print(&format!("{:#}\n", serde_json::Value::from(nodes)));
    }
    if args.fold {
        let names = fold(nodes.iter().map(|node| node.name.as_str()));
        return print(&format!("{names}\n"));
    }
    let heading = ["NAME", "ADDRESS", "MAC", "IMAGE", "ROOT", "PROFILE", "TAGS"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(nodes.iter().map(|node| row(node)));
    print(&table(&rows))
}

fn row(node: &Node) -> Vec<String> {
    let settings = &node.settings;
    let or_dash = |list: String| {
        if list.is_empty() {
            "-".to_owned()
        } else {
            list
        }
    };
    vec![
        node.name.to_string(),
        node.address.to_string(),
        node.mac.to_string(),
        settings.image.to_string(),
        settings.root.to_string(),
        or_dash(joined(&settings.profiles)),
        or_dash(joined(&settings.tags)),
    ]
}

fn joined<T: ToString>(items: &[T]) -> String {
    strings(items).join(",")
}

fn strings<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn described(cluster: &Cluster, node: &Node) -> serde_json::Value {
    let settings = &node.settings;
    let worker = settings.worker.as_ref().map(|worker| {
        json!({
            "threads": worker.threads,
            "slots": worker.slots,
            "roots": strings(&worker.roots),
        })
    });
    json!({
        "name": node.name.as_str(),
        "full_name": cluster.full_name(node),
        "address": node.address.to_string(),
        "mac": node.mac.to_string(),
        "image": settings.image.as_str(),
        "root": settings.root.as_str(),
        "usr": settings.usr.as_str(),
        "loader": settings.loader.as_str(),
        "kernel_args": strings(&settings.kernel_args),
        "consoles": strings(&settings.consoles),
        "profiles": strings(&settings.profiles),
        "tags": strings(&settings.tags),
        "exports": strings(&settings.exports),
        "worker": worker,
        "bmc": node.bmc.as_ref().map(|bmc| switch(&bmc.kind)),
        "line": node.line,
    })
}

fn switch(kind: &BmcKind) -> serde_json::Value {
    match kind {
        BmcKind::Ipmi { address, port } => {
            json!({ "kind": "ipmi", "address": address.to_string(), "port": port })
        }
        BmcKind::Redfish { url, system, .. } => {
            json!({ "kind": "redfish", "url": url.as_str(), "system": system })
        }
        BmcKind::Wol { port } => json!({ "kind": "wol", "port": port }),
        // The commands may hold anything, so they are not shown.
        BmcKind::Command { .. } => json!({ "kind": "command" }),
    }
}

fn add(args: &ImportArgs) -> anyhow::Result<()> {
    let path = args.file.path();
    let text = model::read(&path).map_err(missing)?;
    let (list_name, list) = dhcp_hosts::read(args.list.as_deref())?;
    let file = path.display().to_string();
    let Imported { text: new, nodes } = match import(&text, &list, args.profile.as_ref()) {
        Ok(imported) => imported,
        Err(ImportError::Before(problems)) => {
            tell_problems(&problems, &file, &text);
            bail!(
                "{}; correct the file first, nothing was written",
                summary(&problems, &path)
            )
        }
        Err(ImportError::List(problems)) => {
            dhcp_hosts::tell_problems(&list_name, &problems);
            let count = counted(problems.len(), "problem");
            bail!("{count} in the host list {list_name}; nothing was written")
        }
        Err(ImportError::After { misfits, omitted }) => {
            let mut told = String::new();
            for misfit in &misfits {
                let name = if misfit.place.is_some() {
                    &list_name
                } else {
                    &file
                };
                writeln!(told, "{name}:{misfit}").expect("writing to a String cannot fail");
            }
            tell(&told);
            let count = counted(misfits.len() + omitted, "problem");
            bail!("{count} in the host list {list_name}; nothing was written")
        }
        Err(error @ ImportError::Edit(_)) => return Err(error.into()),
    };
    if args.dry_run {
        return print(&new);
    }
    if nodes.is_empty() {
        return print(&format!(
            "{list_name} names no nodes; {file} is as it was\n"
        ));
    }
    replace(&path, Old::Is(text.as_bytes()), new.as_bytes())?;
    let names = fold(nodes.iter().map(|node| node.hostname.as_str()));
    let count = counted(nodes.len(), "node");
    print(&format!("{count} added to {file}: {names}\n"))
}
