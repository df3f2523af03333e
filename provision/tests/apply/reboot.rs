//! A loss of power while one NFS server takes the place of the other, or on the way back: after its next start the master
//! has an NFS server, whose files are in their places.

use std::cell::Cell;
use std::env;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::rc::Rc;

use regexctl_provision::apply::{self, ApplyError, Disk};
use rustix::process::{Signal, getpid, kill_process};

use crate::fake::{DIRECTORY, Fake, LAB, anyhow};
use crate::systemctl::{GANESHA, KERNEL, Script};

fn with_ganesha() -> String {
    LAB.replace("/srv/data\"", "/srv/data\"\nserver = \"ganesha\"")
}

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    ToGanesha,
    ToKernel,
}

/// Where the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Forward,
    /// On the way back, after a fault at the last step.
    Back,
}

impl Deed {
    /// What is in force, and what is to be.
    fn texts(self) -> (String, String) {
        match self {
            Self::ToGanesha => (LAB.to_owned(), with_ganesha()),
            Self::ToKernel => (with_ganesha(), LAB.to_owned()),
        }
    }

    fn prepare(self) -> (Fake, Script) {
        let (fake, script) = (Fake::new(), Script::new());
        script.apply(&fake, &self.texts().0).expect("all is well");
        (fake, script)
    }

    fn run(self, fake: &Fake, script: &Script, disk: &mut Disk) -> Result<(), ApplyError> {
        let request = fake.request(&self.texts().1);
        apply::apply(&request, disk, &mut script.systemd()).map(drop)
    }
}

/// A hook that counts, and does something at one step.
fn at_step(
    fatal: usize,
    deed: impl Fn() -> io::Result<()> + 'static,
) -> (
    impl FnMut(&str) -> io::Result<()> + 'static,
    Rc<Cell<usize>>,
) {
    let count = Rc::new(Cell::new(0));
    let counter = Rc::clone(&count);
    let hook = move |_: &str| {
        let step = counter.replace(counter.get() + 1);
        if step == fatal { deed() } else { Ok(()) }
    };
    (hook, count)
}

fn fault() -> io::Result<()> {
    Err(io::Error::other("the disk is full"))
}

fn die() -> io::Result<()> {
    Ok(kill_process(getpid(), Signal::KILL)?)
}

/// How many steps there are forward, and back from the last.
fn steps(deed: Deed) -> (usize, usize) {
    let (fake, script) = deed.prepare();
    let (hook, forward) = at_step(usize::MAX, fault);
    deed.run(&fake, &script, &mut Disk::with_hook(hook))
        .expect("there is no fault");
    let (fake, script) = deed.prepare();
    let states = script.states();
    let before = fake.everything();
    let (hook, _) = at_step(forward.get() - 1, fault);
    let (hook_back, back) = at_step(usize::MAX, fault);
    let mut disk = Disk::with_hook(hook).with_hook_back(hook_back);
    let error = deed
        .run(&fake, &script, &mut disk)
        .expect_err("there is a fault");
    assert!(
        matches!(error, ApplyError::Restored { .. }),
        "{:#}",
        anyhow(error)
    );
    assert_eq!(script.states(), states);
    assert_eq!(fake.everything(), before);
    (forward.get(), back.get())
}

/// Not a test by itself: the process that is killed.
#[test]
fn the_process_that_loses_its_power() {
    let variable = |name: &str| env::var(format!("REBOOT_{name}"));
    let (Ok(root), Ok(systemctl), Ok(deed), Ok(step), Ok(last)) = (
        variable("ROOT"),
        variable("SYSTEMCTL"),
        variable("DEED"),
        variable("STEP"),
        variable("LAST"),
    ) else {
        return;
    };
    let deed = if deed == "ToGanesha" {
        Deed::ToGanesha
    } else {
        Deed::ToKernel
    };
    let number = |text: String| text.parse::<usize>().expect("a number");
    let (step, last) = (number(step), number(last));
    let mut disk = if last == 0 {
        Disk::with_hook(at_step(step, die).0)
    } else {
        Disk::with_hook(at_step(last, fault).0).with_hook_back(at_step(step, die).0)
    };
    let done = deed.run(&Fake::at(root), &Script::at(systemctl), &mut disk);
    done.expect("there is no fault");
}

