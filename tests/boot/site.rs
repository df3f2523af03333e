//! The master of the rig: its description, and our programs that make it one.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::guest::{self, Machine};
use super::programs;
use super::rig::{self, BRIDGE, Daemon, MASTER, MASTER_URL, finish, tail, text};

/// How long a state may take to come: several times what it takes on two busy cores, for emulated machines have been seen
/// three times as slow as usual. It bounds the test where something is broken, and nothing is measured by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(480);

/// The name of the image that is built.
pub(crate) const IMAGE: &str = "base";

/// How much of a serial line is shown where a machine does not come up.
const LINES_SHOWN: usize = 25;

/// The master, and what it runs.
pub(crate) struct Site {
    /// Where everything of this run is: the description, logs.
    directory: PathBuf,
    /// What serves; none while it is switched off.
    serve: Option<Daemon>,
    master: Daemon,
    /// Whose serial lines are shown when something does not come.
    logs: Vec<PathBuf>,
    /// Nobody else uses the directory of images meanwhile.
    _lock: File,
}

/// Where images are, seen from inside.
pub(crate) fn store() -> &'static Path {
    Path::new("/srv/provision")
}

/// The tree that is searched.
pub(crate) fn data() -> &'static Path {
    Path::new("/srv/data")
}

/// A command of regex-provision that must succeed.
fn provision(file: &Path, arguments: &[&str]) -> String {
    finish(&mut provision_command(file, arguments))
}

fn provision_command(file: &Path, arguments: &[&str]) -> Command {
    let mut command = rig::command(programs::provision());
    command.env("REGEX_PROVISION_FILE", file).args(arguments);
    // Where the keys of the nodes are remembered.
    command.env("HOME", file.with_file_name("home"));
    command
}

/// Builds the image, with packages from a mirror.
fn build_image(file: &Path) -> String {
    let build = provision_command(file, &["image", "build", IMAGE]);
    finish(&mut rig::over_there(&build))
}

/// What is described.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Plan<'a> {
    /// Nodes, and their profiles.
    pub(crate) nodes: &'a [(&'a Machine, Option<&'a str>)],
    /// Sections of further profiles.
    pub(crate) profiles: &'a str,
    /// Further keys of the image.
    pub(crate) image: &'a str,
    /// Further keys of the section `[ssh]`.
    pub(crate) ssh: &'a str,
    /// Machines that are not described.
    pub(crate) strangers: &'a [&'a Machine],
}

/// Writes the cluster's description as a person would: a first one by `init`, edited, and the nodes by `node import`.
fn describe(directory: &Path, plan: Plan<'_>) -> PathBuf {
    let file = directory.join("cluster.toml");
    provision(&file, &["init", "--interface", BRIDGE, &text(&file)]);
    let mut description = fs::read_to_string(&file).expect("init has written it");
    let edit = |description: &mut String, from: &str, to: &str| {
        assert!(
            description.contains(from),
            "init writes no {from:?}:\n{description}"
        );
        *description = description.replacen(from, to, 1);
    };
    edit(
        &mut description,
        "mode = \"full\"",
        "mode = \"full\"\nipv6-advertisement = true",
    );
    edit(
        &mut description,
        "#console = [\"tty0\", \"ttyS0,115200n8\"]",
        "console = [\"ttyS0,115200n8\"]",
    );
    edit(
        &mut description,
        "#[export.data]\n#path = \"/srv/data\"\n#options",
        "[export.data]\npath = \"/srv/data\"\nserver = \"ganesha\"\noptions",
    );
    let section = format!("[image.{IMAGE}]\n");
    let with_keys = format!("{section}{}\n", plan.image);
    edit(&mut description, &section, &with_keys);
    let key = fs::read_to_string(ssh_key(directory).with_extension("pub")).expect("just made");
    let keys = format!("authorized-keys = [\"{}\"]\n{}", key.trim(), plan.ssh);
    description = with_section(&description, "ssh", &keys);
    let credentials = directory.join("bmc-password");
    fs::write(&credentials, guest::BMC_PASSWORD).expect("the directory is ours");
    rig::run("chmod", &["600", &text(&credentials)]);
    write!(
        description,
        "\n[serve]\ndirectory = \"{}\"\n\n[profile.managed]\nbmc = {{ kind = \"ipmi\", \
         address = \"{MASTER}\", port = {}, user = \"{}\", credentials = \"{}\" }}\n{}",
        text(store()),
        guest::port(0),
        guest::BMC_USER,
        text(&credentials),
        plan.profiles,
    )
    .expect("writing to a String cannot fail");
    fs::write(&file, description).expect("the directory is ours");
    for (machine, profile) in plan.nodes {
        import_node(&file, machine, *profile);
    }
    provision(&file, &["check"]);
    file
}

/// Adds a node from a line as the how-to had them.
fn import_node(file: &Path, machine: &Machine, profile: Option<&str>) {
    let list = file.with_file_name("list");
    let line = format!("{} {} {}\n", machine.name, machine.address(), machine.mac());
    fs::write(&list, line).expect("the directory is ours");
    let list = text(&list);
    let mut arguments = vec!["node", "import", &list];
    if let Some(profile) = profile {
        arguments.extend(["--profile", profile]);
    }
    provision(file, &arguments);
}

