//! What this machine says of itself: interfaces, routes, DHCP servers, names, keys.
//!
//! Everything is read, nothing is changed, and nothing is sent. What cannot be read is taken as
//! not being there: the result is a suggestion for a person.

mod dhcp_servers;
mod text;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

pub use dhcp_servers::DhcpServer;

use crate::model::{Hostname, InterfaceName, NodeIp, SshKey, Subnet, Suite, TimeZone};

/// The most public keys that are taken over.
const MAX_KEYS: usize = 16;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its network interfaces besides the loopback, sorted by name.
    pub interfaces: Vec<Interface>,
    /// Who answers DHCP on it already.
    pub dhcp_servers: Vec<DhcpServer>,
    /// The DNS servers it asks, without those of its own.
    pub dns: Vec<Ipv4Addr>,
    /// The domain it looks names up in.
    pub domain: Option<Hostname>,
    /// Its time zone.
    pub time_zone: Option<TimeZone>,
    /// Its distribution, such as `debian` and `bookworm`.
    pub system: Option<(String, Suite)>,
    /// The public keys of who runs the command.
    pub ssh_keys: Vec<SshKey>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: InterfaceName,
    /// What it is.
    pub kind: InterfaceKind,
    /// Whether a cable is in it, or what stands for one.
    pub has_carrier: bool,
    /// Its IPv4 addresses with the lengths of their prefixes.
    pub addresses: Vec<(Ipv4Addr, u8)>,
    /// The router that its default route leads to.
    pub gateway: Option<Ipv4Addr>,
}

/// What an interface is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InterfaceKind {
    /// A network card.
    Ethernet,
    /// Several cards as one.
    Bond,
    /// A bridge.
    Bridge,
    /// A virtual LAN.
    Vlan,
    /// A wireless card, which nodes cannot boot from.
    Wireless,
    /// Something else: a tunnel, a container's or a virtual machine's.
    Virtual,
}

impl InterfaceKind {
    /// In the words of a comment.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ethernet => "Ethernet",
            Self::Bond => "bond",
            Self::Bridge => "bridge",
            Self::Vlan => "VLAN",
            Self::Wireless => "wireless",
            Self::Virtual => "virtual",
        }
    }
}

impl Machine {
    /// Who answers DHCP on an interface already, besides what `apply` has set up.
    pub fn conflicts(&self, interface: &Interface) -> Vec<&DhcpServer> {
        let servers = self.dhcp_servers.iter();
        servers
            .filter(|server| server.is_conflict(interface))
            .collect()
    }
}

impl Interface {
    /// Its first address that lies in a network which nodes can have, with that network.
    pub fn network(&self) -> Option<(Ipv4Addr, Subnet)> {
        let network = |&(address, prefix): &(Ipv4Addr, u8)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix))?;
            let base = Ipv4Addr::from(u32::from(address) & mask);
            let subnet = Subnet::new(base, prefix).ok()?;
            let is_host = NodeIp::new(address).is_ok() && subnet.has_host(address);
            is_host.then_some((address, subnet))
        };
        self.addresses.iter().find_map(network)
    }
}

/// Looks at the machine that this runs on.
pub fn look() -> Machine {
    let resolv = text::resolv(&read("/etc/resolv.conf"));
    Machine {
        interfaces: interfaces(),
        dhcp_servers: dhcp_servers::running(Path::new("/proc")),
        dns: resolv.0,
        domain: resolv.1,
        time_zone: time_zone(),
        system: text::os_release(&read("/etc/os-release")),
        ssh_keys: ssh_keys(),
    }
}

/// The text of a file; none if it cannot be read.
fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn interfaces() -> Vec<Interface> {
    let gateways = text::gateways(&read("/proc/net/route"));
    let addresses = addresses();
    let Ok(entries) = fs::read_dir("/sys/class/net") else {
        return Vec::new();
    };
    let interface = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let path = entry.path();
        if name == "lo" {
            return None;
        }
        let own = |(owner, address, prefix): &(String, Ipv4Addr, u8)| {
            (*owner == name).then_some((*address, *prefix))
        };
        Some(Interface {
            kind: kind(&path),
            has_carrier: read(path.join("carrier")).trim() == "1",
            addresses: addresses.iter().filter_map(own).collect(),
            gateway: gateways
                .iter()
                .find(|(owner, _)| *owner == name)
                .map(|(_, to)| *to),
            name: name.parse().ok()?,
        })
    };
    let entries = entries.filter_map(Result::ok);
    let mut interfaces: Vec<_> = entries.filter_map(interface).collect();
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    interfaces
}

fn kind(path: &Path) -> InterfaceKind {
    let uevent = read(path.join("uevent"));
    let device_type = uevent
        .lines()
        .find_map(|line| line.strip_prefix("DEVTYPE="));
    match device_type {
        Some("bridge") => InterfaceKind::Bridge,
        Some("bond") => InterfaceKind::Bond,
        Some("vlan") => InterfaceKind::Vlan,
        Some("wlan") => InterfaceKind::Wireless,
        _ if path.join("device").exists() => InterfaceKind::Ethernet,
        _ => InterfaceKind::Virtual,
    }
}

/// Interface, address and prefix of every IPv4 address.
fn addresses() -> Vec<(String, Ipv4Addr, u8)> {
    let Ok(all) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let address = |entry: nix::ifaddrs::InterfaceAddress| {
        let address = entry.address?.as_sockaddr_in()?.ip();
        let mask = u32::from(entry.netmask?.as_sockaddr_in()?.ip());
        let prefix = u8::try_from(mask.leading_ones()).ok()?;
        Some((entry.interface_name, address, prefix))
    };
    all.filter_map(address).collect()
}

fn time_zone() -> Option<TimeZone> {
    let named = read("/etc/timezone").trim().parse().ok();
    let linked = || {
        let target = fs::canonicalize("/etc/localtime").ok()?;
        let name = target.strip_prefix("/usr/share/zoneinfo").ok()?;
        name.to_str()?.parse().ok()
    };
    named.or_else(linked)
}

fn ssh_keys() -> Vec<SshKey> {
    let Some(home) = std::env::var_os("HOME") else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(Path::new(&home).join(".ssh")) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "pub"));
    files.sort();
    let keys = files
        .iter()
        .filter_map(|path| read(path).trim().parse().ok());
    keys.take(MAX_KEYS).collect()
}
