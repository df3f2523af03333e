//! What right files mean.

use std::time::Duration;

use super::*;
use crate::model::image::{FileContent, KernelSource, Script, WritableSize};

/// The file of the documentation, which has every key.
pub(super) const EVERYTHING: &str = include_str!("../../../../docs/cluster.toml");

fn node<'c>(cluster: &'c Cluster, name: &str) -> &'c Node {
    cluster.node(&name.parse().expect(name)).expect(name)
}

fn words<T: ToString>(items: &[T]) -> String {
    let words: Vec<_> = items.iter().map(ToString::to_string).collect();
    words.join(" ")
}

#[test]
fn the_documented_file_is_understood() {
    let cluster = accepted(EVERYTHING);
    assert_eq!(cluster.nodes().len(), 16);
    assert_eq!(cluster.network.http_url(), "http://10.0.0.1:8080");
    assert_eq!(cluster.network.master_url(), "http://10.0.0.1:7411");

    let s3 = node(&cluster, "s3");
    assert_eq!(s3.entry().to_string(), "s3 10.0.0.13 52:54:00:00:00:03");
    assert_eq!(cluster.full_name(s3), "s3.lab.example");
    assert_eq!(
        words(&s3.settings.kernel_args),
        "net.ifnames=0 quiet panic=30"
    );
    assert_eq!(words(&s3.settings.consoles), "tty0 ttyS0,115200n8");
    assert_eq!(words(&s3.settings.exports), "data mail");
    let worker = s3.settings.worker.as_ref().expect("there are exports");
    assert_eq!(words(&worker.roots), "/data /vol/mail");
    assert_eq!(
        s3.bmc.as_ref().map(|bmc| &bmc.kind),
        Some(&BmcKind::Ipmi {
            address: "10.0.0.113".parse().expect("an address"),
            port: 623
        })
    );

    let big = node(&cluster, "rack2n01");
    assert_eq!(
        big.entry().to_string(),
        "rack2n01 10.0.2.1 52:54:00:00:02:01"
    );
    assert_eq!(words(&big.settings.profiles), "default big");
    assert_eq!(big.settings.root, RootMode::Nfs);
    assert_eq!(cluster.image_of(big).name.as_str(), "nfsroot");
    let bmc = big.bmc.as_ref().expect("it has one");
    // A kind of its own takes nothing from that of the profile.
    assert_eq!(
        bmc.credentials,
        Credentials {
            user: None,
            file: None
        }
    );
    let BmcKind::Redfish {
        url,
        system,
        verify,
    } = &bmc.kind
    else {
        panic!("{bmc:?}");
    };
    assert_eq!(url.as_str(), "https://rack2n01-bmc.lab.example");
    assert_eq!((system.as_deref(), *verify), (Some("1"), false));

    let old = node(&cluster, "old");
    assert_eq!(old.settings.loader, Loader::Pxelinux);
    assert_eq!(
        words(&old.settings.kernel_args),
        "net.ifnames=0 quiet panic=30 nomodeset"
    );
    assert_eq!(
        old.bmc.as_ref().map(|b| &b.kind),
        Some(&BmcKind::Wol { port: 9 })
    );

    let base = cluster.image_of(old);
    assert!(matches!(&base.post_script, Some(Script::Text(text)) if text.contains("/etc/motd")));
    assert_eq!(base.writable, WritableSize::Percent(50));
    let contents: Vec<_> = base
        .files
        .iter()
        .map(|f| (f.path.as_str(), f.mode))
        .collect();
    assert_eq!(
        contents,
        [
            ("/etc/sysctl.d/90-lab.conf", 0o644),
            ("/opt/tools", 0o644),
            ("/etc/resolv.conf", 0o777),
            ("/data", 0o755)
        ]
    );
    assert_eq!(base.files[3].content, FileContent::Directory);
    let mail = &cluster.exports[&"mail".parse::<ExportName>().expect("a name")];
    assert_eq!(mail.version, NfsVersion::V4_2);
    assert!(
        matches!(&mail.server, ExportServer::External(host) if host.to_string() == "filer.lab.example")
    );
}

