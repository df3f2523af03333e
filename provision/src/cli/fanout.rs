//! `regex-provision exec`, `copy` and `ssh`

mod told;

use std::env;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::file::FileArgs;
use super::output::tell;
use super::set::{ExcludeArgs, NO_NODE, SET_HELP};
use crate::fanout::{Event, Gathered, Remote, command_line, execute, package_hint};
use crate::model::{Cluster, Node, Timespan};
use crate::nodeset::NodeSet;
use crate::process::heed_signals;
use told::Streams;

/// The exit status when more nodes failed than a status can count.
const MANY_FAILED: u8 = 101;

/// The exit status when no node failed, and what they printed was lost.
const NOT_PRINTED: u8 = 102;

/// The exit status when nothing was done.
pub(super) const NOT_RUN: u8 = 255;

const STATUS_HELP: &str = "\
Exit status: 0 it went well everywhere, 1 to 100 on so many nodes it did not, 101 on more,
102 it went well, but what the nodes printed could not be written, 255 nothing was done.
Which nodes failed is told on standard error. Ctrl-C ends what still runs: what has come by then
is printed, and the nodes that had not ended count as failed.";

/// How nodes are logged in to, and how many at once.
#[derive(Debug, clap::Args)]
struct WindowArgs {
    /// Connections at once [default: `parallel` in [ssh]]
    #[arg(long, short = 'P', value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: Option<u16>,

    /// How long it may take for a node, such as 30s or 5m [default: no limit]
    #[arg(long, value_name = "TIME")]
    timeout: Option<Timespan>,

    #[command(flatten)]
    login: LoginArgs,
}

#[derive(Debug, clap::Args)]
struct LoginArgs {
    /// Log in as this user [default: `user` in [ssh]]
    #[arg(long, short, value_name = "NAME")]
    user: Option<String>,

    /// An option of ssh, such as ProxyJump=gate; may be given several times
    #[arg(long = "ssh-option", short = 'o', value_name = "OPTION")]
    options: Vec<String>,

    #[command(flatten)]
    file: FileArgs,
}

/// Run a command on nodes, and fold equal outputs together.
///
/// One argument is a line for the node's shell; several arrive as they are, whatever is in them. What a node
/// prints on standard output and standard error is shown together.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
{STATUS_HELP}

Examples:
  regex-provision exec @all -- uptime
  regex-provision exec 'rack1n[01-24]' 'dmesg | tail -n 1'
  regex-provision exec @down --timeout 10s -- systemctl is-system-running

{SET_HELP}"))]
pub(super) struct ExecArgs {
    /// The nodes
    #[arg(value_name = "NODES")]
    nodes: NodeSet,

    /// The command
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    command: Vec<String>,

    /// Print each line as it comes, behind the node's name, instead of folding
    #[arg(long, short)]
    stream: bool,

    #[command(flatten)]
    exclude: ExcludeArgs,

    #[command(flatten)]
    window: WindowArgs,
}

/// Copy files and directories to nodes.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
{STATUS_HELP}

Examples:
  regex-provision copy @all worker.env /etc/regexctl/
  regex-provision copy s1 patterns/ notes.txt /root

{SET_HELP}"))]
pub(super) struct CopyArgs {
    /// The nodes
    #[arg(value_name = "NODES")]
    nodes: NodeSet,

    /// What is copied
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Where to, on the node
    #[arg(value_name = "DESTINATION")]
    destination: String,

    #[command(flatten)]
    exclude: ExcludeArgs,

    #[command(flatten)]
    window: WindowArgs,
}

/// Log in to a node.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision ssh s3
  regex-provision ssh s3 systemctl status regex-worker
  regex-provision ssh -o ProxyJump=gate s3")]
pub(super) struct SshArgs {
    /// The node
    #[arg(value_name = "NODE")]
    node: NodeSet,

    /// A command in place of the login shell
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    command: Vec<String>,

    #[command(flatten)]
    login: LoginArgs,
}

pub(super) fn exec(args: &ExecArgs) -> ExitCode {
    exit(try_exec(args))
}

pub(super) fn copy(args: &CopyArgs) -> ExitCode {
    exit(try_copy(args))
}

