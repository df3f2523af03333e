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
    let extra = command.get_after_help().map(ToString::to_string);
    let subcommands = command.has_subcommands();
    let man = Man::new(command)
        .manual("regexctl manual")
        .source(concat!("regexctl ", env!("CARGO_PKG_VERSION")));
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if subcommands {
        man.render_subcommands_section(out)?;
    }
    sections(extra.as_deref().unwrap_or_default(), out)
}

/// What stands below the help, as sections: a line `Examples:` is the heading of one, and
/// what follows is indented as it is there.
fn sections(text: &str, out: &mut impl Write) -> io::Result<()> {
    let mut open = false;
    for line in text.lines() {
        match line.strip_suffix(':') {
            Some(heading) if !line.starts_with(' ') => {
                if open {
                    writeln!(out, ".fi")?;
                }
                writeln!(out, ".SH \"{}\"\n.nf", heading.to_uppercase())?;
                open = true;
            }
            _ => writeln!(out, "{}", escaped(line.strip_prefix("  ").unwrap_or(line)))?,
        }
    }
    if open {
        writeln!(out, ".fi")?;
    }
    Ok(())
}

/// A line of text for roff: no control line, and every character itself.
fn escaped(line: &str) -> String {
    let mut text = String::with_capacity(line.len() + 2);
    if line.starts_with(['.', '\'']) {
        text.push_str("\\&");
    }
    for c in line.chars() {
        match c {
            '\\' => text.push_str("\\e"),
            '-' => text.push_str("\\-"),
            '\'' => text.push_str("\\(aq"),
            '`' => text.push_str("\\(ga"),
            '^' => text.push_str("\\(ha"),
            '~' => text.push_str("\\(ti"),
            c => text.push(c),
        }
    }
    text
}
