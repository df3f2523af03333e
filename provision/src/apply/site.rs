//! Looking at the master: where its programs are, and which loaders its distribution has.

use std::env;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use super::place::Root;
use super::program::find;
use crate::render::{File, LoaderFile, NEEDED_LOADERS, Service, Site};

/// What is known of the master. A fake root is taken for a Debian system with our programs
/// in /usr/bin; loaders that it lacks are those of this machine.
pub fn discover(root: &Root) -> io::Result<Site> {
    let mut loaders = Vec::new();
    for needed in NEEDED_LOADERS {
        let path: PathBuf = needed.path.into();
        let there = root.path(&path);
        let path = if there.exists() { there } else { path };
        match fs::read(&path) {
            Ok(bytes) => loaders.push(LoaderFile {
                name: needed.name,
                bytes,
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let what = format!("cannot read {}: {error}", path.display());
                return Err(io::Error::new(error.kind(), what));
            }
        }
    }
    let mut site = Site {
        loaders,
        ..Site::default()
    };
    if root.is_real() {
        site.provision = env::current_exe()?;
        // Our programs are installed together.
        let beside = site.provision.with_file_name("regex-master");
        if beside.is_file() {
            site.master = beside;
        } else if let Some(path) = find("regex-master") {
            site.master = path;
        }
        site.dnsmasq = find("dnsmasq").unwrap_or(site.dnsmasq);
        site.ganesha = find("ganesha.nfsd").unwrap_or(site.ganesha);
    }
    Ok(site)
}

/// The programs that the services of these files need and this machine lacks, for people.
pub(super) fn missing_programs(files: &[File], site: &Site) -> Vec<String> {
    let has = |service| {
        let readers = files.iter().filter_map(|file| file.service);
        readers.into_iter().any(|(reader, _)| reader == service)
    };
    let mut missing = Vec::new();
    for (service, program, package) in [
        (Service::Chrony, "chronyd", "chrony"),
        (Service::Rsyslog, "rsyslogd", "rsyslog"),
        (Service::NfsServer, "exportfs", "nfs-kernel-server"),
        (
            Service::Ganesha,
            "ganesha.nfsd",
            "nfs-ganesha and nfs-ganesha-vfs",
        ),
        (Service::Dnsmasq, "dnsmasq", "dnsmasq-base"),
    ] {
        if has(service) && find(program).is_none() {
            missing.push(format!(
                "{} needs {program}, which is not on this machine; install the package {package}",
                service.unit()
            ));
        }
    }
    if !site.master.is_file() {
        missing.push(format!(
            "{} is not there; install regex-master beside regex-provision",
            site.master.display()
        ));
    }
    missing
}
