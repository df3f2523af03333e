//! The room that a rig lives in: namespaces of its own for network, mounts and processes, with a bridge that machines
//! are plugged into. Whatever happens, nothing of it is left when the process has ended.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The bridge that all machines are plugged into, and the master's address on it.
pub(crate) const BRIDGE: &str = "br0";
pub(crate) const MASTER: &str = "10.77.0.1";

/// Where regex-master listens.
pub(crate) const MASTER_URL: &str = "http://10.77.0.1:7411";

/// Taps on the bridge: as many machines can be plugged in.
pub(crate) const TAPS: usize = 7;

/// The variable that says that this process is inside.
const INSIDE: &str = "REGEXCTL_BOOT_RIG";

/// The network of a process.
const OUTER_NETWORK: &str = "/proc/self/ns/net";

/// What became of the attempt to go inside.
pub(crate) enum Entry {
    /// This process is inside: go on.
    Inside,
    /// Another process was inside, and all is done.
    Done,
    /// Another process was inside, and has ended with 1: it has judged, and not all is as it should be.
    Missed,
}

/// Runs the test or benchmark of this program again in namespaces of its own; `arguments` lead to the same place.
///
/// Where that cannot be, says so loudly; under CI it fails.
pub(crate) fn enter(arguments: &[&str], limit: Duration) -> Entry {
    if env::var_os(INSIDE).is_some() {
        return Entry::Inside;
    }
    if let Some(missing) = missing() {
        assert!(
            env::var_os("CI").is_none(),
            "machines cannot be booted here: {missing}"
        );
        // Not with `eprintln!`, which a test that passes says to nobody.
        let _ = writeln!(
            io::stderr(),
            "\n*** NOT TESTED: no machine was booted, for here {missing}. ***\n"
        );
        return Entry::Done;
    }
    // Killed with us, whoever kills us; and with it goes all that is inside.
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "unshare"])
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .arg(env::current_exe().expect("this program has a file"))
        .args(arguments)
        .env(INSIDE, "1")
        // The network that is left, for what must be fetched: see `over_there`.
        .stdin(File::open(OUTER_NETWORK).expect("every process has a network"))
        .spawn()
        .expect("setpriv and unshare are part of util-linux");
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        if Instant::now() >= end {
            // With it go all processes inside.
            child.kill().expect("it is our child");
            child.wait().expect("it is our child");
            panic!("not done in {limit:?}");
        }
        thread::sleep(Duration::from_millis(100));
    };
    if status.code() == Some(1) {
        return Entry::Missed;
    }
    assert!(
        status.success(),
        "failed inside, see above ({status}, signal {:?})",
        status.signal()
    );
    Entry::Done
}

/// Why no machine can be booted here, if so.
fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("this user is not root");
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("there is no /dev/net/tun");
    }
    None
}

