//! Listings, with `walkdir` as the oracle.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use regexctl_source::{Dir, EntryKind, Listing, NameSlice, Source, name_hash};

use crate::helpers::{PLENTY, beneath, everything, open_dir, temp};

/// Lists a directory in as many passes as `max_bytes` makes it take.
pub(crate) fn list_all(dir: &dyn Dir, max_bytes: usize) -> BTreeMap<Vec<u8>, (EntryKind, u64)> {
    let mut all = BTreeMap::new();
    let mut listing = Listing::new();
    let mut slice = NameSlice::WHOLE;
    loop {
        let covered = dir.list(slice, max_bytes, &mut listing).expect("it lists");
        assert_eq!(covered.start, slice.start);
        for entry in listing.iter() {
            let name = entry.name.to_bytes();
            assert!(covered.contains(name_hash(name)), "outside the slice");
            let again = all.insert(name.to_vec(), (entry.kind, entry.inode));
            assert!(again.is_none(), "{} was listed twice", name.escape_ascii());
        }
        match covered.end.checked_add(1) {
            Some(start) => slice.start = start,
            None => return all,
        }
    }
}

fn kind_of(file_type: fs::FileType) -> EntryKind {
    if file_type.is_file() {
        EntryKind::File
    } else if file_type.is_dir() {
        EntryKind::Dir
    } else if file_type.is_symlink() {
        EntryKind::Symlink
    } else {
        assert!(
            file_type.is_fifo()
                || file_type.is_socket()
                || file_type.is_char_device()
                || file_type.is_block_device()
        );
        EntryKind::Special
    }
}

/// Compares a whole tree with what walkdir finds.
fn assert_same_as_walkdir(source: &dyn Source, root: &Path, max_bytes: usize) {
    let mut expected: BTreeMap<PathBuf, BTreeMap<Vec<u8>, (EntryKind, u64)>> = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.expect("walkdir can read the tree");
        if entry.file_type().is_dir() {
            expected.entry(entry.path().to_path_buf()).or_default();
        }
        if entry.depth() > 0 {
            let parent = entry.path().parent().expect("below the root").to_path_buf();
            let inode = entry.path().symlink_metadata().expect("it exists").ino();
            expected.entry(parent).or_default().insert(
                entry.file_name().as_bytes().to_vec(),
                (kind_of(entry.file_type()), inode),
            );
        }
    }
    for (path, entries) in expected {
        let dir = open_dir(source, &path);
        assert_eq!(list_all(&*dir, max_bytes), entries, "{}", path.display());
        // A second time from the same descriptor.
        assert_eq!(list_all(&*dir, PLENTY), entries, "{}", path.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_trees_list_as_walkdir_does(
        paths in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(prop::sample::select(
                [b'a', b'b', b'.', b' ', b'\n', 0xff, 0xc3].as_slice()), 1..4), 1..5),
            1..40),
        small in 0_usize..8192,
    ) {
        let (_guard, root) = temp();
        for (i, names) in paths.iter().enumerate() {
            if names.iter().any(|n| matches!(n.as_slice(), b"." | b"..")) {
                continue;
            }
            let path: PathBuf = names.iter().map(|n| OsStr::from_bytes(n)).collect();
            let path = root.join(path);
            // Where a name is taken already, by a file say, the tree simply has one entry less.
            if fs::create_dir_all(path.parent().expect("below the root")).is_ok() {
                let _ = match i % 4 {
                    0 => fs::create_dir(&path),
                    1 => symlink("target", &path),
                    _ => fs::File::create_new(&path).map(drop),
                };
            }
        }
        assert_same_as_walkdir(&everything(), &root, small);
        assert_same_as_walkdir(&beneath(&root), &root, PLENTY);
    }
}

#[test]
fn a_hundred_thousand_names_in_one_directory() {
    let (_guard, root) = temp();
    for i in 0..100_000 {
        fs::File::create(root.join(format!("file-{i:06}.log"))).expect("writable");
    }
    let dir = open_dir(&everything(), &root);
    let mut listing = Listing::new();
    let covered = dir
        .list(NameSlice::WHOLE, PLENTY, &mut listing)
        .expect("it lists");
    assert_eq!((covered, listing.len()), (NameSlice::WHOLE, 100_000));
    let inodes: Vec<u64> = listing.iter().map(|entry| entry.inode).collect();
    assert!(inodes.is_sorted(), "in the order of inodes");
    assert_eq!(list_all(&*dir, 1 << 20).len(), 100_000);

    // A slice in the middle is exactly the names that hash into it.
    let slice = NameSlice {
        start: 1 << 30,
        end: 3 << 29,
    };
    let expected = listing
        .iter()
        .filter(|e| slice.contains(name_hash(e.name.to_bytes())))
        .count();
    let mut part = Listing::new();
    assert_eq!(dir.list(slice, PLENTY, &mut part), Ok(slice));
    assert_eq!(part.len(), expected);
    assert!(
        (expected * 8).abs_diff(100_000) < 5_000,
        "an eighth of the hashes"
    );
}
