//! What would change: files, services. Pure: what is rendered and what is on the disk go in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::generation::{Indexed, Pending};
use super::reboot::Reboots;
use crate::render::{Effect, File, Place, Service};
use crate::store::Digest;

/// Everything that `apply` would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The generation in force, if one is.
    pub from: Option<u32>,
    /// A switch that was cut off, and which this one completes.
    pub interrupted: Option<Pending>,
    /// What files would change, in the order of their names.
    pub changes: Vec<Change>,
    /// What services would be told, in this order.
    pub services: Vec<ServiceChange>,
    /// Which nodes would have to be rebooted to be as described, and why.
    #[serde(flatten)]
    pub reboots: Reboots,
    /// What a person should know before it is applied.
    pub warnings: Vec<String>,
    /// What keeps it from being applied.
    pub obstacles: Vec<String>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.interrupted.is_none() && self.changes.is_empty() && self.services.is_empty()
    }
}

/// A file that would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name in the generation, or `cluster.toml` or `images.json`.
    pub name: String,
    /// Where its reader finds it.
    pub place: Place,
    /// Its service.
    pub service: Option<Service>,
    /// What becomes of it.
    pub kind: Kind,
    /// Whether somebody else has changed it since it was installed, or has put something into its place
    /// before; that is then gone.
    pub by_hand: bool,
    /// What it holds; none if it is not there.
    #[serde(skip)]
    pub old: Option<Vec<u8>>,
    /// What it would hold; none if it would be removed.
    #[serde(skip)]
    pub new: Option<Vec<u8>>,
}

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It is made.
    Create,
    /// Its contents change.
    Modify,
    /// Only its permissions change.
    Mode,
    /// It is removed.
    Remove,
}

/// What a service would be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceChange {
    /// Which.
    pub service: Service,
    /// What.
    pub action: Action,
    /// The files that are the reason.
    pub because: Vec<String>,
}

/// What a service is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Read the files again.
    Reload,
    /// Stop and start.
    Restart,
    /// Start, now and whenever the machine starts.
    Start,
    /// Stop, and do not start any more.
    Stop,
}

/// What is found in the place of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Actual {
    /// Nothing.
    Missing,
    /// A file, or a block in one. A block has no mode of its own.
    File { bytes: Vec<u8>, mode: Option<u32> },
    /// A symbolic link where we would have a file.
    Link(PathBuf),
}

impl Actual {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::File { bytes, .. } => Some(bytes),
            _ => None,
        }
    }

    /// Whether it is as the index says.
    fn is(&self, file: &Indexed) -> bool {
        match self {
            Self::File { bytes, mode } => {
                mode.is_none_or(|mode| mode == file.mode) && Digest::of(bytes) == file.sha256
            }
            _ => false,
        }
    }
}

/// The changes from what is found to what is rendered.
///
/// `installed` is what the generation in force says was installed, `written` what a switch that was cut off
/// may have put in its place, `actual` what is found for each name of any.
pub(super) fn changes(
    rendered: &[File],
    installed: &[Indexed],
    written: &[Indexed],
    actual: &BTreeMap<String, Actual>,
) -> Vec<Change> {
    let by_name: BTreeMap<_, _> = installed
        .iter()
        .map(|file| (file.name.as_str(), file))
        .collect();
    let is_ours = |name: &str, found: &Actual| {
        let mut ours = written.iter().filter(|file| file.name == name);
        ours.any(|file| found.is(file))
    };
    let missing = Actual::Missing;
    let mut changes = Vec::new();
    let mut wanted = BTreeSet::new();
    for file in rendered {
        wanted.insert(file.name.as_str());
        let found = actual.get(&file.name).unwrap_or(&missing);
        let before = by_name.get(file.name.as_str()).copied();
        let is_same_bytes = found.bytes() == Some(&*file.bytes);
        let is_same_mode = match found {
            Actual::File { mode, .. } => mode.is_none_or(|mode| mode == file.mode),
            _ => false,
        };
        let is_known = before.is_some_and(|before| *before == Indexed::of(file));
        if is_same_bytes && is_same_mode && is_known {
            continue;
        }
        let by_hand = match before {
            _ if is_ours(&file.name, found) => false,
            // The switch that was cut off may have removed it.
            Some(_) if *found == Actual::Missing && !written.is_empty() => false,
            Some(before) => !found.is(before),
            // A place in the generation that is none yet is always empty.
            None => *found != Actual::Missing && !is_same_bytes,
        };
        changes.push(Change {
            name: file.name.clone(),
            place: file.place.clone(),
            service: file.service.map(|(service, _)| service),
            kind: match found {
                Actual::Missing => Kind::Create,
                _ if is_same_bytes => Kind::Mode,
                _ => Kind::Modify,
            },
            by_hand,
            old: match found {
                Actual::Link(target) => {
                    let target = target.display();
                    Some(format!("(a symbolic link to {target})\n").into_bytes())
                }
                found => found.bytes().map(<[u8]>::to_vec),
            },
            new: Some(file.bytes.clone()),
        });
    }
    for file in installed {
        if wanted.contains(file.name.as_str()) {
            continue;
        }
        let found = actual.get(&file.name).unwrap_or(&missing);
        changes.push(Change {
            name: file.name.clone(),
            place: file.place.clone(),
            service: file.service.map(|(service, _)| service),
            kind: Kind::Remove,
            by_hand: *found != Actual::Missing && !found.is(file) && !is_ours(&file.name, found),
            old: found.bytes().map(<[u8]>::to_vec),
            new: None,
        });
    }
    changes.sort_by(|a, b| a.name.cmp(&b.name));
    changes
}

