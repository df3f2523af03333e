//! `regex-provision`: the program. Everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    regexctl_provision::cli::main()
}
