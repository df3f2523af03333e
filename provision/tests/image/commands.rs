//! `image list|show|diff|lint|prune`, and what is said where something is wrong.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::rig::{RELEASE, Rig, can_build, text, tiny_root, worker, write};

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
    // A name that is known, where nobody knows it, and one that is not root's.
    for (path, owner) in [("usr/local/bin/sudo", 0), ("usr/bin/passwd", 1000)] {
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

#[test]
fn images_are_listed_shown_and_compared() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    assert_eq!(rig.run(&["list"]), "");
    let root = rig.path("root");
    tiny_root(&root);
    write(
        &root.join("var/lib/dpkg/status"),
        "Package: tiny\nStatus: install ok installed\nVersion: 1.0\n",
    );
    write(&root.join("var/lib/dpkg/info/tiny.list"), "/bin/busybox\n");
    let first = rig.import(&root);
    write(
        &root.join("var/lib/dpkg/status"),
        "Package: tiny\nStatus: install ok installed\nVersion: 1.1\n",
    );
    let second = rig.import(&root);
    let (first, second) = (
        first["digest"].as_str().expect("text"),
        second["digest"].as_str().expect("text"),
    );

    let listed = rig.run(&["list"]);
    let lines: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines.len(), 2, "{listed}");
    assert_eq!(
        lines[1][..4],
        ["tiny", &second[..12], "2023-11-14", "22:13"]
    );
    assert_eq!(lines[1].last(), Some(&"published"));
    let all = rig.json(&["list", "--all"]);
    assert_eq!(all.as_array().expect("an array").len(), 2);
    assert_eq!(all[1]["digest"], first);
    assert_eq!(
        (&all[1]["published"], &all[1]["in_use"]),
        (&false.into(), &false.into())
    );

    let shown = rig.run(&["show", "tiny"]);
    for words in [
        "image         tiny\n",
        &format!("kernel        {RELEASE}, 8 B\n"),
        "network       no drivers but those in the kernel itself\n",
        "firmware      0 files\n",
        "/usr/bin",
        "tiny\n",
    ] {
        assert!(shown.contains(words), "{words:?}\n{shown}");
    }
    let shown = rig.json(&["show", &first[..8]]);
    let busybox = fs::metadata(root.join("usr/bin/busybox"))
        .expect("it is there")
        .len();
    assert_eq!(
        shown["packages"][0],
        serde_json::json!({"name": "tiny", "bytes": busybox})
    );

    let diff = rig.output(&["diff", first, second]);
    assert_eq!(diff.status.code(), Some(1));
    let diff = String::from_utf8_lossy(&diff.stdout);
    assert!(diff.contains("packages:\n~ tiny: 1.0 -> 1.1\n"), "{diff}");
    assert!(
        diff.contains("files:\n~ /var/lib/dpkg/status: f 0644 0:0 "),
        "{diff}"
    );
    assert_eq!(rig.run(&["diff", "tiny", second]), "");
    let told = rig.fails(&["show", "ffffffff"]);
    assert!(
        told.contains("there is no image ffffffff; there is tiny"),
        "{told}"
    );
}

