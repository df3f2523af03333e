//! What has changed since it was last written down, by its name: what it is by then is looked up when it is handed out.
//!
//! Invariant: however long nothing is handed out, no more is remembered than there is of nodes, their boots, and machines that
//! are not in the cluster: what is gone before it was handed out is forgotten, with whatever was heard of it.

use std::collections::{BTreeSet, HashSet};

use crate::model::MacAddr;

/// One thing that has changed. That a machine is forgotten comes before what was heard of it since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    Forgotten,
    Boot(u64),
    Duplicate,
    Unreached,
    Unknown,
}

/// What has changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    waiting: BTreeSet<(MacAddr, Change)>,
    /// The machines of which something was handed out.
    kept: HashSet<MacAddr>,
}

impl Changes {
    /// Something of a machine has changed.
    pub(super) fn add(&mut self, mac: MacAddr, change: Change) {
        self.waiting.insert((mac, change));
    }

    /// A boot of a machine has changed, of which these are kept: others will not be handed out any more.
    pub(super) fn add_boot(&mut self, mac: MacAddr, number: u64, kept: impl Iterator<Item = u64>) {
        let all = (mac, Change::Boot(0))..=(mac, Change::Boot(u64::MAX));
        let kept: Vec<u64> = kept.collect();
        let mut gone = Vec::new();
        for change in self.waiting.range(all) {
            if let (_, Change::Boot(number)) = change
                && !kept.contains(number)
            {
                gone.push(*change);
            }
        }
        for change in gone {
            self.waiting.remove(&change);
        }
        self.add(mac, Change::Boot(number));
    }

    /// A machine is forgotten.
    pub(super) fn forget(&mut self, mac: MacAddr) {
        self.waiting.remove(&(mac, Change::Unknown));
        self.drop_between(Change::Boot(0), Change::Unknown, mac);
        // Of whom nothing was ever handed out, nobody else has to forget anything.
        if self.kept.remove(&mac) {
            self.add(mac, Change::Forgotten);
        }
    }

    /// Something of a machine was written down before.
    pub(super) fn keep(&mut self, mac: MacAddr) {
        self.kept.insert(mac);
    }

    /// Nothing of a machine is written down any more.
    pub(super) fn is_not_kept(&mut self, mac: MacAddr) {
        self.kept.remove(&mac);
    }

    /// What has changed, as long as there is anything.
    pub(super) fn take(&mut self) -> Option<(MacAddr, Change)> {
        let (mac, change) = self.waiting.pop_first()?;
        if change != Change::Forgotten {
            self.kept.insert(mac);
        }
        Some((mac, change))
    }

    /// Everything is to be written down: what has changed until now is among it.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// The changes of a machine from one on and before another are of nothing any more.
    fn drop_between(&mut self, from: Change, to: Change, mac: MacAddr) {
        while let Some(&gone) = self.waiting.range((mac, from)..(mac, to)).next() {
            self.waiting.remove(&gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::BOOTS_KEPT;

    fn mac(number: u32) -> MacAddr {
        let [a, b, c, d] = number.to_be_bytes();
        MacAddr::new([2, 0, a, b, c, d]).expect("an address of one machine")
    }

    /// The disk hangs.
    #[test]
    fn what_is_gone_before_it_was_written_is_not_remembered() {
        let mut changes = Changes::default();
        for number in 0..100_000 {
            changes.add(mac(number), Change::Unknown);
            changes.forget(mac(number));
            // Those that were last, and one that the node runs.
            let number = u64::from(number);
            let kept = (number.saturating_sub(6)..=number).chain([0]);
            changes.add_boot(mac(0), number, kept);
        }
        assert_eq!((changes.waiting.len(), changes.kept.len()), (BOOTS_KEPT, 0));
        let taken: Vec<_> = std::iter::from_fn(|| changes.take()).collect();
        let boots = [0].into_iter().chain(99_993..100_000);
        assert_eq!(
            taken,
            boots
                .map(|number| (mac(0), Change::Boot(number)))
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn what_was_written_is_forgotten_there_too_and_before_what_was_heard_since() {
        let mut changes = Changes::default();
        changes.add(mac(1), Change::Unknown);
        assert_eq!(changes.take(), Some((mac(1), Change::Unknown)));
        changes.forget(mac(1));
        changes.add(mac(1), Change::Unknown);
        assert_eq!(changes.take(), Some((mac(1), Change::Forgotten)));
        assert_eq!(changes.take(), Some((mac(1), Change::Unknown)));
        assert_eq!(changes.take(), None);
    }
}
