//! The hub: scheduler, results and time, behind one lock.
//!
//! Both the gRPC service and the embedded mode drive it, by the same calls. Its methods do
//! not wait, need no runtime, and can be called from threads and from async
//! code. It does no input or output.
//!
//! What the scheduler orders is done here: wakes are called, when the lock is released; results
//! go through the job's assembler into its outbox; ends are told. Whatever that tells the scheduler in turn (bytes
//! delivered, parts held) is handed to it before the call returns.
//!
//! Whoever drives the hub calls [`Hub::tick`] about ten times a second.
//!
//! Job ids begin at the wall clock's milliseconds, so that a commit for a job of a master before
//! this one is not taken for one of ours.

mod job;
mod reader;
mod state;
mod tasks;
mod types;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prost::Message as _;
use regexctl_proto::domain::{BadMessage, JobId, Task, batch_cost, check_slots};
use regexctl_proto::limits::MAX_ROOTS;
use regexctl_proto::v1::{self, CommitOutcome, JobOutcome};

use crate::scheduler::{
    Committed, Config, Event, JobStats, Order, Report, Scheduler, Settlement, WorkerKey,
};
use job::{Job, Reader};
pub use reader::ResultsReader;
use state::{Attachment, State};
pub use tasks::initial_tasks;
use types::Wake;
pub use types::{
    AttachError, Commit, Hello, HubConfig, Load, ResultsError, SubmitError, WorkerOrders,
};

/// The orders of a worker in one message, in `Task::cost` and bytes of specs; beyond it, grants wait for the
/// next message.
const ORDERS_BYTES: u64 = 3 << 20;

/// See the module's comment. Clones are handles of the same hub.
#[derive(Debug, Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: HubConfig,
    started: Instant,
    state: Mutex<State>,
}

