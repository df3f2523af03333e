//! Copying directories with everything that belongs to their files: owners, modes, times, links
//! of both kinds, extended attributes.

mod filter;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};
use walkdir::{DirEntry, WalkDir};

pub(super) use filter::Filter;

use super::root::Root;

/// The largest extended attribute of Linux.
const MAX_ATTRIBUTE_BYTES: usize = 64 << 10;

/// Where a copy goes.
#[derive(Clone, Copy)]
enum Onto<'a> {
    /// To a directory in which nothing is that the copy does not bring itself.
    Fresh(&'a Path),
    /// Over what is at this path of an image, whose links stay within it; all of it is this user's and this group's.
    Image(&'a Root, &'a Path, (u32, u32)),
}

impl Onto<'_> {
    /// The place of what is at this path below the top.
    fn place(self, below: &Path, is_directory: bool) -> anyhow::Result<PathBuf> {
        // Without the slash that an empty path would be joined by.
        let join = |to: &Path| {
            if below.as_os_str().is_empty() {
                to.to_owned()
            } else {
                to.join(below)
            }
        };
        let (root, at) = match self {
            Self::Fresh(to) => return Ok(join(to)),
            Self::Image(root, at, _) => (root, join(at)),
        };
        if is_directory {
            return root.resolve(at);
        }
        root.resolve_parent(at)
    }

    fn owner(self, metadata: &Metadata) -> (u32, u32) {
        match self {
            Self::Fresh(_) => (metadata.uid(), metadata.gid()),
            Self::Image(_, _, owner) => owner,
        }
    }
}

/// Copies what is below `from` to `to`, in which nothing may be that has links. `shown` is the path by which
/// the patterns know `from`. Gives how many files went meanwhile, if they may.
pub(super) fn copy(from: &Path, to: &Path, shown: &Path, filter: &Filter) -> anyhow::Result<usize> {
    copy_onto(from, Onto::Fresh(to), shown, filter)
}

/// Copies what is below `from` over what is at `at` in an image, and gives it to somebody. What was there of the same
/// name goes, but for directories.
pub(super) fn lay_over(
    from: &Path,
    root: &Root,
    at: &Path,
    owner: (u32, u32),
) -> anyhow::Result<()> {
    let everything = Filter::new::<&str>(&[])?;
    let onto = Onto::Image(root, at, owner);
    copy_onto(from, onto, Path::new("/"), &everything).map(drop)
}

fn copy_onto(from: &Path, onto: Onto<'_>, shown: &Path, filter: &Filter) -> anyhow::Result<usize> {
    // A link at the top means what it leads to. Copied as a link, it would lead whatever is copied below it back to where it is from.
    let from =
        &fs::canonicalize(from).with_context(|| format!("cannot list {}", from.display()))?;
    let mut walk = WalkDir::new(from)
        .same_file_system(filter.one_file_system)
        .into_iter();
    let mut links: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    let mut directories = Vec::new();
    let mut gone = 0;
    while let Some(entry) = walk.next() {
        let is_top = entry
            .as_ref()
            .map_or_else(walkdir::Error::depth, DirEntry::depth)
            == 0;
        let entry = entry
            .map_err(io::Error::from)
            .with_context(|| format!("cannot list {}", from.display()));
        let entry = if is_top {
            entry?
        } else {
            let Some(entry) = filter.unless_gone(entry)? else {
                gone += 1;
                continue;
            };
            entry
        };
        #[cfg(test)]
        if let Some(before) = filter.before {
            before(entry.path());
        }
        let below = entry.path().strip_prefix(from).unwrap_or(entry.path());
        let is_directory = entry.file_type().is_dir();
        if filter.leaves_out(&shown.join(below), is_directory) {
            if is_directory {
                walk.skip_current_dir();
            }
            continue;
        }
        let metadata = entry
            .metadata()
            .map_err(io::Error::from)
            .with_context(|| format!("cannot look at {}", entry.path().display()));
        let Some(metadata) = filter.unless_gone(metadata)? else {
            gone += 1;
            if is_directory {
                walk.skip_current_dir();
            }
            continue;
        };
        if filter.without.contains(&(metadata.dev(), metadata.ino())) {
            if is_directory {
                walk.skip_current_dir();
            }
            continue;
        }
        let failed = || format!("cannot copy {}", entry.path().display());
        let place = onto.place(below, is_directory).with_context(failed)?;
        let owner = onto.owner(&metadata);
        let copied =
            copy_one(entry.path(), &place, &metadata, owner, &mut links).with_context(failed);
        let Some(is_new) = filter.unless_gone(copied)? else {
            gone += 1;
            // Without what belongs to it, it is not what it was.
            match fs::remove_file(&place) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error)
                        .with_context(|| format!("cannot remove {}", place.display()));
                }
                _ => continue,
            }
        };
        // One of the image stays what it was, whatever is laid into it.
        if is_directory && (is_new || matches!(onto, Onto::Fresh(_))) {
            directories.push((entry.into_path(), place, metadata));
        }
    }
    // Their times change while they are filled.
    for (from, place, metadata) in directories.iter().rev() {
        let done = attributes(from, place, metadata, onto.owner(metadata))
            .with_context(|| format!("cannot copy {}", from.display()));
        filter.unless_gone(done)?;
    }
    Ok(gone)
}

