//! What a thread takes in hand: a task of the protocol, or the part of one that is in progress.

use std::ffi::CStr;
use std::sync::Arc;
use std::time::Instant;

use regexctl_proto::domain::{Slice, Task, TaskKind, Weight};
use regexctl_source::{Dir, EntryKind, File, Listing, NameSlice, Scope, name_hash};

use crate::plan::Plan;

/// A piece of work that one thread does.
pub(super) enum Unit {
    Tree(Tree),
    Run(Run),
    Paths(Paths),
    Range(Range),
}

/// A directory to be listed.
pub(super) struct Tree {
    pub(super) root: u32,
    /// Relative to the root.
    pub(super) path: Vec<u8>,
    pub(super) slice: NameSlice,
    pub(super) weight: Weight,
    /// The rules in force in its parent, when this process has read them.
    pub(super) scope: Option<Scope>,
}

/// A directory that is open, with what its entries need.
pub(super) struct OpenDir {
    pub(super) handle: Box<dyn Dir>,
    pub(super) root: u32,
    pub(super) path: Vec<u8>,
    pub(super) absolute: Vec<u8>,
    pub(super) scope: Scope,
}

/// Some entries of a listing: `from..to`. Covers `slice` of the directory.
pub(super) struct Run {
    pub(super) dir: Arc<OpenDir>,
    pub(super) listing: Arc<Listing>,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) slice: NameSlice,
    pub(super) weight: Weight,
    /// The listing is sorted by hash, so that the run can be cut into slices. Its directories are met
    /// as it goes; those of an unsorted run have already been taken.
    pub(super) sorted: bool,
    /// Not given back before: whoever takes the slice has to list the directory again, so this thread
    /// first makes good use of its own listing. `None` for a directory of few entries, which is finished.
    pub(super) keep_until: Option<Instant>,
}

/// Files named one by one.
pub(super) struct Paths {
    pub(super) root: u32,
    pub(super) names: Vec<Vec<u8>>,
    pub(super) weight: Weight,
}

/// The lines of a large file that begin in `start..end`.
pub(super) struct Range {
    pub(super) root: u32,
    pub(super) path: Vec<u8>,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) size: u64,
    pub(super) weight: Weight,
    /// Open already, when this process found the file.
    pub(super) file: Option<Arc<dyn File>>,
}

impl From<Task> for Unit {
    fn from(task: Task) -> Self {
        let (root, weight) = (task.root, task.weight);
        match task.kind {
            TaskKind::Tree { path, slice } => Self::Tree(Tree {
                root,
                path,
                slice: NameSlice {
                    start: slice.start,
                    end: slice.end,
                },
                weight,
                scope: None,
            }),
            TaskKind::Paths { paths } => Self::Paths(Paths {
                root,
                names: paths,
                weight,
            }),
            TaskKind::Range {
                path,
                start,
                end,
                size,
            } => Self::Range(Range {
                root,
                path,
                start,
                end,
                size,
                weight,
                file: None,
            }),
        }
    }
}

impl Unit {
    /// What the unit costs as a task ([`Task::cost`]); `None` when it has no such form, or not yet. `fill`: how often the
    /// results of the shard are as large as its budget.
    pub(super) fn task_cost(&self, fill: u64) -> Option<u64> {
        let variable = match self {
            Self::Run(run) if !run.may_be_given_back(fill) => return None,
            Self::Run(run) => run.dir.path.len(),
            Self::Tree(tree) => tree.path.len(),
            Self::Range(range) => range.path.len(),
            Self::Paths(paths) => paths.names.iter().map(|p| p.len() + 8).sum(),
        };
        Some((Task::FIXED_COST + variable) as u64)
    }

    /// The unit as a task that any worker can do; the unit itself when it has no such form.
    pub(super) fn into_task(self) -> Result<Task, Self> {
        let (root, weight, kind) = match self {
            Self::Run(run) if !run.sorted => return Err(Self::Run(run)),
            Self::Run(run) => (
                run.dir.root,
                run.weight,
                TaskKind::Tree {
                    path: run.dir.path.clone(),
                    slice: wire_slice(run.slice),
                },
            ),
            Self::Tree(tree) => (
                tree.root,
                tree.weight,
                TaskKind::Tree {
                    path: tree.path,
                    slice: wire_slice(tree.slice),
                },
            ),
            Self::Paths(paths) => (
                paths.root,
                paths.weight,
                TaskKind::Paths { paths: paths.names },
            ),
            Self::Range(range) => (
                range.root,
                range.weight,
                TaskKind::Range {
                    path: range.path,
                    start: range.start,
                    end: range.end,
                    size: range.size,
                },
            ),
        };
        Ok(Task { root, weight, kind })
    }
}

