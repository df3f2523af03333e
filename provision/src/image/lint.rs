//! What is wrong with an image, or should be known before it is served to whoever asks.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use walkdir::WalkDir;

use super::clean::{binds_to_a_machine, network_settings};
use super::inside;
use super::root::Root;
use super::users::Users;
use super::{equip, kernel, modules};
use crate::initramfs;

/// Files larger than this are not looked into for keys.
const MAX_KEY_FILE_BYTES: u64 = 256 << 10;

/// How many of a kind are told one by one.
const MAX_TOLD: usize = 20;

/// Where programs are that distributions give rights to.
const WHERE_SETUID_IS: [&str; 8] = [
    "bin",
    "sbin",
    "usr/bin",
    "usr/sbin",
    "usr/lib",
    "usr/libexec",
    "usr/lib64",
    "lib",
];

/// Their names.
const KNOWN_SETUID: &str = "\
    at bwrap chage chfn chsh crontab dbus-daemon-launch-helper dotlockfile expiry fusermount fusermount3 gpasswd \
    mount mount.cifs mount.nfs mount.nfs4 newgidmap newgrp newuidmap pam_extrausers_chkpwd passwd ping pkexec \
    polkit-agent-helper-1 ssh-agent ssh-keysign su sudo sudoedit umount unix_chkpwd wall write";

/// The beginnings of units that bring disks up, or wait for those that were there once.
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

/// Drivers that the kernels of current distributions do not have: that is nothing to be told of each image.
const RARE_DRIVERS: [&str; 2] = ["fm10k", "ionic"];

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A node may not want it.
    Warning,
    /// A node does not boot, or does not work.
    Error,
}

/// Something found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Its kind, such as `private-key`.
    pub kind: &'static str,
    /// What, where.
    pub what: String,
    /// What to do.
    pub fix: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}: {}; {}", self.kind, self.what, self.fix)
    }
}

/// What is expected of a root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    /// Whether the kernel is still in it, as in a root that is not packed yet; else its release.
    pub(super) kernel: Option<&'a str>,
    /// Whether regex-worker must run in it.
    pub(super) worker: bool,
    /// Whether host keys are wanted in it.
    pub(super) host_keys: bool,
}

/// Looks at a root. Errors come first.
pub(super) fn look(root: &Root, expected: Expected<'_>) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Findings(Vec::new());
    merged_usr(root, &mut findings)?;
    init(root, &mut findings)?;
    kernel_and_drivers(root, expected.kernel, &mut findings);
    passwords(root, &mut findings)?;
    files(root, expected.host_keys, &mut findings)?;
    waiting(root, &mut findings)?;
    bindings(root, &mut findings)?;
    if expected.worker {
        worker(root, &mut findings);
    }
    let mut findings = findings.0;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(findings)
}

struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, kind: &'static str, what: impl Into<String>, fix: &'static str) {
        self.add(Severity::Error, kind, what.into(), fix);
    }

    fn warning(&mut self, kind: &'static str, what: impl Into<String>, fix: &'static str) {
        self.add(Severity::Warning, kind, what.into(), fix);
    }

    fn add(&mut self, severity: Severity, kind: &'static str, what: String, fix: &'static str) {
        self.0.push(Finding {
            severity,
            kind,
            what,
            fix,
        });
    }
}

/// `/bin`, `/sbin`, `/lib` and `/lib64` are either all directories or all links into /usr.
fn merged_usr(root: &Root, findings: &mut Findings) -> anyhow::Result<()> {
    const FIX: &str =
        "make each a link: bin -> usr/bin, and so on; with tar and rsync keep links as links";
    let mut directories = Vec::new();
    let mut links = 0;
    for name in ["bin", "sbin", "lib", "lib64"] {
        let place = root.path().join(name);
        let Ok(metadata) = fs::symlink_metadata(&place) else {
            if root.exists(format!("usr/{name}")) && name != "lib64" {
                findings.error(
                    "merged-usr",
                    format!("/{name} is missing, /usr/{name} is there"),
                    FIX,
                );
            }
            continue;
        };
        if !metadata.is_symlink() {
            directories.push(name);
            continue;
        }
        links += 1;
        let target =
            fs::read_link(&place).with_context(|| format!("cannot read {}", place.display()))?;
        let target = target.display();
        if root.resolve(name)? != root.resolve(format!("usr/{name}"))? {
            let what = format!("/{name} leads to {target}, not to usr/{name}");
            findings.error("merged-usr", what, FIX);
        } else if !root.exists(name) {
            let what = format!("/{name} leads to {target}, which is not there");
            findings.error("merged-usr", what, FIX);
        }
    }
    if links > 0 && !directories.is_empty() {
        let what = format!(
            "/{} is a directory where others are links into /usr",
            directories.join(", /")
        );
        findings.error("merged-usr", what, FIX);
    }
    Ok(())
}

