//! The whole way: described, built, applied, switched on, searched; with a machine that nobody knows, a damaged image,
//! and a power cut.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Instant;

use super::guest::{Bmc, Firmware, Machine};
use super::rig::{self, Daemon, MASTER_URL, finish, tail, text};
use super::services::{self, Services};
use super::site::{self, Site};
use super::{programs, say, stages};

/// Files of the tree, enough that a job over it is interrupted in its middle.
const FILES: usize = 12_000;

/// The disk of the machine that nobody knows.
const DISK_BYTES: u64 = 100 << 20;

/// The least memory that a node must do with, in MiB.
const MEMORY: u32 = 384;

/// What is searched for: something that is in every file, and something rare.
const PATTERN: &str = r"needle \d+7\b|commit 99\d \d+";

pub(crate) fn go() {
    let began = Instant::now();
    let work = tempfile::tempdir().expect("the directory for temporary files can be written");
    let rack = Rack::new(work.path());
    let mut run = Run::prepare(began, work.path(), &rack);
    let _guests = run.switch_on(&rack);
    run.find_the_stranger(&rack);
    let damage = run.approve_with_a_damaged_image(&rack);
    // Meanwhile the machine boots again.
    run.ask_the_nodes(&rack);
    run.refuse_the_damaged_image(&rack, &damage);
    run.search_through_a_power_cut(&rack);
    run.show(&rack);
}

/// The machines.
struct Rack {
    /// A BIOS, the root in memory, a BMC.
    ram: Machine,
    /// A BIOS, the root over NFS.
    nfs: Machine,
    /// UEFI, the root in memory.
    uefi: Machine,
    /// Not in cluster.toml.
    stranger: Machine,
}

impl Rack {
    fn new(directory: &Path) -> Rack {
        let machine = |name, number, firmware, memory, card| Machine {
            name,
            number,
            firmware,
            memory,
            card,
            directory: directory.to_owned(),
        };
        Rack {
            ram: machine("ram", 0, Firmware::Bios, MEMORY, "virtio-net-pci"),
            nfs: machine("nfs", 1, Firmware::Bios, MEMORY, "e1000"),
            uefi: machine("uefi", 2, Firmware::Uefi, MEMORY, "virtio-net-pci"),
            stranger: machine("stranger", 3, Firmware::Bios, MEMORY, "virtio-net-pci"),
        }
    }

    fn known(&self) -> [&Machine; 3] {
        [&self.ram, &self.nfs, &self.uefi]
    }
}

/// One way from nothing to the matches.
struct Run {
    began: Instant,
    directory: PathBuf,
    site: Site,
    _services: Services,
    bmc: Bmc,
}

impl Run {
    fn prepare(began: Instant, directory: &Path, rack: &Rack) -> Run {
        say(
            began,
            "describing the cluster, building its image, applying",
        );
        let nodes = [
            (&rack.ram, Some("managed")),
            (&rack.nfs, Some("nfs")),
            (&rack.uefi, None),
        ];
        let plan = site::Plan {
            nodes: &nodes,
            profiles: &format!(
                "\n[profile.nfs]\nroot = \"nfs\"\n\n[log]\ntarget = \"master\"\ndirectory = \"{}\"\n",
                text(&services::logs(directory))
            ),
            strangers: &[&rack.stranger],
            ..site::Plan::default()
        };
        let site = Site::furnish(directory, plan);
        corpus(site::data());
        let services = Services::start(directory);
        Run {
            began,
            directory: directory.to_owned(),
            site,
            _services: services,
            bmc: Bmc::start(rack.ram.clone()),
        }
    }

    fn say(&self, what: &str) {
        say(self.began, what);
    }

