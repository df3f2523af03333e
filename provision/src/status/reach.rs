//! Whether nodes are reached from the master's side: by what switches them, and over ssh. The commands that try it tell.

use serde::{Deserialize, Serialize};

use super::words::text;
use super::{At, Words};
use crate::model::MacAddr;

/// The most nodes in one message of a command.
pub const MAX_TRIED: usize = 1000;

/// By what a node was to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Means {
    /// Its BMC, or whatever else switches it.
    Power,
    /// Its sshd.
    Ssh,
}

impl Means {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Ssh => "ssh",
        }
    }
}

/// A node that was not reached the last time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreached {
    /// When.
    pub at: At,
    /// Why.
    pub words: Words,
}

/// What a command has tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// By what.
    pub means: Means,
    /// With whom; at most [`MAX_TRIED`].
    pub nodes: Vec<TriedNode>,
}

/// What came of it for one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriedNode {
    /// The node.
    #[serde(with = "text")]
    pub mac: MacAddr,
    /// Why it was not reached; none if it was.
    pub problem: Option<Words>,
}
