//! The crate from outside, on real trees in a temporary directory.

mod filters;
mod helpers;
mod ignore_files;
mod listing;
mod oracle;
mod reading;
mod roots;
