//! Directories: listing them, deciding about their entries, and what is left of them when the budget ends.

use std::ffi::CStr;
use std::sync::Arc;
use std::time::Instant;

use regexctl_proto::domain::Weight;
use regexctl_proto::v1;
use regexctl_source::{
    Dir, Entry, EntryKind, ErrorKind, Links, Listing, NameSlice, Opened, SkipReason, SourceError,
    Verdict,
};

use super::file::{Named, error_kind};
use super::shard::Shard;
use super::thread::Thread;
use super::unit::{OpenDir, Paths, Run, Tree, Unit, absolute, depth};

/// The memory of one listing, in bytes. A directory with more (some 150,000 names) is taken in several passes.
const LISTING_BYTES: usize = 8 << 20;

/// A directory with more entries is sorted by name hash, so that it can be cut into slices.
const SLICEABLE_ENTRIES: usize = 4096;

/// The same where lines are told: their files may have results of any size, and only between the entries of a
/// sorted directory can a shard end. Fewer are read in the directory's own order, and finished.
const SLICEABLE_ENTRIES_OF_LINES: usize = 64;

/// How many times as long as its listing took a slice is scanned before the rest is given back. Without it a budget that
/// is shorter than the listing would have the directory listed anew for every few files.
const LISTINGS_WORTH: u32 = 2;

/// How many entries are done between two looks at the clock and at the other threads; fewer where results are large.
const CHECK_ENTRIES: usize = 32;

/// Fewer entries than this are not worth another thread.
const SPLIT_ENTRIES: usize = 64;

