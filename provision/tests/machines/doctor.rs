//! `regex-provision doctor`, on a network of its own with real daemons that are ill.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use regexctl_provision::model;
use regexctl_provision::render::{
    self, Images, LoaderFile, NEEDED_LOADERS, NeededLoader, Site as Master,
};
use regexctl_provision::store::Digest;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Daemon, Namespace, missing, needs, until};
use crate::serve::site::{Server, Site};

fn cluster(dir: &Path, master: &str, dhcp: &str) -> String {
    format!(
        r#"
[cluster]
name = "test"
interface = "br0"
subnet = "10.77.0.0/24"
master = "{master}"

[dhcp]
{dhcp}

[time]
enabled = false

[serve]
directory = "{}"

[image.base]
source = {{ kind = "debootstrap", suite = "bookworm" }}

[profile.default]
image = "base"

[[node]]
name = "n0"
mac = "52:54:00:00:00:01"
address = "10.77.0.11"
profile = "default"
"#,
        dir.display()
    )
}

/// What doctor says, as `topic level what`.
fn examine(net: &Namespace, dir: &Path, dhcp: &str) -> (Option<i32>, Vec<String>) {
    examine_as(net, dir, "10.77.0.1", dhcp)
}

fn examine_as(net: &Namespace, dir: &Path, master: &str, dhcp: &str) -> (Option<i32>, Vec<String>) {
    examine_text(net, dir, &cluster(dir, master, dhcp))
}

fn examine_text(net: &Namespace, dir: &Path, text: &str) -> (Option<i32>, Vec<String>) {
    fs::write(dir.join("cluster.toml"), text).expect("the directory is ours");
    let told = net
        .command(env!("CARGO_BIN_EXE_regex-provision"))
        .current_dir(dir)
        .args(["doctor", "--json", "--dhcp-wait", "2s"])
        .output()
        .expect("the binary under test starts");
    let findings: Value = serde_json::from_slice(&told.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&told.stderr)));
    (told.status.code(), lines(&findings))
}

fn lines(findings: &Value) -> Vec<String> {
    let findings = findings.as_array().expect("an array").iter();
    let lines = findings.map(|finding| {
        let word = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        assert!(
            word("level") == "fine" || !word("fix").is_empty(),
            "nothing to do about {finding}"
        );
        format!("{} {} {}", word("topic"), word("level"), word("what"))
    });
    lines.collect()
}

#[track_caller]
fn has(lines: &[String], what: &str) {
    assert!(
        lines.iter().any(|line| line.contains(what)),
        "no {what:?} in {lines:#?}"
    );
}

fn dnsmasq(net: &Namespace, dir: &Path, name: &str, lines: &str) -> Daemon {
    let conf = dir.join(format!("{name}.conf"));
    // It may be said once.
    let user = if lines.contains("user=") {
        ""
    } else {
        "user=\n"
    };
    let common = format!(
        "port=0\nbind-interfaces\n{user}group=\nno-ping\ndhcp-leasefile={0}/{name}.leases\npid-file={0}/{name}.pid\n{lines}\n",
        dir.display()
    );
    fs::write(&conf, common).expect("the directory is ours");
    let mut command = net.command("dnsmasq");
    command
        .arg("--keep-in-foreground")
        .arg(format!("--conf-file={}", conf.display()));
    Daemon::start(command)
}

