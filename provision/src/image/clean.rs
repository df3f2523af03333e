//! What must not be in an image: what belongs to one machine alone, and what only a running system needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;
use walkdir::WalkDir;

use super::equip;
use super::root::Root;
use super::users::Users;
use crate::model::UnitName;
use crate::model::image::{FileContent, ImageFile};
use crate::render::Service;

/// Directories that are emptied.
const EMPTIED: [&str; 13] = [
    "dev",
    "proc",
    "run",
    "sys",
    "tmp",
    "var/tmp",
    "var/cache/apt",
    "var/cache/debconf",
    "var/cache/ldconfig",
    "var/lib/apt/lists",
    "var/lib/dhcp",
    "var/lib/dbus",
    "var/lib/systemd/coredump",
];

/// What is removed.
const REMOVED: [&str; 20] = [
    "etc/.pwd.lock",
    "etc/adjtime",
    "etc/group-",
    "etc/gshadow-",
    "etc/hostname",
    "etc/mtab",
    "etc/passwd-",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "initrd.img",
    "initrd.img.old",
    "vmlinuz",
    "vmlinuz.old",
    "root/.bash_history",
    // Names for people, and the quirks of keyboards and mice: 20 MB.
    "usr/lib/udev/hwdb.bin",
    "usr/lib/udev/hwdb.d",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/systemd/random-seed",
];

/// Files of the package manager's own history, and others with dates in them.
const REMOVED_LOGS: [&str; 2] = ["var/log", "var/lib/ucf/cache"];

/// The names of rules by which udev remembered interfaces and disks.
const UDEV_RULES: [&str; 5] = [
    "70-persistent-net.rules",
    "70-persistent-cd.rules",
    "75-persistent-net-generator.rules",
    "75-cd-aliases-generator.rules",
    "z25_persistent-net.rules",
];

/// The id of a machine, by which DHCP servers and logs know it.
const MACHINE_ID: &str = "etc/machine-id";

/// The settings of ifupdown, and what a node has instead of those of one machine.
const INTERFACES: &str = "etc/network/interfaces";
const LOOPBACK_ONLY: &str = "# The initramfs configures the interface that the node booted from.\nauto lo\niface lo inet loopback\n";

/// The resolver's settings: a node gets its own.
const RESOLVER: &str = "etc/resolv.conf";

/// What answers others in the network of the nodes, as only a master may. Names of one unit stand together.
const SERVERS: [&[&str]; 13] = [
    &["atftpd.service"],
    &["dnsmasq.service"],
    &["isc-dhcp-server.service"],
    &["isc-dhcp-server6.service"],
    &["kea-dhcp4-server.service", "kea-dhcp4.service"],
    &["kea-dhcp6-server.service", "kea-dhcp6.service"],
    &["kea-dhcp-ddns-server.service", "kea-dhcp-ddns.service"],
    &["kea-ctrl-agent.service"],
    &["nfs-server.service", "nfs-kernel-server.service"],
    &["nfs-ganesha.service"],
    &["nfs-ganesha-lock.service"],
    &["radvd.service"],
    &["tftpd-hpa.service"],
];

/// Documentation; licences stay.
const DOCUMENTATION: [&str; 8] = [
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/share/groff",
    "usr/share/doc-base",
    "usr/share/gtk-doc",
];

/// What is to be cleaned, and what of it is wanted.
pub(super) struct Cleaning<'a> {
    /// Whether documentation goes.
    pub(super) strip_docs: bool,
    /// Whether host keys stay: where the cluster wants one for all nodes.
    pub(super) keeps_host_keys: bool,
    /// The files that the image's declaration asks for.
    pub(super) declared: &'a [ImageFile],
    /// Is told what goes that somebody may miss.
    pub(super) tell: &'a dyn Fn(&str),
}

impl Cleaning<'_> {
    /// Whether the declaration asks for this path of the image, or it comes with a directory that is copied.
    fn is_declared(&self, path: &str) -> bool {
        let path = Path::new("/").join(path);
        self.declared.iter().any(|file| {
            let Ok(below) = path.strip_prefix(file.path.as_path()) else {
                return false;
            };
            match &file.content {
                FileContent::Text(_) | FileContent::Link(_) => below.as_os_str().is_empty(),
                FileContent::Directory => false,
                FileContent::Copy(from) => {
                    let from = from.as_path();
                    // Where it is there no more, nobody knows what it had.
                    below.as_os_str().is_empty()
                        || from.join(below).symlink_metadata().is_ok()
                        || !from.exists()
                }
            }
        })
    }
}

