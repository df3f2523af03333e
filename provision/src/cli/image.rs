//! `regex-provision image build|import|shell|lint|list|show|diff|prune`

mod args;
mod print;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::json;

use super::output::{counted, print, table, tell};
use crate::image::{self, Finding, Job, Severity, Shell, Wants};
use crate::model::image::KernelSource;
use crate::model::services::SERVE_DIRECTORY;
use crate::model::{Cluster, HostKeys, Image, ImageName, ImageSource};
use crate::store::{Damaged, Digest, Manifest, Need, Store};
use args::{
    BuildArgs, DiffArgs, ImportArgs, LintArgs, ListArgs, PruneArgs, ShellArgs, ShowArgs, StoreArgs,
};
use print::{bytes, time};

/// Build, import and look after the images that nodes boot.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  sudo regex-provision image build base
  regex-provision image list")]
pub(super) enum Command {
    Build(BuildArgs),
    Import(ImportArgs),
    Shell(ShellArgs),
    Lint(LintArgs),
    List(ListArgs),
    Show(ShowArgs),
    Diff(DiffArgs),
    Prune(PruneArgs),
}

pub(super) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let done = match command {
        Command::Build(args) => build(&args),
        Command::Import(args) => import(&args),
        Command::Shell(args) => return shell(&args),
        Command::Lint(args) => lint(&args),
        Command::List(args) => list(&args),
        Command::Show(args) => show(&args),
        Command::Diff(args) => return diff(&args),
        Command::Prune(args) => prune(&args),
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn build(args: &BuildArgs) -> anyhow::Result<()> {
    let cluster = args.store.file.load()?;
    let image = declared(&cluster, &args.name)?;
    let store = args.store.of(Some(&cluster));
    make(&store, Some(&cluster), image, args)
}

fn import(args: &ImportArgs) -> anyhow::Result<()> {
    let cluster = args.store.cluster()?;
    let known = cluster
        .as_ref()
        .and_then(|cluster| cluster.images.get(&args.name));
    let source = args.source()?;
    if source.is_none() && !args.exclude.is_empty() {
        bail!(
            "--exclude belongs to --directory or --master; a source of cluster.toml has an `exclude` of its own: write it there"
        );
    }
    let mut image = match (known, source) {
        (Some(known), None) if !matches!(known.source, ImageSource::Debootstrap(_)) => {
            known.clone()
        }
        (_, None) => bail!(
            "say what is imported: --tar FILE, --oci PATH, --directory DIR or --master; or name an image of cluster.toml that \
             has such a source"
        ),
        (Some(known), Some(source)) => Image {
            source,
            ..known.clone()
        },
        (None, Some(source)) => Image::undeclared(args.name.clone(), source),
    };
    if args.no_worker {
        image.worker = false;
    }
    if let (Some(kernel), Some(modules)) = (&args.kernel, &args.modules) {
        image.kernel = KernelSource::Files {
            kernel: kernel.clone(),
            modules: modules.clone(),
        };
    }
    let store = args.store.of(cluster.as_ref());
    let args = BuildArgs {
        name: args.name.clone(),
        worker: args.worker.clone(),
        force: args.force,
        wants: args.wants,
        json: args.json,
        store: args.store.clone(),
    };
    make(&store, cluster.as_ref(), &image, &args)
}

fn make(
    store: &Store,
    cluster: Option<&Cluster>,
    image: &Image,
    args: &BuildArgs,
) -> anyhow::Result<()> {
    let wants = cluster.map_or(Wants::default(), |cluster| Wants::of(cluster, &image.name));
    let job = Job {
        store,
        cluster,
        image,
        wants: wants.or(args.wants.into()),
        worker: args.worker.as_deref(),
        force: args.force,
        epoch: image::epoch_from_environment()?,
        progress: &progress,
    };
    let outcome = image::build(&job)?;
    tell_findings(&outcome.findings);
    if args.json {
        let value = json!({
            "image": outcome.manifest.image.as_str(),
            "digest": outcome.digest,
            "new": outcome.is_new,
            "manifest": outcome.manifest,
            "findings": outcome.findings,
        });
        return print(&format!("{value:#}\n"));
    }
    let manifest = &outcome.manifest;
    let word = if outcome.is_new {
        "is built"
    } else {
        "has not changed"
    };
    print(&format!(
        "{} {word}: {}, {} packed, kernel {}\n",
        manifest.image,
        outcome.digest.short(),
        bytes(manifest.root.size),
        manifest.kernel_version,
    ))
}

/// Steps are told as they come.
fn progress(what: &str) {
    tell(&format!("{what}\n"));
}

fn tell_findings(findings: &[Finding]) {
    for finding in findings {
        tell(&format!("{finding}\n"));
    }
}

fn declared<'a>(cluster: &'a Cluster, name: &ImageName) -> anyhow::Result<&'a Image> {
    cluster.images.get(name).with_context(|| {
        let names: Vec<&str> = cluster.images.keys().map(ImageName::as_str).collect();
        if names.is_empty() {
            format!("cluster.toml declares no image; add a section [image.{name}]")
        } else {
            format!(
                "cluster.toml declares no image {name}; it declares {}",
                names.join(", ")
            )
        }
    })
}

