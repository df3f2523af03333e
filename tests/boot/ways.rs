//! Every other way to come up: each loader and each root mode, images that were imported, other DHCP servers beside or
//! instead of ours; and a boot endpoint that is away for a minute, and a kernel that hangs.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::guest::{Firmware, Machine};
use super::imports::{self, Unpacked};
use super::neighbour;
use super::rig::{self, Daemon};
use super::site::{self, Plan, Site};
use super::{say, stages};

/// How long the boot endpoint is away for a node that is fetching its root.
const OUTAGE: Duration = Duration::from_secs(60);

/// How fast that node can fetch it: slowly enough that it is met in the middle.
const SLOW: &str = "30mbit";

/// What each node is told; the name of a profile is that of its node. The first is the node of the how-to.
const PROFILES: &str = r#"
[profile.pxelinux]
loader = "pxelinux"
root = "ramdisk"
usr = "nfs"

[profile.syslinux]
loader = "pxelinux"
root = "ramdisk"

[profile.grub]
loader = "grub"
usr = "nfs"

[profile.own]
loader = "ipxe"

# As in the other test, so that the base root of the image is made once for both.
[log]
target = "master"

# A kernel that finds neither its initramfs nor a root, and does not start again.
[profile.hangs]
kernel-args = ["rdinit=/none", "panic=0"]

[image.oci]
source = { kind = "oci", path = "/srv/not-there" }

[profile.oci]
image = "oci"

[image.copied]
source = { kind = "master" }
format = "erofs"

[profile.copied]
image = "copied"
"#;

pub(crate) fn go() {
    let began = Instant::now();
    let work = tempfile::tempdir().expect("the directory for temporary files can be written");
    let rack = Rack::new(work.path());
    say(
        began,
        "describing the cluster, building its image, applying",
    );
    let nodes = rack
        .own_profile()
        .map(|machine| (machine, Some(machine.name)));
    let plan = Plan {
        nodes: &nodes,
        profiles: PROFILES,
        // The other format of packed roots.
        image: "format = \"erofs\"",
        ssh: "host-keys = \"kept\"",
        ..Plan::default()
    };
    let site = Site::furnish(work.path(), plan);
    let mut run = Run { began, site };
    run.loaders_and_root_modes(&rack);
    run.other_dhcp_servers(&rack, work.path());
}

/// The machines.
struct Rack {
    /// BIOS, PXELINUX, the root as an initramfs and /usr over NFS.
    pxelinux: Machine,
    /// UEFI, syslinux.efi, the whole root as an initramfs.
    syslinux: Machine,
    /// UEFI with Secure Boot, shim and GRUB, the root in memory and /usr over NFS.
    grub: Machine,
    /// UEFI, an iPXE with drivers of its own, the root in memory, fetched with an outage.
    own: Machine,
    /// Its kernel hangs.
    hangs: Machine,
    /// As most are, but with imported images; for other DHCP servers.
    bios: Machine,
    efi: Machine,
}

impl Rack {
    fn new(directory: &Path) -> Rack {
        let machine = |name, number, firmware, memory, card| Machine {
            name,
            number,
            firmware,
            memory,
            card,
            directory: directory.to_owned(),
        };
        let (bios, uefi, secure) = (Firmware::Bios, Firmware::Uefi, Firmware::SecureUefi);
        Rack {
            pxelinux: machine("pxelinux", 0, bios, 384, "e1000"),
            syslinux: machine("syslinux", 1, uefi, 1024, "virtio-net-pci"),
            grub: machine("grub", 2, secure, 512, "virtio-net-pci"),
            own: machine("own", 3, uefi, 512, "virtio-net-pci"),
            hangs: machine("hangs", 4, bios, 384, "virtio-net-pci"),
            bios: machine("bios", 5, bios, 384, "virtio-net-pci"),
            efi: machine("efi", 6, uefi, 512, "virtio-net-pci"),
        }
    }

    /// Those that have a profile of their own.
    fn own_profile(&self) -> [&Machine; 5] {
        [
            &self.pxelinux,
            &self.syslinux,
            &self.grub,
            &self.own,
            &self.hangs,
        ]
    }
}

struct Run {
    began: Instant,
    site: Site,
}

impl Run {
    fn say(&self, what: &str) {
        say(self.began, what);
    }

