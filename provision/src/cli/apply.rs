//! `regex-provision plan`, `apply`, `rollback` and `generations`

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::file::FileArgs;
use super::output::{counted, print, stdout_has_colours, table, tell};
use crate::apply::show::{self, Style};
use crate::apply::{
    self, Disk, Generation, Interrupt, NoServices, Outcome, Request, Root, Services, Systemd,
    generation,
};
use crate::model;
use crate::store::Store;

/// The exit status of a plan that has something to do.
const CHANGES: u8 = 10;

/// Where everything is, unless a cluster.toml says otherwise.
const DIRECTORY: &str = "/var/lib/regex-provision";

/// Which system is set up.
#[derive(Debug, Clone, clap::Args)]
struct RootArgs {
    /// Set up the system below this directory, and touch no service
    #[arg(long, value_name = "DIR", value_parser = directory)]
    root: Option<PathBuf>,
}

fn directory(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_dir() {
        Ok(path)
    } else {
        Err("there is no such directory; make it first".to_owned())
    }
}

impl RootArgs {
    fn root(&self) -> Root {
        self.root.as_ref().map_or_else(Root::real, Root::fake)
    }
}

/// How a plan is shown.
#[derive(Debug, Clone, clap::Args)]
struct ShowArgs {
    /// Print JSON, with whole diffs
    #[arg(long)]
    json: bool,
    /// Show every line of every diff
    #[arg(long)]
    full: bool,
}

impl ShowArgs {
    fn style(&self) -> Style {
        Style {
            colours: stdout_has_colours(),
            full: self.full,
        }
    }
}

/// Show what `apply` would do: files as a diff, services, nodes to reboot.
///
/// Changes nothing. Exit status: 0 nothing to do, 10 something to do, 2 an error, or something that
/// keeps it from being applied.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision plan
  regex-provision plan --json | jq '.reboots'
  regex-provision plan --root /tmp/root --file lab.toml")]
pub(super) struct PlanArgs {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    show: ShowArgs,
}

/// Make the master what cluster.toml says.
///
/// Each new file is shown to its daemon's own checker first. Then all files are switched at once, and the
/// services whose files have changed are told. If anything fails, everything is as it was before.
/// Nodes boot what is new when they are rebooted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision plan && echo nothing to do
  sudo regex-provision apply
  mkdir /tmp/root && regex-provision apply --root /tmp/root    # look at the files, without rights")]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    show: ShowArgs,
}

/// Where the generations are.
#[derive(Debug, Clone, clap::Args)]
struct StoreArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The directory with images and generations [default: what cluster.toml says, else
    /// /var/lib/regex-provision]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    root: RootArgs,
}

impl StoreArgs {
    fn store(&self) -> Store {
        let directory = self.directory.clone().unwrap_or_else(|| {
            // One may want back because cluster.toml is not right.
            let cluster = model::load(&self.file.path());
            let directory = cluster.map(|cluster| cluster.serve.directory.as_path().to_owned());
            directory.unwrap_or_else(|_| DIRECTORY.into())
        });
        Store::at(self.root.root().path(&directory))
    }
}

/// Return to a generation that was applied before, configuration and images together.
///
/// cluster.toml stays as it is; what was in force can be applied again, or returned to.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision generations
  sudo regex-provision rollback        # the one before
  sudo regex-provision rollback 7")]
pub(super) struct RollbackArgs {
    /// The generation; without it, the one before the one in force
    #[arg(value_name = "N")]
    number: Option<u32>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    show: ShowArgs,
}

/// List the generations that are kept, the newest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  regex-provision generations
  regex-provision generations --json | jq '.[0]'")]
pub(super) struct GenerationsArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The services of the system, as far as they can be told.
fn services(root: &Root, interrupt: &Interrupt) -> Box<dyn Services> {
    match Systemd::here() {
        Some(systemd) if root.is_real() => Box::new(systemd.heeding(interrupt.clone())),
        _ => Box::new(NoServices),
    }
}

fn request(file: &FileArgs, root: &RootArgs) -> anyhow::Result<Request> {
    // The text is kept with the generation, so it is read once, and it is what is checked.
    let path = file.path();
    let (text, cluster) = super::file::load_text(&path)?;
    Ok(Request {
        text,
        cluster,
        root: root.root(),
    })
}

pub(super) fn plan(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let request = request(&args.file, &args.root)?;
    let mut services = services(&request.root, &Interrupt::never());
    let plan = apply::plan(&request, services.as_mut())?;
    print_plan(&plan, &args.show)?;
    if !plan.obstacles.is_empty() {
        let reasons = counted(plan.obstacles.len(), "reason");
        anyhow::bail!("this cannot be applied, for {reasons}");
    }
    let is_empty = plan.is_empty();
    Ok(if is_empty {
        ExitCode::SUCCESS
    } else {
        CHANGES.into()
    })
}

