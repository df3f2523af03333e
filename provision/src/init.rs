//! A first `cluster.toml` for a machine: what was found, and comments on what else there is.
//!
//! Invariant: what is written is free of mistakes, whatever the machine is like.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::machine::{Interface, InterfaceKind, Machine};
use crate::model::{AddressRange, InterfaceName, NodeIp, Subnet};

/// Bridges that virtual machines and containers make for themselves.
const FOREIGN_BRIDGES: [&str; 6] = ["docker", "virbr", "lxc", "lxd", "cni", "br-"];

/// Why no file can be written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitError {
    /// There is no such interface.
    #[error("there is no interface {name}; there are: {known}")]
    NoInterface {
        /// What was asked for.
        name: InterfaceName,
        /// What there is.
        known: String,
    },
    /// The interface has no address in a network of /8 to /30.
    #[error(
        "{name} has no IPv4 address in a network of /8 to /30; give it one, such as `ip addr add 10.0.0.1/24 dev {name}`"
    )]
    NoAddress {
        /// The interface.
        name: InterfaceName,
    },
    /// No interface could serve nodes.
    #[error(
        "no interface here has an IPv4 address that nodes could be served from (there are: {known}); give the one that leads to the nodes an address"
    )]
    Nothing {
        /// What there is.
        known: String,
    },
}

/// The interface that leads to the nodes: the one that is asked for, else the best guess.
pub fn choose<'m>(
    machine: &'m Machine,
    wanted: Option<&InterfaceName>,
) -> Result<&'m Interface, InitError> {
    let known = || {
        let names: Vec<_> = machine.interfaces.iter().map(|i| i.name.as_str()).collect();
        if names.is_empty() {
            "none".into()
        } else {
            names.join(", ")
        }
    };
    if let Some(name) = wanted {
        let found = machine.interfaces.iter().find(|i| i.name == *name);
        let name = name.clone();
        let Some(found) = found else {
            return Err(InitError::NoInterface {
                name,
                known: known(),
            });
        };
        return match found.network() {
            Some(_) => Ok(found),
            None => Err(InitError::NoAddress { name }),
        };
    }
    let candidates = machine.interfaces.iter().filter(|i| i.network().is_some());
    // The last of the best is as good as the first, but the first is less of a surprise.
    let best = candidates
        .rev()
        .max_by_key(|interface| likelihood(interface));
    best.ok_or_else(|| InitError::Nothing { known: known() })
}

/// How probable it is that nodes are behind an interface; the most telling first.
fn likelihood(interface: &Interface) -> impl Ord {
    let name = interface.name.as_str();
    let is_foreign = FOREIGN_BRIDGES.iter().any(|begin| name.starts_with(begin));
    let is_wired = !matches!(
        interface.kind,
        InterfaceKind::Wireless | InterfaceKind::Virtual
    );
    let is_private = interface
        .network()
        .is_some_and(|(address, _)| address.is_private());
    // A network of the nodes' own has no way to the world but the master.
    let is_own = interface.gateway.is_none();
    (
        is_wired && !is_foreign,
        is_private,
        is_own,
        interface.has_carrier,
    )
}

/// Addresses for machines that are not known yet: a fifth of the network at its end.
fn dynamic_range(subnet: Subnet, taken: &[Ipv4Addr]) -> Option<AddressRange> {
    let hosts = subnet.hosts();
    let (first, last) = (u32::from(hosts.first()), u32::from(hosts.last()));
    let count = last - first + 1;
    if count < 10 {
        return None;
    }
    let length = (count / 5).min(1000);
    // At the end, or before what is there already.
    let mut end = last;
    loop {
        let begin = end
            .checked_sub(length - 1)
            .filter(|begin| *begin >= first)?;
        let range = AddressRange::new(begin.into(), end.into()).ok()?;
        let inside = taken.iter().filter(|address| range.contains(**address));
        match inside.min() {
            Some(lowest) => end = u32::from(*lowest) - 1,
            None => return Some(range),
        }
    }
}

