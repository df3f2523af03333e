//! What is still needed.
//!
//! Generations are somebody else's: this reads any file in them, and takes whatever looks like
//! a digest for one that is in use. That may keep too much, never too little. Of the journal of nodes two boots of each count:
//! the last one, and the last that came as far as its kernel, which is what the node runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::path::Path;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize, Serializer};
use walkdir::WalkDir;

use super::{Digest, Store, StoreError};
use crate::model::ImageName;

/// What must stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InUse {
    /// Manifests that are published, belong to a generation, or are what a node runs, or was told to boot last.
    pub manifests: BTreeSet<Digest>,
    /// Artifacts that those manifests, a generation or a node's boot name.
    pub artifacts: BTreeSet<Digest>,
    /// Trees that those manifests, a generation or a node's boot name.
    pub trees: BTreeSet<Digest>,
    /// Manifests of those that cannot be read. What they name is not known: all artifacts and trees are in use then.
    pub damaged: BTreeMap<Digest, Damaged>,
}

/// A manifest that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damaged {
    /// What is wrong with it.
    pub why: String,
    /// Who needs it; nobody, if it may be removed.
    pub needed_by: BTreeSet<Need>,
}

/// Who needs something of the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// A name: it was published last.
    #[serde(serialize_with = "as_text")]
    Name(ImageName),
    /// A generation: what its directory is called.
    Generation(String),
    /// A machine that runs it, or was told last to boot it, by its Ethernet address.
    Machine(String),
    /// A line of the journal of nodes that is torn, or says more than this version knows.
    Journal,
}

fn as_text<S: Serializer>(name: &ImageName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}

/// What is named, and by whom.
type Named = BTreeMap<Digest, BTreeSet<Need>>;

fn add(named: &mut Named, digests: impl IntoIterator<Item = Digest>, need: &Need) {
    for digest in digests {
        named.entry(digest).or_default().insert(need.clone());
    }
}

pub(super) fn in_use(store: &Store) -> Result<InUse, StoreError> {
    let mut named = Named::new();
    for name in store.names()? {
        let published = store.published(&name)?;
        add(&mut named, published, &Need::Name(name));
    }
    let generations = store.generations();
    if generations.exists() {
        digests_below(&generations, &mut named)?;
    }
    booted(&store.nodes().join("journal"), &mut named)?;
    let mut used = InUse::default();
    for (digest, needed_by) in &named {
        if !store.manifest_path(*digest).exists() {
            continue;
        }
        used.manifests.insert(*digest);
        match store.manifest(*digest) {
            Ok(manifest) => {
                used.artifacts.extend(manifest.artifacts());
                used.trees.extend(manifest.tree);
            }
            Err(error) => {
                let damaged = Damaged {
                    why: error.to_string(),
                    needed_by: needed_by.clone(),
                };
                used.damaged.insert(*digest, damaged);
            }
        }
    }
    if !used.damaged.is_empty() {
        used.artifacts.extend(store.artifacts()?);
        used.trees.extend(store.trees()?);
    }
    used.artifacts.extend(named.keys());
    used.trees.extend(named.keys());
    used.artifacts
        .retain(|digest| store.artifact_path(*digest).exists());
    used.trees
        .retain(|digest| store.tree_path(*digest).exists());
    Ok(used)
}

/// A line of the journal of nodes: as much of it as says what a node has booted. Nothing else may be in it than we know.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    boot: Option<OfBoot>,
    forget: Option<Forget>,
    /// What machines say of themselves keeps nothing.
    #[serde(rename = "unknown")]
    _unknown: Option<IgnoredAny>,
    #[serde(rename = "duplicate")]
    _duplicate: Option<IgnoredAny>,
    #[serde(rename = "unreached")]
    _unreached: Option<IgnoredAny>,
    /// The first line.
    #[serde(rename = "format")]
    _format: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfBoot {
    mac: String,
    boot: Boot,
}

