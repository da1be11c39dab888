//! Entries that come from a file, stored many at a time under each lock.
//!
//! Invariant: as everywhere, a shard changes only under its lock; nobody is told of new keys, because nothing is said about when they
//! came. Must not know: files, formats.

use super::entry::Entry;
use super::reclaim::{Garbage, Why};
use super::shard::Shard;
use super::table::Peek;
use super::{Keyspace, UnixMs, View, prefetch};
use crossbeam_epoch as epoch;

/// The bucket of an entry is requested from memory so many entries before it is stored: some 300 ns.
const AHEAD: usize = 16;

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

    /// Makes a database without keys ready for about so many. A lock for each shard unless `held` holds them all.
    pub fn reserve(&self, db: usize, keys: usize, mut held: Option<&mut View<'_>>) {
        let each = keys / self.keyspace.shards();
        for (index, cell) in self.keyspace.cells(db).iter().enumerate() {
            match &mut held {
                Some(view) => view.shard_at(db, index).reserve(each),
                None => cell.shard.lock().reserve(each),
            }
        }
    }

    /// Lets an entry wait.
    #[inline]
    pub fn add(&mut self, arrival: Arrival) {
        self.shards[self.keyspace.shard_of(arrival.hash)].push(arrival);
    }

    /// Stores what waits in database `db`, a lock for each shard unless `held` holds them all. When a key is there already, and not to be replaced, the tag of its
    /// new entry is the error: the lowest of them; the other entries are stored.
    pub fn flush(&mut self, db: usize, mut held: Option<&mut View<'_>>) -> Result<(), usize> {
        let mut duplicate = None::<usize>;
        for index in 0..self.shards.len() {
            if !self.shards[index].is_empty() {
                let mut waiting = std::mem::take(&mut self.shards[index]);
                let cell = &self.keyspace.cells(db)[index];
                let tag = match &mut held {
                    Some(view) => self.store(view.shard_at(db, index), &cell.peek, &mut waiting),
                    None => self.store(&mut cell.shard.lock(), &cell.peek, &mut waiting),
                };
                duplicate = duplicate.into_iter().chain(tag).min();
                self.shards[index] = waiting;
            }
        }
        duplicate.map_or(Ok(()), Err)
    }

    fn store(&self, shard: &mut Shard, peek: &Peek, waiting: &mut Vec<Arrival>) -> Option<usize> {
        let mut duplicate = None;
        let guard = epoch::pin();
        let request = |arrival: &Arrival| {
            prefetch(peek.segment(arrival.hash, &guard));
            peek.near(arrival.hash, &guard).buckets(&mut prefetch);
        };
        waiting.iter().take(AHEAD).for_each(&request);
        let mut waiting = waiting.drain(..);
        loop {
            if let Some(later) = waiting.as_slice().get(AHEAD) {
                request(later);
            }
            let Some(arrival) = waiting.next() else { break };
            let key = super::Key { bytes: arrival.entry.get().key(), hash: arrival.hash };
            if let Some(old) = shard.live(key, self.now) {
                if !self.replace {
                    duplicate = duplicate.into_iter().chain([arrival.tag]).min();
                    continue;
                }
                self.keyspace.reclaimer().take(Garbage::Entry(old.remove()), Why::Overwritten);
            }
            shard.load(arrival.hash, arrival.entry, arrival.frequency, self.now);
        }
        duplicate
    }
}
