//! DHCP, data over NFS, time, logs, ssh, the boot endpoint, power.

use crate::model::decode::{At, Number, Port, table, words};
use crate::model::services::LogProtocol;
use crate::model::{
    AbsPath, AddressRange, Host, HostKeys, MountOption, NfsVersion, Squash, SshKey, TimeZone,
    Timespan, Unknown, UserName,
};
use std::time::Duration;

use super::value::RawServer;

/// Values where none are given.
pub(in crate::model) mod defaults {
    use super::{Duration, Timespan};

    pub(in crate::model) const LEASE: Timespan = Timespan(Duration::from_secs(12 * 3600));
    pub(in crate::model) const TIMEZONE: &str = "Etc/UTC";
    pub(in crate::model) const LOG_PORT: u16 = 514;
    pub(in crate::model) const LOG_DIRECTORY: &str = "/var/log/regex-nodes";
    pub(in crate::model) const LOG_KEEP_DAYS: u32 = 30;
    pub(in crate::model) const SSH_USER: &str = "root";
    pub(in crate::model) const SSH_PORT: u16 = 22;
    pub(in crate::model) const SSH_PARALLEL: u16 = 64;
    pub(in crate::model) const SSH_CONNECT_TIMEOUT: Timespan = Timespan(Duration::from_secs(10));
    pub(in crate::model) const SERVE_DIRECTORY: &str = "/var/lib/regex-provision";
    pub(in crate::model) const MAX_CONNECTIONS: u32 = 4096;
    pub(in crate::model) const MAX_UNKNOWN: u32 = 1024;
    pub(in crate::model) const POWER_PARALLEL: u16 = 16;
    pub(in crate::model) const POWER_STAGGER: Timespan = Timespan(Duration::from_millis(200));
    pub(in crate::model) const POWER_TIMEOUT: Timespan = Timespan(Duration::from_secs(20));
    pub(in crate::model) const POWER_CONFIRM: u32 = 8;
}

table! {
    /// Who answers DHCP on the network of the nodes.
    RawDhcp {
        /// Who answers.
        "mode" mode: DhcpMode, default "full";
        /// Addresses for machines that are not known yet (full). Holds no node. Without it they get none.
        "range" range: AddressRange;
        /// How long a lease lasts (full), at least two minutes.
        "lease" lease: Timespan, default defaults::LEASE.to_string();
        /// Whether to send an empty IPv6 router advertisement (full), which spares old iPXE a wait of some ten seconds.
        /// Turn it on only where no other router of the network speaks IPv6.
        "ipv6-advertisement" ipv6_advertisement: bool, default false;
    }

    /// A directory that nodes mount over NFS, for the data they search.
    RawExport {
        /// The directory on the server.
        "path" path: AbsPath, required;
        /// Where nodes mount it; without this, at the same path.
        "mount" mount: AbsPath;
        /// The version of NFS. Version 3 needs the fewest calls for many small files.
        "version" version: NfsVersion, default 3;
        /// Mount options, each a text of its own, such as `nocto` and `actimeo=600`.
        "options" options: Vec<At<MountOption>>;
        /// Who serves it: `kernel` or `ganesha` on the master, or the address or name of another server.
        "server" server: RawServer, default "kernel";
        /// Whether nodes may only read. regexctl never writes.
        "read-only" read_only: bool, default true;
        /// Whose rights the nodes' users have.
        "squash" squash: Squash, default Squash::default().as_str();
    }

    /// Where clocks are set from. The nodes always ask the master.
    RawTime {
        /// Whether chrony is set up at all.
        "enabled" enabled: bool, default true;
        /// Whom the master asks; without any, it goes by its own clock.
        "servers" servers: Vec<At<Host>>;
        /// The time zone of the nodes.
        "timezone" timezone: TimeZone, default defaults::TIMEZONE;
    }

    /// Where the nodes' logs go.
    RawLog {
        /// Where to.
        "target" target: LogTarget, default "node";
        /// The syslog server (remote).
        "host" host: Host;
        /// Its port (master, remote).
        "port" port: Port, default defaults::LOG_PORT;
        /// How logs travel (remote).
        "protocol" protocol: LogProtocol, default LogProtocol::default().as_str();
        /// Where the files are on the master (master).
        "directory" directory: AbsPath, default defaults::LOG_DIRECTORY;
        /// How many days they are kept (master).
        "keep-days" keep_days: Number<1, 3650>, default defaults::LOG_KEEP_DAYS;
    }

    /// Who may log in to the nodes, and how commands fan out to them.
    RawSsh {
        /// Public keys that may log in as root on every node: the lines of files that end in .pub.
        "authorized-keys" authorized_keys: Vec<At<SshKey>>;
        /// Where a node's host keys come from.
        "host-keys" host_keys: HostKeys, default HostKeys::default().as_str();
        /// Whom `exec`, `copy` and `ssh` log in as.
        "user" user: UserName, default defaults::SSH_USER;
        /// TCP port of sshd on the nodes.
        "port" port: Port, default defaults::SSH_PORT;
        /// Connections at once of `exec` and `copy`.
        "parallel" parallel: Number<1, 1024>, default defaults::SSH_PARALLEL;
        /// How long a connection may take to come up.
        "connect-timeout" connect_timeout: Timespan, default defaults::SSH_CONNECT_TIMEOUT.to_string();
    }

    /// The boot endpoint: where it keeps what it serves, and what it allows.
    RawServe {
        /// Images, generations and records of nodes.
        "directory" directory: AbsPath, default defaults::SERVE_DIRECTORY;
        /// What happens to machines that are not in this file.
        "unknown" unknown: Unknown, default Unknown::default().as_str();
        /// Connections at once; further ones wait.
        "max-connections" max_connections: Number<16, 65536>, default defaults::MAX_CONNECTIONS;
        /// Machines remembered that are not in this file.
        "max-unknown" max_unknown: Number<1, 65536>, default defaults::MAX_UNKNOWN;
    }

    /// How power commands are spread over time.
    RawPower {
        /// Nodes asked at once.
        "parallel" parallel: Number<1, 1024>, default defaults::POWER_PARALLEL;
        /// The pause between one node that is switched on and the next.
        "stagger" stagger: Timespan, default defaults::POWER_STAGGER.to_string();
        /// How long a BMC may take to answer.
        "timeout" timeout: Timespan, default defaults::POWER_TIMEOUT.to_string();
        /// From how many nodes on a command asks before it acts.
        "confirm" confirm: Number<1, 65536>, default defaults::POWER_CONFIRM;
    }
}

/// The word for who answers DHCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum DhcpMode {
    Full,
    Proxy,
    External,
}

/// The word for where logs go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum LogTarget {
    Node,
    Master,
    Remote,
}

words! {
    pub(in crate::model) DhcpMode {
        "full" Full "Our dnsmasq gives addresses and boot files.",
        "proxy" Proxy "The site's server gives addresses; our dnsmasq only adds where to boot from.",
        "external" External "The site's own ISC dhcpd or Kea does all; fragments for it are rendered.",
    }
    pub(in crate::model) LogTarget {
        "node" Node "They stay in the node's memory.",
        "master" Master "To the master, into one file a node.",
        "remote" Remote "To a syslog server of the site.",
    }
}
