//! `image list|show|diff|prune`, and what is said where something is wrong.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::rig::{RELEASE, Rig, can_build, text, tiny_root, write};

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
    // Another kernel that calls itself the same: /boot of the image has it no more.
    write(&root.join(format!("boot/vmlinuz-{RELEASE}")), "another one");
    rig.import(&root);
    let diff = rig.output(&["diff", second, "tiny"]);
    assert_eq!(diff.status.code(), Some(1));
    let diff = String::from_utf8_lossy(&diff.stdout);
    assert!(
        diff.contains(&format!("~ kernel: {RELEASE} (")) && !diff.contains("files:"),
        "{diff}"
    );
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
    let told = rig.fails(&["import", "tiny", "--exclude", "/opt/secret"]);
    assert!(
        told.contains("--exclude belongs to --directory or --master"),
        "{told}"
    );
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
    rig.run(&["import", "small", "--no-worker", "--directory", text(&root)]);
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
    refused(
        &["image", "shell", "small", "--commit"],
        "a shell in an image needs root",
    );
    refused(
        &["image", "lint", "small"],
        "looking into an image needs root",
    );
    assert_eq!(rig.names("tmp"), Vec::<String>::new());
    fs::remove_dir_all(rig.store()).expect("ours");
    refused(&["image", "build", "tiny"], "building an image needs root");
    let directory = ["image", "import", "tiny", "--directory", text(&root)];
    refused(&directory, "building an image needs root");
    let master = ["image", "import", "tiny", "--master"];
    refused(&master, "building an image needs root");
    refused(&["serve"], "running dnsmasq needs root");
    assert!(!rig.store().exists());
}

/// What is missing at the end of a build, or of a session, is known at its beginning.
#[test]
fn missing_programs_are_told_before_anything_is_done() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    rig.import(&root);
    rig.cluster(
        "[image.debian]\nworker = false\nsource = { kind = \"debootstrap\", suite = \"bookworm\" }\n",
    );
    let fails = |hide: &str, arguments: &[&str]| {
        let command = rig.command(arguments);
        let output = Command::new("unshare")
            .args([
                "--mount",
                "sh",
                "-ec",
                &format!("{hide}; exec \"$@\""),
                "sh",
            ])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(rig.directory.path())
            .output()
            .expect("unshare is there");
        let told = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{told}");
        told
    };
    let no_depmod =
        "for d in /usr/local/sbin /usr/sbin /sbin; do mount -t tmpfs tmpfs \"$d\"; done";
    let depmod = "there is no depmod on this machine; install the Debian package kmod";
    let import = ["import", "tiny", "--no-worker", "--directory", text(&root)];
    let told = fails(no_depmod, &import);
    assert!(told.contains(depmod) && told.lines().count() == 1, "{told}");
    let told = fails(no_depmod, &["shell", "tiny", "--commit", "--", "/bin/true"]);
    assert!(
        told.contains(depmod) && !told.contains("unpacking"),
        "{told}"
    );
    let no_busybox = "mount --bind /usr/bin/true /bin/busybox";
    let told = fails(no_busybox, &["build", "debian"]);
    assert!(told.contains("no static x86-64 busybox"), "{told}");
    assert!(!told.contains("mmdebstrap"), "{told}");
}

/// A kernel that cannot mount is not to blame for what happens after the mount.
#[test]
fn only_a_mount_that_fails_asks_for_another_kernel() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    rig.cluster(&format!(
        "[image.tiny]\nworker = false\nformat = \"erofs\"\nsource = {{ kind = \"directory\", path = \"{}\" }}\n",
        root.display()
    ));
    let built = rig.json(&["build", "tiny"]);
    let packed = rig.artifact(&built["manifest"]["root"]["sha256"]);
    let mount = rig.path("mount");
    fs::create_dir(&mount).expect("a directory");
    write(&rig.path("garbage"), "no file system");
    let fails = |packed: &Path, to: &Path| {
        let output = Command::new("unshare")
            .args(["--mount", env!("CARGO_BIN_EXE_regex-provision")])
            .args(["inside", "copy", text(packed), "erofs"])
            .args([text(&mount), text(to)])
            .output()
            .expect("unshare is there");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).expect("text")
    };
    let kernel = "a kernel with erofs and loop devices is needed";
    let told = fails(&rig.path("garbage"), &rig.path("to"));
    assert!(told.contains(kernel), "{told}");
    let told = fails(&packed, &rig.path("nowhere/to"));
    assert!(
        told.contains("cannot copy") && !told.contains(kernel),
        "{told}"
    );
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
    spoil_end(&manifest);

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
    assert!(told.contains("needed by the name other, until"), "{told}");
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

