//! A snapshot of one moment, the *cut*, taken while writes go on and without a second process.
//!
//! At the cut every shard that has keys gets a [`Walk`]. A walk goes through its table in the order of the hash and records
//! each entry once. A write that is about to change an entry which the walk has not yet reached records it first, as it was at the
//! cut; a key that comes into being is only noted, for the walk to pass over. The walk belongs to the table, not to the shard:
//! it goes where SWAPDB puts the table, and a flush hands the table over to the walker.
//!
//! Invariant: for a hash below the position, or among those touched, nothing is left to record: every key of that hash that
//! was there at the cut has been recorded. So two keys of one hash need no special care, as long as they are dealt with at once
//! (`Table::keep`). Must not know: what is recorded and where it goes. Source: the snapshots without fork of Dragonfly.

use super::entry::EntryRef;
use super::reclaim::{Garbage, Why};
use super::shard::Shard;
use super::table::Table;
use super::{Key, Keyspace, SHORT_WAIT};
use crate::util::clock::{Ticks, UnixMs};
use crate::util::pieces::Pieces;
use crate::util::sync::{Mutex, MutexGuard, PlainMutex};
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Records an entry, key and value, as of the cut.
pub type Record = dyn Fn(EntryRef<'_>, UnixMs, &mut Pieces) + Send + Sync;

/// Where the recording of a long collection goes on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Place {
    /// What stands before the elements is written.
    pub begun: bool,
    /// A cursor or a number of elements, as the type has it.
    pub at: u64,
}

/// Records some more of a long collection, as of the cut, for about so many nanoseconds; `true` at its end. Nothing changes between two
/// calls.
pub type RecordPart = dyn Fn(EntryRef<'_>, UnixMs, &mut Place, u64, &mut Pieces) -> bool + Send;

/// Collections of so many elements, or nodes of some kilobytes, are recorded in parts: the others take less than a turn.
const LONG: usize = 256;

/// Whether recording this entry takes long.
fn is_long(entry: EntryRef<'_>) -> bool {
    entry.object().is_some_and(|object| object.len() >= LONG)
}

/// What writers record is handed over in batches of so many bytes: larger ones would have to be moved as they grow.
const BATCH_BYTES: usize = 64 * 1024;

/// Parts of the set of touched hashes, so that none takes long to grow.
const PARTS: usize = 64;

/// What stands for a hash in a set: itself.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only whole words come, see `write_u64`; others are folded in.
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, word: u64) {
        // The topmost bits are alike in a part.
        self.0 = word.rotate_left(32);
    }
}

type Hashes = HashSet<u64, BuildHasherDefault<Same>>;

/// What all walks of one cut share.
struct State {
    record: Box<Record>,
    /// The moment of the cut.
    now: UnixMs,
    /// What writers have recorded, with the database that it belongs to.
    batches: PlainMutex<VecDeque<(usize, Pieces)>>,
    /// Tables that were flushed while they were walked, with their database and shard at the cut.
    orphans: PlainMutex<Vec<(Home, Box<Table>)>>,
    recorded: AtomicU64,
    saved_bytes: AtomicU64,
}

impl State {
    fn record(&self, entry: EntryRef<'_>, out: &mut Pieces) {
        if entry.is_live(self.now) {
            (self.record)(entry, self.now, out);
        }
        self.recorded.fetch_add(1, Relaxed);
    }
}

/// Where a table was at the cut: database and number of the shard.
type Home = (usize, usize);

/// A long collection that the walk has come to, and records in parts; until then whoever changes it has to record it.
struct Long {
    hash: u64,
    key: Box<[u8]>,
}

/// The parts of a long collection so far.
#[derive(Default)]
struct Parts {
    hash: u64,
    key: Box<[u8]>,
    place: Place,
    pieces: Pieces,
}

/// What a turn has come to.
enum Turn {
    /// Entries are recorded; where the walk goes on, `None` at its end.
    Entries(Option<u64>),
    /// A part of a long collection.
    Part,
    /// The last part of it.
    LastPart,
}

