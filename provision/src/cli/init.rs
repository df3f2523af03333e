//! `regex-provision init`

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;

use super::file::LOCAL_FILE;
use super::output::{print, tell};
use crate::file::{Old, replace};
use crate::init::{choose, render};
use crate::machine;
use crate::model::InterfaceName;

/// Write a first cluster.toml by looking at this machine.
///
/// Interfaces, addresses, routes, DNS, time zone and public keys are looked at, nothing is changed
/// and nothing is sent. Whoever answers DHCP on the chosen interface already is named: that is a
/// conflict. Nothing is overwritten without --force.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision init
  regex-provision init --interface eth1 /etc/regex-provision/cluster.toml")]
pub(super) struct Args {
    /// The file to write; - prints it
    #[arg(value_name = "FILE", default_value = LOCAL_FILE)]
    file: PathBuf,

    /// The interface that leads to the nodes; without this, the most probable one
    #[arg(long, short, value_name = "NAME")]
    interface: Option<InterfaceName>,

    /// Overwrite a file that is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let machine = machine::look();
    let interface = choose(&machine, args.interface.as_ref())?;
    let text = render(&machine, interface);
    let mut warnings = String::new();
    for server in machine.conflicts(interface) {
        writeln!(
            warnings,
            "regex-provision: conflict: {server} answers DHCP on this machine; \
             stop it, or write mode = \"external\" below [dhcp]"
        )
        .context("no memory")?;
    }
    if args.file.as_os_str() == "-" {
        tell(&warnings);
        return print(&text);
    }
    let old = if args.force { Old::Any } else { Old::Missing };
    replace(&args.file, old, text.as_bytes())?;
    tell(&warnings);
    let file = args.file.display();
    let name = &interface.name;
    print(&format!(
        "wrote {file} for the nodes behind {name}\n\
         next: read it, add nodes (`regex-provision node import`), and run `regex-provision check`\n"
    ))
}