/// What runs after the master has started again: what is enabled and there.
fn start_again(fake: &Fake, script: &Script) {
    for state in script.states() {
        if state.starts_with("up.") {
            script.remove(&state);
        }
    }
    let enabled = script.states();
    let is_enabled = |unit: &str| enabled.contains(&format!("enabled.{unit}"));
    for state in &enabled {
        let unit = state.trim_start_matches("enabled.");
        let units = fake.path.join("etc/systemd/system");
        let is_there = !unit.starts_with("regex-") || units.join(unit).exists();
        // "In case both are not required, the unit that conflicts will be started and the unit that is conflicted is
        // stopped": systemd.unit(5) of `Conflicts=`, which Ganesha's unit has.
        let is_stopped = unit == KERNEL && is_enabled(GANESHA) && units.join(GANESHA).exists();
        if is_there && !is_stopped {
            script.touch(&format!("up.{unit}"));
        }
    }
}

fn lose_power(deed: Deed, when: When) {
    let (forward, back) = steps(deed);
    assert!(forward > 10 && back > 5, "{forward} steps and {back} back");
    let (total, last) = match when {
        When::Forward => (forward, 0),
        When::Back => (back, forward - 1),
    };
    let (mut saw_old, mut saw_new) = (false, false);
    for step in 0..total {
        let (fake, script) = deed.prepare();
        let status = Command::new(env::current_exe().expect("we are running"))
            .args(["--exact", "reboot::the_process_that_loses_its_power"])
            .env("REBOOT_ROOT", &fake.path)
            .env("REBOOT_SYSTEMCTL", script.path())
            .env("REBOOT_DEED", format!("{deed:?}"))
            .env("REBOOT_STEP", step.to_string())
            .env("REBOOT_LAST", last.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("it starts");
        let place = format!("{deed:?} {when:?} at step {step}");
        assert_eq!(status.signal(), Some(9), "{place}");

        start_again(&fake, &script);
        let current = fake.path.join(DIRECTORY).join("current/files");
        let kernel = script.has(&format!("up.{KERNEL}"));
        let ganesha = script.has(&format!("up.{GANESHA}"));
        let exports = fake.path.join("etc/exports.d/regex-provision.exports");
        assert!(kernel != ganesha, "{place}: {:?}", script.states());
        assert!(!kernel || exports.exists(), "{place}: nothing is exported");
        let configuration = current.join("ganesha/ganesha.conf");
        assert!(!ganesha || configuration.exists(), "{place}: no Ganesha");
        (saw_old, saw_new) = match deed {
            Deed::ToGanesha => (saw_old || kernel, saw_new || ganesha),
            Deed::ToKernel => (saw_old || ganesha, saw_new || kernel),
        };

        // Whoever comes next completes it.
        let (_, text) = deed.texts();
        script
            .apply(&fake, &text)
            .unwrap_or_else(|error| panic!("{place}: {:#}", anyhow(error)));
        let (on, off) = match deed {
            Deed::ToGanesha => (GANESHA, KERNEL),
            Deed::ToKernel => (KERNEL, GANESHA),
        };
        for kind in ["up", "enabled"] {
            assert!(script.has(&format!("{kind}.{on}")), "{place}: {kind}");
            assert!(!script.has(&format!("{kind}.{off}")), "{place}: {kind}");
        }
        assert_eq!(exports.exists(), deed == Deed::ToKernel, "{place}");
        let plan = apply::plan(&fake.request(&text), &mut script.systemd()).expect("a plan");
        assert!(plan.is_empty(), "{place}: {plan:?}");
        drop(fs::remove_file(script.file("calls")));
    }
    assert!(saw_old && saw_new, "it was cut off before and after");
}

#[test]
fn power_lost_on_the_way_to_ganesha() {
    lose_power(Deed::ToGanesha, When::Forward);
}

#[test]
fn power_lost_on_the_way_to_the_kernel() {
    lose_power(Deed::ToKernel, When::Forward);
}

#[test]
fn power_lost_on_the_way_back_from_ganesha() {
    lose_power(Deed::ToGanesha, When::Back);
}

#[test]
fn power_lost_on_the_way_back_from_the_kernel() {
    lose_power(Deed::ToKernel, When::Back);
}
