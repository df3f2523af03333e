//! A cluster that uses every template, and images for it.

use regexctl_provision::model::{self, Cluster, Node};
use regexctl_provision::render::overlay::{self, HostKey};
use regexctl_provision::render::{File, Images, LoaderFile, NEEDED_LOADERS, Site, render};
use regexctl_provision::store::{
    Artifact, Digest, FORMAT, InitramfsContents, Manifest, Root, RootFormat, WithoutUsr,
};

/// What all clusters of the tests have; `DHCP` and `MORE` stand for what differs.
const LAB: &str = r#"
[cluster]
name = "lab"
interface = "br0"
subnet = "10.77.4.0/22"
master = "10.77.4.1"
gateway = "10.77.4.254"
domain = "lab.example"
dns = ["10.77.4.2", "10.77.4.3"]

DHCP

[image.base]
source = { kind = "debootstrap", suite = "bookworm" }
kernel-args = ["quiet"]
[image.gpu]
source = { kind = "debootstrap", suite = "bookworm" }
format = "erofs"
writable = "512MiB"

[export.mail]
path = "/srv/mail"
options = ["nocto", "actimeo=600"]
server = "SERVER"

[export.crawl]
path = "/srv/crawl"
mount = "/data/crawl"
version = 4.2
read-only = false
squash = "all"
server = "SERVER"

[export.filer]
path = "/vol/evidence"
server = "filer.example"

[time]
servers = ["ntp1.example", "192.0.2.7"]
timezone = "Europe/Berlin"

[log]
target = "master"

[ssh]
authorized-keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFwqjBHKxVLgiTIHk7wzBTLrBmIv6nWuoVVQ7NG6ByPd admin@lab"]
host-keys = "kept"

[profile.default]
image = "base"
console = ["tty0", "ttyS0,115200n8"]

[[node]]
name = "s[0-2]"
mac = ["52:54:00:00:00:10", "52:54:00:00:00:11", "52:54:00:00:00:12"]
address = "10.77.4.10"

[[node]]
name = "own"
mac = "52:54:00:00:00:20"
address = "10.77.4.20"
loader = "ipxe"
root = "ramdisk"

[[node]]
name = "pxe"
mac = "52:54:00:00:00:30"
address = "10.77.4.30"
loader = "pxelinux"
image = "gpu"
kernel-args = ["mitigations=off"]
worker = { threads = 4, slots = 3, roots = ["/data/crawl"] }
exports = ["crawl"]

[[node]]
name = "secure"
mac = "52:54:00:00:00:40"
address = "10.77.4.40"
loader = "grub"
root = "nfs"
usr = "nfs"
worker = { enabled = false }
"#;

/// Who answers DHCP.
pub(crate) const FULL: &str =
    "[dhcp]\nrange = \"10.77.7.0-10.77.7.200\"\nipv6-advertisement = true";
pub(crate) const STATIC: &str = "[dhcp]\nlease = \"10m\"\n[serve]\nunknown = \"refuse\"";
pub(crate) const PROXY: &str = "[dhcp]\nmode = \"proxy\"";
pub(crate) const EXTERNAL: &str = "[dhcp]\nmode = \"external\"";

/// The cluster of the tests.
pub(crate) fn lab(dhcp: &str, nfs: &str) -> Cluster {
    parse(&LAB.replace("DHCP", dhcp).replace("SERVER", nfs))
}

pub(crate) fn parse(text: &str) -> Cluster {
    model::parse(text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Some digest, the same for the same text.
pub(crate) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// Images under these names, with everything that a node may want.
pub(crate) fn images(names: &[&str]) -> Images {
    names
        .iter()
        .map(|name| {
            let manifest = manifest(name);
            let image = name.parse().expect("a name");
            (image, Digest::of(&manifest.to_bytes()), manifest)
        })
        .collect()
}

fn manifest(name: &str) -> Manifest {
    let artifact = |what: &str, size| Artifact {
        sha256: digest(&format!("{name} {what}")),
        size,
    };
    let root = artifact("root", 61_000_000);
    Manifest {
        format: FORMAT,
        image: name.parse().expect("a name"),
        created: 1_700_000_000,
        kernel_version: "6.1.0-37-amd64".into(),
        kernel: artifact("kernel", 8_000_000),
        initramfs: artifact("initramfs", 5_000_000),
        initramfs_contents: InitramfsContents::default(),
        root: Root {
            format: if name == "gpu" {
                RootFormat::Erofs
            } else {
                RootFormat::Squashfs
            },
            sha256: root.sha256,
            size: root.size,
            unpacked: 203_000_000,
            entries: 9000,
        },
        ramdisk: Some(artifact("ramdisk", 50_000_000)),
        tree: Some(root.sha256),
        without_usr: Some(WithoutUsr {
            root: artifact("root without /usr", 9_000_000),
            ramdisk: Some(artifact("ramdisk without /usr", 8_000_000)),
        }),
        listing: artifact("listing", 1000),
        packages: Vec::new(),
        worker: None,
        inputs: digest("inputs"),
    }
}

pub(crate) fn site() -> Site {
    let loaders = NEEDED_LOADERS.iter().map(|needed| LoaderFile {
        name: needed.name,
        bytes: format!("this is {}\n", needed.name).into_bytes(),
    });
    Site {
        loaders: loaders.collect(),
        ..Site::default()
    }
}

pub(crate) fn key() -> HostKey {
    HostKey {
        private: "-----BEGIN OPENSSH PRIVATE KEY-----\n".into(),
        public: "ssh-ed25519 AAAA host\n".into(),
    }
}

pub(crate) fn overlay_digest(cluster: &Cluster, node: &Node) -> Digest {
    overlay::node(cluster, node, Some(&key())).digest
}

/// Everything that is rendered for a cluster.
pub(crate) fn rendered(cluster: &Cluster) -> Vec<File> {
    let images = images(&["base", "gpu"]);
    render(cluster, &images, &site(), |node| {
        overlay_digest(cluster, node)
    })
}

/// The text of one of the files.
pub(crate) fn text(files: &[File], name: &str) -> String {
    let file = files.iter().find(|file| file.name == name);
    let file = file.unwrap_or_else(|| panic!("{name} is not rendered"));
    String::from_utf8(file.bytes.clone()).expect("configuration is text")
}