#[test]
fn the_usual_ills_are_named() {
    if !needs(&["dnsmasq", "ip"]) {
        return;
    }
    let Some(net) = Namespace::new(&["10.77.0.1/24", "10.77.0.2/24"]) else {
        return;
    };
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    let tftp = dir.join("tftp");
    fs::create_dir(&tftp).expect("the directory is ours");

    // Nothing runs.
    let (code, lines) = examine(&net, dir, "range = \"10.77.0.100-10.77.0.110\"");
    assert_eq!(code, Some(1));
    has(&lines, "network fine br0 is up with 10.77.0.1/24");
    has(&lines, "dhcp problem the master does not answer DHCP");
    has(&lines, "tftp problem nobody answers at 10.77.0.1:69");
    has(&lines, "http problem nobody answers at 10.77.0.1:8080");
    has(&lines, "disk fine ");

    // Ours runs, with a TFTP directory that lacks one of the loaders; and there is another DHCP server.
    fs::write(tftp.join("undionly.kpxe"), [0; 2000]).expect("the directory is ours");
    let ours = format!(
        "interface=br0\nlisten-address=10.77.0.1\ndhcp-range=10.77.0.100,10.77.0.110,1h\nenable-tftp\ntftp-root={}",
        tftp.display()
    );
    let ours = dnsmasq(&net, dir, "ours", &ours);
    let range = "range = \"10.77.0.100-10.77.0.110\"";
    until("ours answers", || {
        let (_, lines) = examine(&net, dir, range);
        lines
            .iter()
            .any(|line| line == "dhcp fine the master answers, and nobody else")
            .then_some(())
    });
    let (_, lines) = examine(&net, dir, range);
    has(&lines, "tftp fine undionly.kpxe is served");
    has(&lines, "tftp problem snponly.efi is not served: file");
    // For a master with another address the same server is a stranger.
    let second = "10.77.0.2";
    let (_, lines) = examine_as(&net, dir, second, range);
    has(
        &lines,
        "dhcp problem a second DHCP server: 10.77.0.1 offers 10.77.0.1",
    );
    // Beside it a proxy serves as it should.
    let (_, lines) = examine_as(&net, dir, second, "mode = \"proxy\"");
    has(
        &lines,
        "dhcp fine the site's server answers: 10.77.0.1 offers 10.77.0.1",
    );
    // And so may the site's server run on the master itself.
    let (_, lines) = examine(&net, dir, "mode = \"external\"");
    has(
        &lines,
        "dhcp fine the site's server answers: 10.77.0.1 offers 10.77.0.1",
    );
    // Whoever gives addresses, loaders are fetched from here.
    has(&lines, "tftp fine undionly.kpxe is served");
    has(&lines, "tftp problem snponly.efi is not served: file");
    drop(ours);
    let (_, lines) = examine(&net, dir, "mode = \"external\"");
    has(
        &lines,
        "dhcp warning no DHCP server of the site offered an address",
    );

    // Something else holds the port of the boot endpoint.
    let mut other = net.command("python3");
    other
        .current_dir(&tftp)
        .args(["-u", "-m", "http.server", "8080"]);
    let _other = Daemon::start(other);
    until("it answers", || {
        let (_, lines) = examine(&net, dir, "mode = \"proxy\"");
        lines
            .iter()
            .any(|line| {
                line.contains(
                    "what answers at 10.77.0.1:8080 is not the boot endpoint: \"HTTP/1.0 404",
                )
            })
            .then_some(())
    });
    // Large frames.
    let grown = net
        .command("ip")
        .args(["link", "set", "br0", "mtu", "9000"])
        .status();
    assert!(grown.expect("ip starts").success());
    let (_, lines) = examine(&net, dir, "mode = \"proxy\"");
    has(&lines, "network warning br0 has an MTU of 9000");
}

