//! SHA-256 digests: the names of everything that is immutable.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The SHA-256 digest of some bytes. Written as 64 small hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is not a [`Digest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no SHA-256 digest; write its 64 small hexadecimal digits")]
pub struct DigestError {
    /// What was given, cut to 80 characters.
    pub text: String,
}

impl Digest {
    /// How many characters a digest is written with.
    pub const TEXT_LENGTH: usize = 64;

    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest and the number of all bytes that come.
    pub fn of_reader(mut input: impl Read) -> io::Result<(Self, u64)> {
        let mut hasher = Hasher::new(io::sink());
        io::copy(&mut input, &mut hasher)?;
        Ok((hasher.digest(), hasher.written()))
    }

    /// The first 12 digits: enough for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let nibble = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let parsed = || {
            let mut digest = [0; 32];
            if text.len() != Self::TEXT_LENGTH {
                return None;
            }
            for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
            }
            Some(Self(digest))
        };
        parsed().ok_or_else(|| DigestError {
            text: text.chars().take(80).collect(),
        })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Digests and counts what is written through it.
pub struct Hasher<W> {
    inner: W,
    state: Sha256,
    written: u64,
}

impl<W: Write> Hasher<W> {
    /// Hands everything on to `inner`.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            state: Sha256::new(),
            written: 0,
        }
    }

    /// The digest of what was written so far.
    pub fn digest(&self) -> Digest {
        Digest(self.state.clone().finalize().into())
    }

    /// How many bytes were written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Gives `inner` back.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for Hasher<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.state.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From FIPS 180-2.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn is_sha_256() {
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
        let (digest, count) = Digest::of_reader(&b"abc"[..]).expect("memory can be read");
        assert_eq!((digest, count), (Digest::of(b"abc"), 3));
        assert_eq!(ABC.parse(), Ok(digest));
        assert_eq!(digest.short(), "ba7816bf8f01");
    }

    #[test]
    fn refuses_other_texts() {
        let long = format!("{ABC}0");
        let capital = ABC.to_uppercase();
        for text in ["", "abc", &ABC[1..], &long, &capital, &"g".repeat(64)] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
