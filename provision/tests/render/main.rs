//! What is rendered: golden files of every template, and what the daemons' own checkers say of them.
//!
//! Where a checker is not installed its test says so and passes, but with `CI` in the
//! environment it fails.

mod checkers;
mod fixture;
mod golden;
mod nodes;
mod pxelinux;
mod tools;
