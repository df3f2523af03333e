//! Printing.

use std::env;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use anyhow::Context as _;

/// Prints a result to standard output. A reader that has gone away wants no message.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// Prints messages to standard error. Without one there is nobody to tell; the exit status
/// remains.
pub fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether a person reads standard error.
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether that person wants colours.
pub fn stderr_has_colours() -> bool {
    stderr_is_terminal() && wants_colours()
}

/// Whether a person reads standard output, and wants colours.
pub fn stdout_has_colours() -> bool {
    io::stdout().is_terminal() && wants_colours()
}

/// `NO_COLOR` is not set, and the terminal has some.
fn wants_colours() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
    !is_set("NO_COLOR") && !is_dumb
}

/// Lines of cells, each column as wide as its widest cell, with two spaces in between. The
/// first row is the heading.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let begin = out.len();
        for (cell, width) in row.iter().zip(&widths) {
            out.push_str(cell);
            let padding = width - cell.chars().count() + 2;
            out.extend(std::iter::repeat_n(' ', padding));
        }
        out.truncate(begin + out[begin..].trim_end().len());
        out.push('\n');
    }
    out
}

/// "1 node", "2 nodes".
pub fn counted(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}
