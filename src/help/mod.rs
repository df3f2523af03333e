//! What is rendered from the definition of the command line beside its help: completions,
//! manual pages, and the list of file types.

mod man;

use std::io::{self, Write};

use crate::flags::{Shell, command};

pub use man::{ManError, install, page};

/// Writes the script that completes regexctl's flags in `shell`.
pub fn completions(shell: Shell, out: &mut impl Write) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "regexctl", &mut script);
    out.write_all(&script)
}

/// Writes the file types as `name: glob, glob`, a line a type, as `rg --type-list` does.
pub fn type_list(out: &mut impl Write) -> io::Result<()> {
    for (name, globs) in regexctl_source::type_list() {
        writeln!(out, "{name}: {}", globs.join(", "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
