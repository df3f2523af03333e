//! Words and texts: values of which only some are valid.

use std::str::FromStr;

use schemars::{Schema, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use super::{Context, mistyped};
use crate::model::name::quoted;

/// What somebody may have meant by a word that is none of these.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('_', "-");
    let likeness = |candidate: &'a str| {
        let lower = candidate.to_ascii_lowercase();
        // A slip or two, or a beginning that is the same.
        let slips = strsim::osa_distance(&word, &lower);
        let likeness = strsim::jaro_winkler(&word, &lower);
        let is_slip = slips <= (word.len() / 3).max(1) && slips < lower.len();
        (is_slip || likeness > 0.85).then_some((slips, likeness, candidate))
    };
    let candidates = known.into_iter().filter_map(likeness);
    candidates
        .min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)))
        .map(|(_, _, candidate)| candidate)
}

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