/// Whatever a loader is called that nodes are sent to, it is that which is asked for.
#[test]
fn loaders_of_every_kind_are_asked_for_by_their_names() {
    if !needs(&["dnsmasq", "ip"]) {
        return;
    }
    let Some(net) = Namespace::new(&["10.77.0.1/24"]) else {
        return;
    };
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    let node = |(at, loader): (usize, &str)| {
        format!(
            "[[node]]\nname = \"l{at}\"\nmac = \"52:54:00:00:01:0{at}\"\naddress = \"10.77.0.2{at}\"\n\
             profile = \"default\"\nloader = \"{loader}\"\n"
        )
    };
    let nodes = ["ipxe", "pxelinux", "grub"].into_iter().enumerate();
    let nodes: String = nodes.map(node).collect();
    let dhcp = format!("range = \"10.77.0.100-10.77.0.110\"\n{nodes}");
    // What `apply` would put into the TFTP root, whatever this machine has.
    let text = cluster(dir, "10.77.0.1", &dhcp);
    let described = model::parse(&text).unwrap_or_else(|problems| panic!("{problems}"));
    let loader = |needed: &NeededLoader| LoaderFile {
        name: needed.name,
        bytes: vec![0; 2000],
    };
    let master = Master {
        loaders: NEEDED_LOADERS.iter().map(loader).collect(),
        ..Master::default()
    };
    let files = render::render(&described, &Images::default(), &master, |_| Digest::of(b""));
    let tftp = dir.join("tftp");
    fs::create_dir(&tftp).expect("the directory is ours");
    for file in &files {
        if let Some(name) = file.name.strip_prefix("tftp/")
            && NEEDED_LOADERS.iter().any(|needed| needed.name == name)
        {
            fs::write(tftp.join(name), &file.bytes).expect("the directory is ours");
        }
    }
    let ours = format!(
        "interface=br0\nlisten-address=10.77.0.1\ndhcp-range=10.77.0.100,10.77.0.110,1h\nenable-tftp\ntftp-root={}",
        tftp.display()
    );
    let _ours = dnsmasq(&net, dir, "ours", &ours);
    let told = until("ours answers", || {
        let (_, lines) = examine(&net, dir, &dhcp);
        let has_dhcp = lines.iter().any(|line| line.starts_with("dhcp fine"));
        has_dhcp.then_some(lines)
    });
    let of_tftp: Vec<_> = told
        .iter()
        .filter(|line| line.starts_with("tftp"))
        .collect();
    assert!(
        of_tftp.iter().all(|line| line.starts_with("tftp fine")),
        "{of_tftp:#?}"
    );
    has(&told, "tftp fine shimx64.efi is served");
    has(&told, "tftp fine grubx64.efi is served");
    has(&told, "tftp fine ldlinux.c32 is served");
}

/// All addresses of the range belong to others.
#[test]
fn a_pool_that_is_used_up_is_told() {
    if !needs(&["dnsmasq", "ip"]) {
        return;
    }
    let Some(net) = Namespace::new(&["10.77.0.1/24"]) else {
        return;
    };
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    // Leases that never end.
    let leases = "0 52:54:00:00:00:71 10.77.0.100 * *\n0 52:54:00:00:00:72 10.77.0.101 * *\n";
    fs::write(dir.join("ours.leases"), leases).expect("the directory is ours");
    let ours = "interface=br0\nlisten-address=10.77.0.1\ndhcp-range=10.77.0.100,10.77.0.101,1h";
    let _ours = dnsmasq(&net, dir, "ours", ours);
    until("it is told", || {
        let (code, lines) = examine(&net, dir, "range = \"10.77.0.100-10.77.0.101\"");
        assert_eq!(code, Some(1));
        let used_up = "dhcp problem the master answers DHCP, but has no address to offer";
        lines.iter().any(|line| line == used_up).then_some(())
    });
}

/// In the rules of the network that it is on, and by the clock that the nodes follow.
#[test]
fn a_firewall_and_a_clock_are_looked_at() {
    if !needs(&["ip", "nft", "chronyc"]) {
        return;
    }
    let Some(net) = Namespace::new(&["10.77.0.1/24"]) else {
        return;
    };
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    let closed = "table inet site { chain input { type filter hook input priority 0; udp dport 69 drop; }; }";
    let ruled = net.command("nft").arg(closed).status();
    assert!(ruled.expect("nft starts").success());
    let text = cluster(dir, "10.77.0.1", "mode = \"external\"");
    let text = text.replace("[time]\nenabled = false", "[time]\nenabled = true");
    let (code, lines) = examine_text(&net, dir, &text);
    assert_eq!(code, Some(1));
    let firewall = lines
        .iter()
        .find(|line| line.starts_with("firewall warning "));
    let firewall = firewall.unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(
        firewall.contains("69") && !firewall.contains("8080"),
        "{firewall}"
    );
    // Whatever it is set by here.
    has(&lines, "clock ");
    // Where it is not to be looked after, nothing is said of it.
    let (_, lines) = examine(&net, dir, "mode = \"external\"");
    assert!(
        !lines.iter().any(|line| line.starts_with("clock ")),
        "{lines:#?}"
    );
}

