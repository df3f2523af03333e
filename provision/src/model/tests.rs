//! Tests of the model: what is accepted, and what is said of what is not.

mod accepted;
mod cluster;
mod images;
mod nodes;
mod properties;
mod schema;
mod switches;
mod syntax;

use super::*;

/// A small cluster without mistakes. Tests add to it, or replace a part of it.
const BASE: &str = r#"[cluster]
name = "lab"
interface = "eth1"
subnet = "10.0.0.0/24"
master = "10.0.0.1"

[dhcp]
range = "10.0.0.200-10.0.0.250"

[image.base]
source = { kind = "tar", path = "/srv/base.tar" }

[export.data]
path = "/data"

[profile.default]
image = "base"

[[node]]
name = "s[0-2]"
mac = ["52:54:00:00:00:00", "52:54:00:00:00:01", "52:54:00:00:00:02"]
address = "10.0.0.10"
"#;

/// The cluster of a text without mistakes and warnings.
#[track_caller]
fn accepted(text: &str) -> Cluster {
    let checked = check(text);
    assert!(checked.problems.list.is_empty(), "{}", checked.problems);
    checked.cluster.expect("there are no problems")
}

/// Everything that is said of a text, a line each.
fn told(text: &str) -> String {
    let Checked { cluster, problems } = check(text);
    let has_errors = problems.list.iter().any(|p| p.severity == Severity::Error);
    assert_eq!(cluster.is_none(), has_errors, "{problems}");
    problems.short("f")
}

/// What is said where this is added to the small cluster.
fn told_with(more: &str) -> String {
    told(&format!("{BASE}\n{more}"))
}

/// What is said where a part of the small cluster is replaced.
#[track_caller]
fn told_replaced(part: &str, by: &str) -> String {
    assert!(
        BASE.contains(part),
        "{part:?} is no part of the small cluster"
    );
    told(&BASE.replacen(part, by, 1))
}

/// Cases and what is said of each, for a snapshot.
fn cases(cases: &[(&str, String)]) -> String {
    let case = |(name, told): &(&str, String)| {
        assert!(!told.is_empty(), "nothing is said of {name:?}");
        format!("# {name}\n{told}")
    };
    cases.iter().map(case).collect::<Vec<_>>().join("\n")
}
