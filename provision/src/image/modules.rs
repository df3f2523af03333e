//! Which modules of its kernel an image keeps: those of servers and virtual machines.
//!
//! A kernel of a distribution has some 4,000 modules, 400 MB: displays, sound, cameras, wireless. A node
//! uses twenty. Kept are the directories of [`KEPT`] less [`LEFT_OUT`], what the initramfs holds, what the image's
//! declaration names, and whatever those need.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use super::root::Root;
use super::run::{DEPMOD, quietly};

/// Directories and files that are kept, relative to `kernel/`.
const KEPT: &[&str] = &[
    // Processor, boards, and what watches them.
    "arch/x86/crypto",
    "arch/x86/events",
    "arch/x86/platform",
    "crypto",
    "drivers/acpi",
    "drivers/char/hw_random",
    "drivers/char/ipmi",
    "drivers/cpufreq",
    "drivers/crypto",
    "drivers/dca",
    "drivers/dma/ioat",
    "drivers/edac",
    "drivers/firmware",
    "drivers/hwmon",
    "drivers/i2c/algos",
    "drivers/i2c/busses/i2c-i801",
    "drivers/i2c/i2c-smbus",
    "drivers/i2c/i2c-mux",
    "drivers/idle",
    "drivers/mfd/lpc_ich",
    "drivers/pci",
    "drivers/powercap",
    "drivers/pps",
    "drivers/ptp",
    "drivers/thermal",
    "drivers/watchdog",
    // Keyboards, for whoever stands before a node.
    "drivers/hid/hid",
    "drivers/hid/hid-generic",
    "drivers/hid/usbhid",
    "drivers/input/evdev",
    "drivers/input/misc/uinput",
    "drivers/usb/common",
    "drivers/usb/core",
    "drivers/usb/host",
    // The network.
    "drivers/net/bonding",
    "drivers/net/dummy",
    "drivers/net/ethernet",
    "drivers/net/hyperv",
    "drivers/net/macvlan",
    "drivers/net/mdio",
    "drivers/net/net_failover",
    "drivers/net/netconsole",
    "drivers/net/pcs",
    "drivers/net/phy",
    "drivers/net/team",
    "drivers/net/tun",
    "drivers/net/usb",
    "drivers/net/veth",
    "drivers/net/virtio_net",
    "drivers/net/vmxnet3",
    "drivers/net/vxlan",
    "net/802",
    "net/8021q",
    "net/bridge",
    "net/core",
    "net/dns_resolver",
    "net/ipv4",
    "net/ipv6",
    "net/llc",
    "net/netfilter/nf_",
    "net/netfilter/nfnetlink",
    "net/netfilter/nft_",
    "net/netfilter/x_tables",
    "net/packet",
    "net/sched",
    "net/sunrpc",
    "net/tls",
    "net/unix",
    "net/vmw_vsock",
    // Virtual machines.
    "drivers/hv",
    "drivers/virtio",
    "drivers/xen",
    // File systems, and what lies below them.
    "drivers/block/loop",
    "drivers/block/virtio_blk",
    "drivers/block/xen-blkfront",
    "drivers/block/zram",
    "drivers/nvme/host/nvme",
    "drivers/nvme/host/nvme-core",
    "drivers/scsi/scsi_mod",
    "drivers/scsi/sd_mod",
    "drivers/scsi/virtio_scsi",
    "drivers/ata/ahci",
    "drivers/ata/libahci",
    "fs/autofs",
    "fs/binfmt_misc",
    "fs/cachefiles",
    "fs/configfs",
    "fs/efivarfs",
    "fs/erofs",
    "fs/exportfs",
    "fs/ext4",
    "fs/fat",
    "fs/fscache",
    "fs/fuse",
    "fs/isofs",
    "fs/jbd2",
    "fs/lockd",
    "fs/netfs",
    "fs/nfs",
    "fs/nfs_common",
    "fs/nls",
    "fs/overlayfs",
    "fs/pstore",
    "fs/squashfs",
    "fs/xfs",
    "lib",
    "security",
];

