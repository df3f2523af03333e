//! The command line of `regex-provision`: parses, calls the library, prints.
//!
//! A command is a module here with an `Args` struct and a `run`. Standard output holds the
//! whole result or nothing. Exit status: 0 done, 2 anything else; `plan` and commands for many nodes have
//! further ones, which their help tells.
//!
//! What commands share: [`file`](mod@file) finds and loads `cluster.toml`, [`set`] chooses nodes,
//! [`output`] prints.

pub mod file;
pub mod output;
pub mod set;

mod apply;
mod check;
mod dhcp_hosts;
mod discover;
mod doctor;
mod fanout;
mod help;
mod image;
mod init;
mod node;
mod power;
mod schema;
mod serve;
mod status;

use std::env;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use rustix::fs::Mode;

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
    Serve(serve::Args),
    Status(status::Args),
    #[command(subcommand)]
    Image(image::Command),
    #[command(subcommand)]
    Power(power::Command),
    Exec(fanout::ExecArgs),
    Copy(fanout::CopyArgs),
    Ssh(fanout::SshArgs),
    Doctor(doctor::Args),
    Schema(schema::Args),
    DhcpHosts(dhcp_hosts::Args),
    /// Not for people: what this program does when it is started inside an image.
    #[command(subcommand, hide = true)]
    Inside(inside::Action),
    Completions(help::CompletionsArgs),
    Man(help::ManArgs),
}

impl Command {
    /// Whether other users, such as dnsmasq's, must be able to read what it makes, whatever whoever runs it
    /// keeps to themselves. What is secret has its own mode.
    fn makes_what_daemons_read(&self) -> bool {
        matches!(
            self,
            Self::Apply(_) | Self::Rollback(_) | Self::Serve(_) | Self::Image(_)
        )
    }
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => {
            // Without standard error there is nobody to tell.
            let _ = error.print();
            let counts_nodes = env::args_os()
                .nth(1)
                .is_some_and(|name| name == "exec" || name == "copy");
            return match error.exit_code() {
                0 => ExitCode::SUCCESS,
                // To these two any other status is a number of nodes.
                _ if counts_nodes => ExitCode::from(fanout::NOT_RUN),
                _ => ExitCode::from(2),
            };
        }
    };
    if command.makes_what_daemons_read() {
        rustix::process::umask(Mode::from_bits_truncate(0o022));
    }
    let result = match command {
        Command::Init(args) => init::run(&args).map(done),
        Command::Check(args) => check::run(&args).map(done),
        Command::Plan(args) => apply::plan(&args),
        Command::Apply(args) => apply::apply(&args).map(done),
        Command::Rollback(args) => apply::rollback(&args).map(done),
        Command::Generations(args) => apply::generations(&args).map(done),
        Command::Node(command) => node::run(command).map(done),
        Command::Image(command) => image::run(command),
        Command::Inside(action) => inside::act(action).map(done),
        Command::Serve(args) => serve::run(&args).map(done),
        Command::Status(args) => status::run(&args).map(done),
        Command::Power(command) => power::run(&command),
        Command::Exec(args) => Ok(fanout::exec(&args)),
        Command::Copy(args) => Ok(fanout::copy(&args)),
        Command::Ssh(args) => fanout::ssh(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Schema(_) => schema::run().map(done),
        Command::DhcpHosts(args) => dhcp_hosts::run(&args).map(done),
        Command::Completions(args) => help::completions(&args).map(done),
        Command::Man(args) => help::man(&args).map(done),
    };
    result.unwrap_or_else(|error| {
        // Not with `eprintln!`, which panics where nobody listens.
        let hint = hint(&error);
        output::tell(&format!("regex-provision: {error:#}{hint}\n"));
        ExitCode::from(2)
    })
}

/// What to do about an error that does not say it itself.
fn hint(error: &anyhow::Error) -> &'static str {
    let is_denied = error.chain().any(|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        cause.is_some_and(|cause| cause.kind() == ErrorKind::PermissionDenied)
    });
    if is_denied && !rustix::process::geteuid().is_root() {
        "; run it with sudo"
    } else {
        ""
    }
}

/// The definition of the command line.
pub fn command() -> clap::Command {
    Cli::command()
}
