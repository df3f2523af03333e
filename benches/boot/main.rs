//! How long machines take from power-on to a registered worker, stage by stage, beside the same machines with the same
//! kernel, initramfs and command line handed over by QEMU itself (`-kernel`): what firmware, loaders and the network cost.
//!
//!     cargo bench --bench boot -- [--rounds N] [--nodes N]
//!     cargo bench --bench boot -- --modes [--rounds N]
//!
//! A round boots N nodes at once (1 unless told otherwise) directly, then by their BIOS, then by UEFI, all with the root
//! in memory and all in one run, so that the ratios are paired; the exit status is 1 if one is above its target. With
//! `--modes` a round boots, by their BIOS and one after the other, a node of each root mode, and tells what the nodes say
//! of their memory; and it builds their image anew, and with another worker. Needs what tests/boot needs; skipped, loudly, where
//! that is missing.

#[expect(dead_code, reason = "tests/boot uses the rest")]
#[path = "../../tests/boot/guest.rs"]
mod guest;
#[expect(dead_code, reason = "tests/boot uses the rest")]
#[path = "../../tests/boot/programs.rs"]
mod programs;
#[path = "../../tests/boot/rig.rs"]
mod rig;
#[expect(dead_code, reason = "tests/boot uses the rest")]
#[path = "../../tests/boot/site.rs"]
mod site;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use guest::{Firmware, Machine};
use rig::{Entry, text};
use site::{Plan, Site};

/// What nothing outlasts.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// The least memory that a node in RAM must do with, in MiB.
const MEMORY: u32 = 384;

/// As many can be booted at once.
const NAMES: [&str; 5] = ["n0", "n1", "n2", "n3", "n4"];

/// What a machine of the modes has, so that all of them fit.
const MEMORY_MODES: u32 = 1024;

/// How much memory a packed root may take, of its size.
const MEMORY_TARGET: f64 = 1.3;

/// What the packed root of the default image may take, in bytes.
const PACKED_TARGET: f64 = 120e6;

/// How long an image may take to build where its packages are kept, and how long with another worker alone, in seconds.
const BUILD_TARGET: f64 = 90.0;
const WORKER_TARGET: f64 = 5.0;

/// The root modes: name of the node, and what its profile says.
const MODES: [(&str, &str); 6] = [
    ("ram", "root = \"ram\""),
    ("ramdisk", "root = \"ramdisk\""),
    ("nfs", "root = \"nfs\""),
    ("nfs-usr", "root = \"nfs\"\nusr = \"nfs\""),
    ("ram-usr", "root = \"ram\"\nusr = \"nfs\""),
    ("disk-usr", "root = \"ramdisk\"\nusr = \"nfs\""),
];

/// The ways to boot: name, firmware, whether QEMU hands the kernel over, and how many times the direct boot it may take.
const WAYS: [Way; 3] = [
    Way {
        name: "direct",
        firmware: Firmware::Bios,
        direct: true,
        target: None,
    },
    Way {
        name: "bios",
        firmware: Firmware::Bios,
        direct: false,
        target: Some(2.2),
    },
    Way {
        name: "uefi",
        firmware: Firmware::Uefi,
        direct: false,
        target: Some(3.0),
    },
];

#[derive(Debug, Clone, Copy)]
struct Way {
    name: &'static str,
    firmware: Firmware,
    direct: bool,
    target: Option<f64>,
}

/// Seconds from power-on to each stage, one for each boot.
type Times = BTreeMap<String, Vec<f64>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--test") {
        // Cargo tests benchmarks, too; this one is tests/boot.
        return ExitCode::SUCCESS;
    }
    let rounds = number(&arguments, "--rounds", 3);
    let nodes = number(&arguments, "--nodes", 1);
    assert!(
        (1..=NAMES.len()).contains(&nodes),
        "--nodes: from 1 to {} can be booted at once",
        NAMES.len()
    );
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let are_all_met = match rig::enter(&words, LIMIT) {
        Entry::Inside if words.contains(&"--modes") => measure_modes(rounds),
        Entry::Inside => measure(rounds, nodes),
        Entry::Done => true,
        Entry::Missed => false,
    };
    ExitCode::from(u8::from(!are_all_met))
}

fn number(arguments: &[String], flag: &str, default: usize) -> usize {
    let Some(at) = arguments.iter().position(|argument| argument == flag) else {
        return default;
    };
    let value = arguments.get(at + 1).and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("{flag} wants a number"))
}