    fn switch_on(&mut self, rack: &Rack) -> [Daemon; 3] {
        self.say("switching on three nodes and a machine that nobody knows");
        self.power("on");
        // One with a disk, which is looked for and left alone.
        let disk = self.directory.join("disk");
        let file = File::create(&disk).expect("the directory is ours");
        file.set_len(DISK_BYTES).expect("it has holes");
        let drive = format!("if=virtio,format=raw,file={}", text(&disk));
        let stranger = rack.stranger.start(&["-drive", &drive]);
        let [nfs, uefi] = [&rack.nfs, &rack.uefi].map(|machine| machine.start(&[]));
        let guests = [nfs, uefi, stranger];
        for (machine, root) in [
            (&rack.ram, &["image", "verified", "root"][..]),
            (&rack.nfs, &["root"]),
            (&rack.uefi, &["image", "verified", "root"]),
        ] {
            let node = self.site.wait_for_node(machine.name);
            self.say(&format!("{} is up: {}", machine.name, stages(&node)));
            let all = node["boot"]["stages"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            for stage in ["dhcp", "loader", "script", "kernel", "worker"]
                .iter()
                .chain(root)
            {
                assert!(
                    all.iter().any(|heard| heard["stage"] == *stage),
                    "{} says nothing of {stage}: {node:#}",
                    machine.name
                );
            }
            self.site.has_root(machine.name, "overlayfs", "overlayfs");
        }
        guests
    }

    /// Their clocks follow the master's, their logs arrive there, and one command asks all of them.
    fn ask_the_nodes(&mut self, rack: &Rack) {
        let names = rack.known().map(|machine| machine.name).join(",");
        self.site.log_in(&names);
        let ours = format!(
            "chronyc -n tracking | grep '^Reference ID.*({})'",
            rig::MASTER
        );
        let said = self
            .site
            .until("all nodes follow the master's clock", |site| {
                site.exec(&names, &ours)
            });
        assert_eq!(
            said.matches("Reference ID").count(),
            1,
            "not folded:\n{said}"
        );
        let message = "a line for the master";
        let logged = self.site.exec(&names, &format!("logger '{message}'"));
        assert!(logged.is_some(), "the nodes cannot log");
        let directory = self.directory.clone();
        self.site.until("all nodes' logs are on the master", |_| {
            (services::loggers(&directory, message) == rack.known().len()).then_some(())
        });
        self.say("their clocks follow the master's, and their logs are there");
    }

    fn find_the_stranger(&mut self, rack: &Rack) {
        let mac = rack.stranger.mac();
        let unknown = self
            .site
            .until("the stranger is listed with what it is", |site| {
                let status = site.status()?;
                let all = status["unknown"].as_array()?.clone();
                all.into_iter().find(|unknown| {
                    unknown["mac"] == mac.as_str() && unknown["inventory"]["cores"] == 1
                })
            });
        assert_eq!(
            unknown["inventory"]["nics"][0]["mac"],
            mac.as_str(),
            "{unknown:#}"
        );
        assert_eq!(
            unknown["inventory"]["disks"][0]["bytes"], DISK_BYTES,
            "{unknown:#}"
        );
        let listed = self.site.provision(&["node", "discover"]);
        assert!(listed.contains(&mac), "{listed}");
    }

    fn approve_with_a_damaged_image(&mut self, rack: &Rack) -> Damage {
        self.say("damaging the image, and approving the machine: it must refuse to boot that");
        let (name, mac, address) = (
            rack.stranger.name,
            rack.stranger.mac(),
            rack.stranger.address(),
        );
        let damage = Damage::of(&root_artifact(&self.site, "uefi"));
        self.site
            .provision(&["node", "approve", &mac, name, "--address", &address]);
        self.site.provision(&["apply"]);
        damage
    }

    fn refuse_the_damaged_image(&mut self, rack: &Rack, damage: &Damage) {
        let name = rack.stranger.name;
        let words = self
            .site
            .until("the machine refuses the damaged image", |site| {
                let node = site.node(name)?;
                let stages = node["boot"]["stages"].as_array()?;
                let image = stages.iter().find(|stage| stage["stage"] == "image")?;
                let words = image["words"].as_str()?;
                words.starts_with("refused").then(|| words.to_owned())
            });
        assert!(
            words.contains(&damage.digest),
            "{words}: not {}",
            damage.digest
        );
        let node = self.site.node(name).expect("it was there just now");
        assert_ne!(node["state"], "up", "{node:#}");

        self.say("mending the image while nobody serves it");
        self.site.stop_serving();
        damage.mend();
        let log = rack.stranger.log();
        self.site.until("the machine finds nobody to ask", |_| {
            tail(&log, 20).contains("cannot fetch").then_some(())
        });
        self.site.serve();
    }

    fn search_through_a_power_cut(&mut self, rack: &Rack) {
        self.say("searching, and cutting the power of a node in the middle");
        let expected = finish(
            rig::command(programs::rg())
                .args(["-uuu", "--sort", "path", "-n", PATTERN])
                .arg(site::data()),
        );
        assert!(
            expected.lines().count() > 1000,
            "the pattern matches too little"
        );
        let cut = rack.ram.name;
        let mut job = Job::start(&self.directory);
        self.site
            .until("the node to be cut off works on the job", |_| {
                let nodes = Site::nodes()?;
                let node = nodes.iter().find(|node| node["name"] == cut)?;
                (node["leases"].as_u64()? > 0 && node["files_per_second"].as_u64()? > 0)
                    .then_some(())
            });
        assert!(job.runs(), "the job was over before the power could be cut");
        let before = self.site.boots_of(cut);
        self.power("cycle");
        assert!(job.runs(), "the job was over when the power was cut");
        let (found, statistics) = job.finish(&mut self.site);
        assert!(found == expected, "{}", difference(&found, &expected));
        let repeated = statistics
            .lines()
            .find_map(|line| line.trim().strip_suffix(" repeated attempts"));
        let repeated: u64 = repeated
            .and_then(|count| count.parse().ok())
            .expect("they are counted");
        assert!(
            repeated > 0,
            "nothing of the node that was cut off was done again:\n{statistics}"
        );
        self.say("the output is ripgrep's");

        let node = self.site.wait_for_node(rack.stranger.name);
        self.say(&format!(
            "the machine that was unknown is up: {}",
            stages(&node)
        ));
        let node = self.site.wait_for_boot(cut, before);
        self.say(&format!("{cut} is up again: {}", stages(&node)));
        let (again, _) = Job::start(&self.directory).finish(&mut self.site);
        assert!(again == expected, "{}", difference(&again, &expected));
        assert_eq!(Site::workers().len(), 4);
        self.say("four nodes, and again ripgrep's output");
    }

    /// Shows what a person would want to see at the end: some matches, the nodes, and how each came up.
    fn show(&self, rack: &Rack) {
        let found = fs::read_to_string(self.directory.join("found")).expect("a job has run");
        let matches = || found.lines().take_while(|line| !line.is_empty());
        self.say(&format!("{} matches; the first:", matches().count()));
        for line in matches().take(5) {
            eprintln!("{line}");
        }
        eprintln!("\n$ regexctl nodes\n{}", Site::nodes_as_shown());
        eprintln!(
            "$ regex-provision status\n{}",
            self.site.provision(&["status"])
        );
        for machine in rack.known().into_iter().chain([&rack.stranger]) {
            let name = machine.name;
            let shown = self.site.provision(&["status", name]);
            eprintln!("$ regex-provision status {name}\n{shown}");
        }
        let timing = self.site.provision(&["status", "--timing"]);
        eprintln!("$ regex-provision status --timing\n{timing}");
    }

    /// Tells the BMC of a node something, as an administrator would.
    fn power(&mut self, what: &str) {
        let bmc = &mut self.bmc;
        let name = bmc.machine().name;
        self.site
            .until(&format!("the BMC takes `power {what}`"), |site| {
                assert!(bmc.runs(), "the simulated BMC has ended");
                let output = site.try_provision(&["power", what, name]);
                output.status.success().then_some(())
            });
    }
}

/// Small files of words and numbers; the same at each run.
fn corpus(root: &Path) {
    const WORDS: [&str; 8] = [
        "needle", "commit", "shard", "lease", "straße", "attempt", "node", "image",
    ];
    if root.join("complete").exists() {
        return;
    }
    let mut seed = 1u64;
    for number in 0..FILES {
        let mut lines = String::new();
        for line in 0..40 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let word = WORDS[usize::try_from(seed >> 61).expect("three bits")];
            writeln!(lines, "{word} {} {line}", (seed >> 40) % 1000)
                .expect("writing to a String cannot fail");
        }
        let directory = root.join(format!("{}/{}", number / 1000, number / 50));
        if number % 50 == 0 {
            fs::create_dir_all(&directory).expect("the tree can be written");
        }
        fs::write(directory.join(format!("{number}.txt")), lines).expect("the tree can be written");
    }
    fs::write(root.join("complete"), "").expect("the tree can be written");
}