/// What a table knows of the cut that it is part of.
pub struct Walk {
    state: Arc<State>,
    place: Home,
    /// Long collections below the position that are not recorded yet.
    longs: Vec<Long>,
    /// The hash from which on nothing has been recorded.
    position: u64,
    touched: Box<[Hashes; PARTS]>,
    /// What writers have recorded and not yet handed over.
    saved: Pieces,
}

impl Walk {
    fn part(hash: u64) -> usize {
        // Behind the bits that a shard's hashes share, however many shards there are.
        (hash >> 32) as usize % PARTS
    }

    /// Whether something is left to do for keys of this hash.
    pub fn is_open(&self, hash: u64) -> bool {
        let ahead = hash >= self.position && !self.touched[Walk::part(hash)].contains(&hash);
        ahead || self.longs.iter().any(|long| long.hash == hash)
    }

    /// Notes that nothing is left to do for keys of this hash.
    pub fn close(&mut self, hash: u64) {
        self.longs.retain(|long| long.hash != hash);
        if hash >= self.position {
            self.touched[Walk::part(hash)].insert(hash);
        }
    }

    /// Records an entry that is about to change.
    pub fn save(&mut self, entry: EntryRef<'_>, hash: u64) {
        if hash < self.position && !self.longs.iter().any(|long| *long.key == *entry.key()) {
            return; // it shares its hash with a long one, and is recorded
        }
        let before = self.saved.bytes.len();
        self.state.record(entry, &mut self.saved);
        let grown = self.saved.bytes.len() - before;
        self.state.saved_bytes.fetch_add(grown as u64, Relaxed);
        if self.saved.held_bytes() > BATCH_BYTES {
            let batch = std::mem::take(&mut self.saved);
            self.state.batches.lock().push_back((self.place.0, batch));
        }
    }
}

/// Why no cut was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoCut {
    /// One is in flight already.
    InFlight,
    /// Somebody holds locks for long: try again a little later.
    Locked,
}

/// Keys of a database at the cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// The database.
    pub db: usize,
    /// All keys.
    pub keys: usize,
    /// Of these, those that expire.
    pub timed: usize,
    /// Hashes of which fields expire.
    pub volatile: usize,
}

/// A cut in flight. It ends when it is dropped, wherever it has got to.
pub struct Cut<'k> {
    keyspace: &'k Keyspace,
    state: Arc<State>,
    homes: VecDeque<Home>,
    /// A flushed table that is being walked.
    orphan: Option<Box<Table>>,
    sizes: Vec<Size>,
    /// Where the walk through the first part goes on, if it has begun.
    next: Option<u64>,
    /// Nanoseconds of the longest turn.
    longest_nanos: u64,
    /// Nanoseconds for which the cut held locks.
    cut_nanos: u64,
    /// How long collections are recorded in parts; without it, at a stretch.
    record_part: Option<Box<RecordPart>>,
    parts: Parts,
}

impl Keyspace {
    /// Makes a cut through all databases: what [`Cut::turn`] gives out is what they held at this moment, recorded by `record`.
    /// `at_cut` is run at the moment itself, while every shard is locked. Holds all locks for some microseconds a database.
    ///
    /// # Errors
    /// See [`NoCut`].
    pub fn cut(&self, record: Box<Record>, at_cut: &mut dyn FnMut()) -> Result<Cut<'_>, NoCut> {
        if self.cutting.swap(true, Relaxed) {
            return Err(NoCut::InFlight);
        }
        self.cut_cancelled.store(false, Relaxed);
        let state = Arc::new(State {
            record,
            now: UnixMs::now(),
            batches: PlainMutex::default(),
            orphans: PlainMutex::default(),
            recorded: AtomicU64::new(0),
            saved_bytes: AtomicU64::new(0),
        });
        let mut cut = Cut {
            keyspace: self,
            state,
            homes: VecDeque::new(),
            orphan: None,
            sizes: Vec::new(),
            next: None,
            longest_nanos: 0,
            cut_nanos: 0,
            record_part: None,
            parts: Parts::default(),
        };
        // Allocated before anything is locked.
        let walks = self.allocated().count() * self.shards();
        let mut walks: Vec<_> = (0..walks).map(|_| cut.new_walk()).collect();
        match cut.begin(&mut walks, at_cut) {
            true => Ok(cut),
            false => Err(NoCut::Locked), // the drop of `cut` lets others try
        }
    }

    /// Nobody wants the cut in flight any more, see [`Cut::is_cancelled`].
    pub fn cancel_cut(&self) {
        self.cut_cancelled.store(true, Relaxed);
    }

    /// Whether a cut is in flight.
    pub fn is_cutting(&self) -> bool {
        self.cutting.load(Relaxed)
    }
}

