//! Tables: each is declared once, by `table!`, with its keys, their types, defaults and
//! descriptions. From that come the reader, the list of known keys, and the schema.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::str::FromStr;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{At, Context, Decode, Field, closest, mistyped};
use crate::model::name::quoted;

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
                value: context.named(text, |context| T::decode(value, context)),
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
) -> Vec<(&'t Spanned<Cow<'i, str>>, &'t Spanned<DeValue<'i>>)> {
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
    /// Where it begins.
    start: usize,
    known: Vec<&'static str>,
}

impl<'t, 'i> Reader<'t, 'i> {
    pub(crate) fn new(table: &'t DeTable<'i>, start: usize) -> Self {
        Self {
            table,
            start,
            known: Vec::with_capacity(24),
        }
    }

    /// The value of a key.
    pub(crate) fn field<T: Decode>(
        &mut self,
        key: &'static str,
        context: &mut Context<'_>,
    ) -> Field<T> {
        self.known.push(key);
        let Some(value) = self.table.get(key) else {
            return if context.may_be_broken(self.start, key) {
                Field::Lost
            } else {
                Field::Absent
            };
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
                let mut reader = Reader::new(table, value.span().start);
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
