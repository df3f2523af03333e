//! What goes into the hub and comes out of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use regexctl_proto::domain::{BadMessage, BootId, Grant, JobId, LeaseId, Task};
use regexctl_proto::v1;

/// The hub's limits.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Results of a job, in bytes, that are reserved by leases or committed and not yet read.
    pub output_bytes: u64,
    /// The frontier of a job, in `Task::cost`.
    pub frontier_bytes: u64,
    /// The encoded spec of a job, in bytes; it has to fit into a message beside a grant.
    pub spec_bytes: usize,
    /// A lease that made no progress for so long is lost.
    pub lease_ttl: Duration,
    /// A worker whose stream broke keeps its leases for so long.
    pub worker_grace: Duration,
    /// A worker that did not report for so long is given no more leases.
    pub worker_silence: Duration,
    /// A job without a reader is cancelled, or when it is over forgotten, after so long.
    pub orphan_grace: Duration,
    /// Jobs at a time.
    pub max_jobs: usize,
    /// Attached workers at a time.
    pub max_workers: usize,
    /// A shard whose lease was lost so often is given up.
    pub max_attempts: u32,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            output_bytes: 16 << 20,
            frontier_bytes: 16 << 20,
            spec_bytes: 2 << 20,
            lease_ttl: Duration::from_secs(30),
            worker_grace: Duration::from_secs(1),
            worker_silence: Duration::from_secs(2),
            orphan_grace: Duration::from_secs(10),
            max_jobs: 64,
            max_workers: 4096,
            max_attempts: 8,
        }
    }
}

impl HubConfig {
    /// For a hub and a worker in one process: there is no message to fit into, and nobody to give a
    /// slow shard to, so a lease does not expire and the worker need not report at intervals.
    pub fn embedded() -> Self {
        Self {
            spec_bytes: usize::MAX,
            lease_ttl: Duration::MAX,
            worker_silence: Duration::MAX,
            ..Self::default()
        }
    }
}

/// Who attaches.
#[derive(Debug, Clone)]
pub struct Hello {
    /// The node's name, for people.
    pub name: String,
    /// Where it is, for people.
    pub address: String,
    /// Which life of the process.
    pub boot_id: BootId,
    /// The version of its program.
    pub version: String,
    /// How many threads it scans with.
    pub threads: u32,
    /// How many leases it wants at once, 1 to `MAX_SLOTS`.
    pub slots: u32,
}

/// How busy a worker is, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// 1 minute load average times 100.
    pub load_centi: u32,
    /// Over the last seconds.
    pub files_per_second: u64,
    /// Over the last seconds.
    pub bytes_per_second: u64,
}

/// What a worker shall hold now.
#[derive(Debug, Clone, Default)]
pub struct WorkerOrders {
    /// Counts the changes.
    pub revision: u64,
    /// The leases; any other is to be dropped without a commit.
    pub held: Vec<LeaseId>,
    /// Those that the worker has not reported yet, in full.
    pub grants: Vec<Grant>,
    /// Specs for the grants that the worker has not reported to hold.
    pub jobs: Vec<(JobId, Arc<v1::JobSpec>)>,
}

/// A shard that was done, at least in part.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Which shard, and which attempt at it.
    pub lease: LeaseId,
    /// Who did it.
    pub boot_id: BootId,
    /// What became of the entries it came upon.
    pub tally: v1::Tally,
    /// How long it ran.
    pub time: Duration,
    /// The tasks not begun.
    pub remainder: Vec<Task>,
    /// The results.
    pub results: Vec<v1::ResultBatch>,
}

/// Why a job was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It breaks a rule of the protocol.
    #[error(transparent)]
    Bad(#[from] BadMessage),
    /// A limit; the message names it.
    #[error("{what}: {value}, the limit is {limit}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        value: usize,
        /// How much is allowed.
        limit: usize,
    },
    /// The master ends.
    #[error("master is stopping")]
    Stopping,
}

/// Why a worker was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// It breaks a rule of the protocol.
    #[error(transparent)]
    Bad(#[from] BadMessage),
    /// There are too many.
    #[error("too many workers: the limit is {0}")]
    TooMany(usize),
    /// The master ends.
    #[error("master is stopping")]
    Stopping,
}

/// Why a job's results cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResultsError {
    /// There is no such job, or it is over and was read.
    #[error("job {} is not known: it is over, or the master was started anew", .0.0)]
    Unknown(JobId),
    /// A job has one reader.
    #[error("job {} has a reader", .0.0)]
    Taken(JobId),
    /// A reader took some results and went away.
    #[error("job {} was read in part, and results are not kept; submit it again", .0.0)]
    Partial(JobId),
}

/// Called when a worker's orders have changed.
#[derive(Clone)]
pub(crate) struct Wake(pub(crate) Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wake")
    }
}