/// The daemon reads with its own user's eyes.
#[test]
fn a_loader_that_may_not_be_read_is_told() {
    if !needs(&["dnsmasq", "ip"]) {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        missing("the right to change owners");
        return;
    }
    let Some(net) = Namespace::new(&["10.77.0.1/24"]) else {
        return;
    };
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    let tftp = dir.join("tftp");
    fs::create_dir(&tftp).expect("the directory is ours");
    let allow = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    for file in ["undionly.kpxe", "snponly.efi"] {
        fs::write(tftp.join(file), [0; 2000]).expect("the directory is ours");
    }
    allow(dir, 0o755);
    allow(&tftp, 0o755);
    allow(&tftp.join("undionly.kpxe"), 0o644);
    allow(&tftp.join("snponly.efi"), 0o600);
    let ours = format!(
        "interface=br0\nlisten-address=10.77.0.1\ndhcp-range=10.77.0.100,10.77.0.110,1h\nuser=nobody\nenable-tftp\n\
         tftp-root={}",
        tftp.display()
    );
    let _ours = dnsmasq(&net, dir, "ours", &ours);
    let examine = || examine(&net, dir, "range = \"10.77.0.100-10.77.0.110\"").1;
    let lines = until("it answers", || {
        let lines = examine();
        let is_served = |line: &String| line == "tftp fine undionly.kpxe is served";
        lines.iter().any(is_served).then_some(lines)
    });
    has(&lines, "tftp problem snponly.efi is not served: ");
    // The whole directory.
    allow(&tftp, 0o700);
    let lines = examine();
    for file in ["undionly.kpxe", "snponly.efi"] {
        has(&lines, &format!("tftp problem {file} is not served: "));
    }
}

#[test]
fn exports_that_cannot_be_served_are_told() {
    let Some(net) = Namespace::new(&["10.77.0.1/24"]) else {
        return;
    };
    let dir = TempDir::new().expect("temporary directories can be made");
    let dir = dir.path();
    let exports = TempDir::new().expect("temporary directories can be made");
    for name in ["data", "tree"] {
        fs::create_dir(exports.path().join(name)).expect("the directory is ours");
    }
    fs::write(exports.path().join("file"), "").expect("the directory is ours");
    let export = |name: &str, path: &str, server: &str| {
        let path = exports.path().join(path);
        format!(
            "[export.{name}]\npath = \"{}\"\nserver = \"{server}\"\n",
            path.display()
        )
    };
    // A kernel without an NFS server shows no directory of it.
    let hidden = net
        .command("mount")
        .args(["-t", "tmpfs", "none", "/proc/fs"])
        .status();
    assert!(hidden.expect("mount starts").success());
    let dhcp = [
        "mode = \"external\"\n".to_owned(),
        export("good", "data", "kernel"),
        export("missing", "not-there", "kernel"),
        export("file", "file", "ganesha"),
    ];
    let (code, lines) = examine(&net, dir, &dhcp.concat());
    assert_eq!(code, Some(1));
    for name in ["missing", "file"] {
        has(
            &lines,
            &format!("nfs problem the export {name} is not a directory here: "),
        );
    }
    let none = "nfs problem the kernel of this machine has no NFS server (module nfsd)";
    has(&lines, none);
    let good = |line: &String| !line.contains("the export good");
    assert!(lines.iter().all(good), "{lines:#?}");
    // With it, and where it is not asked for, nothing is said.
    let ganesha = ["mode = \"external\"\n", &export("tree", "tree", "ganesha")].concat();
    let (_, lines) = examine(&net, dir, &ganesha);
    assert!(lines.iter().all(|line| line != none), "{lines:#?}");
    let made = net.command("mkdir").arg("/proc/fs/nfsd").status();
    assert!(made.expect("mkdir starts").success());
    let (_, lines) = examine(&net, dir, &dhcp.concat());
    assert!(lines.iter().all(|line| line != none), "{lines:#?}");
}

