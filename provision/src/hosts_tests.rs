//! Tests of the host list's reader.

use std::collections::HashSet;

use proptest::collection::{hash_map, vec};
use proptest::prelude::*;

use super::*;

/// The problems of a list as a person sees them.
fn problems(list: &[u8]) -> Vec<String> {
    parse(list)
        .expect_err("the list has problems")
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn printed(list: &[u8]) -> Vec<String> {
    parse(list)
        .expect("the list is valid")
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn comments_blanks_and_line_ends() {
    let list = b"\xef\xbb\xbf# nodes, r\xe9sum\xe9 in Latin-1\r\n\
        \n  \t \n\
        \tN001  10.0.0.1\t52-54-00-00-00-01#rack 1\r\n\
        n002 10.0.0.2 5254.0000.0002   # trailing";
    assert_eq!(
        printed(list),
        [
            "n001 10.0.0.1 52:54:00:00:00:01",
            "n002 10.0.0.2 52:54:00:00:00:02"
        ]
    );
    for empty in ["", "\n", "#", "\n\n# none\n"] {
        assert_eq!(parse(empty.as_bytes()), Ok(vec![]), "{empty:?}");
    }
}

#[test]
fn every_problem_of_every_line_is_reported() {
    let list = b"a 10.0.0.1 52:54:00:00:00:01\n\
        b_ 10.0.0.300 zz\n\
        c\n\
        d 10.0.0.4  # no mac\n\
        A 10.0.0.1 52-54-00-00-00-01 extra more\n\
        e 52:54:00:00:00:05 10.0.0.5\n\
        f fd00::1 ff:ff:ff:ff:ff:ff\n\
        g\xff 10.0.0.7\x07 52:54:00:00:00:07\n";
    assert_eq!(
        problems(list),
        [
            "2:1: '_' in a host name; use letters, digits and hyphens",
            "2:4: \"10.0.0.300\" is not an IPv4 address; write four numbers of 0 to 255 without leading zeros, such as 10.0.0.1",
            "2:15: \"zz\" is not an Ethernet address; write six pairs of hex digits, such as 52:54:00:12:34:56",
            "3:2: the IPv4 address is missing; a line has three fields: hostname ip mac",
            "4:11: the Ethernet address is missing; a line has three fields: hostname ip mac",
            "5:1: the host name a is also in line 1; each may occur once",
            "5:3: the IPv4 address 10.0.0.1 is also in line 1; each may occur once",
            "5:12: the Ethernet address 52:54:00:00:00:01 is also in line 1; each may occur once",
            "5:30: unexpected \"extra\" after the Ethernet address; begin a comment with #",
            "6:3: 52:54:00:00:00:05 is an Ethernet address; the order is: hostname ip mac",
            "6:21: \"10.0.0.5\" is not an Ethernet address; write six pairs of hex digits, such as 52:54:00:12:34:56",
            "7:3: fd00::1 is an IPv6 address; nodes boot over IPv4, write the node's IPv4 address",
            "7:11: ff:ff:ff:ff:ff:ff is a group address; use the address of the node's own interface",
            "8:1: the host name holds the byte 0xff; write it in plain ASCII",
            "8:4: the IPv4 address holds the byte 0x07; write it in plain ASCII",
        ]
    );
}

#[test]
fn a_value_of_a_bad_line_still_counts_as_used() {
    assert_eq!(
        problems(b"a 10.0.0.1\nb 10.0.0.1 52:54:00:00:00:01\n"),
        [
            "1:11: the Ethernet address is missing; a line has three fields: hostname ip mac",
            "2:3: the IPv4 address 10.0.0.1 is also in line 1; each may occur once",
        ]
    );
}

#[test]
fn limits_are_met_exactly() {
    let node = "a 10.0.0.1 52:54:00:00:00:01 #";
    let longest = format!("{node:x<MAX_LINE_BYTES$}\n");
    assert_eq!(printed(longest.as_bytes()).len(), 1);
    let longer = format!("{node:x<width$}\n", width = MAX_LINE_BYTES + 1);
    assert_eq!(
        problems(longer.as_bytes()),
        ["1:1: the line has 4097 bytes; the limit is 4096"]
    );

    let most = "\n".repeat(MAX_LINES);
    assert_eq!(parse(most.as_bytes()), Ok(vec![]));
    let more = "\n".repeat(MAX_LINES + 1);
    assert_eq!(
        problems(more.as_bytes()),
        ["131073:1: more than 131072 lines; split the list"]
    );

    let huge = vec![b'\n'; MAX_LIST_BYTES + 1];
    assert_eq!(
        problems(&huge),
        ["1:1: the list has more than 33554432 bytes; split it"]
    );
}

/// Any valid host name, in any case.
fn hostname() -> impl Strategy<Value = Hostname> {
    let label = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,12}[a-zA-Z0-9])?";
    proptest::string::string_regex(&format!("({label}\\.){{0,3}}{label}"))
        .expect("the expression is valid")
        .prop_filter_map("reserved or numeric", |name| name.parse().ok())
}

/// Nodes of which no two share a value.
fn nodes() -> impl Strategy<Value = Vec<NodeEntry>> {
    let ip = any::<u32>().prop_filter_map("no host", |bits| NodeIp::new(bits.into()).ok());
    let mac = any::<[u8; 6]>().prop_filter_map("no interface", |bytes| MacAddr::new(bytes).ok());
    hash_map(hostname(), (ip, mac), 0..40).prop_map(|nodes| {
        let (mut ips, mut macs) = (HashSet::new(), HashSet::new());
        nodes
            .into_iter()
            .filter(|(_, (ip, mac))| ips.insert(*ip) && macs.insert(*mac))
            .map(|(hostname, (ip, mac))| NodeEntry { hostname, ip, mac })
            .collect()
    })
}

proptest! {
    #[test]
    fn any_list_of_valid_nodes_is_read_back(nodes in nodes(), layout in vec(0..4_usize, 40)) {
        let mut list = Vec::new();
        for (node, layout) in nodes.iter().zip(layout) {
            let NodeEntry { hostname, ip, mac } = node;
            list.push(match layout {
                0 => format!("{node}\n"),
                1 => format!("\n\t{hostname}\t {ip}  {mac} # {node}\r\n"),
                2 => format!("#{node}\n{node}#\n"),
                _ => format!("{} {ip} {}\n", hostname.as_str().to_uppercase(), mac.to_string().replace(':', "-")),
            });
        }
        prop_assert_eq!(parse(list.concat().as_bytes()), Ok(nodes));
    }
}
