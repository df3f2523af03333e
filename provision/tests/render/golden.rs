//! Golden files: what each template makes of the cluster of the tests.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::Read;
use std::path::PathBuf;

use regexctl_provision::render::overlay::{self, Content};
use regexctl_provision::render::{Place, ipxe, obstacles, places_in_system, render};

use crate::fixture::{
    EXTERNAL, FULL, PROXY, STATIC, digest, images, key, lab, overlay_digest, parse, rendered, site,
    text,
};

/// Digests are told by what they are of, so that a golden file does not change with every byte
/// of something else.
fn named(text: &str) -> String {
    let mut text = text.to_owned();
    for image in ["base", "gpu"] {
        for what in ["kernel", "initramfs", "root", "ramdisk"] {
            let name = format!("{image} {what}");
            text = text.replace(&digest(&name).to_string(), &format!("<{image}-{what}>"));
        }
        let images = images(&[image]);
        let (manifest, _) = images
            .get(&image.parse().expect("a name"))
            .expect("it is there");
        text = text.replace(&manifest.to_string(), &format!("<{image}-manifest>"));
    }
    let cluster = lab(FULL, "kernel");
    for node in cluster.nodes() {
        let overlay = overlay_digest(&cluster, node).to_string();
        text = text.replace(&overlay, &format!("<overlay-{}>", node.name));
    }
    text
}

macro_rules! golden {
    ($($name:ident: $dhcp:expr, $nfs:expr, $file:expr;)*) => {$(
        #[test]
        fn $name() {
            let files = rendered(&lab($dhcp, $nfs));
            insta::assert_snapshot!(named(&text(&files, $file)));
        }
    )*};
}

golden! {
    dnsmasq_full: FULL, "kernel", "dnsmasq/dnsmasq.conf";
    dnsmasq_static: STATIC, "kernel", "dnsmasq/dnsmasq.conf";
    dnsmasq_proxy: PROXY, "kernel", "dnsmasq/dnsmasq.conf";
    dnsmasq_external: EXTERNAL, "kernel", "dnsmasq/dnsmasq.conf";
    dnsmasq_hosts: FULL, "kernel", "dnsmasq/hosts";
    dnsmasq_hosts_proxy: PROXY, "kernel", "dnsmasq/hosts";
    dhcpd: EXTERNAL, "kernel", "external/dhcpd.conf";
    dhcpd_unknown: EXTERNAL, "kernel", "external/dhcpd-unknown.conf";
    kea_classes: EXTERNAL, "kernel", "external/kea-classes.json";
    kea_classes_unknown: EXTERNAL, "kernel", "external/kea-classes-unknown.json";
    kea_reservations: EXTERNAL, "kernel", "external/kea-reservations.json";
    pxelinux_by_mac: FULL, "kernel", "tftp/pxelinux.cfg/01-52-54-00-00-00-30";
    pxelinux_of_the_network: FULL, "kernel", "tftp/pxelinux.cfg/0A4D04";
    pxelinux_refused: STATIC, "kernel", "tftp/pxelinux.cfg/0A4D04";
    grub_first: FULL, "kernel", "tftp/grub/grub.cfg";
    grub_refused: STATIC, "kernel", "tftp/grub/grub.cfg";
    grub_node: FULL, "kernel", "tftp/grub/node-52:54:00:00:00:40.cfg";
    exports: FULL, "kernel", "system/etc/exports.d/regex-provision.exports";
    ganesha: FULL, "ganesha", "ganesha/ganesha.conf";
    chrony: FULL, "kernel", "system/etc/chrony/conf.d/regex-provision.conf";
    rsyslog: FULL, "kernel", "system/etc/rsyslog.d/30-regex-provision.conf";
    logrotate: FULL, "kernel", "system/etc/logrotate.d/regex-provision";
    hosts: FULL, "kernel", "system/etc/hosts";
    unit_of_serve: FULL, "kernel", "system/etc/systemd/system/regex-provision-serve.service";
    unit_of_dnsmasq: FULL, "kernel", "system/etc/systemd/system/regex-provision-dnsmasq.service";
    unit_of_ganesha: FULL, "ganesha", "system/etc/systemd/system/regex-provision-ganesha.service";
    unit_of_master: FULL, "kernel", "system/etc/systemd/system/regex-master.service";
}

#[test]
fn ipxe_scripts() {
    let cluster = lab(FULL, "kernel");
    let images = images(&["base", "gpu"]);
    let mut scripts = format!("{}\n", ipxe::first_script(&cluster));
    for node in cluster.nodes().iter().skip(2) {
        let overlay = overlay_digest(&cluster, node);
        let script = ipxe::node_script(&cluster, node, &images, overlay).expect("it can boot");
        writeln!(scripts, "{script}").expect("a String");
    }
    let waiting = ipxe::waiting_script(&cluster, &images).expect("there is an image");
    writeln!(scripts, "{waiting}\n{}", ipxe::refused_script(&cluster)).expect("a String");
    insta::assert_snapshot!(named(&scripts));
}

/// Of what is not among them a copy of the master's system would get what is the master's, and what a damaged generation has
/// put there would stay.
#[test]
fn all_places_in_the_system_are_told() {
    let told: BTreeSet<_> = places_in_system()
        .map(|(path, service)| (PathBuf::from(path), service))
        .collect();
    let used: BTreeSet<_> = [lab(FULL, "kernel"), lab(FULL, "ganesha")]
        .iter()
        .flat_map(rendered)
        .filter_map(|file| match file.place {
            Place::System(path) => Some((path, file.service)),
            Place::Generation | Place::Link | Place::Block(_) => None,
        })
        .collect();
    assert_eq!(told, used);
}

