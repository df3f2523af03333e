//! The nodes: as many addresses as names, each once, each where a node may be.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::allot::{Address, Pending, allot};
use super::bmc::{self, Switches};
use super::network::{Facts, misfit};
use super::settings::Scope;
use super::taken::{self, Holders};
use crate::model::cluster::MASTER_NAME;
use crate::model::decode::{At, Field, OneOrMany};
use crate::model::problem::{Lines, Reporter, Span};
use crate::model::raw::{DhcpMode, RawAddress, RawNode, RawNodes};
use crate::model::{BmcKind, Holder, Hostname, MacAddr, Node, NodeIp};
use crate::nodeset::fold;

/// What was seen before: a value, whose it is, and where it is written.
type Seen<T> = HashMap<T, (Hostname, Span)>;

/// The nodes, and who else has an address.
pub(super) fn check(
    sections: &RawNodes,
    scope: &mut Scope<'_>,
    facts: &Facts,
    lines: &Lines,
    report: &mut Reporter,
) -> (Vec<Node>, Holders) {
    let mut checker = Checker::new(facts, lines);
    let mut nodes = Vec::new();
    for section in &sections.sections {
        checker.section(section, scope, &mut nodes, report);
    }
    taken::range(facts, &checker.bmcs, report);
    let holders = taken::holders(facts, checker.bmcs);
    (allot(nodes, facts, &holders, report), holders)
}

struct Checker<'a> {
    facts: &'a Facts,
    lines: &'a Lines,
    master_name: Hostname,
    names: Seen<Hostname>,
    macs: Seen<MacAddr>,
    addresses: Seen<NodeIp>,
    /// Those at which nothing but a BMC can be.
    bmc_addresses: Seen<Ipv4Addr>,
    /// All that BMCs have, and whose they are.
    bmcs: Vec<(Ipv4Addr, Hostname)>,
    switches: Switches,
}

impl<'a> Checker<'a> {
    fn new(facts: &'a Facts, lines: &'a Lines) -> Self {
        let master_name = MASTER_NAME.parse().expect("it is a name");
        Self {
            facts,
            lines,
            master_name: full_name(&master_name, facts.domain.as_ref()),
            names: HashMap::new(),
            macs: HashMap::new(),
            addresses: HashMap::new(),
            bmc_addresses: HashMap::new(),
            bmcs: Vec::new(),
            switches: Switches::default(),
        }
    }

    fn section(
        &mut self,
        section: &At<RawNode>,
        scope: &mut Scope<'_>,
        nodes: &mut Vec<Pending>,
        report: &mut Reporter,
    ) {
        let raw = &section.value;
        let Some(names) = raw.name.at() else { return };
        let label = format!("node {}", label(&names.value.0));
        let resolved = scope.resolve(section, &label, report);
        let names = &names.value.0;
        let macs = macs(&raw.mac, names.len(), section, &label, report);
        let addresses = addresses(&raw.address, names.len(), &label, report);
        let is_allotted = raw.address.is_absent() && self.facts.mode != Some(DhcpMode::Proxy);
        if raw.address.is_absent() && !is_allotted {
            report.error(
                section.span.clone(),
                format!(
                    "{label}: `address` is missing, and with mode = \"{}\" another server gives the addresses",
                    DhcpMode::Proxy
                ),
                "write the one that it gives the node; for several nodes a list",
            );
        }

        let mut grouped = Grouped::default();
        for name in names {
            self.name(name, &section.span, &mut grouped);
        }
        for (name, (mac, span)) in names.iter().zip(macs.iter().flatten()) {
            self.mac(name, *mac, span, &mut grouped);
        }
        for (name, (address, span)) in names.iter().zip(addresses.iter().flatten()) {
            self.address(name, *address, span, &mut grouped);
        }
        grouped.report(report);

        let Some(resolved) = resolved else { return };
        let bmcs = match &resolved.bmc {
            Some(raw) => {
                let master = self.facts.master;
                let switches = &mut self.switches;
                let bmcs = bmc::of_section(raw, names, &label, master, switches, report);
                let place = raw.value.address.span();
                let place = place.unwrap_or_else(|| raw.span.clone());
                let mut grouped = Grouped::default();
                for (name, bmc) in names.iter().zip(bmcs.iter().flatten()) {
                    if let Some(bmc) = bmc {
                        self.bmc(name, &bmc.kind, &place, &mut grouped);
                    }
                }
                grouped.report(report);
                bmcs
            }
            None => Some(vec![None; names.len()]),
        };
        let (Some(macs), Some(bmcs)) = (macs, bmcs) else {
            return;
        };
        let label: Arc<str> = label.into();
        let wanted = || Address::Wanted(section.span.clone(), label.clone());
        let addresses: Vec<_> = match addresses {
            Some(addresses) => addresses
                .into_iter()
                .map(|(address, _)| Address::Given(address))
                .collect(),
            None if is_allotted => names.iter().map(|_| wanted()).collect(),
            None => return,
        };
        let line = self.lines.line(section.span.start);
        let values = names.iter().zip(macs).zip(addresses).zip(bmcs);
        nodes.extend(values.map(|(((name, (mac, _)), address), bmc)| Pending {
            name: name.clone(),
            mac,
            address,
            bmc,
            settings: resolved.settings.clone(),
            line,
        }));
    }

