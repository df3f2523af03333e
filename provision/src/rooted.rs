//! Where a path leads whose root is another directory than this machine's.
//!
//! What an image is made of may come from strangers. A link in it that is absolute, or climbs
//! with `..`, means a place in the image, as it does on the node, and never one of the master.
//! Nobody else changes the root meanwhile, so looking a path up first and using it then is safe.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// How many links are followed on one path, as the kernel does.
const MAX_LINKS: usize = 40;

/// Where a path below `root` really is, all links followed. What is missing is taken as it is written.
///
/// # Errors
///
/// Too many links.
pub(crate) fn resolve(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut links = 0;
    let mut rest: Vec<_> = parts(path);
    let mut here = PathBuf::new();
    while let Some(part) = rest.pop() {
        if part == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&part);
        match fs::read_link(root.join(&next)) {
            Ok(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(io::Error::other("too many links"));
                }
                if target.is_absolute() {
                    here = PathBuf::new();
                }
                rest.extend(parts(&target));
            }
            // Not a link, or nothing at all.
            Err(_) => here = next,
        }
    }
    Ok(root.join(here))
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        _ => None,
    };
    let mut parts: Vec<_> = path.components().filter_map(part).collect();
    parts.reverse();
    parts
}
