//! Addresses that somebody has who is no node: none is allotted or approved, and the dynamic range holds none.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::Ipv4Addr;

use super::network::{Facts, misfit};
use crate::model::decode::At;
use crate::model::problem::{Reporter, Span};
use crate::model::raw::RawFile;
use crate::model::{ExportServer, Holder, Host, Hostname};
use crate::nodeset::fold;

/// Who has each address.
pub(super) type Holders = HashMap<Ipv4Addr, Holder>;

/// An address that is written elsewhere than with a node, and where.
pub(super) struct Held {
    pub(super) address: Ipv4Addr,
    pub(super) holder: Holder,
    pub(super) span: Span,
}

/// The addresses of the master and of the machines of the site, each once: a machine may be several of them, and is called
/// by the first.
#[derive(Default)]
pub(super) struct Others {
    list: Vec<Held>,
    index: HashMap<Ipv4Addr, usize>,
}

impl Others {
    pub(super) fn new(raw: &RawFile) -> Self {
        let mut others = Self::default();
        if let Some(cluster) = raw.cluster.given() {
            let fixed = [
                (&cluster.master, Holder::Master),
                (&cluster.gateway, Holder::Gateway),
            ];
            for (field, holder) in fixed {
                if let Some(At { value, span }) = field.at() {
                    others.add(value.get(), holder, span);
                }
            }
            for At { value, span } in cluster.dns.items() {
                others.add(*value, Holder::Dns, span);
            }
        }
        for (name, export) in raw.export.given().map_or(&[][..], |named| &named.0) {
            if let Some(At { value, span }) = export.value.server.at()
                && let ExportServer::External(server) = &value.0
            {
                others.host(server, Holder::Nfs(name.value.clone()), span);
            }
        }
        if let Some(time) = raw.time.given() {
            for At { value, span } in time.servers.items() {
                others.host(value, Holder::Time, span);
            }
        }
        if let Some(At { value, span }) = raw.log.given().and_then(|log| log.host.at()) {
            others.host(value, Holder::Log, span);
        }
        others
    }

    fn host(&mut self, host: &Host, holder: Holder, span: &Span) {
        if let Host::Address(address) = host {
            self.add(*address, holder, span);
        }
    }

    fn add(&mut self, address: Ipv4Addr, holder: Holder, span: &Span) {
        if let Entry::Vacant(entry) = self.index.entry(address) {
            entry.insert(self.list.len());
            let span = span.clone();
            self.list.push(Held {
                address,
                holder,
                span,
            });
        }
    }

    pub(super) fn get(&self, address: Ipv4Addr) -> Option<&Held> {
        self.index.get(&address).map(|&at| &self.list[at])
    }
}

/// The same with those of the BMCs.
pub(super) fn holders(facts: &Facts, bmcs: Vec<(Ipv4Addr, Hostname)>) -> Holders {
    let held = facts.others.list.iter();
    let mut holders: Holders = held
        .map(|held| (held.address, held.holder.clone()))
        .collect();
    for (address, node) in bmcs {
        holders.entry(address).or_insert(Holder::Bmc(node));
    }
    holders
}

/// The dynamic range lies in the subnet, and beside everybody who has an address of his own.
pub(super) fn range(facts: &Facts, bmcs: &[(Ipv4Addr, Hostname)], report: &mut Reporter) {
    const FIX: &str = "choose a range without it";
    let (Some(subnet), Some((range, span))) = (facts.subnet, &facts.range) else {
        return;
    };
    for end in [range.first(), range.last()] {
        if let Some((problem, fix)) = misfit(end, subnet) {
            let what = format!("dhcp: the end {end} of the range {problem}");
            return report.error(span.clone(), what, fix);
        }
    }
    let others = facts.others.list.iter();
    for held in others.filter(|held| range.contains(held.address)) {
        let (address, holder) = (held.address, &held.holder);
        let what = format!("dhcp: the range {range} holds {address}, the address of {holder}");
        report.error_with(span.clone(), what, FIX, (held.span.clone(), "here"));
    }
    let mut inside = bmcs.iter().filter(|(address, _)| {
        // A simulated one has the address of another machine.
        range.contains(*address) && facts.others.get(*address).is_none()
    });
    if let Some((address, node)) = inside.next() {
        let others: Vec<_> = inside.map(|(_, node)| node.as_str()).collect();
        let likewise = match &others[..] {
            [] => String::new(),
            others => format!(" (likewise {})", fold(others)),
        };
        let holder = Holder::Bmc(node.clone());
        let what =
            format!("dhcp: the range {range} holds {address}, the address of {holder}{likewise}");
        report.error(span.clone(), what, FIX);
    }
}
