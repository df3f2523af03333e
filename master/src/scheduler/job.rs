//! One job: its frontier, its open shards, and what its output allows.
//!
//! A shard is **open** from its first lease to its first commit. Between leases, when one
//! was lost, it waits in `lost` to be leased again as the next attempt; it stays the same shard, so that a late
//! commit of an earlier attempt still counts and ends it.
//!
//! Invariants:
//! * weights: `done` + those of open shards + those of the frontier = that of the job;
//! * `outstanding` and `extra` sum up the budgets of the leases that exist now;
//! * memory: cost of the frontier + cost of the open shards + `extra` <= the frontier's limit,
//!   but for what the job began with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regexctl_proto::domain::{
    Attempt, BadMessage, Budget, JobId, LeaseId, ShardId, Task, TaskKind, Weight,
};

use super::budget::{Crew, Pace};
use super::frontier::{Frontier, Pick};
use super::worker::Worker;
use super::{Committed, Config, Head, Held, JobStats, LeaseReport, Settlement, WorkerKey};

/// The largest single task, in `Task::cost`; larger ones would not fit into a grant.
const MAX_TASK_COST: u64 = 1 << 20;

/// A shard's lease.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) worker: WorkerKey,
    budget: Budget,
    /// When its ticks last grew.
    renewed: Duration,
    ticks: u64,
    files: u64,
    bytes: u64,
    /// The revision of the worker's orders that first named it.
    pub(super) revision: u64,
    /// Since when the worker's reports lack it.
    pub(super) missing: Option<Duration>,
}

#[derive(Debug)]
struct Shard {
    tasks: Vec<Task>,
    weight: Weight,
    cost: u64,
    /// The last attempt that was leased.
    attempt: Attempt,
    lease: Option<Lease>,
}

/// What became of a request for a shard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Supply {
    /// It is leased.
    Leased(LeaseId),
    /// There is nothing now.
    Nothing,
    /// There will never be anything unless the held parts are released as they are.
    Stuck,
}

/// What became of a shard whose lease was lost.
#[derive(Debug)]
pub(super) enum Loss {
    /// It waits for its next attempt.
    Waits,
    /// It was tried too often; these tasks are given up.
    Abandoned(Vec<Task>),
}

/// See the module's comment.
#[derive(Debug)]
pub(super) struct Job {
    id: JobId,
    roots: u32,
    frontier: Frontier,
    shards: BTreeMap<ShardId, Shard>,
    /// The open shards without a lease.
    lost: BTreeSet<ShardId>,
    pace: Pace,
    done: Weight,
    /// The sum of `Shard::cost`.
    shards_cost: u64,
    /// By how much the remainder budgets exceed what the shards cost.
    extra: u64,
    /// The sum of the result budgets.
    outstanding: u64,
    /// Committed, not yet delivered.
    undelivered: u64,
    held: Held,
    /// The held parts are about to be released as they are.
    releasing: bool,
    stats: JobStats,
}

impl Job {
    pub(super) fn new(id: JobId, now: Duration, roots: u32, tasks: Vec<Task>) -> Self {
        let mut frontier = Frontier::default();
        let weight: u64 = tasks.iter().map(|task| task.weight.0).sum();
        frontier.push(tasks);
        Self {
            id,
            roots,
            frontier,
            shards: BTreeMap::new(),
            lost: BTreeSet::new(),
            pace: Pace::new(now),
            // What no task carries is nothing to wait for.
            done: Weight(Weight::WHOLE.0.saturating_sub(weight)),
            shards_cost: 0,
            extra: 0,
            outstanding: 0,
            undelivered: 0,
            held: Held::default(),
            releasing: false,
            stats: JobStats::default(),
        }
    }

