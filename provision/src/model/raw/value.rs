//! How the values of the tables are written.

use std::net::Ipv4Addr;

use schemars::{Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use crate::model::decode::{Context, Decode, mistyped, texts, words};
use crate::model::image::{PackFormat, Script, Variant, WritableSize};
use crate::model::name::quoted;
use crate::model::problem::{Span, what_and_fix};
use crate::model::{
    AbsPath, AddressRange, ByteSize, ClusterName, Console, ExportName, ExportServer, Host,
    HostKeys, Hostname, HostnameError, HttpUrl, ImageName, InterfaceName, KernelArg, Loader,
    Locale, LogProtocol, MacAddr, ModuleName, MountOption, NfsVersion, NodeIp, PackageName,
    ProfileName, RootMode, Squash, SshKey, Subnet, Suite, Tag, TimeZone, Timespan, UnitName,
    Unknown, UserName, UsrMode,
};
use crate::nodeset;

texts! {
    ClusterName: "a name", pattern "^[A-Za-z0-9][A-Za-z0-9._-]*$";
    ImageName: "the name of an image", pattern "^[A-Za-z0-9][A-Za-z0-9._-]*$";
    ProfileName: "the name of a profile", pattern "^[A-Za-z0-9][A-Za-z0-9._-]*$";
    ExportName: "the name of an export", pattern "^[A-Za-z0-9][A-Za-z0-9._-]*$";
    Tag: "a tag", pattern "^[A-Za-z0-9][A-Za-z0-9._-]*$";
    InterfaceName: "the name of an interface", pattern "^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$";
    PackageName: "the name of a package", pattern "^[a-z0-9][a-z0-9+.-]+([=/:].*)?$";
    Suite: "a suite or component of a distribution";
    UnitName: "a systemd unit with its suffix", pattern "^.+\\.[a-z]+$";
    UserName: "the name of a user or group", pattern "^[a-z_][a-z0-9_-]{0,31}$";
    TimeZone: "a time zone, such as Europe/Berlin";
    Locale: "a locale, such as C.UTF-8";
    ModuleName: "the name of a kernel module";
    Hostname: "a host name";
    MacAddr: "an Ethernet address, such as 52:54:00:12:34:56";
    NodeIp: "an IPv4 address, such as 10.0.0.1";
    Subnet: "a network, such as 10.0.0.0/24", pattern "^[0-9.]+/[0-9]+$";
    AddressRange: "a range of addresses, such as 10.0.0.200-10.0.0.250";
    AbsPath: "an absolute path", pattern "^/";
    KernelArg: "one argument of the kernel";
    Console: "a console, such as ttyS0,115200n8";
    MountOption: "one mount option";
    HttpUrl: "a URL", pattern "^https?://";
    SshKey: "a public key of OpenSSH";
    Host: "an IPv4 address or a host name";
    ByteSize: "a size, such as 512MiB", pattern "^[0-9]+ *(B|[kKMGT]i?B)$";
    Timespan: "a length of time, such as 30s or 12h", pattern "^[0-9]+ *(ms|s|m|h|d)$";
}

words! {
    pub RootMode {
        "ram" Ram "The image is fetched over HTTP, verified, and kept in memory; a tmpfs lies over it.",
        "ramdisk" Ramdisk "The whole root is a compressed initramfs that the loader loads.",
        "nfs" Nfs "The root is mounted read-only over NFS; a tmpfs lies over it.",
    }
    pub UsrMode {
        "image" Image "/usr is part of the root.",
        "nfs" Nfs "/usr is mounted read-only over NFS; the root holds none.",
    }
    pub Loader {
        "auto" Auto "What the firmware has of iPXE, else undionly.kpxe or snponly.efi.",
        "ipxe" Ipxe "iPXE with its own drivers, for firmware whose network driver is broken.",
        "pxelinux" Pxelinux "PXELINUX (BIOS) or syslinux (UEFI).",
        "grub" Grub "GRUB, which secure boot lets through.",
    }
    pub HostKeys {
        "boot" Boot "Each node makes new ones at each boot; nothing secret crosses the network.",
        "kept" Kept "The master makes them once and serves them to the node, over HTTP without secrecy.",
        "image" Image "They are in the image; all nodes have the same.",
    }
    pub Squash {
        "root" Root "Root is nobody, the others are themselves.",
        "all" All "All are nobody.",
        "none" None "All are themselves.",
    }
    pub Unknown {
        "wait" Wait "They boot into a waiting stage, and join by `node approve`.",
        "refuse" Refuse "They are told to boot from elsewhere.",
    }
    pub LogProtocol {
        "udp" Udp "Syslog over UDP.",
        "tcp" Tcp "Syslog over TCP.",
    }
    pub Variant {
        "essential" Essential "Essential packages only; apt stays outside.",
        "apt" Apt "Essential packages and apt.",
        "minbase" Minbase "The packages of debootstrap's minbase.",
        "important" Important "All packages of priority important.",
    }
    pub PackFormat {
        "squashfs" Squashfs "Smaller.",
        "erofs" Erofs "Larger, a little quicker to read.",
    }
}

impl Decode for Ipv4Addr {
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        NodeIp::decode(value, context).map(NodeIp::get)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        NodeIp::schema(generator)
    }
}

