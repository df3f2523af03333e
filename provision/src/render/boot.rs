//! What a node boots, decided: the one place that knows how the modes differ.

use std::fmt::Write;

use super::Images;
use crate::model::image::WritableSize;
use crate::model::{Cluster, ImageName, MacAddr, Node, RootMode, UsrMode};
use crate::store::{Artifact, Digest, Manifest, RootFormat};

/// The name that the initramfs has for a loader.
pub(super) const INITRD: &str = "initrd.img";

/// How a root or /usr over NFS is mounted: version 4.2 needs one port, and what is exported
/// never changes.
const NFS_OPTIONS: &str = "vers=4.2,nocto,actimeo=3600";

/// What a machine boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The digest of the kernel.
    pub kernel: Digest,
    /// The digest of the initramfs: the small one, or in the mode `ramdisk` the whole root.
    pub initramfs: Digest,
    /// The digest of the image.
    pub manifest: Digest,
    /// Where its root comes from.
    pub root: Root,
    /// Whether /usr is mounted from the tree of the image.
    pub usr: Option<Digest>,
}

/// Where the root of a machine comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// Fetched and kept in memory.
    Ram {
        /// The packed root.
        root: Artifact,
        /// How it is packed.
        format: RootFormat,
    },
    /// It came as the initramfs.
    Ramdisk,
    /// The tree with this name, over NFS.
    Nfs(Digest),
    /// None: the machine is not known yet, and waits.
    Wait,
}

/// Why a node could not boot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBootable {
    /// Nothing is published under the name.
    #[error("the image {0} has not been built; run `regex-provision image build {0}`")]
    NoImage(ImageName),
    /// The image was built before a node wanted it as a ramdisk.
    #[error(
        "the image {0} was built without a ramdisk, which the node's root = \"ramdisk\" needs; run `regex-provision image build {0}` again"
    )]
    NoRamdisk(ImageName),
    /// The image was built before a node wanted its /usr over NFS.
    #[error(
        "the image {0} was built without a root that lacks /usr, which the node's usr = \"nfs\" needs; run `regex-provision image build {0}` again"
    )]
    NoRootWithoutUsr(ImageName),
    /// The image was built before a node wanted it over NFS.
    #[error(
        "the image {0} was built without an unpacked tree, which NFS needs; run `regex-provision image build {0}` again"
    )]
    NoTree(ImageName),
    /// There is no image at all for machines that are not known to wait in.
    #[error("no image has been built yet; run `regex-provision image build NAME`")]
    NoImages,
}

impl Boot {
    /// What a node boots.
    pub fn of(node: &Node, images: &Images) -> Result<Self, NotBootable> {
        let name = &node.settings.image;
        let (digest, manifest) = images
            .get(name)
            .ok_or_else(|| NotBootable::NoImage(name.clone()))?;
        let tree = || {
            manifest
                .tree
                .ok_or_else(|| NotBootable::NoTree(name.clone()))
        };
        // What the node's memory holds is less by what it mounts.
        let whole = Artifact {
            sha256: manifest.root.sha256,
            size: manifest.root.size,
        };
        let (packed, ramdisk) = match (node.settings.root, node.settings.usr) {
            (RootMode::Nfs, _) | (_, UsrMode::Image) => (whole, manifest.ramdisk),
            (RootMode::Ram | RootMode::Ramdisk, UsrMode::Nfs) => {
                let without = manifest
                    .without_usr
                    .as_ref()
                    .ok_or_else(|| NotBootable::NoRootWithoutUsr(name.clone()))?;
                (without.root, without.ramdisk)
            }
        };
        let mut boot = Self::small(digest, manifest);
        boot.root = match node.settings.root {
            RootMode::Ram => Root::Ram {
                root: packed,
                format: manifest.root.format,
            },
            RootMode::Ramdisk => {
                let ramdisk = ramdisk.ok_or_else(|| NotBootable::NoRamdisk(name.clone()))?;
                boot.initramfs = ramdisk.sha256;
                Root::Ramdisk
            }
            RootMode::Nfs => Root::Nfs(tree()?),
        };
        boot.usr = match node.settings.usr {
            UsrMode::Image => None,
            UsrMode::Nfs => Some(tree()?),
        };
        Ok(boot)
    }

    /// What a machine boots that is not known: the first image's kernel and small initramfs,
    /// which tells who it is and waits.
    pub fn waiting(images: &Images) -> Result<Self, NotBootable> {
        let (_, digest, manifest) = images.iter().next().ok_or(NotBootable::NoImages)?;
        Ok(Self::small(digest, manifest))
    }