/// The description with other keys in one of its sections.
fn with_section(description: &str, name: &str, keys: &str) -> String {
    let head = format!("[{name}]\n");
    let (before, rest) = description.split_once(&head).expect("init writes one");
    let after = rest.find("\n[").map_or("", |at| &rest[at..]);
    format!("{before}{head}{keys}\n{after}")
}

/// The key that lets an administrator into the nodes.
fn ssh_key(directory: &Path) -> PathBuf {
    let key = directory.join("ssh-key");
    let quiet = ["-q", "-t", "ed25519", "-N", "", "-C", "rig", "-f"];
    rig::run("ssh-keygen", &[&quiet[..], &[&text(&key)]].concat());
    key
}

impl Site {
    /// Makes a site of nothing: the network, the description, the image; applies it, and starts its daemons.
    pub(crate) fn furnish(directory: &Path, plan: Plan<'_>) -> Site {
        // The image's packages are kept from run to run; all else is made anew.
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("boot");
        let lock = rig::clear(&kept.join("provision"));
        // Of a test that failed.
        let _ = fs::remove_dir_all(kept.join("system"));
        rig::furnish(&kept);
        fs::create_dir_all(data()).expect("/srv is ours");
        let file = describe(directory, plan);
        build_image(&file);
        rig::hide_run();
        provision(&file, &["apply"]);
        let known = plan.nodes.iter().map(|(machine, _)| machine.log());
        let logs = known.chain(plan.strangers.iter().map(|machine| machine.log()));
        Site::open(directory, logs.collect(), lock)
    }

    /// Starts the boot endpoint and regex-master.
    fn open(directory: &Path, logs: Vec<PathBuf>, lock: File) -> Site {
        let log = directory.join("regex-master.log");
        let mut master = rig::command(programs::master());
        let listen = MASTER_URL.trim_start_matches("http://");
        master
            .args(["serve", "--listen", listen])
            .args(["--data", &text(&directory.join("master"))]);
        let mut site = Site {
            directory: directory.to_owned(),
            serve: None,
            master: Daemon::start(&mut master, log),
            logs,
            _lock: lock,
        };
        site.serve();
        site
    }

    /// Starts the boot endpoint, which starts dnsmasq and Ganesha, and waits until it answers.
    pub(crate) fn serve(&mut self) {
        let mut serve = provision_command(&self.file(), &["serve", "--log", "debug"]);
        self.serve = Some(Daemon::start(&mut serve, self.serve_log()));
        self.until("the boot endpoint answers", |site| site.status());
    }

    /// Ends the boot endpoint, as a power cut would.
    pub(crate) fn stop_serving(&mut self) {
        self.serve = None;
    }

    /// Describes another node.
    pub(crate) fn import_node(&self, machine: &Machine, profile: Option<&str>) {
        import_node(&self.file(), machine, profile);
    }

    /// What the image consists of that a node boots.
    pub(crate) fn manifest_of(&self, node: &str) -> Value {
        let node = self.node(node).expect("it is known");
        let digest = node["wanted"]["manifest"].as_str();
        let digest = digest.expect("it has an image");
        let path = store().join(format!("manifests/{digest}.json"));
        let manifest = fs::read_to_string(&path).expect("the image is in the store");
        serde_json::from_str(&manifest).expect("it is JSON")
    }

    /// Where everything of this run is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Gives the description another section `[dhcp]`, and puts it into force.
    pub(crate) fn change_dhcp(&mut self, keys: &str) {
        let file = self.file();
        let description = fs::read_to_string(&file).expect("it is described");
        let description = with_section(&description, "dhcp", keys);
        fs::write(&file, description).expect("the directory is ours");
        self.provision(&["apply"]);
    }

    /// Makes sure that an administrator can log in to nodes, and that their roots are root's.
    pub(crate) fn log_in(&mut self, nodes: &str) {
        let said = self.until("all nodes let an administrator in", |site| {
            site.exec(nodes, "stat -c 'root: %a %u %g' /")
        });
        assert_eq!(said.matches("root: ").count(), 1, "they differ:\n{said}");
        assert!(said.contains("root: 755 0 0"), "{said}");
    }

    /// Waits for a node's own word of what file systems its root and its /usr are.
    pub(crate) fn has_root(&mut self, name: &str, root: &str, usr: &str) {
        let said = self.until(&format!("{name} tells of its root"), |site| {
            site.exec(name, "stat -f -c %T / /usr")
        });
        let kinds: Vec<&str> = said
            .lines()
            .filter(|line| !line.starts_with("---"))
            .collect();
        assert_eq!(kinds, [root, usr], "{name}");
    }

