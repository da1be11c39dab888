//! What one request sees of the keyspace: the shards of its keys, locked.

use super::entry::{Entry, EntryRef};
use super::evict::pressure::{FREQUENCY, Pressure};
use super::reclaim::{Flushed, Garbage, Why};
use super::shard::{Shard, ShardStats, Stale, access_seconds};
use super::table::Occupied;
use super::{Cell, Key, Keyspace, LockSet, News, SHORT_WAIT, Ticket, WatchMark};
use crate::util::clock::UnixMs;
use crate::util::sync::MutexGuard;
use crate::value::object::{Collection, Object, ObjectRef, Source};
use crate::value::string::{INLINE_MAX, StringRef, StringSource, edit_large};
use bytes::BytesMut;
use smallvec::SmallVec;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A key holds a value of another type than the operation works on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrongType;

/// Why [`View::add_integer`] changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddError {
    /// The key holds no string.
    WrongType,
    /// The string spells no integer.
    NotInteger,
    /// The sum does not fit 64 bits.
    Overflow,
}

/// What [`View::edit`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edited<R> {
    /// What the change returned.
    pub result: R,
    /// The collection was left empty, and its key removed.
    pub removed: bool,
}

/// What a write does to the deadline of its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ttl {
    /// The key no longer expires.
    Clear,
    /// The deadline, if there is one, stays.
    Keep,
    /// The key expires then.
    At(UnixMs),
}

/// Which shards a request locks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockPlan {
    /// Those of its keys in its database.
    Keys,
    /// Those of its keys in every database.
    KeysEverywhere,
    /// All of its database.
    Database,
    /// All of them.
    All,
    /// Those of a [`LockSet`], see [`View::take_set`].
    Set,
}

/// With up to so many shards, those of a request are gathered as bits of one word, which are in order and come once.
const FEW_SHARDS: usize = 64;

struct Held<'a> {
    db: usize,
    shard: usize,
    guard: MutexGuard<'a, Shard>,
}

/// The shard among these that a key which was declared lies in.
#[inline]
fn one_of<'h>(held: &'h mut [Held<'_>], db: usize, shard: usize) -> &'h mut Shard {
    let position = held.binary_search_by_key(&(db, shard), |held| (held.db, held.shard));
    assert!(position.is_ok(), "a command looks up only keys that its row declares");
    &mut held[position.unwrap_or(0)].guard
}

/// The locks of a view, in ascending order: nearly always one, which takes no list.
#[derive(Default)]
struct Holding<'a> {
    /// With it there are no others.
    lone: Option<Held<'a>>,
    several: Vec<Held<'a>>,
}

impl Holding<'_> {
    #[inline]
    fn clear(&mut self) {
        self.lone = None;
        if !self.several.is_empty() {
            self.several.clear();
        }
    }
}

impl<'a> Deref for Holding<'a> {
    type Target = [Held<'a>];

    #[inline]
    fn deref(&self) -> &[Held<'a>] {
        self.lone.as_ref().map_or(&self.several, std::slice::from_ref)
    }
}

impl<'a> DerefMut for Holding<'a> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Held<'a>] {
        self.lone.as_mut().map_or(&mut self.several, std::slice::from_mut)
    }
}

/// The locked shards of a request's keys. Every lookup of a key that was not declared is a bug and asserts.
pub struct View<'a> {
    keyspace: &'a Keyspace,
    db: usize,
    now: UnixMs,
    touch: bool,
    held: Holding<'a>,
    /// It did not get a lock in time and holds none, see [`View::gave_up`].
    gave_up: bool,
}

