//! Plan, apply and rollback on a fake root: what changes and what does not, with a fault at every step.

mod cli;
mod fake;
mod faults;
mod plan;
mod services;
mod hostkeys;
