//! Commands and files for many nodes at once, over OpenSSH.
//!
//! [`Remote`] says how a node is logged in to; the programs are the system's `ssh` and `scp`, so that a person's keys,
//! agent and configuration serve as they do by hand. [`execute`] runs the same thing for many nodes in a window, [`Gathered`]
//! folds equal outputs together.
//!
//! Invariants: every node that was asked for ends with one [`Outcome`]; nothing asks for a password or a
//! confirmation; the output that is kept of a node has a limit.

mod gather;

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

pub use gather::{Gathered, Group, MAX_NODE_OUTPUT_BYTES, MAX_OUTPUT_BYTES};

use crate::model::{Cluster, HostKeys, Node};
use crate::parallel;
use crate::process::{self, End, Stream};

/// The status with which `ssh` and `scp` end when it is the connection that failed; a command may end so, too.
const SSH_FAILED: i32 = 255;

/// What ssh says of a connection that there was.
const LOST: [&str; 4] = [
    "Connection to ",
    "Timeout, server ",
    "client_loop: ",
    "Read from remote host ",
];

/// What ssh says where the one that it jumps over has said why.
const JUMP_FAILED: &str = "Connection closed by UNKNOWN ";

/// What ssh tells with this alone, each line behind the place in its source: that it is logged in, and why it gives a
/// connection up. That is at the level of information and below, where a node's banner is, too.
const LOGIN_AND_END: &str =
    "LogVerbose=*:ssh_userauth2():*,*:sshpkt_vfatal():*,*:server_alive_check():*";

/// What it then says of a login, and where.
const LOGGED_IN: &str = "Authenticated to ";
const LOGIN_PLACE: &str = ":ssh_userauth2";

/// What `scp` says behind the reason that its `ssh` has given.
const SCP_LAST_LINES: [&str; 2] = ["scp: Connection closed", "lost connection"];

/// How nodes are logged in to.
#[derive(Debug, Clone)]
pub struct Remote<'c> {
    cluster: &'c Cluster,
    user: String,
    /// Where host keys are remembered; none where each boot makes new ones.
    known_hosts: Option<PathBuf>,
    /// Further options, each as behind `-o`.
    options: Vec<String>,
}

/// How it ended for a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The command's own status.
    Exited(i32),
    /// No connection; what ssh said of it.
    Unreachable(String),
    /// The connection broke off; what ssh said of it.
    Lost(String),
    /// It took longer than it was allowed to.
    TimedOut(Duration),
    /// We were told to end before it had.
    Interrupted,
    /// We were told to end before it was begun.
    NotBegun,
    /// The local program was ended by a signal, or could not be run.
    Broken(String),
}

