//! The keyspace: databases of shards, and the view of it that one request gets.
//!
//! Invariants: the locks of a request are taken in ascending order of (database, shard), all before its handler runs, so
//! that every command is atomic and none deadlocks. Nothing outside this room names the lock. Must not know: RESP,
//! commands, clients.

pub mod ahead;
pub mod attention;
pub mod entry;
pub mod evict;
pub mod hash;
pub mod intake;
mod journal;
mod locks;
pub mod reclaim;
mod segment;
mod shard;
pub mod snapshot;
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

use crate::config::EvictionPolicy;
use crate::util::clock::UnixMs;
use crate::util::sync::{Mutex, MutexGuard};
use attention::{Attention, Listener};
use crossbeam_epoch::Guard;
use evict::Resident;
use evict::engine::Engine;
use evict::pressure::Pressure;
use reclaim::Reclaimer;
use segment::prefetch;
use shard::Shard;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use table::Peek;

/// The longest key, in bytes: entries keep its length in 32 bits.
pub const MAX_KEY_BYTES: usize = u32::MAX as usize;

/// How far into an entry eviction looks: header and a short key.
const VICTIM_BYTES: usize = 40;

/// How long somebody waits for a lock before asking whether it is worth it.
const SHORT_WAIT: Duration = Duration::from_millis(2);

/// A shard behind its lock, and what can be looked at without it. Two cache lines apart from its neighbours.
#[repr(align(128))]
struct Cell {
    shard: Mutex<Shard>,
    peek: Arc<Peek>,
}

/// What was to be done in a shard that somebody held for long.
enum Late {
    Leave { db: usize, key: Box<[u8]>, ticket: Arc<Ticket> },
    Unwatch { db: usize, key: Box<[u8]>, mark: WatchMark },
}

/// All databases.
pub struct Keyspace {
    databases: Box<[OnceLock<Box<[Cell]>>]>,
    shard_bits: u32,
    hasher: KeyHasher,
    reclaimer: Reclaimer,
    victims: Victims,
    attention: Arc<Attention>,
    pressure: Arc<Pressure>,
    engine: Engine,
    /// Whether evictions have left news in shards.
    unheard: AtomicBool,
    /// Whether whoever waits for a lock waits for ever.
    impatient: AtomicBool,
    /// What was to be done in a shard that somebody held for long.
    late: Mutex<Vec<Late>>,
    /// A snapshot is in flight.
    cutting: AtomicBool,
    /// Nobody wants the snapshot in flight any more.
    cut_cancelled: AtomicBool,
    /// Held by whoever makes a database, and by a cut that passes one that is not there.
    gates: Box<[Mutex<()>]>,
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
            pressure: Arc::default(),
            engine: Engine::default(),
            unheard: AtomicBool::new(false),
            impatient: AtomicBool::new(false),
            late: Mutex::new(Vec::new()),
            cutting: AtomicBool::new(false),
            cut_cancelled: AtomicBool::new(false),
            gates: (0..databases).map(|_| Mutex::new(())).collect(),
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

    /// Says whether requests that wait for a lock wait for ever (`true`) or give up soon: a lock may be held for long.
    pub fn set_patience(&self, patient: bool) {
        self.impatient.store(!patient, Relaxed);
    }

    /// Whether locks may be held for long: by a script of this very worker perhaps, which goes on only when whoever waits has given up.
    #[inline]
    pub fn is_impatient(&self) -> bool {
        self.impatient.load(Relaxed)
    }

