//! A fault, or the death of the process, at every step of apply and rollback.

use std::cell::Cell;
use std::env;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::rc::Rc;

use regexctl_provision::apply::{ApplyError, Disk, Generation, generation};
use rustix::process::{Signal, getpid, kill_process};

use crate::fake::{Fake, LAB, anyhow, changed};

/// What is under way when the fault comes.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// The first apply of all.
    First,
    /// One that changes everything.
    Change,
    /// The way back.
    Rollback,
}

const DEEDS: [Deed; 3] = [Deed::First, Deed::Change, Deed::Rollback];

impl Deed {
    fn prepare(self, fake: &Fake) {
        match self {
            Self::First => {}
            Self::Change => {
                fake.apply(LAB);
            }
            Self::Rollback => {
                fake.apply(LAB);
                fake.apply(&changed());
            }
        }
    }

    fn run(self, fake: &Fake, disk: &mut Disk) -> Result<(), ApplyError> {
        match self {
            Self::First => fake.try_apply(LAB, disk)?,
            Self::Change => fake.try_apply(&changed(), disk)?,
            Self::Rollback => fake.try_rollback(None, disk)?,
        };
        Ok(())
    }

    /// What is to be in the end.
    fn text(self) -> String {
        match self {
            Self::First | Self::Rollback => LAB.to_owned(),
            Self::Change => changed(),
        }
    }
}

/// A disk that counts its steps.
fn counting() -> (Disk, Rc<Cell<usize>>) {
    let count = Rc::new(Cell::new(0));
    let counter = Rc::clone(&count);
    let disk = Disk::with_hook(move |_| {
        counter.set(counter.get() + 1);
        Ok(())
    });
    (disk, count)
}

/// How many steps the deed has.
fn steps(deed: Deed) -> usize {
    let fake = Fake::new();
    deed.prepare(&fake);
    let (mut disk, count) = counting();
    deed.run(&fake, &mut disk)
        .unwrap_or_else(|error| panic!("{:#}", anyhow(error)));
    let steps = count.get();
    assert!(steps > 10, "{deed:?} has only {steps} steps");
    steps
}

#[test]
fn a_fault_at_any_step_leaves_everything_as_it_was() {
    for deed in DEEDS {
        let fake = Fake::new();
        deed.prepare(&fake);
        let before = fake.everything();
        for bad in 0..steps(deed) {
            let mut step = 0;
            let mut disk = Disk::with_hook(move |_| {
                step += 1;
                if step > bad {
                    // From then on nothing works, until things are restored.
                    return Err(io::Error::other("the disk is full"));
                }
                Ok(())
            });
            let error = deed.run(&fake, &mut disk).expect_err("there is a fault");
            let is_restored = matches!(error, ApplyError::Restored { .. });
            let error = format!("{:#}", anyhow(error));
            assert!(
                is_restored && error.contains("the disk is full"),
                "{deed:?} {bad}: {error}"
            );
            assert_eq!(fake.everything(), before, "{deed:?} at step {bad}");
        }
        // And then it works.
        deed.run(&fake, &mut Disk::default())
            .expect("there is no fault");
        assert!(fake.plan(&deed.text()).is_empty());
    }
}

/// A disk with a fault at the last step, and one on the way back.
fn faulty(last: usize, bad: usize) -> (Disk, Rc<Cell<usize>>) {
    let fault = |at: usize, counter: Rc<Cell<usize>>| {
        move |_: &str| {
            let step = counter.replace(counter.get() + 1);
            if step == at {
                return Err(io::Error::other("the disk is full"));
            }
            Ok(())
        }
    };
    let back = Rc::new(Cell::new(0));
    let disk = Disk::with_hook(fault(last, Rc::default()));
    (disk.with_hook_back(fault(bad, Rc::clone(&back))), back)
}

#[test]
fn a_fault_on_the_way_back_leaves_the_old_or_the_new_and_is_mended_later() {
    for deed in DEEDS {
        let reference = Fake::new();
        deed.prepare(&reference);
        let old = bootable(&reference);
        deed.run(&reference, &mut Disk::default())
            .expect("there is no fault");
        let new = bootable(&reference);
        let last = steps(deed) - 1;
        let back = {
            let fake = Fake::new();
            deed.prepare(&fake);
            let (mut disk, back) = faulty(last, usize::MAX);
            deed.run(&fake, &mut disk).expect_err("there is a fault");
            back.get()
        };
        assert!(back > 5, "{deed:?} has only {back} steps back");
        for bad in 0..back {
            let fake = Fake::new();
            deed.prepare(&fake);
            let (mut disk, _) = faulty(last, bad);
            let error = deed.run(&fake, &mut disk).expect_err("there is a fault");
            assert!(
                matches!(error, ApplyError::NotRestored { .. }),
                "{deed:?} at step {bad} back: {:#}",
                anyhow(error)
            );
            let found = bootable(&fake);
            assert!(
                found == old || found == new,
                "{deed:?} at step {bad} back: {found:?}"
            );
            let text = deed.text();
            fake.apply(&text);
            assert_eq!(
                fake.visible(),
                reference.visible(),
                "{deed:?} at step {bad} back"
            );
            assert!(fake.plan(&text).is_empty(), "{deed:?} at step {bad} back");
        }
    }
}

