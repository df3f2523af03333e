//! The modules that every initramfs holds, if the image's kernel has them.
//!
//! A module that a kernel does not have is no error (kernels differ, and so do names): what is
//! absent is told in [`super::Contents`]. Only what no root mode can do without is demanded, and
//! that one driver for a network card is there.

/// Without these no root can be mounted, whatever the mode.
pub(super) const DEMANDED: &[&str] = &["overlay"];

/// What mounts a root or /usr.
pub(super) const FILE_SYSTEMS: &[&str] = &[
    "overlay",
    "loop",
    "squashfs",
    "erofs",
    "crc32c_generic",
    "crc32c_intel",
    "nfs",
    "nfsv3",
    "nfsv4",
];

/// What is between the processor and the cards, and what early boot waits for.
pub(super) const BUSES: &[&str] = &[
    "virtio_pci",
    "virtio_mmio",
    "virtio_rng",
    "hv_vmbus",
    "af_packet",
];

/// Network cards of servers, of common boards and of virtual machines.
pub(super) const NETWORK: &[&str] = &[
    // Intel
    "e100",
    "e1000",
    "e1000e",
    "igb",
    "igbvf",
    "igc",
    "ixgbe",
    "ixgbevf",
    "i40e",
    "iavf",
    "ice",
    "fm10k",
    // Broadcom, QLogic, Marvell, Emulex
    "tg3",
    "bnx2",
    "bnx2x",
    "bnxt_en",
    "b44",
    "broadcom",
    "qede",
    "qlcnic",
    "netxen_nic",
    "be2net",
    "bna",
    "sky2",
    "skge",
    "marvell",
    // NVIDIA (Mellanox)
    "mlx4_core",
    "mlx4_en",
    "mlx5_core",
    // Realtek and others on boards
    "r8169",
    "realtek",
    "8139cp",
    "8139too",
    "atlantic",
    "alx",
    "atl1",
    "atl1c",
    "atl1e",
    "jme",
    "forcedeth",
    "via_velocity",
    "via_rhine",
    // Cisco, Chelsio, Solarflare, AMD, Netronome, Huawei, Pensando
    "enic",
    "cxgb4",
    "sfc",
    "amd_xgbe",
    "nfp",
    "hinic",
    "ionic",
    // Clouds and virtual machines
    "virtio_net",
    "vmxnet3",
    "hv_netvsc",
    "mana",
    "xen_netfront",
    "ena",
    "gve",
    "pcnet32",
];

/// Disks: only an unknown machine loads these, to tell what it has.
pub(super) const STORAGE: &[&str] = &[
    "ahci",
    "ata_piix",
    "nvme",
    "sd_mod",
    "mpt3sas",
    "mptsas",
    "mptspi",
    "megaraid_sas",
    "hpsa",
    "smartpqi",
    "aacraid",
    "arcmsr",
    "isci",
    "3w_9xxx",
    "3w_sas",
    "virtio_blk",
    "virtio_scsi",
    "vmw_pvscsi",
    "hv_storvsc",
    "xen_blkfront",
];

/// The programs of busybox that the scripts call; each becomes a link.
pub(super) const APPLETS: &[&str] = &[
    "awk",
    "basename",
    "cat",
    "chmod",
    "chroot",
    "cut",
    "dmesg",
    "grep",
    "head",
    "hostname",
    "ip",
    "kill",
    "ln",
    "losetup",
    "ls",
    "lsmod",
    "mkdir",
    "modprobe",
    "mount",
    "mv",
    "od",
    "ping",
    "ps",
    "readlink",
    "reboot",
    "rm",
    "sed",
    "setsid",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "switch_root",
    "tail",
    "tar",
    "timeout",
    "tr",
    "udhcpc",
    "umount",
    "uname",
    "wget",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use super::*;

    #[test]
    fn busybox_has_every_applet() {
        let out = Command::new("/bin/busybox").arg("--list").output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let has: BTreeSet<&str> = text.lines().collect();
        for applet in APPLETS {
            assert!(has.contains(applet), "{applet}");
        }
    }

    #[test]
    fn names_are_told_once_and_spelt_as_the_kernel_does() {
        let mut seen = BTreeSet::new();
        for name in [BUSES, NETWORK, STORAGE, FILE_SYSTEMS].concat() {
            assert!(seen.insert(name), "{name} twice");
            assert!(!name.contains('-'), "{name}");
        }
        assert!(DEMANDED.iter().all(|name| FILE_SYSTEMS.contains(name)));
    }
}
