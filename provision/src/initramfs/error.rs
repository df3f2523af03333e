//! Why there is no initramfs, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why there is no initramfs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("{what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// Not a regular file.
    #[error("{path} is not a regular file")]
    NoFile {
        /// Which.
        path: PathBuf,
    },
    /// Too large to be what it should be.
    #[error("{path} is larger than {limit} bytes")]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// How large it may be.
        limit: u64,
    },
    /// No modules for this kernel.
    #[error(
        "no modules of kernel {release} in the image: neither usr/lib/modules/{release} nor lib/modules/{release} is a directory"
    )]
    NoModules {
        /// The kernel's release.
        release: String,
    },
    /// The modules have no index.
    #[error("{directory} has no {file}; run `depmod -b ROOT RELEASE`")]
    NoIndex {
        /// Where.
        directory: PathBuf,
        /// What is missing.
        file: &'static str,
    },
    /// The index is no index.
    #[error("modules.dep, line {line}: not `FILE.ko: FILE.ko ...` with paths inside the directory")]
    ModulesDep {
        /// The line, from 1.
        line: usize,
    },
    /// A module named in the index is not there.
    #[error("{path} is named in modules.dep and is not in the image; run `depmod -b ROOT RELEASE`")]
    ModuleGone {
        /// Which.
        path: PathBuf,
    },
    /// A module cannot be unpacked, or is none.
    #[error("{path} is not a kernel module: {reason}")]
    BadModule {
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A module that was asked for by name does not exist.
    #[error("kernel {release} has no module {name}: it is neither in modules.dep nor built in")]
    UnknownModule {
        /// The kernel's release.
        release: String,
        /// The name.
        name: String,
    },
    /// A kernel that can mount no root.
    #[error("kernel {release} cannot boot from the network: it has no {what}")]
    Useless {
        /// The kernel's release.
        release: String,
        /// What it lacks.
        what: &'static str,
    },
    /// Firmware that was asked for by name does not exist.
    #[error("the image has no firmware {name} below lib/firmware")]
    UnknownFirmware {
        /// The name.
        name: String,
    },
    /// No busybox.
    #[error(
        "no static x86-64 busybox: put the package busybox-static into the image, or install it here (looked at {})",
        .looked.join(", ")
    )]
    NoBusybox {
        /// Where, and what was wrong.
        looked: Vec<String>,
    },
}

impl Error {
    pub(super) fn io(what: &'static str, path: &Path, source: io::Error) -> Error {
        let path = path.into();
        Error::Io { what, path, source }
    }
}
