//! What we have to know of the file system that something lies on.

use std::sync::{PoisonError, RwLock};

use rustix::fd::AsFd;
use rustix::fs::fstatfs;
use rustix::io::{Errno, retry_on_intr};

/// Kinds of file systems, by what is safe and true on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FsKind {
    /// On a disk or in the memory of this machine. A file there may be mapped, and a short read is
    /// its end.
    Local,
    /// Read through the page cache, so a short read is the end of the file; but mapping is not
    /// safe: NFS, and overlays, whose lower layer may be anything.
    Cached,
    /// The kernel's view of itself: sizes are 0, reads come in pieces, and a read may wait or act.
    Kernel,
    /// Not known, or known to return short reads in the middle: FUSE with direct I/O, CIFS, 9p.
    Other,
}

impl FsKind {
    /// The kind of file system that an open file or directory lies on. A call to the server on
    /// network file systems.
    pub(super) fn of(fd: impl AsFd) -> Result<Self, Errno> {
        let stat = retry_on_intr(|| fstatfs(fd.as_fd()))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the numbers have 32 bits; how wide and whether signed the field is depends on the platform"
        )]
        let magic = stat.f_type as u32;
        Ok(Self::from_magic(magic))
    }

    /// By the numbers of statfs(2) and the kernel's `magic.h`.
    fn from_magic(magic: u32) -> Self {
        match magic {
            0xef53          // ext2, ext3, ext4
            | 0x5846_5342   // xfs
            | 0x9123_683e   // btrfs
            | 0x0102_1994   // tmpfs
            | 0x8584_58f6   // ramfs
            | 0xf2f5_2010   // f2fs
            | 0xca45_1a4e   // bcachefs
            | 0x2fc1_2fc1   // zfs
            | 0x3153_464a   // jfs
            | 0x3434        // nilfs2
            | 0x4d44        // fat
            | 0x2011_bab0   // exfat
            | 0x7366_746e   // ntfs3
            | 0x7371_7368   // squashfs
            | 0xe0f5_e1e2   // erofs
            | 0x28cd_3d45   // cramfs
            | 0x9660        // iso9660
            | 0x1501_3346   // udf
            => Self::Local,
            0x6969          // nfs
            | 0x794c_7630   // overlayfs
            => Self::Cached,
            0x9fa0          // proc
            | 0x6265_6572   // sysfs
            | 0x6462_6720   // debugfs
            | 0x7472_6163   // tracefs
            | 0x7363_6673   // securityfs
            | 0x0027_e0eb   // cgroup
            | 0x6367_7270   // cgroup2
            | 0x6165_676c   // pstore
            | 0x6265_6570   // configfs
            | 0xcafe_4a11   // bpf
            | 0xde5e_81e4   // efivarfs
            | 0xf97c_ff8c   // selinuxfs
            | 0x4341_5d53   // smackfs
            | 0x1cd1        // devpts
            | 0x1980_0202   // mqueue
            | 0x4249_4e4d   // binfmt_misc
            | 0x6573_5543   // fusectl
            | 0x6e73_6673   // nsfs
            | 0x6759_6969   // rpc_pipefs
            | 0x6e66_7364   // nfsd
            | 0x0765_5821   // resctrl
            | 0x6c6f_6f70   // binderfs
            | 0x9fa1        // openpromfs
            | 0xabba_1974   // xenfs
            => Self::Kernel,
            _ => Self::Other,
        }
    }

    /// Whether a read that is not filled has met the end of the file.
    pub(super) fn short_read_is_end(self) -> bool {
        matches!(self, Self::Local | Self::Cached)
    }
}

/// The kinds of the file systems met so far, by device number: asking a network file system for its
/// kind is a call to the server, which is not to be made for every directory.
///
/// A device number means another file system only after the old one was unmounted, which the open
/// directories of a running search prevent.
#[derive(Debug, Default)]
pub(super) struct KnownKinds {
    kinds: RwLock<Vec<(u64, FsKind)>>,
}

impl KnownKinds {
    /// How many are kept; when there are more, all are asked anew.
    const MOST: usize = 64;

    /// The kind of the file system on `device`, of which `fd` is an open file or directory.
    pub(super) fn of(&self, device: u64, fd: impl AsFd) -> Result<FsKind, Errno> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, kind)) = kinds.iter().find(|(known, _)| *known == device) {
            return Ok(*kind);
        }
        drop(kinds);
        let kind = FsKind::of(fd)?;
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() >= Self::MOST {
            kinds.clear();
        }
        kinds.push((device, kind));
        Ok(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_mounted_file_systems() {
        let kind = |path: &str| FsKind::of(std::fs::File::open(path).expect("mounted everywhere"));
        assert_eq!(kind("/proc/self"), Ok(FsKind::Kernel));
        assert_eq!(kind("/sys/kernel"), Ok(FsKind::Kernel));
        assert_eq!(kind("/dev"), Ok(FsKind::Local)); // tmpfs; what is in it is refused by type
    }

    #[test]
    fn only_local_files_are_mapped() {
        assert_eq!(FsKind::from_magic(0x6969), FsKind::Cached);
        assert_eq!(FsKind::from_magic(0x6573_5546), FsKind::Other); // fuse
        assert_eq!(FsKind::from_magic(0xfe53_4d42), FsKind::Other); // smb2
        assert!(FsKind::Cached.short_read_is_end());
        assert!(!FsKind::Kernel.short_read_is_end() && !FsKind::Other.short_read_is_end());
    }
}