/// The text of the file.
pub fn render(machine: &Machine, interface: &Interface) -> String {
    let mut out = String::new();
    // Choosing has made sure that there is a network.
    let Some((master, subnet)) = interface.network() else {
        return out;
    };
    let gateway = interface
        .gateway
        .filter(|gateway| NodeIp::new(*gateway).is_ok() && subnet.has_host(*gateway));
    write_cluster(&mut out, machine, interface, master, subnet, gateway)
        .and_then(|()| write_dhcp(&mut out, machine, interface, master, subnet, gateway))
        .and_then(|()| write_nodes(&mut out, subnet, master))
        .and_then(|()| write_image(&mut out, machine))
        .and_then(|()| write_rest(&mut out, machine))
        .expect("writing to a String cannot fail");
    out
}

fn write_cluster(
    out: &mut String,
    machine: &Machine,
    interface: &Interface,
    master: Ipv4Addr,
    subnet: Subnet,
    gateway: Option<Ipv4Addr>,
) -> std::fmt::Result {
    writeln!(
        out,
        "\
# The cluster: everything that regex-provision makes is made from this file.
#
#   regex-provision check      finds every mistake in it
#   regex-provision schema     tells an editor what can be written here
#
# Lines that begin with # are comments; those with a key behind it show what else there is.

[cluster]
name = \"cluster\"

# The interface that leads to the nodes. This machine has:"
    )?;
    for other in &machine.interfaces {
        writeln!(out, "#   {}", described(other))?;
    }
    writeln!(out, "interface = \"{}\"", interface.name)?;
    writeln!(out, "subnet = \"{subnet}\"")?;
    writeln!(
        out,
        "{:<30} # this machine, on that network",
        format!("master = \"{master}\"")
    )?;
    match gateway {
        Some(gateway) => writeln!(out, "gateway = \"{gateway}\"")?,
        None => writeln!(
            out,
            "{:<30} # a router, if nodes shall reach other networks",
            format!("#gateway = \"{master}\"")
        )?,
    }
    match &machine.domain {
        Some(domain) => writeln!(out, "domain = \"{domain}\"")?,
        None => writeln!(out, "#domain = \"cluster.example\"")?,
    }
    match &machine.dns[..] {
        [] => writeln!(out, "#dns = [\"{master}\"]")?,
        servers => {
            let servers: Vec<_> = servers.iter().map(|s| format!("\"{s}\"")).collect();
            writeln!(out, "dns = [{}]", servers.join(", "))?;
        }
    }
    writeln!(out, "#master-port = 7411            # regex-master")?;
    writeln!(out, "#http-port = 8080              # what nodes boot from")
}

/// One line about an interface.
fn described(interface: &Interface) -> String {
    let Interface {
        name,
        kind,
        has_carrier,
        addresses,
        gateway,
    } = interface;
    let addresses: Vec<_> = addresses.iter().map(|(a, p)| format!("{a}/{p}")).collect();
    let addresses = if addresses.is_empty() {
        "no IPv4 address".to_owned()
    } else {
        addresses.join(" ")
    };
    let carrier = if *has_carrier { "" } else { ", no carrier" };
    let gateway = gateway.map_or_else(String::new, |to| format!(", default route to {to}"));
    format!("{name}: {}, {addresses}{carrier}{gateway}", kind.as_str())
}

fn write_dhcp(
    out: &mut String,
    machine: &Machine,
    interface: &Interface,
    master: Ipv4Addr,
    subnet: Subnet,
    gateway: Option<Ipv4Addr>,
) -> std::fmt::Result {
    writeln!(
        out,
        "
# Who answers DHCP on the network of the nodes:
#   full      our dnsmasq gives the addresses
#   proxy     another server gives them, our dnsmasq only adds what to boot
#   external  the site's own ISC dhcpd or Kea does all, with fragments that we render
[dhcp]"
    )?;
    let conflicts = machine.conflicts(interface);
    if !conflicts.is_empty() {
        writeln!(out, "# CONFLICT: this machine answers DHCP already:")?;
        for server in conflicts {
            writeln!(out, "#   {server}")?;
        }
        writeln!(
            out,
            "# Stop it, or write mode = \"external\", before anything is applied."
        )?;
    }
    let mut taken = vec![master];
    taken.extend(gateway);
    taken.extend(&machine.dns);
    match dynamic_range(subnet, &taken) {
        _ if interface.gateway.is_some() => {
            writeln!(
                out,
                "\
# {} is the way to other networks, where somebody probably answers DHCP already: two servers
# that both give addresses would be a disaster. If there is none, write \"full\" and a range.
mode = \"proxy\"",
                interface.name
            )?;
        }
        Some(range) => {
            writeln!(out, "mode = \"full\"")?;
            writeln!(
                out,
                "{:<30} # for machines that are not known yet",
                format!("range = \"{range}\"")
            )?;
            writeln!(out, "#lease = \"12h\"")?;
        }
        None => {
            writeln!(out, "mode = \"full\"")?;
            writeln!(
                out,
                "#range = \"...\"                  # for machines that are not known yet"
            )?;
        }
    }
    Ok(())
}

