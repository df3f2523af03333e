//! What the tests of daemons share: processes that end with the test, namespaces, and states to wait for.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The password of every BMC here; no output may hold it.
pub(crate) const PASSWORD: &str = "s3cret";

/// How long a state may take to come.
const STATE_WITHIN: Duration = Duration::from_secs(60);

/// Waits until `look` finds something.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + STATE_WITHIN;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "not within {STATE_WITHIN:?}: {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether all programs are there. Where one is not, the test has nothing to test; in CI that is a failure.
pub(crate) fn needs(programs: &[&str]) -> bool {
    programs.iter().all(|program| find(program).is_some())
}

/// Where a program is. Where it is not, the test has nothing to test; in CI that is a failure.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = env::split_paths(&path)
        .chain(more)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        missing(program);
    }
    found
}

/// Says that a test cannot be run here; in CI that is a failure.
pub(crate) fn missing(what: &str) {
    assert!(env::var_os("CI").is_none(), "{what} is needed in CI");
    // Not with `eprintln!`, which a test that passes says to nobody.
    let _ = writeln!(io::stderr(), "NOT TESTED: {what} is not here");
}

/// A port that was free a moment ago, for TCP and UDP. It is no other test's, and none that the kernel gives to a
/// connection.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 15_000;
    const LAST: u32 = 32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    until("a port is free", || {
        // Test programs that run at once begin in different places.
        let place = process::id().wrapping_mul(97) % 10_000 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + place % (LAST - FIRST)).ok()?;
        TcpListener::bind(("127.0.0.1", port)).ok()?;
        UdpSocket::bind(("127.0.0.1", port)).ok().map(|_| port)
    })
}

/// A process that is ended, by its pid, when the test ends.
pub(crate) struct Daemon {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Daemon {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = child.stdout.take().expect("stdout is a pipe");
        Self {
            child,
            lines: BufReader::new(stdout),
        }
    }

    /// Whether it has not ended.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it is ours").is_none()
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it can be read");
        line.trim_end().to_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error of either means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts a program of the test's own into `bin` below a directory; the PATH on which it stands before the system's.
pub(crate) fn program(dir: &Path, name: &str, script: &str) -> OsString {
    let bin = dir.join("bin");
    fs::create_dir_all(&bin).expect("the directory is ours");
    let text = bin.join(format!("{name}.text"));
    fs::write(&text, format!("#!/bin/sh\n{script}\n")).expect("the directory is ours");
    // Not written by this process: what another thread starts meanwhile would have it open, and then it cannot be run.
    let mut install = Command::new("install");
    install.args(["-m", "0755"]).arg(text).arg(bin.join(name));
    assert!(install.status().expect("it starts").success());
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = [bin].into_iter().chain(env::split_paths(&path));
    env::join_paths(directories).expect("no directory has a colon in its name")
}

/// A program on a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    /// Our end of it.
    outer: File,
    shown: Vec<u8>,
}

