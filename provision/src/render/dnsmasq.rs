//! dnsmasq: DHCP, or boot information beside the site's DHCP server, and TFTP for loaders.
//!
//! The nodes are a file of their own, which dnsmasq reads again when it is told to; the rest
//! needs a restart.

use minijinja::{Value, context};

use super::file::{Checker, Effect, File, Place, Service};
use super::loaders::{self, Arch, Rule};
use super::templates::fill;
use crate::model::{AddressRange, Cluster, Dhcp, Hostname, Loader, Unknown};

pub(super) fn files(cluster: &Cluster) -> Vec<File> {
    let file = |name: &str, text: String, effect, checker| File {
        name: format!("dnsmasq/{name}"),
        bytes: text.into_bytes(),
        place: Place::Generation,
        mode: 0o644,
        service: Some((Service::Dnsmasq, effect)),
        checker: Some(checker),
    };
    let mut files = vec![file(
        "dnsmasq.conf",
        configuration(cluster),
        Effect::Restart,
        Checker::Dnsmasq,
    )];
    if cluster.dhcp != Dhcp::External {
        files.push(file(
            "hosts",
            hosts(cluster),
            Effect::Reload,
            Checker::DnsmasqHosts,
        ));
    }
    files
}

fn configuration(cluster: &Cluster) -> String {
    let network = &cluster.network;
    let subnet = network.subnet;
    let dns: Vec<_> = network.dns.iter().map(ToString::to_string).collect();
    let common = context! {
        cluster => cluster.name.as_str(),
        interface => network.interface.as_str(),
        // Beside another server, iPXE takes no boot file without a server of it.
        master => network.master.to_string(),
        directory => cluster.serve.directory.as_str(),
        network => subnet.network().to_string(),
        netmask => subnet.netmask().to_string(),
        broadcast => subnet.broadcast().to_string(),
        gateway => network.gateway.map(|gateway| gateway.to_string()),
        domain => network.domain.as_ref().map(Hostname::as_str),
        dns => dns.join(","),
        ntp => cluster.time.enabled.then(|| network.master.to_string()),
        arches => arches(),
    };
    let rules = loaders::rules(cluster);
    let special = match &cluster.dhcp {
        Dhcp::Full {
            range,
            lease,
            ipv6_advertisement,
        } => context! {
            mode => "full",
            first => range.map(|range| range.first().to_string()),
            last => range.map(|range| range.last().to_string()),
            lease => lease.as_secs(),
            most_leases => most_leases(cluster.nodes().len() as u64 + range.map_or(0, AddressRange::count)),
            ipv6_advertisement,
            boots => rules.iter().map(|rule| boot(rule, cluster)).collect::<Vec<_>>(),
        },
        Dhcp::Proxy => context! {
            mode => "proxy",
            boots => rules.iter().filter(|rule| rule.ipxe == Some(true))
                .map(|rule| boot(rule, cluster)).collect::<Vec<_>>(),
            services => rules.iter().filter(|rule| rule.ipxe != Some(true))
                .flat_map(|rule| services(rule, cluster)).collect::<Vec<_>>(),
        },
        Dhcp::External => context! { mode => "external" },
    };
    fill("dnsmasq.conf", context! { ..common, ..special })
}

/// The limit of leases, for this many machines; dnsmasq's own is 1000. It grows by doubling, so that
/// one more node does not change the configuration, but only the list of nodes.
fn most_leases(machines: u64) -> u64 {
    machines.next_power_of_two().max(1024)
}

/// The tags by the values of option 93.
fn arches() -> Vec<Value> {
    [Arch::Bios, Arch::Efi64]
        .into_iter()
        .flat_map(|arch| {
            let pair = move |code: &u16| context! { tag => arch.word(), code => *code };
            arch.codes().iter().map(pair)
        })
        .collect()
}

/// `tag:A,tag:!B,`: when a rule holds.
fn tags(rule: &Rule, cluster: &Cluster, with_arch: bool) -> String {
    let mut tags = Vec::new();
    if rule.loader == Loader::Auto {
        let others = loaders::used(cluster).into_iter().skip(1);
        tags.extend(others.map(|other| format!("!{}", loaders::word(other))));
        if cluster.serve.unknown == Unknown::Refuse {
            tags.push("known".to_owned());
        }
    } else {
        tags.push(loaders::word(rule.loader).to_owned());
    }
    match rule.ipxe {
        Some(true) => tags.push("is-ipxe".to_owned()),
        Some(false) => tags.push("!is-ipxe".to_owned()),
        None => {}
    }
    if let (Some(arch), true) = (rule.arch, with_arch) {
        tags.push(arch.word().to_owned());
    }
    tags.iter().flat_map(|tag| ["tag:", tag, ","]).collect()
}

fn boot(rule: &Rule, cluster: &Cluster) -> Value {
    context! { tags => tags(rule, cluster, true), file => &rule.file }
}

/// What a rule is to a server that only adds boot information: there the client's kind is a
/// field of its own.
fn services(rule: &Rule, cluster: &Cluster) -> Vec<Value> {
    let codes = rule.arch.map_or(&[][..], Arch::codes);
    let service = |code: &u16| {
        context! {
            tags => tags(rule, cluster, false),
            code => *code,
            file => &rule.file,
        }
    };
    codes.iter().map(service).collect()
}

/// The nodes, as `dhcp-host` has them.
fn hosts(cluster: &Cluster) -> String {
    let gives_addresses = cluster.dhcp != Dhcp::Proxy;
    let node = |node: &crate::model::Node| {
        let loader = node.settings.loader;
        context! {
            mac => node.mac.to_string(),
            tag => (loader != Loader::Auto).then(|| loaders::word(loader)),
            address => gives_addresses.then(|| node.address.to_string()),
            name => gives_addresses.then(|| node.name.as_str()),
        }
    };
    let nodes: Vec<_> = cluster.nodes().iter().map(node).collect();
    fill("dnsmasq-hosts", context! { nodes })
}
