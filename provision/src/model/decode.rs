//! From the tree of a TOML file to raw values that know their places.
//!
//! serde ends at the first mistake; here every one is reported and reading goes on. Each table
//! is declared once, by `table!`: its keys with their types, defaults and descriptions. From
//! that come the reader, the list of known keys for "did you mean", and the JSON Schema.
//!
//! Invariants: what is [`Field::Invalid`] or [`Field::Lost`] has been reported; what is [`Field::Absent`] was
//! not written; nothing here looks at two fields at once, that is the work of `check`.

mod section;
mod word;

use schemars::{Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

pub(crate) use section::{Named, Reader, Section, described, flag, in_order, object, table};
pub(crate) use word::{choices, closest, text, texts, word, words};

use super::cluster::MAX_NODES;
use super::problem::{Reporter, Span, what_and_fix};
use super::recover::Broken;

/// The longest name of a section that is repeated in messages, in characters.
const MAX_SHOWN_NAME: usize = 100;

/// A value, and where it is written.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// What a key of a table says.
#[derive(Debug, Clone, Default)]
pub(crate) enum Field<T> {
    /// It is not there.
    #[default]
    Absent,
    /// It is there, and was reported as wrong.
    Invalid(Span),
    /// It is not there, but may stand where the TOML is broken, which was reported.
    Lost,
    /// It is there.
    Given(At<T>),
}

impl<T> Field<T> {
    /// The value, if it is there and valid.
    pub(crate) fn given(&self) -> Option<&T> {
        self.at().map(|at| &at.value)
    }

    /// The value with its place, if it is there and valid.
    pub(crate) fn at(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            _ => None,
        }
    }

    /// Where it is written, valid or not.
    pub(crate) fn span(&self) -> Option<Span> {
        match self {
            Self::Absent | Self::Lost => None,
            Self::Invalid(span) => Some(span.clone()),
            Self::Given(at) => Some(at.span.clone()),
        }
    }

    /// Whether it is not written at all, for sure.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// This one if it is there, else the other.
    pub(crate) fn or<'a>(&'a self, other: &'a Self) -> &'a Self {
        match self {
            Self::Absent => other,
            _ => self,
        }
    }
}

impl<T: Clone> Field<T> {
    /// The value, or another one where it is absent (or was reported).
    pub(crate) fn unwrap_or(&self, default: T) -> T {
        self.given().cloned().unwrap_or(default)
    }
}

impl<T: Clone + Default> Field<T> {
    /// The value, or its type's default.
    pub(crate) fn unwrap_or_default(&self) -> T {
        self.given().cloned().unwrap_or_default()
    }
}

impl<T> Field<Vec<At<T>>> {
    /// The elements; none where it is absent (or was reported).
    pub(crate) fn items(&self) -> &[At<T>] {
        self.given().map_or(&[], Vec::as_slice)
    }
}

impl<T: Clone> Field<Vec<At<T>>> {
    /// The elements without their places.
    pub(crate) fn values(&self) -> Vec<T> {
        self.items().iter().map(|at| at.value.clone()).collect()
    }
}

/// The most addresses that are written by ranges: one for each node and one for its BMC, and as many in profiles that no
/// node has.
pub(crate) const MAX_ADDRESSES: usize = 4 * MAX_NODES;

/// What has been made of ranges. A few lines could stand for more than fits into memory.
#[derive(Debug, Default)]
struct Made {
    names: usize,
    addresses: usize,
}

/// Where problems go, and what is being read.
pub(crate) struct Context<'r> {
    pub(crate) report: &'r mut Reporter,
    /// The source, to find the place of a character inside a string.
    pub(crate) text: &'r str,
    broken: Broken,
    path: Vec<String>,
    made: Made,
}

impl<'r> Context<'r> {
    pub(crate) fn new(report: &'r mut Reporter, text: &'r str, broken: Broken) -> Self {
        Self {
            report,
            text,
            broken,
            path: Vec::new(),
            made: Made::default(),
        }
    }

    /// Whether this many more nodes may be named. The first that may not are reported.
    pub(crate) fn may_name(&mut self, count: usize, span: &Span) -> bool {
        if self.has_too_many_nodes() {
            return false;
        }
        self.made.names += count;
        if self.has_too_many_nodes() {
            let what = format!("more than {MAX_NODES} nodes");
            self.report
                .error(span.clone(), what, "make two clusters of them");
            return false;
        }
        true
    }

    /// Whether more nodes were named than a cluster may have, which was reported.
    pub(crate) fn has_too_many_nodes(&self) -> bool {
        self.made.names > MAX_NODES
    }

    /// Whether this many more addresses may be made of ranges. The first that may not are reported.
    pub(crate) fn may_address(&mut self, count: usize, span: &Span) -> bool {
        if self.made.addresses > MAX_ADDRESSES {
            return false;
        }
        self.made.addresses += count;
        if self.made.addresses > MAX_ADDRESSES {
            let what = format!("more than {MAX_ADDRESSES} addresses are written by ranges");
            let fix = "write one for each node and one for its BMC";
            self.report.error(span.clone(), what, fix);
            return false;
        }
        true
    }

