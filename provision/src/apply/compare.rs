//! The plan from what is there to what is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io;
use std::iter;
use std::path::Path;

use super::error::ApplyError;
use super::generation::{GenerationError, Indexed};
use super::place::{Root, actual, unended_block};
use super::plan::{
    Action, Actual, Change, Facts, Kind, Plan, ServiceChange, changes, services as service_changes,
};
use super::reboot::{self, Side};
use super::services::{Expected, Services};
use super::there::{Old, There, place_of};
use super::wanted::Wanted;
use crate::model::Hostname;
use crate::nodeset;
use crate::render::{Effect, File, Place, Service};
use crate::store::{Digest, Store};

/// A plan, and what it is from.
pub(super) struct Compared {
    pub(super) plan: Plan,
    /// What services show in the generation in force; none where nothing is in force, or it cannot be read.
    pub(super) before: Option<Expected>,
}

/// The plan from what is there to what is wanted.
pub(super) fn compare(
    root: &Root,
    store: &Store,
    there: &There,
    wanted: &Wanted,
    services: &mut dyn Services,
) -> Result<Compared, ApplyError> {
    let installed = there.installed.as_slice();
    let found = find_all(root, there, wanted)?;
    let written = there.pending.as_ref();
    let written = written.map_or(&[][..], |pending| &pending.files);
    let mut files = changes(&wanted.files, installed, written, &found);
    if there.index_damage().is_some() {
        // Only of what is in the system it is known that it was installed.
        let inner = files.iter_mut();
        for change in inner.filter(|change| change.place.is_in_generation()) {
            change.by_hand = false;
        }
    }
    let (mut list, mut warnings) = described(there, wanted)?;
    warnings.extend(unended(root, &files)?);
    list.extend(files);
    list.sort_by(|a, b| a.name.cmp(&b.name));
    // What it was made from is the same where nothing has changed.
    let old = if list.is_empty() {
        None
    } else {
        there.side(store)?
    };
    let new = Side {
        cluster: &wanted.cluster,
        images: &wanted.images,
    };
    let reboots = match &old {
        Some((cluster, images)) => reboot::compare(Some(Side { cluster, images }), new),
        None if there.current.is_none() => reboot::compare(None, new),
        None => reboot::Reboots::default(),
    };
    if let Some(number) = there.number()
        && old.is_none()
        && !list.is_empty()
    {
        warnings.push(format!(
            "which nodes have to be rebooted is not known, for generation {number} cannot be read, or its images are gone"
        ));
    }
    let before = match &old {
        Some((cluster, _)) => Some(cluster),
        None if list.is_empty() => Some(&wanted.cluster),
        None => None,
    };
    let before = there
        .number()
        .zip(before)
        .map(|(number, cluster)| Expected::of(number, cluster));
    let told = to_tell(there, wanted, &list, services)?;
    let plan = Plan {
        from: there.number(),
        interrupted: there.pending.clone(),
        services: told,
        changes: list,
        reboots,
        warnings,
        obstacles: wanted.obstacles.clone(),
    };
    Ok(Compared { plan, before })
}

/// What services are to be told of these changes, and for other reasons.
fn to_tell(
    there: &There,
    wanted: &Wanted,
    changes: &[Change],
    services: &mut dyn Services,
) -> Result<Vec<ServiceChange>, ApplyError> {
    let ours: BTreeSet<_> = units(&wanted.files).collect();
    let installed = there.installed.as_slice();
    let before: BTreeSet<_> = units_of(installed).collect();
    // New ones are started anyway.
    let should_run: BTreeSet<_> = ours.intersection(&before).copied().collect();
    let down = services.down(&should_run)?;
    let pending = there.pending.as_ref();
    let pending_services = pending.map_or(&[][..], |pending| &pending.services);
    let mut also = Vec::new();
    if !wanted.new_keys.is_empty() {
        // Nodes can boot only when it has read them.
        let because = format!(
            "host keys of {}",
            nodeset::fold(wanted.new_keys.iter().map(Hostname::as_str))
        );
        also.push((Service::Serve, Action::Reload, because));
    }
    if ours.contains(&Service::Ganesha) {
        let kernel = services.state(Service::NfsServer)?;
        if kernel.is_active || kernel.is_enabled {
            let because = format!("{} takes its port", Service::Ganesha.unit());
            also.push((Service::NfsServer, Action::Stop, because));
        }
    }
    let facts = Facts {
        pending: pending_services,
        down: &down,
        also: &also,
    };
    let mut told = service_changes(&wanted.files, installed, changes, facts);
    leave_gone(&mut told, &wanted.files, services)?;
    Ok(told)
}

/// Leaves alone the site's services that read nothing of ours any more and are not on this machine: their
/// package was removed.
fn leave_gone(
    told: &mut Vec<ServiceChange>,
    files: &[File],
    services: &mut dyn Services,
) -> Result<(), ApplyError> {
    let mut gone = BTreeSet::new();
    for change in told.iter() {
        let service = change.service;
        let reads = |file: &File| file.service.is_some_and(|(reader, _)| reader == service);
        if !service.is_ours() && !files.iter().any(reads) && !services.state(service)?.is_there {
            gone.insert(service);
        }
    }
    told.retain(|change| !gone.contains(&change.service));
    Ok(())
}

