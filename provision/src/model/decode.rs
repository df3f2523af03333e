//! From the tree of a TOML file to raw values that know their places.
//!
//! serde ends at the first mistake; here every one is reported and reading goes on. Each table
//! is declared once, by `table!`: its keys with their types, defaults and descriptions. From
//! that come the reader, the list of known keys for "did you mean", and the JSON Schema.
//!
//! Invariants: what is [`Field::Invalid`] has been reported; what is [`Field::Absent`] was
//! not written; nothing here looks at two fields at once, that is the work of `check`.

use std::collections::BTreeSet;
use std::str::FromStr;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::name::quoted;
use super::problem::{Reporter, Span};

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
            Self::Absent => None,
            Self::Invalid(span) => Some(span.clone()),
            Self::Given(at) => Some(at.span.clone()),
        }
    }

    /// Whether it is not written at all.
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

/// Where problems go, and what is being read.
pub(crate) struct Context<'r> {
    pub(crate) report: &'r mut Reporter,
    /// The source, to find the place of a character inside a string.
    pub(crate) text: &'r str,
    path: Vec<String>,
}

impl<'r> Context<'r> {
    pub(crate) fn new(report: &'r mut Reporter, text: &'r str) -> Self {
        let path = Vec::new();
        Self { report, text, path }
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

    /// An error in what is being read.
    pub(crate) fn error(&mut self, span: Span, what: &str, fix: impl Into<String>) {
        let what = self.path.iter().map(String::as_str).chain([what]);
        let what = what.collect::<Vec<_>>().join(": ");
        self.report.error(span, what, fix);
    }

    /// An error in the form of the values' parsers: `WHAT; FIX`.
    fn error_text(&mut self, span: Span, text: &str) {
        let (what, fix) = text.rsplit_once("; ").unwrap_or((text, "correct it"));
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
    let what = format!("{} where {wanted} belongs", kind(value.get_ref()));
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

/// Tables by name, such as `[image.NAME]`, in the order of the file.
#[derive(Debug, Clone)]
pub(crate) struct Named<N, T>(pub(crate) Vec<(At<N>, At<T>)>);

impl<N, T> Default for Named<N, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<N: FromStr<Err: ToString>, T: Decode> Decode for Named<N, T> {
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            return mistyped(value, "a table", "write a section for each name", context);
        };
        let mut entries = Vec::new();
        for (key, value) in in_order(table) {
            let text: &str = key.get_ref();
            let name = N::from_str(text)
                .map_err(|error| context.error_text(key.span(), &error.to_string()));
            let value_at = At {
                span: value.span(),
                value: context.inside(text, |context| T::decode(value, context)),
            };
            if let (Ok(name), Some(value)) = (name, value_at.value) {
                let span = value_at.span;
                entries.push((
                    At {
                        value: name,
                        span: key.span(),
                    },
                    At { value, span },
                ));
            }
        }
        Some(Self(entries))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": T::schema(generator) })
    }
}

/// The entries of a table, as they are written.
pub(crate) fn in_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(
    &'t Spanned<std::borrow::Cow<'i, str>>,
    &'t Spanned<DeValue<'i>>,
)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// A table whose keys are known. Implemented by `table!`.
pub(crate) trait Section: Sized {
    /// Reads its keys.
    fn read(reader: &mut Reader<'_, '_>, context: &mut Context<'_>) -> Self;

    /// Adds its keys to a schema: all, and those that must be there.
    fn properties(
        generator: &mut SchemaGenerator,
        all: &mut Map<String, Value>,
        required: &mut BTreeSet<String>,
    );
}

/// Reads the keys of a table, and then knows which ones nobody asked for.
pub(crate) struct Reader<'t, 'i> {
    table: &'t DeTable<'i>,
    known: Vec<&'static str>,
}

impl<'t, 'i> Reader<'t, 'i> {
    pub(crate) fn new(table: &'t DeTable<'i>) -> Self {
        let known = Vec::with_capacity(24);
        Self { table, known }
    }

