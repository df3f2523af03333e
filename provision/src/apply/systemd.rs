//! Telling services, through systemd.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;

use super::interrupt::Interrupt;
use super::listener;
use super::plan::Action;
use super::program::{Group, Ran, find, run_until};
use super::services::{Expected, ServiceError, Services, State};
use crate::render::Service;

/// How long `systemctl` may take.
const COMMAND_TIME: Duration = Duration::from_secs(90);

/// How long a service may take from its start until it answers.
const START_TIME: Duration = Duration::from_secs(20);

/// How long the boot endpoint may take to load another generation before it is started anew; one of 65,536 nodes takes
/// some two seconds.
const LOAD_TIME: Duration = Duration::from_secs(10);

/// How often it is looked at until then.
const START_POLL: Duration = Duration::from_millis(50);

/// How long a connection may take to be accepted.
const CONNECT_TIME: Duration = Duration::from_millis(500);

/// How long the boot endpoint may take to say which generation it serves.
const TELL_TIME: Duration = Duration::from_secs(2);

/// The most that it may say.
const MAX_TOLD_BYTES: u64 = 16 << 10;

/// systemd.
#[derive(Debug, Clone)]
pub struct Systemd {
    systemctl: PathBuf,
    /// Whether services that listen are asked if they are up.
    asks: bool,
    /// What services show that are up; nothing where that is not known.
    expected: Option<Expected>,
    /// What they show in the generation in force.
    in_force: Option<Expected>,
    start_time: Duration,
    load_time: Duration,
    interrupt: Interrupt,
}

impl Systemd {
    /// systemd, if it runs this machine.
    pub fn here() -> Option<Self> {
        if !Path::new("/run/systemd/system").is_dir() {
            return None;
        }
        find("systemctl").map(|systemctl| Self::with(systemctl).asking())
    }

    /// The systemd that this program talks to. What it says of services is believed.
    pub fn with(systemctl: PathBuf) -> Self {
        Self {
            systemctl,
            asks: false,
            expected: None,
            in_force: None,
            start_time: START_TIME,
            load_time: LOAD_TIME,
            interrupt: Interrupt::never(),
        }
    }

    /// Services that listen are only up when they answer where their generation says, and the boot endpoint when it
    /// serves that generation.
    #[must_use]
    pub fn asking(mut self) -> Self {
        self.asks = true;
        self
    }

