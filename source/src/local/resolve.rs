//! From a path to a descriptor, within the roots.
//!
//! The fast way is one system call: a plain open for a source without bounds, else `openat2` with
//! `RESOLVE_BENEATH`, by which the kernel itself refuses to leave the root. The slow way walks the
//! path name by name. It is taken where one call cannot do:
//!
//! - the path is longer than the kernel takes in one call (`PATH_MAX`, 4096 bytes);
//! - a link is absolute, or leads up out of its root: the kernel refuses, though the target may lie in
//!   the same or in another root, and is then found there;
//! - the kernel has no `openat2`, or a sandbox forbids it.
//!
//! Invariant: the slow way opens single names with `O_NOFOLLOW` only, and reads links as text, so a
//! link exchanged under its hands leads nowhere, and the magic links of `/proc` have no magic.

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2, readlinkat};
use rustix::io::{Errno, retry_on_intr};

use crate::SourceError;

use super::roots::{Root, Roots};

/// As many symbolic links in one path as the kernel follows.
const MAX_LINKS: u32 = 40;

/// Why a path was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenError {
    /// The system said so.
    Os(Errno),
    /// It leads to no root.
    OutsideRoots,
}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

impl From<OpenError> for SourceError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Os(errno) => errno.into(),
            OpenError::OutsideRoots => Self::outside_roots(),
        }
    }
}

/// Opens an absolute path. With `O_NOFOLLOW` in `flags`, a link in its last component is not
/// followed; what the kernel does then depends on the other flags, see open(2).
pub(super) fn open(roots: &Roots, path: &[u8], flags: OFlags) -> Result<OwnedFd, OpenError> {
    let (root, rest) = roots.find(path).ok_or(OpenError::OutsideRoots)?;
    let opened = match root.fd() {
        None => retry_on_intr(|| openat(CWD, path, flags, Mode::empty())),
        Some(_) if rest.is_empty() => open_beneath(root, b".", flags),
        Some(_) => open_beneath(root, rest, flags),
    };
    match opened {
        Ok(fd) => Ok(fd),
        Err(Errno::NAMETOOLONG) => open_slowly(roots, path, flags),
        Err(Errno::XDEV | Errno::NOSYS | Errno::PERM | Errno::AGAIN) if roots.are_restricted() => {
            open_slowly(roots, path, flags)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// The path without links, `.` and `..`.
pub(super) fn canonical(roots: &Roots, path: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut walk = Walk::new(roots, path)?;
    walk.finish(OFlags::PATH | OFlags::CLOEXEC)?;
    let mut real = walk.root.real.clone();
    real.push(b'/');
    real.extend_from_slice(&walk.below);
    if real.len() > 1 && real.last() == Some(&b'/') {
        real.pop();
    }
    Ok(real)
}

fn open_beneath(root: &Root, rest: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let fd = root.fd().ok_or(Errno::NOSYS)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    retry_on_intr(|| openat2(fd, rest, flags, Mode::empty(), resolve))
}

/// Opens a path name by name.
pub(super) fn open_slowly(roots: &Roots, path: &[u8], flags: OFlags) -> Result<OwnedFd, OpenError> {
    Walk::new(roots, path)?.finish(flags)
}

/// A path on its way.
struct Walk<'a> {
    roots: &'a Roots,
    root: &'a Root,
    /// Where we are: a directory, opened with `O_PATH`.
    dir: OwnedFd,
    /// Its path from the root, without links; no slash at either end.
    below: Vec<u8>,
    /// The names still to go, the next one last.
    pending: Vec<Vec<u8>>,
    links: u32,
}

impl<'a> Walk<'a> {
    fn new(roots: &'a Roots, path: &[u8]) -> Result<Self, OpenError> {
        let (root, rest) = roots.find(path).ok_or(OpenError::OutsideRoots)?;
        let mut walk = Self {
            roots,
            root,
            dir: root.handle()?,
            below: Vec::new(),
            pending: Vec::new(),
            links: 0,
        };
        walk.push_names(rest);
        Ok(walk)
    }

    fn push_names(&mut self, path: &[u8]) {
        let names = path.split(|&b| b == b'/').rev();
        let names = names.filter(|name| !matches!(*name, b"" | b"."));
        self.pending.extend(names.map(<[u8]>::to_vec));
    }

    /// Walks to the end and opens what is there with `flags`.
    fn finish(&mut self, flags: OFlags) -> Result<OwnedFd, OpenError> {
        const INTO: OFlags = OFlags::PATH
            .union(OFlags::DIRECTORY)
            .union(OFlags::NOFOLLOW)
            .union(OFlags::CLOEXEC);
        while let Some(name) = self.pending.pop() {
            let last = self.pending.is_empty();
            if name == b".." {
                self.up()?;
                continue;
            }
            let name = name.as_slice();
            match retry_on_intr(|| openat(&self.dir, name, INTO, Mode::empty())) {
                Ok(fd) => {
                    self.dir = fd;
                    self.descend(name);
                    continue;
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(errno.into()),
            }
            // Not a directory: a link, or something that the path must end at.
            if !(last && flags.contains(OFlags::NOFOLLOW)) {
                match readlinkat(&self.dir, name, Vec::new()) {
                    Ok(target) => {
                        self.follow(target.as_bytes())?;
                        continue;
                    }
                    Err(Errno::INVAL) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            if !last {
                return Err(Errno::NOTDIR.into());
            }
            let fd =
                retry_on_intr(|| openat(&self.dir, name, flags | OFlags::NOFOLLOW, Mode::empty()))?;
            self.descend(name);
            return Ok(fd);
        }
        Ok(retry_on_intr(|| {
            openat(&self.dir, ".", flags, Mode::empty())
        })?)
    }

    fn descend(&mut self, name: &[u8]) {
        if !self.below.is_empty() {
            self.below.push(b'/');
        }
        self.below.extend_from_slice(name);
    }

    /// Goes to the parent, which is not left to the kernel: the directory may have been moved out of
    /// the root.
    fn up(&mut self) -> Result<(), OpenError> {
        if !self.below.is_empty() {
            let below = parent(&self.below).to_vec();
            return self.restart(self.root, &below);
        }
        if self.root.real.is_empty() {
            return Ok(()); // the parent of / is /
        }
        // Above the root nothing is looked at; but by its text, which has no links up to here, the
        // path may come down again into this root or another.
        let mut path = parent(&self.root.real).to_vec();
        while self.pending.pop_if(|name| name == b"..").is_some() {
            path.truncate(parent(&path).len());
        }
        path.push(b'/');
        path.extend(self.pending.drain(..).rev().collect::<Vec<_>>().join(&b'/'));
        let (root, rest) = self.roots.find(&path).ok_or(OpenError::OutsideRoots)?;
        self.restart(root, rest)
    }

    /// Goes on at a link's target.
    fn follow(&mut self, target: &[u8]) -> Result<(), OpenError> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        if target.first() == Some(&b'/') {
            let (root, rest) = self.roots.find(target).ok_or(OpenError::OutsideRoots)?;
            return self.restart(root, rest);
        }
        self.push_names(target);
        Ok(())
    }

    /// Goes back to `root`, with the names of `rest` before those that are still to go.
    fn restart(&mut self, root: &'a Root, rest: &[u8]) -> Result<(), OpenError> {
        self.root = root;
        self.dir = root.handle()?;
        self.below.clear();
        self.push_names(rest);
        Ok(())
    }
}

/// A path without its last name and the slash before it.
fn parent(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&b| b == b'/').unwrap_or(0);
    &path[..end]
}
