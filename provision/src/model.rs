//! The values of a cluster: names, addresses, nodes.
//!
//! Each type is made by parsing and is valid from then on, so that nothing behind the
//! edge checks again. Each is kept in one canonical spelling, so that equal means the same
//! name or address on the wire.

mod address;
mod hostname;
mod mac;

use std::fmt;

pub use address::{NodeIp, NodeIpError};
pub use hostname::{Hostname, HostnameError, MAX_HOSTNAME_BYTES, MAX_LABEL_BYTES};
pub use mac::{MacAddr, MacAddrError};

/// One node: what its DHCP reservation consists of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeEntry {
    /// Its name.
    pub hostname: Hostname,
    /// The address it is given.
    pub ip: NodeIp,
    /// The Ethernet address it boots from.
    pub mac: MacAddr,
}

/// The node as a line of a host list: `hostname ip mac`.
impl fmt::Display for NodeEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.hostname, self.ip, self.mac)
    }
}