impl Hub {
    /// A hub without workers and jobs.
    pub fn new(config: HubConfig) -> Self {
        let scheduler = Scheduler::new(Config {
            frontier_bytes: config.frontier_bytes,
            output_bytes: config.output_bytes,
            lease_ttl: config.lease_ttl,
            worker_grace: config.worker_grace,
            worker_silence: config.worker_silence,
            max_attempts: config.max_attempts,
        });
        let millis = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |since| since.as_millis());
        let state = State {
            scheduler,
            jobs: BTreeMap::new(),
            workers: BTreeMap::new(),
            nodes: BTreeMap::new(),
            boots: VecDeque::new(),
            next_job: u64::try_from(millis).unwrap_or(1),
            next_worker: 1,
            stopping: false,
            max_attempts: config.max_attempts,
            wakes: Vec::new(),
        };
        Self {
            shared: Arc::new(Shared {
                config,
                started: Instant::now(),
                state: Mutex::new(state),
            }),
        }
    }

    fn now(&self) -> Duration {
        self.shared.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .expect("nothing panics while it holds the lock")
    }

    /// Runs `act` under the lock, and calls the wakes behind it.
    fn with<T>(&self, act: impl FnOnce(&mut State, Duration) -> T) -> T {
        let now = self.now();
        let (result, wakes) = {
            let mut state = self.lock();
            let result = act(&mut state, now);
            (result, std::mem::take(&mut state.wakes))
        };
        for wake in wakes {
            (wake.0)();
        }
        result
    }

    // ---- clients

    /// Takes a job; it begins at once. [`initial_tasks`] makes its tasks.
    pub fn submit(&self, spec: v1::JobSpec, tasks: Vec<Task>) -> Result<JobId, SubmitError> {
        let config = &self.shared.config;
        let limit = |what, value, limit| {
            if value > limit {
                return Err(SubmitError::Limit { what, value, limit });
            }
            Ok(())
        };
        if spec.roots.is_empty() {
            return Err(BadMessage::new("JobSpec.roots", "there is none").into());
        }
        limit("roots", spec.roots.len(), MAX_ROOTS)?;
        let spec_bytes = spec.encoded_len();
        limit("bytes of the job's spec", spec_bytes, config.spec_bytes)?;
        self.with(|state, now| {
            if state.stopping {
                return Err(SubmitError::Stopping);
            }
            limit("jobs", state.jobs.len() + 1, config.max_jobs)?;
            let id = JobId(state.next_job);
            let spec = Arc::new(spec);
            let event = Event::Submitted {
                job: id,
                roots: u32::try_from(spec.roots.len()).unwrap_or(u32::MAX),
                tasks,
            };
            let orders = state.scheduler.handle(now, event)?;
            state.next_job += 1;
            let job = Job::new(now, spec, spec_bytes, config.output_bytes);
            state.jobs.insert(id, job);
            state.obey(now, orders);
            Ok(id)
        })
    }

    /// The reader of a job's results; there can be one.
    pub fn results(&self, id: JobId) -> Result<ResultsReader, ResultsError> {
        let mut state = self.lock();
        let job = state.jobs.get_mut(&id).ok_or(ResultsError::Unknown(id))?;
        match job.reader {
            Reader::Present => Err(ResultsError::Taken(id)),
            Reader::Absent(_) if job.was_read => Err(ResultsError::Partial(id)),
            Reader::Absent(_) => {
                job.reader = Reader::Present;
                let outbox = Arc::clone(&job.outbox);
                Ok(ResultsReader::new(self.clone(), id, outbox))
            }
        }
    }

    /// Cancels a job; its reader hears of it at once. One that is over or unknown stays as it is.
    pub fn cancel(&self, job: JobId) {
        self.with(|state, now| state.happen(now, Event::Cancelled { job }));
    }

    /// The workers that are attached.
    pub fn nodes(&self) -> Vec<v1::NodeStatus> {
        let now = self.now();
        let state = self.lock();
        let status = |(&key, worker): (&WorkerKey, &Attachment)| v1::NodeStatus {
            name: worker.hello.name.clone(),
            address: worker.hello.address.clone(),
            threads: worker.hello.threads,
            load_centi: worker.load.load_centi,
            files_per_second: worker.load.files_per_second,
            bytes_per_second: worker.load.bytes_per_second,
            leases: u32::try_from(state.scheduler.leases_of(key)).unwrap_or(u32::MAX),
            draining: worker.draining,
            attached_millis: millis(now.saturating_sub(worker.attached)),
            version: worker.hello.version.clone(),
        };
        state.workers.iter().map(status).collect()
    }

    fn delivered(&self, id: JobId, bytes: u64) {
        self.with(|state, now| {
            if let Some(job) = state.jobs.get_mut(&id) {
                job.was_read = true;
            }
            state.happen(now, Event::Delivered { job: id, bytes });
        });
    }

    fn reader_gone(&self, id: JobId) {
        let now = self.now();
        if let Some(job) = self.lock().jobs.get_mut(&id) {
            job.reader = Reader::Absent(now);
        }
    }

    fn forget(&self, id: JobId) {
        self.lock().jobs.remove(&id);
    }

    // ---- workers

    /// Takes a worker. `wake` is called, never under the hub's lock, whenever its orders have changed; after
    /// the first call of [`Hub::orders`] that gives none, not again.
    pub fn attach(
        &self,
        hello: Hello,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<WorkerKey, AttachError> {
        check_slots(hello.slots)?;
        let max_workers = self.shared.config.max_workers;
        self.with(|state, now| {
            if state.stopping {
                return Err(AttachError::Stopping);
            }
            if state.workers.len() >= max_workers {
                return Err(AttachError::TooMany(max_workers));
            }
            let key = WorkerKey(state.next_worker);
            state.next_worker += 1;
            let name: Arc<str> = hello.name.as_str().into();
            state.remember(hello.boot_id, &name);
            let event = Event::Attached {
                worker: key,
                name,
                boot: hello.boot_id,
                slots: hello.slots,
            };
            let attachment = Attachment {
                hello,
                wake: Wake(Arc::new(wake)),
                attached: now,
                load: Load::default(),
                draining: false,
                truncated: false,
            };
            state.workers.insert(key, attachment);
            state.happen(now, event);
            Ok(key)
        })
    }

    /// Takes a worker's state. Of one that is not attached any more it is ignored.
    pub fn report(&self, key: WorkerKey, report: Report, load: Load) -> Result<(), BadMessage> {
        check_slots(report.slots)?;
        self.with(|state, now| {
            let Some(worker) = state.workers.get_mut(&key) else {
                return;
            };
            worker.load = load;
            worker.draining = report.draining;
            if std::mem::take(&mut worker.truncated) {
                let wake = worker.wake.clone();
                state.wakes.push(wake);
            }
            let event = Event::Reported {
                worker: key,
                report,
            };
            state.happen(now, event);
        });
        Ok(())
    }

    /// What a worker shall hold now, against its last report. None when it is not attached any more, because it attached
    /// anew or the hub stops: its stream ends.
    pub fn orders(&self, key: WorkerKey) -> Option<WorkerOrders> {
        let mut state = self.lock();
        let state = &mut *state;
        let attachment = state.workers.get_mut(&key)?;
        let mut wanted = state.scheduler.orders(key)?;
        let mut jobs: Vec<(JobId, Arc<v1::JobSpec>)> = Vec::new();
        let mut bytes = 0;
        let mut left_out = BTreeSet::new();
        wanted.grants.retain(|grant| {
            let id = grant.lease.job;
            let known = !wanted.jobs.contains(&id) || jobs.iter().any(|(job, _)| *job == id);
            let spec = state.jobs.get(&id).filter(|_| !known);
            let tasks: u64 = grant.tasks.iter().map(Task::cost).sum();
            let cost = tasks + spec.map_or(0, |job| job.spec_bytes as u64);
            let fits = bytes == 0 || bytes + cost <= ORDERS_BYTES;
            if fits {
                bytes += cost;
                jobs.extend(spec.map(|job| (id, Arc::clone(&job.spec))));
            } else {
                left_out.insert(grant.lease);
            }
            fits
        });
        attachment.truncated = !left_out.is_empty();
        wanted.held.retain(|lease| !left_out.contains(lease));
        Some(WorkerOrders {
            revision: wanted.revision,
            held: wanted.held,
            grants: wanted.grants,
            jobs,
        })
    }

    /// Takes a commit; its results count when it is accepted.
    pub fn commit(&self, commit: Commit) -> Result<CommitOutcome, BadMessage> {
        let lease = commit.lease;
        self.with(|state, now| {
            let Some(node) = state.nodes.get(&commit.boot_id).cloned() else {
                return Ok(CommitOutcome::Unknown);
            };
            let Some(job) = state.jobs.get(&lease.job) else {
                return Ok(CommitOutcome::Unknown);
            };
            check_roots(job, &commit.results)?;
            let event = Event::Committed(Committed {
                lease,
                time: commit.time,
                remainder: commit.remainder,
                result_bytes: commit.results.iter().map(batch_cost).sum(),
            });
            let orders = state.scheduler.handle(now, event)?;
            let settlement = orders.iter().find_map(|order| match order {
                Order::Settled(settlement) => Some(*settlement),
                _ => None,
            });
            if settlement == Some(Settlement::Accepted)
                && let Some(job) = state.jobs.get_mut(&lease.job)
            {
                let settled = job.add(now, lease.shard.0, &node, &commit.tally, commit.results);
                state.settle(now, lease.job, settled);
            }
            state.obey(now, orders);
            Ok(match settlement {
                Some(Settlement::Accepted) => CommitOutcome::Accepted,
                Some(Settlement::Duplicate) => CommitOutcome::Duplicate,
                Some(Settlement::Unknown) | None => CommitOutcome::Unknown,
            })
        })
    }

    /// The worker's stream broke. It keeps its leases for the grace.
    pub fn detach(&self, key: WorkerKey) {
        self.with(|state, now| {
            if state.workers.remove(&key).is_some() {
                state.happen(now, Event::Gone { worker: key });
            }
        });
    }

    // ---- time

    /// Does what is due: losses, orphans, progress. To be called about ten times a second.
    pub fn tick(&self) {
        let orphan_grace = self.shared.config.orphan_grace;
        self.with(|state, now| {
            state.happen(now, Event::Tick);
            state.bury_orphans(now, orphan_grace);
            let workers = u32::try_from(state.workers.len()).unwrap_or(u32::MAX);
            let threads = state.workers.values().fold(0_u32, |sum, worker| {
                sum.saturating_add(worker.hello.threads)
            });
            let mut settled = Vec::new();
            for (&id, job) in state.jobs.iter_mut().filter(|(_, job)| !job.ended) {
                settled.push((id, job.tick(now)));
                if job.progress_due(now)
                    && let Some(progress) = state.scheduler.progress(id)
                {
                    job.tell_progress(progress, workers, threads);
                }
            }
            for (id, settled) in settled {
                state.settle(now, id, settled);
            }
        });
    }

    /// Ends everything: jobs fail with `reason`, workers' streams end, nothing new is taken.
    pub fn stop(&self, reason: &str) {
        self.with(|state, now| {
            state.stopping = true;
            for job in state.jobs.values_mut() {
                job.end(JobOutcome::Failed, reason, JobStats::default());
            }
            let jobs: Vec<JobId> = state.jobs.keys().copied().collect();
            for job in jobs {
                state.happen(now, Event::Cancelled { job });
            }
            let workers = std::mem::take(&mut state.workers);
            state
                .wakes
                .extend(workers.into_values().map(|worker| worker.wake));
        });
    }
}

fn check_roots(job: &Job, results: &[v1::ResultBatch]) -> Result<(), BadMessage> {
    let roots = results.iter().flat_map(|batch| {
        let files = batch.files.iter().map(|file| file.root);
        files.chain(batch.errors.iter().map(|error| error.root))
    });
    match roots.max() {
        Some(root) if root as usize >= job.roots => Err(BadMessage::new(
            "ResultBatch",
            format!("root {root}, but the job has {} roots", job.roots),
        )),
        _ => Ok(()),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
