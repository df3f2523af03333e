//! The reader of a job's results.

use std::sync::Arc;
use std::task::{Context, Poll};

use regexctl_proto::domain::JobId;
use regexctl_proto::v1::results_reply::Event;

use super::Hub;
use crate::outbox::{Outbox, Taken};

/// Reads what a job has to tell, from its beginning up to the end. What is taken counts as
/// delivered, and makes room for more.
///
/// Dropped before the end, it leaves the job an orphan: unless another reader comes within the grace,
/// and nothing was read yet, the job is cancelled.
#[derive(Debug)]
pub struct ResultsReader {
    hub: Hub,
    job: JobId,
    outbox: Arc<Outbox>,
    over: bool,
}

impl ResultsReader {
    pub(super) fn new(hub: Hub, job: JobId, outbox: Arc<Outbox>) -> Self {
        Self {
            hub,
            job,
            outbox,
            over: false,
        }
    }

    /// The next event; none after the end.
    pub async fn recv(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next event, as a stream polls for it.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.outbox.poll(cx).map(|taken| self.took(taken))
    }

    /// The next event, waited for by this thread.
    pub fn blocking_recv(&mut self) -> Option<Event> {
        let taken = self.outbox.wait();
        self.took(taken)
    }

    fn took(&mut self, taken: Taken) -> Option<Event> {
        let (event, bytes) = taken?;
        match event {
            Event::Batch(_) => self.hub.delivered(self.job, bytes),
            Event::Progress(_) => {}
            Event::Finished(_) => {
                self.over = true;
                self.hub.forget(self.job);
            }
        }
        Some(event)
    }
}

impl Drop for ResultsReader {
    fn drop(&mut self) {
        if !self.over {
            self.hub.reader_gone(self.job);
        }
    }
}
