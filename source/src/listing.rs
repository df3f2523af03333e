//! The entries of a directory, packed.
//!
//! A [`Listing`] keeps all names in one buffer, each with its NUL, and 24 bytes an entry beside it;
//! it is reused from directory to directory, so that listing allocates nothing once it has grown.
//! [`SliceFill`] is how a source fills one: it leaves out the names that are not in the slice asked
//! for and keeps the memory within its bound.
//!
//! Invariant: after [`SliceFill::finish`] the listing holds exactly those entries offered whose hash
//! lies in the slice that it returned.

use std::ffi::CStr;

use crate::name_hash::{NameSlice, name_hash};

/// The smallest bound on a listing that is honoured, in bytes: room for a dozen of the longest
/// names, so that each pass over a directory gets on.
pub const MIN_LISTING_BYTES: usize = 4 << 10;

/// What a directory entry is, without following a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A FIFO, a device or a socket.
    Special,
}

/// One entry of a [`Listing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name, without the directory.
    pub name: &'a CStr,
    /// What it is.
    pub kind: EntryKind,
    /// Its inode number, as the directory tells it.
    pub inode: u64,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    inode: u64,
    /// Where the name begins in `Listing::names`.
    start: u32,
    /// Only meaningful when `SliceFill::hashed`, or after `fill_hashes`.
    hash: u32,
    kind: EntryKind,
}

/// The entries of a directory, or of a slice of one.
#[derive(Debug, Default)]
pub struct Listing {
    names: Vec<u8>,
    records: Vec<Record>,
}

impl Listing {
    /// An empty listing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the entries and keeps the memory.
    pub fn clear(&mut self) {
        self.names.clear();
        self.records.clear();
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.records.iter().map(|record| self.entry(record))
    }

    /// Entry number `i`.
    ///
    /// # Panics
    ///
    /// When `i` is not less than [`len`](Self::len).
    #[must_use]
    pub fn get(&self, i: usize) -> Entry<'_> {
        self.entry(&self.records[i])
    }

    fn entry(&self, record: &Record) -> Entry<'_> {
        Entry {
            name: name_at(&self.names, record.start),
            kind: record.kind,
            inode: record.inode,
        }
    }

    /// Orders the entries by the hash of their names, and by name where it is the same.
    pub fn sort_by_hash(&mut self) {
        self.fill_hashes();
        let names = &self.names;
        self.records.sort_unstable_by(|a, b| {
            let by_name = || name_at(names, a.start).cmp(name_at(names, b.start));
            a.hash.cmp(&b.hash).then_with(by_name)
        });
    }

    fn fill_hashes(&mut self) {
        for record in &mut self.records {
            record.hash = name_hash(name_at(&self.names, record.start).to_bytes());
        }
    }

    /// The bytes in use.
    fn bytes(&self) -> usize {
        self.names.len() + self.records.len() * size_of::<Record>()
    }

    /// Keeps the entries whose hash is in `slice`, in their order.
    fn keep(&mut self, slice: NameSlice) {
        let names = &mut self.names;
        let mut end = 0;
        self.records.retain_mut(|record| {
            if !slice.contains(record.hash) {
                return false;
            }
            let start = record.start as usize;
            let len = name_at(names, record.start).to_bytes_with_nul().len();
            names.copy_within(start..start + len, end);
            record.start = offset(end);
            end += len;
            true
        });
        names.truncate(end);
    }
}

fn name_at(names: &[u8], start: u32) -> &CStr {
    CStr::from_bytes_until_nul(&names[start as usize..])
        .expect("each name was pushed with its NUL, and start is where one begins")
}

fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).expect(
        "SliceFill halves the slice at 2 GiB; no directory has as much in names of one hash",
    )
}

/// Fills a [`Listing`] with the entries of one directory.
#[derive(Debug)]
pub struct SliceFill<'a> {
    out: &'a mut Listing,
    kept: NameSlice,
    max_bytes: usize,
    /// Whether the records' hashes are filled in. An ordinary directory does without.
    hashed: bool,
    asked: NameSlice,
}

impl<'a> SliceFill<'a> {
    /// Begins with an empty listing. `max_bytes` bounds the memory in use, and is at least
    /// [`MIN_LISTING_BYTES`].
    pub fn new(out: &'a mut Listing, slice: NameSlice, max_bytes: usize) -> Self {
        /// Offsets into the names are 32 bits, and one name more may be added to a full buffer.
        const MOST: usize = 1 << 31;
        out.clear();
        Self {
            out,
            kept: slice,
            max_bytes: max_bytes.clamp(MIN_LISTING_BYTES, MOST),
            hashed: slice != NameSlice::WHOLE,
            asked: slice,
        }
    }

