//! Sums of tallies. They saturate: the numbers come from outside.

use regexctl_proto::domain::{Slice, Task, TaskKind};
use regexctl_proto::v1::{self, FileErrorKind, Tally};

/// Adds `more` to `tally`, field by field.
pub(crate) fn add(tally: &mut Tally, more: &Tally) {
    // Destructured, so that a new field cannot be forgotten.
    let &Tally {
        seen,
        scanned,
        matched,
        skipped_filter,
        skipped_ignore,
        skipped_hidden,
        skipped_symlink,
        skipped_special,
        skipped_size,
        failed,
        dirs_seen,
        dirs_listed,
        dirs_skipped,
        dirs_failed,
        bytes_searched,
        matched_lines,
        matches,
    } = more;
    for (sum, value) in [
        (&mut tally.seen, seen),
        (&mut tally.scanned, scanned),
        (&mut tally.matched, matched),
        (&mut tally.skipped_filter, skipped_filter),
        (&mut tally.skipped_ignore, skipped_ignore),
        (&mut tally.skipped_hidden, skipped_hidden),
        (&mut tally.skipped_symlink, skipped_symlink),
        (&mut tally.skipped_special, skipped_special),
        (&mut tally.skipped_size, skipped_size),
        (&mut tally.failed, failed),
        (&mut tally.dirs_seen, dirs_seen),
        (&mut tally.dirs_listed, dirs_listed),
        (&mut tally.dirs_skipped, dirs_skipped),
        (&mut tally.dirs_failed, dirs_failed),
        (&mut tally.bytes_searched, bytes_searched),
        (&mut tally.matched_lines, matched_lines),
        (&mut tally.matches, matches),
    ] {
        *sum = sum.saturating_add(value);
    }
}

/// Accounts for a task that was given up, and says what to tell of it.
///
/// A directory is counted by who lists it from its first slice, so an abandoned first slice is a
/// directory seen and failed, and a later one was counted already. A split file was counted
/// as scanned by who found it; `first_of_file` says that no other range of it was given up.
pub(crate) fn abandon(
    tally: &mut Tally,
    task: &Task,
    attempts: u32,
    first_of_file: bool,
) -> Vec<v1::FileError> {
    let error = |path: &[u8], directory| v1::FileError {
        root: task.root,
        path: path.to_vec(),
        kind: FileErrorKind::Abandoned.into(),
        message: format!("given up after {attempts} attempts, the last worker died or stood still"),
        directory,
    };
    match &task.kind {
        TaskKind::Tree { path, slice } => {
            if slice.start == Slice::WHOLE.start {
                tally.dirs_seen += 1;
                tally.dirs_failed += 1;
            }
            vec![error(path, true)]
        }
        TaskKind::Paths { paths } => {
            tally.seen += paths.len() as u64;
            tally.failed += paths.len() as u64;
            paths.iter().map(|path| error(path, false)).collect()
        }
        TaskKind::Range { path, .. } if first_of_file => {
            tally.scanned = tally.scanned.saturating_sub(1);
            tally.failed += 1;
            vec![error(path, false)]
        }
        TaskKind::Range { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regexctl_proto::domain::Weight;

    fn task(kind: TaskKind) -> Task {
        Task {
            root: 0,
            weight: Weight(0),
            kind,
        }
    }

    #[test]
    fn sums_saturate() {
        let mut tally = Tally {
            seen: u64::MAX,
            matches: 1,
            ..Tally::default()
        };
        let more = Tally {
            seen: 1,
            matches: 2,
            ..Tally::default()
        };
        add(&mut tally, &more);
        assert_eq!((tally.seen, tally.matches), (u64::MAX, 3));
    }

    #[test]
    fn an_abandoned_task_keeps_the_sums_true() {
        let mut tally = Tally {
            seen: 1,
            scanned: 1,
            ..Tally::default()
        };
        let range = |start| {
            task(TaskKind::Range {
                path: b"f".to_vec(),
                start,
                end: start + 1,
                size: 9,
            })
        };
        let tree = |start| {
            task(TaskKind::Tree {
                path: b"d".to_vec(),
                slice: Slice {
                    start,
                    end: u32::MAX,
                },
            })
        };
        let paths = task(TaskKind::Paths {
            paths: vec![b"a".to_vec(), b"b".to_vec()],
        });
        let errors: Vec<_> = [
            abandon(&mut tally, &range(0), 8, true),
            abandon(&mut tally, &range(1), 8, false),
            abandon(&mut tally, &tree(0), 8, true),
            abandon(&mut tally, &tree(5), 8, true),
            abandon(&mut tally, &paths, 8, true),
        ]
        .concat();
        assert_eq!(errors.len(), 5);
        assert_eq!(tally.seen, tally.scanned + tally.failed);
        assert_eq!(
            (tally.failed, tally.dirs_seen, tally.dirs_failed),
            (3, 1, 1)
        );
    }
}