    fn loaders_and_root_modes(&mut self, rack: &Rack) {
        self.say("switching on a node for each loader and root mode, and one whose kernel hangs");
        let slow = Slow::line_of(&rack.own);
        let hanging = rack.hangs.start(&[]);
        let others = [&rack.pxelinux, &rack.syslinux, &rack.grub, &rack.own];
        let _guests = others.map(|machine| machine.start(&[]));
        self.hangs(&rack.hangs, hanging);
        let outage = self.outage(&rack.own);
        // It lasts while the others come up.
        self.imported_images(rack);
        outage.outlast(self, &rack.own);
        drop(slow);
        for (machine, loader) in [
            (&rack.pxelinux, "lpxelinux.0"),
            (&rack.syslinux, "syslinux.efi"),
            (&rack.grub, "shimx64.efi"),
            (&rack.own, "ipxe.efi"),
        ] {
            self.is_up(machine, loader);
        }
        self.site.log_in("pxelinux,syslinux,grub,own");
        for (machine, root, usr) in [
            (&rack.pxelinux, "tmpfs", "nfs"),
            (&rack.syslinux, "tmpfs", "tmpfs"),
            (&rack.grub, "overlayfs", "nfs"),
            (&rack.own, "overlayfs", "overlayfs"),
        ] {
            self.site.has_root(machine.name, root, usr);
        }
        host_keys_are_kept(rack);
        let hangs = rack.hangs.name;
        let reason = self
            .site
            .until("the node whose kernel hangs is told", |site| {
                let node = site.node(hangs)?;
                (node["state"] == "stuck").then(|| node["reason"].clone())
            });
        let reason = reason.as_str().unwrap_or_default();
        assert!(reason.contains("hangs in the kernel"), "{reason}");
        self.say(&format!("{hangs}: {reason}"));
    }

    /// Waits until the kernel of a machine hangs, and switches it off: such a kernel goes round, and the others need the
    /// cores. From outside it is the same.
    fn hangs(&mut self, machine: &Machine, guest: Daemon) {
        self.site.until("the kernel hangs", |_| {
            rig::tail(&machine.log(), 100)
                .contains("Kernel panic")
                .then_some(())
        });
        drop(guest);
    }

    /// Waits until a node is up by its first boot, through this loader.
    fn is_up(&mut self, machine: &Machine, loader: &str) {
        let name = machine.name;
        let node = self.site.wait_for_node(name);
        self.say(&format!("{name} is up: {}", stages(&node)));
        assert_eq!(
            node["boot"]["number"], 1,
            "{name} had to try again: {node:#}"
        );
        assert!(
            self.site.has_sent(loader, machine),
            "{name} was not sent {loader}"
        );
    }

    /// Makes images of what exists, for the nodes that are to come.
    fn imported_images(&self, rack: &Rack) {
        let unpacked = Unpacked::of(&self.site, rack.grub.name);
        self.say("importing an OCI image, with a kernel from elsewhere");
        imports::oci(&self.site, &unpacked, "oci");
        self.say("importing a running system, as the how-to did");
        imports::running_system(&self.site, &unpacked, "copied");
        self.site.import_node(&rack.bios, Some("oci"));
        self.site.import_node(&rack.efi, Some("copied"));
    }

    /// While the node fetches its root, the boot endpoint goes away.
    fn outage(&mut self, machine: &Machine) -> Outage {
        let name = machine.name;
        self.site
            .until(&format!("{name} is in the middle of its image"), |site| {
                let node = site.node(name)?;
                (image_percent(&node)? > 0).then_some(())
            });
        let outage = Outage::for_node(machine);
        self.say(&format!(
            "{name} fetches its root: the boot endpoint is gone for a minute"
        ));
        outage
    }

    fn other_dhcp_servers(&mut self, rack: &Rack, directory: &Path) {
        neighbour::plug_in();
        let machines = [&rack.bios, &rack.efi];

        self.say(
            "a DHCP server of the site that knows nothing of booting; ours adds where to boot from",
        );
        self.site.change_dhcp("mode = \"proxy\"");
        let mut server = neighbour::plain_dhcpd(directory, &machines);
        let guests = self.boot(&machines, &mut server, "worker");
        let planted = imports::MASTER_S.map(|path| format!("/{path}")).join(" ");
        let ask = format!("echo I am $(hostname); cat {planted} || true");
        let said = self.site.until("they let an administrator in", |site| {
            site.exec("bios,efi", &ask)
        });
        for name in ["bios", "efi"] {
            assert!(said.contains(&format!("I am {name}")), "{said}");
        }
        assert!(!said.contains("of the master"), "{said}");
        drop((guests, server));

        // When the kernel reports, DHCP's part is over.
        self.say("ISC dhcpd of the site, with what we made for it");
        self.site.change_dhcp("mode = \"external\"");
        // The card of this machine has an iPXE, which needs no other. So that one is loaded, that server gives it one
        // before ours takes over.
        let (loader, before) = ("undionly.kpxe", self.site.boots_of(rack.bios.name));
        let given = neighbour::dhcpd_with_loader(directory, &rack.bios, loader);
        let guest = rack.bios.start(&[]);
        self.site.until("the BIOS has its loader", |site| {
            site.has_sent(loader, &rack.bios).then_some(())
        });
        drop(given);
        let mut server = neighbour::dhcpd_with_fragment(directory);
        let other = self.boot(&[&rack.efi], &mut server, "kernel");
        self.arrived(&rack.bios, before, "kernel");
        assert!(self.site.has_sent("snponly.efi", &rack.efi));
        drop((guest, other, server));

        self.say("Kea of the site, with what we made for it");
        let mut server = neighbour::kea_with_fragments(directory);
        self.boot(&machines, &mut server, "kernel");
    }

