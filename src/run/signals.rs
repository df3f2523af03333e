//! SIGINT and SIGTERM: the first cancels the job, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals as Iterator;

/// What is done at the first signal.
type Action = Box<dyn Fn() + Send>;

/// Whether a signal has come, and what to do when it comes. One for the process.
#[derive(Clone)]
pub(super) struct Signals(Arc<Inner>);

#[derive(Default)]
struct Inner {
    interrupted: AtomicBool,
    action: Mutex<Option<Action>>,
}

/// Forgets the action when dropped.
pub(super) struct Guard(Signals);

impl Drop for Guard {
    fn drop(&mut self) {
        *self.0.action() = None;
    }
}

impl Signals {
    /// Starts to listen, once. Where signals cannot be caught they do what they always do.
    pub(super) fn new() -> Self {
        static ONE: OnceLock<Signals> = OnceLock::new();
        ONE.get_or_init(|| {
            let signals = Self(Arc::default());
            if let Ok(mut iterator) = Iterator::new([SIGINT, SIGTERM]) {
                let heard = signals.clone();
                // Detached: it lives as long as the process.
                thread::spawn(move || iterator.forever().for_each(|_| heard.signal()));
            }
            signals
        })
        .clone()
    }

    fn action(&self) -> std::sync::MutexGuard<'_, Option<Action>> {
        // Only ever replaced as a whole.
        self.0.action.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self) {
        if self.0.interrupted.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(super::Exit::Interrupted.code()));
        }
        match &*self.action() {
            Some(action) => action(),
            None => std::process::exit(i32::from(super::Exit::Interrupted.code())),
        }
    }

    /// Sets what the first signal does, until the guard is dropped.
    pub(super) fn on_interrupt(&self, action: impl Fn() + Send + 'static) -> Guard {
        *self.action() = Some(Box::new(action));
        Guard(self.clone())
    }

    /// Whether one has come.
    pub(super) fn interrupted(&self) -> bool {
        self.0.interrupted.load(Ordering::Relaxed)
    }
}
