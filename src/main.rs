//! `regexctl`: the command a person types. Parses, runs, maps the outcome to an exit code.

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use regexctl::flags::{self, Action};
use regexctl::{commands, run};

// Chosen by measurement, with small pages: see docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    regexctl_worker::memory::use_small_pages();
    let action = match flags::parse(std::env::args_os()) {
        Ok(action) => action,
        Err(error) => return told(&error),
    };
    let result = match action {
        Action::Run(typed) => run::run(typed).map(run::Exit::code),
        Action::Nodes(args) => commands::nodes(&args).map(|()| 0),
        Action::Completions(shell) => commands::completions(shell).map(|()| 0),
        Action::Man(directory) => commands::man(directory.as_deref()).map(|()| 0),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Without a standard error there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "regexctl: {error:#}");
            ExitCode::from(run::Exit::Failed.code())
        }
    }
}

/// Prints help, the version, or what is wrong with the command line.
fn told(error: &clap::Error) -> ExitCode {
    match error.print() {
        // Whoever closed the pipe has read enough.
        Err(cause) if cause.kind() != ErrorKind::BrokenPipe && !error.use_stderr() => {
            let _ = writeln!(
                std::io::stderr(),
                "regexctl: cannot write to standard output: {cause}"
            );
            ExitCode::from(run::Exit::Failed.code())
        }
        _ if error.use_stderr() => ExitCode::from(run::Exit::Failed.code()),
        _ => ExitCode::SUCCESS,
    }
}
