//! Which nodes would have to be rebooted to be as they are described, and why. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::model::{Cluster, Dhcp, Node, RootMode, UsrMode};
use crate::nodeset;
use crate::render::overlay::{self, Entry};
use crate::render::{Boot, Images};

/// The nodes that a generation changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reboots {
    /// Nodes that run something else than they would boot now, by what is different.
    pub reboots: Vec<Reboot>,
    /// Nodes that are new.
    pub added: Vec<String>,
    /// Nodes that are no more.
    pub removed: Vec<String>,
}

/// Nodes that would have to be rebooted for the same reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reboot {
    /// Why.
    pub reasons: Vec<String>,
    /// Which.
    pub nodes: Vec<String>,
}

impl Reboot {
    /// The nodes by ranges.
    pub fn set(&self) -> String {
        nodeset::fold(&self.nodes)
    }
}

/// A cluster, and what its nodes boot.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) images: &'a Images,
}

/// Compares what nodes boot. Host keys are left out: they are made once and stay.
pub(super) fn compare(old: Option<Side<'_>>, new: Side<'_>) -> Reboots {
    let Some(old) = old else {
        let names = new.cluster.nodes().iter().map(|node| node.name.to_string());
        return Reboots {
            added: names.collect(),
            ..Reboots::default()
        };
    };
    let mut found = Reboots::default();
    let mut by_reasons: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    let mut comparison = Comparison::new(old, new);
    for node in new.cluster.nodes() {
        match old.cluster.node(&node.name) {
            None => found.added.push(node.name.to_string()),
            Some(before) => {
                let reasons = comparison.reasons(before, node);
                if !reasons.is_empty() {
                    let nodes = by_reasons.entry(reasons).or_default();
                    nodes.push(node.name.to_string());
                }
            }
        }
    }
    for node in old.cluster.nodes() {
        if new.cluster.node(&node.name).is_none() {
            found.removed.push(node.name.to_string());
        }
    }
    found.reboots = by_reasons
        .into_iter()
        .map(|(reasons, nodes)| Reboot { reasons, nodes })
        .collect();
    found
}

struct Comparison<'a> {
    old: Side<'a>,
    new: Side<'a>,
    /// Whether the settings of the cluster that nodes boot with are the same.
    same_cluster: bool,
    /// The last pair of nodes whose settings were compared, and what came out: mostly the next
    /// pair has the same settings.
    last: Option<(&'a Node, &'a Node, Vec<String>)>,
}

impl<'a> Comparison<'a> {
    fn new(old: Side<'a>, new: Side<'a>) -> Self {
        let (a, b) = (old.cluster, new.cluster);
        let same_cluster = a.name == b.name
            && a.network == b.network
            && a.serve.directory == b.serve.directory
            && (&a.exports, &a.time, &a.log, &a.ssh) == (&b.exports, &b.time, &b.log, &b.ssh)
            && a.images == b.images
            && old.images == new.images;
        Self {
            old,
            new,
            same_cluster,
            last: None,
        }
    }

    fn reasons(&mut self, before: &'a Node, node: &'a Node) -> Vec<String> {
        let mut reasons = Vec::new();
        if before.mac != node.mac {
            reasons.push(format!(
                "it is another machine: {} instead of {}",
                node.mac, before.mac
            ));
        }
        if before.address != node.address {
            reasons.push(format!(
                "its address: {} instead of {}",
                node.address, before.address
            ));
        }
        if !(self.same_cluster && before.settings == node.settings) {
            reasons.extend(self.of_settings(before, node));
        }
        reasons
    }

    /// What follows from the settings of node and cluster.
    fn of_settings(&mut self, before: &'a Node, node: &'a Node) -> Vec<String> {
        if let Some((last_before, last, reasons)) = &self.last
            && last_before.settings == before.settings
            && last.settings == node.settings
        {
            return reasons.clone();
        }
        let mut reasons = self.of_boot(before, node);
        reasons.extend(self.of_lease());
        let entries = |side: Side<'_>, node| overlay::shared(side.cluster, node);
        let files = different(&entries(self.old, before), &entries(self.new, node));
        if !files.is_empty() {
            reasons.push(format!("its own files: {}", files.join(", ")));
        }
        if before.settings.worker != node.settings.worker
            || self.old.cluster.network.master_url() != self.new.cluster.network.master_url()
        {
            reasons.push("the settings of its worker".into());
        }
        if self.old.cluster.network.domain != self.new.cluster.network.domain
            || self.old.cluster.network.master != self.new.cluster.network.master
        {
            reasons.push("its own files: /etc/hosts".into());
        }
        self.last = Some((before, node, reasons.clone()));
        reasons
    }

