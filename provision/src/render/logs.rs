//! Logs over the network: rsyslog on the master, which writes one file a node, and on the nodes.

use minijinja::context;

use super::file::{Checker, Effect, File, InSystem, Service};
use super::templates::fill;
use crate::model::{Cluster, Log, LogProtocol};

/// What rsyslog of the master is told.
pub(super) const RECEIVER: InSystem = InSystem {
    path: "/etc/rsyslog.d/30-regex-provision.conf",
    service: Some((Service::Rsyslog, Effect::Restart)),
    checker: Some(Checker::Rsyslog),
};

/// How the files of nodes are rotated on the master.
pub(super) const ROTATION: InSystem = InSystem {
    path: "/etc/logrotate.d/regex-provision",
    service: None,
    checker: Some(Checker::Logrotate),
};

pub(super) fn files(cluster: &Cluster) -> Vec<File> {
    let Log::Master {
        port,
        directory,
        keep_days,
    } = &cluster.log
    else {
        return Vec::new();
    };
    let receiver = context! {
        cluster => cluster.name.as_str(),
        master => cluster.network.master.to_string(),
        subnet => cluster.network.subnet.to_string(),
        port,
        directory => directory.as_str(),
    };
    let rotation = context! {
        cluster => cluster.name.as_str(),
        directory => directory.as_str(),
        keep_days,
    };
    vec![
        RECEIVER.file(fill("rsyslog-master.conf", receiver)),
        ROTATION.file(fill("logrotate", rotation)),
    ]
}

/// `/etc/rsyslog.d/30-regex-provision.conf` of a node, if its logs go somewhere.
pub(super) fn node(cluster: &Cluster) -> Option<String> {
    let (host, port, protocol) = match &cluster.log {
        Log::Node => return None,
        Log::Master { port, .. } => (cluster.network.master.to_string(), *port, LogProtocol::Udp),
        Log::Remote {
            host,
            port,
            protocol,
        } => (host.to_string(), *port, *protocol),
    };
    let context = context! {
        cluster => cluster.name.as_str(),
        host,
        port,
        protocol => match protocol {
            LogProtocol::Udp => "udp",
            LogProtocol::Tcp => "tcp",
        },
    };
    Some(fill("rsyslog-node.conf", context))
}
