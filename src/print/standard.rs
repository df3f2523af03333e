//! Matching lines and their context, as ripgrep prints them.
//!
//! A file is printed in one of three ways, from the fastest to the slowest: its text as a whole,
//! where nothing stands before the lines; line by line; or, where the single matches matter
//! or lines are changed, by [`super::line`].

use std::io::{self, Write};

use super::config::PrintConfig;
use super::line::{Line, LinePrinter};
use super::out::{Out, decimal};
use super::records::{Kind, Record, Records, Span};
use regexctl_proto::v1::BinaryEnd;

/// Prints lines. What it holds between two calls is about the file that is being printed, which
/// may come in several messages.
#[derive(Debug)]
pub(super) struct Standard {
    config: PrintConfig,
    /// Nothing but the prefix, the line number and the offset stands before an unchanged line.
    plain: bool,
    /// The path as it is displayed, with colours.
    path: Vec<u8>,
    /// What each matching line begins with: the path and what follows it, or nothing.
    match_prefix: Vec<u8>,
    /// What each line of context begins with.
    context_prefix: Vec<u8>,
    /// The file's heading, or what separates it from the one before, is printed.
    begun: bool,
    any_match: bool,
    binary_offset: Option<u64>,
    binary_skipped: bool,
    // Scratch of `record`.
    spans: Vec<Span>,
    replaced: Vec<u8>,
    replaced_spans: Vec<Span>,
}

impl Standard {
    pub(super) fn new(config: PrintConfig) -> Self {
        let plain = !config.colors.on
            && !config.marks_matches()
            && !config.multi_line
            && !config.trim
            && config.max_columns.is_none();
        Self {
            config,
            plain,
            path: Vec::new(),
            match_prefix: Vec::new(),
            context_prefix: Vec::new(),
            begun: false,
            any_match: false,
            binary_offset: None,
            binary_skipped: false,
            spans: Vec::new(),
            replaced: Vec::new(),
            replaced_spans: Vec::new(),
        }
    }

    /// The first message of a file follows.
    pub(super) fn begin(&mut self, path: &[u8]) {
        self.begun = false;
        self.any_match = false;
        self.binary_offset = None;
        self.binary_skipped = false;
        self.path.clear();
        self.match_prefix.clear();
        self.context_prefix.clear();
        if !self.config.with_filename {
            return;
        }
        self.config.colors.put_path(&mut self.path, path);
        if self.config.heading {
            return;
        }
        for (prefix, separator) in [
            (&mut self.match_prefix, &self.config.field_match_separator),
            (
                &mut self.context_prefix,
                &self.config.field_context_separator,
            ),
        ] {
            prefix.extend_from_slice(&self.path);
            if self.config.null {
                prefix.push(0);
            } else {
                prefix.extend_from_slice(separator);
            }
        }
    }

    /// The records of one message.
    pub(super) fn records<W: Write>(
        &mut self,
        records: Records<'_>,
        out: &mut Out<W>,
    ) -> io::Result<()> {
        let file = records.file();
        self.any_match |= records.any_match() || file.binary_end() == BinaryEnd::Matched;
        self.binary_offset = self.binary_offset.or(file.binary_offset);
        self.binary_skipped |= file.binary_end() == BinaryEnd::Skipped;
        if file.lengths.is_empty() {
            return Ok(());
        }
        self.prelude(out);
        if self.plain {
            return self.plain_records(records, out);
        }
        for record in records.iter() {
            self.record(&record, &mut out.buf);
            out.spill()?;
        }
        Ok(())
    }

