//! What was found in a file, in a form in which ripgrep's JSON and our columns can be compared.

use std::fmt;

use base64::Engine as _;
use regexctl_scan::{KIND_BREAK, KIND_MATCH, Matches};
use serde_json::Value;

/// What a scan found, made comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: String,
    pub(crate) records: Vec<Record>,
    pub(crate) binary_offset: Option<u64>,
    pub(crate) matched_lines: u64,
    pub(crate) matches: u64,
    pub(crate) bytes_searched: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) is_match: bool,
    pub(crate) line_number: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
    /// Start, end, replacement.
    pub(crate) submatches: Vec<(u64, u64, Option<Bytes>)>,
}

/// Bytes that a failure shows escaped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Bytes(Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

pub(crate) fn show(bytes: &[u8]) -> Bytes {
    Bytes(bytes.to_vec())
}

fn json_bytes(value: &Value) -> Bytes {
    if let Value::String(text) = &value["text"] {
        return show(text.as_bytes());
    }
    let encoded = value["bytes"].as_str().expect("text or bytes");
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded);
    Bytes(decoded.expect("ripgrep encodes by the standard alphabet"))
}

/// ripgrep's JSON Lines.
pub(crate) fn found_by_ripgrep(output: &[u8]) -> Vec<Found> {
    let mut files = Vec::new();
    let mut records = Vec::new();
    for line in output.split(|&b| b == b'\n').filter(|l| !l.is_empty()) {
        let message: Value = serde_json::from_slice(line).expect("ripgrep prints JSON");
        let data = &message["data"];
        let number = |value: &Value| value.as_u64().expect("a number");
        match message["type"].as_str() {
            Some(kind @ ("match" | "context")) => records.push(Record {
                is_match: kind == "match",
                line_number: number(&data["line_number"]),
                offset: number(&data["absolute_offset"]),
                bytes: json_bytes(&data["lines"]),
                submatches: data["submatches"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .map(|m| {
                        let replacement = m.get("replacement").map(json_bytes);
                        (number(&m["start"]), number(&m["end"]), replacement)
                    })
                    .collect(),
            }),
            Some("end") => files.push(Found {
                path: data["path"]["text"].as_str().expect("UTF-8").into(),
                records: std::mem::take(&mut records),
                binary_offset: data["binary_offset"].as_u64(),
                matched_lines: number(&data["stats"]["matched_lines"]),
                matches: number(&data["stats"]["matches"]),
                bytes_searched: number(&data["stats"]["bytes_searched"]),
            }),
            _ => {}
        }
    }
    files
}

pub(crate) fn found_here(path: &str, out: &Matches) -> Found {
    let mut records = Vec::new();
    let (mut text, mut sub, mut replaced) = (0, 0, 0);
    for (i, &length) in out.lengths.iter().enumerate() {
        let kind = out.kinds.get(i).copied().unwrap_or(KIND_MATCH);
        let bytes = &out.text[text..text + length as usize];
        text += length as usize;
        let mut submatches = Vec::new();
        for _ in 0..out.submatch_counts[i] {
            let replacement = out.replacement_lengths.get(sub).map(|&length| {
                let start = replaced;
                replaced += length as usize;
                show(&out.replacement_text[start..replaced])
            });
            let (start, end) = (out.submatch_starts[sub], out.submatch_ends[sub]);
            submatches.push((start.into(), end.into(), replacement));
            sub += 1;
        }
        if kind != KIND_BREAK {
            records.push(Record {
                is_match: kind == KIND_MATCH,
                line_number: out.line_numbers[i],
                offset: out.offsets[i],
                bytes: show(bytes),
                submatches,
            });
        }
    }
    assert_eq!(text, out.text.len());
    assert_eq!(sub, out.submatch_ends.len());
    assert_eq!(replaced, out.replacement_text.len());
    Found {
        path: path.into(),
        records,
        binary_offset: out.binary_offset,
        matched_lines: out.matched_lines,
        matches: out.matches,
        bytes_searched: out.bytes_searched,
    }
}
