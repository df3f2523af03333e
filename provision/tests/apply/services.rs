//! What services are told and when, and what happens when one of them does not come up.
//!
//! A script stands for `systemctl` here, so that it can be made to fail; the test `systemd` does the same with
//! the real one.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use regexctl_provision::apply::{self, Action, ApplyError, Disk, Interrupt, Outcome, Systemd};
use regexctl_provision::render::Service;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::fake::{Fake, LAB, anyhow, changed};

/// Answers as systemd does, and keeps what it is told in files: `up.UNIT`, `enabled.UNIT`. A unit fails to start as long
/// as there is a file `bad.UNIT`, and once with `once.UNIT`, hangs while there is `slow.UNIT`, is not there with `gone.UNIT`; `pid.UNIT` holds its main process.
const SCRIPT: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 9
for unit in "$@"; do :; done
case $1 in
show)
    load=loaded active=inactive enabled=disabled
    [ -e "up.$unit" ] && active=active
    [ -e "failed.$unit" ] && active=failed
    [ -e "enabled.$unit" ] && enabled=enabled
    [ -e "gone.$unit" ] && load=not-found active=inactive enabled=
    echo "LoadState=$load"
    echo "ActiveState=$active"
    echo "SubState=running"
    echo "Result=exit-code"
    echo "UnitFileState=$enabled"
    echo "MainPID=$(cat "pid.$unit" 2>/dev/null || echo 0)"
    echo "ControlGroup="
    exit 0 ;;
status)
    echo "$unit: the port is taken"
    exit 3 ;;
esac
echo "$*" >>calls
if [ -e "gone.$unit" ]; then
    echo "Unit $unit not found."
    exit 5
fi
case $1 in
enable) : >"enabled.$unit" ;;
disable) rm -f "enabled.$unit" ;;
esac
case "$1 $2" in
restart* | reload-or-restart*)
    rm -f "up.$unit" "failed.$unit"
    if [ -e "bad.$unit" ] || rm "once.$unit" 2>/dev/null; then
        : >"failed.$unit"
    else
        : >"up.$unit"
    fi ;;
stop* | "disable --now") rm -f "up.$unit" "failed.$unit" ;;
esac
if [ "$1" = restart ] && [ -e "slow.$unit" ]; then
    : >waits
    exec sleep 600
fi
exit 0
"#;

struct Script {
    directory: TempDir,
}

impl Script {
    fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let script = Self { directory };
        let path = script.file("systemctl");
        fs::write(&path, SCRIPT).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        for unit in ["chrony.service", "nfs-server.service"] {
            script.touch(&format!("up.{unit}"));
            script.touch(&format!("enabled.{unit}"));
        }
        script
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn touch(&self, name: &str) {
        fs::write(self.file(name), "").expect("a file");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.file(name)).expect("it is there");
    }

    /// Which units are up or enabled.
    fn states(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).expect("it is ours");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        let is_state = |name: &String| name.starts_with("up.") || name.starts_with("enabled.");
        let mut states: Vec<_> = names.filter(is_state).collect();
        states.sort();
        states
    }

    fn systemd(&self) -> Systemd {
        Systemd::with(self.file("systemctl"))
    }

    /// What was told since the last call.
    fn calls(&self) -> Vec<String> {
        let path = self.file("calls");
        let calls = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        calls.lines().map(str::to_owned).collect()
    }

    fn apply(&self, fake: &Fake, text: &str) -> Result<Outcome, ApplyError> {
        let mut systemd = self.systemd();
        apply::apply(&fake.request(text), &mut Disk::default(), &mut systemd)
    }
}