impl Outcome {
    /// Whether it went well.
    pub fn is_success(&self) -> bool {
        *self == Self::Exited(0)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(0) => f.write_str("done"),
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Unreachable(words) => write!(f, "cannot log in: {words}"),
            Self::Lost(words) => write!(f, "the connection was lost: {words}"),
            Self::Interrupted => f.write_str("had not ended when this was interrupted"),
            Self::NotBegun => f.write_str("not begun, for this was interrupted"),
            Self::TimedOut(limit) => write!(f, "not done within {} s", limit.as_secs_f32()),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// How long `ssh` may take to say whether it knows an option.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// What is heard of a node.
#[derive(Debug)]
pub enum Event {
    /// It printed something.
    Output(Stream, Vec<u8>),
    /// It has ended.
    Ended(Outcome),
}

impl<'c> Remote<'c> {
    /// As `[ssh]` says. `user` goes before the one of the file; `known_hosts` is where keys that stay are remembered.
    pub fn new(
        cluster: &'c Cluster,
        user: Option<&str>,
        known_hosts: PathBuf,
        options: Vec<String>,
    ) -> Self {
        let keep = cluster.ssh.host_keys != HostKeys::Boot;
        Self {
            cluster,
            user: user.map_or_else(|| cluster.ssh.user.to_string(), str::to_owned),
            known_hosts: keep.then_some(known_hosts),
            options,
        }
    }

    /// `ssh` to a node, up to the command.
    pub fn ssh(&self, node: &Node, interactive: bool) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-p").arg(self.cluster.ssh.port.to_string());
        self.settle(&mut command, node, interactive);
        command.arg("--").arg(self.target(node));
        command
    }

    /// `scp` of files to a node's `destination`.
    pub fn scp(&self, node: &Node, files: &[PathBuf], destination: &str) -> Command {
        let mut command = Command::new("scp");
        // Without -q, which would keep its ssh from saying why; progress is for terminals only.
        command.args(["-r", "-P"]);
        command.arg(self.cluster.ssh.port.to_string());
        self.settle(&mut command, node, false);
        command.arg("--").args(files.iter().map(|file| local(file)));
        command.arg(format!("{}:{destination}", self.target(node)));
        command
    }

    fn target(&self, node: &Node) -> String {
        format!("{}@{}", self.user, node.address)
    }

    /// The options that both programs know.
    fn settle(&self, command: &mut Command, node: &Node, interactive: bool) {
        let mut option = |text: &str| {
            command.args(["-o", text]);
        };
        // The first one of an option wins, so the person's come first.
        for given in &self.options {
            option(given);
        }
        let seconds = self.cluster.ssh.connect_timeout.as_secs().max(1);
        option(&format!("ConnectTimeout={seconds}"));
        // A node that dies in the middle is noticed.
        option("ServerAliveInterval=15");
        option("ServerAliveCountMax=4");
        if !interactive {
            option("BatchMode=yes");
            // Errors are told with the node's outcome; that a key was remembered is none.
            option("LogLevel=ERROR");
        }
        match &self.known_hosts {
            None => {
                option("StrictHostKeyChecking=no");
                option("UserKnownHostsFile=/dev/null");
            }
            Some(file) => {
                option("StrictHostKeyChecking=accept-new");
                option(&format!("UserKnownHostsFile={}", file.display()));
                option(&format!("HostKeyAlias={}", node.name));
                // The names of nodes are no secret here, and a person looks for them.
                option("HashKnownHosts=no");
            }
        }
    }
}

/// A path as `scp` takes it for one of this machine: to it, what has a colon in front of the first slash is a machine's.
fn local(path: &Path) -> PathBuf {
    if path.is_relative() && path.as_os_str().as_encoded_bytes().contains(&b':') {
        Path::new(".").join(path)
    } else {
        path.to_owned()
    }
}

/// What to do where `ssh` or `scp` cannot be run.
pub fn package_hint(error: &io::Error) -> &'static str {
    if error.kind() == ErrorKind::NotFound {
        "; the Debian package is openssh-client"
    } else {
        ""
    }
}

/// Runs a program for each node, as many at once as `width` says and the system lets us have files open; `told` hears of each as it happens. The program is
/// [`ssh`](Remote::ssh) or [`scp`](Remote::scp).
pub fn execute(
    nodes: &[&Node],
    width: usize,
    limit: Option<Duration>,
    command: impl Fn(&Node) -> Command + Sync,
    told: impl FnMut(usize, Event),
) {
    parallel::each(
        nodes,
        process::programs_at_once(width.min(nodes.len())),
        Duration::ZERO,
        |node, send| {
            if process::is_interrupted() {
                return send(Event::Ended(Outcome::NotBegun));
            }
            let mut command = command(node);
            let own = OwnWords::of(&mut command);
            let mut said = Said::default();
            let end = process::run(&mut command, limit, &mut |stream, bytes| {
                match stream {
                    Stream::Err => said.errors.add(bytes),
                    Stream::Out => said.printed = true,
                }
                send(Event::Output(stream, bytes.to_vec()));
            });
            said.own = own.and_then(OwnWords::read);
            send(Event::Ended(outcome(end, limit, &command, &said)));
        },
        told,
    );
}

/// What a program has said.
#[derive(Debug, Default)]
struct Said {
    /// Something on standard output.
    printed: bool,
    errors: LastLine,
    /// What ssh says itself, if that was kept apart from what the node says.
    own: Option<Own>,
}

/// What `ssh` says itself, in memory: on standard error it could not be told from what the command says.
struct OwnWords(File);

impl OwnWords {
    /// None for `scp`, which says nothing of a command.
    fn of(command: &mut Command) -> Option<Self> {
        if command.get_program() != "ssh" {
            return None;
        }
        let memory = rustix::fs::memfd_create("ssh", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
        let memory = File::from(memory);
        let path = format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd());
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        // Options stand in front.
        let mut with = Command::new(command.get_program());
        with.arg("-E").arg(path);
        if knows_log_verbose() {
            with.args(["-o", LOGIN_AND_END]);
        }
        with.args(arguments);
        *command = with;
        Some(Self(memory))
    }

    fn read(mut self) -> Option<Own> {
        let mut words = Vec::new();
        self.0.rewind().ok()?;
        self.0.read_to_end(&mut words).ok()?;
        Some(Own::parse(&String::from_utf8_lossy(&words)))
    }
}

