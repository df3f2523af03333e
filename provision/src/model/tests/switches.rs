//! Mistakes in switches.

use super::*;

#[test]
fn what_switches_a_node() {
    let profile = |bmc: &str| {
        told_replaced(
            "image = \"base\"",
            &format!("image = \"base\"\nbmc = {{ {bmc} }}"),
        )
    };
    insta::assert_snapshot!(cases(&[
        ("a kind", profile("kind = \"impi\"")),
        ("no kind", profile("address = \"10.1.0.1\"")),
        ("no address", profile("kind = \"ipmi\"")),
        (
            "one name for many",
            profile("kind = \"ipmi\", address = \"bmc\"")
        ),
        (
            "a template that makes no names",
            profile("kind = \"ipmi\", address = \"{node}_bmc\"")
        ),
        (
            "another placeholder",
            profile("kind = \"ipmi\", address = \"{host}-bmc\"")
        ),
        (
            "too few addresses",
            profile("kind = \"ipmi\", address = \"10.1.0.[1-2]\"")
        ),
        (
            "addresses beyond the end",
            profile("kind = \"ipmi\", address = \"223.255.255.254\"")
        ),
        (
            "keys of another kind",
            profile("kind = \"wol\", address = \"10.1.0.1\", user = \"x\"")
        ),
        (
            "keys of Redfish",
            profile("kind = \"ipmi\", address = \"{node}-bmc\", tls = \"off\"")
        ),
        (
            "a user",
            profile("kind = \"ipmi\", address = \"{node}-bmc\", user = \"a b\"")
        ),
        (
            "a password",
            profile("kind = \"ipmi\", address = \"{node}-bmc\", password = \"geheim\"")
        ),
        (
            "a command that is none",
            profile("kind = \"command\", on = []")
        ),
        ("no command", profile("kind = \"command\", off = [\"x\"]")),
        (
            "an unknown placeholder",
            profile("kind = \"command\", on = [\"x\", \"{name}\", \"{node}{\"]")
        ),
        (
            "an argument of two lines",
            profile("kind = \"command\", on = [\"x\", \"a\\nb\"]"),
        ),
        (
            "a command in one text",
            profile("kind = \"command\", on = \"pdu on\"")
        ),
    ]));
}

#[test]
fn one_switch_for_two_nodes() {
    let more = "
[[node]]
name = \"t\"
mac = \"52:54:00:00:01:00\"
address = \"10.0.0.20\"
bmc = { kind = \"ipmi\", address = \"10.1.0.2\" }
";
    let text = BASE.replace(
        "address = \"10.0.0.10\"",
        "address = \"10.0.0.10\"\nbmc = { kind = \"ipmi\", address = \"10.1.0.1\" }",
    );
    insta::assert_snapshot!(told(&format!("{text}{more}")), @"f:29:34: node t: bmc: 10.1.0.2 switches s1 and t; give each node its own: an address, a port or a system");
    let other_port = more.replace("\"10.1.0.2\"", "\"10.1.0.2\", port = 624");
    accepted(&format!("{text}{other_port}"));
}

#[test]
fn a_switch_at_the_masters_address_has_a_port() {
    let with = |bmc: &str| {
        format!(
            "{BASE}\n[[node]]\nname = \"t\"\nmac = \"52:54:00:00:01:00\"\naddress = \"10.0.0.20\"\nbmc = {{ {bmc} }}\n"
        )
    };
    let ipmi = "kind = \"ipmi\", address = \"10.0.0.1\"";
    let redfish = "kind = \"redfish\", address = \"10.0.0.1\"";
    insta::assert_snapshot!(cases(&[
        ("IPMI", told(&with(ipmi))),
        ("Redfish", told(&with(redfish))),
    ]));
    accepted(&with(&format!("{ipmi}, port = 9001")));
    accepted(&with(&format!("{redfish}, port = 9001")));
}
