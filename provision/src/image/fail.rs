//! A hook for tests: a build of this program for debugging dies at the step named by
//! `REGEX_PROVISION_DIE_AT`, as if the power had gone. A release does not have it.

/// The steps, in the order in which they come.
pub const STEPS: [&str; 11] = [
    "base made",
    "filled",
    "configured",
    "packed",
    "old stage removed",
    "stage kept",
    "layered",
    "tree",
    "artifacts",
    "manifest",
    "published",
];

/// The steps of `image prune`.
pub const PRUNE_STEPS: [&str; 4] = [
    "images removed",
    "trees removed",
    "artifacts removed",
    "stages removed",
];

/// Dies here, if told to.
#[cfg(debug_assertions)]
pub(super) fn here(step: &str) {
    debug_assert!(
        STEPS.iter().chain(&PRUNE_STEPS).any(|known| *known == step),
        "{step}"
    );
    if std::env::var_os("REGEX_PROVISION_DIE_AT").is_some_and(|at| at == step) {
        let this = rustix::process::getpid();
        let _ = rustix::process::kill_process(this, rustix::process::Signal::KILL);
    }
}

/// Goes on.
#[cfg(not(debug_assertions))]
pub(super) fn here(_step: &str) {}
