//! Whether a firewall of this machine closes what nodes need, as far as its rules can be read.
//!
//! The services are asked from this machine itself, past its own firewall, so rules are read ([`rules`]): for the first packet of
//! a node to each port, every chain that sees what comes in is walked. They can say more than this understands; then what comes
//! of a packet is told as unknown.

mod rules;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Finding, Level};
use crate::model::{Cluster, Dhcp, ExportServer, Log, NfsVersion, RootMode, UsrMode};
use crate::process::{End, capture};
use rules::{Fate, Judged, Packet, Port, Rules};

const TOPIC: &str = "firewall";

/// How long nft may take.
const WAIT: Duration = Duration::from_secs(5);

/// The largest set of rules that is read, in bytes.
const MAX_RULES_BYTES: usize = 32 << 20;

/// UDP port of DHCP servers.
const DHCP_PORT: u16 = 67;

/// The port of Ganesha's mountd, as `ganesha.conf` says.
const GANESHA_MOUNTD_PORT: u16 = 20048;

pub(super) fn look(cluster: &Cluster) -> Vec<Finding> {
    let (needed, mut findings) = needed(cluster);
    findings.extend(nftables(cluster, &needed));
    findings.extend(legacy());
    findings
}

fn unknown(what: String, fix: &str) -> Finding {
    Finding::bad(TOPIC, Level::Unknown, what, fix)
}

/// The rules that `nft` knows; those of today's iptables are among them.
fn nftables(cluster: &Cluster, needed: &BTreeSet<Port>) -> Vec<Finding> {
    let rules = capture(
        Command::new("nft").args(["-j", "list", "ruleset"]),
        WAIT,
        MAX_RULES_BYTES,
    );
    let text = match rules {
        Ok((End::Exited(status), said)) if status.success() && !said.truncated => said.out,
        Ok((_, said)) => {
            let what = format!("cannot read the rules: {}", said.last_words());
            return vec![unknown(what, "run this as root")];
        }
        Err(error) => {
            let what = format!("cannot run nft, so the rules are not known: {error}");
            return vec![unknown(what, "install it: apt install nftables")];
        }
    };
    match serde_json::from_slice(&text) {
        Ok(rules) => judge(&rules, cluster, needed),
        Err(error) => vec![unknown(
            format!("nft's rules are not JSON: {error}"),
            "see: nft list ruleset",
        )],
    }
}

/// The rules of the iptables before nftables, which `nft` does not know. Where it is not installed, nobody has made any.
fn legacy() -> Option<Finding> {
    let mut command = Command::new("iptables-legacy-save");
    let (what, said) = match capture(&mut command, WAIT, MAX_RULES_BYTES) {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => ("cannot be asked for", error.to_string()),
        Ok((End::Exited(status), said)) if status.success() => {
            if !has_rules(&String::from_utf8_lossy(&said.out)) {
                return None;
            }
            ("are not read", "there are some".to_owned())
        }
        Ok((_, said)) => ("cannot be asked for", said.last_words()),
    };
    Some(unknown(
        format!("rules of iptables-legacy {what}: {said}"),
        "see: iptables-legacy-save; rules of nftables would be read",
    ))
}

/// Whether what `iptables-save` printed does anything.
fn has_rules(saved: &str) -> bool {
    saved.lines().any(|line| {
        let policy = line
            .strip_prefix(':')
            .and_then(|line| line.split(' ').nth(1));
        line.starts_with("-A ") || policy == Some("DROP")
    })
}

