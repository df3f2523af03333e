//! How large a shard is.
//!
//! A shard costs about 100 us beyond its work, so it should run for some ten milliseconds at
//! least; and while it runs, nobody else can have what it holds, so it should not run for
//! long while others are idle. The rules:
//!
//! * **Time** grows with the age of the job: a quarter of it, from 10 ms up to 1 s. So a tree fans out in
//!   milliseconds, and the budgets of a job of a minute cost nothing. Towards the end it
//!   falls again, as a quarter of the time that seems left.
//! * While fewer tasks wait than slots exist, shards last 10 ms, whatever the age: whoever
//!   has work shall give some back soon.
//! * **Tasks**: as many as the pace of the job needs for four times the time budget, by their
//!   weight (what is not begun comes back), but no more than a fair share of what waits.
//! * A **lone worker** has nobody to share with; its own threads share the shard's work. Its
//!   budgets grow faster and do not fall.
//!
//! No clock is read here: `now` is handed in.

use std::time::Duration;

use regexctl_proto::domain::Weight;
use regexctl_proto::limits::MAX_GRANT_TASKS;

use super::frontier::Portion;

/// The least time budget.
const MIN_TIME: Duration = Duration::from_millis(10);
/// The least time budget of a lone worker.
const MIN_TIME_ALONE: Duration = Duration::from_millis(20);
/// The most, while less than [`RICH`] tasks wait for each slot.
const MAX_TIME_POOR: Duration = Duration::from_millis(100);
/// The most.
const MAX_TIME: Duration = Duration::from_secs(1);
/// So many tasks a slot are plenty.
const RICH: usize = 4;
/// A shard gets the tasks for so many time budgets.
const SLACK: u128 = 4;
/// What a shard is taken to have lasted at least; the wire tells whole milliseconds.
const MIN_MEASURED: Duration = Duration::from_micros(500);
/// The grants of all slots of a worker together, in `Task::cost`; they have to fit into a message.
const MAX_GRANTS_COST: u64 = 2 << 20;
/// One grant.
const MAX_GRANT_COST: u64 = 512 << 10;
/// Bounds of a lease's budget of results.
const RESULT_BYTES: (u64, u64) = (64 << 10, 2 << 20);

/// The workers that take new leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Crew {
    pub(super) workers: usize,
    /// Of all of them.
    pub(super) slots: usize,
}

impl Crew {
    fn alone(self) -> bool {
        self.workers <= 1
    }

    /// The result budget of one lease, of `output` bytes that a job may have under way.
    pub(super) fn result_bytes(self, output: u64) -> u64 {
        (output / (2 * self.slots.max(1) as u64)).clamp(RESULT_BYTES.0, RESULT_BYTES.1)
    }

    /// One lease's share of `free` bytes of the frontier.
    pub(super) fn remainder_bytes(self, free: u64) -> u64 {
        free / (2 * self.slots.max(1) as u64)
    }
}

/// How fast a job goes.
#[derive(Debug)]
pub(super) struct Pace {
    started: Duration,
    /// Of one lease: weight a microsecond, times 2^32. None before the first commit.
    speed: Option<u128>,
}

impl Pace {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            started: now,
            speed: None,
        }
    }

    /// A lease did `weight` in `time`.
    pub(super) fn observe(&mut self, weight: Weight, time: Duration) {
        let micros = time.max(MIN_MEASURED).as_micros();
        let seen = (u128::from(weight.0) << 32) / micros;
        self.speed = Some(self.speed.map_or(seen, |old| u128::midpoint(old, seen)));
    }

    /// The time budget of a lease granted now, when `waiting` tasks wait and `done` of the job is done.
    pub(super) fn time(&self, now: Duration, crew: Crew, waiting: usize, done: Weight) -> Duration {
        let age = now.saturating_sub(self.started);
        if crew.alone() {
            return (age / 2).clamp(MIN_TIME_ALONE, MAX_TIME);
        }
        if waiting < crew.slots {
            return MIN_TIME;
        }
        let most = if waiting < RICH * crew.slots {
            MAX_TIME_POOR
        } else {
            MAX_TIME
        };
        (age / 4)
            .min(time_left(age, done) / 4)
            .clamp(MIN_TIME, most)
    }

    /// The tasks of a lease that shall last `time`, of a worker with `slots` slots.
    pub(super) fn portion(
        &self,
        crew: Crew,
        slots: usize,
        waiting: usize,
        time: Duration,
    ) -> Portion {
        let shares = 2 * crew.slots.max(1);
        let needed = self
            .speed
            .map(|speed| ((speed * time.as_micros() * SLACK) >> 32).min(Weight::WHOLE.0.into()))
            .and_then(|weight| u64::try_from(weight).ok())
            .filter(|&weight| weight > 0);
        Portion {
            tasks: waiting.div_ceil(shares).clamp(1, MAX_GRANT_TASKS),
            cost: (MAX_GRANTS_COST / slots.max(1) as u64).min(MAX_GRANT_COST),
            weight: needed.map(Weight),
        }
    }
}

