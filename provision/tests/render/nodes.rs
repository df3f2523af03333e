//! What is rendered for nodes and their loaders, and what its readers say of it: chronyd, rsyslogd, sshd and systemd on the
//! node, GRUB before it, and exportfs on the master.

use std::fs;
use std::path::Path;
use std::process::Command;

use regexctl_provision::apply::check::{Verdict, check};
use regexctl_provision::model::Cluster;
use regexctl_provision::render::overlay::{self, Content};
use regexctl_provision::render::{Checker, File, Place};
use tempfile::TempDir;

use crate::fixture::{EXTERNAL, FULL, PROXY, STATIC, key, lab, parse, rendered};
use crate::tools::{ask, is_root, program, put, skipped, text_of};

/// A cluster of one node with data, and with what else its file says.
fn one(more: &str) -> Cluster {
    parse(&format!(
        "[cluster]\nname = \"a\"\ninterface = \"eth0\"\nsubnet = \"10.0.0.0/24\"\nmaster = \"10.0.0.1\"
        [image.base]
        source = {{ kind = \"debootstrap\", suite = \"bookworm\" }}
        [export.data]\npath = \"/srv/data-1\"
        [[node]]\nname = \"a\"\nmac = \"52:54:00:00:00:01\"\naddress = \"10.0.0.2\"\nimage = \"base\"
        {more}"
    ))
}

/// A file of the first node's own.
fn own(cluster: &Cluster, path: &str) -> String {
    let entries = overlay::entries(cluster, &cluster.nodes()[0], Some(&key()));
    let entry = entries.into_iter().find(|entry| entry.path == path);
    match entry.map(|entry| entry.content) {
        Some(Content::File(text, _)) => text,
        other => panic!("{path}: {other:?}"),
    }
}

/// The checker takes a file of a node, and refuses it when `good` in it becomes `bad`.
fn judged(checker: Checker, text: &str, good: &str, bad: &str) {
    let verdict = |text: &str| {
        let scratch = TempDir::new().expect("a temporary directory");
        let file = File {
            name: "file".into(),
            bytes: text.into(),
            place: Place::Generation,
            mode: 0o644,
            service: None,
            checker: Some(checker),
        };
        check(&file, scratch.path()).expect("the checker can be asked")
    };
    assert!(text.contains(good), "{good:?} is not in\n{text}");
    match verdict(text) {
        Verdict::Unknown(reason) => skipped("a checker", &reason),
        accepted => {
            assert_eq!(accepted, Verdict::Accepted, "{text}");
            let refused = verdict(&text.replacen(good, bad, 1));
            assert!(matches!(refused, Verdict::Refused(_)), "{refused:?}");
        }
    }
}

#[test]
fn chrony_of_a_node() {
    let text = own(&lab(FULL, "kernel"), "etc/chrony/chrony.conf");
    judged(Checker::Chrony, &text, "iburst", "ibust");
    judged(Checker::Chrony, &text, "makestep 1 -1", "makestep one");
}

#[test]
fn rsyslog_of_a_node() {
    for log in [
        "target = \"master\"",
        "target = \"remote\"\nhost = \"log.example\"\nport = 6514\nprotocol = \"tcp\"",
    ] {
        let cluster = one(&format!("[log]\n{log}"));
        let text = own(&cluster, "etc/rsyslog.d/30-regex-provision.conf");
        judged(Checker::Rsyslog, &text, "action(type", "action(tipe");
    }
}

/// sshd is asked what it would do, with a key in the place of the node's.
#[test]
fn sshd_of_a_node() {
    let (Some(sshd), Some(keygen)) = (program("sshd"), program("ssh-keygen")) else {
        return;
    };
    if rustix::process::geteuid().is_root() {
        // sshd as root wants the directory to which it locks its unprivileged half.
        fs::create_dir_all("/run/sshd").expect("root may make it");
    }
    let scratch = TempDir::new().expect("a temporary directory");
    let host_key = scratch.path().join("key");
    let mut make = Command::new(keygen);
    make.args(["-q", "-N", "", "-t", "ed25519", "-f"]);
    ask(make.arg(&host_key)).expect("a key is made");
    let host_key = host_key.to_str().expect("temporary paths are UTF-8");
    let asked = |text: &str| {
        let file = put(scratch.path(), "sshd.conf", text);
        let mut command = Command::new(&sshd);
        ask(command.args(["-T", "-h", host_key, "-f"]).arg(file))
    };
    for (keys, port) in [("boot", 22), ("kept", 2222), ("image", 22)] {
        let cluster = one(&format!("[ssh]\nhost-keys = \"{keys}\"\nport = {port}"));
        let text = own(&cluster, "etc/ssh/sshd_config.d/regex-provision.conf");
        let text = text.replace("/etc/ssh/ssh_host_ed25519_key", host_key);
        assert_eq!(text.contains("HostKey"), keys == "kept", "{text}");
        let said = asked(&text).unwrap_or_else(|said| panic!("{said}\n{text}"));
        for line in [
            format!("port {port}"),
            "authorizedkeysfile .ssh/authorized_keys /etc/ssh/authorized_keys.d/%u".to_owned(),
            format!("hostkey {host_key}"),
        ] {
            let is_told = said.lines().any(|told| told == line);
            assert!(is_told, "{line} is not in\n{said}");
        }
        let broken = text.replace("AuthorizedKeysFile", "AuthorisedKeysFile");
        let said = asked(&broken).expect_err("there is no such word");
        assert!(said.contains("Bad configuration option"), "{said}");
    }
}

/// Programs of the node that this machine lacks are stood in for.
fn with_programs(unit: &str) -> String {
    let line = |line: &str| {
        let program = line
            .strip_prefix("Exec")
            .and_then(|rest| rest.split_once('='))
            .and_then(|(_, command)| command.trim_start_matches('-').split(' ').next());
        match program {
            Some(program) if program.starts_with('/') && !Path::new(program).exists() => {
                line.replacen(program, "/bin/true", 1)
            }
            _ => line.to_owned(),
        }
    };
    unit.lines().map(|text| line(text) + "\n").collect()
}

/// The units of the image beside those of the node's own files, as systemd finds them on a node.
#[test]
fn units_of_a_node() {
    let Some(analyze) = program("systemd-analyze") else {
        return;
    };
    let cluster = one("");
    let own = |name: &str| own(&cluster, &format!("etc/systemd/system/{name}"));
    let units = [
        (
            "regex-host-keys.service",
            own("regex-host-keys.service"),
            ("Type=oneshot", "Type=once"),
        ),
        (
            "regex-worker.service",
            include_str!("../../src/image/files/regex-worker.service").to_owned(),
            ("KillMode=mixed", "KillMode=some"),
        ),
        (
            "regexctl-stage-system.service",
            include_str!("../../src/image/files/stage-system.service").to_owned(),
            ("RemainAfterExit=yes", "RemainAfterExit=perhaps"),
        ),
        (
            "regexctl-stage-worker.service",
            include_str!("../../src/image/files/stage-worker.service").to_owned(),
            ("RemainAfterExit=yes", "RemainAfterExit=perhaps"),
        ),
        (
            "regexctl-stage-worker-kept-back.service",
            include_str!("../../src/image/files/stage-worker-kept-back.service").to_owned(),
            ("ExecStart=-/", "ExecStart=-"),
        ),
        // systemd reads it with the unit in whose directory it lies.
        (
            "regex-worker.service.d/exports.conf",
            own("regex-worker.service.d/exports.conf"),
            ("RequiresMountsFor=/", "RequiresMountsFor="),
        ),
    ];
    let verify = |broken: Option<usize>| {
        let scratch = TempDir::new().expect("a temporary directory");
        let mut paths = Vec::new();
        for (at, (name, text, (good, bad))) in units.iter().enumerate() {
            assert!(text.contains(good), "{good:?} is not in\n{text}");
            let mut text = with_programs(text);
            if broken == Some(at) {
                text = text.replacen(good, bad, 1);
            }
            let path = put(scratch.path(), name, &text);
            if name.ends_with(".service") {
                paths.push(path);
            }
        }
        let mut command = Command::new(&analyze);
        command.args(["verify", "--man=no", "--recursive-errors=no"]);
        ask(command.args(paths))
    };
    let said = verify(None);
    assert_eq!(said, Ok(String::new()));
    for (at, (name, ..)) in units.iter().enumerate() {
        let said = verify(Some(at)).expect_err(name);
        assert!(said.contains(name), "{name}: {said}");
    }
}

#[test]
fn grub() {
    let Some(checker) = program("grub-script-check") else {
        return;
    };
    let scratch = TempDir::new().expect("a temporary directory");
    let asked = |text: &str| ask(Command::new(&checker).arg(put(scratch.path(), "cfg", text)));
    let mut count = 0;
    for dhcp in [FULL, STATIC, PROXY, EXTERNAL] {
        for file in rendered(&lab(dhcp, "kernel")) {
            if !file.name.starts_with("tftp/grub/") {
                continue;
            }
            let text = text_of(&file);
            let said = asked(text);
            assert!(said.is_ok(), "{}: {said:?}\n{text}", file.name);
            let broken = text.replacen(['\'', '"'], "", 1);
            assert!(asked(&broken).is_err(), "{}:\n{broken}", file.name);
            count += 1;
        }
    }
    assert_eq!(count, 8, "grub.cfg and a node's file, in each cluster");
}

/// exportfs is shown the file where the kernel's NFS server is not: it reads it all the same, and writes for mountd what it
/// has understood.
#[test]
fn exports_of_the_kernel() {
    let Some(exportfs) = program("exportfs") else {
        return;
    };
    let Some(unshare) = program("unshare").filter(|_| is_root("exportfs")) else {
        return;
    };
    let directory = TempDir::new().expect("a temporary directory");
    let root = directory.path();
    for name in ["srv/mail", "srv/crawl", "var/lib/regex-provision/trees"] {
        fs::create_dir_all(root.join(name)).expect("a directory");
    }
    let at = |path: &str| format!("{}{path}", root.display());
    let files = rendered(&lab(FULL, "kernel"));
    let file = files
        .iter()
        .find(|file| file.name == "system/etc/exports.d/regex-provision.exports")
        .expect("it is rendered");
    let line = |line: &str| {
        let is_export = line.starts_with('/');
        if is_export { at(line) } else { line.to_owned() }
    };
    let text: String = text_of(file)
        .lines()
        .map(|text| line(text) + "\n")
        .collect();
    let asked = |text: &str| {
        let shown = put(root, "shown", text);
        let script = "set -e
            mkdir -p /var/lib/nfs
            mount -t tmpfs none /var/lib/nfs
            mount -t tmpfs none /etc
            mkdir /etc/exports.d
            : > /etc/exports
            cat \"$2\" > /etc/exports.d/regex-provision.exports
            \"$1\" -ra
            cat /var/lib/nfs/etab";
        let mut command = Command::new(&unshare);
        command.args(["--mount", "--net", "/bin/sh", "-c", script, "sh"]);
        ask(command.arg(&exportfs).arg(shown))
    };
    let said = asked(&text).unwrap_or_else(|said| panic!("{said}\n{text}"));
    for (path, options) in [
        ("/srv/mail", &["ro", "root_squash", "no_all_squash"][..]),
        ("/srv/crawl", &["rw", "sync", "all_squash"]),
        (
            "/var/lib/regex-provision/trees",
            &["ro", "no_root_squash", "no_all_squash"],
        ),
    ] {
        let begin = format!("{}\t10.77.4.0/22(", at(path));
        let line = said.lines().find_map(|line| line.strip_prefix(&begin));
        let line = line.unwrap_or_else(|| panic!("{path} is not in\n{said}"));
        let words: Vec<_> = line.trim_end_matches(')').split(',').collect();
        for option in options.iter().chain(&["no_subtree_check", "sec=sys"]) {
            assert!(words.contains(option), "{path}: {option} is not in {line}");
        }
    }
    for (good, bad, told) in [
        ("all_squash", "all_sqash", "unknown keyword"),
        ("10.77.4.0/22", "10.77.4.0/99", "Invalid prefix"),
        ("sec=sys", "fsid=x", "bad fsid"),
        ("/srv/mail", "/srv/missing", "Failed to stat"),
    ] {
        let said = asked(&text.replace(good, bad)).expect_err(bad);
        assert!(said.contains(told), "{said}");
    }
}