    /// Checks tasks that came from outside; they may weigh `limit` together.
    pub(super) fn check_tasks(tasks: &[Task], roots: u32, limit: Weight) -> Result<(), BadMessage> {
        let mut weight = 0_u64;
        for task in tasks {
            if task.root >= roots {
                let problem = format!("{}, but the job has {roots} roots", task.root);
                return Err(BadMessage::new("Task.root", problem));
            }
            if task.cost() > MAX_TASK_COST {
                let problem = format!("{} bytes, the limit is {MAX_TASK_COST}", task.cost());
                return Err(BadMessage::new("Task", problem));
            }
            weight = weight.saturating_add(task.weight.0);
        }
        if weight > limit.0 {
            let problem = format!("{weight} together, the shard has {}", limit.0);
            return Err(BadMessage::new("Task.weight", problem));
        }
        Ok(())
    }

    pub(super) fn is_finished(&self) -> bool {
        self.frontier.is_empty() && self.shards.is_empty()
    }

    pub(super) fn done(&self) -> Weight {
        self.done
    }

    pub(super) fn stats(&self) -> JobStats {
        self.stats
    }

    pub(super) fn leases(&self) -> impl Iterator<Item = (LeaseId, &Lease)> {
        self.shards.iter().filter_map(|(&id, shard)| {
            let lease = shard.lease.as_ref()?;
            Some((self.lease_id(id, shard.attempt), lease))
        })
    }

    /// Leases, tasks that wait, and the files and bytes that the leases have done.
    pub(super) fn progress(&self) -> (u64, u64, u64, u64) {
        let waiting = self.frontier.len() + self.lost.len();
        self.leases().fold(
            (0, waiting as u64, 0_u64, 0_u64),
            |(n, waiting, files, bytes), (_, lease)| {
                (
                    n + 1,
                    waiting,
                    files.saturating_add(lease.files),
                    bytes.saturating_add(lease.bytes),
                )
            },
        )
    }

    /// The memory that the frontier's limit counts.
    pub(super) fn frontier_bytes(&self) -> u64 {
        self.frontier.cost() + self.shards_cost
    }

    /// The bytes that the output's limit counts.
    pub(super) fn output_bytes(&self) -> u64 {
        self.outstanding + self.undelivered
    }

    fn lease_id(&self, shard: ShardId, attempt: Attempt) -> LeaseId {
        LeaseId {
            job: self.id,
            shard,
            attempt,
        }
    }

    // ---- granting

    /// Leases a shard to `worker`, if there is work and the output allows it.
    pub(super) fn supply(
        &mut self,
        now: Duration,
        config: &Config,
        crew: Crew,
        key: WorkerKey,
        worker: &Worker,
    ) -> Supply {
        let result_bytes = crew.result_bytes(config.output_bytes);
        // Out of the way of the borrow checker; put back below.
        let held = std::mem::take(&mut self.held);
        let pick = self.pick(config, result_bytes, &held);
        let free_choice = matches!(pick, Some(Pick::Any(_)));
        let shard = pick.and_then(|pick| {
            self.retry(pick)
                .or_else(|| self.cut(now, crew, worker, pick))
        });
        self.held = held;
        let Some(shard) = shard else {
            return self.nothing(free_choice);
        };
        self.lease(
            now,
            config,
            crew,
            (key, worker.revision + 1),
            shard,
            result_bytes,
        )
    }

