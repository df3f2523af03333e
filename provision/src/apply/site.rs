//! Looking at the master: where its programs are, and which loaders its distribution has.

use std::env;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::error::ApplyError;
use super::generation::Generation;
use super::place::Root;
use super::program::find;
use super::systemd::Systemd;
use crate::model::{Cluster, ExportServer};
use crate::render::{File, LoaderFile, NEEDED_LOADERS, Service, Site};
use crate::store::Store;

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

/// Where our boot endpoint's unit says that everything is, if that is a store and not the directory that is
/// wanted: what to do, for people.
pub(super) fn moved_store(root: &Root, wanted: &Path) -> Result<Option<String>, ApplyError> {
    let unit = Service::Serve.unit();
    let path = root.path(Path::new("/etc/systemd/system")).join(unit);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ApplyError::io("read", path, source)),
    };
    let Some(old) = directory_in(&text).filter(|old| old != wanted) else {
        return Ok(None);
    };
    if !Store::at(root.path(&old)).exists() {
        return Ok(None);
    }
    let (old, new) = (old.display(), wanted.display());
    let there = root.path(wanted);
    let first = if there.exists() {
        format!("{new} exists already: remove it, or move it away, first; then ")
    } else {
        String::new()
    };
    Ok(Some(format!(
        "serve.directory is {new}, but images and generations are in {old}, and {unit} serves them; {first}move them: \
         `systemctl stop '{}' && mv {old} {new}`; or, to begin anew, move {old} elsewhere; or keep directory = \"{old}\"",
        "regex-provision-*",
    )))
}

/// Whether a generation was made for another directory than that of the store which it is in: its files lead daemons there.
/// Then what to do, for people.
pub(super) fn made_for_another(
    root: &Root,
    store: &Store,
    generation: &Generation,
    cluster: &Cluster,
) -> Option<String> {
    let made_for = cluster.serve.directory.as_path();
    let place = root.path(made_for);
    // The old name may be a link to the new one, and lead there.
    let is_same = match (place.canonicalize(), store.root().canonicalize()) {
        (Ok(place), Ok(store)) => place == store,
        _ => place == store.root(),
    };
    (!is_same).then(|| {
        let (number, text) = (generation.number, generation.path.join("cluster.toml"));
        format!(
            "generation {number} was made for serve.directory = {}, but is in {}, where images and generations were moved; correct cluster.toml to what {} has, but for the directory, and run `regex-provision apply`",
            made_for.display(),
            store.root().display(),
            text.display()
        )
    })
}

/// The directories that we are to export and that are none here, for people: the kernel's server says nothing of them, and
/// nodes hang when they mount them. What we may not look at is left to root.
pub(super) fn missing_exports(root: &Root, cluster: &Cluster) -> Vec<String> {
    let ours = cluster.exports.values();
    let ours = ours.filter(|export| !matches!(export.server, ExportServer::External(_)));
    let missing = ours.filter(
        |export| match fs::metadata(root.path(export.path.as_path())) {
            Ok(metadata) => !metadata.is_dir(),
            Err(error) => matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        },
    );
    let told = missing.map(|export| {
        format!(
            "the export {0} is no directory here: {1}; mount what belongs there, or correct `path` in [export.{0}]",
            export.name, export.path
        )
    });
    told.collect()
}

/// The directory that a unit of ours is started with.
fn directory_in(unit: &str) -> Option<PathBuf> {
    let line = unit.lines().find(|line| line.starts_with("ExecStart="))?;
    let (_, rest) = line.split_once(" --directory ")?;
    let directory = rest.split(' ').next()?;
    Some(directory.replace("%%", "%").into())
}

/// Why users other than root cannot run a program, if so: it, or a directory above it, is closed to them.
pub(super) fn closed_to_others(program: &Path) -> Option<PathBuf> {
    let program = program.canonicalize().ok()?;
    let closed = program.ancestors().find(|part| {
        fs::metadata(part).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 == 0)
    });
    closed.map(Path::to_owned)
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
    } else if Systemd::here().is_some()
        && let Some(closed) = closed_to_others(&site.master)
    {
        missing.push(format!(
            "{} runs as a user of its own, who cannot run {}: {} is closed to others; install our programs where all can run \
             them, and run them from there: `install -m 755 regex-master regex-provision regex-worker /usr/local/bin`",
            Service::Master.unit(),
            site.master.display(),
            closed.display(),
        ));
    }
    missing
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use tempfile::TempDir;

    use super::*;
    use crate::model;

    #[test]
    fn what_keeps_others_from_a_program_is_named() {
        let directory = TempDir::new().expect("a temporary directory");
        let home = directory.path().canonicalize().expect("it is there");
        let program = home.join("bin/regex-master");
        let set = |path: &Path, mode| {
            fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
        };
        fs::create_dir(home.join("bin")).expect("a directory");
        fs::write(&program, "").expect("a file");
        set(&program, 0o755);
        set(&home.join("bin"), 0o755);
        set(&home, 0o755);
        assert_eq!(closed_to_others(&program), None);
        for (path, usual) in [(&home, 0o755), (&program, 0o755)] {
            set(path, 0o700);
            assert_eq!(closed_to_others(&program).as_ref(), Some(path));
            set(path, usual);
        }
    }

    #[test]
    fn what_cannot_be_exported_is_named() {
        let directory = TempDir::new().expect("a temporary directory");
        let root = Root::fake(directory.path());
        fs::create_dir_all(directory.path().join("srv/data")).expect("a directory");
        fs::write(directory.path().join("srv/file"), "").expect("a file");
        let told = |path: &str, server: &str| {
            let text = format!(
                "[cluster]\nname = \"lab\"\ninterface = \"br0\"\nsubnet = \"10.77.0.0/24\"\nmaster = \"10.77.0.1\"\n\
                 [export.data]\npath = \"{path}\"\nserver = \"{server}\"\n"
            );
            let cluster = model::parse(&text).unwrap_or_else(|problems| panic!("{problems}"));
            missing_exports(&root, &cluster)
        };
        let wrong = "the export data is no directory here: /srv/dta; mount what belongs there, or correct `path` in [export.data]";
        for server in ["kernel", "ganesha"] {
            assert_eq!(told("/srv/data", server), [""; 0]);
            assert_eq!(told("/srv/dta", server), [wrong]);
            assert_eq!(told("/srv/file", server).len(), 1);
            assert_eq!(told("/srv/file/in", server).len(), 1);
        }
        // Of another machine nothing is known.
        assert_eq!(told("/srv/dta", "filer.example"), [""; 0]);
    }

    #[test]
    fn a_unit_tells_its_directory() {
        let unit = "[Service]\nExecStart=/usr/bin/regex-provision serve --directory /srv/a%%b --no-daemons\n";
        assert_eq!(directory_in(unit), Some("/srv/a%b".into()));
        assert_eq!(directory_in("[Service]\nExecStart=/bin/true\n"), None);
    }
}
