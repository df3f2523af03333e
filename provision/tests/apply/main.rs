//! Plan, apply and rollback on a fake root: what changes and what does not, with a fault at every step.

mod addresses;
mod cli;
mod damage;
mod directory;
mod fake;
mod faults;
mod hostkeys;
mod plan;
mod reboot;
mod services;
mod systemctl;
