//! What a job has to tell its reader: batches in order, the newest progress, the end.
//!
//! The queue has no limit of its own. What goes in was committed under a lease whose result
//! budget was reserved, and counts in the scheduler's output limit until the reader takes it, so the
//! queue holds at most that limit, but for what single files exceed their budgets by.
//!
//! It can be read from a thread and from async code, and needs no runtime: a
//! waiting reader leaves its waker, or waits on the condition variable.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use regexctl_proto::v1;
use regexctl_proto::v1::results_reply::Event;

/// See the module's comment.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<(v1::ResultBatch, u64)>,
    progress: Option<v1::Progress>,
    end: Option<v1::JobEnd>,
    /// The end was taken.
    over: bool,
    waker: Option<Waker>,
}

/// What a reader takes: an event, and what it counts for in the output's limit; none when
/// nothing follows.
pub(crate) type Taken = Option<(Event, u64)>;

impl State {
    /// Progress before batches: it is rare, and would starve behind a full queue.
    fn take(&mut self) -> Poll<Taken> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Some(progress) = self.progress.take() {
            return Poll::Ready(Some((Event::Progress(progress), 0)));
        }
        if let Some((batch, cost)) = self.batches.pop_front() {
            return Poll::Ready(Some((Event::Batch(batch), cost)));
        }
        let Some(end) = self.end.take() else {
            return Poll::Pending;
        };
        self.over = true;
        Poll::Ready(Some((Event::Finished(end), 0)))
    }
}

impl Outbox {
    pub(crate) fn push(&self, batches: Vec<(v1::ResultBatch, u64)>) {
        if !batches.is_empty() {
            self.change(|state| state.batches.extend(batches));
        }
    }

    /// Replaces progress that was not read.
    pub(crate) fn set_progress(&self, progress: v1::Progress) {
        self.change(|state| {
            if state.end.is_none() {
                state.progress = Some(progress);
            }
        });
    }

    /// The last event. When it does not follow what is queued (`drop_queued`), that is
    /// dropped.
    pub(crate) fn finish(&self, end: v1::JobEnd, drop_queued: bool) {
        self.change(|state| {
            state.progress = None;
            if drop_queued {
                state.batches.clear();
            }
            state.end.get_or_insert(end);
        });
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Taken> {
        let mut state = self.lock();
        let taken = state.take();
        if taken.is_pending() {
            state.waker = Some(cx.waker().clone());
        }
        taken
    }

    pub(crate) fn wait(&self) -> Taken {
        let mut state = self.lock();
        loop {
            if let Poll::Ready(taken) = state.take() {
                return taken;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.lock();
            change(&mut state);
            state.waker.take()
        };
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Each change of the state is a single step, so a panic elsewhere cannot leave it half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(name: &str) -> (v1::ResultBatch, u64) {
        let batch = v1::ResultBatch {
            nodes: vec![name.to_owned()],
            ..v1::ResultBatch::default()
        };
        (batch, 7)
    }

    fn describe(taken: Taken) -> String {
        match taken {
            Some((Event::Batch(batch), cost)) => format!("{}:{cost}", batch.nodes[0]),
            Some((Event::Progress(progress), _)) => format!("progress {}", progress.done),
            Some((Event::Finished(end), _)) => format!("end {}", end.reason),
            None => "over".to_owned(),
        }
    }

    fn end(reason: &str) -> v1::JobEnd {
        v1::JobEnd {
            reason: reason.to_owned(),
            ..v1::JobEnd::default()
        }
    }

    #[test]
    fn batches_come_in_order_and_the_end_last() {
        let outbox = Outbox::default();
        outbox.push(vec![batch("a"), batch("b")]);
        for done in [1, 2] {
            outbox.set_progress(v1::Progress {
                done,
                ..v1::Progress::default()
            });
        }
        let first: Vec<_> = (0..2).map(|_| describe(outbox.wait())).collect();
        assert_eq!(first, ["progress 2", "a:7"], "only the newest progress");
        outbox.finish(end("done"), false);
        outbox.finish(end("again"), false);
        let rest: Vec<_> = (0..4).map(|_| describe(outbox.wait())).collect();
        assert_eq!(rest, ["b:7", "end done", "over", "over"]);
    }

    #[test]
    fn a_failed_job_ends_at_once() {
        let outbox = Outbox::default();
        outbox.push(vec![batch("a")]);
        outbox.finish(end("failed"), true);
        assert_eq!(describe(outbox.wait()), "end failed");
    }

    #[test]
    fn a_waiting_thread_is_woken() {
        let outbox = Outbox::default();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| describe(outbox.wait()));
            outbox.push(vec![batch("a")]);
            assert_eq!(reader.join().expect("the reader does not panic"), "a:7");
        });
    }

    #[tokio::test]
    async fn a_waiting_task_is_woken() {
        let outbox = std::sync::Arc::new(Outbox::default());
        let reader = {
            let outbox = std::sync::Arc::clone(&outbox);
            tokio::spawn(async move { describe(std::future::poll_fn(|cx| outbox.poll(cx)).await) })
        };
        tokio::task::yield_now().await;
        outbox.push(vec![batch("a")]);
        assert_eq!(reader.await.expect("the reader does not panic"), "a:7");
    }
}
