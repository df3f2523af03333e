//! Replacing a file as a whole.
//!
//! Invariant: at every moment, also after a loss of power, the path leads to the old contents
//! or to the new ones, whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

/// The mode of a file that was not there.
const NEW_MODE: u32 = 0o644;

/// Why a file was not replaced. It holds what it held before.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// Somebody else has written it since it was read.
    #[error("{} was changed by somebody else in the meantime; run the command again", .0.display())]
    Changed(PathBuf),
    /// It is there already.
    #[error("{} is there already; --force overwrites it", .0.display())]
    Exists(PathBuf),
    /// The system refused.
    #[error("cannot write {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What is known of the old contents.
#[derive(Debug, Clone, Copy)]
pub enum Old<'a> {
    /// They are these, else nothing is done.
    Is(&'a [u8]),
    /// There are none, else nothing is done.
    Missing,
    /// They do not matter.
    Any,
}

/// Replaces the contents of a file. Owner and mode stay those of the old file; a symbolic link
/// stays one, and the file that it leads to is replaced.
pub fn replace(path: &Path, old: Old<'_>, new: &[u8]) -> Result<(), ReplaceError> {
    let io = |source| ReplaceError::Io {
        path: path.to_owned(),
        source,
    };
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(io(error)),
    };
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = directory.join(temporary_name(&target));
    let _cleaner = Cleaner(&temporary);
    let mut file = create(&temporary).map_err(io)?;
    keep_attributes(&target, &file).map_err(io)?;
    file.write_all(new).map_err(io)?;
    file.sync_all().map_err(io)?;
    match old {
        Old::Any => {}
        Old::Is(old) if fs::read(&target).map_err(io)? == old => {}
        Old::Is(_) => return Err(ReplaceError::Changed(path.to_owned())),
        Old::Missing => {
            // A link is made only where nothing is, whoever else tries at the same moment.
            match fs::hard_link(&temporary, &target) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(ReplaceError::Exists(path.to_owned()));
                }
                Err(error) => return Err(io(error)),
            }
            return sync(directory).map_err(io);
        }
    }
    fs::rename(&temporary, &target).map_err(io)?;
    sync(directory).map_err(io)
}

fn temporary_name(target: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    name
}

fn create(path: &Path) -> io::Result<File> {
    // One that is there was left by a process that was killed and had our number.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// Gives a new file owner and mode of the old one.
fn keep_attributes(old: &Path, new: &File) -> io::Result<()> {
    let mode = match fs::metadata(old) {
        Ok(metadata) => {
            let own = new.metadata()?;
            if (own.uid(), own.gid()) != (metadata.uid(), metadata.gid()) {
                fchown(new, Some(metadata.uid()), Some(metadata.gid()))?;
            }
            metadata.mode() & 0o7777
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => NEW_MODE,
        Err(error) => return Err(error),
    };
    new.set_permissions(fs::Permissions::from_mode(mode))
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Removes what is left of the temporary file.
struct Cleaner<'a>(&'a Path);

impl Drop for Cleaner<'_> {
    fn drop(&mut self) {
        // After the rename there is none, which is the usual case.
        let _ = fs::remove_file(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory");
        let name = |entry: io::Result<fs::DirEntry>| {
            let name = entry.expect("an entry").file_name();
            name.into_string().expect("names are ours")
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn mode_and_link_stay_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (file, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&file, "old").expect("the directory is ours");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("ours");
        std::os::unix::fs::symlink("real", &link).expect("ours");
        replace(&link, Old::Is(b"old"), b"new").expect("nothing is in the way");
        assert_eq!(fs::read(&file).expect("it is there"), b"new");
        assert_eq!(fs::metadata(&file).expect("there").mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(entries(dir.path()), ["link", "real"]);
    }

    #[test]
    fn what_somebody_else_wrote_stays() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("f");
        fs::write(&file, "theirs").expect("the directory is ours");
        for old in [Old::Is(b"mine"), Old::Missing] {
            let error = replace(&file, old, b"new").expect_err("it is not as it was");
            assert!(matches!(
                error,
                ReplaceError::Changed(_) | ReplaceError::Exists(_)
            ));
            assert_eq!(fs::read(&file).expect("it is there"), b"theirs");
        }
        replace(&file, Old::Any, b"new").expect("it does not matter");
        assert_eq!(fs::read(&file).expect("it is there"), b"new");
        assert_eq!(entries(dir.path()), ["f"]);
    }

    #[test]
    fn a_new_file_can_be_read_by_all() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("f");
        replace(&file, Old::Missing, b"new").expect("there is none");
        assert_eq!(fs::metadata(&file).expect("there").mode() & 0o777, 0o644);
        assert_eq!(entries(dir.path()), ["f"]);
        let error = replace(&dir.path().join("none/f"), Old::Any, b"").expect_err("no directory");
        assert!(error.to_string().contains("none/f"), "{error}");
    }
}
