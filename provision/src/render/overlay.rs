//! The files that belong to one node alone, as an archive that the initramfs lays over its root.
//!
//! What is in it depends on the node's own part of the model and on the cluster's settings,
//! never on other nodes: adding a node changes nobody else's. Equal input gives equal bytes: files
//! are sorted, belong to root, and have no time.
//!
//! Directories are only in it where their permissions matter: others are those of the image.

use std::fmt::Write;

use minijinja::context;

use super::templates::fill;
use super::{chrony, hosts, logs, systemd};
use crate::model::{
    Cluster, ExportServer, HostKeys as HostKeysMode, MountOption, NfsVersion, Node,
};
use crate::store::Digest;

/// The files of a node as they are fetched: a tar archive and its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// The archive.
    pub tar: Vec<u8>,
    /// Its digest: what `rp.overlay` says.
    pub digest: Digest,
}

/// The host key that a node keeps, where the cluster has it so ([`needs_host_key`]).
#[derive(Clone, PartialEq, Eq)]
pub struct HostKey {
    /// `ssh_host_ed25519_key`: a private key of OpenSSH.
    pub private: String,
    /// `ssh_host_ed25519_key.pub`.
    pub public: String,
}

/// Without the private key.
impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let public = &self.public;
        f.debug_struct("HostKey")
            .field("public", public)
            .finish_non_exhaustive()
    }
}

/// A file, directory or link of an overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path in the node's root, without a slash at the beginning.
    pub path: String,
    /// What it is.
    pub content: Content,
}

/// What an entry of an overlay is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file with these bytes and permission bits.
    File(String, u32),
    /// A directory with these permission bits.
    Directory(u32),
    /// A symbolic link.
    Link(String),
}

/// Whether the nodes of a cluster have host keys that the master keeps.
pub fn needs_host_key(cluster: &Cluster) -> bool {
    cluster.ssh.host_keys == HostKeysMode::Kept
}

/// The files of a node. `key` is put into it if there is one.
pub fn node(cluster: &Cluster, node: &Node, key: Option<&HostKey>) -> Overlay {
    let tar = archive(&entries(cluster, node, key));
    let digest = Digest::of(&tar);
    Overlay { tar, digest }
}

/// What [`node()`] packs, sorted by path.
pub fn entries(cluster: &Cluster, node: &Node, key: Option<&HostKey>) -> Vec<Entry> {
    let mut entries = shared(cluster, node);
    let mut file = |path: &str, text: String, mode| {
        entries.push(Entry {
            path: path.into(),
            content: Content::File(text, mode),
        });
    };
    file("etc/hostname", format!("{}\n", node.name), 0o644);
    file("etc/hosts", hosts::node(cluster, node), 0o644);
    if let Some(worker) = worker_settings(cluster, node) {
        file("etc/regexctl/worker.env", worker, 0o644);
    }
    if let Some(key) = key {
        file("etc/ssh/ssh_host_ed25519_key", key.private.clone(), 0o600);
        file(
            "etc/ssh/ssh_host_ed25519_key.pub",
            key.public.clone(),
            0o644,
        );
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries
}

/// What all nodes with the same settings have in common.
pub fn shared(cluster: &Cluster, node: &Node) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut add = |path: &str, content| {
        entries.push(Entry {
            path: path.into(),
            content,
        });
    };
    let text = |text: String| Content::File(text, 0o644);
    add("etc/fstab", text(fstab(cluster, node)));
    if cluster.time.enabled {
        add("etc/chrony/chrony.conf", text(chrony::node(cluster)));
    }
    let zone = &cluster.time.timezone;
    add("etc/timezone", text(format!("{zone}\n")));
    let zone = format!("/usr/share/zoneinfo/{zone}");
    add("etc/localtime", Content::Link(zone));
    if let Some(resolv) = resolv(cluster) {
        add("etc/resolv.conf", text(resolv));
    }
    if let Some(logs) = logs::node(cluster) {
        add("etc/rsyslog.d/30-regex-provision.conf", text(logs));
    }
    if node.settings.worker.is_some() {
        add("etc/regexctl", Content::Directory(0o755));
        let unit = "etc/systemd/system/regex-worker.service.d";
        let mounts = format!("{unit}/exports.conf");
        add(&mounts, text(worker_mounts(cluster, node)));
    }
    ssh(cluster, &mut add);
    entries
}

