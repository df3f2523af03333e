//! JSON Lines, as `rg --json` writes them, with additions under names of their own.
//!
//! The messages and fields are those of ripgrep 15, in its order: `begin`, `match`, `context`, `end`
//! for each file and one `summary`. What is added: `node` (a string, or null when it
//! is not known) and `shard` (a number) in the data of `begin` and `end`, where the first and the last
//! part of the file were searched; and `tally`, `shards`, `retries` and `duplicates` in the data of `summary`.

use std::io::{self, Write};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::config::PrintConfig;
use super::out::{Out, decimal};
use super::records::{Kind, Record, Records, Span};
use super::stats::{Searched, Summary};

/// Prints messages.
#[derive(Debug)]
pub(super) struct Json {
    config: PrintConfig,
    /// `{"text":"the path"}`, which every message of the file holds.
    path: Vec<u8>,
    /// Of the output, when the file began.
    began_at: u64,
    /// Of all files that have ended.
    bytes_printed: u64,
    binary_offset: Option<u64>,
    file: Searched,
    base64: String,
}

/// Where a file was searched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) node: Option<&'a str>,
    pub(super) shard: u64,
}

impl Json {
    pub(super) fn new(config: PrintConfig) -> Self {
        Self {
            config,
            path: Vec::new(),
            began_at: 0,
            bytes_printed: 0,
            binary_offset: None,
            file: Searched::default(),
            base64: String::new(),
        }
    }

