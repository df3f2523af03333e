//! `regex-provision node discover`, `node approve` and `node forget`

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::file::{FileArgs, missing, summary, tell_problems};
use super::output::{print, tell};
use super::status::ServerArgs;
use crate::approve;
use crate::file::{Old, replace};
use crate::import::{ImportError, import};
use crate::model::{self, Hostname, MacAddr, NodeIp, ProfileName};
use crate::serve::{Answer, ask, forget as forget_machine};
use crate::status::view::UnknownStatus;
use crate::status::{Status, show};

/// List machines that want to boot and are not in cluster.toml.
///
/// They wait in a small system of their own until they are approved, and tell what they have: memory, cores, disks,
/// network interfaces. One that has not come that far yet is listed with what was heard of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision node discover
  regex-provision node approve 52:54:00:00:00:99 s9")]
pub(super) struct DiscoverArgs {
    /// Print a JSON array
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    file: FileArgs,
}

/// Add a machine that waits to cluster.toml, and say what `apply` will do.
///
/// It boots as a node once that is applied: a waiting machine sees it within seconds and boots again by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision node approve 52:54:00:00:00:99 s9
  regex-provision node approve 52:54:00:00:00:99 s9 --profile big && regex-provision apply")]
pub(super) struct ApproveArgs {
    /// The machine's Ethernet address, as `node discover` lists it
    #[arg(value_name = "MAC")]
    mac: MacAddr,

    /// The node's name
    #[arg(value_name = "NAME")]
    name: Hostname,

    /// Its profile
    #[arg(long, value_name = "NAME")]
    profile: Option<ProfileName>,

    /// Its address [default: the next free one; where another server gives out addresses, the one that it was seen at]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<NodeIp>,

    /// Add it although nothing was heard of such a machine
    #[arg(long)]
    unseen: bool,

    /// Print the new file instead of writing it
    #[arg(long, short = 'n')]
    dry_run: bool,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    file: FileArgs,
}

/// Forget a machine that is not in cluster.toml.
///
/// It is taken off the list of `node discover`. If it wants to boot again, it is listed again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision node forget 52:54:00:00:00:99")]
pub(super) struct ForgetArgs {
    /// The machine's Ethernet address, as `node discover` lists it
    #[arg(value_name = "MAC")]
    mac: MacAddr,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    file: FileArgs,
}

pub(super) fn discover(args: &DiscoverArgs) -> anyhow::Result<()> {
    let cluster = args.file.load()?;
    let Answer { status, kept } = ask(&cluster, args.server.server.as_deref())?;
    if let Some(why) = kept {
        tell(&format!(
            "regex-provision: {why}; this is what it has kept\n"
        ));
    }
    if args.json {
        return print(&format!("{:#}\n", json!(status.unknown)));
    }
    if status.unknown.is_empty() {
        return print("no machine is waiting\n");
    }
    print(&show::unknown(status.at, &status.unknown))
}

pub(super) fn approve(args: &ApproveArgs) -> anyhow::Result<()> {
    let path = args.file.path();
    let file = path.display().to_string();
    let text = model::read(&path).map_err(missing)?;
    let cluster = match model::parse(&text) {
        Ok(cluster) => cluster,
        Err(problems) => {
            tell_problems(&problems, &file, &text);
            bail!(
                "{}; correct the file first, nothing was written",
                summary(&problems, &path)
            )
        }
    };
    if let Some(node) = cluster.node_by_mac(args.mac) {
        bail!("{} is the node {} in {file} already", args.mac, node.name);
    }
    let mut seen_at = None;
    if !args.unseen {
        let Answer { status, .. } = ask(&cluster, args.server.server.as_deref())
            .context("cannot tell whether such a machine waits; --unseen adds it nevertheless")?;
        let Some(machine) = seen(&status, args.mac) else {
            bail!(
                "{}. --unseen adds it nevertheless",
                not_seen(&status, args.mac)
            );
        };
        seen_at = machine.address;
    }
    let address = match args.address {
        Some(address) => address,
        None => match approve::address(&cluster, seen_at) {
            Ok(address) => address,
            Err(why) => bail!("{why}; name one with --address, nothing was written"),
        },
    };
    let line = format!("{} {address} {}\n", args.name, args.mac);
    let new = match import(&text, line.as_bytes(), args.profile.as_ref()) {
        Ok(imported) => imported.text,
        Err(ImportError::After { misfits, .. }) => {
            let mut told = String::new();
            for misfit in &misfits {
                writeln!(told, "{}: {}", args.name, misfit.message)
                    .expect("writing to a String cannot fail");
            }
            tell(&told);
            bail!(
                "{} cannot be added to {file}; nothing was written",
                args.name
            )
        }
        // The line is made of values that are right.
        Err(error) => {
            return Err(error).with_context(|| format!("{} cannot be added to {file}", args.name));
        }
    };
    if args.dry_run {
        return print(&new);
    }
    replace(&path, Old::Is(text.as_bytes()), new.as_bytes())?;
    let added = model::parse(&new).ok().and_then(|cluster| {
        let node = cluster.node(&args.name)?;
        let image = &node.settings.image;
        Some(format!(
            "boots the image {image} into {}",
            node.settings.root
        ))
    });
    print(&format!(
        "{} is {} with the address {address} in {file}; it {} when that is applied\n\
         next: `regex-provision plan` shows what that changes, `regex-provision apply` does it; the machine then boots again by itself\n",
        args.mac,
        args.name,
        added.unwrap_or_else(|| "boots".into()),
    ))
}

pub(super) fn forget(args: &ForgetArgs) -> anyhow::Result<()> {
    let cluster = args.file.load()?;
    let file = args.file.path();
    if let Some(node) = cluster.node_by_mac(args.mac) {
        bail!(
            "{} is the node {}; what is not to be a node any more is taken out of {}, and `regex-provision apply` does the rest",
            args.mac,
            node.name,
            file.display()
        );
    }
    let server = args.server.server.as_deref();
    if !forget_machine(&cluster, server, args.mac)? {
        let Answer { status, .. } = ask(&cluster, server)?;
        bail!("{}", not_seen(&status, args.mac));
    }
    print(&format!(
        "{} is forgotten; it is listed again when it wants to boot again\n",
        args.mac
    ))
}

/// A machine that is one of those that wait.
fn seen(status: &Status, mac: MacAddr) -> Option<&UnknownStatus> {
    let mac = mac.to_string();
    status.unknown.iter().find(|machine| machine.mac == mac)
}

/// What is told where it is not.
fn not_seen(status: &Status, mac: MacAddr) -> String {
    let waiting: Vec<_> = status
        .unknown
        .iter()
        .map(|machine| machine.mac.as_str())
        .collect();
    let waiting = match &waiting[..] {
        [] => "no machine is waiting".to_owned(),
        waiting => format!("these wait: {}", waiting.join(", ")),
    };
    format!("no machine {mac} was heard of; {waiting}")
}