impl<'k> Cut<'k> {
    fn new_walk(&self) -> Box<Walk> {
        let touched = Box::new(std::array::from_fn(|_| Hashes::default()));
        let (state, saved) = (Arc::clone(&self.state), Pieces::default());
        Box::new(Walk { state, place: (0, 0), longs: Vec::new(), position: 0, touched, saved })
    }

    #[expect(clippy::vec_box, reason = "a table holds its walk in a box, and nothing is allocated under the locks")]
    fn begin(&mut self, walks: &mut Vec<Box<Walk>>, at_cut: &mut dyn FnMut()) -> bool {
        let keyspace = self.keyspace;
        let (mut held, mut gates) = (Vec::with_capacity(walks.len()), Vec::new());
        let started = Ticks::now();
        for (db, gate) in keyspace.gates.iter().enumerate() {
            let gate = gate.lock();
            match keyspace.databases[db].get() {
                // It cannot come into being before the cut is made.
                None => gates.push(gate),
                Some(cells) => {
                    drop(gate);
                    for (shard, cell) in cells.iter().enumerate() {
                        let Some(guard) = lock(keyspace, &cell.shard) else { return false };
                        held.push(((db, shard), guard));
                    }
                }
            }
        }
        for ((db, shard), guard) in &mut held {
            let first = guard.first();
            let table = guard.table_mut();
            if table.is_empty() {
                continue;
            }
            self.count(*db, table);
            let mut walk = walks.pop().unwrap_or_else(|| self.new_walk());
            (walk.place, walk.position) = ((*db, *shard), first);
            table.begin_walk(walk);
            self.homes.push_back((*db, *shard));
        }
        at_cut();
        self.cut_nanos = Ticks::now().nanos_since(started);
        true
    }

    fn count(&mut self, db: usize, table: &Table) {
        if self.sizes.last().is_none_or(|size| size.db != db) {
            self.sizes.push(Size { db, keys: 0, timed: 0, volatile: 0 });
        }
        if let Some(size) = self.sizes.last_mut() {
            size.keys += table.len();
            size.timed += table.timed();
            size.volatile += table.volatile();
        }
    }

    /// Whether it should end before it is through.
    pub fn is_cancelled(&self) -> bool {
        self.keyspace.cut_cancelled.load(Relaxed)
    }

    /// The databases that have keys, in order.
    pub fn sizes(&self) -> &[Size] {
        &self.sizes
    }

    /// Number of keys, those that had expired included.
    pub fn keys(&self) -> u64 {
        self.sizes.iter().map(|size| size.keys as u64).sum()
    }

    /// Number of keys that are recorded, or had expired.
    pub fn recorded(&self) -> u64 {
        self.state.recorded.load(Relaxed)
    }

    /// Bytes of what writers had to record because they came before the walk.
    pub fn saved_bytes(&self) -> u64 {
        self.state.saved_bytes.load(Relaxed)
    }

