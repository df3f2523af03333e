//! Text made from a seed: log lines and lines that look like C. Only integers are computed
//! with, so that a seed gives the same bytes on every machine.

/// `SplitMix64` (Steele, Lea and Flood, 2014): small, fast, and good enough for text.
pub(crate) struct Rng(u64);

impl Rng {
    /// The generator for part `part` of what is made from `seed`.
    pub(crate) fn new(seed: u64, part: u64) -> Self {
        let mut rng = Self(seed ^ part.wrapping_mul(0xd1b5_4a32_d192_ed03));
        rng.next();
        rng
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        // The bias is below 2^-32 for the limits used here.
        ((self.next() >> 32) * limit) >> 32
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        let index = self.below(words.len() as u64);
        words[usize::try_from(index).expect("an index of a slice fits")]
    }
}

/// What the lines of a file look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A system log.
    Log,
    /// Something like C.
    Source,
}

impl Style {
    /// Appends one line.
    pub(crate) fn line(self, rng: &mut Rng, out: &mut Vec<u8>) {
        match self {
            Self::Log => log_line(rng, out),
            Self::Source => source_line(rng, out),
        }
    }

    /// Appends the one line that the selective pattern of this style matches.
    pub(crate) fn planted_line(self, rng: &mut Rng, out: &mut Vec<u8>) {
        match self {
            Self::Log => {
                log_prefix(rng, out);
                push(out, "ECC error on DIMM_");
                number(out, rng.below(16));
                push(out, " at row ");
                number(out, rng.below(65_536));
            }
            Self::Source => {
                push(out, "\tcase ");
                push(out, &rng.pick(WORDS).to_ascii_uppercase());
                push(out, "_SUSPEND:");
            }
        }
        out.push(b'\n');
    }
}

const WORDS: &[&str] = &[
    "a",
    "the",
    "of",
    "to",
    "in",
    "on",
    "for",
    "is",
    "not",
    "and",
    "was",
    "set",
    "bit",
    "node",
    "page",
    "lock",
    "with",
    "from",
    "file",
    "read",
    "when",
    "held",
    "this",
    "queue",
    "write",
    "state",
    "flags",
    "cache",
    "index",
    "after",
    "other",
    "value",
    "block",
    "number",
    "device",
    "buffer",
    "before",
    "memory",
    "thread",
    "remote",
    "length",
    "request",
    "timeout",
    "pointer",
    "channel",
    "current",
    "context",
    "reading",
    "register",
    "transfer",
    "interval",
    "directory",
    "interface",
    "allocated",
    "reference",
    "connection",
    "descriptor",
];

const UNITS: &[&str] = &[
    "kernel", "sshd", "nfsd", "chronyd", "slurmd", "systemd", "dhcpd", "rpcbind",
];

const LEVELS: &[&str] = &["DEBUG", "INFO", "INFO", "INFO", "NOTICE", "WARN", "ERROR"];

const TYPES: &[&str] = &[
    "int",
    "u32",
    "u64",
    "void",
    "bool",
    "size_t",
    "unsigned long",
    "const char *",
    "struct page *",
];

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn number(out: &mut Vec<u8>, value: u64) {
    push(out, &value.to_string());
}

fn two_digits(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0');
    }
    number(out, value);
}

fn words(rng: &mut Rng, out: &mut Vec<u8>, least: u64, most: u64) {
    for index in 0..least + rng.below(most - least + 1) {
        if index > 0 {
            out.push(b' ');
        }
        push(out, rng.pick(WORDS));
    }
}

fn identifier(rng: &mut Rng, out: &mut Vec<u8>) {
    push(out, rng.pick(WORDS));
    for _ in 0..rng.below(3) {
        out.push(b'_');
        push(out, rng.pick(WORDS));
    }
}

fn log_prefix(rng: &mut Rng, out: &mut Vec<u8>) {
    push(out, "2026-");
    two_digits(out, 1 + rng.below(12));
    out.push(b'-');
    two_digits(out, 1 + rng.below(28));
    out.push(b'T');
    two_digits(out, rng.below(24));
    out.push(b':');
    two_digits(out, rng.below(60));
    out.push(b':');
    two_digits(out, rng.below(60));
    push(out, "Z n");
    number(out, rng.below(240));
    out.push(b' ');
    push(out, rng.pick(UNITS));
    out.push(b'[');
    number(out, rng.below(32_768));
    push(out, "]: ");
    push(out, rng.pick(LEVELS));
    out.push(b' ');
}

fn log_line(rng: &mut Rng, out: &mut Vec<u8>) {
    log_prefix(rng, out);
    words(rng, out, 3, 9);
    push(out, " id=");
    number(out, rng.below(1 << 31));
    out.push(b'\n');
}

fn source_line(rng: &mut Rng, out: &mut Vec<u8>) {
    for _ in 0..rng.below(4) {
        out.push(b'\t');
    }
    match rng.below(12) {
        0 => {}
        1 => push(out, "}"),
        2 | 3 => {
            push(out, "/* ");
            words(rng, out, 3, 8);
            push(out, " */");
        }
        4 => {
            push(out, "if (!");
            identifier(rng, out);
            push(out, ") {");
        }
        5 => {
            push(out, "return ");
            identifier(rng, out);
            push(out, ";");
        }
        6 => {
            push(out, "#define ");
            push(out, &rng.pick(WORDS).to_ascii_uppercase());
            out.push(b'_');
            push(out, &rng.pick(WORDS).to_ascii_uppercase());
            push(out, "\t0x");
            number(out, rng.below(10_000));
        }
        7 | 8 => {
            push(out, rng.pick(TYPES));
            out.push(b' ');
            identifier(rng, out);
            push(out, " = ");
            number(out, rng.below(4096));
            push(out, ";");
        }
        _ => {
            identifier(rng, out);
            push(out, "->");
            identifier(rng, out);
            push(out, " = ");
            identifier(rng, out);
            out.push(b'(');
            identifier(rng, out);
            push(out, ");");
        }
    }
    out.push(b'\n');
}