/// The network and the mounts inside.
pub(crate) fn furnish(data: &Path) {
    let programs = [
        "ip",
        "tc",
        "nft",
        "mount",
        "dhcpd",
        "kea-dhcp4",
        "chronyd",
        "rsyslogd",
        "ssh-keygen",
        "ssh-keyscan",
        "dnsmasq",
        "qemu-system-x86_64",
        "ganesha.nfsd",
        "rpcbind",
        "ipmi_sim",
        "ipmitool",
        "mmdebstrap",
        "mksquashfs",
        "mkfs.erofs",
        "umoci",
        "busybox",
    ];
    let path = path();
    let lacking: Vec<&str> = programs
        .into_iter()
        .filter(|name| !env::split_paths(&path).any(|directory| directory.join(name).exists()))
        .collect();
    assert!(
        lacking.is_empty(),
        "to boot machines, these programs are missing: {}; tests/run installs them",
        lacking.join(" ")
    );
    // That of the new network.
    run("mount", &["-t", "sysfs", "sysfs", "/sys"]);
    run("mount", &["--bind", &text(data), "/srv"]);
    hide_etc(&data.join("etc"));
    run("ip", &["link", "set", "lo", "up"]);
    let bridge = [
        "link",
        "add",
        BRIDGE,
        "type",
        "bridge",
        "forward_delay",
        "0",
        "stp_state",
        "0",
    ];
    run("ip", &bridge);
    for setting in ["accept_dad", "accept_ra"] {
        let path = format!("/proc/sys/net/ipv6/conf/{BRIDGE}/{setting}");
        fs::write(&path, "0").unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    run(
        "ip",
        &["address", "add", &format!("{MASTER}/24"), "dev", BRIDGE],
    );
    // An address from which routers are advertised: it spares iPXE a long wait.
    run(
        "ip",
        &["address", "add", "fd77::1/64", "dev", BRIDGE, "nodad"],
    );
    // Idle taps have no carrier, and a bridge of nothing else drops everything.
    run(
        "ip",
        &[
            "link", "add", "mon0", "type", "veth", "peer", "name", "mon1",
        ],
    );
    run("ip", &["link", "set", "mon0", "master", BRIDGE, "up"]);
    // Its end is this machine, too, but must not answer for the bridge's address: daemons listen on the bridge.
    run("ip", &["link", "set", "mon1", "arp", "off", "up"]);
    run("ip", &["link", "set", BRIDGE, "up"]);
    for number in 0..TAPS {
        let tap = tap(number);
        run("ip", &["tuntap", "add", "dev", &tap, "mode", "tap"]);
        run("ip", &["link", "set", &tap, "master", BRIDGE, "up"]);
    }
}

/// A copy of `/etc` instead of it, for `apply` writes into it.
fn hide_etc(copy: &Path) {
    fs::create_dir_all(copy).expect("the target directory is ours");
    let copy = text(copy);
    run("mount", &["-t", "tmpfs", "tmpfs", &copy]);
    run("cp", &["-a", "/etc/.", &copy]);
    run("mount", &["--bind", &copy, "/etc"]);
}

/// A `/run` of its own for the daemons that are to come, such as rpcbind. Only now, for the names of the
/// outer network may be resolved by something in the old one.
pub(crate) fn hide_run() {
    run("mount", &["-t", "tmpfs", "tmpfs", "/run"]);
    fs::create_dir_all("/run/rpcbind").expect("/run is ours");
}

/// The same command in the network that was left, where the mirrors are.
pub(crate) fn over_there(inner: &Command) -> Command {
    let mut outer = command("nsenter");
    outer
        .arg("--net=/proc/self/fd/0")
        .arg(inner.get_program())
        .args(inner.get_args())
        .stdin(Stdio::inherit());
    for (name, value) in inner.get_envs() {
        outer.env(name, value.unwrap_or_default());
    }
    outer
}

/// Empties the directory of a rig, but for what was fetched from a mirror, and keeps it for this process as long as what is
/// given back is held.
pub(crate) fn clear(directory: &Path) -> File {
    fs::create_dir_all(directory).expect("the target directory is ours");
    let lock = directory.with_extension("lock");
    let lock = File::create(lock).expect("the target directory is ours");
    assert!(
        lock.try_lock().is_ok(),
        "another rig uses {}; wait until it is done",
        directory.display()
    );
    for entry in fs::read_dir(directory).expect("it is there") {
        let entry = entry.expect("it can be listed");
        if entry.file_name() == "cache" {
            continue;
        }
        let path = entry.path();
        let gone = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        gone.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    lock
}

/// The name of a tap.
pub(crate) fn tap(number: usize) -> String {
    format!("tap{number}")
}

/// Where programs are looked for: daemons are in directories that are not in everybody's PATH.
fn path() -> String {
    let path = env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/sbin")
}

/// A command that finds daemons, too.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", path()).stdin(Stdio::null());
    command
}

/// Runs a program that must succeed, and gives back what it printed.
pub(crate) fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
    finish(command(program).args(arguments))
}

/// Runs a command that must succeed, and gives back what it printed.
pub(crate) fn finish(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{said}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A path as text: those of a rig are.
pub(crate) fn text(path: &Path) -> String {
    path.to_str()
        .expect("the paths of a rig are text")
        .to_owned()
}

/// A process with a log, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    pub(crate) log: PathBuf,
}

impl Daemon {
    /// Starts it. What it says goes to `log`, behind what is there.
    pub(crate) fn start(command: &mut Command, log: PathBuf) -> Daemon {
        let open = || {
            let file = fs::File::options().create(true).append(true).open(&log);
            file.unwrap_or_else(|error| panic!("{}: {error}", log.display()))
        };
        let child = command
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Daemon { child, log }
    }

    /// Whether it has not ended.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of a log, without what moves a terminal's cursor.
pub(crate) fn tail(log: &Path, lines: usize) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text: String = String::from_utf8_lossy(&bytes)
        .chars()
        .filter(|&c| c == '\n' || !c.is_control())
        .collect();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