/// The file of the packed root that a node boots.
fn root_artifact(site: &Site, node: &str) -> PathBuf {
    let manifest = site.manifest_of(node);
    let root = manifest["root"]["sha256"].as_str().expect("it has a root");
    site::store().join("artifacts").join(root)
}

/// One byte of a file that is not what it was.
struct Damage {
    file: PathBuf,
    /// The SHA-256 that the file has now.
    digest: String,
}

impl Damage {
    const PLACE: u64 = 4_321_000;

    fn of(file: &Path) -> Damage {
        flip(file, Self::PLACE);
        let said = rig::run("sha256sum", &[&text(file)]);
        let digest = said
            .split_whitespace()
            .next()
            .expect("sha256sum prints one");
        Damage {
            file: file.to_owned(),
            digest: digest.to_owned(),
        }
    }

    fn mend(&self) {
        flip(&self.file, Self::PLACE);
    }
}

/// Turns the bits of one byte of a file round.
fn flip(file: &Path, place: u64) {
    let open = File::options().read(true).write(true).open(file);
    let mut open = open.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut byte = [0];
    open.seek(SeekFrom::Start(place))
        .and_then(|_| open.read_exact(&mut byte))
        .expect("it is long enough");
    byte[0] = !byte[0];
    open.seek(SeekFrom::Start(place))
        .and_then(|_| open.write_all(&byte))
        .expect("root may write it");
}

