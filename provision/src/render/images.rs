//! The images that nodes boot, by the names that the cluster knows them by.

use std::collections::BTreeMap;

use crate::model::ImageName;
use crate::store::{Digest, Manifest};

/// Images with their digests. Which ones is decided when a generation is made: what is
/// published under the same name later is not booted until the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    by_name: BTreeMap<ImageName, (Digest, Manifest)>,
}

impl Images {
    /// The image with this name: its digest, and what it consists of.
    pub fn get(&self, name: &ImageName) -> Option<(Digest, &Manifest)> {
        self.by_name
            .get(name)
            .map(|(digest, manifest)| (*digest, manifest))
    }

    /// All of them, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ImageName, Digest, &Manifest)> {
        self.by_name
            .iter()
            .map(|(name, (digest, manifest))| (name, *digest, manifest))
    }

    /// The text of `images.json`: an object with the digest of each image by its name.
    pub fn to_json(&self) -> String {
        let digests: BTreeMap<_, _> = self
            .iter()
            .map(|(name, digest, _)| (name.as_str(), digest))
            .collect();
        let json = serde_json::to_string_pretty(&digests);
        json.expect("texts can be written as JSON") + "\n"
    }
}

impl FromIterator<(ImageName, Digest, Manifest)> for Images {
    fn from_iter<T: IntoIterator<Item = (ImageName, Digest, Manifest)>>(images: T) -> Self {
        let pair = |(name, digest, manifest)| (name, (digest, manifest));
        Self {
            by_name: images.into_iter().map(pair).collect(),
        }
    }
}
