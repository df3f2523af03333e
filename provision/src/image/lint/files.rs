//! What shows when all files of a root are gone through: keys, rights, what anybody may change.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use walkdir::{DirEntry, WalkDir};

use super::super::root::Root;
use super::Findings;

/// Files larger than this are not looked into for keys.
const MAX_KEY_FILE_BYTES: u64 = 256 << 10;

/// How many of a kind are told one by one.
const MAX_TOLD: usize = 20;

/// Where programs are that distributions give rights to.
const WHERE_SETUID_IS: [&str; 8] = [
    "bin",
    "sbin",
    "usr/bin",
    "usr/sbin",
    "usr/lib",
    "usr/libexec",
    "usr/lib64",
    "lib",
];

/// The user daemon of Debian: whose queue `at` writes to.
const DAEMON: u32 = 1;

/// Their names.
const KNOWN_SETUID: &str = "\
    at bwrap chage chfn chsh crontab dbus-daemon-launch-helper dotlockfile expiry fusermount fusermount3 gpasswd \
    mount mount.cifs mount.nfs mount.nfs4 newgidmap newgrp newuidmap pam_extrausers_chkpwd passwd ping pkexec \
    polkit-agent-helper-1 ssh-agent ssh-keysign su sudo sudoedit umount unix_chkpwd wall write";

/// Looks at them.
pub(super) fn look(root: &Root, host_keys: bool, findings: &mut Findings) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let (mut keys, mut rights, mut writable) = (Vec::new(), Vec::new(), Vec::new());
    let mut capable = Vec::new();
    for entry in entries(root) {
        let (entry, below, metadata) = &entry?;
        let shown = || format!("/{}", below.display());
        let mode = metadata.mode();
        if metadata.is_symlink() {
            continue;
        }
        if mode & 0o002 != 0 && mode & 0o1000 == 0 {
            writable.push(shown());
        }
        if !metadata.is_file() {
            continue;
        }
        let name = entry.file_name().to_string_lossy();
        let gains = if mode & 0o4000 != 0 {
            Some(("user", metadata.uid()))
        } else if mode & 0o2010 == 0o2010 {
            Some(("group", metadata.gid()))
        } else {
            None
        };
        if let Some((kind, id)) = gains
            && !is_distributions(below, metadata)
        {
            rights.push(format!("{} ({kind} {id})", shown()));
        }
        if has_capability(entry.path())? && !is_distributions(below, metadata) {
            capable.push(shown());
        }
        if may_be_key(below, metadata) && has_private_key(entry.path())? {
            let is_host_key = below.starts_with("etc/ssh") && name.starts_with("ssh_host_");
            if !(host_keys && is_host_key) {
                keys.push(shown());
            }
        }
    }
    if !keys.is_empty() {
        findings.warning(
            "private-key",
            told(keys),
            "whoever can fetch the image has them; give them to nodes in another way, or remove them by `post-script`",
        );
    }
    if !rights.is_empty() {
        findings.warning(
            "setuid",
            told(rights),
            "these run with rights of another user or group; remove the bit by `post-script` unless you know them",
        );
    }
    if !capable.is_empty() {
        findings.warning(
            "capability",
            told(capable),
            "these run with rights of root's; take them away by `setcap -r` in `post-script` unless you know them",
        );
    }
    if !writable.is_empty() {
        findings.warning(
            "writable",
            told(writable),
            "every user of a node may change these; take the right away by `post-script`",
        );
    }
    Ok(())
}

/// All that is in a root, in order: the entry, its path below the root, and what is known of it.
fn entries(root: &Root) -> impl Iterator<Item = anyhow::Result<(DirEntry, PathBuf, fs::Metadata)>> {
    let top = root.path();
    WalkDir::new(top)
        .min_depth(1)
        .sort_by_file_name()
        .into_iter()
        .map(move |entry| {
            let entry = entry.with_context(|| format!("cannot list {}", top.display()))?;
            let path = entry.path();
            let below = path.strip_prefix(top).unwrap_or(path).to_owned();
            let metadata = entry
                .metadata()
                .with_context(|| format!("cannot look at {}", path.display()))?;
            Ok((entry, below, metadata))
        })
}

/// Whether a program with rights is one that distributions give them to, where they do: a user's `sudo` is not.
fn is_distributions(below: &Path, metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let name = below.file_name().unwrap_or_default().to_string_lossy();
    let is_owner_s = metadata.uid() == 0 || name == "at" && metadata.uid() == DAEMON;
    is_owner_s
        && WHERE_SETUID_IS.iter().any(|top| below.starts_with(top))
        && KNOWN_SETUID.split(' ').any(|known| known == name)
}

fn has_capability(path: &Path) -> anyhow::Result<bool> {
    use rustix::io::Errno;
    match rustix::fs::lgetxattr(path, c"security.capability", &mut [0_u8; 64][..]) {
        Ok(_) | Err(Errno::RANGE) => Ok(true),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}

/// Whether a file may be a key: not what comes in packages, whose documentation has some.
fn may_be_key(below: &Path, metadata: &fs::Metadata) -> bool {
    let is_packages = below.starts_with("usr") && !below.starts_with("usr/local");
    metadata.is_file() && !is_packages && metadata.len() <= MAX_KEY_FILE_BYTES
}

/// The files in a root that are private keys, relative to it.
pub(in super::super) fn private_keys(root: &Root) -> anyhow::Result<Vec<PathBuf>> {
    let mut keys = Vec::new();
    for entry in entries(root) {
        let (entry, below, metadata) = &entry?;
        if may_be_key(below, metadata) && has_private_key(entry.path())? {
            keys.push(below.clone());
        }
    }
    Ok(keys)
}

fn told(mut what: Vec<String>) -> String {
    what.sort();
    let count = what.len();
    if count > MAX_TOLD {
        what.truncate(MAX_TOLD);
        what.push(format!("and {} more", count - MAX_TOLD));
    }
    what.join(", ")
}

fn has_private_key(path: &Path) -> anyhow::Result<bool> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_KEY_FILE_BYTES).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines = bytes.split(|&byte| byte == b'\n');
    Ok(lines.any(|line| {
        // The first line of a key, alone on its line: scripts that look for keys name it, too.
        let ends = |end: &[u8]| line.trim_ascii_end().ends_with(end);
        line.starts_with(b"-----BEGIN ")
            && (ends(b"PRIVATE KEY-----") || ends(b"PRIVATE KEY BLOCK-----"))
            || line.starts_with(b"PuTTY-User-Key-File-")
    }))
}
