//! What one thread of the pool does all day.

use std::sync::Arc;

use regexctl_scan::{Matches, Scanner};
use regexctl_source::{Listing, ReadBuf};

use super::Shared;
use super::output::Output;
use super::shard::Shard;
use super::unit::Unit;
use crate::plan::Plan;

/// A thread's own things, reused from file to file.
pub(super) struct Thread<'a> {
    pub(super) shared: &'a Shared,
    /// Units of the shard in hand, taken from the end: depth first.
    pub(super) stack: Vec<Unit>,
    pub(super) output: Output,
    /// Bytes searched in whole files, of which the shard is told at its next tick.
    pub(super) untold_bytes: u64,
    pub(super) buffer: ReadBuf,
    pub(super) matches: Matches,
    pub(super) scanners: Scanners,
    /// A listing to be filled again.
    spare: Option<Arc<Listing>>,
    /// For ranges of large files.
    pub(super) window: Vec<u8>,
}

impl<'a> Thread<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            stack: Vec::new(),
            output: Output::default(),
            untold_bytes: 0,
            buffer: ReadBuf::new(),
            matches: Matches::new(),
            scanners: Scanners::default(),
            spare: None,
            window: Vec::new(),
        }
    }

    /// Works until the engine ends.
    pub(super) fn run(&mut self) {
        while let Some((shard, unit)) = self.shared.next() {
            self.stack.push(unit);
            self.drain(&shard);
            if shard.leave(&mut self.output) {
                self.shared.finish(&shard);
            }
        }
    }

    /// Works for one shard until neither the thread nor the shard has a unit.
    fn drain(&mut self, shard: &Arc<Shard>) {
        while let Some(unit) = self.stack.pop().or_else(|| shard.another()) {
            if shard.is_dead() {
                self.stack.clear();
                continue;
            }
            let unit = if shard.is_expired() {
                match shard.give_back(unit) {
                    None => continue,
                    Some(unit) => unit,
                }
            } else {
                unit
            };
            match unit {
                Unit::Tree(tree) => self.tree(shard, tree),
                Unit::Run(run) => self.entries(shard, run),
                Unit::Paths(paths) => self.paths(shard, paths),
                Unit::Range(range) => self.range(shard, range),
            }
            if self.untold_bytes > 0 {
                shard.tick(0, std::mem::take(&mut self.untold_bytes));
            }
            self.share(shard);
        }
    }

    /// Gives the older half of the stack, the larger subtrees, to threads that wait.
    pub(super) fn share(&mut self, shard: &Shard) {
        if self.stack.len() > 1 && self.shared.is_hungry() {
            let half = self.stack.len() / 2;
            self.shared.share(shard, self.stack.drain(..half));
        }
    }

    /// A listing that nobody else reads.
    pub(super) fn listing(&mut self) -> Listing {
        let spare = self.spare.take().and_then(|arc| Arc::try_unwrap(arc).ok());
        let mut listing = spare.unwrap_or_default();
        listing.clear();
        listing
    }

    /// Keeps a listing for the next directory.
    pub(super) fn keep(&mut self, listing: Arc<Listing>) {
        self.spare = Some(listing);
    }
}

/// The scanner of the plan used last.
#[derive(Default)]
pub(super) struct Scanners(Option<(Arc<Plan>, Scanner)>);

impl Scanners {
    /// The scanner for a plan that scans.
    pub(super) fn get(&mut self, plan: &Arc<Plan>) -> &mut Scanner {
        if !(self.0.as_ref()).is_some_and(|(of, _)| Arc::ptr_eq(of, plan)) {
            let scanner = plan.scanner();
            let scanner = scanner.expect("asked for only where files are scanned");
            self.0 = Some((Arc::clone(plan), scanner));
        }
        let (_, scanner) = self.0.as_mut().expect("made above");
        scanner
    }

    /// Forgets the scanner, whose state a panic may have spoiled.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}
