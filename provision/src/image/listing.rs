//! What a root consists of: one line an entry, sorted by path.
//!
//! ```text
//! d 0755 0 0 0 - usr
//! f 0644 0 0 1234 6ca13d52ca70c883e0f0bb101e425a89e8624de51db2d2392593af6a84118090 usr/lib/os-release
//! l 0777 0 0 7 - bin usr/bin
//! ```
//!
//! Kind, mode, owner, group, size, digest, path, and where a link leads; or, of a file or directory that has extended attributes
//! such as capabilities, `+` and the digest of those. In paths, whatever is not a printable ASCII character, and `%`, is
//! written as `%XX`. Listings of equal roots are equal bytes, whatever the times of the files are.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rayon::prelude::*;
use walkdir::WalkDir;

use super::tree;
use crate::store::Digest;

/// The most entries of a root.
pub(super) const MAX_ENTRIES: usize = 10_000_000;

/// The largest listing.
pub(super) const MAX_LISTING_BYTES: u64 = 2 << 30;

/// What a root consists of. Sorted by path; each path is there once; the root itself is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) entries: Vec<Entry>,
}

/// One entry of a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Relative to the root, escaped.
    pub(super) path: String,
    pub(super) kind: Kind,
    /// Permission bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Bytes of a file; of a file with several names only where the first of them is.
    pub(super) size: u64,
    /// The digest of its extended attributes, if it has any.
    pub(super) extended: Option<Digest>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File(Digest),
    /// Where it leads, escaped.
    Link(String),
    /// A device, a FIFO or a socket; its letter.
    Other(char),
}

impl Kind {
    pub(super) fn letter(&self) -> char {
        match self {
            Self::Directory => 'd',
            Self::File(_) => 'f',
            Self::Link(_) => 'l',
            Self::Other(letter) => *letter,
        }
    }
}

impl Listing {
    /// Looks at everything below a directory. `prefix` is put in front of the paths.
    pub(super) fn of(directory: &Path, prefix: &str) -> anyhow::Result<Self> {
        let mut found: Vec<(PathBuf, Metadata)> = Vec::new();
        for entry in WalkDir::new(directory).min_depth(1) {
            let entry = entry.with_context(|| format!("cannot list {}", directory.display()))?;
            let metadata = entry
                .metadata()
                .with_context(|| format!("cannot look at {}", entry.path().display()))?;
            found.push((entry.into_path(), metadata));
            if found.len() > MAX_ENTRIES {
                bail!(
                    "{} has more than {MAX_ENTRIES} entries",
                    directory.display()
                );
            }
        }
        let mut entries = found
            .par_iter()
            .map(|(path, metadata)| {
                let below = path.strip_prefix(directory).unwrap_or(path);
                entry(path, &Path::new(prefix).join(below), metadata)
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut names: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for ((_, metadata), entry) in found.iter().zip(&entries) {
            if metadata.is_file() && metadata.nlink() > 1 {
                names.insert(entry.path.clone(), (metadata.dev(), metadata.ino()));
            }
        }
        let mut counted = BTreeSet::new();
        let again: BTreeSet<String> = names
            .into_iter()
            .filter(|(_, file)| !counted.insert(*file))
            .map(|(path, _)| path)
            .collect();
        for entry in &mut entries {
            if again.contains(&entry.path) {
                entry.size = 0;
            }
        }
        let mut listing = Self { entries };
        listing.sort();
        Ok(listing)
    }

    /// Adds the entries of another one; where both have a path, the other's stays.
    pub(super) fn lay_over(&mut self, other: Self) {
        let over: BTreeSet<&str> = other.entries.iter().map(|e| e.path.as_str()).collect();
        self.entries.retain(|entry| !over.contains(&*entry.path));
        self.entries.extend(other.entries);
        self.sort();
    }

    fn sort(&mut self) {
        self.entries.sort_by(|a, b| a.path.cmp(&b.path));
    }

    /// The first path at which another listing has something else, or only one of them has anything.
    pub(super) fn first_difference<'a>(&'a self, other: &'a Self) -> Option<&'a str> {
        let (mut ours, mut theirs) = (self.entries.iter(), other.entries.iter());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return None,
                (Some(one), Some(two)) if one == two => {}
                (one, two) => {
                    let paths = [one, two].into_iter().flatten();
                    return paths.map(|entry| entry.path.as_str()).min();
                }
            }
        }
    }

