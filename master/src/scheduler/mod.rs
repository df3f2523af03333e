//! The scheduler: who does what next, as a pure state machine.
//!
//! [`Scheduler::handle`] takes an [`Event`] and the time, and returns [`Order`]s. It reads no
//! clock, opens no socket, touches no disk, starts no thread and draws no random number;
//! so every race is a plain unit test, and the same events give the same orders.
//!
//! # How a job goes
//!
//! `Submitted` brings the first tasks, which make the job's frontier. Whenever a worker has a free slot and
//! a job has work, a shard is cut from the frontier (`budget.rs` says how large), and leased.
//! `Committed` replaces the shard's tasks by the remainder. When frontier and open shards are empty, the job is
//! `Finished`.
//!
//! # How a lease is lost
//!
//! * The worker's stream broke and it was not back within the grace, or its name came
//!   back with another boot id.
//! * Its ticks did not grow for the time to live: it is renewed by progress, not by being alive.
//! * The worker's reports lack it although they have acted on the orders that named it.
//!
//! Then the shard waits for its next attempt, before all other work. After
//! [`Config::max_attempts`] its tasks are `Abandoned`. The first commit of a shard wins, whichever attempt it is of.
//!
//! # What bounds the memory
//!
//! * The frontier: a lease's `remainder_bytes` is what its tasks cost plus a share of what is left of
//!   [`Config::frontier_bytes`].
//! * The output: a lease is granted only while the result budgets of all leases of the job, and what is
//!   committed but not delivered, stay within [`Config::output_bytes`]. A slow reader so stops the
//!   granting. Parts of split files that are held for earlier parts count, too: when they fill half of the
//!   limit, only ranges of the file that holds up the others are granted; when nothing else is left, the
//!   one range that heads it; and when that does not exist (the file changed while it was
//!   read), `ReleaseHeld` lets the parts go as they are.
//!
//! # Fairness
//!
//! Jobs take turns, a lease at a time. A lease goes to the worker with the fewest; a worker
//! that lost one, because it stands still, comes last until it makes progress.

mod budget;
mod frontier;
mod job;
#[cfg(test)]
mod tests;
mod types;
mod worker;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use regexctl_proto::domain::{BadMessage, BootId, Grant, JobId, LeaseId, Weight};

use job::{Job, Loss, Supply};
pub use types::{
    Committed, Config, Event, Head, Held, JobProgress, JobStats, LeaseReport, Order, Orders,
    Report, Settlement, WorkerKey,
};
use worker::{Worker, Workers};

/// A lease that reports lack for so long is lost. Not at once, for its commit may be
/// on its way on another stream.
const MISSING_GRACE: Duration = Duration::from_secs(1);

/// See the module's comment.
#[derive(Debug)]
pub struct Scheduler {
    config: Config,
    workers: Workers,
    jobs: BTreeMap<JobId, Job>,
    /// The jobs, the one whose turn it is first.
    turns: VecDeque<JobId>,
}