impl Thread<'_> {
    /// Opens and lists a directory, or scans the root when that is a file.
    pub(super) fn tree(&mut self, shard: &Arc<Shard>, tree: Tree) {
        let plan = &shard.plan;
        let path = absolute(plan, tree.root, &tree.path);
        let is_root = tree.path.is_empty();
        let first_slice = tree.slice.start == 0;
        let links = if is_root || plan.filter.follow() {
            Links::Follow
        } else {
            Links::Refuse
        };
        let tally = &mut self.output.tally;
        match self.shared.source.open(&path, links) {
            Ok(Opened::Dir(handle)) => {
                tally.dirs_seen += u64::from(is_root && first_slice);
                if is_beyond_depth(plan.filter.max_depth(), depth(&tree.path)) {
                    tally.dirs_skipped += u64::from(first_slice);
                    return;
                }
                self.list(shard, handle, path, tree);
            }
            Ok(Opened::File(file)) if is_root && first_slice => {
                let named = Named {
                    root: tree.root,
                    path: tree.path,
                    weight: tree.weight,
                };
                tally.seen += 1;
                self.named_file(shard, named, file);
            }
            Ok(Opened::Special(kind)) if is_root && first_slice => {
                tally.seen += 1;
                tally.failed += 1;
                let message = format!("not a regular file: {kind}");
                self.error(
                    shard,
                    tree.root,
                    tree.path,
                    v1::FileErrorKind::Other,
                    message,
                    false,
                );
            }
            Ok(Opened::Special(_)) if first_slice => tally.dirs_skipped += 1,
            Ok(Opened::File(_) | Opened::Symlink | Opened::Special(_)) => {
                let changed = SourceError::new(ErrorKind::Changed, "not a directory any more");
                self.tree_failed(shard, tree, &changed);
            }
            Err(error) if is_root && first_slice => {
                tally.seen += 1;
                tally.failed += 1;
                self.source_error(shard, tree.root, tree.path, &error, false);
            }
            Err(error) => self.tree_failed(shard, tree, &error),
        }
    }

    /// Tells that a directory, or a slice of it, could not be listed. It was counted as listed with its first slice; when
    /// a later one fails, who puts the slices together counts it as failed, once.
    fn tree_failed(&mut self, shard: &Shard, tree: Tree, error: &SourceError) {
        let is_first = tree.slice.start == 0;
        self.output.tally.dirs_failed += u64::from(is_first);
        shard.add_results(self.output.error(v1::FileError {
            root: tree.root,
            path: tree.path,
            kind: error_kind(error.kind).into(),
            message: error.to_string(),
            directory: true,
            of_part: !is_first,
        }));
    }

    /// Lists a directory and works through what it gave.
    fn list(&mut self, shard: &Arc<Shard>, handle: Box<dyn Dir>, absolute: Vec<u8>, tree: Tree) {
        let (filter, slice) = (&shard.plan.filter, tree.slice);
        let mut listing = self.listing();
        let began = Instant::now();
        let covered = match handle.list(slice, LISTING_BYTES, &mut listing) {
            Ok(covered) => covered,
            Err(error) => return self.tree_failed(shard, tree, &error),
        };
        self.output.tally.dirs_listed += u64::from(slice.start == 0);
        shard.tick(0, 0);
        let parent = tree.scope.unwrap_or_else(|| {
            let root = &shard.plan.roots[tree.root as usize];
            filter.scope_below(&*self.shared.source, root, &tree.path)
        });
        let scope = if covered == NameSlice::WHOLE {
            filter.enter_listed(&parent, &*handle, &absolute, &listing)
        } else {
            filter.enter(&parent, &*handle, &absolute)
        };
        let mut weight = tree.weight;
        let dir = Arc::new(OpenDir {
            handle,
            root: tree.root,
            path: tree.path,
            absolute,
            scope,
        });
        let rest = covered.end.checked_add(1).filter(|_| covered != slice);
        if let Some(start) = rest {
            // The part that did not fit into the memory of one listing.
            let mut shares = weight.split(2);
            weight = shares.next().unwrap_or_default();
            self.stack.push(Unit::Tree(Tree {
                root: dir.root,
                path: dir.path.clone(),
                slice: NameSlice {
                    start,
                    end: slice.end,
                },
                weight: shares.next().unwrap_or_default(),
                scope: Some(parent),
            }));
        }
        let large = listing.len() > SLICEABLE_ENTRIES;
        let few = listing.len() <= SLICEABLE_ENTRIES_OF_LINES && slice == NameSlice::WHOLE;
        let many_lines = shard.plan.want == v1::Want::Lines && !few;
        let sorted = large || many_lines;
        if sorted {
            listing.sort_by_hash();
        } else {
            weight = self.take_dirs(shard, &dir, &listing, 0..listing.len(), weight);
        }
        let run = Run {
            dir,
            from: 0,
            to: listing.len(),
            listing: Arc::new(listing),
            slice: covered,
            weight,
            sorted,
            keep_until: large.then(|| Instant::now() + began.elapsed() * LISTINGS_WORTH),
        };
        self.entries(shard, run);
    }

    /// Works through a run, and gives parts of it away where another thread or the budget wants it.
    pub(super) fn entries(&mut self, shard: &Arc<Shard>, mut run: Run) {
        let listing = Arc::clone(&run.listing);
        // Grows as long as results are small, so that not many files go over the budget at once.
        let mut step = if run.sorted { 1 } else { CHECK_ENTRIES };
        loop {
            let rest = run.split_off(run.from + step);
            let room = shard.result_room();
            self.chunk(shard, &run);
            let Some(next) = rest else { break };
            run = next;
            if shard.is_dead() {
                return;
            }
            if run.sorted {
                // What this step took, twice, must still fit.
                let took = room - shard.result_room();
                let fits = took * 2 < shard.result_room();
                step = if fits { CHECK_ENTRIES.min(step * 2) } else { 1 };
            }
            if run.sorted && shard.is_expired() {
                match shard.give_back(Unit::Run(run)) {
                    Some(Unit::Run(back)) => run = back,
                    _ => return,
                }
            }
            if run.len() >= SPLIT_ENTRIES && self.shared.is_hungry() {
                let middle = run.from + run.len() / 2;
                if let Some(tail) = run.split_off(middle) {
                    self.shared.share(shard, std::iter::once(Unit::Run(tail)));
                }
            }
        }
        self.keep(listing);
    }

    /// Some entries, all of them.
    fn chunk(&mut self, shard: &Arc<Shard>, run: &Run) {
        let (dir, listing) = (&run.dir, &run.listing);
        let bytes = self.output.tally.bytes_searched;
        if run.sorted {
            self.take_dirs(shard, dir, listing, run.from..run.to, run.weight);
        }
        for i in run.from..run.to {
            let entry = listing.get(i);
            if entry.kind != EntryKind::Dir {
                self.entry(shard, dir, &entry);
            }
        }
        let bytes = self.output.tally.bytes_searched - bytes;
        shard.tick(run.len() as u64, bytes);
    }

    /// Puts the directories among some entries on the stack; what is left of the weight is the files'.
    fn take_dirs(
        &mut self,
        shard: &Arc<Shard>,
        dir: &Arc<OpenDir>,
        listing: &Listing,
        entries: std::ops::Range<usize>,
        weight: Weight,
    ) -> Weight {
        let before = self.stack.len();
        for i in entries {
            let entry = listing.get(i);
            if entry.kind == EntryKind::Dir {
                self.dir_entry(shard, dir, entry.name);
            }
        }
        let dirs = &mut self.stack[before..];
        let mut shares = weight.split(dirs.len() as u64 + 1);
        let own = shares.next().unwrap_or_default();
        for (unit, share) in dirs.iter_mut().zip(shares) {
            if let Unit::Tree(tree) = unit {
                tree.weight = share;
            }
        }
        self.share(shard);
        own
    }

    /// An entry that is a directory: counted, and put on the stack without a weight.
    fn dir_entry(&mut self, shard: &Shard, dir: &OpenDir, name: &CStr) {
        let filter = &shard.plan.filter;
        let tally = &mut self.output.tally;
        tally.dirs_seen += 1;
        let wanted = !is_beyond_depth(filter.max_depth(), dir.child_depth())
            && matches!(
                filter.check(&dir.scope, &dir.absolute, name.to_bytes(), EntryKind::Dir),
                Verdict::Take
            );
        if !wanted {
            tally.dirs_skipped += 1;
            return;
        }
        self.stack.push(Unit::Tree(Tree {
            root: dir.root,
            path: dir.child(name),
            slice: NameSlice::WHOLE,
            weight: Weight::default(),
            scope: Some(dir.scope.clone()),
        }));
    }

    /// An entry that is not a directory.
    fn entry(&mut self, shard: &Arc<Shard>, dir: &OpenDir, entry: &Entry<'_>) {
        if entry.kind == EntryKind::Symlink && shard.plan.filter.follow() {
            return self.followed(shard, dir, entry.name);
        }
        let tally = &mut self.output.tally;
        tally.seen += 1;
        let filter = &shard.plan.filter;
        if !filter.is_open() || entry.kind != EntryKind::File {
            let name = entry.name.to_bytes();
            if let Verdict::Skip(reason) = filter.check(&dir.scope, &dir.absolute, name, entry.kind)
            {
                count_skip(tally, reason);
                return;
            }
        }
        self.file(shard, dir, entry.name);
    }

    /// A symbolic link that is followed: it counts as what it leads to.
    fn followed(&mut self, shard: &Arc<Shard>, dir: &OpenDir, name: &CStr) {
        let plan = &shard.plan;
        let opened = match dir.handle.open_child(name, Links::Follow) {
            Ok(opened) => opened,
            Err(error) => {
                self.output.tally.seen += 1;
                self.output.tally.failed += 1;
                return self.source_error(shard, dir.root, dir.child(name), &error, false);
            }
        };
        let kind = match &opened {
            Opened::Dir(_) => EntryKind::Dir,
            Opened::File(_) => EntryKind::File,
            Opened::Special(_) | Opened::Symlink => EntryKind::Special,
        };
        if let Opened::Dir(target) = opened {
            if self.is_ancestor(shard, dir, &*target) {
                let tally = &mut self.output.tally;
                tally.dirs_seen += 1;
                tally.dirs_failed += 1;
                let message = "a symbolic link that leads to one of its own ancestors".to_owned();
                let path = dir.child(name);
                return self.error(
                    shard,
                    dir.root,
                    path,
                    v1::FileErrorKind::Loop,
                    message,
                    true,
                );
            }
            return self.dir_entry(shard, dir, name);
        }
        self.output.tally.seen += 1;
        let verdict = (plan.filter).check(&dir.scope, &dir.absolute, name.to_bytes(), kind);
        match (verdict, opened) {
            (Verdict::Skip(reason), _) => count_skip(&mut self.output.tally, reason),
            (Verdict::Take, Opened::File(file)) => {
                self.opened_file(shard, dir.root, dir.child(name), false, &file.into());
            }
            (Verdict::Take, _) => self.output.tally.skipped_special += 1,
        }
    }

    /// Whether `target` is `dir` or a directory above it, up to the root.
    fn is_ancestor(&self, shard: &Shard, dir: &OpenDir, target: &dyn Dir) -> bool {
        let Ok(identity) = target.identity() else {
            return false;
        };
        if dir.handle.identity().is_ok_and(|own| own == identity) {
            return true;
        }
        let mut above = dir.path.as_slice();
        while !above.is_empty() {
            let end = above.iter().rposition(|&b| b == b'/').unwrap_or(0);
            above = &above[..end];
            let path = absolute(&shard.plan, dir.root, above);
            if let Ok(Opened::Dir(handle)) = self.shared.source.open(&path, Links::Follow)
                && handle.identity().is_ok_and(|own| own == identity)
            {
                return true;
            }
        }
        false
    }

    /// Files named one by one. A directory among them is not entered: a list made by `find` names the files
    /// below it, too.
    pub(super) fn paths(&mut self, shard: &Arc<Shard>, mut paths: Paths) {
        let mut weight = paths.weight;
        while let Some(path) = paths.names.pop() {
            if shard.is_dead() {
                return;
            }
            let left = paths.names.len() as u64;
            let share = Weight(weight.0 / (left + 1));
            weight.0 -= share.0;
            self.named_path(shard, paths.root, path, share);
            shard.tick(1, 0);
            let rest = Paths {
                root: paths.root,
                names: Vec::new(),
                weight,
            };
            if left > 0 && shard.is_expired() {
                let unit = Unit::Paths(Paths {
                    names: std::mem::take(&mut paths.names),
                    ..rest
                });
                match shard.give_back(unit) {
                    Some(Unit::Paths(back)) => paths = back,
                    _ => return,
                }
            } else if left >= SPLIT_ENTRIES as u64 && self.shared.is_hungry() {
                let half = paths.names.split_off(paths.names.len() / 2);
                let share = Weight(weight.0 / 2);
                weight.0 -= share.0;
                let unit = Unit::Paths(Paths {
                    names: half,
                    weight: share,
                    ..rest
                });
                self.shared.share(shard, std::iter::once(unit));
            }
        }
    }

    fn named_path(&mut self, shard: &Arc<Shard>, root: u32, path: Vec<u8>, weight: Weight) {
        let full = absolute(&shard.plan, root, &path);
        let tally = &mut self.output.tally;
        match self.shared.source.open(&full, Links::Follow) {
            Ok(Opened::File(file)) => {
                tally.seen += 1;
                self.named_file(shard, Named { root, path, weight }, file);
            }
            Ok(Opened::Dir(_)) => {
                tally.dirs_seen += 1;
                tally.dirs_skipped += 1;
            }
            Ok(Opened::Special(_) | Opened::Symlink) => {
                tally.seen += 1;
                tally.skipped_special += 1;
            }
            Err(error) => {
                tally.seen += 1;
                tally.failed += 1;
                self.source_error(shard, root, path, &error, false);
            }
        }
    }

    /// Reports what a source said of a path.
    pub(super) fn source_error(
        &mut self,
        shard: &Shard,
        root: u32,
        path: Vec<u8>,
        error: &SourceError,
        directory: bool,
    ) {
        let kind = error_kind(error.kind);
        self.error(shard, root, path, kind, error.to_string(), directory);
    }

    /// Reports an error; the caller has counted it.
    pub(super) fn error(
        &mut self,
        shard: &Shard,
        root: u32,
        path: Vec<u8>,
        kind: v1::FileErrorKind,
        message: String,
        directory: bool,
    ) {
        shard.add_results(self.output.error(v1::FileError {
            root,
            path,
            kind: kind.into(),
            message,
            directory,
            of_part: false,
        }));
    }
}

/// Whether a directory at `depth` below its root is not entered.
fn is_beyond_depth(max: Option<u64>, depth: u64) -> bool {
    max.is_some_and(|max| depth >= max)
}

pub(super) fn count_skip(tally: &mut v1::Tally, reason: SkipReason) {
    let counter = match reason {
        SkipReason::Filter | SkipReason::Depth => &mut tally.skipped_filter,
        SkipReason::Ignore => &mut tally.skipped_ignore,
        SkipReason::Hidden => &mut tally.skipped_hidden,
        SkipReason::Symlink => &mut tally.skipped_symlink,
        SkipReason::Special => &mut tally.skipped_special,
        SkipReason::Size => &mut tally.skipped_size,
    };
    *counter += 1;
}
