//! Changing files so that a loss of power at any moment leaves the old ones or the new ones.
//!
//! Every change goes through a [`Disk`], which can be told to fail or to end the process before
//! any of them: that is how the tests see what is left.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{
    MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, symlink,
};
use std::path::{Path, PathBuf};

use super::interrupt::Interrupt;

/// What happens before a change: it is told what comes next, and may refuse.
type Hook = Box<dyn FnMut(&str) -> io::Result<()>>;

/// The way to change files.
#[derive(Default)]
pub struct Disk {
    hook: Option<Hook>,
    /// The same on the way back.
    hook_back: Option<Hook>,
    interrupt: Interrupt,
}

impl Disk {
    /// One that asks `hook` before each step. For tests.
    pub fn with_hook(hook: impl FnMut(&str) -> io::Result<()> + 'static) -> Self {
        Self {
            hook: Some(Box::new(hook)),
            ..Self::default()
        }
    }

    /// With one that is asked before each step of the way back. For tests.
    #[must_use]
    pub fn with_hook_back(mut self, hook: impl FnMut(&str) -> io::Result<()> + 'static) -> Self {
        self.hook_back = Some(Box::new(hook));
        self
    }

    /// The way to change files back: what has kept files from being changed does not keep them from that.
    pub(super) fn for_way_back(&mut self) -> Self {
        Self {
            hook: self.hook_back.take(),
            ..Self::default()
        }
    }

    /// It refuses the next step when the signal comes.
    #[must_use]
    pub fn heeding(mut self, interrupt: Interrupt) -> Self {
        self.interrupt = interrupt;
        self
    }

    pub(super) fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }

    /// Something is about to change.
    pub(super) fn step(&mut self, what: &str) -> io::Result<()> {
        self.interrupt.check()?;
        match &mut self.hook {
            Some(hook) => hook(what),
            None => Ok(()),
        }
    }

    /// Replaces a file, or makes it. A symbolic link in its place is replaced, not followed.
    pub(super) fn replace(&mut self, path: &Path, file: &Saved) -> io::Result<()> {
        let temporary = temporary(path);
        self.step(&format!("write {}", temporary.display()))?;
        // What is there was left by somebody who was killed.
        remove_if_there(&temporary)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut new = options.open(&temporary)?;
        if let Some((uid, gid)) = file.owner {
            fchown(&new, Some(uid), Some(gid))?;
        }
        new.write_all(&file.bytes)?;
        new.set_permissions(Permissions::from_mode(file.mode))?;
        new.sync_all()?;
        self.step(&format!("put {} into place", path.display()))?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.step(&format!("remove {}", path.display()))?;
        remove_if_there(path)?;
        sync_parent(path)
    }

    /// Replaces a symbolic link, or makes it.
    pub(super) fn link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        let temporary = temporary(path);
        self.step(&format!("make the link {}", temporary.display()))?;
        remove_if_there(&temporary)?;
        symlink(target, &temporary)?;
        self.step(&format!("put {} into place", path.display()))?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    }

    /// Makes the directories that are missing above a file. Each is named to `making` before.
    pub(super) fn make_parents(
        &mut self,
        path: &Path,
        mut making: impl FnMut(&Path),
    ) -> io::Result<()> {
        let missing = path.ancestors().skip(1).take_while(|above| !above.exists());
        let mut missing: Vec<_> = missing.map(Path::to_owned).collect();
        missing.reverse();
        for directory in &missing {
            self.step(&format!("make the directory {}", directory.display()))?;
            making(directory);
            fs::create_dir(directory)?;
            fs::set_permissions(directory, Permissions::from_mode(0o755))?;
            sync_parent(directory)?;
        }
        Ok(())
    }
}

/// A file as it was, or as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
    /// User and group; none for those of the process.
    pub(super) owner: Option<(u32, u32)>,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    File(Saved),
    /// A symbolic link, and where it leads.
    Link(PathBuf),
}

/// What is at a path, which is not followed if it is a link.
pub(super) fn look(path: &Path) -> io::Result<Found> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        // NotADirectory: a part of the path is a file, so nothing is there either.
        Err(error) if is_absent(&error) => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    if metadata.is_symlink() {
        return Ok(Found::Link(fs::read_link(path)?));
    }
    if !metadata.is_file() {
        let what = "it is no file; move it out of the way";
        return Err(io::Error::new(ErrorKind::InvalidInput, what));
    }
    Ok(Found::File(Saved {
        bytes: fs::read(path)?,
        mode: metadata.mode() & 0o7777,
        owner: Some((metadata.uid(), metadata.gid())),
    }))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Where a file lies until it is whole. Each file has one such name, so that what a killed process left
/// is found again; no daemon reads files named so.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.dpkg-new"))
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if !is_absent(&error) => Err(error),
        _ => Ok(()),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => match fs::File::open(parent) {
            Ok(directory) => directory.sync_all(),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(error),
        },
        None => Ok(()),
    }
}