impl Scheduler {
    /// A scheduler without workers and jobs.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            workers: Workers::default(),
            jobs: BTreeMap::new(),
            turns: VecDeque::new(),
        }
    }

    /// Takes an event that happened at `now`, measured from any fixed point. An error says that the event
    /// breaks a rule of the protocol; then nothing has changed.
    pub fn handle(&mut self, now: Duration, event: Event) -> Result<Vec<Order>, BadMessage> {
        let mut orders = Vec::new();
        match event {
            Event::Attached {
                worker,
                name,
                boot,
                slots,
            } => self.attached(now, worker, name, boot, slots as usize, &mut orders),
            Event::Reported { worker, report } => {
                self.reported(now, worker, &report, &mut orders);
            }
            Event::Gone { worker } => {
                self.workers
                    .update(worker, |worker| worker.gone = Some(now));
            }
            Event::Submitted { job, roots, tasks } => {
                Job::check_tasks(&tasks, roots, Weight::WHOLE)?;
                self.jobs.insert(job, Job::new(job, now, roots, tasks));
                self.turns.push_back(job);
                self.finish_if_done(job, &mut orders);
            }
            Event::Cancelled { job } => self.end(job, false, &mut orders),
            Event::Committed(commit) => self.committed(commit, &mut orders)?,
            Event::Delivered { job, bytes } => {
                if let Some(job) = self.jobs.get_mut(&job) {
                    job.delivered(bytes);
                }
            }
            Event::Held { job, held } => {
                if let Some(job) = self.jobs.get_mut(&job) {
                    job.set_held(held);
                }
            }
            Event::Tick => self.tick(now, &mut orders),
        }
        self.fill(now, &mut orders);
        Ok(orders)
    }

    /// What a worker shall hold now, against its last report.
    pub fn orders(&self, worker: WorkerKey) -> Option<Orders> {
        let worker = self.workers.get(worker)?;
        let mut orders = Orders {
            revision: worker.revision,
            held: worker.leases.iter().copied().collect(),
            ..Orders::default()
        };
        let unreported = |lease: &&LeaseId| !worker.reported.contains(lease);
        for &lease in worker.leases.iter().filter(unreported) {
            let contents = self
                .jobs
                .get(&lease.job)
                .and_then(|job| job.contents(lease));
            let Some((budget, tasks)) = contents else {
                continue;
            };
            orders.grants.push(Grant {
                lease,
                budget,
                tasks: tasks.to_vec(),
            });
            if !worker.jobs.contains(&lease.job) && !orders.jobs.contains(&lease.job) {
                orders.jobs.push(lease.job);
            }
        }
        Some(orders)
    }

    /// How many leases a worker shall hold.
    pub fn leases_of(&self, worker: WorkerKey) -> usize {
        self.workers
            .get(worker)
            .map_or(0, |worker| worker.leases.len())
    }

    /// How far a job is; none when it is over.
    pub fn progress(&self, job: JobId) -> Option<JobProgress> {
        let job = self.jobs.get(&job)?;
        let (leased, waiting, files, bytes) = job.progress();
        Some(JobProgress {
            done: job.done(),
            leased,
            waiting,
            files,
            bytes,
        })
    }

    // ---- workers

    fn attached(
        &mut self,
        now: Duration,
        key: WorkerKey,
        name: Arc<str>,
        boot: BootId,
        slots: usize,
        orders: &mut Vec<Order>,
    ) {
        let same_boot = self
            .workers
            .iter()
            .find(|(_, worker)| worker.boot == boot)
            .map(|(key, _)| key);
        let mut worker = Worker {
            name,
            boot,
            slots,
            draining: false,
            gone: None,
            heard: now,
            silent: false,
            strikes: 0,
            revision: 0,
            leases: BTreeSet::new(),
            reported: HashSet::new(),
            jobs: HashSet::new(),
        };
        match same_boot.and_then(|old| Some((old, self.workers.remove(old)?))) {
            Some((old_key, old)) => {
                if old.gone.is_none() {
                    orders.push(Order::Superseded(old_key));
                }
                worker.revision = old.revision + 1;
                worker.leases = old.leases;
                for &id in &worker.leases {
                    if let Some(lease) = self.lease_mut(id) {
                        lease.worker = key;
                        lease.missing = None;
                    }
                }
            }
            None => self.bury_namesakes(now, &worker.name, orders),
        }
        self.workers.insert(key, worker);
        orders.push(Order::Changed(key));
    }

    /// A new process came up under this name: what was silent under it is dead.
    fn bury_namesakes(&mut self, now: Duration, name: &str, orders: &mut Vec<Order>) {
        let dead: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, worker)| *worker.name == *name)
            .filter(|(_, worker)| {
                worker.gone.is_some()
                    || now.saturating_sub(worker.heard) >= self.config.worker_silence
            })
            .map(|(key, _)| key)
            .collect();
        for key in dead {
            self.bury(key, orders);
        }
    }

    /// Forgets a worker; its leases are lost.
    fn bury(&mut self, key: WorkerKey, orders: &mut Vec<Order>) {
        let Some(worker) = self.workers.remove(key) else {
            return;
        };
        if worker.gone.is_none() {
            orders.push(Order::Superseded(key));
        }
        for lease in worker.leases {
            self.requeue(lease, orders);
        }
    }

    fn reported(
        &mut self,
        now: Duration,
        key: WorkerKey,
        report: &Report,
        orders: &mut Vec<Order>,
    ) {
        let named: HashSet<LeaseId> = report.leases.iter().map(|lease| lease.lease).collect();
        let Some((leases, unheard, changed)) = self.workers.update(key, |worker| {
            worker.heard = now;
            worker.silent = false;
            worker.slots = report.slots as usize;
            worker.draining = report.draining;
            worker.jobs = report.jobs.iter().copied().collect();
            // It has acted on orders of a master before this one.
            let unheard = report.revision > worker.revision;
            if unheard {
                worker.revision = report.revision;
            }
            let unwanted = named.iter().any(|lease| !worker.leases.contains(lease));
            let changed = unheard || (unwanted && report.revision == worker.revision);
            if changed {
                worker.revision += 1;
            }
            worker.reported = named
                .iter()
                .filter(|lease| worker.leases.contains(lease))
                .copied()
                .collect();
            let leases: Vec<LeaseId> = worker.leases.iter().copied().collect();
            (leases, unheard.then_some(worker.revision), changed)
        }) else {
            return;
        };
        if changed {
            orders.push(Order::Changed(key));
        }
        let mut grown = false;
        for lease in &report.leases {
            if leases.binary_search(&lease.lease).is_ok()
                && let Some(job) = self.jobs.get_mut(&lease.lease.job)
            {
                grown |= job.renew(now, lease);
            }
        }
        if grown {
            self.workers.update(key, |worker| worker.strikes = 0);
        }
        for id in leases.into_iter().filter(|id| !named.contains(id)) {
            let Some(lease) = self.lease_mut(id) else {
                continue;
            };
            if let Some(revision) = unheard {
                lease.revision = revision;
            }
            if lease.revision > report.revision {
                continue;
            }
            let since = *lease.missing.get_or_insert(now);
            if now.saturating_sub(since) >= MISSING_GRACE {
                self.lose(id, orders);
            }
        }
    }

    // ---- leases

    fn lease_mut(&mut self, id: LeaseId) -> Option<&mut job::Lease> {
        self.jobs.get_mut(&id.job)?.lease_mut(id)
    }

    /// Takes a lease from its worker; the shard goes on without it.
    fn lose(&mut self, id: LeaseId, orders: &mut Vec<Order>) {
        if let Some(worker) = self.lease_mut(id).map(|lease| lease.worker) {
            self.workers.update(worker, |worker| worker.strikes += 1);
            self.withdraw(worker, id, true, orders);
        }
        self.requeue(id, orders);
    }

    fn requeue(&mut self, id: LeaseId, orders: &mut Vec<Order>) {
        let Some(job) = self.jobs.get_mut(&id.job) else {
            return;
        };
        if let Loss::Abandoned(tasks) = job.lose(id, self.config.max_attempts) {
            orders.push(Order::Abandoned { job: id.job, tasks });
            self.finish_if_done(id.job, orders);
        }
    }

    /// The worker shall not hold the lease any more; `tell` it so unless it knows.
    fn withdraw(&mut self, key: WorkerKey, id: LeaseId, tell: bool, orders: &mut Vec<Order>) {
        self.workers.update(key, |worker| {
            worker.leases.remove(&id);
            worker.reported.remove(&id);
            if tell {
                worker.revision += 1;
            }
        });
        if tell {
            orders.push(Order::Changed(key));
        }
    }

    fn committed(&mut self, commit: Committed, orders: &mut Vec<Order>) -> Result<(), BadMessage> {
        let id = commit.lease;
        let Some(job) = self.jobs.get_mut(&id.job) else {
            orders.push(Order::Settled(Settlement::Unknown));
            return Ok(());
        };
        let (settlement, holder) = job.commit(commit, &self.config)?;
        orders.push(Order::Settled(settlement));
        if let Some((lease, worker)) = holder {
            self.withdraw(worker, lease, lease != id, orders);
            if lease == id {
                self.workers.update(worker, |worker| worker.strikes = 0);
            }
        }
        self.finish_if_done(id.job, orders);
        Ok(())
    }

    // ---- jobs

    fn finish_if_done(&mut self, id: JobId, orders: &mut Vec<Order>) {
        if self.jobs.get(&id).is_some_and(Job::is_finished) {
            self.end(id, true, orders);
        }
    }

    fn end(&mut self, id: JobId, complete: bool, orders: &mut Vec<Order>) {
        let Some(job) = self.jobs.remove(&id) else {
            return;
        };
        self.turns.retain(|&turn| turn != id);
        let held: Vec<_> = job
            .leases()
            .map(|(lease, held)| (lease, held.worker))
            .collect();
        for (lease, worker) in held {
            self.withdraw(worker, lease, true, orders);
        }
        orders.push(Order::Finished {
            job: id,
            complete,
            stats: job.stats(),
        });
    }

    fn tick(&mut self, now: Duration, orders: &mut Vec<Order>) {
        let dead: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, worker)| {
                worker
                    .gone
                    .is_some_and(|since| now.saturating_sub(since) >= self.config.worker_grace)
            })
            .map(|(key, _)| key)
            .collect();
        for key in dead {
            self.bury(key, orders);
        }
        let silence = self.config.worker_silence;
        let silent: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, worker)| !worker.silent && now.saturating_sub(worker.heard) >= silence)
            .map(|(key, _)| key)
            .collect();
        for key in silent {
            self.workers.update(key, |worker| worker.silent = true);
        }
        let expired: Vec<_> = self
            .jobs
            .values()
            .flat_map(|job| job.expired(now, self.config.lease_ttl))
            .collect();
        for lease in expired {
            self.lose(lease, orders);
        }
    }

    /// Leases shards as long as a worker has a free slot and a job has work.
    fn fill(&mut self, now: Duration, orders: &mut Vec<Order>) {
        while let Some(key) = self.workers.next_free() {
            let Some(lease) = self.next_lease(now, key, orders) else {
                break;
            };
            self.workers.update(key, |worker| {
                worker.leases.insert(lease);
                worker.revision += 1;
            });
            let order = Order::Changed(key);
            if !orders.contains(&order) {
                orders.push(order);
            }
        }
    }

    /// A lease of the first job, by turns, that has one to give.
    fn next_lease(
        &mut self,
        now: Duration,
        key: WorkerKey,
        orders: &mut Vec<Order>,
    ) -> Option<LeaseId> {
        let crew = self.workers.crew();
        let worker = self.workers.get(key)?;
        for turn in 0..self.turns.len() {
            let id = self.turns[turn];
            let Some(job) = self.jobs.get_mut(&id) else {
                continue;
            };
            match job.supply(now, &self.config, crew, key, worker) {
                Supply::Leased(lease) => {
                    self.turns.remove(turn);
                    self.turns.push_back(id);
                    return Some(lease);
                }
                Supply::Stuck => orders.push(Order::ReleaseHeld(id)),
                Supply::Nothing => {}
            }
        }
        None
    }
}