    /// How long a service may take from its start until it answers, and the boot endpoint to load another generation.
    #[must_use]
    pub fn waiting(mut self, start: Duration, load: Duration) -> Self {
        (self.start_time, self.load_time) = (start, load);
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
    fn wait(&self, service: Service, time: Duration) -> Result<(), ServiceError> {
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
            if has_failed || began.elapsed() > time {
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

    /// What keeps an active service from being up: it must be the one that answers, and the boot endpoint must serve
    /// the generation. None if nothing does.
    fn unanswered(
        &self,
        service: Service,
        properties: &BTreeMap<String, String>,
    ) -> Result<Option<String>, ServiceError> {
        let Some(expected) = &self.expected else {
            return Ok(None);
        };
        let Some(at) = expected.answers.get(&service).filter(|_| self.asks) else {
            return Ok(None);
        };
        let get = |key| properties.get(key).map_or("", String::as_str);
        let main = get("MainPID").parse().unwrap_or(0);
        let its = listener::processes(main, get("ControlGroup"));
        let silent = |error| format!("it listens at {at}, but does not answer: {error}");
        Ok(match listener::at(*at)? {
            None => Some(format!("nothing answers at {at}")),
            Some(socket) if !socket.is_of(&its) => Some(format!(
                "{} listens at {at} already; end it, or give one of the two another port",
                socket.holder()
            )),
            Some(_) if service == Service::Serve => match told_at(*at) {
                Err(error) => Some(silent(error.to_string())),
                Ok(told) => not_serving(&told, expected.generation),
            },
            Some(_) => TcpStream::connect_timeout(at, CONNECT_TIME)
                .err()
                .map(|error| silent(error.to_string())),
        })
    }

    /// Whether the boot endpoint listens, and says nothing.
    fn is_silent(&self, service: Service) -> bool {
        let expected = self.expected.as_ref();
        let at = expected.and_then(|expected| expected.answers.get(&service));
        at.is_some_and(|at| matches!(told_at(*at), Err(ureq::Error::Timeout(_))))
    }

    /// Has a service read its files again, and waits until it is up.
    fn reload(&self, service: Service) -> Result<(), ServiceError> {
        let unit = service.unit();
        self.must(&["reload-or-restart", unit])?;
        if service != Service::Serve {
            return self.wait(service, self.start_time);
        }
        let waited = match self.wait(service, self.load_time) {
            // One with as many nodes as it takes answers late; started anew, it would cut them all off.
            Err(ServiceError::Down { .. }) if self.is_silent(service) => {
                self.wait(service, self.start_time)
            }
            waited => waited,
        };
        match waited {
            // The process may be of a version that cannot read what this one writes: after an upgrade its unit is the
            // same, so nobody else starts it anew.
            Err(ServiceError::Down { .. }) => {
                self.restart(unit)?;
                self.wait(service, self.start_time)
            }
            waited => waited,
        }
    }

    /// Has a service run by its new files, however it runs.
    fn start(&self, service: Service) -> Result<(), ServiceError> {
        let unit = service.unit();
        if service == Service::NfsServer {
            // Others use it, too.
            self.must(&["reload-or-restart", unit])?;
        } else {
            self.restart(unit)?;
        }
        self.wait(service, self.start_time)
    }
}

/// What the boot endpoint says of itself.
fn told_at(at: SocketAddr) -> Result<String, ureq::Error> {
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(TELL_TIME))
        .proxy(None)
        .http_status_as_error(false)
        .build()
        .into();
    let answer = agent.get(format!("http://{at}/")).call()?;
    let mut body = answer.into_body();
    body.with_config().limit(MAX_TOLD_BYTES).read_to_string()
}

/// What keeps the boot endpoint that says this from serving the generation. None if it does.
fn not_serving(told: &str, generation: u32) -> Option<String> {
    let first = told.lines().next().unwrap_or_default();
    let served = first
        .rsplit_once(" generation ")
        .and_then(|(_, number)| number.parse().ok());
    (served != Some(generation)).then(|| {
        let told = told.trim().replace('\n', "; ");
        format!("it does not serve generation {generation}, but says: {told}")
    })
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

    fn expect(&mut self, in_force: Option<Expected>, wanted: Expected) {
        self.in_force = in_force;
        self.expected = Some(wanted);
    }

    fn go_back(&mut self) {
        self.interrupt = Interrupt::never();
        self.expected = self.in_force.take();
    }

    fn enable(&mut self, service: Service, is_enabled: bool) -> Result<(), ServiceError> {
        let unit = service.unit();
        if is_enabled {
            return self.must(&["enable", unit]);
        }
        // It may be gone already.
        if self.is_there(unit)? {
            self.must(&["disable", unit])?;
        }
        Ok(())
    }

    fn act(&mut self, service: Service, action: Action) -> Result<(), ServiceError> {
        let unit = service.unit();
        match action {
            Action::Stop => {
                // It may be gone already.
                if self.is_there(unit)? {
                    self.must(&["stop", unit])?;
                }
                Ok(())
            }
            Action::Start => self.start(service),
            Action::Restart => {
                self.restart(unit)?;
                self.wait(service, self.start_time)
            }
            Action::Reload => self.reload(service),
        }
    }

    fn put_back(
        &mut self,
        service: Service,
        action: Action,
        before: State,
    ) -> Result<(), ServiceError> {
        match (before.is_active, action) {
            _ if !before.is_there => Ok(()),
            // What it was started by is withdrawn.
            (false, Action::Start | Action::Stop) => Ok(()),
            (false, Action::Restart | Action::Reload) => self.must(&["stop", service.unit()]),
            (true, Action::Reload) => self.reload(service),
            (true, Action::Start) => self.start(service),
            (true, Action::Restart | Action::Stop) => self.act(service, Action::Restart),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_endpoint_must_name_the_generation() {
        let told = |number| format!("regex-provision: cluster lab, generation {number}\n");
        assert_eq!(not_serving(&told(12), 12), None);
        for other in [1, 2, 120] {
            assert!(not_serving(&told(other), 12).is_some(), "{other}");
        }
        let old = told(11) + "cannot load what was applied: unknown key\n";
        let why = not_serving(&old, 12).expect("it serves another");
        assert!(
            why.ends_with("generation 11; cannot load what was applied: unknown key"),
            "{why}"
        );
        assert!(not_serving("nothing has been applied yet\n", 12).is_some());
    }
}
