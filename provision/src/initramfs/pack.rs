//! From files to the bytes that a kernel unpacks, and from packed modules to plain ones.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

use super::Error;
use super::cpio::{Kind, Meta, Writer};
use super::inside::Inside;

/// How hard zstd tries on the small initramfs: 19 would save 1 MB of 10 and take 20 s.
const LEVEL: i32 = 9;

/// The largest module when unpacked, 256 MiB.
const LARGEST_MODULE: u64 = 256 << 20;

/// The plain bytes of a module, by the end of its file's name.
pub(super) fn unpacked(file: &str, packed: Vec<u8>) -> Result<Vec<u8>, String> {
    let reader: Box<dyn Read + '_> = match file.rsplit_once('.').map(|(_, end)| end) {
        Some("xz") => Box::new(lzma_rust2::XzReader::new(&packed[..], true)),
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(&packed[..])),
        Some("zst") => {
            Box::new(zstd::Decoder::new(&packed[..]).map_err(|error| error.to_string())?)
        }
        _ => return Ok(packed),
    };
    let mut plain = Vec::with_capacity(packed.len() * 4);
    reader
        .take(LARGEST_MODULE + 1)
        .read_to_end(&mut plain)
        .map_err(|error| format!("cannot unpack it: {error}"))?;
    if plain.len() as u64 > LARGEST_MODULE {
        return Err(format!(
            "unpacked, it is larger than {LARGEST_MODULE} bytes"
        ));
    }
    Ok(plain)
}

/// How a kernel wants its initramfs compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packer {
    /// What kernels since 5.9 unpack, with a checksum.
    Zstd,
    /// What every kernel unpacks.
    Gzip,
}

impl Packer {
    /// By what the kernel was configured with. Where that is not told, zstd.
    pub(super) fn of_kernel(inside: &Inside, release: &str) -> Result<Packer, Error> {
        let config = inside.read(&Path::new("boot").join(format!("config-{release}")))?;
        let Some(config) = config else {
            return Ok(Packer::Zstd);
        };
        let has_zstd = config
            .split(|&byte| byte == b'\n')
            .any(|line| line == b"CONFIG_RD_ZSTD=y");
        Ok(if has_zstd { Packer::Zstd } else { Packer::Gzip })
    }

    /// Lets `write` write what is to be packed.
    pub(super) fn pack<W: Write>(
        self,
        out: W,
        level: i32,
        write: impl FnOnce(&mut dyn Write) -> Result<(), Error>,
    ) -> Result<W, Error> {
        match self {
            Packer::Zstd => {
                let mut encoder = zstd::Encoder::new(out, level).map_err(Error::Write)?;
                encoder.include_checksum(true).map_err(Error::Write)?;
                write(&mut encoder)?;
                encoder.finish().map_err(Error::Write)
            }
            Packer::Gzip => {
                // The header holds neither a name nor a time.
                let best = flate2::Compression::best();
                let mut encoder = flate2::write::GzEncoder::new(out, best);
                write(&mut encoder)?;
                encoder.finish().map_err(Error::Write)
            }
        }
    }
}

/// What an archive is to hold, by name. Parents come by themselves.
#[derive(Debug, Default)]
pub(super) struct Tree {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    Directory(u32),
    File(u32, Vec<u8>),
    Link(String),
    Device(u32, (u32, u32)),
}

impl Tree {
    pub(super) fn directory(&mut self, name: &str, mode: u32) {
        self.put(name, Entry::Directory(mode));
    }

    pub(super) fn file(&mut self, name: &str, mode: u32, bytes: impl AsRef<[u8]>) {
        self.put(name, Entry::File(mode, bytes.as_ref().to_vec()));
    }

    pub(super) fn link(&mut self, name: &str, target: &str) {
        self.put(name, Entry::Link(target.to_owned()));
    }

    pub(super) fn device(&mut self, name: &str, mode: u32, numbers: (u32, u32)) {
        self.put(name, Entry::Device(mode, numbers));
    }

    fn put(&mut self, name: &str, entry: Entry) {
        for (at, _) in name.match_indices('/') {
            let parent = &name[..at];
            if !self.entries.contains_key(parent) {
                self.entries
                    .insert(parent.to_owned(), Entry::Directory(0o755));
            }
        }
        self.entries.insert(name.to_owned(), entry);
    }

    /// Writes all entries, parents before what is in them.
    pub(super) fn write<W: Write>(&self, writer: &mut Writer<W>) -> Result<(), Error> {
        for (name, entry) in &self.entries {
            let (mode, kind) = match entry {
                Entry::Directory(mode) => (*mode, Kind::Directory),
                Entry::File(mode, bytes) => (*mode, Kind::File(bytes)),
                Entry::Link(target) => (0o777, Kind::Symlink(target.as_bytes())),
                Entry::Device(mode, (major, minor)) => (*mode, Kind::CharDevice(*major, *minor)),
            };
            writer
                .add(name.as_bytes(), Meta::root(mode), kind)
                .map_err(Error::Write)?;
        }
        Ok(())
    }

    /// The archive's size, and the archive packed.
    pub(super) fn pack(&self, packer: Packer) -> Result<(u64, Vec<u8>), Error> {
        let mut writer = Writer::new(Vec::new());
        self.write(&mut writer)?;
        let archive = writer.finish().map_err(Error::Write)?;
        let packed = packer.pack(Vec::new(), LEVEL, |out| {
            out.write_all(&archive).map_err(Error::Write)
        })?;
        Ok((archive.len() as u64, packed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_unpacked_whatever_they_are_packed_with() {
        let plain = b"module ".repeat(1000);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gz.write_all(&plain).unwrap();
        let gz = gz.finish().unwrap();
        let zst = zstd::encode_all(&plain[..], 3).unwrap();
        let xz = xz(&plain);
        for (file, packed) in [
            ("a.ko", plain.clone()),
            ("a.ko.gz", gz),
            ("a.ko.zst", zst),
            ("a.ko.xz", xz),
        ] {
            assert_eq!(unpacked(file, packed.clone()).unwrap(), plain, "{file}");
            if file != "a.ko" {
                let cut = packed[..packed.len() / 2].to_vec();
                let error = unpacked(file, cut).unwrap_err();
                assert!(error.contains("cannot unpack it"), "{file}: {error}");
            }
        }
    }

    /// Packed by the program itself, with the options that kernels are built with.
    fn xz(plain: &[u8]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, plain).unwrap();
        let out = std::process::Command::new("xz")
            .args(["--check=crc32", "--lzma2=dict=1MiB", "-c"])
            .arg(&path)
            .output()
            .expect("xz-utils is installed");
        assert!(out.status.success());
        out.stdout
    }
}
