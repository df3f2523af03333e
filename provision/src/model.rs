//! The values of a cluster, and the cluster itself.
//!
//! One file, `cluster.toml`, describes a cluster; everything else that the provisioner writes
//! is derived from it. A [`Cluster`] exists only if the whole file is right: names, addresses
//! and Ethernet addresses occur once, every reference leads somewhere, every node lies inside
//! the subnet and outside the dynamic range. So nothing behind this edge checks again.
//!
//! - [`Cluster`], [`Network`], [`Dhcp`], [`Holder`]: the cluster ([`cluster`]);
//! - [`Node`], [`Settings`], [`Bmc`]: a node and what it boots ([`node`]);
//! - [`Image`]: what `image build` makes ([`image`]);
//! - [`Export`], [`Time`], [`Log`], [`Ssh`], [`Serve`], [`Power`]: the services ([`services`]);
//! - [`Hostname`], [`MacAddr`], [`NodeIp`], [`Subnet`] and the other values: each is made by
//!   parsing, is valid from then on, and is kept in one canonical spelling, so that equal means
//!   the same name or address on the wire. Their characters are chosen so that no renderer needs
//!   to quote them: no white space, no quotes, no backslash, no `$`. (GRUB's language knows more
//!   special characters; what stands between single quotes is safe there.)

pub mod cluster;
pub mod image;
pub mod node;
pub mod services;

mod address;
mod check;
mod decode;
mod hostname;
mod load;
mod mac;
mod name;
mod problem;
mod raw;
mod recover;
mod schema;
mod subnet;
mod value;

use std::fmt;

pub use address::{NodeIp, NodeIpError};
pub use check::{Checked, MAX_FILE_BYTES, check, node_lines};
pub use cluster::{Cluster, Dhcp, Holder, Network};
pub use hostname::{Hostname, HostnameError, MAX_HOSTNAME_BYTES, MAX_LABEL_BYTES};
pub use image::{Image, ImageSource};
pub use load::{LoadError, load, parse, read};
pub use mac::{MacAddr, MacAddrError};
pub use name::{
    ClusterName, ExportName, ImageName, InterfaceName, Locale, MAX_NAME_BYTES, ModuleName,
    NameError, PackageName, ProfileName, Suite, Tag, TimeZone, UnitName, UserName,
};
pub use node::{Bmc, BmcKind, Credentials, Loader, Node, RootMode, Settings, UsrMode, Worker};
pub use problem::{MAX_PROBLEMS, Problem, Problems, Severity};
pub use schema::schema;
pub use services::{
    Export, ExportServer, HostKeys, Log, LogProtocol, NfsVersion, Power, Serve, Squash, Ssh, Time,
    Unknown,
};
pub use subnet::{AddressRange, Subnet, SubnetError};
pub use value::{
    AbsPath, ByteSize, Console, Host, HttpUrl, KernelArg, MountOption, SshKey, Timespan, ValueError,
};

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

#[cfg(test)]
mod tests;
