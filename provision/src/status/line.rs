//! What is kept of machines, line by line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::words::text;
use super::{At, Boot, Duplicate, Means, Unknown, Unreached};
use crate::model::MacAddr;

/// One change. A later line stands in the stead of an earlier one about the same thing, so a
/// line that is read twice does no harm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// A boot of a node is like this now.
    Boot {
        /// The node.
        #[serde(with = "text")]
        mac: MacAddr,
        /// The boot.
        boot: Box<Boot>,
    },
    /// Two machines have the node's address.
    Duplicate {
        /// The node.
        #[serde(with = "text")]
        mac: MacAddr,
        /// What was seen.
        duplicate: Duplicate,
    },
    /// By what a node was not reached the last time; nothing, if all was well.
    Unreached {
        /// The node.
        #[serde(with = "text")]
        mac: MacAddr,
        /// By what, and why.
        unreached: BTreeMap<Means, Unreached>,
        /// When that was last tried, by what, and whatever came of it.
        #[serde(default)]
        tried: BTreeMap<Means, At>,
    },
    /// An unknown machine is like this now.
    Unknown(Unknown),
    /// A machine is forgotten.
    Forget {
        /// Which.
        #[serde(with = "text")]
        mac: MacAddr,
    },
}
