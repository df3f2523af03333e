//! What is different between two images.

use std::collections::BTreeMap;

use serde::Serialize;

use super::listing::{Entry, Kind};
use super::show;
use crate::store::{Digest, Manifest, Package, Store};

/// Something that is different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The name of the package, or the path of the file.
    pub name: String,
    /// What the first image has; none if it has none.
    pub before: Option<String>,
    /// What the second one has; none if it has none.
    pub after: Option<String>,
}

/// What is different between two images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Kernel, worker, sizes: by their names.
    pub facts: Vec<Change>,
    /// Packages, by name, with their versions.
    pub packages: Vec<Change>,
    /// Paths: what is there, such as `f 0644 0:0 1234 bytes`.
    pub files: Vec<Change>,
}

impl Difference {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.packages.is_empty() && self.files.is_empty()
    }
}

/// Compares two images.
pub fn difference(store: &Store, a: &Manifest, b: &Manifest) -> anyhow::Result<Difference> {
    Ok(Difference {
        facts: changes(facts(a), facts(b)),
        packages: changes(versions(&a.packages), versions(&b.packages)),
        files: if a.listing == b.listing {
            Vec::new()
        } else {
            let (a, b) = (show::read(store, a)?, show::read(store, b)?);
            changes(files(&a.entries), files(&b.entries))
        },
    })
}

fn facts(manifest: &Manifest) -> BTreeMap<String, String> {
    let named = |name: &str, digest: Digest| format!("{name} ({})", digest.short());
    let mut facts = BTreeMap::from([
        (
            "kernel".to_owned(),
            named(&manifest.kernel_version, manifest.kernel.sha256),
        ),
        (
            "format".to_owned(),
            manifest.root.format.as_str().to_owned(),
        ),
        ("packed bytes".to_owned(), manifest.root.size.to_string()),
        (
            "initramfs bytes".to_owned(),
            named(
                &manifest.initramfs.size.to_string(),
                manifest.initramfs.sha256,
            ),
        ),
    ]);
    if let Some(worker) = &manifest.worker {
        facts.insert("worker".to_owned(), named(&worker.version, worker.sha256));
    }
    facts
}

/// A package of two architectures has two versions.
fn versions(packages: &[Package]) -> BTreeMap<String, String> {
    let mut versions: BTreeMap<String, String> = BTreeMap::new();
    for package in packages {
        let version = versions.entry(package.name.clone()).or_default();
        if !version.is_empty() {
            version.push_str(", ");
        }
        version.push_str(&package.version);
    }
    versions
}

fn files(entries: &[Entry]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|entry| (format!("/{}", entry.path), described(entry)))
        .collect()
}

fn described(entry: &Entry) -> String {
    let Entry {
        kind,
        mode,
        uid,
        gid,
        size,
        extended,
        ..
    } = entry;
    let owner = format!("{} {mode:04o} {uid}:{gid}", kind.letter());
    let described = match kind {
        Kind::File(digest) => format!("{owner} {size} bytes {}", digest.short()),
        Kind::Link(target) => format!("l -> {target}"),
        Kind::Directory | Kind::Other(_) => owner,
    };
    match extended {
        Some(digest) => format!("{described} with attributes {}", digest.short()),
        None => described,
    }
}

fn changes(mut a: BTreeMap<String, String>, b: BTreeMap<String, String>) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, after) in b {
        let before = a.remove(&name);
        if before.as_ref() != Some(&after) {
            changes.push(Change {
                name,
                before,
                after: Some(after),
            });
        }
    }
    changes.extend(a.into_iter().map(|(name, before)| Change {
        name,
        before: Some(before),
        after: None,
    }));
    changes.sort_by(|x, y| x.name.cmp(&y.name));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_before_and_after_is_told() {
        let map = |pairs: &[(&str, &str)]| {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            pairs.iter().map(own).collect::<BTreeMap<_, _>>()
        };
        let told: Vec<String> = changes(
            map(&[("gone", "1"), ("kept", "1"), ("new version", "1")]),
            map(&[("added", "1"), ("kept", "1"), ("new version", "2")]),
        )
        .into_iter()
        .map(|change| format!("{} {:?} {:?}", change.name, change.before, change.after))
        .collect();
        assert_eq!(
            told,
            [
                "added None Some(\"1\")",
                "gone Some(\"1\") None",
                "new version Some(\"1\") Some(\"2\")"
            ]
        );
    }
}
