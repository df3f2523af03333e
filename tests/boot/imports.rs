//! Images that are not made of packages: of an OCI image, and of a running system, which is the how-to's way.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::programs;
use super::rig::{self, run, text};
use super::site::{self, Site};

/// What a master has and a node must not: each holds the words `of the master`.
pub(crate) const MASTER_S: [&str; 5] = [
    "root/secret",
    "etc/security/opasswd",
    "etc/systemd/system/regex-provision-dnsmasq.service",
    "etc/systemd/system/multi-user.target.wants/regex-provision-dnsmasq.service",
    "etc/exports.d/regex-provision.exports",
];

/// The root of an image as a directory, and the kernel that belongs to it.
pub(crate) struct Unpacked {
    root: PathBuf,
    kernel: PathBuf,
    release: String,
}

impl Unpacked {
    /// Those of a node, whose image must have been made as a tree, too.
    pub(crate) fn of(site: &Site, node: &str) -> Unpacked {
        let manifest = site.manifest_of(node);
        let word = |value: &Value| value.as_str().expect("it is in the manifest").to_owned();
        let store = site::store();
        Unpacked {
            root: store.join("trees").join(word(&manifest["tree"])),
            kernel: store
                .join("artifacts")
                .join(word(&manifest["kernel"]["sha256"])),
            release: word(&manifest["kernel_version"]),
        }
    }

    fn modules(&self) -> PathBuf {
        self.root.join("usr/lib/modules").join(&self.release)
    }
}

/// Makes the image `name` of an archive of an OCI image, as registries hand them out: without a kernel, which comes from
/// elsewhere.
pub(crate) fn oci(site: &Site, unpacked: &Unpacked, name: &str) {
    let work = tempfile::tempdir().expect("the directory for temporary files can be written");
    let layout = work.path().join("layout");
    let (layer, archive) = (work.path().join("layer.tar"), work.path().join("oci.tar"));
    let tag = format!("{}:latest", text(&layout));
    let of_the_root = ["-C", &text(&unpacked.root)];
    let without = ["--exclude=./usr/lib/modules", "."];
    let pack = ["--create", "--numeric-owner", "--file", &text(&layer)];
    run("tar", &[&pack[..], &of_the_root, &without].concat());
    run("umoci", &["init", "--layout", &text(&layout)]);
    run("umoci", &["new", "--image", &tag]);
    run(
        "umoci",
        &["raw", "add-layer", "--image", &tag, &text(&layer)],
    );
    let whole = ["-C", &text(&layout), "."];
    run(
        "tar",
        &[&["--create", "--file", &text(&archive)], &whole[..]].concat(),
    );
    site.provision(&[
        "image",
        "import",
        name,
        "--oci",
        &text(&archive),
        "--kernel",
        &text(&unpacked.kernel),
        "--modules",
        &text(&unpacked.modules()),
    ]);
}

/// Makes the image `name` of a running system: in a room of its own, whose root is a copy of an image's, as a master's would
/// be, with its kernel in /boot.
pub(crate) fn running_system(site: &Site, unpacked: &Unpacked, name: &str) {
    let room = site::store().with_file_name("system");
    run("cp", &["-a", &text(&unpacked.root), &text(&room)]);
    let kernel = room.join(format!("boot/vmlinuz-{}", unpacked.release));
    fs::copy(&unpacked.kernel, kernel).expect("/srv is ours");
    // What images are made with.
    for program in ["usr/bin/mkfs.erofs", "bin/busybox"] {
        let ours = Path::new("/").join(program);
        fs::copy(&ours, room.join(program)).unwrap_or_else(|error| panic!("{program}: {error}"));
    }
    // What a master has that must not get into an image.
    fs::write(room.join("etc/hostname"), "the-master\n").expect("/srv is ours");
    for path in MASTER_S {
        let path = room.join(path);
        let above = path.parent().expect("it has one");
        fs::create_dir_all(above).expect("/srv is ours");
        fs::write(path, "of the master\n").expect("/srv is ours");
    }
    let script = r#"
set -e
mount --bind "$room" "$room"
mount --rbind /dev "$room/dev"
mount -t proc proc "$room/proc"
mkdir -p "$room/home/programs" "$room$store"
mount --bind "$programs" "$room/home/programs"
mount --bind "$store" "$room$store"
mount --bind "$directory" "$room/mnt"
exec chroot "$room" /home/programs/regex-provision image import "$name" --master --file /mnt/cluster.toml
"#;
    let programs = programs::provision();
    let programs = Path::new(&programs)
        .parent()
        .expect("programs are in a directory");
    rig::finish(
        rig::command("unshare")
            .args(["--mount", "--", "sh", "-c", script])
            .env("room", &room)
            .env("store", site::store())
            .env("programs", programs)
            .env("directory", site.directory())
            .env("name", name),
    );
    fs::remove_dir_all(&room).expect("/srv is ours");
}
