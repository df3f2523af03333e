//! Directories, archives and the machine's own system become images.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use crate::rig::{RELEASE, Rig, belongs_to_root, can_build, text, tiny_root, worker, write};

#[test]
fn a_directory_becomes_an_image_without_what_belongs_to_one_machine() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    write(
        &root.join("etc/ssh/ssh_host_rsa_key"),
        "-----BEGIN OPENSSH PRIVATE KEY-----\n",
    );
    let built = rig.import(&root);
    assert_eq!(built["new"], true);
    let manifest = &built["manifest"];
    assert_eq!(manifest["kernel_version"], RELEASE);
    assert_eq!(manifest["created"], 1_700_000_000);
    let kernel = fs::read_to_string(rig.artifact(&manifest["kernel"]["sha256"]));
    assert_eq!(kernel.expect("an artifact"), "a kernel");

    let unpacked = rig.unpacked(manifest, "unpacked");
    for gone in [
        "etc/ssh/ssh_host_rsa_key",
        "etc/hostname",
        "var/log/messages",
        "usr/share/man/man1/sh.1",
        &format!("boot/vmlinuz-{RELEASE}"),
    ] {
        assert!(!unpacked.join(gone).exists(), "{gone}");
    }
    assert_eq!(
        fs::read(unpacked.join("etc/machine-id")).expect("it is there"),
        b""
    );
    assert_eq!(
        fs::read_link(unpacked.join("bin")).expect("a link"),
        Path::new("usr/bin")
    );
    for directory in ["dev", "proc", "run", "sys", "tmp", "opt"] {
        assert!(unpacked.join(directory).is_dir(), "{directory}");
    }
    let unit = unpacked.join("usr/lib/systemd/system/regexctl-stage-system.service");
    assert!(unit.exists());
    // What was imported is untouched.
    assert!(root.join("etc/hostname").exists());

    // The same again is nothing to do.
    let again = rig.import(&root);
    assert_eq!(
        (&again["new"], &again["digest"]),
        (&false.into(), &built["digest"])
    );
    // Something else is.
    write(&root.join("etc/motd"), "hello\n");
    let other = rig.import(&root);
    assert_eq!(other["new"], true);
    assert_ne!(other["digest"], built["digest"]);
    let diff = rig.output(&["diff", built["digest"].as_str().expect("text"), "tiny"]);
    assert_eq!(diff.status.code(), Some(1));
    let diff = String::from_utf8_lossy(&diff.stdout);
    assert!(diff.contains("+ /etc/motd: f 0644 0:0 6 bytes"), "{diff}");
}

#[test]
fn archives_give_the_same_root_as_the_directory() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    fs::set_permissions(
        root.join("usr/bin/busybox"),
        fs::Permissions::from_mode(0o4755),
    )
    .expect("ours");
    fs::hard_link(root.join("etc/group"), root.join("etc/second")).expect("a link");
    let directory = rig.import(&root);
    for (name, option) in [
        ("a.tar", "--no-auto-compress"),
        ("a.tgz", "--gzip"),
        ("a.txz", "--xz"),
        ("a.tzst", "--zstd"),
    ] {
        let archive = rig.path(name);
        let packed = Command::new("tar")
            .args([
                "--create",
                "--numeric-owner",
                option,
                "--file",
                text(&archive),
                "-C",
                text(&root),
                ".",
            ])
            .output()
            .expect("tar is there");
        assert!(
            packed.status.success(),
            "{}",
            String::from_utf8_lossy(&packed.stderr)
        );
        let built = rig.json(&["import", "tiny", "--no-worker", "--tar", text(&archive)]);
        assert_eq!(
            built["manifest"]["root"]["sha256"], directory["manifest"]["root"]["sha256"],
            "{name}"
        );
        assert_eq!(
            built["manifest"]["listing"], directory["manifest"]["listing"],
            "{name}"
        );
    }
    write(&rig.path("no.tar"), "words");
    let told = rig.fails(&[
        "import",
        "tiny",
        "--no-worker",
        "--tar",
        text(&rig.path("no.tar")),
    ]);
    assert!(told.contains("it is no tar archive"), "{told}");
    let whole = fs::read(rig.path("a.tgz")).expect("it is there");
    fs::write(rig.path("cut.tgz"), &whole[..whole.len() / 2]).expect("a file");
    let told = rig.fails(&[
        "import",
        "tiny",
        "--no-worker",
        "--tar",
        text(&rig.path("cut.tgz")),
    ]);
    assert!(told.contains("cannot read the archive"), "{told}");
}

