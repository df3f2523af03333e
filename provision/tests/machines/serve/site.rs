//! A directory with images and generations as `image build` and `apply` leave it, and the boot endpoint over it.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use regexctl_provision::model::{self, Cluster};
use regexctl_provision::render::{self, Effect, Images, Service, Site as Master};
use regexctl_provision::status::view::{NodeStatus, Status};
use regexctl_provision::store::{
    Digest, FORMAT, InitramfsContents, Manifest, Root, RootFormat, Store,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use super::super::harness::{Namespace, until};
use super::client::get;

/// How large the packed root of an image is.
pub(crate) const ROOT_BYTES: usize = 300_000;

/// How often it is looked whether a boot endpoint has ended, before it is killed.
const END_TRIES: usize = 500;

/// The directory of a site, and its description.
pub(crate) struct Site {
    directory: TempDir,
}

/// The Ethernet address of a node, as scripts are asked for by.
pub(crate) fn mac(number: usize) -> String {
    format!("52-54-00-00-{:02x}-{:02x}", number / 256, number % 256)
}

impl Site {
    /// One with that many nodes, named s0, s1, ...; `more` is added to the sections in front of them.
    pub(crate) fn new(nodes: usize, more: &str) -> Self {
        let site = Self {
            directory: tempfile::tempdir()
                .expect("the directory for temporary files can be written"),
        };
        let text = site.text(nodes, more);
        site.describe(&text);
        site
    }

    fn text(&self, nodes: usize, more: &str) -> String {
        let macs: Vec<_> = (0..nodes)
            .map(|number| format!("\"{}\"", mac(number)))
            .collect();
        let directory = self.store().root().display().to_string();
        let serve = if more.contains("[serve]") {
            String::new()
        } else {
            "[serve]\n".to_owned()
        };
        let more = format!("{more}\n{serve}")
            .replace("[serve]", &format!("[serve]\ndirectory = \"{directory}\""));
        let mut text = format!(
            "[cluster]\nname = \"lab\"\ninterface = \"br0\"\nsubnet = \"10.77.0.0/16\"\nmaster = \"10.77.0.1\"\n{more}\n\
             [image.base]\nsource = {{ kind = \"debootstrap\", suite = \"bookworm\" }}\n[profile.default]\nimage = \"base\"\n"
        );
        if nodes > 0 {
            write!(
                text,
                "[[node]]\nname = \"s[0-{}]\"\nmac = [{}]\naddress = \"10.77.1.0\"\n",
                nodes - 1,
                macs.join(", ")
            )
            .expect("writing to a String cannot fail");
        }
        text
    }

    pub(crate) fn store(&self) -> Store {
        Store::at(self.directory.path().join("store"))
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("cluster.toml")
    }

    /// Replaces the description.
    pub(crate) fn describe(&self, text: &str) {
        fs::write(self.file(), text).expect("the directory is ours");
    }

    pub(crate) fn cluster(&self) -> Cluster {
        let text = fs::read_to_string(self.file()).expect("it is there");
        model::parse(&text).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// Publishes an image whose root begins with this word.
    pub(crate) fn build(&self, word: &str) -> Digest {
        self.build_with_root(word, ROOT_BYTES)
    }

    /// Publishes an image whose root begins with this word and has so many bytes.
    pub(crate) fn build_with_root(&self, word: &str, root_bytes: usize) -> Digest {
        let mut writer = self.store().lock().expect("nobody else has the lock");
        let mut put = |what: &str, size: usize| {
            let mut bytes = format!("{what} of {word}\n").into_bytes();
            bytes.resize_with(size, || 0);
            for (at, byte) in bytes.iter_mut().enumerate().skip(100) {
                *byte = u8::try_from(at % 251).expect("it is small");
            }
            writer.put_bytes(&bytes).expect("it can be put")
        };
        let root = put("root", root_bytes);
        let manifest = Manifest {
            format: FORMAT,
            image: "base".parse().expect("a name"),
            created: 0,
            kernel_version: "6.1.0-0".into(),
            kernel: put("kernel", 50_000),
            initramfs: put("initramfs", 40_000),
            initramfs_contents: InitramfsContents::default(),
            root: Root {
                format: RootFormat::Squashfs,
                sha256: root.sha256,
                size: root.size,
                unpacked: root.size,
                entries: 1,
            },
            ramdisk: None,
            without_usr: None,
            tree: None,
            listing: put("listing", 200),
            packages: Vec::new(),
            worker: None,
            inputs: Digest::of(word.as_bytes()),
        };
        writer.publish(&manifest).expect("it is complete")
    }

    /// Installs a generation like the one in force, whatever has become of its images.
    pub(crate) fn apply_again(&self, number: u32) {
        let generations = self.store().generations();
        let current =
            fs::read_link(self.store().root().join("current")).expect("something was applied");
        let from = self.store().root().join(current);
        let copied = Command::new("cp")
            .arg("-r")
            .arg(from)
            .arg(generations.join(number.to_string()))
            .status();
        assert!(copied.is_ok_and(|status| status.success()));
        self.switch(number);
    }

    /// Installs the description, and what is published, as a generation; what `apply` does, without the system.
    pub(crate) fn apply(&self, number: u32) {
        let store = self.store();
        let cluster = self.cluster();
        let (digest, manifest) = store
            .image(&"base".parse().expect("a name"))
            .expect("it was built");
        let images: Images = [(manifest.image.clone(), digest, manifest)]
            .into_iter()
            .collect();
        let directory = store.generations().join(number.to_string());
        fs::create_dir_all(&directory).expect("the directory is ours");
        let text = fs::read(self.file()).expect("it is there");
        fs::write(directory.join("cluster.toml"), text).expect("the directory is ours");
        fs::write(directory.join("images.json"), images.to_json()).expect("the directory is ours");
        let files = render::render(&cluster, &images, &Master::default(), |_| Digest::of(b""));
        let mut index = Vec::new();
        for file in files {
            let path = directory.join("files").join(&file.name);
            fs::create_dir_all(path.parent().expect("it is below")).expect("the directory is ours");
            fs::write(&path, &file.bytes).expect("the directory is ours");
            let service: Option<(Service, Effect)> = file.service;
            index.push(json!({
                "name": file.name, "place": file.place, "mode": file.mode, "service": service,
                "sha256": Digest::of(&file.bytes).to_string(),
            }));
        }
        let index = json!({ "format": 1, "created": 0, "files": index }).to_string();
        fs::write(directory.join("index.json"), index).expect("the directory is ours");
        self.switch(number);
    }

    fn switch(&self, number: u32) {
        let store = self.store();
        let new = store.root().join("current.new");
        symlink(format!("generations/{number}"), &new).expect("the directory is ours");
        fs::rename(new, store.root().join("current")).expect("the directory is ours");
    }

    /// A command of the program about this site.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regex-provision"));
        command
            .args(args)
            .env("REGEX_PROVISION_FILE", self.file())
            // Nobody answers there; who is behind the cluster's own addresses on this network, nobody knows.
            .env("REGEX_PROVISION_SERVER", "http://127.0.0.1:1")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end: exit status, standard output, standard error.
    pub(crate) fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        finish(&mut self.command(args))
    }

    /// Runs a command that must end, though it could go on for ever.
    pub(crate) fn run_to_its_end(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = self.command(args);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(&format!("{args:?} ends"), || {
                child.try_wait().expect("it is ours")
            })
        }));
        // An error means that it has ended already.
        let _ = child.kill();
        let output = child.wait_with_output().expect("it is ours");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let status = ended.unwrap_or_else(|_| panic!("{args:?} did not end: {told}"));
        (status.code(), told)
    }

    /// Runs a command to its end, where the boot endpoint is this one.
    pub(crate) fn run_with(&self, server: &Server, args: &[&str]) -> (Option<i32>, String, String) {
        let mut command = self.command(args);
        finish(command.env("REGEX_PROVISION_SERVER", server.url()))
    }

    /// Starts the boot endpoint on loopback, without daemons.
    pub(crate) fn serve(&self) -> Server {
        Server::start(
            self.command(&["serve", "--no-daemons", "--listen", "127.0.0.1:0"]),
            &self.log(),
        )
    }

    /// A network as the site describes it, where every address of it is this machine's. None where none can be made.
    pub(crate) fn network() -> Option<Namespace> {
        let network = Namespace::new(&["10.77.0.1/16"])?;
        let route = ["route", "add", "local", "10.77.0.0/16", "dev", "lo"];
        let added = network.command("ip").args(route).status();
        assert!(added.is_ok_and(|status| status.success()));
        Some(network)
    }

    /// Starts the boot endpoint on such a network, with dnsmasq.
    pub(crate) fn serve_in(&self, network: &Namespace) -> Server {
        // dnsmasq does not stay root.
        fs::set_permissions(self.directory.path(), Permissions::from_mode(0o755))
            .expect("it is ours");
        Server::start(self.command_in(network, &["serve"]), &self.log())
    }

    /// What `status` tells on such a network; none while nobody serves there.
    pub(crate) fn status_in(&self, network: &Namespace) -> Option<Status> {
        let output = self.command_in(network, &["status", "--json"]).output();
        serde_json::from_slice(&output.expect("the program starts").stdout).ok()
    }

    /// A command of the program about this site, on such a network.
    pub(crate) fn command_in(&self, network: &Namespace, args: &[&str]) -> Command {
        let mut command = network.command(env!("CARGO_BIN_EXE_regex-provision"));
        command
            .args(args)
            .env("REGEX_PROVISION_FILE", self.file())
            .stdin(Stdio::null());
        command
    }

    /// What it logs.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.path().join("serve.log")
    }
}

