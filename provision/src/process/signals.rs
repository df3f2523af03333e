//! Being told to end, by SIGINT, SIGTERM or SIGHUP.

use std::io;
use std::thread;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// From now on these signals do not end this process any more: each calls `told`, on a thread that lives as long as the
/// process does.
pub(crate) fn on_signals(mut told: impl FnMut() + Send + 'static) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let [mut interrupt, mut terminate, mut hangup] = {
        let _inside = runtime.enter();
        [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]
    };
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            loop {
                runtime.block_on(any([&mut interrupt, &mut terminate, &mut hangup]));
                told();
            }
        })?;
    Ok(())
}

/// Waits for one of the signals.
async fn any([a, b, c]: [&mut Signal; 3]) {
    tokio::select! {
        _ = a.recv() => {}
        _ = b.recv() => {}
        _ = c.recv() => {}
    }
}
