//! Every transition of the scheduler, as events in and orders out.

mod jobs;
mod leases;
mod model;
mod simulation;

use std::time::Duration;

use regexctl_proto::domain::{
    Attempt, BadMessage, BootId, Grant, JobId, LeaseId, ShardId, Slice, Task, TaskKind, Weight,
};

use super::*;

/// A scheduler, its clock, and short ways to say what happens.
struct World {
    scheduler: Scheduler,
    now: Duration,
    workers: u64,
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl World {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        Self {
            scheduler: Scheduler::new(config),
            now: ms(1000),
            workers: 0,
        }
    }

    fn handle(&mut self, event: Event) -> Vec<Order> {
        self.scheduler
            .handle(self.now, event)
            .expect("the event keeps the rules")
    }

    fn attach_as(&mut self, name: &str, boot: u8, slots: u32) -> (WorkerKey, Vec<Order>) {
        self.workers += 1;
        let worker = WorkerKey(self.workers);
        let orders = self.handle(Event::Attached {
            worker,
            name: name.into(),
            boot: BootId([boot; 16]),
            slots,
        });
        (worker, orders)
    }

    /// A worker of its own name and boot id.
    fn attach(&mut self, slots: u32) -> WorkerKey {
        let boot = u8::try_from(self.workers + 1).expect("few workers");
        self.attach_as(&format!("w{boot}"), boot, slots).0
    }

    fn submit(&mut self, job: u64, tasks: Vec<Task>) -> Vec<Order> {
        self.handle(Event::Submitted {
            job: JobId(job),
            roots: 1,
            tasks,
        })
    }

    /// A job of `count` directories.
    fn submit_dirs(&mut self, job: u64, count: u64) -> Vec<Order> {
        self.submit(job, dirs("d", count, Weight::WHOLE))
    }

    fn grants(&self, worker: WorkerKey) -> Vec<Grant> {
        self.orders(worker).grants
    }

    fn orders(&self, worker: WorkerKey) -> Orders {
        self.scheduler.orders(worker).expect("it is attached")
    }

    fn report(&mut self, worker: WorkerKey, leases: &[(LeaseId, u64)]) -> Vec<Order> {
        let report = Report {
            revision: self.orders(worker).revision,
            slots: 1,
            draining: false,
            leases: leases
                .iter()
                .map(|&(lease, ticks)| LeaseReport {
                    lease,
                    ticks,
                    files: ticks,
                    bytes: ticks * 10,
                })
                .collect(),
            jobs: Vec::new(),
        };
        self.handle(Event::Reported { worker, report })
    }

    fn try_commit(
        &mut self,
        lease: LeaseId,
        remainder: Vec<Task>,
        result_bytes: u64,
    ) -> Result<Vec<Order>, BadMessage> {
        let commit = Committed {
            lease,
            time: ms(10),
            remainder,
            result_bytes,
        };
        self.scheduler.handle(self.now, Event::Committed(commit))
    }

    fn commit(&mut self, lease: LeaseId, remainder: Vec<Task>) -> Vec<Order> {
        self.try_commit(lease, remainder, 0)
            .expect("the commit keeps the rules")
    }

    fn tick_after(&mut self, time: Duration) -> Vec<Order> {
        self.now += time;
        self.handle(Event::Tick)
    }

    fn progress(&self, job: u64) -> JobProgress {
        self.scheduler
            .progress(JobId(job))
            .expect("the job is not over")
    }
}

fn tree(path: &str, weight: Weight) -> Task {
    Task {
        root: 0,
        weight,
        kind: TaskKind::Tree {
            path: path.into(),
            slice: Slice::WHOLE,
        },
    }
}

fn dirs(prefix: &str, count: u64, weight: Weight) -> Vec<Task> {
    weight
        .split(count)
        .enumerate()
        .map(|(i, weight)| tree(&format!("{prefix}{i}"), weight))
        .collect()
}

fn range(start: u64, end: u64, weight: Weight) -> Task {
    Task {
        root: 0,
        weight,
        kind: TaskKind::Range {
            path: b"big".to_vec(),
            start,
            end,
            size: 100,
        },
    }
}

fn total(tasks: &[Task]) -> Weight {
    Weight(tasks.iter().map(|task| task.weight.0).sum())
}

fn settled(orders: &[Order]) -> Settlement {
    orders
        .iter()
        .find_map(|order| match order {
            Order::Settled(settlement) => Some(*settlement),
            _ => None,
        })
        .expect("a commit is settled")
}

fn finished(orders: &[Order]) -> Option<(bool, JobStats)> {
    orders.iter().find_map(|order| match order {
        Order::Finished {
            complete, stats, ..
        } => Some((*complete, *stats)),
        _ => None,
    })
}
