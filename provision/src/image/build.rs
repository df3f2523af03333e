//! From a declaration to a published image.
//!
//! Three things are made, each kept under the digest of what it was made from, so that only what has changed is made again:
//! the base root (packages), the stage (that root configured and packed), and the image (the stage with the worker). The
//! worker is laid behind the packed root: a new one costs neither an unpacking nor a packing of the rest.
//!
//! Until the last step nothing that exists is changed. Then artifacts, manifest and name are put into place in this order, each by a rename;
//! a power loss in between leaves what was published before, and files that `image prune` removes.

use std::cell::Cell;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};

use super::base::Base;
use super::finish::Finish;
use super::inputs::Inputs;
use super::lint::{Finding, Severity};
use super::root::Root;
use super::run::DEPMOD;
use super::stage::{self, Stage};
use super::worker::Program;
use super::{base, fail, inside, pack, prune, show};
use crate::initramfs;
use crate::model::{Cluster, Image, ImageName, RootMode, UsrMode};
use crate::store::{Digest, Manifest, Store, Temp};

/// The environment variable that says what time it is to be.
pub const EPOCH_VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// What is made of an image besides kernel, initramfs and packed root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wants {
    /// The unpacked root, for NFS.
    pub tree: bool,
    /// The whole root as an initramfs.
    pub ramdisk: bool,
    /// The root without /usr, packed, for nodes that take that over NFS.
    pub without_usr: bool,
}

impl Wants {
    /// What the nodes of a cluster need of an image.
    pub fn of(cluster: &Cluster, image: &ImageName) -> Self {
        let mut wants = Self::default();
        for node in cluster.nodes() {
            let settings = &node.settings;
            if settings.image != *image {
                continue;
            }
            let usr_is_mounted = settings.usr == UsrMode::Nfs;
            wants.tree |= settings.root == RootMode::Nfs || usr_is_mounted;
            wants.ramdisk |= settings.root == RootMode::Ramdisk;
            wants.without_usr |= usr_is_mounted && settings.root != RootMode::Nfs;
        }
        wants
    }

    /// What either wants.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            tree: self.tree || other.tree,
            ramdisk: self.ramdisk || other.ramdisk,
            without_usr: self.without_usr || other.without_usr,
        }
    }
}

/// What is to be built.
pub struct Job<'a> {
    /// Where it goes.
    pub store: &'a Store,
    /// The cluster that it is for, if there is one.
    pub cluster: Option<&'a Cluster>,
    /// Its declaration.
    pub image: &'a Image,
    /// What is made of it.
    pub wants: Wants,
    /// The regex-worker; none for the one beside this program.
    pub worker: Option<&'a Path>,
    /// Whether to build again what has not changed, with the packages of today.
    pub force: bool,
    /// `SOURCE_DATE_EPOCH`, if set: no time in the image is later.
    pub epoch: Option<u64>,
    /// Is told what is done.
    pub progress: &'a dyn Fn(&str),
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The image.
    pub digest: Digest,
    /// What it consists of.
    pub manifest: Manifest,
    /// Whether anything was to do.
    pub is_new: bool,
    /// What should be known of it.
    pub findings: Vec<Finding>,
}

impl Job<'_> {
    /// Says what is done now.
    pub(super) fn step(&self, what: &str) {
        (self.progress)(what);
    }

    /// The time of the image, in seconds since 1970.
    pub(super) fn created(&self) -> u64 {
        self.epoch.unwrap_or_else(now)
    }
}

/// Reads [`EPOCH_VARIABLE`].
pub fn epoch_from_environment() -> anyhow::Result<Option<u64>> {
    let Some(text) = std::env::var_os(EPOCH_VARIABLE) else {
        return Ok(None);
    };
    let text = text.to_string_lossy();
    // The kernel's archives, and squashfs, have 32 bits for it.
    match text.parse::<u32>() {
        Ok(epoch) => Ok(Some(u64::from(epoch))),
        Err(_) => bail!("{EPOCH_VARIABLE}={text}: not a number of seconds since 1970"),
    }
}

