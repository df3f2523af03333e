//! `regexctl`: the command a person types. Parses, runs, maps the outcome to an exit code.

use std::io::Write as _;
use std::process::ExitCode;

use regexctl::flags::{self, Action};
use regexctl::{commands, run};

// For the results of many files, held and freed on many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let action = match flags::parse(std::env::args_os()) {
        Ok(action) => action,
        Err(error) => error.exit(),
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