    /// Boots machines with a DHCP server, up to a stage. They run as long as what is given back is held.
    fn boot(&mut self, machines: &[&Machine], server: &mut Daemon, stage: &str) -> Vec<Daemon> {
        let before = machines
            .iter()
            .map(|machine| self.site.boots_of(machine.name));
        let before: Vec<u64> = before.collect();
        let guests = machines.iter().map(|machine| machine.start(&[])).collect();
        for (machine, before) in machines.iter().zip(before) {
            self.arrived(machine, before, stage);
        }
        assert!(server.runs(), "{}", rig::tail(&server.log, 20));
        guests
    }

    /// Waits until a machine has come to a stage by its first boot after that many.
    fn arrived(&mut self, machine: &Machine, before: u64, stage: &str) {
        let name = machine.name;
        let node = self
            .site
            .until(&format!("{name} has come to {stage}"), |site| {
                let node = site.node(name)?;
                let has_come = has_reached(&node, stage);
                (has_come && node["boot"]["number"].as_u64()? > before).then_some(node)
            });
        self.say(&format!("{name}: {}", stages(&node)));
        assert_eq!(
            node["boot"]["number"],
            before + 1,
            "{name} had to try again: {node:#}"
        );
    }
}

/// Nodes show the keys that the master keeps for them.
fn host_keys_are_kept(rack: &Rack) {
    for machine in [&rack.pxelinux, &rack.syslinux, &rack.grub, &rack.own] {
        let shown = rig::run("ssh-keyscan", &["-t", "ed25519", &machine.address()]);
        let kept = site::store().join(format!(
            "hostkeys/{}/ssh_host_ed25519_key.pub",
            machine.name
        ));
        let kept = fs::read_to_string(kept).expect("apply has made it");
        let key = kept
            .split(' ')
            .nth(1)
            .expect("a public key has three words");
        assert!(
            shown.contains(key),
            "{}: {shown} instead of {kept}",
            machine.name
        );
    }
}

/// Whether a node's boot has come to a stage.
fn has_reached(node: &serde_json::Value, stage: &str) -> bool {
    let stages = node["boot"]["stages"].as_array();
    stages.is_some_and(|all| all.iter().any(|one| one["stage"] == stage))
}

/// How much of its root a node has fetched.
fn image_percent(node: &serde_json::Value) -> Option<u64> {
    let stages = node["boot"]["stages"].as_array()?;
    let image = stages.iter().find(|stage| stage["stage"] == "image")?;
    image["percent"].as_u64()
}

/// As long as it is held, a machine's line is slow.
struct Slow(String);

impl Slow {
    fn line_of(machine: &Machine) -> Slow {
        let tap = rig::tap(machine.number);
        let shaped = ["tbf", "rate", SLOW, "burst", "64kb", "latency", "100ms"];
        rig::run(
            "tc",
            &[&["qdisc", "add", "dev", &tap, "root"], &shaped[..]].concat(),
        );
        Slow(tap)
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        rig::run("tc", &["qdisc", "del", "dev", &self.0, "root"]);
    }
}

/// As long as it is held, nothing of what a node says to the boot endpoint arrives.
struct Outage {
    since: Instant,
}

impl Outage {
    fn for_node(machine: &Machine) -> Outage {
        let rule = format!(
            "table ip gone {{ chain input {{ type filter hook input priority 0; ip saddr {} tcp dport 8080 drop; }}; }}",
            machine.address()
        );
        rig::run("nft", &[&rule]);
        Outage {
            since: Instant::now(),
        }
    }

    /// Lets it last for its time; the node still waits for its root then.
    fn outlast(self, run: &Run, machine: &Machine) {
        thread::sleep(OUTAGE.saturating_sub(self.since.elapsed()));
        let node = run.site.node(machine.name).expect("it is known");
        assert_eq!(node["boot"]["stage"], "image", "{node:#}");
        let lasted = self.since.elapsed().as_secs();
        run.say(&format!("the boot endpoint is back after {lasted} s"));
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        rig::run("nft", &["delete", "table", "ip", "gone"]);
    }
}
