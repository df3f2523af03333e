//! Files and bytes a second, over the last seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What counts as the last seconds.
const WINDOW: Duration = Duration::from_secs(5);

pub(super) struct Rate {
    files: u64,
    bytes: u64,
    /// The sums at earlier times, oldest first.
    past: VecDeque<(Instant, u64, u64)>,
}

impl Rate {
    pub(super) fn new() -> Self {
        Self {
            files: 0,
            bytes: 0,
            past: VecDeque::from([(Instant::now(), 0, 0)]),
        }
    }

    /// Counts what a shard has done.
    pub(super) fn add(&mut self, files: u64, bytes: u64) {
        self.files += files;
        self.bytes += bytes;
    }

    /// Takes a sample; called a few times a second.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        while self.past.len() > 1 && now - self.past[1].0 >= WINDOW {
            self.past.pop_front();
        }
        self.past.push_back((now, self.files, self.bytes));
    }

    /// Files and bytes a second since the oldest sample.
    pub(super) fn per_second(&self) -> (u64, u64) {
        let Some(&(then, files, bytes)) = self.past.front() else {
            return (0, 0);
        };
        let millis = u64::try_from(then.elapsed().as_millis()).unwrap_or(u64::MAX);
        let rate = |n: u64| n.saturating_mul(1000) / millis.max(1);
        (rate(self.files - files), rate(self.bytes - bytes))
    }
}
