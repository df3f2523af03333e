//! Whether a firewall of this machine closes what nodes need, as far as its rules can be read.
//!
//! The services are asked from this machine itself, past its own firewall, so rules are read. They can say more than this
//! understands, so it only speaks of chains that drop by default and name a port nowhere, and of rules that drop a port by name.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Finding, Level};
use crate::model::{Cluster, Dhcp, ExportServer, RootMode};
use crate::process::{End, capture};

const TOPIC: &str = "firewall";

/// How long nft may take.
const WAIT: Duration = Duration::from_secs(5);

/// The largest set of rules that is read, in bytes.
const MAX_RULES_BYTES: usize = 32 << 20;

/// A port that nodes need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    protocol: &'static str,
    number: u16,
}

pub(super) fn look(cluster: &Cluster) -> Vec<Finding> {
    let rules = capture(
        Command::new("nft").args(["-j", "list", "ruleset"]),
        WAIT,
        MAX_RULES_BYTES,
    );
    let unknown = |what: String, fix: &str| vec![Finding::bad(TOPIC, Level::Unknown, what, fix)];
    let text = match rules {
        Ok((End::Exited(status), said)) if status.success() && !said.truncated => said.out,
        Ok((_, said)) => {
            let what = format!("cannot read the rules: {}", said.last_words());
            return unknown(what, "run this as root");
        }
        Err(error) => {
            let what = format!("cannot run nft, so the rules are not known: {error}");
            return unknown(what, "install it: apt install nftables");
        }
    };
    match serde_json::from_slice(&text) {
        Ok(rules) => judge(&rules, &needed(cluster)),
        Err(error) => unknown(
            format!("nft's rules are not JSON: {error}"),
            "see: nft list ruleset",
        ),
    }
}

/// What nodes come to.
fn needed(cluster: &Cluster) -> BTreeSet<Port> {
    let mut ports = BTreeSet::new();
    let mut add = |protocol, number| ports.insert(Port { protocol, number });
    let network = &cluster.network;
    add("tcp", network.http_port);
    add("tcp", network.master_port);
    if !matches!(cluster.dhcp, Dhcp::External) {
        add("udp", 67);
        add("udp", 69);
    }
    if cluster.time.enabled {
        add("udp", 123);
    }
    let serves = cluster
        .exports
        .values()
        .any(|export| !matches!(export.server, ExportServer::External(_)));
    let roots = cluster
        .nodes()
        .iter()
        .any(|node| node.settings.root == RootMode::Nfs);
    if serves || roots {
        add("tcp", 2049);
    }
    ports
}

