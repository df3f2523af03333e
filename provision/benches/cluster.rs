//! How long a large `cluster.toml` takes: 10,000 nodes, each a section, and as one range.

use divan::{Bencher, black_box};
use regexctl_provision::model::{Cluster, check, parse};
use regexctl_provision::nodeset::{NodeSet, expand, fold};

/// As many nodes as the commands must be quick for.
const NODES: usize = 10_000;

const BASE: &str = r#"[cluster]
name = "big"
interface = "eth1"
subnet = "10.0.0.0/16"
master = "10.0.0.1"
[profile.default]
image = "base"
bmc = { kind = "ipmi", address = "{node}-bmc", user = "admin" }
[image.base]
source = { kind = "tar", path = "/base.tar" }
[export.data]
path = "/data"
"#;

fn mac(index: usize) -> String {
    format!("\"52:54:00:00:{:02x}:{:02x}\"", index / 256, index % 256)
}

/// Each node has a section.
fn sections() -> String {
    let section = |index: usize| {
        let (net, host) = (index / 250 + 1, index % 250 + 1);
        let mac = mac(index);
        format!("[[node]]\nname = \"n{index:05}\"\nmac = {mac}\naddress = \"10.0.{net}.{host}\"\n")
    };
    BASE.to_owned() + &(0..NODES).map(section).collect::<Vec<_>>().concat()
}

/// All nodes have one section.
fn range() -> String {
    let macs: Vec<_> = (0..NODES).map(mac).collect();
    format!(
        "{BASE}[[node]]\nname = \"n[00000-09999]\"\naddress = \"10.0.1.0\"\nmac = [{}]\n",
        macs.join(",")
    )
}

fn cluster() -> Cluster {
    parse(&sections()).expect("the file is right")
}

#[divan::bench]
fn check_sections(bencher: Bencher) {
    let text = sections();
    bencher.bench(|| check(black_box(&text)).cluster.expect("the file is right"));
}

#[divan::bench]
fn check_range(bencher: Bencher) {
    let text = range();
    bencher.bench(|| check(black_box(&text)).cluster.expect("the file is right"));
}

/// Every address is outside of the subnet.
#[divan::bench]
fn check_mistakes(bencher: Bencher) {
    let text = sections().replace("10.0.0.0/16", "10.9.0.0/16");
    bencher.bench(|| check(black_box(&text)).problems);
}

#[divan::bench]
fn select_names(bencher: Bencher) {
    let cluster = cluster();
    let set: NodeSet = "n[00000-09999],!n[00100-00199]".parse().expect("a set");
    bencher.bench(|| {
        set.select(black_box(&cluster), None)
            .expect("all are there")
            .len()
    });
}

#[divan::bench]
fn fold_names(bencher: Bencher) {
    let names = expand("rack[1-100]n[001-100]").expect("a set");
    bencher.bench(|| fold(black_box(&names)));
}

fn main() {
    divan::main();
}
