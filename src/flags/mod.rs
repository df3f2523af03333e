//! The command line: its one definition and its parser.
//!
//! `table` declares every flag of `regexctl run` once, as a [`Flag`]: its names, the
//! name that undoes it, its value, its help, and the function that applies it to
//! [`RunArgs`]. The parser, `--help`, the completions and the manual page are all made
//! from that table; nothing about a flag is said in a second place.
//!
//! clap splits the command line and reports what it cannot read. What the flags mean is
//! settled afterwards, by applying them **in the order they were typed**: so `-i -s` is
//! case-sensitive and `-s -i` is not, as in ripgrep, whose names and meanings these are. The flags of the
//! configuration file are applied first, so the command line has the last word.
//!
//! Invariants:
//! - names are ripgrep's wherever ripgrep has the flag; a flag of our own never has a
//!   name that ripgrep uses for something else;
//! - parsing reads no file, no environment and no terminal. That is [`crate::job`]'s.

mod args;
mod command;
mod flag;
mod parse;
mod table;
pub(crate) mod value;

pub use args::{
    Binary, Boundary, CaseMode, ColorChoice, Context, FileType, FilesFrom, Master, Mode, NodesArgs,
    PatternSource, RunArgs, SearchMode, Sort,
};
pub use command::{Shell, command};
pub use flag::{ApplyValue, Flag, Form, Undo, ValueForm};
pub use parse::{Action, Typed, parse};
pub use table::{Group, groups};
pub use value::{Mapping, mapping};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_rg;