/// What is found in the place of each file, of those that are wanted and those that were
/// installed.
fn find_all(
    root: &Root,
    there: &There,
    wanted: &Wanted,
) -> Result<BTreeMap<String, Actual>, ApplyError> {
    let names = wanted.files.iter().map(|file| (&file.name, &file.place));
    let installed = there.installed.iter().map(|file| (&file.name, &file.place));
    let mut found = BTreeMap::new();
    for (name, place) in names.chain(installed) {
        if found.contains_key(name) {
            continue;
        }
        let failed = |source| ApplyError::io("look at", place_of(name, place), source);
        let what = match actual(root, place).map_err(failed)? {
            Some((_, actual)) => actual,
            None => match &there.current {
                None => Actual::Missing,
                Some(current) => {
                    let path = current.file(name);
                    let found = in_generation(&path, *place == Place::Link);
                    found.map_err(|source| ApplyError::io("look at", path, source))?
                }
            },
        };
        found.insert(name.clone(), what);
    }
    Ok(found)
}

/// What is found in the place of a file of the generation, which may be a link by right.
fn in_generation(path: &Path, is_link: bool) -> io::Result<Actual> {
    Ok(
        match actual(&Root::real(), &Place::System(path.to_owned()))? {
            Some((_, Actual::Link(target))) if is_link => Actual::File {
                bytes: target.into_os_string().into_encoded_bytes(),
                mode: None,
            },
            Some((_, actual)) => actual,
            None => Actual::Missing,
        },
    )
}

/// The changes of what a generation is made from, and what is to be said of damage.
fn described(there: &There, wanted: &Wanted) -> Result<(Vec<Change>, Vec<String>), ApplyError> {
    let old = there.described()?;
    let to_json = |images: BTreeMap<String, Digest>| {
        let json = serde_json::to_string_pretty(&images);
        json.expect("texts can be written as JSON") + "\n"
    };
    let images = match old.images {
        Old::None => Old::None,
        Old::Some(images) => Old::Some(to_json(images)),
        Old::Damaged(error) => Old::Damaged(error),
    };
    let (mut list, mut damage) = (Vec::new(), Vec::new());
    for (name, old, new) in [
        ("cluster.toml", old.text, wanted.text.clone()),
        ("images.json", images, wanted.images.to_json()),
    ] {
        let new = Some(new.into_bytes());
        match old {
            Old::Some(old) => {
                let old = Some(old.into_bytes());
                if old != new {
                    list.push(change(name, Kind::Modify, old, new));
                }
            }
            Old::None => list.push(change(name, Kind::Create, None, new)),
            Old::Damaged(error) => {
                list.push(damaged(name, there, new));
                damage.push(told(&error));
            }
        }
    }
    if let Some(error) = there.index_damage() {
        list.push(damaged("index.json", there, None));
        damage.insert(0, told(error));
    }
    let mut warnings = Vec::new();
    if let Some(current) = &there.current
        && !damage.is_empty()
    {
        if !current.path.is_dir() {
            damage = vec![format!("{} is gone", current.path.display())];
        }
        warnings.push(format!(
            "generation {}, which is in force, is damaged, and what cannot be read of it counts as changed by hand: {}",
            current.number,
            damage.join("; ")
        ));
    }
    Ok((list, warnings))
}

/// What is told of blocks that are made again because they have lost their ends.
fn unended(root: &Root, changes: &[Change]) -> Result<Vec<String>, ApplyError> {
    let mut told = Vec::new();
    for change in changes.iter().filter(|change| change.kind == Kind::Create) {
        let Place::Block(path) = &change.place else {
            continue;
        };
        let line =
            unended_block(root, path).map_err(|source| ApplyError::io("look at", path, source))?;
        if let Some(line) = line {
            told.push(format!(
                "{}:{line}: a block of regex-provision has lost its end, so it stays, and a new one is made; remove by hand what was its",
                path.display()
            ));
        }
    }
    Ok(told)
}

fn change(name: &str, kind: Kind, old: Option<Vec<u8>>, new: Option<Vec<u8>>) -> Change {
    Change {
        name: name.to_owned(),
        place: Place::Generation,
        service: Some(Service::Serve),
        kind,
        by_hand: false,
        old,
        new,
    }
}

/// The change of something that cannot be read: it may be gone. What is in it is of no use to anybody.
fn damaged(name: &str, there: &There, new: Option<Vec<u8>>) -> Change {
    let path = there
        .current
        .as_ref()
        .map(|current| current.path.join(name));
    let is_there = path.is_some_and(|path| path.exists());
    let (kind, old) = if is_there {
        (Kind::Modify, Some(Vec::new()))
    } else {
        (Kind::Create, None)
    };
    Change {
        by_hand: true,
        ..change(name, kind, old, new)
    }
}

/// An error with its causes, in one line.
fn told(error: &GenerationError) -> String {
    let first: &dyn Error = error;
    let all = iter::successors(Some(first), |error| (*error).source());
    let words: Vec<_> = all.map(ToString::to_string).collect();
    words.join(": ")
}

/// The services of ours whose units are among the files.
fn units(files: &[File]) -> impl Iterator<Item = Service> {
    let services = files.iter().map(|file| (&file.place, file.service));
    services.filter_map(unit)
}

fn units_of(files: &[Indexed]) -> impl Iterator<Item = Service> {
    let services = files.iter().map(|file| (&file.place, file.service));
    services.filter_map(unit)
}

fn unit((place, service): (&Place, Option<(Service, Effect)>)) -> Option<Service> {
    let (service, _) = service?;
    let is_unit = matches!(place, Place::System(path) if path.ends_with(service.unit()));
    (is_unit && service.is_ours()).then_some(service)
}
