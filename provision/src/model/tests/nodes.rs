//! Mistakes in nodes.

use super::*;
use crate::model::cluster::MAX_NODES;
use crate::model::decode::{Context, Decode as _, MAX_ADDRESSES};
use crate::model::problem::Reporter;
use crate::model::raw::{RawAddress, RawFile};
use crate::nodeset::MAX_EXPANSION;

fn node(lines: &str) -> String {
    told_with(&format!("[[node]]\n{lines}"))
}

#[test]
fn names_and_ranges() {
    let named = |name: &str| {
        node(&format!(
            "name = \"{name}\"\nmac = \"52:54:00:00:01:00\"\naddress = \"10.0.0.20\""
        ))
    };
    insta::assert_snapshot!(cases(&[
        (
            "no name",
            node("mac = \"52:54:00:00:01:00\"\naddress = \"10.0.0.20\"")
        ),
        ("nothing but a name", node("name = \"t\"")),
        ("not even a name", node("")),
        ("a range backwards", named("t[9-0]")),
        ("a range without an end", named("t[0-")),
        ("a range too large", named("t[0-99999]")),
        ("a name that is none", named("t_1")),
        ("names that are none", named("t[0-2]-")),
        ("a number", named("7")),
        ("a tag where a name is made", named("@all")),
        ("a word of dnsmasq", named("[1-2]h")),
        (
            "a name twice in one section",
            told_replaced("s[0-2]", "s[0,1,1]")
        ),
        ("a name in two sections", named("s1")),
        (
            "names in two sections",
            node(
                "name = \"s[1-2]\"\nmac = [\"52:54:00:00:01:00\", \"52:54:00:00:01:01\"]\naddress = \"10.0.0.20\""
            )
        ),
        (
            "a name within a section by name",
            told("[node.s1]\nname = \"s2\"\n")
        ),
        ("a range as a key", told("[node.\"s[3-1]\"]\nmac = \"x\"\n")),
    ]));
}

#[test]
fn addresses() {
    let at = |address: &str| told_replaced("\"10.0.0.10\"", address);
    insta::assert_snapshot!(cases(&[
        ("no address", at("\"ten\"")),
        ("outside of the subnet", at("\"10.0.1.1\"")),
        ("partly outside of the subnet", at("\"10.0.0.254\"")),
        ("before the subnet", at("\"9.255.255.254\"")),
        ("the network address", at("\"10.0.0.0\"")),
        ("inside the dynamic range", at("\"10.0.0.249\"")),
        (
            "the master's",
            at("[\"10.0.0.10\", \"10.0.0.1\", \"10.0.0.12\"]")
        ),
        (
            "the gateway's",
            told(&BASE.replace("master =", "gateway = \"10.0.0.11\"\nmaster ="))
        ),
        (
            "the gateway's and the master's",
            told(
                &BASE
                    .replace("master =", "gateway = \"10.0.0.2\"\nmaster =")
                    .replace("\"10.0.0.10\"", "\"10.0.0.1\"")
            )
        ),
        ("too few", at("[\"10.0.0.10\", \"10.0.0.11\"]")),
        ("too many", at("\"10.0.0.[10-13]\"")),
        ("one in a list", at("[\"10.0.0.10\"]")),
        ("a range beyond 255", at("\"10.0.0.[254-256]\"")),
        ("a range that is none", at("\"10.0.0.[a-b]\"")),
        (
            "a list with one that is none",
            at("[\"10.0.0.10\", \"x\", \"10.0.0.12\"]")
        ),
        (
            "the end of all addresses",
            told(
                &BASE
                    .replace("10.0.0.0/24", "223.255.255.0/24")
                    .replace("\"10.0.0.1\"", "\"223.255.255.1\"")
                    .replace("10.0.0.10", "223.255.255.254")
            )
        ),
        (
            "twice in one section",
            at("[\"10.0.0.10\", \"10.0.0.10\", \"10.0.0.10\"]")
        ),
        (
            "of another section",
            node(
                "name = \"t[0-1]\"\nmac = [\"52:54:00:00:01:00\", \"52:54:00:00:01:01\"]\naddress = \"10.0.0.11\""
            )
        ),
    ]));
}

