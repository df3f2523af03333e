//! A status for people: tables, and how one node came up.

use std::fmt::Write as _;
use std::time::Duration;

use super::build::is_old;
use super::view::{NodeStatus, StageStatus, State, Status, UnknownStatus};
use super::{At, for_people};

/// Colours of states, where a terminal has them.
fn colour(state: State) -> &'static str {
    match state {
        State::Failed | State::Stuck | State::Lost => "\u{1b}[31m",
        State::Never => "\u{1b}[90m",
        State::Booting => "\u{1b}[33m",
        State::Up => "\u{1b}[32m",
    }
}

/// How it is to look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Colours.
    pub colours: bool,
    /// The most columns; lines are cut there. None for as many as it takes.
    pub width: Option<usize>,
    /// The most lines; none for as many as it takes.
    pub height: Option<usize>,
}

/// The table of some nodes, with what is wrong with more than one of them above it and a sum below.
pub fn nodes(status: &Status, nodes: &[&NodeStatus], look: Look) -> String {
    let mut lines = Vec::new();
    for warning in &status.warnings {
        lines.push(Cell::plain(format!("! {warning}")));
    }
    let mut rows = vec![["NODE", "STATE", "STAGE", "HEARD", "BOOTED", "REASON"].map(str::to_owned)];
    rows.extend(nodes.iter().map(|node| row(status.at, node)));
    let widths = widths(&rows);
    let heading = joined(&rows[0], &widths);
    let mut body = Vec::new();
    for (node, row) in nodes.iter().zip(&rows[1..]) {
        let line = joined(row, &widths);
        let state = widths[0] + 2..widths[0] + 2 + row[1].len();
        body.push(Cell {
            text: line,
            colour: Some((state, colour(node.state))),
        });
    }
    lines.push(Cell::plain(heading));
    let foot = foot(status, nodes);
    if let Some(height) = look.height {
        let room = height.saturating_sub(lines.len() + foot.len() + 1).max(1);
        if body.len() > room {
            // What is wrong is what is looked for; the order of states is that of urgency.
            let mut order: Vec<_> = (0..nodes.len()).collect();
            order.sort_by_key(|&at| nodes[at].state);
            let mut first: Vec<_> = order.into_iter().take(room - 1).collect();
            first.sort_unstable();
            let rest = body.len() - first.len();
            body = first.into_iter().map(|at| body[at].clone()).collect();
            body.push(Cell::plain(format!("... and {rest} more")));
        }
    }
    lines.extend(body);
    lines.extend(foot.into_iter().map(Cell::plain));
    let mut out = String::new();
    for line in lines {
        line.write(&mut out, look);
    }
    out
}

#[derive(Debug, Clone)]
struct Cell {
    text: String,
    /// Which bytes have which colour.
    colour: Option<(std::ops::Range<usize>, &'static str)>,
}

impl Cell {
    fn plain(text: String) -> Self {
        Self { text, colour: None }
    }

    fn write(&self, out: &mut String, look: Look) {
        let text = self.text.trim_end();
        let end = look.width.and_then(|width| {
            let end = text.char_indices().nth(width).map(|(end, _)| end)?;
            // Room for the mark that it was cut.
            Some(
                text[..end]
                    .char_indices()
                    .next_back()
                    .map_or(0, |(at, _)| at),
            )
        });
        let shown = &text[..end.unwrap_or(text.len())];
        match &self.colour {
            Some((range, colour)) if look.colours && range.end <= shown.len() => {
                let (before, rest) = shown.split_at(range.start);
                let (word, after) = rest.split_at(range.len());
                write!(out, "{before}{colour}{word}\u{1b}[0m{after}")
            }
            _ => write!(out, "{shown}"),
        }
        .expect("writing to a String cannot fail");
        if end.is_some() {
            out.push('\u{2026}');
        }
        out.push('\n');
    }
}

fn row(now: At, node: &NodeStatus) -> [String; 6] {
    let dash = || "-".to_owned();
    let boot = node.boot.as_ref();
    let booted = match (&node.booted, &node.reboot) {
        (None, None) => dash(),
        (Some(booted), None) => short(&booted.manifest),
        (Some(booted), Some(_)) => format!("{} *", short(&booted.manifest)),
        (None, Some(_)) => "*".to_owned(),
    };
    let reason = match &node.reboot {
        Some(reboot) if node.booted.is_some() => {
            format!("{}; reboot needed, because: {reboot}", node.reason)
        }
        Some(reboot) => format!("{}; {reboot}", node.reason),
        None => node.reason.clone(),
    };
    [
        node.name.clone(),
        node.state.as_str().to_owned(),
        boot.and_then(|boot| boot.stage)
            .map_or_else(dash, |stage| stage.to_string()),
        node.heard
            .map_or_else(dash, |heard| for_people(now.since(heard))),
        booted,
        reason,
    ]
}

/// The first 12 digits of a digest.
fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

fn widths<const N: usize>(rows: &[[String; N]]) -> [usize; N] {
    std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    })
}

fn joined<const N: usize>(row: &[String; N], widths: &[usize; N]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        write!(line, "{cell:width$}  ").expect("writing to a String cannot fail");
    }
    line
}

fn foot(status: &Status, nodes: &[&NodeStatus]) -> Vec<String> {
    let mut counts = Vec::new();
    for state in [
        State::Up,
        State::Booting,
        State::Failed,
        State::Stuck,
        State::Lost,
        State::Never,
    ] {
        match nodes.iter().filter(|node| node.state == state).count() {
            0 => {}
            count => counts.push(format!("{count} {}", state.as_str())),
        }
    }
    let reboots = nodes
        .iter()
        .filter(|node| node.reboot.is_some() && node.booted.is_some())
        .count();
    if reboots > 0 {
        counts.push(format!("{reboots} to be rebooted (*)"));
    }
    let generation = status.generation.map_or_else(
        || "no generation".to_owned(),
        |number| format!("generation {number}"),
    );
    vec![format!("{generation}: {}", counts.join(", "))]
}

