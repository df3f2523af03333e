//! Images: what nodes boot. Building them, looking at them, removing them.
//!
//! - [`build`](fn@build): from a declaration to a published image, whatever its source;
//! - [`shell`](fn@shell): a command in an image, and perhaps a new image of what it has changed;
//! - [`lint`](fn@lint): what is wrong with one;
//! - [`contents`], [`difference`]: what takes how much, and what has changed;
//! - [`prune`](fn@prune): what nobody needs any more.
//!
//! An image is a root file system, the kernel that it brings, and a small initramfs. Its root is made in a directory below the
//! store's `tmp/`, never in place, and nothing that exists is changed until it is complete.
//!
//! Invariants:
//! - what runs in an image runs in namespaces that die with this process ([`inside`]);
//! - a path of an image means a place in the image, never one of the master (`root`);
//! - equal inputs give equal bytes, where `SOURCE_DATE_EPOCH` says what time it is.

mod base;
mod build;
mod clean;
mod customize;
mod diff;
mod equip;
pub mod fail;
mod finish;
mod inputs;
pub mod inside;
mod kernel;
mod lint;
mod listing;
mod modules;
mod pack;
mod packages;
mod policy;
mod prune;
mod root;
mod run;
mod shell;
mod show;
mod source;
mod stage;
mod tree;
mod unpack;
mod users;
mod worker;

use anyhow::Context;

pub use build::{EPOCH_VARIABLE, Job, Outcome, Wants, build, epoch_from_environment};
pub use diff::{Change, Difference, difference};
pub use lint::{Finding, Severity};
pub use prune::{Pruned, prune};
pub use shell::{Shell, shell};
pub use show::{Contents, contents};

use crate::store::{Digest, Manifest, Store};

/// Finds an image by its name, its digest, or the beginning of its digest (8 digits at least).
pub fn find(store: &Store, text: &str) -> anyhow::Result<(Digest, Manifest)> {
    if let Ok(name) = text.parse()
        && let Some(digest) = store.published(&name)?
    {
        return Ok((digest, store.manifest(digest)?));
    }
    let is_digest = (8..=Digest::TEXT_LENGTH).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest {
        let all = store.manifests()?;
        let mut found = all
            .iter()
            .filter(|digest| digest.to_string().starts_with(text));
        match (found.next(), found.next()) {
            (Some(digest), None) => return Ok((*digest, store.manifest(*digest)?)),
            (Some(_), Some(_)) => {
                anyhow::bail!("several images begin with {text}; write more digits")
            }
            (None, _) => {}
        }
    }
    let name = text
        .parse()
        .with_context(|| format!("there is no image {text}"))?;
    // Tells which there are.
    Ok(store.image(&name)?)
}

/// Looks at an image for what is wrong with it. Unpacks it for that.
pub fn lint(store: &Store, manifest: &Manifest, host_keys: bool) -> anyhow::Result<Vec<Finding>> {
    inside::needs_root("looking into an image")?;
    let temp = store.lock()?.temp("lint")?;
    let root = root::Root::new(temp.path().join("root"));
    pack::unpack(store, manifest, root.path())?;
    let expected = lint::Expected {
        kernel: Some(&manifest.kernel_version),
        worker: manifest.worker.is_some(),
        host_keys,
    };
    lint::look(&root, expected)
}