/// What `ssh` has said itself.
#[derive(Debug, Default)]
struct Own {
    /// Only known of an ssh that [tells it](LOGIN_AND_END).
    is_logged_in: bool,
    /// The last error since.
    error: Option<String>,
    /// Why it gave the connection up, since.
    end: Option<String>,
}

impl Own {
    fn parse(text: &str) -> Self {
        let mut own = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            // `packet.c:sshpkt_vfatal():1943 (pid=7): words`; since 2024 `(bin=ssh, pid=7)`.
            let told = line
                .split_once("():")
                .filter(|(place, _)| !place.contains(' '))
                .and_then(|(place, rest)| Some((place, rest.split_once("): ")?.1)));
            match told {
                None => own.error = Some(line.to_owned()),
                Some((_, words)) if words.starts_with(LOGGED_IN) => {
                    own = Self {
                        is_logged_in: true,
                        ..Self::default()
                    };
                }
                Some((place, _)) if place.ends_with(LOGIN_PLACE) => {}
                Some((_, words)) => own.end = Some(words.to_owned()),
            }
        }
        own
    }
}

/// Whether the `ssh` here takes [`LOGIN_AND_END`]: OpenSSH 8.5 (2021) and later.
fn knows_log_verbose() -> bool {
    static KNOWS: OnceLock<bool> = OnceLock::new();
    *KNOWS.get_or_init(|| {
        let mut version = Command::new("ssh");
        version.args(["-o", LOGIN_AND_END, "-V"]);
        let end = process::run(&mut version, Some(VERSION_TIMEOUT), &mut |_, _| {});
        matches!(end, Ok(End::Exited(status)) if status.success())
    })
}

fn outcome(
    end: io::Result<End>,
    limit: Option<Duration>,
    command: &Command,
    said: &Said,
) -> Outcome {
    let program = command.get_program().to_string_lossy();
    match end {
        Ok(End::TimedOut) => Outcome::TimedOut(limit.unwrap_or_default()),
        Ok(End::Interrupted) => Outcome::Interrupted,
        Ok(End::Exited(status)) => match status.code() {
            Some(SSH_FAILED) => said.failed(),
            Some(code) => Outcome::Exited(code),
            None => Outcome::Broken(format!("{program} was ended: {status}")),
        },
        Err(error) => Outcome::Broken(format!(
            "cannot run {program}: {error}{}",
            package_hint(&error)
        )),
    }
}

impl Said {
    /// What a status of 255 means.
    fn failed(&self) -> Outcome {
        let is_lost = |line: &str| LOST.iter().any(|begin| line.starts_with(begin));
        let errors = self.errors.text();
        let Some(own) = &self.own else {
            return match errors {
                Some(words) if self.printed || is_lost(&words) => Outcome::Lost(words),
                Some(words) => Outcome::Unreachable(words),
                None => Outcome::Unreachable("ssh said nothing".to_owned()),
            };
        };
        // Of a connection that the other side ends ssh speaks on standard error.
        let ended = || errors.clone().filter(|line| is_lost(line));
        let (error, end) = (own.error.clone(), own.end.clone());
        if own.is_logged_in {
            let words = end.or(error).or_else(ended);
            return words.map_or(Outcome::Exited(SSH_FAILED), Outcome::Lost);
        }
        let is_of_jump = |words: &String| words.starts_with(JUMP_FAILED);
        if error.iter().chain(&end).any(is_of_jump) {
            let words = errors.or(error).or(end);
            return words.map_or(Outcome::Exited(SSH_FAILED), Outcome::Unreachable);
        }
        match error.or(end) {
            Some(words) if self.printed || is_lost(&words) => Outcome::Lost(words),
            Some(words) => Outcome::Unreachable(words),
            // As where another ssh has the connection, or of one that does not tell of logins.
            None => ended().map_or(Outcome::Exited(SSH_FAILED), Outcome::Lost),
        }
    }
}

/// The end of what is said, of which the last line is told where it fails.
#[derive(Debug, Default)]
struct LastLine(Vec<u8>);

impl LastLine {
    /// How much of it is kept, in bytes.
    const MAX: usize = 4096;

    fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let surplus = self.0.len().saturating_sub(Self::MAX);
        self.0.drain(..surplus);
    }

    /// The last line that says why; none if nothing was said.
    fn text(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.0);
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
        let line = lines().rfind(|line| !SCP_LAST_LINES.contains(line));
        line.or_else(|| lines().next_back()).map(str::to_owned)
    }
}

