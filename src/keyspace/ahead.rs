//! What the keys of coming requests need from memory, requested before their turn comes.
//!
//! Two steps: a key is noted, and its buckets are requested; when these have had the time to arrive, its entry is found in them and
//! requested too. What a key's second step needs is kept from the first, so that it is a few instructions: a core waits for a page
//! table, too, when it requests a line, and looks ahead only so many instructions meanwhile. Invariant: while anything is noted, an
//! epoch guard keeps the segments that it points to. Must not know: requests, locks. Source: group prefetching (Chen et al., 2004).

#![expect(unsafe_code, reason = "looks into buckets without their shard's lock")]

use super::Keyspace;
use super::segment::{Near, prefetch};
use crossbeam_epoch::{Guard, pin};
use std::ops::Range;

/// The keys of coming requests, in order.
#[derive(Default)]
pub struct Ahead {
    near: Vec<Near>,
    guard: Option<Guard>,
}

impl Ahead {
    /// Notes more keys of database `db` and requests the buckets of the first `most` of them; the others get nothing.
    #[inline]
    pub fn note(&mut self, keyspace: &Keyspace, db: usize, hashes: impl ExactSizeIterator<Item = u64>, most: usize) {
        let all = self.near.len() + hashes.len();
        if let Some(cells) = keyspace.databases[db].get() {
            let guard = self.guard.get_or_insert_with(pin);
            self.near.extend(hashes.take(most).map(|hash| {
                let near = cells[keyspace.shard_of(hash)].peek.near(hash, guard);
                near.buckets(&mut prefetch);
                near
            }));
        }
        self.near.resize(all, Near::NOWHERE);
    }

    /// Requests the entries of these keys, or, where there are none, what storing them changes.
    #[inline(never)]
    pub fn fetch(&self, keys: Range<usize>) {
        for near in self.near.get(keys).unwrap_or(&[]) {
            // SAFETY: the guard was there before it was noted.
            unsafe { near.rest(&mut prefetch) };
        }
    }

    /// Gives back the memory of an empty list but for that of so many `keys`.
    pub fn shrink_to(&mut self, keys: usize) {
        self.near.shrink_to(keys);
    }

    /// Forgets all but the first `len` keys.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.near.truncate(len);
        if self.near.is_empty() {
            self.guard = None;
        }
    }
}
