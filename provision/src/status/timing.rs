//! How long stages took. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::view::Timing;
use super::{Boot, Stage};

/// Percentiles of each stage over some boots, and of the whole of those that arrived.
pub fn timing<'b>(boots: impl Iterator<Item = (&'b Boot, Stage)>) -> Vec<Timing> {
    let mut stages: BTreeMap<Stage, Vec<Duration>> = BTreeMap::new();
    let mut totals = Vec::new();
    for (boot, arrival) in boots {
        for (stage, took) in boot.times() {
            stages.entry(stage).or_default().push(took);
        }
        if let Some(at) = boot.arrived(arrival) {
            totals.push(at.since(boot.began));
        }
    }
    let stages = stages
        .into_iter()
        .map(|(stage, took)| (stage.as_str(), took));
    let all = stages.chain([("total", totals)]);
    all.filter(|(_, took)| !took.is_empty())
        .map(|(stage, took)| of(stage, took))
        .collect()
}

fn of(stage: &str, mut took: Vec<Duration>) -> Timing {
    took.sort_unstable();
    let millis = |percent| u64::try_from(rank(&took, percent).as_millis()).unwrap_or(u64::MAX);
    Timing {
        stage: stage.to_owned(),
        boots: took.len(),
        p50: millis(50),
        p95: millis(95),
    }
}

/// The least of sorted values that so many of 100 do not exceed (the nearest rank).
fn rank(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::At;
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let boots: Vec<Boot> = (1..=20)
            .map(|seconds: u64| {
                let mut boot = Boot::new(1, At(0));
                boot.hear(Stage::Script, At(0));
                boot.hear(Stage::Kernel, At(seconds * 1000));
                if seconds > 10 {
                    boot.hear(Stage::System, At(seconds * 1000 + 500));
                }
                boot
            })
            .collect();
        let found = timing(boots.iter().map(|boot| (boot, Stage::System)));
        let row = |stage: &str, boots, p50, p95| Timing {
            stage: stage.into(),
            boots,
            p50,
            p95,
        };
        assert_eq!(
            found,
            [
                row("kernel", 20, 10_000, 19_000),
                row("system", 10, 500, 500),
                row("total", 10, 15_500, 20_500),
            ]
        );
        assert!(timing(std::iter::empty()).is_empty());
    }
}
