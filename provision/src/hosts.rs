//! Host lists: a text file with one node a line.
//!
//! ```text
//! # name  address    Ethernet address
//! n001    10.0.0.1   52:54:00:00:00:01   # rack 1
//! ```
//!
//! Fields are separated by spaces and tabs; `#` begins a comment; blank lines count for
//! nothing. A line may end with CR LF, and the file may begin with a UTF-8 byte order
//! mark. Comments may hold any bytes; the fields are ASCII by nature.
//!
//! Invariants: a list is accepted as a whole or not at all; no name, address or Ethernet
//! address occurs twice in an accepted list; every problem of a refused list is reported,
//! in the order of the lines. Memory is bounded by the limits named here.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::str::FromStr;

use crate::model::{
    Hostname, HostnameError, MacAddr, MacAddrError, NodeEntry, NodeIp, NodeIpError,
};

/// The most lines in a host list.
pub const MAX_LINES: usize = 131_072;

/// The longest line of a host list, in bytes, comment included.
pub const MAX_LINE_BYTES: usize = 4096;

/// The largest host list, in bytes.
pub const MAX_LIST_BYTES: usize = 32 << 20;

/// One thing that is wrong with a host list, and where. Displayed as
/// `LINE:COLUMN: message; what to do`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// In bytes, from 1.
    pub column: usize,
    /// What it is.
    pub kind: ProblemKind,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// The first field is no host name.
    #[error(transparent)]
    Hostname(HostnameError),
    /// The second field is no address of a node.
    #[error(transparent)]
    Ip(NodeIpError),
    /// The third field is no Ethernet address.
    #[error(transparent)]
    Mac(MacAddrError),
    /// A field holds a byte that is not printable ASCII.
    #[error("the {field} holds the byte 0x{byte:02x}; write it in plain ASCII")]
    NotText {
        /// Which field.
        field: Field,
        /// The first such byte.
        byte: u8,
    },
    /// The Ethernet address stands before the IPv4 address.
    #[error("{text} is an Ethernet address; the order is: hostname ip mac")]
    Swapped {
        /// The second field.
        text: String,
    },
    /// The line ends too early.
    #[error("the {field} is missing; a line has three fields: hostname ip mac")]
    Missing {
        /// The first field that is missing.
        field: Field,
    },
    /// A fourth field.
    #[error("unexpected {text:?} after the Ethernet address; begin a comment with #")]
    Trailing {
        /// The fourth field.
        text: String,
    },
    /// An earlier line has the same value.
    #[error("the {field} {value} is also in line {first}; each may occur once")]
    Duplicate {
        /// Which field.
        field: Field,
        /// Its value, in the canonical spelling.
        value: String,
        /// The line where it first occurs.
        first: usize,
    },
    /// The line is over the limit and was not read.
    #[error("the line has {0} bytes; the limit is {MAX_LINE_BYTES}")]
    LineTooLong(usize),
    /// There are more lines than the limit; this one and those after it were not read.
    #[error("more than {MAX_LINES} lines; split the list")]
    TooManyLines,
    /// The list is over the limit and was not read.
    #[error("the list has more than {MAX_LIST_BYTES} bytes; split it")]
    ListTooLong,
}

/// A field of a line, in the words of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The first.
    Hostname,
    /// The second.
    Ip,
    /// The third.
    Mac,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hostname => "host name",
            Self::Ip => "IPv4 address",
            Self::Mac => "Ethernet address",
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.kind)
    }
}

impl std::error::Error for Problem {}

/// A node, and where in the list it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The node.
    pub node: NodeEntry,
    /// Its line, from 1.
    pub line: usize,
    /// Where in the line name, IPv4 address and Ethernet address begin, in bytes, from 1.
    pub columns: [usize; 3],
}

/// Reads a host list. The nodes are in the order of the lines; on error, all problems are.
pub fn parse(list: &[u8]) -> Result<Vec<NodeEntry>, Vec<Problem>> {
    let placed = parse_placed(list)?;
    Ok(placed.into_iter().map(|placed| placed.node).collect())
}

/// Reads a host list as [`parse`] does, and keeps the places.
pub fn parse_placed(list: &[u8]) -> Result<Vec<Placed>, Vec<Problem>> {
    let mut parser = Parser::default();
    if list.len() > MAX_LIST_BYTES {
        parser.report(1, 1, ProblemKind::ListTooLong);
        return Err(parser.problems);
    }
    let list = list.strip_prefix(b"\xef\xbb\xbf").unwrap_or(list);
    // A final line feed ends the last line, it does not begin another one.
    let list = list.strip_suffix(b"\n").unwrap_or(list);
    for (index, line) in list.split(|&b| b == b'\n').enumerate() {
        if index == MAX_LINES {
            parser.report(index + 1, 1, ProblemKind::TooManyLines);
            break;
        }
        parser.line(index + 1, line.strip_suffix(b"\r").unwrap_or(line));
    }
    if parser.problems.is_empty() {
        Ok(parser.nodes)
    } else {
        Err(parser.problems)
    }
}

