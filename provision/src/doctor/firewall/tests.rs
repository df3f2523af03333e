use std::env;
use std::io::{self, Write as _};
use std::process::Stdio;

use serde_json::json;

use super::*;
use crate::model;

fn cluster(more: &str, node: &str) -> Cluster {
    let text = format!(
        "[cluster]\nname = \"lab\"\ninterface = \"br0\"\nsubnet = \"10.77.0.0/24\"\nmaster = \"10.77.0.1\"\n\
         [time]\nenabled = false\n{more}\n[image.base]\nsource = {{ kind = \"debootstrap\", suite = \"bookworm\" }}\n\
         [[node]]\nname = \"n[0-9]\"\nmac = [{}]\naddress = \"10.77.0.11\"\nimage = \"base\"\n{node}\n",
        (0..10)
            .map(|n| format!("\"52:54:00:00:00:0{n}\""))
            .collect::<Vec<_>>()
            .join(", ")
    );
    model::parse(&text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn ports() -> BTreeSet<Port> {
    [("tcp", 8080), ("udp", 67), ("udp", 69)]
        .map(|(protocol, number)| Port { protocol, number })
        .into()
}

/// What is not fine.
fn told(rules: &Value) -> Vec<String> {
    let findings = judge(rules, &cluster("", ""), &ports()).into_iter();
    let bad = findings.filter(|finding| finding.level != Level::Fine);
    bad.map(|finding| finding.what).collect()
}

/// A chain behind the hook of what comes in, with these rules.
fn input(policy: &str, rules: &str) -> String {
    format!(
        "table inet filter {{\n chain input {{\n type filter hook input priority 0; policy {policy};\n{rules}\n}}\n}}\n"
    )
}

/// Rules as `nft` reads them and tells them again, in a network of their own. None where there is no nft; in CI that is
/// a failure.
fn real(rules: &str) -> Option<Value> {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    // `iif` wants the interfaces to be there.
    let script =
        "ip link set lo up && ip link add br0 type bridge && nft -f - && nft -j list ruleset";
    let path = env::var("PATH").unwrap_or_default();
    let child = command
        .args(["--net", "sh", "-c", script])
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let output = child.and_then(|mut child| {
        // It may not even read them.
        let _ = child
            .stdin
            .take()
            .map(|mut pipe| pipe.write_all(rules.as_bytes()));
        child.wait_with_output()
    });
    match output {
        Ok(output) if output.status.success() => {
            Some(serde_json::from_slice(&output.stdout).expect("nft prints JSON"))
        }
        failed => {
            assert!(
                env::var_os("CI").is_none(),
                "nft in a namespace: {failed:?}\n{rules}"
            );
            // Not with `eprintln!`, which a test that passes says to nobody.
            let _ = writeln!(io::stderr(), "NOT TESTED: nft in a network namespace");
            None
        }
    }
}

/// What is said of each set of rules: ports that are closed, and those of which it is not known.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn real_rules_are_understood() {
    const ALL: [&str; 3] = ["tcp 8080", "udp 67", "udp 69"];
    let open: &[&str] = &[];
    let cases: &[(&str, String, &[&str], &[&str])] = &[
        ("nothing", String::new(), open, open),
        ("all is accepted", input("accept", ""), open, open),
        ("all is dropped", input("drop", ""), &ALL, open),
        (
            "pings are no port",
            input(
                "drop",
                "ip protocol icmp accept\nicmp type echo-request accept\nmeta l4proto { icmp, ipv6-icmp } accept",
            ),
            &ALL,
            open,
        ),
        (
            "another interface is open",
            input("drop", "iifname \"wan0\" accept\niif \"lo\" accept"),
            &ALL,
            open,
        ),
        (
            "ours is",
            input(
                "drop",
                "ct state invalid drop\niifname { \"wan0\", \"br*\" } accept",
            ),
            open,
            open,
        ),
        (
            "another interface is closed",
            input(
                "accept",
                "iifname \"wan0\" drop\niifname != \"br0\" tcp dport 8080 reject",
            ),
            open,
            open,
        ),
        (
            "a last rejection is the policy",
            input(
                "accept",
                "ct state established,related accept\ntcp dport 8080 accept\nreject with icmpx admin-prohibited",
            ),
            &["udp 67", "udp 69"],
            open,
        ),
        (
            "who has no address yet is not of the subnet",
            input("drop", "ip saddr 10.77.0.0/24 accept"),
            &["udp 67"],
            open,
        ),
        (
            "some nodes",
            input(
                "drop",
                "udp dport 67 accept\nip saddr 10.77.0.0-10.77.0.15 accept",
            ),
            open,
            &["tcp 8080", "udp 69"],
        ),
        (
            "other networks",
            input(
                "accept",
                "ip saddr 192.168.0.0/16 drop\nip saddr != { 0.0.0.0, 10.77.0.0/24 } drop",
            ),
            open,
            open,
        ),
        (
            "chains that lead into each other, and another hook that opens what is asked for",
            "table inet firewalld {
               chain in { type filter hook input priority 10; policy accept;
                 ct state { established, related } accept
                 ct status dnat accept
                 iifname \"lo\" accept
                 ct state invalid drop
                 jump zones
                 reject
               }
               chain zones {
                 iifname \"br0\" goto public
                 goto other
               }
               chain other {
                 accept
               }
               chain public {
                 jump allow
                 meta l4proto icmp accept
               }
               chain allow {
                 tcp dport 22 ct state new,untracked accept
                 udp dport 67 ct state new,untracked accept
               }
               chain out { type filter hook output priority 0; policy drop;
                 tcp dport 8080 accept
                 udp dport 69 accept
               }
               chain forward { type filter hook forward priority 0; policy drop;
                 udp dport 67 drop
               }
             }"
            .to_owned(),
            &["tcp 8080", "udp 69"],
            open,
        ),
        (
            "sets and maps",
            "table ip filter {
               set ports { type inet_service; flags interval; elements = { 22, 8000-8100 } }
               set pairs { type inet_proto . inet_service; elements = { udp . 67 } }
               map way { type inet_service : verdict; elements = { 69 : jump two, 22 : accept } }
               chain two {
                 return
               }
               chain in { type filter hook input priority 0; policy drop;
                 ct state vmap { established : accept, related : accept, invalid : drop }
                 tcp dport @ports accept
                 ip protocol . th dport @pairs accept
                 udp dport vmap @way
                 udp dport { 50-68, 70-80 } accept
               }
             }"
            .to_owned(),
            &["udp 69"],
            open,
        ),
        (
            "what cannot be known",
            input(
                "drop",
                "meta mark 7 udp dport 69 accept\nlimit rate 5/second udp dport 67 accept\ntcp dport 8080 accept\nlimit rate 1/minute log",
            ),
            open,
            &["udp 67", "udp 69"],
        ),
        (
            "usual hardening",
            input(
                "drop",
                "tcp flags & (fin|syn) == (fin|syn) drop\ntcp flags != syn ct state new drop\nct state != new accept\n\
                 fib saddr . iif oif missing udp dport != 67 drop\nfib daddr type local accept\nudp sport 68 udp dport 67 accept",
            ),
            open,
            open,
        ),
        (
            "before it comes in",
            "table inet raw {
               chain pre { type filter hook prerouting priority -300;
                 udp dport { 69, 70 } drop
               }
               chain nat { type nat hook prerouting priority -100;
                 tcp dport 8080 redirect to :80
               }
             }"
            .to_owned(),
            &["udp 69"],
            open,
        ),
        (
            "IPv6",
            "table ip6 six {
               chain in { type filter hook input priority 0; policy drop;
               }
             }"
            .to_owned(),
            open,
            open,
        ),
    ];
    for (name, rules, closed, unclear) in cases {
        let Some(rules) = real(rules) else { return };
        let findings = told(&rules);
        let told: Vec<_> = findings
            .iter()
            .filter_map(|what| what.split_once(" closes ")?.1.split_once(" port "))
            .map(|(protocol, number)| format!("{protocol} {number}"))
            .collect();
        assert_eq!(told, *closed, "{name}: {findings:?}");
        let told: Vec<_> = findings
            .iter()
            .filter_map(|what| what.split_once(" lets in "))
            .flat_map(|(_, ports)| ports.split(':').next().unwrap_or_default().split(", "))
            .collect();
        assert_eq!(told, *unclear, "{name}: {findings:?}");
        assert_eq!(
            findings.is_empty(),
            closed.is_empty() && unclear.is_empty(),
            "{name}: {findings:?}"
        );
    }
}