/// The path of a unit in the generation.
fn unit_name(service: Service) -> String {
    format!("system/etc/systemd/system/{}", service.unit())
}

/// What services are to be told for other reasons than changed files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// What a switch that was cut off had to tell.
    pub(super) pending: &'a [(Service, Action)],
    /// Those of ours that should run and do not.
    pub(super) down: &'a BTreeSet<Service>,
    /// What else there is to tell, and why.
    pub(super) also: &'a [(Service, Action, String)],
}

/// What services are to be told of the changes, in the order in which they depend on each other:
/// first those that stop, then the rest.
pub(super) fn services(
    rendered: &[File],
    installed: &[Indexed],
    changes: &[Change],
    facts: Facts<'_>,
) -> Vec<ServiceChange> {
    let Facts {
        pending,
        down,
        also,
    } = facts;
    let effects: BTreeMap<_, _> = installed
        .iter()
        .map(|file| (file.name.as_str(), file.service))
        .chain(
            rendered
                .iter()
                .map(|file| (file.name.as_str(), file.service)),
        )
        .collect();
    let has = |name: &str| rendered.iter().any(|file| file.name == name);
    let had = |name: &str| installed.iter().any(|file| file.name == name);
    let mut told: BTreeMap<Service, (Action, Vec<String>)> = BTreeMap::new();
    let mut tell = |service: Service, action: Action, why: &str| {
        let entry = told.entry(service).or_insert((action, Vec::new()));
        entry.0 = entry.0.max(action);
        if !why.is_empty() {
            entry.1.push(why.to_owned());
        }
    };
    for change in changes {
        if let Some(Some((service, effect))) = effects.get(change.name.as_str()) {
            let action = match effect {
                Effect::Reload => Action::Reload,
                Effect::Restart => Action::Restart,
            };
            tell(*service, action, &change.name);
        }
    }
    // The boot endpoint reads the generation as a whole.
    if !changes.is_empty() {
        tell(Service::Serve, Action::Reload, "");
    }
    for (service, action) in pending {
        tell(*service, *action, "the switch that was cut off");
    }
    for service in down {
        tell(*service, Action::Start, "it is not running");
    }
    for (service, action, why) in also {
        tell(*service, *action, why);
    }
    for service in Service::ALL {
        let unit = unit_name(service);
        let Some(entry) = told.get_mut(&service) else {
            continue;
        };
        if service.is_ours() {
            entry.0 = match (had(&unit), has(&unit)) {
                (_, false) => Action::Stop,
                (false, true) => Action::Start,
                // It was told to stop or start by a switch that has not come to that.
                (true, true) if entry.0 > Action::Restart && !down.contains(&service) => {
                    Action::Restart
                }
                (true, true) => entry.0,
            };
        }
    }
    for (service, (action, _)) in &mut told {
        if service.is_ours() {
            continue;
        }
        let is_its = |of: Option<(Service, Effect)>| of.is_some_and(|(its, _)| its == *service);
        let reads = rendered.iter().any(|file| is_its(file.service));
        let has_read = installed.iter().any(|file| is_its(file.service));
        *action = match *action {
            // Both servers want the same port.
            _ if *service == Service::NfsServer && has(&unit_name(Service::Ganesha)) => {
                Action::Stop
            }
            // It may be installed and switched off, or have been stopped for the other one.
            _ if reads && !has_read => Action::Start,
            // What a switch that was cut off wanted is not wanted any more, or not yet done.
            Action::Start | Action::Stop if reads => Action::Start,
            Action::Start | Action::Stop if *service == Service::NfsServer => Action::Reload,
            Action::Start | Action::Stop => Action::Restart,
            action => action,
        };
    }
    let mut list: Vec<_> = told
        .into_iter()
        .map(|(service, (action, because))| ServiceChange {
            service,
            action,
            because,
        })
        .collect();
    // Stops first: what takes over may want the same port.
    list.sort_by_key(|change| (change.action != Action::Stop, change.service));
    list
}
