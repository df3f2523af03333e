//! What a task that was given up, or a range that failed, is to a job's tally.

use regexctl_proto::domain::{Slice, Task, TaskKind};
use regexctl_proto::v1::{self, FileErrorKind, Tally};

/// Accounts for the first range of a split file that failed: who split the file counted it as scanned. Or for the first
/// later slice of a directory: that was counted as listed with its first slice.
pub(crate) fn fail_part(tally: &mut Tally, directory: bool) {
    let (done, failed) = if directory {
        (&mut tally.dirs_listed, &mut tally.dirs_failed)
    } else {
        (&mut tally.scanned, &mut tally.failed)
    };
    *done = done.saturating_sub(1);
    *failed += 1;
}

/// Accounts for a task that was given up, and says what to tell of it.
///
/// A directory was counted as seen where its parent was listed, but for a root; it is counted as listed with its
/// first slice. A split file was counted as scanned by who found it. `first` says that no other range of the file, or
/// later slice of the directory, has failed.
pub(crate) fn abandon(
    tally: &mut Tally,
    task: &Task,
    attempts: u32,
    first: bool,
) -> Vec<v1::FileError> {
    let error = |path: &[u8], directory| v1::FileError {
        root: task.root,
        path: path.to_vec(),
        kind: FileErrorKind::Abandoned.into(),
        message: format!("given up after {attempts} attempts, the last worker died or stood still"),
        directory,
        of_part: false,
    };
    match &task.kind {
        TaskKind::Tree { path, slice } => {
            if slice.start == Slice::WHOLE.start {
                tally.dirs_seen += u64::from(path.is_empty());
                tally.dirs_failed += 1;
            } else if first {
                fail_part(tally, true);
            } else {
                return Vec::new();
            }
            vec![error(path, true)]
        }
        TaskKind::Paths { paths } => {
            tally.seen += paths.len() as u64;
            tally.failed += paths.len() as u64;
            paths.iter().map(|path| error(path, false)).collect()
        }
        TaskKind::Range { path, .. } if first => {
            fail_part(tally, false);
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
    fn an_abandoned_task_keeps_the_sums_true() {
        let mut tally = Tally {
            seen: 1,
            scanned: 1,
            dirs_seen: 2,
            dirs_listed: 1,
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
        let tree = |path: &str, start| {
            task(TaskKind::Tree {
                path: path.into(),
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
            abandon(&mut tally, &tree("found", 0), 8, true),
            abandon(&mut tally, &tree("", 0), 8, true),
            abandon(&mut tally, &tree("listed", 5), 8, true),
            abandon(&mut tally, &tree("listed", 7), 8, false),
            abandon(&mut tally, &paths, 8, true),
        ]
        .concat();
        assert_eq!(errors.len(), 6);
        assert!(tally.balances(), "{tally:?}");
        assert_eq!((tally.failed, tally.dirs_failed), (3, 3));
    }
}
