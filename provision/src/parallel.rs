//! The same work for many nodes, some at once.
//!
//! Each piece waits for a program or a machine, so threads do it and none of them computes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::rest;

/// The most threads, whatever was asked for.
pub const MAX_WIDTH: usize = 1024;

/// Calls `work` for every item, in their order, at most `width` at once and with at least `pause` between the
/// begin of one and of the next. `told` is given each message as it comes, on the calling thread, with the
/// place of its item; `work` may send several. Once we are told to end nothing is waited for any more; what is to be
/// done then, `work` decides.
pub fn each<T: Sync, M: Send>(
    items: &[T],
    width: usize,
    pause: Duration,
    work: impl Fn(&T, &dyn Fn(M)) + Sync,
    mut told: impl FnMut(usize, M),
) {
    let next = AtomicUsize::new(0);
    let slot = Mutex::new(Instant::now());
    // Bounded: a slow reader of the results slows the work.
    let (send, receive) = mpsc::sync_channel(MAX_WIDTH);
    thread::scope(|scope| {
        for _ in 0..width.clamp(1, MAX_WIDTH).min(items.len()) {
            let send = send.clone();
            let (next, slot, work) = (&next, &slot, &work);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    if !pause.is_zero() {
                        rest(wait(slot, pause));
                    }
                    // The receiver lives as long as the scope.
                    work(item, &|message| drop(send.send((at, message))));
                }
            });
        }
        drop(send);
        for (at, message) in receive {
            told(at, message);
        }
    });
}

/// Takes the next moment at which something may begin; how long until then.
fn wait(slot: &Mutex<Instant>, pause: Duration) -> Duration {
    let now = Instant::now();
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    let begin = (*slot).max(now);
    *slot = begin + pause;
    begin.duration_since(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once_and_never_more_at_once_than_allowed() {
        let items: Vec<usize> = (0..200).collect();
        let (active, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut done = vec![0; items.len()];
        each(
            &items,
            7,
            Duration::ZERO,
            |&item, send| {
                let now = active.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                thread::yield_now();
                active.fetch_sub(1, Ordering::SeqCst);
                send(item);
            },
            |at, item| {
                assert_eq!(at, item);
                done[at] += 1;
            },
        );
        assert!(done.iter().all(|&times| times == 1));
        assert!(most.into_inner() <= 7);
    }

    #[test]
    fn begins_are_spread() {
        let begins = Mutex::new(Vec::new());
        let pause = Duration::from_millis(20);
        each(
            &[(); 6],
            6,
            pause,
            |(), send| {
                begins.lock().unwrap().push(Instant::now());
                send(());
            },
            |_, ()| {},
        );
        let begins = begins.into_inner().unwrap();
        let whole = *begins.iter().max().unwrap() - *begins.iter().min().unwrap();
        assert!(whole >= pause * 5, "{whole:?}");
    }

    #[test]
    fn nothing_to_do_is_done() {
        each::<(), ()>(
            &[],
            4,
            Duration::ZERO,
            |(), _| {},
            |_, ()| panic!("nothing"),
        );
    }
}
