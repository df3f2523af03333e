//! What every image gets from us: the worker's unit, the units that report stages, and settings that a diskless node needs.
//!
//! Whatever the image's own declaration says is done after this and wins.

use super::root::Root;
use crate::model::{Image, UnitName};

/// Where the worker is, below a directory of its own: it is packed behind the rest ([`super::layer`]).
pub(super) const WORKER: &str = "opt/regexctl/bin/regex-worker";

/// The link by which everybody calls it.
const WORKER_LINK: &str = "usr/bin/regex-worker";

/// Units that are of no use on a node, or hold its boot up.
const MASKED: [&str; 15] = [
    "apt-daily.service",
    "apt-daily.timer",
    "apt-daily-upgrade.service",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "man-db.timer",
    "motd-news.timer",
    "NetworkManager-wait-online.service",
    "systemd-networkd-wait-online.service",
    "systemd-pstore.service",
    "systemd-hwdb-update.service",
    "logrotate.timer",
];

/// What configures interfaces; not the one that the node booted from.
const NETWORKERS: [&str; 5] = [
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "networking.service",
    "NetworkManager.service",
    "dhcpcd.service",
];

/// Text files: path, content, mode.
const FILES: [(&str, &str, u32); 5] = [
    (
        "usr/lib/regexctl/stage",
        include_str!("files/stage.sh"),
        0o755,
    ),
    (
        "usr/lib/systemd/system/regexctl-stage-system.service",
        include_str!("files/stage-system.service"),
        0o644,
    ),
    (
        "usr/lib/systemd/journald.conf.d/50-regexctl.conf",
        include_str!("files/journald.conf"),
        0o644,
    ),
    (
        "etc/ssh/sshd_config.d/50-regexctl.conf",
        include_str!("files/sshd.conf"),
        0o644,
    ),
    (
        "etc/fstab",
        "# The root is laid together by the initramfs.\n",
        0o644,
    ),
];

/// Those of the worker.
const WORKER_FILES: [(&str, &str, u32); 3] = [
    (
        "usr/lib/systemd/system/regex-worker.service",
        include_str!("files/regex-worker.service"),
        0o644,
    ),
    (
        "usr/lib/systemd/system/regexctl-stage-worker.service",
        include_str!("files/stage-worker.service"),
        0o644,
    ),
    (
        "usr/lib/systemd/system/regexctl-stage-worker-kept-back.service",
        include_str!("files/stage-worker-kept-back.service"),
        0o644,
    ),
];

/// All texts of this room, for the digest of inputs.
pub(super) fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
    let files = FILES.iter().chain(&WORKER_FILES);
    files
        .map(|(path, text, _)| (*path, *text))
        .chain([("network", include_str!("files/network-is-up.conf"))])
        .chain(MASKED.map(|unit| ("masked", unit)))
}

/// Puts it into the root.
pub(super) fn equip(root: &Root, image: &Image) -> anyhow::Result<()> {
    let files = FILES.iter().filter(|(path, _, _)| {
        // Where there is no sshd, nobody reads what it is told.
        !path.starts_with("etc/ssh/") || root.exists("etc/ssh")
    });
    let worker_files = WORKER_FILES.iter().filter(|_| image.worker);
    for (path, text, mode) in files.chain(worker_files) {
        root.write(path, text, *mode)?;
    }
    switch_on(root, "multi-user.target", "regexctl-stage-system.service")?;
    if image.worker {
        switch_on(root, "multi-user.target", "regex-worker.service")?;
        switch_on(
            root,
            "regex-worker.service",
            "regexctl-stage-worker.service",
        )?;
        root.link(WORKER_LINK, format!("/{WORKER}"))?;
    }
    for unit in NETWORKERS {
        let file = format!("usr/lib/systemd/system/{unit}.d/50-regexctl.conf");
        root.write(file, include_str!("files/network-is-up.conf"), 0o644)?;
    }
    let is_wanted = |unit: &str| {
        let enable: &[UnitName] = &image.services.enable;
        enable.iter().any(|wanted| wanted.as_str() == unit)
    };
    for unit in MASKED.into_iter().filter(|unit| !is_wanted(unit)) {
        mask(root, unit)?;
    }
    Ok(())
}

/// Makes a unit impossible to start.
pub(super) fn mask(root: &Root, unit: &str) -> anyhow::Result<()> {
    root.link(format!("etc/systemd/system/{unit}"), "/dev/null")
}

fn switch_on(root: &Root, target: &str, unit: &str) -> anyhow::Result<()> {
    root.link(
        format!("usr/lib/systemd/system/{target}.wants/{unit}"),
        format!("../{unit}"),
    )
}