/// Not a test by itself: the process that [`a_killed_process_leaves_the_old_or_the_new`] kills.
#[test]
fn the_process_that_is_killed() {
    let (Ok(root), Ok(deed), Ok(fatal)) = (
        env::var("FAULTS_ROOT"),
        env::var("FAULTS_DEED"),
        env::var("FAULTS_STEP"),
    ) else {
        return;
    };
    let deed = DEEDS[deed.parse::<usize>().expect("a number")];
    let fatal: usize = fatal.parse().expect("a number");
    let mut step = 0;
    let mut disk = Disk::with_hook(move |_| {
        if step == fatal {
            kill_process(getpid(), Signal::KILL).expect("it is ours");
        }
        step += 1;
        Ok(())
    });
    deed.run(&Fake::at(root), &mut disk)
        .expect("there is no fault");
}

fn run_and_kill(fake: &Fake, deed: usize, step: usize) {
    let status = Command::new(env::current_exe().expect("we are running"))
        .args(["--exact", "faults::the_process_that_is_killed"])
        .env("FAULTS_ROOT", &fake.path)
        .env("FAULTS_DEED", deed.to_string())
        .env("FAULTS_STEP", step.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("it starts");
    assert_eq!(
        status.signal(),
        Some(9),
        "it was to be killed at step {step}"
    );
}

/// What a node would boot from is whole: the generation in force has all its files as they were
/// made, and its images.
fn bootable(fake: &Fake) -> Option<String> {
    let store = fake.store();
    let generation: Generation = generation::current(&store).expect("it can be read")?;
    for file in &generation.index.files {
        generation.read(file).expect("it is whole");
    }
    for (_, _, manifest) in generation.images(&store).expect("they are there").iter() {
        for artifact in manifest.artifacts() {
            store.verify(artifact).expect("it is whole");
        }
    }
    Some(generation.cluster_text().expect("it is there"))
}

#[test]
fn a_killed_process_leaves_the_old_or_the_new() {
    for (number, deed) in DEEDS.into_iter().enumerate() {
        let reference = Fake::new();
        deed.prepare(&reference);
        let old = bootable(&reference);
        deed.run(&reference, &mut Disk::default())
            .expect("there is no fault");
        let new = bootable(&reference);
        assert_ne!(old, new);
        for step in 0..steps(deed) {
            let fake = Fake::new();
            deed.prepare(&fake);
            run_and_kill(&fake, number, step);
            let found = bootable(&fake);
            assert!(
                found == old || found == new,
                "{deed:?} at step {step}: {found:?}"
            );

            // Whoever comes next completes it.
            let interrupted = fake.plan(&deed.text());
            let by_hand = interrupted.changes.iter().filter(|change| change.by_hand);
            assert_eq!(
                by_hand.count(),
                0,
                "{deed:?} at step {step}: {interrupted:?}"
            );
            let text = deed.text();
            let outcome = fake.apply(&text);
            assert_eq!(outcome.plan, interrupted, "{deed:?} at step {step}");
            assert_eq!(
                fake.visible(),
                reference.visible(),
                "{deed:?} at step {step}"
            );
            assert!(fake.plan(&text).is_empty(), "{deed:?} at step {step}");
            // What was told or not told is told again, if anything was written.
            let is_pending = interrupted.interrupted.is_some();
            let told = outcome.plan.services.iter();
            let told: Vec<_> = told.map(|change| change.service).collect();
            let all = reference_services(deed);
            assert!(
                !is_pending || told == all,
                "{deed:?} at step {step}: {told:?}"
            );
            let all = fake.everything();
            let left = all.keys().filter(|path| path.ends_with(".dpkg-new"));
            assert_eq!(left.count(), 0, "{deed:?} at step {step}");
            // Generations that never were in force are gone.
            let numbers = generation::list(&fake.store()).expect("they can be listed");
            assert!(numbers.len() <= 3, "{deed:?} at step {step}: {numbers:?}");
        }
    }
}

/// The services that the deed tells.
fn reference_services(deed: Deed) -> Vec<regexctl_provision::render::Service> {
    let fake = Fake::new();
    deed.prepare(&fake);
    let plan = fake.plan(&deed.text());
    plan.services.iter().map(|change| change.service).collect()
}

#[test]
fn a_killed_apply_can_be_rolled_back() {
    let text = changed();
    for step in (0..steps(Deed::Change)).step_by(3) {
        let fake = Fake::new();
        Deed::Change.prepare(&fake);
        let before = fake.visible();
        run_and_kill(&fake, 1, step);
        let in_force = fake.current();
        let by_hand = fake.plan(LAB);
        let by_hand = by_hand.changes.iter().filter(|change| change.by_hand);
        assert_eq!(by_hand.count(), 0, "at step {step}");
        // To the one that was in force before.
        let outcome = fake.rollback(Some(1)).expect("it is kept");
        assert_eq!(outcome.generation, 1, "at step {step}, from {in_force:?}");
        assert_eq!(fake.visible(), before, "at step {step}");
        assert!(fake.plan(LAB).is_empty(), "at step {step}");
        assert!(!fake.plan(&text).is_empty());
    }
}
