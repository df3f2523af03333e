//! Generations: what `apply` installed, kept whole, so that `rollback` can install it again.
//!
//! ```text
//! generations/<N>/cluster.toml   what it was made from
//! generations/<N>/images.json    image names and digests
//! generations/<N>/index.json     which files there are, where they belong, who reads them ([`Index`])
//! generations/<N>/files/...      the files
//! current                        link to generations/<N>: what is in force
//! pending.json                   only while a switch is under way ([`Pending`])
//! ```
//!
//! Invariant: a generation that has its number is whole and never changes. What is in force is the
//! link's, so configuration and images change together.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::plan::Action;
use crate::model::{self, Cluster, ImageName, LoadError};
use crate::render::{Effect, File, Images, Place, Service};
use crate::store::{Digest, Store, StoreError};

/// How many generations are kept, the one in force included.
pub const KEPT_GENERATIONS: usize = 20;

/// The format of `index.json` and `pending.json`.
pub const FORMAT: u32 = 1;

/// The largest of the files that describe a generation: 130,000 entries.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Which files a generation has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// [`FORMAT`].
    pub format: u32,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Its files, sorted by name.
    pub files: Vec<Indexed>,
}

/// A file of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Indexed {
    /// Its path below `files/`.
    pub name: String,
    /// Where its reader finds it.
    pub place: Place,
    /// Permission bits.
    pub mode: u32,
    /// Who reads it, and what makes it read it again.
    pub service: Option<(Service, Effect)>,
    /// The digest of what it holds.
    pub sha256: Digest,
}

impl Indexed {
    pub(super) fn of(file: &File) -> Self {
        Self {
            name: file.name.clone(),
            place: file.place.clone(),
            mode: file.mode,
            service: file.service,
            sha256: Digest::of(&file.bytes),
        }
    }
}

/// A switch from one generation to another that is under way, or was when the process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// [`FORMAT`].
    pub format: u32,
    /// What was in force.
    pub from: Option<u32>,
    /// What is to be.
    pub to: u32,
    /// Whether that was made by this switch, and was never in force before.
    pub new: bool,
    /// What services are to be told.
    pub services: Vec<(Service, Action)>,
    /// The files that may be in their places in the system, of either generation.
    pub files: Vec<Indexed>,
}

/// One generation on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number.
    pub number: u32,
    /// Its directory.
    pub path: PathBuf,
    /// Its files.
    pub index: Index,
}

