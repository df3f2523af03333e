//! One record, as its lines are printed when the single matches matter or lines are changed:
//! colours, columns, `-o`, `-r`, `--vimgrep`, `--trim`, `--max-columns`, multi-line records.
//!
//! ripgrep's output is followed byte for byte, also where it is odd: the length of a line counts its
//! terminator, with colours before and without colours after the white space is trimmed; without colours a line
//! keeps the terminator that it has, with colours it gets the one that was asked for.

use bstr::ByteSlice;

use super::config::{LineTerminator, PrintConfig};
use super::out::decimal;
use super::records::Span;

/// A record on its way to the output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) context: bool,
    pub(super) number: Option<u64>,
    pub(super) offset: u64,
    /// The text, with the replacements in it if there are any.
    pub(super) bytes: &'a [u8],
    /// The matches in `bytes`, or where their replacements stand; empty when they do not matter.
    pub(super) spans: &'a [Span],
    /// How many matches there were in the file's text.
    pub(super) matches: usize,
}

/// Prints one [`Line`].
#[derive(Debug)]
pub(super) struct LinePrinter<'a> {
    config: &'a PrintConfig,
    prefix: &'a [u8],
    line: Line<'a>,
    buf: &'a mut Vec<u8>,
    /// The colour of matches is switched on.
    in_match: bool,
}

impl<'a> LinePrinter<'a> {
    pub(super) fn new(
        config: &'a PrintConfig,
        prefix: &'a [u8],
        line: Line<'a>,
        buf: &'a mut Vec<u8>,
    ) -> Self {
        Self {
            config,
            prefix,
            line,
            buf,
            in_match: false,
        }
    }

    pub(super) fn print(mut self) {
        let multi_line = self.config.multi_line && !self.line.context;
        match (self.line.spans.is_empty(), multi_line) {
            (true, false) => {
                self.fields(self.line.offset, 0, None);
                self.whole(self.line.bytes);
            }
            (true, true) => self.several_whole(),
            (false, false) if self.config.only_matching => self.each_match(),
            (false, false) if self.config.per_match => self.line_per_match(),
            (false, false) => {
                self.fields(self.line.offset, 0, Some(self.line.spans[0].start));
                self.marked(self.line.spans, self.line.bytes);
            }
            (false, true) if self.config.only_matching => self.several_each_match(),
            (false, true) if self.config.per_match => self.several_per_match(),
            (false, true) => self.several_marked(),
        }
    }

    /// Several lines, matches unknown.
    fn several_whole(&mut self) {
        for (index, line) in lines(self.line.bytes, self.config.line_terminator).enumerate() {
            self.fields(
                self.line.offset.saturating_add(line.start as u64),
                index as u64,
                None,
            );
            self.whole(line.of(self.line.bytes));
        }
    }

    /// `-o`: each match, without the rest of its line.
    fn each_match(&mut self) {
        for &span in self.line.spans {
            self.fields(
                self.line.offset.saturating_add(span.start as u64),
                0,
                Some(span.start),
            );
            let bytes = span.of(self.line.bytes);
            let all = Span {
                start: 0,
                end: bytes.len(),
            };
            self.marked(&[all], bytes);
        }
    }

    /// `--vimgrep`: the line, once for each match.
    fn line_per_match(&mut self) {
        for &span in self.line.spans {
            self.fields(
                self.line.offset.saturating_add(span.start as u64),
                0,
                Some(span.start),
            );
            self.marked(&[span], self.line.bytes);
        }
    }

    /// Several lines with their matches marked. The column is that of the first match of all.
    fn several_marked(&mut self) {
        let Line { bytes, spans, .. } = self.line;
        let mut next = 0;
        for (index, mut line) in lines(bytes, self.config.line_terminator).enumerate() {
            self.fields(
                self.line.offset.saturating_add(line.start as u64),
                index as u64,
                Some(spans[0].start),
            );
            self.trim_start(bytes, &mut line);
            if self.too_long(line.of(bytes)) {
                self.omitted(bytes, line, spans, &mut next);
            } else {
                self.highlighted(bytes, line, spans, &mut next);
                self.terminate();
            }
        }
    }

