//! How long the commands that a person waits for take where there are 10,000 nodes: `check`, `plan` and `apply`, the
//! program itself, on a root of its own (`--root`).
//!
//!     cargo bench -p regexctl-provision --bench apply -- [--quick]
//!
//! Half of the nodes have a section each, half are in ranges; each has an Ethernet address of its own. A round begins with
//! a root on which nothing was applied, and goes through all steps. With `--root`, no service is touched; what dnsmasq and
//! the others take to start again is not measured here.
//!
//! Exit status: 0 measured, and targets met; 1 a target was missed; anything else if a command did not do what it is for.

#[expect(dead_code, reason = "serve uses the rest")]
#[path = "../shared/mod.rs"]
mod shared;

#[expect(dead_code, reason = "tests/apply uses the rest")]
#[path = "../../tests/apply/fake.rs"]
mod fake;

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, ExitCode};
use std::time::Instant;

use fake::Fake;
use shared::{Bound, Target, judge, median};

/// Nodes in one range.
const RANGE: usize = 250;

/// The node that changes, in the middle of those with a section.
const CHANGED: usize = 1234;

/// The Ethernet address that it has then.
const NEW_MAC: &str = "52:54:00:ff:00:01";

/// How long a command may take, in seconds.
const MOST_SECONDS: f64 = 1.0;

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
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        let fake = Fake::new();
        for (step, seconds) in STEPS.iter().zip(&mut seconds) {
            seconds.push(time(&fake, &text, step));
        }
    }
    println!("{nodes} nodes; rounds: {rounds}, medians\n");
    println!("| command | seconds | min - max |\n|---|---|---|");
    let mut targets = Vec::new();
    for (step, seconds) in STEPS.iter().zip(&seconds) {
        let measured = median(seconds.iter().copied());
        println!(
            "| {} | {measured:.3} | {:.3} - {:.3} |",
            step.name,
            seconds.iter().copied().fold(f64::INFINITY, f64::min),
            seconds.iter().copied().fold(0.0, f64::max)
        );
        if step.has_target {
            targets.push(Target {
                what: step.name,
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