    fn name<'n>(&mut self, name: &'n Hostname, span: &Span, grouped: &mut Grouped<'n>) {
        let full = self.full_name(name);
        let reserved = if name.as_str().split('.').next() == Some("localhost") {
            Some("would have the name by which every machine means itself")
        } else if full == self.master_name {
            Some("would have the name by which nodes know the master")
        } else {
            None
        };
        if let Some(problem) = reserved {
            grouped.add(Issue {
                kind: "reserved",
                span: span.clone(),
                name,
                what: format!("node {name}"),
                problem: problem.to_owned(),
                fix: "choose another name".into(),
                related: None,
            });
        }
        if let Some((other, first)) = self.names.get(&full) {
            let line = self.lines.line(first.start);
            let problem = match () {
                () if other != name => format!("is also in line {line}, as {other}"),
                () if first == span => "occurs twice in this section".to_owned(),
                () => format!("is also in line {line}"),
            };
            grouped.add(Issue {
                kind: "name",
                span: span.clone(),
                name,
                what: format!("node {name}"),
                problem,
                fix: "a node has one section".into(),
                related: Some((first.clone(), "the first one")),
            });
        } else {
            self.names.insert(full, (name.clone(), span.clone()));
        }
    }

    fn full_name(&self, name: &Hostname) -> Hostname {
        full_name(name, self.facts.domain.as_ref())
    }

    fn mac<'n>(
        &mut self,
        name: &'n Hostname,
        mac: MacAddr,
        span: &Span,
        grouped: &mut Grouped<'n>,
    ) {
        if let Some((other, first)) = self.macs.get(&mac) {
            grouped.add(Issue {
                kind: "mac",
                span: span.clone(),
                name,
                what: format!("node {name}: the Ethernet address {mac}"),
                problem: format!(
                    "is also that of node {other} in line {}",
                    self.lines.line(first.start)
                ),
                fix: "each may occur once".into(),
                related: Some((first.clone(), "the first one")),
            });
        } else {
            self.macs.insert(mac, (name.clone(), span.clone()));
        }
    }

    fn address<'n>(
        &mut self,
        name: &'n Hostname,
        address: NodeIp,
        span: &Span,
        grouped: &mut Grouped<'n>,
    ) {
        let mut add = |kind, problem: String, fix: String, related| {
            grouped.add(Issue {
                kind,
                span: span.clone(),
                name,
                what: format!("node {name}: address {address}"),
                problem,
                fix,
                related,
            });
        };
        let facts = self.facts;
        if let Some((problem, fix)) = facts.subnet.and_then(|net| misfit(address.get(), net)) {
            // One mistake each: what is outside is neither the master nor in the range.
            return add("subnet", problem, fix, None);
        }
        if let Some(held) = facts.others.get(address.get()) {
            let problem = format!("is also that of {}", held.holder);
            let at = Some((held.span.clone(), "here"));
            match &held.holder {
                Holder::Master | Holder::Gateway | Holder::Bmc(_) => {
                    return add("holder", problem, "give the node another one".into(), at);
                }
                Holder::Dns => {
                    let fix = "give the node another one, or take the server out of `dns`";
                    add(SERVER, problem, fix.into(), at);
                }
                Holder::Nfs(_) | Holder::Time | Holder::Log => {
                    let fix = "give the node another one, unless it is that server itself";
                    add(SERVER, problem, fix.into(), at);
                }
            }
        }
        if let Some((other, first)) = self.bmc_addresses.get(&address.get()) {
            let line = self.lines.line(first.start);
            let problem = format!("is also that of the BMC of node {other} in line {line}");
            let fix = "give one of them another one".into();
            add("bmc", problem, fix, Some((first.clone(), "the BMC")));
        }
        if let Some((range, at)) = facts
            .range
            .as_ref()
            .filter(|(r, _)| r.contains(address.get()))
        {
            let problem = format!("is inside the dynamic range {range}");
            let fix = "use an address outside of it, or make `dhcp.range` smaller".into();
            add("range", problem, fix, Some((at.clone(), "the range")));
        }
        if let Some((other, first)) = self.addresses.get(&address) {
            let line = self.lines.line(first.start);
            let problem = format!("is also that of node {other} in line {line}");
            let related = Some((first.clone(), "the first one"));
            add("address", problem, "each may occur once".into(), related);
        } else {
            self.addresses.insert(address, (name.clone(), span.clone()));
        }
    }

    /// Where its BMC listens. One with a port of its own may be simulated on a node.
    fn bmc<'n>(
        &mut self,
        name: &'n Hostname,
        kind: &BmcKind,
        span: &Span,
        grouped: &mut Grouped<'n>,
    ) {
        let Some(address) = bmc::address(kind) else {
            return;
        };
        self.bmcs.push((address, name.clone()));
        if !bmc::has_usual_port(kind) {
            return;
        }
        let node = NodeIp::new(address).ok();
        if let Some((other, first)) = node.and_then(|address| self.addresses.get(&address)) {
            let line = self.lines.line(first.start);
            grouped.add(Issue {
                kind: "bmc",
                span: span.clone(),
                name,
                what: format!("node {name}: bmc: {address}"),
                problem: format!("is also the address of node {other} in line {line}"),
                fix: "give the BMC's own address; one that is simulated on a node needs a `port` of its own"
                    .into(),
                related: Some((first.clone(), "the node")),
            });
        }
        let place = || (name.clone(), span.clone());
        self.bmc_addresses.entry(address).or_insert_with(place);
    }
}

