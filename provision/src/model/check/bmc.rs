//! Switches: keys that belong to the kind, an address for each node, no two nodes on one switch.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::nodes::counted_on;
use super::{only, required};
use crate::model::decode::At;
use crate::model::name::quoted;
use crate::model::node::{Bmc, BmcKind, Credentials};
use crate::model::problem::{Reporter, Span, what_and_fix};
use crate::model::raw::{BmcKindWord, NODE_PLACEHOLDER, RawBmc, RawBmcAddress, Tls};
use crate::model::{Host, Hostname, HttpUrl, NodeIp};

/// The usual ports.
const IPMI_PORT: u16 = 623;
const WOL_PORT: u16 = 9;

/// What may stand in a command.
const PLACEHOLDERS: [&str; 3] = ["{node}", "{address}", "{mac}"];

/// The longest name of a user: what IPMI 2.0 has is 16, Redfish services have more.
const MAX_USER_BYTES: usize = 64;

/// Whose each switch is.
pub(super) type Switches = HashMap<(String, u16), Hostname>;

/// The switches of a section's nodes, in their order. None if that was reported.
pub(super) fn of_section(
    at: &At<RawBmc>,
    names: &[Hostname],
    label: &str,
    master: Option<NodeIp>,
    switches: &mut Switches,
    report: &mut Reporter,
) -> Option<Vec<Option<Bmc>>> {
    let At { value: raw, span } = at;
    let section = format!("{label}: bmc");
    let kind = required(&raw.kind, &section, "kind", span, report)?;
    keys(&section, raw, kind, report);
    let credentials = Credentials {
        user: raw.user.given().cloned(),
        file: raw.credentials.given().cloned(),
    };
    if let Some(user) = raw.user.at() {
        let is_user = (1..=MAX_USER_BYTES).contains(&user.value.len())
            && !user.value.starts_with('-')
            && user
                .value
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b':');
        if !is_user {
            let what = format!("{section}: {} is no user", quoted(&user.value));
            let fix = "write visible characters other than ':', at most 64";
            report.error(user.span.clone(), what, fix);
        }
    }
    let port = raw.port.given().map(|port| port.u16());
    let kinds: Vec<BmcKind> = match kind {
        BmcKindWord::Wol => {
            let port = port.unwrap_or(WOL_PORT);
            vec![BmcKind::Wol { port }; names.len()]
        }
        BmcKindWord::Command => vec![command(&section, raw, span, report)?; names.len()],
        BmcKindWord::Ipmi => {
            let port = port.unwrap_or(IPMI_PORT);
            let hosts = hosts(&section, raw, span, names, report)?;
            let kind = |address| BmcKind::Ipmi { address, port };
            hosts.into_iter().map(kind).collect()
        }
        BmcKindWord::Redfish => {
            let tls = raw.tls.unwrap_or(Tls::Verify);
            let system = raw.system.given().cloned();
            let hosts = hosts(&section, raw, span, names, report)?;
            let kind = |host| BmcKind::Redfish {
                url: url(&host, port, tls),
                system: system.clone(),
                verify: tls == Tls::Verify,
            };
            hosts.into_iter().map(kind).collect()
        }
    };
    let place = raw.address.span().unwrap_or_else(|| span.clone());
    // A simulated one may listen there, on a port of its own.
    if raw.port.is_absent()
        && let Some(master) = master
        && kinds.iter().any(|kind| address(kind) == Some(master.get()))
    {
        report.error(
            place.clone(),
            format!("{section}: {master} is the master's address"),
            "give the switch's own address; one that is simulated on the master needs a `port`",
        );
    }
    for (name, kind) in names.iter().zip(&kinds) {
        own(&section, name, kind, &place, switches, report);
    }
    let bmc = |kind| {
        Some(Bmc {
            kind,
            credentials: credentials.clone(),
        })
    };
    Some(kinds.into_iter().map(bmc).collect())
}

/// Whether it listens where nothing but a BMC does, so that its address is all its own.
pub(super) fn has_usual_port(kind: &BmcKind) -> bool {
    match kind {
        BmcKind::Ipmi { port, .. } => *port == IPMI_PORT,
        BmcKind::Redfish { url, .. } => {
            let usual = [":443", ":80"];
            let (_, host) = url.as_str().split_once("://").unwrap_or_default();
            !host.contains(':') || usual.iter().any(|port| host.ends_with(port))
        }
        BmcKind::Wol { .. } | BmcKind::Command { .. } => false,
    }
}

/// Where a switch listens, if that is an address.
pub(super) fn address(kind: &BmcKind) -> Option<Ipv4Addr> {
    match kind {
        BmcKind::Ipmi { address, .. } => match address {
            Host::Address(address) => Some(*address),
            Host::Name(_) => None,
        },
        BmcKind::Redfish { url, .. } => {
            let (_, host) = url.as_str().split_once("://")?;
            host.split([':', '/']).next()?.parse().ok()
        }
        BmcKind::Wol { .. } | BmcKind::Command { .. } => None,
    }
}

