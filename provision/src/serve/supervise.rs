//! Runs a daemon in the foreground: started again when it ends, told to end when we do.
//!
//! A daemon that outlived us (we were killed) is found by the file that its number was written to,
//! recognised by the time at which it began, and ended before a new one is started.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::status::view::DaemonStatus;
use crate::status::{At, Words};

/// The pause behind the first end of a daemon; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A daemon that ran for so long is well: the next pause is the first one again.
const WELL: Duration = Duration::from_secs(60);

/// How long a daemon may take to end before it is killed.
const END: Duration = Duration::from_secs(5);

/// The longest line of a daemon; a longer one is read as several.
const MAX_LINE_BYTES: u64 = 4096;

/// The last lines of a daemon that are told when it has ended.
const TOLD_LINES: usize = 3;

/// Lines that wait to be understood.
const WAITING_LINES: usize = 1024;

/// A program to run.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// Its name, for people.
    pub name: &'static str,
    /// Where it is.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Where its number is kept.
    pub pid_file: PathBuf,
}

/// What a daemon is to do. A number that has grown is an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Orders {
    /// To run at all.
    pub run: bool,
    /// To be started anew.
    pub restart: u64,
    /// To read its configuration again.
    pub reload: u64,
    /// Never again.
    pub end: bool,
}

/// How a daemon is.
#[derive(Debug)]
pub struct DaemonState {
    status: Mutex<DaemonStatus>,
}

impl DaemonState {
    fn new(name: &str) -> Self {
        Self {
            status: Mutex::new(DaemonStatus {
                name: name.to_owned(),
                wanted: false,
                pid: None,
                since: At::now(),
                restarts: 0,
                ended: None,
            }),
        }
    }

    /// How it is now.
    pub fn status(&self) -> DaemonStatus {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn change(&self, change: impl FnOnce(&mut DaemonStatus)) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut status);
        status.since = At::now();
    }
}

/// How long to wait before a daemon is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pauses(Duration);

impl Pauses {
    /// The pause behind a daemon that ran for so long.
    fn next(&mut self, ran: Duration) -> Duration {
        if ran >= WELL {
            self.0 = FIRST_PAUSE;
        }
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// Why a daemon does not run any more.
enum Ended {
    /// By itself.
    Itself(io::Result<ExitStatus>),
    /// It was told to.
    Told,
}

/// Runs a daemon as it is ordered. Its lines, of both streams, go to `lines`.
pub struct Supervisor {
    daemon: Daemon,
    state: Arc<DaemonState>,
    orders: watch::Receiver<Orders>,
    lines: mpsc::Sender<String>,
    last: Arc<Mutex<VecDeque<String>>>,
}

impl Supervisor {
    /// One that waits for orders, and what its daemon will say.
    pub fn new(daemon: Daemon, orders: watch::Receiver<Orders>) -> (Self, mpsc::Receiver<String>) {
        let (lines, said) = mpsc::channel(WAITING_LINES);
        let supervisor = Self {
            state: Arc::new(DaemonState::new(daemon.name)),
            daemon,
            orders,
            lines,
            last: Arc::default(),
        };
        (supervisor, said)
    }

    /// How the daemon is.
    pub fn state(&self) -> Arc<DaemonState> {
        Arc::clone(&self.state)
    }

    /// Does as it is ordered, until the order to end.
    pub async fn run(mut self) {
        let mut pauses = Pauses(FIRST_PAUSE);
        loop {
            let orders = *self.orders.borrow_and_update();
            if orders.end {
                return;
            }
            self.state.change(|status| status.wanted = orders.run);
            if !orders.run {
                if self.orders.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let began = Instant::now();
            match self.run_once(orders).await {
                Ended::Told => pauses = Pauses(FIRST_PAUSE),
                Ended::Itself(status) => {
                    let pause = pauses.next(began.elapsed());
                    self.note_end(&status);
                    tokio::select! {
                        () = sleep(pause) => {}
                        _ = self.orders.changed() => {}
                    }
                    self.state.change(|status| status.restarts += 1);
                }
            }
        }
    }

    async fn run_once(&mut self, orders: Orders) -> Ended {
        let name = self.daemon.name;
        if let Err(error) = end_leftover(&self.daemon.pid_file).await {
            tracing::warn!(daemon = name, %error, "cannot end the one of before");
        }
        let spawned = Command::new(&self.daemon.program)
            .args(&self.daemon.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                let what = format!("cannot start {}: {error}", self.daemon.program.display());
                return Ended::Itself(Err(io::Error::new(error.kind(), what)));
            }
        };
        let pid = child.id();
        if let Some(pid) = pid
            && let Err(error) = write_pid(&self.daemon.pid_file, pid)
        {
            tracing::warn!(daemon = name, %error, "cannot write down its number");
        }
        self.state.change(|status| status.pid = pid);
        tracing::info!(daemon = name, pid, "started");
        let readers = [
            child.stdout.take().map(|stream| self.read(stream)),
            child.stderr.take().map(|stream| self.read(stream)),
        ];
        let ended = self.attend(&mut child, orders).await;
        self.state.change(|status| status.pid = None);
        let _ = fs::remove_file(&self.daemon.pid_file);
        // What it said last is read to its end; but not if a child of its own keeps the stream.
        for reader in readers.into_iter().flatten() {
            let _ = timeout(Duration::from_millis(200), reader).await;
        }
        ended
    }

    /// Waits for its end, or for orders that end it.
    async fn attend(&mut self, child: &mut Child, mut known: Orders) -> Ended {
        loop {
            tokio::select! {
                status = child.wait() => return Ended::Itself(status),
                changed = self.orders.changed() => {
                    let orders = *self.orders.borrow_and_update();
                    let must_end = changed.is_err() || orders.end || !orders.run;
                    if must_end || orders.restart != known.restart {
                        end(child).await;
                        tracing::info!(daemon = self.daemon.name, "ended");
                        return Ended::Told;
                    }
                    if orders.reload != known.reload {
                        signal(child.id(), Signal::HUP);
                        tracing::info!(daemon = self.daemon.name, "told to read its configuration again");
                    }
                    known = orders;
                }
            }
        }
    }

    fn read(&self, stream: impl AsyncRead + Send + Unpin + 'static) -> tokio::task::JoinHandle<()> {
        let (lines, last, name) = (self.lines.clone(), Arc::clone(&self.last), self.daemon.name);
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut bytes = Vec::new();
            loop {
                bytes.clear();
                let mut limited = (&mut stream).take(MAX_LINE_BYTES);
                match limited.read_until(b'\n', &mut bytes).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
                let line = String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned();
                tracing::debug!(daemon = name, "{}", line.escape_debug());
                {
                    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                    if last.len() == TOLD_LINES {
                        last.pop_front();
                    }
                    last.push_back(line.clone());
                }
                // Nobody listens any more: the daemon goes on.
                let _ = lines.send(line).await;
            }
        })
    }

