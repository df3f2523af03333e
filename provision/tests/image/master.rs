//! The master's own running system becomes an image, without what is the master's alone.

use std::fs;

use crate::rig::{BUSYBOX, RELEASE, Rig, can_build, text, tiny_root, write};

#[test]
fn the_master_s_own_system_is_copied_without_its_secrets() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    rig.cluster(&format!(
        r#"
[image.copy]
source = {{ kind = "master", include = ["/etc", "/sbin", "/lib"], exclude = ["/etc/alternatives"] }}
kernel = {{ file = "{root}/boot/vmlinuz-{RELEASE}", modules = "{root}/usr/lib/modules/{RELEASE}" }}
worker = false
[[image.copy.file]]
path = "/sbin/init"
copy = "{BUSYBOX}"
mode = "0755"
"#,
        root = root.display()
    ));
    let built = rig.json(&["build", "copy"]);
    let unpacked = rig.unpacked(&built["manifest"], "unpacked");
    let shadow = fs::read_to_string(unpacked.join("etc/shadow")).expect("it is there");
    assert!(!shadow.contains(":$"), "no password gets into an image");
    assert_eq!(
        fs::read_to_string(unpacked.join("etc/passwd")).expect("it is there"),
        fs::read_to_string("/etc/passwd").expect("it is there")
    );
    let ssh = fs::read_dir(unpacked.join("etc/ssh")).map_or(0, |entries| {
        entries
            .filter(|entry| {
                let name = entry.as_ref().expect("listed").file_name();
                name.to_string_lossy().starts_with("ssh_host_")
            })
            .count()
    });
    assert_eq!(ssh, 0);
    assert!(!unpacked.join("etc/alternatives").exists());
    assert_eq!(
        fs::read(unpacked.join("etc/machine-id")).expect("it is there"),
        b""
    );
    let fstab = fs::read_to_string(unpacked.join("etc/fstab")).expect("it is there");
    assert!(fstab.lines().all(|line| line.starts_with('#')), "{fstab}");
}

/// The store lies in a directory that is copied, behind a link; and so does a key that nobody has thought of.
#[test]
fn neither_the_store_nor_keys_get_into_a_copy_of_the_master() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let root = rig.path("root");
    tiny_root(&root);
    // Images have nothing below /tmp.
    let site = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let site = site.path();
    fs::create_dir(site.join("images")).expect("a directory");
    std::os::unix::fs::symlink("images", site.join("store")).expect("a link");
    write(&site.join("etc/kept"), "text");
    write(
        &site.join("etc/site.pem"),
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    write(&site.join("bmc"), "password");
    std::os::unix::fs::symlink("bmc", site.join("credentials")).expect("a link");
    rig.cluster(&format!(
        r#"
[image.copy]
source = {{ kind = "master", include = ["{site}", "/sbin", "/lib"] }}
kernel = {{ file = "{root}/boot/vmlinuz-{RELEASE}", modules = "{root}/usr/lib/modules/{RELEASE}" }}
worker = false
[[image.copy.file]]
path = "/sbin/init"
copy = "{BUSYBOX}"
mode = "0755"
[[node]]
name = "a"
address = "10.77.0.2"
mac = "52:54:00:00:00:02"
image = "copy"
bmc = {{ kind = "ipmi", address = "10.77.1.2", user = "admin", credentials = "{site}/credentials" }}
"#,
        site = site.display(),
        root = root.display()
    ));
    let store = site.join("store");
    let output = rig.output(&["build", "copy", "--json", "--store", text(&store)]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let key = site.join("etc/site.pem");
    let words = format!("{} is left out: it is a private key", key.display());
    assert!(told.contains(&words), "{told}");
    let built: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let listing = built["manifest"]["listing"]["sha256"].as_str();
    let listing = site.join("images/artifacts").join(listing.expect("text"));
    let listing = fs::read_to_string(listing).expect("it is there");
    let above = text(site).trim_start_matches('/');
    let below: Vec<&str> = listing
        .lines()
        .filter_map(|line| line.split_once(&format!(" {above}/")))
        .map(|(_, below)| below)
        .collect();
    assert_eq!(below, ["etc", "etc/kept"]);

    // Without a cluster.toml nobody knows where passwords are, which is said.
    fs::remove_file(rig.path("cluster.toml")).expect("ours");
    let import = ["import", "copy", "--no-worker", "--master"];
    let nothing = ["--include", "/nowhere", "--store", text(&store)];
    let output = rig.output(&[import, nothing].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told.contains("it is not known where passwords of BMCs are"),
        "{told}"
    );
}