fn keys(section: &str, raw: &RawBmc, kind: BmcKindWord, report: &mut Reporter) {
    let allowed: &[&str] = match kind {
        BmcKindWord::Ipmi => &["kind", "address", "port", "user", "credentials"],
        BmcKindWord::Redfish => &[
            "kind",
            "address",
            "port",
            "user",
            "credentials",
            "tls",
            "system",
        ],
        BmcKindWord::Wol => &["kind", "port"],
        BmcKindWord::Command => &["kind", "on", "off", "cycle", "status"],
    };
    let keys = [
        ("address", raw.address.span()),
        ("port", raw.port.span()),
        ("user", raw.user.span()),
        ("credentials", raw.credentials.span()),
        ("tls", raw.tls.span()),
        ("system", raw.system.span()),
        ("on", raw.on.span()),
        ("off", raw.off.span()),
        ("cycle", raw.cycle.span()),
        ("status", raw.status.span()),
    ];
    only(
        section,
        &format!("kind = \"{kind}\""),
        &keys,
        allowed,
        report,
    );
}

/// Where the switches listen, one a node.
fn hosts(
    section: &str,
    raw: &RawBmc,
    span: &Span,
    names: &[Hostname],
    report: &mut Reporter,
) -> Option<Vec<Host>> {
    let address = required(&raw.address, section, "address", span, report)?;
    let at = raw.address.span().unwrap_or_else(|| span.clone());
    let count = names.len();
    let error = |what: String, fix: &str, report: &mut Reporter| {
        report.error(at.clone(), format!("{section}: {what}"), fix);
        None
    };
    match address {
        RawBmcAddress::One(host) if count == 1 => Some(vec![host]),
        RawBmcAddress::One(Host::Name(name)) => error(
            format!("one name, {name}, for {count} switches"),
            "write {node} into it, such as {node}-bmc",
            report,
        ),
        RawBmcAddress::One(Host::Address(first)) => {
            let first = NodeIp::new(first).ok();
            match first.and_then(|first| counted_on(first, count)) {
                Some(list) => Some(list.into_iter().map(|ip| Host::Address(ip.get())).collect()),
                None => error(
                    format!("{count} addresses are more than there are from here on"),
                    "begin lower",
                    report,
                ),
            }
        }
        RawBmcAddress::Range(list) if list.len() == count => {
            Some(list.into_iter().map(|ip| Host::Address(ip.get())).collect())
        }
        RawBmcAddress::Range(list) => error(
            format!("{} addresses for {count} switches", list.len()),
            "give one for each node, in the order of the names",
            report,
        ),
        RawBmcAddress::Template(template) => {
            let name = |node: &Hostname| template.replace(NODE_PLACEHOLDER, node.as_str()).parse();
            match names.iter().map(name).collect::<Result<Vec<Hostname>, _>>() {
                Ok(names) => Some(names.into_iter().map(Host::Name).collect()),
                Err(bad) => {
                    let bad = bad.to_string();
                    let (what, fix) = what_and_fix(&bad);
                    error(what.to_owned(), fix, report)
                }
            }
        }
    }
}

fn url(host: &Host, port: Option<u16>, tls: Tls) -> HttpUrl {
    let scheme = if tls == Tls::Off { "http" } else { "https" };
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let url = format!("{scheme}://{host}{port}");
    url.parse().expect("a host and a port make a URL")
}

/// No two nodes are switched by one switch.
fn own(
    section: &str,
    name: &Hostname,
    kind: &BmcKind,
    span: &Span,
    switches: &mut Switches,
    report: &mut Reporter,
) {
    let key = match kind {
        BmcKind::Ipmi { address, port } => (address.to_string(), *port),
        BmcKind::Redfish { url, system, .. } => (
            format!("{url} {}", system.as_deref().unwrap_or_default()),
            0,
        ),
        BmcKind::Wol { .. } | BmcKind::Command { .. } => return,
    };
    let place = key.0.clone();
    if let Some(other) = switches.insert(key, name.clone()) {
        report.error(
            span.clone(),
            format!(
                "{section}: {} switches {other} and {name}",
                place.trim_end()
            ),
            "give each node its own: an address, a port or a system",
        );
    }
}

fn command(section: &str, raw: &RawBmc, span: &Span, report: &mut Reporter) -> Option<BmcKind> {
    required(&raw.on, section, "on", span, report)?;
    for (key, field) in [
        ("on", &raw.on),
        ("off", &raw.off),
        ("cycle", &raw.cycle),
        ("status", &raw.status),
    ] {
        let Some(at) = field.at() else { continue };
        if at
            .value
            .first()
            .is_none_or(|program| program.value.is_empty())
        {
            report.error(
                at.span.clone(),
                format!("{section}: `{key}` names no program"),
                "write a list of the program and its arguments",
            );
        }
        for argument in &at.value {
            if argument.value.contains(char::is_control) {
                report.error(
                    argument.span.clone(),
                    format!("{section}: {} is no argument", quoted(&argument.value)),
                    "write it without line feeds and other control characters",
                );
            }
            placeholders(section, argument, report);
        }
    }
    let list = |field: &crate::model::decode::Field<Vec<At<String>>>| {
        field.given().map(|_| field.values())
    };
    Some(BmcKind::Command {
        on: raw.on.values(),
        off: list(&raw.off),
        cycle: list(&raw.cycle),
        status: list(&raw.status),
    })
}

/// What stands in braces is known.
fn placeholders(section: &str, argument: &At<String>, report: &mut Reporter) {
    let mut rest = argument.value.as_str();
    while let Some(begin) = rest.find('{') {
        let Some(length) = rest[begin..].find('}') else {
            return;
        };
        let word = &rest[begin..=begin + length];
        if !PLACEHOLDERS.contains(&word) {
            report.error(
                argument.span.clone(),
                format!("{section}: unknown placeholder {}", quoted(word)),
                format!("write one of {}", PLACEHOLDERS.join(", ")),
            );
        }
        rest = &rest[begin + length + 1..];
    }
}
