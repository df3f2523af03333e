//! Telling services, through systemd.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::interrupt::Interrupt;
use super::listener;
use super::plan::Action;
use super::program::{Group, Ran, find, run_until};
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
    /// A signal asked for the end.
    #[error("it was ended by a signal")]
    Interrupted,
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

    /// How a service is now.
    fn state(&mut self, service: Service) -> Result<State, ServiceError>;

    /// Has the units read again.
    fn reload_units(&mut self) -> Result<(), ServiceError>;

    /// Tells a service, and waits until it is up.
    fn act(&mut self, service: Service, action: Action) -> Result<(), ServiceError>;

    /// What follows is the way back, which no signal interrupts.
    fn go_back(&mut self);

    /// Undoes a start, while the unit that was started is still there, as far as it was not so before.
    fn withdraw(&mut self, service: Service, before: State) -> Result<(), ServiceError>;

    /// Makes a service that was told something as it was before, when its files are again.
    fn put_back(
        &mut self,
        service: Service,
        action: Action,
        before: State,
    ) -> Result<(), ServiceError>;
}

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Its unit is there.
    pub is_there: bool,
    /// It is started with the machine.
    pub is_enabled: bool,
    /// It runs.
    pub is_active: bool,
}

/// Nobody: for a fake root, and where systemd does not run.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoServices;

impl Services for NoServices {
    fn down(&mut self, _: &BTreeSet<Service>) -> Result<BTreeSet<Service>, ServiceError> {
        Ok(BTreeSet::new())
    }

    fn state(&mut self, service: Service) -> Result<State, ServiceError> {
        Ok(State {
            is_there: true,
            is_enabled: service.is_ours(),
            is_active: service.is_ours(),
        })
    }

    fn reload_units(&mut self) -> Result<(), ServiceError> {
        Ok(())
    }

    fn act(&mut self, _: Service, _: Action) -> Result<(), ServiceError> {
        Ok(())
    }

    fn go_back(&mut self) {}

    fn withdraw(&mut self, _: Service, _: State) -> Result<(), ServiceError> {
        Ok(())
    }

    fn put_back(&mut self, _: Service, _: Action, _: State) -> Result<(), ServiceError> {
        Ok(())
    }
}