#[test]
fn each_is_told_once_and_only_when_its_files_change() {
    let (fake, script) = (Fake::new(), Script::new());
    script.apply(&fake, LAB).expect("all is well");
    assert_eq!(
        script.calls(),
        [
            "daemon-reload",
            "reset-failed chrony.service",
            "restart chrony.service",
            "enable nfs-server.service",
            "reload-or-restart nfs-server.service",
            "enable regex-master.service",
            "reset-failed regex-master.service",
            "restart regex-master.service",
            "enable regex-provision-serve.service",
            "reset-failed regex-provision-serve.service",
            "restart regex-provision-serve.service",
            "enable regex-provision-dnsmasq.service",
            "reset-failed regex-provision-dnsmasq.service",
            "restart regex-provision-dnsmasq.service",
        ]
    );
    script.apply(&fake, LAB).expect("all is well");
    assert_eq!(script.calls(), [""; 0]);
    script.apply(&fake, &changed()).expect("all is well");
    assert_eq!(
        script.calls(),
        [
            "disable --now nfs-server.service",
            "daemon-reload",
            "reset-failed chrony.service",
            "restart chrony.service",
            "enable regex-provision-ganesha.service",
            "reset-failed regex-provision-ganesha.service",
            "restart regex-provision-ganesha.service",
            "reload-or-restart regex-provision-serve.service",
            "reset-failed regex-provision-dnsmasq.service",
            "restart regex-provision-dnsmasq.service",
        ]
    );
}

