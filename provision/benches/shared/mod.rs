//! What the benchmarks of whole commands share: whether they are to be quick, medians, and verdicts on targets.

use std::env;
use std::process::ExitCode;

/// Whether only to see that everything runs: with `--quick`, and whenever Cargo tests benchmarks, which it tells by
/// leaving out `--bench`.
pub(crate) fn is_quick() -> bool {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    has("--quick") || has("--test") || !has("--bench")
}

/// The value in the middle; of an even number of values, the upper one of the two.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// What a figure is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// A figure that has a target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// With its unit.
    pub(crate) what: &'static str,
    pub(crate) bound: Bound,
    pub(crate) measured: f64,
}

/// Prints the verdicts, and gives the exit status: 1 if a target was missed. Where it was quick they mean nothing, and so
/// there are none.
pub(crate) fn judge(targets: &[Target], quick: bool) -> ExitCode {
    if quick {
        println!("\nquick: everything runs; nothing is judged");
        return ExitCode::SUCCESS;
    }
    let mut are_all_met = true;
    println!("\n| target | wanted | measured | |\n|---|---|---|---|");
    for target in targets {
        let (wanted, met) = match target.bound {
            Bound::AtLeast(least) => (format!("at least {least}"), target.measured >= least),
            Bound::AtMost(most) => (format!("at most {most}"), target.measured <= most),
        };
        are_all_met &= met;
        let verdict = if met { "met" } else { "MISSED" };
        println!(
            "| {} | {wanted} | {:.2} | {verdict} |",
            target.what, target.measured
        );
    }
    ExitCode::from(u8::from(!are_all_met))
}
