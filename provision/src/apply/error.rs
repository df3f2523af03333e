//! What can go wrong with a plan, an apply or a rollback.

use std::io;
use std::path::PathBuf;

use super::generation::GenerationError;
use super::services::ServiceError;
use crate::store::StoreError;

/// Why a plan was not made, or not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Only root may change the system.
    #[error(
        "only root may change this system; run it with sudo, or set up a directory that stands for a root with --root DIR"
    )]
    NotRoot,
    /// Something keeps the description from being applied.
    #[error("this cannot be applied:{}", lines(.0))]
    Obstacles(Vec<String>),
    /// Daemons refuse their files. Nothing was changed.
    #[error("nothing was changed, for a daemon refuses its new file:{}", lines(.0))]
    Refused(Vec<String>),
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
    /// A change failed before it took place.
    #[error(transparent)]
    Step(#[from] io::Error),
    /// A service is not as it should be.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A generation cannot be read.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The switch failed, and everything is as it was.
    #[error("the switch to generation {to} failed, and everything is as it was before")]
    Restored {
        /// The generation that was to be.
        to: u32,
        /// What failed.
        source: Box<ApplyError>,
    },
    /// The switch failed, and so did restoring.
    #[error(
        "the switch to generation {to} failed, and not everything could be restored; correct the reason and run `regex-provision apply` or `rollback` again:{}",
        lines(.left)
    )]
    NotRestored {
        /// The generation that was to be.
        to: u32,
        /// What failed.
        source: Box<ApplyError>,
        /// What is not as it was.
        left: Vec<String>,
    },
}

impl ApplyError {
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        Self::Io {
            action,
            path,
            source,
        }
    }
}

fn lines(of: &[String]) -> String {
    of.iter().flat_map(|line| ["\n  ", line]).collect()
}