#[derive(Deserialize)]
struct Boot {
    number: u64,
    offer: Option<serde_json::Value>,
    /// Stages, with what was heard of each. What a node said in its own words is no use of what it names.
    #[serde(default)]
    steps: BTreeMap<String, serde_json::Value>,
    /// Chosen by the node, too.
    #[serde(rename = "id")]
    _id: Option<IgnoredAny>,
    #[serde(rename = "failure")]
    _failure: Option<IgnoredAny>,
    #[serde(flatten)]
    more: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Forget {
    mac: String,
}

/// Stages that only a node has that runs what it was told to boot; what comes before can be asked for in its name.
const RUNNING: [&str; 6] = ["kernel", "image", "verified", "root", "system", "worker"];

/// What a node uses: the number of a boot, and what is named in it.
#[derive(Default)]
struct Used {
    number: u64,
    digests: Vec<Digest>,
}

impl Used {
    fn take(&mut self, boot: &Boot, digests: &[Digest]) {
        if boot.number < self.number {
            return;
        }
        // Without an offer it is a boot of which nothing but its beginning was heard.
        if boot.offer.is_some() {
            self.digests.clear();
            self.number = boot.number;
        }
        self.digests.extend(digests);
    }
}

/// Adds what each node was last told to boot, and what it was told in the last boot that came as far as its kernel: a node whose root or /usr is mounted over NFS reads it for as long as it runs, also
/// when another generation is in force. Of a line that says something else than we know, or cannot be read, every digest
/// is taken.
fn booted(journal: &Path, into: &mut Named) -> Result<(), StoreError> {
    let failed = |error| StoreError::io("read", journal, error);
    let file = match File::open(journal) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let mut last: BTreeMap<String, [Used; 2]> = BTreeMap::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(failed)?;
        let Ok(line) = serde_json::from_slice::<Line>(&line) else {
            add(into, digests_in(&line), &Need::Journal);
            continue;
        };
        if let Some(Forget { mac }) = line.forget {
            last.remove(&mac);
        }
        let Some(OfBoot { mac, boot }) = line.boot else {
            continue;
        };
        let mut digests = Vec::new();
        for value in boot.offer.iter().chain(boot.more.values()) {
            digests.extend(digests_in(value.to_string().as_bytes()));
        }
        let [told, running] = last.entry(mac).or_default();
        told.take(&boot, &digests);
        if boot.steps.keys().any(|stage| RUNNING.contains(&&**stage)) {
            running.take(&boot, &digests);
        }
    }
    for (mac, used) in last {
        let digests = used.into_iter().flat_map(|used| used.digests);
        add(into, digests, &Need::Machine(mac));
    }
    Ok(())
}

/// Adds every digest that a file below the directory of generations names.
fn digests_below(directory: &Path, into: &mut Named) -> Result<(), StoreError> {
    for entry in WalkDir::new(directory) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(directory).to_owned();
            StoreError::io("list", path, error.into())
        })?;
        let path = entry.path();
        let below = path.strip_prefix(directory).unwrap_or(path);
        let number = below.iter().next();
        let number = number.unwrap_or_default().to_string_lossy().into_owned();
        let need = Need::Generation(number);
        if entry.file_type().is_file() {
            let bytes = fs::read(path).map_err(|error| StoreError::io("read", path, error))?;
            add(into, digests_in(&bytes), &need);
        } else if entry.file_type().is_symlink()
            && let Ok(target) = fs::read_link(entry.path())
        {
            let target = target.as_os_str().as_encoded_bytes();
            add(into, digests_in(target), &need);
        }
    }
    Ok(())
}

/// The runs of exactly 64 hexadecimal digits.
fn digests_in(bytes: &[u8]) -> impl Iterator<Item = Digest> {
    bytes
        .split(|byte| !byte.is_ascii_hexdigit())
        .filter(|run| run.len() == Digest::TEXT_LENGTH)
        .filter_map(|run| str::from_utf8(run).ok()?.parse().ok())
}