/// The name with the cluster's domain, under which nobody else can be known.
fn full_name(name: &Hostname, domain: Option<&Hostname>) -> Hostname {
    let domain = domain.filter(|_| !name.as_str().contains('.'));
    // One that gets too long is its own.
    let full = domain.and_then(|domain| format!("{name}.{domain}").parse().ok());
    full.unwrap_or_else(|| name.clone())
}

/// The names of a section for a message, without being longer than one.
pub(super) fn label(names: &[Hostname]) -> String {
    const MOST: usize = 80;
    let folded = fold(names.iter().map(Hostname::as_str));
    if folded.len() <= MOST {
        return folded;
    }
    match names {
        [first, .., last] => format!("{first} to {last} ({} nodes)", names.len()),
        _ => folded,
    }
}

/// One Ethernet address a name. None if that was reported.
fn macs(
    field: &Field<OneOrMany<MacAddr>>,
    count: usize,
    section: &At<RawNode>,
    label: &str,
    report: &mut Reporter,
) -> Option<Vec<(MacAddr, Span)>> {
    match field {
        Field::Absent => {
            report.error(
                section.span.clone(),
                format!("{label}: `mac` is missing"),
                "add the Ethernet address that it boots from; for several nodes a list",
            );
            None
        }
        Field::Invalid(_) | Field::Lost => None,
        Field::Given(at) => {
            let macs = at.value.items.iter().map(|at| (at.value, at.span.clone()));
            counted(macs.collect(), "Ethernet address", count, at, label, report)
        }
    }
}