/// How long the job will go on, if the rest goes as what is done.
fn time_left(age: Duration, done: Weight) -> Duration {
    if done.0 == 0 {
        return Duration::MAX;
    }
    let rest = Weight::WHOLE.0.saturating_sub(done.0);
    let micros = age.as_micros() * u128::from(rest) / u128::from(done.0);
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    const CREW: Crew = Crew {
        workers: 10,
        slots: 20,
    };
    const ALONE: Crew = Crew {
        workers: 1,
        slots: 2,
    };
    const NONE: Weight = Weight(0);

    #[test]
    fn time_grows_with_the_age_of_the_job() {
        let pace = Pace::new(ms(1000));
        assert_eq!(pace.time(ms(1000), CREW, 10_000, NONE), ms(10));
        assert_eq!(pace.time(ms(1400), CREW, 10_000, NONE), ms(100));
        assert_eq!(pace.time(ms(60_000), CREW, 10_000, NONE), ms(1000));
    }

    #[test]
    fn time_is_short_while_slots_are_idle_and_at_the_end() {
        let pace = Pace::new(ms(0));
        assert_eq!(pace.time(ms(60_000), CREW, 19, NONE), ms(10));
        assert_eq!(pace.time(ms(60_000), CREW, 79, NONE), ms(100));
        let nearly = Weight(Weight::WHOLE.0 / 1000 * 999);
        let late = pace.time(ms(60_000), CREW, 10_000, nearly);
        assert!((ms(14)..ms(16)).contains(&late), "{late:?}");
    }

    #[test]
    fn a_lone_worker_is_given_time_at_once() {
        let pace = Pace::new(ms(0));
        assert_eq!(pace.time(ms(0), ALONE, 0, NONE), ms(20));
        assert_eq!(pace.time(ms(400), ALONE, 1, NONE), ms(200));
        assert_eq!(pace.time(ms(9000), ALONE, 1, Weight::WHOLE), ms(1000));
    }

    #[test]
    fn tasks_are_a_fair_share_within_the_limits() {
        let pace = Pace::new(ms(0));
        assert_eq!(pace.portion(CREW, 2, 400, ms(10)).tasks, 10);
        assert_eq!(pace.portion(CREW, 2, 1, ms(10)).tasks, 1);
        assert_eq!(
            pace.portion(CREW, 2, 10_000_000, ms(10)).tasks,
            MAX_GRANT_TASKS
        );
        assert_eq!(pace.portion(CREW, 64, 1, ms(10)).cost * 64, MAX_GRANTS_COST);
    }

    #[test]
    fn tasks_follow_the_pace() {
        let mut pace = Pace::new(ms(0));
        pace.observe(Weight(1_000_000), ms(10));
        let weight = pace.portion(ALONE, 2, 100, ms(20)).weight;
        let weight = weight.expect("a pace was observed").0;
        assert!((7_999_000..=8_000_000).contains(&weight), "{weight}");
        // Nothing was done: no bound, rather than a bound of nothing.
        let mut pace = Pace::new(ms(0));
        pace.observe(NONE, ms(10));
        assert_eq!(pace.portion(ALONE, 2, 100, ms(20)).weight, None);
    }

    #[test]
    fn budgets_of_bytes_are_shared_over_the_slots() {
        assert_eq!(CREW.result_bytes(16 << 20), (16 << 20) / 40);
        assert_eq!(ALONE.result_bytes(16 << 20), 2 << 20);
        assert_eq!(CREW.result_bytes(1), 64 << 10);
        assert_eq!(CREW.remainder_bytes(400), 10);
        assert_eq!(CREW.remainder_bytes(0), 0);
    }
}