/// Of those, what is not kept unless something needs it.
const LEFT_OUT: &[&str] = &[
    "drivers/hwmon/pmbus",
    "drivers/net/ethernet/mellanox/mlxsw",
    "drivers/net/ethernet/8390",
    "drivers/net/ethernet/xircom",
    "drivers/net/ethernet/smsc/smc91c92_cs",
    "drivers/nvme/host/nvme-rdma",
    "drivers/xen/xen-pciback",
    "lib/test_",
    "lib/kunit",
];

/// What was kept of a kernel's modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trimmed {
    pub(super) kept: usize,
    pub(super) removed: usize,
}

/// Removes the modules of a kernel that a node does not need. `named` are kept, with what they need.
pub(super) fn trim(
    root: &Root,
    release: &str,
    named: &BTreeSet<String>,
) -> anyhow::Result<Trimmed> {
    let directory = directory(root, release)?;
    let index = depmod_if_needed(root, release, &directory)?;
    let needs = parse(&index);
    let keep = closure(&needs, named);
    let mut trimmed = Trimmed {
        kept: keep.len(),
        removed: 0,
    };
    for file in needs.keys().filter(|file| !keep.contains(*file)) {
        root.remove(Path::new(&directory).join(file))?;
        trimmed.removed += 1;
    }
    if trimmed.removed > 0 {
        remove_empty_directories(root, &directory)?;
        depmod(root, release, &directory)?;
    }
    Ok(trimmed)
}

/// Makes sure that the kernel's modules have an index.
pub(super) fn index(root: &Root, release: &str) -> anyhow::Result<()> {
    let directory = directory(root, release)?;
    depmod_if_needed(root, release, &directory).map(drop)
}

fn directory(root: &Root, release: &str) -> anyhow::Result<String> {
    for above in ["usr/lib/modules", "lib/modules"] {
        let directory = format!("{above}/{release}");
        if root.exists(&directory) {
            return Ok(directory);
        }
    }
    bail!(
        "the image has no modules of its kernel {release}: neither lib/modules/{release} nor usr/lib/modules/{release}"
    )
}

fn depmod_if_needed(root: &Root, release: &str, directory: &str) -> anyhow::Result<String> {
    let index = format!("{directory}/modules.dep");
    if root.read(&index)?.is_none() {
        depmod(root, release, directory)?;
    }
    root.read_text(&index)?
        .with_context(|| format!("depmod has made no {index}"))
}

/// Has the directory indexed by a depmod that finds nothing else: below the root itself it would follow the image's links, and
/// write where those lead on the master.
fn depmod(root: &Root, release: &str, directory: &str) -> anyhow::Result<()> {
    let base = root.path().with_extension("depmod");
    let above = base.join("usr/lib/modules");
    let failed = || format!("cannot make {}", above.display());
    fs::create_dir_all(&above).with_context(failed)?;
    symlink("usr/lib", base.join("lib")).with_context(failed)?;
    symlink(root.resolve(directory)?, above.join(release)).with_context(failed)?;
    let mut command: Command = DEPMOD.command()?;
    command.arg("-b").arg(&base).arg(release);
    let result = quietly(&mut command, &format!("depmod for kernel {release}"));
    fs::remove_dir_all(&base).with_context(|| format!("cannot remove {}", base.display()))?;
    result
}

/// Each module's file with the files that it needs.
fn parse(index: &str) -> BTreeMap<String, Vec<String>> {
    index
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(file, _)| !file.split('/').any(|part| part == ".."))
        .map(|(file, needs)| {
            let needs = needs.split_ascii_whitespace().map(str::to_owned).collect();
            (file.to_owned(), needs)
        })
        .collect()
}

