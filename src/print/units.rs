//! Numbers as people read them.

use std::fmt;

/// A count with a decimal prefix from 10,000 on: `9999`, `12.3k`, `4.5M`.
#[derive(Debug, Clone, Copy)]
pub struct Count(pub u64);

/// Bytes with a decimal prefix: `512 B`, `1.5 kB`, `23.4 MB`.
#[derive(Debug, Clone, Copy)]
pub struct Bytes(pub u64);

/// Seconds as `m:ss` or `h:mm:ss`.
#[derive(Debug, Clone, Copy)]
pub struct Clock(pub u64);

const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];

/// The number cut to below 1000 and its prefix. Three digits matter; the number is rounded
/// first, so that 999,999 is 1.0 M and not 1000.0 k.
fn scaled(n: u64) -> (f64, &'static str) {
    let mut value = n as f64;
    let mut prefix = 0;
    while value >= 999.95 && prefix + 1 < PREFIXES.len() {
        value /= 1000.0;
        prefix += 1;
    }
    (value, PREFIXES[prefix])
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 10_000 {
            return write!(f, "{}", self.0);
        }
        let (value, prefix) = scaled(self.0);
        write!(f, "{value:.1}{prefix}")
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1000 {
            return write!(f, "{} B", self.0);
        }
        let (value, prefix) = scaled(self.0);
        write!(f, "{value:.1} {prefix}B")
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes, seconds) = (self.0 / 3600, self.0 / 60 % 60, self.0 % 60);
        if hours > 0 {
            write!(f, "{hours}:{minutes:02}:{seconds:02}")
        } else {
            write!(f, "{minutes}:{seconds:02}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let text = |n| Count(n).to_string();
        assert_eq!(text(0), "0");
        assert_eq!(text(9999), "9999");
        assert_eq!(text(10_000), "10.0k");
        assert_eq!(text(999_949), "999.9k");
        assert_eq!(text(999_999), "1.0M");
        assert_eq!(text(u64::MAX), "18.4E");
    }

    #[test]
    fn bytes() {
        let text = |n| Bytes(n).to_string();
        assert_eq!(text(999), "999 B");
        assert_eq!(text(1000), "1.0 kB");
        assert_eq!(text(1_500_000), "1.5 MB");
        assert_eq!(text(u64::MAX), "18.4 EB");
    }

    #[test]
    fn clocks() {
        assert_eq!(Clock(0).to_string(), "0:00");
        assert_eq!(Clock(61).to_string(), "1:01");
        assert_eq!(Clock(3661).to_string(), "1:01:01");
    }
}
