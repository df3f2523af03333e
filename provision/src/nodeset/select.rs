//! From an expression to the nodes of a cluster.

use std::collections::BTreeSet;

use super::{Factor, NodeSet, Term, fold};
use crate::model::{Cluster, Node};

/// Whether a node is there, as far as `status` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It has booted and was heard of lately.
    Up,
    /// It was switched off, or was not heard of for long.
    Down,
}

/// What tells the states of nodes: none for a node that nothing is known of.
pub type States<'a> = &'a dyn Fn(&Node) -> Option<State>;

/// Why a set means no nodes of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// Names that no node has.
    #[error("no node is named {names}; {}", known(.cluster))]
    UnknownNodes {
        /// Them, by ranges.
        names: String,
        /// All that there are, by ranges.
        cluster: String,
    },
    /// A tag that no node has.
    #[error("no node has the tag {tag}; {}", or_none("tags", .tags))]
    UnknownTag {
        /// It.
        tag: String,
        /// Those that there are.
        tags: String,
    },
    /// An image that is not in the cluster.
    #[error("there is no image {image}; {}", or_none("images", .images))]
    UnknownImage {
        /// It.
        image: String,
        /// Those that there are.
        images: String,
    },
    /// A profile that is not used in the cluster.
    #[error("no node has the profile {profile}; {}", or_none("profiles", .profiles))]
    UnknownProfile {
        /// It.
        profile: String,
        /// Those that there are.
        profiles: String,
    },
    /// `@up` or `@down` where nothing is known of states.
    #[error("@up and @down are not known here; name the nodes")]
    NoStates,
}

fn known(cluster: &str) -> String {
    /// The longest list in a message, in bytes.
    const MOST: usize = 300;
    if cluster.is_empty() {
        "the cluster has no nodes yet, add some to cluster.toml".into()
    } else if cluster.len() > MOST {
        "`regex-provision node list` shows them".into()
    } else {
        format!("the nodes are {cluster}")
    }
}

fn or_none(what: &str, list: &str) -> String {
    if list.is_empty() {
        format!("there are no {what}")
    } else {
        format!("the {what} are: {list}")
    }
}

impl NodeSet {
    /// Whether it chooses by who is up.
    pub fn needs_states(&self) -> bool {
        let mut factors = self.terms.iter().flat_map(|term| &term.factors);
        factors.any(|factor| matches!(factor, Factor::State(_)))
    }

    /// The nodes of the cluster that the set means, in the order of the cluster, each once. A
    /// set of exclusions alone means all nodes but those. `states` tells which nodes are up; none
    /// where a command cannot know.
    ///
    /// The result may be empty: `@down` when all are up.
    pub fn select<'c>(
        &self,
        cluster: &'c Cluster,
        states: Option<States<'_>>,
    ) -> Result<Vec<&'c Node>, SelectError> {
        let nodes = cluster.nodes();
        let only_excluded = self.terms.iter().all(|term| term.excluded);
        let mut chosen = vec![only_excluded && !self.terms.is_empty(); nodes.len()];
        // First what is wanted, then what is not, whatever the order they are written in.
        for excluded in [false, true] {
            for term in self.terms.iter().filter(|term| term.excluded == excluded) {
                let meant = term.select(cluster, states)?;
                for (chosen, meant) in chosen.iter_mut().zip(meant) {
                    *chosen = if excluded {
                        *chosen && !meant
                    } else {
                        *chosen || meant
                    };
                }
            }
        }
        let chosen = nodes.iter().zip(chosen).filter(|(_, chosen)| *chosen);
        Ok(chosen.map(|(node, _)| node).collect())
    }
}

impl Term {
    /// For each node whether all factors mean it.
    fn select(
        &self,
        cluster: &Cluster,
        states: Option<States<'_>>,
    ) -> Result<Vec<bool>, SelectError> {
        let mut all = vec![true; cluster.nodes().len()];
        for factor in &self.factors {
            let meant = factor.select(cluster, states)?;
            all.iter_mut()
                .zip(meant)
                .for_each(|(all, meant)| *all &= meant);
        }
        Ok(all)
    }
}

impl Factor {
    fn select(
        &self,
        cluster: &Cluster,
        states: Option<States<'_>>,
    ) -> Result<Vec<bool>, SelectError> {
        let nodes = cluster.nodes();
        let by = |is_meant: &dyn Fn(&Node) -> bool| nodes.iter().map(is_meant).collect::<Vec<_>>();
        match self {
            Self::All => Ok(vec![true; nodes.len()]),
            Self::Names(pattern) => {
                let mut meant = vec![false; nodes.len()];
                let mut unknown = Vec::new();
                for name in pattern.expand() {
                    match cluster.position(&name) {
                        Some(at) => meant[at] = true,
                        None => unknown.push(name),
                    }
                }
                if unknown.is_empty() {
                    return Ok(meant);
                }
                Err(SelectError::UnknownNodes {
                    names: fold(unknown),
                    cluster: fold(nodes.iter().map(|node| node.name.as_str())),
                })
            }
            Self::State(state) => {
                let states = states.ok_or(SelectError::NoStates)?;
                Ok(by(&|node| states(node) == Some(*state)))
            }
            Self::Tag(tag) => {
                let meant = by(&|node| node.settings.tags.contains(tag));
                if meant.contains(&true) {
                    return Ok(meant);
                }
                let tags = nodes.iter().flat_map(|node| &node.settings.tags);
                Err(SelectError::UnknownTag {
                    tag: tag.to_string(),
                    tags: listed(tags),
                })
            }
            Self::Image(image) if cluster.images.contains_key(image) => {
                Ok(by(&|node| node.settings.image == *image))
            }
            Self::Image(image) => Err(SelectError::UnknownImage {
                image: image.to_string(),
                images: listed(cluster.images.keys()),
            }),
            Self::Profile(profile) => {
                let meant = by(&|node| node.settings.profiles.contains(profile));
                if meant.contains(&true) {
                    return Ok(meant);
                }
                let profiles = nodes.iter().flat_map(|node| &node.settings.profiles);
                Err(SelectError::UnknownProfile {
                    profile: profile.to_string(),
                    profiles: listed(profiles),
                })
            }
        }
    }
}

/// Each once, sorted, with commas.
fn listed<T: Ord + ToString>(items: impl Iterator<Item = T>) -> String {
    let items: BTreeSet<T> = items.collect();
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