/// The place of a byte of a text's value: inside the quotes, where the text is written as it is.
pub(super) fn inside(span: &Span, text: &str, at: usize, context: &Context<'_>) -> Span {
    let source = context.text.get(span.clone()).unwrap_or_default();
    let quotes = ["\"\"\"", "'''", "\"", "'"];
    let quote = quotes.iter().find(|quote| source.starts_with(**quote));
    let begin = quote.map_or(0, |quote| quote.len());
    if source.get(begin..begin + text.len()) == Some(text) {
        let at = span.start + begin + at;
        at..(at + 1).min(span.end)
    } else {
        span.clone()
    }
}

/// The names of a section's nodes, in order; never empty.
#[derive(Debug, Clone)]
pub(in crate::model) struct RawNames(pub(in crate::model) Vec<Hostname>);

impl RawNames {
    /// Reads the names of a key or of a value.
    pub(super) fn read(text: &str, span: &Span, context: &mut Context<'_>) -> Option<Self> {
        let patterns = match nodeset::patterns(text) {
            Ok(patterns) => patterns,
            Err(error) => {
                let span = inside(span, text, error.at, context);
                context.error(span, &error.what, error.fix);
                return None;
            }
        };
        let count = patterns.iter().map(nodeset::Pattern::count).sum();
        if !context.may_name(count, span) {
            return None;
        }
        let mut hosts = Vec::with_capacity(count);
        for name in patterns.iter().flat_map(nodeset::Pattern::expand) {
            match name.parse() {
                Ok(host) => hosts.push(host),
                Err(error) => {
                    let error: HostnameError = error;
                    let message = error.to_string();
                    let (what, fix) = what_and_fix(&message);
                    let quoted = quoted(&name);
                    let what = if what.contains(&quoted) {
                        what.to_owned()
                    } else {
                        format!("{quoted}: {what}")
                    };
                    context.error(span.clone(), &what, fix);
                    return None;
                }
            }
        }
        Some(Self(hosts))
    }
}

impl Decode for RawNames {
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(text) => Self::read(text, &value.span(), context),
            _ => mistyped(
                value,
                "a name such as \"s[0-9]\"",
                "write it in quotes",
                context,
            ),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "title": "a name, or names by ranges, such as s[0-9]" })
    }
}

/// One address, or several by ranges.
#[derive(Debug, Clone)]
pub(in crate::model) enum RawAddress {
    One(NodeIp),
    /// `10.0.[1-4].[1-24]`
    Range(Vec<NodeIp>),
}

impl Decode for RawAddress {
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let DeValue::String(text) = value.get_ref() else {
            return mistyped(value, "an IPv4 address", "write it in quotes", context);
        };
        if !text.contains('[') {
            return NodeIp::decode(value, context).map(Self::One);
        }
        expand(text, &value.span(), context).map(Self::Range)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "an IPv4 address, such as 10.0.0.1, or a range such as 10.0.0.[1-24]",
        })
    }
}

/// Addresses by ranges.
fn expand(text: &str, span: &Span, context: &mut Context<'_>) -> Option<Vec<NodeIp>> {
    let pattern = match nodeset::Pattern::parse(text) {
        Ok(pattern) => pattern,
        Err(error) => {
            let span = inside(span, text, error.at, context);
            context.error(span, &error.what, error.fix);
            return None;
        }
    };
    if !context.may_address(pattern.count(), span) {
        return None;
    }
    let addresses = pattern.expand().into_iter().map(|text| text.parse());
    match addresses.collect() {
        Ok(addresses) => Some(addresses),
        Err(error) => {
            let error: crate::model::NodeIpError = error;
            let error = error.to_string();
            let (what, fix) = what_and_fix(&error);
            context.error(span.clone(), what, fix);
            None
        }
    }
}

