//! What is there: the generation in force, also one that is damaged, and what was cut off.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::error::ApplyError;
use super::generation::{self, FORMAT, Generation, GenerationError, Index, Indexed, Pending};
use super::place::{Root, actual};
use super::plan::Actual;
use crate::model::{Cluster, LoadError};
use crate::render::{self, Effect, File, Images, Place, Service};
use crate::store::{Digest, Store};

/// What is there.
pub(super) struct There {
    /// The generation in force. The index of a damaged one is what can be presumed.
    pub(super) current: Option<Generation>,
    /// Why what is in force cannot be read: it counts as changed by hand.
    index_damage: Option<GenerationError>,
    pub(super) pending: Option<Pending>,
    /// The files of the generation in force, and those that a switch which was cut off has put into the
    /// system.
    pub(super) installed: Vec<Indexed>,
}

/// What a generation was made from, as far as it can be read.
pub(super) struct Described {
    /// Its cluster.toml.
    pub(super) text: Old<String>,
    /// Its images by name.
    pub(super) images: Old<BTreeMap<String, Digest>>,
}

/// Something of the generation in force.
pub(super) enum Old<T> {
    /// Nothing is in force.
    None,
    /// This.
    Some(T),
    /// It is damaged.
    Damaged(GenerationError),
}

impl<T> Old<T> {
    fn of(read: Result<T, GenerationError>) -> Result<Self, ApplyError> {
        match read {
            Ok(read) => Ok(Self::Some(read)),
            Err(error) => Ok(Self::Damaged(damage(error)?)),
        }
    }
}

impl There {
    /// Looks at what is there. `rendered` is what is wanted: should the generation in force not say what it has, it is
    /// presumed to have that, and what older ones have put into the system and is there.
    pub(super) fn read(root: &Root, store: &Store, rendered: &[File]) -> Result<Self, ApplyError> {
        let pending = generation::pending(store)?;
        let (mut current, mut index_damage) = (None, None);
        if let Some(number) = generation::current_number(store)? {
            current = Some(match Generation::open(store, number) {
                Ok(generation) => generation,
                Err(error) => {
                    index_damage = Some(damage(error)?);
                    presumed(root, store, number, rendered)?
                }
            });
        }
        let mut installed = Vec::new();
        if let Some(current) = &current {
            installed.clone_from(&current.index.files);
        }
        for file in pending.iter().flat_map(|pending| &pending.files) {
            let is_known = installed.iter().any(|known| known.place == file.place);
            if !is_known && is_in_system(root, file)? {
                installed.push(file.clone());
            }
        }
        Ok(Self {
            current,
            index_damage,
            pending,
            installed,
        })
    }

    /// The number of the generation in force.
    pub(super) fn number(&self) -> Option<u32> {
        self.current.as_ref().map(|current| current.number)
    }

    /// Why the index of the generation in force cannot be read, if it cannot.
    pub(super) fn index_damage(&self) -> Option<&GenerationError> {
        self.index_damage.as_ref()
    }

    /// What the generation in force was made from.
    pub(super) fn described(&self) -> Result<Described, ApplyError> {
        let Some(current) = &self.current else {
            return Ok(Described {
                text: Old::None,
                images: Old::None,
            });
        };
        Ok(Described {
            text: Old::of(current.cluster_text())?,
            images: Old::of(current.image_digests())?,
        })
    }

    /// The cluster in force, and its images; none if nothing is, it is damaged, or this version cannot read it any
    /// more.
    pub(super) fn side(&self, store: &Store) -> Result<Option<(Cluster, Images)>, ApplyError> {
        let Some(current) = &self.current else {
            return Ok(None);
        };
        match (current.cluster(), current.images(store)) {
            (Ok(cluster), Ok(images)) => Ok(Some((cluster, images))),
            (Err(error), _) | (_, Err(error)) => damage(error).map(|_| None),
        }
    }
}

/// An error as what is wrong with a generation, if it is that: what only root may read is whole.
fn damage(error: GenerationError) -> Result<GenerationError, ApplyError> {
    let is_denied = match &error {
        GenerationError::Read { source, .. }
        | GenerationError::Cluster(LoadError::Read { source, .. }) => {
            source.kind() == ErrorKind::PermissionDenied
        }
        _ => false,
    };
    if is_denied {
        Err(error.into())
    } else {
        Ok(error)
    }
}

/// A generation whose index cannot be read.
fn presumed(
    root: &Root,
    store: &Store,
    number: u32,
    rendered: &[File],
) -> Result<Generation, ApplyError> {
    let mut there = Vec::new();
    let mut in_system = BTreeMap::new();
    for file in rendered.iter().map(Indexed::of) {
        if file.place.is_in_generation() {
            there.push(file);
        } else {
            in_system.insert(file.name.clone(), file);
        }
    }
    for other in generation::list(store)?.into_iter().rev() {
        // Others may be damaged, too.
        let other = Generation::open(store, other).ok();
        for file in other.into_iter().flat_map(|other| other.index.files) {
            if !file.place.is_in_generation() {
                in_system.entry(file.name.clone()).or_insert(file);
            }
        }
    }
    for file in in_system.values() {
        if is_in_system(root, file)? {
            there.push(file.clone());
        }
    }
    // What only the damaged one has put there.
    for (path, service) in render::places_in_system() {
        let name = File::name_in_system(&path);
        if in_system.contains_key(&name) {
            continue;
        }
        there.extend(as_found(root, name, path.into(), service)?);
    }
    Ok(Generation {
        number,
        path: store.generations().join(number.to_string()),
        index: Index {
            format: FORMAT,
            created: 0,
            files: there,
        },
    })
}

/// A file in the system as it is there, if it is.
fn as_found(
    root: &Root,
    name: String,
    path: PathBuf,
    service: Option<(Service, Effect)>,
) -> Result<Option<Indexed>, ApplyError> {
    let place = Place::System(path);
    let found = actual(root, &place)
        .map_err(|source| ApplyError::io("look at", place_of(&name, &place), source))?;
    let (bytes, mode) = match found {
        None | Some((_, Actual::Missing)) => return Ok(None),
        Some((_, Actual::File { bytes, mode })) => (bytes, mode),
        Some((_, Actual::Link(_))) => (Vec::new(), None),
    };
    Ok(Some(Indexed {
        name,
        place,
        mode: mode.unwrap_or(0o644),
        service,
        sha256: Digest::of(&bytes),
    }))
}

/// Whether something is in the place that a file has in the system.
fn is_in_system(root: &Root, file: &Indexed) -> Result<bool, ApplyError> {
    let found = actual(root, &file.place)
        .map_err(|source| ApplyError::io("look at", place_of(&file.name, &file.place), source))?;
    Ok(found.is_some_and(|(_, actual)| actual != Actual::Missing))
}

/// Where a file is, for people.
pub(super) fn place_of(name: &str, place: &Place) -> PathBuf {
    match place {
        Place::Generation | Place::Link => name.into(),
        Place::System(path) | Place::Block(path) => path.clone(),
    }
}
