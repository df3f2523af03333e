//! What came of trying to reach nodes: heard at once, or taken in later from what commands have left.

use std::collections::BTreeMap;

use super::super::{At, Means, Tried, Words};
use super::Board;
use super::changes::Change;
use crate::model::MacAddr;

/// What was left about one node and one means.
struct Left {
    /// The latest time of all that was left; none if none of them has come yet.
    latest: Option<At>,
    /// When it was tried last.
    at: At,
    /// What came of it then.
    problem: Option<Words>,
}

impl Board {
    /// Takes in what commands have tried while nobody heard them, in the order in which they have left it, unless something
    /// later is known.
    ///
    /// The clock may have been set back meanwhile. So what was left last about a node counts, whatever its time, and a time that
    /// has not come yet tells nothing.
    pub fn catch_up(&mut self, now: At, left: impl IntoIterator<Item = (At, Tried)>) {
        let mut last: BTreeMap<(MacAddr, Means), Left> = BTreeMap::new();
        for (at, Tried { means, nodes }) in left {
            let past = Some(at).filter(|at| *at <= now);
            for node in nodes {
                let key = (node.mac, means);
                let before = last.get(&key).and_then(|left| left.latest);
                let left = Left {
                    latest: before.max(past),
                    at,
                    problem: node.problem,
                };
                last.insert(key, left);
            }
        }
        for ((mac, means), left) in last {
            let record = self.records.get(&mac);
            let known = record.and_then(|record| record.last_tried(means, now));
            let is_old = known
                .zip(left.latest)
                .is_some_and(|(known, latest)| latest < known);
            if !is_old {
                self.tried(left.at, mac, means, left.problem);
            }
        }
    }

    /// A command has tried to reach a node. It is the last that has, whatever the clock says.
    pub(super) fn tried(&mut self, at: At, mac: MacAddr, means: Means, problem: Option<Words>) {
        if !self.known.contains(&mac) {
            return;
        }
        let record = self.records.entry(mac).or_default();
        if record.tried(at, means, problem) {
            self.changed.add(mac, Change::Unreached);
        }
    }
}
