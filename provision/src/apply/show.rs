//! A plan as people read it, and as programs do.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use similar::{Algorithm, ChangeTag, TextDiff};

use super::plan::{Action, Change, Kind, Plan};
use crate::nodeset;
use crate::render::Place;

/// The most lines that are shown of the diff of one file, unless all are wanted.
pub const MAX_DIFF_LINES: usize = 120;

/// The most names of changed files that are shown where there are many, unless all are wanted.
pub const MAX_FILES: usize = 40;

/// How long the diff of one file may be looked for; then a coarser one is taken.
const DIFF_TIME: Duration = Duration::from_millis(100);

/// Unchanged lines that are shown around a change.
const CONTEXT: usize = 2;

/// How a plan is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// With colours.
    pub colours: bool,
    /// Every line of every diff.
    pub full: bool,
}

/// Colours as terminals know them.
struct Paint(bool);

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    fn red(&self, text: &str) -> String {
        self.with("31", text)
    }

    fn green(&self, text: &str) -> String {
        self.with("32", text)
    }

    fn yellow(&self, text: &str) -> String {
        self.with("33", text)
    }

    fn cyan(&self, text: &str) -> String {
        self.with("36", text)
    }
}

/// The plan for a person: what changes, with the old and the new text of each file.
pub fn text(plan: &Plan, style: Style) -> String {
    let mut out = String::new();
    write(plan, style, &mut out).expect("writing to a String cannot fail");
    out
}

fn write(plan: &Plan, style: Style, out: &mut String) -> std::fmt::Result {
    let paint = Paint(style.colours);
    if let Some(pending) = &plan.interrupted {
        let what = format!(
            "the switch to generation {} was cut off; this completes it",
            pending.to
        );
        writeln!(out, "{}\n", paint.yellow(&what))?;
    }
    let shown = if style.full { usize::MAX } else { MAX_FILES };
    for change in plan.changes.iter().take(shown) {
        file(change, style, &paint, out)?;
    }
    if plan.changes.len() > shown {
        let more = plan.changes.len() - shown;
        writeln!(out, "and {more} more files; --full shows them\n")?;
    }
    summary(plan, &paint, out)
}

/// What would be done, without the text of the files.
fn summary(plan: &Plan, paint: &Paint, out: &mut String) -> std::fmt::Result {
    if plan.is_empty() && plan.obstacles.is_empty() {
        return match plan.from {
            Some(number) => writeln!(out, "nothing to do: generation {number} is in force"),
            None => writeln!(out, "nothing to do"),
        };
    }
    let by_hand = plan.changes.iter().filter(|change| change.by_hand);
    for change in by_hand {
        let what = match (change.kind, &change.old) {
            (Kind::Create, _) | (_, None) => "was removed by hand, and is made again",
            (Kind::Remove, _) => "was changed by hand; it is removed",
            _ if plan.from.is_none() => "is there already, and is replaced",
            _ => "was changed by hand; that is replaced",
        };
        writeln!(out, "{} {} {what}", paint.yellow("!"), place(change))?;
    }
    for change in &plan.services {
        let word = match change.action {
            Action::Reload => "reload",
            Action::Restart => "restart",
            Action::Start => "start",
            Action::Stop => "stop",
        };
        let because = match change.because.as_slice() {
            [] => "a new generation".to_owned(),
            [one] => one.clone(),
            [one, rest @ ..] => format!("{one} and {} more", rest.len()),
        };
        let word = paint.cyan(&format!("{word:7}"));
        writeln!(out, "{word} {} ({because})", change.service.unit())?;
    }
    let reboots = &plan.reboots;
    for reboot in &reboots.reboots {
        let (word, set) = (paint.yellow("reboot "), reboot.set());
        writeln!(out, "{word} {set}: {}", reboot.reasons.join("; "))?;
    }
    for (word, names) in [
        ("new node", &reboots.added),
        ("no node any more", &reboots.removed),
    ] {
        if !names.is_empty() {
            let s = if names.len() == 1 || word != "new node" {
                ""
            } else {
                "s"
            };
            writeln!(out, "{word}{s}: {}", nodeset::fold(names))?;
        }
    }
    for warning in &plan.warnings {
        writeln!(out, "{} {warning}", paint.yellow("warning:"))?;
    }
    for obstacle in &plan.obstacles {
        writeln!(out, "{} {obstacle}", paint.red("cannot be applied:"))?;
    }
    let count = |kinds: &[Kind]| {
        let of_kind = plan
            .changes
            .iter()
            .filter(|change| kinds.contains(&change.kind));
        of_kind.count()
    };
    let nodes = reboots.reboots.iter().map(|reboot| reboot.nodes.len());
    writeln!(
        out,
        "{} to make, {} to change, {} to remove; {} to tell; {} to reboot",
        counted(count(&[Kind::Create]), "file"),
        count(&[Kind::Modify, Kind::Mode]),
        count(&[Kind::Remove]),
        counted(plan.services.len(), "service"),
        counted(nodes.sum(), "node"),
    )
}