    /// `-o` in several lines: a match that spans lines is printed in pieces, one a line; an empty
    /// one not at all.
    fn several_each_match(&mut self) {
        let Line { bytes, spans, .. } = self.line;
        let mut next = 0;
        for (index, mut line) in lines(bytes, self.config.line_terminator).enumerate() {
            self.trim_end(bytes, &mut line);
            self.trim_start(bytes, &mut line);
            while line.start < line.end {
                let span = spans[next];
                if span.end <= line.start {
                    if next + 1 == spans.len() {
                        break;
                    }
                    next += 1;
                } else if line.start < span.start {
                    line.start = line.end.min(span.start);
                } else {
                    let piece = Span {
                        start: line.start,
                        end: line.end.min(span.end),
                    };
                    line.start = piece.end;
                    self.fields(
                        self.line.offset.saturating_add(span.start as u64),
                        index as u64,
                        Some(span.start),
                    );
                    if self.too_long(piece.of(bytes)) {
                        self.omitted(bytes, piece, spans, &mut next);
                    } else {
                        self.in_match_color(piece.of(bytes));
                        self.terminate();
                    }
                }
            }
        }
    }

    /// `--vimgrep` in several lines: the line on which each match begins.
    fn several_per_match(&mut self) {
        let bytes = self.line.bytes;
        for &span in self.line.spans {
            for (index, mut line) in lines(bytes, self.config.line_terminator).enumerate() {
                if line.start >= span.end {
                    break;
                }
                if line.end <= span.start {
                    continue;
                }
                self.fields(
                    self.line.offset.saturating_add(line.start as u64),
                    index as u64,
                    Some(span.start.saturating_sub(line.start)),
                );
                self.trim_end(bytes, &mut line);
                self.trim_start(bytes, &mut line);
                if self.too_long(line.of(bytes)) {
                    // As in ripgrep, the match's next line gets its chance.
                    self.omitted(bytes, line, &[span], &mut 0);
                    continue;
                }
                let start = span.start.clamp(line.start, line.end);
                let end = span.end.clamp(start, line.end);
                self.buf.extend_from_slice(&bytes[line.start..start]);
                if start < end {
                    self.in_match_color(&bytes[start..end]);
                }
                self.buf.extend_from_slice(&bytes[end..line.end]);
                self.terminate();
                break;
            }
        }
    }

    /// What stands before a line: path, line number, column and offset, each with its separator.
    /// `index` counts the lines of the record, `start` is the match's first byte.
    fn fields(&mut self, offset: u64, index: u64, start: Option<usize>) {
        let config = self.config;
        let separator = if self.line.context {
            &config.field_context_separator
        } else {
            &config.field_match_separator
        };
        self.buf.extend_from_slice(self.prefix);
        let number = self.line.number.filter(|_| config.line_number);
        let column = start.filter(|_| config.column);
        let offset = Some(offset).filter(|_| config.byte_offset);
        for (value, style) in [
            (number.map(|n| n.saturating_add(index)), &config.colors.line),
            (column.map(|c| c as u64 + 1), &config.colors.column),
            (offset, &config.colors.column),
        ] {
            let Some(value) = value else { continue };
            self.buf.extend_from_slice(&style.start);
            decimal(self.buf, value);
            self.buf.extend_from_slice(config.colors.reset);
            self.buf.extend_from_slice(separator);
        }
    }

    /// A line without colours; it keeps its terminator.
    fn whole(&mut self, bytes: &[u8]) {
        let mut line = Span {
            start: 0,
            end: bytes.len(),
        };
        self.trim_start(bytes, &mut line);
        let bytes = line.of(bytes);
        if self.too_long(bytes) {
            let all = Span {
                start: 0,
                end: bytes.len(),
            };
            self.omitted(bytes, all, self.line.spans, &mut 0);
            return;
        }
        self.buf.extend_from_slice(bytes);
        if bytes.last() != Some(&self.config.line_terminator.byte()) {
            self.terminate();
        }
    }

    /// A line with `spans` in colour, where matches have one.
    fn marked(&mut self, spans: &[Span], bytes: &[u8]) {
        let colors = &self.config.colors;
        if !colors.on || colors.matched.none {
            return self.whole(bytes);
        }
        let mut line = Span {
            start: 0,
            end: bytes.len(),
        };
        self.trim_start(bytes, &mut line);
        if self.too_long(bytes) {
            self.omitted(bytes, line, spans, &mut 0);
        } else {
            self.highlighted(bytes, line, spans, &mut 0);
            self.terminate();
        }
    }