    /// The first path at which an unpacked root is not what is listed; none if all of it is. Reads all of it.
    pub(super) fn damage(&self, root: &Path) -> anyhow::Result<Option<PathBuf>> {
        let found = Self::of(root, "")?;
        Ok(self.first_difference(&found).map(|path| root.join(path)))
    }

    /// How many bytes the files have.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }

    /// The sizes of files by their paths.
    pub(super) fn sizes(&self) -> BTreeMap<&str, u64> {
        self.entries
            .iter()
            .map(|entry| (&*entry.path, entry.size))
            .collect()
    }

    /// Reads what [`fmt::Display`] wrote.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let entries = text
            .lines()
            .enumerate()
            .map(|(index, line)| {
                parse_line(line)
                    .with_context(|| format!("line {} of the listing: {line:?}", index + 1))
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { entries })
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            writeln!(f, "{entry}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            kind,
            mode,
            uid,
            gid,
            size,
            extended,
        } = self;
        write!(f, "{} {mode:04o} {uid} {gid} {size} ", kind.letter())?;
        match kind {
            Kind::File(digest) => write!(f, "{digest} {path}"),
            Kind::Link(target) => write!(f, "- {path} {target}"),
            Kind::Directory | Kind::Other(_) => write!(f, "- {path}"),
        }?;
        extended.map_or(Ok(()), |digest| write!(f, " +{digest}"))
    }
}

fn parse_line(line: &str) -> anyhow::Result<Entry> {
    let words: Vec<&str> = line.split(' ').collect();
    let (&[kind, mode, uid, gid, size, digest, path], rest) =
        words.split_first_chunk().context("too few words")?;
    let (rest, extended) = match (kind, rest) {
        ("f" | "d", [word]) => {
            let digest = word.strip_prefix('+').context("too many words")?;
            (&[][..], Some(digest.parse()?))
        }
        _ => (rest, None),
    };
    let kind = match (kind, rest) {
        ("d", []) => Kind::Directory,
        ("f", []) => Kind::File(digest.parse()?),
        ("l", [target]) => Kind::Link((*target).to_owned()),
        ("b" | "c" | "p" | "s", []) => Kind::Other(kind.chars().next().unwrap_or('?')),
        _ => bail!("unknown kind, or too many words"),
    };
    Ok(Entry {
        path: path.to_owned(),
        kind,
        mode: u32::from_str_radix(mode, 8)?,
        uid: uid.parse()?,
        gid: gid.parse()?,
        size: size.parse()?,
        extended,
    })
}

fn entry(path: &Path, name: &Path, metadata: &Metadata) -> anyhow::Result<Entry> {
    let kind = metadata.file_type();
    let failed = || format!("cannot read {}", path.display());
    let (kind, size) = if kind.is_dir() {
        (Kind::Directory, 0)
    } else if kind.is_symlink() {
        let target = fs::read_link(path).with_context(failed)?;
        (Kind::Link(escaped(target.as_os_str())), 0)
    } else if kind.is_file() {
        let (digest, size) = File::open(path)
            .and_then(Digest::of_reader)
            .with_context(failed)?;
        (Kind::File(digest), size)
    } else if kind.is_block_device() {
        (Kind::Other('b'), 0)
    } else if kind.is_char_device() {
        (Kind::Other('c'), 0)
    } else if kind.is_fifo() {
        (Kind::Other('p'), 0)
    } else {
        (Kind::Other('s'), 0)
    };
    Ok(Entry {
        path: escaped(name.as_os_str()),
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        size,
        extended: extended(path, metadata).with_context(failed)?,
    })
}