    /// Runs a command on nodes. Gives what they said, if all of them could.
    pub(crate) fn exec(&self, nodes: &str, line: &str) -> Option<String> {
        let key = format!("IdentityFile={}", text(&self.directory.join("ssh-key")));
        let output = self.try_provision(&["exec", "-o", &key, nodes, "--", line]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(said)
    }

    fn file(&self) -> PathBuf {
        self.directory.join("cluster.toml")
    }

    fn serve_log(&self) -> PathBuf {
        self.directory.join("serve.log")
    }

    /// Whether dnsmasq has sent this loader to a machine, by its own log.
    pub(crate) fn has_sent(&self, loader: &str, machine: &Machine) -> bool {
        let log = fs::read(self.serve_log()).expect("serve has a log");
        // Behind it stands which daemon says so.
        let sent = format!("/tftp/{loader} to {} ", machine.address());
        String::from_utf8_lossy(&log)
            .lines()
            .any(|line| line.contains(": sent /") && line.contains(&sent))
    }

    /// A command of regex-provision that must succeed.
    pub(crate) fn provision(&self, arguments: &[&str]) -> String {
        provision(&self.file(), arguments)
    }

    /// A command of regex-provision that may fail.
    pub(crate) fn try_provision(&self, arguments: &[&str]) -> Output {
        let mut command = provision_command(&self.file(), arguments);
        command.output().expect("regex-provision starts")
    }

    /// What `status --json` tells; none while nobody serves.
    pub(crate) fn status(&self) -> Option<Value> {
        let output = provision_command(&self.file(), &["status", "--json"]).output();
        let status: Value = serde_json::from_slice(&output.ok()?.stdout).ok()?;
        (!status["serving_since"].is_null()).then_some(status)
    }

    /// What the status tells of one node.
    pub(crate) fn node(&self, name: &str) -> Option<Value> {
        let status = self.status()?;
        let nodes = status["nodes"].as_array()?;
        nodes.iter().find(|node| node["name"] == name).cloned()
    }

    /// Waits until a node is up: its worker is registered, and its last stage told.
    pub(crate) fn wait_for_node(&mut self, name: &str) -> Value {
        self.until(&format!("{name} is up"), |site| {
            let node = site.node(name)?;
            let arrived = node["state"] == "up" && !node["worker"].is_null();
            (arrived && Site::workers().contains(&name.to_owned())).then_some(node)
        })
    }

    /// How many boots of a node are known.
    pub(crate) fn boots_of(&self, name: &str) -> u64 {
        let node = self.node(name).unwrap_or_default();
        node["boot"]["number"].as_u64().unwrap_or(0)
    }

    /// Waits until a node is up by another boot than the first `before`.
    pub(crate) fn wait_for_boot(&mut self, name: &str, before: u64) -> Value {
        self.until(&format!("{name} is up"), |site| {
            let node = site.node(name)?;
            let boot = &node["boot"];
            let arrived = boot["stage"] == "worker" && node["state"] == "up";
            (arrived && boot["number"].as_u64()? > before).then_some(node)
        })
    }

    /// The names of the workers that regex-master knows.
    pub(crate) fn workers() -> Vec<String> {
        let nodes = Site::nodes().unwrap_or_default();
        let names = nodes.iter().filter_map(|node| node["name"].as_str());
        names.map(str::to_owned).collect()
    }

    /// What `regexctl nodes` shows a person.
    pub(crate) fn nodes_as_shown() -> String {
        let mut command = rig::command(programs::regexctl());
        finish(command.args(["nodes", "--no-config", "--master", MASTER_URL]))
    }

    /// What `regexctl nodes` tells.
    pub(crate) fn nodes() -> Option<Vec<Value>> {
        let mut command = rig::command(programs::regexctl());
        command.args(["nodes", "--no-config", "--json", "--master", MASTER_URL]);
        let output: Output = command.output().ok()?;
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Asks until `state` gives a value; shows all that machines and daemons have said when none comes.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        mut state: impl FnMut(&mut Site) -> Option<T>,
    ) -> T {
        let started = Instant::now();
        loop {
            if let Some(value) = state(self) {
                return value;
            }
            let dead = if !self.master.runs() {
                Some("regex-master")
            } else if self.serve.as_mut().is_some_and(|serve| !serve.runs()) {
                Some("regex-provision serve")
            } else {
                None
            };
            if dead.is_some() || started.elapsed() > PATIENCE {
                let why = dead.map_or_else(
                    || format!("waited {PATIENCE:?} in vain"),
                    |name| format!("{name} has ended"),
                );
                panic!("{why} until {what}\n{}", self.all_words());
            }
            // Only so as not to spin.
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// The last words of everybody.
    fn all_words(&self) -> String {
        let status = self.status().map_or_else(
            || "none".to_owned(),
            |status| format!("{:#}", status["nodes"]),
        );
        let mut words = format!("--- status\n{status}\n");
        let serve = self.serve_log();
        for log in [&serve, &self.master.log].into_iter().chain(&self.logs) {
            let last = tail(log, LINES_SHOWN);
            words.extend([
                "--- ",
                &log.to_string_lossy(),
                "
",
                &last,
                "
",
            ]);
        }
        words
    }
}
