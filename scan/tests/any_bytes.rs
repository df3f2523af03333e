//! The property of the fuzz target `pattern`, on every test run.

#[path = "../../fuzz/properties/pattern.rs"]
mod property;

use proptest::collection::vec;
use proptest::prelude::*;

/// Pieces of patterns, few letters, so that something matches; and any text.
fn pattern() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[ab\n]",
        4 => prop::sample::select(vec![
            ".", "\\w", "\\s", "\\b", "^", "$", "|", "*", "+?", "{2}", "(", ")", "[^a]", "\\n",
            "\\r", "(?i)", "(?s:.)", "\\x00", "\u{1}", "\\pL",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn haystack() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => "[abAB]{1,3}".prop_map(String::into_bytes),
        4 => "[\n\r ]".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..4),
        1 => Just(vec![0]),
    ];
    vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn memory_and_stream_agree(modes in any::<[u8; 3]>(), pattern in pattern(), haystack in haystack()) {
        property::holds(&[&modes[..], pattern.as_bytes(), b"\xff", &haystack].concat());
    }
}
