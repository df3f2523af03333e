//! Reading a `cluster.toml` from the disk.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Checked, Cluster, MAX_FILE_BYTES, Problems, check};

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// It.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not right. Display names the count; the caller prints the problems.
    #[error("{} {} in {}; nothing was done", .problems.errors(), mistakes(.problems), .path.display())]
    Problems {
        /// It.
        path: PathBuf,
        /// What it holds.
        text: String,
        /// All that is wrong.
        problems: Problems,
    },
}

fn mistakes(problems: &Problems) -> &'static str {
    if problems.errors() == 1 {
        "mistake"
    } else {
        "mistakes"
    }
}

/// Reads and checks a file. Warnings are left to `regex-provision check`.
pub fn load(path: &Path) -> Result<Cluster, LoadError> {
    let text = read(path)?;
    parse(&text).map_err(|problems| LoadError::Problems {
        path: path.to_owned(),
        text,
        problems,
    })
}

/// Checks the text of a `cluster.toml`.
pub fn parse(text: &str) -> Result<Cluster, Problems> {
    let Checked { cluster, problems } = check(text);
    cluster.ok_or(problems)
}

/// Reads the text of a file, as far as one byte behind the limit, which the check then reports.
pub fn read(path: &Path) -> Result<String, LoadError> {
    let error = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(error)?;
    let mut limited = file.take(MAX_FILE_BYTES as u64 + 1);
    limited.read_to_end(&mut bytes).map_err(error)?;
    String::from_utf8(bytes).map_err(|bad| {
        let at = bad.utf8_error().valid_up_to();
        let line = bad.as_bytes()[..at].split(|&b| b == b'\n').count();
        let what = format!("line {line} is not UTF-8; save the file as UTF-8");
        error(io::Error::new(io::ErrorKind::InvalidData, what))
    })
}
