//! `regex-provision image` as a person runs it: on tiny roots made here, and once on a real Debian.
//!
//! The oracles are the programs that a node has: `unsquashfs` and `fsck.erofs` unpack what was packed. Building needs root; without it, or without
//! the tools, the tests say so and pass, but with `CI=true` in the environment they fail.

mod commands;
mod debian;
mod faults;
mod hostile;
mod import;
mod lint;
mod master;
mod mirror;
mod oci;
mod reproducible;
mod rig;
mod shell;
