//! The network: the master and the gateway are machines on it.

use std::net::Ipv4Addr;

use super::required;
use super::taken::Others;
use crate::model::cluster::Network;
use crate::model::decode::{At, Field};
use crate::model::problem::{Reporter, Span};
use crate::model::raw::{DhcpMode, HTTP_PORT, MASTER_PORT, RawCluster, RawFile};
use crate::model::{AddressRange, Hostname, NodeIp, Subnet};

/// The most DNS servers: what a resolver asks, and what fits into a DHCP answer.
const MAX_DNS: usize = 3;

/// Ports that the master's other services have.
const TAKEN: [(u16, &str); 8] = [
    (22, "sshd"),
    (67, "DHCP"),
    (68, "DHCP clients"),
    (69, "TFTP"),
    (111, "rpcbind, which NFS needs"),
    (123, "chrony"),
    (514, "syslog"),
    (2049, "the NFS server"),
];

pub(super) fn check(raw: &RawFile, report: &mut Reporter) -> Option<Network> {
    let section = raw.cluster.at()?;
    let (raw, span) = (&section.value, &section.span);
    let interface = required(&raw.interface, "cluster", "interface", span, report);
    let subnet = required(&raw.subnet, "cluster", "subnet", span, report);
    let master = required(&raw.master, "cluster", "master", span, report);
    if let Some(subnet) = subnet {
        for (what, field) in [("master", &raw.master), ("gateway", &raw.gateway)] {
            if let Some(at) = field.at() {
                on_subnet(what, at, subnet, report);
            }
        }
    }
    if raw.dns.items().len() > MAX_DNS {
        report.error(
            raw.dns.items()[MAX_DNS].span.clone(),
            format!("cluster: more than {MAX_DNS} DNS servers"),
            "resolvers ask no more, leave the others out",
        );
    }
    let master_port = raw
        .master_port
        .given()
        .map_or(MASTER_PORT, |port| port.u16());
    let http_port = raw.http_port.given().map_or(HTTP_PORT, |port| port.u16());
    ports(raw, master_port, http_port, report);
    Some(Network {
        interface: interface?,
        subnet: subnet?,
        gateway: raw.gateway.given().copied(),
        domain: raw.domain.given().cloned(),
        dns: raw.dns.values(),
        master: master?,
        master_port,
        http_port,
    })
}

/// Nobody else listens on the ports.
fn ports(raw: &RawCluster, master_port: u16, http_port: u16, report: &mut Reporter) {
    for (key, field) in [
        ("http-port", &raw.http_port),
        ("master-port", &raw.master_port),
    ] {
        let Some(at) = field.at() else { continue };
        let taken = TAKEN.iter().find(|(port, _)| *port == at.value.u16());
        if let Some((port, whose)) = taken {
            report.error(
                at.span.clone(),
                format!("cluster: {key} {port} is the port of {whose}"),
                "choose another one, such as 8080 for http-port and 7411 for master-port",
            );
        }
    }
    let fields = [&raw.http_port, &raw.master_port];
    let is_known = fields
        .iter()
        .all(|field| field.is_absent() || field.given().is_some());
    if is_known
        && master_port == http_port
        && let Some(at) = fields.into_iter().find_map(Field::span)
    {
        report.error(
            at,
            format!("cluster: regex-master and the boot endpoint both have port {http_port}"),
            "give them different ports",
        );
    }
}

fn on_subnet(what: &str, at: &At<NodeIp>, subnet: Subnet, report: &mut Reporter) {
    if let Some((problem, fix)) = misfit(at.value.get(), subnet) {
        let what = format!("cluster: {what} {} {problem}", at.value);
        report.error(at.span.clone(), what, fix);
    }
}

/// Why no machine of the subnet can have the address, and what to do.
pub(super) fn misfit(address: Ipv4Addr, subnet: Subnet) -> Option<(String, String)> {
    let fix = || format!("use one of {}", subnet.hosts());
    if !subnet.contains(address) {
        return Some((format!("is outside the subnet {subnet}"), fix()));
    }
    if address == subnet.network() {
        return Some((format!("is the network address of {subnet}"), fix()));
    }
    if address == subnet.broadcast() {
        return Some((format!("is the broadcast address of {subnet}"), fix()));
    }
    None
}

/// What the addresses of nodes are held against.
pub(super) struct Facts {
    pub(super) subnet: Option<Subnet>,
    /// Who answers DHCP; none where that was reported.
    pub(super) mode: Option<DhcpMode>,
    /// What our own server gives to machines that are not known, and where that is written.
    pub(super) range: Option<(AddressRange, Span)>,
    pub(super) master: Option<NodeIp>,
    pub(super) domain: Option<Hostname>,
    /// Who has an address besides nodes and BMCs.
    pub(super) others: Others,
}

impl Facts {
    pub(super) fn new(raw: &RawFile, network: Option<&Network>) -> Self {
        let cluster = raw.cluster.given();
        let mode = match &raw.dhcp {
            Field::Absent => Some(DhcpMode::Full),
            Field::Invalid(_) | Field::Lost => None,
            Field::Given(dhcp) => dhcp.value.mode(),
        };
        let range = raw.dhcp.given().and_then(|dhcp| dhcp.range.at());
        // That of another server means nothing, and is reported.
        let range = range.filter(|_| mode.is_none_or(|mode| mode == DhcpMode::Full));
        Self {
            subnet: network
                .map(|network| network.subnet)
                .or_else(|| cluster?.subnet.given().copied()),
            mode,
            range: range.map(|at| (at.value, at.span.clone())),
            master: cluster.and_then(|c| c.master.given().copied()),
            domain: cluster.and_then(|c| c.domain.given().cloned()),
            others: Others::new(raw),
        }
    }
}
