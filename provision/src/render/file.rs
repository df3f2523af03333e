//! A rendered file: what it holds, where it belongs, and who has to do with it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One file of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path below `files/` of the generation, without `.` and `..`.
    pub name: String,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// Where its reader finds it.
    pub place: Place,
    /// Permission bits.
    pub mode: u32,
    /// The service that reads it, if one does; and what it takes to make it read it again.
    pub service: Option<(Service, Effect)>,
    /// Who can tell whether it is right.
    pub checker: Option<Checker>,
}

impl File {
    /// The name of what lies at this path in the system.
    pub fn name_in_system(path: &str) -> String {
        format!("system{path}")
    }

    /// What a loader is told, by TFTP.
    pub(super) fn told_to_loader(name: String, text: String) -> Self {
        Self {
            name,
            bytes: text.into_bytes(),
            place: Place::Generation,
            mode: 0o644,
            service: None,
            checker: None,
        }
    }
}

/// A file in the master's system that is ours alone.
pub(super) struct InSystem {
    pub(super) path: &'static str,
    pub(super) service: Option<(Service, Effect)>,
    pub(super) checker: Option<Checker>,
}

impl InSystem {
    pub(super) fn file(self, text: String) -> File {
        File {
            name: File::name_in_system(self.path),
            bytes: text.into_bytes(),
            place: Place::System(self.path.into()),
            mode: 0o644,
            service: self.service,
            checker: self.checker,
        }
    }
}

impl Place {
    /// Whether it is in the generation, and not in the system.
    pub fn is_in_generation(&self) -> bool {
        matches!(self, Self::Generation | Self::Link)
    }
}

/// Where the reader of a file finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the generation, through the link `current`.
    Generation,
    /// In the generation, as a symbolic link: what the file holds is where it leads.
    Link,
    /// At this path, which belongs to us alone.
    System(PathBuf),
    /// As a marked block in a file that belongs to others.
    Block(PathBuf),
}

/// What makes a service read a file again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// `systemctl reload`: nobody who uses the service notices.
    Reload,
    /// `systemctl restart`.
    Restart,
}

/// A service that is concerned by the files of a generation, in the order in which they are
/// to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// The clock of the master; the site's.
    Chrony,
    /// The log receiver; the site's.
    Rsyslog,
    /// The kernel's NFS server; the site's.
    NfsServer,
    /// Our NFS-Ganesha.
    Ganesha,
    /// regex-master.
    Master,
    /// The boot endpoint.
    Serve,
    /// Our dnsmasq: last, so that nodes are answered when the rest is there.
    Dnsmasq,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Chrony,
        Self::Rsyslog,
        Self::NfsServer,
        Self::Ganesha,
        Self::Master,
        Self::Serve,
        Self::Dnsmasq,
    ];

    /// The name of its systemd unit.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Chrony => "chrony.service",
            Self::Rsyslog => "rsyslog.service",
            Self::NfsServer => "nfs-server.service",
            Self::Ganesha => "regex-provision-ganesha.service",
            Self::Master => "regex-master.service",
            Self::Serve => "regex-provision-serve.service",
            Self::Dnsmasq => "regex-provision-dnsmasq.service",
        }
    }

    /// Whether the unit is one of ours, which comes and goes with the generation.
    pub fn is_ours(self) -> bool {
        match self {
            Self::Chrony | Self::Rsyslog | Self::NfsServer => false,
            Self::Ganesha | Self::Master | Self::Serve | Self::Dnsmasq => true,
        }
    }
}

/// Who can tell whether a file is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checker {
    /// `dnsmasq --test`.
    Dnsmasq,
    /// `dnsmasq --test`, for a list of hosts that the configuration names.
    DnsmasqHosts,
    /// `dhcpd -t`.
    Dhcpd,
    /// `dhcpd -t`, for what belongs into a subnet.
    DhcpdSubnet,
    /// `kea-dhcp4 -t`, for an array of client classes.
    KeaClasses,
    /// `kea-dhcp4 -t`, for an array of reservations.
    KeaReservations,
    /// `chronyd -p`.
    Chrony,
    /// A start of NFS-Ganesha away from the network.
    Ganesha,
    /// `systemd-analyze verify`.
    Systemd,
    /// `rsyslogd -N1`.
    Rsyslog,
    /// `logrotate --debug`.
    Logrotate,
}