    /// Which tasks may be leased now.
    fn pick<'a>(&self, config: &Config, result_bytes: u64, held: &'a Held) -> Option<Pick<'a>> {
        let used = self.output_bytes();
        let room = used == 0 || used + result_bytes <= config.output_bytes;
        let blocking = held.head.as_ref();
        match blocking {
            _ if room && held.bytes <= config.output_bytes / 2 => Some(Pick::Any(blocking)),
            Some(file) if room => Some(Pick::File(file)),
            // Full of parts that wait for one that nobody works on.
            Some(file) if self.only(held) => Some(Pick::Head(file)),
            _ => None,
        }
    }

    /// Nothing is leased, and the reader has taken all that it can be given.
    fn only(&self, held: &Held) -> bool {
        self.shards.len() == self.lost.len() && self.undelivered <= held.bytes
    }

    /// There was no shard to lease. That ends by itself when a lease ends or the reader
    /// reads on; otherwise, held parts that wait for one that does not exist are in the way.
    fn nothing(&mut self, free_choice: bool) -> Supply {
        let waits_for_held = self.held.bytes > 0 && self.only(&self.held) && !self.is_finished();
        if free_choice || !waits_for_held || self.releasing {
            return Supply::Nothing;
        }
        self.releasing = true;
        Supply::Stuck
    }

    /// A shard whose lease was lost.
    fn retry(&mut self, pick: Pick<'_>) -> Option<ShardId> {
        let id = match pick {
            Pick::Any(_) | Pick::File(_) => self.lost.first().copied(),
            Pick::Head(head) => self
                .lost
                .iter()
                .find(|id| self.shards[id].tasks.iter().any(|task| heads(task, head)))
                .copied(),
        }?;
        self.lost.remove(&id);
        Some(id)
    }

    /// A new shard of the frontier.
    fn cut(
        &mut self,
        now: Duration,
        crew: Crew,
        worker: &Worker,
        pick: Pick<'_>,
    ) -> Option<ShardId> {
        let waiting = self.frontier.len();
        let time = self.pace.time(now, crew, waiting, self.done);
        let portion = self.pace.portion(crew, worker.slots, waiting, time);
        let tasks = self.frontier.take(portion, pick);
        if tasks.is_empty() {
            return None;
        }
        self.stats.shards += 1;
        let id = ShardId(self.stats.shards);
        let cost = tasks.iter().map(Task::cost).sum();
        self.shards_cost += cost;
        let shard = Shard {
            weight: Weight(tasks.iter().map(|task| task.weight.0).sum()),
            cost,
            tasks,
            attempt: Attempt(0),
            lease: None,
        };
        self.shards.insert(id, shard);
        Some(id)
    }

    fn lease(
        &mut self,
        now: Duration,
        config: &Config,
        crew: Crew,
        (worker, revision): (WorkerKey, u64),
        id: ShardId,
        result_bytes: u64,
    ) -> Supply {
        let free = config
            .frontier_bytes
            .saturating_sub(self.frontier_bytes() + self.extra);
        let time = self.pace.time(now, crew, self.frontier.len(), self.done);
        let Some(shard) = self.shards.get_mut(&id) else {
            return Supply::Nothing;
        };
        shard.attempt.0 += 1;
        let extra = crew.remainder_bytes(free);
        let budget = Budget {
            time,
            result_bytes,
            remainder_bytes: shard.cost + extra,
        };
        shard.lease = Some(Lease {
            worker,
            budget,
            renewed: now,
            ticks: 0,
            files: 0,
            bytes: 0,
            revision,
            missing: None,
        });
        let attempt = shard.attempt;
        self.extra += extra;
        self.outstanding += result_bytes;
        if attempt.0 > 1 {
            self.stats.retries += 1;
        }
        Supply::Leased(self.lease_id(id, attempt))
    }

    /// What a lease covers, for its grant.
    pub(super) fn contents(&self, lease: LeaseId) -> Option<(Budget, &[Task])> {
        let shard = self.shards.get(&lease.shard)?;
        let held = shard.lease.as_ref()?;
        (shard.attempt == lease.attempt).then_some((held.budget, &shard.tasks))
    }

    // ---- leases

    /// The lease, if it still is one.
    pub(super) fn lease_mut(&mut self, lease: LeaseId) -> Option<&mut Lease> {
        let shard = self.shards.get_mut(&lease.shard)?;
        if shard.attempt != lease.attempt {
            return None;
        }
        shard.lease.as_mut()
    }

    /// Takes up what a worker reports of a lease; true when it has grown.
    pub(super) fn renew(&mut self, now: Duration, report: &LeaseReport) -> bool {
        let Some(lease) = self.lease_mut(report.lease) else {
            return false;
        };
        lease.missing = None;
        lease.files = report.files;
        lease.bytes = report.bytes;
        let grown = report.ticks > lease.ticks;
        if grown {
            lease.ticks = report.ticks;
            lease.renewed = now;
        }
        grown
    }

    /// The leases that stood still for `ttl`.
    pub(super) fn expired(&self, now: Duration, ttl: Duration) -> Vec<LeaseId> {
        self.leases()
            .filter(|(_, lease)| now.saturating_sub(lease.renewed) >= ttl)
            .map(|(id, _)| id)
            .collect()
    }

    /// Ends a lease without a commit.
    pub(super) fn lose(&mut self, lease: LeaseId, max_attempts: u32) -> Loss {
        if self.end_lease(lease.shard).is_none() {
            return Loss::Waits;
        }
        let tried = self
            .shards
            .get(&lease.shard)
            .is_some_and(|shard| shard.attempt.0 >= max_attempts);
        if !tried {
            self.lost.insert(lease.shard);
            return Loss::Waits;
        }
        match self.close(lease.shard) {
            None => Loss::Waits,
            Some(shard) => {
                self.done.0 += shard.weight.0;
                Loss::Abandoned(shard.tasks)
            }
        }
    }

    /// Gives back what the shard's lease has reserved; returns who held it.
    fn end_lease(&mut self, id: ShardId) -> Option<Lease> {
        let shard = self.shards.get_mut(&id)?;
        let lease = shard.lease.take()?;
        self.extra -= lease.budget.remainder_bytes - shard.cost;
        self.outstanding -= lease.budget.result_bytes;
        Some(lease)
    }

    fn close(&mut self, id: ShardId) -> Option<Shard> {
        self.lost.remove(&id);
        let shard = self.shards.remove(&id)?;
        self.shards_cost -= shard.cost;
        Some(shard)
    }

    // ---- committing

    /// Takes a commit. With `Accepted` comes the lease that the shard had, if it had one; it is over.
    pub(super) fn commit(
        &mut self,
        commit: Committed,
        config: &Config,
    ) -> Result<(Settlement, Option<(LeaseId, WorkerKey)>), BadMessage> {
        let id = commit.lease.shard;
        let Some(shard) = self.shards.get(&id) else {
            if id.0 == 0 || id.0 > self.stats.shards {
                return Ok((Settlement::Unknown, None));
            }
            self.stats.duplicates += 1;
            return Ok((Settlement::Duplicate, None));
        };
        if commit.lease.attempt > shard.attempt {
            return Err(BadMessage::new("Lease.attempt", "was never leased"));
        }
        Self::check_tasks(&commit.remainder, self.roots, shard.weight)?;
        let cost: u64 = commit.remainder.iter().map(Task::cost).sum();
        if cost > config.frontier_bytes.max(shard.cost) {
            let problem = format!(
                "{cost} bytes, the frontier may have {}",
                config.frontier_bytes
            );
            return Err(BadMessage::new("CommitRemainder.tasks", problem));
        }
        let current = self.lease_id(id, shard.attempt);
        let holder = self.end_lease(id).map(|lease| (current, lease.worker));
        let whole = self.close(id).map_or(Weight(0), |shard| shard.weight);
        let back: u64 = commit.remainder.iter().map(|task| task.weight.0).sum();
        // `back` is at most `whole`: checked above.
        let progress = Weight(whole.0 - back);
        self.done.0 += progress.0;
        self.pace.observe(progress, commit.time);
        self.undelivered += commit.result_bytes;
        self.frontier.push(commit.remainder);
        Ok((Settlement::Accepted, holder))
    }

    /// The reader took so many bytes, or the assembler dropped them.
    pub(super) fn delivered(&mut self, bytes: u64) {
        self.undelivered = self.undelivered.saturating_sub(bytes);
    }

    pub(super) fn set_held(&mut self, held: Held) {
        self.held = held;
        self.releasing = false;
    }
}

/// Whether `task` is the range in which the head lies.
fn heads(task: &Task, head: &Head) -> bool {
    match &task.kind {
        TaskKind::Range {
            path, start, end, ..
        } => task.root == head.root && *path == head.path && (*start..*end).contains(&head.offset),
        TaskKind::Tree { .. } | TaskKind::Paths { .. } => false,
    }
}
