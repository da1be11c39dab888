//! A snapshot of one moment, the *cut*, taken while writes go on and without a second process.
//!
//! At the cut every shard that has keys gets a [`Walk`]. A walk goes through its table in the order of the hash and records
//! each entry once. A write that is about to change an entry which the walk has not yet reached records it first, as it was at the
//! cut; a key that comes into being is only noted, for the walk to pass over. The walk belongs to the table, not to the shard:
//! it goes where SWAPDB puts the table, and a flush hands the table over to the walker.
//!
//! A long collection takes too long to be recorded under a lock at once: whoever comes to it first, walk or writer, begins a walk *through
//! it* (`long`), and from then on it keeps by itself what it was.
//!
//! Invariant: for a hash below the position, or among those touched, nothing is left to record: every key of that hash that
//! was there at the cut has been recorded, or is a long collection that has begun to be. So two keys of one hash need no special care, as long as they are dealt with at once
//! (`Table::keep`). Must not know: what is recorded and where it goes. Source: the snapshots without fork of Dragonfly.

mod long;

use super::entry::EntryRef;
use super::reclaim::{Expected, Garbage, Reclaimer, Why};
use super::shard::Shard;
use super::table::Table;
use super::{Key, Keyspace, SHORT_WAIT};
use crate::util::clock::{Ticks, UnixMs};
use crate::util::hashes::Hashes;
use crate::util::pieces::Pieces;
use crate::util::sync::{Mutex, MutexGuard, PlainMutex};
use crate::value::walk::Part;
use long::Long;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Records entries as of the cut.
pub trait Recorder: Send + Sync {
    /// Records an entry, key and value.
    fn entry(&self, entry: EntryRef<'_>, now: UnixMs, out: &mut Pieces);

    /// How long collections are recorded in parts; `None`: at a stretch, like everything else.
    fn parts(&self) -> Option<&dyn PartRecorder> {
        None
    }
}

impl<F: Fn(EntryRef<'_>, UnixMs, &mut Pieces) + Send + Sync> Recorder for F {
    fn entry(&self, entry: EntryRef<'_>, now: UnixMs, out: &mut Pieces) {
        self(entry, now, out);
    }
}

/// Records long collections in parts, as of the cut.
pub trait PartRecorder {
    /// Records what stands before the parts; returns what they are parts of, in a code of its own.
    fn head(&self, entry: EntryRef<'_>, now: UnixMs, out: &mut Pieces) -> u8;

    /// Records a part of what `head` called `kind`.
    fn part(&self, kind: u8, part: Part<'_>, now: UnixMs, out: &mut Pieces);
}

/// What writers record is handed over in batches of so many bytes: larger ones would have to be moved as they grow.
const BATCH_BYTES: usize = 64 * 1024;

/// Hashes that writers touch in a shard while it is walked: from so many on the sets of them have parts that grow apart.
const TOUCHED: usize = 256 * 1024;

/// What all walks of one cut share.
struct State {
    record: Box<dyn Recorder>,
    /// The moment of the cut.
    now: UnixMs,
    /// What writers have recorded.
    batches: PlainMutex<VecDeque<Batch>>,
    /// Tables that were flushed while they were walked.
    orphans: PlainMutex<Vec<Orphan>>,
    /// Long collections that are to be recorded in parts.
    longs: PlainMutex<VecDeque<Long>>,
    recorded: AtomicU64,
    saved_bytes: AtomicU64,
}

impl State {
    /// Whether nothing waits to be given out.
    fn is_drained(&self) -> bool {
        self.batches.lock().is_empty() && self.longs.lock().is_empty()
    }

    fn record(&self, entry: EntryRef<'_>, out: &mut Pieces) {
        if entry.is_live(self.now) {
            self.record.entry(entry, self.now, out);
        }
    }
}

/// Where a table was at the cut: database and number of the shard.
type Home = (usize, usize);

/// Something that writers have recorded.
struct Batch {
    /// The database that it belongs to.
    db: usize,
    pieces: Pieces,
    _expected: Expected,
}

/// A table that was flushed while it was walked.
struct Orphan {
    /// Where it was at the cut.
    place: Home,
    table: Box<Table>,
    /// What is freed with it.
    _expected: Expected,
}

/// What a turn has given out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Given {
    /// Any number of entries.
    Entries,
    /// A part of a long collection, which goes on in the next turn.
    Part,
    /// The last part of it.
    LastPart,
}

/// What a table knows of the cut that it is part of.
pub struct Walk {
    state: Arc<State>,
    place: Home,
    /// The hash from which on nothing has been recorded.
    position: u64,
    touched: Hashes,
    /// What writers have recorded and not yet handed over.
    saved: Pieces,
    /// Entries, and bytes of those that writers recorded, which the state has not been told of: each time would be dear.
    untold: (u64, u64),
    /// The memory of it: an eviction that records what it removes gives none back before that is written.
    expected: Expected,
}

impl Walk {
    /// Whether something is left to do for keys of this hash.
    pub fn is_open(&self, hash: u64) -> bool {
        hash >= self.position && !self.touched.contains(hash)
    }

