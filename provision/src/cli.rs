//! The command line of `regex-provision`: parses, calls the library, prints.
//!
//! A command is a module here with an `Args` struct and a `run`. Standard output holds the
//! whole result or nothing. Exit status: 0 done, 2 anything else; `plan` has one more.
//!
//! What commands share: [`file`] finds and loads `cluster.toml`, [`set`] chooses nodes,
//! [`output`] prints.

pub mod file;
pub mod output;
pub mod set;

mod apply;
mod check;
mod dhcp_hosts;
mod help;
mod init;
mod node;
mod schema;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

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
  regex-provision check
  regex-provision plan                     # what would change
  regex-provision apply"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Args),
    Check(check::Args),
    Plan(apply::PlanArgs),
    Apply(apply::ApplyArgs),
    Rollback(apply::RollbackArgs),
    Generations(apply::GenerationsArgs),
    #[command(subcommand)]
    Node(node::Command),
    Schema(schema::Args),
    DhcpHosts(dhcp_hosts::Args),
    Completions(help::CompletionsArgs),
    Man(help::ManArgs),
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Init(args) => init::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Plan(args) => match apply::plan(&args) {
            Ok(status) => return status,
            Err(error) => Err(error),
        },
        Command::Apply(args) => apply::apply(&args),
        Command::Rollback(args) => apply::rollback(&args),
        Command::Generations(args) => apply::generations(&args),
        Command::Node(command) => node::run(command),
        Command::Schema(_) => schema::run(),
        Command::DhcpHosts(args) => dhcp_hosts::run(&args),
        Command::Completions(args) => help::completions(&args),
        Command::Man(args) => help::man(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("regex-provision: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The definition of the command line.
pub fn command() -> clap::Command {
    Cli::command()
}
