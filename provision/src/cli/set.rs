//! Choosing nodes on a command line.

use anyhow::Context as _;

use super::output::tell;
use crate::model::{Cluster, Node};
use crate::nodeset::{NodeSet, SelectError, States};
use crate::serve::{Answer, ask, states};

/// How sets of nodes are written, for `after_help`.
pub const SET_HELP: &str = "\
Sets of nodes:
  s3  s[0-9]  rack[1-4]n[01-24]  s[1,3,5-7]   names and ranges
  s[0-9],t1                                   one or the other
  @all  @up  @down                            all; by what `status` knows
  @TAG  @image=NAME  @profile=NAME            by what cluster.toml says
  rack1n[01-24]&@down                         both at once
  @all,!s3  or  @all -x s3                    all but one
Put quotes around a set: to the shell, brackets, ! and & mean something else.";

/// What is said where a set holds no node, so that nothing is done.
pub(super) const NO_NODE: &str = "regex-provision: no node is meant; nothing was done\n";

/// Some nodes, which must be named.
#[derive(Debug, Clone, clap::Args)]
pub struct SetArgs {
    /// The nodes: names, ranges such as s[0-9], @TAG, @image=NAME, @profile=NAME, @all, @up, @down
    #[arg(value_name = "NODES", required = true)]
    pub nodes: NodeSet,

    /// The nodes that are left out.
    #[command(flatten)]
    pub exclude: ExcludeArgs,
}

impl SetArgs {
    /// The nodes of the cluster that are meant, in its order.
    pub fn select<'c>(&self, cluster: &'c Cluster) -> anyhow::Result<Vec<&'c Node>> {
        self.exclude.select(Some(&self.nodes), cluster)
    }
}

/// The nodes that are left out.
#[derive(Debug, Clone, clap::Args)]
pub struct ExcludeArgs {
    /// Leave these nodes out; may be given several times
    #[arg(long, short = 'x', value_name = "NODES")]
    pub exclude: Vec<NodeSet>,
}

impl ExcludeArgs {
    /// The nodes of a set, or all, without those that are left out. Where they are chosen by whether they are up, the boot
    /// endpoint is asked.
    pub fn select<'c>(
        &self,
        nodes: Option<&NodeSet>,
        cluster: &'c Cluster,
    ) -> anyhow::Result<Vec<&'c Node>> {
        let mut sets = nodes.into_iter().chain(&self.exclude);
        if !sets.any(NodeSet::needs_states) {
            return Ok(self.select_by(nodes, cluster, None)?);
        }
        let Answer { status, kept } =
            ask(cluster, None).context("cannot tell which nodes are up")?;
        if let Some(why) = kept {
            tell(&format!(
                "regex-provision: {why}; nodes are chosen by what it has kept\n"
            ));
        }
        Ok(self.select_by(nodes, cluster, Some(&states(&status)))?)
    }

    /// The same, by states that are known.
    pub(super) fn select_by<'c>(
        &self,
        nodes: Option<&NodeSet>,
        cluster: &'c Cluster,
        states: Option<States<'_>>,
    ) -> Result<Vec<&'c Node>, SelectError> {
        let all = NodeSet::all();
        let mut chosen = nodes.unwrap_or(&all).select(cluster, states)?;
        for set in &self.exclude {
            let out = set.select(cluster, states)?;
            let out: std::collections::HashSet<_> = out.iter().map(|node| &node.name).collect();
            chosen.retain(|node| !out.contains(&node.name));
        }
        Ok(chosen)
    }
}