    /// Notes that nothing is left to do for keys of this hash.
    pub fn close(&mut self, hash: u64) {
        if hash >= self.position {
            self.touched.insert(hash);
        }
    }

    /// Records an entry that is about to change.
    pub fn save(&mut self, entry: EntryRef<'_>) {
        let before = self.saved.bytes.len();
        self.state.record(entry, &mut self.saved);
        self.untold.0 += 1;
        self.untold.1 += (self.saved.bytes.len() - before) as u64;
        let held = self.saved.held_bytes();
        self.expected.set(held);
        if held > BATCH_BYTES {
            let (pieces, expected) = (std::mem::take(&mut self.saved), self.expected.take());
            self.state.batches.lock().push_back(Batch { db: self.place.0, pieces, _expected: expected });
            self.tell();
        }
    }

    /// Lets the state know what has been recorded.
    fn tell(&mut self) {
        let (entries, bytes) = std::mem::take(&mut self.untold);
        self.state.recorded.fetch_add(entries, Relaxed);
        self.state.saved_bytes.fetch_add(bytes, Relaxed);
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
    orphan: Option<Orphan>,
    sizes: Vec<Size>,
    /// Where the walk through the first part goes on, if it has begun.
    next: Option<u64>,
    /// A long collection that is being given out.
    long: Option<Long>,
    /// Nanoseconds of the longest turn.
    longest_nanos: u64,
    /// Nanoseconds for which the cut held locks.
    cut_nanos: u64,
}

impl Keyspace {
    /// Makes a cut through all databases: what [`Cut::turn`] gives out is what they held at this moment, recorded by `record`.
    /// `at_cut` is run at the moment itself, while every shard is locked. Holds all locks for some microseconds a database.
    ///
    /// # Errors
    /// See [`NoCut`].
    pub fn cut(&self, record: Box<dyn Recorder>, at_cut: &mut dyn FnMut()) -> Result<Cut<'_>, NoCut> {
        if self.cutting.swap(true, Relaxed) {
            return Err(NoCut::InFlight);
        }
        self.cut_cancelled.store(false, Relaxed);
        let state = Arc::new(State {
            record,
            now: UnixMs::now(),
            batches: PlainMutex::default(),
            orphans: PlainMutex::default(),
            longs: PlainMutex::default(),
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
            long: None,
            longest_nanos: 0,
            cut_nanos: 0,
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
        let touched = Hashes::new(TOUCHED, self.keyspace.shard_bits);
        let (state, saved) = (Arc::clone(&self.state), Pieces::default());
        let expected = self.keyspace.reclaimer().expect();
        Box::new(Walk { state, place: (0, 0), position: 0, touched, saved, untold: (0, 0), expected })
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

    /// Puts more of what is recorded into `out`, and tells what that is and the database that it belongs to; `None` when everything has
    /// been given out. Holds the lock of one shard for about `nanos`, longer only for a single large value.
    pub fn turn(&mut self, nanos: u64, out: &mut Pieces) -> Option<(usize, Given)> {
        if self.long.is_some() {
            return self.turn_long(nanos, out);
        }
        if let Some(mut batch) = self.state.batches.lock().pop_front() {
            out.append(&mut batch.pieces);
            return Some((batch.db, Given::Entries));
        }
        let long = self.state.longs.lock().pop_front();
        if let Some(long) = long {
            return Some(self.begin_long(long, out));
        }
        let Some(place) = self.homes.front().copied() else {
            // A writer may have handed something over while this was on its way to the end.
            return if self.state.is_drained() { None } else { self.turn(nanos, out) };
        };
        self.prefetch(place);
        let (next, held_nanos) = self.with_table(place, &mut |table| table.walk_on(nanos, out));
        self.longest_nanos = self.longest_nanos.max(held_nanos);
        self.next = next;
        if next.is_none() {
            self.homes.pop_front();
            self.free_orphan();
        }
        Some((place.0, Given::Entries))
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

    /// Lets `work` at the table that was at `place`, wherever it is now.
    fn with_table<R>(&mut self, place: Home, work: &mut dyn FnMut(&mut Table) -> R) -> R {
        loop {
            if let Some(orphan) = &mut self.orphan {
                return work(&mut orphan.table);
            }
            for db in std::iter::once(place.0).chain(0..self.keyspace.databases()) {
                let Some(cells) = self.keyspace.databases[db].get() else { continue };
                let mut shard = cells[place.1].shard.lock();
                if shard.table().walk().is_some_and(|walk| walk.place == place) {
                    return work(shard.table_mut());
                }
            }
            let mut orphans = self.state.orphans.lock();
            let found = orphans.iter().position(|orphan| orphan.place == place);
            self.orphan = found.map(|index| orphans.swap_remove(index));
        }
    }

    /// A flushed table that has been walked goes where it would have gone.
    fn free_orphan(&mut self) {
        if let Some(orphan) = self.orphan.take() {
            self.keyspace.reclaimer().take(Garbage::Table(orphan.table), Why::Unlinked);
        }
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        while let Some(place) = self.homes.pop_front() {
            self.with_table(place, &mut Table::end_walk);
            self.free_orphan();
        }
        self.give_up_longs(); // no more can come now
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
pub fn orphan(table: Table, reclaimer: &Reclaimer) -> Result<Table, usize> {
    let Some(walk) = table.walk() else { return Ok(table) };
    let (state, place, keys) = (Arc::clone(&walk.state), walk.place, table.len());
    let expected = reclaimer.expect_table(&table);
    state.orphans.lock().push(Orphan { place, table: Box::new(table), _expected: expected });
    Err(keys)
}

impl Table {
    /// Does some more of the walk, up to the end of a segment, or to a long collection, for about `nanos` at most; tells where it goes on
    /// and the nanoseconds that it took. At its end the table is no longer part of the cut.
    fn walk_on(&mut self, nanos: u64, out: &mut Pieces) -> (Option<u64>, u64) {
        let Some(mut walk) = self.take_walk() else { return (None, 0) };
        let (started, mut next, mut took, mut recorded) = (Ticks::now(), Some(walk.position), 0, 0);
        while let Some(at) = next {
            let mut longs: Vec<(u64, Box<[u8]>)> = Vec::new();
            next = self.visit(at, &mut |entry| {
                // A home may begin before the position when the segment was rebuilt since.
                let hash = self.hash(entry.key());
                if hash >= at && walk.is_open(hash) {
                    match walk.is_long(entry) {
                        true => longs.push((hash, entry.key().into())),
                        false => {
                            walk.state.record(entry, out);
                            recorded += 1;
                        }
                    }
                }
            });
            let to_longs = !longs.is_empty();
            longs.into_iter().for_each(|(hash, key)| self.begin_long(&mut walk, Key { bytes: &key, hash }));
            // Behind the last hash there is none that could be open still.
            let Some(position) = next else { break };
            walk.position = position;
            took = Ticks::now().nanos_since(started);
            if took > nanos || to_longs || !self.is_one_segment(at, position) {
                break;
            }
        }
        walk.untold.0 += recorded;
        walk.tell();
        match next {
            None => out.append(&mut walk.saved),
            Some(_) => self.begin_walk(walk),
        }
        (next, took)
    }

    /// Is no longer part of a cut.
    fn end_walk(&mut self) {
        self.take_walk();
    }
}