#[test]
fn a_master_without_its_interface_is_told_so() {
    let Some(net) = Namespace::new(&["10.77.1.1/24"]) else {
        return;
    };
    let dir = TempDir::new().expect("temporary directories can be made");
    let (code, lines) = examine(&net, dir.path(), "mode = \"external\"");
    assert_eq!(code, Some(1));
    has(
        &lines,
        "network problem br0 does not have the master's address 10.77.0.1",
    );
}

/// Asks for an address as the firmware of a machine does.
const STRANGER: &str = r#"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"br0")
s.bind(("", 68))
head = bytes([1, 1, 6, 0, 7, 7, 7, 7]) + bytes(2) + b"\x80\0" + bytes(16) + bytes.fromhex("525400000099") + bytes(202)
kind = b"PXEClient:Arch:00000:UNDI:002001"
s.sendto(head + bytes([99, 130, 83, 99, 53, 1, 1, 93, 2, 0, 0, 60, len(kind)]) + kind + b"\xff", ("255.255.255.255", 67))
"#;

/// `serve` with its dnsmasq hears what doctor asks, and does not take it for a machine.
#[test]
fn its_own_question_is_no_machine() {
    if !needs(&["dnsmasq", "ip", "python3"]) {
        return;
    }
    for (dhcp, fine) in [
        (
            "[dhcp]\nrange = \"10.77.0.100-10.77.0.110\"",
            "dhcp fine the master answers, and nobody else",
        ),
        (
            "",
            "dhcp fine the master answers, and nobody else; it gives strangers no address",
        ),
    ] {
        let Some(net) = Namespace::new(&["10.77.0.1/16"]) else {
            return;
        };
        let site = Site::new(1, dhcp);
        let above = site.file();
        let above = above.parent().expect("a file is in a directory");
        // dnsmasq does not stay root.
        fs::set_permissions(above, fs::Permissions::from_mode(0o755)).expect("it is ours");
        site.build("one");
        site.apply(1);
        let run = |args: &[&str]| {
            let mut command = net.command(env!("CARGO_BIN_EXE_regex-provision"));
            command.args(args).env("REGEX_PROVISION_FILE", site.file());
            command
        };
        let doctor = || {
            let told = run(&["doctor", "--json", "--dhcp-wait", "2s"]).output();
            let findings = told.expect("the binary under test starts").stdout;
            lines(&serde_json::from_slice(&findings).expect("it is JSON"))
        };
        let is_fine = || doctor().iter().any(|line| line == fine);
        assert!(!is_fine(), "nothing runs");
        let server = Server::start(run(&["serve"]), &site.log());
        until("dnsmasq answers", || is_fine().then_some(()));
        let asked = net.command("python3").args(["-c", STRANGER]).status();
        assert!(asked.expect("python3 starts").success());
        // The log is read in order.
        let machines = until("a machine is heard of", || {
            let told = run(&["node", "discover", "--json"]).output();
            let told = told.expect("the binary under test starts").stdout;
            let machines: Vec<Value> = serde_json::from_slice(&told).expect("it is JSON");
            let macs = machines.iter().map(|machine| machine["mac"].to_string());
            let macs: Vec<_> = macs.collect();
            macs.iter()
                .any(|mac| mac.contains("52:54:00:00:00:99"))
                .then_some(macs)
        });
        assert_eq!(machines.len(), 1, "{machines:?}");
        server.end();
    }
}
