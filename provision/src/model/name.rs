//! Names: of images, profiles, tags, interfaces, packages, units, users.

use std::fmt;
use std::str::FromStr;

/// The longest name of an image, a profile, an export, a tag or a cluster, in bytes.
pub const MAX_NAME_BYTES: usize = 63;

/// Why a text is not the name of something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is no {what}; {rule}", quoted(.text))]
pub struct NameError {
    /// What was given.
    pub text: String,
    /// What it should have been.
    pub what: &'static str,
    /// How such a name is written.
    pub rule: &'static str,
}

/// The text in quotes, escaped, cut where a message would get too long.
pub(crate) fn quoted(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A kind of name: a text of which `is_valid` holds.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $what:literal, $rule:literal, $is_valid:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let is_valid: fn(&str) -> bool = $is_valid;
                if is_valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { text: text.to_owned(), what: $what, rule: $rule })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

names! {
    /// The name of a cluster.
    ClusterName: "name of a cluster",
        "begin with a letter or a digit, go on with letters, digits, '-', '_' and '.', at most 63", is_plain;
    /// The name of an image: a section `[image.NAME]`. Safe as the name of a file.
    ImageName: "name of an image",
        "begin with a letter or a digit, go on with letters, digits, '-', '_' and '.', at most 63", is_plain;
    /// The name of a profile: a section `[profile.NAME]`.
    ProfileName: "name of a profile",
        "begin with a letter or a digit, go on with letters, digits, '-', '_' and '.', at most 63", is_plain;
    /// The name of an export: a section `[export.NAME]`. Safe as the name of a file.
    ExportName: "name of an export",
        "begin with a letter or a digit, go on with letters, digits, '-', '_' and '.', at most 63", is_plain;
    /// A word by which nodes are chosen (`@TAG`).
    Tag: "tag",
        "begin with a letter or a digit, go on with letters, digits, '-', '_' and '.', at most 63", is_plain;
    /// The name of a network interface of Linux.
    InterfaceName: "name of an interface",
        "write it as `ip link` shows it, such as eth0: letters, digits, '.', '_' and '-', at most 15", is_interface;
    /// A Debian package: `NAME`, `NAME=VERSION`, `NAME/SUITE` or `NAME:ARCHITECTURE`.
    PackageName: "name of a package",
        "write NAME, NAME=VERSION or NAME/SUITE, such as nfs-common", is_package;
    /// A suite or a component of a distribution.
    Suite: "suite or component of a distribution",
        "write it as the distribution does, such as bookworm or main", is_suite;
    /// A systemd unit with its suffix.
    UnitName: "systemd unit",
        "write it with its suffix, such as ssh.service", is_unit;
    /// A user or a group.
    UserName: "name of a user or group",
        "begin with a small letter or '_', go on with small letters, digits, '-' and '_', at most 32", is_user;
    /// A time zone of the zoneinfo database.
    TimeZone: "time zone",
        "write it as the directories below /usr/share/zoneinfo do, such as Etc/UTC or Europe/Berlin", is_time_zone;
    /// A locale.
    Locale: "locale", "write it as `locale -a` does, such as C.UTF-8 or en_US.UTF-8", is_locale;
    /// A module of the kernel, without `.ko`.
    ModuleName: "name of a kernel module",
        "write it as `lsmod` does, without a path and without .ko, such as ixgbe", is_module;
}

fn is_plain(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && all(text, b"-_.")
}

fn is_interface(text: &str) -> bool {
    // 15 bytes are IFNAMSIZ less the terminator.
    (1..=15).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && all(text, b"._-")
}

fn is_package(text: &str) -> bool {
    let name = text.split(['=', '/', ':']).next().unwrap_or(text);
    text.len() <= 200
        && name.len() >= 2
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
        && all(text, b"+-.:~=/_")
}

fn is_suite(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && all(text, b"-_./")
}

fn is_unit(text: &str) -> bool {
    const SUFFIXES: [&str; 9] = [
        "service",
        "socket",
        "timer",
        "mount",
        "automount",
        "target",
        "path",
        "swap",
        "slice",
    ];
    text.len() <= 255
        && !text.starts_with('-')
        && text
            .rsplit_once('.')
            .is_some_and(|(name, suffix)| !name.is_empty() && SUFFIXES.contains(&suffix))
        && all(text, b"-_.@:")
}

fn is_user(text: &str) -> bool {
    text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
}

fn is_time_zone(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES
        && text
            .split('/')
            .all(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()))
        && all(text, b"/_+-")
}

fn is_locale(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && all(text, b"_.@-")
}

fn is_module(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && all(text, b"_-")
}

/// Whether the text holds only letters, digits and these.
fn all(text: &str, others: &[u8]) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || others.contains(&b))
}
