//! What waits for a disk that a node does not have, or for a network that is there already.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::super::root::Root;
use super::Findings;

/// Units that bring disks up, or wait for those that were there once.
const DISK_UNITS: [&str; 8] = [
    "lvm2-monitor.service",
    "lvm2-lvmpolld.socket",
    "blk-availability.service",
    "multipathd.service",
    "multipathd.socket",
    "mdmonitor.service",
    "mdcheck_start.timer",
    "mdadm-shutdown.service",
];

/// Units that hold a boot up until a network is configured, which the initramfs has done.
const WAITERS: [&str; 3] = [
    "NetworkManager-wait-online.service",
    "systemd-networkd-wait-online.service",
    "ifupdown-wait-online.service",
];

/// Looks for it.
pub(super) fn look(root: &Root, findings: &mut Findings) -> anyhow::Result<()> {
    const FIX: &str =
        "a diskless node waits for it for 90 seconds or fails; remove it, or add nofail";
    const FIX_UNIT: &str =
        "a diskless node has no disks to bring up or to wait for; mask it under `services`";
    let fstab = root.read_text("etc/fstab")?.unwrap_or_default();
    for line in fstab
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
    {
        let mut words = line.split_ascii_whitespace();
        let (Some(device), Some(mount)) = (words.next(), words.next()) else {
            continue;
        };
        let options = words.nth(1).unwrap_or("");
        let is_optional = options
            .split(',')
            .any(|option| matches!(option, "nofail" | "noauto"));
        if is_disk(device) && !is_optional {
            findings.warning(
                "waits",
                format!("/etc/fstab mounts {device} at {mount}"),
                FIX,
            );
        }
        if mount == "/" || mount == "/usr" {
            findings.warning(
                "waits",
                format!("/etc/fstab has an entry for {mount}"),
                "the initramfs mounts it; remove the line",
            );
        }
    }
    let crypttab = root.read_text("etc/crypttab")?.unwrap_or_default();
    if crypttab
        .lines()
        .any(|line| !line.trim().is_empty() && !line.trim().starts_with('#'))
    {
        findings.warning("waits", "/etc/crypttab names encrypted disks", FIX);
    }
    for directory in [
        "etc/systemd/system",
        "usr/lib/systemd/system",
        "lib/systemd/system",
    ] {
        for name in root.names(directory)? {
            let Some((_, "mount" | "swap" | "automount")) = name.rsplit_once('.') else {
                continue;
            };
            let text = root
                .read_text(format!("{directory}/{name}"))?
                .unwrap_or_default();
            let device = text.lines().find_map(|line| line.strip_prefix("What="));
            if device.is_some_and(is_disk) && is_switched_on(root, &name)? {
                findings.warning("waits", format!("the unit {name} mounts a disk"), FIX);
            }
        }
    }
    for unit in switched_on(root)? {
        let is_of_disks = DISK_UNITS.contains(&&*unit)
            || unit.starts_with("mdadm")
            || unit.starts_with("lvm2-pvscan@")
            || unit.starts_with("dev-disk-")
            || unit.starts_with("systemd-cryptsetup@");
        if is_of_disks && is_switched_on(root, &unit)? {
            findings.warning("waits", format!("{unit} is switched on"), FIX_UNIT);
        }
    }
    for unit in WAITERS {
        if is_switched_on(root, unit)? {
            findings.warning(
                "waits",
                format!("{unit} is switched on"),
                "the initramfs has configured the network; mask it under `services`",
            );
        }
    }
    Ok(())
}

fn is_disk(device: &str) -> bool {
    ["/dev/", "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "ID="]
        .iter()
        .any(|prefix| device.starts_with(prefix))
        && !device.starts_with("/dev/shm")
}

/// What the administrator, or a package for him, has switched on.
fn switched_on(root: &Root) -> anyhow::Result<BTreeSet<String>> {
    let mut units = BTreeSet::new();
    for name in root.names("etc/systemd/system")? {
        if [".wants", ".requires"]
            .iter()
            .any(|end| name.ends_with(end))
        {
            units.extend(root.names(format!("etc/systemd/system/{name}"))?);
        }
    }
    Ok(units)
}

/// Whether some target wants a unit that is not masked.
fn is_switched_on(root: &Root, unit: &str) -> anyhow::Result<bool> {
    let place = root.resolve_parent(format!("etc/systemd/system/{unit}"))?;
    if fs::read_link(&place).is_ok_and(|target| target == Path::new("/dev/null")) {
        return Ok(false);
    }
    for directory in [
        "etc/systemd/system",
        "usr/lib/systemd/system",
        "lib/systemd/system",
    ] {
        for name in root.names(directory)? {
            let wants = [".wants", ".requires"]
                .iter()
                .any(|end| name.ends_with(end));
            let link = root.resolve_parent(format!("{directory}/{name}/{unit}"))?;
            if wants && fs::symlink_metadata(link).is_ok() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_told_and_what_does_not_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::new(directory.path());
        let look = || {
            let mut findings = Findings(Vec::new());
            look(&root, &mut findings).expect("it can be looked at");
            let told = findings.0.into_iter().map(|finding| finding.what);
            told.collect::<Vec<_>>()
        };
        let write = |path: &str, text: &str| root.write(path, text, 0o644).expect("a file");
        assert_eq!(look(), Vec::<String>::new());

        let fstab = "# /dev/sda1 / ext4\nUUID=1-2 /data ext4 defaults 0 2\n/dev/sdb1 /more xfs nofail 0 0\n\
             tmpfs /usr tmpfs\n10.0.0.1:/srv /srv nfs ro\n/dev/sdc1 /later ext4 noauto\n";
        write("etc/fstab", fstab);
        assert_eq!(
            look(),
            [
                "/etc/fstab mounts UUID=1-2 at /data",
                "/etc/fstab has an entry for /usr"
            ]
        );
        write("etc/fstab", "");
        write("etc/crypttab", "# none\n\n");
        assert_eq!(look(), Vec::<String>::new());
        write("etc/crypttab", "swap /dev/sda2 /dev/urandom swap\n");
        assert_eq!(look(), ["/etc/crypttab names encrypted disks"]);
        root.remove("etc/crypttab").expect("ours");

        for unit in WAITERS {
            let wants = format!("usr/lib/systemd/system/network-online.target.wants/{unit}");
            root.link(&wants, format!("../{unit}")).expect("a link");
            assert_eq!(look(), [format!("{unit} is switched on")]);
            let mask = format!("etc/systemd/system/{unit}");
            root.link(&mask, "/dev/null").expect("a link");
            assert_eq!(look(), Vec::<String>::new(), "{unit} is masked");
        }
    }
}
