//! Being told to end while programs run: they are ended, and what is known of the others is still told.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::signals::on_signals;
use super::timespec;

/// Can be read from once we were told to end; none where a signal ends us as it always does.
static STOP: OnceLock<OwnedFd> = OnceLock::new();

/// The exit status when we are told again: that of a program ended by SIGINT.
const TOLD_AGAIN: i32 = 130;

/// From now on SIGINT, SIGTERM and SIGHUP end the programs that run, and no others are to be begun; whoever runs them
/// tells what is known and ends. The second signal ends this process at once.
pub fn heed_signals() -> io::Result<()> {
    if STOP.get().is_some() {
        return Ok(());
    }
    let made = eventfd(0, EventfdFlags::CLOEXEC)?;
    let stop = STOP.get_or_init(|| made);
    on_signals(move || {
        if is_interrupted() {
            process::exit(TOLD_AGAIN);
        }
        // One number never fills it.
        let _ = rustix::io::write(stop, &1_u64.to_ne_bytes());
    })
}

/// Whether we were told to end.
pub fn is_interrupted() -> bool {
    let Some(stop) = fd() else { return false };
    let mut fds = [PollFd::from_borrowed_fd(stop, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Sleeps that long, or until we are told to end.
pub fn rest(time: Duration) {
    let Some(stop) = fd() else {
        return thread::sleep(time);
    };
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::from_borrowed_fd(stop, PollFlags::IN)];
        // The time is over, or we are told to end; nothing else can come of it.
        if poll(&mut fds, Some(&timespec(left))) != Err(Errno::INTR) {
            return;
        }
    }
}

/// What can be read from once we were told to end.
pub(super) fn fd() -> Option<BorrowedFd<'static>> {
    STOP.get().map(OwnedFd::as_fd)
}
