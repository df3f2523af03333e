//! The whole root as an initramfs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::cpio::{Kind, LARGEST_FILE, Links, Meta, Writer};
use super::inside::Inside;
use super::pack::{Packer, Tree};
use super::{Error, Recipe, add_drivers, add_scripts, find_busybox};

/// What a ramdisk is made from.
#[derive(Debug, Clone)]
pub struct RamdiskRecipe<'a> {
    /// The image's unpacked root. Only read; owners are taken as they are.
    pub root: &'a Path,
    /// The kernel's release.
    pub release: &'a str,
    /// A static busybox; none for the root's own, or else this machine's.
    pub busybox: Option<&'a Path>,
    /// Where the root has no /usr: the drivers with which the node reaches the one that it mounts are those of an
    /// initramfs of this recipe.
    pub drivers: Option<Recipe<'a>>,
    /// No entry is told to be younger than this, in seconds since 1970 (`SOURCE_DATE_EPOCH`).
    pub epoch: u32,
    /// How hard zstd tries, 1 to 19.
    pub level: i32,
}

/// Writes a root, with the scripts in `/.rp` and `/init`, to `out`; gives back `out` and the bytes when
/// unpacked.
///
/// Left out are sockets, and what is below `proc`, `sys`, `dev` and `run`. Extended attributes do not fit into the format:
/// file capabilities are lost (a `ping` without setuid then works for root only).
pub fn ramdisk<W: Write>(recipe: &RamdiskRecipe<'_>, out: W) -> Result<(W, u64), Error> {
    let inside = Inside::new(recipe.root)?;
    let (_, busybox) = find_busybox(&inside, recipe.busybox)?;
    let root = inside.root();
    archive(recipe, &inside, root, out, |writer| {
        let mut tree = Tree::default();
        add_scripts(&mut tree, &busybox);
        if let Some(drivers) = &recipe.drivers {
            add_drivers(&mut tree, &Inside::new(drivers.root)?, drivers, "usr/lib")?;
        }
        tree.write(writer)
    })
}

/// Writes what is in the directory `layer` as an archive that may follow a [`ramdisk`] of the same recipe: the
/// kernel unpacks one behind the other. Gives back `out` and the bytes when unpacked.
pub fn ramdisk_layer<W: Write>(
    recipe: &RamdiskRecipe<'_>,
    layer: &Path,
    out: W,
) -> Result<(W, u64), Error> {
    let inside = Inside::new(recipe.root)?;
    archive(recipe, &inside, layer, out, |_| Ok(()))
}

/// An archive of a directory and what `more` adds, compressed as the root's kernel wants it.
fn archive<W: Write>(
    recipe: &RamdiskRecipe<'_>,
    inside: &Inside,
    directory: &Path,
    out: W,
    more: impl FnOnce(&mut Writer<Counted<'_>>) -> Result<(), Error>,
) -> Result<(W, u64), Error> {
    let packer = Packer::of_kernel(inside, recipe.release)?;
    let mut size = 0;
    let out = packer.pack(out, recipe.level, |packed| {
        let counted = Counted {
            out: packed,
            size: 0,
        };
        let mut walk = Walk {
            writer: Writer::new(counted),
            root: directory,
            epoch: recipe.epoch,
            links: BTreeMap::new(),
        };
        walk.directory(Path::new(""))?;
        more(&mut walk.writer)?;
        size = walk.writer.finish().map_err(Error::Write)?.size;
        Ok(())
    })?;
    Ok((out, size))
}

/// Of these, only the directories themselves are kept.
const EMPTY: &[&str] = &["proc", "sys", "dev", "run"];
/// What the scripts bring: anything of the root that has these names gives way.
const OURS: &[&str] = &["init", ".rp"];

struct Walk<'a, W: Write> {
    writer: Writer<W>,
    root: &'a Path,
    epoch: u32,
    /// Files of several names that were written once: device and inode there, inode here.
    links: BTreeMap<(u64, u64), u32>,
}

impl<W: Write> Walk<'_, W> {
    /// Writes what is in a directory, by name.
    fn directory(&mut self, below: &Path) -> Result<(), Error> {
        let path = self.root.join(below);
        let io = |source| Error::io("cannot list", &path, source);
        let mut names = fs::read_dir(&path)
            .and_then(|entries| {
                entries
                    .map(|entry| entry.map(|entry| entry.file_name()))
                    .collect::<Result<Vec<_>, _>>()
            })
            .map_err(io)?;
        names.sort();
        for name in names {
            let here = below.join(&name);
            if OURS.iter().any(|ours| here == Path::new(ours)) {
                continue;
            }
            self.entry(&here)?;
        }
        Ok(())
    }

    fn entry(&mut self, name: &Path) -> Result<(), Error> {
        let path = self.root.join(name);
        let about = fs::symlink_metadata(&path)
            .map_err(|source| Error::io("cannot look at", &path, source))?;
        let bytes = name.as_os_str().as_bytes();
        let mtime = u32::try_from(about.mtime().clamp(0, i64::from(self.epoch))).unwrap_or(0);
        let meta = Meta {
            mode: about.mode() & 0o7777,
            uid: about.uid(),
            gid: about.gid(),
            mtime,
        };
        let kind = about.file_type();
        let numbers = (
            rustix::fs::major(about.rdev()),
            rustix::fs::minor(about.rdev()),
        );
        if kind.is_dir() {
            self.add(bytes, meta, Kind::Directory)?;
            if EMPTY.iter().any(|empty| name == Path::new(empty)) {
                return Ok(());
            }
            return self.directory(name);
        }
        if kind.is_file() {
            return self.file(&path, bytes, meta, &about);
        }
        if kind.is_symlink() {
            let target =
                fs::read_link(&path).map_err(|source| Error::io("cannot read", &path, source))?;
            return self.add(bytes, meta, Kind::Symlink(target.as_os_str().as_bytes()));
        }
        if kind.is_char_device() {
            return self.add(bytes, meta, Kind::CharDevice(numbers.0, numbers.1));
        }
        if kind.is_block_device() {
            return self.add(bytes, meta, Kind::BlockDevice(numbers.0, numbers.1));
        }
        if kind.is_fifo() {
            return self.add(bytes, meta, Kind::Fifo);
        }
        // A socket is nothing without the process that listens on it.
        Ok(())
    }

    fn file(
        &mut self,
        path: &Path,
        name: &[u8],
        meta: Meta,
        about: &fs::Metadata,
    ) -> Result<(), Error> {
        if about.len() > LARGEST_FILE {
            let (path, limit) = (path.into(), LARGEST_FILE);
            return Err(Error::TooLarge { path, limit });
        }
        let read = || fs::read(path).map_err(|source| Error::io("cannot read", path, source));
        if about.nlink() == 1 {
            return self.add(name, meta, Kind::File(&read()?));
        }
        let count = u32::try_from(about.nlink()).unwrap_or(u32::MAX);
        let key = (about.dev(), about.ino());
        let (inode, bytes) = match self.links.get(&key) {
            Some(&inode) => (inode, Vec::new()),
            None => (self.writer.inode(), read()?),
        };
        self.links.insert(key, inode);
        self.writer
            .add_linked(name, meta, Kind::File(&bytes), Links { inode, count })
            .map_err(Error::Write)
    }

    fn add(&mut self, name: &[u8], meta: Meta, kind: Kind<'_>) -> Result<(), Error> {
        self.writer.add(name, meta, kind).map_err(Error::Write)
    }
}

/// Counts what goes through.
struct Counted<'a> {
    out: &'a mut dyn Write,
    size: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
