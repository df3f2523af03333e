//! The master's interface: is it there, is it up, is the address on it, how large are its frames?

use std::fs;
use std::path::Path;

use super::{Finding, Level};
use crate::machine::{self, Interface};
use crate::model::Cluster;

/// The size of frames that every network card begins with, in bytes.
const USUAL_MTU: u32 = 1500;

pub(super) fn look(cluster: &Cluster) -> Vec<Finding> {
    let name = &cluster.network.interface;
    let machine = machine::look();
    let interface = machine
        .interfaces
        .iter()
        .find(|interface| interface.name == *name);
    let mtu = fs::read_to_string(Path::new("/sys/class/net").join(name.as_str()).join("mtu"));
    let mtu = mtu.ok().and_then(|text| text.trim().parse().ok());
    judge(cluster, interface, mtu)
}

fn judge(cluster: &Cluster, interface: Option<&Interface>, mtu: Option<u32>) -> Vec<Finding> {
    const TOPIC: &str = "network";
    let network = &cluster.network;
    let name = &network.interface;
    let Some(interface) = interface else {
        return vec![Finding::bad(
            TOPIC,
            Level::Problem,
            format!("there is no interface {name}"),
            "correct `interface` in [cluster]; `ip link` lists those that there are",
        )];
    };
    let mut findings = Vec::new();
    if !interface.has_carrier {
        findings.push(Finding::bad(
            TOPIC,
            Level::Problem,
            format!("{name} has no carrier"),
            format!("plug in its cable, or run: ip link set {name} up"),
        ));
    }
    let master = network.master;
    let prefix = network.subnet.prefix();
    let held = interface.addresses.iter().find(|(a, _)| *a == master.get());
    match held {
        None => findings.push(Finding::bad(
            TOPIC,
            Level::Problem,
            format!("{name} does not have the master's address {master}"),
            format!("run: ip addr add {master}/{prefix} dev {name}, and make it stay"),
        )),
        Some((_, other)) if *other != prefix => findings.push(Finding::bad(
            TOPIC,
            Level::Warning,
            format!("{master} is on {name} with the prefix /{other}, the subnet has /{prefix}"),
            "make both the same; else the master does not reach all nodes",
        )),
        Some(_) => {}
    }
    match mtu {
        Some(mtu) if mtu != USUAL_MTU => findings.push(Finding::bad(
            TOPIC,
            Level::Warning,
            format!("{name} has an MTU of {mtu}; firmware and loaders send and take frames of {USUAL_MTU} bytes"),
            "make sure that the switch and every node take such frames, or set it to 1500",
        )),
        _ => {}
    }
    if findings.is_empty() {
        findings.push(Finding::fine(
            TOPIC,
            format!("{name} is up with {master}/{prefix}"),
        ));
    }
    findings
}
