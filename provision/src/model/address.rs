//! The addresses of nodes.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An IPv4 address that a node may have. Nodes boot over IPv4, so there is no
/// other kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIp(Ipv4Addr);

/// Why a text, or an address, is not a [`NodeIp`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeIpError {
    /// Not four decimal numbers.
    #[error(
        "{text:?} is not an IPv4 address; write four numbers of 0 to 255 without leading zeros, such as 10.0.0.1"
    )]
    Malformed {
        /// What was given.
        text: String,
    },
    /// An IPv6 address.
    #[error("{0} is an IPv6 address; nodes boot over IPv4, write the node's IPv4 address")]
    V6(Ipv6Addr),
    /// An address for a purpose other than one host on a network.
    #[error("{address} is {what}; use an address of the nodes' own network")]
    NotAHost {
        /// The address.
        address: Ipv4Addr,
        /// What it is for.
        what: &'static str,
    },
}

impl NodeIp {
    /// The address, if a host may have it.
    pub fn new(address: Ipv4Addr) -> Result<Self, NodeIpError> {
        let what = match address.octets() {
            [0, ..] => "in 0.0.0.0/8, which means this network",
            [127, ..] => "a loopback address",
            [224..=239, ..] => "a multicast address",
            [255, 255, 255, 255] => "the broadcast address",
            [240..=255, ..] => "in 240.0.0.0/4, which is reserved",
            _ => return Ok(Self(address)),
        };
        Err(NodeIpError::NotAHost { address, what })
    }

    /// The plain address.
    pub fn get(self) -> Ipv4Addr {
        self.0
    }
}

impl FromStr for NodeIp {
    type Err = NodeIpError;

    fn from_str(text: &str) -> Result<Self, NodeIpError> {
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Self::new(address);
        }
        Err(match text.parse::<Ipv6Addr>() {
            Ok(address) => NodeIpError::V6(address),
            Err(_) => NodeIpError::Malformed {
                text: text.to_owned(),
            },
        })
    }
}

impl fmt::Display for NodeIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_address_of_a_host() {
        for text in [
            "10.0.0.1",
            "192.168.255.254",
            "1.2.3.4",
            "223.255.255.255",
            "10.0.0.0",
        ] {
            assert_eq!(
                text.parse::<NodeIp>().map(|ip| ip.to_string()),
                Ok(text.into())
            );
        }
    }

    #[test]
    fn refuses_what_no_host_has() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            let error = text.parse::<NodeIp>();
            assert!(matches!(error, Err(NodeIpError::NotAHost { .. })), "{text}");
        }
    }

    #[test]
    fn refuses_malformed_text() {
        for text in [
            "",
            "10.0.0",
            "10.0.0.256",
            "10.0.0.01",
            "10.0.0.1.2",
            "10.0.0.1/24",
            "ten",
        ] {
            assert_eq!(
                text.parse::<NodeIp>(),
                Err(NodeIpError::Malformed { text: text.into() })
            );
        }
    }

    #[test]
    fn names_ipv6_as_such() {
        for text in ["fd00::1", "::", "::ffff:10.0.0.1"] {
            assert!(
                matches!(text.parse::<NodeIp>(), Err(NodeIpError::V6(_))),
                "{text}"
            );
        }
    }
}
