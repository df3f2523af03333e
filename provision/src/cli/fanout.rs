//! `regex-provision exec`, `copy` and `ssh`

use std::collections::BTreeMap;
use std::env;
use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::file::FileArgs;
use super::output::{counted, print, tell};
use super::set::{ExcludeArgs, NO_NODE, SET_HELP};
use crate::fanout::{Event, Gathered, MAX_OUTPUT_BYTES, Outcome, Remote, command_line, execute};
use crate::model::{Cluster, Node, Timespan};
use crate::nodeset::{NodeSet, fold};
use crate::process::{Stream, heed_signals};
use crate::serve::tell_tried;
use crate::status::{Means, TriedNode, Words};

/// The exit status when more nodes failed than a status can count.
const MANY_FAILED: u8 = 101;

/// The exit status when nothing was done.
pub(super) const NOT_RUN: u8 = 255;

const STATUS_HELP: &str = "\
Exit status: 0 it went well everywhere, 1 to 100 on so many nodes it did not, 101 on more,
255 nothing was done. Which nodes those are is told on standard error. Ctrl-C ends what still runs: what
has come by then is printed, and the nodes that had not ended count as failed.";

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
    Err(error).context("cannot run ssh; the Debian package is openssh-client")
}

/// The exit status; what keeps anything from being done is told.
fn exit(result: anyhow::Result<usize>) -> ExitCode {
    match result {
        Ok(failed) => {
            ExitCode::from(u8::try_from(failed).map_or(MANY_FAILED, |n| n.min(MANY_FAILED)))
        }
        Err(error) => {
            tell(&format!("regex-provision: {error:#}\n"));
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

fn try_exec(args: &ExecArgs) -> anyhow::Result<usize> {
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
        return streams.finish(&cluster);
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
    tell_gathered(gathered, &cluster, &nodes)
}

fn try_copy(args: &CopyArgs) -> anyhow::Result<usize> {
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
    tell_gathered(gathered, &cluster, &nodes)
}

/// A set such as `@down` may hold nobody; that is no failure.
fn no_node() -> usize {
    tell(NO_NODE);
    0
}

fn names(places: &[usize], nodes: &[&Node]) -> String {
    fold(places.iter().map(|&at| nodes[at].name.as_str()))
}

/// Prints each group's output below its nodes, and says who failed; how many.
fn tell_gathered(gathered: Gathered, cluster: &Cluster, nodes: &[&Node]) -> anyhow::Result<usize> {
    let mut failures = Failures::default();
    let is_full = gathered.is_full();
    let mut out = io::stdout().lock();
    let write = || -> io::Result<()> {
        for group in gathered.into_groups() {
            // What ssh says of a connection is told with the failure.
            let is_said = match &group.outcome {
                Outcome::Unreachable(_) => true,
                Outcome::Lost(words) => group.output.trim_ascii() == words.as_bytes(),
                _ => false,
            };
            if !group.output.is_empty() && !is_said {
                let names = names(&group.nodes, nodes);
                writeln!(out, "--- {names} ({})", group.nodes.len())?;
                out.write_all(&group.output)?;
                if !group.output.ends_with(b"\n") {
                    writeln!(out)?;
                }
                if group.truncated {
                    writeln!(out, "--- cut after {} bytes", group.output.len())?;
                }
            }
            failures.add(&group.nodes, group.outcome);
        }
        out.flush()
    };
    match write() {
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        result => result.context("cannot write to standard output")?,
    }
    if is_full {
        let most = MAX_OUTPUT_BYTES >> 20;
        tell(&format!(
            "regex-provision: of all output together {most} MiB are kept, what came later is cut; --stream prints all\n"
        ));
    }
    Ok(failures.tell(cluster, nodes))
}

/// Who failed, by how.
#[derive(Default)]
struct Failures {
    by_how: BTreeMap<Outcome, Vec<usize>>,
    /// Whom ssh has reached, and whom not.
    tried: Vec<(usize, Option<String>)>,
}

impl Failures {
    fn add(&mut self, places: &[usize], outcome: Outcome) {
        let problem = match &outcome {
            Outcome::Exited(_) => Some(None),
            Outcome::Unreachable(words) => Some(Some(words.clone())),
            // It may have been the connection, or the command.
            Outcome::TimedOut(_)
            | Outcome::Broken(_)
            // It was reached, and may not be any more.
            | Outcome::Lost(_)
            | Outcome::Interrupted
            | Outcome::NotBegun => None,
        };
        if let Some(problem) = problem {
            self.tried
                .extend(places.iter().map(|&at| (at, problem.clone())));
        }
        if !outcome.is_success() {
            self.by_how.entry(outcome).or_default().extend(places);
        }
    }

    /// Tells them, also to the boot endpoint; how many.
    fn tell(self, cluster: &Cluster, nodes: &[&Node]) -> usize {
        let tried = self.tried.into_iter().map(|(at, problem)| TriedNode {
            mac: nodes[at].mac,
            problem: problem.map(|problem| Words::new(&format!("cannot log in: {problem}"))),
        });
        tell_tried(cluster, Means::Ssh, &tried.collect::<Vec<_>>());
        let mut failed = 0;
        for (outcome, mut places) in self.by_how {
            failed += places.len();
            places.sort_unstable();
            tell(&format!(
                "regex-provision: {}: {outcome}\n",
                names(&places, nodes)
            ));
        }
        if failed > 0 {
            let all = counted(nodes.len(), "node");
            tell(&format!("regex-provision: {failed} of {all} failed\n"));
        }
        failed
    }
}

/// Lines as they come, each behind its node's name.
struct Streams<'a> {
    nodes: &'a [&'a Node],
    /// What has no line feed yet, of each node's two streams.
    partial: Vec<[Vec<u8>; 2]>,
    failures: Failures,
    written: anyhow::Result<()>,
}

/// The longest line that is kept together, in bytes.
const MAX_LINE_BYTES: usize = 64 << 10;

impl<'a> Streams<'a> {
    fn new(nodes: &'a [&'a Node]) -> Self {
        Self {
            nodes,
            partial: vec![Default::default(); nodes.len()],
            failures: Failures::default(),
            written: Ok(()),
        }
    }

    fn hear(&mut self, at: usize, event: Event) {
        match event {
            Event::Output(stream, bytes) => {
                let partial = &mut self.partial[at][usize::from(stream == Stream::Err)];
                partial.extend_from_slice(&bytes);
                let end = match partial.iter().rposition(|&b| b == b'\n') {
                    Some(last) => last + 1,
                    None if partial.len() > MAX_LINE_BYTES => partial.len(),
                    None => return,
                };
                let whole: Vec<u8> = partial.drain(..end).collect();
                self.lines(at, stream, &whole);
            }
            Event::Ended(outcome) => {
                for (stream, which) in [(Stream::Out, 0), (Stream::Err, 1)] {
                    let rest = std::mem::take(&mut self.partial[at][which]);
                    self.lines(at, stream, &rest);
                }
                self.failures.add(&[at], outcome);
            }
        }
    }

    fn lines(&mut self, at: usize, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut told = Vec::new();
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            told.extend_from_slice(format!("{}: ", self.nodes[at].name).as_bytes());
            told.extend_from_slice(line);
        }
        if told.last() != Some(&b'\n') {
            told.push(b'\n');
        }
        let told = String::from_utf8_lossy(&told);
        match stream {
            Stream::Err => tell(&told),
            Stream::Out if self.written.is_ok() => self.written = print(&told),
            Stream::Out => {}
        }
    }

    fn finish(self, cluster: &Cluster) -> anyhow::Result<usize> {
        self.written?;
        Ok(self.failures.tell(cluster, self.nodes))
    }
}