#[test]
fn what_is_not_said_has_a_default() {
    let cluster = accepted(BASE);
    let Dhcp::Full {
        range,
        lease,
        ipv6_advertisement,
    } = cluster.dhcp
    else {
        panic!("{:?}", cluster.dhcp);
    };
    assert_eq!(
        range.map(|r| r.to_string()).as_deref(),
        Some("10.0.0.200-10.0.0.250")
    );
    assert_eq!(
        (lease, ipv6_advertisement),
        (Duration::from_secs(43_200), false)
    );
    assert_eq!(cluster.log, Log::Node);
    assert_eq!(cluster.time.timezone.as_str(), "Etc/UTC");
    assert_eq!(cluster.ssh.user.as_str(), "root");
    assert_eq!(cluster.serve.directory.as_str(), "/var/lib/regex-provision");
    assert_eq!(cluster.power.parallel, 16);
    let image = &cluster.images[&"base".parse::<ImageName>().expect("a name")];
    assert_eq!(image.kernel, KernelSource::Source);
    assert!(image.worker && image.strip_docs);
    let node = &cluster.nodes()[0];
    assert_eq!(node.settings.root, RootMode::Ram);
    assert_eq!(node.bmc, None);
    assert_eq!(cluster.full_name(node), "s0");
}

#[test]
fn every_default_of_services_is_valid() {
    // Each of these reads all of its defaults.
    let log = "[log]\ntarget = \"master\"\n";
    let cluster = accepted(&format!("{BASE}\n{log}"));
    assert!(matches!(
        cluster.log,
        Log::Master {
            port: 514,
            keep_days: 30,
            ..
        }
    ));
    let master = BASE.replace(
        "kind = \"tar\", path = \"/srv/base.tar\"",
        "kind = \"master\"",
    );
    let cluster = accepted(&master);
    let image = cluster.image_of(&cluster.nodes()[0]);
    assert!(matches!(&image.source, ImageSource::Master { include, .. } if include.len() == 9));
}

#[test]
fn nodes_are_found_by_what_is_known_of_them() {
    let cluster = accepted(BASE);
    let s1 = node(&cluster, "s1");
    assert_eq!(cluster.node_by_mac(s1.mac), Some(s1));
    assert_eq!(cluster.node_by_address(s1.address), Some(s1));
    assert_eq!(cluster.node(&"s3".parse().expect("a name")), None);
    assert_eq!(s1.line, 20);
    assert!(std::sync::Arc::ptr_eq(
        &s1.settings,
        &node(&cluster, "s2").settings
    ));
}

#[test]
fn sections_by_name_keep_their_order() {
    let text = BASE.replace(
        "[[node]]\nname = \"s[0-2]\"",
        "[node.z]\nmac = \"52:54:00:00:00:09\"\naddress = \"10.0.0.9\"\n\n[node.\"s[0-2]\"]",
    );
    let names: Vec<_> = accepted(&text)
        .nodes()
        .iter()
        .map(|n| n.name.to_string())
        .collect();
    assert_eq!(names, ["z", "s0", "s1", "s2"]);
}

#[test]
fn a_later_profile_goes_before_an_earlier_one() {
    let more = "
[profile.a]
root = \"nfs\"
kernel-args = [\"a\"]
tags = [\"t\", \"a\"]
worker.threads = 2
[profile.b]
usr = \"nfs\"
kernel-args = [\"b\"]
tags = [\"t\", \"b\"]
worker.slots = 3
root = \"ramdisk\"
[[node]]
name = \"t\"
mac = \"52:54:00:00:01:00\"
address = \"10.0.0.20\"
profile = [\"a\", \"b\"]
kernel-args = [\"own\"]
worker.threads = 7
";
    let cluster = accepted(&format!("{BASE}{more}"));
    let settings = &node(&cluster, "t").settings;
    assert_eq!(words(&settings.profiles), "default a b");
    assert_eq!(
        (settings.root, settings.usr),
        (RootMode::Ramdisk, UsrMode::Nfs)
    );
    assert_eq!(words(&settings.kernel_args), "a b own");
    assert_eq!(words(&settings.tags), "a b t");
    let worker = settings.worker.as_ref().expect("there is an export");
    assert_eq!((worker.threads, worker.slots), (Some(7), Some(3)));
}

#[test]
fn a_worker_can_be_switched_off() {
    let text = BASE.replace(
        "image = \"base\"",
        "image = \"base\"\nworker.enabled = false",
    );
    assert_eq!(accepted(&text).nodes()[0].settings.worker, None);
    let text = BASE.replace("[export.data]\npath = \"/data\"\n", "");
    insta::assert_snapshot!(told(&text), @"f:18:8: warning: node s[0-2]: no export and no worker.roots, so no regex-worker will run; add an [export.NAME], or say worker.enabled = false");
}

#[test]
fn an_export_inside_of_another_comes_after_it() {
    let more = "[export.a]\npath = \"/srv/a\"\nmount = \"/data/a\"\n";
    let cluster = accepted(&format!("{BASE}{more}"));
    let exports = cluster.exports_of(&cluster.nodes()[0]);
    let mounts: Vec<_> = exports.map(|export| export.mount.as_str()).collect();
    assert_eq!(mounts, ["/data", "/data/a"]);
    assert_eq!(words(&cluster.nodes()[0].settings.exports), "a data");
}
