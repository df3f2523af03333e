//! Fragments for a site that keeps its own DHCP server: ISC dhcpd or Kea.
//!
//! What concerns the nodes touches nobody else, and may be included for the whole server. What
//! is for machines that are not known is a fragment of its own, for the network of the cluster alone:
//! who includes it elsewhere sends every machine there into the cluster's waiting stage.

use minijinja::{Value, context};

use super::file::{Checker, File, Place};
use super::loaders::{self, Rule};
use super::templates::fill;
use crate::model::{Cluster, Dhcp, Loader, Unknown};

pub(super) fn files(cluster: &Cluster) -> Vec<File> {
    if cluster.dhcp != Dhcp::External {
        return Vec::new();
    }
    let file = |name: &str, text: String, checker| File {
        name: format!("external/{name}"),
        bytes: text.into_bytes(),
        place: Place::Generation,
        mode: 0o644,
        service: None,
        checker: Some(checker),
    };
    let mut files = vec![
        file("dhcpd.conf", dhcpd(cluster), Checker::Dhcpd),
        file("kea-classes.json", kea(cluster, false), Checker::KeaClasses),
        file(
            "kea-reservations.json",
            kea_reservations(cluster),
            Checker::KeaReservations,
        ),
    ];
    if cluster.serve.unknown == Unknown::Wait {
        let text = dhcpd_unknown(cluster);
        files.push(file("dhcpd-unknown.conf", text, Checker::DhcpdSubnet));
        let text = kea(cluster, true);
        files.push(file("kea-classes-unknown.json", text, Checker::KeaClasses));
    }
    files
}

fn dhcpd(cluster: &Cluster) -> String {
    let rules = loaders::rules(cluster);
    let group = |loader| {
        let nodes = cluster.nodes().iter();
        let nodes = nodes.filter(|node| node.settings.loader == loader);
        let host = |node: &crate::model::Node| {
            context! {
                name => node.name.as_str(),
                mac => node.mac.to_string(),
                address => node.address.to_string(),
            }
        };
        context! {
            loader => loaders::word(loader),
            rules => of(&rules, loader).map(dhcpd_rule).collect::<Vec<_>>(),
            nodes => nodes.map(host).collect::<Vec<_>>(),
        }
    };
    let groups: Vec<_> = loaders::used(cluster).into_iter().map(group).collect();
    let context = context! {
        cluster => cluster.name.as_str(),
        master => cluster.network.master.to_string(),
        groups,
    };
    fill("dhcpd.conf", context)
}

fn dhcpd_unknown(cluster: &Cluster) -> String {
    let rules = loaders::rules(cluster);
    let context = context! {
        cluster => cluster.name.as_str(),
        master => cluster.network.master.to_string(),
        rules => of(&rules, Loader::Auto).map(dhcpd_rule).collect::<Vec<_>>(),
    };
    fill("dhcpd-unknown.conf", context)
}

fn of(rules: &[Rule], loader: Loader) -> impl Iterator<Item = &Rule> {
    rules.iter().filter(move |rule| rule.loader == loader)
}

fn dhcpd_rule(rule: &Rule) -> Value {
    let mut conditions = Vec::new();
    match rule.ipxe {
        Some(true) => conditions.push("exists regexctl-ipxe".to_owned()),
        Some(false) => conditions.push("not exists regexctl-ipxe".to_owned()),
        None => {}
    }
    if let Some(arch) = rule.arch {
        let codes = arch.codes().iter();
        let codes = codes.map(|code| format!("option regexctl-arch = {code:04x}"));
        // The data is written byte by byte.
        let codes: Vec<_> = codes
            .map(|text| {
                let (front, low) = text.split_at(text.len() - 2);
                format!("{front}:{low}")
            })
            .collect();
        conditions.push(format!("({})", codes.join(" or ")));
    }
    context! { condition => conditions.join(" and "), file => &rule.file }
}

fn kea(cluster: &Cluster, for_unknown: bool) -> String {
    let rules = loaders::rules(cluster);
    let loaders = if for_unknown {
        vec![Loader::Auto]
    } else {
        loaders::used(cluster)
    };
    let class = |rule: &Rule| {
        let word = loaders::word(rule.loader);
        let mut name = vec![if for_unknown { "unknown" } else { word }];
        // What depends on KNOWN or UNKNOWN is looked at after the reservations.
        let mut tests = if for_unknown {
            vec!["member('UNKNOWN')".to_owned()]
        } else {
            vec![
                "member('KNOWN')".to_owned(),
                format!("member('regexctl-{word}')"),
            ]
        };
        match rule.ipxe {
            Some(true) => {
                name.push("script");
                tests.push("option[175].exists".to_owned());
            }
            Some(false) => tests.push("not option[175].exists".to_owned()),
            None => {}
        }
        if let Some(arch) = rule.arch {
            name.push(arch.word());
            let codes = arch.codes().iter();
            let codes = codes.map(|code| format!("option[93].hex == 0x{code:04x}"));
            let codes: Vec<_> = codes.collect();
            tests.push(format!("({})", codes.join(" or ")));
        }
        context! {
            name => name.join("-"),
            test => tests.join(" and "),
            file => &rule.file,
        }
    };
    let classes = loaders.iter().flat_map(|loader| of(&rules, *loader));
    let context = context! {
        cluster => cluster.name.as_str(),
        master => cluster.network.master.to_string(),
        for_unknown,
        loaders => loaders.iter().map(|loader| loaders::word(*loader)).collect::<Vec<_>>(),
        classes => classes.map(class).collect::<Vec<_>>(),
    };
    fill("kea-classes.json", context)
}

fn kea_reservations(cluster: &Cluster) -> String {
    let reservation = |node: &crate::model::Node| {
        context! {
            mac => node.mac.to_string(),
            address => node.address.to_string(),
            name => node.name.as_str(),
            loader => loaders::word(node.settings.loader),
        }
    };
    let nodes: Vec<_> = cluster.nodes().iter().map(reservation).collect();
    let context = context! { cluster => cluster.name.as_str(), nodes };
    fill("kea-reservations.json", context)
}
