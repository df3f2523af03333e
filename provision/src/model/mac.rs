//! Ethernet addresses.

use std::fmt;
use std::str::FromStr;

/// The 48-bit address of one Ethernet interface. Never a group address, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr([u8; 6]);

/// Why a text, or six bytes, are not a [`MacAddr`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MacAddrError {
    /// None of the spellings.
    #[error(
        "{text:?} is not an Ethernet address; write six pairs of hex digits, such as 52:54:00:12:34:56"
    )]
    Malformed {
        /// What was given.
        text: String,
    },
    /// The group bit is set: broadcast or multicast.
    #[error("{0} is a group address; use the address of the node's own interface")]
    Group(String),
    /// All bits are zero.
    #[error("the Ethernet address is zero; use the address of the node's own interface")]
    Zero,
}

impl MacAddr {
    /// The address with these bytes, in the order of transmission.
    pub fn new(bytes: [u8; 6]) -> Result<Self, MacAddrError> {
        if bytes == [0; 6] {
            return Err(MacAddrError::Zero);
        }
        let address = Self(bytes);
        if bytes[0] & 1 == 1 {
            return Err(MacAddrError::Group(address.to_string()));
        }
        Ok(address)
    }

    /// Its bytes, in the order of transmission.
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }
}

/// Accepts `aa:bb:cc:dd:ee:ff`, `aa-bb-cc-dd-ee-ff` and `aabb.ccdd.eeff`, in either case.
impl FromStr for MacAddr {
    type Err = MacAddrError;

    fn from_str(text: &str) -> Result<Self, MacAddrError> {
        let bytes = groups(text, ':', 2)
            .or_else(|| groups(text, '-', 2))
            .or_else(|| groups(text, '.', 4))
            .ok_or_else(|| MacAddrError::Malformed {
                text: text.to_owned(),
            })?;
        Self::new(bytes)
    }
}

/// Reads twelve hex digits, written in groups of `digits` with a separator in between.
fn groups(text: &str, separator: char, digits: usize) -> Option<[u8; 6]> {
    let mut value: u64 = 0;
    let mut count = 0;
    for group in text.split(separator) {
        // from_str_radix alone would take a sign.
        if group.len() != digits || !group.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        count += digits;
        if count > 12 {
            return None;
        }
        value = value << (4 * digits) | u64::from_str_radix(group, 16).ok()?;
    }
    let [_, _, bytes @ ..] = value.to_be_bytes();
    (count == 12).then_some(bytes)
}

/// Lower case, with colons.
impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_three_spellings_and_prints_one() {
        for text in ["0a:1b:2c:3d:4e:5f", "0A-1b-2C-3d-4E-5f", "0a1b.2C3d.4e5F"] {
            let address: MacAddr = text.parse().expect(text);
            assert_eq!(address.bytes(), [0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f]);
            assert_eq!(address.to_string(), "0a:1b:2c:3d:4e:5f");
        }
    }

    #[test]
    fn refuses_malformed_text() {
        for text in [
            "",
            ":",
            "0a:1b:2c:3d:4e",
            "0a:1b:2c:3d:4e:5f:60",
            "0a:1b:2c:3d:4e:5f:",
            "0a:1b-2c:3d-4e:5f",
            "a:1b:2c:3d:4e:5f",
            "0a1b2c3d4e5f",
            "0a1b.2c3d",
            "0a1b.2c3d.4e5f.6071",
            "+a:1b:2c:3d:4e:5f",
            "0g:1b:2c:3d:4e:5f",
            "0a:1b:2c:3d:4e:\u{e9}",
        ] {
            assert_eq!(
                text.parse::<MacAddr>(),
                Err(MacAddrError::Malformed { text: text.into() })
            );
        }
    }

    #[test]
    fn refuses_addresses_that_no_interface_has() {
        assert_eq!(
            "00:00:00:00:00:00".parse::<MacAddr>(),
            Err(MacAddrError::Zero)
        );
        for text in [
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
            "33:33:00:00:00:01",
        ] {
            assert_eq!(
                text.parse::<MacAddr>(),
                Err(MacAddrError::Group(text.into()))
            );
        }
    }
}