    /// Puts more of what is recorded into `out`, and tells the database that it belongs to; `None` when everything has been
    /// given out. Holds the lock of one shard for about `nanos`, longer only for a single large value.
    pub fn turn(&mut self, nanos: u64, out: &mut Pieces) -> Option<usize> {
        if let Some((db, mut batch)) = self.pop_batch() {
            out.append(&mut batch);
            return Some(db);
        }
        let Some(place) = self.homes.front().copied() else {
            // A writer may have handed its last batch over while this was on its way to the end.
            let (db, mut batch) = self.pop_batch()?;
            out.append(&mut batch);
            return Some(db);
        };
        self.prefetch(place);
        let (mut part, mut parts) = (Pieces::default(), std::mem::take(&mut self.parts));
        let record_part = self.record_part.take();
        let (turn, held_nanos) = self.with_table(place, &mut |table| match &record_part {
            Some(record_part) if table.has_long() => table.walk_long(&**record_part, nanos, &mut parts, &mut part),
            _ => table.walk_on(nanos, record_part.is_some(), out),
        });
        (self.parts, self.record_part) = (parts, record_part);
        self.longest_nanos = self.longest_nanos.max(held_nanos);
        match turn {
            Turn::Entries(next) => {
                self.next = next;
                self.parts = Parts::default(); // somebody else has recorded it
                if next.is_none() {
                    self.homes.pop_front();
                    self.free_orphan();
                }
            }
            // Copied without the lock; it is given out as a whole, because a change meanwhile makes it worthless.
            Turn::Part => self.parts.pieces.append(&mut part),
            Turn::LastPart => {
                out.append(&mut self.parts.pieces);
                out.append(&mut part);
                self.parts = Parts::default();
            }
        }
        Some(place.0)
    }

    /// Has long collections recorded in parts, by `record`, and not under the lock of one turn.
    pub fn in_parts(mut self, record: Box<RecordPart>) -> Cut<'k> {
        self.record_part = Some(record);
        self
    }

    /// The longest time, in nanoseconds, for which a turn has held a lock.
    pub fn longest_nanos(&self) -> u64 {
        self.longest_nanos
    }

    /// Loads what the next turn looks at, before it takes the lock.
    fn prefetch(&self, (db, shard): Home) {
        let first = (shard as u64).checked_shl(64 - self.keyspace.shard_bits).unwrap_or(0);
        if let Some(cells) = self.keyspace.databases[db].get() {
            cells[shard].peek.prefetch_segment(self.next.unwrap_or(first), &crossbeam_epoch::pin());
        }
    }

    /// The keyspace that is cut.
    pub fn keyspace(&self) -> &'k Keyspace {
        self.keyspace
    }

    /// Nanoseconds from the first lock that the cut took to the last, and what it did then.
    pub fn cut_nanos(&self) -> u64 {
        self.cut_nanos
    }

    fn pop_batch(&self) -> Option<(usize, Pieces)> {
        self.state.batches.lock().pop_front()
    }

    /// Lets `work` at the table that was at `place`, wherever it is now.
    fn with_table<R>(&mut self, place: Home, work: &mut dyn FnMut(&mut Table) -> R) -> R {
        loop {
            if let Some(table) = &mut self.orphan {
                return work(table);
            }
            for db in std::iter::once(place.0).chain(0..self.keyspace.databases()) {
                let Some(cells) = self.keyspace.databases[db].get() else { continue };
                let mut shard = cells[place.1].shard.lock();
                if shard.table().walk().is_some_and(|walk| walk.place == place) {
                    return work(shard.table_mut());
                }
            }
            let mut orphans = self.state.orphans.lock();
            let found = orphans.iter().position(|(was, _)| *was == place);
            self.orphan = found.map(|index| orphans.swap_remove(index).1);
        }
    }

    /// A flushed table that has been walked goes where it would have gone.
    fn free_orphan(&mut self) {
        if let Some(table) = self.orphan.take() {
            self.keyspace.reclaimer().take(Garbage::Table(table), Why::Unlinked);
        }
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        while let Some(place) = self.homes.pop_front() {
            self.with_table(place, &mut Table::end_walk);
            self.free_orphan();
        }
        self.keyspace.cutting.store(false, Relaxed);
    }
}

