//! Identifiers and work, as the scheduler and the workers hold them.
//!
//! Every conversion from a message checks what the type promises, and its error
//! says which field broke which rule; conversions to a message cannot fail.

use std::fmt;
use std::time::Duration;

use crate::limits::{MAX_PATH_BYTES, MAX_SLOTS};
use crate::v1;

/// A message that breaks a rule of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad message: {field}: {problem}")]
pub struct BadMessage {
    /// The field, as the `.proto` file names it.
    pub field: &'static str,
    /// The rule that it breaks.
    pub problem: String,
}

impl BadMessage {
    /// A complaint about `field`.
    pub fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self {
            field,
            problem: problem.into(),
        }
    }

    /// A field that must be there and is not.
    pub fn missing(field: &'static str) -> Self {
        Self::new(field, "missing")
    }
}

/// A job, unique in the life of a master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// A shard, unique in its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u64);

/// Which try at a shard; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u32);

/// What a worker holds: one attempt at one shard of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId {
    /// The job.
    pub job: JobId,
    /// The shard of the job.
    pub shard: ShardId,
    /// The attempt at the shard.
    pub attempt: Attempt,
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}#{}", self.job.0, self.shard.0, self.attempt.0)
    }
}

/// One life of a worker process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub [u8; 16]);

/// A share of a job, in parts of [`Weight::WHOLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Weight(pub u64);

impl Weight {
    /// The whole job.
    pub const WHOLE: Self = Self(1 << 60);

    /// Splits into `parts` shares that sum up to `self` exactly; the first take the rest.
    /// With no parts there is nothing to yield.
    pub fn split(self, parts: u64) -> impl Iterator<Item = Self> {
        let each = self.0.checked_div(parts).unwrap_or(0);
        let rest = self.0.checked_rem(parts).unwrap_or(0);
        (0..parts).map(move |i| Self(each + u64::from(i < rest)))
    }
}

/// The entries of one directory whose name hash lies in `start..=end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slice {
    /// The first hash.
    pub start: u32,
    /// The last hash, included.
    pub end: u32,
}

impl Slice {
    /// The whole directory.
    pub const WHOLE: Self = Self {
        start: 0,
        end: u32::MAX,
    };
}

/// A piece of the tree that is not yet done. Tasks of one job never overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Index of the job's root.
    pub root: u32,
    /// The task's share of the job.
    pub weight: Weight,
    /// What is to be done.
    pub kind: TaskKind,
}

/// What a task covers. Paths are relative to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskKind {
    /// A directory with all that is below it; with an empty path, the root, which
    /// may also be a file.
    Tree {
        /// Relative to the root, without `.` and `..`.
        path: Vec<u8>,
        /// Which of its own entries.
        slice: Slice,
    },
    /// Files that the user named, absolute or relative to the root.
    Paths {
        /// As the user named them.
        paths: Vec<Vec<u8>>,
    },
    /// The lines of a large file that begin in `start..end`.
    Range {
        /// Relative to the root, or as named in `Paths`.
        path: Vec<u8>,
        /// First byte.
        start: u64,
        /// Behind the last byte.
        end: u64,
        /// The file's size when it was split.
        size: u64,
    },
}

impl Task {
    /// The task for a whole root.
    pub fn root(root: u32, weight: Weight) -> Self {
        Self {
            root,
            weight,
            kind: TaskKind::Tree {
                path: Vec::new(),
                slice: Slice::WHOLE,
            },
        }
    }

    /// What every task costs beside its paths, in bytes.
    pub const FIXED_COST: usize = 48;

    /// About how many bytes the task takes in memory and on the wire; the measure of the
    /// frontier's limit and of `Budget::remainder_bytes`.
    pub fn cost(&self) -> u64 {
        let variable = match &self.kind {
            TaskKind::Tree { path, .. } | TaskKind::Range { path, .. } => path.len(),
            TaskKind::Paths { paths } => paths.iter().map(|p| p.len() + 8).sum(),
        };
        (Self::FIXED_COST + variable) as u64
    }
}