/// A search on the cluster.
struct Job {
    child: Child,
    out: PathBuf,
    errors: PathBuf,
}

impl Job {
    fn start(directory: &Path) -> Job {
        let (out, errors) = (directory.join("found"), directory.join("found.errors"));
        let create = |path: &Path| File::create(path).expect("the directory is ours");
        let child = rig::command(programs::regexctl())
            .args(["run", "--no-config", "--master", MASTER_URL])
            .args(["--stats", "--sort", "path", "-n", PATTERN])
            .arg(site::data())
            .stdout(Stdio::from(create(&out)))
            .stderr(Stdio::from(create(&errors)))
            .spawn()
            .expect("regexctl starts");
        Job { child, out, errors }
    }

    fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Waits for it, and gives back what it found, and its statistics.
    fn finish(mut self, site: &mut Site) -> (String, String) {
        site.until("the job is done", |_| (!self.runs()).then_some(()));
        let status = self.child.wait().expect("it is our child");
        let errors = fs::read_to_string(&self.errors).expect("it is there");
        assert!(status.success(), "{status}: {errors}");
        let all = fs::read_to_string(&self.out).expect("it found text");
        // No line of the tree is empty.
        let (found, statistics) = all.split_once("\n\n").expect("statistics come at the end");
        (format!("{found}\n"), statistics.to_owned())
    }
}

/// Where two outputs differ first.
fn difference(found: &str, expected: &str) -> String {
    let counts = format!(
        "{} lines instead of {}",
        found.lines().count(),
        expected.lines().count()
    );
    let pair = found.lines().zip(expected.lines()).find(|(a, b)| a != b);
    pair.map_or(counts.clone(), |(a, b)| {
        format!("{counts}; the first that differs:\n{a}\ninstead of\n{b}")
    })
}
