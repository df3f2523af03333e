//! A fake root with images, and what is in it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use regexctl_provision::apply::{
    self, ApplyError, Disk, NoServices, Outcome, Plan, Request, Root, generation,
};
use regexctl_provision::model;
use regexctl_provision::store::{
    FORMAT, InitramfsContents, Manifest, Root as PackedRoot, RootFormat, Store,
};
use tempfile::TempDir;

/// Where the cluster of the tests keeps everything.
pub(crate) const DIRECTORY: &str = "var/lib/regex-provision";

/// A cluster of four nodes, one of them with a loader that needs files of its own.
pub(crate) const LAB: &str = r#"
[cluster]
name = "lab"
interface = "br0"
subnet = "10.77.0.0/24"
master = "10.77.0.1"

[dhcp]
range = "10.77.0.100-10.77.0.199"

[image.base]
source = { kind = "debootstrap", suite = "bookworm" }

[export.data]
path = "/srv/data"

[profile.default]
image = "base"

[[node]]
name = "s[0-2]"
mac = ["52:54:00:00:00:10", "52:54:00:00:00:11", "52:54:00:00:00:12"]
address = "10.77.0.10"

[[node]]
name = "pxe"
mac = "52:54:00:00:00:20"
address = "10.77.0.20"
loader = "pxelinux"
"#;

/// The cluster without its time servers' file, with Ganesha instead of the kernel's NFS server, and with
/// another node: every kind of change.
pub(crate) fn changed() -> String {
    LAB.replace(
        "path = \"/srv/data\"",
        "path = \"/srv/data\"\nserver = \"ganesha\"",
    ) + r#"
[[node]]
name = "s9"
mac = "52:54:00:00:00:19"
address = "10.77.0.19"

[time]
enabled = false
"#
}

pub(crate) struct Fake {
    /// Keeps the directory until the end.
    _directory: Option<TempDir>,
    pub(crate) path: PathBuf,
}

impl Fake {
    /// A root that has an /etc/hosts and the image `base`.
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let fake = Self {
            path: directory.path().to_owned(),
            _directory: Some(directory),
        };
        fs::create_dir(fake.path.join("etc")).expect("a directory");
        fs::write(fake.path.join("etc/hosts"), "127.0.0.1 localhost\n").expect("a file");
        fake.publish("first");
        fake
    }

    /// One that was made by another process.
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            _directory: None,
            path: path.into(),
        }
    }

    pub(crate) fn store(&self) -> Store {
        Store::at(self.path.join(DIRECTORY))
    }

    /// Publishes an image `base`, with this in it.
    pub(crate) fn publish(&self, content: &str) {
        self.publish_image(content, false);
    }

    /// The same, also unpacked.
    pub(crate) fn publish_with_tree(&self, content: &str) {
        self.publish_image(content, true);
    }

    fn publish_image(&self, content: &str, with_tree: bool) {
        fs::create_dir_all(self.path.join(DIRECTORY)).expect("a directory");
        let mut writer = self.store().lock().expect("nobody else has it");
        let mut put = |what: &str| {
            let bytes = format!("{what} of {content}");
            writer.put_bytes(bytes.as_bytes()).expect("it can be put")
        };
        let root = put("root");
        let manifest = Manifest {
            format: FORMAT,
            image: "base".parse().expect("a name"),
            created: 0,
            kernel_version: "6.1.0-37-amd64".into(),
            kernel: put("kernel"),
            initramfs: put("initramfs"),
            initramfs_contents: InitramfsContents::default(),
            root: PackedRoot {
                format: RootFormat::Squashfs,
                sha256: root.sha256,
                size: root.size,
                unpacked: 1,
                entries: 1,
            },
            ramdisk: None,
            without_usr: None,
            tree: with_tree.then_some(root.sha256),
            listing: put("listing"),
            packages: Vec::new(),
            worker: None,
            inputs: root.sha256,
        };
        if with_tree {
            let temp = writer.temp("tree").expect("a directory");
            let tree = temp.path().join("root");
            fs::create_dir(&tree).expect("a directory");
            writer
                .put_tree(root.sha256, &tree)
                .expect("it can be moved");
        }
        writer.publish(&manifest).expect("it is complete");
    }

    pub(crate) fn request(&self, text: &str) -> Request {
        let cluster = model::parse(text).unwrap_or_else(|problems| panic!("{problems}"));
        Request {
            text: text.to_owned(),
            cluster,
            root: Root::fake(&self.path),
        }
    }

    pub(crate) fn plan(&self, text: &str) -> Plan {
        apply::plan(&self.request(text), &mut NoServices).expect("it can be planned")
    }

    pub(crate) fn apply(&self, text: &str) -> Outcome {
        self.try_apply(text, &mut Disk::default())
            .unwrap_or_else(|error| panic!("{:#}", anyhow(error)))
    }

    pub(crate) fn try_apply(&self, text: &str, disk: &mut Disk) -> Result<Outcome, ApplyError> {
        apply::apply(&self.request(text), disk, &mut NoServices)
    }

    pub(crate) fn rollback(&self, number: Option<u32>) -> Result<Outcome, ApplyError> {
        self.try_rollback(number, &mut Disk::default())
    }

    pub(crate) fn try_rollback(
        &self,
        number: Option<u32>,
        disk: &mut Disk,
    ) -> Result<Outcome, ApplyError> {
        let root = Root::fake(&self.path);
        apply::rollback(&root, &self.store(), number, disk, &mut NoServices)
    }

    pub(crate) fn current(&self) -> Option<u32> {
        generation::current_number(&self.store()).expect("the link can be read")
    }

    /// Every file below the root, with its mode and what it holds; without what is only there to work with.
    pub(crate) fn everything(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        walk(&self.path, &self.path, &mut all);
        all.retain(|path, _| {
            let inner = path
                .strip_prefix(DIRECTORY)
                .map(|path| path.trim_start_matches('/'));
            !inner.is_some_and(|path| path == "lock" || path.starts_with("tmp"))
        });
        all
    }

    /// What the daemons and the nodes get to see: files of the system, and what is behind `current`.
    pub(crate) fn visible(&self) -> BTreeMap<String, String> {
        let mut all = self.everything();
        all.retain(|path, _| !path.starts_with(DIRECTORY));
        let current = self.path.join(DIRECTORY).join("current");
        if let Ok(current) = current.canonicalize() {
            let mut behind = BTreeMap::new();
            walk(&current, &current, &mut behind);
            // It holds the time at which it was made.
            behind.remove("index.json");
            let behind = behind.into_iter();
            all.extend(behind.map(|(path, content)| (format!("current/{path}"), content)));
        }
        all
    }
}

/// An error with its causes.
pub(crate) fn anyhow(error: ApplyError) -> anyhow::Error {
    error.into()
}

fn walk(root: &Path, directory: &Path, all: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        let name = path
            .strip_prefix(root)
            .expect("it is inside")
            .display()
            .to_string();
        if metadata.is_symlink() {
            let target = fs::read_link(&path).expect("a link");
            all.insert(name, format!("-> {}", target.display()));
        } else if metadata.is_dir() {
            all.insert(name, "directory".into());
            walk(root, &path, all);
        } else {
            let mode = metadata.permissions().mode() & 0o7777;
            let bytes = fs::read(&path).expect("it can be read");
            // Loaders are binary; what matters is whether they are the same.
            let content = String::from_utf8_lossy(&bytes);
            all.insert(name, format!("{mode:o} {content}"));
        }
    }
}