/// Tells whether all targets were met.
fn measure(rounds: usize, nodes: usize) -> bool {
    let work = tempfile::tempdir().expect("the directory for temporary files can be written");
    let directory = work.path();
    let machine = |number: usize, firmware| Machine {
        name: NAMES[number],
        number,
        firmware,
        memory: MEMORY,
        card: "virtio-net-pci",
        directory: directory.to_owned(),
    };
    let all: Vec<Machine> = (0..nodes)
        .map(|number| machine(number, Firmware::Bios))
        .collect();
    let known: Vec<(&Machine, Option<&str>)> = all.iter().map(|machine| (machine, None)).collect();
    let mut site = Site::furnish(
        directory,
        Plan {
            nodes: &known,
            ..Plan::default()
        },
    );

    let mut measured: BTreeMap<&str, Times> = BTreeMap::new();
    for round in 1..=rounds {
        for way in WAYS {
            eprintln!("round {round} of {rounds}, {nodes} at once: {}", way.name);
            let machines: Vec<Machine> = (0..nodes)
                .map(|number| machine(number, way.firmware))
                .collect();
            let times = measured.entry(way.name).or_default();
            boot(&mut site, &machines, way, times);
        }
    }
    println!("seconds from power-on, p50 / p95 of {rounds} rounds of {nodes} at once\n");
    print_stages(&measured, &WAYS.map(|way| way.name));
    let total = |way: &Way| quantile(&measured[way.name]["worker"], 0.5);
    println!();
    let mut are_all_met = true;
    for way in &WAYS {
        let Some(target) = way.target else { continue };
        let ratio = total(way) / total(&WAYS[0]);
        let met = ratio <= target;
        are_all_met &= met;
        let verdict = if met { "met" } else { "MISSED" };
        println!(
            "{} / direct: {ratio:.2} (target {target}: {verdict})",
            way.name
        );
    }
    are_all_met
}

/// Tells whether the root costs no more memory than it may.
fn measure_modes(rounds: usize) -> bool {
    let work = tempfile::tempdir().expect("the directory for temporary files can be written");
    let directory = work.path();
    let machine = |number: usize, name| Machine {
        name,
        number,
        firmware: Firmware::Bios,
        memory: MEMORY_MODES,
        card: "virtio-net-pci",
        directory: directory.to_owned(),
    };
    let all: Vec<Machine> = MODES
        .iter()
        .enumerate()
        .map(|(number, (name, _))| machine(number, name))
        .collect();
    let known: Vec<(&Machine, Option<&str>)> = all
        .iter()
        .map(|machine| (machine, Some(machine.name)))
        .collect();
    let profiles = MODES.map(|(name, settings)| format!("\n[profile.{name}]\n{settings}\n"));
    let profiles = profiles.concat();
    let mut site = Site::furnish(
        directory,
        Plan {
            nodes: &known,
            profiles: &profiles,
            ..Plan::default()
        },
    );

    let way = WAYS[1];
    let mut measured: BTreeMap<&str, Times> = BTreeMap::new();
    let mut said: BTreeMap<&str, String> = BTreeMap::new();
    for round in 1..=rounds {
        for machine in &all {
            eprintln!("round {round} of {rounds}: {}", machine.name);
            let times = measured.entry(machine.name).or_default();
            boot(&mut site, std::slice::from_ref(machine), way, times);
            let node = site.node(machine.name).unwrap_or_default();
            let stages = node["boot"]["stages"].as_array().cloned();
            let system = stages.unwrap_or_default().into_iter();
            let words = system
                .filter(|stage| stage["stage"] == "system")
                .find_map(|stage| stage["words"].as_str().map(str::to_owned));
            said.insert(machine.name, words.unwrap_or_default());
        }
    }
    println!("seconds from power-on, p50 / p95 of {rounds} rounds\n");
    print_stages(&measured, &MODES.map(|(name, _)| name));
    println!();
    for (name, words) in &said {
        println!("{name}: {words}");
    }
    // What a root over NFS does not take.
    let in_use = |name: &str| -> f64 {
        let words = said[name].split("; ");
        let mut words = words.filter(|words| words.ends_with("MiB of memory in use"));
        let number = words.next().and_then(|words| words.split(' ').next());
        let number = number.and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("{name} said {:?} of its memory", said[name]))
    };
    let manifest = site.manifest_of("ram");
    let packed = manifest["root"]["size"].as_f64().expect("it has a root");
    let taken = (in_use("ram") - in_use("nfs")) * f64::from(1 << 20);
    let [anew, worker] = build_times(&site, directory);
    println!();
    let judged = [
        ("the packed root, MB", packed / 1e6, PACKED_TARGET / 1e6),
        (
            "what it takes of memory, of its size",
            taken / packed,
            MEMORY_TARGET,
        ),
        ("image build --force, packages kept, s", anew, BUILD_TARGET),
        (
            "image build, another worker alone, s",
            worker,
            WORKER_TARGET,
        ),
    ];
    for (what, value, target) in judged {
        let verdict = if value <= target { "met" } else { "MISSED" };
        println!("{what}: {value:.2} (target {target}: {verdict})");
    }
    judged.iter().all(|(_, value, target)| value <= target)
}

