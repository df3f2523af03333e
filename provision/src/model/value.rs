//! Paths, hosts, keys, sizes, times and the words of a kernel's command line.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::Hostname;
use super::name::quoted;

/// Why a text is not the value that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {problem}; {fix}", quoted(.text))]
pub struct ValueError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub fix: &'static str,
}

fn error<T>(text: &str, problem: impl Into<String>, fix: &'static str) -> Result<T, ValueError> {
    Err(ValueError {
        text: text.to_owned(),
        problem: problem.into(),
        fix,
    })
}

/// A type that is a text of which its `FromStr` has made sure.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text, as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

texts! {
    /// An absolute path without `.`, `..`, double slashes or a slash at its end (but for `/`),
    /// of printable characters other than white space, quotes, `\`, `$`, `#`, `*`, `?` and `:`.
    AbsPath;
    /// One argument of a kernel's command line.
    KernelArg;
    /// A console of the kernel, such as `ttyS0,115200n8` or `tty0`.
    Console;
    /// One option of a mount, such as `nocto` or `actimeo=600`.
    MountOption;
    /// An http or https URL without a slash at its end.
    HttpUrl;
    /// A public key of OpenSSH: type, data, and perhaps a comment.
    SshKey;
}

/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 1024;

/// The longest argument, option or URL, in bytes.
const MAX_WORD_BYTES: usize = 512;

/// The longest public key, in bytes; RSA of 16,384 bits has some 2,800.
const MAX_KEY_BYTES: usize = 8192;

/// Characters that mean something to a shell, to iPXE, or in a configuration file.
const SPECIAL: &[u8] = b"\"'`\\$";

fn is_word(text: &str) -> bool {
    text.len() <= MAX_WORD_BYTES
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !SPECIAL.contains(&b))
}

impl AbsPath {
    /// As a path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl AsRef<Path> for AbsPath {
    fn as_ref(&self) -> &Path {
        self.as_path()
    }
}

impl FromStr for AbsPath {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if !text.starts_with('/') {
            return error(text, "is no absolute path", "begin it with a slash");
        }
        if text.len() > MAX_PATH_BYTES {
            let problem = format!("has {} bytes; the limit is {MAX_PATH_BYTES}", text.len());
            return error(text, problem, "shorten it");
        }
        let bad = text
            .chars()
            .find(|&c| c.is_whitespace() || c.is_control() || "\"'`\\$#*?:".contains(c));
        if let Some(bad) = bad {
            return error(
                text,
                format!("holds {bad:?}, which the servers' configuration cannot"),
                "rename it, or use a link to it",
            );
        }
        let path = text.trim_end_matches('/');
        if path.is_empty() {
            return Ok(Self("/".into()));
        }
        let is_plain = |part: &str| !matches!(part, "" | "." | "..");
        if !path[1..].split('/').all(is_plain) {
            return error(
                text,
                "holds an empty part, `.` or `..`",
                "write the path without it",
            );
        }
        Ok(Self(path.into()))
    }
}

impl FromStr for KernelArg {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if is_word(text) {
            return Ok(Self(text.into()));
        }
        error(
            text,
            "is no argument of a kernel",
            "write each argument as a text of its own, without white space, quotes, '\\' and '$'",
        )
    }
}

impl FromStr for Console {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let is_console = is_word(text)
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b",-_.".contains(&b));
        if is_console {
            return Ok(Self(text.into()));
        }
        error(
            text,
            "is no console",
            "write what follows `console=`, such as ttyS0,115200n8 or tty0",
        )
    }
}

impl FromStr for MountOption {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if !is_word(text) || text.contains([',', '#']) {
            return error(
                text,
                "is no mount option",
                "write each option as a text of its own, such as \"nocto\" or \"actimeo=600\"",
            );
        }
        let key = text.split('=').next().unwrap_or(text);
        match key {
            "ro" | "rw" => error(text, "is decided by `read-only`", "set that instead"),
            "vers" | "nfsvers" | "minorversion" => {
                error(text, "is decided by `version`", "set that instead")
            }
            _ => Ok(Self(text.into())),
        }
    }
}

