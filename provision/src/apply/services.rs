//! Telling services, through systemd.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::plan::Action;
use super::program::{Ran, find, run};
use crate::model::Cluster;
use crate::render::Service;

/// How long `systemctl` may take.
const COMMAND_TIME: Duration = Duration::from_secs(90);

/// How long a service may take from its start until it answers.
const START_TIME: Duration = Duration::from_secs(20);

/// How often it is looked at until then.
const START_POLL: Duration = Duration::from_millis(50);

/// How long a connection may take to be accepted.
const CONNECT_TIME: Duration = Duration::from_millis(500);

/// Why a service is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// `systemctl` could not be run.
    #[error("cannot run systemctl")]
    Run(#[from] io::Error),
    /// `systemctl` has failed.
    #[error("{0}")]
    Failed(String),
    /// It does not come up, or not to the end.
    #[error("{unit} does not come up: {what}")]
    Down {
        /// Which.
        unit: &'static str,
        /// What systemd says of it.
        what: String,
    },
}

/// Who can tell services.
pub trait Services {
    /// Which of these, all ours, do not run although their units are there.
    fn down(&mut self, of: &BTreeSet<Service>) -> Result<BTreeSet<Service>, ServiceError>;

    /// Has the units read again.
    fn reload_units(&mut self) -> Result<(), ServiceError>;

    /// Tells a service, and waits until it is up.
    fn act(&mut self, service: Service, action: Action) -> Result<(), ServiceError>;
}

/// Nobody: for a fake root, and where systemd does not run.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoServices;

impl Services for NoServices {
    fn down(&mut self, _: &BTreeSet<Service>) -> Result<BTreeSet<Service>, ServiceError> {
        Ok(BTreeSet::new())
    }

    fn reload_units(&mut self) -> Result<(), ServiceError> {
        Ok(())
    }

    fn act(&mut self, _: Service, _: Action) -> Result<(), ServiceError> {
        Ok(())
    }
}

/// systemd.
#[derive(Debug, Clone)]
pub struct Systemd {
    systemctl: PathBuf,
    /// Where services answer when they are up.
    answers: BTreeMap<Service, SocketAddr>,
}

impl Systemd {
    /// systemd, if it runs this machine.
    pub fn here() -> Option<Self> {
        if !Path::new("/run/systemd/system").is_dir() {
            return None;
        }
        find("systemctl").map(Self::with)
    }

    /// The systemd that this program talks to.
    pub fn with(systemctl: PathBuf) -> Self {
        Self {
            systemctl,
            answers: BTreeMap::new(),
        }
    }

    /// With what is known of where services answer.
    #[must_use]
    pub fn expecting(mut self, cluster: &Cluster) -> Self {
        let network = &cluster.network;
        let at = |port| SocketAddr::from((network.master.get(), port));
        self.answers = [
            (Service::Serve, at(network.http_port)),
            (Service::Master, at(network.master_port)),
            (Service::Ganesha, at(2049)),
        ]
        .into_iter()
        .collect();
        self
    }

    fn run(&self, arguments: &[&str]) -> Result<Ran, ServiceError> {
        Ok(run(&self.systemctl, arguments, COMMAND_TIME)?)
    }

    fn must(&self, arguments: &[&str]) -> Result<(), ServiceError> {
        let ran = self.run(arguments)?;
        if ran.succeeded() {
            return Ok(());
        }
        let mut what = ran.to_string();
        if let Some(unit) = arguments.last() {
            what.push_str(&self.status(unit)?);
        }
        Err(ServiceError::Failed(what))
    }

    /// The last that a unit has said.
    fn status(&self, unit: &str) -> Result<String, ServiceError> {
        let ran = self.run(&["status", "--no-pager", "--full", "--lines=5", unit])?;
        let lines = ran.output.lines().filter(|line| !line.trim().is_empty());
        let lines: Vec<_> = lines.map(|line| format!("\n  {line}")).collect();
        let begin = lines.len().saturating_sub(6);
        Ok(lines[begin..].concat())
    }

    fn properties(&self, unit: &str) -> Result<BTreeMap<String, String>, ServiceError> {
        let wanted = "--property=LoadState,ActiveState,SubState,Result";
        let ran = self.run(&["show", wanted, unit])?;
        if !ran.succeeded() {
            return Err(ServiceError::Failed(ran.to_string()));
        }
        let pair = |line: &str| {
            let (key, value) = line.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        };
        Ok(ran.output.lines().filter_map(pair).collect())
    }

    /// Waits until a service is up and answers.
    fn wait(&self, service: Service) -> Result<(), ServiceError> {
        let unit = service.unit();
        let began = Instant::now();
        loop {
            let properties = self.properties(unit)?;
            let is = |key: &str, value: &str| properties.get(key).is_some_and(|it| it == value);
            let has_failed = is("ActiveState", "failed")
                || is("ActiveState", "inactive")
                || is("SubState", "auto-restart");
            if is("ActiveState", "active") && self.answers(service) {
                return Ok(());
            }
            if has_failed || began.elapsed() > START_TIME {
                let what = if is("ActiveState", "active") {
                    let at = self.answers.get(&service).map(ToString::to_string);
                    format!("nothing answers at {}", at.unwrap_or_default())
                } else {
                    let get = |key| properties.get(key).map_or("unknown", String::as_str);
                    format!("it is {} ({})", get("ActiveState"), get("Result"))
                };
                let what = format!("{what}{}", self.status(unit)?);
                return Err(ServiceError::Down { unit, what });
            }
            thread::sleep(START_POLL);
        }
    }

    fn answers(&self, service: Service) -> bool {
        self.answers
            .get(&service)
            .is_none_or(|at| TcpStream::connect_timeout(at, CONNECT_TIME).is_ok())
    }
}

impl Services for Systemd {
    fn down(&mut self, of: &BTreeSet<Service>) -> Result<BTreeSet<Service>, ServiceError> {
        let mut down = BTreeSet::new();
        for service in of {
            let properties = self.properties(service.unit())?;
            let state = properties.get("ActiveState").map(String::as_str);
            if !matches!(state, Some("active" | "reloading" | "activating")) {
                down.insert(*service);
            }
        }
        Ok(down)
    }

    fn reload_units(&mut self) -> Result<(), ServiceError> {
        let ran = self.run(&["daemon-reload"])?;
        if ran.succeeded() {
            Ok(())
        } else {
            Err(ServiceError::Failed(ran.to_string()))
        }
    }

    fn act(&mut self, service: Service, action: Action) -> Result<(), ServiceError> {
        let unit = service.unit();
        match action {
            Action::Stop => {
                let properties = self.properties(unit)?;
                // It is gone already.
                if properties
                    .get("LoadState")
                    .is_some_and(|it| it == "not-found")
                {
                    return Ok(());
                }
                return self.must(&["disable", "--now", unit]);
            }
            Action::Start => self.must(&["enable", "--now", unit])?,
            Action::Restart => {
                // A service that has failed too often is not started any more without this.
                self.run(&["reset-failed", unit])?;
                self.must(&["restart", unit])?;
            }
            Action::Reload => self.must(&["reload-or-restart", unit])?,
        }
        self.wait(service)
    }
}
