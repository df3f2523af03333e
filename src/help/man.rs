//! Manual pages: one for `regexctl`, one for each of its subcommands.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;

use crate::flags::command;

/// Why the pages could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}")]
pub struct ManError {
    /// The file or directory.
    path: String,
    /// Why.
    source: io::Error,
}

/// Writes regexctl(1).
pub fn page(out: &mut impl Write) -> io::Result<()> {
    render(built(), out)
}

/// Writes a file a page into `dir`, which is made if it is not there, and returns their paths.
pub fn install(dir: &Path) -> Result<Vec<PathBuf>, ManError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        |source| ManError { path, source }
    };
    fs::create_dir_all(dir).map_err(failed(dir))?;
    let main = built();
    let subcommands: Vec<_> = main.get_subcommands().cloned().collect();
    let mut written = Vec::new();
    for command in std::iter::once(main).chain(subcommands) {
        // A built subcommand is displayed as regexctl-NAME.
        let name = command.get_display_name().unwrap_or(command.get_name());
        let path = dir.join(format!("{name}.1"));
        let mut text = Vec::new();
        render(command, &mut text)
            .and_then(|()| fs::write(&path, text))
            .map_err(failed(&path))?;
        written.push(path);
    }
    Ok(written)
}

fn built() -> Command {
    let mut command = command().disable_help_subcommand(true);
    command.build();
    command
}

fn render(command: Command, out: &mut impl Write) -> io::Result<()> {
    Man::new(command).manual("regexctl manual").render(out)
}
