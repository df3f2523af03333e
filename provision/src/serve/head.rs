//! The heads of requests: which are for an artifact, and what they want of it.
//!
//! Everything else is left to hyper. Pure: bytes in, a decision out; never a panic.

use crate::store::Digest;

/// The largest head of a request, in bytes.
pub const MAX_HEAD_BYTES: usize = 16 << 10;

/// The most header fields of a request.
pub const MAX_FIELDS: usize = 64;

/// What the bytes at the beginning of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// More bytes are needed.
    Partial,
    /// A request for an artifact; its head has this many bytes, and no body follows.
    Artifact(Wanted, usize),
    /// Anything else, right or wrong.
    Other,
}

/// A request for an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub digest: Digest,
    /// Only the head of the answer.
    pub head_only: bool,
    /// Which part.
    pub range: Option<Range>,
    /// The client has it already.
    pub is_cached: bool,
    /// The connection is kept.
    pub keep: bool,
}

/// A part of an artifact, as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// From a place on, to the end.
    From(u64),
    /// From a place to a place, both included.
    Within(u64, u64),
    /// As many bytes at the end.
    Last(u64),
}

/// Looks at the bytes that have come so far.
pub fn look(bytes: &[u8]) -> Look {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => return Look::Partial,
        // hyper says what is wrong.
        Ok(httparse::Status::Partial) | Err(_) => return Look::Other,
    };
    match wanted(&request) {
        Some(wanted) => Look::Artifact(wanted, length),
        None => Look::Other,
    }
}

fn wanted(request: &httparse::Request<'_, '_>) -> Option<Wanted> {
    let head_only = match request.method? {
        "GET" => false,
        "HEAD" => true,
        _ => return None,
    };
    let digest = digest_of(request.path?)?;
    let etag = etag(digest);
    let mut wanted = Wanted {
        digest,
        head_only,
        range: None,
        is_cached: false,
        keep: request.version == Some(1),
    };
    let mut is_same = true;
    for field in request.headers.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        let value = str::from_utf8(field.value).unwrap_or("").trim();
        if is("range") {
            wanted.range = range(value);
        } else if is("if-range") {
            is_same = value == etag;
        } else if is("if-none-match") {
            let mut tags = value
                .split(',')
                .map(|tag| tag.trim().trim_start_matches("W/"));
            wanted.is_cached |= tags.any(|tag| tag == "*" || tag == etag);
        } else if is("connection") {
            let has = |word: &str| {
                value
                    .split(',')
                    .any(|w| w.trim().eq_ignore_ascii_case(word))
            };
            wanted.keep = !has("close") && (wanted.keep || has("keep-alive"));
        } else if is("transfer-encoding") || (is("content-length") && value != "0") {
            // A body: hyper reads it.
            return None;
        }
    }
    if !is_same {
        wanted.range = None;
    }
    Some(wanted)
}

/// The entity tag of an artifact.
pub fn etag(digest: Digest) -> String {
    format!("\"{digest}\"")
}

/// `/artifact/DIGEST` or `/artifact/DIGEST/NAME`, perhaps with a query.
fn digest_of(path: &str) -> Option<Digest> {
    let rest = path.strip_prefix("/artifact/")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let name = &rest[end..];
    // One name behind it, of whatever characters: it is only for people who read logs.
    let is_name = name
        .strip_prefix('/')
        .is_none_or(|name| !name.contains('/'));
    if is_name {
        rest[..end].parse().ok()
    } else {
        None
    }
}

/// One range of bytes. Several at once, and what is none, are passed over, as RFC 9110 allows:
/// the answer is the whole.
fn range(value: &str) -> Option<Range> {
    let (unit, set) = value.split_once('=')?;
    let (first, last) = set.trim().split_once('-')?;
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than fit are behind the end of anything.
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    match (first.trim(), last.trim()) {
        ("", last) => number(last).map(Range::Last),
        (first, "") => number(first).map(Range::From),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Range::Within(first, last))
        }
    }
}