/// When a shard ends although tasks are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Since the grant was started.
    pub time: Duration,
    /// Results gathered, in bytes.
    pub result_bytes: u64,
    /// The largest remainder, in [`Task::cost`], that may be given back.
    pub remainder_bytes: u64,
}

/// A shard, given to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its name.
    pub lease: LeaseId,
    /// When it ends.
    pub budget: Budget,
    /// What it covers.
    pub tasks: Vec<Task>,
}

impl From<LeaseId> for v1::Lease {
    fn from(lease: LeaseId) -> Self {
        Self {
            job: lease.job.0,
            shard: lease.shard.0,
            attempt: lease.attempt.0,
        }
    }
}

impl TryFrom<v1::Lease> for LeaseId {
    type Error = BadMessage;

    fn try_from(lease: v1::Lease) -> Result<Self, BadMessage> {
        if lease.attempt == 0 {
            return Err(BadMessage::new("Lease.attempt", "counts from 1"));
        }
        Ok(Self {
            job: JobId(lease.job),
            shard: ShardId(lease.shard),
            attempt: Attempt(lease.attempt),
        })
    }
}

impl TryFrom<&[u8]> for BootId {
    type Error = BadMessage;

    fn try_from(bytes: &[u8]) -> Result<Self, BadMessage> {
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| BadMessage::new("boot_id", format!("has {} bytes, not 16", bytes.len())))
    }
}

impl From<Budget> for v1::Budget {
    fn from(budget: Budget) -> Self {
        Self {
            millis: u32::try_from(budget.time.as_millis()).unwrap_or(u32::MAX),
            result_bytes: budget.result_bytes,
            remainder_bytes: budget.remainder_bytes,
        }
    }
}

impl From<v1::Budget> for Budget {
    fn from(budget: v1::Budget) -> Self {
        Self {
            time: Duration::from_millis(budget.millis.into()),
            result_bytes: budget.result_bytes,
            remainder_bytes: budget.remainder_bytes,
        }
    }
}

/// Checks a path below a root: relative, no NUL, no empty, `.` or `..` component, at most
/// [`MAX_PATH_BYTES`]. The empty path is the root itself.
pub fn check_relative_path(field: &'static str, path: &[u8]) -> Result<(), BadMessage> {
    check_any_path(field, path)?;
    let bad = path
        .split(|&b| b == b'/')
        .any(|part| matches!(part, b"" | b"." | b".."));
    if bad && !path.is_empty() {
        return Err(BadMessage::new(
            field,
            format!("{} is not a plain relative path", path.escape_ascii()),
        ));
    }
    Ok(())
}

/// Checks a path that a person typed: no NUL, at most [`MAX_PATH_BYTES`].
pub fn check_any_path(field: &'static str, path: &[u8]) -> Result<(), BadMessage> {
    if path.len() > MAX_PATH_BYTES {
        return Err(BadMessage::new(
            field,
            format!("{} bytes, the limit is {MAX_PATH_BYTES}", path.len()),
        ));
    }
    if path.contains(&0) {
        return Err(BadMessage::new(field, "holds a NUL byte"));
    }
    Ok(())
}

impl From<Task> for v1::Task {
    fn from(task: Task) -> Self {
        let kind = match task.kind {
            TaskKind::Tree { path, slice } => v1::task::Kind::Tree(v1::Tree {
                path,
                slice_start: slice.start,
                slice_end: slice.end,
            }),
            TaskKind::Paths { paths } => v1::task::Kind::Paths(v1::Paths { paths }),
            TaskKind::Range {
                path,
                start,
                end,
                size,
            } => v1::task::Kind::Range(v1::Range {
                path,
                start,
                end,
                size,
            }),
        };
        Self {
            root: task.root,
            weight: task.weight.0,
            kind: Some(kind),
        }
    }
}

