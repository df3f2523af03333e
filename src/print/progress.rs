//! The progress line of a running job.
//!
//! One line on standard error, redrawn at most ten times a second; nothing at all when
//! standard error is not a terminal. When standard output is the same terminal, whoever writes to it does so inside
//! [`ProgressLine::suspend`], which takes the line away and puts it back.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use regexctl_proto::domain::Weight;
use regexctl_proto::v1;

use super::units::{Bytes, Clock, Count};

/// Redraws a second.
const REDRAWS_HZ: u8 = 10;

/// Rates are those of about the last seconds.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// No time left is told before this much has passed, because it would be noise.
const FIRST_ESTIMATE: Duration = Duration::from_secs(1);

/// Steps of the bar.
const STEPS: u64 = 1000;

/// The line on standard error. Taken away when dropped, however the job ends.
#[derive(Debug)]
pub struct ProgressLine {
    bar: ProgressBar,
    started: Instant,
    rates: Rates,
}

impl ProgressLine {
    /// A line, if `wanted` and if standard error is a terminal; else nothing is ever drawn.
    pub fn new(wanted: bool) -> Self {
        let target = if wanted && std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(REDRAWS_HZ)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self::with_target(target)
    }

    fn with_target(target: ProgressDrawTarget) -> Self {
        let bar = ProgressBar::with_draw_target(Some(STEPS), target);
        bar.set_style(
            ProgressStyle::with_template("{percent:>3}% [{bar:20}] {msg}")
                .expect("the template above is valid")
                .progress_chars("=> "),
        );
        Self {
            bar,
            started: Instant::now(),
            rates: Rates::default(),
        }
    }