/// What was read so far. The maps hold the line in which a value first occurred.
#[derive(Default)]
struct Parser {
    nodes: Vec<Placed>,
    problems: Vec<Problem>,
    hostnames: HashMap<Hostname, usize>,
    ips: HashMap<NodeIp, usize>,
    macs: HashMap<MacAddr, usize>,
}

/// A field of a line and its column, from 1.
#[derive(Clone, Copy)]
struct Token<'a> {
    column: usize,
    bytes: &'a [u8],
}

impl Parser {
    fn report(&mut self, line: usize, column: usize, kind: ProblemKind) {
        self.problems.push(Problem { line, column, kind });
    }

    /// Reads one line, without its terminator. A value that is valid counts as used even
    /// when the rest of its line is not, so that duplicates are reported in the same run.
    fn line(&mut self, number: usize, line: &[u8]) {
        if line.len() > MAX_LINE_BYTES {
            return self.report(number, 1, ProblemKind::LineTooLong(line.len()));
        }
        let content = line.split(|&b| b == b'#').next().unwrap_or(line);
        let mut tokens = tokens(content);
        let Some(first) = tokens.next() else { return };
        let (second, third, fourth) = (tokens.next(), tokens.next(), tokens.next());

        let hostname = self.hostname(number, first);
        let ip = second.and_then(|token| self.ip(number, token));
        let mac = third.and_then(|token| self.mac(number, token));

        let missing = match (second, third) {
            (None, _) => Some(Field::Ip),
            (_, None) => Some(Field::Mac),
            _ => None,
        };
        if let Some(field) = missing {
            let column = content.trim_ascii_end().len() + 1;
            self.report(number, column, ProblemKind::Missing { field });
        }
        if let Some(token) = fourth {
            let text = String::from_utf8_lossy(token.bytes).into_owned();
            self.report(number, token.column, ProblemKind::Trailing { text });
        }
        if let (Some(hostname), Some(ip), Some(mac)) = (hostname, ip, mac) {
            let column = |token: Option<Token<'_>>| token.map_or(1, |token| token.column);
            self.nodes.push(Placed {
                node: NodeEntry { hostname, ip, mac },
                line: number,
                columns: [first.column, column(second), column(third)],
            });
        }
    }

    fn hostname(&mut self, line: usize, token: Token<'_>) -> Option<Hostname> {
        let value = self.value(line, token, Field::Hostname, ProblemKind::Hostname)?;
        let first = first_use(&mut self.hostnames, &value, line);
        self.unique(line, token, Field::Hostname, value, first)
    }

    fn ip(&mut self, line: usize, token: Token<'_>) -> Option<NodeIp> {
        let value = self.value(line, token, Field::Ip, |error| match error {
            NodeIpError::Malformed { text } if text.parse::<MacAddr>().is_ok() => {
                ProblemKind::Swapped { text }
            }
            other => ProblemKind::Ip(other),
        })?;
        let first = first_use(&mut self.ips, &value, line);
        self.unique(line, token, Field::Ip, value, first)
    }

    fn mac(&mut self, line: usize, token: Token<'_>) -> Option<MacAddr> {
        let value = self.value(line, token, Field::Mac, ProblemKind::Mac)?;
        let first = first_use(&mut self.macs, &value, line);
        self.unique(line, token, Field::Mac, value, first)
    }

    /// The value of a field, or none and a problem.
    fn value<T: FromStr>(
        &mut self,
        line: usize,
        token: Token<'_>,
        field: Field,
        problem: impl FnOnce(T::Err) -> ProblemKind,
    ) -> Option<T> {
        let result = match token.bytes.iter().find(|b| !b.is_ascii_graphic()) {
            Some(&byte) => Err(ProblemKind::NotText { field, byte }),
            // All bytes are ASCII, so this is no lossy conversion.
            None => String::from_utf8_lossy(token.bytes)
                .parse()
                .map_err(problem),
        };
        result
            .map_err(|kind| self.report(line, token.column, kind))
            .ok()
    }

    /// The value if `first`, the line of its first use, is this line; else none and a problem.
    fn unique<T: fmt::Display>(
        &mut self,
        line: usize,
        token: Token<'_>,
        field: Field,
        value: T,
        first: usize,
    ) -> Option<T> {
        if first == line {
            return Some(value);
        }
        let value = value.to_string();
        let kind = ProblemKind::Duplicate {
            field,
            value,
            first,
        };
        self.report(line, token.column, kind);
        None
    }
}

/// The line where `value` was first used; `line` if that is now.
fn first_use<T: Clone + Eq + Hash>(uses: &mut HashMap<T, usize>, value: &T, line: usize) -> usize {
    *uses.entry(value.clone()).or_insert(line)
}

/// The fields of a line: runs of bytes other than space and tab.
fn tokens(content: &[u8]) -> impl Iterator<Item = Token<'_>> {
    let mut at = 0;
    content
        .split(|&b| b == b' ' || b == b'\t')
        .filter_map(move |bytes| {
            let column = at + 1;
            at += bytes.len() + 1;
            (!bytes.is_empty()).then_some(Token { column, bytes })
        })
}

#[cfg(test)]
#[path = "hosts_tests.rs"]
mod tests;
