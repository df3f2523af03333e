//! The command line of `regex-provision`: parses, calls the library, prints.
//!
//! A command is a module here with an `Args` struct and a `run`. Standard output holds the
//! whole result or nothing. Exit status: 0 done, 2 anything else.
//!
//! What commands share: [`file`] finds and loads `cluster.toml`, [`set`] chooses nodes,
//! [`output`] prints.

pub mod file;
pub mod output;
pub mod set;

mod check;
mod dhcp_hosts;
mod help;
mod image;
mod init;
mod node;
mod schema;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::image::inside;

/// Turn bare machines into the nodes of a regexctl cluster.
///
/// One file, cluster.toml, describes the cluster; everything else is made from it.
#[derive(Parser)]
#[command(
    name = "regex-provision",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "\
Examples:
  regex-provision init                     # write a cluster.toml for this machine
  regex-provision node import < host_ip_mac.txt
  regex-provision check"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Args),
    Check(check::Args),
    #[command(subcommand)]
    Node(node::Command),
    #[command(subcommand)]
    Image(image::Command),
    Schema(schema::Args),
    DhcpHosts(dhcp_hosts::Args),
    /// Not for people: what this program does when it is started inside an image.
    #[command(subcommand, hide = true)]
    Inside(inside::Action),
    Completions(help::CompletionsArgs),
    Man(help::ManArgs),
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Init(args) => init::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Node(command) => node::run(command),
        Command::Image(command) => return ended(image::run(command)),
        Command::Inside(action) => inside::act(action),
        Command::Schema(_) => schema::run(),
        Command::DhcpHosts(args) => dhcp_hosts::run(&args),
        Command::Completions(args) => help::completions(&args),
        Command::Man(args) => help::man(&args),
    };
    ended(result.map(|()| ExitCode::SUCCESS))
}

/// The exit status; an error is told.
fn ended(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("regex-provision: {error:#}");
        ExitCode::from(2)
    })
}

/// The definition of the command line.
pub fn command() -> clap::Command {
    Cli::command()
}
