//! Nodes, and what profiles and nodes may set.

use schemars::{Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::value::{RawAddress, RawBmcAddress, RawNames};
use crate::model::decode::{
    At, Context, Decode, Field, Number, OneOrMany, Port, Reader, Section, in_order, mistyped,
    table, words,
};
use crate::model::{
    AbsPath, Console, ExportName, ImageName, KernelArg, Loader, MacAddr, ProfileName, RootMode,
    Tag, UsrMode,
};

table! {
    /// Settings of nodes. In a profile they hold for every node that names it; what a node says itself goes before.
    RawSettings {
        /// What the node boots: the name of a section `[image.NAME]`.
        "image" image: ImageName;
        /// Where its root comes from.
        "root" root: RootMode, default RootMode::default().as_str();
        /// Where its /usr comes from.
        "usr" usr: UsrMode, default UsrMode::default().as_str();
        /// Arguments of the kernel, each a text of its own. Those of image, profiles and node are all given, in this order.
        "kernel-args" kernel_args: Vec<At<KernelArg>>;
        /// The kernel's console or consoles, such as `ttyS0,115200n8`; the last one is /dev/console.
        "console" console: OneOrMany<Console>;
        /// What the firmware loads first.
        "loader" loader: Loader, default Loader::default().as_str();
        /// Words to choose nodes by (`@TAG`). Those of profiles and node are all given.
        "tags" tags: Vec<At<Tag>>;
        /// The exports that it mounts; without this, all that there are.
        "exports" exports: Vec<At<ExportName>>;
        /// How its regex-worker runs.
        "worker" worker: RawWorker;
        /// How it is switched on and off.
        "bmc" bmc: RawBmc;
    }

    /// How regex-worker runs on a node.
    RawWorker {
        /// Whether it runs at all.
        "enabled" enabled: bool, default true;
        /// Threads that scan; without this, the number of cores.
        "threads" threads: Number<1, 1024>;
        /// Leases held at once; without this, the worker's own default.
        "slots" slots: Number<1, 1024>;
        /// The directories that jobs may search; without this, where the exports are mounted.
        "roots" roots: Vec<At<AbsPath>>;
    }

    /// How a node is switched on and off. Passwords are never written here.
    RawBmc {
        /// The kind of switch. A profile may say it for its nodes.
        "kind" kind: BmcKindWord;
        /// Where it listens (ipmi, redfish). For several nodes a range (`10.1.0.[1-24]`), the first address, from which
        /// they are counted on, or a name with {node} in it (`{node}-bmc`).
        "address" address: RawBmcAddress;
        /// Its port (ipmi: UDP 623; redfish: TCP 443; wol: UDP 9).
        "port" port: Port;
        /// The user to log in as (ipmi, redfish).
        "user" user: String;
        /// A file of mode 0600 with the password in its first line, or `user:password` (ipmi, redfish). Without it the
        /// password is taken from the variable `REGEX_PROVISION_BMC_PASSWORD`.
        "credentials" credentials: AbsPath;
        /// How the connection is secured (redfish).
        "tls" tls: Tls, default "verify";
        /// The system's id, where the service has several (redfish).
        "system" system: String;
        /// The command that switches a node on, as a list of arguments (command). {node}, {address} and {mac} stand for
        /// the node's values.
        "on" on: Vec<At<String>>;
        /// The command that switches it off (command).
        "off" off: Vec<At<String>>;
        /// The command that switches it off and on (command).
        "cycle" cycle: Vec<At<String>>;
        /// The command that prints `on` or `off` (command).
        "status" status: Vec<At<String>>;
    }
}

/// The word for a kind of switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum BmcKindWord {
    Ipmi,
    Redfish,
    Wol,
    Command,
}

/// How a connection to Redfish is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Tls {
    Verify,
    Insecure,
    Off,
}

words! {
    pub(in crate::model) BmcKindWord {
        "ipmi" Ipmi "IPMI over the network.",
        "redfish" Redfish "Redfish over HTTP.",
        "wol" Wol "Wake-on-LAN: can only switch on.",
        "command" Command "Commands of the site.",
    }
    pub(in crate::model) Tls {
        "verify" Verify "https, and the certificate must be one that the system trusts.",
        "insecure" Insecure "https with any certificate.",
        "off" Off "http.",
    }
}

/// One section of nodes.
#[derive(Debug, Clone)]
pub(in crate::model) struct RawNode {
    /// Its names; `Invalid` or `Absent` was reported.
    pub(in crate::model) name: Field<RawNames>,
    pub(in crate::model) mac: Field<OneOrMany<MacAddr>>,
    pub(in crate::model) address: Field<OneOrMany<RawAddress>>,
    pub(in crate::model) profile: Field<OneOrMany<ProfileName>>,
    pub(in crate::model) settings: RawSettings,
}

