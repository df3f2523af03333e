//! The master: what is to be done, by whom, and what came of it.
//!
//! [`scheduler`] decides and is pure; [`assemble`] brings results into order; [`hub`] joins both and
//! is what the embedded mode drives; [`service`] carries the hub over gRPC. The master never reads a file,
//! never lists a directory and never compiles a pattern.

pub mod assemble;
pub mod hub;
mod outbox;
pub mod scheduler;
pub mod service;
mod tally;

pub use hub::Hub;