/// A boot endpoint that runs. Told to end at the end of the test, if it was not, and killed if it does not.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts the program, and waits until it accepts connections.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("the directory is ours");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is a pipe");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it can be read");
        let address = line
            .trim()
            .strip_prefix("listening on http://")
            .and_then(|text| text.parse().ok());
        let address = address.unwrap_or_else(|| {
            panic!(
                "it said {line:?}\n{}",
                fs::read_to_string(log).unwrap_or_default()
            )
        });
        Self {
            child,
            address,
            log: log.to_owned(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What `/status.json` says.
    pub(crate) fn status(&self) -> Status {
        let answer = get(self.address, "/status.json");
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).expect("it is a status")
    }

    pub(crate) fn node(&self, name: &str) -> NodeStatus {
        let status = self.status();
        let node = status.nodes.into_iter().find(|node| node.name == name);
        node.unwrap_or_else(|| panic!("there is no node {name}"))
    }

    /// Waits until the status is like this.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, is: impl Fn(&Status) -> bool) -> Status {
        until(what, || Some(self.status()).filter(|status| is(status)))
    }

    pub(crate) fn pid(&self) -> Pid {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        pid.expect("a process has a number")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it is ours and runs");
    }

    /// Ends it as systemd would, and waits until it has ended well.
    pub(crate) fn end(mut self) {
        self.signal(Signal::TERM);
        let status = until("the boot endpoint ends", || {
            self.child.try_wait().expect("it is ours")
        });
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        assert!(status.success(), "{status}: {log}");
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // So that its daemons end with it. An error of any means that it has ended already.
        if matches!(self.child.try_wait(), Ok(None))
            && kill_process(self.pid(), Signal::TERM).is_ok()
        {
            for _ in 0..END_TRIES {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn finish(command: &mut Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code(), text(&stdout), text(&stderr))
}
