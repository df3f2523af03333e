//! `regex-provision dhcp-hosts`

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::output::{counted, print, tell};
use crate::dhcp::{self, Format};
use crate::hosts::{self, MAX_LIST_BYTES, Problem};

/// Turn a host list into the DHCP server's reservations.
///
/// Each line of the list has three fields: hostname, IPv4 address, Ethernet address.
/// Blank lines and comments (from # to the end of the line) are allowed. All mistakes
/// are reported at once, with file, line and column, and then nothing is printed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision dhcp-hosts < host_ip_mac.txt > /etc/dnsmasq.d/nodes.conf
  regex-provision dhcp-hosts --format kea host_ip_mac.txt")]
pub(super) struct Args {
    /// The host list; standard input when absent or -
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The server that the list is for
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let (name, list) = read(args.file.as_deref())?;
    match hosts::parse(&list) {
        Ok(nodes) => print(&dhcp::reservations(args.format, &nodes)),
        Err(problems) => {
            tell_problems(&name, &problems);
            let count = counted(problems.len(), "problem");
            bail!("{count} in the host list {name}; nothing was printed")
        }
    }
}

/// The name of a host list for messages, and its bytes: a file, or standard input.
pub(super) fn read(file: Option<&Path>) -> anyhow::Result<(String, Vec<u8>)> {
    let file = file.filter(|path| path.as_os_str() != "-");
    let name = file.map_or_else(|| "stdin".to_owned(), |path| path.display().to_string());
    let list = match file {
        Some(path) => File::open(path).and_then(read_limited),
        None => read_limited(io::stdin().lock()),
    };
    let list = list.with_context(|| format!("cannot read the host list {name}"))?;
    Ok((name, list))
}

/// One line a problem.
pub(super) fn tell_problems(name: &str, problems: &[Problem]) {
    let mut told = String::new();
    for problem in problems {
        writeln!(told, "{name}:{problem}").expect("writing to a String cannot fail");
    }
    tell(&told);
}

/// Reads to the end, or to just behind the limit, which the parser then reports.
fn read_limited(input: impl Read) -> io::Result<Vec<u8>> {
    let mut list = Vec::new();
    input
        .take(MAX_LIST_BYTES as u64 + 1)
        .read_to_end(&mut list)?;
    Ok(list)
}
