//! What is exported over NFS: data, and the trees of images; by the kernel's server or by Ganesha.
//!
//! All trees are exported at once, by their parent directory. So a new image needs no new
//! export, and nodes that still run from an old tree keep it.

use std::collections::BTreeSet;

use minijinja::{Value, context};

use super::file::{Checker, Effect, File, InSystem, Place, Service};
use super::templates::fill;
use crate::model::{Cluster, Export, ExportServer, NfsVersion, RootMode, Squash, UsrMode};
use crate::store::Digest;

/// What the kernel's server is told.
pub(super) const EXPORTS: InSystem = InSystem {
    path: "/etc/exports.d/regex-provision.exports",
    service: Some((Service::NfsServer, Effect::Reload)),
    checker: None,
};

/// The NFS server on the master, if there is one. Both cannot be, for both want port 2049.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    None,
    Kernel,
    Ganesha,
    /// The model wants both.
    Both,
}

/// Which servers the cluster needs. Trees are served by whoever serves data.
pub(super) fn server(cluster: &Cluster) -> Server {
    let has = |server| {
        cluster
            .exports
            .values()
            .any(|export| export.server == server)
    };
    match (has(ExportServer::Kernel), has(ExportServer::Ganesha)) {
        (true, true) => Server::Both,
        (false, true) => Server::Ganesha,
        (true, false) => Server::Kernel,
        (false, false) if serves_trees(cluster) => Server::Kernel,
        (false, false) => Server::None,
    }
}

fn serves_trees(cluster: &Cluster) -> bool {
    cluster
        .nodes()
        .iter()
        .any(|node| node.settings.root == RootMode::Nfs || node.settings.usr == UsrMode::Nfs)
}

/// A directory to export.
struct Exported<'a> {
    path: String,
    /// None for what is read-only and has no other users' rights to guard: the trees.
    data: Option<&'a Export>,
}

fn exported<'a>(cluster: &'a Cluster, server: &ExportServer) -> Vec<Exported<'a>> {
    let data = cluster.exports.values();
    let data = data.filter(|export| export.server == *server);
    let mut all: Vec<_> = data
        .map(|export| Exported {
            path: export.path.to_string(),
            data: Some(export),
        })
        .collect();
    if serves_trees(cluster) {
        let path = format!("{}/trees", cluster.serve.directory);
        all.push(Exported { path, data: None });
    }
    all
}

pub(super) fn file(cluster: &Cluster) -> Option<File> {
    match server(cluster) {
        Server::None | Server::Both => None,
        Server::Kernel => Some(EXPORTS.file(kernel(cluster))),
        Server::Ganesha => Some(File {
            name: "ganesha/ganesha.conf".into(),
            bytes: ganesha(cluster).into_bytes(),
            place: Place::Generation,
            mode: 0o644,
            service: Some((Service::Ganesha, Effect::Restart)),
            checker: Some(Checker::Ganesha),
        }),
    }
}

fn kernel(cluster: &Cluster) -> String {
    let export = |exported: Exported<'_>| {
        let mut options = vec!["no_subtree_check", "sec=sys"];
        match exported.data {
            Some(export) if !export.read_only => options.extend(["rw", "sync"]),
            _ => options.push("ro"),
        }
        options.push(match exported.data.map(|export| export.squash) {
            Some(Squash::Root) => "root_squash",
            Some(Squash::All) => "all_squash",
            Some(Squash::None) | None => "no_root_squash",
        });
        context! {
            options => options.join(","),
            // Of file systems without a number of their own, such as tmpfs and overlay, only
            // what has one given can be exported.
            fsid => fsid(&exported.path),
            path => exported.path,
        }
    };
    let all = exported(cluster, &ExportServer::Kernel).into_iter();
    let context = context! {
        cluster => cluster.name.as_str(),
        subnet => cluster.network.subnet.to_string(),
        exports => all.map(export).collect::<Vec<_>>(),
    };
    fill("exports", context)
}

/// A number in the form of a UUID that belongs to a path for good: handles that nodes hold stay
/// valid over restarts.
fn fsid(path: &str) -> String {
    let digest = Digest::of(path.as_bytes()).to_string();
    let part = |range| &digest[range];
    [
        part(0..8),
        part(8..12),
        part(12..16),
        part(16..20),
        part(20..32),
    ]
    .join("-")
}

fn ganesha(cluster: &Cluster) -> String {
    let mut ids = BTreeSet::new();
    let export = |exported: Exported<'_>| -> Value {
        let data = exported.data;
        context! {
            id => export_id(&exported.path, &mut ids),
            access => if data.is_some_and(|export| !export.read_only) { "RW" } else { "RO" },
            squash => match data.map(|export| export.squash) {
                Some(Squash::Root) => "Root_Squash",
                Some(Squash::All) => "All_Squash",
                Some(Squash::None) | None => "No_Root_Squash",
            },
            // The trees never change: what a node knows of them stays true.
            expiration => if data.is_some() { 60 } else { 3600 },
            path => exported.path,
        }
    };
    let all = exported(cluster, &ExportServer::Ganesha).into_iter();
    let v3 = cluster
        .exports
        .values()
        .any(|export| export.server == ExportServer::Ganesha && export.version == NfsVersion::V3);
    let context = context! {
        cluster => cluster.name.as_str(),
        master => cluster.network.master.to_string(),
        directory => cluster.serve.directory.as_str(),
        subnet => cluster.network.subnet.to_string(),
        protocols => if v3 { "3, 4" } else { "4" },
        exports => all.map(export).collect::<Vec<_>>(),
    };
    fill("ganesha.conf", context)
}

/// The number of an export, which is part of the handles that nodes hold: it belongs to the path, not to
/// its place in the list.
fn export_id(path: &str, taken: &mut BTreeSet<u16>) -> u16 {
    let digest = Digest::of(path.as_bytes()).to_string();
    let mut id = u16::from_str_radix(&digest[..4], 16).unwrap_or(1).max(1);
    while !taken.insert(id) {
        id = id.checked_add(1).unwrap_or(1);
    }
    id
}
