//! The digest of everything that something is made from.

use std::fmt::Debug;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context, bail};

use super::listing::Listing;
use crate::store::{Digest, Hasher};

/// The largest file that is copied into an image or run in it.
pub(super) const MAX_SCRIPT_BYTES: u64 = 1 << 20;

/// Collects what something is made from. Equal calls give equal digests.
pub(super) struct Inputs {
    hasher: Hasher<io::Sink>,
}

impl Inputs {
    /// Begins with what is made, and the version of how.
    pub(super) fn new(what: &str) -> Self {
        let mut inputs = Self {
            hasher: Hasher::new(io::sink()),
        };
        inputs.add("what", what);
        inputs.add("program", env!("CARGO_PKG_VERSION"));
        inputs
    }

    /// Adds bytes under a label.
    pub(super) fn add(&mut self, label: &str, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let head = format!("{label} {}\n", bytes.len());
        for part in [head.as_bytes(), bytes] {
            self.hasher
                .write_all(part)
                .expect("a sink takes everything");
        }
    }

    /// Adds a value of the model. Its debug form is complete, and another one only means that
    /// something is made again.
    pub(super) fn value(&mut self, label: &str, value: &impl Debug) {
        self.add(label, format!("{value:?}"));
    }

    /// Adds a file or directory of the master, with everything in it but times.
    pub(super) fn path(&mut self, label: &str, path: &Path) -> anyhow::Result<()> {
        let failed = || format!("cannot read {}", path.display());
        let metadata = fs::metadata(path).with_context(failed)?;
        if metadata.is_dir() {
            self.add(label, Listing::of(path, "")?.to_string());
        } else if metadata.is_file() {
            let (digest, _) = fs::File::open(path)
                .and_then(Digest::of_reader)
                .with_context(failed)?;
            self.add(label, digest.to_string());
        } else {
            bail!("{} is neither a file nor a directory", path.display());
        }
        Ok(())
    }

    /// The digest.
    pub(super) fn digest(&self) -> Digest {
        self.hasher.digest()
    }
}

/// Reads a script of the master, which has a limit.
pub(super) fn read_script(path: &Path) -> anyhow::Result<Vec<u8>> {
    let failed = || format!("cannot read {}", path.display());
    let size = fs::metadata(path).with_context(failed)?.len();
    if size > MAX_SCRIPT_BYTES {
        bail!(
            "{} is larger than the limit of {MAX_SCRIPT_BYTES} bytes",
            path.display()
        );
    }
    let script = fs::read(path).with_context(failed)?;
    if !script.starts_with(b"#!") {
        bail!(
            "{} does not begin with #!, so nobody knows what runs it; begin it with #!/bin/sh",
            path.display()
        );
    }
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_inputs_have_equal_digests() {
        let of = |pairs: &[(&str, &str)]| {
            let mut inputs = Inputs::new("test");
            for (label, value) in pairs {
                inputs.add(label, value);
            }
            inputs.digest()
        };
        assert_eq!(of(&[("a", "1")]), of(&[("a", "1")]));
        let others = [
            of(&[("a", "1"), ("b", "2")]),
            of(&[("a", "1 2"), ("b", "")]),
            of(&[("a", "1\nb 1\n2")]),
            of(&[("b", "2"), ("a", "1")]),
        ];
        for (index, one) in others.iter().enumerate() {
            assert!(!others[..index].contains(one), "{index}");
        }
    }
}