    /// The last message of the file has been printed.
    pub(super) fn end(&self, buf: &mut Vec<u8>) {
        let Some(offset) = self.binary_offset else {
            return;
        };
        if !self.any_match {
            return;
        }
        if self.config.with_filename {
            buf.extend_from_slice(&self.path);
            buf.extend_from_slice(b": ");
        }
        buf.extend_from_slice(if self.binary_skipped {
            b"WARNING: stopped searching binary file after match".as_slice()
        } else {
            b"binary file matches".as_slice()
        });
        buf.extend_from_slice(br#" (found "\0" byte around offset "#);
        decimal(buf, offset);
        buf.extend_from_slice(b")\n");
    }

    /// What stands before a file's first line.
    fn prelude<W: Write>(&mut self, out: &mut Out<W>) {
        if self.begun {
            return;
        }
        self.begun = true;
        if let Some(separator) = self.config.file_separator()
            && out.total() > 0
        {
            out.buf.extend_from_slice(separator);
            out.buf
                .extend_from_slice(self.config.line_terminator.bytes());
        }
        if self.config.heading && self.config.with_filename {
            out.buf.extend_from_slice(&self.path);
            out.buf.extend_from_slice(if self.config.null {
                b"\0"
            } else {
                self.config.line_terminator.bytes()
            });
        }
    }

    /// Every record as it is.
    fn plain_records<W: Write>(&self, records: Records<'_>, out: &mut Out<W>) -> io::Result<()> {
        let file = records.file();
        let terminator = self.config.line_terminator.byte();
        let bare = self.match_prefix.is_empty()
            && !self.config.byte_offset
            && (!self.config.line_number || file.line_numbers.is_empty());
        if bare && file.kinds.is_empty() && all_terminated(&file.text, &file.lengths, terminator) {
            return out.put_large(&file.text);
        }
        for record in records.iter() {
            let (prefix, separator) = match record.kind {
                Kind::Match => (&self.match_prefix, &self.config.field_match_separator),
                Kind::Context => (&self.context_prefix, &self.config.field_context_separator),
                Kind::Break => {
                    self.context_break(&mut out.buf);
                    continue;
                }
            };
            let buf = &mut out.buf;
            buf.extend_from_slice(prefix);
            if self.config.line_number
                && let Some(number) = record.line_number
            {
                decimal(buf, number);
                buf.extend_from_slice(separator);
            }
            if self.config.byte_offset {
                decimal(buf, record.offset);
                buf.extend_from_slice(separator);
            }
            buf.extend_from_slice(record.text);
            if record.text.last() != Some(&terminator) {
                buf.extend_from_slice(self.config.line_terminator.bytes());
            }
            out.spill()?;
        }
        Ok(())
    }

    fn context_break(&self, buf: &mut Vec<u8>) {
        if let Some(separator) = &self.config.context_separator {
            buf.extend_from_slice(separator);
            buf.extend_from_slice(self.config.line_terminator.bytes());
        }
    }

    /// A record whose matches matter, or whose lines are changed.
    fn record(&mut self, record: &Record<'_>, buf: &mut Vec<u8>) {
        let context = match record.kind {
            Kind::Break => return self.context_break(buf),
            Kind::Context => true,
            Kind::Match => false,
        };
        self.spans.clear();
        if self.config.marks_matches() && context == self.config.invert {
            self.spans.extend(record.spans());
        }
        let replaced = self.config.replaced
            && !self.spans.is_empty()
            && record.replace_into(&mut self.replaced, &mut self.replaced_spans);
        let (bytes, spans) = if replaced {
            (&self.replaced[..], &self.replaced_spans[..])
        } else {
            (record.text, &self.spans[..])
        };
        LinePrinter::new(
            &self.config,
            if context {
                &self.context_prefix
            } else {
                &self.match_prefix
            },
            Line {
                context,
                number: record.line_number,
                offset: record.offset,
                bytes,
                spans,
                matches: self.spans.len(),
            },
            buf,
        )
        .print();
    }
}

/// Whether every record ends with `terminator`; the last line of a file may not.
fn all_terminated(text: &[u8], lengths: &[u32], terminator: u8) -> bool {
    let mut end = 0;
    lengths.iter().all(|&len| {
        end += len as usize;
        len > 0 && text[end - 1] == terminator
    })
}
