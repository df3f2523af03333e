//! Nodes without an address are allotted one, when it is known which the others have.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::network::Facts;
use super::taken::Holders;
use crate::model::problem::{Reporter, Span};
use crate::model::{AddressRange, Bmc, Hostname, MacAddr, Node, NodeIp, Settings, Subnet};

/// A node whose address may not be known yet.
pub(super) struct Pending {
    pub(super) name: Hostname,
    pub(super) mac: MacAddr,
    pub(super) address: Address,
    pub(super) bmc: Option<Bmc>,
    pub(super) settings: Arc<Settings>,
    pub(super) line: usize,
}

pub(super) enum Address {
    Given(NodeIp),
    /// One is to be allotted; of the section, its place and its name in messages.
    Wanted(Span, Arc<str>),
}

impl Pending {
    fn with(self, address: NodeIp) -> Node {
        Node {
            name: self.name,
            mac: self.mac,
            address,
            bmc: self.bmc,
            settings: self.settings,
            line: self.line,
        }
    }
}

/// Gives the nodes that have no address the free ones of the subnet, in order.
pub(super) fn allot(
    pending: Vec<Pending>,
    facts: &Facts,
    holders: &Holders,
    report: &mut Reporter,
) -> Vec<Node> {
    let mut taken: HashSet<Ipv4Addr> = holders.keys().copied().collect();
    taken.extend(pending.iter().filter_map(|node| match node.address {
        Address::Given(address) => Some(address.get()),
        Address::Wanted(..) => None,
    }));
    let mut free = facts
        .subnet
        .map(|subnet| Free::new(subnet, facts.range.as_ref().map(|(range, _)| *range), taken));
    let mut nodes = Vec::with_capacity(pending.len());
    let mut without: Vec<(Span, Arc<str>, usize)> = Vec::new();
    for node in pending {
        let (span, label) = match &node.address {
            Address::Given(address) => {
                let address = *address;
                nodes.push(node.with(address));
                continue;
            }
            Address::Wanted(span, label) => (span, label),
        };
        // Without a subnet that was reported.
        let Some(free) = &mut free else { continue };
        if let Some(address) = free.next() {
            nodes.push(node.with(address));
            continue;
        }
        match without.last_mut() {
            Some((last, _, count)) if last == span => *count += 1,
            _ => without.push((span.clone(), label.clone(), 1)),
        }
    }
    for (span, label, count) in without {
        let nodes = if count == 1 { "node" } else { "nodes" };
        let subnet = facts
            .subnet
            .map_or_else(String::new, |net| format!(" {net}"));
        report.error(
            span,
            format!("{label}: the subnet{subnet} has no free address for {count} {nodes}"),
            "make `subnet` larger or `dhcp.range` smaller",
        );
    }
    nodes
}

/// The addresses that can be allotted, the lowest first.
struct Free {
    hosts: AddressRange,
    range: Option<AddressRange>,
    taken: HashSet<Ipv4Addr>,
    /// None behind the last one.
    next: Option<u32>,
}

impl Free {
    fn new(subnet: Subnet, range: Option<AddressRange>, taken: HashSet<Ipv4Addr>) -> Self {
        let hosts = subnet.hosts();
        Self {
            hosts,
            range,
            taken,
            next: Some(hosts.first().into()),
        }
    }
}

impl Iterator for Free {
    type Item = NodeIp;

    fn next(&mut self) -> Option<NodeIp> {
        loop {
            let address = Ipv4Addr::from(self.next?);
            if address > self.hosts.last() {
                return None;
            }
            // The range may be large.
            let range = self.range.filter(|range| range.contains(address));
            let last = range.map_or(address, AddressRange::last);
            self.next = u32::from(last).checked_add(1);
            if range.is_none() && !self.taken.contains(&address) {
                return NodeIp::new(address).ok();
            }
        }
    }
}
