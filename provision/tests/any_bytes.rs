//! The properties of the fuzz targets `dhcp_hosts` and `cluster_toml`, on every test run.

#[path = "../../fuzz/properties/cluster_toml.rs"]
mod cluster_toml;
#[path = "../../fuzz/properties/dhcp_hosts.rs"]
mod dhcp_hosts;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A file with every key.
const EVERYTHING: &str = include_str!("../../docs/cluster.toml");

/// Pieces of host lists, and other bytes.
fn piece_of_list() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-c][0-9]{0,2}".prop_map(String::into_bytes),
        "10\\.0\\.0\\.[1-9]".prop_map(String::into_bytes),
        "52:54:00:00:00:0[1-9]".prop_map(String::into_bytes),
        "[a-c]1 10\\.0\\.0\\.[1-9] 52-54-00-00-00-0[1-9]\n".prop_map(String::into_bytes),
        "[ \t\r\n#]".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..20),
    ]
}

/// Lines of a cluster's description, and other text.
fn piece_of_cluster() -> impl Strategy<Value = String> {
    let lines: Vec<&str> = EVERYTHING.lines().collect();
    prop_oneof![
        select(lines).prop_map(|line| format!("\n{line}\n")),
        "[\\[\\]{}=\",.# \n'-]{1,4}",
        "[a-z0-9.:/@-]{1,8}",
        any::<char>().prop_map(String::from),
        Just(String::new()),
    ]
}

/// The text with a part of it replaced.
fn mutated(text: &str, begin: usize, length: usize, by: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let begin = begin % chars.len();
    let end = (begin + length).min(chars.len());
    let before = chars[..begin].iter().copied();
    before
        .chain(by.chars())
        .chain(chars[end..].iter().copied())
        .collect()
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(pieces in vec(piece_of_list(), 0..30)) {
        dhcp_hosts::holds(&pieces.concat());
    }

    #[test]
    fn a_cluster_with_one_mutation_is_checked(
        begin in any::<usize>(), length in 0_usize..40, by in piece_of_cluster(),
    ) {
        cluster_toml::holds(mutated(EVERYTHING, begin, length, &by).as_bytes());
    }

    #[test]
    fn any_pieces_of_clusters_are_checked(pieces in vec(piece_of_cluster(), 0..30)) {
        cluster_toml::holds(pieces.concat().as_bytes());
    }
}