/// What the rules of `nft -j list ruleset` do to the ports.
fn judge(rules: &Value, needed: &BTreeSet<Port>) -> Vec<Finding> {
    let items = rules["nftables"].as_array().map_or(&[][..], Vec::as_slice);
    let mut findings = Vec::new();
    for chain in items.iter().map(|item| &item["chain"]) {
        if chain["hook"] != "input" || chain["family"] == "ip6" {
            continue;
        }
        let place = ["family", "table", "name"].map(|key| chain[key].as_str().unwrap_or("?"));
        let of_chain = |rule: &&Value| rule["family"] == place[0] && rule["table"] == place[1];
        let of_table: Vec<&Value> = items
            .iter()
            .map(|item| &item["rule"])
            .filter(of_chain)
            .collect();
        let drops = chain["policy"] == "drop";
        for port in needed {
            let named: Vec<&&Value> = of_table.iter().filter(|rule| names(rule, *port)).collect();
            let closed = named.iter().any(|rule| ends_badly(rule));
            if closed || (drops && named.is_empty() && !has_general_accept(&of_table)) {
                let Port { protocol, number } = port;
                let why = if closed {
                    "closes"
                } else {
                    "drops by default and opens nowhere"
                };
                findings.push(Finding::bad(
                    TOPIC,
                    Level::Warning,
                    format!("{} {why} {protocol} port {number}", place.join(" ")),
                    format!("run: nft insert rule {} {protocol} dport {number} accept; and make it stay", place.join(" ")),
                ));
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::fine(
            TOPIC,
            "no rule of nftables closes what nodes need",
        ));
    }
    findings
}

/// Whether a rule matches on the port.
fn names(rule: &Value, port: Port) -> bool {
    let expressions = rule["expr"].as_array().map_or(&[][..], Vec::as_slice);
    expressions.iter().any(|expression| {
        let is_match = &expression["match"];
        let payload = &is_match["left"]["payload"];
        let is_port = payload["field"] == "dport"
            && (payload["protocol"] == port.protocol || payload["protocol"] == "th");
        is_port && holds(&is_match["right"], port.number)
    })
}

/// Whether a value, set or range holds a number.
fn holds(value: &Value, number: u16) -> bool {
    if let Some(one) = value.as_u64() {
        return one == u64::from(number);
    }
    if let Some([from, to]) = value["range"].as_array().map(Vec::as_slice) {
        let number = u64::from(number);
        return from.as_u64().is_some_and(|from| from <= number)
            && to.as_u64().is_some_and(|to| number <= to);
    }
    let set = value["set"].as_array();
    set.is_some_and(|set| set.iter().any(|value| holds(value, number)))
}

fn ends_badly(rule: &Value) -> bool {
    let expressions = rule["expr"].as_array().map_or(&[][..], Vec::as_slice);
    expressions
        .iter()
        .any(|expression| expression.get("drop").is_some() || expression.get("reject").is_some())
}

/// Whether some rule accepts whatever comes, as one for an interface or a subnet does: then nothing can be said.
fn has_general_accept(rules: &[&Value]) -> bool {
    rules.iter().any(|rule| {
        let expressions = rule["expr"].as_array().map_or(&[][..], Vec::as_slice);
        let accepts = expressions.iter().any(|e| e.get("accept").is_some());
        let narrow = expressions.iter().any(|expression| {
            let left = &expression["match"]["left"];
            let field = &left["payload"]["field"];
            field == "dport"
                || left.get("ct").is_some()
                || left["meta"]["key"] == "l4proto"
                || field == "protocol"
                || expression["match"]["right"] == "lo"
        });
        accepts && !narrow
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ports() -> BTreeSet<Port> {
        [("tcp", 8080), ("udp", 67), ("udp", 69)]
            .map(|(protocol, number)| Port { protocol, number })
            .into()
    }

    fn rules(policy: &str, rules: &[Value]) -> Value {
        let chain = json!({"chain": {"family": "inet", "table": "filter", "name": "input", "hook": "input", "policy": policy}});
        let rules = rules.iter().map(|expr| {
            json!({"rule": {"family": "inet", "table": "filter", "chain": "input", "expr": expr}})
        });
        json!({"nftables": std::iter::once(chain).chain(rules).collect::<Vec<_>>()})
    }

    fn dport(protocol: &str, right: &Value, verdict: &str) -> Value {
        json!([
            {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": "dport"}}, "right": right}},
            {verdict: null}
        ])
    }

    fn told(value: &Value) -> Vec<String> {
        let findings = judge(value, &ports());
        let bad = findings
            .into_iter()
            .filter(|finding| finding.level != Level::Fine);
        bad.map(|finding| finding.what).collect()
    }

    #[test]
    fn a_chain_that_drops_is_told_port_by_port() {
        let lo = json!([{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}, {"accept": null}]);
        let open = dport(
            "tcp",
            &json!({"set": [22, {"range": [8000, 8100]}]}),
            "accept",
        );
        assert_eq!(
            told(&rules("drop", &[lo, open])),
            [
                "inet filter input drops by default and opens nowhere udp port 67",
                "inet filter input drops by default and opens nowhere udp port 69"
            ]
        );
    }

    #[test]
    fn a_rule_that_closes_is_told() {
        let closed = dport("udp", &json!(69), "drop");
        assert_eq!(
            told(&rules("accept", &[closed])),
            ["inet filter input closes udp port 69"]
        );
    }

    #[test]
    fn what_is_open_is_fine() {
        assert_eq!(told(&rules("accept", &[])), [""; 0]);
        let net = json!([{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "10.0.0.0"}}, {"accept": null}]);
        assert_eq!(told(&rules("drop", &[net])), [""; 0]);
        assert_eq!(told(&json!({"nftables": []})), [""; 0]);
    }
}