/// Seconds since 1970, the same at each call.
fn now() -> u64 {
    thread_local!(static NOW: Cell<Option<u64>> = const { Cell::new(None) });
    NOW.with(|cell| {
        let now = cell.get().unwrap_or_else(|| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs())
        });
        cell.set(Some(now));
        now
    })
}

/// Builds an image and publishes it under its name.
pub fn build(job: &Job<'_>) -> anyhow::Result<Outcome> {
    inside::needs_root("building an image")?;
    // What is made is for everybody on a node, whatever the master's own habits are.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let worker = if job.image.worker {
        Some(Program::find(job.worker)?)
    } else {
        None
    };
    // What is missing at the end of a build is better known at its beginning.
    pack::tools(job.image.pack.format)?;
    DEPMOD.path()?;
    let base = stage::base_of(job);
    let base_digest = base.as_ref().map(Base::digest).transpose()?;
    let stage_digest = stage::digest(job, base_digest)?;
    let inputs = inputs(job, stage_digest, worker.as_ref());
    // This also removes what killed commands have left, where nothing else is to do.
    let temp = job.store.lock()?.temp("build")?;
    let is_known = stage::may_be_reused(&job.image.source);
    if !job.force
        && is_known
        && let Some(outcome) = unchanged(job, inputs)?
    {
        return Ok(outcome);
    }
    let _alone = alone(job.store, &job.image.name)?;
    let kept = job
        .store
        .cache("stage")
        .join(job.image.name.as_str())
        .join(stage_digest.to_string());
    let old = if job.force || !is_known {
        None
    } else {
        Stage::open(kept.clone()).unwrap_or_else(|error| {
            job.step(&format!("{error:#}; it is made again"));
            None
        })
    };
    let (stage, findings) = if let Some(stage) = old {
        (stage, Vec::new())
    } else {
        // Files and scripts of the site may bring what is missing.
        let image = job.image;
        let is_plain = image.files.is_empty() && image.post_script.is_none();
        if is_plain && base.as_ref().is_some_and(|base| !base.has_busybox()) {
            initramfs::busybox(Path::new("/"))?;
        }
        let archive = match (base, base_digest) {
            (Some(base), Some(digest)) => Some((digest, base_archive(job, &base, digest, &temp)?)),
            _ => None,
        };
        let directory = temp.path().join("stage");
        fs::create_dir(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let findings = stage::make(job, archive, &directory)?;
        refuse_errors(&job.image.name, &findings)?;
        keep(job, &directory, &kept)?;
        let stage = Stage::look(kept)?.context("the stage that was just made is gone")?;
        (stage, findings)
    };
    fail::here("stage kept");
    if let Some(worker) = &worker {
        worker
            .fits(&stage.meta.has)
            .with_context(|| format!("the image {} cannot run its worker", job.image.name))?;
    }
    let finish = Finish {
        job,
        stage: &stage,
        told: worker.as_ref().map(|worker| worker.told.clone()),
        worker: worker.as_ref(),
        inputs,
        work: temp.path().join("image"),
    };
    let (digest, manifest) = finish.publish()?;
    Ok(Outcome {
        digest,
        manifest,
        is_new: true,
        findings,
    })
}

/// Fails if something was found with which an image is of no use.
pub(super) fn refuse_errors(name: &ImageName, findings: &[Finding]) -> anyhow::Result<()> {
    let is_error = |finding: &&Finding| finding.severity == Severity::Error;
    let errors: Vec<String> = (findings.iter().filter(is_error))
        .map(ToString::to_string)
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    bail!(
        "the image {name} cannot work, and was not published:\n  {}",
        errors.join("\n  ")
    )
}