/// "1 node", "2 nodes".
fn counted(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// Where a person finds the file.
fn place(change: &Change) -> String {
    match &change.place {
        Place::Generation | Place::Link => change.name.clone(),
        Place::System(path) => path.display().to_string(),
        Place::Block(path) => format!("{} (the block of regex-provision)", path.display()),
    }
}

fn file(change: &Change, style: Style, paint: &Paint, out: &mut String) -> std::fmt::Result {
    let name = place(change);
    let (old_name, new_name) = match change.kind {
        Kind::Create => ("/dev/null", &*name),
        Kind::Remove => (&*name, "/dev/null"),
        Kind::Modify | Kind::Mode => (&*name, &*name),
    };
    writeln!(out, "{}", paint.bold(&format!("--- {old_name}")))?;
    writeln!(out, "{}", paint.bold(&format!("+++ {new_name}")))?;
    let empty = Vec::new();
    let old = change.old.as_ref().unwrap_or(&empty);
    let new = change.new.as_ref().unwrap_or(&empty);
    if change.kind == Kind::Mode {
        writeln!(out, "{}\n", paint.cyan("(only its permissions change)"))?;
        return Ok(());
    }
    let (Some(old), Some(new)) = (as_text(old), as_text(new)) else {
        let (old, new) = (old.len(), new.len());
        let what = format!("(binary, {old} bytes before, {new} after)");
        writeln!(out, "{}\n", paint.cyan(&what))?;
        return Ok(());
    };
    let mut lines = diff(old, new, paint);
    let most = if style.full {
        usize::MAX
    } else {
        MAX_DIFF_LINES
    };
    let more = lines.len().saturating_sub(most);
    lines.truncate(most);
    for line in lines {
        out.push_str(&line);
    }
    if more > 0 {
        let what = format!("({more} more lines; --full shows them)");
        writeln!(out, "{}", paint.cyan(&what))?;
    }
    writeln!(out)
}

fn as_text(bytes: &[u8]) -> Option<&str> {
    let text = str::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then_some(text)
}

/// The lines of a unified diff, without the names of the files.
fn diff(old: &str, new: &str, paint: &Paint) -> Vec<String> {
    let diff = TextDiff::configure()
        .algorithm(Algorithm::Myers)
        .timeout(DIFF_TIME)
        .diff_lines(old, new);
    let mut lines = Vec::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        lines.push(format!("{}\n", paint.cyan(&hunk.header().to_string())));
        for change in hunk.iter_changes() {
            let text = change.value().trim_end_matches('\n');
            lines.push(match change.tag() {
                ChangeTag::Equal => format!(" {text}\n"),
                ChangeTag::Delete => format!("{}\n", paint.red(&format!("-{text}"))),
                ChangeTag::Insert => format!("{}\n", paint.green(&format!("+{text}"))),
            });
        }
    }
    lines
}

/// The plan for programs, with whole diffs.
pub fn json(plan: &Plan) -> Value {
    let mut value = serde_json::to_value(plan).expect("texts and numbers can be written");
    for (change, shown) in plan
        .changes
        .iter()
        .zip(value["changes"].as_array_mut().into_iter().flatten())
    {
        let empty = Vec::new();
        let old = as_text(change.old.as_ref().unwrap_or(&empty));
        let new = as_text(change.new.as_ref().unwrap_or(&empty));
        shown["diff"] = match (old, new) {
            (Some(old), Some(new)) => diff(old, new, &Paint(false)).concat().into(),
            _ => Value::Null,
        };
    }
    value["changed"] = json!(!plan.is_empty());
    value
}
