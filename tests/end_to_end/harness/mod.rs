//! What every test here stands on: programs, directories, processes with a time limit, clusters on loopback.
//!
//! Nothing here waits for a time: [`until`] waits for a state and fails loudly when it does not come.

pub(crate) mod cluster;
pub(crate) mod command;
pub(crate) mod normal;
pub(crate) mod programs;
pub(crate) mod scratch;
pub(crate) mod tally;
pub(crate) mod terminal;

use std::thread;
use std::time::{Duration, Instant};

/// No state takes longer to come, even on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Asks until `state` gives a value; fails the test, naming `what`, when none has come in [`PATIENCE`].
pub(crate) fn until<T>(what: &str, mut state: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = state() {
            return value;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain until {what}"
        );
        // Only so as not to spin.
        thread::sleep(Duration::from_millis(10));
    }
}

/// A small generator with a seed (splitmix64), so that a failure can be run again.
#[derive(Debug, Clone)]
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a usize has at most 64 bits");
        usize::try_from(self.next() % end).expect("it is below a usize")
    }
}
