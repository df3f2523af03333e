//! Host lists become nodes of a `cluster.toml`.
//!
//! The new text is checked as a whole; a mistake in a node that was added is told with its
//! place in the list, where it can be corrected.

use std::fmt;

use crate::edit::{EditError, add_nodes};
use crate::hosts::{self, Placed};
use crate::model::{self, NodeEntry, Problems, ProfileName, Severity};

/// The text with the nodes of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The whole new file.
    pub text: String,
    /// What was added.
    pub nodes: Vec<NodeEntry>,
}

/// Why nothing is imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The list itself is not right.
    #[error("the list is not right")]
    List(Vec<hosts::Problem>),
    /// The cluster was not right before.
    #[error("the cluster is not right")]
    Before(Problems),
    /// With these nodes it would not be right.
    #[error("the nodes do not fit into the cluster")]
    After {
        /// At most [`model::MAX_PROBLEMS`].
        misfits: Vec<Misfit>,
        /// How many more there are.
        omitted: usize,
    },
    /// The nodes cannot be written into the file.
    #[error(transparent)]
    Edit(#[from] EditError),
}

/// A mistake in a node of the list, or one that it causes elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Line and column in the list, from 1; none if it is not in the list.
    pub place: Option<(usize, usize)>,
    /// What is wrong, and what to do.
    pub message: String,
}

/// `LINE:COLUMN: MESSAGE`
impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Adds the nodes of a host list to the text of a `cluster.toml`.
pub fn import(
    text: &str,
    list: &[u8],
    profile: Option<&ProfileName>,
) -> Result<Imported, ImportError> {
    let placed = hosts::parse_placed(list);
    // The file may lack nothing but the nodes, so it is checked before.
    let before = model::check(text);
    let placed = match (placed, before.cluster) {
        (_, None) => return Err(ImportError::Before(before.problems)),
        (Err(problems), _) => return Err(ImportError::List(problems)),
        (Ok(placed), Some(_)) => placed,
    };
    let nodes: Vec<NodeEntry> = placed.iter().map(|placed| placed.node.clone()).collect();
    if nodes.is_empty() {
        let text = text.to_owned();
        return Ok(Imported { text, nodes });
    }
    let text = match add_nodes(text, &nodes, profile) {
        Err(EditError::Exists(name)) => {
            let misfits = vec![exists(&placed, &name)];
            return Err(ImportError::After {
                misfits,
                omitted: 0,
            });
        }
        other => other?,
    };
    match model::parse(&text) {
        Ok(_) => Ok(Imported { text, nodes }),
        Err(problems) => {
            let misfits = misfits(&text, &placed, &problems);
            let omitted = problems.errors() - misfits.len();
            Err(ImportError::After { misfits, omitted })
        }
    }
}

fn exists(placed: &[Placed], name: &str) -> Misfit {
    let is_it = |placed: &&Placed| placed.node.hostname.as_str() == name;
    let place = placed.iter().find(is_it).map(|p| (p.line, p.columns[0]));
    let message = format!("node {name} is in the cluster already; a node has one section");
    Misfit { place, message }
}

/// The problems of the new text, with their places in the list.
fn misfits(text: &str, placed: &[Placed], problems: &Problems) -> Vec<Misfit> {
    // The nodes of the list are the last ones, and each begins with its name.
    let begins = model::node_lines(text);
    let begins = &begins[begins.len().saturating_sub(placed.len())..];
    let errors = problems
        .list
        .iter()
        .filter(|p| p.severity == Severity::Error);
    let misfit = |problem: &model::Problem| {
        let at = begins.partition_point(|&line| line <= problem.line);
        let node = at.checked_sub(1).map(|at| (&placed[at], begins[at]));
        let place = node.map(|(placed, begin)| {
            // Name, address and Ethernet address follow each other, a line each.
            let column = placed.columns.get(problem.line - begin);
            (placed.line, *column.unwrap_or(&placed.columns[0]))
        });
        let file = match problem.related {
            Some((line, _)) if problem.what.ends_with(&format!("in line {line}")) => {
                " of cluster.toml"
            }
            _ => "",
        };
        Misfit {
            place,
            message: format!("{}{file}; {}", problem.what, problem.fix),
        }
    };
    errors.map(misfit).collect()
}