    /// The value of a key.
    pub(crate) fn field<T: Decode>(
        &mut self,
        key: &'static str,
        context: &mut Context<'_>,
    ) -> Field<T> {
        self.known.push(key);
        let Some(value) = self.table.get(key) else {
            return Field::Absent;
        };
        let span = value.span();
        match context.inside(key, |context| T::decode(value, context)) {
            Some(value) => Field::Given(At { value, span }),
            None => Field::Invalid(span),
        }
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(self, context: &mut Context<'_>) {
        // The usual case, without a search: as many keys as were found.
        let asked = |key: &str| self.known.contains(&key);
        for (key, _) in in_order(self.table) {
            let text: &str = key.get_ref();
            if asked(text) {
                continue;
            }
            let fix = match closest(text, self.known.iter().copied()) {
                Some(close) => format!("did you mean `{close}`?"),
                None => format!("the keys here are: {}", self.known.join(", ")),
            };
            context.error(key.span(), &format!("unknown key {}", quoted(text)), fix);
        }
    }
}

/// What somebody may have meant by a word that is none of these.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('_', "-");
    known
        .into_iter()
        .map(|candidate| {
            let candidate_lower = candidate.to_ascii_lowercase();
            (strsim::jaro_winkler(&word, &candidate_lower), candidate)
        })
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// Declares tables: `"key" field: Type` with `, required` or `, default VALUE`, and at the end
/// perhaps `..field: Section` whose keys belong to the same table.
macro_rules! table {
    ($(
        $(#[doc = $about:literal])*
        $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $key:literal $field:ident: $type:ty $(, $flag:ident $($default:expr)?)?;
            )*
            $(.. $flat:ident: $flat_type:ty;)?
        }
    )*) => {$(
        $(#[doc = $about])*
        #[derive(Debug, Clone, Default)]
        pub(crate) struct $name {
            $($(#[doc = $doc])* pub(crate) $field: $crate::model::decode::Field<$type>,)*
            $(pub(crate) $flat: $flat_type,)?
        }

        impl $crate::model::decode::Section for $name {
            fn read(
                reader: &mut $crate::model::decode::Reader<'_, '_>,
                context: &mut $crate::model::decode::Context<'_>,
            ) -> Self {
                Self {
                    $($field: reader.field($key, context),)*
                    $($flat: <$flat_type>::read(reader, context),)?
                }
            }

            fn properties(
                generator: &mut schemars::SchemaGenerator,
                all: &mut serde_json::Map<String, serde_json::Value>,
                required: &mut std::collections::BTreeSet<String>,
            ) {
                use $crate::model::decode::Decode;
                // Not every table has a key that must be there.
                let _ = &required;
                $({
                    let schema = <$type>::schema(generator);
                    let default: &[serde_json::Value] = &[$($(serde_json::json!($default))?)?];
                    let schema = $crate::model::decode::described(schema, &[$($doc),*], default);
                    all.insert($key.into(), schema.to_value());
                    $($crate::model::decode::flag!($flag, $key, required);)?
                })*
                $(<$flat_type>::properties(generator, all, required);)?
            }
        }

        impl $crate::model::decode::Decode for $name {
            fn decode(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                context: &mut $crate::model::decode::Context<'_>,
            ) -> Option<Self> {
                use $crate::model::decode::{Reader, Section, mistyped};
                let toml::de::DeValue::Table(table) = value.get_ref() else {
                    return mistyped(value, "a table", "write it as a section, or in braces", context);
                };
                let mut reader = Reader::new(table);
                let section = Self::read(&mut reader, context);
                reader.finish(context);
                Some(section)
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                generator.subschema_for::<Self>()
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).trim_start_matches("Raw").into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::model::decode::object::<Self>(generator, &[$($about),*])
            }
        }
    )*};
}
pub(crate) use table;

/// What a flag behind a key of `table!` means.
macro_rules! flag {
    (required, $key:literal, $required:ident) => {
        $required.insert($key.into())
    };
    (default, $key:literal, $required:ident) => {};
}
pub(crate) use flag;

/// Declares words: an enum of the model, each value by its word, with a description.
macro_rules! words {
    ($($vis:vis $type:ident { $($word:literal $variant:ident $doc:literal,)* })*) => {$(
        impl $type {
            /// The word for it in `cluster.toml`.
            $vis fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::model::decode::Decode for $type {
            fn decode(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                context: &mut $crate::model::decode::Context<'_>,
            ) -> Option<Self> {
                const WORDS: &[(&str, $type)] = &[$(($word, $type::$variant)),*];
                $crate::model::decode::word(value, WORDS, context)
            }

            fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::model::decode::choices(&[$(($word, $doc)),*])
            }
        }
    )*};
}
pub(crate) use words;

/// Reads one of some words.
pub(crate) fn word<T: Copy>(
    value: &Spanned<DeValue<'_>>,
    words: &[(&str, T)],
    context: &mut Context<'_>,
) -> Option<T> {
    let list = words.iter().map(|(word, _)| format!("{word:?}"));
    let fix = || format!("write one of {}", list.collect::<Vec<_>>().join(", "));
    let DeValue::String(text) = value.get_ref() else {
        return mistyped(value, "a text", &fix(), context);
    };
    let found = words.iter().find(|(word, _)| word == text);
    if let Some((_, value)) = found {
        return Some(*value);
    }
    let close = closest(text, words.iter().map(|(word, _)| *word));
    let fix = close.map_or_else(fix, |word| format!("did you mean {word:?}?"));
    context.error(value.span(), &format!("unknown word {}", quoted(text)), fix);
    None
}

/// The schema of one of some words.
pub(crate) fn choices(words: &[(&str, &str)]) -> Schema {
    let choice = |(word, doc): &(&str, &str)| json_schema!({ "const": word, "description": doc });
    json_schema!({ "oneOf": words.iter().map(choice).collect::<Vec<_>>() })
}

/// Declares types that are parsed from a text, with the schema's description of it.
macro_rules! texts {
    ($($type:ty: $about:literal $(, pattern $pattern:literal)?;)*) => {$(
        impl $crate::model::decode::Decode for $type {
            fn decode(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                context: &mut $crate::model::decode::Context<'_>,
            ) -> Option<Self> {
                $crate::model::decode::text(value, $about, context)
            }

            fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "title": $about,
                    $("pattern": $pattern,)?
                })
            }
        }
    )*};
}
pub(crate) use texts;

/// Reads a text that is parsed.
pub(crate) fn text<T: FromStr<Err: ToString>>(
    value: &Spanned<DeValue<'_>>,
    wanted: &str,
    context: &mut Context<'_>,
) -> Option<T> {
    let DeValue::String(text) = value.get_ref() else {
        return mistyped(value, wanted, "write it in quotes", context);
    };
    text.parse()
        .map_err(|error: T::Err| context.error_text(value.span(), &error.to_string()))
        .ok()
}

/// The schema with a description (the lines of a doc comment) and perhaps a default.
pub(crate) fn described(mut schema: Schema, doc: &[&str], default: &[Value]) -> Schema {
    schema.insert("description".into(), prose(doc).into());
    if let Some(default) = default.first() {
        schema.insert("default".into(), default.clone());
    }
    schema
}

/// The schema of a table.
pub(crate) fn object<T: Section>(generator: &mut SchemaGenerator, about: &[&str]) -> Schema {
    let (mut all, mut required) = (Map::new(), BTreeSet::new());
    T::properties(generator, &mut all, &mut required);
    let mut schema = json_schema!({
        "type": "object",
        "description": prose(about),
        "properties": all,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema.insert("required".into(), serde_json::json!(required));
    }
    schema
}

/// The lines of a doc comment as one paragraph.
fn prose(doc: &[&str]) -> String {
    let lines: Vec<_> = doc.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}