#[test]
fn ethernet_addresses() {
    let macs = "[\"52:54:00:00:00:00\", \"52:54:00:00:00:01\", \"52:54:00:00:00:02\"]";
    let with = |by: &str| told_replaced(macs, by);
    insta::assert_snapshot!(cases(&[
        ("one for three nodes", with("\"52:54:00:00:00:00\"")),
        (
            "too many",
            with(
                "[\"52:54:00:00:00:00\", \"52:54:00:00:00:01\", \"52:54:00:00:00:02\", \"52:54:00:00:00:03\"]"
            )
        ),
        (
            "one that is none",
            with("[\"52:54:00:00:00:00\", \"52:54:00:00:00\", \"52:54:00:00:00:02\"]")
        ),
        (
            "a group address",
            with("[\"52:54:00:00:00:00\", \"ff:ff:ff:ff:ff:ff\", \"00:00:00:00:00:00\"]")
        ),
        (
            "the same in other spellings",
            with("[\"52:54:00:00:00:0a\", \"52-54-00-00-00-0A\", \"5254.0000.000a\"]")
        ),
        (
            "of another section",
            node("name = \"t\"\nmac = \"52:54:00:00:00:01\"\naddress = \"10.0.0.20\"")
        ),
        ("a number", with("7")),
    ]));
}

#[test]
fn many_nodes_at_one_place_are_told_once() {
    let text = BASE
        .replace("s[0-2]", "s[000-299]")
        .replace("10.0.0.10", "10.0.0.2");
    let macs: Vec<_> = (0..300)
        .map(|n| format!("\"52:54:00:00:{:02x}:{:02x}\"", n / 256, n % 256))
        .collect();
    let begin = text.find("[\"52").expect("it is there");
    let end = begin + text[begin..].find("]\n").expect("it is there");
    let text = format!("{}[{}{}", &text[..begin], macs.join(","), &text[end..]);
    insta::assert_snapshot!(told(&text));
}

#[test]
fn too_many_nodes() {
    let base = BASE.replace("10.0.0.0/24", "10.0.0.0/8");
    let macs: Vec<_> = (0..MAX_EXPANSION)
        .map(|n| format!("\"52:54:01:00:{:02x}:{:02x}\"", n / 256, n % 256))
        .collect();
    let text = format!(
        "{base}[[node]]\nname = \"t[0-65535]\"\naddress = \"10.1.0.1\"\nmac = [{}]\n",
        macs.join(",")
    );
    insta::assert_snapshot!(told(&text), @"f:24:8: more than 65536 nodes; make two clusters of them");
    let fits = text.replace(
        "s[0-2]\"\nmac = [\"52:54:00:00:00:00\", \"52:54:00:00:00:01\", \"52:54:00:00:00:02\"]",
        "s0\"\nmac = \"52:54:00:00:00:00\"",
    );
    let fits = fits
        .replace("[0-65535]", "[1-65535]")
        .replacen("\"52:54:01:00:00:00\",", "", 1);
    assert_eq!(accepted(&fits).nodes().len(), MAX_NODES);
}

/// How many names and addresses are made of the ranges of a text, right or not.
fn made(text: &str) -> (usize, usize) {
    let mut report = Reporter::default();
    let raw = recover::parse(text, |value, _, broken| {
        RawFile::decode(value, &mut Context::new(&mut report, text, broken))
    });
    let nodes = raw.and_then(|raw| raw.node.given().cloned());
    let sections = nodes.expect("there are nodes").sections;
    let names = sections.iter().filter_map(|at| at.value.name.given());
    let addresses = sections.iter().filter_map(|at| at.value.address.given());
    let count = |address: &RawAddress| match address {
        RawAddress::One(_) => 1,
        RawAddress::Range(list) => list.len(),
    };
    let addresses = addresses.flat_map(|many| &many.items);
    (
        names.map(|names| names.0.len()).sum(),
        addresses.map(|at| count(&at.value)).sum(),
    )
}

