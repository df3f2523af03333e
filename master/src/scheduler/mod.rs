//! The scheduler: who does what next, as a pure state machine.
//!
//! [`Scheduler::handle`] takes an [`Event`] and the time, and returns [`Order`]s. It reads no
//! clock, opens no socket, touches no disk, starts no thread and draws no random number;
//! so every race is a plain unit test, and the same events give the same orders.
//!
//! # How a job goes
//!
//! `Submitted` brings the first tasks, which make the job's frontier. Whenever a worker has a free slot and
//! a job has work, a shard is cut from the frontier ([`budget`] says how large), and leased.
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
mod worker;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use regexctl_proto::domain::{BadMessage, BootId, Grant, JobId, LeaseId, Task, Weight};

use job::{Job, Loss, Supply};
use worker::{Worker, Workers};

/// A lease that reports lack for so long is lost. Not at once, for its commit may be
/// on its way on another stream.
const MISSING_GRACE: Duration = Duration::from_secs(1);

/// The scheduler's limits.
#[derive(Debug, Clone)]
pub struct Config {
    /// The frontier of a job, in `Task::cost`.
    pub frontier_bytes: u64,
    /// Results of a job that are under way: reserved, or committed and not yet delivered.
    pub output_bytes: u64,
    /// A lease whose ticks do not grow for so long is lost.
    pub lease_ttl: Duration,
    /// A worker whose stream broke keeps its leases for so long.
    pub worker_grace: Duration,
    /// A worker that said nothing for so long is given no more, and is taken for dead when another boot id of
    /// its name attaches. A few report intervals.
    pub worker_silence: Duration,
    /// A shard whose lease was lost so often is given up.
    pub max_attempts: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            frontier_bytes: 16 << 20,
            output_bytes: 16 << 20,
            lease_ttl: Duration::from_secs(30),
            worker_grace: Duration::from_secs(1),
            worker_silence: Duration::from_secs(2),
            max_attempts: 8,
        }
    }
}

/// One attachment of a worker; unique in the life of a master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerKey(pub u64);

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A worker opened its stream.
    Attached {
        /// Its attachment, not used before.
        worker: WorkerKey,
        /// The node's name.
        name: Arc<str>,
        /// Which life of the process.
        boot: BootId,
        /// How many leases it wants at once.
        slots: u32,
    },
    /// A worker told its state.
    Reported {
        /// Which.
        worker: WorkerKey,
        /// Its state.
        report: Report,
    },
    /// A worker's stream broke.
    Gone {
        /// Which.
        worker: WorkerKey,
    },
    /// A job is to be done.
    Submitted {
        /// Its id, not used before.
        job: JobId,
        /// How many roots it has.
        roots: u32,
        /// Its first frontier; together at most [`Weight::WHOLE`].
        tasks: Vec<Task>,
    },
    /// A job is not wanted any more.
    Cancelled {
        /// Which.
        job: JobId,
    },
    /// A shard was done, at least in part.
    Committed(Committed),
    /// A job's reader took results, or they were dropped.
    Delivered {
        /// Which.
        job: JobId,
        /// Of the result bytes that were committed.
        bytes: u64,
    },
    /// What the assembler of a job holds has changed.
    Held {
        /// Which.
        job: JobId,
        /// What it holds now.
        held: Held,
    },
    /// Time passed.
    Tick,
}

/// A worker's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The newest orders it has acted on.
    pub revision: u64,
    /// How many leases it wants at once.
    pub slots: u32,
    /// It wants no more leases.
    pub draining: bool,
    /// The leases it holds: from when it took them up until their commit was answered.
    pub leases: Vec<LeaseReport>,
    /// The jobs whose specs it holds.
    pub jobs: Vec<JobId>,
}

/// How far a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseReport {
    /// Which.
    pub lease: LeaseId,
    /// Grows with every step of progress.
    pub ticks: u64,
    /// Files done so far.
    pub files: u64,
    /// Bytes searched so far.
    pub bytes: u64,
}

/// A commit, without its results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Which shard, and which attempt at it.
    pub lease: LeaseId,
    /// How long it ran.
    pub time: Duration,
    /// The tasks not begun.
    pub remainder: Vec<Task>,
    /// What its results cost.
    pub result_bytes: u64,
}

/// What the assembler of a job holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Of the committed result bytes.
    pub bytes: u64,
    /// What it waits for most; there is one when something is held.
    pub head: Option<Head>,
}

/// The byte of a split file from which its next part shall begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The file's root.
    pub root: u32,
    /// The file's path.
    pub path: Vec<u8>,
    /// Where the next part begins.
    pub offset: u64,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// What the worker shall hold has changed: send it [`Scheduler::orders`].
    Changed(WorkerKey),
    /// The same process attached anew: end this stream.
    Superseded(WorkerKey),
    /// What became of the commit that this event was.
    Settled(Settlement),
    /// These tasks were tried too often and count as done: tell the client.
    Abandoned {
        /// Of which job.
        job: JobId,
        /// What nobody could do.
        tasks: Vec<Task>,
    },
    /// The held parts wait for what will not come: release them as they are.
    ReleaseHeld(JobId),
    /// The job is over and forgotten.
    Finished {
        /// Which.
        job: JobId,
        /// All of it was done or abandoned; otherwise it was cancelled.
        complete: bool,
        /// What it took.
        stats: JobStats,
    },
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It is the first of its shard: its results count.
    Accepted,
    /// It is not: drop its results.
    Duplicate,
    /// There is no such job or shard: drop its results.
    Unknown,
}

/// What a job took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobStats {
    /// Shards that were cut.
    pub shards: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Commits that came too late.
    pub duplicates: u64,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobProgress {
    /// Of [`Weight::WHOLE`].
    pub done: Weight,
    /// Shards leased now.
    pub leased: u64,
    /// Tasks, and shards that were lost, that wait.
    pub waiting: u64,
    /// Files that leases have done and not yet committed.
    pub files: u64,
    /// Bytes, likewise.
    pub bytes: u64,
}

/// What a worker shall hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    /// Counts the changes.
    pub revision: u64,
    /// The leases; any other is to be dropped without a commit.
    pub held: Vec<LeaseId>,
    /// Those that the worker has not reported yet, in full.
    pub grants: Vec<Grant>,
    /// Of the jobs of the grants, those whose spec the worker has not reported to hold.
    pub jobs: Vec<JobId>,
}

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
