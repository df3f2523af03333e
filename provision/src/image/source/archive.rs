//! Tar archives, plain or compressed, told apart by their first bytes.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use anyhow::{Context, bail};

use super::super::inside;
use super::super::root::Root;

/// Where tar says that it is tar.
const TAR_MAGIC: std::ops::Range<usize> = 257..262;

/// A block of tar.
const BLOCK_BYTES: u64 = 512;

/// Unpacks an archive of a root.
pub(super) fn unpack(root: &Root, path: &Path) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let archive = plain(file).with_context(|| format!("cannot read {}", path.display()))?;
    inside::unpack(root, archive, false)
        .map(drop)
        .with_context(|| format!("cannot unpack {}", path.display()))
}

/// The archive without its compression.
pub(super) fn plain(file: impl Read + Send + 'static) -> anyhow::Result<Box<dyn Read + Send>> {
    let mut file = BufReader::with_capacity(1 << 18, file);
    let mut head = Vec::new();
    file.by_ref().take(BLOCK_BYTES).read_to_end(&mut head)?;
    let is_tar = head.get(TAR_MAGIC).is_some_and(|magic| magic == b"ustar");
    let kind = match &head[..] {
        _ if is_tar => Kind::Plain,
        [0x1f, 0x8b, ..] => Kind::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Kind::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Kind::Xz,
        [b'B', b'Z', b'h', ..] => {
            bail!("it is compressed with bzip2; pack it again with gzip, xz or zstd")
        }
        // An archive without entries is all zeros.
        _ if head.iter().all(|&byte| byte == 0) && !head.is_empty() => Kind::Plain,
        _ => bail!("it is no tar archive, neither plain nor packed with gzip, xz or zstd"),
    };
    let whole = Cursor::new(head).chain(file);
    Ok(match kind {
        Kind::Plain => Box::new(whole),
        Kind::Gzip => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        Kind::Xz => Box::new(lzma_rust2::XzReader::new(whole, true)),
        Kind::Zstd => Box::new(zstd::Decoder::new(whole)?),
    })
}

enum Kind {
    Plain,
    Gzip,
    Xz,
    Zstd,
}