#[test]
fn what_is_said_names_chain_doubt_and_way_out() {
    let Some(rules) = real(&input("drop", "meta mark 7 accept\nudp dport 69 drop")) else {
        return;
    };
    let findings = judge(&rules, &cluster("", ""), &ports());
    let told: Vec<_> = findings.iter().map(|f| (f.level, &*f.what)).collect();
    let doubt = "cannot tell whether inet filter input lets in tcp 8080, udp 67, udp 69: its rules match on meta mark";
    assert_eq!(told, [(Level::Unknown, doubt)]);
    let Some(rules) = real(&input("accept", "udp dport 69 drop")) else {
        return;
    };
    let findings = judge(&rules, &cluster("", ""), &ports());
    assert_eq!(findings[0].what, "inet filter input closes udp port 69");
    let fix = "run: nft insert rule inet filter input udp dport 69 accept; and make it stay";
    assert_eq!(findings[0].fix.as_deref(), Some(fix));
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
            "inet filter input closes udp port 67",
            "inet filter input closes udp port 69"
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
    assert_eq!(told(&json!({"nftables": []})), [""; 0]);
}

/// Rules that iptables makes, of which nft tells no more.
#[test]
fn what_is_not_understood_is_unknown() {
    for xt in [json!(null), json!({"type": "target", "name": "SYNPROXY"})] {
        let told = told(&rules("accept", &[json!([{"xt": xt}])]));
        assert!(
            told[0].starts_with("cannot tell whether inet filter input lets in tcp 8080, udp 67"),
            "{told:?}"
        );
    }
    let reject = json!([{"xt": {"type": "target", "name": "REJECT"}}]);
    assert_eq!(told(&rules("accept", &[reject])).len(), 3);
    let lost = dport("udp", &json!("@lost"), "drop");
    let told_of = told(&rules("accept", &[lost]));
    assert!(told_of[0].contains("the set lost"), "{told_of:?}");
    assert_eq!(
        told(&json!({"other": []})),
        ["nft's rules are not what is understood here"]
    );
}