/// Removes all that.
pub(super) fn clean(root: &Root, cleaning: &Cleaning<'_>) -> anyhow::Result<()> {
    let is_there = |file: &&ImageFile| {
        let place = root.resolve_parent(file.path.as_path());
        place.is_ok_and(|place| place.symlink_metadata().is_ok())
    };
    let declared: Vec<&ImageFile> = cleaning.declared.iter().filter(is_there).collect();
    let of_one = of_one_machine(root, cleaning)?;
    for directory in EMPTIED {
        root.empty(directory)?;
    }
    for path in REMOVED {
        root.remove(path)?;
    }
    for directory in REMOVED_LOGS {
        remove_files(root, directory)?;
    }
    if root.exists("etc") {
        // Empty: systemd makes one at each boot. Missing, it would take the boot for the first one ever.
        root.write(MACHINE_ID, "", 0o444)?;
        if !cleaning.is_declared(RESOLVER) {
            root.write(RESOLVER, "", 0o644)?;
        }
    }
    machine_bindings(root, cleaning)?;
    if !cleaning.keeps_host_keys {
        for key in host_keys(root)? {
            root.remove(key)?;
        }
    }
    root.remove(".regexctl-kernel")?;
    special_files(root, cleaning)?;
    if cleaning.strip_docs {
        documentation(root)?;
    }
    let emptied = declared.into_iter().filter(|file| !is_there(file));
    let mut asked_for: BTreeSet<String> = emptied.map(|file| file.path.to_string()).collect();
    asked_for.extend(of_one);
    for path in asked_for {
        (cleaning.tell)(&format!(
            "{path} is left out, although the declaration asks for it: no image has it"
        ));
    }
    Ok(())
}

/// The files that the declaration asks for, itself or with a directory, and that no image has, for each machine has its own.
fn of_one_machine(root: &Root, cleaning: &Cleaning<'_>) -> anyhow::Result<Vec<String>> {
    let mut paths: Vec<String> = REMOVED.map(str::to_owned).into();
    if !cleaning.keeps_host_keys {
        paths.extend(host_keys(root)?);
    }
    let id = root.read(MACHINE_ID)?;
    if id.is_some_and(|id| !id.is_empty()) {
        paths.push(MACHINE_ID.to_owned());
    }
    paths.retain(|path| root.exists(path) && cleaning.is_declared(path));
    Ok(paths.into_iter().map(|path| format!("/{path}")).collect())
}

/// Takes away what the running system of the master has besides: passwords, network settings, mounts, and the services by which
/// it is the master. What `enable` names is wanted.
pub(super) fn forget_master(
    root: &Root,
    enable: &[UnitName],
    tell: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let mut users = Users::read(root)?;
    users.lock();
    users.write(root)?;
    root.write(INTERFACES, LOOPBACK_ONLY, 0o644)?;
    for directory in [
        "etc/network/interfaces.d",
        "etc/NetworkManager/system-connections",
        "etc/netplan",
        "etc/wpa_supplicant",
    ] {
        root.empty(directory)?;
    }
    for name in root.names("etc/systemd/network")? {
        root.remove(format!("etc/systemd/network/{name}"))?;
    }
    for file in [
        "etc/crypttab",
        "etc/exports",
        "etc/mdadm/mdadm.conf",
        "etc/iscsi/initiatorname.iscsi",
    ] {
        root.remove(file)?;
    }
    let ours = Service::ALL.into_iter().filter(|service| service.is_ours());
    let ours: Vec<[&str; 1]> = ours.map(|service| [service.unit()]).collect();
    let others = SERVERS.into_iter();
    for names in others.chain(ours.iter().map(<[&str; 1]>::as_slice)) {
        if enable.iter().any(|unit| names.contains(&unit.as_str())) {
            continue;
        }
        if let Some(unit) = names.iter().find(|unit| is_installed(root, unit)) {
            tell(&format!(
                "{unit} is switched off: nodes are no servers; name it in `services.enable` where they are"
            ));
        }
        for unit in names {
            equip::mask(root, unit)?;
        }
    }
    root.write(
        "etc/fstab",
        "# The root is laid together by the initramfs.\n",
        0o644,
    )
}

/// Whether systemd has a service of this name: a unit, or a script of the time before it.
fn is_installed(root: &Root, unit: &str) -> bool {
    let name = unit.strip_suffix(".service").unwrap_or(unit);
    [
        format!("etc/systemd/system/{unit}"),
        format!("usr/lib/systemd/system/{unit}"),
        format!("lib/systemd/system/{unit}"),
        format!("etc/init.d/{name}"),
    ]
    .iter()
    .any(|path| root.exists(path))
}

