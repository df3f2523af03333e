//! OCI images: layers laid over one another, whiteouts, names, damage.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regexctl_provision::store::Digest;
use serde_json::{Value, json};

use crate::rig::{Rig, can_build, text, tiny_root, write};

/// A layout directory that is filled step by step.
pub(crate) struct Layout {
    directory: PathBuf,
}

impl Layout {
    pub(crate) fn new(rig: &Rig, name: &str) -> Self {
        let directory = rig.path(name);
        fs::create_dir_all(directory.join("blobs/sha256")).expect("a directory");
        write(
            &directory.join("oci-layout"),
            "{\"imageLayoutVersion\":\"1.0.0\"}",
        );
        Self { directory }
    }

    fn blob(&self, bytes: &[u8], media_type: &str) -> Value {
        let digest = Digest::of(bytes).to_string();
        fs::write(self.directory.join("blobs/sha256").join(&digest), bytes).expect("ours");
        json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()})
    }

    fn json(&self, value: &Value, media_type: &str) -> Value {
        self.blob(value.to_string().as_bytes(), media_type)
    }

    /// A layer of a directory, compressed as `option` says.
    pub(crate) fn layer(&self, from: &Path, option: &str) -> Value {
        let packed = Command::new("tar")
            .args(["--create", option, "--file", "-", "-C", text(from), "."])
            .output()
            .expect("tar is there");
        assert!(packed.status.success());
        self.blob(&packed.stdout, "application/vnd.oci.image.layer.v1.tar")
    }

    pub(crate) fn manifest(
        &self,
        layers: &[Value],
        name: Option<&str>,
        architecture: &str,
    ) -> Value {
        let value = json!({"schemaVersion": 2, "layers": layers, "config": self.json(&json!({}), "config")});
        let mut descriptor = self.json(&value, "application/vnd.oci.image.manifest.v1+json");
        descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
        if let Some(name) = name {
            descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        descriptor
    }

    pub(crate) fn index(&self, manifests: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        write(&self.directory.join("index.json"), &index.to_string());
    }
}

#[test]
fn layers_are_laid_over_one_another() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let layout = Layout::new(&rig, "oci");
    let (first, second, third) = (rig.path("1"), rig.path("2"), rig.path("3"));
    tiny_root(&first);
    write(&first.join("etc/removed"), "1");
    write(&first.join("etc/changed"), "1");
    write(&first.join("srv/opaque/old"), "1");
    write(&first.join("srv/opaque/deep/old"), "1");
    write(&first.join("srv/gone/a"), "1");
    write(&first.join("srv/becomes-a-file/a"), "1");
    std::os::unix::fs::symlink("opaque", first.join("srv/link")).expect("a link");
    write(&second.join("etc/.wh.removed"), "");
    write(&second.join("etc/changed"), "2");
    // Its own file stays, wherever in the layer the mark is.
    write(&second.join("srv/opaque/.wh..wh..opq"), "");
    write(&second.join("srv/opaque/a-new"), "2");
    write(&second.join("srv/opaque/zzz/new"), "2");
    write(&second.join("srv/.wh.gone"), "");
    write(&second.join("srv/becomes-a-file"), "2");
    write(&third.join("usr/bin/added"), "3");
    // A directory takes the place of the link below, and what that leads to stays as it is.
    write(&third.join("srv/link/own"), "3");
    write(&third.join("etc/removed"), "3");
    let layers = [
        layout.layer(&first, "--gzip"),
        layout.layer(&second, "--zstd"),
        layout.layer(&third, "--no-auto-compress"),
    ];
    let amd = layout.manifest(&layers, None, "amd64");
    let arm = layout.manifest(&layers[..1], None, "arm64");
    // An index in an index, with an image for another processor beside.
    let inner = layout.json(
        &json!({"schemaVersion": 2, "manifests": [arm, amd]}),
        "application/vnd.oci.image.index.v1+json",
    );
    layout.index(&[inner]);

    let import = [
        "import",
        "tiny",
        "--no-worker",
        "--oci",
        text(&layout.directory),
    ];
    let built = rig.json(&import);
    let root = rig.unpacked(&built["manifest"], "unpacked");
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    assert_eq!(read("etc/removed").as_deref(), Some("3"));
    assert_eq!(read("etc/changed").as_deref(), Some("2"));
    assert_eq!(read("srv/opaque/old"), None);
    assert!(!root.join("srv/opaque/deep").exists());
    assert_eq!(read("srv/opaque/a-new").as_deref(), Some("2"));
    assert_eq!(read("srv/opaque/zzz/new").as_deref(), Some("2"));
    assert!(!root.join("srv/gone").exists());
    assert_eq!(read("srv/becomes-a-file").as_deref(), Some("2"));
    assert_eq!(read("usr/bin/added").as_deref(), Some("3"));
    assert_eq!(read("srv/link/own").as_deref(), Some("3"));
    assert!(!root.join("srv/opaque/own").exists());
    assert!(
        fs::symlink_metadata(root.join("bin"))
            .expect("it is there")
            .is_symlink()
    );
    let marks = Command::new("find")
        .args([text(&root), "-name", ".wh.*"])
        .output()
        .expect("find");
    assert_eq!(String::from_utf8_lossy(&marks.stdout), "");

    // The same in one file.
    let archive = rig.path("oci.tar");
    let packed = Command::new("tar")
        .args([
            "--create",
            "--file",
            text(&archive),
            "-C",
            text(&layout.directory),
            ".",
        ])
        .status()
        .expect("tar is there");
    assert!(packed.success());
    let again = rig.json(&["import", "tiny", "--no-worker", "--oci", text(&archive)]);
    assert_eq!(again["manifest"]["root"], built["manifest"]["root"]);
    // Nothing has changed, and that is known without unpacking.
    assert_eq!(
        rig.json(&import)["manifest"]["root"],
        built["manifest"]["root"]
    );
}