/// Tells whether something is there now that was not.
fn copy_one(
    from: &Path,
    place: &Path,
    metadata: &Metadata,
    owner: (u32, u32),
    links: &mut BTreeMap<(u64, u64), PathBuf>,
) -> anyhow::Result<bool> {
    let kind = metadata.file_type();
    if kind.is_dir() {
        if is_directory(place)? {
            return Ok(false);
        }
        fs::create_dir(place)?;
        return Ok(true);
    }
    if kind.is_symlink() {
        make_room(place, metadata, links)?;
        symlink(fs::read_link(from)?, place)?;
        attributes(from, place, metadata, owner)?;
        return Ok(true);
    }
    if !kind.is_file() {
        // Devices, sockets and FIFOs belong to a running system.
        return Ok(false);
    }
    let file = (metadata.nlink() > 1).then_some((metadata.dev(), metadata.ino()));
    let first = file.and_then(|file| links.get(&file).cloned());
    if first.as_deref() == Some(place) {
        // By two names in an image where one of them is a link to the other.
        return Ok(false);
    }
    make_room(place, metadata, links)?;
    if let Some(first) = first {
        fs::hard_link(first, place)?;
        return Ok(true);
    }
    let mut new = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(place)?;
    io::copy(&mut File::open(from)?, &mut new)?;
    attributes(from, place, metadata, owner)?;
    if let Some(file) = file {
        links.insert(file, place.to_owned());
    }
    Ok(true)
}

/// Takes away what is at a place to which something is copied; but never the very file that is copied.
fn make_room(
    place: &Path,
    metadata: &Metadata,
    links: &mut BTreeMap<(u64, u64), PathBuf>,
) -> anyhow::Result<()> {
    let there = match fs::symlink_metadata(place) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if there.is_dir() {
        bail!("{} is a directory", place.display());
    }
    if (there.dev(), there.ino()) == (metadata.dev(), metadata.ino()) {
        bail!("{} is the same file", place.display());
    }
    fs::remove_file(place)?;
    links.retain(|_, first| first != place);
    Ok(())
}

/// Whether there is a directory; a link to one is none.
fn is_directory(place: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(place) {
        Ok(there) => Ok(there.is_dir()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn attributes(
    from: &Path,
    place: &Path,
    metadata: &Metadata,
    (user, group): (u32, u32),
) -> anyhow::Result<()> {
    lchown(place, Some(user), Some(group))?;
    if metadata.is_symlink() {
        return set_time(place, metadata.mtime(), metadata.mtime_nsec());
    }
    copy_extended(from, place)?;
    // Behind the owner, whose change takes the setuid bit away.
    fs::set_permissions(place, Permissions::from_mode(metadata.mode() & 0o7777))?;
    set_time(place, metadata.mtime(), metadata.mtime_nsec())
}

fn copy_extended(from: &Path, place: &Path) -> anyhow::Result<()> {
    for (name, value) in extended(from)? {
        rustix::fs::lsetxattr(place, &name, &value, XattrFlags::empty())?;
    }
    Ok(())
}

/// The extended attributes of a file that go with it into images, sorted by name.
pub(super) fn extended(path: &Path) -> anyhow::Result<Vec<(CString, Vec<u8>)>> {
    let mut names = vec![0; MAX_ATTRIBUTE_BYTES];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(io::Error::from(error).into()),
    };
    let mut found = Vec::new();
    for name in names[..length].split(|&byte| byte == 0) {
        // Capabilities and what users set; access control lists belong to the master's users.
        let is_wanted = name == b"security.capability" || name.starts_with(b"user.");
        if !is_wanted {
            continue;
        }
        let name = CString::new(name)?;
        let mut value = vec![0; MAX_ATTRIBUTE_BYTES];
        let length = rustix::fs::lgetxattr(path, &name, &mut value[..]).map_err(io::Error::from)?;
        value.truncate(length);
        found.push((name, value));
    }
    found.sort();
    Ok(found)
}

/// Sets the time of a file or link itself.
pub(super) fn set_time(place: &Path, seconds: i64, nanoseconds: i64) -> anyhow::Result<()> {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW)
        .with_context(|| format!("cannot set the time of {}", place.display()))
}

/// Makes a second tree of the same files. Whoever changes a file changes both, so both are only read. Where
/// `to` is there already, it is added to.
pub(super) fn link(from: &Path, to: &Path) -> anyhow::Result<()> {
    link_without(from, to, &[])
}

/// The same, with the directories `hollow` at the top empty.
pub(super) fn link_without(from: &Path, to: &Path, hollow: &[&str]) -> anyhow::Result<()> {
    let mut directories = Vec::new();
    let mut walk = WalkDir::new(from).into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.with_context(|| format!("cannot list {}", from.display()))?;
        let below = entry.path().strip_prefix(from).unwrap_or(entry.path());
        let place = if below.as_os_str().is_empty() {
            to.to_owned()
        } else {
            to.join(below)
        };
        let failed = || format!("cannot link {}", entry.path().display());
        if entry.file_type().is_dir() {
            if hollow.iter().any(|name| below == Path::new(name)) {
                walk.skip_current_dir();
            }
            // One that was there before keeps what belongs to it.
            if !is_directory(&place).with_context(failed)? {
                fs::create_dir(&place).with_context(failed)?;
                let metadata = entry.metadata().with_context(failed)?;
                directories.push((entry.into_path(), place, metadata));
            }
        } else {
            fs::hard_link(entry.path(), &place).with_context(failed)?;
        }
    }
    for (from, place, metadata) in directories.iter().rev() {
        let owner = (metadata.uid(), metadata.gid());
        attributes(from, place, metadata, owner)
            .with_context(|| format!("cannot link {}", from.display()))?;
    }
    Ok(())
}

