//! What each kind of firmware is told to load, by each DHCP server with what was made for it: also by a BIOS whose card has no
//! iPXE, which the virtual machines have.

use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::harness::{Daemon, Namespace, missing, needs};
use super::dhcp::{self, Firmware};
use super::site::{Server, Site};

const BIOS: u16 = 0;
const EFI: u16 = 7;
/// What the RFC had meant for the same.
const EFI_TOO: u16 = 9;

/// What the machine has by then, whoever gave it.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 99, 1);

const SCRIPT: &str = "http://10.77.0.1:8080/boot.ipxe";

/// The nodes, and one machine that is none: its name is its loader.
const NODES: [&str; 5] = ["auto", "ipxe", "pxelinux", "grub", "stranger"];

/// For each of them by its number, and whether iPXE asks, what it is to load.
const FILES: [(usize, u16, bool, &str); 20] = [
    (0, BIOS, false, "undionly.kpxe"),
    (0, EFI, false, "snponly.efi"),
    (0, EFI_TOO, false, "snponly.efi"),
    (0, BIOS, true, SCRIPT),
    (0, EFI, true, SCRIPT),
    (1, BIOS, false, "ipxe.pxe"),
    (1, EFI, false, "ipxe.efi"),
    (1, EFI_TOO, false, "ipxe.efi"),
    (1, BIOS, true, SCRIPT),
    (1, EFI, true, SCRIPT),
    (2, BIOS, false, "lpxelinux.0"),
    (2, EFI, false, "syslinux.efi"),
    (2, EFI_TOO, false, "syslinux.efi"),
    (3, BIOS, false, "undionly.kpxe"),
    (3, EFI, false, "shimx64.efi"),
    (3, EFI_TOO, false, "shimx64.efi"),
    (3, BIOS, true, SCRIPT),
    (4, BIOS, false, "undionly.kpxe"),
    (4, EFI, false, "snponly.efi"),
    (4, EFI, true, SCRIPT),
];

/// A site whose `[dhcp]` says this, its network, and a machine that is plugged in.
struct Room {
    site: Site,
    network: Namespace,
    machine: Namespace,
}

impl Room {
    /// None where it cannot be made.
    fn new(programs: &[&str], dhcp: &str) -> Option<Self> {
        if !needs(&["ip"]) || !needs(programs) {
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            missing("root");
            return None;
        }
        let network = Namespace::new(&["10.77.0.1/16"])?;
        let machine = network.machine(&format!("{ADDRESS}/16"));
        let site = Site::new(0, dhcp);
        let sections = NODES[..4].iter().enumerate().map(|(number, loader)| {
            format!(
                "[[node]]\nname = \"{loader}\"\nloader = \"{loader}\"\nmac = \"52:54:00:00:00:{number:02x}\"\n\
                 address = \"10.77.1.{number}\"\n"
            )
        });
        let text = fs::read_to_string(site.file()).expect("it is there");
        let text = text + &sections.collect::<String>();
        site.describe(&text);
        site.build("one");
        site.apply(1);
        Some(Self {
            site,
            network,
            machine,
        })
    }

    /// Whoever asks is told what it should be.
    fn all_are_told(&self) {
        let told = std::thread::scope(|scope| {
            let asks = scope.spawn(|| {
                self.machine.enter();
                for (number, arch, is_ipxe, wanted) in FILES {
                    let last = u8::try_from(number).expect("there are few");
                    let firmware = Firmware { arch, is_ipxe };
                    let told =
                        dhcp::boot_file("mon1", ADDRESS, [0x52, 0x54, 0, 0, 0, last], firmware)?;
                    if told != wanted {
                        let name = NODES[number];
                        return Err(format!("{name}, {firmware:?}: {told}, and not {wanted}"));
                    }
                }
                Ok(())
            });
            asks.join().expect("it does not panic")
        });
        let log = fs::read_to_string(self.site.log()).unwrap_or_default();
        assert_eq!(told, Ok(()), "{log}");
    }

    /// A file beside cluster.toml.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let directory = self.site.file();
        let directory = directory.parent().expect("it is in a directory");
        fs::set_permissions(directory, Permissions::from_mode(0o755)).expect("it is ours");
        let path = directory.join(name);
        fs::write(&path, text).expect("the directory is ours");
        path
    }

    /// What was made for another server.
    fn made(&self, name: &str) -> String {
        let root = self.site.store().root().to_owned();
        let path = root.join("current/files/external").join(name);
        assert!(path.exists(), "there is no {}", path.display());
        path.display().to_string()
    }
}

#[test]
fn by_dnsmasq() {
    let range = "[dhcp]\nrange = \"10.77.200.1-10.77.200.9\"";
    let Some(room) = Room::new(&["dnsmasq"], range) else {
        return;
    };
    let server: Server = room.site.serve_in(&room.network);
    room.all_are_told();
    server.end();
}

#[test]
fn by_dnsmasq_beside_a_site_s_server() {
    let Some(room) = Room::new(&["dnsmasq"], "[dhcp]\nmode = \"proxy\"") else {
        return;
    };
    let server: Server = room.site.serve_in(&room.network);
    room.all_are_told();
    server.end();
}

#[test]
fn by_a_site_s_dhcpd() {
    let Some(room) = Room::new(&["dhcpd"], "[dhcp]\nmode = \"external\"") else {
        return;
    };
    let text = format!(
        "authoritative;\ninclude \"{}\";\nsubnet 10.77.0.0 netmask 255.255.0.0 {{\n  range 10.77.200.1 10.77.200.9;\n  \
         include \"{}\";\n}}\n",
        room.made("dhcpd.conf"),
        room.made("dhcpd-unknown.conf")
    );
    let configuration = room.file("dhcpd.conf", &text);
    let leases = room.file("dhcpd.leases", "");
    let mut command = room.network.command("dhcpd");
    command.args(["-4", "-f", "-d", "--no-pid"]);
    command.args([Path::new("-cf"), &configuration, Path::new("-lf"), &leases]);
    command.arg("br0");
    answers(&room, command);
}

#[test]
fn by_a_site_s_kea() {
    let Some(room) = Room::new(&["kea-dhcp4"], "[dhcp]\nmode = \"external\"") else {
        return;
    };
    let text = format!(
        r#"{{ "Dhcp4": {{
  "interfaces-config": {{ "interfaces": [ "br0" ] }},
  "lease-database": {{ "type": "memfile", "persist": false }},
  "client-classes": [ <?include "{}"?>, <?include "{}"?> ],
  "subnet4": [ {{ "id": 1, "subnet": "10.77.0.0/16", "pools": [ {{ "pool": "10.77.200.1-10.77.200.9" }} ],
    "reservations": <?include "{}"?> }} ]
}} }}
"#,
        room.made("kea-classes.json"),
        room.made("kea-classes-unknown.json"),
        room.made("kea-reservations.json"),
    );
    let configuration = room.file("kea.json", &text);
    let mut command = room.network.command("kea-dhcp4");
    command.arg("-c").arg(&configuration);
    command.env(
        "KEA_PIDFILE_DIR",
        configuration.parent().expect("it has one"),
    );
    command.env("KEA_LOCKFILE_DIR", "none");
    answers(&room, command);
}

/// With a server of the site.
fn answers(room: &Room, command: Command) {
    let mut server = Daemon::start(command);
    room.all_are_told();
    assert!(server.runs());
}