#[test]
fn one_that_does_not_come_up_leaves_everything_as_it_was() {
    let (fake, script) = (Fake::new(), Script::new());
    script.apply(&fake, LAB).expect("all is well");
    let before = fake.everything();
    script.calls();
    script.touch("bad.regex-provision-ganesha.service");
    let error = script
        .apply(&fake, &changed())
        .expect_err("Ganesha does not start");
    assert!(
        matches!(error, ApplyError::Restored { to: 2, .. }),
        "{error:?}"
    );
    insta::assert_snapshot!(format!("{:#}", anyhow(error)), @r"
    the switch to generation 2 failed, and everything is as it was before: regex-provision-ganesha.service does not come up: it is failed (exit-code)
      regex-provision-ganesha.service: the port is taken
    ");
    assert_eq!(fake.everything(), before);
    let calls = script.calls();
    let behind = calls
        .iter()
        .position(|call| call.contains("restart regex-provision-ganesha"));
    assert_eq!(
        calls[behind.expect("it was started") + 1..],
        [
            "disable --now regex-provision-ganesha.service",
            "daemon-reload",
            "reset-failed chrony.service",
            "restart chrony.service",
            "enable nfs-server.service",
            "reset-failed nfs-server.service",
            "restart nfs-server.service",
        ]
    );
}

#[test]
fn what_could_not_be_restored_is_told_and_mended_later() {
    let (fake, script) = (Fake::new(), Script::new());
    script.apply(&fake, LAB).expect("all is well");
    script.touch("bad.chrony.service");
    let error = script
        .apply(&fake, &changed())
        .expect_err("chrony does not start");
    assert!(matches!(error, ApplyError::NotRestored { .. }), "{error:?}");
    let error = format!("{:#}", anyhow(error));
    let told = "not everything could be restored; correct the reason";
    assert!(
        error.contains(told) && error.contains("chrony.service"),
        "{error}"
    );
    script.remove("bad.chrony.service");
    script.calls();
    let plan = apply::plan(&fake.request(LAB), &mut script.systemd()).expect("a plan");
    assert!(
        plan.interrupted.is_some() && plan.changes.is_empty(),
        "{plan:?}"
    );
    script.apply(&fake, LAB).expect("all is well");
    let calls = script.calls();
    assert!(
        calls.contains(&"restart chrony.service".to_owned()),
        "{calls:?}"
    );
    assert!(fake.plan(LAB).is_empty());
}

#[test]
fn one_that_does_not_run_is_started() {
    let (fake, script) = (Fake::new(), Script::new());
    script.apply(&fake, LAB).expect("all is well");
    script.calls();
    script.remove("up.regex-provision-dnsmasq.service");
    let outcome = script.apply(&fake, LAB).expect("all is well");
    assert_eq!(outcome.generation, 1);
    assert_eq!(
        script.calls(),
        [
            "enable regex-provision-dnsmasq.service",
            "reset-failed regex-provision-dnsmasq.service",
            "restart regex-provision-dnsmasq.service",
        ]
    );
}

/// Whoever had switched a service off, or on, finds it so again.
#[test]
fn a_failure_leaves_services_enabled_and_running_as_they_were() {
    let units = ["nfs-server", "regex-master", "regex-provision-dnsmasq"];
    let states: [&[&str]; 4] = [&[], &["up"], &["enabled"], &["up", "enabled"]];
    for state in states {
        let (fake, script) = (Fake::new(), Script::new());
        for unit in ["nfs-server", "chrony"] {
            script.remove(&format!("up.{unit}.service"));
            script.remove(&format!("enabled.{unit}.service"));
        }
        for (kind, unit) in state.iter().flat_map(|kind| units.map(|unit| (kind, unit))) {
            script.touch(&format!("{kind}.{unit}.service"));
        }
        let before = script.states();
        // The last that is told.
        script.touch("once.regex-provision-dnsmasq.service");
        let error = script.apply(&fake, LAB).expect_err("it does not start");
        assert!(matches!(error, ApplyError::Restored { .. }), "{error:?}");
        assert_eq!(script.states(), before);
    }
}

#[test]
fn the_kernels_server_comes_back_after_ganesha() {
    let (fake, script) = (Fake::new(), Script::new());
    script.apply(&fake, LAB).expect("all is well");
    let ganesha = LAB.replace("/srv/data\"", "/srv/data\"\nserver = \"ganesha\"");
    script.apply(&fake, &ganesha).expect("all is well");
    assert!(!script.file("up.nfs-server.service").exists());
    assert!(!script.file("enabled.nfs-server.service").exists());
    script.apply(&fake, LAB).expect("all is well");
    assert!(script.file("up.nfs-server.service").exists());
    assert!(script.file("enabled.nfs-server.service").exists());
    assert!(!script.file("up.regex-provision-ganesha.service").exists());
}

/// The site's own, which has nothing of ours to serve.
#[test]
fn the_first_ganesha_takes_the_port_of_the_kernels_server() {
    let ganesha = LAB.replace("/srv/data\"", "/srv/data\"\nserver = \"ganesha\"");
    let (fake, script) = (Fake::new(), Script::new());
    let before = script.states();
    let plan = apply::plan(&fake.request(&ganesha), &mut script.systemd()).expect("a plan");
    let first = &plan.services[0];
    assert_eq!(
        (first.service, first.action, first.because.as_slice()),
        (
            Service::NfsServer,
            Action::Stop,
            &["regex-provision-ganesha.service takes its port".to_owned()][..]
        )
    );
    script.touch("bad.regex-provision-ganesha.service");
    script
        .apply(&fake, &ganesha)
        .expect_err("it does not start");
    assert_eq!(script.states(), before);
    script.remove("bad.regex-provision-ganesha.service");
    script.apply(&fake, &ganesha).expect("all is well");
    assert!(!script.file("up.nfs-server.service").exists());
    let plan = apply::plan(&fake.request(&ganesha), &mut script.systemd()).expect("a plan");
    assert!(plan.is_empty(), "{plan:?}");
}

/// A new directory has no generation, but its services run.
#[test]
fn services_that_run_are_started_anew_by_their_first_units() {
    let (fake, script) = (Fake::new(), Script::new());
    for unit in ["regex-provision-serve", "regex-provision-dnsmasq"] {
        script.touch(&format!("up.{unit}.service"));
        script.touch(&format!("enabled.{unit}.service"));
    }
    script.apply(&fake, LAB).expect("all is well");
    let calls = script.calls();
    for unit in ["serve", "dnsmasq"] {
        let call = format!("restart regex-provision-{unit}.service");
        assert!(calls.contains(&call), "{calls:?}");
    }
}

#[test]
fn a_service_whose_package_is_gone_can_be_left() {
    let (fake, script) = (Fake::new(), Script::new());
    let text = format!("{LAB}\n[time]\nenabled = false\n");
    script.apply(&fake, LAB).expect("all is well");
    script.touch("gone.chrony.service");
    script.calls();
    // Nor on the way back.
    script.touch("bad.regex-provision-serve.service");
    let error = script.apply(&fake, &text).expect_err("it does not come up");
    assert!(
        matches!(error, ApplyError::NotRestored { .. }),
        "serve stays as it is: {error:?}"
    );
    assert!(!format!("{:#}", anyhow(error)).contains("chrony"));
    script.remove("bad.regex-provision-serve.service");
    script.apply(&fake, &text).expect("all is well");
    let calls = script.calls();
    assert!(
        !calls.iter().any(|call| call.contains("chrony")),
        "{calls:?}"
    );
}

#[test]
fn what_answers_must_be_the_service_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("one is free");
    let address = listener.local_addr().expect("it has one");
    let (fake, script) = (Fake::new(), Script::new());
    let request = fake.request(LAB);
    let mut systemd = script.systemd().answering(Service::Serve, address);
    let pid = std::process::id().to_string();
    // Somebody who listens nowhere.
    let mut idle = Command::new("sleep").arg("600").spawn().expect("it starts");
    let unit = "regex-provision-serve.service";
    fs::write(script.file(&format!("pid.{unit}")), idle.id().to_string()).expect("a file");
    let error = apply::apply(&request, &mut Disk::default(), &mut systemd)
        .expect_err("it is another's listener");
    idle.kill().expect("it is ours");
    idle.wait().expect("it is ours");
    let error = format!("{:#}", anyhow(error));
    let holder = format!("does not come up: process {} (", std::process::id());
    let where_to = format!(") listens at {address} already; end it");
    assert!(
        error.contains(&holder) && error.contains(&where_to),
        "{error}"
    );

    // And now it is the service's own.
    fs::write(script.file(&format!("pid.{unit}")), pid).expect("a file");
    apply::apply(&request, &mut Disk::default(), &mut systemd).expect("it answers");
}