/// One address a name. None if that was reported, or none are given.
fn addresses(
    field: &Field<OneOrMany<RawAddress>>,
    count: usize,
    label: &str,
    report: &mut Reporter,
) -> Option<Vec<(NodeIp, Span)>> {
    let at = field.at()?;
    if let (
        [
            At {
                value: RawAddress::One(first),
                span,
            },
        ],
        false,
    ) = (&at.value.items[..], at.value.is_list)
    {
        let addresses = counted_on(*first, count);
        if addresses.is_none() {
            report.error(
                span.clone(),
                format!("{label}: {count} addresses from {first} on are more than there are"),
                "begin lower",
            );
        }
        return addresses.map(|list| list.into_iter().map(|ip| (ip, span.clone())).collect());
    }
    let mut addresses = Vec::new();
    for At { value, span } in &at.value.items {
        match value {
            RawAddress::One(address) => addresses.push((*address, span.clone())),
            RawAddress::Range(list) => {
                addresses.extend(list.iter().map(|address| (*address, span.clone())));
            }
        }
    }
    counted(addresses, "address", count, at, label, report)
}

/// Addresses in order from a first one, if there are so many.
pub(super) fn counted_on(first: NodeIp, count: usize) -> Option<Vec<NodeIp>> {
    let first = u32::from(first.get());
    let address = |index: usize| {
        let number = first.checked_add(u32::try_from(index).ok()?)?;
        NodeIp::new(Ipv4Addr::from(number)).ok()
    };
    (0..count).map(address).collect()
}

/// As many as there are names.
fn counted<V, T>(
    values: Vec<V>,
    what: &str,
    count: usize,
    at: &At<T>,
    label: &str,
    report: &mut Reporter,
) -> Option<Vec<V>> {
    if values.len() == count {
        return Some(values);
    }
    let es = if values.len() == 1 { "" } else { "es" };
    let nodes = if count == 1 { "node" } else { "nodes" };
    report.error(
        at.span.clone(),
        format!("{label}: {} {what}{es} for {count} {nodes}", values.len()),
        "give one for each node, in the order of the names",
    );
    None
}

/// What may be meant: a node can be a server, too.
const SERVER: &str = "server";

/// A mistake of one node.
struct Issue<'a> {
    kind: &'static str,
    span: Span,
    name: &'a Hostname,
    /// Whose or what.
    what: String,
    problem: String,
    fix: String,
    related: Option<(Span, &'static str)>,
}

/// The same mistake of several nodes that are written at one place, with the same other place, is told once.
#[derive(Default)]
struct Grouped<'a> {
    order: Vec<(Issue<'a>, Vec<&'a str>)>,
    index: HashMap<(&'static str, usize, Option<usize>), usize>,
}

impl<'a> Grouped<'a> {
    fn add(&mut self, issue: Issue<'a>) {
        let related = issue.related.as_ref().map(|(span, _)| span.start);
        let key = (issue.kind, issue.span.start, related);
        if let Some(&at) = self.index.get(&key) {
            self.order[at].1.push(issue.name.as_str());
        } else {
            self.index.insert(key, self.order.len());
            self.order.push((issue, Vec::new()));
        }
    }

    fn report(self, report: &mut Reporter) {
        for (issue, others) in self.order {
            let Issue {
                kind,
                span,
                what,
                problem,
                fix,
                related,
                name: _,
            } = issue;
            let likewise = match others.len() {
                0 => String::new(),
                _ => format!(" (likewise {})", fold(&others)),
            };
            let what = format!("{what} {problem}{likewise}");
            match related {
                _ if kind == SERVER => report.warning(span, what, fix),
                Some(related) => report.error_with(span, what, fix, related),
                None => report.error(span, what, fix),
            }
        }
    }
}
