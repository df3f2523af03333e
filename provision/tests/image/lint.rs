//! What lint tells of an image, and that one that cannot work is not published.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use crate::rig::{Rig, can_build, text, tiny_root, worker, write};

/// The kinds of what lint finds.
fn kinds(findings: &serde_json::Value) -> Vec<String> {
    let mut kinds: Vec<String> = findings
        .as_array()
        .expect("an array")
        .iter()
        .map(|finding| finding["kind"].as_str().expect("text").to_owned())
        .collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// Puts into a root what lint should tell, and what it should not.
fn spoil(root: &Path) {
    let key = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    write(&root.join("etc/ssl/private/site.key"), key);
    write(&root.join("usr/share/doc/about-keys"), key);
    write(&root.join("data/site.key"), key);
    write(
        &root.join("usr/local/signing.asc"),
        &key.replace("RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"),
    );
    write(&root.join("etc/gshadow"), "root:*::\nstaff:$6$a$b::\n");
    write(
        &root.join("etc/security/opasswd"),
        "bob:1000:1:$6$a$b,$6$c$d\neve:1001:0:\n",
    );
    write(
        &root.join("etc/crypttab"),
        "swap /dev/sda2 /dev/urandom swap\n",
    );
    // A name that is known, where nobody knows it, and one that is not root's. `at` is daemon's.
    for (path, owner) in [
        ("usr/local/bin/sudo", 0),
        ("usr/bin/passwd", 1000),
        ("usr/bin/at", 1),
    ] {
        let path = root.join(path);
        write(&path, "x");
        std::os::unix::fs::chown(&path, Some(owner), None).expect("we are root");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).expect("ours");
    }
    write(&root.join("usr/bin/capable"), "x");
    rustix::fs::lsetxattr(
        root.join("usr/bin/capable"),
        "security.capability",
        &[
            1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ],
        rustix::fs::XattrFlags::empty(),
    )
    .expect("we are root");
    write(
        &root.join("etc/shadow"),
        "root:$6$a$b:19000:0:99999:7:::\nann::19000:0:99999:7:::\n",
    );
    write(&root.join("usr/bin/surprise"), "x");
    fs::set_permissions(
        root.join("usr/bin/surprise"),
        fs::Permissions::from_mode(0o4755),
    )
    .expect("ours");
    write(&root.join("usr/bin/sudo"), "x");
    fs::set_permissions(
        root.join("usr/bin/sudo"),
        fs::Permissions::from_mode(0o4755),
    )
    .expect("ours");
    write(&root.join("srv/open"), "x");
    fs::set_permissions(root.join("srv/open"), fs::Permissions::from_mode(0o666)).expect("ours");
    let units = root.join("etc/systemd/system");
    write(
        &units.join("srv-data.mount"),
        "[Mount]\nWhat=/dev/sdb1\nWhere=/srv/data\n",
    );
    fs::create_dir_all(units.join("local-fs.target.wants")).expect("a directory");
    fs::create_dir_all(units.join("sysinit.target.wants")).expect("a directory");
    for unit in ["lvm2-monitor.service", "multipathd.service"] {
        symlink(
            format!("/usr/lib/systemd/system/{unit}"),
            units.join("sysinit.target.wants").join(unit),
        )
        .expect("a link");
    }
    symlink("/dev/null", units.join("multipathd.service")).expect("a link");
    symlink(
        "../srv-data.mount",
        units.join("local-fs.target.wants/srv-data.mount"),
    )
    .expect("a link");
}

#[test]
fn lint_tells_what_should_be_known() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    let clean = rig.import(&root);
    // Of the drivers the tiny kernel has one.
    assert_eq!(kinds(&clean["findings"]), ["no-driver"]);
    assert_eq!(kinds(&rig.json(&["lint", "tiny"])), ["no-driver"]);
    let told = rig.run(&["lint", "tiny"]);
    let told = told.split_once("has no ").expect("a driver is missing").1;
    let missing: Vec<&str> = told.split(';').next().expect("words").split(", ").collect();
    for name in ["ixgbe", "igb", "mlx5_core", "e1000e"] {
        assert!(missing.contains(&name), "{name}: {missing:?}");
    }
    // One is there, and one no kernel has.
    for name in ["virtio_net", "ionic"] {
        assert!(!missing.contains(&name), "{name}: {missing:?}");
    }

    spoil(&root);
    let built = rig.import(&root);
    let expected = [
        "capability",
        "no-driver",
        "password",
        "private-key",
        "setuid",
        "waits",
        "writable",
    ];
    assert_eq!(kinds(&built["findings"]), expected);
    assert_eq!(kinds(&rig.json(&["lint", "tiny"])), expected);
    let told = rig.run(&["lint", "tiny"]);
    for words in [
        "warning: private-key: /data/site.key, /etc/ssl/private/site.key, /usr/local/signing.asc; ",
        "warning: setuid: /usr/bin/passwd (user 1000), /usr/bin/surprise (user 0), /usr/local/bin/sudo (user 0); ",
        "warning: capability: /usr/bin/capable; ",
        "lvm2-monitor.service is switched on",
        "hashes of passwords in the image, of ann, root, staff",
        "hashes of earlier passwords in /etc/security/opasswd, of bob;",
        "/etc/crypttab names encrypted disks",
        "the unit srv-data.mount mounts a disk",
        "warning: writable: /srv/open",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
    assert!(
        !told.contains("about-keys")
            && !told.contains("/usr/bin/sudo")
            && !told.contains("multipathd"),
        "{told}"
    );
    let told = rig.fails(&["lint", "tiny", "--strict"]);
    assert!(told.contains(" findings in the image tiny"), "{told}");
}

