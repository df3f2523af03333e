//! The master's own running system as the source of an image: what of it is copied, and what never is.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::build::Job;
use super::super::root::Root;
use super::super::tree::{self, Filter};
use super::super::{clean, lint};
use super::real_place;
use crate::model::image::KernelSource;
use crate::model::{AbsPath, Cluster};
use crate::render;

/// What of the master's system is never copied: other machines' affairs, secrets, what is made again, and data. What
/// `apply` has put into it comes on top.
const NOT_THE_MASTER_S: [&str; 67] = [
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
    "/etc/apt/auth.conf",
    "/etc/apt/auth.conf.d/*",
    "/etc/bind/rndc.key",
    "/etc/ceph/*.keyring",
    "/etc/chrony/chrony.keys",
    "/etc/cloud",
    "/etc/exim4/passwd.client",
    "/etc/ipsec.secrets",
    "/etc/krb5.keytab",
    "/etc/kubernetes",
    "/etc/ldap.secret",
    "/etc/letsencrypt",
    "/etc/munge/munge.key",
    "/etc/mysql/debian.cnf",
    "/etc/netplan/*",
    "/etc/NetworkManager/system-connections/*",
    "/etc/openvpn",
    "/etc/postfix/sasl_passwd*",
    "/etc/ppp/*-secrets",
    "/etc/regex-master",
    "/etc/regex-provision",
    "/etc/security/opasswd",
    "/etc/ssh/ssh_host_*",
    "/etc/ssl/private/*",
    "/etc/sssd/conf.d/*",
    "/etc/sssd/sssd.conf",
    "/etc/wireguard",
    "/root/*",
    "/usr/src/*",
    "/var/backups/*",
    "/var/cache/*",
    "/var/crash/*",
    "/var/lib/apt/lists/*",
    "/var/lib/cloud",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/var/lib/libvirt",
    "/var/lib/mysql",
    "/var/lib/NetworkManager/secret_key",
    "/var/lib/postgresql",
    // State of services with users of their own, such as the results of regex-master.
    "/var/lib/private/*",
    "/var/lib/regex-master",
    "/var/lib/regex-provision",
    "/var/lib/samba/private",
    "/var/lib/snapd",
    "/var/lib/sss",
    "/var/lib/systemd/credential.secret",
    "/var/lib/ubuntu-advantage/private",
    "/var/log/*",
    "/var/spool/*",
    "/var/tmp/*",
];

/// What is left out of a copy of the master's system, besides what its user says.
fn filter(job: &Job<'_>, exclude: &[String]) -> anyhow::Result<Filter> {
    let mut patterns: Vec<String> = NOT_THE_MASTER_S.map(str::to_owned).into();
    // What `apply` installs: its units start daemons of a master, and who switches them on is beside them.
    for (place, _) in render::places_in_system() {
        let (above, name) = place.rsplit_once('/').unwrap_or_default();
        for other in ["*.wants", "*.requires"] {
            patterns.push(format!("{above}/{other}/{name}"));
        }
        patterns.push(format!("{place}.d"));
        patterns.push(place);
    }
    let secrets = secrets(job);
    for path in &secrets {
        patterns.push(literally(path));
        patterns.push(literally(&real_place(path)));
    }
    patterns.extend(exclude.iter().cloned());
    // A mount elsewhere, or a second name, is not to be seen in a path.
    Ok(Filter::new(&patterns)?
        .without(&secrets)
        .on_one_file_system()
        .of_a_running_system())
}

/// The store, which would be copied into itself, and the passwords of BMCs, wherever they are.
fn secrets(job: &Job<'_>) -> Vec<PathBuf> {
    let nodes = job.cluster.map(Cluster::nodes).unwrap_or_default();
    let switches = nodes.iter().filter_map(|node| node.bmc.as_ref());
    let credentials = switches.filter_map(|bmc| bmc.credentials.file.as_ref());
    let mut secrets: Vec<PathBuf> = credentials.map(|file| file.as_path().to_owned()).collect();
    secrets.push(job.store.root().to_owned());
    secrets.sort();
    secrets.dedup();
    secrets
}

