//! What can go wrong with what is on disk.

use std::io;
use std::path::{Path, PathBuf};

use super::Digest;
use crate::model::ImageName;

/// Why the store could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried, as in "cannot ...".
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else's directory.
    #[error(
        "{} holds {holds}, which is not ours, and is no directory of images and generations; name one of their own, \
         which is made if it is not there, such as /var/lib/regex-provision",
        .root.display()
    )]
    NotAStore {
        /// The directory.
        root: PathBuf,
        /// Something in it.
        holds: String,
    },
    /// There is no store yet.
    #[error(
        "there are no images and generations in {}; `regex-provision image build` and `apply` make them, and --directory, \
         or --store of `image`, names another directory",
        .0.display()
    )]
    NoStore(PathBuf),
    /// Another command is changing the store.
    #[error("{} is being changed by another regex-provision{}; try again when that has ended", .root.display(), by_whom(*.holder))]
    Locked {
        /// The store.
        root: PathBuf,
        /// The other process, if it said who it is.
        holder: Option<u32>,
    },
    /// A file's content is not what its name says.
    #[error("{} is damaged: its digest is {found}; build the image again", .path.display())]
    Altered {
        /// Which file.
        path: PathBuf,
        /// What its bytes make.
        found: Digest,
    },
    /// A file is larger than any of its kind.
    #[error("{} is larger than the limit of {limit} bytes", .path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// What it may have.
        limit: u64,
    },
    /// A manifest is not one that this version understands.
    #[error("{} is no manifest of an image that this version understands", .path.display())]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A manifest names what is not there.
    #[error("the image names {what} {digest}, which {} does not hold; build it again", .root.display())]
    Missing {
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        digest: Digest,
        /// The store.
        root: PathBuf,
    },
    /// The link of a published image leads elsewhere.
    #[error("{} leads to {}, which is no manifest; remove it and build the image again", .path.display(), .target.display())]
    NotALink {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// Nothing was published under this name.
    #[error("there is no image {name}; {}", what_there_is(.known))]
    NoImage {
        /// The name.
        name: ImageName,
        /// The names that exist.
        known: Vec<ImageName>,
    },
}

impl StoreError {
    /// The system refused to do something with a path.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.as_ref().to_owned(),
            source,
        }
    }
}

fn by_whom(holder: Option<u32>) -> String {
    holder.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

fn what_there_is(names: &[ImageName]) -> String {
    if names.is_empty() {
        return "make one with `regex-provision image build` or `image import`".to_owned();
    }
    let names: Vec<_> = names.iter().map(ImageName::as_str).collect();
    format!("there is {}", names.join(", "))
}