/// What breaks a root, and what is said of it: name, breaking, message.
type Break = (&'static str, fn(&Path), &'static str);

#[test]
fn an_image_that_cannot_work_is_not_published() {
    if !can_build() {
        return;
    }
    let breaks: [Break; 6] = [
        (
            "a link",
            |root| {
                fs::remove_file(root.join("sbin")).expect("ours");
                symlink("usr/nowhere", root.join("sbin")).expect("a link");
            },
            "error: merged-usr: /sbin leads to usr/nowhere, not to usr/sbin",
        ),
        (
            "a directory",
            |root| {
                fs::remove_file(root.join("bin")).expect("ours");
                write(&root.join("bin/sh"), "x");
            },
            "error: merged-usr: /bin is a directory where others are links into /usr",
        ),
        (
            "a missing link",
            |root| fs::remove_file(root.join("lib")).expect("ours"),
            "error: merged-usr: /lib is missing, /usr/lib is there",
        ),
        (
            "no init",
            |root| fs::remove_file(root.join("usr/sbin/init")).expect("ours"),
            "error: no-init: there is no program at /sbin/init",
        ),
        (
            "no kernel",
            |root| fs::remove_dir_all(root.join("boot")).expect("ours"),
            "the image has no kernel: there is no /boot/vmlinuz-* in it",
        ),
        (
            "no modules",
            |root| fs::remove_dir_all(root.join("usr/lib/modules")).expect("ours"),
            "the image has no modules of a kernel that it has in /boot (6.1.0-9-test)",
        ),
    ];
    let rig = Rig::new();
    let good = rig.path("good");
    tiny_root(&good);
    rig.import(&good);
    let before = rig.published("tiny");
    for (name, damage, message) in breaks {
        let root = rig.path(&name.replace(' ', "-"));
        tiny_root(&root);
        damage(&root);
        let told = rig.fails(&["import", "tiny", "--no-worker", "--directory", text(&root)]);
        assert!(told.contains(message), "{name}: {told}");
        assert_eq!(rig.published("tiny"), before, "{name}");
    }
    // Where all nodes are to have the image's host key, and it has none.
    let root = rig.path("no-key");
    tiny_root(&root);
    write(&root.join("usr/sbin/sshd"), "a program");
    rig.cluster("[ssh]\nhost-keys = \"image\"\n");
    let import = ["import", "tiny", "--no-worker", "--directory", text(&root)];
    let told = rig.fails(&import);
    assert!(told.contains("error: no-host-key: "), "{told}");
    assert_eq!(rig.published("tiny"), before);
    write(&root.join("etc/ssh/ssh_host_ed25519_key"), "a key");
    rig.run(&import);
    assert_ne!(rig.published("tiny"), before);
}

#[test]
fn a_worker_that_does_not_run_is_found() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    let program = rig.path("regex-worker");
    let import = [
        "import",
        "tiny",
        "--directory",
        text(&root),
        "--worker",
        text(&program),
    ];
    let told = rig.fails(&import);
    assert!(told.contains("cannot read"), "{told}");
    write(&program, "#!/bin/sh\n");
    let told = rig.fails(&import);
    assert!(told.contains("is no program for x86-64"), "{told}");
    // One for another processor, of which only the number differs.
    worker(&program, 1);
    let mut bytes = fs::read(&program).expect("it is there");
    bytes[18..20].copy_from_slice(&183u16.to_le_bytes());
    fs::write(&program, bytes).expect("ours");
    let told = rig.fails(&import);
    assert!(told.contains("is no program for x86-64"), "{told}");
    // This test's own program is no worker, and needs a C library that the root does not have.
    fs::copy(env!("CARGO_BIN_EXE_regex-provision"), &program).expect("a file");
    let told = rig.fails(&import);
    assert!(
        told.contains("which is no regex-worker; name one by --worker"),
        "{told}"
    );
    fs::copy("/usr/bin/tail", &program).expect("a file");
    let told = rig.fails(&import);
    assert!(
        told.contains("which is no regex-worker") || told.contains("needs the C library"),
        "{told}"
    );
    // What stands for a worker fits, but is none.
    worker(&program, 1);
    rig.run(&import);
    let findings: serde_json::Value = {
        let output = rig.output(&["lint", "tiny", "--json"]);
        assert_eq!(output.status.code(), Some(2));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    assert_eq!(kinds(&findings), ["no-driver", "no-nfs", "worker"]);
    let told = rig.fails(&["lint", "tiny"]);
    assert!(told.contains("1 error in the image tiny"), "{told}");
}
