//! The root of a Debian or Ubuntu image, as its packages make it.
//!
//! Made by `mmdebstrap` in namespaces of its own, and kept in the cache as a tar archive under the
//! digest of what it was made from. The kernel is unpacked, not installed ([`files/kernel.sh`]).

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::inputs::Inputs;
use super::inside;
use super::root::Root;
use super::run::{MMDEBSTRAP, TAR, quietly};
use crate::model::image::{Debootstrap, KernelSource, Variant};
use crate::model::{Cluster, HttpUrl, Image, ImageSource, Log, Suite};

/// What every image has: an init, the drivers' loader, the network, ssh, NFS.
const PACKAGES: [&str; 8] = [
    "systemd-sysv",
    "udev",
    "kmod",
    "iproute2",
    "dbus",
    "openssh-server",
    "nfs-common",
    // mount.nfs looks "tcp" up in /etc/protocols.
    "netbase",
];

/// What to do where the master does not know who signs a mirror.
const UNKNOWN_KEY: &str = ": this machine does not know the key of the mirror; install the keyring of the distribution \
     (debian-archive-keyring, ubuntu-keyring), or give the image's source `keyring = \"/PATH/TO/KEYRING.gpg\"`";

/// What is left out where documentation is. Licences stay.
const DOCUMENTATION: [&str; 9] = [
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/bug/*",
    "path-exclude=/usr/share/groff/*",
    "path-exclude=/usr/share/doc-base/*",
];

/// The hooks, and the names of their files.
const HOOKS: [(&str, &str); 5] = [
    ("merged-usr.sh", include_str!("files/merged-usr.sh")),
    (
        "merged-usr-done.sh",
        include_str!("files/merged-usr-done.sh"),
    ),
    ("packages-in.sh", include_str!("files/packages-in.sh")),
    ("packages-out.sh", include_str!("files/packages-out.sh")),
    ("kernel.sh", KERNEL_HOOK),
];

/// Puts a kernel's package into a root.
pub(super) const KERNEL_HOOK: &str = include_str!("files/kernel.sh");

/// What a base root is made from.
#[derive(Debug)]
pub(super) struct Base<'a> {
    source: &'a Debootstrap,
    packages: Vec<String>,
    kernel: Option<&'a str>,
    strip_docs: bool,
    epoch: Option<u64>,
}

impl<'a> Base<'a> {
    /// The base root of an image; none if its files come from elsewhere.
    pub(super) fn of(
        cluster: Option<&Cluster>,
        image: &'a Image,
        epoch: Option<u64>,
    ) -> Option<Self> {
        let ImageSource::Debootstrap(source) = &image.source else {
            return None;
        };
        Some(Self {
            source,
            packages: packages(cluster, image),
            kernel: match &image.kernel {
                KernelSource::Package(name) => Some(name.as_str()),
                KernelSource::Source | KernelSource::Files { .. } => None,
            },
            strip_docs: image.strip_docs,
            epoch,
        })
    }

    /// The digest of all that it is made from, as far as that can be known: what the mirror has today is not in it.
    pub(super) fn digest(&self) -> anyhow::Result<crate::store::Digest> {
        let mut inputs = Inputs::new("base root");
        let Self {
            source,
            packages,
            kernel,
            strip_docs,
            epoch,
        } = self;
        // Where the keyring lies does not count, but what is in it.
        let source = Debootstrap {
            keyring: None,
            ..(*source).clone()
        };
        inputs.value("source", &source);
        inputs.value("recipe", &(packages, kernel, strip_docs, epoch));
        if let Some(keyring) = &self.source.keyring {
            inputs.path("keyring", keyring.as_path())?;
        }
        for (name, text) in HOOKS {
            inputs.add(name, text);
        }
        Ok(inputs.digest())
    }

    /// Whether the busybox that the initramfs takes is among its packages.
    pub(super) fn has_busybox(&self) -> bool {
        let mut names = self.packages.iter().map(|name| name.split(['=', '/', ':']));
        names.any(|mut name| name.next() == Some("busybox-static"))
    }

    /// Makes it. `work` is an empty directory for what is needed meanwhile, `cache` keeps packages.
    pub(super) fn make(&self, root: &Root, work: &Path, cache: &Path) -> anyhow::Result<()> {
        let hooks = hooks(work)?;
        fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
        let mut command = inside::namespaces()?;
        command
            .arg(MMDEBSTRAP.path()?)
            .args(self.arguments(&hooks))
            .arg(self.source.suite.as_str())
            .arg(root.path())
            .args(self.source.mirrors.iter().map(HttpUrl::as_str))
            .env("TMPDIR", work)
            .env("PACKAGE_CACHE", cache)
            .env("KERNEL_CACHE", cache);
        if let Some(kernel) = self.kernel {
            command.env("KERNEL_PACKAGE", kernel);
        }
        if let Some(epoch) = self.epoch {
            command.env("SOURCE_DATE_EPOCH", epoch.to_string());
        }
        quietly(&mut command, "mmdebstrap").map_err(|error| {
            let is_unknown = format!("{error:#}").contains("NO_PUBKEY");
            let what = format!(
                "cannot make a root of {} with {} packages asked for{}",
                self.source.suite,
                self.packages.len(),
                if is_unknown { UNKNOWN_KEY } else { "" }
            );
            error.context(what)
        })
    }

    fn arguments(&self, hooks: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![
            // The processes and mounts are in namespaces already.
            "--mode=root".into(),
            "--format=directory".into(),
            format!("--variant={}", variant(self.source.variant)).into(),
            format!("--include={}", self.packages.join(",")).into(),
            // The cache's packages must outlive the essential ones' installation.
            "--skip=essential/unlink,download/empty,cleanup/apt/cache".into(),
            "--aptopt=APT::Install-Recommends \"false\"".into(),
            "--aptopt=Acquire::Languages \"none\"".into(),
            "--aptopt=Acquire::Retries \"3\"".into(),
        ];
        let components: Vec<&str> = self.source.components.iter().map(Suite::as_str).collect();
        arguments.push(format!("--components={}", components.join(",")).into());
        if let Some(keyring) = &self.source.keyring {
            arguments.push(format!("--keyring={keyring}").into());
        }
        if self.strip_docs {
            arguments.extend(DOCUMENTATION.map(|option| format!("--dpkgopt={option}").into()));
        }
        let hook = |kind: &str, name: &str| {
            let mut argument = OsString::from(format!("--{kind}-hook="));
            argument.push(hooks.join(name));
            argument
        };
        arguments.push(hook("setup", "packages-in.sh"));
        arguments.push(hook("setup", "merged-usr.sh"));
        arguments.push(hook("essential", "merged-usr-done.sh"));
        arguments.push(hook("customize", "packages-out.sh"));
        if self.kernel.is_some() {
            arguments.push(hook("customize", "kernel.sh"));
        }
        arguments
    }
}

/// Packs a root as a tar archive, without what only a running system has.
pub(super) fn archive(root: &Root, to: &Path) -> anyhow::Result<()> {
    let mut command = TAR.command()?;
    command
        .args([
            "--create",
            "--format=posix",
            "--numeric-owner",
            "--sort=name",
        ])
        .args(["--xattrs", "--xattrs-include=security.capability"])
        .args(
            ["./dev/*", "./proc/*", "./run/*", "./sys/*", "./tmp/*"]
                .map(|e| format!("--exclude={e}")),
        )
        .arg("--file")
        .arg(to)
        .arg("--directory")
        .arg(root.path())
        .arg(".");
    quietly(&mut command, "tar")
}

fn variant(variant: Variant) -> &'static str {
    match variant {
        Variant::Essential => "essential",
        Variant::Apt => "apt",
        Variant::Minbase => "minbase",
        Variant::Important => "important",
    }
}

/// All that is installed, besides the variant's own packages.
fn packages(cluster: Option<&Cluster>, image: &Image) -> Vec<String> {
    let mut packages: Vec<String> = PACKAGES.map(str::to_owned).into();
    if cluster.is_none_or(|cluster| cluster.time.enabled) {
        packages.push("chrony".to_owned());
    }
    if cluster.is_some_and(|cluster| !matches!(cluster.log, Log::Node)) {
        packages.push("rsyslog".to_owned());
    }
    if !has_locale(image.locale.as_str()) {
        packages.push("locales".to_owned());
    }
    packages.extend(image.packages.iter().map(ToString::to_string));
    packages.sort();
    packages.dedup();
    packages
}

/// Whether every root has this locale.
pub(super) fn has_locale(locale: &str) -> bool {
    matches!(locale, "C" | "POSIX" | "C.UTF-8" | "C.utf8")
}

/// Writes the hooks as programs.
fn hooks(work: &Path) -> anyhow::Result<PathBuf> {
    let directory = work.join("hooks");
    fs::create_dir(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for (name, text) in HOOKS {
        let path = directory.join(name);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write as _};
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::process::Command;

    /// In Ubuntu's noble other packages mention `usr-is-merged`, and there is no such package: mmdebstrap's own hooks then begin
    /// what they cannot end.
    #[test]
    fn a_name_that_is_only_mentioned_is_no_package() {
        if !Path::new("/usr/bin/apt-get").exists() {
            assert!(std::env::var_os("CI").is_none(), "there is no apt here");
            // Not with `eprintln!`, which a test that passes says to nobody.
            let _ = writeln!(
                io::stderr(),
                "SKIPPED: a hook of images: there is no apt here"
            );
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        let hooks = hooks(directory.path()).expect("it is ours");
        let (root, mirror) = (path("root"), path("mirror"));
        for there in [
            "root/etc/apt/apt.conf.d",
            "root/etc/apt/preferences.d",
            "root/var/lib/apt/lists/partial",
            "root/var/cache/apt/archives/partial",
            "root/var/lib/dpkg",
            "root/tmp",
            "mirror",
        ] {
            fs::create_dir_all(path(there)).expect("a directory");
        }
        fs::write(path("root/var/lib/dpkg/status"), "").expect("it is ours");
        fs::write(
            mirror.join("Packages"),
            "Package: init-system-helpers\nVersion: 1\nArchitecture: all\nDepends: usr-is-merged\nFilename: ./a.deb\nSize: 1\n",
        )
        .expect("it is ours");
        let sources = format!("deb [trusted=yes] file:{} ./\n", mirror.display());
        fs::write(path("root/etc/apt/sources.list"), sources).expect("it is ours");
        let settings = format!(
            "Dir \"{}\";\nDir::Etc::sourceparts \"-\";\nDir::State::status \"{}\";\nDir::Bin::methods \"/usr/lib/apt/methods\";\n\
             APT::Sandbox::User \"\";\n",
            root.display(),
            root.join("var/lib/dpkg/status").display()
        );
        fs::write(path("apt.conf"), settings).expect("it is ours");
        for hook in ["merged-usr.sh", "merged-usr-done.sh"] {
            let output = Command::new(hooks.join(hook))
                .arg(&root)
                .env("MMDEBSTRAP_APT_CONFIG", path("apt.conf"))
                .output()
                .expect("a shell is there");
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{hook}: {told}");
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            let link = fs::read_link(root.join(name)).expect("a link");
            assert_eq!(link, Path::new("usr").join(name));
        }
        let status = fs::read_to_string(path("root/var/lib/dpkg/status"));
        assert_eq!(status.expect("it is there"), "", "a package was installed");
    }

    /// A cache of packages is linked into a new root, and takes back what was fetched besides, time and again.
    #[test]
    fn packages_are_taken_from_the_cache_and_kept_in_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = directory.path().join("cache");
        let hooks = hooks(directory.path()).expect("it is ours");
        fs::create_dir(&cache).expect("a directory");
        let names = || {
            let listed = fs::read_dir(&cache).expect("it is there");
            let mut names: Vec<String> = listed
                .map(|entry| {
                    let name = entry.expect("it can be listed").file_name();
                    name.into_string().expect("text")
                })
                .collect();
            names.retain(|name| name != "SHA256SUMS");
            names.sort();
            names
        };
        let sums = || fs::read_to_string(cache.join("SHA256SUMS")).expect("it is there");
        for (round, expected) in [
            &["0.deb"][..],
            &["0.deb", "1.deb"],
            &["0.deb", "1.deb", "2.deb"],
        ]
        .into_iter()
        .enumerate()
        {
            let root = directory.path().join(format!("root{round}"));
            let archives = root.join("var/cache/apt/archives");
            fs::create_dir_all(&archives).expect("a directory");
            // One is linked already, so that links of all at once cannot be made; and one is a name without a file.
            if round > 0 {
                fs::hard_link(cache.join("0.deb"), archives.join("0.deb")).expect("a link");
                symlink("nowhere", cache.join("gone.deb")).expect("a link");
            }
            // As a kernel does that was there before.
            let known = fs::read_to_string(cache.join("SHA256SUMS")).unwrap_or_default();
            fs::write(cache.join("SHA256SUMS"), known.repeat(2)).expect("it is ours");
            let run = |hook: &str| {
                let output = Command::new(hooks.join(hook))
                    .arg(&root)
                    .env("PACKAGE_CACHE", &cache)
                    .output()
                    .expect("a shell is there");
                let told = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{hook}, round {round}: {told}");
            };
            run("packages-in.sh");
            assert_eq!(sums().lines().count(), round, "{}", sums());
            assert_eq!(
                fs::read_dir(&archives).expect("it is there").count(),
                round,
                "all that was kept is there"
            );
            fs::write(archives.join(format!("{round}.deb")), "new").expect("it is ours");
            run("packages-out.sh");
            assert_eq!(names(), expected);
            assert_eq!(sums().lines().count(), round + 1, "{}", sums());
            assert_eq!(fs::read_dir(&archives).expect("it is there").count(), 0);
        }
        // One of the same size, but another one; and one of which nobody knows what it is.
        fs::write(cache.join("1.deb"), "odd").expect("it is ours");
        fs::write(cache.join("linux-image.deb"), "new").expect("it is ours");
        let root = directory.path().join("last");
        let output = Command::new(hooks.join("packages-in.sh"))
            .arg(&root)
            .env("PACKAGE_CACHE", &cache)
            .output()
            .expect("a shell is there");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        assert_eq!(names(), ["0.deb", "2.deb"]);
        let archives = root.join("var/cache/apt/archives");
        assert_eq!(fs::read_dir(&archives).expect("it is there").count(), 2);
    }
    /// What one build is about to put into the cache another one must not take for damaged.
    #[test]
    fn one_build_at_a_time_uses_the_cache_of_packages() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = directory.path().join("cache");
        let hooks = hooks(directory.path()).expect("it is ours");
        fs::create_dir(&cache).expect("a directory");
        for hook in ["packages-in.sh", "packages-out.sh"] {
            let root = directory.path().join(hook);
            fs::create_dir_all(root.join("var/cache/apt/archives")).expect("a directory");
            // Whose digest is not known yet.
            fs::write(cache.join("new.deb"), "new").expect("it is ours");
            let held = fs::File::open(&cache).expect("it is there");
            held.lock().expect("nobody else has it");
            let mut child = Command::new(hooks.join(hook))
                .arg(&root)
                .env("PACKAGE_CACHE", &cache)
                .spawn()
                .expect("a shell is there");
            let inode = held.metadata().expect("it is open").ino();
            let waits =
                |line: &str| line.contains("-> FLOCK") && line.contains(&format!(":{inode} "));
            let locks = || fs::read_to_string("/proc/locks").expect("proc is there");
            while !locks().lines().any(waits) {
                let ended = child.try_wait().expect("it is ours");
                assert_eq!(ended, None, "{hook} waits for the cache");
                std::thread::yield_now();
            }
            let digest = crate::store::Digest::of(b"new");
            let line = format!("{digest}  new.deb\n");
            fs::write(cache.join("SHA256SUMS"), &line).expect("it is ours");
            drop(held);
            assert!(child.wait().expect("it is ours").success(), "{hook}");
            assert!(cache.join("new.deb").exists(), "{hook}");
        }
    }
}
