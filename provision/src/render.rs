//! The configuration of every daemon, and what a node boots, as text made from the model.
//!
//! Everything here is pure: a checked [`Cluster`], the images that are
//! published ([`Images`]) and what is known of the master ([`Site`]) go in, bytes come out; no
//! file is read, no program is run, no clock is looked at. Equal input gives equal bytes.
//!
//! - [`render()`] gives all files of a generation: what they hold, where they belong, which
//!   service reads them and who can judge them;
//! - [`ipxe`], [`pxelinux`] and [`grub`] tell a loader what to load. Scripts of nodes are made
//!   when they are asked for ([`ipxe::node_script`]), so that ten thousand nodes are no ten thousand files;
//! - [`overlay`] makes the files that belong to one node alone;
//! - [`Boot`] is what a node boots, decided: the one place that knows how the modes differ, and the one
//!   place where kernel command lines are written ([`Boot::arguments`]).
//!
//! Each kind of file has one template in `templates/`. The model admits no character that would
//! need quoting in any of them, so a template quotes nothing.
//!
//! Invariant: what is boot-critical is read by its daemon through the link `current`, so that
//! one rename replaces all of it. Only what a daemon of the system must find elsewhere is a file
//! of the system ([`Place::System`]).

pub mod boot;
pub mod grub;
pub mod ipxe;
pub mod overlay;
pub mod pxelinux;

mod chrony;
mod dnsmasq;
mod external;
mod file;
mod hosts;
mod images;
mod loaders;
mod logs;
mod nfs;
mod site;
mod systemd;
mod templates;

use std::collections::HashSet;

use crate::model::{Cluster, Loader, Log, Node, Unknown};
use crate::store::Digest;

pub use boot::{Boot, NotBootable, Root};
pub use file::{Checker, Effect, File, Place, Service};
pub use images::Images;
pub use loaders::{LoaderFile, NEEDED_LOADERS, NeededLoader, needed_loaders};
pub use site::Site;

/// All files of a generation, sorted by their names.
///
/// Nodes that a static loader serves ([`Loader::Pxelinux`], [`Loader::Grub`]) need files of their own, and these
/// name what `overlay` gives for a node: the digest of its [`overlay`](overlay::node). An image that is
/// not there is no file here, but one of [`obstacles`].
pub fn render(
    cluster: &Cluster,
    images: &Images,
    site: &Site,
    mut overlay: impl FnMut(&Node) -> Digest,
) -> Vec<File> {
    let mut files = dnsmasq::files(cluster);
    files.extend(external::files(cluster));
    files.extend(loaders::files(cluster, &site.loaders));
    files.extend(nfs::file(cluster));
    files.extend(chrony::files(cluster));
    files.extend(logs::files(cluster));
    files.extend(systemd::files(cluster, site));
    files.push(hosts::file(cluster));

    let mut add = |name: String, text: String| files.push(File::told_to_loader(name, text));
    if let Ok(entries) = pxelinux::others(cluster, images) {
        for (name, text) in entries {
            add(format!("tftp/pxelinux.cfg/{name}"), text);
        }
    }
    if loaders::used(cluster).contains(&Loader::Grub)
        && let Ok(text) = grub::first(cluster, images)
    {
        add("tftp/grub/grub.cfg".into(), text);
    }
    for node in cluster.nodes() {
        match node.settings.loader {
            Loader::Auto | Loader::Ipxe => {}
            Loader::Pxelinux => {
                let entries = pxelinux::node(cluster, node, images, overlay(node));
                for (name, text) in entries.into_iter().flatten() {
                    add(format!("tftp/pxelinux.cfg/{name}"), text);
                }
            }
            Loader::Grub => {
                if let Ok((name, text)) = grub::node(cluster, node, images, overlay(node)) {
                    add(format!("tftp/grub/{name}"), text);
                }
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// All places of the master's system that are ours alone, whatever the cluster, and the services that read them as
/// [`File::service`] says.
pub fn places_in_system() -> impl Iterator<Item = (String, Option<(Service, Effect)>)> {
    let ours = Service::ALL.into_iter().filter(|service| service.is_ours());
    let units = ours.map(|service| (systemd::place(service), Some((service, Effect::Restart))));
    let files = [nfs::EXPORTS, chrony::MASTER, logs::RECEIVER, logs::ROTATION];
    units.chain(files.map(|file| (file.path.to_owned(), file.service)))
}

/// Why a generation made of these would not work: every reason, for people.
pub fn obstacles(cluster: &Cluster, images: &Images, site: &Site) -> Vec<String> {
    let mut found = Vec::new();
    for node in cluster.nodes() {
        if let Err(error) = Boot::of(node, images) {
            found.push(error.to_string());
        }
    }
    // Where a node's image is missing, that says it already.
    if cluster.serve.unknown == Unknown::Wait
        && found.is_empty()
        && let Err(error) = Boot::waiting(images)
    {
        found.push(error.to_string());
    }
    if nfs::server(cluster) == nfs::Server::Both {
        found.push(
            "some exports are served by the kernel and some by Ganesha, and both need port 2049; \
             give all the same server"
                .into(),
        );
    }
    for needed in needed_loaders(cluster) {
        let is_there = site.loaders.iter().any(|file| file.name == needed.name);
        if !is_there {
            found.push(format!(
                "the loader {} is not on this machine; install the package {}",
                needed.path, needed.package
            ));
        }
    }
    let logs = match &cluster.log {
        Log::Master { directory, .. } => Some(directory),
        _ => None,
    };
    for (key, path) in [("serve", Some(&cluster.serve.directory)), ("log", logs)] {
        if let Some(path) = path
            && let Some(bad) = path.as_str().chars().find(|&c| !is_plain(c))
        {
            found.push(format!(
                "{key}: directory = {:?} holds {bad:?}, which the daemons' configuration cannot; \
                 use letters, digits, '-', '_' and '.'",
                path.as_str()
            ));
        }
    }
    // One missing image is one reason, however many nodes boot it.
    let mut seen = HashSet::new();
    found.retain(|reason| seen.insert(reason.clone()));
    found
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/-_.".contains(c)
}