    /// `line` of `bytes` without its terminator, with the parts of `spans` that lie in it in
    /// colour. `next` is the first span that may lie in it, and moves on.
    fn highlighted(&mut self, bytes: &[u8], mut line: Span, spans: &[Span], next: &mut usize) {
        self.trim_end(bytes, &mut line);
        if spans.is_empty() {
            self.buf.extend_from_slice(line.of(bytes));
            return;
        }
        let highlight = self.highlight();
        if let Some(start) = highlight {
            self.buf.extend_from_slice(start);
        }
        while line.start < line.end {
            let span = spans[*next];
            let upto = if span.end <= line.start {
                if *next + 1 < spans.len() {
                    *next += 1;
                    continue;
                }
                self.leave_match();
                line.end
            } else if line.start < span.start {
                self.leave_match();
                line.end.min(span.start)
            } else {
                self.enter_match();
                line.end.min(span.end)
            };
            self.buf.extend_from_slice(&bytes[line.start..upto]);
            line.start = upto;
        }
        self.leave_match();
        if highlight.is_some() {
            self.buf.extend_from_slice(self.config.colors.reset);
        }
    }

    /// What is printed of a line that is too long.
    fn omitted(&mut self, bytes: &[u8], line: Span, spans: &[Span], next: &mut usize) {
        if self.config.max_columns_preview {
            self.preview(bytes, line, spans, next);
        } else if self.line.matches > 0 && !self.config.only_matching {
            self.buf.extend_from_slice(b"[Omitted long line with ");
            decimal(self.buf, self.line.matches as u64);
            self.buf.extend_from_slice(b" matches]");
        } else if self.line.context {
            self.buf.extend_from_slice(b"[Omitted long context line]");
        } else {
            self.buf.extend_from_slice(b"[Omitted long matching line]");
        }
        self.terminate();
    }

    /// The first characters, as a reader sees them, of a line that is too long.
    fn preview(&mut self, bytes: &[u8], line: Span, spans: &[Span], next: &mut usize) {
        let columns = self.config.max_columns.unwrap_or(0);
        let shown = line
            .of(bytes)
            .grapheme_indices()
            .map(|(_, end, _)| end)
            .take(usize::try_from(columns).unwrap_or(usize::MAX))
            .last()
            .unwrap_or(0);
        let end = line.start + shown;
        let start = line.start;
        self.highlighted(bytes, Span { start, end }, spans, next);
        if spans.is_empty() {
            self.buf
                .extend_from_slice(b" [... omitted end of long line]");
            return;
        }
        let more = spans
            .iter()
            .filter(|span| (end..line.end).contains(&span.start))
            .count();
        self.buf.extend_from_slice(b" [... ");
        decimal(self.buf, more as u64);
        self.buf.extend_from_slice(if more == 1 {
            b" more match]"
        } else {
            b" more matches]"
        });
    }

    fn in_match_color(&mut self, bytes: &[u8]) {
        let colors = &self.config.colors;
        self.buf.extend_from_slice(&colors.matched.start);
        self.buf.extend_from_slice(bytes);
        self.buf.extend_from_slice(colors.reset);
    }

    fn enter_match(&mut self) {
        if !self.in_match {
            self.buf
                .extend_from_slice(&self.config.colors.matched.start);
            self.in_match = true;
        }
    }

    fn leave_match(&mut self) {
        if self.in_match {
            let back = self.highlight().unwrap_or(self.config.colors.reset);
            self.buf.extend_from_slice(back);
            self.in_match = false;
        }
    }

    /// The colour of the rest of a matching line, if it has one.
    fn highlight(&self) -> Option<&'a [u8]> {
        let style = &self.config.colors.highlight;
        (!style.none && !self.line.context).then_some(&style.start)
    }

    fn too_long(&self, bytes: &[u8]) -> bool {
        self.config
            .max_columns
            .is_some_and(|max| bytes.len() as u64 > max)
    }

    fn terminate(&mut self) {
        self.buf
            .extend_from_slice(self.config.line_terminator.bytes());
    }

    fn trim_end(&self, bytes: &[u8], line: &mut Span) {
        line.end = line.start + self.config.line_terminator.trim(line.of(bytes)).len();
    }

    /// `--trim`: leaves out white space, but no terminator.
    fn trim_start(&self, bytes: &[u8], line: &mut Span) {
        if self.config.trim {
            let terminator = self.config.line_terminator.bytes();
            line.start += line
                .of(bytes)
                .iter()
                .take_while(|b| {
                    matches!(b, b'\t' | b'\n' | b'\x0b' | b'\x0c' | b'\r' | b' ')
                        && !terminator.contains(b)
                })
                .count();
        }
    }
}

/// The lines of a record, terminators included.
fn lines(bytes: &[u8], terminator: LineTerminator) -> impl Iterator<Item = Span> + use<'_> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(start..).filter(|rest| !rest.is_empty())?;
        let len = rest
            .find_byte(terminator.byte())
            .map_or(rest.len(), |at| at + 1);
        let line = Span {
            start,
            end: start + len,
        };
        start = line.end;
        Some(line)
    })
}
