//! Plan, apply and rollback: what is wanted, what is there, what is to be done.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::check::{Verdict, check};
use super::compare::{Compared, compare};
use super::disk::Disk;
use super::error::ApplyError;
use super::generation::{
    self, FORMAT, Generation, GenerationError, Index, Indexed, KEPT_GENERATIONS,
};
use super::hostkeys::Keys;
use super::place::Root;
use super::plan::{Change, Plan};
use super::services::Services;
use super::site;
use super::switch::{MADE, Switch, To};
use super::there::There;
use super::wanted::{Wanted, kept, wanted};
use crate::model::Cluster;
use crate::render::{Checker, File, Place};
use crate::store::{Store, Temp, Writer};

/// What is to be applied, and to which system.
#[derive(Debug, Clone)]
pub struct Request {
    /// The text of `cluster.toml`.
    pub text: String,
    /// The cluster that it describes.
    pub cluster: Cluster,
    /// The system.
    pub root: Root,
}

impl Request {
    /// The store of the system.
    pub fn store(&self) -> Store {
        store_of(&self.root, &self.cluster)
    }
}

fn store_of(root: &Root, cluster: &Cluster) -> Store {
    Store::at(root.path(cluster.serve.directory.as_path()))
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What was planned, and is done.
    pub plan: Plan,
    /// The generation that is in force now.
    pub generation: u32,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// Says what [`apply()`] would do.
pub fn plan(request: &Request, services: &mut dyn Services) -> Result<Plan, ApplyError> {
    let store = request.store();
    request.root.holds(&store)?;
    let keys = Keys::read(&store, &request.cluster)?;
    let wanted = wanted(request, &store, &keys)?;
    let there = There::read(&request.root, &store, &wanted.files)?;
    Ok(compare(&request.root, &store, &there, &wanted, services)?.plan)
}

/// Makes the system what is described.
pub fn apply(
    request: &Request,
    disk: &mut Disk,
    services: &mut dyn Services,
) -> Result<Outcome, ApplyError> {
    let mut writer = lock(&request.root, &request.cluster)?;
    let store = writer.store().clone();
    let mut keys = Keys::read(&store, &request.cluster)?;
    let mut wanted = wanted(request, &store, &keys)?;
    let mut there = There::read(&request.root, &store, &wanted.files)?;
    let mut compared = compare(&request.root, &store, &there, &wanted, services)?;
    if !compared.plan.obstacles.is_empty() {
        return Err(ApplyError::Obstacles(compared.plan.obstacles));
    }
    if keys.make(&writer, &request.cluster)? {
        // Loaders that read files are told the digests of what has the keys in it.
        wanted = self::wanted(request, &store, &keys)?;
        there = There::read(&request.root, &store, &wanted.files)?;
        compared = compare(&request.root, &store, &there, &wanted, services)?;
    }
    let Compared { plan, before } = compared;
    if plan.is_empty()
        && let Some(current) = there.current
    {
        return Ok(Outcome {
            plan,
            generation: current.number,
            notes: Vec::new(),
        });
    }
    let mut notes = ask_checkers(&writer, &request.root, &wanted.files, &plan.changes)?;
    let to = match &there.current {
        // Only services were to be told, or what was cut off to be completed.
        Some(current) if plan.changes.is_empty() && keys.missing.is_empty() => {
            To::Old(current.clone())
        }
        _ => {
            // The directory of the one in force may be gone.
            let last = generation::list(&store)?.last().copied();
            let number = last.max(there.number()).map_or(1, |last| last + 1);
            let index = Index {
                format: FORMAT,
                created: now(),
                files: wanted.files.iter().map(Indexed::of).collect(),
            };
            let made = make(&writer, &wanted, &index)?;
            To::New {
                number,
                index,
                made,
            }
        }
    };
    let switch = Switch {
        writer: &mut writer,
        root: &request.root,
        disk,
        services,
        from: there.number(),
        installed: &there.installed,
        told: &plan.services,
        before,
        cluster: &wanted.cluster,
    };
    let now = switch.run(to)?;
    notes.extend(tidy(&mut writer, &there, now.number));
    Ok(Outcome {
        plan,
        generation: now.number,
        notes,
    })
}

/// Switches to a generation that was kept: the one with this number, or the one before the one
/// in force.
pub fn rollback(
    root: &Root,
    store: &Store,
    number: Option<u32>,
    disk: &mut Disk,
    services: &mut dyn Services,
) -> Result<Outcome, ApplyError> {
    must_be_root(root)?;
    root.holds(store)?;
    let mut writer = store.existing()?.lock()?;
    let current = generation::current_number(store)?.ok_or(GenerationError::NoneInForce)?;
    let number = match number {
        Some(number) => number,
        None => *generation::list(store)?
            .iter()
            .rfind(|number| **number < current)
            .ok_or(GenerationError::NoneBefore)?,
    };
    let to = Generation::open(store, number)?;
    let wanted = kept(root, store, &to)?;
    let there = There::read(root, store, &wanted.files)?;
    let Compared { plan, before } = compare(root, store, &there, &wanted, services)?;
    if plan.is_empty() && number == current {
        return Ok(Outcome {
            plan,
            generation: number,
            notes: Vec::new(),
        });
    }
    Keys::read(store, &wanted.cluster)?.make(&writer, &wanted.cluster)?;
    let switch = Switch {
        writer: &mut writer,
        root,
        disk,
        services,
        from: Some(current),
        installed: &there.installed,
        told: &plan.services,
        before,
        cluster: &wanted.cluster,
    };
    let now = switch.run(To::Old(to))?;
    let notes = tidy(&mut writer, &there, now.number);
    Ok(Outcome {
        plan,
        generation: now.number,
        notes: notes.into_iter().collect(),
    })
}

/// Only root may change a real system: to be asked before anything else is done.
pub fn must_be_root(root: &Root) -> Result<(), ApplyError> {
    if root.is_real() && !rustix::process::geteuid().is_root() {
        return Err(ApplyError::NotRoot);
    }
    Ok(())
}

fn lock(root: &Root, cluster: &Cluster) -> Result<Writer, ApplyError> {
    must_be_root(root)?;
    let store = store_of(root, cluster);
    let directory = cluster.serve.directory.as_path();
    let safe = root.safe_path(directory);
    let place = safe.map_err(|source| ApplyError::io("find the place of", directory, source))?;
    root.holds(&store)?;
    // One that is made now would be in the way of the one that is to be moved.
    if let Some(obstacle) = site::moved_store(root, directory)? {
        return Err(ApplyError::Obstacles(vec![obstacle]));
    }
    fs::create_dir_all(&place).map_err(|source| ApplyError::io("make", &place, source))?;
    Ok(store.lock()?)
}

/// Shows each new file to its checker. Gives what was not checked.
fn ask_checkers(
    writer: &Writer,
    root: &Root,
    files: &[File],
    changes: &[Change],
) -> Result<Vec<String>, ApplyError> {
    let changed: BTreeSet<_> = changes.iter().map(|change| &*change.name).collect();
    let mut refused = Vec::new();
    let mut notes = BTreeSet::new();
    for file in files.iter().filter(|file| changed.contains(&*file.name)) {
        // It looks at the directories that it is to export, which are those of the real system.
        if file.checker == Some(Checker::Ganesha) && !root.is_real() {
            continue;
        }
        let scratch = writer.temp("check")?;
        let path = scratch.path().to_owned();
        let verdict = check(file, &path);
        match verdict.map_err(|source| ApplyError::io("check a file in", path, source))? {
            Verdict::Accepted => {}
            Verdict::Refused(reason) => refused.push(format!("{}: {reason}", file.name)),
            Verdict::Unknown(reason) => {
                notes.insert(format!("{} was not checked: {reason}", file.name));
            }
        }
    }
    if refused.is_empty() {
        Ok(notes.into_iter().collect())
    } else {
        Err(ApplyError::Refused(refused))
    }
}

/// Writes a new generation where nobody looks for one.
fn make(writer: &Writer, wanted: &Wanted, index: &Index) -> Result<Temp, ApplyError> {
    let temp = writer.temp("generation")?;
    let directory = temp.path().join(MADE);
    let index = serde_json::to_string_pretty(index).expect("texts and numbers can be written");
    let make_parent = |path: &Path| path.parent().map_or(Ok(()), fs::create_dir_all);
    let write = |path: &Path, bytes: &[u8], mode: u32| {
        let failed = |source| ApplyError::io("write", path, source);
        make_parent(path).map_err(failed)?;
        fs::write(path, bytes).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)
    };
    write(
        &directory.join("cluster.toml"),
        wanted.text.as_bytes(),
        if holds_secrets(&wanted.cluster) {
            0o600
        } else {
            0o644
        },
    )?;
    write(
        &directory.join("images.json"),
        wanted.images.to_json().as_bytes(),
        0o644,
    )?;
    write(&directory.join("index.json"), index.as_bytes(), 0o644)?;
    for file in &wanted.files {
        let path = directory.join("files").join(&file.name);
        if file.place == Place::Link {
            let target = OsStr::from_bytes(&file.bytes);
            make_parent(&path)
                .and_then(|()| symlink(target, &path))
                .map_err(|source| ApplyError::io("make the link", path, source))?;
        } else {
            write(&path, &file.bytes, file.mode)?;
        }
    }
    Ok(temp)
}

