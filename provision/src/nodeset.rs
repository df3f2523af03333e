//! Sets of nodes, as they are written on every command line and in `cluster.toml`.
//!
//! ```text
//! s[0-9]                   names by ranges; rack[1-4]n[01-24] keeps the zeros
//! s[1,3,5-7]  s[0-20/2]    lists, and every second one
//! s1,s3  or  "s1 s3"       one or the other
//! @all                     every node
//! @gpu                     the nodes with a tag
//! @image=base @profile=p   the nodes that boot an image, that a profile applies to
//! @up  @down               by what `status` knows
//! rack[1-4]n[01-24]&@down  both at once; & binds closer than the comma
//! @all,!s3                 less the nodes behind !
//! ```
//!
//! - [`Pattern`] is one name with ranges, and expands to names ([`pattern`]);
//! - [`fold`](fn@fold) turns names back into ranges, for people to read;
//! - [`NodeSet`] is a whole expression; [`NodeSet::select`] gives the nodes of a cluster
//!   that it means, in the order of the cluster.
//!
//! Invariants: nothing here expands to more than [`MAX_EXPANSION`] names; folding names and
//! expanding them again gives the same names; a set that names a node, a tag, an image or a
//! profile that does not exist is an error, never an empty set.

pub mod pattern;

mod fold;
mod select;

use std::fmt;
use std::str::FromStr;

pub use fold::fold;
pub use pattern::{Pattern, PatternError};
pub use select::{SelectError, State, States};

use crate::model::{ImageName, ProfileName, Tag};

/// The most names that one expression expands to.
pub const MAX_EXPANSION: usize = 65_536;

/// The longest expression, in bytes.
pub const MAX_SET_BYTES: usize = 1 << 20;

/// The words behind `@` that are no tags.
pub const RESERVED_TAGS: [&str; 3] = ["all", "up", "down"];

/// An expression for some nodes of a cluster. Parsed, not yet looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSet {
    terms: Vec<Term>,
}

/// What stands between two commas.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    /// Behind `!`.
    excluded: bool,
    /// What `&` joins; at least one.
    factors: Vec<Factor>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Factor {
    Names(Pattern),
    All,
    State(State),
    Tag(Tag),
    Image(ImageName),
    Profile(ProfileName),
}

/// Why a text is no [`NodeSet`], and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}, at character {} of the node set; {fix}", .at + 1)]
pub struct NodeSetError {
    /// In bytes, from 0.
    pub at: usize,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl NodeSet {
    /// Every node.
    pub fn all() -> Self {
        Self {
            terms: vec![Term {
                excluded: false,
                factors: vec![Factor::All],
            }],
        }
    }

    /// The nodes of any of the sets; with none, no node.
    pub fn union(sets: impl IntoIterator<Item = Self>) -> Self {
        let terms = sets.into_iter().flat_map(Self::normalized).collect();
        Self { terms }
    }

    /// Its terms such that they mean the same beside those of another set.
    fn normalized(self) -> Vec<Term> {
        let mut terms = self.terms;
        if !terms.is_empty() && terms.iter().all(|term| term.excluded) {
            terms.insert(
                0,
                Term {
                    excluded: false,
                    factors: vec![Factor::All],
                },
            );
        }
        terms
    }
}

impl FromStr for NodeSet {
    type Err = NodeSetError;

