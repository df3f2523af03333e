//! A generation in force that is damaged: it is told, and made again.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use regexctl_provision::apply::{self, Disk, Kind, Plan, Root, generation, show};

use crate::fake::{DIRECTORY, Fake, LAB, anyhow};
use crate::systemctl::{GANESHA, Script};

fn shown(plan: &Plan) -> String {
    let style = show::Style {
        colours: false,
        full: false,
    };
    show::text(plan, style)
}

/// Spoils something of the generation in force.
type Spoil = fn(&Fake);

fn path(fake: &Fake, name: &str) -> std::path::PathBuf {
    fake.path.join(DIRECTORY).join("generations/1").join(name)
}

const DAMAGE: [(&str, Spoil); 6] = [
    ("images.json", |fake| {
        fs::remove_file(path(fake, "images.json")).expect("it is there");
    }),
    ("images.json", |fake| {
        fs::write(path(fake, "images.json"), "{\"base\": ").expect("a file");
    }),
    ("index.json", |fake| {
        fs::remove_file(path(fake, "index.json")).expect("it is there");
    }),
    ("index.json", |fake| {
        fs::write(path(fake, "index.json"), "\0\0\0\0").expect("a file");
    }),
    ("cluster.toml", |fake| {
        fs::write(path(fake, "cluster.toml"), [0xff, 0xfe]).expect("a file");
    }),
    ("generations/1 is gone", |fake| {
        fs::remove_dir_all(path(fake, "")).expect("it is there");
    }),
];

#[test]
fn a_damaged_generation_in_force_is_made_again() {
    for (what, spoil) in DAMAGE {
        let fake = Fake::new();
        fake.apply(LAB);
        let reference = fake.visible();
        spoil(&fake);
        let plan = fake.plan(LAB);
        assert!(!plan.is_empty(), "{what}");
        let told = shown(&plan);
        let warning =
            "warning: generation 1, which is in force, is damaged, and what cannot be read";
        assert!(told.contains(warning) && told.contains(what), "{told}");
        // What is in the system is as it was installed.
        let system = plan.changes.iter();
        let system: Vec<_> = system
            .filter(|change| change.name.starts_with("system/"))
            .collect();
        assert_eq!(system, [] as [&apply::Change; 0], "{what}");
        let outcome = fake.apply(LAB);
        assert_eq!((outcome.generation, fake.current()), (2, Some(2)), "{what}");
        assert_eq!(fake.visible(), reference, "{what}");
        assert!(fake.plan(LAB).is_empty(), "{what}");
        let numbers = generation::list(&fake.store()).expect("they can be listed");
        assert_eq!(numbers.last(), Some(&2), "{what}");
    }
}

/// What the generation in force has put into the system is known from those before it.
#[test]
fn what_is_not_wanted_any_more_goes_without_an_index_too() {
    let fake = Fake::new();
    fake.apply(LAB);
    fake.apply(&format!("{LAB}# another\n"));
    fs::remove_file(fake.path.join(DIRECTORY).join("generations/2/index.json"))
        .expect("it is there");
    let unit = fake.path.join("etc/systemd/system/regex-master.service");
    fs::write(&unit, "[Service]\nExecStart=/bin/false\n").expect("a file");
    let without = format!("{LAB}\n[time]\nenabled = false\n");
    let plan = fake.plan(&without);
    let change = |name: &str| {
        let change = plan.changes.iter().find(|change| change.name == name);
        let change = change.unwrap_or_else(|| panic!("{name} does not change"));
        (change.kind, change.by_hand)
    };
    let chrony = "system/etc/chrony/conf.d/regex-provision.conf";
    assert_eq!(change(chrony), (Kind::Remove, false));
    let master = "system/etc/systemd/system/regex-master.service";
    assert_eq!(change(master), (Kind::Modify, true));
    assert_eq!(change("index.json"), (Kind::Create, true));
    // The old cluster can be read, and says who has to be rebooted.
    let reboots = shown(&plan);
    assert!(reboots.contains("reboot  pxe,s[0-2]: "), "{reboots}");
    fake.apply(&without);
    let visible = fake.visible();
    assert!(!visible.contains_key("etc/chrony/conf.d/regex-provision.conf"));
    assert!(!visible["etc/systemd/system/regex-master.service"].contains("/bin/false"));
    assert!(fake.plan(&without).is_empty());
}

