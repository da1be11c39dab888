//! Entries that come from a file, stored many at a time under each lock.
//!
//! Invariant: as everywhere, a shard changes only under its lock; nobody is told of new keys, because nothing is said about when they
//! came. Must not know: files, formats.

use super::entry::Entry;
use super::reclaim::{Garbage, Why};
use super::{Keyspace, UnixMs, prefetch};
use crossbeam_epoch as epoch;

/// Entries whose buckets are loaded together.
const TOGETHER: usize = 16;

/// An entry that is to be stored.
pub struct Arrival {
    /// Hash of its key.
    pub hash: u64,
    /// The entry.
    pub entry: Entry,
    /// Logarithmic counter of its uses, which policies that count uses keep.
    pub frequency: Option<u8>,
    /// What its bringer knows it by.
    pub tag: usize,
}

/// Entries that wait to be stored, by shard.
pub struct Intake<'k> {
    keyspace: &'k Keyspace,
    now: UnixMs,
    replace: bool,
    shards: Vec<Vec<Arrival>>,
}

impl<'k> Intake<'k> {
    /// One in which nothing waits. `replace`: an entry takes the place of one with the same key.
    pub fn new(keyspace: &'k Keyspace, now: UnixMs, replace: bool) -> Intake<'k> {
        let shards = (0..keyspace.shards()).map(|_| Vec::new()).collect();
        Intake { keyspace, now, replace, shards }
    }

    /// Lets an entry wait.
    #[inline]
    pub fn add(&mut self, arrival: Arrival) {
        self.shards[self.keyspace.shard_of(arrival.hash)].push(arrival);
    }

    /// Stores what waits in database `db`, a lock for each shard. When a key is there already, and not to be replaced, the tag of its
    /// new entry is the error: the lowest of them; the other entries are stored.
    pub fn flush(&mut self, db: usize) -> Result<(), usize> {
        let mut duplicate = None::<usize>;
        for index in 0..self.shards.len() {
            if !self.shards[index].is_empty() {
                let mut waiting = std::mem::take(&mut self.shards[index]);
                let tag = self.store(db, index, &mut waiting);
                duplicate = duplicate.into_iter().chain(tag).min();
                self.shards[index] = waiting;
            }
        }
        duplicate.map_or(Ok(()), Err)
    }

    fn store(&self, db: usize, index: usize, waiting: &mut Vec<Arrival>) -> Option<usize> {
        let mut duplicate = None;
        let cell = &self.keyspace.cells(db)[index];
        let mut shard = cell.shard.lock();
        let mut waiting = waiting.drain(..);
        while !waiting.as_slice().is_empty() {
            let guard = epoch::pin();
            for arrival in waiting.as_slice().iter().take(TOGETHER) {
                prefetch(cell.peek.bucket(arrival.hash, &guard));
            }
            for arrival in waiting.by_ref().take(TOGETHER) {
                let key = super::Key { bytes: arrival.entry.get().key(), hash: arrival.hash };
                if let Some(old) = shard.live(key, self.now) {
                    if !self.replace {
                        duplicate = duplicate.into_iter().chain([arrival.tag]).min();
                        continue;
                    }
                    let old = old.remove();
                    self.keyspace.reclaimer().take(Garbage::Entry(old), Why::Overwritten);
                }
                shard.load(arrival.hash, arrival.entry, arrival.frequency, self.now);
            }
        }
        duplicate
    }
}
