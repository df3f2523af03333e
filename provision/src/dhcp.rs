//! Renders nodes as the host reservations of a DHCP server.
//!
//! The text is only the reservations: networks, options and boot files are the server's
//! own configuration, which includes it. Rendering cannot fail and needs no quoting,
//! because the model admits only letters, digits, hyphens, dots and colons. The nodes keep
//! their order.

use std::fmt::{self, Write};

use clap::ValueEnum;

use crate::model::NodeEntry;

/// The server that a list is rendered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// dnsmasq: `dhcp-host` lines, for a file named by `conf-file` or in a `conf-dir`.
    #[default]
    Dnsmasq,
    /// ISC dhcpd: `host` blocks, for an `include` in dhcpd.conf.
    Isc,
    /// Kea: a JSON array, for `"reservations": <?include "FILE"?>` in kea-dhcp4.conf.
    Kea,
}

/// The reservations of `nodes`, each line ended by a line feed.
pub fn reservations(format: Format, nodes: &[NodeEntry]) -> String {
    let mut out = String::new();
    match format {
        Format::Dnsmasq => dnsmasq(&mut out, nodes),
        Format::Isc => isc(&mut out, nodes),
        Format::Kea => kea(&mut out, nodes),
    }
    .expect("writing to a String cannot fail");
    out
}

fn dnsmasq(out: &mut String, nodes: &[NodeEntry]) -> fmt::Result {
    for NodeEntry { hostname, ip, mac } in nodes {
        writeln!(out, "dhcp-host={mac},{ip},{hostname}")?;
    }
    Ok(())
}

fn isc(out: &mut String, nodes: &[NodeEntry]) -> fmt::Result {
    for NodeEntry { hostname, ip, mac } in nodes {
        writeln!(out, "host {hostname} {{")?;
        writeln!(out, "  hardware ethernet {mac};")?;
        writeln!(out, "  fixed-address {ip};")?;
        writeln!(out, "  option host-name \"{hostname}\";")?;
        writeln!(out, "}}")?;
    }
    Ok(())
}

fn kea(out: &mut String, nodes: &[NodeEntry]) -> fmt::Result {
    out.push('[');
    for (index, NodeEntry { hostname, ip, mac }) in nodes.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(
            out,
            "{comma}\n  {{ \"hw-address\": \"{mac}\", \"ip-address\": \"{ip}\", \"hostname\": \"{hostname}\" }}"
        )?;
    }
    writeln!(out, "{}]", if nodes.is_empty() { "" } else { "\n" })
}
