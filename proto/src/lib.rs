//! The wire of regexctl.
//!
//! [`v1`] is generated from `proto/regexctl/v1/regexctl.proto`, and that file is the
//! description of the protocol. [`domain`] holds what the rest of the system
//! works with: identifiers, tasks and budgets whose invariants were checked when
//! they came in. Nothing behind the edge handles a raw message where a domain
//! type exists.
//!
//! This crate does no input or output, and knows neither the scheduler nor the
//! scanner.

pub mod cut;
pub mod domain;
pub mod limits;
pub mod peer;
mod tally;

/// The generated messages and services of package `regexctl.v1`.
#[expect(
    missing_docs,
    clippy::pedantic,
    clippy::large_enum_variant,
    reason = "generated code; the .proto file documents every message"
)]
pub mod v1 {
    tonic::include_proto!("regexctl.v1");
}