fn write_nodes(out: &mut String, subnet: Subnet, master: Ipv4Addr) -> std::fmt::Result {
    let base = u32::from(subnet.network());
    let example = |offset: u32| {
        let address = Ipv4Addr::from(base + offset);
        if subnet.has_host(address) && address != master {
            address
        } else {
            subnet.hosts().last()
        }
    };
    let (first, single) = (example(11), example(10));
    writeln!(
        out,
        "
# What nodes share. The profile `default` applies to every node; others to those that name them.
[profile.default]
image = \"base\"
root = \"ram\"                   # or \"ramdisk\", or \"nfs\"
#usr = \"nfs\"                   # /usr over NFS instead of in the root
#console = [\"tty0\", \"ttyS0,115200n8\"]
#kernel-args = [\"quiet\"]
#bmc = {{ kind = \"ipmi\", address = \"{{node}}-bmc\", user = \"admin\", credentials = \"/etc/regex-provision/bmc\" }}

# The nodes. `regex-provision node import < host_ip_mac.txt` adds them, or write them yourself:
#
#[[node]]
#name = \"login\"
#mac = \"52:54:00:00:00:01\"
#address = \"{single}\"
#
#[[node]]
#name = \"s[0-1]\"                # ranges: s[0-9], rack[1-4]n[01-24], s[1,3,5-7]
#mac = [\"52:54:00:00:00:02\", \"52:54:00:00:00:03\"]
{}
#tags = [\"rack1\"]",
        format_args!(
            "{:<30} # the first one; the others follow in order",
            format!("#address = \"{first}\"")
        )
    )
}

fn write_image(out: &mut String, machine: &Machine) -> std::fmt::Result {
    let (suite, kernel) = match &machine.system {
        Some((id, suite)) if id == "ubuntu" => (suite.as_str(), "linux-image-generic"),
        Some((id, suite)) if id == "debian" => (suite.as_str(), "linux-image-amd64"),
        _ => ("bookworm", "linux-image-amd64"),
    };
    let components = if kernel == "linux-image-generic" {
        "[\"main\", \"universe\"]"
    } else {
        "[\"main\"]"
    };
    writeln!(
        out,
        "
# What nodes boot: `regex-provision image build base`.
[image.base]
source = {{ kind = \"debootstrap\", suite = \"{suite}\", components = {components} }}
kernel = {{ package = \"{kernel}\" }}
#packages = [\"openssh-server\", \"htop\"]
#post-script = \"/etc/regex-provision/base.sh\"

# Data that nodes mount over NFS, and that jobs may search.
#[export.data]
#path = \"/srv/data\"
#options = [\"nocto\", \"actimeo=600\"]"
    )
}

fn write_rest(out: &mut String, machine: &Machine) -> std::fmt::Result {
    writeln!(
        out,
        "
# Nodes set their clocks by the master; whom the master asks:
[time]
#servers = [\"0.debian.pool.ntp.org\", \"1.debian.pool.ntp.org\"]"
    )?;
    match &machine.time_zone {
        Some(zone) => writeln!(out, "timezone = \"{zone}\"")?,
        None => writeln!(out, "#timezone = \"Etc/UTC\"")?,
    }
    writeln!(
        out,
        "
# Who may log in to the nodes as root.
[ssh]"
    )?;
    if machine.ssh_keys.is_empty() {
        return writeln!(out, "#authorized-keys = [\"ssh-ed25519 ... you@here\"]");
    }
    writeln!(out, "authorized-keys = [")?;
    for key in &machine.ssh_keys {
        // A comment of a key may hold quotes.
        writeln!(out, "    {},", toml_edit::Value::from(key.as_str()))?;
    }
    writeln!(out, "]")
}

#[cfg(test)]
#[path = "init_tests.rs"]
mod tests;
