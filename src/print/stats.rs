//! The statistics at the end of a run: ripgrep's, then the account of every entry seen.

use std::io::Write as _;
use std::time::Duration;

use regexctl_proto::v1;

/// What is known when a job has ended.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// What became of every entry.
    pub tally: v1::Tally,
    /// How many shards were committed.
    pub shards: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Commits that came too late.
    pub duplicates: u64,
    /// From the start of the program to its end.
    pub elapsed: Duration,
    /// Spent searching, summed up over all threads. When it is not known, the printer uses the
    /// sum over the files that it was given.
    pub searching: Option<Duration>,
}

impl Summary {
    /// From the end of a job.
    pub fn new(end: &v1::JobEnd, elapsed: Duration) -> Self {
        Self {
            tally: end.tally.unwrap_or_default(),
            shards: end.shards,
            retries: end.retries,
            duplicates: end.duplicates,
            elapsed,
            searching: None,
        }
    }

    /// The account of every entry: `seen` is the sum of what follows it up to `failed`, and
    /// likewise for directories.
    pub(super) fn accounts(&self) -> [Account; 13] {
        let t = &self.tally;
        [
            ("seen", t.seen, "entries seen that are not directories"),
            ("scanned", t.scanned, "scanned"),
            (
                "skipped_filter",
                t.skipped_filter,
                "skipped by a glob or a type",
            ),
            (
                "skipped_ignore",
                t.skipped_ignore,
                "skipped by an ignore file",
            ),
            ("skipped_hidden", t.skipped_hidden, "skipped as hidden"),
            (
                "skipped_symlink",
                t.skipped_symlink,
                "skipped as symbolic links",
            ),
            (
                "skipped_special",
                t.skipped_special,
                "skipped as special files",
            ),
            ("skipped_size", t.skipped_size, "skipped as too large"),
            ("failed", t.failed, "failed"),
            ("dirs_seen", t.dirs_seen, "directories seen"),
            ("dirs_listed", t.dirs_listed, "listed"),
            ("dirs_skipped", t.dirs_skipped, "skipped"),
            ("dirs_failed", t.dirs_failed, "failed"),
        ]
        .map(|(name, value, text)| Account { name, value, text })
    }

    /// The text of `--stats`. `lines` is false when nothing was searched (`--files`), and
    /// ripgrep's part is left out.
    pub(super) fn text(&self, printed: u64, searching: Duration, searched: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let t = &self.tally;
        out.push(b'\n');
        let mut line = |text: std::fmt::Arguments<'_>| {
            // Writing to a Vec cannot fail.
            let _ = writeln!(out, "{text}");
        };
        if searched {
            line(format_args!("{} matches", t.matches));
            line(format_args!("{} matched lines", t.matched_lines));
            line(format_args!("{} files contained matches", t.matched));
            line(format_args!("{} files searched", t.scanned));
            line(format_args!("{printed} bytes printed"));
            line(format_args!("{} bytes searched", t.bytes_searched));
            line(format_args!(
                "{:.6} seconds spent searching",
                searching.as_secs_f64()
            ));
            line(format_args!(
                "{:.6} seconds total",
                self.elapsed.as_secs_f64()
            ));
            line(format_args!(""));
        }
        for account in self.accounts() {
            let part = !account.name.ends_with("seen");
            let indent = if part { "  " } else { "" };
            line(format_args!("{indent}{} {}", account.value, account.text));
        }
        line(format_args!("{} shards", self.shards));
        line(format_args!("  {} repeated attempts", self.retries));
        line(format_args!("  {} late commits dropped", self.duplicates));
        out
    }
}

/// One number of the account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    /// As the protocol calls it.
    pub(super) name: &'static str,
    pub(super) value: u64,
    /// As people read it.
    pub(super) text: &'static str,
}

/// What the search of files took and found.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Searched {
    pub(super) bytes: u64,
    pub(super) matched_lines: u64,
    pub(super) matches: u64,
    pub(super) elapsed: Duration,
}

impl Searched {
    pub(super) fn add(&mut self, file: &v1::FileMatches) {
        self.bytes = self.bytes.saturating_add(file.bytes_searched);
        self.matched_lines = self.matched_lines.saturating_add(file.matched_lines);
        self.matches = self.matches.saturating_add(file.matches);
        self.elapsed = self
            .elapsed
            .saturating_add(Duration::from_nanos(file.elapsed_ns));
    }
}
