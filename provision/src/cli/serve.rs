//! `regex-provision serve`

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::{Context as _, bail};
use tracing_subscriber::EnvFilter;

use super::file::FileArgs;
use crate::model;
use crate::serve::{self, Options};
use crate::store::Store;

/// Where everything is, unless a cluster.toml says otherwise.
const DIRECTORY: &str = "/var/lib/regex-provision";

/// Threads that serve. More than one even on small machines: a thread that waits for the disk
/// must not keep the others' nodes waiting.
const LEAST_THREADS: usize = 4;

/// Threads for what reads many files.
const BLOCKING_THREADS: usize = 8;

/// Serve what nodes boot, and hear how they come up, until SIGTERM or SIGINT.
///
/// Answers over HTTP with what was applied last: boot scripts, artifacts, nodes' own files; hears stage reports
/// and what unknown machines are. Prints `listening on http://ADDRESS:PORT` when it is ready. What is applied later is served
/// without a restart; SIGHUP makes it look at once. On a master, `apply` installs it as a service of systemd.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sudo regex-provision serve          # with dnsmasq and Ganesha: a whole small site
  regex-provision serve --no-daemons  # what systemd runs

There is no authentication: whoever is on the nodes' network can read what nodes boot.")]
pub(super) struct Args {
    /// Run dnsmasq, and NFS-Ganesha where it is chosen, too, and end them at the end; this is the default
    #[arg(long, conflicts_with = "no_daemons")]
    foreground_daemons: bool,

    /// Run no daemons: systemd does, or somebody else
    #[arg(long)]
    no_daemons: bool,

    /// Where to listen [default: the master's address and http-port, as applied]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = serve::listen_address)]
    listen: Option<SocketAddr>,

    /// The directory with images and generations [default: what cluster.toml says, else
    /// /var/lib/regex-provision]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,

    /// What to log to standard error: error, warn, info, debug, trace, or a filter
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: String,

    #[command(flatten)]
    file: FileArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log)
        .with_context(|| format!("--log {}: not a level or filter", args.log))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    // Before anything is locked or listened on.
    if !args.no_daemons && !rustix::process::geteuid().is_root() {
        bail!(
            "running dnsmasq needs root, for it answers DHCP; run `serve` with sudo, or with --no-daemons"
        );
    }
    let options = Options {
        store: Store::at(directory(args)?),
        listen: args.listen,
        daemons: !args.no_daemons,
    };
    let cores = available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.max(LEAST_THREADS))
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ready = |address| {
        let mut stdout = std::io::stdout();
        writeln!(stdout, "listening on http://{address}")
            .and_then(|()| stdout.flush())
            .context("cannot write to standard output")
    };
    let result = runtime.block_on(serve::run(options, ready));
    // It has ended what must be; what only reads files is not waited for.
    runtime.shutdown_background();
    result
}

fn directory(args: &Args) -> anyhow::Result<PathBuf> {
    let path = args.file.path();
    if let Some(directory) = &args.directory {
        // One that is not there yet may be made, if it is not a slip of the pen.
        let is_named = || {
            let cluster = model::load(&path);
            cluster.is_ok_and(|cluster| cluster.serve.directory.as_path() == directory)
        };
        if !directory.is_dir() && !is_named() {
            bail!(
                "there is no directory {}; name the one that `regex-provision apply` has filled, or make it first",
                directory.display()
            );
        }
        return Ok(directory.clone());
    }
    if args.file.file.is_none() && !path.exists() {
        return Ok(DIRECTORY.into());
    }
    // What is wrong in the file is no reason to serve nothing, if only it says where.
    match model::load(&path) {
        Ok(cluster) => Ok(cluster.serve.directory.as_path().to_owned()),
        Err(error) => Err(error).context(
            "cannot tell from it where the images are; name the directory with --directory",
        ),
    }
}
