//! How many leases and commits the scheduler handles.
//!
//! `cargo bench -p regexctl-master --bench scheduler`; an item is one cycle of a commit with a remainder and the
//! lease that follows.

use std::collections::VecDeque;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use regexctl_master::scheduler::{Committed, Config, Event, Scheduler, WorkerKey};
use regexctl_proto::domain::{BootId, JobId, LeaseId, Slice, Task, TaskKind, Weight};

const TASKS: u64 = 100_000;
const CYCLES: usize = 10_000;

fn main() {
    divan::main();
}

fn tree(index: u64, weight: Weight) -> Task {
    Task {
        root: 0,
        weight,
        kind: TaskKind::Tree {
            path: format!("projects/{:03}/src/{index}", index % 1000).into_bytes(),
            slice: Slice::WHOLE,
        },
    }
}

/// A scheduler with `workers` workers of two slots, and a job of [`TASKS`] directories, all slots leased.
fn busy(workers: u64) -> Scheduler {
    let mut scheduler = Scheduler::new(Config {
        frontier_bytes: 64 << 20,
        output_bytes: 1 << 30,
        ..Config::default()
    });
    let mut handle = |event| {
        scheduler
            .handle(Duration::ZERO, event)
            .expect("the events keep the rules")
    };
    for worker in 0..workers {
        let mut boot = [0; 16];
        boot[..8].copy_from_slice(&worker.to_le_bytes());
        handle(Event::Attached {
            worker: WorkerKey(worker),
            name: format!("node{worker}").as_str().into(),
            boot: BootId(boot),
            slots: 2,
        });
    }
    let tasks = (0..TASKS)
        .zip(Weight::WHOLE.split(TASKS))
        .map(|(index, weight)| tree(index, weight))
        .collect();
    handle(Event::Submitted {
        job: JobId(1),
        roots: 1,
        tasks,
    });
    scheduler
}

/// Every lease is committed with a remainder of eight tasks, and its worker's orders are made.
fn cycle(mut scheduler: Scheduler, workers: u64) -> Scheduler {
    let mut held: VecDeque<(WorkerKey, LeaseId)> = VecDeque::new();
    let mut now = Duration::ZERO;
    let mut next = 0;
    for n in 0..CYCLES {
        if held.is_empty() {
            for worker in (0..workers).map(WorkerKey) {
                let orders = scheduler.orders(worker).expect("it is attached");
                held.extend(orders.held.into_iter().map(|lease| (worker, lease)));
            }
        }
        let (worker, lease) = held.pop_front().expect("the job is not over");
        now += Duration::from_micros(100);
        next = TASKS + n as u64 * 8;
        let remainder = (next..next + 8).map(|i| tree(i, Weight(0))).collect();
        let commit = Committed {
            lease,
            time: Duration::from_millis(20),
            remainder,
            result_bytes: 0,
        };
        scheduler
            .handle(now, Event::Committed(commit))
            .expect("the commit keeps the rules");
        divan::black_box(scheduler.orders(worker));
    }
    divan::black_box(next);
    scheduler
}

#[divan::bench(args = [1, 100, 1000], sample_count = 10)]
fn commit_and_lease(bencher: Bencher<'_, '_>, workers: u64) {
    bencher
        .counter(ItemsCount::new(CYCLES))
        .with_inputs(|| busy(workers))
        .bench_values(|scheduler| cycle(scheduler, workers));
}
