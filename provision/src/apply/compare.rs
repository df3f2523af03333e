//! What is there, and the plan from that to what is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::error::ApplyError;
use super::generation::{self, Generation, GenerationError, Indexed, Pending};
use super::place::{Root, actual};
use super::plan::{
    Action, Actual, Change, Facts, Kind, Plan, ServiceChange, changes, services as service_changes,
};
use super::reboot::{self, Side};
use super::services::Services;
use super::wanted::Wanted;
use crate::model::{Cluster, Hostname};
use crate::nodeset;
use crate::render::{Effect, File, Images, Place, Service};
use crate::store::Store;

/// What is there.
pub(super) struct There {
    pub(super) current: Option<Generation>,
    pub(super) pending: Option<Pending>,
    /// The files of the generation in force, and those that a switch which was cut off has put into the
    /// system.
    pub(super) installed: Vec<Indexed>,
}

impl There {
    pub(super) fn read(root: &Root, store: &Store) -> Result<Self, ApplyError> {
        let current = generation::current(store)?;
        let pending = generation::pending(store)?;
        let mut installed = Vec::new();
        if let Some(current) = &current {
            installed.clone_from(&current.index.files);
        }
        for file in pending.iter().flat_map(|pending| &pending.files) {
            let is_known = installed.iter().any(|known| known.place == file.place);
            let found = actual(root, &file.place);
            let found = found.map_err(|source| {
                ApplyError::io("look at", place_of(&file.name, &file.place), source)
            })?;
            if !is_known && found.is_some_and(|(_, actual)| actual != Actual::Missing) {
                installed.push(file.clone());
            }
        }
        Ok(Self {
            current,
            pending,
            installed,
        })
    }
}

/// The plan from what is there to what is wanted.
pub(super) fn compare(
    root: &Root,
    store: &Store,
    there: &There,
    wanted: &Wanted,
    services: &mut dyn Services,
) -> Result<Plan, ApplyError> {
    let _ = store;
    let installed = there.installed.as_slice();
    let found = find_all(root, there, wanted)?;
    let written = there.pending.as_ref();
    let written = written.map_or(&[][..], |pending| &pending.files);
    let mut list = described(there, wanted)?;
    list.extend(changes(&wanted.files, installed, written, &found));
    list.sort_by(|a, b| a.name.cmp(&b.name));
    let old = match &there.current {
        Some(current) if !list.is_empty() => old_side(current, store)?,
        _ => None,
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
    let ours: BTreeSet<_> = units(&wanted.files).collect();
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
    let mut told = service_changes(&wanted.files, installed, &list, facts);
    leave_gone(&mut told, &wanted.files, services)?;
    Ok(Plan {
        from: there.current.as_ref().map(|current| current.number),
        interrupted: there.pending.clone(),
        services: told,
        changes: list,
        reboots,
        obstacles: wanted.obstacles.clone(),
    })
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

fn place_of(name: &str, place: &Place) -> PathBuf {
    match place {
        Place::Generation | Place::Link => name.into(),
        Place::System(path) | Place::Block(path) => path.clone(),
    }
}

/// The changes of what a generation is made from.
fn described(there: &There, wanted: &Wanted) -> Result<Vec<Change>, ApplyError> {
    let old = there.current.as_ref();
    let text = old.map(Generation::cluster_text).transpose()?;
    let images = old.map(Generation::image_digests).transpose()?;
    let images = images.map(|images| {
        let json = serde_json::to_string_pretty(&images);
        json.expect("texts can be written as JSON") + "\n"
    });
    let pairs = [
        ("cluster.toml", text, wanted.text.clone()),
        ("images.json", images, wanted.images.to_json()),
    ];
    let change = |(name, old, new): (&str, Option<String>, String)| Change {
        name: name.to_owned(),
        place: Place::Generation,
        service: Some(Service::Serve),
        kind: if old.is_some() {
            Kind::Modify
        } else {
            Kind::Create
        },
        by_hand: false,
        old: old.map(String::into_bytes),
        new: Some(new.into_bytes()),
    };
    let changed = pairs
        .into_iter()
        .filter(|(_, old, new)| old.as_ref() != Some(new));
    Ok(changed.map(change).collect())
}

/// The cluster in force; none if this version cannot read it any more.
fn old_side(current: &Generation, store: &Store) -> Result<Option<(Cluster, Images)>, ApplyError> {
    match (current.cluster(), current.images(store)) {
        (Ok(cluster), Ok(images)) => Ok(Some((cluster, images))),
        (Err(GenerationError::Cluster(_)), _) | (_, Err(GenerationError::NoImage { .. })) => {
            Ok(None)
        }
        (Err(error), _) | (_, Err(error)) => Err(error.into()),
    }
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
