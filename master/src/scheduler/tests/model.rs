//! A tree that is scanned in the mind: what a worker's engine does, as a pure function.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// A modelled tree: directory -> its entries.
#[derive(Debug, Default)]
pub(super) struct Model {
    dirs: BTreeMap<String, Vec<Entry>>,
}

#[derive(Debug)]
pub(super) enum Entry {
    Dir(String),
    File(String),
    /// Is scanned in pieces of [`PIECE`] bytes.
    Large(String, u64),
}

pub(super) const PIECE: u64 = 10;
/// What a unit of work adds to the results, in bytes.
pub(super) const UNIT_BYTES: u64 = 1000;

/// What is to be delivered: a file, or a piece of a large one.
pub(super) type Unit = (String, u64);

/// A small generator, so that a failing seed is all that is needed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit.max(1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

pub(super) fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |h, b| {
        (h ^ u32::from(b)).wrapping_mul(0x0100_0193)
    })
}

impl Model {
    pub(super) fn random(random: &mut Random) -> Self {
        let mut model = Self::default();
        let mut open = vec![String::new()];
        while let Some(dir) = open.pop() {
            let mut entries = Vec::new();
            for i in 0..random.below(12) {
                let path = if dir.is_empty() {
                    format!("e{i}")
                } else {
                    format!("{dir}/e{i}")
                };
                match random.below(10) {
                    0..3 if model.dirs.len() + open.len() < 60 => {
                        open.push(path.clone());
                        entries.push(Entry::Dir(path));
                    }
                    3 => entries.push(Entry::Large(path, 1 + random.below(100))),
                    _ => entries.push(Entry::File(path)),
                }
            }
            model.dirs.insert(dir, entries);
        }
        model
    }

    pub(super) fn units(&self) -> BTreeSet<Unit> {
        let mut units = BTreeSet::new();
        for entry in self.dirs.values().flatten() {
            match entry {
                Entry::Dir(_) => {}
                Entry::File(path) => {
                    units.insert((path.clone(), 0));
                }
                Entry::Large(path, size) => {
                    units.extend((0..*size).step_by(10).map(|at| (path.clone(), at)));
                }
            }
        }
        units
    }

    /// Does at least one step of the grant; more while steps are left, and until the remainder keeps its limit.
    pub(super) fn scan(&self, grant: &Grant, mut steps: u64) -> (Vec<Unit>, Vec<Task>) {
        let mut done = Vec::new();
        let mut rest: Vec<Task> = grant.tasks.iter().rev().cloned().collect();
        let cost = |tasks: &[Task]| tasks.iter().map(Task::cost).sum::<u64>();
        loop {
            let full = done.len() as u64 * UNIT_BYTES >= grant.budget.result_bytes;
            let ends = steps == 0 || full;
            if ends && cost(&rest) <= grant.budget.remainder_bytes {
                break;
            }
            steps = steps.saturating_sub(1);
            let Some(task) = rest.pop() else { break };
            self.step(task, &mut done, &mut rest);
        }
        rest.reverse();
        (done, rest)
    }

    fn step(&self, task: Task, done: &mut Vec<Unit>, rest: &mut Vec<Task>) {
        match task.kind {
            TaskKind::Tree { path, slice } => {
                let path = String::from_utf8(path).expect("the model's own path");
                self.list(&path, slice, task.weight, done, rest);
            }
            TaskKind::Range {
                path,
                start,
                end,
                size,
            } => {
                let name = String::from_utf8(path.clone()).expect("the model's own path");
                done.push((name, start));
                if start + PIECE < end {
                    let kind = TaskKind::Range {
                        path,
                        start: start + PIECE,
                        end,
                        size,
                    };
                    rest.push(Task { kind, ..task });
                }
            }
            TaskKind::Paths { .. } => unreachable!("the model submits none"),
        }
    }

    /// Takes the files of a slice; of a large one only its first half, the other is given back.
    fn list(
        &self,
        dir: &str,
        slice: Slice,
        weight: Weight,
        done: &mut Vec<Unit>,
        rest: &mut Vec<Task>,
    ) {
        let name = |entry: &Entry| match entry {
            Entry::Dir(path) | Entry::File(path) | Entry::Large(path, _) => hash(path),
        };
        let own = |slice: Slice| {
            self.dirs[dir]
                .iter()
                .filter(move |entry| (slice.start..=slice.end).contains(&name(entry)))
        };
        let middle = slice.start + (slice.end - slice.start) / 2;
        let (now, later) = if own(slice).count() > 8 && middle < slice.end {
            let (end, start) = (middle, middle + 1);
            (Slice { end, ..slice }, Some(Slice { start, ..slice }))
        } else {
            (slice, None)
        };
        let mut tasks = Vec::new();
        for entry in own(now) {
            match entry {
                Entry::File(path) => done.push((path.clone(), 0)),
                Entry::Dir(path) => tasks.push(tree(path, Weight(0))),
                Entry::Large(path, size) => {
                    // In two ranges, cut at a piece.
                    let cut = size / 2 / PIECE * PIECE;
                    for (start, end) in [(0, cut), (cut, *size)] {
                        if start < end {
                            let kind = TaskKind::Range {
                                path: path.clone().into_bytes(),
                                start,
                                end,
                                size: *size,
                            };
                            tasks.push(Task {
                                root: 0,
                                weight: Weight(0),
                                kind,
                            });
                        }
                    }
                }
            }
        }
        if let Some(slice) = later {
            tasks.push(Task {
                root: 0,
                weight: Weight(0),
                kind: TaskKind::Tree {
                    path: dir.into(),
                    slice,
                },
            });
        }
        // The listing itself is a share.
        let mut shares = weight.split(tasks.len() as u64 + 1).skip(1);
        for task in &mut tasks {
            task.weight = shares.next().expect("a share for each");
        }
        rest.extend(tasks);
    }
}
