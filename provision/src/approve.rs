//! Taking a machine into the cluster.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use crate::model::{Cluster, Dhcp, NodeIp};

/// The address for one more node: the next one behind the highest that a node has, else the lowest
/// free one. None where the subnet has none left.
pub fn free_address(cluster: &Cluster) -> Option<NodeIp> {
    let network = &cluster.network;
    let nodes: HashSet<Ipv4Addr> = cluster
        .nodes()
        .iter()
        .map(|node| node.address.get())
        .collect();
    let range = match &cluster.dhcp {
        Dhcp::Full { range, .. } => *range,
        Dhcp::Proxy | Dhcp::External => None,
    };
    let is_free = |address: &Ipv4Addr| {
        !nodes.contains(address)
            && !range.is_some_and(|range| range.contains(*address))
            && *address != network.master.get()
            && network
                .gateway
                .is_none_or(|gateway| gateway.get() != *address)
            && !network.dns.contains(address)
    };
    let hosts = network.subnet.hosts();
    let (first, last) = (u32::from(hosts.first()), u32::from(hosts.last()));
    let behind = nodes
        .iter()
        .max()
        .map_or(first, |highest| u32::from(*highest).saturating_add(1));
    let mut all = (behind..=last).chain(first..=last).map(Ipv4Addr::from);
    all.find(is_free)
        .and_then(|address| NodeIp::new(address).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    fn free(subnet: &str, more: &str, nodes: &[&str]) -> Option<String> {
        use std::fmt::Write as _;
        let mut text = format!(
            "[cluster]\nname = \"lab\"\ninterface = \"br0\"\nsubnet = \"{subnet}\"\nmaster = \"10.0.0.1\"\n{more}\n\
             [image.base]\nsource = {{ kind = \"debootstrap\", suite = \"bookworm\" }}\n"
        );
        for (number, address) in nodes.iter().enumerate() {
            write!(
                text,
                "[[node]]\nname = \"n{number}\"\nmac = \"52:54:00:00:00:{number:02x}\"\naddress = \"{address}\"\nimage = \"base\"\n"
            )
            .expect("writing to a String cannot fail");
        }
        let cluster = model::parse(&text).unwrap_or_else(|problems| panic!("{problems}"));
        free_address(&cluster).map(|address| address.to_string())
    }

    #[test]
    fn the_next_one_then_any() {
        let net = "10.0.0.0/28";
        assert_eq!(free(net, "", &[]).as_deref(), Some("10.0.0.2"));
        assert_eq!(
            free(net, "", &["10.0.0.9", "10.0.0.5"]).as_deref(),
            Some("10.0.0.10")
        );
        let more = "gateway = \"10.0.0.2\"\n[dhcp]\nrange = \"10.0.0.10-10.0.0.14\"";
        assert_eq!(free(net, more, &["10.0.0.9"]).as_deref(), Some("10.0.0.3"));
        assert_eq!(free("10.0.0.0/30", "", &["10.0.0.2"]), None);
    }
}