    /// Whether a key that is not in the table that begins here may stand where the TOML is broken.
    fn may_be_broken(&self, table: usize, key: &str) -> bool {
        let section = self.path.last().map_or("", String::as_str);
        let name = section.rsplit(' ').next().unwrap_or(section);
        self.broken.may_hold(table, name, key)
    }

    /// Reads something inside of a section or key with this name.
    pub(crate) fn inside<T>(
        &mut self,
        name: impl Into<String>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.path.push(name.into());
        let result = read(self);
        self.path.pop();
        result
    }

    /// Reads the section with this name, of the kind that is being read: `image base`.
    pub(crate) fn named<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let kind = self.path.pop().unwrap_or_default();
        let shown = match name.char_indices().nth(MAX_SHOWN_NAME) {
            Some((end, _)) => &format!("{}...", &name[..end]),
            None => name,
        };
        self.path.push(format!("{kind} {shown}"));
        let result = read(self);
        self.path.pop();
        self.path.push(kind);
        result
    }

    /// An error in what is being read.
    pub(crate) fn error(&mut self, span: Span, what: &str, fix: impl Into<String>) {
        let what = self.path.iter().map(String::as_str).chain([what]);
        let what = what.collect::<Vec<_>>().join(": ");
        self.report.error(span, what, fix);
    }

    /// An error in the form of the values' parsers: `WHAT; FIX`.
    fn error_text(&mut self, span: Span, text: &str) {
        let (what, fix) = what_and_fix(text);
        self.error(span, what, fix);
    }
}

/// A type that is read from a TOML value.
pub(crate) trait Decode: Sized {
    /// The value; none if it is wrong, which is then reported.
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self>;

    /// How editors are told of it.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

/// What a value is, in the words of a message.
pub(crate) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Reports that a value is of another kind than it should be.
pub(crate) fn mistyped<T>(
    value: &Spanned<DeValue<'_>>,
    wanted: &str,
    fix: &str,
    context: &mut Context<'_>,
) -> Option<T> {
    let what = format!("expected {wanted}, found {}", kind(value.get_ref()));
    context.error(value.span(), &what, fix);
    None
}

impl Decode for bool {
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => mistyped(
                value,
                "true or false",
                "write true or false, without quotes",
                context,
            ),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

/// Any text; the check says what it must be.
impl Decode for String {
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(text) => Some(text.clone().into_owned()),
            _ => mistyped(value, "a text", "write it in quotes", context),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number<const MIN: u32, const MAX: u32>(pub(crate) u32);

/// A port of TCP or UDP.
pub(crate) type Port = Number<1, 65535>;

impl<const MIN: u32, const MAX: u32> Number<MIN, MAX> {
    /// The number, which its bounds keep inside of 16 bits.
    pub(crate) fn u16(self) -> u16 {
        const { assert!(MAX <= 65535) };
        u16::try_from(self.0).unwrap_or(u16::MAX)
    }
}

impl<const MIN: u32, const MAX: u32> Decode for Number<MIN, MAX> {
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let fix = format!("write a whole number from {MIN} to {MAX}");
        let DeValue::Integer(number) = value.get_ref() else {
            return mistyped(value, "a whole number", &fix, context);
        };
        let parsed = i128::from_str_radix(number.as_str(), number.radix()).ok();
        match parsed.and_then(|number| u32::try_from(number).ok()) {
            Some(number) if (MIN..=MAX).contains(&number) => Some(Self(number)),
            _ => {
                context.error(value.span(), &format!("{number} is out of bounds"), fix);
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

impl<T: Decode> Decode for Vec<At<T>> {
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let DeValue::Array(array) = value.get_ref() else {
            return mistyped(value, "a list", "write it in square brackets", context);
        };
        let item = |value: &Spanned<DeValue<'_>>| {
            let span = value.span();
            Some(At {
                value: T::decode(value, context)?,
                span,
            })
        };
        Some(array.iter().filter_map(item).collect())
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": T::schema(generator) })
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone)]
pub(crate) struct OneOrMany<T> {
    pub(crate) items: Vec<At<T>>,
    /// Whether it is written as a list.
    pub(crate) is_list: bool,
}

impl<T: Decode> Decode for OneOrMany<T> {
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let is_list = matches!(value.get_ref(), DeValue::Array(_));
        let items = if is_list {
            let items = Vec::decode(value, context)?;
            let DeValue::Array(array) = value.get_ref() else {
                return None;
            };
            // A list of which some were reported would be taken for a shorter one.
            (items.len() == array.len()).then_some(items)?
        } else {
            let span = value.span();
            vec![At {
                value: T::decode(value, context)?,
                span,
            }]
        };
        Some(Self { items, is_list })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let one = T::schema(generator);
        let many = Vec::<At<T>>::schema(generator);
        json_schema!({ "anyOf": [one, many] })
    }
}