/// Whether not everybody may read the description: a plan then needs root.
fn holds_secrets(cluster: &Cluster) -> bool {
    let mut users = cluster.images.values().flat_map(|image| &image.users);
    users.any(|user| user.password_hash.is_some())
}

/// Seconds since 1970, or what `SOURCE_DATE_EPOCH` says.
fn now() -> u64 {
    let given = env::var("SOURCE_DATE_EPOCH").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |since| since.as_secs())
    })
}

/// Removes the generations that are not kept. What cannot be removed is told, and no reason to
/// go back.
fn tidy(writer: &mut Writer, there: &There, current: u32) -> Option<String> {
    let tidied = forget_unused(writer, there, current).and_then(|()| prune(writer, current));
    let error = anyhow::Error::from(tidied.err()?);
    Some(format!("old generations were not removed: {error:#}"))
}

/// Removes a generation that was made by a switch which was cut off before it came into force.
fn forget_unused(writer: &mut Writer, there: &There, current: u32) -> Result<(), ApplyError> {
    let before = there.number();
    if let Some(pending) = &there.pending
        && pending.new
        && ![Some(current), before].contains(&Some(pending.to))
    {
        let path = writer.store().generations().join(pending.to.to_string());
        if path.exists() {
            writer.remove(&path)?;
        }
    }
    Ok(())
}

/// Removes the oldest generations, but for the one in force.
fn prune(writer: &mut Writer, current: u32) -> Result<(), ApplyError> {
    let numbers = generation::list(writer.store())?;
    let excess = numbers.len().saturating_sub(KEPT_GENERATIONS);
    let old = numbers.iter().filter(|number| **number != current);
    for number in old.take(excess) {
        let path = writer.store().generations().join(number.to_string());
        writer.remove(&path)?;
    }
    Ok(())
}