#[test]
fn which_files_there_are_and_who_reads_them() {
    let mut lines = String::new();
    for file in rendered(&lab(FULL, "kernel")) {
        let place = match &file.place {
            Place::Generation => "generation".to_owned(),
            Place::Link => format!("link to {}", String::from_utf8_lossy(&file.bytes)),
            Place::System(path) => path.display().to_string(),
            Place::Block(path) => format!("block in {}", path.display()),
        };
        let (name, mode) = (&file.name, file.mode);
        let reader = file.service.map_or_else(String::new, |(service, effect)| {
            format!(" {effect:?} {}", service.unit())
        });
        writeln!(lines, "{name} {mode:o} [{place}]{reader}").expect("a String");
    }
    insta::assert_snapshot!(lines);
}

/// An overlay as a person would unpack it.
fn unpacked(tar: &[u8]) -> String {
    let mut text = String::new();
    for entry in tar::Archive::new(tar).entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let header = entry.header();
        assert_eq!(
            (header.uid().ok(), header.gid().ok(), header.mtime().ok()),
            (Some(0), Some(0), Some(0))
        );
        let (mode, kind) = (header.mode().expect("a mode"), header.entry_type());
        let path = entry.path().expect("a path").display().to_string();
        let link = entry
            .link_name()
            .expect("a link")
            .map(|link| link.display().to_string());
        let link = link.map_or_else(String::new, |link| format!(" -> {link}"));
        writeln!(text, "=== {path} {mode:o} {kind:?}{link}").expect("a String");
        entry.read_to_string(&mut text).expect("text");
    }
    text
}

#[test]
fn overlays() {
    let cluster = lab(FULL, "kernel");
    let key = key();
    let mut text = String::new();
    for name in ["s0", "pxe", "secure"] {
        let node = cluster
            .node(&name.parse().expect("a name"))
            .expect("a node");
        let overlay = overlay::node(&cluster, node, Some(&key));
        assert_eq!(overlay, overlay::node(&cluster, node, Some(&key)));
        writeln!(text, "##### {name}\n{}", unpacked(&overlay.tar)).expect("a String");
    }
    insta::assert_snapshot!(text);
}

#[test]
fn an_overlay_depends_on_its_own_node_alone() {
    let with = lab(FULL, "kernel");
    let text = "
        [cluster]\nname = \"a\"\ninterface = \"eth0\"\nsubnet = \"10.0.0.0/24\"\nmaster = \"10.0.0.1\"
        [image.base]
        source = { kind = \"debootstrap\", suite = \"bookworm\" }
        [profile.default]\nimage = \"base\"
        [[node]]\nname = \"a\"\nmac = \"52:54:00:00:00:01\"\naddress = \"10.0.0.2\"
    ";
    let one = parse(text);
    let two = parse(&format!(
        "{text}[[node]]\nname = \"b\"\nmac = \"52:54:00:00:00:02\"\naddress = \"10.0.0.3\"\n"
    ));
    let of_a = |cluster| overlay::node(cluster, &cluster.nodes()[0], None).digest;
    assert_eq!(of_a(&one), of_a(&two));
    let all: BTreeSet<_> = with
        .nodes()
        .iter()
        .map(|node| overlay_digest(&with, node))
        .collect();
    assert_eq!(all.len(), with.nodes().len(), "no two nodes are the same");
}

#[test]
fn host_keys_are_made_at_boot_unless_they_are_kept() {
    let cluster = parse(
        "[cluster]\nname = \"a\"\ninterface = \"eth0\"\nsubnet = \"10.0.0.0/24\"\nmaster = \"10.0.0.1\"
        [image.base]
        source = { kind = \"debootstrap\", suite = \"bookworm\" }
        [[node]]\nname = \"a\"\nmac = \"52:54:00:00:00:01\"\naddress = \"10.0.0.2\"\nimage = \"base\"",
    );
    assert!(!overlay::needs_host_key(&cluster));
    let entries = overlay::entries(&cluster, &cluster.nodes()[0], None);
    let unit = entries
        .iter()
        .find(|entry| entry.path == "etc/systemd/system/regex-host-keys.service");
    let Some(Content::File(unit, _)) = unit.map(|unit| &unit.content) else {
        panic!("there is no unit: {entries:?}")
    };
    insta::assert_snapshot!(unit);
    assert!(overlay::needs_host_key(&lab(FULL, "kernel")));
    let debug = format!("{:?}", key());
    assert!(!debug.contains("PRIVATE"), "{debug}");
}

#[test]
fn what_stands_in_the_way_is_told_once_each() {
    let cluster = lab(FULL, "kernel");
    let none = obstacles(&cluster, &images(&["base", "gpu"]), &site());
    assert_eq!(none, [""; 0]);

    let mut site = site();
    site.loaders.retain(|loader| loader.name != "shimx64.efi");
    insta::assert_debug_snapshot!(obstacles(&cluster, &images(&["gpu"]), &site), @r#"
    [
        "the image base has not been built; run `regex-provision image build base`",
        "the loader /usr/lib/shim/shimx64.efi.signed is not on this machine; install the package shim-signed",
    ]
    "#);
    // What cannot be rendered is left out, not half written.
    let files = render(&cluster, &images(&[]), &site, |_| digest("overlay"));
    assert!(!files.iter().any(|file| file.name.contains("pxelinux.cfg")));
}