#[test]
fn prune_removes_what_nobody_needs_and_nothing_else() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    let import = [
        "import",
        "tiny",
        "--no-worker",
        "--directory",
        text(&root),
        "--tree",
    ];
    let mut digests = Vec::new();
    for text in ["1", "2", "3"] {
        write(&root.join("etc/motd"), text);
        digests.push(
            rig.json(&import)["digest"]
                .as_str()
                .expect("text")
                .to_owned(),
        );
    }
    // The second one belongs to a generation.
    write(
        &rig.store().join("generations/4/images.json"),
        &format!("{{\"tiny\":\"{}\"}}\n", digests[1]),
    );
    // The first one is what a node has booted last; what it booted before, and what a forgotten one did, does not count.
    let boot = |mac: &str, number: u32, digest: &str| {
        format!(
            r#"{{"boot":{{"mac":"{mac}","boot":{{"number":{number},"steps":{{}},"began":1,"last":1,"offer":{{"generation":1,"image":"tiny","manifest":"{digest}","kernel":"{0}","initramfs":"{0}","overlay":"{0}","arguments":""}}}}}}}}"#,
            "0".repeat(64)
        ) + "\n"
    };
    let journal = rig.store().join("nodes/journal");
    let (one, two) = ("52:54:00:00:00:01", "52:54:00:00:00:02");
    let heard = [
        "{\"format\":1}\n".to_owned(),
        boot(one, 2, &digests[0]),
        boot(one, 1, &digests[1]),
        format!(
            "{{\"boot\":{{\"mac\":\"{one}\",\"boot\":{{\"number\":3,\"steps\":{{}},\"began\":1,\"last\":1}}}}}}\n"
        ),
        boot(two, 1, &digests[0]),
        format!("{{\"forget\":{{\"mac\":\"{two}\"}}}}\n"),
    ];
    write(&journal, &heard.concat());
    let would = rig.json(&["prune", "--dry-run"]);
    assert_eq!(would["images"], serde_json::json!([]));
    assert_eq!(would["trees"], serde_json::json!([]));
    // It boots again, something newer.
    write(&journal, &(heard.concat() + &boot(one, 4, &digests[2])));
    let would = rig.json(&["prune", "--dry-run"]);
    assert_eq!(would["images"], serde_json::json!([digests[0]]));
    assert_eq!(rig.names("manifests").len(), 3);
    let pruned = rig.json(&["prune"]);
    assert_eq!(pruned, would);
    assert!(pruned["bytes"].as_u64() > Some(0));
    let mut kept: Vec<String> = digests[1..]
        .iter()
        .map(|digest| format!("{digest}.json"))
        .collect();
    kept.sort();
    assert_eq!(rig.names("manifests"), kept);
    assert_eq!(rig.names("trees").len(), 2);
    for digest in &digests[1..] {
        let shown = rig.json(&["show", digest]);
        rig.unpacked(&shown["manifest"], digest);
    }
    fs::remove_file(&journal).expect("ours");
    // Another image's name is taken away by hand: its cache goes too.
    fs::remove_file(rig.store().join("images/tiny")).expect("ours");
    let pruned = rig.json(&["prune"]);
    assert_eq!(pruned["cache"], serde_json::json!(["cache/stage/tiny"]));
    assert_eq!(rig.names("manifests").len(), 1);
    rig.run(&import);
    assert!(!rig.names("cache/stage/tiny").is_empty());
    rig.run(&["prune", "--cache"]);
    assert!(rig.names("cache/stage").is_empty());
    assert!(rig.published("tiny").is_some());
}

#[test]
fn limits_and_wrong_names_are_told_before_anything_is_done() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let told = rig.fails(&["build", "node"]);
    assert!(
        told.contains("cluster.toml declares no image; add a section [image.node]"),
        "{told}"
    );
    let told = rig.fails(&["import", "node"]);
    assert!(told.contains("say what is imported"), "{told}");
    let root = rig.path("root");
    tiny_root(&root);
    rig.cluster(&format!(
        "[image.tiny]\nworker = false\nmax-size = \"10kB\"\nsource = {{ kind = \"directory\", path = \"{}\" }}\n",
        root.display()
    ));
    let told = rig.fails(&["build", "tinny"]);
    assert!(
        told.contains("declares no image tinny; it declares tiny"),
        "{told}"
    );
    let told = rig.fails(&["build", "tiny"]);
    assert!(told.contains("`max-size` allows 10kB"), "{told}");
    assert_eq!(rig.published("tiny"), None);
    let told = rig.fails(&["import", "tiny", "--no-worker", "--directory", "/"]);
    assert!(
        told.contains("/ is the master's own running system"),
        "{told}"
    );

    // Without root nothing is begun.
    fs::set_permissions(rig.directory.path(), fs::Permissions::from_mode(0o777)).expect("ours");
    // The target directory may lie where others cannot look.
    let program = rig.path("regex-provision");
    fs::copy(env!("CARGO_BIN_EXE_regex-provision"), &program).expect("a file");
    let refused = |arguments: &[&str], why: &str| {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(&program)
            .args(arguments)
            .current_dir(rig.directory.path())
            .output()
            .expect("setpriv is there");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(why), "{arguments:?}: {told}");
    };
    refused(
        &["image", "prune"],
        "Permission denied (os error 13); run it with sudo",
    );
    fs::remove_dir_all(rig.store()).expect("ours");
    refused(&["image", "build", "tiny"], "building an image needs root");
    refused(&["serve"], "running dnsmasq needs root");
    assert!(!rig.store().exists());
}

