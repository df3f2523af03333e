//! What GRUB is told: `grub.cfg`, which leads to a file for each node by its Ethernet address.
//!
//! The GRUB that Debian signs speaks TFTP and no HTTP, and its secure boot lets no module be loaded; so it has its kernel
//! and initramfs over TFTP, too.

use minijinja::context;

use super::loaders::ARTIFACTS;
use super::templates::fill;
use super::{Boot, Images, NotBootable};
use crate::model::{Cluster, Node, Unknown};
use crate::store::Digest;

/// `grub.cfg`: the same for everybody.
pub fn first(cluster: &Cluster, images: &Images) -> Result<String, NotBootable> {
    let unknown = match cluster.serve.unknown {
        Unknown::Refuse => None,
        Unknown::Wait => {
            let boot = Boot::waiting(images)?;
            let arguments = boot.waiting_arguments(cluster, "");
            let title = "not known; waits to be approved";
            Some(entry(cluster, &boot, title, &arguments))
        }
    };
    let context = context! { cluster => cluster.name.as_str(), unknown };
    Ok(fill("grub.cfg", context))
}

/// The file of a node, `node-MAC.cfg` with the address as GRUB has it in `$net_default_mac`: its
/// name, and what it holds.
pub fn node(
    cluster: &Cluster,
    node: &Node,
    images: &Images,
    overlay: Digest,
) -> Result<(String, String), NotBootable> {
    let boot = Boot::of(node, images)?;
    let arguments = boot.arguments(cluster, node, overlay);
    let title = format!("{}: the image {}", node.name, node.settings.image);
    let name = format!("node-{}.cfg", node.mac);
    Ok((name, entry(cluster, &boot, &title, &arguments)))
}

fn entry(cluster: &Cluster, boot: &Boot, title: &str, arguments: &str) -> String {
    let words: Vec<_> = arguments.split(' ').map(str::to_owned).collect();
    let context = context! {
        title,
        kernel => path(cluster, boot.kernel),
        initramfs => path(cluster, boot.initramfs),
        words,
    };
    fill("grub-entry.cfg", context)
}

/// An artifact as GRUB finds it on the TFTP server.
fn path(cluster: &Cluster, artifact: Digest) -> String {
    format!("(tftp,{})/{ARTIFACTS}/{artifact}", cluster.network.master)
}
