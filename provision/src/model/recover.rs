//! TOML that is broken in places: what is left of it when those are set aside.
//!
//! The parser's own recovery ends at the first line that has no `=`, and takes what follows a
//! bracket that is not closed for its content. So here what is broken is blanked statement by
//! statement, by a reader that knows no more of TOML than where statements begin and end, and the
//! rest is parsed again. Places stay those of the whole text.
//!
//! Invariant: what stood in a statement that was set aside is known as [`Broken`], so that nobody
//! says that it is missing.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Span;

/// How often a text is parsed again; further mistakes are found when these are corrected.
const MAX_ROUNDS: usize = 64;

/// How many bytes are parsed for one text at most, beyond its first round.
const MAX_PARSED_BYTES: usize = 64 << 20;

/// The kinds of sections that have names which others refer to.
const NAMED: [&str; 3] = ["image", "export", "profile"];

/// A mistake in the TOML.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) span: Span,
    /// The parser's words, in one line.
    pub(super) what: String,
}

/// What was set aside.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    /// Keys, by where the header of their section begins; none if it cannot be told.
    keys: HashMap<usize, Vec<Option<String>>>,
    /// What stands in headers that cannot be read.
    words: HashSet<String>,
    /// Whether sections may be missing.
    pub(super) names: bool,
}

impl Broken {
    /// Whether a key that is not in a table may have been set aside. `table` is where the table's
    /// header begins, `name` what it is called.
    pub(super) fn may_hold(&self, table: usize, name: &str, key: &str) -> bool {
        let is_it = |broken: &Option<String>| broken.as_ref().is_none_or(|broken| broken == key);
        self.keys
            .get(&table)
            .is_some_and(|keys| keys.iter().any(is_it))
            || self.words.contains(key)
            || self.words.contains(name)
            || (name.is_empty() && self.names)
    }
}

/// Text as it could be read: the tree, what is wrong with it, and what is missing in it.
pub(super) fn parse<T>(
    text: &str,
    read: impl FnOnce(&Spanned<DeValue<'_>>, &[SyntaxError], Broken) -> T,
) -> T {
    let mut broken = Broken::default();
    let mut errors = Vec::new();
    let mut left: Cow<'_, str> = text.into();
    let mut parsed = 0;
    for round in 0.. {
        let (table, mut found) = DeTable::parse_recoverable(&left);
        found.sort_by_key(start);
        let is_last = round == MAX_ROUNDS || parsed > MAX_PARSED_BYTES;
        let Some(first) = found.first().filter(|_| !is_last) else {
            broken.names |= !found.is_empty();
            errors.extend(found.iter().map(syntax));
            let span = table.span();
            let value = Spanned::new(span, DeValue::Table(table.into_inner()));
            return read(&value, &errors, broken);
        };
        let statement = statement_at(&left, start(first));
        if let Some(open) = &statement.open {
            errors.push(open.error(&left));
        } else {
            // The first one may be at the very end.
            let end = statement.end.max(start(first) + 1);
            let inside = found.iter().filter(|e| start(e) < end);
            errors.extend(inside.map(syntax));
        }
        let next = blanked(&left, statement, &mut broken);
        drop(table);
        parsed += next.len();
        left = next.into();
    }
    unreachable!("the last round returns")
}

fn start(error: &toml::de::Error) -> usize {
    error.span().map_or(0, |span| span.start)
}

fn syntax(error: &toml::de::Error) -> SyntaxError {
    let words: Vec<_> = error.message().split_whitespace().collect();
    SyntaxError {
        span: error.span().unwrap_or(0..0),
        what: words.join(" "),
    }
}

/// The text without a statement; without a header, also without what belongs to it.
fn blanked(text: &str, statement: Statement, broken: &mut Broken) -> String {
    let source = &text[statement.start..statement.end];
    let mut end = statement.end;
    if statement.is_header {
        broken.names = true;
        broken.words.extend(words(source));
        while let Some(next) = next_statement(text, end, 0, None) {
            if next.is_header {
                break;
            }
            end = next.end;
        }
    } else {
        let key = source.split_once('=').map(|(key, _)| key.trim());
        // Of a dotted key, the first part is the one of this table.
        let key = key.and_then(|key| words(key).next());
        let header = statement.header.unwrap_or(0);
        broken.keys.entry(header).or_default().push(key);
        // The names of sections may be keys, too: below `[image]`, or where there is no header.
        let above = statement.header.map(|at| line(text, at));
        broken.names |= above.is_none_or(|above| {
            let words: Vec<_> = words(above).collect();
            words.len() == 1 && NAMED.contains(&&*words[0])
        });
    }
    if statement
        .open
        .is_some_and(|open| open.what == Opened::Quotes)
    {
        // What follows may be text or not.
        broken.names = true;
        end = text.len();
    }
    let bytes = text.bytes().enumerate().map(|(at, byte)| {
        let is_kept = !(statement.start..end).contains(&at) || matches!(byte, b'\n' | b'\r');
        if is_kept { byte } else { b' ' }
    });
    // Statements begin and end between lines.
    String::from_utf8(bytes.collect()).unwrap_or_default()
}

/// What may be keys in a line.
fn words(line: &str) -> impl Iterator<Item = String> {
    line.split(|c: char| !c.is_alphanumeric() && !"-_".contains(c))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
}

/// From a place to the end of its line.
fn line(text: &str, at: usize) -> &str {
    text[at..].lines().next().unwrap_or_default()
}

/// A header, or a key with its value, which may have several lines.
#[derive(Debug)]
struct Statement {
    start: usize,
    /// Behind its last line.
    end: usize,
    is_header: bool,
    /// Where the header of its section begins.
    header: Option<usize>,
    open: Option<Open>,
}

/// Something that is not closed.
#[derive(Debug)]
struct Open {
    at: usize,
    what: Opened,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opened {
    List,
    Table,
    Quotes,
}

impl Open {
    fn error(&self, text: &str) -> SyntaxError {
        let (what, length) = match self.what {
            Opened::List => ("the list is not closed with `]`", 1),
            Opened::Table => ("the table is not closed with `}`", 1),
            Opened::Quotes => ("the text is not closed with three quotes", 3),
        };
        SyntaxError {
            span: self.at..(self.at + length).min(text.len()),
            what: what.into(),
        }
    }
}

/// The statement that holds a mistake; up to there the text is right.
fn statement_at(text: &str, mistake: usize) -> Statement {
    let mut from = 0;
    let mut header = None;
    while let Some(statement) = next_statement(text, from, mistake, header) {
        let is_it = mistake < statement.end || statement.open.is_some();
        if is_it || statement.end >= text.len() {
            return statement;
        }
        if statement.is_header {
            header = Some(statement.start);
        }
        from = statement.end;
    }
    // A comment can be broken, too.
    let before = &text.as_bytes()[..mistake.min(text.len())];
    let begin = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    Statement {
        start: begin,
        end: line_end(text, begin),
        is_header: false,
        header,
        open: None,
    }
}

/// Behind the line that holds a place.
fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |end| at + end + 1)
}