/// Copies one regular file of the master, with a mode, and gives it to root.
pub(super) fn copy_file(from: &Path, place: &Path, mode: u32) -> anyhow::Result<()> {
    let failed = || format!("cannot copy {} to {}", from.display(), place.display());
    if !fs::metadata(from).with_context(failed)?.is_file() {
        bail!("{} is no file", from.display());
    }
    fs::copy(from, place).with_context(failed)?;
    fs::set_permissions(place, Permissions::from_mode(mode)).with_context(failed)
}

/// Makes every file and directory not younger than this.
pub(super) fn clamp_times(root: &Path, epoch: u64) -> anyhow::Result<()> {
    let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
    for entry in WalkDir::new(root).contents_first(true) {
        let entry = entry.with_context(|| format!("cannot list {}", root.display()))?;
        let metadata = entry
            .metadata()
            .with_context(|| format!("cannot look at {}", entry.path().display()))?;
        if metadata.mtime() >= epoch {
            set_time(entry.path(), epoch, 0)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    #[test]
    fn a_copy_is_the_same_but_for_what_is_left_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        write(from.join("etc/ssh/ssh_host_rsa_key"), "secret");
        write(from.join("etc/ssh/sshd_config"), "config");
        write(from.join("var/cache/apt/a.deb"), "package");
        write(from.join("home/cache/kept"), "kept");
        write(from.join("home/a/.git/config"), "left out");
        write(from.join("home/#old"), "left out");
        fs::hard_link(from.join("etc/ssh/sshd_config"), from.join("etc/second")).expect("a link");
        symlink("/etc/passwd", from.join("etc/link")).expect("a link");
        fs::set_permissions(from.join("etc/second"), Permissions::from_mode(0o4751)).expect("ours");
        set_time(&from.join("etc/second"), 1234, 0).expect("ours");
        set_time(&from.join("etc"), 5678, 0).expect("ours");
        let filter = Filter::new(&["/etc/ssh/ssh_host_*", "/var/cache/*", "a/.git/", "#old"])
            .expect("patterns");
        copy(&from, &to, Path::new("/"), &filter).expect("it can be copied");

        assert!(!to.join("etc/ssh/ssh_host_rsa_key").exists());
        assert!(to.join("var/cache").is_dir());
        assert!(!to.join("var/cache/apt").exists());
        assert!(to.join("home/cache/kept").exists());
        assert!(to.join("home/a").exists());
        assert!(!to.join("home/a/.git").exists());
        assert!(!to.join("home/#old").exists());
        assert_eq!(
            fs::read_link(to.join("etc/link")).expect("a link"),
            Path::new("/etc/passwd")
        );
        let (first, second) = (
            fs::metadata(to.join("etc/ssh/sshd_config")).expect("a file"),
            fs::metadata(to.join("etc/second")).expect("a file"),
        );
        assert_eq!(first.ino(), second.ino());
        assert_eq!((second.mode() & 0o7777, second.mtime()), (0o4751, 1234));
        assert_eq!(
            fs::metadata(to.join("etc")).expect("a directory").mtime(),
            5678
        );

        let third = directory.path().join("third");
        link(&to, &third).expect("it can be linked");
        assert_eq!(
            fs::metadata(third.join("etc/second"))
                .expect("a file")
                .ino(),
            second.ino()
        );
        clamp_times(&third, 2000).expect("ours");
        assert_eq!(
            fs::metadata(third.join("etc"))
                .expect("a directory")
                .mtime(),
            2000
        );
        assert_eq!(
            fs::metadata(third.join("etc/second"))
                .expect("a file")
                .mtime(),
            1234
        );
    }

    /// Whatever is below it must not be written through a copy of the link.
    #[test]
    fn a_link_at_the_top_is_followed_and_its_files_stay() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        write(path("far/a/file"), "text");
        symlink(path("far"), path("from")).expect("a link");
        copy(
            &path("from"),
            &path("to"),
            Path::new("/"),
            &Filter::new::<&str>(&[]).expect("none"),
        )
        .expect("it can be copied");
        assert!(!path("to").is_symlink());
        for name in ["far/a/file", "to/a/file"] {
            assert_eq!(fs::read_to_string(path(name)).expect(name), "text");
        }
    }

    #[test]
    fn what_is_laid_over_an_image_leaves_its_directories_as_they_are() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::new(directory.path().join("root"));
        let from = directory.path().join("from");
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, Permissions::from_mode(mode)).expect("ours");
        };
        // sbin leads to bin, and both names of one file go there; another file takes the place of a third.
        for name in ["bin/tool", "tmp/file", "new/file", "z/tool"] {
            write(from.join(name), name);
        }
        fs::create_dir(from.join("sbin")).expect("a directory");
        fs::hard_link(from.join("bin/tool"), from.join("sbin/tool")).expect("a link");
        rustix::fs::mkfifoat(CWD, from.join("bin/kept"), rustix::fs::Mode::RWXU).expect("a FIFO");
        mode(&from.join("tmp"), 0o700);
        mode(&from.join("new"), 0o750);
        write(root.path().join("bin/kept"), "kept");
        write(root.path().join("bin/tool"), "old");
        fs::create_dir(root.path().join("tmp")).expect("a directory");
        mode(&root.path().join("tmp"), 0o1777);
        symlink("bin", root.path().join("sbin")).expect("a link");
        let me = fs::metadata(&from).expect("it is there");
        lay_over(&from, &root, Path::new("/"), (me.uid(), me.gid())).expect("it is laid over");
        let mode_of = |name: &str| {
            let there = fs::metadata(root.path().join(name)).expect(name);
            there.mode() & 0o7777
        };
        assert_eq!((mode_of("tmp"), mode_of("new")), (0o1777, 0o750));
        for (name, text) in [
            ("bin/tool", "bin/tool"),
            ("bin/kept", "kept"),
            ("tmp/file", "tmp/file"),
        ] {
            let there = fs::read_to_string(root.path().join(name)).expect(name);
            assert_eq!(there, text);
        }
    }

    fn take_away(path: &Path) {
        if path.ends_with("from/b/gone") {
            fs::remove_dir_all(path).expect("it is there");
        } else if path.ends_with("from/c") {
            fs::remove_file(path).expect("it is there");
        }
    }

    #[test]
    fn what_goes_while_a_running_system_is_copied_is_left_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let from = directory.path().join("from");
        for path in ["a/one", "a/two", "b/gone/below", "c"] {
            write(from.join(path), "text");
        }
        let filter = |may_vanish| {
            let mut filter = Filter::new::<&str>(&[]).expect("no patterns");
            filter.before = Some(take_away);
            filter.may_vanish = may_vanish;
            filter
        };
        let to = directory.path().join("to");
        let gone = copy(&from, &to, Path::new("/"), &filter(true)).expect("the rest is copied");
        assert_eq!(gone, 2);
        assert!(to.join("a/one").exists() && to.join("b").is_dir());
        assert!(!to.join("c").exists() && !to.join("b/gone").exists());
        // Elsewhere it is an error, and so is a top that is not there.
        write(from.join("c"), "text");
        let other = directory.path().join("other");
        copy(&from, &other, Path::new("/"), &filter(false)).expect_err("c is gone");
        let missing = directory.path().join("missing");
        copy(&missing, &other, Path::new("/"), &filter(true)).expect_err("there is nothing");
    }
}
