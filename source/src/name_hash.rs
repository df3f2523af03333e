//! The hash of a file name by which an oversized directory is cut into slices.
//!
//! Invariant: part of the protocol. The node that gives a slice back and the node that takes it over
//! must agree on the hash of every name, so the function never changes within a protocol version;
//! the golden values in the tests below hold it in place.

/// The hash of a name: FNV-1a with 32 bits, followed by the final mix of `MurmurHash3` (`fmix32`).
///
/// FNV-1a alone leaves the upper bits of similar short names (`a1`, `a2`, ...) close together; the
/// mix spreads them evenly, so that halving a slice halves the number of its names.
///
/// `name` is one component of a path, without a terminating NUL.
#[must_use]
pub fn name_hash(name: &[u8]) -> u32 {
    const FNV_OFFSET: u32 = 0x811c_9dc5;
    const FNV_PRIME: u32 = 0x0100_0193;
    let mut hash = FNV_OFFSET;
    for &byte in name {
        hash = (hash ^ u32::from(byte)).wrapping_mul(FNV_PRIME);
    }
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

/// A range of name hashes: the part of a directory whose names hash into `start..=end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NameSlice {
    /// The first hash.
    pub start: u32,
    /// The last hash, included.
    pub end: u32,
}

impl NameSlice {
    /// Every name.
    pub const WHOLE: Self = Self {
        start: 0,
        end: u32::MAX,
    };

    /// Whether a name with this hash belongs to the slice.
    #[must_use]
    pub fn contains(self, hash: u32) -> bool {
        (self.start..=self.end).contains(&hash)
    }

    /// The lower half of the slice, or `None` when it is a single hash.
    pub(crate) fn lower_half(self) -> Option<Self> {
        (self.start < self.end).then(|| Self {
            start: self.start,
            end: self.start + (self.end - self.start) / 2,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with an independent implementation; a change here is a new protocol version.
    #[test]
    fn golden_values() {
        let golden: [(&[u8], u32); 6] = [
            (b"", 0xab3e_7c0b),
            (b"a", 0x1a80_b1b3),
            (b"README.md", 0xd502_5d41),
            (b"f000001.txt", 0x71bc_533c),
            (b"\xff\xfe ", 0x9cbe_01f2),
            (b"main.rs", 0x1be9_c7ab),
        ];
        for (name, hash) in golden {
            assert_eq!(name_hash(name), hash, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn similar_names_spread_evenly() {
        let mut buckets = [0_u32; 16];
        for i in 0..100_000 {
            buckets[(name_hash(format!("f{i:06}.txt").as_bytes()) >> 28) as usize] += 1;
        }
        for (bucket, &count) in buckets.iter().enumerate() {
            assert!((5_900..6_600).contains(&count), "bucket {bucket}: {count}");
        }
    }

    #[test]
    fn halving_ends_at_one_hash() {
        let mut slice = NameSlice::WHOLE;
        let mut steps = 0;
        while let Some(half) = slice.lower_half() {
            assert!(half.end < slice.end && half.start == slice.start);
            slice = half;
            steps += 1;
        }
        assert_eq!((slice.start, slice.end, steps), (0, 0, 32));
    }
}
