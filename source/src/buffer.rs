//! The buffer that files are read into, one after the other.

/// The default size of a [`ReadBuf`], in bytes. A file that is shorter takes one read.
pub const READ_BUFFER_BYTES: usize = 256 << 10;

/// A buffer that is reused from file to file.
///
/// It is zeroed once, when it is made (by the system, with pages that are only touched when they
/// are used), and never again: what is behind the bytes that a read reported is left over from
/// earlier files and has no meaning.
#[derive(Debug)]
pub struct ReadBuf {
    bytes: Vec<u8>,
}

impl ReadBuf {
    /// A buffer of [`READ_BUFFER_BYTES`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(READ_BUFFER_BYTES)
    }

    /// A buffer of `bytes` bytes, at least one.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: vec![0; bytes.max(1)],
        }
    }

    /// Its size in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// The first `len` bytes: what a read that answered `len` left there.
    ///
    /// # Panics
    ///
    /// When `len` is more than [`capacity`](Self::capacity).
    #[must_use]
    pub fn filled(&self, len: usize) -> &[u8] {
        &self.bytes[..len]
    }

    /// The whole buffer, for a source to read into.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Default for ReadBuf {
    fn default() -> Self {
        Self::new()
    }
}