#[test]
fn one_of_several_images_is_chosen_by_its_name() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let layout = Layout::new(&rig, "oci");
    let (first, second) = (rig.path("1"), rig.path("2"));
    tiny_root(&first);
    write(&second.join("etc/second"), "2");
    let base = layout.layer(&first, "--gzip");
    let one = layout.manifest(std::slice::from_ref(&base), Some("one"), "amd64");
    let two = layout.manifest(
        &[base, layout.layer(&second, "--gzip")],
        Some("two"),
        "amd64",
    );
    layout.index(&[one, two]);
    let import = [
        "import",
        "tiny",
        "--no-worker",
        "--oci",
        text(&layout.directory),
    ];
    let told = rig.fails(&import);
    assert!(
        told.contains("it holds 2 images; choose one by its reference: one, two"),
        "{told}"
    );
    let with = |name| [&import[..], &["--reference", name]].concat();
    let told = rig.fails(&with("three"));
    assert!(
        told.contains("it holds no image \"three\"; it holds one, two"),
        "{told}"
    );
    let built = rig.json(&with("two"));
    let root = rig.unpacked(&built["manifest"], "unpacked");
    assert!(root.join("etc/second").exists());
}

#[test]
fn a_damaged_image_is_refused() {
    if !can_build() {
        return;
    }
    let rig = Rig::new();
    let layout = Layout::new(&rig, "oci");
    let root = rig.path("root");
    tiny_root(&root);
    let layer = layout.layer(&root, "--gzip");
    layout.index(&[layout.manifest(std::slice::from_ref(&layer), None, "amd64")]);
    let digest = layer["digest"]
        .as_str()
        .expect("text")
        .trim_start_matches("sha256:");
    let blob = layout.directory.join("blobs/sha256").join(digest);
    let mut bytes = fs::read(&blob).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, bytes).expect("ours");
    let import = [
        "import",
        "tiny",
        "--no-worker",
        "--oci",
        text(&layout.directory),
    ];
    let told = rig.fails(&import);
    assert!(
        told.contains(&format!("layer 1 of 1: the blob {digest} is damaged")),
        "{told}"
    );
    assert_eq!(rig.published("tiny"), None);
    layout.index(&[layout.manifest(&[layer], None, "riscv64")]);
    let told = rig.fails(&import);
    assert!(told.contains("it holds no image for linux/amd64"), "{told}");
    fs::remove_file(layout.directory.join("index.json")).expect("ours");
    let told = rig.fails(&import);
    assert!(told.contains("it has no index.json"), "{told}");
}