fn init(root: &Root, findings: &mut Findings) -> anyhow::Result<()> {
    for path in [
        "sbin/init",
        "usr/sbin/init",
        "usr/lib/systemd/systemd",
        "lib/systemd/systemd",
    ] {
        if let Some(metadata) = root.metadata(path)?
            && metadata.is_file()
            && is_executable(&metadata)
        {
            return Ok(());
        }
    }
    findings.error(
        "no-init",
        "there is no program at /sbin/init, and no systemd",
        "add the package systemd-sysv, or another init",
    );
    Ok(())
}

fn is_executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o111 != 0
}

fn kernel_and_drivers(root: &Root, release: Option<&str>, findings: &mut Findings) {
    let release = match release {
        Some(release) => release.to_owned(),
        None => match kernel::newest(root) {
            Ok(kernel) => kernel.release,
            Err(error) => {
                findings.error(
                    "no-kernel",
                    format!("{error:#}"),
                    "without one nothing boots",
                );
                return;
            }
        },
    };
    let Ok(has) = modules::names(root, &release) else {
        let what = format!("there are no modules of the kernel {release}");
        findings.error(
            "no-kernel",
            what,
            "take kernel and modules from the same package",
        );
        return;
    };
    let missing: Vec<&str> = initramfs::network_modules()
        .filter(|name| !has.contains(*name) && !RARE_DRIVERS.contains(name))
        .collect();
    if !missing.is_empty() {
        findings.warning(
            "no-driver",
            format!("the kernel {release} has no {}", missing.join(", ")),
            "nodes with these network cards do not boot; take another kernel if there are such",
        );
    }
}

fn passwords(root: &Root, findings: &mut Findings) -> anyhow::Result<()> {
    let users = Users::read(root)?;
    let names: BTreeSet<&str> = users.with_passwords().into_iter().collect();
    if !names.is_empty() {
        let names: Vec<&str> = names.into_iter().collect();
        findings.warning(
            "password",
            format!("hashes of passwords in the image, of {}", names.join(", ")),
            "whoever can fetch the image can try to guess them; log in by keys, and lock these with `passwd -l`",
        );
    }
    Ok(())
}

/// What shows when all files are gone through: keys, rights, what anybody may change.
fn files(root: &Root, host_keys: bool, findings: &mut Findings) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let (mut keys, mut rights, mut writable) = (Vec::new(), Vec::new(), Vec::new());
    let mut capable = Vec::new();
    for entry in WalkDir::new(root.path()).min_depth(1) {
        let entry = entry.with_context(|| format!("cannot list {}", root.path().display()))?;
        let below = entry
            .path()
            .strip_prefix(root.path())
            .unwrap_or(entry.path());
        let metadata = entry
            .metadata()
            .with_context(|| format!("cannot look at {}", entry.path().display()))?;
        let shown = || format!("/{}", below.display());
        let mode = metadata.mode();
        if metadata.is_symlink() {
            continue;
        }
        if mode & 0o002 != 0 && mode & 0o1000 == 0 {
            writable.push(shown());
        }
        if !metadata.is_file() {
            continue;
        }
        let name = entry.file_name().to_string_lossy();
        let gains = if mode & 0o4000 != 0 {
            Some(("user", metadata.uid()))
        } else if mode & 0o2010 == 0o2010 {
            Some(("group", metadata.gid()))
        } else {
            None
        };
        if let Some((kind, id)) = gains
            && !is_distributions(below, &metadata)
        {
            rights.push(format!("{} ({kind} {id})", shown()));
        }
        if has_capability(entry.path())? && !is_distributions(below, &metadata) {
            capable.push(shown());
        }
        if may_be_key(below, &metadata) && has_private_key(entry.path())? {
            let is_host_key = below.starts_with("etc/ssh") && name.starts_with("ssh_host_");
            if !(host_keys && is_host_key) {
                keys.push(shown());
            }
        }
    }
    if !keys.is_empty() {
        findings.warning(
            "private-key",
            told(keys),
            "whoever can fetch the image has them; give them to nodes in another way, or remove them by `post-script`",
        );
    }
    if !rights.is_empty() {
        findings.warning(
            "setuid",
            told(rights),
            "these run with rights of another user or group; remove the bit by `post-script` unless you know them",
        );
    }
    if !capable.is_empty() {
        findings.warning(
            "capability",
            told(capable),
            "these run with rights of root's; take them away by `setcap -r` in `post-script` unless you know them",
        );
    }
    if !writable.is_empty() {
        findings.warning(
            "writable",
            told(writable),
            "every user of a node may change these; take the right away by `post-script`",
        );
    }
    Ok(())
}

