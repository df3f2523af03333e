//! From what is rendered to what is installed: plan, apply, rollback, generations.
//!
//! - [`plan()`] says what would change: files with their old and new text, what services would be told, which nodes
//!   would have to be rebooted and why, and what keeps the description from being applied. It changes
//!   nothing, and needs no rights but to read.
//! - [`apply()`] shows each new file to its daemon's own checker ([`check`](mod@check)), writes a new
//!   [`Generation`], and switches to it. When anything fails, everything is as it was before.
//! - [`rollback()`] switches to a generation that was kept, configuration and images together.
//!
//! Invariants:
//! - a process that is killed at any step leaves the old state or the new one bootable, and the next apply
//!   or rollback completes what it began. So does a loss of power: what is enabled then has its files;
//! - a generation in force that is damaged keeps nobody from applying, or from going back;
//! - applied twice, the second time changes nothing;
//! - only services are told whose files have changed;
//! - below a fake root ([`Root::fake`]) no service is touched and no file outside of it is written.

pub mod check;
pub mod generation;
pub mod show;
pub mod site;

mod block;
mod compare;
mod disk;
mod error;
mod hostkeys;
mod interrupt;
mod listener;
mod place;
mod plan;
mod program;
mod reboot;
mod run;
mod services;
mod switch;
mod systemd;
mod there;
mod wanted;

pub use disk::Disk;
pub use error::ApplyError;
pub use generation::{Generation, GenerationError, Index, Indexed, KEPT_GENERATIONS, Pending};
pub use interrupt::Interrupt;
pub use place::Root;
pub use plan::{Action, Change, Kind, Plan, ServiceChange};
pub use reboot::{Reboot, Reboots};
pub use run::{Outcome, Request, apply, must_be_root, plan, rollback};
pub use services::{Expected, NoServices, ServiceError, Services, State};
pub use systemd::Systemd;