impl Range {
    /// The bytes that are meant of so many; none if there are none.
    pub fn of(self, length: u64) -> Option<std::ops::Range<u64>> {
        let range = match self {
            Self::From(first) => first..length,
            Self::Within(first, last) => first..last.saturating_add(1).min(length),
            Self::Last(count) => length.saturating_sub(count)..length,
        };
        (range.start < range.end).then_some(range)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn get(rest: &str) -> Look {
        look(format!("GET /artifact/{DIGEST}{rest}\r\n\r\n").as_bytes())
    }

    fn is_artifact(look: Look) -> Option<Wanted> {
        match look {
            Look::Artifact(wanted, _) => Some(wanted),
            Look::Partial | Look::Other => None,
        }
    }

    #[test]
    fn what_is_wanted_is_read() {
        let wanted = Wanted {
            digest: DIGEST.parse().expect("a digest"),
            head_only: false,
            range: None,
            is_cached: false,
            keep: true,
        };
        let plain = format!("GET /artifact/{DIGEST}/vmlinuz HTTP/1.1\r\nHost: x\r\n\r\n");
        let rest = plain.clone() + "GET /";
        let found = Look::Artifact(wanted.clone(), plain.len());
        assert_eq!(look(rest.as_bytes()), found);
        for (rest, changed) in [
            (
                " HTTP/1.0",
                Wanted {
                    keep: false,
                    ..wanted.clone()
                },
            ),
            (" HTTP/1.0\r\nConnection: Keep-Alive", wanted.clone()),
            (
                "?x HTTP/1.1\r\nconnection: close",
                Wanted {
                    keep: false,
                    ..wanted.clone()
                },
            ),
            (
                "/a%20b HTTP/1.1\r\nRange: bytes=5-",
                Wanted {
                    range: Some(Range::From(5)),
                    ..wanted.clone()
                },
            ),
            (
                &format!(" HTTP/1.1\r\nRange: bytes=5-9\r\nIf-Range: \"{DIGEST}\""),
                Wanted {
                    range: Some(Range::Within(5, 9)),
                    ..wanted.clone()
                },
            ),
            (
                " HTTP/1.1\r\nRange: bytes=5-9\r\nIf-Range: \"other\"",
                wanted.clone(),
            ),
            (
                &format!(" HTTP/1.1\r\nIf-None-Match: \"a\", W/\"{DIGEST}\""),
                Wanted {
                    is_cached: true,
                    ..wanted.clone()
                },
            ),
        ] {
            assert_eq!(is_artifact(get(rest)), Some(changed), "{rest}");
        }
    }

    #[test]
    fn everything_else_is_left_to_hyper() {
        for head in [
            "POST /stage/x HTTP/1.1",
            "GET /boot.ipxe HTTP/1.1",
            "GET /artifact/abc HTTP/1.1",
            "GET /artifact/../../etc/passwd HTTP/1.1",
            "no request at all \u{1}",
            &format!("PUT /artifact/{DIGEST} HTTP/1.1"),
            &format!("GET /artifact/{DIGEST}/a/b HTTP/1.1"),
            &format!("GET /artifact/{DIGEST} HTTP/1.1\r\nContent-Length: 5"),
            &format!("GET /artifact/{DIGEST} HTTP/1.1\r\nTransfer-Encoding: chunked"),
            &format!("GET /artifact/{DIGEST} HTTP/1.1{}", "\r\na: b".repeat(65)),
        ] {
            assert_eq!(
                look(format!("{head}\r\n\r\n").as_bytes()),
                Look::Other,
                "{head}"
            );
        }
        let endless = format!(
            "GET /artifact/{DIGEST} HTTP/1.1\r\na: {}",
            "x".repeat(MAX_HEAD_BYTES)
        );
        assert_eq!(look(endless.as_bytes()), Look::Other);
        assert_eq!(look(b""), Look::Partial);
        assert_eq!(look(b"GET /artifact/"), Look::Partial);
    }

    #[test]
    fn ranges_are_those_of_rfc_9110() {
        for (text, expected) in [
            ("bytes=0-0", Some(0..1)),
            ("bytes=0-9", Some(0..10)),
            ("bytes=4-100", Some(4..10)),
            ("Bytes = 4 -", Some(4..10)),
            ("bytes=-3", Some(7..10)),
            ("bytes=-30", Some(0..10)),
            ("bytes=10-", None),
            ("bytes=-0", None),
            ("bytes=99999999999999999999999-", None),
        ] {
            assert_eq!(range(text).expect(text).of(10), expected, "{text}");
        }
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=9-3",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=+1-2",
            "bytes=a-",
        ] {
            assert_eq!(range(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_decision(bytes in proptest::collection::vec(any::<u8>(), 0..300), fields in "[ -~\r\n]{0,120}") {
            look(&bytes);
            if let Some(wanted) = is_artifact(get(&format!(" HTTP/1.1\r\nRange: {fields}"))) {
                for length in [0, 1, 10, u64::MAX] {
                    if let Some(part) = wanted.range.and_then(|range| range.of(length)) {
                        prop_assert!(part.start < part.end && part.end <= length);
                    }
                }
            }
        }
    }
}
