//! One shard: its shared stack, its budget, and what the threads have gathered.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use regexctl_proto::domain::{Budget, Grant, LeaseId, Task};

use super::output::Output;
use super::unit::Unit;
use super::{Finished, Progress};
use crate::plan::Plan;

pub(super) struct Shard {
    pub(super) lease: LeaseId,
    pub(super) plan: Arc<Plan>,
    budget: Budget,
    /// When the first unit was taken.
    started: OnceLock<Instant>,
    inner: Mutex<Inner>,
    expired: AtomicBool,
    revoked: AtomicBool,
    ended: AtomicBool,
    result_bytes: AtomicU64,
    ticks: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
}

struct Inner {
    /// Taken from the end.
    units: Vec<Unit>,
    /// Threads that work for this shard.
    active: usize,
    remainder: Vec<Task>,
    remainder_cost: u64,
    output: Output,
}

impl Shard {
    pub(super) fn new(grant: Grant, plan: Arc<Plan>) -> Self {
        // The first task is taken first.
        let units = grant.tasks.into_iter().rev().map(Unit::from).collect();
        Self {
            lease: grant.lease,
            plan,
            budget: grant.budget,
            started: OnceLock::new(),
            inner: Mutex::new(Inner {
                units,
                active: 0,
                remainder: Vec::new(),
                remainder_cost: 0,
                output: Output::default(),
            }),
            expired: AtomicBool::new(false),
            revoked: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            result_bytes: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change under the lock is complete by itself, also when a thread panics behind it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a unit; the calling thread counts as active until it calls [`Self::leave`].
    pub(super) fn enter(&self) -> Option<Unit> {
        let mut inner = self.lock();
        let unit = inner.units.pop()?;
        inner.active += 1;
        self.started.get_or_init(Instant::now);
        Some(unit)
    }

    /// Takes another unit, for a thread that is active.
    pub(super) fn another(&self) -> Option<Unit> {
        self.lock().units.pop()
    }

    pub(super) fn add(&self, units: impl Iterator<Item = Unit>) {
        self.lock().units.extend(units);
    }

    /// Hands in what a thread has gathered. Returns whether the shard has ended by that.
    pub(super) fn leave(&self, output: &mut Output) -> bool {
        let mut inner = self.lock();
        inner.output.absorb(output);
        inner.active -= 1;
        inner.active == 0 && inner.units.is_empty()
    }

    /// Puts a unit into the remainder, or returns it: it has no form on the wire, or the remainder is full.
    pub(super) fn give_back(&self, unit: Unit) -> Option<Unit> {
        let mut inner = self.lock();
        let cost = unit.task_cost(self.fill());
        let Some(cost) = cost.filter(|c| inner.remainder_cost + c <= self.budget.remainder_bytes)
        else {
            return Some(unit);
        };
        match unit.into_task() {
            Ok(task) => {
                inner.remainder_cost += cost;
                inner.remainder.push(task);
                None
            }
            Err(unit) => Some(unit),
        }
    }

    /// Counts results against the budget.
    pub(super) fn add_results(&self, cost: u64) {
        let before = self.result_bytes.fetch_add(cost, Ordering::Relaxed);
        if before + cost >= self.budget.result_bytes {
            self.expired.store(true, Ordering::Relaxed);
        }
    }

    /// How often the results are as large as the budget.
    pub(super) fn fill(&self) -> u64 {
        let used = self.result_bytes.load(Ordering::Relaxed);
        used / self.budget.result_bytes.max(1)
    }

    /// Result bytes left in the budget.
    pub(super) fn result_room(&self) -> u64 {
        let used = self.result_bytes.load(Ordering::Relaxed);
        self.budget.result_bytes.saturating_sub(used)
    }

    /// Tells that the shard advances; looks at the clock.
    pub(super) fn tick(&self, files: u64, bytes: u64) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        self.files.fetch_add(files, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if !self.is_expired()
            && self
                .started
                .get()
                .is_some_and(|s| s.elapsed() >= self.budget.time)
        {
            self.expired.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the budget has ended.
    pub(super) fn is_expired(&self) -> bool {
        self.expired.load(Ordering::Relaxed)
    }

    pub(super) fn revoke(&self) {
        self.revoked.store(true, Ordering::Relaxed);
    }

    /// Whether all work for it is in vain.
    pub(super) fn is_dead(&self) -> bool {
        self.revoked.load(Ordering::Relaxed) || self.plan.is_cancelled()
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            lease: self.lease,
            ticks: self.ticks.load(Ordering::Relaxed),
            files: self.files.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            ended: self.ended.load(Ordering::Relaxed),
        }
    }

    /// What a commit says; `None` when the shard is dead.
    pub(super) fn finished(&self) -> Option<Finished> {
        if self.is_dead() {
            return None;
        }
        self.ended.store(true, Ordering::Relaxed);
        let mut inner = self.lock();
        let (results, tally) = std::mem::take(&mut inner.output).finish();
        Some(Finished {
            lease: self.lease,
            tally,
            time: self.started.get().map(Instant::elapsed).unwrap_or_default(),
            remainder: std::mem::take(&mut inner.remainder),
            results,
        })
    }
}