impl<'a> View<'a> {
    /// Locks what `plan` says for keys with these hashes, in ascending order. `touch`: reads count as uses.
    #[inline]
    pub fn lock(
        keyspace: &'a Keyspace,
        db: usize,
        now: UnixMs,
        touch: bool,
        plan: LockPlan,
        hashes: impl Iterator<Item = u64>,
    ) -> View<'a> {
        let mut view = View { touch, ..View::empty(keyspace, db, now) };
        view.take_locks(plan, hashes);
        view
    }

    /// Locks what `plan` says for keys with these hashes, in ascending order. The view holds nothing yet.
    #[inline(always)]
    pub fn take_locks(&mut self, plan: LockPlan, hashes: impl Iterator<Item = u64>) {
        debug_assert!(self.held.is_empty());
        self.gave_up = false;
        if plan == LockPlan::Keys { self.lock_keys(hashes) } else { self.lock_others(plan, hashes) }
    }

    #[inline(never)]
    fn lock_others(&mut self, plan: LockPlan, hashes: impl Iterator<Item = u64>) {
        match plan {
            LockPlan::Keys => self.lock_keys(hashes),
            LockPlan::Database => self.hold_all((0..self.keyspace.shards()).collect()),
            LockPlan::KeysEverywhere | LockPlan::All => self.lock_many(plan, hashes),
            LockPlan::Set => {}
        }
    }

    /// Gives up the locks: the view is good for nothing afterwards.
    #[inline]
    pub fn release(&mut self) {
        self.held.clear();
    }

    /// Locks the shards of `set`, in ascending order. The view holds nothing yet.
    pub fn take_set(&mut self, set: &LockSet) {
        self.gave_up = false;
        let keyspace = self.keyspace;
        for (db, shard) in set.shards(keyspace.databases(), keyspace.shards(), |hash| keyspace.shard_of(hash)) {
            self.hold(db, shard);
        }
    }

    /// A view that holds no lock.
    #[inline]
    pub fn empty(keyspace: &'a Keyspace, db: usize, now: UnixMs) -> View<'a> {
        View { keyspace, db, now, touch: false, held: Holding::default(), gave_up: false }
    }

    /// Looks at another database from now on, of which the shards needed are held; reads count as uses if `touch` says so.
    pub fn turn_to(&mut self, db: usize, touch: bool) {
        (self.db, self.touch) = (db, touch);
    }

    /// Looks at keys as of another time from now on.
    pub fn look_at(&mut self, now: UnixMs) {
        self.now = now;
    }

    #[inline(always)]
    fn lock_keys(&mut self, mut hashes: impl Iterator<Item = u64>) {
        let Some(first) = hashes.next() else { return };
        let first = self.keyspace.shard_of(first);
        match hashes.next() {
            Some(second) => self.lock_several(first, second, hashes),
            None => match self.cell(self.db, first).shard.try_lock() {
                Some(guard) => self.held.lone = Some(Held { db: self.db, shard: first, guard }),
                None => self.hold_slowly(self.db, first),
            },
        }
    }

    #[inline(never)]
    fn lock_several(&mut self, first: usize, second: u64, hashes: impl Iterator<Item = u64>) {
        let second = self.keyspace.shard_of(second);
        let shards = hashes.map(|hash| self.keyspace.shard_of(hash));
        if self.keyspace.shards() > FEW_SHARDS {
            return self.hold_all([first, second].into_iter().chain(shards).collect());
        }
        let mut few = shards.fold(1_u64 << first | 1 << second, |few, shard| few | 1 << shard);
        self.held.several.reserve_exact(few.count_ones() as usize);
        while few != 0 {
            self.hold(self.db, few.trailing_zeros() as usize);
            few &= few - 1;
        }
    }

    /// Locks these shards of the database, in order, each once.
    fn hold_all(&mut self, mut shards: SmallVec<[usize; 16]>) {
        shards.sort_unstable();
        shards.dedup();
        self.held.several.reserve_exact(shards.len());
        for shard in shards {
            self.hold(self.db, shard);
        }
    }

    #[cold]
    fn lock_many(&mut self, plan: LockPlan, hashes: impl Iterator<Item = u64>) {
        let mut shards: Vec<usize> = match plan {
            LockPlan::All => (0..self.keyspace.shards()).collect(),
            _ => hashes.map(|hash| self.keyspace.shard_of(hash)).collect(),
        };
        shards.sort_unstable();
        shards.dedup();
        for db in 0..self.keyspace.databases() {
            for shard in &shards {
                self.hold(db, *shard);
            }
        }
    }

    #[inline]
    fn hold(&mut self, db: usize, shard: usize) {
        match self.cell(db, shard).shard.try_lock() {
            Some(guard) => self.held.several.push(Held { db, shard, guard }),
            None => self.hold_slowly(db, shard),
        }
    }

    /// Waits for a lock, unless somebody holds locks for long: then gives up all of them.
    #[cold]
    fn hold_slowly(&mut self, db: usize, shard: usize) {
        while !self.gave_up {
            match self.cell(db, shard).shard.try_lock_for(SHORT_WAIT) {
                Some(guard) => return self.held.several.push(Held { db, shard, guard }),
                None => self.gave_up = self.keyspace.impatient.load(Relaxed),
            }
        }
        self.held.clear();
    }

    /// Whether a lock was held by somebody who holds it for long: then this view holds none, and is good for nothing.
    #[inline]
    pub fn gave_up(&self) -> bool {
        self.gave_up
    }

    fn cell(&self, db: usize, shard: usize) -> &'a Cell {
        &self.keyspace.cells(db)[shard]
    }

    /// Whether it holds every shard of every database.
    pub fn holds_everything(&self) -> bool {
        self.held.len() == self.keyspace.shards() * self.keyspace.databases()
    }

    /// Whether it holds every shard of database `db`.
    pub fn holds_database(&self, db: usize) -> bool {
        let shards = self.keyspace.shards();
        // In the order of databases and shards: all of one are behind each other.
        let first = self.held.partition_point(|held| held.db < db);
        self.held.get(first + shards - 1).is_some_and(|held| held.db == db)
    }

    /// Whether it holds the shard of a key of database `db`.
    pub fn holds(&self, db: usize, hash: u64) -> bool {
        let place = (db, self.keyspace.shard_of(hash));
        self.held.binary_search_by_key(&place, |held| (held.db, held.shard)).is_ok()
    }

    /// The keyspace it looks at.
    pub fn keyspace(&self) -> &'a Keyspace {
        self.keyspace
    }

    /// The database it looks at.
    pub fn db(&self) -> usize {
        self.db
    }

    /// The time of the request.
    pub fn now(&self) -> UnixMs {
        self.now
    }

    #[inline(always)]
    fn shard(&mut self, db: usize, hash: u64) -> &mut Shard {
        let shard = self.keyspace.shard_of(hash);
        match &mut self.held.lone {
            Some(lone) if lone.shard == shard && lone.db == db => &mut lone.guard,
            _ => one_of(&mut self.held.several, db, shard),
        }
    }

    /// A shard among those held.
    pub(super) fn shard_at(&mut self, db: usize, shard: usize) -> &mut Shard {
        let position = self.held.binary_search_by_key(&(db, shard), |held| (held.db, held.shard));
        assert!(position.is_ok(), "who looks at a shard by its number holds it");
        &mut self.held[position.unwrap_or(0)].guard
    }

    /// Runs `work` on a shard that may or may not be among those held.
    fn with_shard<R>(&mut self, db: usize, shard: usize, work: impl FnOnce(&mut Shard) -> R) -> R {
        match self.held.binary_search_by_key(&(db, shard), |held| (held.db, held.shard)) {
            Ok(position) => work(&mut self.held[position].guard),
            Err(_) => {
                assert!(self.held.is_empty(), "a lock taken beside others could deadlock");
                work(&mut self.cell(db, shard).shard.lock())
            }
        }
    }

    // One key

    /// Looks a key up for reading its value: a hit or a miss, and a use.
    #[inline(always)]
    pub fn read(&mut self, key: Key<'_>) -> Option<EntryRef<'_>> {
        let (now, touch) = (self.now, self.touch);
        self.shard(self.db, key.hash).read(key, now, touch)
    }

    /// Looks a key up for asking about it: a hit or a miss, but no use.
    #[inline]
    pub fn look(&mut self, key: Key<'_>) -> Option<EntryRef<'_>> {
        let now = self.now;
        self.shard(self.db, key.hash).read(key, now, false)
    }

    /// As [`View::look`], but nobody is told of a miss.
    pub fn inspect(&mut self, key: Key<'_>) -> Option<EntryRef<'_>> {
        let found = self.peek(key).is_some();
        let stats = &mut self.shard(self.db, key.hash).stats;
        (stats.hits, stats.misses) = (stats.hits + u64::from(found), stats.misses + u64::from(!found));
        self.peek(key)
    }

    /// Looks a key up without counting a hit, a miss or a use.
    #[inline]
    pub fn peek(&mut self, key: Key<'_>) -> Option<EntryRef<'_>> {
        self.peek_in(self.db, key)
    }

    /// As [`View::peek`], in another database.
    pub fn peek_in(&mut self, db: usize, key: Key<'_>) -> Option<EntryRef<'_>> {
        let now = self.now;
        self.shard(db, key.hash).live(key, now).map(Occupied::into_ref)
    }

    /// Looks a key up that a command may change: a use, even where it then changes nothing, but neither a hit nor a miss.
    #[inline]
    pub fn meet(&mut self, key: Key<'_>) -> Option<EntryRef<'_>> {
        self.meet_in(self.db, key)
    }

    /// As [`View::meet`], in another database.
    #[inline]
    pub fn meet_in(&mut self, db: usize, key: Key<'_>) -> Option<EntryRef<'_>> {
        let (now, touch) = (self.now, self.touch);
        self.shard(db, key.hash).meet(key, now, touch)
    }

    /// Notes a use of a key; `false` when there is none.
    pub fn touch(&mut self, key: Key<'_>) -> bool {
        let now = self.now;
        self.shard(self.db, key.hash).read(key, now, true).is_some()
    }

    /// The string at `key`, for reading it.
    #[inline(always)]
    pub fn string(&mut self, key: Key<'_>) -> Result<Option<StringRef<'_>>, WrongType> {
        let Some(entry) = self.read(key) else { return Ok(None) };
        entry.string().ok_or(WrongType).map(Some)
    }

    /// The string at `key`, for changing it: a use, but neither hit nor miss.
    #[inline]
    pub fn string_to_change(&mut self, key: Key<'_>) -> Result<Option<StringRef<'_>>, WrongType> {
        self.meet(key).map(|entry| entry.string().ok_or(WrongType)).transpose()
    }

    // Collections

    /// The collection at `key`, for reading it: a hit or a miss, and a use.
    #[inline]
    pub fn get<T: Collection>(&mut self, key: Key<'_>) -> Result<Option<&T>, WrongType> {
        let Some(entry) = self.read(key) else { return Ok(None) };
        entry.object().and_then(T::of).ok_or(WrongType).map(Some)
    }

    /// The collections at `keys`, to be looked at together: hits, misses and uses as for [`View::get`].
    pub fn get_all<T: Collection>(&mut self, keys: &[Key<'_>]) -> Result<Vec<Option<&T>>, WrongType> {
        for key in keys {
            self.get::<T>(*key)?;
        }
        Ok(keys.iter().map(|key| self.again(*key)).collect())
    }

    /// The collection at `key`, which this request has looked up before.
    fn again<T: Collection>(&self, key: Key<'_>) -> Option<&T> {
        let place = (self.db, self.keyspace.shard_of(key.hash));
        let held = self.held.binary_search_by_key(&place, |held| (held.db, held.shard));
        let entry = self.held.get(held.ok()?)?.guard.table().get(key)?;
        entry.object().and_then(T::of)
    }

    /// The collection at `key`, to look at beside others: neither hit, miss nor use. `None` for strings too.
    pub fn glance(&self, key: Key<'_>) -> Option<ObjectRef<'_>> {
        let shard = self.keyspace.shard_of(key.hash);
        let held = self.held.iter().find(|held| held.db == self.db && held.shard == shard)?;
        let entry = held.guard.table().get(key)?;
        entry.object().filter(|_| entry.deadline().is_none_or(|deadline| deadline > self.now))
    }

    /// The collection at `key`, for changing it: neither hit nor miss. Must not be left empty, see
    /// [`View::remove_if_empty`].
    #[inline]
    pub fn get_mut<T: Collection>(&mut self, key: Key<'_>) -> Result<Option<&mut T>, WrongType> {
        let now = self.now;
        let Some(entry) = self.shard(self.db, key.hash).change(key, now) else { return Ok(None) };
        entry.into_object().and_then(T::of_mut).ok_or(WrongType).map(Some)
    }

    /// The collection at `key`, for changing it; an empty one, without deadline, is made where there is none, and something
    /// must be put in.
    #[inline]
    pub fn get_or_new<T: Collection>(&mut self, key: Key<'_>) -> Result<&mut T, WrongType> {
        if self.peek(key).is_none() {
            let (entry, now) = (Entry::new(key.bytes, Source::Object(T::default().into_object()), None), self.now);
            self.shard(self.db, key.hash).insert(key.hash, entry, now);
        }
        self.get_mut(key)?.ok_or(WrongType)
    }

    /// Lets `work` change the collection at `key` (neither hit nor miss); one left empty is removed. `None` when there is no
    /// such key. One lookup.
    #[inline]
    pub fn edit<T: Collection, R>(
        &mut self,
        key: Key<'_>,
        work: impl FnOnce(&mut T) -> R,
    ) -> Result<Option<Edited<R>>, WrongType> {
        let now = self.now;
        self.shard(self.db, key.hash).edit(key, now, work).transpose()
    }

    /// As [`View::edit`]; where there is no such key `work` gets an empty collection, which is stored, without deadline, if
    /// something was put in.
    #[inline]
    pub fn edit_or_new<T: Collection, R>(
        &mut self,
        key: Key<'_>,
        work: impl FnOnce(&mut T) -> R,
    ) -> Result<Edited<R>, WrongType> {
        let (mut work, now) = (Some(work), self.now);
        let shard = self.shard(self.db, key.hash);
        let edited = shard.edit(key, now, |value: &mut T| work.take().map(|work| work(value)));
        if let Some(edited) = edited.transpose()?
            && let Edited { result: Some(result), removed } = edited
        {
            return Ok(Edited { result, removed });
        }
        let mut value = T::default();
        let Some(work) = work else { unreachable!("run once, on what is there or on what is new") };
        let result = work(&mut value);
        let removed = value.is_empty();
        if !removed {
            let mut entry = Entry::new(key.bytes, Source::Object(value.into_object()), None);
            entry.get_mut().set_access(access_seconds(now));
            shard.insert(key.hash, entry, now);
        }
        Ok(Edited { result, removed })
    }

    /// Stores a collection at `key`, whatever was there. It must not be empty.
    pub fn put<T: Collection>(&mut self, key: Key<'_>, value: T, ttl: Ttl) {
        self.store(key, value.into_object(), ttl, false);
    }

    /// As [`View::put`], for a collection of any type, as a key that comes into being in any case.
    pub fn put_object(&mut self, key: Key<'_>, value: Object, ttl: Ttl) {
        self.store(key, value, ttl, true);
    }

    fn store(&mut self, key: Key<'_>, value: Object, ttl: Ttl, anew: bool) {
        let deadline = match ttl {
            Ttl::Clear => None,
            Ttl::At(deadline) => Some(deadline),
            Ttl::Keep => self.peek(key).and_then(EntryRef::deadline),
        };
        let replaced = self.remove(key) && !anew;
        let mut entry = Entry::new(key.bytes, Source::Object(value), deadline);
        entry.get_mut().set_access(access_seconds(self.now));
        let now = self.now;
        let shard = self.shard(self.db, key.hash);
        if replaced { shard.insert_again(key.hash, entry, now) } else { shard.insert(key.hash, entry, now) }
    }

    /// Removes the key of a collection that has no elements left; `true` when it did.
    pub fn remove_if_empty(&mut self, key: Key<'_>) -> bool {
        let empty = self.peek(key).and_then(EntryRef::object).is_some_and(|object| object.len() == 0);
        empty && self.remove(key)
    }

    /// Makes a key look as if it had last been used `idle_seconds` ago or, where uses are counted, as if its counter stood at
    /// `frequency`; the other of the two says nothing.
    pub fn set_use(&mut self, key: Key<'_>, idle_seconds: Option<i64>, frequency: Option<u8>) {
        let now = self.now;
        let used = if self.keyspace.pressure().mode() & FREQUENCY != 0 {
            frequency.map(|counter| Pressure::with_frequency(counter, now.wall()))
        } else {
            idle_seconds.map(|seconds| access_seconds(UnixMs(now.0.saturating_sub(seconds.saturating_mul(1000)))))
        };
        let Some(used) = used else { return };
        if let Some(mut entry) = self.shard(self.db, key.hash).change(key, now) {
            entry.set_access(used);
        }
    }

    // Strings

    /// Stores a string at `key`, whatever was there.
    #[inline]
    pub fn put_string(&mut self, key: Key<'_>, value: StringSource<'_>, ttl: Ttl) {
        let deadline = match ttl {
            Ttl::Clear => None,
            Ttl::At(deadline) => Some(deadline),
            Ttl::Keep => self.peek(key).and_then(EntryRef::deadline),
        };
        let now = self.now;
        self.shard(self.db, key.hash).put_string(key, value, deadline, now);
    }

    /// Adds `delta` to the integer at `key` (0 when there is none), keeping the deadline; returns the sum. One lookup when
    /// the value is held as an integer, or there is none.
    #[inline]
    pub fn add_integer(&mut self, key: Key<'_>, delta: i64) -> Result<i64, AddError> {
        let now = self.now;
        match self.shard(self.db, key.hash).add_to_integer(key, delta, now) {
            Some(sum) => sum.ok_or(AddError::Overflow),
            None => self.add_to_text(key, delta),
        }
    }

    fn add_to_text(&mut self, key: Key<'_>, delta: i64) -> Result<i64, AddError> {
        let value = match self.string_to_change(key).map_err(|WrongType| AddError::WrongType)? {
            Some(string) => string.integer().ok_or(AddError::NotInteger)?,
            None => 0,
        };
        let sum = value.checked_add(delta).ok_or(AddError::Overflow)?;
        self.put_string(key, StringSource::Int(sum), Ttl::Keep);
        Ok(sum)
    }

    /// Lets `edit` change the text at `key` (empty when there is none) and stores it, keeping the deadline. Large text
    /// is changed in place, so that appending is amortised O(appended).
    pub fn edit_string(&mut self, key: Key<'_>, edit: impl FnOnce(&mut BytesMut)) -> Result<usize, WrongType> {
        let now = self.now;
        let found = self.shard(self.db, key.hash).live(key, now);
        let large = found.and_then(|mut found| found.get_mut().take_large());
        let source = match large {
            Some(bytes) => StringSource::Large(edit_large(bytes, edit)),
            None => {
                let mut text = match self.string_to_change(key)? {
                    Some(string) => BytesMut::from(&string.text()[..]),
                    None => BytesMut::new(),
                };
                edit(&mut text);
                if text.len() <= INLINE_MAX {
                    let len = text.len();
                    self.put_string(key, StringSource::changed(&text), Ttl::Keep);
                    return Ok(len);
                }
                StringSource::Large(text.freeze())
            }
        };
        let len = source.len();
        self.put_string(key, source, Ttl::Keep);
        Ok(len)
    }

    /// Gives a key another deadline, or none, which is a use of it; `false` when there is no such key.
    pub fn set_deadline(&mut self, key: Key<'_>, deadline: Option<UnixMs>) -> bool {
        let (now, touch) = (self.now, self.touch);
        self.shard(self.db, key.hash).set_deadline(key, deadline, now, touch)
    }

    /// Removes a key that has to go for what a command does; `false` when there is none. A value that takes long to free is
    /// freed in the background, unless the options want it freed here.
    pub fn remove(&mut self, key: Key<'_>) -> bool {
        self.remove_for(key, Why::Overwritten)
    }

    /// As [`View::remove`], for another reason.
    pub fn remove_for(&mut self, key: Key<'_>, why: Why) -> bool {
        let taken = self.take_in(self.db, key);
        self.free(taken, why)
    }

    /// As [`View::remove`], in another database.
    pub fn remove_in(&mut self, db: usize, key: Key<'_>) -> bool {
        let taken = self.take_in(db, key);
        self.free(taken, Why::Overwritten)
    }

    fn free(&self, taken: Option<Entry>, why: Why) -> bool {
        let found = taken.is_some();
        if let Some(entry) = taken {
            self.keyspace.reclaimer().take(Garbage::Entry(entry), why);
        }
        found
    }

    /// Removes a key whose new deadline lies in the past, and counts it as expired; `false` when there is no such key.
    pub fn expire(&mut self, key: Key<'_>) -> bool {
        let found = self.remove_for(key, Why::Expired);
        self.shard(self.db, key.hash).stats.expired += u64::from(found);
        found
    }

    /// Counts fields of this key that were removed because their new deadline lies in the past.
    pub fn count_expired_fields(&mut self, key: Key<'_>, count: usize) {
        self.shard(self.db, key.hash).stats.expired_fields += count as u64;
    }

    fn take_in(&mut self, db: usize, key: Key<'_>) -> Option<Entry> {
        let now = self.now;
        self.shard(db, key.hash).live(key, now).map(Occupied::remove)
    }

    /// Moves the entry at `from` to `to` (a key of database `db`), with its deadline, over whatever is there; `false` when
    /// there is none. The value is not copied.
    pub fn rename(&mut self, from: Key<'_>, db: usize, to: Key<'_>) -> bool {
        let Some(mut entry) = self.take_in(self.db, from) else { return false };
        self.remove_in(db, to);
        let now = self.now;
        if from.bytes != to.bytes {
            entry = entry.with_key(to.bytes);
        }
        entry.get_mut().set_access(access_seconds(now));
        self.shard(db, to.hash).insert(to.hash, entry, now);
        true
    }

    /// Copies the entry at `from` to `to` (a key of database `db`), with its deadline, over whatever is there; `false` when
    /// there is none.
    pub fn copy(&mut self, from: Key<'_>, db: usize, to: Key<'_>) -> bool {
        let seconds = access_seconds(self.now);
        let Some(entry) = self.peek(from) else { return false };
        let mut copy = Entry::new(to.bytes, entry.to_source(), entry.deadline());
        copy.get_mut().set_access(seconds);
        self.remove_in(db, to);
        let now = self.now;
        self.shard(db, to.hash).insert(to.hash, copy, now);
        true
    }

    // News, and watched keys

    /// Marks those who watch a key of database `db`, which has changed.
    pub fn mark_changed(&mut self, db: usize, key: Key<'_>) {
        self.shard(db, key.hash).journal.changed(key.bytes);
    }

    /// Takes the news of the shards that are held: `heard` is told the database and the news, in order of the shards.
    pub fn take_news(&mut self, heard: &mut dyn FnMut(usize, News)) {
        let mut all = Vec::new();
        for held in self.held.iter_mut().filter(|held| !held.guard.journal.is_empty()) {
            all.extend(held.guard.journal.take().into_iter().map(|news| (held.db, news)));
        }
        all.sort_unstable_by_key(|(_, news)| news.number);
        all.into_iter().for_each(|(db, news)| heard(db, news));
    }

    /// Whether a shard that is held has news.
    pub fn has_news(&self) -> bool {
        self.held.iter().any(|held| !held.guard.journal.is_empty())
    }

    /// Has `mark` set when `key` changes.
    pub fn watch(&mut self, key: Key<'_>, mark: &WatchMark) {
        self.shard(self.db, key.hash).journal.watch(key.bytes, mark);
    }

    /// Ends a watch of a key of database `db`.
    pub fn unwatch(&mut self, db: usize, key: Key<'_>, mark: &WatchMark) {
        self.shard(db, key.hash).journal.unwatch(key.bytes, mark);
    }

    // Those who wait

    /// Has those who wait for a key of database `db`, which has changed, tried; `false` when nobody waits for it.
    pub fn rouse(&mut self, db: usize, key: Key<'_>) -> bool {
        self.shard(db, key.hash).journal.waiters.rouse(key.bytes)
    }

    /// As [`View::rouse`], for all keys of a database; returns those that somebody waits for.
    pub fn rouse_all(&mut self, db: usize) -> Vec<Box<[u8]>> {
        let mut keys = Vec::new();
        if self.keyspace.is_allocated(db) {
            for shard in 0..self.keyspace.shards() {
                self.with_shard(db, shard, |shard| keys.extend(shard.journal.waiters.rouse_all().map(Box::from)));
            }
        }
        keys
    }

    /// The first ticket whose client has not been tried since `key` changed and whom it may serve as it is now.
    pub fn next_waiter(&mut self, key: Key<'_>) -> Option<Arc<Ticket>> {
        if !self.shard(self.db, key.hash).journal.waiters.has_untried(key.bytes) {
            return None;
        }
        let holds = self.peek(key).map(EntryRef::kind);
        self.shard(self.db, key.hash).journal.waiters.next(key.bytes, holds).cloned()
    }

    /// Notes that the client of the next ticket was tried and found nothing in `key`.
    pub fn pass_waiter(&mut self, key: Key<'_>, ticket: &Ticket) {
        self.shard(self.db, key.hash).journal.waiters.pass(key.bytes, ticket);
    }

    /// Whether somebody who waits for `key` is to be tried: between the change of the key and the service that follows it
    /// another request came in.
    #[inline]
    pub fn is_due(&mut self, key: Key<'_>) -> bool {
        !self.shard(self.db, key.hash).journal.waiters.is_empty() && self.next_waiter(key).is_some()
    }

    /// Takes a ticket out of the queue of `key`.
    pub fn leave_queue(&mut self, key: Key<'_>, ticket: &Ticket) {
        self.shard(self.db, key.hash).journal.waiters.leave(key.bytes, ticket);
    }

    /// Puts a ticket at the end of the queue of `key`.
    pub fn enqueue(&mut self, key: Key<'_>, ticket: &Arc<Ticket>) {
        self.shard(self.db, key.hash).journal.waiters.enqueue(key.bytes, ticket);
    }

    // Whole databases

    /// Number of keys of a database, those included that have expired and are not yet removed.
    pub fn len(&mut self, db: usize) -> usize {
        self.sum(db, |shard| shard.table().len())
    }

    /// Whether a database has no key.
    pub fn is_empty(&mut self, db: usize) -> bool {
        self.len(db) == 0
    }

    /// Number of keys of a database that expire.
    pub fn timed(&mut self, db: usize) -> usize {
        self.sum(db, |shard| shard.table().timed())
    }

    /// Number of keys of a database with a hash of which fields expire.
    pub fn volatile(&mut self, db: usize) -> usize {
        self.sum(db, |shard| shard.table().volatile())
    }

    /// Bytes of the tables of a database, entries not included.
    pub fn table_bytes(&mut self, db: usize) -> usize {
        self.sum(db, |shard| shard.table().memory_bytes())
    }

    /// Number of segments of a database.
    pub fn segments(&mut self, db: usize) -> usize {
        self.sum(db, |shard| shard.table().segments())
    }

    fn sum(&mut self, db: usize, count: impl Fn(&Shard) -> usize) -> usize {
        if !self.keyspace.is_allocated(db) {
            return 0;
        }
        (0..self.keyspace.shards()).map(|shard| self.with_shard(db, shard, |shard| count(shard))).sum()
    }

    /// Average milliseconds that the expiring keys of a database have to live, from a sample; 0 when there are none.
    pub fn average_ttl_ms(&mut self, db: usize) -> i64 {
        if !self.keyspace.is_allocated(db) {
            return 0;
        }
        let now = self.now;
        let shards = 0..self.keyspace.shards();
        let averages: Vec<i64> = shards
            .map(|shard| self.with_shard(db, shard, |shard| shard.average_ttl_ms(now)))
            .filter(|average| *average > 0)
            .collect();
        let count = i64::try_from(averages.len()).unwrap_or(i64::MAX);
        averages.iter().fold(0, |sum: i64, average| sum.saturating_add(average / count.max(1)))
    }

    /// Counters over all databases and shards.
    pub fn stats(&mut self) -> ShardStats {
        let mut total = ShardStats::default();
        self.each_shard(|shard| total += shard.stats);
        total
    }

    /// How much of all that expires has expired and is still there, an estimate.
    pub fn stale(&mut self) -> Stale {
        let (now, mut total) = (self.now, Stale::default());
        self.each_shard(|shard| total += shard.stale(now));
        total
    }

    /// Sets the counters to zero.
    pub fn reset_stats(&mut self) {
        self.each_shard(|shard| shard.stats = ShardStats::default());
    }

    fn each_shard(&mut self, mut work: impl FnMut(&mut Shard)) {
        for db in 0..self.keyspace.databases() {
            if self.keyspace.is_allocated(db) {
                for shard in 0..self.keyspace.shards() {
                    self.with_shard(db, shard, &mut work);
                }
            }
        }
    }

    /// Takes every key out of a database; what is returned is to be freed. O(shards). Atomic when all shards are held
    /// ([`LockPlan::All`]).
    pub fn flush(&mut self, db: usize) -> Flushed {
        let mut flushed = Flushed::default();
        if self.keyspace.is_allocated(db) {
            for shard in 0..self.keyspace.shards() {
                let table = self.with_shard(db, shard, Shard::take);
                table.into_iter().for_each(|table| flushed.push(table, self.keyspace.reclaimer()));
            }
        }
        self.keyspace.pressure().note_replaced();
        flushed
    }

    /// Exchanges the keys of two databases. All shards must be held.
    pub fn swap(&mut self, a: usize, b: usize) {
        let (a, b) = (a.min(b), a.max(b));
        let split = self.held.partition_point(|held| held.db < b);
        let (lower, upper) = self.held.split_at_mut(split);
        let first = lower.iter_mut().filter(|held| held.db == a);
        let second = upper.iter_mut().filter(|held| held.db == b);
        for (one, other) in first.zip(second) {
            one.guard.swap(&mut other.guard, self.now);
        }
        self.keyspace.pressure().note_replaced();
    }

    /// Walks on from `position` (0 at first) through the hash order of a database: some `homes` buckets of six keys, all of
    /// one shard, locked meanwhile. `visit` meets what has not expired. Returns where to go on, `None` at the end.
    pub fn walk(&mut self, db: usize, position: u64, homes: usize, visit: &mut dyn FnMut(EntryRef<'_>)) -> Option<u64> {
        let (now, index) = (self.now, self.keyspace.shard_of(position));
        let bits = self.keyspace.shard_bits;
        let next = if !self.keyspace.is_allocated(db) {
            return None;
        } else {
            self.with_shard(db, index, |shard| {
                let mut at = Some(position);
                for _ in 0..homes {
                    let Some(from) = at else { break };
                    at = shard.table().visit(from, &mut |entry| {
                        if entry.is_live(now) {
                            visit(entry);
                        }
                    });
                }
                at
            })
        };
        next.or_else(|| {
            let behind = (index as u64 + 1).checked_mul(1 << (64 - bits));
            behind.filter(|_| index + 1 < self.keyspace.shards())
        })
    }

    /// Calls `found` with a key chosen by the numbers that `random` gives, every key about equally likely; `false` when the
    /// database is empty.
    pub fn random_key(
        &mut self,
        db: usize,
        random: &mut dyn FnMut() -> u64,
        found: &mut dyn FnMut(EntryRef<'_>),
    ) -> bool {
        let now = self.now;
        if self.is_empty(db) {
            return false;
        }
        for _ in 0..1000 {
            let number = random();
            let shard = self.keyspace.shard_of(number);
            let hit = self.with_shard(db, shard, |shard| match shard.table().pick(number) {
                Some(entry) if entry.is_live(now) => {
                    found(entry);
                    true
                }
                _ => false,
            });
            if hit {
                return true;
            }
        }
        self.first_key(db, found)
    }

    /// The first live key in hash order, for databases too sparse to hit one by chance.
    fn first_key(&mut self, db: usize, found: &mut dyn FnMut(EntryRef<'_>)) -> bool {
        let (mut position, mut done) = (Some(0), false);
        while let (Some(at), false) = (position, done) {
            position = self.walk(db, at, 1, &mut |entry| {
                if !done {
                    found(entry);
                    done = true;
                }
            });
        }
        done
    }
}
