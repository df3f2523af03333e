//! What goes into the scheduler and comes out of it.

use std::sync::Arc;
use std::time::Duration;

use regexctl_proto::domain::{BootId, Grant, JobId, LeaseId, Task, Weight};

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
    /// What the worker shall hold has changed: send it [`Scheduler::orders`](super::Scheduler::orders).
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