    fn small(digest: Digest, manifest: &Manifest) -> Self {
        Self {
            kernel: manifest.kernel.sha256,
            initramfs: manifest.initramfs.sha256,
            manifest: digest,
            root: Root::Wait,
            usr: None,
        }
    }

    /// Where a loader gets the kernel from.
    pub fn kernel_url(&self, cluster: &Cluster) -> String {
        let server = cluster.network.http_url();
        format!("{server}/artifact/{}/vmlinuz", self.kernel)
    }

    /// Where a loader gets the initramfs from.
    pub fn initramfs_url(&self, cluster: &Cluster) -> String {
        let server = cluster.network.http_url();
        format!("{server}/artifact/{}/{INITRD}", self.initramfs)
    }

    /// The kernel's command line for a node, which has `overlay` laid over its root.
    pub fn arguments(&self, cluster: &Cluster, node: &Node, overlay: Digest) -> String {
        let boot = self.common(cluster, &bootif(node.mac));
        let manifest = self.manifest;
        let settings = self.settings(cluster, node);
        format!("{boot} rp.overlay={overlay} rp.manifest={manifest} {settings}")
    }

    /// The part of the command line that is the same for all nodes with the same settings, whatever
    /// their images are: where the server is, how much is writable, consoles, and what the model adds.
    pub fn settings(&self, cluster: &Cluster, node: &Node) -> String {
        let mut line = format!("rp.server={}", cluster.network.http_url());
        let mut add = |argument: std::fmt::Arguments<'_>| {
            write!(line, " {argument}").expect("writing to a String cannot fail");
        };
        match cluster.image_of(node).writable {
            WritableSize::Percent(percent) => add(format_args!("rp.writable={percent}%")),
            WritableSize::Bytes(size) => {
                add(format_args!("rp.writable={}", tmpfs_size(size.0)));
            }
        }
        add(format_args!("panic=10"));
        for console in &node.settings.consoles {
            add(format_args!("console={console}"));
        }
        for argument in &node.settings.kernel_args {
            add(format_args!("{argument}"));
        }
        line
    }

    /// The kernel's command line for a machine that waits; `bootif` stands for its Ethernet
    /// address, if the loader does not add it.
    pub fn waiting_arguments(&self, cluster: &Cluster, bootif: &str) -> String {
        let boot = self.common(cluster, bootif);
        let server = cluster.network.http_url();
        // Nobody knows which console the machine has: the first serial one, and the screen.
        format!("{boot} rp.server={server} panic=10 console=ttyS0,115200n8 console=tty0")
    }

    /// Which root, for whom.
    fn common(&self, cluster: &Cluster, bootif: &str) -> String {
        let mut words = Vec::new();
        if !bootif.is_empty() {
            words.push(format!("BOOTIF={bootif}"));
        }
        match self.root {
            Root::Ram { root, format } => words.extend([
                format!("rp.root=ram rp.image={}", root.sha256),
                format!("rp.size={}", root.size),
                format!("rp.format={}", format.as_str()),
            ]),
            Root::Ramdisk => words.push("rp.root=ramdisk".to_owned()),
            Root::Nfs(tree) => {
                words.push(format!("rp.root=nfs rp.nfs={}", on_nfs(cluster, tree)));
            }
            Root::Wait => words.push("rp.root=wait".to_owned()),
        }
        if let Some(tree) = self.usr {
            words.push(format!("rp.usr={}/usr", on_nfs(cluster, tree)));
        }
        if self.usr.is_some() || matches!(self.root, Root::Nfs(_)) {
            words.push(format!("rp.nfsopts={NFS_OPTIONS}"));
        }
        words.join(" ")
    }
}

/// `SERVER:PATH` of a tree.
fn on_nfs(cluster: &Cluster, tree: Digest) -> String {
    let (master, directory) = (cluster.network.master, &cluster.serve.directory);
    format!("{master}:{directory}/trees/{tree}")
}

/// As PXELINUX writes it: the type of hardware, which is Ethernet, and the address.
pub(super) fn bootif(mac: MacAddr) -> String {
    format!("01-{mac}").replace(':', "-")
}

/// A size as tmpfs reads it.
fn tmpfs_size(bytes: u64) -> String {
    for (unit, factor) in [("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10)] {
        if bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}
