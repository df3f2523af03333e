//! Sums over [`v1::Tally`], and its two invariants.

use crate::v1;

/// Applies `$do` to every counter of the message, so that none is forgotten: the pattern
/// names all fields, and a new one does not compile until it stands here.
macro_rules! each_counter {
    ($tally:expr, $other:expr, $do:expr) => {{
        let v1::Tally {
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
        } = $tally;
        let other = $other;
        $do(seen, other.seen);
        $do(scanned, other.scanned);
        $do(matched, other.matched);
        $do(skipped_filter, other.skipped_filter);
        $do(skipped_ignore, other.skipped_ignore);
        $do(skipped_hidden, other.skipped_hidden);
        $do(skipped_symlink, other.skipped_symlink);
        $do(skipped_special, other.skipped_special);
        $do(skipped_size, other.skipped_size);
        $do(failed, other.failed);
        $do(dirs_seen, other.dirs_seen);
        $do(dirs_listed, other.dirs_listed);
        $do(dirs_skipped, other.dirs_skipped);
        $do(dirs_failed, other.dirs_failed);
        $do(bytes_searched, other.bytes_searched);
        $do(matched_lines, other.matched_lines);
        $do(matches, other.matches);
    }};
}

impl v1::Tally {
    /// Adds every counter of `other`; saturates, since the numbers come from a peer.
    pub fn absorb(&mut self, other: &Self) {
        each_counter!(self, other, |mine: &mut u64, theirs: u64| *mine =
            mine.saturating_add(theirs));
    }

    /// Entries that are not directories and were not scanned on purpose.
    pub fn skipped(&self) -> u64 {
        self.skipped_filter
            + self.skipped_ignore
            + self.skipped_hidden
            + self.skipped_symlink
            + self.skipped_special
            + self.skipped_size
    }

    /// Whether every entry that was seen is accounted for.
    pub fn balances(&self) -> bool {
        self.seen == self.scanned + self.skipped() + self.failed
            && self.dirs_seen == self.dirs_listed + self.dirs_skipped + self.dirs_failed
    }
}

#[cfg(test)]
mod tests {
    use crate::v1::Tally;

    #[test]
    fn absorb_adds_every_counter() {
        let mut sum = Tally::default();
        let one = Tally {
            seen: 5,
            scanned: 2,
            skipped_size: 1,
            failed: 2,
            dirs_seen: 3,
            dirs_listed: 3,
            ..Tally::default()
        };
        sum.absorb(&one);
        sum.absorb(&one);
        assert_eq!((sum.seen, sum.skipped(), sum.dirs_listed), (10, 2, 6));
        assert!(sum.balances());
    }

    #[test]
    fn an_entry_that_is_not_accounted_for_is_seen() {
        let lost = Tally {
            seen: 1,
            ..Tally::default()
        };
        assert!(!lost.balances());
    }
}
