//! `regex-provision` commands that reach other machines, as a person runs them, against what really answers: BMCs, services,
//! sshd.
//!
//! Everything that listens is on loopback, or in a network namespace that a test made. Where a
//! program is not installed its tests say so and pass, but with `CI` in the environment they fail.

mod doctor;
mod fanout;
mod harness;
mod many;
mod power;
mod redfish;
mod serve;
