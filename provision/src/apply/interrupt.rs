//! The wish to end, which a signal tells: apply and rollback then go back, as after a failure.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::process::on_signals;

/// Whether SIGINT, SIGTERM or SIGHUP has come. Until a switch begins they end the process as they always do, for
/// nothing was changed.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    has_come: Arc<AtomicBool>,
    by_signals: bool,
}

impl Interrupt {
    /// One that does not come.
    pub fn never() -> Self {
        Self::default()
    }

    /// One that signals tell, from the beginning of the switch.
    pub fn by_signals() -> Self {
        Self {
            by_signals: true,
            ..Self::default()
        }
    }

    /// From now on these signals do not end the process any more, but are told here.
    pub(super) fn watch(&self) -> io::Result<()> {
        if !self.by_signals {
            return Ok(());
        }
        let told = Arc::clone(&self.has_come);
        on_signals(move || told.store(true, Ordering::Relaxed))
    }

    /// Whether it has come.
    pub fn has_come(&self) -> bool {
        self.has_come.load(Ordering::Relaxed)
    }

    /// An error if it has come.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.has_come() {
            let what = "it was ended by a signal";
            return Err(io::Error::new(io::ErrorKind::Interrupted, what));
        }
        Ok(())
    }
}
