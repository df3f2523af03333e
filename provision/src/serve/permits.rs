//! How many connections there may be at once: as many as the generation in force says. Where that is lowered, those that are too
//! many end by themselves, and none comes in their stead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::app::App;

/// Connections at once where nothing was applied yet.
const FIRST: u32 = 256;

/// One permit for each connection.
pub(super) struct Permits {
    free: Arc<Semaphore>,
    limit: Mutex<Limit>,
}

/// How many permits there are, given or free, and how many there are to be.
struct Limit {
    now: usize,
    wanted: usize,
}

impl Permits {
    pub(super) fn new(app: &App) -> Arc<Self> {
        Arc::new(Self::up_to(wanted(app)))
    }

    fn up_to(most: usize) -> Self {
        let limit = Limit {
            now: most,
            wanted: most,
        };
        Self {
            free: Arc::new(Semaphore::new(most)),
            limit: Mutex::new(limit),
        }
    }

    fn limit(&self) -> MutexGuard<'_, Limit> {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the generation.
    pub(super) fn resize(&self, app: &App) {
        self.resize_to(wanted(app));
    }

    fn resize_to(&self, wanted: usize) {
        let mut limit = self.limit();
        limit.wanted = wanted;
        if let Some(more) = wanted.checked_sub(limit.now) {
            self.free.add_permits(more);
            limit.now = wanted;
        } else {
            // Those that are given are taken out of the world when they come back.
            limit.now -= self.free.forget_permits(limit.now - wanted);
        }
    }

    /// Waits for a permit.
    pub(super) async fn one(&self) -> OwnedSemaphorePermit {
        loop {
            let permit = Arc::clone(&self.free).acquire_owned().await;
            let permit = permit.expect("nobody closes the semaphore");
            if let Some(permit) = self.keep(permit) {
                return permit;
            }
        }
    }

    /// Gives a permit back to whoever has it; none if there are too many: then there is one fewer.
    pub(super) fn keep(&self, permit: OwnedSemaphorePermit) -> Option<OwnedSemaphorePermit> {
        let mut limit = self.limit();
        if limit.now <= limit.wanted {
            return Some(permit);
        }
        permit.forget();
        limit.now -= 1;
        None
    }

    /// Waits until there are no connections, but not for longer than that.
    pub(super) async fn wait(&self, grace: Duration) {
        let all = u32::try_from(self.limit().now).unwrap_or(u32::MAX);
        let all = self.free.acquire_many(all);
        if timeout(grace, all).await.is_err() {
            tracing::info!("some transfers are cut off");
        }
    }
}

fn wanted(app: &App) -> usize {
    let most = app
        .served()
        .map_or(FIRST, |served| served.cluster.serve.max_connections);
    usize::try_from(most)
        .unwrap_or(usize::MAX)
        .clamp(1, Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All are busy, and one more waits.
    #[tokio::test]
    async fn a_limit_that_is_lowered_holds_as_soon_as_connections_end() {
        let permits = Arc::new(Permits::up_to(4));
        let mut given = Vec::new();
        for _ in 0..4 {
            given.push(permits.one().await);
        }
        let waits = {
            let permits = Arc::clone(&permits);
            tokio::spawn(async move { permits.one().await })
        };
        permits.resize_to(2);
        for left in [3, 2] {
            given.pop();
            while permits.limit().now != left {
                tokio::task::yield_now().await;
            }
            assert!(!waits.is_finished(), "{left} are left");
        }
        given.pop();
        let last = waits.await.expect("it does not panic");
        // It was given before they were too many, to somebody who has not come yet.
        permits.resize_to(1);
        assert!(permits.keep(last).is_none());
        assert_eq!(permits.limit().now, 1);
        permits.resize_to(3);
        drop(given);
        assert_eq!(permits.free.available_permits(), 3);
        permits.wait(Duration::from_secs(60)).await;
    }
}
