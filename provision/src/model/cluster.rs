//! The cluster as a whole, and the ways to find a node in it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::{
    AddressRange, ClusterName, Export, ExportName, Hostname, Image, ImageName, InterfaceName, Log,
    MacAddr, Node, NodeEntry, NodeIp, Power, Serve, Ssh, Subnet, Time,
};

/// The most nodes of a cluster.
pub const MAX_NODES: usize = 65_536;

/// The name by which every node knows the master; none has it itself.
pub const MASTER_NAME: &str = "master";

/// A checked `cluster.toml`. Made only by parsing one.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// The name, for titles and for the file names of generations.
    pub name: ClusterName,
    /// The network that the nodes boot from, and who is on it.
    pub network: Network,
    /// Who answers DHCP.
    pub dhcp: Dhcp,
    /// What can be booted, by name.
    pub images: BTreeMap<ImageName, Image>,
    /// What is served over NFS as data, by name.
    pub exports: BTreeMap<ExportName, Export>,
    /// Where clocks are set from.
    pub time: Time,
    /// Where the nodes' logs go.
    pub log: Log,
    /// Who may log in, and how commands fan out.
    pub ssh: Ssh,
    /// The HTTP endpoint, and what it allows.
    pub serve: Serve,
    /// How power commands are spread.
    pub power: Power,
    nodes: Vec<Node>,
    holders: HashMap<Ipv4Addr, Holder>,
    index: Index,
}

/// Who has an address, besides the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// The master.
    Master,
    /// The router that nodes are told of.
    Gateway,
    /// A DNS server that nodes are told of.
    Dns,
    /// The server of an export that is not the master's.
    Nfs(ExportName),
    /// A time server that the master asks.
    Time,
    /// The syslog server of the site.
    Log,
    /// The BMC of a node, or what simulates it.
    Bmc(Hostname),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master => f.write_str("the master"),
            Self::Gateway => f.write_str("the gateway"),
            Self::Dns => f.write_str("a DNS server"),
            Self::Nfs(export) => write!(f, "the server of export {export}"),
            Self::Time => f.write_str("a time server"),
            Self::Log => f.write_str("the log server"),
            Self::Bmc(node) => write!(f, "the BMC of node {node}"),
        }
    }
}

/// The network that the nodes boot from.
///
/// Invariants: `master` and `gateway` lie inside `subnet` and are neither its network nor its
/// broadcast address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The master's interface on it.
    pub interface: InterfaceName,
    /// Its addresses.
    pub subnet: Subnet,
    /// The router that nodes are told of, if any. May be the master.
    pub gateway: Option<NodeIp>,
    /// The DNS domain of the nodes, if any.
    pub domain: Option<Hostname>,
    /// The DNS servers that nodes are told of, the first one first.
    pub dns: Vec<Ipv4Addr>,
    /// The master's address: DHCP, TFTP, HTTP, NFS and regex-master answer there.
    pub master: NodeIp,
    /// TCP port of regex-master.
    pub master_port: u16,
    /// TCP port of the boot endpoint (`regex-provision serve`).
    pub http_port: u16,
}

impl Network {
    /// The URL of the boot endpoint, such as `http://10.0.0.1:8080`, without a slash at the end.
    pub fn http_url(&self) -> String {
        format!("http://{}:{}", self.master, self.http_port)
    }

    /// The URL of regex-master, such as `http://10.0.0.1:7411`.
    pub fn master_url(&self) -> String {
        format!("http://{}:{}", self.master, self.master_port)
    }
}

/// Who answers DHCP on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dhcp {
    /// Our dnsmasq gives addresses: the fixed ones of the nodes, and `range` to machines that
    /// are not known yet. Without a range those get none.
    Full {
        /// Inside the subnet; holds no node, nor the master, nor the gateway.
        range: Option<AddressRange>,
        /// How long a lease lasts. At least two minutes, which is dnsmasq's least.
        lease: Duration,
        /// Whether dnsmasq also sends an empty IPv6 router advertisement, which spares old
        /// iPXE a wait of some ten seconds.
        ipv6_advertisement: bool,
    },
    /// The site's server gives the addresses, our dnsmasq only adds where to boot from.
    Proxy,
    /// The site's server does all; fragments for it are rendered.
    External,
}

/// What a cluster is made of.
pub(super) struct Parts {
    pub(super) name: ClusterName,
    pub(super) network: Network,
    pub(super) dhcp: Dhcp,
    pub(super) images: BTreeMap<ImageName, Image>,
    pub(super) exports: BTreeMap<ExportName, Export>,
    pub(super) time: Time,
    pub(super) log: Log,
    pub(super) ssh: Ssh,
    pub(super) serve: Serve,
    pub(super) power: Power,
    pub(super) nodes: Vec<Node>,
    pub(super) holders: HashMap<Ipv4Addr, Holder>,
}

/// Where a node stands in `nodes`, by what is known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Index {
    names: HashMap<Hostname, usize>,
    macs: HashMap<MacAddr, usize>,
    addresses: HashMap<NodeIp, usize>,
}

impl Cluster {
    /// From parts that are checked.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            name,
            network,
            dhcp,
            images,
            exports,
            time,
            log,
            ssh,
            serve,
            power,
            nodes,
            holders,
        } = parts;
        let mut index = Index::default();
        for (at, node) in nodes.iter().enumerate() {
            index.names.insert(node.name.clone(), at);
            index.macs.insert(node.mac, at);
            index.addresses.insert(node.address, at);
        }
        Self {
            name,
            network,
            dhcp,
            images,
            exports,
            time,
            log,
            ssh,
            serve,
            power,
            nodes,
            holders,
            index,
        }
    }

    /// Who has this address, if it is no node.
    pub fn holder(&self, address: Ipv4Addr) -> Option<&Holder> {
        self.holders.get(&address)
    }

    /// Every node, in the order of the file; within a range in the order of its numbers.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node with this name.
    pub fn node(&self, name: &Hostname) -> Option<&Node> {
        self.index.names.get(name).map(|&at| &self.nodes[at])
    }

    /// Where the node with this name stands in [`Self::nodes`].
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.index.names.get(name).copied()
    }

    /// The node that boots from this Ethernet address.
    pub fn node_by_mac(&self, mac: MacAddr) -> Option<&Node> {
        self.index.macs.get(&mac).map(|&at| &self.nodes[at])
    }

    /// The node with this address.
    pub fn node_by_address(&self, address: NodeIp) -> Option<&Node> {
        self.index
            .addresses
            .get(&address)
            .map(|&at| &self.nodes[at])
    }

    /// The image that a node boots.
    pub fn image_of(&self, node: &Node) -> &Image {
        &self.images[&node.settings.image]
    }

    /// The exports that a node mounts, in the order of their mount points, so that one that lies
    /// inside of another one comes after it.
    pub fn exports_of(&self, node: &Node) -> impl Iterator<Item = &Export> {
        let names = node.settings.exports.iter();
        let mut exports: Vec<_> = names.map(|name| &self.exports[name]).collect();
        exports.sort_by(|a, b| a.mount.cmp(&b.mount));
        exports.into_iter()
    }

    /// What the reservations of a DHCP server consist of.
    pub fn entries(&self) -> Vec<NodeEntry> {
        self.nodes.iter().map(Node::entry).collect()
    }

    /// The node's name with the cluster's domain, if it has one and the name has no dot.
    pub fn full_name(&self, node: &Node) -> String {
        match &self.network.domain {
            Some(domain) if !node.name.as_str().contains('.') => format!("{}.{domain}", node.name),
            _ => node.name.to_string(),
        }
    }
}