/// Whether a program with rights is one that distributions give them to, where they do: a user's `sudo` is not.
fn is_distributions(below: &Path, metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let name = below.file_name().unwrap_or_default().to_string_lossy();
    metadata.uid() == 0
        && WHERE_SETUID_IS.iter().any(|top| below.starts_with(top))
        && KNOWN_SETUID.split(' ').any(|known| known == name)
}

fn has_capability(path: &Path) -> anyhow::Result<bool> {
    use rustix::io::Errno;
    match rustix::fs::lgetxattr(path, c"security.capability", &mut [0_u8; 64][..]) {
        Ok(_) | Err(Errno::RANGE) => Ok(true),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}

/// Whether a file may be a key: not what comes in packages, whose documentation has some.
fn may_be_key(below: &Path, metadata: &fs::Metadata) -> bool {
    let is_packages = below.starts_with("usr") && !below.starts_with("usr/local");
    metadata.is_file() && !is_packages && metadata.len() <= MAX_KEY_FILE_BYTES
}

/// The files in a root that are private keys, relative to it.
pub(super) fn private_keys(root: &Root) -> anyhow::Result<Vec<PathBuf>> {
    let mut keys = Vec::new();
    for entry in WalkDir::new(root.path()).min_depth(1).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot list {}", root.path().display()))?;
        let below = entry
            .path()
            .strip_prefix(root.path())
            .unwrap_or(entry.path());
        let metadata = entry
            .metadata()
            .with_context(|| format!("cannot look at {}", entry.path().display()))?;
        if may_be_key(below, &metadata) && has_private_key(entry.path())? {
            keys.push(below.to_owned());
        }
    }
    Ok(keys)
}

fn told(mut what: Vec<String>) -> String {
    what.sort();
    let count = what.len();
    if count > MAX_TOLD {
        what.truncate(MAX_TOLD);
        what.push(format!("and {} more", count - MAX_TOLD));
    }
    what.join(", ")
}

fn has_private_key(path: &Path) -> anyhow::Result<bool> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_KEY_FILE_BYTES).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines = bytes.split(|&byte| byte == b'\n');
    Ok(lines.any(|line| {
        // The first line of a key, alone on its line: scripts that look for keys name it, too.
        let ends = |end: &[u8]| line.trim_ascii_end().ends_with(end);
        line.starts_with(b"-----BEGIN ")
            && (ends(b"PRIVATE KEY-----") || ends(b"PRIVATE KEY BLOCK-----"))
            || line.starts_with(b"PuTTY-User-Key-File-")
    }))
}

/// What waits for a disk that a node does not have, or for a network that is there already.
fn waiting(root: &Root, findings: &mut Findings) -> anyhow::Result<()> {
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

fn bindings(root: &Root, findings: &mut Findings) -> anyhow::Result<()> {
    let id = root.read_text("etc/machine-id")?.unwrap_or_default();
    if !matches!(id.trim(), "" | "uninitialized") {
        findings.warning(
            "machine-id",
            "/etc/machine-id is set: all nodes are one machine to systemd and to DHCP servers",
            "make it empty",
        );
    }
    for path in network_settings(root)? {
        if binds_to_a_machine(&root.read_text(&path)?.unwrap_or_default()) {
            let what = format!("/{path} names the Ethernet address of one machine");
            findings.warning("mac", what, "remove it");
        }
    }
    Ok(())
}

/// Whether the worker runs: by running it.
fn worker(root: &Root, findings: &mut Findings) {
    const FIX: &str =
        "build the image again with a --worker that fits it, or write `worker = false`";
    if !root.exists(equip::WORKER) {
        findings.error("worker", format!("there is no /{}", equip::WORKER), FIX);
        return;
    }
    if let Err(error) = inside::quiet(root, &["/usr/bin/regex-worker", "--version"], &[]) {
        findings.error("worker", format!("{error:#}"), FIX);
    }
    // The worker waits until what it searches is mounted; mount.nfs reads both.
    for (path, fix) in [
        ("sbin/mount.nfs", "add the package nfs-common"),
        ("etc/protocols", "add the package netbase"),
    ] {
        if !root.exists(path) {
            let what = format!("there is no /{path}, so data cannot be mounted over NFS");
            findings.warning("no-nfs", what, fix);
        }
    }
}
