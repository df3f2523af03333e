//! Networks and ranges of addresses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use super::name::quoted;

/// An IPv4 network, such as `10.0.0.0/24`. The bits behind the prefix are zero; the prefix has
/// 8 to 30 bits, so there are a network address, a broadcast address and two hosts at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    address: Ipv4Addr,
    prefix: u8,
}

/// Why a text is not a [`Subnet`] or an [`AddressRange`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// Not an address, a slash and a number.
    #[error("{} is no network; write its address and the length of its prefix, such as 10.0.0.0/24", quoted(.0))]
    Malformed(String),
    /// The prefix is too short or too long for a network of machines.
    #[error("the prefix /{0} is out of bounds; a cluster's network has /8 to /30")]
    Prefix(u8),
    /// Bits behind the prefix are set.
    #[error("{given} is an address inside the network {network}; write {network}")]
    HostBits {
        /// What was given.
        given: String,
        /// The network that it lies in.
        network: Subnet,
    },
    /// Not two addresses with a hyphen.
    #[error("{} is no range of addresses; write the first and the last one, such as 10.0.0.200-10.0.0.250", quoted(.0))]
    MalformedRange(String),
    /// The last address is before the first.
    #[error("the range {0} ends before it begins; write the lower address first")]
    Reversed(String),
}

impl Subnet {
    /// The network with this address and length of prefix.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Result<Self, SubnetError> {
        if !(8..=30).contains(&prefix) {
            return Err(SubnetError::Prefix(prefix));
        }
        let network = Self::around(address, prefix);
        if network.address == address {
            Ok(network)
        } else {
            Err(SubnetError::HostBits {
                given: format!("{address}/{prefix}"),
                network,
            })
        }
    }

    fn around(address: Ipv4Addr, prefix: u8) -> Self {
        let address = Ipv4Addr::from(u32::from(address) & mask(prefix));
        Self { address, prefix }
    }

    /// The address of the network itself.
    pub fn network(self) -> Ipv4Addr {
        self.address
    }

    /// The length of the prefix, 8 to 30.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The mask, such as 255.255.255.0.
    pub fn netmask(self) -> Ipv4Addr {
        Ipv4Addr::from(mask(self.prefix))
    }

    /// The address that all hosts of the network hear.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) | !mask(self.prefix))
    }

    /// Whether the address lies in the network; its own and the broadcast address do, too.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == u32::from(self.address)
    }

    /// Whether a machine of the network may have the address.
    pub fn has_host(self, address: Ipv4Addr) -> bool {
        self.contains(address) && address != self.address && address != self.broadcast()
    }

    /// The addresses that machines may have.
    pub fn hosts(self) -> AddressRange {
        AddressRange {
            first: Ipv4Addr::from(u32::from(self.address) + 1),
            last: Ipv4Addr::from(u32::from(self.broadcast()) - 1),
        }
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX << (32 - u32::from(prefix))
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let malformed = || SubnetError::Malformed(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(malformed)?;
        // u8's own parser would take a sign.
        if !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed());
        }
        Self::new(
            address.parse().map_err(|_| malformed())?,
            prefix.parse().map_err(|_| malformed())?,
        )
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Addresses from a first to a last one, both included: `10.0.0.200-10.0.0.250`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

impl AddressRange {
    /// The range, if it does not end before it begins.
    pub fn new(first: Ipv4Addr, last: Ipv4Addr) -> Result<Self, SubnetError> {
        let range = Self { first, last };
        if first <= last {
            Ok(range)
        } else {
            Err(SubnetError::Reversed(range.to_string()))
        }
    }

    /// The lowest address.
    pub fn first(self) -> Ipv4Addr {
        self.first
    }

    /// The highest address.
    pub fn last(self) -> Ipv4Addr {
        self.last
    }

    /// Whether the address is one of them.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// How many there are.
    pub fn count(self) -> u64 {
        u64::from(u32::from(self.last) - u32::from(self.first)) + 1
    }
}

impl FromStr for AddressRange {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let malformed = || SubnetError::MalformedRange(text.to_owned());
        let (first, last) = text.split_once('-').ok_or_else(malformed)?;
        Self::new(
            first.trim().parse().map_err(|_| malformed())?,
            last.trim().parse().map_err(|_| malformed())?,
        )
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().expect(text)
    }

    #[test]
    fn a_network_knows_its_addresses() {
        let net = subnet("10.77.4.0/22");
        assert_eq!(net.to_string(), "10.77.4.0/22");
        assert_eq!(net.netmask().to_string(), "255.255.252.0");
        assert_eq!(net.broadcast().to_string(), "10.77.7.255");
        assert_eq!(net.hosts().to_string(), "10.77.4.1-10.77.7.254");
        assert_eq!(net.hosts().count(), 1022);
        for (address, contains, host) in [
            ("10.77.4.0", true, false),
            ("10.77.4.1", true, true),
            ("10.77.7.254", true, true),
            ("10.77.7.255", true, false),
            ("10.77.8.0", false, false),
            ("10.77.3.255", false, false),
        ] {
            let address = address.parse().expect(address);
            assert_eq!(
                (net.contains(address), net.has_host(address)),
                (contains, host),
                "{address}"
            );
        }
        assert_eq!(subnet("192.168.0.0/30").hosts().count(), 2);
        assert_eq!(subnet("10.0.0.0/8").hosts().count(), (1 << 24) - 2);
    }

    #[test]
    fn refuses_what_is_no_network() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0/24",
            "10.0.0.0/+24",
            "10.0.0.0/999",
        ] {
            assert_eq!(
                text.parse::<Subnet>(),
                Err(SubnetError::Malformed(text.into()))
            );
        }
        for (text, prefix) in [("0.0.0.0/0", 0), ("10.0.0.0/7", 7), ("10.0.0.0/31", 31)] {
            assert_eq!(text.parse::<Subnet>(), Err(SubnetError::Prefix(prefix)));
        }
        assert_eq!(
            "10.0.0.1/24".parse::<Subnet>().map_err(|e| e.to_string()),
            Err(
                "10.0.0.1/24 is an address inside the network 10.0.0.0/24; write 10.0.0.0/24"
                    .into()
            )
        );
    }

    #[test]
    fn a_range_includes_both_ends() {
        let range: AddressRange = "10.0.0.200 - 10.0.0.250".parse().expect("a range");
        assert_eq!(range.to_string(), "10.0.0.200-10.0.0.250");
        assert_eq!(range.count(), 51);
        for (address, inside) in [
            ("10.0.0.199", false),
            ("10.0.0.200", true),
            ("10.0.0.250", true),
            ("10.0.0.251", false),
        ] {
            assert_eq!(range.contains(address.parse().expect(address)), inside);
        }
        for text in ["", "10.0.0.1", "10.0.0.1-", "-", "10.0.0.1-20"] {
            assert!(matches!(
                text.parse::<AddressRange>(),
                Err(SubnetError::MalformedRange(_))
            ));
        }
        assert!(matches!(
            "10.0.0.2-10.0.0.1".parse::<AddressRange>(),
            Err(SubnetError::Reversed(_))
        ));
    }
}