impl TryFrom<v1::Task> for Task {
    type Error = BadMessage;

    fn try_from(task: v1::Task) -> Result<Self, BadMessage> {
        if task.weight > Weight::WHOLE.0 {
            return Err(BadMessage::new("Task.weight", "more than the whole job"));
        }
        let kind = match task.kind.ok_or_else(|| BadMessage::missing("Task.kind"))? {
            v1::task::Kind::Tree(tree) => {
                check_relative_path("Tree.path", &tree.path)?;
                if tree.slice_start > tree.slice_end {
                    return Err(BadMessage::new("Tree.slice_end", "before slice_start"));
                }
                TaskKind::Tree {
                    path: tree.path,
                    slice: Slice {
                        start: tree.slice_start,
                        end: tree.slice_end,
                    },
                }
            }
            v1::task::Kind::Paths(paths) => {
                for path in &paths.paths {
                    check_any_path("Paths.paths", path)?;
                }
                TaskKind::Paths { paths: paths.paths }
            }
            v1::task::Kind::Range(range) => {
                check_any_path("Range.path", &range.path)?;
                if range.start >= range.end || range.end > range.size {
                    return Err(BadMessage::new(
                        "Range",
                        format!(
                            "{}..{} of {} is not a range",
                            range.start, range.end, range.size
                        ),
                    ));
                }
                TaskKind::Range {
                    path: range.path,
                    start: range.start,
                    end: range.end,
                    size: range.size,
                }
            }
        };
        Ok(Self {
            root: task.root,
            weight: Weight(task.weight),
            kind,
        })
    }
}

impl From<Grant> for v1::Grant {
    fn from(grant: Grant) -> Self {
        Self {
            lease: Some(grant.lease.into()),
            budget: Some(grant.budget.into()),
            tasks: grant.tasks.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Grant> for Grant {
    type Error = BadMessage;

    fn try_from(grant: v1::Grant) -> Result<Self, BadMessage> {
        Ok(Self {
            lease: grant
                .lease
                .ok_or_else(|| BadMessage::missing("Grant.lease"))?
                .try_into()?,
            budget: grant
                .budget
                .ok_or_else(|| BadMessage::missing("Grant.budget"))?
                .into(),
            tasks: grant
                .tasks
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Checks the number of leases a worker wants.
pub fn check_slots(slots: u32) -> Result<u32, BadMessage> {
    if (1..=MAX_SLOTS).contains(&slots) {
        Ok(slots)
    } else {
        Err(BadMessage::new(
            "WorkerReport.slots",
            format!("{slots} is not in 1..={MAX_SLOTS}"),
        ))
    }
}

/// How many bytes a file's result takes in memory, when its columns have no room to spare: what every limit on results
/// counts. On the wire it is smaller.
pub fn matches_cost(file: &v1::FileMatches) -> u64 {
    let wide = file.line_numbers.len() + file.offsets.len();
    let narrow = file.lengths.len()
        + file.submatch_counts.len()
        + file.submatch_starts.len()
        + file.submatch_ends.len()
        + file.replacement_lengths.len();
    let bytes = file.path.len() + file.kinds.len() + file.text.len() + file.replacement_text.len();
    let columns = wide * size_of::<u64>() + narrow * size_of::<u32>() + bytes;
    (size_of::<v1::FileMatches>() + columns) as u64
}

/// How many bytes a batch takes, likewise.
pub fn batch_cost(batch: &v1::ResultBatch) -> u64 {
    let files: u64 = batch.files.iter().map(matches_cost).sum();
    let errors: u64 = batch.errors.iter().map(error_cost).sum();
    files + errors
}

/// How many bytes an error takes, likewise.
pub fn error_cost(error: &v1::FileError) -> u64 {
    (size_of::<v1::FileError>() + error.path.len() + error.message.len()) as u64
}