/// Nor does anything stay that only the damaged one has put there, and its services with it.
#[test]
fn what_only_a_damaged_generation_had_goes_with_it() {
    let ganesha = LAB.replace("/srv/data\"", "/srv/data\"\nserver = \"ganesha\"");
    for back in [false, true] {
        let (fake, script) = (Fake::new(), Script::new());
        script.apply(&fake, LAB).expect("all is well");
        let (files, states) = (fake.visible(), script.states());
        script.apply(&fake, &ganesha).expect("all is well");
        assert!(script.has(&format!("enabled.{GANESHA}")));
        fs::remove_file(fake.path.join(DIRECTORY).join("generations/2/index.json"))
            .expect("it is there");
        if back {
            let (root, mut disk) = (Root::fake(&fake.path), Disk::default());
            apply::rollback(&root, &fake.store(), None, &mut disk, &mut script.systemd())
        } else {
            script.apply(&fake, LAB)
        }
        .unwrap_or_else(|error| panic!("{:#}", anyhow(error)));
        assert_eq!((fake.visible(), script.states()), (files, states));
    }
}

#[test]
fn one_returns_from_a_damaged_generation() {
    for (what, spoil) in DAMAGE {
        let fake = Fake::new();
        let store = fake.path.join(DIRECTORY);
        fake.apply(LAB);
        let reference = fake.visible();
        fake.apply(&format!("{LAB}# another\n"));
        // The damaged one is the second.
        let swap = |a: &str, b: &str| {
            let generations = store.join("generations");
            fs::rename(generations.join(a), generations.join(b)).expect("it is there");
        };
        swap("1", "kept");
        swap("2", "1");
        spoil(&fake);
        if store.join("generations/1").exists() {
            swap("1", "2");
        }
        swap("kept", "1");
        let outcome = fake.rollback(None);
        let outcome = outcome.unwrap_or_else(|error| panic!("{what}: {:#}", anyhow(error)));
        assert_eq!((outcome.generation, fake.current()), (1, Some(1)), "{what}");
        assert_eq!(fake.visible(), reference, "{what}");
        assert!(fake.plan(LAB).is_empty(), "{what}");
        // To a damaged one nobody returns.
        if store.join("generations/2").exists() {
            fake.rollback(Some(2)).expect_err("it is damaged");
            assert_eq!(fake.current(), Some(1));
        }
    }
}

/// A link that leads nowhere in the place of the directory.
#[test]
fn a_number_is_given_once() {
    let fake = Fake::new();
    fake.apply(LAB);
    fake.apply(&format!("{LAB}# another\n"));
    fake.apply(LAB);
    let generations = fake.path.join(DIRECTORY).join("generations");
    fs::remove_dir_all(generations.join("3")).expect("it is there");
    symlink("nowhere", generations.join("3")).expect("a link");
    assert_eq!(fake.apply(LAB).generation, 4);
}

/// Whoever looks for one to return to wants to see the others.
#[test]
fn a_damaged_generation_is_listed_with_its_damage() {
    let fake = Fake::new();
    fake.apply(LAB);
    fake.apply(&format!("{LAB}# another\n"));
    fs::write(path(&fake, "index.json"), "{").expect("a file");
    fs::write(fake.path.join("cluster.toml"), LAB).expect("a file");
    let run = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_regex-provision"))
            .args(["generations", "--root", ".", "--file", "cluster.toml"])
            .args(more)
            .current_dir(&fake.path)
            .output()
            .expect("it starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        String::from_utf8(output.stdout).expect("it is text")
    };
    let text = run(&[]);
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines.len() == 3 && lines[2].contains("1/index.json is damaged"),
        "{text}"
    );
    let list: serde_json::Value = serde_json::from_str(&run(&["--json"])).expect("it is JSON");
    assert_eq!(list[0]["nodes"], 4);
    let why = list[1]["damaged"].as_str().expect("it is told");
    assert!(why.contains("1/index.json is damaged"), "{why}");
}
