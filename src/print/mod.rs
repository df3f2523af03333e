//! From structured results to bytes.
//!
//! A [`Printer`] takes the results of one file after the other, [`v1::FileMatches`] and the path
//! to display, and writes what ripgrep 15 would print for them: lines, counts, names, or JSON
//! Lines. Its input is the columns that the search has filled in; [`PrintConfig::columns`] says
//! which ones it needs. Nothing here matches, reads a file, or knows of jobs.
//!
//! Invariants:
//! - a large file comes in several messages, all but the last marked `continues`. They are
//!   printed as one file: one heading, one count, one `begin` and one `end`;
//! - no message, however broken, makes a printer panic: columns that do not fit together are an
//!   error of kind `InvalidData` and nothing of that message is printed;
//! - bytes reach the writer when a buffer is full, on [`Printer::flush`] and on
//!   [`Printer::finish`]. Whoever wants the first match on the screen early flushes after each
//!   batch.

mod color;
mod config;
mod json;
mod line;
mod out;
pub mod progress;
mod records;
mod standard;
mod stats;
mod summary;
pub mod units;

use std::io::{self, Write};

use regexctl_proto::v1;

pub use color::{ColorError, ColorSpec, Colors};
pub use config::{Columns, LineTerminator, Mode, PrintConfig};
pub use stats::Summary;

use json::{Json, Place};
use out::Out;
use records::Records;
use standard::Standard;
use stats::Searched;
use summary::Counts;

/// Prints the results of a job to `W`.
#[derive(Debug)]
pub struct Printer<W> {
    out: Out<W>,
    style: Style,
    mode: Mode,
    stats: bool,
    path_separator: Option<u8>,
    /// The path with its separators replaced; scratch.
    path: Vec<u8>,
    /// The next message belongs to the same file.
    continues: bool,
    /// Over all files.
    searched: Searched,
}

/// How files are printed.
#[derive(Debug)]
enum Style {
    Lines(Box<Standard>),
    Counts(Box<Counts>),
    Json(Box<Json>),
    Nothing,
}

impl<W: Write> Printer<W> {
    /// A printer to `writer`, which needs no buffer of its own.
    pub fn new(config: PrintConfig, writer: W) -> Self {
        Self {
            out: Out::new(writer),
            mode: config.mode,
            stats: config.stats,
            path_separator: config.path_separator,
            path: Vec::new(),
            continues: false,
            searched: Searched::default(),
            style: match config.mode {
                Mode::Standard => Style::Lines(Box::new(Standard::new(config))),
                Mode::CountLines
                | Mode::CountMatches
                | Mode::FilesWithMatch
                | Mode::FilesWithoutMatch
                | Mode::Files => Style::Counts(Box::new(Counts::new(config))),
                Mode::Json => Style::Json(Box::new(Json::new(config))),
                Mode::Quiet => Style::Nothing,
            },
        }
    }

    /// Prints the results of one file, or the next part of a file whose last part said that it
    /// continues. `path` is printed as it is; `nodes` are the names that `file.node` indexes.
    ///
    /// Errors: those of the writer; `InvalidData` when the columns do not fit together.
    pub fn file(
        &mut self,
        path: &[u8],
        file: &v1::FileMatches,
        nodes: &[String],
    ) -> io::Result<()> {
        let records =
            Records::new(file).map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad))?;
        let first = !std::mem::replace(&mut self.continues, file.continues);
        let last = !file.continues;
        self.searched.add(file);
        let path = separated(&mut self.path, path, self.path_separator);
        let out = &mut self.out;
        match &mut self.style {
            Style::Lines(standard) => {
                if first {
                    standard.begin(path);
                }
                standard.records(records, out)?;
                if last {
                    standard.end(&mut out.buf);
                }
            }
            Style::Counts(counts) => {
                if first {
                    counts.begin();
                }
                counts.add(file);
                if last {
                    counts.end(path, &mut out.buf);
                }
            }
            Style::Json(json) => {
                let place = Place {
                    node: nodes.get(file.node as usize).map(String::as_str),
                    shard: file.shard,
                };
                if first {
                    json.begin(path, place, out);
                }
                json.records(records, out)?;
                if last {
                    json.end(place, out);
                }
            }
            Style::Nothing => {}
        }
        out.spill()
    }

    /// Writes out what was printed so far.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Bytes printed so far.
    pub fn printed(&self) -> u64 {
        self.out.total()
    }

    /// Prints what stands at the end, the `summary` of JSON or the statistics if they were asked
    /// for, and gives the writer back, flushed.
    pub fn finish(mut self, summary: &Summary) -> io::Result<W> {
        let searching = summary.searching.unwrap_or(self.searched.elapsed);
        match &self.style {
            Style::Json(json) => json.summary(summary, searching, &mut self.out.buf),
            _ if self.stats => {
                let searched = self.mode != Mode::Files;
                let text = summary.text(self.out.total(), searching, searched);
                self.out.buf.extend_from_slice(&text);
            }
            _ => {}
        }
        self.out.finish()
    }
}

/// `path`, with its separators replaced when there is something to replace them with.
fn separated<'a>(scratch: &'a mut Vec<u8>, path: &'a [u8], separator: Option<u8>) -> &'a [u8] {
    let Some(separator) = separator else {
        return path;
    };
    scratch.clear();
    scratch.extend(path.iter().map(|&b| if b == b'/' { separator } else { b }));
    scratch
}