table! {
    /// One node, or several whose names are written by ranges.
    RawNodeKeys {
        /// The node's name, or names by ranges: `s[0-9]`, `rack[1-4]n[01-24]`, `s[1,3,5-7]`. Not in a section `[node.NAME]`.
        "name" name: RawNames;
        /// The Ethernet address it boots from; for several nodes a list, in the order of the names.
        "mac" mac: OneOrMany<MacAddr>, required;
        /// Its address; for several nodes a list, a range (`10.0.[1-4].[1-24]`), or the first one, from which they are
        /// counted on in the order of the names. Without it the nodes are allotted the lowest free addresses of the subnet,
        /// in the order of the file; so a node that is added or removed can shift those behind it, which `plan` shows. It must
        /// be there with `mode = "proxy"`, where another server gives the addresses.
        "address" address: OneOrMany<RawAddress>;
        /// The profile or profiles whose settings it takes; a later one goes before an earlier one.
        "profile" profile: OneOrMany<ProfileName>;
        ..settings: RawSettings;
    }
}

/// All sections of nodes, in the order of the file. The place is the section's header or name.
#[derive(Debug, Clone)]
pub(in crate::model) struct RawNodes {
    pub(in crate::model) sections: Vec<At<RawNode>>,
    /// Whether all were read; else there were too many nodes, which was reported.
    pub(in crate::model) is_whole: bool,
}

impl Default for RawNodes {
    fn default() -> Self {
        Self {
            sections: Vec::new(),
            is_whole: true,
        }
    }
}

impl Decode for RawNodes {
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let mut sections = Vec::new();
        let mut add = |node: At<RawNode>, context: &mut Context<'_>| {
            // A name that cannot be read is that of one at least.
            let is_named = node.value.name.given().is_some();
            let has_room = is_named || context.may_name(1, &node.span);
            sections.push(node);
            has_room && !context.has_too_many_nodes()
        };
        match value.get_ref() {
            DeValue::Array(array) => {
                for value in array {
                    let DeValue::Table(table) = value.get_ref() else {
                        mistyped::<()>(value, "a table", "write a section [[node]]", context);
                        continue;
                    };
                    let node = listed(table, value, context);
                    if !add(node, context) {
                        break;
                    }
                }
            }
            DeValue::Table(table) => {
                for (key, value) in in_order(table) {
                    let DeValue::Table(table) = value.get_ref() else {
                        let what = "a section of a node";
                        let fix = "write [[node]] with a name, or [node.NAME]";
                        mistyped::<()>(value, what, fix, context);
                        continue;
                    };
                    let start = value.span().start;
                    let node = keyed(key.get_ref(), &key.span(), table, start, context);
                    if !add(node, context) {
                        break;
                    }
                }
            }
            _ => return mistyped(value, "a section", "write [[node]]", context),
        }
        Some(Self {
            sections,
            is_whole: !context.has_too_many_nodes(),
        })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let section = generator.subschema_for::<RawNodeKeys>();
        json_schema!({ "anyOf": [
            { "type": "array", "items": section.clone() },
            { "type": "object", "additionalProperties": section },
        ] })
    }
}

/// The places of all sections of nodes, in the order of the file: of each what [`RawNodes`] has as its place.
pub(in crate::model) fn places(value: &Spanned<DeValue<'_>>) -> Vec<std::ops::Range<usize>> {
    match value.get_ref() {
        DeValue::Array(array) => {
            let place = |value: &Spanned<DeValue<'_>>| {
                let table = value.get_ref().as_table()?;
                let name = table.get("name").map(Spanned::span);
                Some(name.unwrap_or_else(|| value.span()))
            };
            array.iter().filter_map(place).collect()
        }
        DeValue::Table(table) => in_order(table)
            .into_iter()
            .filter(|(_, value)| value.get_ref().is_table())
            .map(|(key, _)| key.span())
            .collect(),
        _ => Vec::new(),
    }
}

/// A section `[[node]]`.
fn listed(
    table: &DeTable<'_>,
    value: &Spanned<DeValue<'_>>,
    context: &mut Context<'_>,
) -> At<RawNode> {
    let start = value.span().start;
    // Messages about the section name its nodes, where that can be.
    let name = table.get("name").and_then(|name| name.get_ref().as_str());
    let node = match name {
        Some(name) => context.named(name, |context| section(table, start, context)),
        None => section(table, start, context),
    };
    if matches!(node.name, Field::Absent) {
        let fix = "add one, such as name = \"s[0-9]\"";
        context.error(value.span(), "the section has no name", fix);
    }
    let span = node.name.span().unwrap_or_else(|| value.span());
    At { value: node, span }
}

/// A section `[node.NAME]`.
fn keyed(
    name: &str,
    span: &std::ops::Range<usize>,
    table: &DeTable<'_>,
    start: usize,
    context: &mut Context<'_>,
) -> At<RawNode> {
    let names = RawNames::read(name, span, context);
    let mut node = context.named(name, |context| section(table, start, context));
    if let Some(span) = node.name.span() {
        let what = "the section is named in its header already";
        context.named(name, |context| {
            context.error(span, what, "remove this line");
        });
    }
    node.name = match names {
        Some(value) => Field::Given(At {
            value,
            span: span.clone(),
        }),
        None => Field::Invalid(span.clone()),
    };
    At {
        value: node,
        span: span.clone(),
    }
}

fn section(table: &DeTable<'_>, start: usize, context: &mut Context<'_>) -> RawNode {
    let mut reader = Reader::new(table, start);
    let keys = RawNodeKeys::read(&mut reader, context);
    reader.finish(context);
    let RawNodeKeys {
        name,
        mac,
        address,
        profile,
        settings,
    } = keys;
    RawNode {
        name,
        mac,
        address,
        profile,
        settings,
    }
}
