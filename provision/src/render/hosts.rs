//! /etc/hosts: a block for the master with every node, and a short file for each node.
//!
//! A node's file names itself and the master only. Were all nodes in it, one more node would
//! change what every other one boots.

use std::fmt::Write;

use minijinja::context;

use super::file::{File, Place};
use super::templates::fill;
use crate::model::cluster::MASTER_NAME;
use crate::model::{Cluster, Node};

/// The block for the master.
pub(super) fn file(cluster: &Cluster) -> File {
    let mut lines = String::new();
    for node in cluster.nodes() {
        let names = names(cluster, node);
        writeln!(lines, "{} {names}", node.address).expect("writing to a String cannot fail");
    }
    File {
        name: "system/etc/hosts".into(),
        bytes: lines.into_bytes(),
        place: Place::Block("/etc/hosts".into()),
        mode: 0o644,
        service: None,
        checker: None,
    }
}

/// `/etc/hosts` of a node.
pub(super) fn node(cluster: &Cluster, node: &Node) -> String {
    let context = context! {
        cluster => cluster.name.as_str(),
        address => node.address.to_string(),
        names => names(cluster, node),
        master => cluster.network.master.to_string(),
        master_names => master_names(cluster),
    };
    fill("hosts", context)
}

/// The name by which nodes know the master, and the full one before it.
fn master_names(cluster: &Cluster) -> String {
    match &cluster.network.domain {
        Some(domain) => format!("{MASTER_NAME}.{domain} {MASTER_NAME}"),
        None => MASTER_NAME.to_owned(),
    }
}

/// The full name, if it is another one, and the name.
fn names(cluster: &Cluster, node: &Node) -> String {
    let full = cluster.full_name(node);
    if full == node.name.as_str() {
        full
    } else {
        format!("{full} {}", node.name)
    }
}
