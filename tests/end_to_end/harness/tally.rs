//! The account of every entry: from `--stats`, from the summary of `--json`, and counted by walkdir.

use std::path::Path;

use serde_json::Value;
use walkdir::WalkDir;

use super::command::Finished;

/// What became of the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) seen: u64,
    pub(crate) scanned: u64,
    pub(crate) skipped: u64,
    pub(crate) failed: u64,
    pub(crate) dirs_seen: u64,
    pub(crate) dirs_listed: u64,
    pub(crate) dirs_skipped: u64,
    pub(crate) dirs_failed: u64,
}

impl Tally {
    /// From the text of `--stats`, at the end of the output.
    #[track_caller]
    pub(crate) fn of_stats(told: &Finished) -> Self {
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        let start = text.rfind(" entries seen that are not directories");
        let start = start.unwrap_or_else(|| panic!("no account in\n{told}"));
        let start = text[..start].rfind('\n').map_or(0, |end| end + 1);
        let mut tally = Self::default();
        let mut directories = false;
        for line in text[start..].lines() {
            let (number, what) = line
                .trim_start()
                .split_once(' ')
                .expect("a number and a text");
            let number: u64 = number.parse().unwrap_or_else(|e| panic!("{line:?}: {e}"));
            match what {
                "entries seen that are not directories" => tally.seen = number,
                "directories seen" => {
                    tally.dirs_seen = number;
                    directories = true;
                }
                "scanned" => tally.scanned = number,
                "listed" => tally.dirs_listed = number,
                "failed" if directories => tally.dirs_failed = number,
                "failed" => tally.failed = number,
                "skipped" => tally.dirs_skipped = number,
                what if what.starts_with("skipped ") => tally.skipped += number,
                "shards" | "repeated attempts" | "late commits dropped" => {}
                what => panic!("{what:?} is unknown in\n{told}"),
            }
        }
        tally
    }

    /// From the summary of `--json`.
    #[track_caller]
    pub(crate) fn of_json(told: &Finished) -> Self {
        let last = told.stdout.trim_ascii_end().rsplit(|&b| b == b'\n').next();
        let summary: Value = serde_json::from_slice(last.expect("a slice has a last part"))
            .unwrap_or_else(|error| panic!("{error} in the summary of\n{told}"));
        let tally = summary["data"]["tally"]
            .as_object()
            .expect("a summary has a tally");
        let number = |name: &str| tally[name].as_u64().expect("it is a number");
        let skips = tally.keys().filter(|name| name.starts_with("skipped_"));
        Self {
            seen: number("seen"),
            scanned: number("scanned"),
            skipped: skips.map(|name| number(name)).sum(),
            failed: number("failed"),
            dirs_seen: number("dirs_seen"),
            dirs_listed: number("dirs_listed"),
            dirs_skipped: number("dirs_skipped"),
            dirs_failed: number("dirs_failed"),
        }
    }

    /// Fails the test unless everything seen became something.
    #[track_caller]
    pub(crate) fn expect_sums(self) -> Self {
        assert_eq!(
            self.scanned + self.skipped + self.failed,
            self.seen,
            "{self:?}"
        );
        let directories = self.dirs_listed + self.dirs_skipped + self.dirs_failed;
        assert_eq!(directories, self.dirs_seen, "{self:?}");
        self
    }

    /// Fails the test unless everything below `root` was seen, and became something.
    #[track_caller]
    pub(crate) fn expect_all_of(self, root: &Path) -> Self {
        let (files, directories) = count(root);
        assert_eq!(
            (self.seen, self.dirs_seen),
            (files, directories),
            "{self:?}"
        );
        self.expect_sums()
    }
}

/// What is there: entries that are not directories, and directories with the root.
pub(crate) fn count(root: &Path) -> (u64, u64) {
    let mut counts = (0, 0);
    for entry in WalkDir::new(root) {
        let entry = entry.expect("nobody changes it");
        if entry.file_type().is_dir() {
            counts.1 += 1;
        } else {
            counts.0 += 1;
        }
    }
    counts
}
