//! Sets of hashes that grow in small steps.
//!
//! A set in one piece would stop whoever adds to it for milliseconds while it doubles; here the hashes are spread over parts, each
//! a set of its own. Must not know: what is hashed. The hashes must be good ones already.

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
        // Many have their topmost bits in common: the product mixes the others into its own, and keeps the lowest ones apart.
        self.0 = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A set of hashes.
pub struct Hashes {
    parts: Box<[HashSet<u64, BuildHasherDefault<Spread>>]>,
}

impl Hashes {
    /// An empty set for about `expected` hashes.
    pub fn new(expected: usize) -> Hashes {
        let parts = (expected / PART_HASHES).next_power_of_two().min(MOST_PARTS);
        Hashes { parts: (0..parts).map(|_| HashSet::default()).collect() }
    }

    fn part(&self, hash: u64) -> usize {
        // Neither the bits that all may share at the top, nor those by which a part tells its hashes apart.
        (hash >> 32) as usize % self.parts.len()
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
        let mut hashes = Hashes::new(100_000);
        assert!(hashes.parts.len() > 8);
        let of = |n: u64| crate::util::hash::hash(&n.to_le_bytes()) >> 4; // alike at the top
        assert!((0..20_000).all(|n| hashes.insert(of(n))));
        assert!((0..20_000).all(|n| hashes.contains(of(n)) && !hashes.insert(of(n))));
        assert!((20_000..40_000).all(|n| !hashes.contains(of(n))));
    }
}
