//! The keyed hash of byte strings: names in collections, and whatever else is looked up by bytes.
//!
//! Seeded at random once per process, so that nobody can choose names that collide. All bits are usable: tables take
//! some from the top and some from the bottom.

use ahash::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

static PROCESS: LazyLock<BytesHasher> = LazyLock::new(BytesHasher::new);

/// Hash of `bytes` under the seed of the process; some 5 ns for short ones.
#[inline]
pub fn hash(bytes: &[u8]) -> u64 {
    PROCESS.hash(bytes)
}

/// A keyed hash function of byte strings.
#[derive(Clone, Debug)]
pub struct BytesHasher(RandomState);

impl BytesHasher {
    /// A function nobody outside can predict.
    #[expect(clippy::new_without_default, reason = "two hashers differ; a default would hide it")]
    pub fn new() -> BytesHasher {
        BytesHasher(RandomState::new())
    }

    /// A function that is the same in every run, for tests.
    pub fn with_seed(seed: u64) -> BytesHasher {
        BytesHasher(RandomState::with_seeds(seed, !seed, seed ^ 0x9e37_79b9_7f4a_7c15, seed.rotate_left(32)))
    }

    /// Hash of `bytes`; about 5 ns for short ones.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }
}