#[test]
fn ranges_that_would_take_all_memory_are_not_expanded() {
    let network = BASE
        .split_once("[[node]]")
        .map(|(before, _)| before.replace("10.0.0.0/24", "10.0.0.0/8"))
        .expect("it has nodes");
    let names = network.clone() + &"[[node]]\nname = \"a[0-65535]\"\n".repeat(1000);
    assert_eq!(made(&names), (MAX_NODES, 0));
    insta::assert_snapshot!(told(&names), @"
    f:20:8: node a[0-65535]: `mac` is missing; add the Ethernet address that it boots from; for several nodes a list
    f:22:8: more than 65536 nodes; make two clusters of them
    ");
    let section =
        "[[node]]\nname = \"a\"\nmac = \"52:54:00:00:00:00\"\naddress = \"10.1.[0-255].[0-255]\"\n";
    let addresses = network.clone() + &section.repeat(1000);
    assert_eq!(made(&addresses), (1000, MAX_ADDRESSES));
    let told_of = told(&addresses);
    let line = "more than 262144 addresses are written by ranges; write one for each node and one for its BMC";
    assert_eq!(told_of.matches(line).count(), 1, "{told_of}");
    // Nor are sections read that cannot all be nodes.
    let sections = network + &"[[node]]\n".repeat(2 * MAX_NODES);
    let problems = check(&sections).problems;
    assert_eq!(problems.errors(), MAX_NODES + 2);
}

#[test]
fn one_name_with_the_domain_and_without() {
    let text = BASE.replace("master = ", "domain = \"lab.example\"\nmaster = ");
    let more = "[[node]]\nname = \"s1.lab.example\"\nmac = \"52:54:00:00:01:00\"\naddress = \"10.0.0.20\"\n";
    insta::assert_snapshot!(told(&format!("{text}{more}")), @"f:25:8: node s1.lab.example is also in line 21, as s1; a node has one section");
    accepted(&format!("{text}{}", more.replace("s1.lab", "s1.other")));
}

/// The names and addresses of all nodes.
fn given(text: &str) -> String {
    let nodes = accepted(text).nodes().to_vec();
    let node = |node: &Node| format!("{} {}", node.name, node.address);
    nodes.iter().map(node).collect::<Vec<_>>().join(", ")
}

#[test]
fn addresses_are_allotted_in_order() {
    let text = BASE.replace("address = \"10.0.0.10\"\n", "");
    assert_eq!(given(&text), "s0 10.0.0.2, s1 10.0.0.3, s2 10.0.0.4");
    // What others have is passed over, wherever it stands.
    let taken = text
        .replace(
            "master = ",
            "gateway = \"10.0.0.2\"\ndns = [\"10.0.0.4\"]\nmaster = ",
        )
        .replace("10.0.0.200-", "10.0.0.8-")
        .replace(
            "image = \"base\"",
            "image = \"base\"\nbmc = { kind = \"ipmi\", address = \"10.0.0.[5-7]\" }",
        )
        + "[[node]]\nname = \"t\"\nmac = \"52:54:00:00:01:00\"\naddress = \"10.0.0.3\"\nbmc = { kind = \"wol\" }\n\
           [time]\nservers = [\"10.0.0.252\"]\n\
           [export.far]\npath = \"/far\"\nserver = \"10.0.0.251\"\n";
    let tight = told(&taken);
    assert!(tight.contains("no free address for 1 node"), "{tight}");
    let roomy = taken.replace("10.0.0.8-", "10.0.0.9-");
    assert_eq!(
        given(&roomy),
        "s0 10.0.0.8, s1 10.0.0.253, s2 10.0.0.254, t 10.0.0.3"
    );
    // One more in the middle moves those behind it.
    let more = text
        .replace("s[0-2]", "s[0,3,1,2]")
        .replace("mac = [", "mac = [\"52:54:00:00:00:09\", ");
    assert_eq!(
        given(&more),
        "s0 10.0.0.2, s3 10.0.0.3, s1 10.0.0.4, s2 10.0.0.5"
    );
    let full = text
        .replace("10.0.0.0/24", "10.0.0.0/30")
        .replace("[dhcp]\nrange = \"10.0.0.200-10.0.0.250\"", "");
    insta::assert_snapshot!(told(&full), @"f:19:8: node s[0-2]: the subnet 10.0.0.0/30 has no free address for 2 nodes; make `subnet` larger or `dhcp.range` smaller");
}

#[test]
fn where_another_server_gives_the_addresses_they_are_written() {
    let text = BASE.replace("address = \"10.0.0.10\"\n", "");
    let range = "range = \"10.0.0.200-10.0.0.250\"";
    let mode = |mode: &str| text.replace(range, &format!("mode = \"{mode}\""));
    insta::assert_snapshot!(told(&mode("proxy")), @r#"f:20:8: node s[0-2]: `address` is missing, and with mode = "proxy" another server gives the addresses; write the one that it gives the node; for several nodes a list"#);
    // What the site's own server is told is in the fragments for it.
    assert_eq!(
        given(&mode("external")),
        "s0 10.0.0.2, s1 10.0.0.3, s2 10.0.0.4"
    );
}

#[test]
fn addresses_that_somebody_else_has() {
    let site = "dns = [\"10.0.0.59\"]\nmaster = ";
    let others = "[time]\nservers = [\"10.0.0.60\"]\n[log]\ntarget = \"remote\"\nhost = \"10.0.0.61\"\n\
                  [export.far]\npath = \"/far\"\nserver = \"10.0.0.62\"\n";
    let switched = "address = \"10.0.0.10\"\nbmc = { kind = \"ipmi\", address = \"10.0.0.110\" }";
    let base = BASE
        .replace("master = ", site)
        .replace("address = \"10.0.0.10\"", switched);
    let with = |more: &str| {
        let node = "[[node]]\nname = \"t\"\nmac = \"52:54:00:00:01:00\"";
        format!("{base}{others}{node}\n{more}\n")
    };
    let node = |address: &str| told(&with(&format!("address = \"{address}\"")));
    let bmc = |bmc: &str| with(&format!("address = \"10.0.0.20\"\nbmc = {{ {bmc} }}"));
    insta::assert_snapshot!(cases(&[
        ("a time server's", node("10.0.0.60")),
        ("the log server's", node("10.0.0.61")),
        ("a filer's", node("10.0.0.62")),
        ("a BMC's", node("10.0.0.111")),
        (
            "a BMC at a node",
            told(&bmc("kind = \"ipmi\", address = \"10.0.0.11\", port = 623"))
        ),
        (
            "a BMC at its own node",
            told(&bmc("kind = \"redfish\", address = \"10.0.0.20\""))
        ),
        (
            "BMCs at their own nodes",
            told(&base.replace("10.0.0.110", "10.0.0.10"))
        ),
    ]));
    // One that is simulated, and servers that are one machine.
    accepted(&bmc(
        "kind = \"redfish\", address = \"10.0.0.11\", port = 8000, tls = \"off\"",
    ));
    accepted(&bmc("kind = \"ipmi\", address = \"10.0.0.21\"").replace("10.0.0.60", "10.0.0.59"));
    accepted(&bmc("kind = \"wol\"").replace("10.0.0.60", "10.0.0.1"));
}

#[test]
fn a_name_that_would_take_all_memory_is_refused_at_once() {
    let long = "a".repeat(200_000);
    let node = |name: &str| {
        node(&format!(
            "name = \"{name}\"\nmac = \"52:54:00:00:01:00\"\naddress = \"10.0.0.20\""
        ))
    };
    let what = |bytes| format!("the ranges stand for names of {bytes} bytes; the limit is 253");
    for (name, bytes) in [
        (format!("{long}[0-65535]"), 200_005),
        (format!("{}[0-65535]", "[1]".repeat(1000)), 1005),
    ] {
        let told = node(&name);
        assert!(told.contains(&what(bytes)) && told.len() < 400, "{told}");
        let set = name.parse::<crate::nodeset::NodeSet>();
        let told = set.expect_err("it is too long").to_string();
        assert!(told.starts_with(&what(bytes)), "{told}");
    }
}

#[test]
fn names_and_addresses_that_mean_something_else() {
    let node = |name: &str, address: &str| {
        format!(
            "\n[[node]]\nname = \"{name}\"\nmac = \"52:54:00:00:01:00\"\naddress = \"{address}\"\n"
        )
    };
    let dns = BASE.replace(
        "master = ",
        "domain = \"lab.example\"\ndns = [\"10.0.0.1\", \"10.0.0.20\"]\nmaster = ",
    );
    let with = |name: &str, address: &str| told(&(dns.clone() + &node(name, address)));
    insta::assert_snapshot!(cases(&[
        ("the address of a DNS server", with("t", "10.0.0.20")),
        ("localhost", with("localhost", "10.0.0.21")),
        (
            "localhost with a domain",
            with("localhost.lab", "10.0.0.21")
        ),
        ("the master's name", with("master", "10.0.0.21")),
        (
            "the master's name with the domain",
            with("master.lab.example", "10.0.0.21")
        ),
    ]));
    // Nodes know the master by no such name.
    accepted(&(BASE.to_owned() + &node("master.other.example", "10.0.0.21")));
}