/// Who needs an image that cannot be read is told, and what ends that: to build it again does not for all of them.
#[test]
fn of_a_damaged_image_it_is_told_who_needs_it() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    let old = rig.import(&root);
    write(&root.join("etc/motd"), "new");
    rig.import(&root);
    let digest = old["digest"].as_str().expect("text");
    let manifest = rig.store().join(format!("manifests/{digest}.json"));
    spoil_end(&manifest);
    let (list, all) = (["list"], ["list", "--all"]);
    rig.run(&list);
    let told = rig.fails(&all);
    assert!(told.contains("nobody needs it"), "{told}");

    let generations = rig.store().join("generations");
    let named = format!("{{\"tiny\":\"{digest}\"}}\n");
    write(&generations.join("4/images.json"), &named);
    write(&generations.join("5/images.json"), "{}");
    symlink("generations/5", rig.store().join("current")).expect("a link");
    let mac = "52:54:00:00:00:01";
    let heard = format!(
        r#"{{"boot":{{"mac":"{mac}","boot":{{"number":1,"offer":{{"manifest":"{digest}"}}}}}}}}"#
    );
    write(&rig.store().join("nodes/journal"), &(heard + "\n"));
    for command in [&list[..], &["prune"], &["prune", "--dry-run"]] {
        let told = rig.fails(command);
        let four = format!(
            "needed by generation 4, until 20 newer ones are applied; or remove {},",
            generations.join("4").display()
        );
        assert!(told.contains(&four), "{told}");
        assert!(
            told.contains(&format!("needed by the machine {mac}")),
            "{told}"
        );
        assert!(!told.contains("needed by the name"), "{told}");
    }
    // As told.
    fs::remove_dir_all(generations.join("4")).expect("ours");
    fs::remove_file(rig.store().join("nodes/journal")).expect("ours");
    write(&generations.join("5/images.json"), &named);
    let told = rig.fails(&list);
    assert!(
        told.contains("needed by generation 5, which is in force"),
        "{told}"
    );
    write(&generations.join("5/images.json"), "{}");
    rig.run(&list);
    rig.run(&["prune"]);
    assert!(!manifest.exists());
}

/// Changes a byte near the end of a file.
fn spoil_end(path: &Path) {
    let mut bytes = fs::read(path).expect("it is there");
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(path, bytes).expect("we are root");
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

    // All that is read on the master, in two places.
    let declare = |place: &Path| {
        write(&place.join("script"), "#!/bin/sh\ntouch /etc/from-script\n");
        write(&place.join("file"), "text");
        rig.cluster(&format!(
            "[image.tiny]\nworker = false\nsource = {{ kind = \"directory\", path = \"{0}\" }}\n\
             post-script = \"{0}/script\"\n\
             kernel = {{ file = \"{0}/boot/vmlinuz-{RELEASE}\", modules = \"{0}/usr/lib/modules/{RELEASE}\" }}\n\
             [[image.tiny.file]]\npath = \"/etc/copied\"\ncopy = \"{0}/file\"\n",
            place.display()
        ));
        rig.json(&["build", "tiny"])
    };
    let first = declare(&one);
    assert_eq!(first["new"], true);
    let second = declare(&two);
    assert_eq!(first["digest"], second["digest"]);
    assert_eq!(second["new"], false);
}
