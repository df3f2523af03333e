//! The cluster's provisioner: what turns a description of nodes into the configuration of
//! the daemons that boot them.
//!
//! [`model`] holds the description, `cluster.toml`, and the values every part works with; a value
//! that exists is a valid one. [`nodeset`] chooses nodes. [`hosts`] reads a host list, [`dhcp`]
//! renders it for a DHCP server, [`import`] and [`edit`] put it into `cluster.toml`, [`machine`]
//! and [`init`] write a first one. [`store`] keeps images and artifacts on disk, [`initramfs`] is
//! what a node runs between its loader and its system. [`render`](mod@render) makes the configuration
//! of every daemon, and what nodes boot. [`status`] says what nodes have done, and why they are where they
//! are; [`serve`] is the boot endpoint, which hears it. [`cli`] is the command line.
//!
//! Invariants:
//! - input is bytes from a person: any of it either becomes model values or a list of
//!   problems with their places, never a panic and never half of an output;
//! - a renderer cannot fail: what a daemon would misread is refused where it is parsed;
//! - a file is replaced as a whole, or not at all ([`file`](mod@file)).

pub mod apply;
pub mod approve;
pub mod cli;
pub mod dhcp;
pub mod doctor;
pub mod edit;
pub mod fanout;
pub mod file;
pub mod hosts;
pub mod image;
pub mod import;
pub mod init;
pub mod initramfs;
pub mod machine;
pub mod model;
pub mod nodeset;
pub mod parallel;
pub mod power;
pub mod process;
pub mod render;
mod rooted;
pub mod serve;
pub mod status;
pub mod store;