/// Where BMCs listen.
#[derive(Debug, Clone)]
pub(in crate::model) enum RawBmcAddress {
    One(Host),
    /// `10.1.0.[1-24]`
    Range(Vec<NodeIp>),
    /// A name in which `{node}` stands for the node's.
    Template(String),
}

/// What stands for the node's name in a template.
pub(in crate::model) const NODE_PLACEHOLDER: &str = "{node}";

impl Decode for RawBmcAddress {
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let DeValue::String(text) = value.get_ref() else {
            return mistyped(value, "an address or a name", "write it in quotes", context);
        };
        if text.contains('[') {
            return expand(text, &value.span(), context).map(Self::Range);
        }
        if text.contains(NODE_PLACEHOLDER) {
            let example = text.replace(NODE_PLACEHOLDER, "n1");
            if example.parse::<Hostname>().is_ok() {
                return Some(Self::Template(text.clone().into_owned()));
            }
            let what = format!("{} makes no host names", quoted(text));
            let fix = "write letters, digits, hyphens and dots around {node}, such as {node}-bmc";
            context.error(value.span(), &what, fix);
            return None;
        }
        Host::decode(value, context).map(Self::One)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "an address, a range of addresses, or a name with {node} in it",
        })
    }
}

/// Permission bits, in octal: `"0644"` or `0o644`.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct FileMode(pub(in crate::model) u32);

impl Decode for FileMode {
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        const FIX: &str = "write the permissions in octal, such as \"0644\"";
        let mode = match value.get_ref() {
            DeValue::String(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
                u32::from_str_radix(text, 8).ok()
            }
            DeValue::Integer(number) if number.radix() == 8 => {
                u32::from_str_radix(number.as_str(), 8).ok()
            }
            DeValue::String(_) => None,
            DeValue::Integer(number) => {
                let what = format!("{number} is not octal");
                context.error(value.span(), &what, FIX);
                return None;
            }
            _ => return mistyped(value, "a text", FIX, context),
        };
        match mode {
            Some(mode) if mode <= 0o7777 => Some(Self(mode)),
            _ => {
                context.error(value.span(), "these are no permissions", FIX);
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "title": "permissions in octal, such as \"0644\"" })
    }
}

/// `3` or `4.2`, as a number or a text.
impl Decode for NfsVersion {
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.clone().into_owned(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.as_str().to_owned(),
            _ => return mistyped(value, "a version of NFS", "write 3 or 4.2", context),
        };
        match &*text {
            "3" => Some(Self::V3),
            "4.2" => Some(Self::V4_2),
            _ => {
                let what = format!("NFS version {} is not supported", quoted(&text));
                context.error(value.span(), &what, "write 3 or 4.2");
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": [3, 4.2, "3", "4.2"] })
    }
}

/// Who serves an export: one of two words, or another machine.
#[derive(Debug, Clone)]
pub(in crate::model) struct RawServer(pub(in crate::model) ExportServer);

impl Decode for RawServer {
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        const FIX: &str = "write \"kernel\", \"ganesha\", or the address or name of another server";
        let DeValue::String(text) = value.get_ref() else {
            return mistyped(value, "a server", FIX, context);
        };
        Some(Self(match &**text {
            "kernel" => ExportServer::Kernel,
            "ganesha" => ExportServer::Ganesha,
            _ => ExportServer::External(Host::decode(value, context)?),
        }))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "kernel, ganesha, or the address or name of another server",
        })
    }
}

/// `"50%"` or a size.
impl Decode for WritableSize {
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        const FIX: &str =
            "write a share of the memory from \"1%\" to \"90%\", or a size such as \"512MiB\"";
        let DeValue::String(text) = value.get_ref() else {
            return mistyped(value, "a size", FIX, context);
        };
        let Some(percent) = text.strip_suffix('%') else {
            return ByteSize::decode(value, context).map(Self::Bytes);
        };
        match percent.parse() {
            Ok(percent) if (1..=90).contains(&percent) => Some(Self::Percent(percent)),
            _ => {
                let what = format!("{} is out of bounds", quoted(text));
                context.error(value.span(), &what, FIX);
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "title": "a share of the memory, such as 50%, or a size" })
    }
}

/// A path, or the text of a script that begins with `#!`.
impl Decode for Script {
    fn decode(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(text) if text.starts_with("#!") => {
                Some(Self::Text(text.clone().into_owned()))
            }
            _ => AbsPath::decode(value, context).map(Self::File),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(/|#!)" })
    }
}
