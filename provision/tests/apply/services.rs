//! What services are told and when, and what happens when one of them does not come up.
//!
//! A script stands for `systemctl` here, so that it can be made to fail. No test has the real systemd.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use regexctl_provision::apply::{self, Action, ApplyError, Disk, Interrupt, Systemd};
use regexctl_provision::render::Service;
use rustix::process::{Pid, Signal, kill_process};

use crate::fake::{Fake, LAB, anyhow, changed};
use crate::systemctl::{Elsewhere, Script, answer};

#[test]
fn each_is_told_once_and_only_when_its_files_change() {
    let (fake, script) = (Fake::new(), Script::new());
    script.apply(&fake, LAB).expect("all is well");
    assert_eq!(
        script.calls(),
        [
            "enable chrony.service",
            "enable nfs-server.service",
            "daemon-reload",
            "reset-failed chrony.service",
            "restart chrony.service",
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
            "stop nfs-server.service",
            "daemon-reload",
            "reset-failed chrony.service",
            "restart chrony.service",
            "enable regex-provision-ganesha.service",
            "reset-failed regex-provision-ganesha.service",
            "restart regex-provision-ganesha.service",
            "reload-or-restart regex-provision-serve.service",
            "reset-failed regex-provision-dnsmasq.service",
            "restart regex-provision-dnsmasq.service",
            "disable nfs-server.service",
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
            "stop regex-provision-ganesha.service",
            "disable regex-provision-ganesha.service",
            "daemon-reload",
            "reset-failed chrony.service",
            "restart chrony.service",
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
    let units = [
        "chrony",
        "nfs-server",
        "regex-master",
        "regex-provision-dnsmasq",
    ];
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

/// After its next start the master would have neither.
#[test]
fn what_a_site_has_switched_off_starts_with_the_machine_when_it_is_needed() {
    let text = format!("{LAB}\n[log]\ntarget = \"master\"\n");
    let (fake, script) = (Fake::new(), Script::new());
    script.remove("up.chrony.service");
    script.remove("enabled.chrony.service");
    script.apply(&fake, LAB).expect("all is well");
    assert!(script.has("up.chrony.service") && script.has("enabled.chrony.service"));
    script.calls();
    script.apply(&fake, &text).expect("all is well");
    assert!(script.has("up.rsyslog.service") && script.has("enabled.rsyslog.service"));
    let calls = script.calls();
    // It reads its files only when it starts.
    assert!(
        calls.contains(&"restart rsyslog.service".to_owned()),
        "{calls:?}"
    );
    assert!(
        !calls.iter().any(|call| call.contains("chrony")),
        "{calls:?}"
    );
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
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever only connects has gone.
            let _ = answer(stream, "regex-provision: cluster lab, generation 1");
        }
    });
    let (fake, script) = (Fake::new(), Script::new());
    let request = fake.request(LAB);
    let mut systemd = Elsewhere {
        systemd: script.systemd().asking(),
        place: |service, _| (service == Service::Serve).then_some(address),
    };
    let pid = std::process::id().to_string();
    // Somebody who listens nowhere.
    let mut idle = Command::new("sleep").arg("600").spawn().expect("it starts");
    let unit = "regex-provision-serve.service";
    fs::write(script.file(&format!("pid.{unit}")), idle.id().to_string()).expect("a file");
    let soon = Duration::from_millis(100);
    systemd.systemd = systemd.systemd.waiting(soon, soon);
    let error = apply::apply(&request, &mut Disk::default(), &mut systemd)
        .expect_err("it is another's listener");
    idle.kill().expect("it is ours");
    idle.wait().expect("it is ours");
    let error = format!("{:#}", anyhow(error));
    // It is this process, or one that another test has begun to start, which has its files for a moment.
    let holder = "does not come up: process ";
    let where_to = format!(") listens at {address} already; end it");
    assert!(
        error.contains(holder) && error.contains(&where_to),
        "{error}"
    );

    // And now it is the service's own.
    fs::write(script.file(&format!("pid.{unit}")), pid).expect("a file");
    systemd.systemd = script.systemd().asking();
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
