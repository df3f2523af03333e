//! Roots that were made elsewhere: directories, archives, OCI images, the master's own system.

mod archive;
mod oci;

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use super::clean;
use super::inputs::Inputs;
use super::inside;
use super::root::Root;
use super::tree::{self, Filter};
use crate::model::image::KernelSource;
use crate::model::{AbsPath, Image, ImageSource};

/// What of the master's system is never copied: other machines' affairs, secrets, what is made again, and data.
const NOT_THE_MASTER_S: [&str; 42] = [
    "/dev/*",
    "/proc/*",
    "/sys/*",
    "/run/*",
    "/tmp/*",
    "/mnt/*",
    "/media/*",
    "/srv/*",
    "/home/*",
    "/lost+found",
    "/swapfile",
    "/swap.img",
    "/boot/efi",
    "/boot/grub",
    "/boot/initrd.img*",
    "/etc/ssh/ssh_host_*",
    "/etc/ssl/private/*",
    "/etc/letsencrypt",
    "/etc/krb5.keytab",
    "/etc/regex-provision",
    "/etc/openvpn",
    "/etc/wireguard",
    "/etc/ipsec.secrets",
    "/etc/NetworkManager/system-connections/*",
    "/etc/netplan/*",
    "/etc/cloud",
    "/root/*",
    "/usr/src/*",
    "/var/backups/*",
    "/var/cache/*",
    "/var/crash/*",
    "/var/lib/apt/lists/*",
    "/var/lib/cloud",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/libvirt",
    "/var/lib/mysql",
    "/var/lib/postgresql",
    "/var/lib/regex-provision",
    "/var/lib/snapd",
    "/var/log/*",
    "/var/tmp/*",
];

/// Adds what the source is made of to the inputs. Of the master's own system that is not known before it is copied.
pub(super) fn add_inputs(source: &ImageSource, inputs: &mut Inputs) -> anyhow::Result<()> {
    match source {
        ImageSource::Debootstrap(_) | ImageSource::Master { .. } => Ok(()),
        ImageSource::Directory { path, .. } => {
            // Before it is listed: it has all of /proc in it.
            if path.as_path() == Path::new("/") {
                bail!("/ is the master's own running system; for that write kind = \"master\"");
            }
            inputs.path("source", path.as_path())
        }
        ImageSource::Tar { path } => inputs.path("source", path.as_path()),
        ImageSource::Oci { path, reference } => {
            let digest = oci::digest(path.as_path(), reference.as_deref())?;
            inputs.add("oci image", digest);
            Ok(())
        }
    }
}

/// Whether what was made from it may be used again: the inputs tell all of it.
pub(super) fn is_known_before(source: &ImageSource) -> bool {
    !matches!(source, ImageSource::Master { .. })
}

/// Fills the root. `work` is a directory for what is needed meanwhile; `store` is left out of copies.
pub(super) fn fill(root: &Root, image: &Image, work: &Path, store: &Path) -> anyhow::Result<()> {
    match &image.source {
        ImageSource::Debootstrap(_) => bail!("a root of packages has no source to be copied from"),
        ImageSource::Directory { path, exclude } => {
            let from = path.as_path();
            let metadata = fs::metadata(from).with_context(|| format!("cannot read {path}"))?;
            if !metadata.is_dir() {
                bail!("{path} is no directory; for an archive write kind = \"tar\" or \"oci\"");
            }
            tree::copy(from, root.path(), Path::new("/"), &Filter::new(exclude)?)
        }
        ImageSource::Tar { path } => archive::unpack(root, path.as_path()),
        ImageSource::Oci { path, reference } => {
            oci::unpack(root, path.as_path(), reference.as_deref(), work)
        }
        ImageSource::Master { include, exclude } => master(root, image, include, exclude, store),
    }?;
    inside::make_mount_points(root)
}

fn master(
    root: &Root,
    image: &Image,
    include: &[AbsPath],
    exclude: &[String],
    store: &Path,
) -> anyhow::Result<()> {
    let mut patterns: Vec<String> = NOT_THE_MASTER_S.map(str::to_owned).into();
    patterns.push(store.display().to_string());
    patterns.extend(exclude.iter().cloned());
    let filter = Filter::new(&patterns)?.on_one_file_system();
    let mut paths: Vec<&Path> = include.iter().map(AbsPath::as_path).collect();
    let boot = Path::new("/boot");
    if image.kernel == KernelSource::Source && !paths.iter().any(|path| boot.starts_with(path)) {
        paths.push(boot);
    }
    for path in paths {
        let Ok(metadata) = fs::symlink_metadata(path) else {
            // Not every system has each of the usual directories.
            continue;
        };
        let place = root.resolve_parent(path)?;
        if metadata.is_symlink() {
            root.link(path, fs::read_link(path)?)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            root.directory(parent)?;
        }
        tree::copy(path, &place, path, &filter)?;
    }
    clean::forget_master(root)
}
