//! `regex-provision serve`, and what is told of nodes: the program itself, asked over HTTP as nodes ask.

mod boots;
mod client;
mod crowd;
mod dhcp;
mod hostile;
mod kept;
mod looks;
mod named;
mod offers;
mod script;
pub(crate) mod site;
mod told;
mod watch;