    /// What our DHCP server tells besides the address: nodes set it once, when they boot.
    fn of_lease(&self) -> Vec<String> {
        let (old, new) = (self.old.cluster, self.new.cluster);
        let mut reasons = Vec::new();
        // Another server's answers are not known.
        let is_full = |cluster: &Cluster| matches!(cluster.dhcp, Dhcp::Full { .. });
        if !(is_full(old) && is_full(new)) {
            return reasons;
        }
        let (a, b) = (old.network.subnet.netmask(), new.network.subnet.netmask());
        if a != b {
            reasons.push(format!("its network mask: {b} instead of {a}"));
        }
        let route = |cluster: &Cluster| {
            let gateway = cluster.network.gateway;
            gateway.map_or_else(|| "none".to_owned(), |gateway| gateway.to_string())
        };
        let (a, b) = (route(old), route(new));
        if a != b {
            reasons.push(format!("its gateway: {b} instead of {a}"));
        }
        reasons
    }

    fn of_boot(&self, before: &Node, node: &Node) -> Vec<String> {
        let mut reasons = Vec::new();
        let (a, b) = (&before.settings, &node.settings);
        let digest = |side: Side<'_>, node: &Node| {
            let image = side.images.get(&node.settings.image);
            image.map(|(digest, _)| digest)
        };
        let (digest_a, digest_b) = (digest(self.old, before), digest(self.new, node));
        if a.image != b.image {
            reasons.push(format!("the image {} instead of {}", b.image, a.image));
        } else if digest_a != digest_b
            && let (Some(digest_a), Some(digest_b)) = (digest_a, digest_b)
        {
            reasons.push(format!(
                "the image {} was built again: {} instead of {}",
                b.image,
                digest_b.short(),
                digest_a.short()
            ));
        }
        if a.root != b.root {
            reasons.push(format!(
                "root = {} instead of {}",
                root(b.root),
                root(a.root)
            ));
        }
        if a.usr != b.usr {
            reasons.push(format!("usr = {} instead of {}", usr(b.usr), usr(a.usr)));
        }
        // What is left of the command line when digests are set aside.
        let line = |side: Side<'_>, node: &Node| {
            let boot = Boot::of(node, side.images).ok()?;
            Some(boot.settings(side.cluster, node))
        };
        if let (Some(line_a), Some(line_b)) = (line(self.old, before), line(self.new, node)) {
            let words = |line: &str| line.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
            let (set_a, set_b) = (words(&line_a), words(&line_b));
            let gone = set_a.difference(&set_b).map(|word| format!("-{word}"));
            let new = set_b.difference(&set_a).map(|word| format!("+{word}"));
            let changed: Vec<_> = new.chain(gone).collect();
            if !changed.is_empty() {
                reasons.push(format!("kernel arguments: {}", changed.join(" ")));
            } else if line_a != line_b {
                reasons.push("the order of the kernel arguments".into());
            }
        }
        reasons
    }
}

fn root(mode: RootMode) -> &'static str {
    match mode {
        RootMode::Ram => "ram",
        RootMode::Ramdisk => "ramdisk",
        RootMode::Nfs => "nfs",
    }
}

fn usr(mode: UsrMode) -> &'static str {
    match mode {
        UsrMode::Image => "image",
        UsrMode::Nfs => "nfs",
    }
}

/// The paths of entries that are in one list only, or not the same in both.
fn different(a: &[Entry], b: &[Entry]) -> Vec<String> {
    fn by_path(entries: &[Entry]) -> BTreeMap<&str, &Entry> {
        entries.iter().map(|entry| (&*entry.path, entry)).collect()
    }
    let (a, b) = (by_path(a), by_path(b));
    let paths: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    paths
        .into_iter()
        .filter(|path| a.get(**path) != b.get(**path))
        .map(|path| format!("/{path}"))
        .collect()
}
