//! The tables of `cluster.toml`, as they are written.
//!
//! Here is declared what keys there are, what they mean, and what is taken where they are
//! absent; the descriptions are those that editors and `regex-provision schema` show. What
//! several keys say together is the work of `check`.

mod image;
mod node;
mod services;
mod value;

pub(super) use image::{
    KERNEL_PACKAGE, LOCALE, MASTER_INCLUDE, PACK_LEVEL, RawFileEntry, RawImage, RawInitramfs,
    RawKernel, RawServices, RawSource, RawUser, SourceKind,
};
pub(super) use node::{
    BmcKindWord, RawBmc, RawNode, RawNodes, RawSettings, RawWorker, Tls, places,
};
pub(super) use services::{
    DhcpMode, LogTarget, RawDhcp, RawExport, RawLog, RawPower, RawServe, RawSsh, RawTime, defaults,
};
pub(super) use value::{NODE_PLACEHOLDER, RawAddress, RawBmcAddress};

use std::net::Ipv4Addr;

use super::decode::{At, Named, Port, table};
use super::{
    ClusterName, ExportName, Hostname, ImageName, InterfaceName, NodeIp, ProfileName, Subnet,
};

/// The port of regex-master where none is given.
pub(super) const MASTER_PORT: u16 = 7411;

/// The port of the boot endpoint where none is given.
pub(super) const HTTP_PORT: u16 = 8080;

table! {
    /// A cluster of nodes that boot from the network: everything that regex-provision needs to know.
    RawFile {
        /// The cluster's name and network.
        "cluster" cluster: RawCluster, required;
        /// Who answers DHCP.
        "dhcp" dhcp: RawDhcp;
        /// Settings that nodes share, by name. The one named `default` applies to every node first.
        "profile" profile: Named<ProfileName, RawSettings>;
        /// The nodes: sections `[[node]]` with a `name`, or `[node.NAME]`. A name may stand for many: `s[0-9]`.
        "node" node: RawNodes;
        /// What nodes boot, by name.
        "image" image: Named<ImageName, RawImage>;
        /// Data that nodes mount over NFS, by name.
        "export" export: Named<ExportName, RawExport>;
        /// Where clocks are set from.
        "time" time: RawTime;
        /// Where the nodes' logs go.
        "log" log: RawLog;
        /// Who may log in to the nodes, and how commands fan out to them.
        "ssh" ssh: RawSsh;
        /// The boot endpoint: where it keeps what it serves, and what it allows.
        "serve" serve: RawServe;
        /// How power commands are spread over time.
        "power" power: RawPower;
    }

    /// The cluster's name and network.
    RawCluster {
        /// A name for the cluster, such as `lab`.
        "name" name: ClusterName, required;
        /// The master's interface on the network of the nodes, such as `eth1`.
        "interface" interface: InterfaceName, required;
        /// The network of the nodes, such as `10.0.0.0/24`.
        "subnet" subnet: Subnet, required;
        /// The master's address on it. DHCP, TFTP, HTTP, NFS and regex-master answer there.
        "master" master: NodeIp, required;
        /// The router that nodes are told of. Without one they reach only their own network.
        "gateway" gateway: NodeIp;
        /// The DNS domain of the nodes, such as `cluster.example`.
        "domain" domain: Hostname;
        /// The DNS servers that nodes are told of, at most three.
        "dns" dns: Vec<At<Ipv4Addr>>;
        /// TCP port of regex-master.
        "master-port" master_port: Port, default MASTER_PORT;
        /// TCP port of the boot endpoint.
        "http-port" http_port: Port, default HTTP_PORT;
    }
}
