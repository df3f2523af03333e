//! chrony: the master's part, which serves time to the nodes, and the nodes' whole configuration.

use minijinja::context;

use super::file::{Checker, Effect, File, InSystem, Service};
use super::templates::fill;
use crate::model::Cluster;

/// The master's part.
// chronyd is confined to /etc/chrony where there is AppArmor.
pub(super) const MASTER: InSystem = InSystem {
    path: "/etc/chrony/conf.d/regex-provision.conf",
    service: Some((Service::Chrony, Effect::Restart)),
    checker: Some(Checker::Chrony),
};

pub(super) fn files(cluster: &Cluster) -> Option<File> {
    cluster.time.enabled.then(|| MASTER.file(master(cluster)))
}

fn master(cluster: &Cluster) -> String {
    let servers = cluster.time.servers.iter();
    let context = context! {
        cluster => cluster.name.as_str(),
        servers => servers.map(ToString::to_string).collect::<Vec<_>>(),
        subnet => cluster.network.subnet.to_string(),
    };
    fill("chrony-master.conf", context)
}

/// `/etc/chrony/chrony.conf` of a node.
pub(super) fn node(cluster: &Cluster) -> String {
    let context = context! {
        cluster => cluster.name.as_str(),
        master => cluster.network.master.to_string(),
    };
    fill("chrony-node.conf", context)
}
