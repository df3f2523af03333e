//! Names with ranges: `s[0-9]`, `rack[1-4]n[01-24]`, `s[1,3,5-7]`, `s[0-20/2]`.
//!
//! Digits keep their zeros: `[01-24]` begins with 01, `[1-24]` with 1. The last bracket runs
//! fastest. The same syntax without letters serves for addresses (`10.0.[1-4].[1-24]`), which
//! are expanded in the same order.

use std::fmt;

use super::{MAX_EXPANSION, MAX_SET_BYTES};
use crate::model::MAX_HOSTNAME_BYTES;

/// The most digits of a number in a range; more would not fit into 64 bits.
const MAX_DIGITS: usize = 18;

/// One name, or several by ranges. Expands to 1 to [`MAX_EXPANSION`] names; several are not longer
/// than [`MAX_HOSTNAME_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// What a bracket holds; at least one.
    Bracket(Vec<Item>),
}

/// `first`, `first-last` or `first-last/step`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Item {
    first: u64,
    last: u64,
    step: u64,
    /// Digits at least.
    width: usize,
}

/// Why a text is no [`Pattern`], and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {fix}")]
pub struct PatternError {
    /// In bytes, from 0.
    pub at: usize,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

fn error<T>(at: usize, what: impl Into<String>, fix: impl Into<String>) -> Result<T, PatternError> {
    let (what, fix) = (what.into(), fix.into());
    Err(PatternError { at, what, fix })
}

impl Pattern {
    /// Reads a pattern. Letters become small.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        const EXAMPLE: &str = "write a name such as s3, or names such as s[0-9]";
        if text.is_empty() {
            return error(0, "a name is missing", EXAMPLE);
        }
        if text.len() > MAX_SET_BYTES {
            let what = format!(
                "a name with ranges has {} bytes; the limit is {MAX_SET_BYTES}",
                text.len()
            );
            return error(MAX_SET_BYTES, what, "use longer ranges");
        }
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            if let Some(inside) = rest.strip_prefix('[') {
                let Some(length) = inside.find(']') else {
                    return error(at, "the bracket is not closed", "close it with ]");
                };
                pieces.push(Piece::Bracket(bracket(at + 1, &inside[..length])?));
                at += length + 2;
                continue;
            }
            let length = rest.find('[').unwrap_or(rest.len());
            let literal = &rest[..length];
            let is_bad = |&(_, c): &(usize, char)| !c.is_ascii_alphanumeric() && !"-.".contains(c);
            if let Some((offset, bad)) = literal.char_indices().find(is_bad) {
                return error(at + offset, format!("{bad:?} in a name"), EXAMPLE);
            }
            pieces.push(Piece::Text(literal.to_ascii_lowercase()));
            at += length;
        }
        let pattern = Self { pieces };
        let count = pattern.checked_count();
        match count {
            // Before anything is expanded: many long names would take all memory.
            Some(2..=MAX_EXPANSION) if pattern.longest() > MAX_HOSTNAME_BYTES => {
                let what = format!(
                    "the ranges stand for names of {} bytes; the limit is {MAX_HOSTNAME_BYTES}",
                    pattern.longest()
                );
                error(0, what, "shorten the name")
            }
            Some(count) if count <= MAX_EXPANSION => Ok(pattern),
            _ => error(
                0,
                format!("the ranges stand for more than {MAX_EXPANSION} names"),
                "make them shorter",
            ),
        }
    }

    /// How many names it expands to.
    pub fn count(&self) -> usize {
        // Parsing has made sure that there is a number.
        self.checked_count().unwrap_or(MAX_EXPANSION)
    }

    fn checked_count(&self) -> Option<usize> {
        let mut product = 1_usize;
        for piece in &self.pieces {
            if let Piece::Bracket(items) = piece {
                let mut sum = 0_usize;
                for item in items {
                    sum = sum.checked_add(usize::try_from(item.count()).ok()?)?;
                }
                product = product.checked_mul(sum)?;
            }
        }
        Some(product)
    }

    /// The length of the longest name, in bytes.
    fn longest(&self) -> usize {
        let length = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Bracket(items) => items.iter().map(Item::longest).max().unwrap_or(0),
        };
        self.pieces.iter().map(length).sum()
    }

    /// Whether it has no ranges.
    pub fn is_plain(&self) -> bool {
        self.pieces.iter().all(|p| matches!(p, Piece::Text(_)))
    }

    /// The names, in order; the last bracket runs fastest.
    pub fn expand(&self) -> Vec<String> {
        let mut names = vec![String::new()];
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => names.iter_mut().for_each(|name| name.push_str(text)),
                Piece::Bracket(items) => {
                    let numbers: Vec<String> = items.iter().flat_map(Item::numbers).collect();
                    let extend = |name: &String| {
                        let name = name.clone();
                        numbers.iter().map(move |number| format!("{name}{number}"))
                    };
                    names = names.iter().flat_map(extend).collect();
                }
            }
        }
        names
    }
}