/// What comes in through an interface, before anything else.
#[test]
fn chains_of_an_interface_are_of_that_interface() {
    let told = |device: &Value| {
        let chain = json!({"family": "netdev", "table": "early", "name": "in", "type": "filter", "hook": "ingress", "dev": device});
        let mut rule = json!({"family": "netdev", "table": "early", "chain": "in"});
        rule["expr"] = dport("udp", &json!(69), "drop");
        told(&json!({"nftables": [{"chain": chain}, {"rule": rule}]}))
    };
    assert_eq!(told(&json!("eth9")), [""; 0]);
    let closed = ["netdev early in closes udp port 69"];
    assert_eq!(told(&json!("br0")), closed);
    assert_eq!(told(&json!(["eth9", "br0"])), closed);
    assert_eq!(
        told(&json!(null)),
        ["cannot tell whether netdev early in lets in udp 69"]
    );
}

#[test]
fn rules_of_the_old_iptables_are_seen() {
    let none = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\nCOMMIT\n";
    assert!(!has_rules(none));
    assert!(has_rules(&none.replace("INPUT ACCEPT", "INPUT DROP")));
    assert!(has_rules(&format!("{none}-A INPUT -p tcp -j ACCEPT\n")));
}

#[test]
fn what_nodes_need_follows_from_the_cluster() {
    let told = |more: &str, node: &str| {
        let (ports, _) = needed(&cluster(more, node));
        let ports = ports
            .iter()
            .map(|port| format!("{} {}", port.protocol, port.number));
        ports.collect::<Vec<_>>().join(", ")
    };
    let usual = told("", "");
    assert_eq!(usual, "tcp 7411, tcp 8080, udp 67, udp 69");
    assert_eq!(
        told("", "usr = \"nfs\""),
        "tcp 2049, tcp 7411, tcp 8080, udp 67, udp 69"
    );
    assert_eq!(
        told("[dhcp]\nmode = \"proxy\"", ""),
        format!("{usual}, udp 4011")
    );
    assert_eq!(
        told(
            "[export.data]\npath = \"/data\"\nserver = \"ganesha\"\nversion = \"4.2\"",
            ""
        ),
        "tcp 2049, tcp 7411, tcp 8080, udp 67, udp 69"
    );
    assert_eq!(
        told(
            "[export.data]\npath = \"/data\"\nserver = \"ganesha\"\nversion = \"3\"",
            ""
        ),
        "tcp 111, tcp 2049, tcp 7411, tcp 8080, tcp 20048, udp 67, udp 69"
    );
    let rpcinfo = "   program vers proto   port  service\n    100000    4   tcp    111  portmapper\n    100005    1   tcp  20001  mountd\n    100005    3   udp  20002  mountd\n    100005    3   tcp  20003  mountd\n";
    assert_eq!(mountd_in(rpcinfo), Some(20003));
    assert_eq!(mountd_in("rpcinfo: cannot contact portmapper"), None);
}
