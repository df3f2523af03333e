//! A master and its workers on loopback, as processes.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::command::{Finished, Process, excerpt, regexctl, run};
use super::scratch::Scratch;
use super::{programs, until};

/// A master and its workers. All are killed when it is dropped.
pub(crate) struct Cluster {
    pub(crate) url: String,
    pub(crate) master: Process,
    workers: Vec<Option<Process>>,
    roots: Vec<PathBuf>,
    logs: Scratch,
}

impl Cluster {
    /// Starts a master and `workers` workers of one thread each that may search `root`, and waits until all are attached.
    pub(crate) fn start(root: &Path, workers: usize) -> Self {
        let mut cluster = Self::master(&[root]);
        for _ in 0..workers {
            cluster.add_worker();
        }
        cluster.wait_for_workers(workers);
        cluster
    }

    /// Starts a master without workers.
    pub(crate) fn master(roots: &[&Path]) -> Self {
        let logs = Scratch::new();
        let (master, address) = listening("127.0.0.1:0", &logs);
        Self {
            url: format!("http://{address}"),
            master,
            workers: Vec::new(),
            roots: roots.iter().map(|root| root.to_path_buf()).collect(),
            logs,
        }
    }

    /// Kills the master with SIGKILL, and starts another one on the same address.
    pub(crate) fn restart_master(&mut self) {
        self.master.signal(Signal::KILL);
        until("the master has ended", || {
            (!self.master.is_running()).then_some(())
        });
        let address = self.url.trim_start_matches("http://").to_owned();
        (self.master, _) = listening(&address, &self.logs);
    }

    /// Starts one more worker, or the one of this number again.
    pub(crate) fn start_worker(&mut self, number: usize) {
        let mut command = Command::new(programs::worker());
        command
            .args([
                "serve",
                "--threads",
                "1",
                "--log",
                "warn",
                "--master",
                &self.url,
            ])
            .args(["--name", &format!("worker-{number}")]);
        for root in &self.roots {
            command.arg("--root").arg(root);
        }
        let process = Process::daemon(command, appended(&self.log(number)));
        if number == self.workers.len() {
            self.workers.push(None);
        }
        self.workers[number] = Some(process);
    }

    /// Starts one more worker.
    pub(crate) fn add_worker(&mut self) {
        self.start_worker(self.workers.len());
    }

    fn log(&self, number: usize) -> PathBuf {
        self.logs.path().join(format!("worker-{number}.log"))
    }

    /// A worker's process.
    pub(crate) fn worker(&self, number: usize) -> &Process {
        self.workers[number]
            .as_ref()
            .expect("it was started, and not waited for")
    }

    /// Kills a worker with SIGKILL, and waits until it is gone.
    pub(crate) fn kill_worker(&mut self, number: usize) {
        let worker = self.workers[number].take().expect("it was started");
        worker.signal(Signal::KILL);
        worker.finish();
    }

    /// Waits until a worker has ended by itself.
    pub(crate) fn finish_worker(&mut self, number: usize) -> Finished {
        self.workers[number]
            .take()
            .expect("it was started")
            .finish()
    }

    /// What the master, and those before it, have warned of.
    pub(crate) fn master_log(&self) -> String {
        let log = fs::read(master_log(&self.logs)).expect("it is made with the first master");
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The workers that are attached, as `regexctl nodes --json` tells.
    pub(crate) fn nodes(&self) -> Vec<Value> {
        let mut command = regexctl(&self.logs.path());
        command.args(["nodes", "--json", "--master", &self.url]);
        let told = run(command);
        told.expect_code(0);
        let text = std::str::from_utf8(&told.stdout).expect("JSON is UTF-8");
        let lines = text.lines().map(serde_json::from_str);
        lines
            .collect::<Result<_, _>>()
            .unwrap_or_else(|error| panic!("{error}: {told}"))
    }

    /// The leases that all workers hold.
    pub(crate) fn leases(&self) -> u64 {
        let leases = |node: &Value| node["leases"].as_u64().expect("it is a number");
        self.nodes().iter().map(leases).sum()
    }

    /// Waits until `count` workers are attached.
    pub(crate) fn wait_for_workers(&self, count: usize) {
        until(&format!("{count} workers are attached"), || {
            (self.nodes().len() == count).then_some(())
        });
    }
}

fn master_log(logs: &Scratch) -> PathBuf {
    logs.path().join("master.log")
}

/// The log of a daemon, which outlives it, and tells of all its lives.
fn appended(log: &Path) -> File {
    let file = File::options().create(true).append(true).open(log);
    file.expect("the directory is ours")
}

/// A master that listens, and its address.
fn listening(address: &str, logs: &Scratch) -> (Process, String) {
    let mut command = Command::new(programs::master());
    command
        .args(["serve", "--listen", address, "--log", "warn", "--data"])
        .arg(logs.dir("data"));
    let mut master = Process::daemon(command, appended(&master_log(logs)));
    let mut line = String::new();
    BufReader::new(master.stdout())
        .read_line(&mut line)
        .expect("it is text");
    match line.trim_end().strip_prefix("listening on ") {
        Some(address) => (master, address.to_owned()),
        None => {
            let log = fs::read(master_log(logs)).unwrap_or_default();
            panic!(
                "the master says {line:?}: {}{}",
                master.finish(),
                excerpt(&log)
            );
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        eprintln!("--- log of the master\n{}", self.master_log());
        for number in 0..self.workers.len() {
            let log = fs::read(self.log(number)).unwrap_or_default();
            eprintln!("--- log of worker {number}\n{}", excerpt(&log));
        }
    }
}