/// Becomes `ssh`.
pub(super) fn ssh(args: &SshArgs) -> anyhow::Result<ExitCode> {
    let cluster = args.login.file.load()?;
    let nodes = args.node.select(&cluster, None)?;
    let [node] = nodes[..] else {
        bail!("ssh leads to one node, not to {}", nodes.len())
    };
    let mut command = args.login.remote(&cluster)?.ssh(node, true);
    if !args.command.is_empty() {
        command.arg(command_line(&args.command));
    }
    let error = command.exec();
    let hint = package_hint(&error);
    Err(error).with_context(|| format!("cannot run ssh{hint}"))
}

/// What came of it.
struct Done {
    /// How many nodes failed.
    failed: usize,
    /// Whether what nodes printed could be printed here.
    printed: anyhow::Result<()>,
}

/// The exit status; what keeps anything from being done, or from being printed, is told.
fn exit(result: anyhow::Result<Done>) -> ExitCode {
    let complain = |error| tell(&format!("regex-provision: {error:#}\n"));
    match result {
        Ok(Done { failed, printed }) => {
            let is_printed = printed.map_err(complain).is_ok();
            ExitCode::from(match u8::try_from(failed) {
                Ok(0) if !is_printed => NOT_PRINTED,
                failed => failed.map_or(MANY_FAILED, |failed| failed.min(MANY_FAILED)),
            })
        }
        Err(error) => {
            complain(error);
            ExitCode::from(NOT_RUN)
        }
    }
}

impl LoginArgs {
    fn remote<'c>(&self, cluster: &'c Cluster) -> anyhow::Result<Remote<'c>> {
        let home = env::var_os("HOME").context("HOME is not set, so there is no ~/.ssh")?;
        let directory = PathBuf::from(home).join(".ssh");
        // ssh would not remember a key where there is no such directory.
        DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let known = directory.join("known_hosts.regex-provision");
        Ok(Remote::new(
            cluster,
            self.user.as_deref(),
            known,
            self.options.clone(),
        ))
    }
}

impl WindowArgs {
    fn width(&self, cluster: &Cluster) -> usize {
        self.parallel.unwrap_or(cluster.ssh.parallel).into()
    }

    fn limit(&self) -> Option<Duration> {
        self.timeout.map(|Timespan(limit)| limit)
    }
}

fn try_exec(args: &ExecArgs) -> anyhow::Result<Done> {
    let window = &args.window;
    let cluster = window.login.file.load()?;
    let nodes = args.exclude.select(Some(&args.nodes), &cluster)?;
    if nodes.is_empty() {
        return Ok(no_node());
    }
    let remote = window.login.remote(&cluster)?;
    heed_signals().context("cannot listen for signals")?;
    let line = command_line(&args.command);
    let command = |node: &Node| {
        let mut command = remote.ssh(node, false);
        command.arg(&line);
        command
    };
    let width = window.width(&cluster);
    if args.stream {
        let mut streams = Streams::new(&nodes);
        execute(&nodes, width, window.limit(), command, |at, event| {
            streams.hear(at, event);
        });
        return Ok(streams.finish(&cluster));
    }
    let mut gathered = Gathered::default();
    execute(
        &nodes,
        width,
        window.limit(),
        command,
        |at, event| match event {
            Event::Output(_, bytes) => gathered.add(at, &bytes),
            Event::Ended(outcome) => gathered.end(at, outcome),
        },
    );
    Ok(told::gathered(gathered, &cluster, &nodes))
}

fn try_copy(args: &CopyArgs) -> anyhow::Result<Done> {
    let window = &args.window;
    let cluster = window.login.file.load()?;
    let nodes = args.exclude.select(Some(&args.nodes), &cluster)?;
    for file in &args.files {
        std::fs::symlink_metadata(file)
            .with_context(|| format!("{}: nothing was copied", file.display()))?;
    }
    if nodes.is_empty() {
        return Ok(no_node());
    }
    let remote = window.login.remote(&cluster)?;
    heed_signals().context("cannot listen for signals")?;
    let mut gathered = Gathered::default();
    execute(
        &nodes,
        window.width(&cluster),
        window.limit(),
        |node| remote.scp(node, &args.files, &args.destination),
        |at, event| match event {
            Event::Output(_, bytes) => gathered.add(at, &bytes),
            Event::Ended(outcome) => gathered.end(at, outcome),
        },
    );
    Ok(told::gathered(gathered, &cluster, &nodes))
}

/// A set such as `@down` may hold nobody; that is no failure.
fn no_node() -> Done {
    tell(NO_NODE);
    Done {
        failed: 0,
        printed: Ok(()),
    }
}
