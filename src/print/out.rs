//! The buffer between a printer and its writer.
//!
//! Printers append to memory, which cannot fail; the bytes go to the writer when the buffer is
//! full at the end of a record, and on [`Out::flush`]. So an error of the writer is met in one
//! place, and a line costs a copy and no call.

use std::io::{self, Write};

/// The buffer is written out when a record ends and it holds this many bytes.
const SPILL_BYTES: usize = 64 << 10;

/// A piece at least this large is written from where it stands, without a copy.
const DIRECT_BYTES: usize = 16 << 10;

/// An output buffer that knows how much has passed through it.
#[derive(Debug)]
pub(super) struct Out<W> {
    writer: W,
    /// Not yet written.
    pub(super) buf: Vec<u8>,
    written: u64,
}

impl<W: Write> Out<W> {
    pub(super) fn new(writer: W) -> Self {
        Self {
            writer,
            buf: Vec::with_capacity(SPILL_BYTES + (8 << 10)),
            written: 0,
        }
    }

    /// All bytes so far, those in the buffer included.
    pub(super) fn total(&self) -> u64 {
        self.written + self.buf.len() as u64
    }

    /// To be called where a record ends.
    #[inline]
    pub(super) fn spill(&mut self) -> io::Result<()> {
        if self.buf.len() >= SPILL_BYTES {
            self.drain()?;
        }
        Ok(())
    }

    /// Appends `bytes`, which may be many.
    pub(super) fn put_large(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() < DIRECT_BYTES {
            self.buf.extend_from_slice(bytes);
            return self.spill();
        }
        self.drain()?;
        self.writer.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Writes everything out, and flushes the writer.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.drain()?;
        self.writer.flush()
    }

    /// Flushes, and gives the writer back.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        Ok(self.writer)
    }

    fn drain(&mut self) -> io::Result<()> {
        let result = self.writer.write_all(&self.buf);
        self.written += self.buf.len() as u64;
        // After an error the bytes are gone, too: how many of them the writer took is unknown.
        self.buf.clear();
        result
    }
}

/// Appends `n` in decimal digits.
#[expect(
    clippy::cast_possible_truncation,
    reason = "what is cast is a remainder below 100"
)]
#[inline]
pub(super) fn decimal(buf: &mut Vec<u8>, mut n: u64) {
    const PAIRS: &[u8; 200] = b"00010203040506070809\
        10111213141516171819\
        20212223242526272829\
        30313233343536373839\
        40414243444546474849\
        50515253545556575859\
        60616263646566676869\
        70717273747576777879\
        80818283848586878889\
        90919293949596979899";
    // u64::MAX has 20 digits.
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    while n >= 100 {
        let pair = (n % 100) as usize * 2;
        n /= 100;
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if n >= 10 {
        let pair = n as usize * 2;
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        digits[at] = b'0' + n as u8;
    }
    buf.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_those_of_the_standard_library() {
        let mut numbers = vec![0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, u64::MAX];
        numbers.extend((0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit]));
        numbers.extend((0..20).flat_map(|e| [10_u64.pow(e) - 1, 10_u64.pow(e)]));
        for n in numbers {
            let mut buf = b"x".to_vec();
            decimal(&mut buf, n);
            assert_eq!(String::from_utf8(buf), Ok(format!("x{n}")));
        }
    }

    #[test]
    fn large_pieces_keep_the_order() {
        let large = vec![b'l'; DIRECT_BYTES];
        let mut out = Out::new(Vec::new());
        out.buf.extend_from_slice(b"before");
        out.put_large(&large).expect("a Vec takes everything");
        out.put_large(b"after").expect("a Vec takes everything");
        assert_eq!(out.total(), 11 + large.len() as u64);
        let written = out.finish().expect("a Vec takes everything");
        assert_eq!(written, [b"before", &large[..], b"after"].concat());
    }
}
