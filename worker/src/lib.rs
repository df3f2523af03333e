//! The worker: takes leases, lists directories, scans files, commits.
//!
//! Five rooms, each of which can be read alone:
//!
//! - [`plan`] turns the job's message into compiled things: a matcher, a search, a filter. It is where a bad
//!   pattern or an unknown file type is found, before anything runs; `regexctl` calls it before it submits.
//! - [`engine`] runs shards on a rayon pool and ends them by their budgets. It is given a lease and gives back a
//!   [`engine::Finished`]; it knows neither the network nor who asked. The embedded mode
//!   of `regexctl` drives the same engine.
//! - [`stream`] searches what has no path, such as standard input.
//! - [`memory`] keeps a process that scans small.
//! - [`session`] is the daemon's half of the protocol: attach, report, commit, reconnect. Async lives here only.

pub mod engine;
pub mod memory;
pub mod plan;
pub mod session;
pub mod stream;
