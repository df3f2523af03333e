//! The answer to a request for an artifact. Pure.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::SystemTime;

use super::head::{Wanted, etag};

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Status line and fields, with the empty line.
    pub(super) head: String,
    /// The bytes of the artifact that follow; none of an answer without a body.
    pub(super) body: Option<Range<u64>>,
}

/// The answer, when the artifact has so many bytes; none if it does not exist.
pub(super) fn answer(wanted: &Wanted, length: Option<u64>, now: SystemTime) -> Answer {
    let Some(length) = length else {
        let head = told(wanted, "404 Not Found", "no such artifact", now);
        return Answer { head, body: None };
    };
    let etag = etag(wanted.digest);
    let part = wanted.range.map(|range| range.of(length));
    let (status, body, count) = match part {
        _ if wanted.is_cached => ("304 Not Modified", None, None),
        Some(None) => ("416 Range Not Satisfiable", None, Some(0)),
        Some(Some(part)) => (
            "206 Partial Content",
            Some(part.clone()),
            Some(part.end - part.start),
        ),
        None => ("200 OK", Some(0..length), Some(length)),
    };
    let mut head = match count {
        Some(count) => begin(status, count, wanted.keep, now),
        // It has no body, and so no length.
        None => begin_without_length(status, wanted.keep, now),
    };
    match (&body, status.starts_with("416")) {
        (Some(part), _) if part.end - part.start < length || status.starts_with("206") => {
            field(
                &mut head,
                format_args!(
                    "Content-Range: bytes {}-{}/{length}",
                    part.start,
                    part.end - 1
                ),
            );
        }
        (None, true) => field(&mut head, format_args!("Content-Range: bytes */{length}")),
        _ => {}
    }
    if body.is_some() {
        field(
            &mut head,
            format_args!("Content-Type: application/octet-stream"),
        );
    }
    field(&mut head, format_args!("ETag: {etag}"));
    field(&mut head, format_args!("Accept-Ranges: bytes"));
    field(
        &mut head,
        format_args!("Cache-Control: public, max-age=31536000, immutable"),
    );
    head.push_str("\r\n");
    let body = body.filter(|part| !wanted.head_only && !part.is_empty());
    Answer { head, body }
}

/// The whole answer where the artifact is not what it should be.
pub(super) fn damaged(wanted: &Wanted, problem: &str, now: SystemTime) -> String {
    told(wanted, "500 Internal Server Error", problem, now)
}

/// A line for people instead of an artifact.
fn told(wanted: &Wanted, status: &str, text: &str, now: SystemTime) -> String {
    let length = text.len() as u64 + 1;
    let mut head = begin(status, length, wanted.keep, now);
    head.push_str("Content-Type: text/plain\r\nCache-Control: no-store\r\n\r\n");
    if !wanted.head_only {
        head.push_str(text);
        head.push('\n');
    }
    head
}

fn begin(status: &str, length: u64, keep: bool, now: SystemTime) -> String {
    let mut head = begin_without_length(status, keep, now);
    field(&mut head, format_args!("Content-Length: {length}"));
    head
}

fn begin_without_length(status: &str, keep: bool, now: SystemTime) -> String {
    let mut head = String::with_capacity(512);
    field(&mut head, format_args!("HTTP/1.1 {status}"));
    field(
        &mut head,
        format_args!("Date: {}", httpdate::fmt_http_date(now)),
    );
    let connection = if keep { "keep-alive" } else { "close" };
    field(&mut head, format_args!("Connection: {connection}"));
    head
}

fn field(head: &mut String, field: std::fmt::Arguments<'_>) {
    write!(head, "{field}\r\n").expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::super::head::Range as Asked;
    use super::*;
    use crate::store::Digest;

    fn wanted() -> Wanted {
        Wanted {
            digest: Digest::of(b"abc"),
            head_only: false,
            range: None,
            is_cached: false,
            keep: true,
        }
    }

    /// The status, and some fields, of an answer about an artifact of 10 bytes.
    fn of(wanted: &Wanted) -> (String, Vec<String>, Option<Range<u64>>) {
        let answer = answer(wanted, Some(10), SystemTime::UNIX_EPOCH);
        let (head, rest) = answer.head.split_once("\r\n\r\n").expect("an empty line");
        assert_eq!(rest, "");
        let mut lines = head.split("\r\n");
        let status = lines.next().expect("a status").to_owned();
        let told = |line: &&str| line.starts_with("Content-") && !line.starts_with("Content-Type");
        let fields = lines.filter(told).map(str::to_owned).collect();
        (status, fields, answer.body)
    }

    #[test]
    fn the_whole_a_part_or_nothing_new() {
        let (status, fields, body) = of(&wanted());
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert_eq!(fields, ["Content-Length: 10"]);
        assert_eq!(body, Some(0..10));

        let part = |range| Wanted {
            range: Some(range),
            ..wanted()
        };
        let (status, fields, body) = of(&part(Asked::From(4)));
        assert_eq!(status, "HTTP/1.1 206 Partial Content");
        assert_eq!(fields, ["Content-Length: 6", "Content-Range: bytes 4-9/10"]);
        assert_eq!(body, Some(4..10));
        let (status, fields, _) = of(&part(Asked::From(0)));
        assert_eq!(status, "HTTP/1.1 206 Partial Content");
        assert_eq!(
            fields,
            ["Content-Length: 10", "Content-Range: bytes 0-9/10"]
        );

        let (status, fields, body) = of(&part(Asked::From(10)));
        assert_eq!(status, "HTTP/1.1 416 Range Not Satisfiable");
        assert_eq!(fields, ["Content-Length: 0", "Content-Range: bytes */10"]);
        assert_eq!(body, None);

        let cached = Wanted {
            is_cached: true,
            ..part(Asked::From(4))
        };
        let (status, fields, body) = of(&cached);
        assert_eq!(
            (status.as_str(), fields.len(), body),
            ("HTTP/1.1 304 Not Modified", 0, None)
        );
    }

    #[test]
    fn a_head_is_that_of_the_answer_with_a_body() {
        let head_only = Wanted {
            head_only: true,
            ..wanted()
        };
        let now = SystemTime::UNIX_EPOCH;
        let with = answer(&wanted(), Some(10), now);
        let without = answer(&head_only, Some(10), now);
        assert_eq!(with.head, without.head);
        assert_eq!(without.body, None);
        let missing = answer(&head_only, None, now);
        assert!(
            missing.head.ends_with("no-store\r\n\r\n"),
            "{}",
            missing.head
        );
    }

    #[test]
    fn an_artifact_is_for_ever() {
        let closing = Wanted {
            keep: false,
            ..wanted()
        };
        insta::assert_snapshot!(answer(&closing, Some(10), SystemTime::UNIX_EPOCH).head.replace('\r', ""), @r#"
        HTTP/1.1 200 OK
        Date: Thu, 01 Jan 1970 00:00:00 GMT
        Connection: close
        Content-Length: 10
        Content-Type: application/octet-stream
        ETag: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        Accept-Ranges: bytes
        Cache-Control: public, max-age=31536000, immutable
        "#);
        insta::assert_snapshot!(answer(&closing, None, SystemTime::UNIX_EPOCH).head.replace('\r', ""), @"
        HTTP/1.1 404 Not Found
        Date: Thu, 01 Jan 1970 00:00:00 GMT
        Connection: close
        Content-Length: 17
        Content-Type: text/plain
        Cache-Control: no-store

        no such artifact
        ");
    }
}