impl Item {
    fn count(&self) -> u64 {
        (self.last - self.first) / self.step + 1
    }

    /// The digits of the longest number.
    fn longest(&self) -> usize {
        let digits = self.last.checked_ilog10().map_or(1, |log| log as usize + 1);
        digits.max(self.width)
    }

    fn numbers(&self) -> impl Iterator<Item = String> + use<> {
        let Self {
            first, step, width, ..
        } = *self;
        (0..self.count()).map(move |index| format!("{:0width$}", first + index * step))
    }
}

/// Reads what a bracket holds; `at` is where that begins.
fn bracket(at: usize, inside: &str) -> Result<Vec<Item>, PatternError> {
    let mut items = Vec::new();
    let mut begin = at;
    for text in inside.split(',') {
        items.push(item(begin, text)?);
        begin += text.len() + 1;
    }
    Ok(items)
}

fn item(at: usize, text: &str) -> Result<Item, PatternError> {
    let (range, step) = match text.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (text, None),
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let last_at = at + range.len() - last.len();
    let (from, to) = (number(at, first)?, number(last_at, last)?);
    let is_padded = |digits: &str| digits.len() > 1 && digits.starts_with('0');
    let width = if is_padded(first) { first.len() } else { 1 };
    let is_odd = last.len() < width || (is_padded(last) && last.len() != first.len());
    if is_odd {
        return error(
            at,
            format!("the ends of the range {range} have different numbers of zeros"),
            "write both with the same number of digits, such as 01-24",
        );
    }
    if to < from {
        let what = format!("the range {range} ends before it begins");
        return error(at, what, format!("write {last}-{first}"));
    }
    let step = match step {
        None => 1,
        Some(step) => {
            let step_at = at + range.len() + 1;
            match number(step_at, step)? {
                0 => return error(step_at, "a step of 0", "write 1 or more"),
                step => step,
            }
        }
    };
    Ok(Item {
        first: from,
        last: to,
        step,
        width,
    })
}

fn number(at: usize, digits: &str) -> Result<u64, PatternError> {
    const FIX: &str = "write numbers and ranges, such as [0-9] or [1,3,5-7]";
    if digits.is_empty() {
        return error(at, "a number is missing in the brackets", FIX);
    }
    if let Some((offset, bad)) = digits.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
        return error(at + offset, format!("{bad:?} in the brackets"), FIX);
    }
    if digits.len() > MAX_DIGITS {
        return error(
            at,
            format!(
                "a number of {} digits; the limit is {MAX_DIGITS}",
                digits.len()
            ),
            "write a shorter one",
        );
    }
    // At most 18 digits fit into 64 bits.
    Ok(digits
        .bytes()
        .fold(0, |sum, b| sum * 10 + u64::from(b - b'0')))
}

/// As it can be parsed again.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => f.write_str(text)?,
                Piece::Bracket(items) => {
                    for (index, item) in items.iter().enumerate() {
                        write!(f, "{}{item}", if index == 0 { '[' } else { ',' })?;
                    }
                    f.write_str("]")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.width;
        write!(f, "{:0width$}", self.first)?;
        if self.first != self.last {
            write!(f, "-{:0width$}", self.last)?;
        }
        if self.step != 1 {
            write!(f, "/{}", self.step)?;
        }
        Ok(())
    }
}