fn closure(needs: &BTreeMap<String, Vec<String>>, named: &BTreeSet<String>) -> BTreeSet<String> {
    let mut todo: Vec<&str> = needs
        .keys()
        .map(String::as_str)
        .filter(|file| is_kept(file) || named.contains(&name_of(file)))
        .collect();
    let mut keep = BTreeSet::new();
    while let Some(file) = todo.pop() {
        if keep.insert(file.to_owned())
            && let Some(files) = needs.get(file)
        {
            todo.extend(files.iter().map(String::as_str));
        }
    }
    keep
}

fn is_kept(file: &str) -> bool {
    // What is not the distribution's own, such as in `updates`, was added by somebody who wants it.
    let Some(file) = file.strip_prefix("kernel/") else {
        return true;
    };
    let is_below = |prefix: &&&str| {
        file.strip_prefix(**prefix)
            .is_some_and(|rest| rest.starts_with(['/', '.']) || prefix.ends_with('_'))
    };
    // Names of drivers that begin alike are not the same driver, but directories and parts of names are.
    KEPT.iter().any(|prefix| is_below(&prefix)) && !LEFT_OUT.iter().any(|prefix| is_below(&prefix))
}

/// The name of the module in a file, as the kernel spells it.
pub(super) fn name_of(file: &str) -> String {
    let file = file.rsplit('/').next().unwrap_or(file);
    let name = file.split(".ko").next().unwrap_or(file);
    name.replace('-', "_")
}

fn remove_empty_directories(root: &Root, directory: &str) -> anyhow::Result<()> {
    let top = root.resolve(directory)?;
    for entry in walkdir::WalkDir::new(&top).contents_first(true) {
        let entry = entry.with_context(|| format!("cannot list {}", top.display()))?;
        if entry.file_type().is_dir() {
            // Only an empty one goes.
            let _ = std::fs::remove_dir(entry.path());
        }
    }
    Ok(())
}

/// The names of all modules that the image has for a kernel, as the kernel spells them; those that are built in too.
pub(super) fn names(root: &Root, release: &str) -> anyhow::Result<BTreeSet<String>> {
    let directory = directory(root, release)?;
    let mut names = BTreeSet::new();
    for file in ["modules.dep", "modules.builtin"] {
        let text = root.read_text(format!("{directory}/{file}"))?;
        for line in text.unwrap_or_default().lines() {
            names.insert(name_of(line.split(':').next().unwrap_or(line)));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "\
kernel/drivers/net/ethernet/intel/igb/igb.ko: kernel/drivers/i2c/algos/i2c-algo-bit.ko kernel/drivers/gpu/needed.ko
kernel/drivers/i2c/algos/i2c-algo-bit.ko:
kernel/drivers/gpu/needed.ko:
kernel/drivers/gpu/drm/radeon.ko.xz: kernel/drivers/gpu/needed.ko
kernel/drivers/scsi/mpt3sas/mpt3sas.ko: kernel/drivers/scsi/scsi_mod.ko
kernel/drivers/scsi/scsi_mod.ko:
kernel/drivers/hid/hid-generic.ko:
kernel/drivers/hid/hid-sony.ko:
kernel/net/netfilter/nft_chain_nat.ko:
kernel/net/netfilter/xt_time.ko:
kernel/lib/test_bpf.ko:
kernel/lib/libcrc32c.ko:
updates/dkms/special.ko:
../outside.ko:
";

    #[test]
    fn servers_drivers_stay_with_what_they_need() {
        let needs = parse(INDEX);
        assert!(!needs.contains_key("../outside.ko"));
        let named = BTreeSet::from(["mpt3sas".to_owned()]);
        let keep: Vec<String> = closure(&needs, &named).iter().map(|f| name_of(f)).collect();
        assert_eq!(
            keep,
            [
                "needed",
                "hid_generic",
                "i2c_algo_bit",
                "igb",
                "mpt3sas",
                "scsi_mod",
                "libcrc32c",
                "nft_chain_nat",
                "special"
            ]
        );
    }
}