impl FromStr for HttpUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let rest = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"));
        let is_url = rest.is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
                && is_word(text)
                && !rest.contains(['<', '>', '#', '@'])
        });
        if is_url {
            return Ok(Self(text.trim_end_matches('/').into()));
        }
        error(
            text,
            "is no URL",
            "write http:// or https://, a host and perhaps a port and a path, without user and password",
        )
    }
}

impl SshKey {
    /// The types of keys that OpenSSH knows.
    const TYPES: [&str; 7] = [
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];
}

impl FromStr for SshKey {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.contains("PRIVATE KEY") {
            // The text is not repeated: it is a secret.
            return error(
                "-----BEGIN",
                "is the beginning of a private key",
                "give the public one, a line of the file that ends in .pub; and make a new pair, if others could read this file",
            );
        }
        let text = text.trim();
        let mut fields = text.splitn(3, ' ');
        let (kind, data) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let is_base64 = data.len() >= 40
            && data.len() % 4 == 0
            && data
                .trim_end_matches('=')
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b));
        let is_key = text.len() <= MAX_KEY_BYTES
            && Self::TYPES.contains(&kind)
            && is_base64
            && !text.contains(char::is_control);
        if is_key {
            return Ok(Self(text.into()));
        }
        error(
            text,
            "is no public key of OpenSSH",
            "write the line of a file that ends in .pub: type, data, comment",
        )
    }
}

/// A machine, by its address or its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An IPv4 address.
    Address(Ipv4Addr),
    /// A name that the master can resolve.
    Name(Hostname),
}

impl FromStr for Host {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        if let Ok(name) = text.parse() {
            return Ok(Self::Name(name));
        }
        error(
            text,
            "is neither an IPv4 address nor a host name",
            "write one, such as 10.0.0.5 or filer.example",
        )
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// A number of bytes: `512MiB`, `2GiB`, `120MB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// The units of a size, the largest first.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const FIX: &str = "write a whole number and a unit, such as 512MiB or 2GiB";
        let Some((number, factor)) = number_and_unit(text, &SIZES) else {
            return error(text, "is no size", FIX);
        };
        match number.checked_mul(factor) {
            Some(0) => error(text, "is nothing", FIX),
            Some(bytes) => Ok(Self(bytes)),
            None => error(text, "is too large", FIX),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |&&(_, factor): &&(&str, u64)| self.0.is_multiple_of(factor) && self.0 >= factor;
        let (unit, factor) = SIZES.iter().find(fits).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

/// A length of time: `200ms`, `30s`, `10m`, `12h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timespan(pub Duration);

/// The units of a time in milliseconds, the largest first.
const TIMES: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl FromStr for Timespan {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const FIX: &str = "write a whole number and a unit (ms, s, m, h, d), such as 30s or 12h";
        let Some((number, factor)) = number_and_unit(text, &TIMES) else {
            return error(text, "is no length of time", FIX);
        };
        // A hundred years are enough, and fit everywhere.
        match number.checked_mul(factor) {
            Some(millis) if millis <= 36_500 * 86_400_000 => {
                Ok(Self(Duration::from_millis(millis)))
            }
            _ => error(text, "is too long", FIX),
        }
    }
}

impl fmt::Display for Timespan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        let fits = |&&(_, factor): &&(&str, u64)| millis.is_multiple_of(u128::from(factor));
        let (unit, factor) = TIMES.iter().find(fits).unwrap_or(&("ms", 1));
        write!(f, "{}{unit}", millis / u128::from(*factor))
    }
}

/// The number, and what its unit stands for.
fn number_and_unit(text: &str, units: &[(&str, u64)]) -> Option<(u64, u64)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    Some((number.parse().ok()?, *factor))
}
