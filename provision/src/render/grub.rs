//! What GRUB is told: `grub.cfg`, which leads to a file for each node by its Ethernet address.

use minijinja::context;

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
        kernel => path(cluster, &boot.kernel_url(cluster)),
        initramfs => path(cluster, &boot.initramfs_url(cluster)),
        words,
    };
    fill("grub-entry.cfg", context)
}

/// A URL of the boot endpoint as GRUB writes it: `(http,HOST:PORT)/PATH`.
fn path(cluster: &Cluster, url: &str) -> String {
    let network = &cluster.network;
    let path = url.strip_prefix(&network.http_url()).unwrap_or(url);
    format!("(http,{}:{}){path}", network.master, network.http_port)
}
