//! The command `regexctl`: what a person types becomes a job, and its results become what
//! a person reads.
//!
//! [`flags`] defines the command line and parses it, [`config`] reads the configuration
//! file, [`job`] turns both into the job that is submitted, [`help`] renders manual pages
//! and completions from the same definition, [`nodes`] prints the table of workers.
//!
//! Nothing here lists directories, scans files or schedules: that is the work of the
//! crates `source`, `scan`, `worker` and `master`.

pub mod client;
pub mod commands;
pub mod config;
pub mod flags;
pub mod help;
pub mod job;
pub mod nodes;
pub mod print;
pub mod run;
