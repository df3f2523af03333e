//! Host keys that the master keeps for nodes: made once, when they are first needed, and given to the
//! node at each boot as part of its overlay.
//!
//! They lie in `hostkeys/<node>/`, which only root can read.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::error::ApplyError;
use super::program::{find, run};
use crate::model::Node;
use crate::render::overlay::HostKey;
use crate::store::Store;

/// How long the making of a key may take.
const MAKE_TIME: Duration = Duration::from_secs(30);

const PRIVATE: &str = "ssh_host_ed25519_key";

fn directory(store: &Store) -> PathBuf {
    store.root().join("hostkeys")
}

/// The key of a node, if it has been made.
pub fn read(store: &Store, node: &Node) -> Result<Option<HostKey>, ApplyError> {
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

/// The key of a node, which is made if there is none yet. Needs no lock: of several processes that make one at the same
/// time the first one's stays.
pub fn ensure(store: &Store, node: &Node) -> Result<HostKey, ApplyError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    if let Some(key) = read(store, node)? {
        return Ok(key);
    }
    let place = directory(store).join(node.name.as_str());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let made = directory(store).join(format!(".new.{}.{count}", process::id()));
    let result = make(node, &made, &place);
    // After it was moved there is nothing.
    let _ = fs::remove_dir_all(&made);
    result.map_err(|source| ApplyError::io("make the host key", &place, source))?;
    read(store, node)?.ok_or_else(|| {
        let what = "it is not complete; remove the directory";
        ApplyError::io("read", place, io::Error::new(ErrorKind::InvalidData, what))
    })
}

fn make(node: &Node, made: &Path, place: &Path) -> io::Result<()> {
    let keygen = find("ssh-keygen").ok_or_else(|| {
        let what = "there is no ssh-keygen; install the package openssh-client";
        io::Error::new(ErrorKind::NotFound, what)
    })?;
    let mut private = fs::DirBuilder::new();
    private.mode(0o700).recursive(true).create(made)?;
    if let Some(parent) = made.parent() {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(parent, fs::Permissions::from_mode(0o700))?;
    }
    let path = made.join(PRIVATE);
    let path = path.to_string_lossy();
    let comment = format!("root@{}", node.name);
    let arguments = ["-q", "-t", "ed25519", "-N", "", "-C", &comment, "-f", &path];
    let ran = run(keygen, arguments, MAKE_TIME)?;
    if !ran.succeeded() {
        return Err(io::Error::other(ran.to_string()));
    }
    for file in [PathBuf::from(&*path), made.join(format!("{PRIVATE}.pub"))] {
        fs::File::open(file)?.sync_all()?;
    }
    match fs::rename(made, place) {
        // Somebody was quicker.
        Err(_) if place.is_dir() => Ok(()),
        result => result,
    }
}
