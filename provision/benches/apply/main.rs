//! How long the commands that a person waits for take where there are 10,000 nodes: `check`, `plan` and `apply`, the
//! program itself, on a root of its own (`--root`).
//!
//!     cargo bench -p regexctl-provision --bench apply -- [--quick]
//!
//! Half of the nodes have a section each, half are in ranges; each has an Ethernet address of its own. A round begins with
//! a root on which nothing was applied, and goes through all steps. With `--root`, no service is touched. The last step is without it,
//! in this process: the boot endpoint runs, is told, and serves the new generation when the step is over; a script stands for
//! systemd, and what dnsmasq takes to start again is not measured here.
//!
//! Exit status: 0 measured, and targets met; 1 a target was missed; anything else if a command did not do what it is for.

#[expect(dead_code, reason = "serve uses the rest")]
#[path = "../shared/mod.rs"]
mod shared;

#[expect(dead_code, reason = "tests/apply uses the rest")]
#[path = "../../tests/apply/fake.rs"]
mod fake;

#[expect(dead_code, reason = "tests/apply uses the rest")]
#[path = "../../tests/apply/systemctl.rs"]
mod systemctl;

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::process::{Command, ExitCode};
use std::time::Instant;

use fake::Fake;
use regexctl_provision::apply::{self, Disk};
use regexctl_provision::render::Service;
use shared::{Bound, Target, judge, median};
use systemctl::{Elsewhere, Script, on_loopback};

/// Nodes in one range.
const RANGE: usize = 250;

/// The node that changes, in the middle of those with a section.
const CHANGED: usize = 1234;

/// The Ethernet address that it has then.
const NEW_MAC: &str = "52:54:00:ff:00:01";

/// What the boot endpoint is told by.
const RELOAD: &str = "reload-or-restart regex-provision-serve.service";

/// How long a command may take, in seconds.
const MOST_SECONDS: f64 = 1.0;

/// The last step.
const TOLD: &str = "apply, one node changed, the boot endpoint told";

/// A step: what it is called, the command, its exit status, what it prints somewhere.
struct Step {
    name: &'static str,
    command: &'static str,
    /// Whether the node has changed before.
    changed: bool,
    status: i32,
    says: &'static str,
    has_target: bool,
}

const STEPS: [Step; 6] = [
    Step {
        name: "check",
        command: "check",
        changed: false,
        status: 0,
        says: "",
        has_target: false,
    },
    Step {
        name: "plan, nothing was applied",
        command: "plan",
        changed: false,
        status: 10,
        says: "dnsmasq/hosts",
        has_target: true,
    },
    Step {
        name: "apply, nothing was applied",
        command: "apply",
        changed: false,
        status: 0,
        says: "generation 1 is in force",
        has_target: false,
    },
    Step {
        name: "plan, nothing to do",
        command: "plan",
        changed: false,
        status: 0,
        says: "nothing to do",
        has_target: true,
    },
    Step {
        name: "plan, one node changed",
        command: "plan",
        changed: true,
        status: 10,
        says: NEW_MAC,
        has_target: true,
    },
    Step {
        name: "apply, one node changed",
        command: "apply",
        changed: true,
        status: 0,
        says: "generation 2 is in force",
        has_target: true,
    },
];

fn main() -> ExitCode {
    let quick = shared::is_quick();
    let (rounds, nodes) = if quick { (1, 3000) } else { (5, 10_000) };
    let text = describe(nodes);
    let mut seconds = vec![Vec::new(); STEPS.len()];
    let mut told = Vec::new();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        let fake = Fake::new();
        for (step, seconds) in STEPS.iter().zip(&mut seconds) {
            seconds.push(time(&fake, &text, step));
        }
        told.push(time_with_endpoint(&text));
    }
    println!("{nodes} nodes; rounds: {rounds}, medians\n");
    println!("| command | seconds | min - max |\n|---|---|---|");
    let mut targets = Vec::new();
    let rows = STEPS.iter().map(|step| (step.name, step.has_target));
    let rows = rows.chain([(TOLD, true)]);
    for ((name, has_target), seconds) in rows.zip(seconds.iter().chain([&told])) {
        let measured = median(seconds.iter().copied());
        println!(
            "| {name} | {measured:.3} | {:.3} - {:.3} |",
            seconds.iter().copied().fold(f64::INFINITY, f64::min),
            seconds.iter().copied().fold(0.0, f64::max)
        );
        if has_target {
            targets.push(Target {
                what: name,
                bound: Bound::AtMost(MOST_SECONDS),
                measured,
            });
        }
    }
    judge(&targets, quick)
}

