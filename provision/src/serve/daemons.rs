//! The daemons beside the boot endpoint: run here, or followed where systemd runs them.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::app::{App, Trouble};
use super::dhcp_log::DhcpLog;
use super::generation::Served;
use super::supervise::{Daemon, Orders, Supervisor};
use crate::render::Service;
use crate::store::Digest;

/// All daemons of this process.
pub(super) struct Daemons {
    running: Vec<Running>,
}

struct Running {
    what: What,
    orders: watch::Sender<Orders>,
    task: JoinHandle<()>,
    /// What it was started with.
    configuration: Option<(Digest, Digest)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Dnsmasq,
    Ganesha,
    Rpcbind,
    /// `journalctl`, which tells what systemd's dnsmasq says.
    Journal,
}

impl Daemons {
    /// Makes ready to run the daemons of a generation, or to follow those of systemd.
    pub(super) fn start(app: &Arc<App>, here: bool) -> anyhow::Result<Self> {
        let mut running = Vec::new();
        if here {
            make_directories(app)?;
            for what in [What::Dnsmasq, What::Ganesha, What::Rpcbind] {
                running.push(Running::start(app, what, program(what)?));
            }
        } else if let Some(journalctl) = find("journalctl") {
            running.push(Running::start(app, What::Journal, journalctl));
        } else {
            let problem = "dnsmasq's log is not followed, for there is no journalctl here: nothing is known of DHCP";
            app.trouble(Trouble::Log, Some(problem.to_owned()));
        }
        Ok(Self { running })
    }

    /// Gives the orders that follow from a generation.
    pub(super) fn follow(&mut self, served: Option<&Served>) {
        for running in &mut self.running {
            running.follow(served);
        }
    }

    /// Ends all, and waits for it.
    pub(super) async fn end(self) {
        for running in &self.running {
            running.orders.send_modify(|orders| orders.end = true);
        }
        for running in self.running {
            // It cannot panic, and is not cancelled.
            let _ = running.task.await;
        }
    }
}

/// Where a program is: on `PATH`, or in the administrator's directories.
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut all = env::split_paths(&path)
        .chain(more)
        .map(|directory| directory.join(name));
    all.find(|file| file.is_file())
}

fn program(what: What) -> anyhow::Result<PathBuf> {
    let (name, package) = match what {
        What::Dnsmasq => ("dnsmasq", "dnsmasq-base"),
        What::Ganesha => ("ganesha.nfsd", "nfs-ganesha and nfs-ganesha-vfs"),
        What::Rpcbind => ("rpcbind", "rpcbind"),
        What::Journal => ("journalctl", "systemd"),
    };
    match find(name) {
        Some(path) => Ok(path),
        // Told when it is wanted.
        None if what != What::Dnsmasq => Ok(name.into()),
        None => bail!("there is no {name} on this machine; install the package {package}"),
    }
}

impl Running {
    fn start(app: &Arc<App>, what: What, program: PathBuf) -> Self {
        let (orders, receiver) = watch::channel(Orders::default());
        let root = app.store().root();
        let name = match what {
            What::Dnsmasq => "dnsmasq",
            What::Ganesha => "ganesha.nfsd",
            What::Rpcbind => "rpcbind",
            What::Journal => "journalctl",
        };
        let daemon = Daemon {
            name,
            program,
            arguments: arguments(app, what),
            pid_file: root.join("run").join(format!("{name}.supervised")),
        };
        let (supervisor, said) = Supervisor::new(daemon, receiver);
        app.add_daemon(supervisor.state());
        tokio::spawn(understand(Arc::clone(app), what, said));
        Self {
            what,
            orders,
            task: tokio::spawn(supervisor.run()),
            configuration: None,
        }
    }

    fn follow(&mut self, served: Option<&Served>) {
        let configuration = served.and_then(|served| match self.what {
            What::Dnsmasq => served.configuration(Service::Dnsmasq),
            What::Ganesha => served.configuration(Service::Ganesha),
            What::Rpcbind => {
                let is_wanted = served.needs_rpcbind() && (self.runs() || !answers(111));
                is_wanted.then(|| (Digest::of(b""), Digest::of(b"")))
            }
            What::Journal => Some((Digest::of(b""), Digest::of(b""))),
        });
        let old = self.configuration;
        self.orders.send_if_modified(|orders| {
            let before = *orders;
            orders.run = configuration.is_some();
            if let (Some(old), Some(new)) = (old, configuration) {
                if old.0 != new.0 {
                    orders.restart += 1;
                } else if old.1 != new.1 {
                    orders.reload += 1;
                }
            }
            before != *orders
        });
        self.configuration = configuration;
    }

    fn runs(&self) -> bool {
        self.configuration.is_some()
    }
}

/// Whether somebody listens on a port of this machine.
fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn arguments(app: &App, what: What) -> Vec<OsString> {
    let root = app.store().root();
    let files = root.join("current/files");
    let with = |name: &str, path: PathBuf| {
        let mut argument = OsString::from(name);
        argument.push(path);
        argument
    };
    match what {
        What::Dnsmasq => vec![
            "--keep-in-foreground".into(),
            "--log-facility=-".into(),
            // It writes none: its number is kept by us.
            "--pid-file=".into(),
            with("--conf-file=", files.join("dnsmasq/dnsmasq.conf")),
        ],
        What::Ganesha => {
            let pid = root.join("run/ganesha.pid");
            let mut arguments: Vec<OsString> = ["-F", "-L", "STDERR", "-N", "NIV_EVENT", "-f"]
                .map(OsString::from)
                .into();
            arguments.push(files.join("ganesha/ganesha.conf").into());
            arguments.extend(["-p".into(), pid.into_os_string()]);
            arguments
        }
        What::Rpcbind => vec!["-f".into(), "-w".into()],
        What::Journal => {
            let unit = Service::Dnsmasq.unit();
            [
                "--follow",
                "--lines=0",
                "--output=cat",
                "--quiet",
                "--unit",
                unit,
            ]
            .map(OsString::from)
            .into()
        }
    }
}

/// Makes events of what a daemon says.
async fn understand(app: Arc<App>, what: What, mut said: mpsc::Receiver<String>) {
    let mut log = DhcpLog::default();
    while let Some(line) = said.recv().await {
        if matches!(what, What::Dnsmasq | What::Journal)
            && let Some(event) = log.read(&line)
        {
            app.hear(event);
        }
    }
}

/// The directories that daemons want to be there.
fn make_directories(app: &App) -> anyhow::Result<()> {
    for name in ["run", "ganesha"] {
        let path = app.store().root().join(name);
        fs::create_dir_all(&path)
            .with_context(|| format!("cannot make the directory {}", path.display()))?;
    }
    Ok(())
}