/// The first statement behind a place between two. From `mistake` on, what looks like the beginning
/// of another statement is one.
fn next_statement(
    text: &str,
    mut from: usize,
    mistake: usize,
    header: Option<usize>,
) -> Option<Statement> {
    let start = loop {
        if from >= text.len() {
            return None;
        }
        let end = line_end(text, from);
        let line = text[from..end].trim_start();
        let start = end - line.len();
        let is_comment = line.starts_with('#') && !(start..end).contains(&mistake);
        if !line.trim().is_empty() && !is_comment {
            break start;
        }
        from = end;
    };
    let first_end = line_end(text, start);
    let first = text[start..first_end].trim_end();
    let begins_section = first.starts_with('[')
        || (first.starts_with(|c: char| c.is_ascii_alphabetic())
            && first.ends_with(']')
            && !first.contains('='));
    let statement = |end, open| Statement {
        start,
        end,
        is_header: begins_section,
        header,
        open,
    };
    if begins_section || first.starts_with('#') {
        return Some(statement(first_end, None));
    }
    let Some(equals) = text[start..first_end].find('=') else {
        return Some(statement(first_end, None));
    };
    let bytes = text.as_bytes();
    let mut open: Vec<Open> = Vec::new();
    // Where another statement may begin, if the value never ends.
    let mut perhaps = None;
    let mut at = start + equals + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' => {
                let Some(end) = quoted_end(text, at) else {
                    let what = Opened::Quotes;
                    return Some(statement(first_end, Some(Open { at, what })));
                };
                at = end;
                continue;
            }
            b'#' => {
                at = line_end(text, at).saturating_sub(1).max(at + 1);
                continue;
            }
            b'[' | b'{' => {
                let what = if byte == b'[' {
                    Opened::List
                } else {
                    Opened::Table
                };
                open.push(Open { at, what });
            }
            b']' | b'}' => drop(open.pop()),
            b'\n' if open.is_empty() => return Some(statement(at + 1, None)),
            b'\n' if at + 1 > mistake || line_end(text, at + 1) > mistake => {
                let next = line(text, at + 1).trim_start();
                let innermost = open.last().map(|open| open.what);
                if is_header(next) || (innermost == Some(Opened::List) && is_key(next)) {
                    let end = perhaps.unwrap_or(at + 1);
                    return Some(statement(end, open.pop()));
                }
                if is_key(next) {
                    perhaps.get_or_insert(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    let end = perhaps.filter(|_| !open.is_empty());
    Some(statement(end.unwrap_or(text.len()), open.pop()))
}

/// Behind the closing quotes, or the end of the line where there are none. None for three quotes
/// that are not closed.
fn quoted_end(text: &str, at: usize) -> Option<usize> {
    let quote = &text[at..=at];
    let three = quote.repeat(3);
    let is_long = text[at..].starts_with(&three);
    let close = if is_long { &*three } else { quote };
    let mut inside = at + close.len();
    while inside < text.len() {
        let rest = &text.as_bytes()[inside..];
        if rest.starts_with(close.as_bytes()) {
            // Up to two more quotes belong to the text.
            let quotes = rest.iter().take_while(|byte| **byte == rest[0]).count();
            let more = if is_long { quotes.min(5) } else { 1 };
            return Some(inside + more);
        }
        match rest[0] {
            b'\n' if !is_long => return Some(inside),
            b'\\' if quote == "\"" => inside += 2,
            _ => inside += 1,
        }
    }
    (!is_long).then_some(text.len())
}

/// Whether a line is a header: `[name]`, `[[a.b]]`.
fn is_header(line: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default().trim();
    let inside = line
        .strip_prefix('[')
        .and_then(|line| line.strip_suffix(']'));
    let inside = inside.map(|inside| inside.trim_start_matches('[').trim_end_matches(']').trim());
    inside.is_some_and(|inside| {
        inside.starts_with(|c: char| c.is_ascii_alphabetic())
            && !inside.contains([',', '[', ']', '{', '='])
    })
}

/// Whether a line begins with a key.
fn is_key(line: &str) -> bool {
    let key = line.split_once('=').map(|(key, _)| key.trim());
    key.is_some_and(|key| {
        key.starts_with(|c: char| c.is_ascii_alphabetic())
            && key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    })
}
