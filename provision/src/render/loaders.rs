//! Loaders: what firmware is given over TFTP, and which one a machine gets.
//!
//! One table says it for every DHCP server ([`rules`]); the templates only spell it.

use crate::model::{Cluster, Loader};
use crate::store::Digest;

use super::{File, Place};

/// A file that firmware or a loader is given over TFTP, as the distribution has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderFile {
    /// Its name in the TFTP root.
    pub name: &'static str,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl LoaderFile {
    /// The digest of what it holds.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

/// The directory of the TFTP root that has the store's artifacts, for the signed GRUB of Debian, which
/// knows no HTTP.
pub(super) const ARTIFACTS: &str = "artifact";

/// A loader as the distribution has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeededLoader {
    /// Its name in the TFTP root.
    pub name: &'static str,
    /// Where the distribution has it.
    pub path: &'static str,
    /// The Debian package that it is part of.
    pub package: &'static str,
    /// Who needs it.
    pub loader: Loader,
}

const fn needed(
    loader: Loader,
    name: &'static str,
    path: &'static str,
    package: &'static str,
) -> NeededLoader {
    NeededLoader {
        name,
        path,
        package,
        loader,
    }
}

/// What each kind of loader consists of.
pub const NEEDED_LOADERS: [NeededLoader; 10] = [
    needed(
        Loader::Auto,
        "undionly.kpxe",
        "/usr/lib/ipxe/undionly.kpxe",
        "ipxe",
    ),
    needed(
        Loader::Auto,
        "snponly.efi",
        "/usr/lib/ipxe/snponly.efi",
        "ipxe",
    ),
    needed(Loader::Ipxe, "ipxe.pxe", "/usr/lib/ipxe/ipxe.pxe", "ipxe"),
    needed(Loader::Ipxe, "ipxe.efi", "/usr/lib/ipxe/ipxe.efi", "ipxe"),
    needed(
        Loader::Pxelinux,
        "lpxelinux.0",
        "/usr/lib/PXELINUX/lpxelinux.0",
        "pxelinux",
    ),
    needed(
        Loader::Pxelinux,
        "ldlinux.c32",
        "/usr/lib/syslinux/modules/bios/ldlinux.c32",
        "syslinux-common",
    ),
    needed(
        Loader::Pxelinux,
        "syslinux.efi",
        "/usr/lib/SYSLINUX.EFI/efi64/syslinux.efi",
        "syslinux-efi",
    ),
    needed(
        Loader::Pxelinux,
        "ldlinux.e64",
        "/usr/lib/syslinux/modules/efi64/ldlinux.e64",
        "syslinux-common",
    ),
    needed(
        Loader::Grub,
        "shimx64.efi",
        "/usr/lib/shim/shimx64.efi.signed",
        "shim-signed",
    ),
    needed(
        Loader::Grub,
        "grubx64.efi",
        "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed",
        "grub-efi-amd64-signed",
    ),
];

/// The kind of machine, as its firmware tells in option 93.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arch {
    /// BIOS: 0.
    Bios,
    /// UEFI on x86-64: 7, and 9 which the RFC meant.
    Efi64,
}

impl Arch {
    /// The word for tags and classes.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Efi64 => "efi64",
        }
    }

    /// The values of option 93.
    pub(super) fn codes(self) -> &'static [u16] {
        match self {
            Self::Bios => &[0],
            Self::Efi64 => &[7, 9],
        }
    }
}

/// Which loader a machine of some kind gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// Of which node.
    pub(super) loader: Loader,
    /// The kind of machine; none for any.
    pub(super) arch: Option<Arch>,
    /// Whether the one that asks is iPXE already, which it tells by option 175; none where that is
    /// all the same. iPXE gets a script and never iPXE again, so that nothing goes round in circles.
    pub(super) ipxe: Option<bool>,
    /// The file, or the URL.
    pub(super) file: String,
}

/// The word for a node's loader in tags and classes.
pub(super) fn word(loader: Loader) -> &'static str {
    match loader {
        Loader::Auto => "auto",
        Loader::Ipxe => "ipxe",
        Loader::Pxelinux => "pxelinux",
        Loader::Grub => "grub",
    }
}

/// The loaders that nodes of the cluster are given, the usual one first: unknown machines get
/// that, too.
pub(super) fn used(cluster: &Cluster) -> Vec<Loader> {
    let chosen = |loader: &Loader| {
        *loader == Loader::Auto
            || cluster
                .nodes()
                .iter()
                .any(|node| node.settings.loader == *loader)
    };
    [Loader::Auto, Loader::Ipxe, Loader::Pxelinux, Loader::Grub]
        .into_iter()
        .filter(chosen)
        .collect()
}

/// What the machines of the cluster are given: for each of them at most one rule holds.
pub(super) fn rules(cluster: &Cluster) -> Vec<Rule> {
    let script = format!("{}/boot.ipxe", cluster.network.http_url());
    let mut rules = Vec::new();
    for loader in used(cluster) {
        let mut rule = |arch, ipxe, file: &str| {
            rules.push(Rule {
                loader,
                arch,
                ipxe,
                file: file.to_owned(),
            });
        };
        match loader {
            Loader::Auto => {
                rule(None, Some(true), &script);
                rule(Some(Arch::Bios), Some(false), "undionly.kpxe");
                rule(Some(Arch::Efi64), Some(false), "snponly.efi");
            }
            Loader::Ipxe => {
                rule(None, Some(true), &script);
                rule(Some(Arch::Bios), Some(false), "ipxe.pxe");
                rule(Some(Arch::Efi64), Some(false), "ipxe.efi");
            }
            Loader::Pxelinux => {
                rule(Some(Arch::Bios), None, "lpxelinux.0");
                rule(Some(Arch::Efi64), None, "syslinux.efi");
            }
            // The signed GRUB is for UEFI; a BIOS has no secure boot to get past.
            Loader::Grub => {
                rule(Some(Arch::Bios), Some(true), &script);
                rule(Some(Arch::Bios), Some(false), "undionly.kpxe");
                rule(Some(Arch::Efi64), None, "shimx64.efi");
            }
        }
    }
    rules
}

/// The loaders that the cluster needs.
pub fn needed_loaders(cluster: &Cluster) -> impl Iterator<Item = &'static NeededLoader> {
    let used = used(cluster);
    NEEDED_LOADERS
        .iter()
        .filter(move |needed| used.contains(&needed.loader))
}

/// The loaders in the TFTP root.
pub(super) fn files(cluster: &Cluster, loaders: &[LoaderFile]) -> Vec<File> {
    let mut files: Vec<_> = needed_loaders(cluster)
        .filter_map(|needed| loaders.iter().find(|loader| loader.name == needed.name))
        .map(|loader| File {
            name: format!("tftp/{}", loader.name),
            bytes: loader.bytes.clone(),
            place: Place::Generation,
            mode: 0o644,
            service: None,
            checker: None,
        })
        .collect();
    // From `generations/N/files/tftp`; to all artifacts, as the boot endpoint has them.
    if used(cluster).contains(&Loader::Grub) {
        files.push(File {
            name: format!("tftp/{ARTIFACTS}"),
            bytes: b"../../../../artifacts".to_vec(),
            place: Place::Link,
            mode: 0o777,
            service: None,
            checker: None,
        });
    }
    files
}
