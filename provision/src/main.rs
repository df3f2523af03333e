//! `regex-provision`: the command line of the provisioner.
//!
//! Parses, calls the library, prints. Standard output holds the whole result or nothing.
//! Exit status: 0 done, 2 anything else.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use regexctl_provision::dhcp::{self, Format};
use regexctl_provision::hosts::{self, MAX_LIST_BYTES};

/// Provision the nodes of a regexctl cluster.
#[derive(Parser)]
#[command(name = "regex-provision", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Turn a host list into the DHCP server's reservations.
    ///
    /// Each line of the list has three fields: hostname, IPv4 address, Ethernet address.
    /// Blank lines and comments (from # to the end of the line) are allowed. All mistakes
    /// are reported at once, with file, line and column, and then nothing is printed.
    #[command(after_help = "\
Examples:
  regex-provision dhcp-hosts < host_ip_mac.txt > /etc/dnsmasq.d/nodes.conf
  regex-provision dhcp-hosts --format kea host_ip_mac.txt")]
    DhcpHosts {
        /// The host list; standard input when absent or -
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// The server that the list is for
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::DhcpHosts { file, format } => dhcp_hosts(file, format),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("regex-provision: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn dhcp_hosts(file: Option<PathBuf>, format: Format) -> anyhow::Result<()> {
    let file = file.filter(|path| path.as_os_str() != "-");
    let name = file
        .as_deref()
        .map_or_else(|| "stdin".to_owned(), |path| path.display().to_string());
    let list = match &file {
        Some(path) => File::open(path).and_then(read_limited),
        None => read_limited(io::stdin().lock()),
    }
    .with_context(|| format!("cannot read the host list {name}"))?;

    match hosts::parse(&list) {
        Ok(nodes) => print(&dhcp::reservations(format, &nodes)),
        Err(problems) => {
            let count = problems.len();
            let mut stderr = BufWriter::new(io::stderr().lock());
            for problem in problems {
                // Without standard error there is nobody to tell; the exit status remains.
                let _ = writeln!(stderr, "{name}:{problem}");
            }
            drop(stderr);
            let s = if count == 1 { "" } else { "s" };
            bail!("{count} problem{s} in the host list {name}; nothing was printed")
        }
    }
}

/// Reads to the end, or to just behind the limit, which the parser then reports.
fn read_limited(input: impl Read) -> io::Result<Vec<u8>> {
    let mut list = Vec::new();
    input
        .take(MAX_LIST_BYTES as u64 + 1)
        .read_to_end(&mut list)?;
    Ok(list)
}

/// Prints the result. A reader that has gone away wants no message.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}
