//! From names back to ranges, for people to read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

/// The most digits of a number that is folded; longer ones count as letters.
const MAX_DIGITS: usize = 18;

/// Numbers from a first to a last one.
type Span = (u64, u64);

/// The spans of one place of a name, in order.
type Spans = Vec<Span>;

/// The same names by ranges, sorted: `s0 s1 s2 t1` becomes `s[0-2],t1`.
///
/// A name is cut at its numbers, and names that differ in one number at a time are folded
/// there, the last number first: `rack[1-4]n[01-24]`. What is printed expands to exactly
/// these names, each once.
pub fn fold<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> String {
    // Names of the same letters, as the digits between them.
    let mut shapes: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for name in names {
        let (texts, digits) = cut(name.as_ref());
        shapes.entry(texts).or_default().insert(digits);
    }
    let mut out = String::new();
    for (texts, rows) in &shapes {
        for (widths, rows) in by_width(rows) {
            for row in product(rows, widths.len()) {
                if !out.is_empty() {
                    out.push(',');
                }
                print(&mut out, texts, &widths, &row);
            }
        }
    }
    out
}

/// The letters before, between and behind the numbers of a name, and the numbers: one less.
fn cut(name: &str) -> (Vec<String>, Vec<String>) {
    let (mut texts, mut numbers) = (vec![String::new()], Vec::new());
    let mut rest = name;
    while !rest.is_empty() {
        let is_digit = |c: char| c.is_ascii_digit();
        let letters = rest.find(is_digit).unwrap_or(rest.len());
        let (text, tail) = rest.split_at(letters);
        let length = tail.find(|c| !is_digit(c)).unwrap_or(tail.len());
        let (digits, tail) = tail.split_at(length);
        rest = tail;
        // There is always a last one.
        let last = texts.len() - 1;
        texts[last].push_str(text);
        if digits.len() > MAX_DIGITS {
            texts[last].push_str(digits);
        } else if !digits.is_empty() {
            numbers.push(digits.to_owned());
            texts.push(String::new());
        }
    }
    (texts, numbers)
}

/// Groups rows by how wide their numbers are printed. A number without zeros in front is as
/// wide as it is, but beside one of the same length that has some it is padded, too: 10 beside 09.
fn by_width(rows: &BTreeSet<Vec<String>>) -> BTreeMap<Vec<usize>, Vec<Vec<Spans>>> {
    let places = rows.first().map_or(0, Vec::len);
    let is_padded = |digits: &str| digits.len() > 1 && digits.starts_with('0');
    let padded: Vec<BTreeSet<usize>> = (0..places)
        .map(|place| {
            let digits = rows.iter().map(|row| row[place].as_str());
            digits.filter(|d| is_padded(d)).map(str::len).collect()
        })
        .collect();
    let mut groups: BTreeMap<_, Vec<Vec<Spans>>> = BTreeMap::new();
    for row in rows {
        let width = |(place, digits): (usize, &String)| {
            if padded[place].contains(&digits.len()) {
                digits.len()
            } else {
                1
            }
        };
        let widths = row.iter().enumerate().map(width).collect();
        let value = |digits: &String| {
            // At most 18 digits, so this is no approximation.
            let value = digits
                .bytes()
                .fold(0, |sum, b| sum * 10 + u64::from(b - b'0'));
            vec![(value, value)]
        };
        groups
            .entry(widths)
            .or_default()
            .push(row.iter().map(value).collect());
    }
    groups
}

/// Folds rows that differ in one place, place by place from the last one.
fn product(mut rows: Vec<Vec<Spans>>, places: usize) -> Vec<Vec<Spans>> {
    for place in (0..places).rev() {
        let mut groups: HashMap<Vec<Spans>, Spans> = HashMap::new();
        for mut row in rows {
            let spans = std::mem::take(&mut row[place]);
            groups.entry(row).or_default().extend(spans);
        }
        let join = |(mut row, spans): (Vec<Spans>, Spans)| {
            row[place] = joined(spans);
            row
        };
        rows = groups.into_iter().map(join).collect();
    }
    rows.sort_unstable();
    rows
}

/// Sorted, with neighbours joined.
fn joined(mut spans: Spans) -> Spans {
    spans.sort_unstable();
    let mut out: Spans = Vec::new();
    for (first, last) in spans {
        match out.last_mut() {
            Some(before) if before.1 + 1 >= first => before.1 = before.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out
}

fn print(out: &mut String, texts: &[String], widths: &[usize], row: &[Spans]) {
    const NEVER: &str = "writing to a String cannot fail";
    for (index, text) in texts.iter().enumerate() {
        out.push_str(text);
        let (Some(spans), Some(&width)) = (row.get(index), widths.get(index)) else {
            continue;
        };
        if let [(first, last)] = spans[..]
            && first == last
        {
            write!(out, "{first:0width$}").expect(NEVER);
            continue;
        }
        for (index, (first, last)) in spans.iter().enumerate() {
            let before = if index == 0 { '[' } else { ',' };
            write!(out, "{before}{first:0width$}").expect(NEVER);
            if first != last {
                write!(out, "-{last:0width$}").expect(NEVER);
            }
        }
        out.push(']');
    }
}