/// Devices, sockets and FIFOs: whoever needs one makes it when the node runs.
fn special_files(root: &Root, cleaning: &Cleaning<'_>) -> anyhow::Result<()> {
    for entry in WalkDir::new(root.path()) {
        let entry = entry.with_context(|| format!("cannot list {}", root.path().display()))?;
        let kind = entry.file_type();
        if kind.is_file() || kind.is_dir() || kind.is_symlink() {
            continue;
        }
        let path = entry.path();
        let shown = path.strip_prefix(root.path()).unwrap_or(path);
        (cleaning.tell)(&format!(
            "/{} is left out: it is a device, a socket or a FIFO",
            shown.display()
        ));
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// The host keys of sshd.
fn host_keys(root: &Root) -> anyhow::Result<Vec<String>> {
    let names = root.names("etc/ssh")?.into_iter();
    let keys = names.filter(|name| name.starts_with("ssh_host_"));
    Ok(keys.map(|name| format!("etc/ssh/{name}")).collect())
}

/// Settings that are tied to the Ethernet address of one machine, but for those that the declaration asks for.
fn machine_bindings(root: &Root, cleaning: &Cleaning<'_>) -> anyhow::Result<()> {
    for rule in UDEV_RULES {
        let path = format!("etc/udev/rules.d/{rule}");
        if root.exists(&path) && !cleaning.is_declared(&path) {
            (cleaning.tell)(&format!("/{path} is left out: it is of one machine"));
            root.remove(path)?;
        }
    }
    for path in network_settings(root)? {
        let text = root.read_text(&path)?.unwrap_or_default();
        if !binds_to_a_machine(&text) || cleaning.is_declared(&path) {
            continue;
        }
        (cleaning.tell)(&format!(
            "/{path} is left out: it names the Ethernet address of one machine"
        ));
        if path == INTERFACES {
            root.write(path, LOOPBACK_ONLY, 0o644)?;
        } else {
            root.remove(path)?;
        }
    }
    Ok(())
}

/// The files in which interfaces are configured, by whatever does it.
pub(super) fn network_settings(root: &Root) -> anyhow::Result<Vec<String>> {
    let mut paths = Vec::new();
    for directory in [
        "etc/systemd/network",
        "etc/udev/rules.d",
        "etc/netplan",
        "etc/NetworkManager/system-connections",
        "etc/network/interfaces.d",
    ] {
        let names = root.names(directory)?;
        paths.extend(names.iter().map(|name| format!("{directory}/{name}")));
    }
    paths.push(INTERFACES.to_owned());
    Ok(paths)
}

/// Whether a file of udev or of what configures interfaces speaks of one Ethernet address.
pub(super) fn binds_to_a_machine(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with(['#', ';']))
        .any(|line| {
            let line = line.to_ascii_lowercase();
            let names_one = ["address", "mac", "hwaddr"]
                .iter()
                .any(|word| line.contains(word));
            names_one && has_ethernet_address(&line)
        })
}

/// Six pairs of hexadecimal digits with colons or dashes between.
fn has_ethernet_address(line: &str) -> bool {
    let is_pair = |text: &[u8]| text.len() == 2 && text.iter().all(u8::is_ascii_hexdigit);
    let words = line.split(|c: char| !(c.is_ascii_hexdigit() || c == ':' || c == '-'));
    words.into_iter().any(|word| {
        let pairs: Vec<&str> = word.split([':', '-']).collect();
        pairs.len() == 6 && pairs.iter().all(|pair| is_pair(pair.as_bytes()))
    })
}

/// Removes the files below a directory; the directories stay, for services that expect them.
fn remove_files(root: &Root, directory: &str) -> anyhow::Result<()> {
    let place = root.resolve(directory)?;
    if !place.is_dir() {
        return Ok(());
    }
    // systemd makes this one only if it should keep its journal on disk.
    root.remove(format!("{directory}/journal"))?;
    for entry in WalkDir::new(&place) {
        let entry = entry.with_context(|| format!("cannot list {}", place.display()))?;
        if !entry.file_type().is_dir() {
            std::fs::remove_file(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

fn documentation(root: &Root) -> anyhow::Result<()> {
    for directory in DOCUMENTATION {
        root.empty(directory)?;
    }
    for package in root.names("usr/share/doc")? {
        let directory = format!("usr/share/doc/{package}");
        for name in root.names(&directory)? {
            if name != "copyright" {
                root.remove(format!("{directory}/{name}"))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "clean_tests.rs"]
mod tests;
