//! Host keys that the master keeps for nodes: made once, when they are first needed, and given to the
//! node at each boot as part of its overlay.
//!
//! They lie in `hostkeys/<node>/`, which only root can read.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use super::error::ApplyError;
use super::program::{find, run};
use crate::model::{Cluster, Hostname, Node};
use crate::parallel;
use crate::render::overlay::{self, HostKey};
use crate::store::{Store, Writer};

/// How long the making of a key may take.
const MAKE_TIME: Duration = Duration::from_secs(30);

/// How many programs that make a key run for each core: they wait more than they compute.
const MAKERS_PER_CORE: usize = 4;

const PRIVATE: &str = "ssh_host_ed25519_key";

/// The keys of a cluster's nodes; none where the master keeps none.
#[derive(Debug, Default)]
pub(super) struct Keys {
    known: HashMap<Hostname, HostKey>,
    /// The nodes that had none when we looked.
    pub(super) missing: Vec<Hostname>,
    /// The first that we may not read.
    denied: Option<ApplyError>,
}

impl Keys {
    /// Reads those of all nodes.
    pub(super) fn read(store: &Store, cluster: &Cluster) -> Result<Self, ApplyError> {
        let mut keys = Self::default();
        if !overlay::needs_host_key(cluster) {
            return Ok(keys);
        }
        for node in cluster.nodes() {
            match read(store, node) {
                Ok(Some(key)) => drop(keys.known.insert(node.name.clone(), key)),
                Ok(None) => keys.missing.push(node.name.clone()),
                Err(error) if is_denied(&error) => drop(keys.denied.get_or_insert(error)),
                Err(error) => return Err(error),
            }
        }
        Ok(keys)
    }

    /// The key of a node, if it is known.
    pub(super) fn of(&self, node: &Node) -> Option<&HostKey> {
        self.known.get(&node.name)
    }

    /// Makes those that are missing. Gives whether there are any.
    pub(super) fn make(&mut self, writer: &Writer, cluster: &Cluster) -> Result<bool, ApplyError> {
        if let Some(denied) = self.denied.take() {
            return Err(denied);
        }
        if self.missing.is_empty() {
            return Ok(false);
        }
        let store = writer.store();
        make(writer, &self.missing)?;
        for node in cluster.nodes() {
            if self.known.contains_key(&node.name) {
                continue;
            }
            let key = read(store, node)?.ok_or_else(|| {
                let what = "it is not complete; remove the directory";
                let place = directory(store).join(node.name.as_str());
                ApplyError::io("read", place, io::Error::new(ErrorKind::InvalidData, what))
            })?;
            self.known.insert(node.name.clone(), key);
        }
        Ok(true)
    }
}

fn is_denied(error: &ApplyError) -> bool {
    matches!(error, ApplyError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied)
}

fn directory(store: &Store) -> PathBuf {
    store.root().join("hostkeys")
}

/// The key of a node, if it has been made.
fn read(store: &Store, node: &Node) -> Result<Option<HostKey>, ApplyError> {
    let directory = directory(store).join(node.name.as_str());
    let read = |path: PathBuf| match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ApplyError::io("read", path, source)),
    };
    let private = read(directory.join(PRIVATE))?;
    let public = read(directory.join(format!("{PRIVATE}.pub")))?;
    Ok(private
        .zip(public)
        .map(|(private, public)| HostKey { private, public }))
}

/// Makes keys for nodes: some at once, synced together, and each moved to its place whole.
fn make(writer: &Writer, nodes: &[Hostname]) -> Result<(), ApplyError> {
    let keygen = find("ssh-keygen").ok_or_else(|| {
        let what = "there is no ssh-keygen; install the package openssh-client";
        let source = io::Error::new(ErrorKind::NotFound, what);
        ApplyError::io("make host keys in", directory(writer.store()), source)
    })?;
    let place = directory(writer.store());
    private_directory(&place).map_err(|source| ApplyError::io("make", &place, source))?;
    let temp = writer.temp("hostkeys")?;
    let cores = available_parallelism().map_or(1, std::num::NonZero::get);
    let mut failed = None;
    parallel::each(
        nodes,
        cores * MAKERS_PER_CORE,
        Duration::ZERO,
        |node, tell| {
            let made = make_one(&keygen, &temp.path().join(node.as_str()), node);
            if let Err(source) = made {
                tell(source);
            }
        },
        |at, source| {
            let place = place.join(nodes[at].as_str());
            failed.get_or_insert(ApplyError::io("make the host key", place, source));
        },
    );
    if let Some(failed) = failed {
        return Err(failed);
    }
    let places = nodes
        .iter()
        .map(|node| (temp.path().join(node.as_str()), place.join(node.as_str())))
        // Of one that is not complete we keep what is there.
        .filter(|(_, place)| !place.exists());
    Ok(writer.place_all(&places.collect::<Vec<_>>())?)
}

fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

fn make_one(keygen: &Path, directory: &Path, node: &Hostname) -> io::Result<()> {
    private_directory(directory)?;
    let path = directory.join(PRIVATE);
    let path = path.to_string_lossy();
    let comment = format!("root@{node}");
    let arguments = ["-q", "-t", "ed25519", "-N", "", "-C", &comment, "-f", &path];
    let ran = run(keygen, arguments, MAKE_TIME)?;
    if ran.succeeded() {
        Ok(())
    } else {
        Err(io::Error::other(ran.to_string()))
    }
}