/// systemd.
#[derive(Debug, Clone)]
pub struct Systemd {
    systemctl: PathBuf,
    /// Where services answer when they are up.
    answers: BTreeMap<Service, SocketAddr>,
    interrupt: Interrupt,
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
            interrupt: Interrupt::never(),
        }
    }

    /// With what is known of where services answer.
    #[must_use]
    pub fn expecting(mut self, cluster: &Cluster) -> Self {
        let network = &cluster.network;
        for (service, port) in [
            (Service::Serve, network.http_port),
            (Service::Master, network.master_port),
            (Service::Ganesha, 2049),
        ] {
            self = self.answering(service, (network.master.get(), port).into());
        }
        self
    }

    /// With the knowledge that a service answers at an address when it is up.
    #[must_use]
    pub fn answering(mut self, service: Service, at: SocketAddr) -> Self {
        self.answers.insert(service, at);
        self
    }

    /// It ends what it waits for when the signal comes, but for the way back.
    #[must_use]
    pub fn heeding(mut self, interrupt: Interrupt) -> Self {
        self.interrupt = interrupt;
        self
    }

    fn run(&self, arguments: &[&str]) -> Result<Ran, ServiceError> {
        let enough = |_: &str| self.interrupt.has_come();
        let ran = run_until(&self.systemctl, arguments, Group::Own, COMMAND_TIME, enough)?;
        self.go_on()?;
        Ok(ran)
    }

    fn go_on(&self) -> Result<(), ServiceError> {
        if self.interrupt.has_come() {
            Err(ServiceError::Interrupted)
        } else {
            Ok(())
        }
    }

    fn is_there(&self, unit: &str) -> Result<bool, ServiceError> {
        let properties = self.properties(unit)?;
        Ok(properties.get("LoadState").map(String::as_str) != Some("not-found"))
    }

    fn restart(&self, unit: &str) -> Result<(), ServiceError> {
        // A service that has failed too often is not started any more without self.
        self.run(&["reset-failed", unit])?;
        self.must(&["restart", unit])
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
        let wanted =
            "--property=LoadState,ActiveState,SubState,Result,UnitFileState,MainPID,ControlGroup";
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
            let missing = if is("ActiveState", "active") {
                self.unanswered(service, &properties)?
            } else {
                None
            };
            if is("ActiveState", "active") && missing.is_none() {
                return Ok(());
            }
            if has_failed || began.elapsed() > START_TIME {
                let what = if let Some(missing) = missing {
                    missing
                } else {
                    let get = |key| properties.get(key).map_or("unknown", String::as_str);
                    format!("it is {} ({})", get("ActiveState"), get("Result"))
                };
                let what = format!("{what}{}", self.status(unit)?);
                return Err(ServiceError::Down { unit, what });
            }
            self.go_on()?;
            thread::sleep(START_POLL);
        }
    }

    /// What keeps an active service from being up: it must be the one that answers. None if nothing does.
    fn unanswered(
        &self,
        service: Service,
        properties: &BTreeMap<String, String>,
    ) -> Result<Option<String>, ServiceError> {
        let Some(at) = self.answers.get(&service) else {
            return Ok(None);
        };
        let get = |key| properties.get(key).map_or("", String::as_str);
        let main = get("MainPID").parse().unwrap_or(0);
        let its = listener::processes(main, get("ControlGroup"));
        Ok(match listener::at(*at)? {
            None => Some(format!("nothing answers at {at}")),
            Some(socket) if !socket.is_of(&its) => Some(format!(
                "{} listens at {at} already; end it, or give one of the two another port",
                socket.holder()
            )),
            Some(_) => TcpStream::connect_timeout(at, CONNECT_TIME)
                .err()
                .map(|error| format!("it listens at {at}, but does not answer: {error}")),
        })
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

    fn state(&mut self, service: Service) -> Result<State, ServiceError> {
        let properties = self.properties(service.unit())?;
        let get = |key| properties.get(key).map_or("", String::as_str);
        let is_active = matches!(
            get("ActiveState"),
            "active" | "reloading" | "activating" | "refreshing"
        );
        Ok(State {
            is_there: get("LoadState") != "not-found",
            is_enabled: get("UnitFileState").starts_with("enabled"),
            is_active,
        })
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
                // It may be gone already.
                if self.is_there(unit)? {
                    self.must(&["disable", "--now", unit])?;
                }
                return Ok(());
            }
            // One that runs may run by other files.
            Action::Start if service.is_ours() => {
                self.must(&["enable", unit])?;
                self.restart(unit)?;
            }
            // Others use it, too.
            Action::Start => {
                self.must(&["enable", unit])?;
                self.must(&["reload-or-restart", unit])?;
            }
            Action::Restart => self.restart(unit)?,
            Action::Reload => self.must(&["reload-or-restart", unit])?,
        }
        self.wait(service)
    }

    fn go_back(&mut self) {
        self.interrupt = Interrupt::never();
    }

    fn withdraw(&mut self, service: Service, before: State) -> Result<(), ServiceError> {
        let unit = service.unit();
        if !self.is_there(unit)? {
            return Ok(());
        }
        match (before.is_enabled, before.is_active) {
            (true, true) => Ok(()),
            (true, false) => self.must(&["stop", unit]),
            (false, true) => self.must(&["disable", unit]),
            (false, false) => self.must(&["disable", "--now", unit]),
        }
    }

    fn put_back(
        &mut self,
        service: Service,
        action: Action,
        before: State,
    ) -> Result<(), ServiceError> {
        let unit = service.unit();
        if !before.is_there {
            return Ok(());
        }
        if before.is_enabled && action == Action::Stop {
            self.must(&["enable", unit])?;
        }
        match (before.is_active, action) {
            // What it was started by is withdrawn.
            (false, Action::Start | Action::Stop) => return Ok(()),
            (false, Action::Restart | Action::Reload) => return self.must(&["stop", unit]),
            (true, Action::Reload) => self.must(&["reload-or-restart", unit])?,
            (true, Action::Start) if !service.is_ours() => {
                self.must(&["reload-or-restart", unit])?;
            }
            (true, _) => self.restart(unit)?,
        }
        self.wait(service)
    }
}