fn shell(args: &ShellArgs) -> anyhow::Result<ExitCode> {
    let cluster = args.store.cluster()?;
    let store = args.store.of(cluster.as_ref());
    let (digest, manifest) = image::find(&store, &args.image)?;
    let declared = cluster
        .as_ref()
        .and_then(|cluster| cluster.images.get(&manifest.image));
    let image = match declared {
        Some(image) => image.clone(),
        // Of a shell only the name and how it is packed matter.
        None => Image::undeclared(
            manifest.image.clone(),
            ImageSource::Tar { path: "/".parse()? },
        ),
    };
    let job = Job {
        store: &store,
        cluster: cluster.as_ref(),
        image: &image,
        wants: Wants {
            tree: manifest.tree.is_some(),
            ramdisk: manifest.ramdisk.is_some(),
            without_usr: manifest.without_usr.is_some(),
        },
        worker: None,
        force: false,
        epoch: image::epoch_from_environment()?,
        progress: &progress,
    };
    if args.command.is_empty() && std::io::stdin().is_terminal() {
        let fate = if args.commit {
            "what you change becomes a new image when you leave with exit status 0"
        } else {
            "what you change is thrown away; --commit keeps it"
        };
        tell(&format!("{} {}: {fate}\n", manifest.image, digest.short()));
    }
    let ended = image::shell(&Shell {
        job: &job,
        manifest: &manifest,
        command: &args.command,
        commit: args.commit,
    })?;
    match ended.committed {
        Some((digest, findings)) => {
            tell_findings(&findings);
            tell(&format!("{} is now {}\n", manifest.image, digest.short()));
        }
        None if args.commit => tell(&format!(
            "the command ended with {}; {} stays as it was\n",
            ended.status, manifest.image
        )),
        None => {}
    }
    Ok(ExitCode::from(ended.status))
}

fn lint(args: &LintArgs) -> anyhow::Result<()> {
    let cluster = args.store.cluster()?;
    let store = args.store.of(cluster.as_ref());
    let (digest, manifest) = image::find(&store, &args.image)?;
    let keys = cluster
        .as_ref()
        .is_some_and(|cluster| cluster.ssh.host_keys == HostKeys::Image);
    let findings = image::lint(&store, &manifest, keys)?;
    if args.json {
        print(&format!("{:#}\n", json!(findings)))?;
    } else {
        let lines: Vec<String> = findings
            .iter()
            .map(|finding| format!("{finding}\n"))
            .collect();
        print(&lines.concat())?;
    }
    let is_bad = |finding: &&Finding| finding.severity == Severity::Error || args.strict;
    match findings.iter().filter(is_bad).count() {
        0 => Ok(()),
        count => bail!(
            "{} in the image {} {}",
            counted(count, if args.strict { "finding" } else { "error" }),
            manifest.image,
            digest.short()
        ),
    }
}