/// Not a test by itself: the process that [`a_signal_while_a_service_is_waited_for_goes_back`] ends.
#[test]
fn the_process_that_is_ended() {
    let (Ok(root), Ok(systemctl)) = (env::var("SIGNAL_ROOT"), env::var("SIGNAL_SYSTEMCTL")) else {
        return;
    };
    let interrupt = Interrupt::by_signals();
    let mut systemd = Systemd::with(systemctl.into()).heeding(interrupt.clone());
    let mut disk = Disk::default().heeding(interrupt);
    let request = Fake::at(root).request(&changed());
    let error = apply::apply(&request, &mut disk, &mut systemd).expect_err("it is ended");
    let error = format!("{:#}", anyhow(error));
    assert!(error.contains("everything is as it was before"), "{error}");
    assert!(error.contains("ended by a signal"), "{error}");
}

#[test]
fn a_signal_while_a_service_is_waited_for_goes_back() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let (fake, script) = (Fake::new(), Script::new());
        script.apply(&fake, LAB).expect("all is well");
        let (before, states) = (fake.everything(), script.states());
        script.touch("slow.regex-provision-ganesha.service");
        let mut child = Command::new(env::current_exe().expect("we are running"))
            .args(["--exact", "services::the_process_that_is_ended"])
            .env("SIGNAL_ROOT", &fake.path)
            .env("SIGNAL_SYSTEMCTL", script.file("systemctl"))
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let until = Instant::now() + Duration::from_secs(60);
        while !script.file("waits").exists() {
            assert!(Instant::now() < until, "it does not come to the restart");
            assert!(child.try_wait().expect("it is ours").is_none());
            std::thread::yield_now();
        }
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a number"), signal).expect("it is ours");
        let status = child.wait().expect("it is ours");
        assert!(status.success(), "{signal:?}: {status}");
        assert_eq!(fake.everything(), before, "{signal:?}");
        assert_eq!(script.states(), states, "{signal:?}");
        script.remove("slow.regex-provision-ganesha.service");
        script.apply(&fake, &changed()).expect("all is well");
    }
}
