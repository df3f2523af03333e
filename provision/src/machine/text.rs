//! The small files that say what a system is.

use std::net::Ipv4Addr;

use crate::model::{Hostname, NodeIp, Suite};

/// The DNS servers of a `resolv.conf`, without those on the loopback, and its first domain.
pub(super) fn resolv(text: &str) -> (Vec<Ipv4Addr>, Option<Hostname>) {
    let (mut servers, mut domain) = (Vec::new(), None);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("nameserver"), Some(address)) => {
                let address = address.parse::<Ipv4Addr>().ok();
                servers.extend(address.filter(|address| NodeIp::new(*address).is_ok()));
            }
            (Some("search" | "domain"), Some(name)) => {
                domain = domain.or_else(|| name.trim_end_matches('.').parse().ok());
            }
            _ => {}
        }
    }
    servers.truncate(3);
    (servers, domain)
}

/// Id and code name of an `os-release`.
pub(super) fn os_release(text: &str) -> Option<(String, Suite)> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.map(|value| value.trim_matches(['"', '\'']).to_owned())
    };
    let suite = value("VERSION_CODENAME=")?.parse().ok()?;
    Some((value("ID=")?, suite))
}

/// Interface and router of each default route in `/proc/net/route`.
pub(super) fn gateways(text: &str) -> Vec<(String, Ipv4Addr)> {
    let gateway = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, destination, gateway) = (words.next()?, words.next()?, words.next()?);
        let mask = words.nth(4)?;
        let gateway = address(gateway)?;
        let is_default = destination == "00000000" && mask == "00000000";
        (is_default && !gateway.is_unspecified()).then(|| (name.to_owned(), gateway))
    };
    text.lines().skip(1).filter_map(gateway).collect()
}

/// An address as the kernel prints it: a number in the machine's own order of bytes.
pub(super) fn address(hex: &str) -> Option<Ipv4Addr> {
    let number = u32::from_str_radix(hex, 16).ok()?;
    Some(Ipv4Addr::from(number.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_is_read() {
        let text = "\
# made by hand
search cluster.example other.example
nameserver 127.0.0.53
nameserver 10.0.0.1
nameserver fd00::1
options edns0
nameserver 10.0.0.2\n";
        let (servers, domain) = resolv(text);
        assert_eq!(
            servers,
            [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)]
        );
        assert_eq!(
            domain.map(|d| d.to_string()).as_deref(),
            Some("cluster.example")
        );
        assert_eq!(resolv("search .\nnameserver\n"), (vec![], None));
    }

    #[test]
    fn a_distribution_is_read() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        let (id, suite) = os_release(text).expect("both are there");
        assert_eq!((id.as_str(), suite.as_str()), ("debian", "bookworm"));
        assert_eq!(os_release("ID=arch\n"), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_default_route_is_read() {
        let text = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth1\t0000010A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(
            gateways(text),
            [("eth0".to_owned(), Ipv4Addr::new(10, 0, 0, 1))]
        );
        assert_eq!(gateways("nonsense\nmore\n"), []);
    }
}
