//! What must not be in an image: what belongs to one machine alone, and what only a running system needs.

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
        root.write("etc/machine-id", "", 0o444)?;
        if !cleaning.is_declared(RESOLVER) {
            root.write(RESOLVER, "", 0o644)?;
        }
    }
    machine_bindings(root, cleaning)?;
    if !cleaning.keeps_host_keys {
        host_keys(root)?;
    }
    root.remove(".regexctl-kernel")?;
    special_files(root, cleaning)?;
    if cleaning.strip_docs {
        documentation(root)?;
    }
    for file in declared.into_iter().filter(|file| !is_there(file)) {
        (cleaning.tell)(&format!(
            "{} is left out, although the declaration asks for it: no image has it",
            file.path
        ));
    }
    Ok(())
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
        for unit in names {
            if root.exists(format!("usr/lib/systemd/system/{unit}")) {
                tell(&format!(
                    "{unit} is switched off: nodes are no servers; name it in `services.enable` where they are"
                ));
            }
            equip::mask(root, unit)?;
        }
    }
    root.write(
        "etc/fstab",
        "# The root is laid together by the initramfs.\n",
        0o644,
    )
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
fn host_keys(root: &Root) -> anyhow::Result<()> {
    for name in root.names("etc/ssh")? {
        if name.starts_with("ssh_host_") {
            root.remove(format!("etc/ssh/{name}"))?;
        }
    }
    Ok(())
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
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn what_belongs_to_one_machine_is_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::new(directory.path());
        for path in [
            "etc/machine-id",
            "etc/ssh/ssh_host_rsa_key",
            "etc/ssh/sshd_config",
            "etc/udev/rules.d/70-persistent-net.rules",
            "etc/hostname",
            "var/lib/apt/lists/deb.example_Packages",
            "var/log/dpkg.log",
            "var/log/chrony/statistics",
            "var/lib/systemd/random-seed",
            "usr/share/doc/bash/copyright",
            "usr/share/doc/bash/README",
            "usr/share/man/man1/bash.1.gz",
            "tmp/left",
        ] {
            root.write(path, "text", 0o644).expect("a file");
        }
        root.write(
            "etc/systemd/network/10-lan.link",
            "[Match]\nMACAddress=52:54:00:12:34:56\n",
            0o644,
        )
        .expect("a file");
        root.write(
            "etc/systemd/network/99-all.link",
            "[Match]\nOriginalName=*\n",
            0o644,
        )
        .expect("a file");
        for (path, text) in [
            (
                "etc/netplan/01.yaml",
                "      match: {macaddress: 52:54:00:12:34:56}\n",
            ),
            (
                "etc/NetworkManager/system-connections/lan.nmconnection",
                "[ethernet]\nmac-address=52:54:00:12:34:56\n",
            ),
            (
                "etc/network/interfaces.d/eth0",
                "iface eth0 inet dhcp\n  hwaddress ether 52:54:00:12:34:56\n",
            ),
        ] {
            root.write(path, text, 0o600).expect("a file");
        }
        let told = RefCell::new(Vec::new());
        let cleaning = Cleaning {
            strip_docs: true,
            keeps_host_keys: false,
            declared: &[],
            tell: &|what| told.borrow_mut().push(what.to_owned()),
        };
        clean(&root, &cleaning).expect("it can be cleaned");
        let told = told.into_inner();
        assert_eq!(told.len(), 5, "{told:?}");
        let netplan =
            "/etc/netplan/01.yaml is left out: it names the Ethernet address of one machine";
        assert!(told.iter().any(|told| told == netplan), "{told:?}");
        let listing = super::super::listing::Listing::of(root.path(), "").expect("listed");
        let files: Vec<&str> = listing
            .entries
            .iter()
            .filter(|entry| entry.kind.letter() == 'f')
            .map(|entry| entry.path.as_str())
            .collect();
        assert_eq!(
            files,
            [
                "etc/machine-id",
                "etc/resolv.conf",
                "etc/ssh/sshd_config",
                "etc/systemd/network/99-all.link",
                "usr/share/doc/bash/copyright",
            ]
        );
        assert!(root.exists("var/log/chrony"));
        assert_eq!(root.read("etc/machine-id").expect("read"), Some(Vec::new()));
    }

    #[test]
    fn ethernet_addresses_are_seen() {
        for text in [
            "MACAddress=52:54:00:12:34:56",
            "  PermanentMACAddress=52-54-00-12-34-56",
            "mac-address=52:54:00:12:34:56",
            "        macaddress: '52:54:00:12:34:56'",
            "    hwaddress ether 52:54:00:12:34:56",
            "SUBSYSTEM==\"net\", ATTR{address}==\"52:54:00:12:34:56\", NAME=\"eth0\"",
        ] {
            assert!(binds_to_a_machine(text), "{text}");
        }
        for text in [
            "# MACAddress=52:54:00:12:34:56",
            "MACAddressPolicy=persistent",
            "Address=2001:db8::1",
            "DUID=52:54:00:12:34:56",
        ] {
            assert!(!binds_to_a_machine(text), "{text}");
        }
    }

    /// Such as a post-script makes: copies would not have it, and it would be missed in them.
    #[test]
    fn special_files_are_left_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::new(directory.path());
        root.write("opt/app/file", "text", 0o644).expect("a file");
        let fifo = directory.path().join("opt/app/ctl");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            0o644.into(),
            0,
        )
        .expect("it can be made");
        let told = RefCell::new(Vec::new());
        let cleaning = Cleaning {
            strip_docs: false,
            keeps_host_keys: false,
            declared: &[],
            tell: &|what| told.borrow_mut().push(what.to_owned()),
        };
        clean(&root, &cleaning).expect("it can be cleaned");
        let what = "/opt/app/ctl is left out: it is a device, a socket or a FIFO";
        assert_eq!(told.into_inner(), [what]);
        assert!(root.exists("opt/app/file") && !fifo.exists());
    }

    #[test]
    fn what_comes_with_a_directory_is_declared_and_nothing_else_below_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let overlay = directory.path().join("overlay");
        fs::create_dir_all(&overlay).expect("a directory");
        fs::write(overlay.join("resolv.conf"), "nameserver 10.0.0.1\n").expect("a file");
        let file = |path: &str, content| ImageFile {
            path: path.parse().expect("a path"),
            content,
            mode: 0o755,
            owner: "root".parse().expect("a name"),
            group: "root".parse().expect("a name"),
        };
        let declared = [
            file(
                "/etc",
                FileContent::Copy(overlay.display().to_string().parse().expect("a path")),
            ),
            file("/etc/systemd/network", FileContent::Directory),
        ];
        let cleaning = Cleaning {
            strip_docs: false,
            keeps_host_keys: false,
            declared: &declared,
            tell: &|_| {},
        };
        assert!(cleaning.is_declared("etc/resolv.conf"));
        assert!(!cleaning.is_declared("etc/netplan/01.yaml"));
        assert!(!cleaning.is_declared("etc/systemd/network/10-lan.link"));
    }

    #[test]
    fn a_master_s_passwords_and_networks_are_forgotten() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::new(directory.path());
        root.write("etc/shadow", "root:$6$a$b:1::::::\n", 0o640)
            .expect("a file");
        root.write("etc/gshadow", "root:*::\nstaff:$6$a$b:ann:ann\n", 0o640)
            .expect("a file");
        root.write("etc/network/interfaces", "iface eth0 inet static\n", 0o644)
            .expect("a file");
        root.write("etc/netplan/01.yaml", "network:\n", 0o600)
            .expect("a file");
        let dnsmasq = "etc/systemd/system/regex-provision-dnsmasq.service";
        root.write(dnsmasq, "[Service]\n", 0o644).expect("a file");
        root.write("etc/exports", "/srv *(rw)\n", 0o644)
            .expect("a file");
        let wanted = ["nfs-kernel-server.service".parse().expect("a unit")];
        forget_master(&root, &wanted, &|_| {}).expect("it can be forgotten");
        for unit in [
            "isc-dhcp-server.service",
            "kea-dhcp4-server.service",
            "dnsmasq.service",
            "nfs-ganesha.service",
            "tftpd-hpa.service",
            "regex-master.service",
            "regex-provision-dnsmasq.service",
            "regex-provision-serve.service",
        ] {
            let place = root.path().join("etc/systemd/system").join(unit);
            let leads_to = std::fs::read_link(place).expect(unit);
            assert_eq!(leads_to, Path::new("/dev/null"), "{unit}");
        }
        for unit in ["nfs-server.service", "nfs-kernel-server.service"] {
            let place = root.path().join("etc/systemd/system").join(unit);
            assert!(place.symlink_metadata().is_err(), "{unit} is wanted");
        }
        assert!(!root.exists("etc/exports"));
        let shadow = root.read_text("etc/shadow").expect("read");
        assert_eq!(shadow.as_deref(), Some("root:*:1::::::\n"));
        let gshadow = root.read_text("etc/gshadow").expect("read");
        assert_eq!(gshadow.as_deref(), Some("root:*::\nstaff:*:ann:ann\n"));
        assert!(!root.exists("etc/netplan/01.yaml"));
        let interfaces = root.read_text("etc/network/interfaces").expect("read");
        assert!(!interfaces.unwrap_or_default().contains("eth0"));
    }
}