/// How long stages took.
pub fn timing(status: &Status) -> String {
    let mut rows = vec![["STAGE", "BOOTS", "P50", "P95"].map(str::to_owned)];
    let time = |millis| for_people(Duration::from_millis(millis));
    rows.extend(status.timing.iter().map(|timing| {
        [
            timing.stage.clone(),
            timing.boots.to_string(),
            time(timing.p50),
            time(timing.p95),
        ]
    }));
    if rows.len() == 1 {
        return "no boots yet\n".to_owned();
    }
    table(&rows)
}

fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths = widths(rows);
    let mut out = String::new();
    for row in rows {
        writeln!(out, "{}", joined(row, &widths).trim_end())
            .expect("writing to a String cannot fail");
    }
    out
}

/// How one node came up, stage by stage.
pub fn one(node: &NodeStatus) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("writing to a String cannot fail");
    line(format!("{}  {}  {}", node.name, node.mac, node.address));
    line(format!("  {}: {}", node.state.as_str(), node.reason));
    if let Some(boot) = &node.boot {
        let id = boot
            .id
            .as_ref()
            .map_or_else(String::new, |id| format!(", id {id}"));
        line(format!("  boot {} began {}{id}", boot.number, boot.began));
        let rows: Vec<_> = boot.stages.iter().map(stage_row).collect();
        let widths = widths(&rows);
        for row in &rows {
            line(format!("    {}", joined(row, &widths).trim_end()));
        }
    }
    let digests = |what: &str, digests: &super::view::Digests| {
        format!(
            "  {what} {} {}, own files {}",
            digests.image,
            short(&digests.manifest),
            short(&digests.overlay)
        )
    };
    if let Some(booted) = &node.booted {
        line(digests("booted     ", booted));
    }
    if let Some(wanted) = &node.wanted {
        line(digests("would boot ", wanted));
    }
    if let Some(reboot) = &node.reboot {
        let what = if node.booted.is_some() {
            "reboot needed, because: "
        } else {
            ""
        };
        line(format!("  {what}{reboot}"));
    }
    if let Some(worker) = &node.worker {
        let draining = if worker.draining { ", draining" } else { "" };
        line(format!(
            "  worker {} attached since {}{draining}",
            worker.version, worker.since
        ));
    }
    out
}

fn stage_row(stage: &StageStatus) -> [String; 4] {
    let mut words = stage.words.to_string();
    if stage.failures > 0 {
        let times = match stage.failures {
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        write!(words, " (failed {times})").expect("writing to a String cannot fail");
    }
    [
        stage.stage.to_string(),
        stage.took.map_or_else(String::new, |took| {
            format!("+{}", for_people(Duration::from_millis(took)))
        }),
        match stage.percent {
            0 => String::new(),
            percent => format!("{percent}%"),
        },
        words,
    ]
}

/// The machines that are not in the cluster.
pub fn unknown(now: At, machines: &[UnknownStatus]) -> String {
    let heading = [
        "MAC", "VENDOR", "MEMORY", "CORES", "DISKS", "NICS", "ADDRESS", "SEEN", "STATE",
    ];
    let mut rows = vec![heading.map(str::to_owned)];
    rows.extend(machines.iter().map(|machine| unknown_row(now, machine)));
    table(&rows)
}

fn unknown_row(now: At, machine: &UnknownStatus) -> [String; 9] {
    let dash = || "-".to_owned();
    let what = machine.inventory.as_ref();
    let vendor = what.map(|what| format!("{} {}", what.vendor, what.product));
    let vendor = vendor
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty());
    let list = |texts: Vec<String>| {
        if texts.is_empty() {
            "none".to_owned()
        } else {
            texts.join(" ")
        }
    };
    [
        machine.mac.clone(),
        vendor
            .or_else(|| machine.maker.clone())
            .unwrap_or_else(dash),
        what.map_or_else(dash, |what| bytes(what.memory_kib.saturating_mul(1024))),
        what.map_or_else(dash, |what| what.cores.to_string()),
        what.map_or_else(dash, |what| {
            list(
                what.disks
                    .iter()
                    .map(|disk| format!("{}:{}", disk.name, bytes(disk.bytes)))
                    .collect(),
            )
        }),
        what.map_or_else(dash, |what| {
            list(
                what.nics
                    .iter()
                    .map(|nic| format!("{}:{}", nic.name, nic.driver))
                    .collect(),
            )
        }),
        machine
            .address
            .map_or_else(dash, |address| address.to_string()),
        format!("{} ago", for_people(now.since(machine.last))),
        machine_state(now, machine),
    ]
}

/// What was last heard of it.
fn machine_state(now: At, machine: &UnknownStatus) -> String {
    let words = &machine.words;
    if is_old(machine.last, now) {
        return format!(
            "old: {words} (not seen for a day; `node forget {}` takes it off this list)",
            machine.mac
        );
    }
    words.to_string()
}

/// A size in the largest unit of which there are at least ten.
fn bytes(bytes: u64) -> String {
    for (unit, size) in [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)] {
        if bytes >= 10 * size || (bytes >= size && bytes.is_multiple_of(size)) {
            return format!("{} {unit}", bytes / size);
        }
    }
    format!("{} KiB", bytes / 1024)
}
