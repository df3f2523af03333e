//! Tests of choosing nodes of a cluster.

use super::*;
use crate::model::parse;
use crate::nodeset::{NodeSet, fold};

const CLUSTER: &str = r#"
[cluster]
name = "lab"
interface = "eth1"
subnet = "10.0.0.0/24"
master = "10.0.0.1"
[image.base]
source = { kind = "tar", path = "/a.tar" }
[image.other]
source = { kind = "tar", path = "/b.tar" }
[image.unused]
source = { kind = "tar", path = "/c.tar" }
[export.data]
path = "/data"
[profile.default]
image = "base"
[profile.gpu]
image = "other"
tags = ["gpu"]
[[node]]
name = "t1"
mac = "52:54:00:00:01:00"
address = "10.0.0.20"
profile = "gpu"
[[node]]
name = "s[0-3]"
mac = ["52:54:00:00:00:00", "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"]
address = "10.0.0.10"
tags = ["rack1"]
"#;

/// Odd nodes are up, s0 is down, nothing is known of s2.
fn state(node: &Node) -> Option<State> {
    match node.name.as_str() {
        "s0" => Some(State::Down),
        "s2" => None,
        _ => Some(State::Up),
    }
}

fn chosen(set: &str) -> Result<Vec<String>, String> {
    let cluster = parse(CLUSTER).expect("it is right");
    let set: NodeSet = set.parse().expect("it is a set");
    let nodes = set
        .select(&cluster, Some(&state))
        .map_err(|error| error.to_string())?;
    Ok(nodes.iter().map(|node| node.name.to_string()).collect())
}

#[test]
fn sets_choose_nodes_in_the_order_of_the_cluster() {
    for (set, nodes) in [
        ("s1", "s1"),
        ("s[0-1],t1", "t1 s0 s1"),
        ("s1,s1,S1", "s1"),
        ("@all", "t1 s0 s1 s2 s3"),
        ("@gpu", "t1"),
        ("@rack1", "s0 s1 s2 s3"),
        ("@image=base", "s0 s1 s2 s3"),
        ("@image=unused", ""),
        ("@profile=gpu", "t1"),
        ("@profile=default", "t1 s0 s1 s2 s3"),
        ("@up", "t1 s1 s3"),
        ("@down", "s0"),
        ("@all,!@up", "s0 s2"),
        ("@rack1&@up", "s1 s3"),
        ("!s1", "t1 s0 s2 s3"),
        ("!s1,!@gpu", "s0 s2 s3"),
        ("!s[0-1],s[0-3]", "s2 s3"),
        ("@all,!@rack1&@up", "t1 s0 s2"),
        ("s0&s1", ""),
    ] {
        assert_eq!(
            chosen(set).map(|nodes| nodes.join(" ")),
            Ok(nodes.into()),
            "{set}"
        );
    }
}

#[test]
fn what_is_not_there_is_an_error() {
    let told: Vec<_> = ["s[2-5]", "x", "!x", "@cpu", "@image=bsae", "@profile=x"]
        .map(|set| format!("{set:<12} {}", chosen(set).expect_err(set)))
        .into();
    insta::assert_snapshot!(told.join("\n"));
    let empty = CLUSTER
        .split("[[node]]")
        .next()
        .expect("there is a beginning");
    let cluster = parse(empty).expect("it is right");
    let told: Vec<_> = ["s1", "@gpu", "@profile=gpu"]
        .map(|set| {
            let set: NodeSet = set.parse().expect("it is a set");
            set.select(&cluster, None)
                .expect_err("there are no nodes")
                .to_string()
        })
        .into();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn states_must_be_known_to_be_asked_for() {
    let cluster = parse(CLUSTER).expect("it is right");
    let set: NodeSet = "s1,@down".parse().expect("it is a set");
    assert_eq!(set.select(&cluster, None), Err(SelectError::NoStates));
}

#[test]
fn a_union_means_what_its_sets_mean() {
    let cluster = parse(CLUSTER).expect("it is right");
    let union = |sets: &[&str]| {
        let sets = sets.iter().map(|set| set.parse().expect("it is a set"));
        let nodes = NodeSet::union(sets)
            .select(&cluster, None)
            .expect("all is there");
        fold(nodes.iter().map(|node| node.name.as_str()))
    };
    assert_eq!(union(&[]), "");
    assert_eq!(union(&["s1", "s[2-3]"]), "s[1-3]");
    assert_eq!(union(&["s[0-3]", "t1"]), "s[0-3],t1");
}
