//! Sets of hashes that grow in small steps.
//!
//! A set in one piece would stop whoever adds to it for milliseconds while it doubles; here the hashes are spread over parts, each
//! a set of its own, by their topmost bits: who looks hashes up in their order needs one part after the other, and finds it in the
//! processor's cache. Must not know: what is hashed. The hashes must be good ones already.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Hashes a part has on average when as many come as were told: doubling so many takes some tens of microseconds.
const PART_HASHES: usize = 4096;

/// The most parts, of 32 bytes each while they are empty.
const MOST_PARTS: usize = 1024;

/// What stands for a hash in a set.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only whole words come, see `write_u64`; others are folded in.
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, word: u64) {
        // Those of a part have their topmost bits in common: the product mixes the others into its own, and keeps the lowest ones apart.
        self.0 = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A set of hashes.
pub struct Hashes {
    parts: Box<[HashSet<u64, BuildHasherDefault<Spread>>]>,
    shared_bits: u32,
    /// Of so many bits behind those is the number of a part.
    part_bits: u32,
}

impl Hashes {
    /// An empty set for about `expected` hashes whose first `shared_bits` bits, fewer than 64, are the same.
    pub fn new(expected: usize, shared_bits: u32) -> Hashes {
        let parts = (expected / PART_HASHES).next_power_of_two().min(MOST_PARTS);
        let part_bits = parts.ilog2();
        Hashes { parts: (0..parts).map(|_| HashSet::default()).collect(), shared_bits, part_bits }
    }

    fn part(&self, hash: u64) -> usize {
        (hash << self.shared_bits >> 1 >> (63 - self.part_bits)) as usize
    }

    /// Whether `hash` is in it.
    #[inline]
    pub fn contains(&self, hash: u64) -> bool {
        self.parts[self.part(hash)].contains(&hash)
    }

    /// Adds a hash; `false` when it was there.
    #[inline]
    pub fn insert(&mut self, hash: u64) -> bool {
        let part = self.part(hash);
        self.parts[part].insert(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_there_and_nothing_else() {
        let mut hashes = Hashes::new(100_000, 4);
        let of = |n: u64| crate::util::hash::hash(&n.to_le_bytes()) >> 4; // alike at the top
        assert!((0..20_000).all(|n| hashes.insert(of(n))));
        assert!((0..20_000).all(|n| hashes.contains(of(n)) && !hashes.insert(of(n))));
        assert!((20_000..40_000).all(|n| !hashes.contains(of(n))));
        let sizes: Vec<usize> = hashes.parts.iter().map(HashSet::len).collect();
        assert!(sizes.len() == 32 && sizes.iter().all(|size| (400..900).contains(size)), "{sizes:?}");
    }

    #[test]
    fn a_set_of_few_is_one_part() {
        let mut hashes = Hashes::new(0, 0);
        assert!(hashes.insert(u64::MAX) && hashes.insert(0) && !hashes.insert(0));
        assert!(hashes.contains(u64::MAX) && !hashes.contains(1));
    }
}
