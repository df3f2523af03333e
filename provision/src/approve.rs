//! Taking a machine into the cluster.

use std::net::Ipv4Addr;

use crate::model::{Cluster, Dhcp, NodeIp};

/// The address for one more node, which was seen at one. Where this master gives out addresses: the next one behind the
/// highest that a node has, else the lowest free one. Where another server does: the one that it has given. The error says why
/// there is none.
pub fn address(cluster: &Cluster, seen: Option<Ipv4Addr>) -> Result<NodeIp, String> {
    let subnet = cluster.network.subnet;
    let mode = match cluster.dhcp {
        Dhcp::Full { .. } => {
            let free = free_address(cluster);
            return free.ok_or_else(|| format!("no address of {subnet} is free"));
        }
        Dhcp::Proxy => "proxy",
        Dhcp::External => "external",
    };
    let why = match seen {
        None => "none was seen of this machine".to_owned(),
        Some(address) if !subnet.hosts().contains(address) => {
            format!("the machine was seen at {address}, which is not in {subnet}")
        }
        Some(address) if !is_free(cluster, address) => {
            format!("the machine was seen at {address}, which is somebody else's in cluster.toml")
        }
        Some(address) => match NodeIp::new(address) {
            Ok(address) => return Ok(address),
            Err(error) => error.to_string(),
        },
    };
    Err(format!(
        "another DHCP server gives out the addresses here (mode = \"{mode}\"), and {why}"
    ))
}

/// The next one behind the highest that a node has, else the lowest free one. None where the subnet has none left.
fn free_address(cluster: &Cluster) -> Option<NodeIp> {
    let hosts = cluster.network.subnet.hosts();
    let (first, last) = (u32::from(hosts.first()), u32::from(hosts.last()));
    let nodes = cluster.nodes().iter().map(|node| node.address.get());
    let behind = nodes
        .max()
        .map_or(first, |highest| u32::from(highest).saturating_add(1));
    let mut all = (behind..=last).chain(first..=last).map(Ipv4Addr::from);
    all.find(|address| is_free(cluster, *address))
        .and_then(|address| NodeIp::new(address).ok())
}

/// Whether nobody in cluster.toml has an address.
fn is_free(cluster: &Cluster, address: Ipv4Addr) -> bool {
    let range = match &cluster.dhcp {
        Dhcp::Full { range, .. } => *range,
        Dhcp::Proxy | Dhcp::External => None,
    };
    NodeIp::new(address).is_ok_and(|address| cluster.node_by_address(address).is_none())
        && !range.is_some_and(|range| range.contains(address))
        && cluster.holder(address).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    fn free(subnet: &str, more: &str, nodes: &[&str]) -> Option<String> {
        let cluster = cluster(subnet, more, nodes);
        address(&cluster, None)
            .ok()
            .map(|address| address.to_string())
    }

    fn cluster(subnet: &str, more: &str, nodes: &[&str]) -> Cluster {
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
        model::parse(&text).unwrap_or_else(|problems| panic!("{problems}"))
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

    #[test]
    fn what_somebody_else_has_is_passed_over() {
        let more = "dns = [\"10.0.0.6\"]\n\
            [time]\nservers = [\"10.0.0.7\", \"10.0.0.1\"]\n\
            [log]\ntarget = \"remote\"\nhost = \"10.0.0.8\"\n\
            [export.far]\npath = \"/far\"\nserver = \"10.0.0.9\"\n\
            [profile.default]\nbmc = { kind = \"ipmi\", address = \"10.0.0.10\" }";
        let of = |more: &str| free("10.0.0.0/24", more, &["10.0.0.5"]);
        assert_eq!(of(more).as_deref(), Some("10.0.0.11"));
        let redfish = more.replace("ipmi", "redfish");
        assert_eq!(of(&redfish).as_deref(), Some("10.0.0.11"));
        // Nor where another server has given it, which then was a mistake.
        let beside = more.replace("[time]", "[dhcp]\nmode = \"external\"\n[time]");
        let cluster = cluster("10.0.0.0/24", &beside, &["10.0.0.5"]);
        for last in 6..=10 {
            let error = address(&cluster, Some(Ipv4Addr::new(10, 0, 0, last)));
            let error = error.expect_err("somebody has it");
            assert!(error.contains("somebody else's"), "{error}");
        }
    }

    #[test]
    fn where_another_server_gives_addresses_the_one_that_it_has_given() {
        for mode in ["proxy", "external"] {
            let more = format!("[dhcp]\nmode = \"{mode}\"");
            let cluster = cluster("10.0.0.0/24", &more, &["10.0.0.9"]);
            let of = |seen: &str| address(&cluster, seen.parse().ok());
            assert_eq!(
                of("10.0.0.77").map(|address| address.to_string()),
                Ok("10.0.0.77".into())
            );
            for (seen, why) in [
                ("10.0.1.77", "which is not in 10.0.0.0/24"),
                ("10.0.0.9", "somebody else's"),
                ("10.0.0.1", "somebody else's"),
                ("nowhere", "none was seen"),
            ] {
                let error = of(seen).expect_err(seen);
                assert!(error.contains(why) && error.contains(mode), "{error}");
            }
        }
    }
}
