//! The hash of a key, computed once per key and request.
//!
//! Seeded per process, so that nobody can choose keys that collide. Bits from the top: shard, directory of the shard,
//! bucket in the segment; the lowest byte is the fingerprint.

use ahash::RandomState;
use std::hash::{BuildHasher, Hasher};

/// A key and its hash.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The key.
    pub bytes: &'a [u8],
    /// Its hash under the keyspace's seed.
    pub hash: u64,
}

/// The keyspace's hash function.
#[derive(Clone, Debug)]
pub struct KeyHasher(RandomState);

impl KeyHasher {
    /// A function nobody outside can predict.
    #[expect(clippy::new_without_default, reason = "two hashers differ; a default would hide it")]
    pub fn new() -> KeyHasher {
        KeyHasher(RandomState::new())
    }

    /// A function that is the same in every run, for tests.
    pub fn with_seed(seed: u64) -> KeyHasher {
        KeyHasher(RandomState::with_seeds(seed, !seed, seed ^ 0x9e37_79b9_7f4a_7c15, seed.rotate_left(32)))
    }

    /// Hash of `key`; about 5 ns for short keys.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    /// `key` with its hash.
    #[inline]
    pub fn key<'a>(&self, key: &'a [u8]) -> Key<'a> {
        Key { bytes: key, hash: self.hash(key) }
    }
}