/// Why a generation cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// It is not there.
    #[error("there is no generation {number}; {}", those(.known))]
    Missing {
        /// Which.
        number: u32,
        /// Those that are there.
        known: Vec<u32>,
    },
    /// There is none before the one in force.
    #[error(
        "there is no generation before the one in force; `regex-provision generations` lists them"
    )]
    NoneBefore,
    /// Nothing was applied yet.
    #[error("nothing has been applied yet; run `regex-provision apply`")]
    NoneInForce,
    /// A file of it cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of it is not what this version writes.
    #[error("{} is damaged, or of another version of regex-provision", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The link leads elsewhere.
    #[error("{} leads to {}, which is no generation; remove the link and run `regex-provision apply`", .path.display(), .target.display())]
    NotALink {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A file is not what was installed.
    #[error("{} of generation {number} is not what was installed: it was changed by hand", .path.display())]
    Altered {
        /// Which generation.
        number: u32,
        /// Which file.
        path: PathBuf,
    },
    /// Its cluster.toml is not right for this version.
    #[error(transparent)]
    Cluster(#[from] LoadError),
    /// An image of it is gone.
    #[error("generation {number} boots the image {image} ({}), which is not there any more", digest.short())]
    NoImage {
        /// Which generation.
        number: u32,
        /// The name of the image.
        image: ImageName,
        /// Its digest.
        digest: Digest,
        /// Why.
        source: Box<StoreError>,
    },
}

fn those(numbers: &[u32]) -> String {
    if numbers.is_empty() {
        return "nothing has been applied yet".to_owned();
    }
    let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    format!("there is {}", numbers.join(", "))
}

/// The link to what is in force.
pub fn current_link(store: &Store) -> PathBuf {
    store.root().join("current")
}

pub(super) fn pending_path(store: &Store) -> PathBuf {
    store.root().join("pending.json")
}

/// The numbers of all generations, sorted.
pub fn list(store: &Store) -> Result<Vec<u32>, GenerationError> {
    let path = store.generations();
    let failed = |source| GenerationError::Read {
        path: path.clone(),
        source,
    };
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The number of the one in force; none if nothing was applied yet.
pub fn current_number(store: &Store) -> Result<Option<u32>, GenerationError> {
    let path = current_link(store);
    let target = match fs::read_link(&path) {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(GenerationError::Read { path, source }),
    };
    let number = target
        .strip_prefix("generations")
        .ok()
        .and_then(|name| name.to_str()?.parse().ok());
    number.map_or(Err(GenerationError::NotALink { path, target }), |number| {
        Ok(Some(number))
    })
}

/// The one in force; none if nothing was applied yet.
pub fn current(store: &Store) -> Result<Option<Generation>, GenerationError> {
    current_number(store)?
        .map(|number| Generation::open(store, number))
        .transpose()
}

/// The switch that was under way when a process ended, if one was.
pub fn pending(store: &Store) -> Result<Option<Pending>, GenerationError> {
    let path = pending_path(store);
    if !path.exists() {
        return Ok(None);
    }
    read_json(&path).map(Some)
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, GenerationError> {
    let failed = |source| GenerationError::Read {
        path: path.to_owned(),
        source,
    };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > MAX_INDEX_BYTES {
        let what = format!("it has {length} bytes, the limit is {MAX_INDEX_BYTES}");
        return Err(failed(io::Error::new(ErrorKind::InvalidData, what)));
    }
    let bytes = fs::read(path).map_err(failed)?;
    serde_json::from_slice(&bytes).map_err(|source| GenerationError::Damaged {
        path: path.to_owned(),
        source,
    })
}

impl Generation {
    /// Reads the description of one.
    pub fn open(store: &Store, number: u32) -> Result<Self, GenerationError> {
        let path = store.generations().join(number.to_string());
        if !path.is_dir() {
            let known = list(store)?;
            return Err(GenerationError::Missing { number, known });
        }
        let index = read_json(&path.join("index.json"))?;
        Ok(Self {
            number,
            path,
            index,
        })
    }

    /// Where a file of it is.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join("files").join(name)
    }

    /// What a file of it holds, which must be what was installed.
    pub fn read(&self, file: &Indexed) -> Result<Vec<u8>, GenerationError> {
        let path = self.file(&file.name);
        let bytes = match file.place {
            Place::Link => {
                fs::read_link(&path).map(|target| target.into_os_string().into_encoded_bytes())
            }
            _ => fs::read(&path),
        };
        let bytes = bytes.map_err(|source| GenerationError::Read {
            path: path.clone(),
            source,
        })?;
        if Digest::of(&bytes) == file.sha256 {
            Ok(bytes)
        } else {
            let number = self.number;
            Err(GenerationError::Altered { number, path })
        }
    }

    /// The text of its cluster.toml.
    pub fn cluster_text(&self) -> Result<String, GenerationError> {
        Ok(model::read(&self.path.join("cluster.toml"))?)
    }

    /// The cluster that it was made from.
    pub fn cluster(&self) -> Result<Cluster, GenerationError> {
        Ok(model::load(&self.path.join("cluster.toml"))?)
    }

    /// Its images, by name.
    pub fn image_digests(&self) -> Result<BTreeMap<String, Digest>, GenerationError> {
        read_json(&self.path.join("images.json"))
    }

    /// Its images, with what they consist of.
    pub fn images(&self, store: &Store) -> Result<Images, GenerationError> {
        let mut images = Vec::new();
        for (name, digest) in self.image_digests()? {
            // A name that is none was not written by us.
            let Ok(name) = name.parse::<ImageName>() else {
                continue;
            };
            let manifest = store
                .manifest(digest)
                .map_err(|source| GenerationError::NoImage {
                    number: self.number,
                    image: name.clone(),
                    digest,
                    source: Box::new(source),
                })?;
            images.push((name, digest, manifest));
        }
        Ok(images.into_iter().collect())
    }
}
