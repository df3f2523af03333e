//! A store, tiny roots, and the program under test.

use std::env;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// The release of the kernel in tiny roots.
pub(crate) const RELEASE: &str = "6.1.0-9-test";

/// A static program: the root's shell and init, and what stands for a worker.
pub(crate) const BUSYBOX: &str = "/bin/busybox";

/// Whether images can be built here. If not, that is said, or it is an error.
pub(crate) fn can_build() -> bool {
    let is_root = fs::metadata("/proc/self").expect("proc is there").uid() == 0;
    let tools = [
        "mksquashfs",
        "unsquashfs",
        "mkfs.erofs",
        "fsck.erofs",
        "busybox",
        "unshare",
        "depmod",
    ];
    let missing: Vec<_> = tools.iter().filter(|tool| !is_there(tool)).collect();
    if is_root && missing.is_empty() {
        return true;
    }
    let why = if is_root {
        format!("these programs are missing: {missing:?}")
    } else {
        "it needs root".to_owned()
    };
    assert!(
        env::var_os("CI").is_none(),
        "a test of images cannot run: {why}"
    );
    // Not with `eprintln!`, which a test that passes says to nobody.
    let _ = writeln!(io::stderr(), "SKIPPED: a test of images: {why}");
    false
}

pub(crate) fn is_there(tool: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin"]
        .iter()
        .any(|directory| Path::new(directory).join(tool).exists())
}

/// A directory for a test, with a store and a `cluster.toml` in it.
pub(crate) struct Rig {
    pub(crate) directory: TempDir,
    variables: Vec<(String, String)>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        // A worker of another user of the machine must be able to look in.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("ours");
        let rig = Self {
            directory,
            variables: vec![("SOURCE_DATE_EPOCH".into(), "1700000000".into())],
        };
        rig.cluster("");
        rig
    }

    /// Sets a variable for all commands from here on.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Writes `cluster.toml` with sections of images.
    pub(crate) fn cluster(&self, sections: &str) {
        let text = format!(
            "[cluster]\nname = \"lab\"\ninterface = \"br0\"\nsubnet = \"10.77.0.0/24\"\nmaster = \"10.77.0.1\"\n\n\
             [serve]\ndirectory = \"{}\"\n\n{sections}",
            self.store().display()
        );
        fs::write(self.path("cluster.toml"), text).expect("it is ours");
    }

    /// The command `regex-provision image ...`.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regex-provision"));
        command
            .arg("image")
            .args(arguments)
            .current_dir(self.directory.path())
            .envs(self.variables.iter().cloned())
            .env_remove("REGEX_PROVISION_FILE");
        command
    }

    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it can be started")
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{arguments:?}: {}\n{stderr}",
            output.status
        );
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a command that must fail with status 2, and gives its message.
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}\n{stderr}");
        stderr
    }

    /// Runs a command with `--json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        let at = all
            .iter()
            .position(|word| *word == "--")
            .unwrap_or(all.len());
        all.insert(at, "--json");
        serde_json::from_str(&self.run(&all)).expect("JSON")
    }

    /// Imports a directory as the image `tiny`, without a worker, and gives what was built.
    pub(crate) fn import(&self, root: &Path) -> Value {
        self.json(&["import", "tiny", "--no-worker", "--directory", text(root)])
    }

    /// Unpacks the root of an image by the tools that others trust.
    pub(crate) fn unpacked(&self, manifest: &Value, to: &str) -> PathBuf {
        let to = self.path(to);
        let packed = self.artifact(&manifest["root"]["sha256"]);
        let output = if manifest["root"]["format"] == "squashfs" {
            Command::new("unsquashfs")
                .args(["-quiet", "-no-progress", "-dest"])
                .args([&to, &packed])
                .output()
        } else {
            Command::new("fsck.erofs")
                .arg(format!("--extract={}", to.display()))
                .arg("--preserve")
                .arg(&packed)
                .output()
        };
        let output = output.expect("the tool is there");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        belongs_to_root(&to);
        to
    }

    pub(crate) fn artifact(&self, digest: &Value) -> PathBuf {
        self.store()
            .join("artifacts")
            .join(digest.as_str().expect("a digest"))
    }

    /// What is published under a name.
    pub(crate) fn published(&self, name: &str) -> Option<PathBuf> {
        fs::read_link(self.store().join("images").join(name)).ok()
    }

    /// The names in a directory of the store.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.store().join(directory)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("it can be listed")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .collect();
        names.sort();
        names
    }
}

/// Into a root that everybody may write to, sshd lets nobody.
pub(crate) fn belongs_to_root(directory: &Path) {
    let root = fs::metadata(directory).expect("it is there");
    let about = (root.mode() & 0o7777, root.uid(), root.gid());
    assert_eq!(about, (0o755, 0, 0), "{}", directory.display());
}

/// A root with a shell, an init and a kernel, all of them next to nothing.
pub(crate) fn tiny_root(to: &Path) {
    let files: [(&str, &str); 10] = [
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n",
        ),
        ("etc/group", "root:x:0:\nshadow:x:42:\nnogroup:x:65534:\n"),
        (
            "etc/shadow",
            "root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n",
        ),
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        ("etc/hostname", "template\n"),
        ("etc/os-release", "ID=tiny\n"),
        ("var/log/messages", "once\n"),
        ("usr/share/man/man1/sh.1", "words\n"),
        ("usr/lib/modules/RELEASE/modules.dep", ""),
        ("usr/lib/modules/RELEASE/modules.alias", ""),
    ];
    for (path, text) in files {
        write(&to.join(path.replace("RELEASE", RELEASE)), text);
    }
    write(
        &to.join(format!("usr/lib/modules/{RELEASE}/modules.builtin")),
        "kernel/fs/overlayfs/overlay.ko\nkernel/drivers/net/virtio_net.ko\n",
    );
    write(&to.join(format!("boot/vmlinuz-{RELEASE}")), "a kernel");
    for directory in ["usr/bin", "usr/sbin", "opt", "root", "tmp"] {
        fs::create_dir_all(to.join(directory)).expect("a directory");
    }
    for name in ["bin", "sbin", "lib"] {
        symlink(format!("usr/{name}"), to.join(name)).expect("a link");
    }
    fs::copy(BUSYBOX, to.join("usr/bin/busybox")).expect("a file");
    for name in [
        "sh", "ls", "touch", "cat", "id", "sleep", "true", "mount", "ps",
    ] {
        symlink("busybox", to.join("usr/bin").join(name)).expect("a link");
    }
    symlink("../bin/busybox", to.join("usr/sbin/init")).expect("a link");
}

pub(crate) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
    fs::write(path, text).expect("a file");
}

/// A program that stands for a worker of this version: static, and different from the others.
pub(crate) fn worker(path: &Path, version: u8) {
    let mut program = fs::read(BUSYBOX).expect("it is there");
    program.push(version);
    fs::write(path, program).expect("a file");
    fs::set_permissions(path, Permissions::from_mode(0o755)).expect("ours");
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}