#[test]
fn what_is_no_store_stays_what_it_is() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    for arguments in [
        &["prune", "--store", "typo"][..],
        &["prune", "-n", "--store", "typo"],
    ] {
        let told = rig.fails(arguments);
        let typo = rig.path("typo");
        assert!(told.contains(text(&typo)), "{told}");
        assert!(!typo.exists());
    }
    assert_eq!(rig.run(&["list", "--store", "typo"]), "");
    assert!(!rig.path("typo").exists());
    let told = rig.fails(&["import", "tiny", "--no-worker", "--oci", "typo"]);
    assert!(told.contains(text(&rig.path("typo"))), "{told}");
    fs::create_dir(rig.path("empty")).expect("a directory");
    let told = rig.fails(&["import", "tiny", "--no-worker", "--oci", "empty"]);
    assert!(told.contains(text(&rig.path("empty"))), "{told}");
    // A store that would be copied into itself, and at each import anew.
    let root = rig.path("root");
    tiny_root(&root);
    let store = root.join("srv/store");
    let told = rig.fails(&[
        "import",
        "tiny",
        "--no-worker",
        "--directory",
        text(&root),
        "--store",
        text(&store),
    ]);
    assert!(told.contains("lies below"), "{told}");
}

#[test]
fn one_damaged_image_does_not_hide_the_others() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    let import =
        |name: &str| rig.json(&["import", name, "--no-worker", "--directory", text(&root)]);
    let old = import("tiny");
    write(&root.join("etc/motd"), "new");
    import("tiny");
    let other = import("other");
    let digest = other["digest"].as_str().expect("text");
    let manifest = rig.store().join(format!("manifests/{digest}.json"));
    let mut bytes = fs::read(&manifest).expect("it is there");
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&manifest, bytes).expect("we are root");

    let output = rig.output(&["list"]);
    let (listed, told) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        listed.contains("tiny") && !listed.contains("other"),
        "{listed}"
    );
    assert!(told.contains(digest), "{told}");
    // What it names cannot be known: nothing of that kind is removed.
    let artifacts = rig.names("artifacts");
    let told = rig.fails(&["prune"]);
    assert!(told.contains(digest), "{told}");
    let old = format!("{}.json", old["digest"].as_str().expect("text"));
    assert!(!rig.names("manifests").contains(&old));
    assert!(manifest.exists());
    assert_eq!(rig.names("artifacts"), artifacts);
    // As told: it is built again.
    import("other");
    rig.run(&["list"]);
    rig.run(&["prune"]);
    assert!(rig.names("artifacts").len() < artifacts.len());
}

/// What an image is made from counts, not where that lies.
#[test]
fn the_same_from_another_place_is_the_same_image() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let (one, two) = (rig.path("one"), rig.path("two"));
    tiny_root(&one);
    tiny_root(&two);
    let first = rig.import(&one);
    let second = rig.import(&two);
    assert_eq!(first["digest"], second["digest"]);
    assert_eq!(second["new"], false);
}
