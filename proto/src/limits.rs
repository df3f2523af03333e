//! The named limits of the protocol. Both sides enforce them.

/// The version of the protocol that this build speaks.
pub const PROTOCOL: u32 = 1;

/// The largest encoded message, in bytes, that either side sends or accepts.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// The size, in bytes of payload, at which a `ResultBatch` is closed.
pub const MAX_BATCH_BYTES: usize = 1 << 20;

/// The longest path, in bytes, of a task or a result.
pub const MAX_PATH_BYTES: usize = 64 << 10;

/// The most roots a job may have.
pub const MAX_ROOTS: usize = 65_536;

/// The most bytes of paths named one by one (`--files-from`) in a job.
pub const MAX_JOB_PATHS_BYTES: usize = 64 << 20;

/// The most tasks in one grant.
pub const MAX_GRANT_TASKS: usize = 4096;

/// The most leases a worker may hold.
pub const MAX_SLOTS: u32 = 64;

/// The most threads that one process scans with.
pub const MAX_THREADS: u16 = 1024;

/// How often a worker reports its state at least, in milliseconds.
pub const REPORT_INTERVAL_MILLIS: u64 = 500;
