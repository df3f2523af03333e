//! The network: the master and the gateway are machines on it.

use std::net::Ipv4Addr;

use super::required;
use crate::model::cluster::Network;
use crate::model::decode::{At, Field};
use crate::model::problem::{Reporter, Span};
use crate::model::raw::{HTTP_PORT, MASTER_PORT, RawFile};
use crate::model::{AddressRange, Hostname, NodeIp, Subnet};

/// The most DNS servers: what a resolver asks, and what fits into a DHCP answer.
const MAX_DNS: usize = 3;

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
    if master_port == http_port {
        let ports = [&raw.http_port, &raw.master_port];
        let at = ports.into_iter().find_map(Field::span);
        report.error(
            at.unwrap_or_else(|| span.clone()),
            format!("cluster: regex-master and the boot endpoint both have port {http_port}"),
            "give them different ports",
        );
    }
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

/// What the addresses of nodes are held against; each with its place.
pub(super) struct Facts {
    pub(super) subnet: Option<Subnet>,
    pub(super) range: Option<(AddressRange, Span)>,
    pub(super) master: Option<(NodeIp, Span)>,
    pub(super) gateway: Option<(NodeIp, Span)>,
    pub(super) domain: Option<Hostname>,
}

impl Facts {
    pub(super) fn new(raw: &RawFile, network: Option<&Network>) -> Self {
        let cluster = raw.cluster.given();
        let placed = |at: &At<NodeIp>| (at.value, at.span.clone());
        let range = raw.dhcp.given().and_then(|dhcp| dhcp.range.at());
        Self {
            subnet: network
                .map(|network| network.subnet)
                .or_else(|| cluster?.subnet.given().copied()),
            range: range.map(|at| (at.value, at.span.clone())),
            master: cluster.and_then(|c| c.master.at()).map(placed),
            gateway: cluster.and_then(|c| c.gateway.at()).map(placed),
            domain: cluster.and_then(|c| c.domain.given().cloned()),
        }
    }
}