    /// Takes an entry of the directory, or leaves it out when its name is not in the slice.
    ///
    /// `kind` is only called for an entry that is taken.
    pub fn offer(&mut self, name: &CStr, inode: u64, kind: impl FnOnce() -> EntryKind) {
        let mut hash = 0;
        if self.hashed {
            hash = name_hash(name.to_bytes());
            if !self.kept.contains(hash) {
                return;
            }
        }
        self.out.records.push(Record {
            inode,
            start: offset(self.out.names.len()),
            hash,
            kind: kind(),
        });
        self.out.names.extend_from_slice(name.to_bytes_with_nul());
        if self.out.bytes() > self.max_bytes {
            self.shrink();
        }
    }

    /// Halves the slice until what is kept takes at most half the memory: halving until it just
    /// fits would have to be repeated for every few entries of a directory near the bound.
    fn shrink(&mut self) {
        if !self.hashed {
            self.hashed = true;
            self.out.fill_hashes();
        }
        while self.out.bytes() > self.max_bytes / 2 {
            let Some(half) = self.kept.lower_half() else {
                return; // names of one hash cannot be told apart
            };
            self.kept = half;
            self.out.keep(half);
        }
    }

    /// Orders the entries and returns the slice that they cover.
    ///
    /// By hash when the slice is not the one that was asked for, since it will be cut further. Else by
    /// inode number: file systems on disks place inodes and, mostly, the files' bytes in this order,
    /// while for example ext4 lists in the order of its own name hash, so reading as listed would seek
    /// for every file of a cold directory.
    pub fn finish(self) -> NameSlice {
        if self.kept == self.asked {
            self.out.records.sort_unstable_by_key(|record| record.inode);
        } else {
            self.out.sort_by_hash();
        }
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ffi::CString;

    use proptest::prelude::*;

    use super::*;

    fn names(listing: &Listing) -> Vec<Vec<u8>> {
        listing.iter().map(|e| e.name.to_bytes().to_vec()).collect()
    }

    fn fill(
        offered: &BTreeSet<Vec<u8>>,
        slice: NameSlice,
        max_bytes: usize,
        out: &mut Listing,
    ) -> NameSlice {
        let mut fill = SliceFill::new(out, slice, max_bytes);
        for (i, name) in offered.iter().enumerate() {
            let name = CString::new(name.clone()).expect("the strategy makes no NUL");
            fill.offer(&name, i as u64, || EntryKind::File);
        }
        fill.finish()
    }

    #[test]
    fn an_ordinary_directory_is_ordered_by_inode() {
        let mut listing = Listing::new();
        let mut fill = SliceFill::new(&mut listing, NameSlice::WHOLE, 1 << 20);
        for (name, inode) in [(c"b", 3), (c"a", 1), (c"c", 2)] {
            fill.offer(name, inode, || EntryKind::File);
        }
        assert_eq!(fill.finish(), NameSlice::WHOLE);
        assert_eq!(names(&listing), [b"a", b"c", b"b"]);
        assert_eq!(listing.get(1).name, c"c");
        assert_eq!(listing.get(1).inode, 2);
        listing.sort_by_hash();
        let hashes: Vec<u32> = names(&listing).iter().map(|n| name_hash(n)).collect();
        assert!(hashes.is_sorted());
        listing.clear();
        assert!(listing.is_empty());
    }

    #[test]
    fn a_full_buffer_keeps_the_lower_part() {
        let offered: BTreeSet<Vec<u8>> = (0..10_000).map(|i| format!("n{i}").into()).collect();
        let mut listing = Listing::new();
        let covered = fill(&offered, NameSlice::WHOLE, 64 << 10, &mut listing);
        assert_eq!(covered.start, 0);
        assert!(covered.end < u32::MAX / 4);
        assert!(listing.bytes() <= 64 << 10 && listing.len() > 500);
        let hashes: Vec<u32> = names(&listing).iter().map(|n| name_hash(n)).collect();
        assert!(hashes.is_sorted());
    }

    proptest! {
        /// Passes over the slices that are left, as workers do, see every name exactly once.
        #[test]
        fn slices_are_disjoint_and_cover_all(
            offered in prop::collection::btree_set(prop::collection::vec(1_u8..=255, 1..200), 0..300),
            max_bytes in 0_usize..20_000,
        ) {
            let mut seen = Vec::new();
            let mut listing = Listing::new();
            let mut start = 0;
            loop {
                let asked = NameSlice { start, end: u32::MAX };
                let covered = fill(&offered, asked, max_bytes, &mut listing);
                prop_assert_eq!(covered.start, start);
                prop_assert!(listing.bytes() <= max_bytes.max(MIN_LISTING_BYTES));
                for name in names(&listing) {
                    prop_assert!(covered.contains(name_hash(&name)));
                    seen.push(name);
                }
                match covered.end.checked_add(1) {
                    Some(next) => start = next,
                    None => break,
                }
            }
            seen.sort();
            prop_assert_eq!(seen, offered.into_iter().collect::<Vec<_>>());
        }
    }
}
