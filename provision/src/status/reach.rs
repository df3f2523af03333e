//! Whether nodes are reached from the master's side: by what switches them, and over ssh. The commands that try it tell.

use serde::{Deserialize, Serialize};

use super::words::text;
use super::{At, Words};
use crate::model::MacAddr;

/// The most nodes in one message of a command.
pub const MAX_TRIED: usize = 64;

/// The largest such message, in bytes: that many nodes, each with as many words as are kept.
pub const MAX_TRIED_BYTES: usize = 64 << 10;

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

#[cfg(test)]
mod tests {
    use super::super::MAX_WORDS;
    use super::*;

    #[test]
    fn what_a_command_has_to_tell_fits_into_a_message() {
        // As JSON, each takes two bytes.
        let words = Words::new(&"\"".repeat(MAX_WORDS));
        let node = TriedNode {
            mac: "52:54:00:00:00:01".parse().expect("an address"),
            problem: Some(words),
        };
        let tried = Tried {
            means: Means::Power,
            nodes: vec![node; MAX_TRIED],
        };
        let body = serde_json::to_vec(&tried).expect("it can be written");
        assert!(body.len() <= MAX_TRIED_BYTES, "{}", body.len());
    }
}
