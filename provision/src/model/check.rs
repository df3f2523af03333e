//! From the tables of `cluster.toml` to a checked [`Cluster`].
//!
//! The checks go on after a mistake as far as they can, so that one run reports all; what
//! depends on a value that is wrong already is not reported again. Where the TOML is broken, the rest
//! is checked without it.

mod allot;
mod bmc;
mod image;
mod network;
mod nodes;
mod services;
mod settings;
mod taken;

use std::collections::BTreeMap;

use super::ClusterName;
use super::cluster::{Cluster, Parts};
use super::decode::{At, Context, Decode, Field, Named};
use super::problem::{Lines, Problems, Reporter, Severity, Span};
use super::raw::{self, RawFile, RawNodes};
use super::recover::{self, SyntaxError};

use toml::de::DeTable;

/// The largest `cluster.toml`, in bytes.
pub const MAX_FILE_BYTES: usize = 32 << 20;

/// A cluster, or what keeps the file from being one; and what only looks unintended.
#[derive(Debug, Clone)]
pub struct Checked {
    /// None if there are errors.
    pub cluster: Option<Cluster>,
    /// Errors and warnings, in the order of the file.
    pub problems: Problems,
}

/// Checks the text of a `cluster.toml`.
pub fn check(text: &str) -> Checked {
    let mut report = Reporter::default();
    if text.len() > MAX_FILE_BYTES {
        let what = format!(
            "the file has {} bytes; the limit is {MAX_FILE_BYTES}",
            text.len()
        );
        report.error(0..0, what, "write nodes by ranges");
        return Checked {
            cluster: None,
            problems: report.finish(""),
        };
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let cluster = recover::parse(text, |value, errors, broken| {
        for SyntaxError { span, what } in errors {
            report.syntax(span.clone(), what.clone(), syntax_fix(what));
        }
        report.names_lost = broken.names;
        let raw = RawFile::decode(value, &mut Context::new(&mut report, text, broken))?;
        cluster(&raw, text, &mut report)
    });
    let cluster = cluster.filter(|_| report.is_clean());
    let problems = report.finish(text);
    debug_assert_eq!(
        cluster.is_none(),
        problems.list.iter().any(|p| p.severity == Severity::Error)
    );
    Checked { cluster, problems }
}

/// The lines where the nodes' sections begin, in their order: of each the line with the name. For
/// text that can be read; of other text what could be read.
pub fn node_lines(text: &str) -> Vec<usize> {
    let (table, _) = DeTable::parse_recoverable(text);
    let lines = Lines::new(text);
    let sections = table.get_ref().get("node").map(raw::places);
    let sections = sections.unwrap_or_default().into_iter();
    sections.map(|place| lines.line(place.start)).collect()
}

/// What to do where the TOML is broken.
fn syntax_fix(what: &str) -> &'static str {
    if what.contains("duplicate key") {
        "each key and each section may be there once"
    } else if what.contains("must be quoted") {
        "write texts in quotes, numbers and true or false without"
    } else if what.contains("not closed") {
        "close it"
    } else {
        "correct the TOML"
    }
}

fn cluster(raw: &RawFile, text: &str, report: &mut Reporter) -> Option<Cluster> {
    let name = name(raw, report);
    let network = network::check(raw, report);
    let dhcp = services::dhcp(raw.dhcp.given(), report);
    let images = named(&raw.image, |name, raw| image::check(name, raw, report));
    let exports = named(&raw.export, |name, raw| services::export(name, raw, report));
    let time = services::time(raw.time.given());
    let log = services::log(raw.log.at(), report);
    let ssh = services::ssh(raw.ssh.given(), report);
    let serve = services::serve(raw.serve.given(), report);
    let lines = Lines::new(text);
    services::own_exports(raw, &serve, &lines, report);
    let power = services::power(raw.power.given(), report);
    let mut scope = settings::Scope::new(raw, &images, &exports, report);
    let no_nodes = RawNodes::default();
    let sections = raw.node.given().unwrap_or(&no_nodes);
    let facts = network::Facts::new(raw, network.as_ref());
    let (nodes, holders) = nodes::check(sections, &mut scope, &facts, &lines, report);
    if !nodes.is_empty() && sections.is_whole {
        scope.warn_unused(report);
    }
    if !report.is_clean() {
        return None;
    }
    Some(Cluster::new(Parts {
        name: name?,
        network: network?,
        dhcp: dhcp?,
        images,
        exports,
        time,
        log: log?,
        ssh,
        serve,
        power,
        nodes,
        holders,
    }))
}

fn name(raw: &RawFile, report: &mut Reporter) -> Option<ClusterName> {
    let Some(cluster) = raw.cluster.at() else {
        if let Field::Absent = raw.cluster {
            report.error(
                0..0,
                "the section [cluster] is missing",
                "add it with name, interface, subnet and master, or begin with `regex-provision init`",
            );
        }
        return None;
    };
    required(
        &cluster.value.name,
        "cluster",
        "name",
        &cluster.span,
        report,
    )
}

/// The value of a key that must be there.
fn required<T: Clone>(
    field: &Field<T>,
    section: &str,
    key: &str,
    span: &Span,
    report: &mut Reporter,
) -> Option<T> {
    if let Field::Absent = field {
        report.error(
            span.start..span.start,
            format!("{section}: `{key}` is missing"),
            "add it to this section",
        );
    }
    field.given().cloned()
}

/// The sections of one kind, by name; what is not right is left out, for it was reported.
fn named<N: Ord + Clone, R, T>(
    sections: &Field<Named<N, R>>,
    mut check: impl FnMut(&At<N>, &At<R>) -> Option<T>,
) -> BTreeMap<N, T> {
    let Some(Named(sections)) = sections.given() else {
        return BTreeMap::new();
    };
    let check = |(name, raw): &(At<N>, At<R>)| Some((name.value.clone(), check(name, raw)?));
    sections.iter().filter_map(check).collect()
}

/// The names of sections, right or not.
fn names<N, R>(sections: &Field<Named<N, R>>) -> impl Iterator<Item = &N> {
    let sections = sections.given().map_or(&[][..], |named| &named.0);
    sections.iter().map(|(name, _)| &name.value)
}

/// A reference to a section that is not there: what is wrong, and what to do.
fn unknown<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str>) -> (String, String) {
    let fix = match super::decode::closest(name, known) {
        Some(close) => format!("did you mean {close}?"),
        None => format!("add a section [{what}.{name}], or name one that is there"),
    };
    (format!("there is no {what} {name}"), fix)
}

/// The keys of a table that is read in several ways belong to the way that was chosen.
fn only(
    section: &str,
    kind: &str,
    keys: &[(&str, Option<Span>)],
    allowed: &[&str],
    report: &mut Reporter,
) {
    for (key, span) in keys {
        if let Some(span) = span
            && !allowed.contains(key)
        {
            report.error(
                span.clone(),
                format!("{section}: `{key}` means nothing for {kind}"),
                format!("remove it; with {kind} go: {}", allowed.join(", ")),
            );
        }
    }
}
