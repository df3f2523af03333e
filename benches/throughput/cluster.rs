//! A cluster on loopback: one master and two workers with half the cores each.
//!
//! The daemons are ours: started here, ended by pid when the value is dropped.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::process;

/// How many workers there are.
const WORKERS: usize = 2;

/// How long the daemons may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// The binaries of a cluster.
#[derive(Debug)]
pub(crate) struct Binaries<'a> {
    pub(crate) regexctl: &'a Path,
    pub(crate) master: &'a Path,
    pub(crate) worker: &'a Path,
}

/// A running cluster.
pub(crate) struct Cluster {
    url: String,
    /// The master first.
    daemons: Vec<Child>,
    /// The master's; removed with it.
    _data: TempDir,
}

/// What the daemons have used since they were started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Of all of them.
    pub(crate) cpu: Duration,
    /// Peak of the master, bytes.
    pub(crate) master_rss: u64,
    /// Peak of the largest worker, bytes.
    pub(crate) worker_rss: u64,
}

impl Cluster {
    /// Starts the daemons, with `root` as the tree that may be searched, and waits until
    /// the workers are attached.
    pub(crate) fn start(binaries: &Binaries<'_>, root: &Path) -> anyhow::Result<Self> {
        let mut log = tempfile::tempfile()?;
        Self::start_logging(binaries, root, &log).or_else(|error| {
            let log = process::quote(&mut log)?;
            Err(error.context(format!("no cluster; its log: {log}")))
        })
    }

    fn start_logging(binaries: &Binaries<'_>, root: &Path, log: &File) -> anyhow::Result<Self> {
        let threads = (thread::available_parallelism()?.get() / WORKERS).max(1);
        let data = TempDir::new()?;
        let mut master = Command::new(binaries.master);
        master
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path())
            .stdout(Stdio::piped());
        let master = process::start_daemon(master, log)?;
        let mut cluster = Self {
            url: String::new(),
            daemons: vec![master],
            _data: data,
        };
        cluster.url = format!("http://{}", listening(&mut cluster.daemons[0])?);
        for _ in 0..WORKERS {
            let mut worker = Command::new(binaries.worker);
            worker
                .args(["serve", "--master", &cluster.url, "--root"])
                .arg(root)
                .arg("--threads")
                .arg(threads.to_string())
                .stdout(Stdio::null());
            let worker = process::start_daemon(worker, log)?;
            cluster.daemons.push(worker);
        }
        cluster.await_workers(binaries.regexctl)?;
        Ok(cluster)
    }

    /// The master's URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What the daemons have used up to now.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let mut cpu = Duration::ZERO;
        for daemon in &self.daemons {
            cpu += process::cpu_of(daemon)?;
        }
        let (master, workers) = self.daemons.split_first().expect("the master is there");
        let mut worker_rss = 0;
        for worker in workers {
            worker_rss = worker_rss.max(process::peak_rss_of(worker)?);
        }
        Ok(Usage {
            cpu,
            master_rss: process::peak_rss_of(master)?,
            worker_rss,
        })
    }

    /// Asks the master for its nodes until all workers are among them.
    fn await_workers(&self, regexctl: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let nodes = Command::new(regexctl)
                .args(["nodes", "--json", "--master", &self.url])
                .output()?;
            let listing = String::from_utf8_lossy(&nodes.stdout);
            if nodes.status.success() && listing.matches("\"name\"").count() == WORKERS {
                return Ok(());
            }
            if Instant::now() > deadline {
                let stderr = String::from_utf8_lossy(&nodes.stderr);
                bail!("the workers did not attach; regexctl nodes said: {listing}{stderr}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            // An error means that it has ended already.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// The address in the line `listening on HOST:PORT`, which a master prints when it is ready.
/// Its later output is read and dropped.
fn listening(master: &mut Child) -> anyhow::Result<String> {
    let stdout = master.stdout.take().expect("stdout is a pipe");
    let (send, receive) = mpsc::channel();
    // Ends with the master, whose pipe it reads.
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    let line = receive
        .recv_timeout(READY_WITHIN)
        .context("the master did not say where it listens")?;
    line.strip_prefix("listening on ")
        .map(str::to_owned)
        .with_context(|| format!("the master said {line:?}, not where it listens"))
}