/// A command line for the remote shell. One word is such a line already; several are arguments that arrive as
/// they are here.
pub fn command_line(words: &[String]) -> String {
    match words {
        [line] => line.clone(),
        words => words
            .iter()
            .map(|word| quoted(word))
            .collect::<Vec<_>>()
            .join(" "),
    }
}

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_word_is_a_line_for_the_shell() {
        assert_eq!(
            command_line(&["df -h | tail -1".to_owned()]),
            "df -h | tail -1"
        );
    }

    #[test]
    fn a_lost_connection_is_no_login_that_failed() {
        const LOGIN: &str = "sshconnect2.c:ssh_userauth2():580 (pid=7): Authenticated to 10.0.0.11 ([10.0.0.11]:22) using \"publickey\".\n";
        let ended = |own: Option<String>, errors: &str| {
            let mut said = Said::default();
            said.errors.add(errors.as_bytes());
            said.own = own.as_deref().map(Own::parse);
            said.failed().to_string()
        };
        // As OpenSSH 9.2 printed it; behind the login.
        for (own, errors, told) in [
            (
                "packet.c:sshpkt_vfatal():1943 (pid=7): client_loop: ssh_packet_write_poll: Connection to 10.0.0.11 port 22: Broken pipe\r\n",
                "",
                "the connection was lost: client_loop: ssh_packet_write_poll: Connection to 10.0.0.11 port 22: Broken pipe",
            ),
            (
                "clientloop.c:server_alive_check():503 (pid=7): Timeout, server 10.0.0.11 not responding.\n",
                "",
                "the connection was lost: Timeout, server 10.0.0.11 not responding.",
            ),
            (
                "client_loop: send disconnect: Broken pipe\n",
                "",
                "the connection was lost: client_loop: send disconnect: Broken pipe",
            ),
            (
                "",
                "Connection to 10.0.0.11 closed by remote host.\r\n",
                "the connection was lost: Connection to 10.0.0.11 closed by remote host.",
            ),
            ("", "what the command says\n", "exit status 255"),
        ] {
            let before = "Load key \"/root/.ssh/other\": invalid format\r\n";
            let own = format!("{before}{LOGIN}{own}");
            assert_eq!(ended(Some(own), errors), told);
        }
        // Before it.
        for (own, errors, told) in [
            (
                "Connection timed out during banner exchange\r\npacket.c:sshpkt_vfatal():1912 (pid=7): Connection to 10.0.0.11 port 22 timed out\r\n",
                "",
                "cannot log in: Connection timed out during banner exchange",
            ),
            (
                "packet.c:sshpkt_vfatal():1930 (pid=7): Connection closed by 10.0.0.11 port 22\r\n",
                "",
                "cannot log in: Connection closed by 10.0.0.11 port 22",
            ),
            (
                "ssh: connect to host 10.0.0.11 port 22: Connection refused\r\n",
                "",
                "cannot log in: ssh: connect to host 10.0.0.11 port 22: Connection refused",
            ),
            (
                "packet.c:sshpkt_vfatal():1930 (pid=7): Connection closed by UNKNOWN port 65535\r\n",
                "ssh: connect to host 10.0.0.2 port 22: Connection refused\r\n",
                "cannot log in: ssh: connect to host 10.0.0.2 port 22: Connection refused",
            ),
        ] {
            assert_eq!(ended(Some(own.to_owned()), errors), told);
        }
        // As OpenSSH 10 prints it.
        let own = format!(
            "{}clientloop.c:server_alive_check():503 (bin=ssh, pid=7): Timeout, server 10.0.0.11 not responding.\n",
            LOGIN.replace("(pid=", "(bin=ssh, pid=")
        );
        assert_eq!(
            ended(Some(own), ""),
            "the connection was lost: Timeout, server 10.0.0.11 not responding."
        );
        // Without a login that is told of: another ssh has the connection.
        assert_eq!(ended(Some(String::new()), "words\n"), "exit status 255");
        // Its scp.
        assert_eq!(
            ended(
                None,
                "root@10.0.0.11: Permission denied (publickey).\r\nscp: Connection closed\n"
            ),
            "cannot log in: root@10.0.0.11: Permission denied (publickey)."
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn several_words_arrive_as_they_are(words in prop::collection::vec("[^\0]{0,8}", 1..5)) {
            let words: Vec<String> = [vec!["printf".to_owned(), "%s\\0".to_owned()], words].concat();
            let out = Command::new("sh").arg("-c").arg(command_line(&words)).output().unwrap();
            let expected = words[2..].iter().fold(String::new(), |all, word| all + word + "\0");
            prop_assert_eq!(String::from_utf8(out.stdout).unwrap(), expected);
        }
    }
}
