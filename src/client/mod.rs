//! A job, wherever it runs: submitted, read to its end, cancelled.
//!
//! [`Embedded`] runs master and worker in this process, [`Remote`] talks to a master. Both give the same events in
//! the same order, so whoever prints does not know which of them it reads.

mod embedded;
mod remote;

use std::sync::Arc;

use regexctl_proto::v1::results_reply::Event;

pub use embedded::Embedded;
pub use remote::{Remote, RemoteError, nodes};

/// A running job.
pub trait Job {
    /// The next event; waits for it. `None` after `Finished`.
    fn next(&mut self) -> Result<Option<Event>, RemoteError>;

    /// A handle that cancels the job, from any thread and any number of times.
    fn canceller(&self) -> Canceller;
}

/// Cancels a job.
#[derive(Clone)]
pub struct Canceller(Arc<dyn Fn() + Send + Sync>);

impl Canceller {
    fn new(cancel: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(cancel))
    }

    /// Returns at once; the job's end comes as an event.
    pub fn cancel(&self) {
        (self.0)();
    }
}