    /// The first message of a file follows.
    pub(super) fn begin<W: Write>(&mut self, path: &[u8], place: Place<'_>, out: &mut Out<W>) {
        self.path.clear();
        data(&mut self.path, &mut self.base64, path);
        self.binary_offset = None;
        self.file = Searched::default();
        self.began_at = out.total();
        let buf = &mut out.buf;
        put(buf, br#"{"type":"begin","data":{"path":"#);
        put(buf, &self.path);
        put_place(buf, place);
        put(buf, b"}}\n");
    }

    /// The records of one message.
    pub(super) fn records<W: Write>(
        &mut self,
        records: Records<'_>,
        out: &mut Out<W>,
    ) -> io::Result<()> {
        self.file.add(records.file());
        self.binary_offset = self.binary_offset.or(records.file().binary_offset);
        for record in records.iter() {
            self.record(&record, &mut out.buf);
            out.spill()?;
        }
        Ok(())
    }

    /// The file's last message has come.
    pub(super) fn end<W: Write>(&mut self, place: Place<'_>, out: &mut Out<W>) {
        let printed = out.total() - self.began_at;
        self.bytes_printed += printed;
        let buf = &mut out.buf;
        put(buf, br#"{"type":"end","data":{"path":"#);
        put(buf, &self.path);
        put(buf, br#","binary_offset":"#);
        optional(buf, self.binary_offset);
        put(buf, br#","stats":{"elapsed":{"secs":"#);
        decimal(buf, self.file.elapsed.as_secs());
        put(buf, br#","nanos":"#);
        decimal(buf, self.file.elapsed.subsec_nanos().into());
        put(buf, br#","human":""#);
        human(buf, self.file.elapsed);
        put(buf, br#""}"#);
        for (name, value) in [
            ("searches", 1),
            (
                "searches_with_match",
                u64::from(self.file.matched_lines > 0),
            ),
            ("bytes_searched", self.file.bytes),
            ("bytes_printed", printed),
            ("matched_lines", self.file.matched_lines),
            ("matches", self.file.matches),
        ] {
            member(buf, name, value);
        }
        put(buf, b"}");
        put_place(buf, place);
        put(buf, b"}}\n");
    }

    /// The one message at the end; ripgrep sorts its members by name.
    pub(super) fn summary(&self, summary: &Summary, searching: Duration, buf: &mut Vec<u8>) {
        let tally = &summary.tally;
        put(buf, br#"{"data":{"duplicates":"#);
        decimal(buf, summary.duplicates);
        put(buf, br#","elapsed_total":"#);
        sorted_duration(buf, summary.elapsed);
        member(buf, "retries", summary.retries);
        member(buf, "shards", summary.shards);
        put(buf, br#","stats":{"bytes_printed":"#);
        decimal(buf, self.bytes_printed);
        member(buf, "bytes_searched", tally.bytes_searched);
        put(buf, br#","elapsed":"#);
        sorted_duration(buf, searching);
        member(buf, "matched_lines", tally.matched_lines);
        member(buf, "matches", tally.matches);
        member(buf, "searches", tally.scanned);
        member(buf, "searches_with_match", tally.matched);
        put(buf, br#"},"tally":{"#);
        for (index, account) in summary.accounts().iter().enumerate() {
            if index > 0 {
                buf.push(b',');
            }
            put(buf, b"\"");
            put(buf, account.name.as_bytes());
            put(buf, b"\":");
            decimal(buf, account.value);
        }
        put(buf, b"}},\"type\":\"summary\"}\n");
    }

    fn record(&mut self, record: &Record<'_>, buf: &mut Vec<u8>) {
        let (kind, context) = match record.kind {
            Kind::Match => (br#"{"type":"match","data":{"path":"#.as_slice(), false),
            Kind::Context => (br#"{"type":"context","data":{"path":"#.as_slice(), true),
            Kind::Break => return,
        };
        put(buf, kind);
        put(buf, &self.path);
        put(buf, br#","lines":"#);
        data(buf, &mut self.base64, record.text);
        put(buf, br#","line_number":"#);
        optional(buf, record.line_number.filter(|_| self.config.line_number));
        put(buf, br#","absolute_offset":"#);
        decimal(buf, record.offset);
        put(buf, br#","submatches":["#);
        if context == self.config.invert {
            self.submatches(record, buf);
        }
        put(buf, b"]}}\n");
    }

    fn submatches(&mut self, record: &Record<'_>, buf: &mut Vec<u8>) {
        let mut replacements = record.replacements();
        for (index, span) in record.spans().enumerate() {
            if index > 0 {
                buf.push(b',');
            }
            put(buf, br#"{"match":"#);
            data(buf, &mut self.base64, span.of(record.text));
            if let Some(replacement) = replacements.next() {
                put(buf, br#","replacement":"#);
                data(buf, &mut self.base64, replacement);
            }
            let Span { start, end } = span;
            member(buf, "start", start as u64);
            member(buf, "end", end as u64);
            buf.push(b'}');
        }
    }
}

fn put(buf: &mut Vec<u8>, bytes: &[u8]) {
    buf.extend_from_slice(bytes);
}

/// `,"name":value`.
fn member(buf: &mut Vec<u8>, name: &str, value: u64) {
    put(buf, b",\"");
    put(buf, name.as_bytes());
    put(buf, b"\":");
    decimal(buf, value);
}

fn optional(buf: &mut Vec<u8>, value: Option<u64>) {
    match value {
        Some(value) => decimal(buf, value),
        None => put(buf, b"null"),
    }
}

fn put_place(buf: &mut Vec<u8>, place: Place<'_>) {
    put(buf, br#","node":"#);
    match place.node {
        Some(node) => string(buf, node),
        None => put(buf, b"null"),
    }
    member(buf, "shard", place.shard);
}

/// A duration with its members sorted by name.
fn sorted_duration(buf: &mut Vec<u8>, duration: Duration) {
    put(buf, br#"{"human":""#);
    human(buf, duration);
    put(buf, br#"","nanos":"#);
    decimal(buf, duration.subsec_nanos().into());
    put(buf, br#","secs":"#);
    decimal(buf, duration.as_secs());
    buf.push(b'}');
}

/// Seconds with six decimals.
fn human(buf: &mut Vec<u8>, duration: Duration) {
    put(buf, format!("{:.6}s", duration.as_secs_f64()).as_bytes());
}

/// `{"text":"..."}` or, when the bytes are not UTF-8, `{"bytes":"base64"}`.
fn data(buf: &mut Vec<u8>, base64: &mut String, bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes) {
        put(buf, br#"{"text":"#);
        string(buf, text);
    } else {
        base64.clear();
        BASE64.encode_string(bytes, base64);
        put(buf, br#"{"bytes":""#);
        put(buf, base64.as_bytes());
        buf.push(b'"');
    }
    buf.push(b'}');
}

/// A string with the escapes that `serde_json` chooses.
fn string(buf: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    buf.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, behind) = rest.split_at(plain_prefix(rest));
        put(buf, plain);
        let Some((&byte, behind)) = behind.split_first() else {
            break;
        };
        rest = behind;
        match byte {
            b'"' => put(buf, br#"\""#),
            b'\\' => put(buf, br"\\"),
            b'\n' => put(buf, br"\n"),
            b'\r' => put(buf, br"\r"),
            b'\t' => put(buf, br"\t"),
            0x08 => put(buf, br"\b"),
            0x0c => put(buf, br"\f"),
            control => {
                put(buf, br"\u00");
                buf.push(HEX[usize::from(control >> 4)]);
                buf.push(HEX[usize::from(control & 15)]);
            }
        }
    }
    buf.push(b'"');
}

/// How many bytes come before the first that is escaped.
fn plain_prefix(bytes: &[u8]) -> usize {
    let special = |b: u8| b < 0x20 || b == b'"' || b == b'\\';
    // Without a way out of the inner loop, it is vectorized.
    let blocks = bytes
        .chunks_exact(16)
        .take_while(|block| !block.iter().fold(false, |found, &b| found | special(b)))
        .count();
    let start = blocks * 16;
    let rest = &bytes[start..];
    start + rest.iter().position(|&b| special(b)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_by_serde_json() {
        let all: String = (0..0x180).filter_map(char::from_u32).collect();
        let mut buf = Vec::new();
        string(&mut buf, &all);
        let expected = serde_json::to_string(&all).expect("a string is valid JSON");
        assert_eq!(String::from_utf8(buf), Ok(expected));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_base64() {
        let mut buf = Vec::new();
        data(&mut buf, &mut String::new(), b"a\xff\n");
        assert_eq!(buf, br#"{"bytes":"Yf8K"}"#);
    }
}