/// The mounts. A node that has just booted may be quicker than the server, so they are tried
/// for long, and nothing but the worker waits for them.
fn fstab(cluster: &Cluster, node: &Node) -> String {
    let mut lines = format!(
        "# Made by regex-provision for the cluster {}.\n",
        cluster.name
    );
    for export in cluster.exports_of(node) {
        let server = match &export.server {
            ExportServer::Kernel | ExportServer::Ganesha => cluster.network.master.to_string(),
            ExportServer::External(host) => host.to_string(),
        };
        let mut options = vec![if export.read_only { "ro" } else { "rw" }];
        options.extend(match export.version {
            // Nothing is locked; without locks a node needs no daemons for them.
            NfsVersion::V3 => &["vers=3", "nolock"][..],
            NfsVersion::V4_2 => &["vers=4.2"][..],
        });
        options.extend(["proto=tcp", "hard", "noatime"]);
        options.extend(export.options.iter().map(MountOption::as_str));
        options.extend([
            "_netdev",
            "nofail",
            "retry=1440",
            "x-systemd.mount-timeout=infinity",
        ]);
        let (path, mount) = (&export.path, &export.mount);
        let options = options.join(",");
        writeln!(lines, "{server}:{path} {mount} nfs {options} 0 0")
            .expect("writing to a String cannot fail");
    }
    lines
}

/// The worker must not search an empty directory where data should be.
fn worker_mounts(cluster: &Cluster, node: &Node) -> String {
    let mut text = "[Unit]\nConditionPathExists=/etc/regexctl/worker.env\n".to_owned();
    for export in cluster.exports_of(node) {
        let mount = systemd::escaped(export.mount.as_str());
        writeln!(text, "RequiresMountsFor={mount}").expect("writing to a String cannot fail");
    }
    text
}

/// What the unit of regex-worker reads.
fn worker_settings(cluster: &Cluster, node: &Node) -> Option<String> {
    let worker = node.settings.worker.as_ref()?;
    let roots = worker.roots.iter().map(|root| format!(" --root {root}"));
    let mut arguments = format!("--name {}{}", node.name, roots.collect::<String>());
    if let Some(threads) = worker.threads {
        write!(arguments, " --threads {threads}").expect("writing to a String cannot fail");
    }
    if let Some(slots) = worker.slots {
        write!(arguments, " --slots {slots}").expect("writing to a String cannot fail");
    }
    let master = cluster.network.master_url();
    Some(format!(
        "REGEXCTL_MASTER={master}\nREGEX_WORKER_ARGS={arguments}\n"
    ))
}

fn resolv(cluster: &Cluster) -> Option<String> {
    let network = &cluster.network;
    let mut lines = String::new();
    if let Some(domain) = &network.domain {
        writeln!(lines, "search {domain}").expect("writing to a String cannot fail");
    }
    for server in &network.dns {
        writeln!(lines, "nameserver {server}").expect("writing to a String cannot fail");
    }
    (!lines.is_empty()).then_some(lines)
}

/// sshd reads the cluster's keys besides those of the image.
fn ssh(cluster: &Cluster, add: &mut impl FnMut(&str, Content)) {
    let ssh = &cluster.ssh;
    let context = context! {
        cluster => cluster.name.as_str(),
        port => ssh.port,
        keys => ssh.host_keys == HostKeysMode::Kept,
    };
    let text = fill("sshd.conf", context);
    add(
        "etc/ssh/sshd_config.d/regex-provision.conf",
        Content::File(text, 0o644),
    );
    let mut keys = String::new();
    for key in &ssh.authorized_keys {
        writeln!(keys, "{key}").expect("writing to a String cannot fail");
    }
    add("etc/ssh/authorized_keys.d", Content::Directory(0o755));
    add("etc/ssh/authorized_keys.d/root", Content::File(keys, 0o644));
    if ssh.host_keys == HostKeysMode::Boot {
        let unit = "etc/systemd/system/regex-host-keys.service";
        let text = fill(
            "regex-host-keys.service",
            context! { cluster => cluster.name.as_str() },
        );
        add(unit, Content::File(text, 0o644));
        add(
            "etc/systemd/system/multi-user.target.wants/regex-host-keys.service",
            Content::Link("../regex-host-keys.service".into()),
        );
    }
}

fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let written = match &entry.content {
            Content::File(text, mode) => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_mode(*mode);
                header.set_size(text.len() as u64);
                builder.append_data(&mut header, &entry.path, text.as_bytes())
            }
            Content::Directory(mode) => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(*mode);
                header.set_size(0);
                builder.append_data(&mut header, &entry.path, &[][..])
            }
            Content::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                builder.append_link(&mut header, &entry.path, target)
            }
        };
        written.expect("memory can be written, and our paths are short");
    }
    builder.into_inner().expect("memory can be written")
}
