//! A command, or a shell, in an image.
//!
//! The image is unpacked into a directory for work, and the command sees that as its root, in namespaces of its
//! own ([`super::inside`]). What it changes is thrown away, or becomes a new image under the same name.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use anyhow::Context;

use super::build::{Job, alone, refuse_errors};
use super::finish::Finish;
use super::inputs::Inputs;
use super::kernel::{self, Kernel};
use super::lint::Finding;
use super::root::Root;
use super::run::DEPMOD;
use super::stage::{self, Stage};
use super::{customize, equip, fail, inside, modules, pack, policy};
use crate::initramfs;
use crate::store::{self, Digest, Manifest};

/// What is to be done in an image.
pub struct Shell<'a> {
    /// Where it is, its declaration, and who is told what.
    pub job: &'a Job<'a>,
    /// The image.
    pub manifest: &'a Manifest,
    /// The command; empty for a shell.
    pub command: &'a [OsString],
    /// Whether what it changes becomes a new image.
    pub commit: bool,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The command's exit status; 128 and the signal's number if it was killed.
    pub status: u8,
    /// The new image, if one was wanted and the command succeeded.
    pub committed: Option<(Digest, Vec<Finding>)>,
}

/// Does it.
pub fn shell(shell: &Shell<'_>) -> anyhow::Result<Ended> {
    let job = shell.job;
    inside::needs_root("a shell in an image")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if shell.commit {
        // What is missing at its end would cost all that was done in it.
        pack::tools(job.image.pack.format)?;
        DEPMOD.path()?;
    }
    let temp = job.store.lock()?.temp("shell")?;
    let _alone = if shell.commit {
        Some(alone(job.store, &job.image.name)?)
    } else {
        None
    };
    job.step("unpacking");
    let directory = temp.path().join("stage");
    fs::create_dir(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let root = Root::new(directory.join("root"));
    pack::unpack(job.store, shell.manifest, root.path())?;
    if shell.commit
        && let Err(error) = initramfs::busybox(root.path())
    {
        job.step(&format!(
            "{error}; without it, nothing of what is done here can be kept"
        ));
    }
    let status = run(&root, shell.command)?;
    if !shell.commit || status != 0 {
        return Ok(Ended {
            status,
            committed: None,
        });
    }
    let committed = commit(shell, &root, &directory, temp.path())?;
    Ok(Ended {
        status,
        committed: Some(committed),
    })
}

fn run(root: &Root, command: &[OsString]) -> anyhow::Result<u8> {
    let _policy = policy::no_services(root)?;
    let _names = customize::resolver(root)?;
    let login: Vec<OsString> = vec![usual_shell(root)?.into(), "-l".into()];
    let command = if command.is_empty() { &login } else { command };
    let status = inside::command(root, command)?
        .status()
        .context("cannot start the shell")?;
    let killed = status.signal().map(|signal| 128 + signal);
    let code = status.code().or(killed).unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

fn usual_shell(root: &Root) -> anyhow::Result<&'static str> {
    ["/bin/bash", "/bin/sh"]
        .into_iter()
        .find(|path| root.exists(path))
        .context("the image has neither /bin/bash nor /bin/sh; give a command behind `--`")
}

/// Makes a new image of the changed root. Its kernel stays the one of the image, unless the command has put a newer one into /boot.
fn commit(
    shell: &Shell<'_>,
    root: &Root,
    directory: &Path,
    temp: &Path,
) -> anyhow::Result<(Digest, Vec<Finding>)> {
    let job = shell.job;
    let has_kernel = |name: &String| name.starts_with("vmlinuz-");
    let kernel = if root.names("boot")?.iter().any(has_kernel) {
        kernel::newest(root)?
    } else {
        Kernel {
            release: shell.manifest.kernel_version.clone(),
            file: job.store.artifact_path(shell.manifest.kernel.sha256),
        }
    };
    modules::index(root, &kernel.release)?;
    let told = worker(root, shell.manifest)?;
    let findings = stage::of_root(job, root, &kernel, None)?;
    refuse_errors(&job.image.name, &findings)?;
    let stage =
        Stage::look(directory.to_owned())?.context("the stage that was just made is gone")?;
    let listing = fs::read(stage.file("listing")).context("cannot read the listing")?;
    // The next build sees that this was made in another way, and builds again.
    let mut inputs = Inputs::new("commit");
    inputs.add("listing", listing);
    fail::here("stage kept");
    let finish = Finish {
        job,
        stage: &stage,
        worker: None,
        told,
        inputs: inputs.digest(),
        work: temp.join("image"),
    };
    let (digest, _) = finish.publish()?;
    Ok((digest, findings))
}

/// The worker in a changed root.
fn worker(root: &Root, before: &Manifest) -> anyhow::Result<Option<store::Worker>> {
    let Some(program) = root.read(equip::WORKER)? else {
        return Ok(None);
    };
    let sha256 = Digest::of(&program);
    let old = before.worker.as_ref().filter(|old| old.sha256 == sha256);
    Ok(Some(store::Worker {
        version: old.map_or("unknown".to_owned(), |old| old.version.clone()),
        sha256,
        size: program.len() as u64,
    }))
}