/// A pattern that means this path and nothing else.
fn literally(path: &Path) -> String {
    let mut pattern = String::new();
    for c in path.display().to_string().chars() {
        if "[]{}*?!\\ ".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// Copies it.
pub(super) fn copy(
    job: &Job<'_>,
    root: &Root,
    include: &[AbsPath],
    exclude: &[String],
) -> anyhow::Result<()> {
    if job.cluster.is_none() {
        job.step(
            "there is no cluster.toml, so it is not known where passwords of BMCs are; name it by --file, or leave them out by \
             --exclude",
        );
    }
    let filter = filter(job, exclude)?;
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
    clean::forget_master(root, &image.services.enable, &|what| job.step(what))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::model::{Image, ImageSource};
    use crate::store::Store;

    /// What is left out where the store and a BMC's credentials are at these paths.
    fn filter_of(store: &Path, credentials: &Path) -> Filter {
        let text = format!(
            "[cluster]\nname = \"lab\"\ninterface = \"br0\"\nsubnet = \"10.77.0.0/24\"\nmaster = \"10.77.0.1\"\n\n\
             [image.n]\nsource = {{ kind = \"debootstrap\", suite = \"bookworm\" }}\n\n\
             [[node]]\nname = \"a\"\naddress = \"10.77.0.2\"\nmac = \"52:54:00:00:00:02\"\nimage = \"n\"\n\
             bmc = {{ kind = \"ipmi\", address = \"10.77.1.2\", user = \"admin\", credentials = \"{}\" }}\n",
            credentials.display()
        );
        let cluster = crate::model::check(&text).cluster.expect("it is right");
        let image = Image::undeclared(
            "copy".parse().expect("a name"),
            ImageSource::Master {
                include: Vec::new(),
                exclude: Vec::new(),
            },
        );
        let store = Store::at(store);
        let job = Job {
            store: &store,
            cluster: Some(&cluster),
            image: &image,
            wants: super::super::super::Wants::default(),
            worker: None,
            force: false,
            epoch: None,
            progress: &|_| (),
        };
        filter(&job, &[]).expect("patterns")
    }

    #[test]
    fn what_is_secret_on_the_master_is_not_copied() {
        let filter = filter_of(Path::new("/data/store"), Path::new("/opt/secrets/bmc"));
        for secret in [
            "/opt/secrets/bmc",
            "/data/store",
            "/var/lib/private/regex-master",
            "/var/lib/regex-master",
            "/var/lib/systemd/credential.secret",
            "/var/lib/ubuntu-advantage/private",
            "/var/spool/mail",
            "/var/lib/samba/private",
            "/var/lib/sss",
            "/etc/regex-provision",
            "/etc/ssl/private/site.key",
            "/etc/security/opasswd",
            "/etc/apt/auth.conf",
            "/etc/apt/auth.conf.d/mirror.conf",
            "/etc/munge/munge.key",
            "/etc/bind/rndc.key",
            "/etc/sssd/sssd.conf",
            "/etc/ppp/chap-secrets",
            "/etc/ppp/pap-secrets",
            // What `apply` installs, and what switches it on.
            "/etc/systemd/system/regex-provision-dnsmasq.service",
            "/etc/systemd/system/multi-user.target.wants/regex-provision-serve.service",
            "/etc/systemd/system/regex-master.service",
            "/etc/systemd/system/regex-master.service.d",
            "/etc/exports.d/regex-provision.exports",
            "/etc/rsyslog.d/30-regex-provision.conf",
            "/etc/logrotate.d/regex-provision",
            "/etc/chrony/conf.d/regex-provision.conf",
        ] {
            assert!(filter.leaves_out(Path::new(secret), false), "{secret}");
        }
        for kept in [
            "/var/lib/dpkg/status",
            "/etc/ssl/certs/ca.pem",
            "/opt/secrets",
            "/etc/systemd/system/multi-user.target.wants/ssh.service",
            "/etc/rsyslog.d/50-site.conf",
        ] {
            assert!(!filter.leaves_out(Path::new(kept), true), "{kept}");
        }
    }

    #[test]
    fn what_is_secret_is_known_by_where_it_lies() {
        let directory = tempfile::tempdir().expect("a directory");
        let here = directory.path().canonicalize().expect("it is there");
        let path = |name: &str| here.join(name);
        fs::create_dir_all(path("opt/[images]/artifacts")).expect("a directory");
        fs::write(path("opt/bmc"), "password").expect("a file");
        fs::hard_link(path("opt/bmc"), path("opt/second")).expect("a link");
        fs::write(path("opt/kept"), "text").expect("a file");
        symlink("opt", path("link")).expect("a link");
        symlink("opt/[images]", path("store")).expect("a link");
        for (store, credentials) in [
            ("store", "link/bmc"),
            ("opt/../opt/[images]", "opt/bmc"),
            ("link/[images]", "opt/bmc"),
        ] {
            let filter = filter_of(&path(store), &path(credentials));
            for secret in ["opt/[images]", "opt/bmc"] {
                let is_left_out = filter.leaves_out(&path(secret), true);
                assert!(is_left_out, "{secret}, with {store} and {credentials}");
            }
            // Met by another name: as a second link, or below a directory that is given through a link.
            for from in ["opt", "link/../link/."] {
                let to = tempfile::tempdir().expect("a directory");
                tree::copy(&path(from), to.path(), &path(from), &filter).expect("it is copied");
                let names = fs::read_dir(to.path()).expect("it is there");
                let names: Vec<_> = names
                    .map(|entry| entry.expect("listed").file_name())
                    .collect();
                assert_eq!(names, ["kept"], "{from}, with {store} and {credentials}");
            }
        }
        // One that is not made yet is where it will be.
        let filter = filter_of(&path("link/new/../images"), &path("link/later"));
        for secret in ["opt/images", "opt/later"] {
            assert!(filter.leaves_out(&path(secret), true), "{secret}");
        }
        // What looks like a pattern is none.
        let filter = filter_of(&path("opt/[i]{m}"), &path("opt/bmc"));
        assert!(filter.leaves_out(&path("opt/[i]{m}"), true));
        assert!(!filter.leaves_out(&path("opt/im"), true));
    }
}
