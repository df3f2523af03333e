//! The workers, as the scheduler sees them: which leases each shall hold, and who takes more.
//!
//! A worker is one life of a process, known by its boot id; a [`WorkerKey`] is one
//! attachment of it. When its stream breaks, the worker keeps its leases for a grace and
//! may attach again under a new key.
//!
//! Invariant: `free` holds exactly the workers that are attached, neither draining nor silent, and hold
//! fewer leases than they have slots; in the order in which they are given work.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use regexctl_proto::domain::{BootId, JobId, LeaseId};

use super::WorkerKey;
use super::budget::Crew;

/// One worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: Arc<str>,
    pub(super) boot: BootId,
    pub(super) slots: usize,
    pub(super) draining: bool,
    /// When its stream broke; none while it is attached.
    pub(super) gone: Option<Duration>,
    /// When it last said anything.
    pub(super) heard: Duration,
    /// That is too long ago.
    pub(super) silent: bool,
    /// Leases that it lost since it last made progress.
    pub(super) strikes: u32,
    /// Counts the changes of what it shall hold.
    pub(super) revision: u64,
    /// What it shall hold.
    pub(super) leases: BTreeSet<LeaseId>,
    /// Which of them its last report named.
    pub(super) reported: HashSet<LeaseId>,
    /// The jobs whose specs its last report named.
    pub(super) jobs: HashSet<JobId>,
}

impl Worker {
    fn takes_leases(&self) -> bool {
        self.gone.is_none() && !self.draining && !self.silent
    }

    fn is_free(&self) -> bool {
        self.takes_leases() && self.leases.len() < self.slots
    }

    /// Its turn: whoever stands still comes last, then whoever has least to do comes first.
    fn turn(&self, key: WorkerKey) -> (u32, usize, WorkerKey) {
        (self.strikes, self.leases.len(), key)
    }
}

/// See the module's comment.
#[derive(Debug, Default)]
pub(super) struct Workers {
    all: BTreeMap<WorkerKey, Worker>,
    free: BTreeSet<(u32, usize, WorkerKey)>,
    crew: Crew,
}

impl Workers {
    pub(super) fn crew(&self) -> Crew {
        self.crew
    }

    pub(super) fn get(&self, key: WorkerKey) -> Option<&Worker> {
        self.all.get(&key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (WorkerKey, &Worker)> {
        self.all.iter().map(|(&key, worker)| (key, worker))
    }

    /// Who should get the next lease.
    pub(super) fn next_free(&self) -> Option<WorkerKey> {
        self.free.first().map(|&(_, _, key)| key)
    }

    pub(super) fn insert(&mut self, key: WorkerKey, worker: Worker) {
        self.enter(key, &worker);
        self.all.insert(key, worker);
    }

    pub(super) fn remove(&mut self, key: WorkerKey) -> Option<Worker> {
        let worker = self.all.remove(&key)?;
        self.leave(key, &worker);
        Some(worker)
    }

    /// Changes a worker; the only way to, so that `free` and `crew` stay true.
    pub(super) fn update<T>(
        &mut self,
        key: WorkerKey,
        change: impl FnOnce(&mut Worker) -> T,
    ) -> Option<T> {
        let mut worker = self.all.remove(&key)?;
        self.leave(key, &worker);
        let result = change(&mut worker);
        self.enter(key, &worker);
        self.all.insert(key, worker);
        Some(result)
    }

    fn enter(&mut self, key: WorkerKey, worker: &Worker) {
        if worker.takes_leases() {
            self.crew.workers += 1;
            self.crew.slots += worker.slots;
        }
        if worker.is_free() {
            self.free.insert(worker.turn(key));
        }
    }

    fn leave(&mut self, key: WorkerKey, worker: &Worker) {
        if worker.takes_leases() {
            self.crew.workers -= 1;
            self.crew.slots -= worker.slots;
        }
        self.free.remove(&worker.turn(key));
    }
}
