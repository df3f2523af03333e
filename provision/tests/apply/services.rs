//! What services are told and when, and what happens when one of them does not come up.
//!
//! A script stands for `systemctl` here, so that it can be made to fail; the test `systemd` does the same with
//! the real one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use regexctl_provision::apply::{self, ApplyError, Disk, Outcome, Systemd};
use tempfile::TempDir;

use crate::fake::{Fake, LAB, anyhow, changed};

/// Answers as systemd does: a unit fails as long as there is a file `bad.UNIT`, and is down while there is a file
/// `down.UNIT`.
const SCRIPT: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 9
for unit in "$@"; do :; done
case $1 in
show)
    state=active
    [ -e "down.$unit" ] && state=inactive
    [ -e "bad.$unit" ] && state=failed
    echo "LoadState=loaded"
    echo "ActiveState=$state"
    echo "SubState=running"
    echo "Result=exit-code"
    exit 0 ;;
status)
    echo "$unit: the port is taken"
    exit 3 ;;
esac
echo "$*" >>calls
case $1 in
restart | enable | reload-or-restart)
    rm -f "down.$unit" ;;
esac
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
        script
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn touch(&self, name: &str) {
        fs::write(self.file(name), "").expect("a file");
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
            "reload-or-restart nfs-server.service",
            "enable --now regex-master.service",
            "enable --now regex-provision-serve.service",
            "enable --now regex-provision-dnsmasq.service",
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
            "enable --now regex-provision-ganesha.service",
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
        .position(|call| call.contains("enable --now regex-provision-ganesha"));
    assert_eq!(
        calls[behind.expect("it was started") + 1..],
        [
            "disable --now regex-provision-ganesha.service",
            "daemon-reload",
            "reset-failed chrony.service",
            "restart chrony.service",
            "enable --now nfs-server.service",
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
    fs::remove_file(script.file("bad.chrony.service")).expect("it is there");
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
    script.touch("down.regex-provision-dnsmasq.service");
    let outcome = script.apply(&fake, LAB).expect("all is well");
    assert_eq!(outcome.generation, 1);
    assert_eq!(
        script.calls(),
        ["enable --now regex-provision-dnsmasq.service"]
    );
}
