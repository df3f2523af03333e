//! The tasks of a job that nobody holds.
//!
//! Directories are a stack: what a commit gives back lies on top, so the tree is walked
//! depth first and the frontier stays as small as the tree is deep. Ranges of split files lie
//! apart, sorted by file and offset, and are taken before any directory: a file begun
//! is finished first, because its parts are held until those before them have arrived.
//!
//! Invariant: `cost` is the sum of [`Task::cost`] over all tasks here.

use std::collections::BTreeMap;

use regexctl_proto::domain::{Task, TaskKind, Weight};

use super::Head;

/// Which tasks may be taken.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pick<'a> {
    /// Any; ranges of this file before others.
    Any(Option<&'a Head>),
    /// Only ranges of this file.
    File(&'a Head),
    /// Only the range in which the head lies.
    Head(&'a Head),
}

/// How much to take; the first task is taken whatever its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Portion {
    /// At most so many tasks.
    pub(super) tasks: usize,
    /// At most so much [`Task::cost`].
    pub(super) cost: u64,
    /// Stop when this much weight has been taken.
    pub(super) weight: Option<Weight>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct RangeKey {
    root: u32,
    path: Vec<u8>,
    start: u64,
    /// A file that was named twice has each range twice.
    copy: u64,
}

#[derive(Debug)]
struct RangeRest {
    end: u64,
    size: u64,
    weight: Weight,
}

/// See the module's comment.
#[derive(Debug, Default)]
pub(super) struct Frontier {
    ranges: BTreeMap<RangeKey, RangeRest>,
    stack: Vec<Task>,
    cost: u64,
    copies: u64,
}

impl Frontier {
    pub(super) fn len(&self) -> usize {
        self.ranges.len() + self.stack.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sum of [`Task::cost`].
    pub(super) fn cost(&self) -> u64 {
        self.cost
    }

    /// Lays tasks on top; the first of them is the first to be taken.
    pub(super) fn push(&mut self, tasks: Vec<Task>) {
        for task in tasks.into_iter().rev() {
            self.cost += task.cost();
            match task.kind {
                TaskKind::Range {
                    path,
                    start,
                    end,
                    size,
                } => {
                    self.copies += 1;
                    let key = RangeKey {
                        root: task.root,
                        path,
                        start,
                        copy: self.copies,
                    };
                    let rest = RangeRest {
                        end,
                        size,
                        weight: task.weight,
                    };
                    self.ranges.insert(key, rest);
                }
                TaskKind::Tree { .. } | TaskKind::Paths { .. } => self.stack.push(task),
            }
        }
    }

    /// Takes tasks; none when there is none that may be picked.
    pub(super) fn take(&mut self, portion: Portion, pick: Pick<'_>) -> Vec<Task> {
        let mut taken = Vec::new();
        let mut cost = 0;
        let mut weight = Weight(0);
        while taken.len() < portion.tasks.max(1) {
            let Some(task) = self.pop(pick) else { break };
            if !taken.is_empty() && cost + task.cost() > portion.cost {
                self.push(vec![task]);
                break;
            }
            cost += task.cost();
            weight.0 += task.weight.0;
            taken.push(task);
            let enough = portion.weight.is_some_and(|target| weight >= target);
            if enough || matches!(pick, Pick::Head(_)) {
                break;
            }
        }
        taken
    }

    fn pop(&mut self, pick: Pick<'_>) -> Option<Task> {
        let key = match pick {
            Pick::Any(prefer) => prefer
                .and_then(|head| self.first_of(head))
                .or_else(|| self.ranges.keys().next().cloned()),
            Pick::File(head) => self.first_of(head),
            Pick::Head(head) => self.at(head),
        };
        let task = match (key, pick) {
            (Some(key), _) => self.take_range(key)?,
            (None, Pick::Any(_)) => self.stack.pop()?,
            (None, Pick::File(_) | Pick::Head(_)) => return None,
        };
        self.cost -= task.cost();
        Some(task)
    }

    fn take_range(&mut self, key: RangeKey) -> Option<Task> {
        let rest = self.ranges.remove(&key)?;
        Some(Task {
            root: key.root,
            weight: rest.weight,
            kind: TaskKind::Range {
                path: key.path,
                start: key.start,
                end: rest.end,
                size: rest.size,
            },
        })
    }

    /// The first range of the head's file.
    fn first_of(&self, head: &Head) -> Option<RangeKey> {
        let (key, _) = self.ranges.range(key_of(head, 0, 0)..).next()?;
        (key.root == head.root && key.path == head.path).then(|| key.clone())
    }

    /// The range of the head's file that begins last at or before the head.
    fn at(&self, head: &Head) -> Option<RangeKey> {
        let (key, rest) = self
            .ranges
            .range(key_of(head, 0, 0)..=key_of(head, head.offset, u64::MAX))
            .next_back()?;
        // Lines decide where a part begins: the head may lie beyond the range's end only
        // when the line before it is longer than the range, which then has no line.
        (rest.end > head.offset || rest.end == rest.size).then(|| key.clone())
    }
}

fn key_of(head: &Head, start: u64, copy: u64) -> RangeKey {
    RangeKey {
        root: head.root,
        path: head.path.clone(),
        start,
        copy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regexctl_proto::domain::Slice;

    const ALL: Portion = Portion {
        tasks: usize::MAX,
        cost: u64::MAX,
        weight: None,
    };

    fn tree(path: &str) -> Task {
        Task {
            root: 0,
            weight: Weight(10),
            kind: TaskKind::Tree {
                path: path.into(),
                slice: Slice::WHOLE,
            },
        }
    }

    fn range(path: &str, start: u64, end: u64) -> Task {
        Task {
            root: 0,
            weight: Weight(10),
            kind: TaskKind::Range {
                path: path.into(),
                start,
                end,
                size: 100,
            },
        }
    }

    fn names(tasks: &[Task]) -> Vec<String> {
        tasks
            .iter()
            .map(|task| match &task.kind {
                TaskKind::Tree { path, .. } => String::from_utf8_lossy(path).into_owned(),
                TaskKind::Range { path, start, .. } => {
                    format!("{}@{start}", String::from_utf8_lossy(path))
                }
                TaskKind::Paths { .. } => unreachable!("no test makes one"),
            })
            .collect()
    }

    #[test]
    fn what_comes_last_is_taken_first_and_in_its_order() {
        let mut frontier = Frontier::default();
        frontier.push(vec![tree("a"), tree("b")]);
        frontier.push(vec![tree("c"), tree("d")]);
        let taken = frontier.take(ALL, Pick::Any(None));
        assert_eq!(names(&taken), ["c", "d", "a", "b"]);
        assert!(frontier.is_empty());
        assert_eq!(frontier.cost(), 0);
    }

    #[test]
    fn ranges_come_first_in_the_order_of_their_file() {
        let mut frontier = Frontier::default();
        frontier.push(vec![tree("t"), range("f", 50, 100), range("f", 0, 50)]);
        frontier.push(vec![range("e", 10, 20)]);
        let head = Head {
            root: 0,
            path: b"f".to_vec(),
            offset: 0,
        };
        let one = Portion { tasks: 1, ..ALL };
        assert_eq!(names(&frontier.take(one, Pick::Any(Some(&head)))), ["f@0"]);
        assert_eq!(
            names(&frontier.take(ALL, Pick::Any(None))),
            ["e@10", "f@50", "t"]
        );
    }

    #[test]
    fn the_head_is_found_in_the_range_that_holds_it() {
        let mut frontier = Frontier::default();
        frontier.push(vec![
            range("f", 0, 20),
            range("f", 20, 60),
            range("f", 60, 100),
        ]);
        let head = |offset| Head {
            root: 0,
            path: b"f".to_vec(),
            offset,
        };
        assert_eq!(names(&frontier.take(ALL, Pick::Head(&head(30)))), ["f@20"]);
        assert!(frontier.take(ALL, Pick::Head(&head(30))).is_empty());
        let other = Head {
            root: 1,
            ..head(30)
        };
        assert!(frontier.take(ALL, Pick::File(&other)).is_empty());
        assert_eq!(
            names(&frontier.take(ALL, Pick::File(&head(0)))),
            ["f@0", "f@60"]
        );
    }

    #[test]
    fn a_portion_ends_by_count_cost_or_weight_but_has_one_task() {
        let mut frontier = Frontier::default();
        frontier.push(vec![tree("a"), tree("b"), tree("c"), tree("d"), tree("e")]);
        let before = frontier.cost();
        let count = frontier.take(Portion { tasks: 2, ..ALL }, Pick::Any(None));
        assert_eq!(names(&count), ["a", "b"]);
        let cost = frontier.take(Portion { cost: 1, ..ALL }, Pick::Any(None));
        assert_eq!(names(&cost), ["c"]);
        let weight = Portion {
            weight: Some(Weight(5)),
            ..ALL
        };
        assert_eq!(names(&frontier.take(weight, Pick::Any(None))), ["d"]);
        assert_eq!(frontier.cost() * 5, before);
    }

    #[test]
    fn a_file_named_twice_keeps_both_copies_of_a_range() {
        let mut frontier = Frontier::default();
        frontier.push(vec![range("f", 0, 50), range("f", 0, 50)]);
        assert_eq!(frontier.len(), 2);
        assert_eq!(frontier.take(ALL, Pick::Any(None)).len(), 2);
    }
}