fn wire_slice(slice: NameSlice) -> Slice {
    Slice {
        start: slice.start,
        end: slice.end,
    }
}

/// So often the budget of results ends a large directory although its listing is not yet worth it.
const LARGE_FILL: u64 = 4;

impl Run {
    /// Whether what is left of it can, and may, be another worker's. Results end a directory of few entries, too, or
    /// a shard would hold those of all its files.
    fn may_be_given_back(&self, fill: u64) -> bool {
        self.sorted
            && match self.keep_until {
                None => fill >= 1,
                Some(time) => fill >= LARGE_FILL || Instant::now() >= time,
            }
    }

    /// How many entries are left.
    pub(super) fn len(&self) -> usize {
        self.to - self.from
    }

    /// What is left of an unsorted run as slices of its directory that hold nothing else of it, and the entries that share
    /// their hash with something else and so lie in no such slice. None begins at 0, which would be the directory
    /// itself, already counted.
    pub(super) fn slices(&self) -> (Vec<NameSlice>, Vec<usize>) {
        let entry = |i: usize| {
            let entry = self.listing.get(i);
            let left = (self.from..self.to).contains(&i) && entry.kind != EntryKind::Dir;
            (name_hash(entry.name.to_bytes()), left.then_some(i))
        };
        let mut entries: Vec<(u32, Option<usize>)> = (0..self.listing.len()).map(entry).collect();
        entries.push((0, None));
        // Of those with the same hash, what is not left comes first.
        entries.sort_unstable();
        let (mut slices, mut without) = (Vec::new(), Vec::new());
        let mut open = None;
        let mut border = 0;
        for (hash, left) in entries {
            match left {
                None => {
                    // Whatever opened it has a smaller hash.
                    slices.extend(open.take().map(|start| NameSlice {
                        start,
                        end: hash - 1,
                    }));
                    border = hash;
                }
                Some(i) if hash == border => without.push(i),
                Some(_) => open = open.or(Some(border + 1)),
            }
        }
        slices.extend(open.map(|start| NameSlice {
            start,
            end: u32::MAX,
        }));
        (slices, without)
    }

    /// Cuts off the entries from about `at` on, with their share of the weight. A sorted run is cut between two
    /// hashes, so that both parts are slices; `None` when there is no such place.
    pub(super) fn split_off(&mut self, at: usize) -> Option<Self> {
        let mut at = at.max(self.from + 1);
        let mut slice = self.slice;
        if self.sorted {
            let hash = |i: usize| name_hash(self.listing.get(i).name.to_bytes());
            while at < self.to && hash(at) == hash(at - 1) {
                at += 1;
            }
            if at >= self.to {
                return None;
            }
            let first = hash(at);
            slice.start = first;
            // Not below the start: the entry before has a smaller hash and is in the slice.
            self.slice.end = first - 1;
        } else if at >= self.to {
            return None;
        }
        let tail = (self.to - at) as u64;
        let whole = self.len() as u64;
        let share = u64::try_from(u128::from(self.weight.0) * u128::from(tail) / u128::from(whole))
            .expect("tail is at most whole");
        self.weight.0 -= share;
        let other = Self {
            dir: Arc::clone(&self.dir),
            listing: Arc::clone(&self.listing),
            from: at,
            to: self.to,
            slice,
            weight: Weight(share),
            sorted: self.sorted,
            keep_until: self.keep_until,
        };
        self.to = at;
        Some(other)
    }
}

/// `dir` and `name`, joined; `name` alone when `dir` is empty or `name` is absolute.
pub(super) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() || name.first() == Some(&b'/') {
        return name.to_vec();
    }
    if name.is_empty() {
        return dir.to_vec();
    }
    let mut path = Vec::with_capacity(dir.len() + 1 + name.len());
    path.extend_from_slice(dir);
    if dir.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// The absolute path of `path` below a root.
pub(super) fn absolute(plan: &Plan, root: u32, path: &[u8]) -> Vec<u8> {
    join(&plan.roots[root as usize], path)
}

impl OpenDir {
    /// The path of an entry, relative to the root.
    pub(super) fn child(&self, name: &CStr) -> Vec<u8> {
        join(&self.path, name.to_bytes())
    }

    /// How deep below the root its entries are; a file in the root is at 1.
    pub(super) fn child_depth(&self) -> u64 {
        depth(&self.path) + 1
    }
}

/// Components of a path below its root.
pub(super) fn depth(path: &[u8]) -> u64 {
    if path.is_empty() {
        return 0;
    }
    path.split(|&b| b == b'/').count() as u64
}
