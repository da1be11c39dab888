//! The hash of a key, computed once per key and request.
//!
//! Seeded per process, so that nobody can choose keys that collide. Bits from the top: shard, directory of the shard,
//! bucket in the segment, fingerprint.

use crate::util::hash::BytesHasher;

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
pub struct KeyHasher(BytesHasher);

impl KeyHasher {
    /// A function nobody outside can predict.
    #[expect(clippy::new_without_default, reason = "two hashers differ; a default would hide it")]
    pub fn new() -> KeyHasher {
        KeyHasher(BytesHasher::new())
    }

    /// A function that is the same in every run, for tests.
    pub fn with_seed(seed: u64) -> KeyHasher {
        KeyHasher(BytesHasher::with_seed(seed))
    }

    /// Hash of `key`; about 5 ns for short keys.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.0.hash(key)
    }

    /// `key` with its hash.
    #[inline]
    pub fn key<'a>(&self, key: &'a [u8]) -> Key<'a> {
        Key { bytes: key, hash: self.hash(key) }
    }
}