    fn from_str(text: &str) -> Result<Self, NodeSetError> {
        if text.len() > MAX_SET_BYTES {
            return Err(NodeSetError {
                at: MAX_SET_BYTES,
                what: format!("it has {} bytes; the limit is {MAX_SET_BYTES}", text.len()),
                fix: "use ranges or a tag".into(),
            });
        }
        let mut terms = Vec::new();
        let mut names = 0;
        for (at, word) in words(text) {
            let term = term(at, word)?;
            names += term.count();
            if names > MAX_EXPANSION {
                return Err(NodeSetError {
                    at,
                    what: format!("more than {MAX_EXPANSION} names"),
                    fix: "use a tag, or @all".into(),
                });
            }
            terms.push(term);
        }
        if terms.is_empty() {
            return Err(NodeSetError {
                at: 0,
                what: "it is empty".into(),
                fix: "write names such as s[0-9], or @all".into(),
            });
        }
        Ok(Self { terms })
    }
}

/// The names that a list of names and ranges stands for, in order: `s[0-9],t1`. A name that occurs
/// twice is given twice.
pub fn expand(text: &str) -> Result<Vec<String>, NodeSetError> {
    let patterns = patterns(text)?;
    Ok(patterns.iter().flat_map(Pattern::expand).collect())
}

/// The same, before anything is expanded; together at most [`MAX_EXPANSION`] names.
pub fn patterns(text: &str) -> Result<Vec<Pattern>, NodeSetError> {
    let set: NodeSet = text.parse()?;
    let mut patterns = Vec::with_capacity(set.terms.len());
    for (mut term, (at, word)) in set.terms.into_iter().zip(words(text)) {
        match (term.factors.pop(), &term.factors[..]) {
            (Some(Factor::Names(pattern)), []) if !term.excluded => patterns.push(pattern),
            _ => {
                return Err(NodeSetError {
                    at,
                    what: format!("{word} chooses among nodes, and here names are made"),
                    fix: "write names and ranges only, such as s[0-9]".into(),
                });
            }
        }
    }
    Ok(patterns)
}

/// What commas and white space outside of brackets separate, with where it begins.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut depth = 0_i32;
    let mut at = 0;
    text.split(move |c: char| {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        depth <= 0 && (c == ',' || c.is_ascii_whitespace())
    })
    .filter_map(move |word| {
        let begin = at;
        at += word.len() + 1;
        (!word.is_empty()).then_some((begin, word))
    })
}

fn term(at: usize, word: &str) -> Result<Term, NodeSetError> {
    let rest = word.strip_prefix('!');
    let (excluded, mut at, rest) = match rest {
        Some(rest) => (true, at + 1, rest),
        None => (false, at, word),
    };
    let mut factors = Vec::new();
    for text in rest.split('&') {
        factors.push(factor(at, text)?);
        at += text.len() + 1;
    }
    Ok(Term { excluded, factors })
}

fn factor(at: usize, text: &str) -> Result<Factor, NodeSetError> {
    let Some(word) = text.strip_prefix('@') else {
        return Pattern::parse(text)
            .map(Factor::Names)
            .map_err(|error| NodeSetError {
                at: at + error.at,
                what: error.what,
                fix: error.fix,
            });
    };
    let bad = |error: crate::model::NameError| NodeSetError {
        at,
        what: format!("{:?} is no {}", error.text, error.what),
        fix: error.rule.into(),
    };
    Ok(match word.split_once('=') {
        Some(("image", name)) => Factor::Image(name.parse().map_err(bad)?),
        Some(("profile", name)) => Factor::Profile(name.parse().map_err(bad)?),
        Some((key, _)) => {
            return Err(NodeSetError {
                at,
                what: format!("@{key}= is not known"),
                fix: "write @image=NAME, @profile=NAME or @TAG".into(),
            });
        }
        None => match word {
            "all" => Factor::All,
            "up" => Factor::State(State::Up),
            "down" => Factor::State(State::Down),
            tag => Factor::Tag(tag.parse().map_err(bad)?),
        },
    })
}

impl Term {
    /// How many names it expands to.
    fn count(&self) -> usize {
        let count = |factor: &Factor| match factor {
            Factor::Names(pattern) => pattern.count(),
            _ => 0,
        };
        self.factors.iter().map(count).sum()
    }
}

/// As it can be parsed again.
impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let not = if term.excluded { "!" } else { "" };
            write!(f, "{comma}{not}")?;
            for (index, factor) in term.factors.iter().enumerate() {
                let and = if index == 0 { "" } else { "&" };
                write!(f, "{and}{factor}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Names(pattern) => pattern.fmt(f),
            Self::All => f.write_str("@all"),
            Self::State(State::Up) => f.write_str("@up"),
            Self::State(State::Down) => f.write_str("@down"),
            Self::Tag(tag) => write!(f, "@{tag}"),
            Self::Image(name) => write!(f, "@image={name}"),
            Self::Profile(name) => write!(f, "@profile={name}"),
        }
    }
}

#[cfg(test)]
mod tests;
