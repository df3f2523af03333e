//! Runs shards on all cores.
//!
//! A **shard** is a stack of units and a budget. Threads of a rayon pool take a unit, work depth first on
//! a stack of their own, and touch the shard's shared stack only when another thread is hungry: on the way of a
//! file without a match there is no lock, and no allocation. When the budget ends, units not begun become the
//! **remainder**; a directory or a file that was begun is finished, but for an oversized
//! directory, whose rest is given back as a slice, and a split file, whose rest is given back as a range.
//!
//! Two shards at once keep the pool busy: when one runs out of units, threads go on with the next.
//!
//! Invariants:
//! - every entry that a listing gave is in the tally once, or lies in exactly one task of the remainder;
//! - a shard that is not revoked ends in exactly one [`Finished`];
//! - a panic while a file is scanned is that file's error.

mod file;
mod output;
mod range;
mod shard;
mod thread;
mod unit;
mod walk;

pub(crate) use file::into_message;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use regexctl_proto::domain::{Grant, LeaseId, Task};
use regexctl_proto::v1;
use regexctl_source::Source;

use crate::plan::Plan;
use shard::Shard;
use unit::Unit;

/// How an engine runs.
pub struct EngineConfig {
    /// Threads that scan; at least 1.
    pub threads: usize,
    /// Where files come from.
    pub source: Arc<dyn Source>,
}

/// A shard at its end: what a commit says.
#[derive(Debug)]
pub struct Finished {
    /// Which.
    pub lease: LeaseId,
    /// What became of every entry.
    pub tally: v1::Tally,
    /// How long it ran, from its first unit.
    pub time: Duration,
    /// What was not begun.
    pub remainder: Vec<Task>,
    /// Results in batches of about `MAX_BATCH_BYTES`.
    pub results: Vec<v1::ResultBatch>,
}

/// What a lease has done so far.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Which.
    pub lease: LeaseId,
    /// Grows as long as it advances.
    pub ticks: u64,
    /// Files scanned.
    pub files: u64,
    /// Bytes searched.
    pub bytes: u64,
    /// It has ended, and [`Finished`] was or is being told.
    pub ended: bool,
}

/// The pool could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {threads} scanning threads")]
pub struct EngineError {
    threads: usize,
    source: rayon::ThreadPoolBuildError,
}

/// A pool of threads that runs shards. Dropping it ends its threads at their next file.
pub struct Engine {
    shared: Arc<Shared>,
    // Held for its threads.
    _pool: rayon::ThreadPool,
}

/// What the threads share.
struct Shared {
    source: Arc<dyn Source>,
    state: Mutex<State>,
    work: Condvar,
    /// Threads that wait for work; the others share when it is not zero.
    hungry: AtomicUsize,
    on_finished: Box<dyn Fn(Finished) + Send + Sync>,
}

struct State {
    /// In the order of their grants.
    shards: Vec<Arc<Shard>>,
    stopping: bool,
}

impl Engine {
    /// Starts the threads. `on_finished` is called by one of them at the end of each shard; it should not block for long.
    pub fn new(
        config: EngineConfig,
        on_finished: impl Fn(Finished) + Send + Sync + 'static,
    ) -> Result<Self, EngineError> {
        let threads = config.threads.max(1);
        let shared = Arc::new(Shared {
            source: config.source,
            state: Mutex::new(State {
                shards: Vec::new(),
                stopping: false,
            }),
            work: Condvar::new(),
            hungry: AtomicUsize::new(0),
            on_finished: Box::new(on_finished),
        });
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("scan-{i}"))
            .build()
            .map_err(|source| EngineError { threads, source })?;
        let of_pool = Arc::clone(&shared);
        pool.spawn_broadcast(move |_| thread::Thread::new(&of_pool).run());
        Ok(Self {
            shared,
            _pool: pool,
        })
    }

    /// Runs a shard. A lease that is already held is left as it is.
    pub fn grant(&self, grant: Grant, plan: Arc<Plan>) {
        let mut state = self.shared.lock();
        if state.shards.iter().any(|s| s.lease == grant.lease) {
            return;
        }
        state.shards.push(Arc::new(Shard::new(grant, plan)));
        drop(state);
        self.shared.work.notify_all();
    }

    /// Drops a shard without a result. A lease that is not held is no error.
    pub fn revoke(&self, lease: LeaseId) {
        let mut state = self.shared.lock();
        state.shards.retain(|shard| {
            if shard.lease == lease {
                shard.revoke();
            }
            shard.lease != lease
        });
    }

    /// The shards that run or wait.
    pub fn progress(&self) -> Vec<Progress> {
        let state = self.shared.lock();
        state.shards.iter().map(|shard| shard.progress()).collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopping = true;
        for shard in state.shards.drain(..) {
            shard.revoke();
        }
        drop(state);
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked while it held the lock left nothing half done: every change is one push or removal.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next unit of the oldest shard that has one; waits for it. `None` when the engine ends.
    fn next(&self) -> Option<(Arc<Shard>, Unit)> {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return None;
            }
            let found = state
                .shards
                .iter()
                .find_map(|shard| Some((Arc::clone(shard), shard.enter()?)));
            if found.is_some() {
                return found;
            }
            self.hungry.fetch_add(1, Ordering::Relaxed);
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            self.hungry.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether some thread waits for work.
    fn is_hungry(&self) -> bool {
        self.hungry.load(Ordering::Relaxed) > 0
    }

    /// Puts units where any thread takes them.
    fn share(&self, shard: &Shard, units: impl Iterator<Item = Unit>) {
        shard.add(units);
        // The lock orders this behind a thread that has just looked and is about to wait.
        drop(self.lock());
        self.work.notify_all();
    }

    /// Tells about a shard that has ended, then removes it: so whoever does not find a lease in
    /// [`Engine::progress`] has been told about it before.
    fn finish(&self, shard: &Arc<Shard>) {
        if let Some(finished) = shard.finished() {
            (self.on_finished)(finished);
        }
        self.lock().shards.retain(|s| !Arc::ptr_eq(s, shard));
    }
}
