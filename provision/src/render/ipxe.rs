//! What iPXE is told: a first script that leads to one for each machine.
//!
//! A script never ends in a prompt: what fails is tried again for ever, with a pause, so that a
//! machine that was switched on before the master still comes up. Where loading fails, the machine asks anew what to load:
//! what was applied meanwhile may cure it. It asks less often than a machine that goes round (`serve::chain`).

use minijinja::context;

use super::boot::INITRD;
use super::templates::fill;
use super::{Boot, Images, NotBootable};
use crate::model::{Cluster, Node};
use crate::store::Digest;

/// `/boot.ipxe`: the same for everybody; leads to `/boot/MAC.ipxe`.
pub fn first_script(cluster: &Cluster) -> String {
    let context = context! {
        cluster => cluster.name.as_str(),
        server => cluster.network.http_url(),
    };
    fill("boot.ipxe", context)
}

/// `/boot/MAC.ipxe` of a node: loads its kernel and initramfs. `overlay` is the digest of what
/// [`super::overlay::node`] makes.
pub fn node_script(
    cluster: &Cluster,
    node: &Node,
    images: &Images,
    overlay: Digest,
) -> Result<String, NotBootable> {
    let boot = Boot::of(node, images)?;
    let arguments = boot.arguments(cluster, node, overlay);
    let title = format!("{}: the image {}", node.name, node.settings.image);
    Ok(loading(cluster, &boot, &title, &arguments))
}

/// `/boot/MAC.ipxe` of a machine that is not known: waits to be approved.
pub fn waiting_script(cluster: &Cluster, images: &Images) -> Result<String, NotBootable> {
    let boot = Boot::waiting(images)?;
    let arguments = boot.waiting_arguments(cluster, "01-${netX/mac:hexhyp}");
    let title = "not known; waits to be approved";
    Ok(loading(cluster, &boot, title, &arguments))
}

/// `/boot/MAC.ipxe` of a machine that is not known, where such machines are to boot from
/// elsewhere.
pub fn refused_script(cluster: &Cluster) -> String {
    fill(
        "refused.ipxe",
        context! { cluster => cluster.name.as_str() },
    )
}

fn loading(cluster: &Cluster, boot: &Boot, title: &str, arguments: &str) -> String {
    let context = context! {
        cluster => cluster.name.as_str(),
        server => cluster.network.http_url(),
        title,
        kernel => boot.kernel_url(cluster),
        initramfs => boot.initramfs_url(cluster),
        // A UEFI kernel asks iPXE for it by this name. Other loaders must not hear of it: PXELINUX would fetch such a file.
        initrd => INITRD,
        arguments,
    };
    fill("node.ipxe", context)
}