    fn note_end(&self, status: &io::Result<ExitStatus>) {
        let how = match status {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let said: Vec<_> = last.drain(..).collect();
        let ended = Words::new(&format!("{how}: {}", said.join(" | "))).to_string();
        tracing::error!(daemon = self.daemon.name, "ended by itself: {ended}");
        self.state.change(|status| status.ended = Some(ended));
    }
}

/// Tells a child to end, and kills it if it does not.
async fn end(child: &mut Child) {
    signal(child.id(), Signal::TERM);
    if timeout(END, child.wait()).await.is_err() {
        // It is gone, or cannot be killed: nothing more can be done.
        let _ = child.kill().await;
    }
}

fn signal(pid: Option<u32>, signal: Signal) {
    let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    if let Some(pid) = pid {
        // A process that has just ended needs no signal.
        let _ = kill_process(pid, signal);
    }
}

/// The number of a process and when it began: together they name a process for good.
fn write_pid(path: &Path, pid: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, format!("{pid} {}\n", began(pid).unwrap_or_default()))
}

/// When a process began, in ticks since the system did; none if there is no such process.
fn began(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; behind it, this is the 20th field.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}

/// Ends the daemon that was started by a process that was killed.
async fn end_leftover(path: &Path) -> io::Result<()> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut fields = text.split_whitespace();
    let pid: Option<u32> = fields.next().and_then(|pid| pid.parse().ok());
    let since = fields.next().map(str::to_owned);
    let is_it = |pid| since.is_some() && began(pid) == since;
    if let Some(pid) = pid.filter(|&pid| is_it(pid)) {
        tracing::info!(pid, "ending the daemon that an earlier process has left");
        signal(Some(pid), Signal::TERM);
        let deadline = Instant::now() + END;
        while is_it(pid) {
            if Instant::now() > deadline {
                signal(Some(pid), Signal::KILL);
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
    fs::remove_file(path)
}

#[cfg(test)]
#[path = "supervise_tests.rs"]
mod tests;
