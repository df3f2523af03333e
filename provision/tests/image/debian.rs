//! One real Debian, as a declaration of four lines makes it: it is small, whole, and its worker runs. And, of its packages, a root from a
//! mirror as Ubuntu's is.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::mirror::Mirror;
use crate::rig::{Rig, can_build, is_there, text};

/// The largest that the default image may be when packed.
const MAX_PACKED_BYTES: u64 = 120_000_000;

/// What the default has, and a little of all that can be asked for besides.
const DECLARATION: &str = r#"
[image.node]
source = { kind = "debootstrap", suite = "bookworm" }
worker = HAS_WORKER
packages = ["bc"]
remove-packages = ["e2fsprogs"]
services = { enable = ["fstrim.timer"], disable = ["chrony.service"] }
locale = "de_DE.UTF-8"

[[image.node.user]]
name = "ann"
groups = ["adm"]
password-hash = "$6$salt$hash"
"#;

/// As docs/provisioning.md has it.
const UBUNTU: &str = r#"
[image.ubuntu]
source = { kind = "debootstrap", suite = "noble", mirrors = ["MIRROR"], components = ["main", "universe"]KEYRING }
kernel = { package = "linux-image-generic" }
packages = ["bc"]
worker = false
"#;

#[test]
fn a_declared_debian_is_built_and_one_as_ubuntu_is() {
    if !can_build() {
        return;
    }
    assert!(is_there("mmdebstrap"), "install mmdebstrap");
    let rig = Rig::new();
    // Packages that an earlier run has fetched are fetched no more.
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-packages");
    fs::create_dir_all(&cache).expect("a directory");
    fs::create_dir_all(rig.store().join("cache")).expect("a directory");
    std::os::unix::fs::symlink(&cache, rig.store().join("cache/apt")).expect("a link");
    let worker = Path::new(env!("CARGO_BIN_EXE_regex-provision")).with_file_name("regex-worker");
    let has_worker = worker.exists();
    assert!(
        has_worker || std::env::var_os("CI").is_none(),
        "there is no {}; build the whole workspace",
        worker.display()
    );
    rig.cluster(&DECLARATION.replace("HAS_WORKER", &has_worker.to_string()));
    let built = rig.json(&["build", "node"]);
    assert_eq!(
        rig.json(&["build", "node", "--force"])["digest"],
        built["digest"],
        "all is made again, from the same packages, and is not the same"
    );
    let manifest = &built["manifest"];
    let packed = manifest["root"]["size"].as_u64().expect("a number");
    let program = manifest["worker"]["size"].as_u64().unwrap_or(0);
    // A worker built for debugging is many times as large as a released one, and hardly packs.
    let allowed = MAX_PACKED_BYTES + if cfg!(debug_assertions) { program } else { 0 };
    assert!(packed <= allowed, "{packed} bytes");

    let findings = rig.json(&["lint", "node"]);
    for finding in findings.as_array().expect("an array") {
        assert_ne!(finding["severity"], "error", "{finding}");
        let kind = finding["kind"].as_str().expect("text");
        let is_declared =
            kind == "password" && finding["what"] == "hashes of passwords in the image, of ann";
        assert!(kind == "no-driver" || is_declared, "{finding}");
    }
    let root = rig.unpacked(manifest, "unpacked");
    holds_what_a_node_needs(&root, manifest, has_worker);
    is_what_was_declared(&rig, &root, manifest);
    let shown = rig.run(&["show", "node"]);
    let network = shown.lines().find(|line| line.starts_with("network "));
    let network = network.expect("it is told");
    for driver in ["igb", "ixgbe", "mlx5_core", "virtio_net"] {
        assert!(network.contains(driver), "{network}");
    }
    its_units_and_daemons_are_right(&rig, has_worker);
    // The same again is nothing to do, at once.
    assert_eq!(rig.json(&["build", "node"])["new"], false);

    from_a_mirror_as_ubuntu_s(&cache, manifest);
}

fn from_a_mirror_as_ubuntu_s(packages: &Path, debian: &serde_json::Value) {
    let release = debian["kernel_version"].as_str().expect("text");
    // Whatever proxy this machine fetches Debian by.
    let rig = Rig::new().with("no_proxy", "127.0.0.1");
    let at = rig.path("mirror");
    fs::create_dir(&at).expect("a directory");
    let mirror = Mirror::of(packages, debian, &at);
    let declaration = UBUNTU.replace("MIRROR", &mirror.url);
    rig.cluster(&declaration.replace("KEYRING", ""));
    let told = rig.fails(&["build", "ubuntu"]);
    assert!(
        told.contains("does not know the key of the mirror"),
        "{told}"
    );
    let keyring = format!(", keyring = {:?}", text(&mirror.keyring));
    rig.cluster(&declaration.replace("KEYRING", &keyring));
    let manifest = &rig.json(&["build", "ubuntu"])["manifest"];

    assert_eq!(manifest["kernel_version"], release);
    let packages = manifest["packages"].as_array().expect("an array");
    let version = |name: &str| {
        let found = packages.iter().find(|package| package["name"] == name);
        found.map(|package| package["version"].as_str().expect("text"))
    };
    for name in [
        "base-files",
        "linux-image-generic",
        &format!("linux-image-{release}"),
        &format!("linux-modules-{release}"),
    ] {
        let version = version(name).expect(name);
        assert!(version.ends_with("ubuntu1"), "{name} {version}");
    }
    assert!(version("bc").is_some(), "of the second component");
    for name in ["usr-is-merged", "linux-firmware"] {
        assert_eq!(version(name), None, "{name}");
    }
    let root = rig.unpacked(manifest, "unpacked");
    assert!(!root.join("usr/lib/firmware/large.bin").exists());
    for name in ["bin", "lib"] {
        let link = fs::read_link(root.join(name)).expect("a link");
        assert_eq!(link, Path::new("usr").join(name));
    }
    holds_its_drivers(manifest);
    let findings = rig.json(&["lint", "ubuntu"]);
    for finding in findings.as_array().expect("an array") {
        assert_eq!(finding["kind"], "no-driver", "{finding}");
    }
}

