//! Tests of node sets.

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;

fn expanded(text: &str) -> Vec<String> {
    expand(text).expect(text)
}

fn refused(text: &str) -> String {
    text.parse::<NodeSet>().expect_err(text).to_string()
}

#[test]
fn ranges_are_names() {
    for (text, names) in [
        ("s3", "s3"),
        ("S3", "s3"),
        ("s[0-3]", "s0 s1 s2 s3"),
        ("s[08-11]", "s08 s09 s10 s11"),
        ("s[8-11]", "s8 s9 s10 s11"),
        ("s[98-101]", "s98 s99 s100 s101"),
        ("s[099-101]", "s099 s100 s101"),
        ("s[09-100/40]", "s09 s49 s89"),
        ("s[1,3,5-7]", "s1 s3 s5 s6 s7"),
        ("s[0-20/10]", "s0 s10 s20"),
        ("r[1-2]n[01-02]", "r1n01 r1n02 r2n01 r2n02"),
        (
            "s[0-1].x[1-2]-bmc",
            "s0.x1-bmc s0.x2-bmc s1.x1-bmc s1.x2-bmc",
        ),
        ("[1-2]a", "1a 2a"),
        ("s1,t[1-2]", "s1 t1 t2"),
        (" s1\tt1,,u1 ", "s1 t1 u1"),
        ("s[1,1]", "s1 s1"),
        ("s[0]", "s0"),
        ("s[00]", "s00"),
    ] {
        assert_eq!(expanded(text).join(" "), names, "{text}");
    }
}

#[test]
fn what_is_no_range_is_told_with_its_place() {
    let messages: Vec<_> = [
        "",
        " , ",
        "s[",
        "s[]",
        "s[1-]",
        "s[-1]",
        "s[1,]",
        "s[a-b]",
        "s[3-1]",
        "s[1-024]",
        "s[01-9]",
        "s[1-5/0]",
        "s[1-5/]",
        "s_1",
        "s[1-2]]",
        "t1,s[1-x]",
        "s[0-99999]",
        "s[0-999][0-999]",
        "s[1-9999999999999999999]",
        "@",
        "@a=b",
        "@image=",
        "!",
        "s1&",
        "s1&&s2",
    ]
    .map(|text| format!("{text:<26} {}", refused(text)))
    .into();
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn a_set_that_is_too_large_is_refused() {
    assert_eq!(expanded("s[0-65535]").len(), MAX_EXPANSION);
    for text in [
        "s[0-65536]",
        "s[0-32767],t[0-32768]",
        "s[0-99999999999999]x[0-99999999999999]",
    ] {
        assert!(refused(text).contains("more than 65536 names"), "{text}");
    }
    let long = "s1,".repeat(MAX_SET_BYTES / 3 + 1);
    assert!(refused(&long).contains("the limit is 1048576"));
}

#[test]
fn names_are_made_by_names_alone() {
    for text in ["@all", "!s1", "s1&s2", "s1,@gpu"] {
        let error = expand(text).expect_err(text);
        assert!(error.what.contains("chooses among nodes"), "{error}");
    }
}

#[test]
fn names_fold_to_ranges() {
    for (names, folded) in [
        ("", ""),
        ("s0 s1 s2", "s[0-2]"),
        ("s2 s0 s1 s1", "s[0-2]"),
        ("s1 s3 s5 s6 s7", "s[1,3,5-7]"),
        ("login s1", "login,s1"),
        ("s08 s09 s10 s11", "s[08-11]"),
        ("s8 s9 s10 s11", "s[8-11]"),
        ("s1 s01", "s1,s01"),
        ("s9 s09 s10", "s9,s[09-10]"),
        ("s099 s100 s7", "s7,s[099-100]"),
        ("r1n01 r1n02 r2n01 r2n02", "r[1-2]n[01-02]"),
        ("r1n01 r1n02 r2n01", "r1n[01-02],r2n01"),
        ("r1n1 r2n2", "r1n1,r2n2"),
        ("a1.x b1.x a2.x", "a[1-2].x,b1.x"),
        (
            "x1234567890123456789 x1234567890123456788",
            "x1234567890123456788,x1234567890123456789",
        ),
        ("7 8 9a", "[7-8],9a"),
    ] {
        assert_eq!(fold(names.split_whitespace()), folded, "{names}");
    }
}

#[test]
fn ten_thousand_names_fold_to_one_range() {
    let names = expanded("rack[1-100]n[001-100]");
    assert_eq!(fold(&names), "rack[1-100]n[001-100]");
}

/// Names with few letters and few numbers, so that many are alike.
fn name() -> impl Strategy<Value = String> {
    let number = prop_oneof!["[0-9]", "[0-3][0-9]", "0[0-9][0-9]", "[0-9]{19,20}"];
    let part = ("[a-b.-]{0,2}", number).prop_map(|(text, number)| text + &number);
    (vec(part, 0..4), "[a-b]{0,1}").prop_map(|(parts, end)| parts.concat() + &end)
}

fn pattern() -> impl Strategy<Value = String> {
    let item = prop_oneof![
        "[0-9]{1,2}",
        "[0-3]-[4-9]",
        "0[0-3]-[1-2][0-9]",
        "[0-3]-[4-9]/[1-3]",
    ];
    let bracket = vec(item, 1..3).prop_map(|items| format!("[{}]", items.join(",")));
    let piece = prop_oneof!["[a-z]{1,3}", bracket];
    vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn folded_names_expand_to_the_same_names(names in btree_set(name(), 1..60)) {
        let names: BTreeSet<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
        prop_assume!(!names.is_empty());
        let folded = fold(&names);
        let again = expanded(&folded);
        let unique: BTreeSet<_> = again.iter().cloned().collect();
        prop_assert_eq!(again.len(), unique.len(), "{} names one twice", folded);
        prop_assert_eq!(unique, names, "{}", folded);
    }

    #[test]
    fn a_pattern_is_printed_as_it_is_parsed(text in pattern()) {
        if let Ok(pattern) = Pattern::parse(&text) {
            prop_assert_eq!(pattern.expand().len(), pattern.count());
            let printed = pattern.to_string();
            let again = Pattern::parse(&printed).expect("it was printed");
            prop_assert_eq!(again.expand(), pattern.expand(), "{}", printed);
        }
    }

    #[test]
    fn any_text_is_a_set_or_an_error_with_a_place(text in "[a-b0-9\\[\\],@!& /=-]{0,30}|.{0,30}") {
        match text.parse::<NodeSet>() {
            Ok(set) => {
                let printed = set.to_string();
                prop_assert_eq!(printed.parse(), Ok(set), "{}", printed);
            }
            Err(error) => prop_assert!(error.at <= text.len(), "{}", error),
        }
    }
}