/// A capability is neither in a file's bytes nor in its mode.
#[test]
fn a_capability_is_a_change() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    let program = root.join("usr/bin/ping");
    write(&program, "a program");
    let first = rig.import(&root);
    assert_eq!(rig.import(&root)["new"], false);
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::lsetxattr(&program, "security.capability", &capability, flags)
        .expect("we are root");
    let second = rig.import(&root);
    assert_eq!(second["new"], true);
    assert_ne!(second["digest"], first["digest"]);
    let diff = rig.output(&["diff", first["digest"].as_str().expect("text"), "tiny"]);
    let diff = String::from_utf8_lossy(&diff.stdout);
    assert!(diff.contains("~ /usr/bin/ping: "), "{diff}");
    assert!(diff.contains(" with attributes "), "{diff}");
}

#[test]
fn all_that_a_declaration_says_is_done() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    write(&rig.path("tools/one"), "1");
    fs::set_permissions(rig.path("tools/one"), fs::Permissions::from_mode(0o755)).expect("ours");
    rig.cluster(&format!(
        r#"
[image.tiny]
source = {{ kind = "directory", path = "{root}", exclude = ["/usr/share/*", "*.bak"] }}
ssh-keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFwqjBHKxVLgiTIHk7wzBTLrBmIv6nWuoVVQ7NG6ByPd me"]
services.mask = ["getty.target"]
post-script = '''
#!/bin/sh
set -e
test "$IMAGE" = tiny
test $$ = 1
cat /etc/hello > /etc/from-script
ls /proc/1 > /dev/null
touch /tmp/not-kept /run/not-kept
'''
worker = false

[[image.tiny.file]]
path = "/etc/hello"
text = "hello\n"
mode = "0640"
owner = "ann"
group = "video"

[[image.tiny.file]]
path = "/opt/tools"
copy = "{tools}"

[[image.tiny.file]]
path = "/etc/link"
link = "/etc/hello"

[[image.tiny.file]]
path = "/srv/empty"
directory = true
mode = "1777"

[[image.tiny.file]]
path = "/etc/netplan/01.yaml"
text = "network: {{ethernets: {{a: {{match: {{macaddress: 52:54:00:12:34:56}}}}}}}}\n"

[[image.tiny.file]]
path = "/etc/network/interfaces"
text = "iface a inet dhcp\n  hwaddress ether 52:54:00:12:34:56\n"

[[image.tiny.file]]
path = "/etc/resolv.conf"
link = "../run/resolv.conf"

[[image.tiny.file]]
path = "/var/tmp/gone"
text = "gone\n"

[[image.tiny.user]]
name = "ann"
uid = 1234
groups = ["video"]
shell = "/bin/sh"
ssh-keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFwqjBHKxVLgiTIHk7wzBTLrBmIv6nWuoVVQ7NG6ByPd ann"]
"#,
        root = root.display(),
        tools = rig.path("tools").display(),
    ));
    write(&root.join("etc/old.bak"), "old");
    // Not asked for: of the machine that the root was made on.
    let link = "etc/systemd/network/10-lan.link";
    write(&root.join(link), "[Match]\nMACAddress=52:54:00:12:34:57\n");
    let output = rig.output(&["build", "tiny", "--json"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    for words in [
        "/etc/systemd/network/10-lan.link is left out: it names the Ethernet address of one machine",
        "/var/tmp/gone is left out, although the declaration asks for it",
        "warning: mac: /etc/netplan/01.yaml names the Ethernet address of one machine",
        "warning: mac: /etc/network/interfaces names",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
    let built: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let unpacked = rig.unpacked(&built["manifest"], "unpacked");
    let about = |path: &str| {
        let metadata = fs::symlink_metadata(unpacked.join(path)).expect(path);
        (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
    };
    let read = |path: &str| fs::read_to_string(unpacked.join(path)).expect(path);
    assert!(!unpacked.join("etc/old.bak").exists());
    assert_eq!(read("etc/from-script"), "hello\n");
    let (mode, uid, gid) = about("etc/hello");
    assert_eq!((mode, uid), (0o640, 1234));
    assert!(read("etc/group").contains(&format!("video:x:{gid}:ann")));
    assert_eq!(about("opt/tools/one").0, 0o755);
    assert_eq!(about("srv/empty").0, 0o1777);
    assert_eq!(about("home/ann/.ssh/authorized_keys"), (0o600, 1234, 1234));
    assert_eq!(about("root/.ssh/authorized_keys"), (0o600, 0, 0));
    assert!(read("root/.ssh/authorized_keys").ends_with(" me\n"));
    assert_eq!(
        fs::read_link(unpacked.join("etc/systemd/system/getty.target")).expect("a link"),
        Path::new("/dev/null")
    );
    for path in ["etc/netplan/01.yaml", "etc/network/interfaces"] {
        assert!(read(path).contains("52:54:00:12:34:56"), "{path}");
    }
    assert_eq!(
        fs::read_link(unpacked.join("etc/resolv.conf")).expect("a link"),
        Path::new("../run/resolv.conf")
    );
    for gone in [
        link,
        "var/tmp/gone",
        ".regexctl-post-script",
        "tmp/not-kept",
        "run/not-kept",
        "usr/sbin/policy-rc.d",
    ] {
        assert!(!unpacked.join(gone).exists(), "{gone}");
    }

    // Another declaration that cannot be done leaves what is there.
    let before = rig.published("tiny");
    let declaration = fs::read_to_string(rig.path("cluster.toml")).expect("it is there");
    fs::write(
        rig.path("cluster.toml"),
        declaration.replace(
            "touch /tmp/not-kept",
            "echo no luck >&2; exit 7; touch /tmp/not-kept",
        ),
    )
    .expect("ours");
    let told = rig.fails(&["build", "tiny"]);
    assert!(told.contains("the post-script of the image tiny"), "{told}");
    assert!(told.contains("no luck"), "{told}");
    assert_eq!(rig.published("tiny"), before);
}

#[test]
fn a_new_worker_alone_does_not_touch_the_rest() {
    if !can_build() {
        return;
    }
    for format in ["squashfs", "erofs"] {
        let rig = Rig::new();
        let root = rig.path("root");
        tiny_root(&root);
        write(&root.join("opt/own/file"), "of the root");
        // Whose the imported directory is, and who may look into it, is the master's affair.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o2770)).expect("ours");
        std::os::unix::fs::chown(&root, Some(1234), Some(1234)).expect("we are root");
        rig.cluster(&format!(
            "[image.tiny]\nformat = \"{format}\"\nsource = {{ kind = \"directory\", path = \"{}\" }}\n",
            root.display()
        ));
        let program = rig.path("regex-worker");
        let build = [
            "build",
            "tiny",
            "--worker",
            text(&program),
            "--tree",
            "--ramdisk",
            "--without-usr",
        ];
        worker(&program, 1);
        let first = rig.json(&build);
        let stage = |rig: &Rig| {
            let name = rig.names("cache/stage/tiny").concat();
            let meta = rig
                .store()
                .join("cache/stage/tiny")
                .join(&name)
                .join("meta.json");
            (name, fs::metadata(meta).expect("it is there").ino())
        };
        let before = stage(&rig);
        worker(&program, 2);
        let second = rig.json(&build);
        assert_eq!(stage(&rig), before, "the stage was made once");
        assert_ne!(first["digest"], second["digest"]);
        for (built, name) in [(&first, "first"), (&second, "second")] {
            let manifest = &built["manifest"];
            assert_eq!(manifest["root"]["format"], *format);
            let unpacked = rig.unpacked(manifest, name);
            let tree = rig
                .store()
                .join("trees")
                .join(manifest["tree"].as_str().expect("a tree was wanted"));
            belongs_to_root(&tree);
            for root in [&unpacked, &tree] {
                let told = &manifest["worker"]["sha256"];
                let bytes =
                    fs::read(root.join("opt/regexctl/bin/regex-worker")).expect("it is there");
                let version = if name == "first" { 1 } else { 2 };
                assert_eq!(bytes.last(), Some(&version), "{told}");
                assert_eq!(
                    fs::read_link(root.join("usr/bin/regex-worker")).expect("a link"),
                    Path::new("/opt/regexctl/bin/regex-worker")
                );
                let own = fs::read_to_string(root.join("opt/own/file")).expect("it is there");
                assert_eq!(own, "of the root");
            }
            let ramdisk = rig.artifact(&manifest["ramdisk"]["sha256"]);
            let listed = cpio_names(&ramdisk);
            for name in [
                "usr/bin/busybox",
                "opt/own/file",
                "opt/regexctl/bin/regex-worker",
                "init",
            ] {
                assert!(listed.iter().any(|listed| listed == name), "{name}");
            }
            let without = &manifest["without_usr"];
            let listed = cpio_names(&rig.artifact(&without["ramdisk"]["sha256"]));
            // Of /usr it has what leads to the one over NFS, and no more.
            let below: Vec<&String> = listed
                .iter()
                .filter(|name| name.starts_with("usr/"))
                .collect();
            let index = format!("usr/lib/modules/{RELEASE}/modules.dep");
            assert!(below.contains(&&index), "{below:?}");
            let is_driver = |name: &str| {
                name == "usr/lib"
                    || name.starts_with("usr/lib/modules")
                    || name.starts_with("usr/lib/firmware")
            };
            assert!(below.iter().all(|name| is_driver(name)), "{below:?}");
            let bare = rig.unpacked(
                &serde_json::json!({"root": {"sha256": without["root"]["sha256"], "format": format}}),
                &format!("{name}-bare"),
            );
            assert_eq!(
                fs::read_dir(bare.join("usr")).expect("it is there").count(),
                0
            );
            assert!(bare.join("opt/regexctl/bin/regex-worker").exists());
            assert!(bare.join("etc/passwd").exists());
        }
    }
}

/// The names in a file of several zstd-compressed newc archives, one behind the other, as the kernel reads it.
fn cpio_names(path: &Path) -> Vec<String> {
    let plain = Command::new("zstd")
        .args(["-dc", text(path)])
        .output()
        .expect("zstd is there");
    assert!(
        plain.status.success(),
        "{}",
        String::from_utf8_lossy(&plain.stderr)
    );
    let bytes = plain.stdout;
    let mut names = Vec::new();
    let mut at = 0;
    let padded = |length: usize| length.div_ceil(4) * 4;
    while at + 110 <= bytes.len() {
        if bytes[at..].starts_with(&[0; 4]) {
            at += 4;
            continue;
        }
        let header = &bytes[at..at + 110];
        assert_eq!(&header[..6], b"070701", "at {at}");
        let field = |index: usize| {
            let text = str::from_utf8(&header[6 + 8 * index..14 + 8 * index]).expect("digits");
            usize::from_str_radix(text, 16).expect("digits")
        };
        let (size, length) = (field(6), field(11));
        let name = &bytes[at + 110..at + 110 + length - 1];
        names.push(String::from_utf8_lossy(name).into_owned());
        at += padded(110 + length) + padded(size);
    }
    names
}