    /// Locks a shard, unless somebody holds it for long.
    fn lock_unless_long<'a>(&self, cell: &'a Cell) -> Option<MutexGuard<'a, Shard>> {
        let mut locked = cell.shard.try_lock();
        while locked.is_none() && !self.is_impatient() {
            locked = cell.shard.try_lock_for(SHORT_WAIT);
        }
        locked
    }

    /// Does what could not be done while locks were held for long. To be called now and then, without any lock.
    pub fn catch_up(&self) {
        if self.is_impatient() || self.late.lock().is_empty() {
            return;
        }
        let late = std::mem::take(&mut *self.late.lock());
        late.into_iter().for_each(|late| self.settle(late));
    }

    fn settle(&self, late: Late) {
        let (Late::Leave { db, key, .. } | Late::Unwatch { db, key, .. }) = &late;
        let cell = &self.cells(*db)[self.shard_of(self.hasher.hash(key))];
        match (self.lock_unless_long(cell), late) {
            (None, late) => self.late.lock().push(late),
            (Some(mut shard), Late::Leave { key, ticket, .. }) => shard.journal.waiters.leave(&key, &ticket),
            (Some(mut shard), Late::Unwatch { key, mark, .. }) => shard.journal.unwatch(&key, &mark),
        }
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

    #[inline]
    fn cells(&self, db: usize) -> &[Cell] {
        self.databases[db].get_or_init(|| {
            let _gate = self.gates[db].lock();
            (0..1_u64 << self.shard_bits)
                .map(|index| {
                    let shard = Shard::new(
                        index,
                        self.shard_bits,
                        self.hasher.clone(),
                        self.reclaimer.clone(),
                        Arc::clone(&self.attention),
                        Arc::clone(&self.pressure),
                        db,
                    );
                    Cell { peek: shard.table().peek(), shard: Mutex::new(shard) }
                })
                .collect()
        })
    }

    fn is_allocated(&self, db: usize) -> bool {
        self.databases[db].get().is_some()
    }

    /// Starts loading the home bucket of a key of which only the mark is known. Takes no lock.
    fn prefetch_marked_bucket(&self, db: usize, mark: u32, guard: &Guard) {
        if let Some(cells) = self.databases[db].get() {
            cells[self.shard_of(u64::from(mark) << 32)].peek.marked_bucket(mark, guard, &mut prefetch);
        }
    }

    /// As [`Keyspace::prefetch_marked_bucket`], for its entry: the bucket is looked at.
    fn prefetch_marked_entry(&self, db: usize, mark: u32, guard: &Guard) {
        if let Some(cells) = self.databases[db].get() {
            cells[self.shard_of(u64::from(mark) << 32)].peek.marked_entries(mark, guard, &mut |entry| {
                prefetch(entry);
                prefetch(entry.wrapping_add(VICTIM_BYTES));
            });
        }
    }

    /// What shards know of eviction.
    pub fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    /// As [`Keyspace::pressure`], to keep.
    pub fn shared_pressure(&self) -> Arc<Pressure> {
        Arc::clone(&self.pressure)
    }

    /// Eviction.
    #[inline]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The databases that have ever had a key, or been looked at.
    fn allocated(&self) -> impl Iterator<Item = usize> {
        self.databases.iter().enumerate().filter(|(_, cells)| cells.get().is_some()).map(|(db, _)| db)
    }

    /// The databases that have keys, with their numbers of them, but for shards that somebody holds for long. A lock for each shard.
    fn sizes(&self) -> Vec<(usize, usize)> {
        let allocated = self.databases.iter().enumerate().filter_map(|(db, cells)| Some((db, cells.get()?)));
        let counted = allocated.map(|(db, cells)| {
            (db, cells.iter().map(|cell| self.lock_unless_long(cell).map_or(0, |shard| shard.table().len())).sum())
        });
        counted.filter(|(_, keys)| *keys > 0).collect()
    }

    /// Lets `work` look at the shard in which a key with this mark is, unless somebody holds that for long.
    fn with_mark<R>(&self, db: usize, mark: u32, work: impl FnOnce(&mut Shard, u32) -> R) -> Option<R> {
        let shard = self.shard_of(u64::from(mark) << 32);
        Some(work(&mut *self.lock_unless_long(&self.cells(db)[shard])?, mark))
    }

    /// Calls `visit` for the keys that `policy` may evict at position `at` of a database. Returns the next position, `None` at the end;
    /// the same one where somebody holds the shard for long.
    fn candidates(
        &self,
        db: usize,
        at: u64,
        policy: EvictionPolicy,
        now: UnixMs,
        visit: &mut dyn FnMut(u32, Resident),
    ) -> Option<u64> {
        let cells = self.databases[db].get()?;
        let index = self.shard_of(at);
        let Some(shard) = self.lock_unless_long(&cells[index]) else { return Some(at) };
        let next = shard.candidates(at, policy, now, visit);
        next.or_else(|| {
            let behind = (index as u64 + 1).checked_mul(1 << (64 - self.shard_bits));
            behind.filter(|_| index + 1 < cells.len())
        })
    }

    /// Notes that a shard that is not held any more may have news.
    fn note_news(&self) {
        if self.attention.to_removals() {
            self.unheard.store(true, Relaxed);
        }
    }

    /// Tells `heard` the news of every shard, under its lock: those of removals that no command has made. One load when there
    /// are none.
    pub fn drain_news(&self, heard: &mut dyn FnMut(usize, Vec<News>)) {
        if !self.unheard.load(Relaxed) || !self.unheard.swap(false, Relaxed) {
            return;
        }
        for (db, cells) in self.databases.iter().enumerate() {
            for cell in cells.get().into_iter().flatten() {
                let Some(mut shard) = self.lock_unless_long(cell) else {
                    self.unheard.store(true, Relaxed);
                    continue;
                };
                if !shard.journal.is_empty() {
                    heard(db, shard.journal.take());
                }
            }
        }
    }

    /// Takes the keys out that went without a command while somebody waited for them as streams, with their databases. A lock for each
    /// shard, but for those that somebody holds for long: only while somebody waits.
    pub fn take_lost(&self) -> Vec<(usize, Box<[u8]>)> {
        let mut lost = Vec::new();
        if !self.attention.has(Listener::Waiting) {
            return lost;
        }
        for (db, cells) in self.databases.iter().enumerate() {
            for cell in cells.get().into_iter().flatten() {
                if let Some(mut shard) = self.lock_unless_long(cell) {
                    lost.extend(shard.journal.waiters.take_lost().into_iter().map(|key| (db, key)));
                }
            }
        }
        lost
    }

    /// Takes a ticket whose wait is over out of the queue of a key of database `db`, later if somebody holds that for long.
    pub fn leave_queue(&self, db: usize, key: &[u8], ticket: &Arc<Ticket>) {
        self.settle(Late::Leave { db, key: key.into(), ticket: Arc::clone(ticket) });
    }

    /// Moves what lies in sparse slabs in one segment of shard `shard` of database `db`, at position `at` (0 at first): some
    /// 100 us under the lock. Returns how many blocks were moved and where to go on, `None` at the end.
    pub fn compact_turn(&self, db: usize, shard: usize, at: u64, scratch: &mut Scratch) -> (usize, Option<u64>) {
        match self.databases[db].get() {
            Some(cells) => cells[shard].shard.lock().compact(at, scratch),
            None => (0, None),
        }
    }

    /// Ends a watch of a key of database `db` that is not held by the caller, later if somebody holds it for long.
    pub fn unwatch(&self, db: usize, key: &[u8], mark: &WatchMark) {
        self.settle(Late::Unwatch { db, key: key.into(), mark: Arc::clone(mark) });
    }

    /// One turn of active expiry over shard number `shard` of every database: under 100 us a lock. `heard` is told the news of
    /// each database under the lock. `true` while there is more to do.
    pub fn expire_turn(&self, shard: usize, now: UnixMs, heard: &mut dyn FnMut(usize, Vec<News>)) -> bool {
        let mut more = false;
        for (db, cells) in self.databases.iter().enumerate() {
            let Some(cells) = cells.get() else { continue };
            // Whoever holds it may do so for long; there is another turn soon.
            let wait = if self.is_impatient() { Duration::ZERO } else { SHORT_WAIT };
            let Some(mut shard) = cells[shard].shard.try_lock_for(wait) else { continue };
            more |= shard.expire_turn(now);
            if !shard.journal.is_empty() {
                heard(db, shard.journal.take());
            }
        }
        more
    }
}