fn is_what_was_declared(rig: &Rig, root: &Path, manifest: &serde_json::Value) {
    let packages = manifest["packages"].as_array().expect("an array");
    let has = |name: &str| packages.iter().any(|package| package["name"] == name);
    assert!(has("bc") && root.join("usr/bin/bc").exists());
    assert!(!has("e2fsprogs") && !root.join("usr/sbin/mke2fs").exists());
    let asked = "systemctl is-enabled fstrim.timer chrony.service; locale -a";
    let told = rig.run(&["shell", "node", "--", "/bin/sh", "-c", asked]);
    assert!(told.starts_with("enabled\ndisabled\n"), "{told}");
    assert!(told.lines().any(|line| line == "de_DE.utf8"), "{told}");
    let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);
    let shadow = read("etc/shadow");
    assert!(shadow.contains("\nann:$6$salt$hash:"), "{shadow}");
    assert!(
        read("etc/group")
            .lines()
            .any(|line| line.starts_with("adm:") && line.ends_with(":ann"))
    );
    assert_eq!(read("etc/default/locale"), "LANG=de_DE.UTF-8\n");
}

fn holds_what_a_node_needs(root: &Path, manifest: &serde_json::Value, has_worker: bool) {
    if has_worker {
        let unit = "usr/lib/systemd/system/multi-user.target.wants/regex-worker.service";
        assert!(root.join(unit).exists());
        assert!(root.join("opt/regexctl/bin/regex-worker").exists());
        assert_ne!(manifest["worker"]["version"], "unknown");
    }
    for there in [
        "usr/sbin/sshd",
        "usr/sbin/chronyd",
        "usr/sbin/mount.nfs",
        "usr/lib/systemd/systemd",
        "usr/lib/systemd/system/regexctl-stage-system.service",
        "usr/share/doc/bash/copyright",
    ] {
        assert!(root.join(there).exists(), "{there}");
    }
    for gone in [
        "var/cache/apt/pkgcache.bin",
        "usr/share/doc/bash/README",
        "etc/ssh/ssh_host_rsa_key",
        ".regexctl-kernel",
    ] {
        assert!(!root.join(gone).exists(), "{gone}");
    }
    assert_eq!(
        fs::read_dir(root.join("var/lib/apt/lists"))
            .expect("it is there")
            .count(),
        0
    );
    let packages: Vec<&str> = manifest["packages"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|package| package["name"].as_str().expect("text"))
        .collect();
    let kernel = manifest["kernel_version"].as_str().expect("text");
    for name in [
        "systemd-sysv",
        "openssh-server",
        "chrony",
        "nfs-common",
        "netbase",
        &format!("linux-image-{kernel}"),
    ] {
        assert!(packages.contains(&name), "{name}");
    }
    holds_its_drivers(manifest);
    let bash = Command::new("bash")
        .args(["-n", text(&root.join("usr/lib/regexctl/stage"))])
        .status()
        .expect("bash is there");
    assert!(bash.success());
}

fn holds_its_drivers(manifest: &serde_json::Value) {
    let modules = &manifest["initramfs_contents"]["modules"];
    let modules: Vec<&str> = modules
        .as_array()
        .expect("an array")
        .iter()
        .filter_map(|name| name.as_str())
        .collect();
    for name in [
        "igb",
        "ixgbe",
        "mlx5_core",
        "virtio_net",
        "squashfs",
        "overlay",
        "nfsv3",
    ] {
        assert!(modules.contains(&name), "{name}");
    }
}

fn its_units_and_daemons_are_right(rig: &Rig, has_worker: bool) {
    // systemd itself takes our units, and finds nothing wrong with them.
    let units = [
        "regexctl-stage-system.service",
        "regex-worker.service",
        "regexctl-stage-worker.service",
        "regexctl-stage-worker-kept-back.service",
    ];
    let units = if has_worker { &units[..] } else { &units[..1] };
    let verified = rig.output(
        &[
            &["shell", "node", "--", "/usr/bin/systemd-analyze", "verify"],
            units,
        ]
        .concat(),
    );
    let told = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success(), "{told}");
    assert!(!told.contains("regex"), "{told}");
    if has_worker {
        let version = rig.run(&["shell", "node", "--", "regex-worker", "--version"]);
        assert!(version.starts_with("regex-worker "), "{version}");
    }
    // sshd accepts its configuration once it has a key.
    let script = "ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key && mkdir -p /run/sshd && /usr/sbin/sshd -T";
    let sshd = rig.run(&["shell", "node", "--", "/bin/sh", "-c", script]);
    for setting in [
        "passwordauthentication no",
        "permitrootlogin without-password",
        "usepam yes",
    ] {
        assert!(sshd.contains(setting), "{setting}\n{sshd}");
    }
}
