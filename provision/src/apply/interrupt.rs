//! The wish to end, which a signal tells: apply and rollback then go back, as after a failure.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

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
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let mut signals = {
            let _inside = runtime.enter();
            let kinds = [
                SignalKind::interrupt(),
                SignalKind::terminate(),
                SignalKind::hangup(),
            ];
            kinds
                .into_iter()
                .map(signal)
                .collect::<io::Result<Vec<_>>>()?
        };
        let told = Arc::clone(&self.has_come);
        // It lives as long as the process.
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                let any = std::future::poll_fn(|context| {
                    let mut polled = signals.iter_mut().map(|signal| signal.poll_recv(context));
                    match polled.find(std::task::Poll::is_ready) {
                        Some(_) => std::task::Poll::Ready(()),
                        None => std::task::Poll::Pending,
                    }
                });
                runtime.block_on(any);
                told.store(true, Ordering::Relaxed);
            })?;
        Ok(())
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
