//! Roots that were made elsewhere: directories, archives, OCI images, the master's own system.

mod archive;
mod oci;

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use super::build::Job;
use super::clean;
use super::inputs::Inputs;
use super::inside;
use super::lint;
use super::root::Root;
use super::tree::{self, Filter};
use crate::model::image::KernelSource;
use crate::model::{AbsPath, Cluster, ImageSource};

/// What of the master's system is never copied: other machines' affairs, secrets, what is made again, and data.
const NOT_THE_MASTER_S: [&str; 49] = [
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
    "/etc/regex-master",
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
    // State of services with users of their own, such as the results of regex-master.
    "/var/lib/private/*",
    "/var/lib/regex-master",
    "/var/lib/regex-provision",
    "/var/lib/samba/private",
    "/var/lib/snapd",
    "/var/lib/sss",
    "/var/lib/systemd/credential.secret",
    "/var/log/*",
    "/var/spool/*",
    "/var/tmp/*",
];

/// Adds what the source is made of to the inputs. Of the master's own system that is not known before it is copied.
pub(super) fn add_inputs(
    source: &ImageSource,
    store: &Path,
    inputs: &mut Inputs,
) -> anyhow::Result<()> {
    match source {
        ImageSource::Debootstrap(_) | ImageSource::Master { .. } => Ok(()),
        ImageSource::Directory { path, .. } => {
            // Before it is listed: it has all of /proc in it.
            if path.as_path() == Path::new("/") {
                bail!("/ is the master's own running system; for that write kind = \"master\"");
            }
            let resolved = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            if resolved(store).starts_with(resolved(path.as_path())) {
                bail!(
                    "the store {} lies below {path}, and would be copied into itself; keep images elsewhere (--store), or import another directory",
                    store.display()
                );
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

/// Fills the root. `work` is a directory for what is needed meanwhile.
pub(super) fn fill(job: &Job<'_>, root: &Root, work: &Path) -> anyhow::Result<()> {
    let image = job.image;
    match &image.source {
        ImageSource::Debootstrap(_) => bail!("a root of packages has no source to be copied from"),
        ImageSource::Directory { path, exclude } => {
            let from = path.as_path();
            let metadata = fs::metadata(from).with_context(|| format!("cannot read {path}"))?;
            if !metadata.is_dir() {
                bail!("{path} is no directory; for an archive write kind = \"tar\" or \"oci\"");
            }
            tree::copy(from, root.path(), Path::new("/"), &Filter::new(exclude)?).map(drop)
        }
        ImageSource::Tar { path } => archive::unpack(root, path.as_path()),
        ImageSource::Oci { path, reference } => {
            oci::unpack(root, path.as_path(), reference.as_deref(), work)
        }
        ImageSource::Master { include, exclude } => master(job, root, include, exclude),
    }?;
    inside::make_mount_points(root)
}

/// What is left out of a copy of the master's system, besides what its user says.
fn not_the_master_s(job: &Job<'_>) -> Vec<String> {
    let mut patterns: Vec<String> = NOT_THE_MASTER_S.map(str::to_owned).into();
    patterns.push(job.store.root().display().to_string());
    let nodes = job.cluster.map(Cluster::nodes).unwrap_or_default();
    let switches = nodes.iter().filter_map(|node| node.bmc.as_ref());
    let credentials = switches.filter_map(|bmc| bmc.credentials.file.as_ref());
    patterns.extend(credentials.map(ToString::to_string));
    patterns.sort();
    patterns.dedup();
    patterns
}

fn master(
    job: &Job<'_>,
    root: &Root,
    include: &[AbsPath],
    exclude: &[String],
) -> anyhow::Result<()> {
    let mut patterns = not_the_master_s(job);
    patterns.extend(exclude.iter().cloned());
    let filter = Filter::new(&patterns)?
        .on_one_file_system()
        .of_a_running_system();
    let image = job.image;
    let mut gone = 0;
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
        gone += tree::copy(path, &place, path, &filter)?;
    }
    if gone > 0 {
        job.step(&format!("{gone} files went while they were copied"));
    }
    for key in lint::private_keys(root)? {
        job.step(&format!(
            "/{} is left out: it is a private key",
            key.display()
        ));
        root.remove(&key)?;
    }
    clean::forget_master(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn what_is_secret_on_the_master_is_not_copied() {
        let text = "[cluster]\nname = \"lab\"\ninterface = \"br0\"\nsubnet = \"10.77.0.0/24\"\nmaster = \"10.77.0.1\"\n\n\
             [image.n]\nsource = { kind = \"debootstrap\", suite = \"bookworm\" }\n\n\
             [[node]]\nname = \"a\"\naddress = \"10.77.0.2\"\nmac = \"52:54:00:00:00:02\"\nimage = \"n\"\n\
             bmc = { kind = \"ipmi\", address = \"10.77.1.2\", user = \"admin\", credentials = \"/opt/secrets/bmc\" }\n";
        let cluster = crate::model::check(text).cluster.expect("it is right");
        let image = crate::model::Image::undeclared(
            "copy".parse().expect("a name"),
            ImageSource::Master {
                include: Vec::new(),
                exclude: Vec::new(),
            },
        );
        let store = Store::at("/data/store");
        let job = Job {
            store: &store,
            cluster: Some(&cluster),
            image: &image,
            wants: super::super::Wants::default(),
            worker: None,
            force: false,
            epoch: None,
            progress: &|_| (),
        };
        let filter = Filter::new(&not_the_master_s(&job)).expect("patterns");
        for secret in [
            "/opt/secrets/bmc",
            "/data/store",
            "/var/lib/private/regex-master",
            "/var/lib/regex-master",
            "/var/lib/systemd/credential.secret",
            "/var/spool/mail",
            "/var/lib/samba/private",
            "/var/lib/sss",
            "/etc/regex-provision",
            "/etc/ssl/private/site.key",
        ] {
            assert!(filter.leaves_out(Path::new(secret), false), "{secret}");
        }
        for kept in [
            "/var/lib/dpkg/status",
            "/etc/ssl/certs/ca.pem",
            "/opt/secrets",
        ] {
            assert!(!filter.leaves_out(Path::new(kept), true), "{kept}");
        }
    }
}