/// How many seconds the step takes.
fn time(fake: &Fake, text: &str, step: &Step) -> f64 {
    let file = fake.path.join("cluster.toml");
    let text = if step.changed {
        text.replace(&mac(CHANGED), NEW_MAC)
    } else {
        text.to_owned()
    };
    fs::write(&file, text).expect("the directory is ours");
    let mut command = Command::new(env!("CARGO_BIN_EXE_regex-provision"));
    command
        .arg(step.command)
        .env("REGEX_PROVISION_FILE", &file)
        .current_dir(&fake.path);
    if step.command != "check" {
        command.args(["--root", "."]);
    }
    let began = Instant::now();
    let output = command.output().expect("the binary under test starts");
    let seconds = began.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.code() == Some(step.status) && said.contains(step.says),
        "{}: {}: {said}{}",
        step.name,
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    seconds
}

/// How many seconds it takes until what was changed of one node is served.
fn time_with_endpoint(text: &str) -> f64 {
    let (fake, script) = (Fake::new(), Script::new());
    script.run_serve(&fake);
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = free.expect("a port is free").port();
    let text = text.replace("[dhcp]\n", &format!("http-port = {port}\n[dhcp]\n"));
    let apply = |text: &str| {
        let mut services = Elsewhere {
            systemd: script.systemd().asking(),
            // Of the others nothing runs.
            place: |service, at| {
                let is_told = service == Service::Serve;
                is_told.then(|| on_loopback(service, at)).flatten()
            },
        };
        let began = Instant::now();
        let request = fake.request(text);
        if let Err(error) = apply::apply(&request, &mut Disk::default(), &mut services) {
            panic!("{TOLD}: {:#}", fake::anyhow(error));
        }
        began.elapsed().as_secs_f64()
    };
    apply(&text);
    script.calls();
    let seconds = apply(&text.replace(&mac(CHANGED), NEW_MAC));
    let calls = script.calls();
    let is_told = calls.iter().any(|call| call == RELOAD);
    assert!(is_told, "{TOLD}: {calls:?}");
    seconds
}

/// A cluster of so many nodes: the first half with a section each, the rest in ranges.
fn describe(nodes: usize) -> String {
    let mut text = r#"
[cluster]
name = "big"
interface = "br0"
subnet = "10.77.0.0/16"
master = "10.77.0.1"

[dhcp]
range = "10.77.200.0-10.77.200.255"

[image.base]
source = { kind = "debootstrap", suite = "bookworm" }

[export.data]
path = "/srv/data"

[profile.default]
image = "base"
"#
    .to_owned();
    // A section for so many nodes from this one on.
    let mut section = |first: usize, count: usize| {
        let (name, macs) = if count == 1 {
            (format!("n{first:05}"), format!("\"{}\"", mac(first)))
        } else {
            let last = first + count - 1;
            let macs: Vec<_> = (first..=last)
                .map(|node| format!("\"{}\"", mac(node)))
                .collect();
            (
                format!("n[{first:05}-{last:05}]"),
                format!("[{}]", macs.join(", ")),
            )
        };
        let address = format!("10.77.{}.{}", first / RANGE + 1, first % RANGE + 1);
        writeln!(
            text,
            "\n[[node]]\nname = \"{name}\"\nmac = {macs}\naddress = \"{address}\""
        )
        .expect("writing to a String cannot fail");
    };
    let half = nodes / 2;
    for node in 0..half {
        section(node, 1);
    }
    for first in (half..nodes).step_by(RANGE) {
        section(first, RANGE.min(nodes - first));
    }
    text
}

fn mac(node: usize) -> String {
    format!("52:54:00:00:{:02x}:{:02x}", node / 256, node % 256)
}
