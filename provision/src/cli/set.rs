//! Choosing nodes on a command line.

use crate::model::{Cluster, Node};
use crate::nodeset::{NodeSet, SelectError, States};

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
    pub fn select<'c>(
        &self,
        cluster: &'c Cluster,
        states: Option<States<'_>>,
    ) -> Result<Vec<&'c Node>, SelectError> {
        self.exclude.select(Some(&self.nodes), cluster, states)
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
    /// The nodes of a set, or all, without those that are left out.
    pub fn select<'c>(
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
