//! Writes cpio archives of the kind that kernels unpack as an initramfs ("newc").
//!
//! The bytes depend on what is written alone: inodes are numbered in order, and nothing is
//! taken from the machine. Device nodes are entries like any other, so no rights are needed.
//!
//! Not here: reading archives, extended attributes (the format has none), compression.

use std::io::{self, Write};

/// The largest file that the format can hold: sizes are 32 bits.
pub const LARGEST_FILE: u64 = u32::MAX as u64;

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
const PAD: [u8; 4] = [0; 4];

/// What an entry is, besides its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A directory.
    Directory,
    /// A file with these bytes.
    File(&'a [u8]),
    /// A symbolic link to this target.
    Symlink(&'a [u8]),
    /// A character device, with its major and minor number.
    CharDevice(u32, u32),
    /// A block device, with its major and minor number.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// Owner, permissions and time of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits, without the kind.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u32,
}

impl Meta {
    /// Of root, changed in 1970.
    pub const fn root(mode: u32) -> Meta {
        Meta {
            mode,
            uid: 0,
            gid: 0,
            mtime: 0,
        }
    }
}

/// Which inode an entry is, for files of several names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Links {
    /// Its number, as [`Writer::inode`] gave it.
    pub inode: u32,
    /// How many names it has in the archive.
    pub count: u32,
}

/// Writes one archive.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    next_inode: u32,
}

impl<W: Write> Writer<W> {
    /// An archive that is written to `out`.
    pub fn new(out: W) -> Writer<W> {
        Writer { out, next_inode: 1 }
    }

    /// A number for a file that has several names.
    pub fn inode(&mut self) -> u32 {
        let inode = self.next_inode;
        self.next_inode += 1;
        inode
    }

    /// Writes an entry with one name. `name` has no leading slash.
    pub fn add(&mut self, name: &[u8], meta: Meta, kind: Kind<'_>) -> io::Result<()> {
        let count = if matches!(kind, Kind::Directory) {
            2
        } else {
            1
        };
        let inode = self.inode();
        self.add_linked(name, meta, kind, Links { inode, count })
    }

    /// Writes one of the names of a file. The first has the bytes, the others are empty:
    /// the kernel makes them links to the first.
    pub fn add_linked(
        &mut self,
        name: &[u8],
        meta: Meta,
        kind: Kind<'_>,
        links: Links,
    ) -> io::Result<()> {
        let (type_bits, data, (major, minor)): (u32, &[u8], (u32, u32)) = match kind {
            Kind::Directory => (0o040_000, &[], (0, 0)),
            Kind::File(bytes) => (0o100_000, bytes, (0, 0)),
            Kind::Symlink(target) => (0o120_000, target, (0, 0)),
            Kind::CharDevice(major, minor) => (0o020_000, &[], (major, minor)),
            Kind::BlockDevice(major, minor) => (0o060_000, &[], (major, minor)),
            Kind::Fifo => (0o010_000, &[], (0, 0)),
        };
        let mode = type_bits | (meta.mode & 0o7777);
        let meta = Meta { mode, ..meta };
        self.entry(name, meta, data, links, (major, minor))
    }

    /// Ends the archive and gives back what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        let links = Links { inode: 0, count: 1 };
        self.entry(TRAILER.as_bytes(), Meta::root(0), &[], links, (0, 0))?;
        Ok(self.out)
    }

    fn entry(
        &mut self,
        name: &[u8],
        meta: Meta,
        data: &[u8],
        links: Links,
        (major, minor): (u32, u32),
    ) -> io::Result<()> {
        let size = u32::try_from(data.len())
            .map_err(|_| io::Error::other("a file of 4 GiB or more does not fit into cpio"))?;
        let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        write!(
            self.out,
            "{MAGIC}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{size:08x}{:08x}{:08x}{major:08x}{minor:08x}{name_size:08x}{:08x}",
            links.inode, meta.mode, meta.uid, meta.gid, links.count, meta.mtime, 0, 0, 0,
        )?;
        self.out.write_all(name)?;
        // The header has 110 bytes, and the name a NUL behind it.
        self.out.write_all(&PAD[..1])?;
        self.pad(110 + name.len() + 1)?;
        self.out.write_all(data)?;
        self.pad(data.len())
    }

    /// Pads something that began at a multiple of four.
    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.out.write_all(&PAD[..written.wrapping_neg() % 4])
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// What cpio itself lists of an archive: the independent reader.
    fn listed(archive: &[u8]) -> String {
        let mut child = Command::new("busybox")
            .args(["cpio", "-itv"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .env("TZ", "UTC")
            .spawn()
            .expect("busybox-static is installed");
        child.stdin.take().unwrap().write_all(archive).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success());
        String::from_utf8(out.stdout).unwrap()
    }

    fn sample() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        writer
            .add(b"dev", Meta::root(0o755), Kind::Directory)
            .unwrap();
        writer
            .add(b"dev/console", Meta::root(0o600), Kind::CharDevice(5, 1))
            .unwrap();
        for length in 0..5 {
            let name = format!("f{length}");
            let data = vec![b'x'; length];
            writer
                .add(name.as_bytes(), Meta::root(0o4644), Kind::File(&data))
                .unwrap();
        }
        writer
            .add(b"link", Meta::root(0o777), Kind::Symlink(b"f4"))
            .unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn an_independent_reader_finds_what_was_written() {
        insta::assert_snapshot!(listed(&sample()), @r"
        drwxr-xr-x 0/0         0 1970-01-01 00:00:00 dev
        crw------- 0/0         0 1970-01-01 00:00:00 dev/console
        -rwSr--r-- 0/0         0 1970-01-01 00:00:00 f0
        -rwSr--r-- 0/0         1 1970-01-01 00:00:00 f1
        -rwSr--r-- 0/0         2 1970-01-01 00:00:00 f2
        -rwSr--r-- 0/0         3 1970-01-01 00:00:00 f3
        -rwSr--r-- 0/0         4 1970-01-01 00:00:00 f4
        lrwxrwxrwx 0/0         0 1970-01-01 00:00:00 link -> f4
        ");
    }

    #[test]
    fn same_input_same_bytes() {
        assert_eq!(sample(), sample());
    }

    #[test]
    fn entries_begin_at_multiples_of_four() {
        let bytes = sample();
        assert_eq!(bytes.len() % 4, 0);
        let mut found = 0;
        for (at, window) in bytes.windows(6).enumerate() {
            if window == MAGIC.as_bytes() {
                assert_eq!(at % 4, 0, "entry at {at}");
                found += 1;
            }
        }
        assert_eq!(found, 9);
    }
}
