//! What PXELINUX and syslinux are told: files in `pxelinux.cfg`.
//!
//! PXELINUX asks for a file by the machine's Ethernet address, then by its IPv4 address in
//! upper-case hexadecimal digits, one digit shorter each time, and at last for `default`. So
//! a node is found by either of its addresses, a machine of the cluster's network by the
//! prefix of the network, and anybody else by `default`.

use minijinja::context;

use super::boot::bootif;
use super::templates::fill;
use super::{Boot, Images, NotBootable};
use crate::model::{Cluster, Node, NodeIp, Subnet, Unknown};
use crate::store::Digest;

/// A file in `pxelinux.cfg`: its name, and what it holds.
pub type Entry = (String, String);

/// The files of a node: by its Ethernet address and by its IPv4 address.
pub fn node(
    cluster: &Cluster,
    node: &Node,
    images: &Images,
    overlay: Digest,
) -> Result<[Entry; 2], NotBootable> {
    let boot = Boot::of(node, images)?;
    let title = format!("{}: the image {}", node.name, node.settings.image);
    let arguments = boot.arguments(cluster, node, overlay);
    let text = loading(cluster, &boot, &title, &arguments);
    Ok([(bootif(node.mac), text.clone()), (hex(node.address), text)])
}

/// The files of machines that are not known: those of the cluster's network wait, if they
/// may, and others boot from their disk.
pub fn others(cluster: &Cluster, images: &Images) -> Result<Vec<Entry>, NotBootable> {
    let local = fill(
        "pxelinux.cfg",
        context! {
            cluster => cluster.name.as_str(),
            title => "boots from its own disk",
            kernel => None::<String>,
        },
    );
    let unknown = match cluster.serve.unknown {
        Unknown::Refuse => local.clone(),
        Unknown::Wait => {
            let boot = Boot::waiting(images)?;
            let arguments = boot.waiting_arguments(cluster, "");
            loading(
                cluster,
                &boot,
                "not known; waits to be approved",
                &arguments,
            )
        }
    };
    let networks = prefixes(cluster.network.subnet)
        .into_iter()
        .map(|prefix| (prefix, unknown.clone()));
    let mut entries: Vec<_> = networks.collect();
    entries.push(("default".to_owned(), local));
    Ok(entries)
}

fn loading(cluster: &Cluster, boot: &Boot, title: &str, arguments: &str) -> String {
    let context = context! {
        cluster => cluster.name.as_str(),
        title,
        kernel => boot.kernel_url(cluster),
        initramfs => boot.initramfs_url(cluster),
        arguments,
    };
    fill("pxelinux.cfg", context)
}

/// An address in upper-case hexadecimal digits.
fn hex(address: NodeIp) -> String {
    format!("{:08X}", u32::from(address.get()))
}

/// The digits that the addresses of a network begin with, such as `0A0000` for 10.0.0.0/24.
/// A digit has four bits, so a network may need up to eight of them; together they cover
/// exactly its addresses.
fn prefixes(subnet: Subnet) -> Vec<String> {
    let digits = u32::from(subnet.prefix()).div_ceil(4);
    let shift = 32 - 4 * digits;
    let first = u32::from(subnet.network()) >> shift;
    let last = u32::from(subnet.broadcast()) >> shift;
    let width = digits as usize;
    (first..=last)
        .map(|prefix| format!("{prefix:0width$X}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_covered_exactly() {
        let of = |text: &str| prefixes(text.parse().expect("a network"));
        assert_eq!(of("10.0.0.0/24"), ["0A0000"]);
        assert_eq!(of("10.0.0.0/8"), ["0A"]);
        assert_eq!(of("192.168.16.0/20"), ["C0A81"]);
        assert_eq!(of("10.77.4.0/22"), ["0A4D04", "0A4D05", "0A4D06", "0A4D07"]);
        assert_eq!(of("10.0.0.128/25").len(), 8);
        assert_eq!(of("10.0.0.128/25")[0], "0A00008");
        assert_eq!(of("10.0.0.4/30").len(), 4);
    }
}
