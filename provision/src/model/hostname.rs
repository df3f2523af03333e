//! Host names as RFC 1123 section 2.1 defines them.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// The longest host name, in bytes: RFC 1035's 255 octets less the length octet of the
/// first label and the root label.
pub const MAX_HOSTNAME_BYTES: usize = 253;

/// The longest label of a host name, in bytes.
pub const MAX_LABEL_BYTES: usize = 63;

/// A host name: labels of letters, digits and inner hyphens, with dots in between. Kept in
/// lower case, for names are compared without regard to case.
///
/// Two kinds of names that RFC 1123 allows are refused: one whose last label is only
/// digits, which reads as an address (RFC 3696 section 2), and one that `dnsmasq` reads as
/// another word of a `dhcp-host` line (a lease time, `infinite`, `ignore`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(String);

/// Why a text is not a [`Hostname`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostnameError {
    /// Nothing at all.
    #[error("the host name is empty; write a name")]
    Empty,
    /// More than [`MAX_HOSTNAME_BYTES`].
    #[error("the host name has {0} bytes; the limit is {MAX_HOSTNAME_BYTES}")]
    TooLong(usize),
    /// Two dots in a row, or one at an end.
    #[error("the host name has an empty label; remove the extra dot")]
    EmptyLabel,
    /// A label of more than [`MAX_LABEL_BYTES`].
    #[error("the label {label:?} has {} bytes; the limit is {MAX_LABEL_BYTES}", label.len())]
    LabelTooLong {
        /// The label.
        label: String,
    },
    /// A character other than a letter, a digit, a hyphen or a dot.
    #[error("{character:?} in a host name; use letters, digits and hyphens")]
    BadCharacter {
        /// The first of them.
        character: char,
    },
    /// A label that begins or ends with a hyphen.
    #[error("the label {label:?} begins or ends with a hyphen; remove it")]
    OuterHyphen {
        /// The label.
        label: String,
    },
    /// The last label is only digits.
    #[error("{name:?} reads as a number or an address; put a letter into its last label")]
    Numeric {
        /// The name.
        name: String,
    },
    /// A word of the `dhcp-host` syntax.
    #[error("{name:?} is a lease time or a keyword to dnsmasq; choose another name")]
    Reserved {
        /// The name.
        name: String,
    },
}

impl Hostname {
    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = HostnameError;

    fn from_str(text: &str) -> Result<Self, HostnameError> {
        if text.is_empty() {
            return Err(HostnameError::Empty);
        }
        if text.len() > MAX_HOSTNAME_BYTES {
            return Err(HostnameError::TooLong(text.len()));
        }
        for label in text.split('.') {
            check_label(label)?;
        }
        let name = text.to_ascii_lowercase();
        let last = name.rsplit('.').next().unwrap_or(&name);
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(HostnameError::Numeric { name });
        }
        if is_dnsmasq_word(&name) {
            return Err(HostnameError::Reserved { name });
        }
        Ok(Self(name))
    }
}

fn check_label(label: &str) -> Result<(), HostnameError> {
    if label.is_empty() {
        return Err(HostnameError::EmptyLabel);
    }
    let bad = label
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && *c != '-');
    if let Some(character) = bad {
        return Err(HostnameError::BadCharacter { character });
    }
    if label.len() > MAX_LABEL_BYTES {
        return Err(HostnameError::LabelTooLong {
            label: label.to_owned(),
        });
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(HostnameError::OuterHyphen {
            label: label.to_owned(),
        });
    }
    Ok(())
}

/// Whether dnsmasq takes the name for a lease time (`45m`, `1w`) or a keyword.
fn is_dnsmasq_word(name: &str) -> bool {
    let lease_time = name
        .strip_suffix(['s', 'm', 'h', 'd', 'w'])
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
    lease_time || name == "infinite" || name == "ignore"
}

/// So that a map by name can be asked with a text. Equal names have equal hashes, for both are
/// those of the text.
impl Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, HostnameError> {
        text.parse::<Hostname>()
            .map(|name| name.as_str().to_owned())
    }

    #[test]
    fn accepts_what_rfc_1123_allows_and_lowers_it() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), MAX_HOSTNAME_BYTES);
        for name in [
            "n001",
            "3com",
            "a",
            "0x",
            "rack-1.node-2",
            "1m.local",
            "m",
            &label,
            &longest,
        ] {
            assert_eq!(parse(name).as_deref(), Ok(name));
        }
        assert_eq!(parse("Node-7.Example").as_deref(), Ok("node-7.example"));
    }

    #[test]
    fn refuses_everything_else_and_says_why() {
        let long = "a".repeat(64);
        let label = "a".repeat(63);
        let too_long = format!("{label}.{label}.{label}.{}", "a".repeat(62));
        assert_eq!(parse(""), Err(HostnameError::Empty));
        assert_eq!(parse(&too_long), Err(HostnameError::TooLong(254)));
        for name in [".", "a..b", ".a", "a."] {
            assert_eq!(parse(name), Err(HostnameError::EmptyLabel), "{name}");
        }
        assert_eq!(
            parse(&long),
            Err(HostnameError::LabelTooLong {
                label: long.clone()
            })
        );
        for (name, character) in [
            ("a_b", '_'),
            ("a,b", ','),
            ("n\u{e9}", '\u{e9}'),
            ("a\0", '\0'),
        ] {
            assert_eq!(parse(name), Err(HostnameError::BadCharacter { character }));
        }
        for name in ["-", "-a", "a-", "a-.b"] {
            assert!(
                matches!(parse(name), Err(HostnameError::OuterHyphen { .. })),
                "{name}"
            );
        }
        for name in ["1", "10.0.0.1", "a.5"] {
            assert!(
                matches!(parse(name), Err(HostnameError::Numeric { .. })),
                "{name}"
            );
        }
        for name in ["45m", "1W", "0s", "infinite", "Ignore"] {
            assert!(
                matches!(parse(name), Err(HostnameError::Reserved { .. })),
                "{name}"
            );
        }
    }
}