fn print_plan(plan: &apply::Plan, args: &ShowArgs) -> anyhow::Result<()> {
    if args.json {
        print(&format!("{:#}\n", show::json(plan)))
    } else {
        print(&show::text(plan, args.style()))
    }
}

pub(super) fn apply(args: &ApplyArgs) -> anyhow::Result<()> {
    apply::must_be_root(&args.root.root())?;
    let request = request(&args.file, &args.root)?;
    let interrupt = Interrupt::by_signals();
    let mut services = services(&request.root, &interrupt);
    let mut disk = Disk::default().heeding(interrupt);
    let outcome = apply::apply(&request, &mut disk, services.as_mut())?;
    finish(&outcome, &request.root, &args.show)
}

/// Tells what was done.
fn finish(outcome: &Outcome, root: &Root, args: &ShowArgs) -> anyhow::Result<()> {
    for note in &outcome.notes {
        tell(&format!("regex-provision: {note}\n"));
    }
    if root.is_real() && Systemd::here().is_none() && !outcome.plan.services.is_empty() {
        tell(
            "regex-provision: systemd does not run this machine, so no service was told; \
             `regex-provision serve` runs the daemons itself\n",
        );
    }
    if args.json {
        let mut value = show::json(&outcome.plan);
        value["generation"] = outcome.generation.into();
        value["notes"] = json!(outcome.notes);
        return print(&format!("{value:#}\n"));
    }
    let mut text = show::text(&outcome.plan, args.style());
    if !outcome.plan.is_empty() {
        writeln!(text, "generation {} is in force", outcome.generation)?;
    }
    print(&text)
}

pub(super) fn rollback(args: &RollbackArgs) -> anyhow::Result<()> {
    let root = args.store.root.root();
    apply::must_be_root(&root)?;
    let store = args.store.store();
    let interrupt = Interrupt::by_signals();
    let mut services = services(&root, &interrupt);
    let mut disk = Disk::default().heeding(interrupt);
    let outcome = apply::rollback(&root, &store, args.number, &mut disk, services.as_mut())?;
    finish(&outcome, &root, &args.show)
}

pub(super) fn generations(args: &GenerationsArgs) -> anyhow::Result<()> {
    let store = args.store.store();
    args.store.root.root().holds(&store)?;
    store.existing()?;
    let current = generation::current_number(&store)?;
    let mut numbers = generation::list(&store)?;
    numbers.reverse();
    let mut rows = vec![
        ["", "GENERATION", "MADE", "NODES", "IMAGES"]
            .map(String::from)
            .to_vec(),
    ];
    let mut list = Vec::new();
    for number in numbers {
        let opened = Generation::open(&store, number);
        let opened = opened.and_then(|generation| Ok((generation.image_digests()?, generation)));
        let (images, generation) = match opened {
            Ok(opened) => opened,
            // Whoever looks for one to return to wants to see the others.
            Err(error) => {
                let why = format!("{:#}", anyhow::Error::from(error));
                list.push(json!({
                    "generation": number,
                    "current": Some(number) == current,
                    "damaged": why,
                }));
                rows.push(vec![
                    if Some(number) == current { "*" } else { "" }.into(),
                    number.to_string(),
                    "?".into(),
                    "?".into(),
                    why,
                ]);
                continue;
            }
        };
        let nodes = generation
            .cluster()
            .map(|cluster| cluster.nodes().len())
            .ok();
        let made = Duration::from_secs(generation.index.created);
        list.push(json!({
            "generation": number,
            "current": Some(number) == current,
            "created": generation.index.created,
            "nodes": nodes,
            "images": images,
        }));
        let images = images
            .iter()
            .map(|(name, digest)| format!("{name} {}", digest.short()));
        rows.push(vec![
            if Some(number) == current { "*" } else { "" }.into(),
            number.to_string(),
            ago(made),
            nodes.map_or_else(|| "?".into(), |nodes| nodes.to_string()),
            images.collect::<Vec<_>>().join(", "),
        ]);
    }
    if args.json {
        return print(&format!("{:#}\n", json!(list)));
    }
    if list.is_empty() {
        return print("no generations: nothing has been applied yet\n");
    }
    print(&table(&rows))
}

/// How long ago a moment since 1970 was.
fn ago(moment: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0, |now| now.saturating_sub(moment).as_secs());
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}