impl Terminal {
    pub(crate) fn start(mut command: Command) -> Self {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
        grantpt(&outer)
            .and_then(|()| unlockpt(&outer))
            .expect("it is ours");
        let flags = fcntl_getfl(&outer).expect("it is open");
        fcntl_setfl(&outer, flags | OFlags::NONBLOCK).expect("it is open");
        let name = ptsname(&outer, Vec::new()).expect("it has a name");
        let name = OsStr::from_bytes(name.to_bytes());
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let inner = File::from(open(name, flags, Mode::empty()).expect("it is there"));
        let size = Winsize {
            ws_row: 24,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&inner, size).expect("it is a terminal");
        let stdio = || Stdio::from(inner.try_clone().expect("there are descriptors"));
        let child = command
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            child,
            outer: outer.into(),
            shown: Vec::new(),
        }
    }

    /// Waits until it has shown this; all that it has shown.
    #[track_caller]
    pub(crate) fn until_shown(&mut self, what: &str) -> String {
        let deadline = Instant::now() + STATE_WITHIN;
        loop {
            let goes_on = self.read();
            let shown = String::from_utf8_lossy(&self.shown).into_owned();
            if shown.contains(what) {
                return shown;
            }
            assert!(
                goes_on && Instant::now() < deadline,
                "no {what:?} at the end of {shown:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Reads what there is; false once nobody shows anything any more.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.outer.read(&mut buffer) {
                Ok(0) => return false,
                Ok(len) => self.shown.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Else nobody has it open any more.
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// Types something.
    pub(crate) fn type_text(&mut self, text: &str) {
        self.outer
            .write_all(text.as_bytes())
            .expect("there is room");
    }

    /// Waits until it has ended: its exit status, and all that it has shown.
    #[track_caller]
    pub(crate) fn finish(mut self) -> (Option<i32>, String) {
        until("the program ends", || (!self.read()).then_some(()));
        let status = self.child.wait().expect("it is ours");
        (
            status.code(),
            String::from_utf8_lossy(&self.shown).into_owned(),
        )
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // An error of either means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A network of its own, with addresses on a bridge that leads nowhere; a pair of virtual cards gives it a carrier.
pub(crate) struct Namespace {
    holder: Daemon,
}

impl Namespace {
    /// None where no namespace can be made.
    pub(crate) fn new(addresses: &[&str]) -> Option<Self> {
        find("unshare")?;
        find("nsenter")?;
        let bridge = "mount -t sysfs sysfs /sys && ip link set lo up && ip link add br0 type bridge && ip link set br0 up \
            && ip link add mon0 type veth peer name mon1 && ip link set mon0 master br0 up && ip link set mon1 up";
        let addresses = addresses.join(" ");
        let add = "ip addr add $address brd + dev br0 || exit";
        // The shell stays until it is ended.
        let script = format!(
            "{bridge} && for address in {addresses}; do {add}; done && echo ready && exec sleep infinity"
        );
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        // With its own /sys, which shows the interfaces of whoever mounted it.
        command.args(["--net", "--mount", "sh", "-c", &script]);
        let mut holder = Daemon::start(command);
        if holder.line() == "ready" {
            Some(Self { holder })
        } else {
            missing("a network namespace");
            None
        }
    }

    /// A machine of its own that is plugged into the bridge, by its card `mon1`; it has this address.
    pub(crate) fn machine(&self, address: &str) -> Self {
        let mut command = self.command("unshare");
        let script = "ip link set lo up && echo ready && exec sleep infinity";
        command.args(["--net", "sh", "-c", script]);
        let mut holder = Daemon::start(command);
        assert_eq!(holder.line(), "ready");
        let machine = Self { holder };
        let pid = machine.holder.child.id().to_string();
        let steps: [(&Self, &[&str]); 3] = [
            (self, &["link", "set", "mon1", "netns", &pid]),
            (
                &machine,
                &["addr", "add", address, "brd", "+", "dev", "mon1"],
            ),
            (&machine, &["link", "set", "mon1", "up"]),
        ];
        for (place, step) in steps {
            let status = place.command("ip").args(step).status();
            assert!(status.is_ok_and(|status| status.success()), "{step:?}");
        }
        machine
    }

    /// Moves the thread that calls into it, for good.
    pub(crate) fn enter(&self) {
        let path = format!("/proc/{}/ns/net", self.holder.child.id());
        let network = fs::File::open(path).expect("the holder runs");
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(network.as_fd(), kind).expect("root may");
    }

    /// A program that runs in it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--net", "--mount", "--wd=.", "--target"]);
        command.arg(self.holder.child.id().to_string());
        command.arg("--").arg(program);
        command
    }
}

/// Runs the program in a directory with this cluster.toml.
pub(crate) fn provision(dir: &Path, cluster: &str, args: &[&str]) -> Output {
    provision_with(dir, cluster, args, &[])
}

/// The same, with more in the environment.
pub(crate) fn provision_with(
    dir: &Path,
    cluster: &str,
    args: &[&str],
    environment: &[(&str, &str)],
) -> Output {
    let mut command = command(dir, cluster, args);
    command.envs(environment.iter().copied());
    command.output().expect("the binary under test starts")
}

/// The program in a directory with this cluster.toml.
pub(crate) fn command(dir: &Path, cluster: &str, args: &[&str]) -> Command {
    fs::write(dir.join("cluster.toml"), cluster).expect("the directory is ours");
    let mut command = Command::new(env!("CARGO_BIN_EXE_regex-provision"));
    command
        .current_dir(dir)
        .args(args)
        .stdin(Stdio::null())
        // Nobody answers there; who is behind the cluster's own addresses on this network, nobody knows.
        .env("REGEX_PROVISION_SERVER", "http://127.0.0.1:1")
        .env_remove("REGEX_PROVISION_BMC_PASSWORD");
    command
}

#[track_caller]
pub(crate) fn expect(output: &Output, code: i32, stdout: &str) -> String {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        (output.status.code(), &*printed),
        (Some(code), stdout),
        "{told}"
    );
    assert!(!told.contains(PASSWORD), "the password is shown: {told}");
    told
}
