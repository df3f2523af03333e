//! From structured results to bytes.
//!
//! A [`Printer`] takes the results of one file after the other, [`v1::FileMatches`] and the path
//! to display, and writes what ripgrep 15 would print for them: lines, counts, names, or JSON
//! Lines. Its input is the columns that the search has filled in; [`PrintConfig::columns`] says
//! which ones it needs. Nothing here matches, reads a file, or knows of jobs.
//!
//! Invariants:
//! - a large file comes in several messages, all but the last marked `continues`. They are
//!   printed as one file: one heading, one count, one `begin` and one `end`. (The pieces of a
//!   message that was `cut` for the wire were joined before);
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

    /// Bytes printed so far: all of them, while ripgrep's statistics leave out escape sequences and
    /// counts.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, continues: bool) -> v1::FileMatches {
        let lengths: Vec<u32> = text
            .split_inclusive('\n')
            .map(|line| u32::try_from(line.len()).expect("a short line"))
            .collect();
        v1::FileMatches {
            matched_lines: lengths.len() as u64,
            line_numbers: (1..=lengths.len() as u64).collect(),
            lengths,
            text: text.into(),
            bytes_searched: 10,
            continues,
            ..v1::FileMatches::default()
        }
    }

    fn print(config: PrintConfig, files: &[(&str, v1::FileMatches)]) -> String {
        let mut printer = Printer::new(config, Vec::new());
        for (path, file) in files {
            printer
                .file(path.as_bytes(), file, &["one".into(), "two".into()])
                .expect("the columns fit and a Vec takes everything");
        }
        let written = printer
            .finish(&Summary::default())
            .expect("a Vec takes everything");
        String::from_utf8(written).expect("the test's files are UTF-8")
    }

    #[test]
    fn parts_of_a_file_are_one_file() {
        let files = [
            ("a", lines("1\n2\n", true)),
            ("a", lines("", true)),
            ("a", lines("3", false)),
            ("b", lines("4\n", false)),
        ];
        let with_mode = |mode| PrintConfig {
            mode,
            with_filename: true,
            ..PrintConfig::default()
        };
        let headings = PrintConfig {
            heading: true,
            ..with_mode(Mode::Standard)
        };
        assert_eq!(print(headings, &files), "a\n1\n2\n3\n\nb\n4\n");
        assert_eq!(print(with_mode(Mode::CountLines), &files), "a:3\nb:1\n");
        assert_eq!(print(with_mode(Mode::FilesWithMatch), &files), "a\nb\n");
        let json = print(with_mode(Mode::Json), &files);
        assert_eq!(json.matches(r#""type":"begin""#).count(), 2);
        assert_eq!(json.matches(r#""type":"end""#).count(), 2);
        assert!(json.contains(r#""bytes_searched":30,"#), "{json}");
    }

    #[test]
    fn json_says_where_a_file_was_searched() {
        let file = |node, continues| v1::FileMatches {
            node,
            shard: 40 + u64::from(node),
            ..lines("x\n", continues)
        };
        let config = PrintConfig {
            mode: Mode::Json,
            ..PrintConfig::default()
        };
        let json = print(
            config,
            &[
                ("a", file(0, true)),
                ("a", file(1, true)),
                ("a", file(2, false)),
            ],
        );
        let places: Vec<&str> = json
            .lines()
            .filter_map(|line| Some(line.rsplit_once(r#","node":"#)?.1))
            .collect();
        assert_eq!(places, [r#""one","shard":40}}"#, r#"null,"shard":42}}"#]);
    }

    #[test]
    fn columns_that_do_not_fit_are_an_error_and_print_nothing() {
        let mut printer = Printer::new(PrintConfig::default(), Vec::new());
        let mut file = lines("1\n", false);
        file.lengths[0] = 9;
        let error = printer.file(b"a", &file, &[]).expect_err("9 is not 2");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(printer.printed(), 0);
    }

    #[test]
    fn statistics_account_for_everything() {
        let summary = Summary {
            tally: v1::Tally {
                seen: 10,
                scanned: 7,
                matched: 2,
                skipped_special: 2,
                failed: 1,
                matches: 5,
                matched_lines: 4,
                bytes_searched: 99,
                ..v1::Tally::default()
            },
            shards: 3,
            retries: 1,
            ..Summary::default()
        };
        let config = PrintConfig {
            stats: true,
            ..PrintConfig::default()
        };
        let printer = Printer::new(config, Vec::new());
        let text = printer.finish(&summary).expect("a Vec takes everything");
        let text = String::from_utf8(text).expect("statistics are UTF-8");
        for line in [
            "5 matches",
            "7 files searched",
            "10 entries seen that are not directories",
            "  2 skipped as special files",
            "3 shards",
            "  1 repeated attempts",
        ] {
            assert!(text.lines().any(|l| l == line), "no {line:?} in\n{text}");
        }
    }

    #[test]
    fn an_error_of_the_writer_is_told() {
        #[derive(Debug)]
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut printer = Printer::new(PrintConfig::default(), Full);
        let file = lines("line\n", false);
        printer.file(b"a", &file, &[]).expect("it fits the buffer");
        let error = printer.flush().expect_err("the writer is full");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