fn extended(path: &Path, metadata: &Metadata) -> anyhow::Result<Option<Digest>> {
    if !metadata.is_file() && !metadata.is_dir() {
        return Ok(None);
    }
    let attributes = tree::extended(path)?;
    if attributes.is_empty() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    for (name, value) in attributes {
        bytes.extend(name.as_bytes_with_nul());
        bytes.extend(value.len().to_le_bytes());
        bytes.extend(value);
    }
    Ok(Some(Digest::of(&bytes)))
}

/// A path as one word of printable characters.
pub(super) fn escaped(path: &OsStr) -> String {
    let mut text = String::with_capacity(path.len());
    for &byte in path.as_bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            use fmt::Write as _;
            write!(text, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_root_is_listed_and_read_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        fs::create_dir_all(root.join("usr/bin")).expect("a directory");
        fs::write(root.join("usr/bin/a b"), "abc").expect("a file");
        fs::hard_link(root.join("usr/bin/a b"), root.join("usr/bin/a")).expect("a link");
        symlink("usr/bin", root.join("bin")).expect("a link");
        let listing = Listing::of(root, "").expect("it can be listed");
        let text = listing.to_string();
        let lines: Vec<&str> = text.lines().collect();
        let me = fs::metadata(root).expect("it is there");
        let owner = format!("{} {}", me.uid(), me.gid());
        let digest = Digest::of(b"abc");
        assert_eq!(lines[0], format!("l 0777 {owner} 0 - bin usr/bin"));
        assert!(lines[1].ends_with("- usr"), "{}", lines[1]);
        assert!(
            lines[3].ends_with(&format!(" 3 {digest} usr/bin/a")),
            "{}",
            lines[3]
        );
        // The second name of a file costs nothing.
        assert!(
            lines[4].ends_with(&format!(" 0 {digest} usr/bin/a%20b")),
            "{}",
            lines[4]
        );
        assert_eq!(listing.bytes(), 3);
        assert_eq!(Listing::parse(&text).expect("it is ours"), listing);
    }

    #[test]
    fn one_is_laid_over_another() {
        let line =
            |path: &str, size: u64| format!("f 0644 0 0 {size} {} {path}\n", Digest::of(b""));
        let mut under = Listing::parse(&(line("a", 1) + &line("c", 1))).expect("a listing");
        let over = Listing::parse(&(line("b", 2) + &line("c", 2))).expect("a listing");
        under.lay_over(over);
        assert_eq!(
            under.to_string(),
            line("a", 1) + &line("b", 2) + &line("c", 2)
        );
    }

    #[test]
    fn the_first_difference_is_found() {
        let line =
            |path: &str, size: u64| format!("f 0644 0 0 {size} {} {path}\n", Digest::of(b""));
        let of = |lines: &[String]| Listing::parse(&lines.concat()).expect("a listing");
        let listing = of(&[line("a", 1), line("c", 1)]);
        for (other, expected) in [
            (of(&[line("a", 1), line("c", 1)]), None),
            (of(&[line("a", 1), line("c", 2)]), Some("c")),
            (of(&[line("a", 1), line("b", 1), line("c", 1)]), Some("b")),
            (of(&[line("c", 1)]), Some("a")),
            (of(&[line("a", 1)]), Some("c")),
            (of(&[]), Some("a")),
        ] {
            assert_eq!(listing.first_difference(&other), expected);
            assert_eq!(other.first_difference(&listing), expected);
        }
    }

    #[test]
    fn extended_attributes_are_seen() {
        let digest = Digest::of(b"attributes");
        let text = format!(
            "d 0755 0 0 0 - a +{digest}\nf 0644 0 0 0 {} b +{digest}\n",
            Digest::of(b"")
        );
        let listing = Listing::parse(&text).expect("it is ours");
        assert_eq!(listing.entries[1].extended, Some(digest));
        assert_eq!(listing.to_string(), text);
    }

    #[test]
    fn damaged_listings_are_refused() {
        for text in [
            "x",
            "f 0644 0 0 1 - a",
            "d 0755 0 0 0 - a b",
            "d 0755 0 0 0 - a +b",
            "d 99 0 0 0 - a",
        ] {
            assert!(Listing::parse(text).is_err(), "{text}");
        }
    }
}