fn list(args: &ListArgs) -> anyhow::Result<()> {
    let cluster = args.store.cluster()?;
    let store = args.store.of(cluster.as_ref());
    let used = store.in_use()?;
    let mut images: Vec<(Digest, Manifest, bool)> = Vec::new();
    // One that is damaged does not hide the others.
    let mut damaged = used.damaged.clone();
    for name in store.names()? {
        match store.image(&name) {
            Ok((digest, manifest)) => images.push((digest, manifest, true)),
            Err(error) => {
                let Some(digest) = store.published(&name)? else {
                    return Err(error.into());
                };
                damaged.entry(digest).or_insert_with(|| Damaged {
                    why: error.to_string(),
                    needed_by: [Need::Name(name)].into(),
                });
            }
        }
    }
    for digest in store.manifests()? {
        if images.iter().any(|(known, ..)| *known == digest) || !args.all {
            continue;
        }
        match store.manifest(digest) {
            Ok(manifest) => images.push((digest, manifest, false)),
            Err(error) => {
                damaged.entry(digest).or_insert_with(|| Damaged {
                    why: error.to_string(),
                    needed_by: BTreeSet::new(),
                });
            }
        }
    }
    if args.json {
        let value: Vec<_> = images
            .iter()
            .map(|(digest, manifest, is_published)| {
                json!({
                    "image": manifest.image.as_str(),
                    "digest": digest,
                    "published": is_published,
                    "in_use": used.manifests.contains(digest),
                    "created": manifest.created,
                    "kernel": manifest.kernel_version,
                    "format": manifest.root.format,
                    "packed": manifest.root.size,
                    "unpacked": manifest.root.unpacked,
                    "worker": manifest.worker.as_ref().map(|worker| &worker.version),
                })
            })
            .collect();
        print(&format!("{:#}\n", json!(value)))?;
        return refuse_damaged(&store, &damaged);
    }
    if images.is_empty() && damaged.is_empty() {
        tell("no images yet; `regex-provision image build` makes them\n");
        return Ok(());
    }
    let heading = [
        "IMAGE", "DIGEST", "BUILT", "PACKED", "UNPACKED", "KERNEL", "WORKER", "STATE",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for (digest, manifest, is_published) in &images {
        let state = match (is_published, used.manifests.contains(digest)) {
            (true, _) => "published",
            (false, true) => "in use",
            (false, false) => "unused",
        };
        rows.push(vec![
            manifest.image.to_string(),
            digest.short(),
            time(manifest.created),
            bytes(manifest.root.size),
            bytes(manifest.root.unpacked),
            manifest.kernel_version.clone(),
            manifest
                .worker
                .as_ref()
                .map_or("-".into(), |worker| worker.version.clone()),
            state.to_owned(),
        ]);
    }
    print(&table(&rows))?;
    refuse_damaged(&store, &damaged)
}

fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let cluster = args.store.cluster()?;
    let store = args.store.of(cluster.as_ref());
    let (digest, manifest) = image::find(&store, &args.image)?;
    let contents = image::contents(&store, &manifest)?;
    if args.json {
        let value = json!({
            "digest": digest,
            "manifest": manifest,
            "packages": contents.packages.iter().map(|(name, size)| json!({"name": name, "bytes": size})).collect::<Vec<_>>(),
            "directories": contents.directories.iter().map(|(path, size)| json!({"path": path, "bytes": size})).collect::<Vec<_>>(),
        });
        return print(&format!("{value:#}\n"));
    }
    print(&print::shown(digest, &manifest, &contents, args.top))
}

fn diff(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let cluster = args.store.cluster()?;
    let store = args.store.of(cluster.as_ref());
    let (_, a) = image::find(&store, &args.a)?;
    let (_, b) = image::find(&store, &args.b)?;
    let difference = image::difference(&store, &a, &b)?;
    if args.json {
        print(&format!("{:#}\n", json!(difference)))?;
    } else {
        print(&print::different(&difference))?;
    }
    Ok(ExitCode::from(u8::from(!difference.is_empty())))
}

fn prune(args: &PruneArgs) -> anyhow::Result<()> {
    let cluster = args.store.cluster()?;
    let store = args.store.of(cluster.as_ref());
    let pruned = image::prune(&store, args.cache, args.dry_run)?;
    if args.json {
        print(&format!("{:#}\n", json!(pruned)))?;
        return refuse_damaged(&store, &pruned.damaged);
    }
    let word = if args.dry_run {
        "would be removed"
    } else {
        "removed"
    };
    print(&format!(
        "{}, {}, {} and {} {word}: {}\n",
        counted(pruned.images.len(), "image"),
        counted(pruned.artifacts.len(), "artifact"),
        counted(pruned.trees.len(), "tree"),
        counted(pruned.cache.len(), "cache"),
        bytes(pruned.bytes),
    ))?;
    refuse_damaged(&store, &pruned.damaged)
}

/// Fails if there are images whose manifests cannot be read.
fn refuse_damaged(store: &Store, damaged: &BTreeMap<Digest, Damaged>) -> anyhow::Result<()> {
    if damaged.is_empty() {
        return Ok(());
    }
    bail!(
        "{} cannot be read:\n{}",
        counted(damaged.len(), "image"),
        print::damaged(store, damaged.values())
    )
}

impl StoreArgs {
    /// The cluster, if there is a file; an image may be looked at without one.
    fn cluster(&self) -> anyhow::Result<Option<Cluster>> {
        if self.file.file.is_none() && !self.file.path().exists() {
            return Ok(None);
        }
        self.file.load().map(Some)
    }

    /// The store of the arguments, or else of the cluster, or else the usual one.
    fn of(&self, cluster: Option<&Cluster>) -> Store {
        match (&self.store, cluster) {
            // Whoever works in another directory is told where it is, too.
            (Some(path), _) => {
                Store::at(std::path::absolute(path).unwrap_or_else(|_| path.clone()))
            }
            (None, Some(cluster)) => Store::at(cluster.serve.directory.as_path()),
            (None, None) => Store::at(SERVE_DIRECTORY),
        }
    }
}
