//! Keeps what was heard on disk.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::app::{App, Trouble};
use crate::status::journal::Journal;

/// How long what was heard may not be on disk yet. Everything of that time goes there with one sync.
const DELAY: Duration = Duration::from_millis(300);

/// Writes until the other end of `stop` is dropped, and then the rest. To be run on a thread of its own.
pub(super) fn keep(app: &Arc<App>, mut journal: Journal, stop: &Receiver<()>) {
    loop {
        let stopped = stop.recv_timeout(DELAY) == Err(RecvTimeoutError::Disconnected);
        let lines = app.board().drain();
        let mut result = Ok(());
        if !lines.is_empty() {
            result = journal.append(&lines);
        }
        if journal.wants_all() {
            let all: Vec<_> = app.board().lines().collect();
            result = journal.replace(all.into_iter());
        }
        let problem = result.err().map(|error| {
            let error = anyhow::Error::from(error);
            format!("what is heard of nodes is not kept: {error:#}")
        });
        app.trouble(Trouble::Records, problem);
        if stopped {
            return;
        }
    }
}
