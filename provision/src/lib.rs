//! The cluster's provisioner: what turns a description of nodes into the configuration of
//! the daemons that boot them.
//!
//! [`model`] holds the values every part works with; a value that exists is a valid one.
//! [`store`] keeps images and artifacts on disk. [`hosts`] reads a host list, [`dhcp`] renders it for a DHCP server. The binary
//! `regex-provision` parses the command line, connects these, and prints.
//!
//! Invariants:
//! - nothing here talks to a network or starts a daemon;
//! - input is bytes from a person: any of it either becomes model values or a list of
//!   problems with their places, never a panic and never half of an output;
//! - a renderer cannot fail: what a daemon would misread is refused where it is parsed.

pub mod dhcp;
pub mod hosts;
pub mod initramfs;
pub mod model;
pub mod nodeset;
pub mod store;
