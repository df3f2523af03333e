//! Reading the values of flags. Every error says what was found and what is wanted.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use regexctl_proto::limits::MAX_THREADS;
use regexctl_proto::peer;

/// `FROM=TO` of `--map`: paths below FROM here are below TO on the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Absolute, as seen by the client.
    pub from: PathBuf,
    /// Absolute, as seen by the nodes.
    pub to: PathBuf,
}

/// UTF-8 text.
pub(super) fn text(value: &OsStr) -> Result<&str, String> {
    value.to_str().ok_or_else(|| "not UTF-8".to_owned())
}

/// A pattern; what to do about bytes that are not UTF-8 is said.
pub(super) fn pattern(value: &OsStr) -> Result<String, String> {
    value.to_str().map(str::to_owned).ok_or_else(|| {
        r"not UTF-8; a pattern names other bytes by escapes, such as (?-u)\xFF".to_owned()
    })
}

/// A whole number, 0 or more.
pub(super) fn number<N: FromStr>(value: &OsStr) -> Result<N, String> {
    text(value)?
        .parse()
        .map_err(|_| "not a whole number in range".to_owned())
}

/// A size in bytes: digits, and K, M or G for 1024, 1024^2 or 1024^3.
pub(super) fn size(value: &OsStr) -> Result<u64, String> {
    let wrong = || "not a size such as 4096, 64K, 10M or 1G".to_owned();
    let value = text(value)?;
    let (digits, shift) = match value.as_bytes().last() {
        Some(b'K') => (&value[..value.len() - 1], 10),
        Some(b'M') => (&value[..value.len() - 1], 20),
        Some(b'G') => (&value[..value.len() - 1], 30),
        _ => (value, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| "too large".to_owned())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "too large".to_owned())
}

/// A size that limits something and cannot be 0.
pub(super) fn limit(value: &OsStr) -> Result<u64, String> {
    match size(value)? {
        0 => Err("must be more than 0".to_owned()),
        size => Ok(size),
    }
}

/// Text whose escapes `\0 \\ \n \r \t \xHH` stand for bytes; anything else stands for itself.
pub(super) fn unescaped(value: &OsStr) -> Result<Vec<u8>, String> {
    let text = value
        .to_str()
        .ok_or_else(|| r"not UTF-8; write other bytes as escapes, such as \xFF".to_owned())?;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, length) = match rest {
            [b'\\', b'0', ..] => (0, 2),
            [b'\\', b'\\', ..] => (b'\\', 2),
            [b'\\', b'n', ..] => (b'\n', 2),
            [b'\\', b'r', ..] => (b'\r', 2),
            [b'\\', b't', ..] => (b'\t', 2),
            [b'\\', b'x', high, low, ..] if hex(*high).is_some() && hex(*low).is_some() => {
                let digit = |d: u8| hex(d).unwrap_or(0);
                (digit(*high) << 4 | digit(*low), 4)
            }
            _ => (first, 1),
        };
        bytes.push(byte);
        rest = &tail[length - 1..];
    }
    Ok(bytes)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

/// `FROM=TO`, both absolute. Public for the configuration file.
pub fn mapping(value: &OsStr) -> Result<Mapping, String> {
    let bytes = value.as_bytes();
    let Some(equals) = bytes.iter().position(|&b| b == b'=') else {
        return Err("not FROM=TO".to_owned());
    };
    let path = |bytes: &[u8]| Path::new(OsStr::from_bytes(bytes)).to_path_buf();
    let mapping = Mapping {
        from: path(&bytes[..equals]),
        to: path(&bytes[equals + 1..]),
    };
    for (name, path) in [("FROM", &mapping.from), ("TO", &mapping.to)] {
        let plain = path
            .components()
            .all(|c| !matches!(c, std::path::Component::ParentDir));
        if !path.is_absolute() || !plain {
            return Err(format!(
                "{name} is {:?}, not an absolute path without `..`",
                path.display().to_string()
            ));
        }
    }
    Ok(mapping)
}

/// The address of a master, `http://HOST:PORT`; the scheme may be left out.
pub(crate) fn master_url(value: &OsStr) -> Result<String, String> {
    peer::master_url(text(value)?).map_err(|error| error.to_string())
}

/// A number of threads; 0 stands for one for each core.
pub(super) fn threads(value: &OsStr) -> Result<usize, String> {
    match number(value)? {
        threads if threads <= usize::from(MAX_THREADS) => Ok(threads),
        _ => Err(format!("the limit is {MAX_THREADS}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_suffixes_and_refuse_the_rest() {
        let size = |text: &str| size(OsStr::new(text));
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64K"), Ok(64 << 10));
        assert_eq!(size("10M"), Ok(10 << 20));
        assert_eq!(size("1G"), Ok(1 << 30));
        for wrong in ["", "K", "1k", "-1", "1.5M", "1T", "1 K", "+1"] {
            assert!(size(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(size("99999999999999G"), Err("too large".to_owned()));
        assert!(limit(OsStr::new("0")).is_err());
    }

    #[test]
    fn escapes_stand_for_bytes() {
        let unescaped = |text: &str| unescaped(OsStr::new(text)).unwrap();
        assert_eq!(unescaped(r"a\tb\n\x00\xfF\\"), b"a\tb\n\0\xff\\");
        assert_eq!(unescaped(r"\0"), b"\0");
        assert_eq!(unescaped(r"\q\x1\"), br"\q\x1\");
        assert_eq!(unescaped(""), b"");
    }

    #[test]
    fn mappings_are_absolute() {
        let mapping = |text: &str| mapping(OsStr::new(text));
        let ok = mapping("/home/me=/export/home/me").unwrap();
        assert_eq!(ok.from, Path::new("/home/me"));
        assert_eq!(ok.to, Path::new("/export/home/me"));
        assert_eq!(mapping("/a").unwrap_err(), "not FROM=TO");
        for wrong in ["a=/b", "/a=b", "=/b", "/a=", "/a/../b=/c", "/a=/.."] {
            assert!(mapping(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn threads_have_a_limit() {
        let threads = |text: &str| threads(OsStr::new(text));
        assert_eq!(threads("0"), Ok(0));
        assert_eq!(threads("1024"), Ok(1024));
        assert_eq!(threads("1025"), Err("the limit is 1024".to_owned()));
        assert!(threads("-1").is_err());
    }

    #[test]
    fn an_address_says_what_is_wrong_with_it() {
        let error = master_url(OsStr::new("m")).unwrap_err();
        assert!(error.ends_with("the port is missing"), "{error}");
        assert!(master_url(OsStr::from_bytes(b"m\xff:1")).is_err());
        assert_eq!(master_url(OsStr::new("m:1")), Ok("http://m:1".to_owned()));
    }
}
