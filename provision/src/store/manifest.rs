//! One image as it was built.

use serde::{Deserialize, Serialize};

use super::Digest;
use crate::model::ImageName;

/// The format of manifests that this version writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// The largest manifest; one of 2,000 packages has some 200 KB.
pub const MAX_MANIFEST_BYTES: u64 = 8 << 20;

/// One image as it was built. The SHA-256 of its canonical JSON ([`Manifest::to_bytes`]) is the
/// image's digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The name that it was built under.
    #[serde(with = "text")]
    pub image: ImageName,
    /// Seconds since 1970: `SOURCE_DATE_EPOCH`, or when it was built.
    pub created: u64,
    /// Such as `6.1.0-37-amd64`: the directory in /lib/modules.
    pub kernel_version: String,
    /// The kernel.
    pub kernel: Artifact,
    /// The small initramfs, which fetches or mounts the root.
    pub initramfs: Artifact,
    /// What the initramfs holds.
    pub initramfs_contents: InitramfsContents,
    /// The packed root.
    pub root: Root,
    /// The whole root as an initramfs; made where a node boots in that mode.
    pub ramdisk: Option<Artifact>,
    /// The unpacked root in `trees/`, by the digest of the packed one; made where a node takes
    /// its root or its /usr over NFS.
    pub tree: Option<Digest>,
    /// The same less what is below /usr, for nodes that take that over NFS.
    pub without_usr: Option<WithoutUsr>,
    /// Each path of the root with its kind, mode, owner, size and digest: what `image show` and
    /// `image diff` read.
    pub listing: Artifact,
    /// The installed Debian packages, sorted by name.
    pub packages: Vec<Package>,
    /// regex-worker, if it is in the image.
    pub worker: Option<Worker>,
    /// The digest of everything that the image was made from.
    pub inputs: Digest,
}

/// An immutable file in `artifacts/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Its digest, which is its name.
    pub sha256: Digest,
    /// How many bytes it has.
    pub size: u64,
}

/// What the small initramfs of an image holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitramfsContents {
    /// Its modules, without `.ko`, sorted.
    pub modules: Vec<String>,
    /// Its firmware files, relative to /lib/firmware, sorted.
    pub firmware: Vec<String>,
}

/// A packed root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// The file system.
    pub format: RootFormat,
    /// Its digest.
    pub sha256: Digest,
    /// How many bytes it has.
    pub size: u64,
    /// How many bytes the files in it have.
    pub unpacked: u64,
    /// How many entries it has.
    pub entries: u64,
}

/// What nodes boot that take /usr over NFS: a root in which it is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithoutUsr {
    /// Packed.
    pub root: Artifact,
    /// As an initramfs; made where a node boots in that mode.
    pub ramdisk: Option<Artifact>,
}

/// The file system of a packed root. Written as `rp.format` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootFormat {
    /// squashfs, zstd.
    Squashfs,
    /// erofs, lz4hc.
    Erofs,
}

impl RootFormat {
    /// The word for `rp.format`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
        }
    }
}

/// An installed Debian package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How many bytes its files have in the image.
    pub size: u64,
}

/// The regex-worker in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// What `regex-worker --version` says, without the name.
    pub version: String,
    /// The digest of the program.
    pub sha256: Digest,
    /// How many bytes the program has.
    pub size: u64,
}

impl Manifest {
    /// Reads one.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        /// The one field that every format has.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(bytes)?;
        if format != FORMAT {
            return Err(serde::de::Error::custom(format!(
                "its format is {format}, this version reads {FORMAT}; build the image again"
            )));
        }
        serde_json::from_slice(bytes)
    }

    /// Its canonical form: equal manifests give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes =
            serde_json::to_vec_pretty(self).expect("text, numbers and lists can always be written");
        bytes.push(b'\n');
        bytes
    }

    /// The artifacts that it names.
    pub fn artifacts(&self) -> impl Iterator<Item = Digest> {
        [
            Some(self.kernel.sha256),
            Some(self.initramfs.sha256),
            Some(self.root.sha256),
            Some(self.listing.sha256),
            self.ramdisk.map(|ramdisk| ramdisk.sha256),
            self.without_usr.map(|without| without.root.sha256),
            self.without_usr
                .and_then(|without| without.ramdisk)
                .map(|ramdisk| ramdisk.sha256),
        ]
        .into_iter()
        .flatten()
    }
}

/// Values of the model, written as text.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S, T>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        T: Display,
    {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}
