//! A node: who it is, what it boots, and how it is switched on.

use std::sync::Arc;

use super::{
    AbsPath, Console, ExportName, Host, Hostname, HttpUrl, ImageName, KernelArg, MacAddr,
    NodeEntry, NodeIp, ProfileName, Tag,
};

/// One node, complete: what its section, its profiles and the defaults say together.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name. Unique.
    pub name: Hostname,
    /// The Ethernet address it boots from. Unique.
    pub mac: MacAddr,
    /// Its fixed address, given or allotted, inside the subnet and outside the dynamic range. Unique.
    pub address: NodeIp,
    /// How it is switched on, if it can be.
    pub bmc: Option<Bmc>,
    /// What it boots. Shared by all nodes of a section.
    pub settings: Arc<Settings>,
    /// The line of `cluster.toml` where its section begins, from 1.
    pub line: usize,
}

impl Node {
    /// What its DHCP reservation consists of.
    pub fn entry(&self) -> NodeEntry {
        NodeEntry {
            hostname: self.name.clone(),
            ip: self.address,
            mac: self.mac,
        }
    }
}

/// What a node boots, and how it lives afterwards.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The profiles that apply, in the order in which they were laid over one another.
    pub profiles: Vec<ProfileName>,
    /// What it boots; names an image of the cluster.
    pub image: ImageName,
    /// Where its root comes from.
    pub root: RootMode,
    /// Where its /usr comes from.
    pub usr: UsrMode,
    /// Kernel arguments: those of the image, then the profiles', then the node's.
    pub kernel_args: Vec<KernelArg>,
    /// The kernel's consoles; the last one is /dev/console.
    pub consoles: Vec<Console>,
    /// What the firmware loads.
    pub loader: Loader,
    /// For choosing nodes; sorted, each once.
    pub tags: Vec<Tag>,
    /// What it mounts; sorted, each names an export of the cluster.
    pub exports: Vec<ExportName>,
    /// How its regex-worker runs; none if it has nothing to search.
    pub worker: Option<Worker>,
}

/// Where the root file system comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RootMode {
    /// The image as squashfs or erofs, fetched over HTTP, verified, kept in memory, with a
    /// tmpfs laid over it.
    #[default]
    Ram,
    /// The whole root as a compressed initramfs, loaded by the loader.
    Ramdisk,
    /// Read-only over NFS, with a tmpfs laid over it.
    Nfs,
}

/// Where /usr comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UsrMode {
    /// It is part of the root.
    #[default]
    Image,
    /// Read-only over NFS; the root holds none.
    Nfs,
}

/// What the firmware loads first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Loader {
    /// iPXE: what the firmware has of it, else `undionly.kpxe` or `snponly.efi` by the
    /// architecture that the firmware tells (option 93).
    #[default]
    Auto,
    /// iPXE with its own drivers (`ipxe.efi`), for firmware whose network driver is broken.
    Ipxe,
    /// PXELINUX (BIOS) or syslinux (UEFI), with `pxelinux.cfg`.
    Pxelinux,
    /// GRUB, which secure boot lets through.
    Grub,
}

/// How regex-worker runs on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Threads that scan; none for the number of cores.
    pub threads: Option<u16>,
    /// Leases held at once; none for the worker's own default.
    pub slots: Option<u32>,
    /// What jobs may search; never empty. By default where the node's exports are mounted.
    pub roots: Vec<AbsPath>,
}

/// A node's switch: what it is, and what it is spoken to with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bmc {
    /// The kind, with what belongs to it.
    pub kind: BmcKind,
    /// Who we are to it, where it asks.
    pub credentials: Credentials,
}

/// The kinds of switches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BmcKind {
    /// IPMI over the network (`ipmitool -I lanplus`).
    Ipmi {
        /// Where it listens.
        address: Host,
        /// UDP port, usually 623.
        port: u16,
    },
    /// Redfish over HTTP.
    Redfish {
        /// Such as `https://10.1.0.10`; no slash at the end.
        url: HttpUrl,
        /// The system's id, such as `1`; none to take the only one that the service has.
        system: Option<String>,
        /// Whether the service's certificate must be one that the system trusts.
        verify: bool,
    },
    /// Wake-on-LAN: a packet to the node's own Ethernet address. Can only switch on.
    Wol {
        /// UDP port, usually 9.
        port: u16,
    },
    /// Commands of the site: `on`, `off`, `cycle`, `status`; one that is none cannot be asked.
    /// Each is a list of arguments in which `{node}`, `{address}`, `{mac}` stand for the
    /// node's values; it is run without a shell. `cycle` falls back to `off` and `on`; `status`
    /// prints `on` or `off`.
    Command {
        /// Switches the node on. Never empty.
        on: Vec<String>,
        /// Switches it off.
        off: Option<Vec<String>>,
        /// Switches it off and on.
        cycle: Option<Vec<String>>,
        /// Prints `on` or `off`.
        status: Option<Vec<String>>,
    },
}

/// Who we are to a BMC. The password is never part of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name; none where the file or the environment tells it.
    pub user: Option<String>,
    /// A file of mode 0600 with the password in its first line, or `user:password`; none to take
    /// [`PASSWORD_VARIABLE`] from the environment.
    pub file: Option<AbsPath>,
}

/// The environment variable with the BMCs' password, where no file is named.
pub const PASSWORD_VARIABLE: &str = "REGEX_PROVISION_BMC_PASSWORD";