/// What nodes come to, and what of it is not known.
fn needed(cluster: &Cluster) -> (BTreeSet<Port>, Vec<Finding>) {
    let mut ports = BTreeSet::new();
    let mut findings = Vec::new();
    let mut add = |protocol, number| ports.insert(Port { protocol, number });
    let network = &cluster.network;
    add("tcp", network.http_port);
    add("tcp", network.master_port);
    // Loaders are ours, whoever gives addresses.
    add("udp", 69);
    if !matches!(cluster.dhcp, Dhcp::External) {
        add("udp", DHCP_PORT);
    }
    if matches!(cluster.dhcp, Dhcp::Proxy) {
        // Firmware asks there which loader the offer meant.
        add("udp", 4011);
    }
    if cluster.time.enabled {
        add("udp", 123);
    }
    if let Log::Master { port, .. } = cluster.log {
        add("udp", port);
    }
    let ours = || {
        let exports = cluster.exports.values();
        exports.filter(|export| !matches!(export.server, ExportServer::External(_)))
    };
    let trees = cluster
        .nodes()
        .iter()
        .any(|node| node.settings.root == RootMode::Nfs || node.settings.usr == UsrMode::Nfs);
    if trees || ours().next().is_some() {
        add("tcp", 2049);
    }
    let v3: Vec<_> = ours()
        .filter(|export| export.version == NfsVersion::V3)
        .collect();
    if !v3.is_empty() {
        add("tcp", 111);
    }
    if v3
        .iter()
        .any(|export| export.server == ExportServer::Ganesha)
    {
        add("tcp", GANESHA_MOUNTD_PORT);
    } else if !v3.is_empty() {
        match mountd() {
            Ok(port) => {
                add("tcp", port);
            }
            Err(why) => findings.push(unknown(
                format!(
                    "cannot tell which port mountd has, which mounts of NFS version 3 need: {why}"
                ),
                "start the NFS server, and see: rpcinfo -p",
            )),
        }
    }
    (ports, findings)
}

/// The port of the kernel's mountd, as rpcbind knows it.
fn mountd() -> Result<u16, String> {
    let asked = capture(Command::new("rpcinfo").arg("-p"), WAIT, MAX_RULES_BYTES);
    let (_, said) = asked.map_err(|error| format!("cannot run rpcinfo: {error}"))?;
    mountd_in(&String::from_utf8_lossy(&said.out)).ok_or_else(|| said.last_words())
}

/// `100005    3   tcp  20048  mountd`
fn mountd_in(told: &str) -> Option<u16> {
    told.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        match fields[..] {
            ["100005", "3", "tcp", port, ..] => port.parse().ok(),
            _ => None,
        }
    })
}

/// The first packet of a node to a port.
fn packet(cluster: &Cluster, port: Port) -> Packet<'_> {
    let subnet = cluster.network.subnet;
    let addresses = || cluster.nodes().iter().map(|node| node.address.get());
    let nodes = addresses().min().zip(addresses().max());
    let (first, last) = nodes.unwrap_or((subnet.network(), subnet.broadcast()));
    let is_dhcp = port.protocol == "udp" && port.number == DHCP_PORT;
    Packet {
        port,
        interface: cluster.network.interface.as_str(),
        // Who has no address yet asks everybody for one.
        from: if is_dhcp {
            [Ipv4Addr::UNSPECIFIED; 2]
        } else {
            [first, last]
        },
        to: if is_dhcp {
            Ipv4Addr::BROADCAST
        } else {
            cluster.network.master.get()
        },
    }
}

/// What the rules of `nft -j list ruleset` do to the ports.
fn judge(ruleset: &Value, cluster: &Cluster, needed: &BTreeSet<Port>) -> Vec<Finding> {
    let Some(rules) = Rules::read(ruleset, cluster.network.interface.as_str()) else {
        let what = "nft's rules are not what is understood here".to_owned();
        return vec![unknown(what, "see: nft list ruleset")];
    };
    let mut findings = Vec::new();
    for base in rules.bases() {
        let chain = base.name();
        let (mut doubts, mut unclear) = (BTreeSet::new(), Vec::new());
        for port in needed {
            let Port { protocol, number } = port;
            let Judged { fate, doubt } = rules.judge(base, &packet(cluster, *port));
            if fate == Fate::DROPPED {
                let fix = if base.table() == "firewalld" {
                    format!(
                        "run: firewall-cmd --permanent --add-port={number}/{protocol} && firewall-cmd --reload"
                    )
                } else {
                    format!(
                        "run: nft insert rule {chain} {protocol} dport {number} accept; and make it stay"
                    )
                };
                let what = format!("{chain} closes {protocol} port {number}");
                findings.push(Finding::bad(TOPIC, Level::Warning, what, fix));
            } else if fate != Fate::ACCEPTED {
                unclear.push(format!("{protocol} {number}"));
                doubts.extend(doubt);
            }
        }
        if !unclear.is_empty() {
            let mut what = format!("cannot tell whether {chain} lets in {}", unclear.join(", "));
            if !doubts.is_empty() {
                let doubts: Vec<_> = doubts.into_iter().collect();
                let _ = write!(what, ": its rules match on {}", doubts.join(", "));
            }
            findings.push(unknown(what, "see: nft list ruleset"));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::fine(
            TOPIC,
            "no rule of nftables closes what nodes need",
        ));
    }
    findings
}

#[cfg(test)]
mod tests;
