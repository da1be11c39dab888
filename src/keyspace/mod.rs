//! The keyspace: databases of shards, and the view of it that one request gets.
//!
//! Invariants: the locks of a request are taken in ascending order of (database, shard), all before its handler runs, so
//! that every command is atomic and none deadlocks. Nothing outside this room names the lock. Must not know: RESP,
//! commands, clients.

pub mod attention;
pub mod entry;
pub mod hash;
mod journal;
mod locks;
pub mod reclaim;
mod segment;
mod shard;
pub mod table;
mod victims;
mod view;
mod waiters;

pub use hash::{Key, KeyHasher};
pub use journal::{Happening, News, WatchMark};
pub use locks::LockSet;
pub use segment::Scratch;
pub use shard::{ShardStats, access_seconds};
pub use victims::{VictimReport, Victims};
pub use view::{AddError, Edited, LockPlan, Ttl, View, WrongType};
pub use waiters::Ticket;

use crate::util::clock::UnixMs;
use crate::util::sync::Mutex;
use attention::Attention;
use crossbeam_epoch::Guard;
use reclaim::Reclaimer;
use shard::Shard;
use std::sync::{Arc, OnceLock};
use table::{Peek, prefetch};

/// The longest key, in bytes: entries keep its length in 32 bits.
pub const MAX_KEY_BYTES: usize = u32::MAX as usize;

/// A shard behind its lock, and what can be looked at without it. Two cache lines apart from its neighbours.
#[repr(align(128))]
struct Cell {
    shard: Mutex<Shard>,
    peek: Arc<Peek>,
}

/// All databases.
pub struct Keyspace {
    databases: Box<[OnceLock<Box<[Cell]>>]>,
    shard_bits: u32,
    hasher: KeyHasher,
    reclaimer: Reclaimer,
    victims: Victims,
    attention: Arc<Attention>,
}

impl Keyspace {
    /// A keyspace of `databases` databases, each with at least four shards a worker.
    pub fn new(databases: usize, workers: usize, hasher: KeyHasher, reclaimer: Reclaimer) -> Keyspace {
        let shard_bits = (workers * 4).max(16).next_power_of_two().ilog2();
        Keyspace {
            databases: (0..databases).map(|_| OnceLock::new()).collect(),
            shard_bits,
            hasher,
            reclaimer,
            attention: Arc::default(),
            victims: Victims::default(),
        }
    }

    /// Number of databases.
    pub fn databases(&self) -> usize {
        self.databases.len()
    }

    /// Number of shards of a database.
    pub fn shards(&self) -> usize {
        1 << self.shard_bits
    }

    /// The hash function of its keys.
    #[inline]
    pub fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    /// Who pays attention to its keys.
    #[inline]
    pub fn attention(&self) -> &Arc<Attention> {
        &self.attention
    }

    /// Where garbage goes.
    pub fn reclaimer(&self) -> &Reclaimer {
        &self.reclaimer
    }

    /// Where whoever evicts a key notes its age.
    pub fn victims(&self) -> &Victims {
        &self.victims
    }

    #[inline]
    fn shard_of(&self, hash: u64) -> usize {
        (hash >> 1 >> (63 - self.shard_bits)) as usize
    }

    fn cells(&self, db: usize) -> &[Cell] {
        self.databases[db].get_or_init(|| {
            (0..1_u64 << self.shard_bits)
                .map(|index| {
                    let shard = Shard::new(
                        index,
                        self.shard_bits,
                        self.hasher.clone(),
                        self.reclaimer.clone(),
                        Arc::clone(&self.attention),
                    );
                    Cell { peek: shard.table().peek(), shard: Mutex::new(shard) }
                })
                .collect()
        })
    }

    fn is_allocated(&self, db: usize) -> bool {
        self.databases[db].get().is_some()
    }

    /// Starts loading the home bucket of `hash`. Takes no lock.
    #[inline]
    pub fn prefetch_bucket(&self, db: usize, hash: u64, guard: &Guard) {
        if let Some(cells) = self.databases[db].get() {
            prefetch(cells[self.shard_of(hash)].peek.bucket(hash, guard));
        }
    }

    /// Starts loading the entry that `hash` probably belongs to. Takes no lock.
    #[inline]
    pub fn prefetch_entry(&self, db: usize, hash: u64, guard: &Guard) {
        if let Some(cells) = self.databases[db].get()
            && let Some(entry) = cells[self.shard_of(hash)].peek.entry(hash, guard)
        {
            prefetch(entry);
            prefetch(entry.wrapping_add(64));
        }
    }

    /// Takes a ticket out of the queue of a key of database `db`.
    pub fn leave_queue(&self, db: usize, key: Key<'_>, ticket: &Ticket) {
        self.cells(db)[self.shard_of(key.hash)].shard.lock().waiters.leave(key.bytes, ticket);
    }

    /// Moves what lies in sparse slabs in one segment of shard `shard` of database `db`, at position `at` (0 at first): some
    /// 100 us under the lock. Returns how many blocks were moved and where to go on, `None` at the end.
    pub fn compact_turn(&self, db: usize, shard: usize, at: u64, scratch: &mut Scratch) -> (usize, Option<u64>) {
        match self.databases[db].get() {
            Some(cells) => cells[shard].shard.lock().compact(at, scratch),
            None => (0, None),
        }
    }

    /// Ends a watch of a key of database `db` that is not held.
    pub fn unwatch(&self, db: usize, key: Key<'_>, mark: &WatchMark) {
        self.cells(db)[self.shard_of(key.hash)].shard.lock().journal.unwatch(key.bytes, mark);
    }

    /// One turn of active expiry over shard number `shard` of every database: under 100 us a lock. `heard` is told the news of
    /// each database under the lock. `true` while there is more to do.
    pub fn expire_turn(&self, shard: usize, now: UnixMs, heard: &mut dyn FnMut(usize, Vec<News>)) -> bool {
        let mut more = false;
        for (db, cells) in self.databases.iter().enumerate() {
            let Some(cells) = cells.get() else { continue };
            let mut shard = cells[shard].shard.lock();
            more |= shard.expire_turn(now);
            if !shard.journal.is_empty() {
                heard(db, shard.journal.take());
            }
        }
        more
    }
}