    /// Whether anything is drawn.
    pub fn is_visible(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Shows `progress`.
    pub fn update(&mut self, progress: &v1::Progress) {
        if self.bar.is_hidden() {
            return;
        }
        let elapsed = self.started.elapsed();
        let tally = progress.tally.unwrap_or_default();
        self.rates.add(elapsed, &tally);
        let done = done_fraction(progress);
        self.bar.set_position(whole(done * STEPS as f64));
        self.bar
            .set_message(text(progress, &tally, &self.rates, elapsed, done));
    }

    /// Runs `write` with the line out of the way.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// 0 to 1.
fn done_fraction(progress: &v1::Progress) -> f64 {
    (progress.done as f64 / Weight::WHOLE.0 as f64).clamp(0.0, 1.0)
}

/// The whole part; the cast saturates.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers for people, which are never negative"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

/// What stands behind the bar.
fn text(
    progress: &v1::Progress,
    tally: &v1::Tally,
    rates: &Rates,
    elapsed: Duration,
    done: f64,
) -> String {
    let (files, bytes) = rates.per_second();
    let errors = tally.failed.saturating_add(tally.dirs_failed);
    let found = if tally.matches > 0 {
        (tally.matches, "matches")
    } else {
        (tally.matched_lines, "matching lines")
    };
    let mut text = format!(
        "{} files {}/s, {} {}/s, {} {}",
        Count(tally.scanned),
        Count(files),
        Bytes(tally.bytes_searched),
        Bytes(bytes),
        Count(found.0),
        found.1,
    );
    // Writing to a String cannot fail.
    if errors > 0 {
        let _ = write!(text, ", {} errors", Count(errors));
    }
    match progress.workers {
        0 => text.push_str(", waiting for a worker"),
        1 => {}
        workers => {
            let _ = write!(text, ", {workers} workers");
        }
    }
    if let Some(left) = time_left(elapsed, done) {
        let _ = write!(text, ", {} left", Clock(left.as_secs()));
    }
    text
}

/// As if the rest went as what is done.
fn time_left(elapsed: Duration, done: f64) -> Option<Duration> {
    if elapsed < FIRST_ESTIMATE || done <= 0.0 {
        return None;
    }
    Duration::try_from_secs_f64(elapsed.as_secs_f64() * (1.0 - done) / done).ok()
}

/// How fast files and bytes went lately.
#[derive(Debug, Default)]
struct Rates {
    /// Time, files and bytes since the start; the first is at most one step older than
    /// `RATE_WINDOW`.
    samples: VecDeque<(Duration, u64, u64)>,
}

impl Rates {
    fn add(&mut self, elapsed: Duration, tally: &v1::Tally) {
        if self.samples.is_empty() {
            self.samples.push_back((Duration::ZERO, 0, 0));
        }
        self.samples
            .push_back((elapsed, tally.scanned, tally.bytes_searched));
        while let Some(&(second, ..)) = self.samples.get(1)
            && elapsed.saturating_sub(second) >= RATE_WINDOW
        {
            self.samples.pop_front();
        }
    }

    /// Files and bytes.
    fn per_second(&self) -> (u64, u64) {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return (0, 0);
        };
        let seconds = last.0.saturating_sub(first.0).as_secs_f64();
        if seconds <= 0.0 {
            return (0, 0);
        }
        let rate = |from: u64, to: u64| whole(to.saturating_sub(from) as f64 / seconds);
        (rate(first.1, last.1), rate(first.2, last.2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: u64, tally: v1::Tally) -> v1::Progress {
        v1::Progress {
            tally: Some(tally),
            done,
            workers: 3,
            ..v1::Progress::default()
        }
    }

    #[test]
    fn the_line_tells_what_matters() {
        let tally = v1::Tally {
            scanned: 20_000,
            bytes_searched: 30_000_000,
            matches: 7,
            failed: 1,
            dirs_failed: 1,
            ..v1::Tally::default()
        };
        let elapsed = Duration::from_secs(10);
        let mut rates = Rates::default();
        rates.add(elapsed, &tally);
        let progress = progress(Weight::WHOLE.0 / 4, tally);
        let done = done_fraction(&progress);
        assert_eq!(
            text(&progress, &tally, &rates, elapsed, done),
            "20.0k files 2000/s, 30.0 MB 3.0 MB/s, 7 matches, 2 errors, 3 workers, 0:30 left"
        );
    }

    #[test]
    fn the_line_tells_what_a_job_waits_for() {
        let mut alone = progress(0, v1::Tally::default());
        let text = |progress: &v1::Progress| {
            let (tally, rates) = (v1::Tally::default(), Rates::default());
            text(progress, &tally, &rates, Duration::ZERO, 0.0)
        };
        alone.workers = 0;
        assert!(text(&alone).ends_with("0 matching lines, waiting for a worker"));
        alone.workers = 1;
        assert!(text(&alone).ends_with("0 matching lines"));
    }

    #[test]
    fn no_time_left_is_told_before_it_means_something() {
        assert_eq!(time_left(Duration::from_millis(900), 0.5), None);
        assert_eq!(time_left(Duration::from_secs(9), 0.0), None);
        assert_eq!(time_left(Duration::from_secs(u64::MAX), 1e-300), None);
        assert_eq!(time_left(Duration::from_secs(9), 1.0), Some(Duration::ZERO));
    }

    #[test]
    fn rates_forget_what_is_long_ago() {
        let mut rates = Rates::default();
        let mut scanned = 0;
        // 100 a second for a minute, then 10 a second.
        for second in 1..=120_u64 {
            scanned += if second <= 60 { 100 } else { 10 };
            let tally = v1::Tally {
                scanned,
                ..v1::Tally::default()
            };
            rates.add(Duration::from_secs(second), &tally);
        }
        assert_eq!(rates.per_second(), (10, 0));
        assert!(rates.samples.len() <= 7, "{:?}", rates.samples);
    }

    #[test]
    fn a_hidden_line_draws_nothing_and_runs_what_it_is_given() {
        let mut line = ProgressLine::with_target(ProgressDrawTarget::hidden());
        assert!(!line.is_visible());
        line.update(&progress(1, v1::Tally::default()));
        assert!(line.rates.samples.is_empty());
        assert_eq!(line.suspend(|| 7), 7);
    }

    #[test]
    fn a_job_that_says_it_did_more_than_all_is_done() {
        assert!((done_fraction(&progress(u64::MAX, v1::Tally::default())) - 1.0).abs() < 1e-9);
    }
}
