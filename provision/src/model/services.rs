//! The services around the nodes: data over NFS, time, logs, ssh, the boot endpoint, power.

use std::time::Duration;

use super::{AbsPath, ExportName, Host, MountOption, SshKey, TimeZone, UserName};

/// A directory that nodes mount, for the data they search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: ExportName,
    /// The directory on the server.
    pub path: AbsPath,
    /// Where the nodes mount it. No two exports of a node have the same.
    pub mount: AbsPath,
    /// Which NFS it is mounted with.
    pub version: NfsVersion,
    /// Mount options besides version and `ro` or `rw`.
    pub options: Vec<MountOption>,
    /// Who serves it.
    pub server: ExportServer,
    /// Whether nodes may only read. (regexctl never writes.)
    pub read_only: bool,
    /// Whose rights the nodes' users have.
    pub squash: Squash,
}

/// A version of NFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NfsVersion {
    /// Version 3: the fewest calls a file for small files. Needs rpcbind and mountd.
    #[default]
    V3,
    /// Version 4.2: one port.
    V4_2,
}

/// Who serves an export.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ExportServer {
    /// The master's kernel.
    #[default]
    Kernel,
    /// NFS-Ganesha on the master.
    Ganesha,
    /// A machine that is not ours, such as a filer: it is only mounted.
    External(Host),
}

/// Whose rights the nodes' users have on an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Squash {
    /// Root is nobody, the others are themselves.
    #[default]
    Root,
    /// All are nobody.
    All,
    /// All are themselves.
    None,
}

/// Where clocks are set from. The nodes always ask the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time {
    /// Whether chrony is set up at all.
    pub enabled: bool,
    /// Whom the master asks. Empty for a master that is its own source.
    pub servers: Vec<Host>,
    /// The time zone of the nodes, such as `Europe/Berlin`.
    pub timezone: TimeZone,
}

/// Where the nodes' logs go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Log {
    /// Nowhere: they stay in the node's memory.
    Node,
    /// To the master, into one file a node.
    Master {
        /// Where they listen and send to.
        port: u16,
        /// Where the files are.
        directory: AbsPath,
        /// How many days they are kept.
        keep_days: u32,
    },
    /// To a syslog server of the site.
    Remote {
        /// Who.
        host: Host,
        /// Its port.
        port: u16,
        /// How.
        protocol: LogProtocol,
    },
}

/// How logs travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LogProtocol {
    /// Syslog over UDP.
    #[default]
    Udp,
    /// Syslog over TCP.
    Tcp,
}

/// Who may log in to the nodes, and how commands fan out to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// Keys that may log in as root, on every node.
    pub authorized_keys: Vec<SshKey>,
    /// Where the nodes' host keys come from.
    pub host_keys: HostKeys,
    /// Whom `exec`, `copy` and `ssh` log in as.
    pub user: UserName,
    /// TCP port of sshd on the nodes.
    pub port: u16,
    /// Connections at once of `exec` and `copy`.
    pub parallel: u16,
    /// How long a connection may take to come up.
    pub connect_timeout: Duration,
}

/// Where a node's host keys come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HostKeys {
    /// The node makes new ones at each boot. Nothing secret crosses the network; and nobody
    /// can tell the node from another one that has its address.
    #[default]
    Boot,
    /// The master makes them once and gives them to the node at each boot, over HTTP: whoever
    /// can ask the boot endpoint for the node's overlay can read them.
    Kept,
    /// They are in the image: all nodes have the same, and whoever can fetch it has them.
    Image,
}

/// Where it keeps that where nothing is said.
pub const SERVE_DIRECTORY: &str = super::raw::defaults::SERVE_DIRECTORY;

/// The boot endpoint: where it keeps what it serves, and what it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// Images, generations, node records.
    pub directory: AbsPath,
    /// What happens to machines that are not in the file.
    pub unknown: Unknown,
    /// Connections at once; further ones wait.
    pub max_connections: u32,
    /// Machines remembered that are not in the file; the one seen longest ago is forgotten.
    pub max_unknown: u32,
}

/// What happens to machines that are not in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Unknown {
    /// They boot into a waiting stage, are listed by `node discover`, and join by `node approve`.
    #[default]
    Wait,
    /// They are told to boot from elsewhere.
    Refuse,
}

/// How power commands are spread over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Power {
    /// Nodes asked at once.
    pub parallel: u16,
    /// The pause between one node that is switched on and the next.
    pub stagger: Duration,
    /// How long a BMC may take to answer.
    pub timeout: Duration,
    /// From how many nodes on a command asks before it acts.
    pub confirm: u32,
}
