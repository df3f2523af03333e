//! Host keys that the master keeps.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use regexctl_provision::apply::Plan;

use crate::fake::{DIRECTORY, Fake, LAB};

/// Two nodes that boot by scripts, so that no file names what has their keys in it.
fn kept() -> String {
    let lab = LAB.replace("loader = \"pxelinux\"", "loader = \"ipxe\"");
    format!("{lab}\n[ssh]\nhost-keys = \"kept\"\n")
}

fn key(fake: &Fake, node: &str) -> PathBuf {
    let keys = fake.path.join(DIRECTORY).join("hostkeys");
    keys.join(node).join("ssh_host_ed25519_key")
}

/// A boot endpoint, which is killed at the end.
struct Serve {
    child: Child,
    address: String,
}

impl Serve {
    fn start(fake: &Fake) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_regex-provision"))
            .args(["serve", "--no-daemons", "--listen", "127.0.0.1:0"])
            .arg("--directory")
            .arg(fake.path.join(DIRECTORY))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is a pipe");
        let read = BufReader::new(stdout).read_line(&mut line);
        read.expect("it can be read");
        let address = line.trim().trim_start_matches("listening on http://");
        Self {
            address: address.to_owned(),
            child,
        }
    }

    /// The boot script of a machine.
    fn script(&self, mac: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let request =
            format!("GET /boot/{mac}.ipxe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }
}

#[test]
fn every_node_has_a_key_however_it_boots_and_its_script_is_served() {
    let fake = Fake::new();
    fake.apply(&kept());
    for node in ["s0", "s1", "s2", "pxe"] {
        let key = key(&fake, node);
        let mode = fs::metadata(&key).expect("it has been made").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{}", key.display());
    }
    let serve = Serve::start(&fake);
    let script = serve.script("52-54-00-00-00-10");
    assert!(script.contains("\nkernel "), "{script}");
    assert!(fake.plan(&kept()).is_empty());
}

fn told(plan: &Plan) -> Vec<String> {
    let told = plan.services.iter();
    told.map(|change| format!("{} {:?}", change.service.unit(), change.because))
        .collect()
}

/// Also a generation that an older version has installed without keys.
#[test]
fn a_key_that_is_gone_is_made_again_and_served() {
    let fake = Fake::new();
    fake.apply(&kept());
    let others = fs::read(key(&fake, "s0")).expect("it has been made");
    for node in ["s1", "s2"] {
        let directory = key(&fake, node);
        let directory = directory.parent().expect("it has one");
        fs::remove_dir_all(directory).expect("it has been made");
    }
    let plan = fake.plan(&kept());
    assert_eq!(
        told(&plan),
        ["regex-provision-serve.service [\"host keys of s[1-2]\"]"]
    );
    // The boot endpoint loads what has another number.
    assert_eq!(fake.apply(&kept()).generation, 2);
    assert!(key(&fake, "s1").exists() && key(&fake, "s2").exists());
    assert_eq!(fs::read(key(&fake, "s0")).expect("it is there"), others);
    assert!(fake.plan(&kept()).is_empty());
}

/// A plan needs no rights but to read what everybody may read.
#[test]
fn a_plan_does_without_keys_that_only_root_may_read() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let lab = format!("{LAB}\n[ssh]\nhost-keys = \"kept\"\n");
    // What names the digest of a key's archive looks changed to who cannot read the key.
    for (text, status) in [(kept(), 0), (lab, 10)] {
        let fake = Fake::new();
        fake.apply(&text);
        fs::write(fake.path.join("cluster.toml"), text).expect("a file");
        fs::set_permissions(&fake.path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let program = fake.path.join("regex-provision");
        fs::copy(env!("CARGO_BIN_EXE_regex-provision"), &program).expect("it can be copied");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let output = Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&program)
            .args(["plan", "--root", ".", "--file", "cluster.toml"])
            .current_dir(&fake.path)
            .output()
            .expect("setpriv is part of util-linux");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{told}");
    }
}
