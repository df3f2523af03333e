//! What is behind the hub's lock, and how it does what the scheduler orders.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use regexctl_proto::domain::{BootId, JobId};
use regexctl_proto::v1::JobOutcome;

use super::job::{Job, Reader, Settled};
use super::types::{Hello, Load, Wake};
use crate::scheduler::{Event, Order, Scheduler, WorkerKey};

/// So many lives of workers are remembered, for the names of nodes in late commits.
const MAX_BOOTS: usize = 16_384;

#[derive(Debug)]
pub(super) struct State {
    pub(super) scheduler: Scheduler,
    pub(super) jobs: BTreeMap<JobId, Job>,
    pub(super) workers: BTreeMap<WorkerKey, Attachment>,
    /// The names of the nodes, the newest boots last.
    pub(super) nodes: BTreeMap<BootId, Arc<str>>,
    pub(super) boots: VecDeque<BootId>,
    pub(super) next_job: u64,
    pub(super) next_worker: u64,
    pub(super) stopping: bool,
    pub(super) max_attempts: u32,
    /// Whom to wake when the lock is released.
    pub(super) wakes: Vec<Wake>,
}

#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) hello: Hello,
    pub(super) wake: Wake,
    pub(super) attached: Duration,
    pub(super) load: Load,
    pub(super) draining: bool,
    /// The last orders left something out.
    pub(super) truncated: bool,
}

impl State {
    /// An event that cannot break a rule.
    pub(super) fn happen(&mut self, now: Duration, event: Event) {
        match self.scheduler.handle(now, event) {
            Ok(orders) => self.obey(now, orders),
            Err(error) => tracing::error!(%error, "the scheduler refused an event of the hub"),
        }
    }

    pub(super) fn obey(&mut self, now: Duration, orders: Vec<Order>) {
        for order in orders {
            match order {
                Order::Changed(key) => {
                    if let Some(worker) = self.workers.get(&key) {
                        self.wakes.push(worker.wake.clone());
                    }
                }
                Order::Superseded(key) => {
                    if let Some(worker) = self.workers.remove(&key) {
                        self.wakes.push(worker.wake);
                    }
                }
                // Looked at by `commit`.
                Order::Settled(_) => {}
                Order::Abandoned { job, tasks } => {
                    let attempts = self.max_attempts;
                    self.settle_with(now, job, |job| job.abandon(&tasks, attempts));
                }
                Order::ReleaseHeld(job) => self.settle_with(now, job, Job::release_all),
                Order::Finished {
                    job: id,
                    complete,
                    stats,
                } => {
                    if let Some(job) = self.jobs.get_mut(&id) {
                        let outcome = if complete {
                            JobOutcome::Complete
                        } else {
                            JobOutcome::Cancelled
                        };
                        tracing::info!(
                            job = id.0,
                            complete,
                            shards = stats.shards,
                            retries = stats.retries,
                            "job ended"
                        );
                        job.end(outcome, "", stats);
                    }
                }
            }
        }
    }

    fn settle_with(&mut self, now: Duration, id: JobId, act: impl FnOnce(&mut Job) -> Settled) {
        if let Some(job) = self.jobs.get_mut(&id) {
            let settled = act(job);
            self.settle(now, id, settled);
        }
    }

    /// Tells the scheduler what became of results.
    pub(super) fn settle(&mut self, now: Duration, job: JobId, settled: Settled) {
        if let Some(held) = settled.held {
            self.happen(now, Event::Held { job, held });
        }
        if settled.dropped > 0 {
            let bytes = settled.dropped;
            self.happen(now, Event::Delivered { job, bytes });
        }
    }

    pub(super) fn bury_orphans(&mut self, now: Duration, grace: Duration) {
        let orphans: Vec<JobId> = self
            .jobs
            .iter()
            .filter(|(_, job)| match job.reader {
                Reader::Absent(since) => now.saturating_sub(since) >= grace,
                Reader::Present => false,
            })
            .map(|(&id, _)| id)
            .collect();
        for job in orphans {
            self.happen(now, Event::Cancelled { job });
            self.jobs.remove(&job);
        }
    }

    pub(super) fn remember(&mut self, boot: BootId, name: &Arc<str>) {
        if self.nodes.insert(boot, Arc::clone(name)).is_none() {
            self.boots.push_back(boot);
        }
        if self.boots.len() > MAX_BOOTS
            && let Some(oldest) = self.boots.pop_front()
        {
            self.nodes.remove(&oldest);
        }
    }
}
