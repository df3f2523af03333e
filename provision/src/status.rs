//! What nodes have done, and why they are where they are.
//!
//! - [`Event`] is something that was heard of a machine, [`Board`] what all of it means: a pure
//!   state machine;
//! - [`Record`], [`Boot`], [`Step`], [`Unknown`]: what is known of a machine ([`record`]); [`journal`] keeps it on disk;
//! - [`build`](fn@build) makes of it what is told ([`view`]): where each node is and why, what it has booted beside what it
//!   would boot now, how long stages took; [`show`] writes that for people;
//! - [`Words`], [`BootId`], [`Inventory`]: what machines send, cleaned and cut.
//!
//! Invariants: nothing here looks at a clock, a disk or the network, but for what says so; what a
//! machine sends can neither grow without bounds nor do anything to a terminal.

pub mod event;
pub mod journal;
pub mod record;
pub mod show;
pub mod view;

mod at;
mod board;
mod build;
mod conclude;
mod inventory;
mod line;
mod reach;
mod reboot;
mod stage;
mod timing;
mod words;

pub use at::{At, for_people};
pub use board::{Board, POOL_TOLD, Pool, RETRY_WINDOW};
pub use build::{Known, Workers, build};
pub use conclude::{Attached, Conclusion, arrival, conclude};
pub use event::{Client, Dhcp, Event, PROBE, Report};
pub use inventory::{Disk, Inventory, MAX_DEVICES, Nic, maker};
pub use line::Line;
pub use reach::{MAX_TRIED, MAX_TRIED_BYTES, Means, Tried, TriedNode, Unreached};
pub use reboot::reboot_reason;
pub use record::{
    BOOTS_KEPT, Boot, Duplicate, Failure, Lost, NoOffer, Offer, Record, Step, Unknown,
};
pub use stage::{NoStage, Stage};
pub use timing::timing;
pub use view::{State, Status};
pub use words::{BootId, MAX_BOOT_ID, MAX_WORDS, NoBootId, Words};

#[cfg(test)]
mod tests;
