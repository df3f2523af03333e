//! Text that machines send: cut and cleaned once, where it comes in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// The most bytes of a machine's own words that are kept: in UTF-8, so most letters of other alphabets count twice or more.
pub const MAX_WORDS: usize = 400;

/// The most characters of a boot's id.
pub const MAX_BOOT_ID: usize = 64;

/// What a machine says: printable, on one line, at most [`MAX_WORDS`] bytes. So it can be
/// shown on a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Words(String);

impl Words {
    /// The text, cleaned: whatever a terminal would not show as a character becomes a space.
    pub fn new(text: &str) -> Self {
        let mut bytes = 0;
        let clean = text
            .chars()
            .map(|c| if is_shown(c) { c } else { ' ' })
            .take_while(|c| {
                bytes += c.len_utf8();
                bytes <= MAX_WORDS
            })
            .collect::<String>();
        Self(clean.trim().to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Characters with a shape of their own: no controls, no direction marks, nothing private.
fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..)
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whatever is read is cleaned, too: a file may be anybody's.
impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&String::deserialize(deserializer)?))
    }
}

/// The random name that an initramfs gives its boot: letters, digits and hyphens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BootId(String);

/// A text that is no [`BootId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no id of a boot; write 1 to {MAX_BOOT_ID} letters, digits and hyphens")]
pub struct NoBootId;

impl BootId {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BootId {
    type Err = NoBootId;

    fn from_str(text: &str) -> Result<Self, NoBootId> {
        let is_id = (1..=MAX_BOOT_ID).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if is_id {
            Ok(Self(text.to_owned()))
        } else {
            Err(NoBootId)
        }
    }
}

impl TryFrom<String> for BootId {
    type Error = NoBootId;

    fn try_from(text: String) -> Result<Self, NoBootId> {
        text.parse()
    }
}

impl From<BootId> for String {
    fn from(id: BootId) -> Self {
        id.0
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Values of the model, written as text: for `#[serde(with = "text")]`.
pub(super) mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::status) fn serialize<S, T>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        T: Display,
    {
        serializer.collect_str(value)
    }

    pub(in crate::status) fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_machine_says_moves_the_cursor() {
        assert_eq!(
            Words::new("  no\r\n lease\u{1b}[2J on eth0\u{202e} ü ").as_str(),
            "no   lease [2J on eth0  ü"
        );
        let long = "x".repeat(10_000);
        assert_eq!(Words::new(&long).as_str().len(), MAX_WORDS);
        // Cut where a character ends.
        let wide = format!("a{}", "\u{1f4be}".repeat(10_000));
        assert_eq!(Words::new(&wide).as_str().len(), MAX_WORDS - 3);
        let read: Words = serde_json::from_str("\"a\\u001b[1mb\"").expect("a text");
        assert_eq!(read.as_str(), "a [1mb");
    }

    #[test]
    fn a_boot_id_is_a_word() {
        for text in ["a", "2f1c7e0e-53f6-4a6b-9d52-3a4a1d1c2b3a"] {
            assert_eq!(
                text.parse::<BootId>().map(|id| id.to_string()),
                Ok(text.into())
            );
        }
        for text in ["", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert_eq!(text.parse::<BootId>(), Err(NoBootId));
            assert!(serde_json::from_str::<BootId>(&format!("\"{text}\"")).is_err());
        }
    }
}
