//! The whole system, as its users meet it: real processes, real files, real TCP on loopback.
//!
//! ripgrep 15 says what the output should be: the program that the variable `RG` names, else `rg` of the PATH.
//! tests/README.md tells what each module is and how one test is run.

#![expect(
    clippy::pedantic,
    reason = "tests are written to be read; what pedantic asks for would hide the case"
)]

mod bad_input;
mod command_line;
mod faults;
mod harness;
mod peers;
mod property;
mod settings;
mod slow_reader;
mod startup;
mod table;
mod terminal;
mod trees;
