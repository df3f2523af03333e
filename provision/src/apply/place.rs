//! Where files are: below the root of the system, which may be a fake one.

use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use super::block;
use super::disk::{Found, Saved, look};
use super::error::ApplyError;
use super::plan::Actual;
use crate::render::Place;
use crate::store::Store;

/// The root of the system that is set up.
#[derive(Debug, Clone, Default)]
pub struct Root {
    /// None for the system that we run on.
    fake: Option<PathBuf>,
}

impl Root {
    /// The system that we run on.
    pub fn real() -> Self {
        Self::default()
    }

    /// A directory that stands for a root.
    pub fn fake(path: impl Into<PathBuf>) -> Self {
        let fake = Some(path.into());
        Self { fake }
    }

    /// Whether it is the system that we run on.
    pub fn is_real(&self) -> bool {
        self.fake.is_none()
    }

    /// Where an absolute path of the system is.
    pub fn path(&self, path: &Path) -> PathBuf {
        match &self.fake {
            None => path.to_owned(),
            Some(fake) => {
                let parts = path.components();
                let parts = parts.filter(|part| matches!(part, Component::Normal(_)));
                fake.join(parts.collect::<PathBuf>())
            }
        }
    }

    /// The same, after making sure that no link on the way leads out of a fake root.
    pub(super) fn safe_path(&self, path: &Path) -> io::Result<PathBuf> {
        let place = self.path(path);
        let existing = place.ancestors().skip(1).find(|above| above.exists());
        if let (Some(_), Some(existing)) = (&self.fake, existing) {
            self.inside(&existing.canonicalize()?)?;
        }
        Ok(place)
    }

    /// Makes sure that no link leads from the place of a store out of a fake root.
    pub fn holds(&self, store: &Store) -> Result<(), ApplyError> {
        let place = store.root();
        let existing = place
            .ancestors()
            .find(|above| above.is_symlink() || above.exists());
        let resolved = existing.map_or(Ok(()), |existing| self.inside(&existing.canonicalize()?));
        resolved.map_err(|source| ApplyError::io("use", place, source))
    }

    /// Makes sure that a path without links is not outside of a fake root.
    fn inside(&self, resolved: &Path) -> io::Result<()> {
        match &self.fake {
            Some(fake) if !resolved.starts_with(fake.canonicalize()?) => {
                let what = format!(
                    "a link leads out of the root to {}; make it a relative one",
                    resolved.display()
                );
                Err(io::Error::new(ErrorKind::InvalidInput, what))
            }
            _ => Ok(()),
        }
    }
}

/// The file that a block is part of: a link to it is followed.
pub(super) fn block_file(root: &Root, path: &Path) -> io::Result<PathBuf> {
    let place = root.safe_path(path)?;
    match look(&place)? {
        Found::Link(target) => {
            let target = place.parent().unwrap_or(&place).join(target);
            let resolved = target.canonicalize()?;
            root.inside(&resolved)?;
            Ok(resolved)
        }
        _ => Ok(place),
    }
}

/// The line where a block in a file has lost its end.
pub(super) fn unended_block(root: &Root, path: &Path) -> io::Result<Option<usize>> {
    let path = block_file(root, path)?;
    match look(&path)? {
        Found::File(saved) => Ok(block::unended(text(&saved.bytes)?)),
        _ => Ok(None),
    }
}

/// What is found in a file's place in the system; none for one in the generation.
pub(super) fn actual(root: &Root, place: &Place) -> io::Result<Option<(PathBuf, Actual)>> {
    match place {
        Place::Generation | Place::Link => Ok(None),
        Place::System(path) => {
            let path = root.safe_path(path)?;
            let actual = match look(&path)? {
                Found::Nothing => Actual::Missing,
                Found::Link(target) => Actual::Link(target),
                Found::File(Saved { bytes, mode, .. }) => Actual::File {
                    bytes,
                    mode: Some(mode),
                },
            };
            Ok(Some((path, actual)))
        }
        Place::Block(path) => {
            let path = block_file(root, path)?;
            let actual = match look(&path)? {
                Found::File(saved) => {
                    let text = text(&saved.bytes)?;
                    block::get(text).map_or(Actual::Missing, |block| Actual::File {
                        bytes: block.as_bytes().to_vec(),
                        mode: None,
                    })
                }
                _ => Actual::Missing,
            };
            Ok(Some((path, actual)))
        }
    }
}

/// What is in a file with a block.
pub(super) fn text(bytes: &[u8]) -> io::Result<&str> {
    let what = "it is not UTF-8; correct it first";
    str::from_utf8(bytes).map_err(|_| io::Error::new(ErrorKind::InvalidData, what))
}