/// The digest of all that the image is made from.
fn inputs(job: &Job<'_>, stage: Digest, worker: Option<&Program>) -> Digest {
    let mut inputs = Inputs::new("image");
    inputs.add("stage", stage.to_string());
    inputs.value("wants", &job.wants);
    inputs.value("worker", &worker.map(|worker| worker.told.sha256));
    inputs.digest()
}

/// What is published already, if it was made from the same.
fn unchanged(job: &Job<'_>, inputs: Digest) -> anyhow::Result<Option<Outcome>> {
    let Some(digest) = job.store.published(&job.image.name)? else {
        return Ok(None);
    };
    // One that cannot be read is built again.
    let Ok(manifest) = job.store.manifest(digest) else {
        return Ok(None);
    };
    if manifest.inputs != inputs || !is_whole(job, &manifest) {
        return Ok(None);
    }
    Ok(Some(Outcome {
        digest,
        manifest,
        is_new: false,
        findings: Vec::new(),
    }))
}

/// Whether all of an image is there, and is what it is named by; what is not is told.
fn is_whole(job: &Job<'_>, manifest: &Manifest) -> bool {
    let mut is_whole = true;
    let mut tell = |what: &str| {
        job.step(&format!("{what}; the image is built again"));
        is_whole = false;
    };
    for digest in manifest.artifacts() {
        if let Err(error) = job.store.verify(digest) {
            tell(&format!(
                "the image {} is damaged: {error:#}",
                job.image.name
            ));
        }
    }
    if let Some(tree) = manifest.tree {
        let path = job.store.tree_path(tree);
        let damage = if path.exists() {
            show::read(job.store, manifest).and_then(|listing| listing.damage(&path))
        } else {
            Ok(Some(path))
        };
        match damage {
            Ok(None) => {}
            Ok(Some(path)) => tell(&format!("{} is missing or damaged", path.display())),
            Err(error) => tell(&format!("{error:#}")),
        }
    }
    is_whole
}

/// Makes sure that nobody else builds the image meanwhile: its cache is one.
pub(super) fn alone(store: &Store, name: &ImageName) -> anyhow::Result<File> {
    let directory = store.cache("stage");
    make_directory(&directory)?;
    let path = directory.join(format!("{name}.lock"));
    let lock = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            bail!("the image {name} is being built by somebody else; wait for that to end")
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// The archive of a base root, from the cache or made now. Open, for whoever builds another image may remove it from the cache.
fn base_archive(
    job: &Job<'_>,
    recipe: &Base<'_>,
    digest: Digest,
    temp: &Temp,
) -> anyhow::Result<File> {
    let kept = job.store.cache("base").join(format!("{digest}.tar"));
    let failed = || format!("cannot open {}", kept.display());
    if !job.force {
        match File::open(&kept) {
            Ok(file) => return Ok(file),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(failed),
        }
    }
    job.step("making the base root with mmdebstrap");
    let root = Root::new(temp.path().join("base"));
    let work = temp.path().join("mmdebstrap");
    for directory in [root.path(), &work] {
        fs::create_dir(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    recipe.make(&root, &work, &job.store.cache("apt"))?;
    let archive = temp.path().join("base.tar");
    base::archive(&root, &archive)?;
    fail::here("base made");
    let writer = job.store.lock()?;
    make_directory(&job.store.cache("base"))?;
    writer.place(&archive, &kept)?;
    let file = File::open(&kept).with_context(failed)?;
    drop(writer);
    // The rest of the build needs the space more than this.
    for directory in [root.path(), &work] {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    Ok(file)
}

/// Moves a stage into the cache, in place of what the image had there.
fn keep(job: &Job<'_>, directory: &Path, kept: &Path) -> anyhow::Result<()> {
    let mut writer = job.store.lock()?;
    let of_image = job.store.cache("stage").join(job.image.name.as_str());
    if of_image.exists() {
        writer.remove(&of_image)?;
        fail::here("old stage removed");
    }
    make_directory(&of_image)?;
    writer.place(directory, kept)?;
    prune::unused_bases(&mut writer)
}

fn make_directory(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}