/// Seconds that the image takes to build anew, and with another worker alone.
fn build_times(site: &Site, directory: &Path) -> [f64; 2] {
    let build = |more: &[&str]| {
        let mut command = rig::command(programs::provision());
        command.env(
            "REGEX_PROVISION_FILE",
            site.directory().join("cluster.toml"),
        );
        command.args(["image", "build", site::IMAGE]).args(more);
        let began = Instant::now();
        rig::finish(&mut rig::over_there(&command));
        began.elapsed().as_secs_f64()
    };
    eprintln!("building the image anew, and with another worker");
    let anew = build(&["--force"]);
    // The same program with something behind its end, so that it runs as well.
    let other = directory.join("regex-worker");
    let worker = programs::provision().with_file_name("regex-worker");
    let mut bytes = fs::read(worker).expect("it was built with the others");
    bytes.push(0);
    fs::write(&other, bytes).expect("the directory is ours");
    rig::run("chmod", &["755", &text(&other)]);
    [anew, build(&["--worker", &text(&other)])]
}

/// Boots machines at once, and notes when each reached its stages.
fn boot(site: &mut Site, machines: &[Machine], way: Way, times: &mut Times) {
    let boots: Vec<u64> = machines
        .iter()
        .map(|machine| site.boots_of(machine.name))
        .collect();
    let handed: Vec<Vec<String>> = machines
        .iter()
        .map(|machine| {
            if way.direct {
                hand_over(machine)
            } else {
                Vec::new()
            }
        })
        .collect();
    let mut guests = Vec::new();
    for (machine, more) in machines.iter().zip(&handed) {
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        guests.push((since_1970(), machine.start(&more)));
    }
    for ((machine, before), (on, _)) in machines.iter().zip(boots).zip(&guests) {
        let node = site.wait_for_boot(machine.name, before);
        for stage in node["boot"]["stages"].as_array().into_iter().flatten() {
            let (Some(name), Some(at)) = (stage["stage"].as_str(), stage["at"].as_u64()) else {
                continue;
            };
            // What was heard before power-on is the handing over of the command line.
            if at >= *on {
                let seconds = Duration::from_millis(at - on).as_secs_f64();
                times.entry(name.to_owned()).or_default().push(seconds);
            }
        }
    }
    drop(guests);
    // The next boot is another one only when the last one is forgotten.
    site.until("the workers are gone", |_| {
        Site::workers().is_empty().then_some(())
    });
}

/// What the node's boot script would have its loader load, handed over by QEMU.
fn hand_over(machine: &Machine) -> Vec<String> {
    let mac = machine.mac().replace(':', "-");
    let script = rig::run(
        "busybox",
        &[
            "wget",
            "-q",
            "-O",
            "-",
            &format!("http://{}:8080/boot/{mac}.ipxe", rig::MASTER),
        ],
    );
    let line = |command: &str| {
        let line = script
            .lines()
            .find_map(|line| line.trim().strip_prefix(command));
        let line = line.unwrap_or_else(|| panic!("no {command}in\n{script}"));
        let words = line.split("||").next().unwrap_or(line).trim();
        let (url, rest) = words.split_once(' ').unwrap_or((words, ""));
        (artifact(url), rest.to_owned())
    };
    let (kernel, arguments) = line("kernel ");
    let (initramfs, _) = line("initrd ");
    [
        "-kernel".to_owned(),
        text(&kernel),
        "-initrd".to_owned(),
        text(&initramfs),
        "-append".to_owned(),
        arguments,
    ]
    .into()
}

/// The file behind `.../artifact/SHA256/NAME`.
fn artifact(url: &str) -> PathBuf {
    let digest = url
        .split('/')
        .rev()
        .nth(1)
        .expect("an artifact's address has its digest");
    site::store().join("artifacts").join(digest)
}

fn since_1970() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is later than 1970");
    u64::try_from(since.as_millis()).expect("it is not that much later")
}

/// The value that this share of the values does not exceed.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index of a handful of values"
    )]
    let at = (share * last as f64).ceil() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// A table of stages, one column for each of `columns`.
fn print_stages(measured: &BTreeMap<&str, Times>, columns: &[&str]) {
    const STAGES: [&str; 9] = [
        "dhcp", "loader", "script", "kernel", "image", "verified", "root", "system", "worker",
    ];
    println!("| stage | {} |", columns.join(" | "));
    println!("|---|{}", "---|".repeat(columns.len()));
    for stage in STAGES {
        print!("| {stage} |");
        for column in columns {
            match measured[column].get(stage) {
                Some(values) => print!(
                    " {:.1} / {:.1} |",
                    quantile(values, 0.5),
                    quantile(values, 0.95)
                ),
                None => print!(" |"),
            }
        }
        println!();
    }
}
