//! Roots that were made elsewhere: directories, archives, OCI images, the master's own system.

mod archive;
mod master;
mod oci;

use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};

use super::build::Job;
use super::inputs::Inputs;
use super::inside;
use super::root::Root;
use super::tree::{self, Filter};
use crate::model::ImageSource;

/// Adds what the source is made of to the inputs. Of the master's own system that is not known before it is copied.
pub(super) fn add_inputs(
    source: &ImageSource,
    store: &Path,
    inputs: &mut Inputs,
) -> anyhow::Result<()> {
    match source {
        ImageSource::Debootstrap(_) | ImageSource::Master { .. } => Ok(()),
        ImageSource::Directory { path, .. } => {
            // Before it is listed: it has all of /proc in it.
            if path.as_path() == Path::new("/") {
                bail!("/ is the master's own running system; for that write kind = \"master\"");
            }
            if real_place(store).starts_with(real_place(path.as_path())) {
                bail!(
                    "the store {} lies below {path}, and would be copied into itself; keep images elsewhere (--store), or import another directory",
                    store.display()
                );
            }
            inputs.path("source", path.as_path())
        }
        ImageSource::Tar { path } => inputs.path("source", path.as_path()),
        ImageSource::Oci { path, reference } => {
            let digest = oci::digest(path.as_path(), reference.as_deref())?;
            inputs.add("oci image", digest);
            Ok(())
        }
    }
}

/// Whether what was made from it may be used again: the inputs tell all of it.
pub(super) fn is_known_before(source: &ImageSource) -> bool {
    !matches!(source, ImageSource::Master { .. })
}

/// Fills the root. `work` is a directory for what is needed meanwhile.
pub(super) fn fill(job: &Job<'_>, root: &Root, work: &Path) -> anyhow::Result<()> {
    let image = job.image;
    match &image.source {
        ImageSource::Debootstrap(_) => bail!("a root of packages has no source to be copied from"),
        ImageSource::Directory { path, exclude } => {
            let from = path.as_path();
            let metadata = fs::metadata(from).with_context(|| format!("cannot read {path}"))?;
            if !metadata.is_dir() {
                bail!("{path} is no directory; for an archive write kind = \"tar\" or \"oci\"");
            }
            tree::copy(from, root.path(), Path::new("/"), &Filter::new(exclude)?).map(drop)
        }
        ImageSource::Tar { path } => archive::unpack(root, path.as_path()),
        ImageSource::Oci { path, reference } => {
            oci::unpack(root, path.as_path(), reference.as_deref(), work)
        }
        ImageSource::Master { include, exclude } => master::copy(job, root, include, exclude),
    }?;
    inside::make_mount_points(root)
}

/// Where a path of the master leads, all links followed. What is not there yet is where it will be made.
fn real_place(path: &Path) -> PathBuf {
    let mut above = path;
    let mut missing: Vec<Component<'_>> = Vec::new();
    let mut place = loop {
        if let Ok(place) = fs::canonicalize(above) {
            break place;
        }
        // A path that ends with `..` has no parent of that meaning.
        let mut parts = above.components();
        let Some(last) = parts.next_back() else {
            break PathBuf::from("/");
        };
        missing.push(last);
        above = parts.as_path();
    };
    for part in missing.iter().rev() {
        match part {
            Component::ParentDir => drop(place.pop()),
            part => place.push::<&OsStr>(part.as_ref()),
        }
    }
    place
}