/// Takes a lock of the cut; `None` when its holder holds it for long.
fn lock<'k>(keyspace: &Keyspace, shard: &'k Mutex<Shard>) -> Option<MutexGuard<'k, Shard>> {
    loop {
        match shard.try_lock_for(SHORT_WAIT) {
            None if keyspace.impatient.load(Relaxed) => return None,
            None => {}
            guard => return guard,
        }
    }
}

/// Hands a flushed table that is being walked to the walker, who frees it when it is done. Gives back any other.
pub fn orphan(table: Table) -> Result<Table, usize> {
    let Some(walk) = table.walk() else { return Ok(table) };
    let (state, place, keys) = (Arc::clone(&walk.state), walk.place, table.len());
    state.orphans.lock().push((place, Box::new(table)));
    Err(keys)
}

impl Table {
    /// Does some more of the walk, up to the end of a segment or a long collection, for about `nanos` at most; and tells the nanoseconds that
    /// it took. At its end the table is no longer part of the cut. With `in_parts`, long collections are only noted.
    fn walk_on(&mut self, nanos: u64, in_parts: bool, out: &mut Pieces) -> (Turn, u64) {
        let Some(mut walk) = self.take_walk() else { return (Turn::Entries(None), 0) };
        let (started, mut next, mut took) = (Ticks::now(), Some(walk.position), 0);
        while let Some(at) = next {
            let mut longs = Vec::new();
            next = self.visit(at, &mut |entry| {
                // A home may begin before the position when the segment was rebuilt since.
                let hash = self.hash(entry.key());
                if hash >= at && walk.is_open(hash) {
                    if in_parts && is_long(entry) && entry.is_live(walk.state.now) {
                        longs.push(Long { hash, key: entry.key().into() });
                    } else {
                        walk.state.record(entry, out);
                    }
                }
            });
            walk.longs.append(&mut longs);
            // Behind the last hash there is none that could be open still.
            let Some(position) = next else {
                walk.position = u64::MAX;
                break;
            };
            walk.position = position;
            took = Ticks::now().nanos_since(started);
            if took > nanos || !walk.longs.is_empty() || !self.is_one_segment(at, position) {
                break;
            }
        }
        if next.is_none() && walk.longs.is_empty() {
            out.append(&mut walk.saved);
            return (Turn::Entries(None), took);
        }
        let position = walk.position;
        self.begin_walk(walk);
        (Turn::Entries(Some(position)), took)
    }

    fn has_long(&self) -> bool {
        self.walk().is_some_and(|walk| !walk.longs.is_empty())
    }

    /// Records a part of the long collection that was noted last. `parts` is what there is of it, and empty, or of another one, before.
    fn walk_long(&mut self, record: &RecordPart, nanos: u64, parts: &mut Parts, part: &mut Pieces) -> (Turn, u64) {
        let started = Ticks::now();
        let Some(mut walk) = self.take_walk() else { return (Turn::Entries(None), 0) };
        let mut turn = Turn::Part;
        if let Some(long) = walk.longs.last() {
            if (parts.hash, &parts.key) != (long.hash, &long.key) {
                *parts = Parts { hash: long.hash, key: long.key.clone(), ..Parts::default() };
            }
            let done = match self.get(Key { bytes: &long.key, hash: long.hash }) {
                Some(entry) => record(entry, walk.state.now, &mut parts.place, nanos, part),
                None => {
                    // It has expired since the cut: then it would not be loaded either.
                    *parts = Parts::default();
                    true
                }
            };
            if done {
                walk.longs.pop();
                walk.state.recorded.fetch_add(1, Relaxed);
                turn = Turn::LastPart;
            }
        }
        self.begin_walk(walk);
        (turn, Ticks::now().nanos_since(started))
    }

    /// Is no longer part of a cut.
    fn end_walk(&mut self) {
        self.take_walk();
    }
}
