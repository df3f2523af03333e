//! `regex-worker`: the daemon of a node.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use regexctl_proto::limits::{MAX_SLOTS, MAX_THREADS};
use regexctl_proto::peer::master_url;
use regexctl_source::{LocalSource, Roots};
use regexctl_worker::engine::EngineConfig;
use regexctl_worker::memory;
use regexctl_worker::session::{self, SessionConfig};
use tracing_subscriber::EnvFilter;

// Chosen by measurement, with small pages: see docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The node daemon of regexctl: takes shards of jobs from a master, and scans files on all cores.
#[derive(Parser)]
#[command(name = "regex-worker", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Attach to a master and work until SIGTERM.
    ///
    /// On SIGTERM or SIGINT the worker takes no more leases, finishes those that it holds, commits them, and exits with 0;
    /// a second signal ends it at once. While the master cannot be reached it tries again, with growing pauses of up
    /// to 10 seconds.
    Serve(Serve),
}

#[derive(Args)]
struct Serve {
    /// The master, for example `http://10.0.0.1:7411`.
    #[arg(long, value_name = "URL", env = "REGEXCTL_MASTER", value_parser = master_url)]
    master: String,

    /// A directory that jobs may search; give it several times for several.
    ///
    /// Nothing outside is ever opened: paths are resolved beneath the open directory, so that neither `..` nor a symbolic
    /// link leads out of it.
    #[arg(long = "root", value_name = "DIR", required = true)]
    roots: Vec<PathBuf>,

    /// Threads that scan [default: the number of cores].
    #[arg(long, short = 'j', value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_THREADS)))]
    threads: Option<u16>,

    /// The name that `regexctl nodes` and results show [default: the host's name].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Leases held at once: while one ends, the next begins.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SLOTS)))]
    slots: u32,

    /// What is logged to standard error: error, warn, info, debug, trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: String,
}

fn main() -> ExitCode {
    memory::use_small_pages();
    let Command::Serve(serve) = Cli::parse().command;
    match run(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not with `eprintln!`, which panics where nobody listens.
            let _ = writeln!(std::io::stderr(), "regex-worker: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(serve: Serve) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(&serve.log)
        .with_context(|| format!("--log {}: not a level", serve.log))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let roots = Roots::open(&serve.roots).context("--root")?;
    let threads = match serve.threads {
        Some(n) => usize::from(n),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let name = serve.name.unwrap_or_else(host_name);
    let config = SessionConfig {
        master: serve.master,
        name,
        slots: serve.slots,
        engine: EngineConfig {
            threads,
            source: Arc::new(LocalSource::new(roots)),
        },
    };
    // One thread is enough for the network; the pool's threads scan.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the network runtime")?;
    runtime.block_on(async {
        let shutdown = shutdown().context("cannot listen for signals")?;
        session::serve(config, shutdown).await?;
        tracing::info!("drained");
        anyhow::Ok(())
    })
}

/// Resolves at the first SIGTERM or SIGINT; the second ends the process.
fn shutdown() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (tx, rx) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut tx = Some(tx);
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            match tx.take() {
                Some(tx) => {
                    tracing::info!("draining; a second signal ends at once");
                    // The session may have ended by itself.
                    let _ = tx.send(());
                }
                None => std::process::exit(1),
            }
        }
    });
    Ok(async {
        if rx.await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

fn host_name() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}
