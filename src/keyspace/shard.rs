//! A shard: a table and the state that belongs to it, all under one lock.
//!
//! Must not know: the lock around it, other shards, clients.

use super::attention::Attention;
use super::entry::{Entry, EntryMut, EntryRef};
use super::evict::pressure::{FREQUENCY, Pressure, mark_of};
use super::evict::{Fate, Place, Resident};
use super::hash::{Key, KeyHasher};
use super::journal::{Happening, Journal};
use super::reclaim::{Garbage, Reclaimer, Why};
use super::segment::Scratch;
use super::table::{Expired, Occupied, Table};
use super::victims::Victims;
use super::view::{Edited, WrongType};
use crate::config::EvictionPolicy;
use crate::util::clock::UnixMs;
use crate::value::object::{Collection, ObjectRef};
use crate::value::string::{StringRef, StringSource};
use std::sync::Arc;

/// Cache lines looked at in one turn of active expiry, some 100 to 300 ns each: segments that are not due, or expired entries.
const EXPIRE_WORK: usize = 150;

/// Fields taken out of hashes in one turn of active expiry: some 200 ns each.
const EXPIRE_FIELDS: usize = 400;

/// Expired fields taken out of a hash that somebody looks up; the others are there for nobody, and go in turns.
const SETTLE_FIELDS: usize = 100;

/// What a shard has counted since the start or `CONFIG RESETSTAT`.
#[derive(Clone, Copy, Default, Debug)]
pub struct ShardStats {
    /// Lookups that found their key.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Keys removed because their deadline had come.
    pub expired: u64,
    /// Of these, by the active cycle.
    pub expired_active: u64,
    /// Keys removed because memory was short.
    pub evicted: u64,
    /// Fields of hashes removed because their deadline had come.
    pub expired_fields: u64,
}

impl std::ops::AddAssign for ShardStats {
    fn add_assign(&mut self, other: ShardStats) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.expired += other.expired;
        self.expired_active += other.expired_active;
        self.evicted += other.evicted;
        self.expired_fields += other.expired_fields;
    }
}

/// Homes that are looked at to tell how much is stale.
const STALE_HOMES: u64 = 16;

/// With so many keys or fewer, all are looked at.
const FEW_KEYS: usize = 256;

/// How much of what expires has expired and is still there, an estimate.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Stale {
    /// Keys that have expired.
    pub keys: f64,
    /// Hashes of which a field has expired.
    pub hashes: f64,
}

impl std::ops::AddAssign for Stale {
    fn add_assign(&mut self, other: Stale) {
        self.keys += other.keys;
        self.hashes += other.hashes;
    }
}

/// A table with its expiry state and counters.
pub struct Shard {
    table: Table,
    /// No key, and no field of a hash, expires before this; `i64::MAX` when none does.
    due_ms: i64,
    /// Where the active cycle goes on, and the earliest deadline that it has met on its way.
    walk: Option<(u64, i64)>,
    /// The lowest hash of the shard: where walks begin.
    first: u64,
    /// Of the hashes, the bits that are the same in all of the shard.
    bits: u32,
    /// Counters.
    pub stats: ShardStats,
    /// News of its keys, and who watches them or waits for them.
    pub journal: Journal,
    reclaimer: Reclaimer,
    uses: Uses,
}

/// How uses of keys are noted.
struct Uses {
    pressure: Arc<Pressure>,
    db: usize,
}

impl Uses {
    /// Notes a use of the entry found.
    #[inline]
    fn note(&self, found: &mut Occupied<'_>, now: UnixMs) {
        let seconds = access_seconds(now);
        if self.pressure.mode() != 0 {
            let hash = found.hash();
            return self.pressure.note_use(&mut found.notes(), hash, self.db, seconds, now.wall());
        }
        // Compared first: most uses fall into the same second, and a store would dirty the line for other cores.
        if found.get().access() != seconds {
            found.notes().set_access(seconds);
        }
    }

    /// Prepares an entry that is to be stored where there was none.
    #[inline]
    fn welcome(&self, entry: &mut Entry, hash: u64, now: UnixMs) {
        if self.pressure.mode() != 0 {
            self.pressure.note_new(&mut entry.get_mut(), hash, self.db, now.wall());
        }
    }
}

impl Shard {
    /// An empty shard of database `db`: number `index` of 2^`bits`. What it removes goes to `reclaimer` when freeing it takes
    /// long.
    pub fn new(
        index: u64,
        bits: u32,
        hasher: KeyHasher,
        reclaimer: Reclaimer,
        attention: Arc<Attention>,
        pressure: Arc<Pressure>,
        db: usize,
    ) -> Shard {
        let first = if bits == 0 { 0 } else { index << (64 - bits) };
        let table = Table::new(bits, hasher);
        Shard {
            table,
            due_ms: i64::MAX,
            walk: None,
            first,
            bits,
            stats: ShardStats::default(),
            journal: Journal::new(attention),
            reclaimer,
            uses: Uses { pressure, db },
        }
    }

    /// The table, to read.
    #[inline]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The table, for a snapshot.
    pub fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    /// The lowest hash of its keys: where walks begin.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Finds a key that has not expired at `now`; one that has is removed, and so are expired fields.
    #[inline]
    pub fn live(&mut self, key: Key<'_>, now: UnixMs) -> Option<Occupied<'_>> {
        let Shard { table, stats, reclaimer, journal, .. } = self;
        find_live(table, stats, reclaimer, journal, key, now)
    }

    /// Finds a key for reading: counts a hit or a miss and, with `touch`, notes the use.
    #[inline]
    pub fn read(&mut self, key: Key<'_>, now: UnixMs, touch: bool) -> Option<EntryRef<'_>> {
        let Shard { table, stats, reclaimer, journal, uses, .. } = self;
        let Some(mut found) = find_live(table, stats, reclaimer, journal, key, now) else {
            stats.misses += 1;
            journal.missed(key.bytes);
            return None;
        };
        stats.hits += 1;
        if touch {
            uses.note(&mut found, now);
        }
        Some(found.into_ref())
    }

    /// Finds a key that may be changed: with `touch` a use of it, but neither a hit nor a miss.
    #[inline]
    pub fn meet(&mut self, key: Key<'_>, now: UnixMs, touch: bool) -> Option<EntryRef<'_>> {
        let Shard { table, stats, reclaimer, journal, uses, .. } = self;
        let mut found = find_live(table, stats, reclaimer, journal, key, now)?;
        if touch {
            uses.note(&mut found, now);
        }
        Some(found.into_ref())
    }

    /// Stores a string under `key`, whatever was there.
    #[inline]
    pub fn put_string(&mut self, key: Key<'_>, value: StringSource<'_>, deadline: Option<UnixMs>, now: UnixMs) {
        if let Some(deadline) = deadline {
            self.due_ms = self.due_ms.min(deadline.0);
        }
        let Shard { table, stats, journal, reclaimer, uses, .. } = self;
        let Some(mut found) = table.find(key) else {
            return create(table, journal, uses, key, new_entry(key, value, deadline, now), now);
        };
        let before = found.get().dues();
        if before.key.is_some_and(|deadline| deadline <= now) {
            stats.expired += 1;
            journal.removed(key.bytes, Happening::Expired);
            journal.created(key.bytes);
        }
        match found.get_mut().overwrite(value, deadline) {
            Ok(dropped) => {
                found.note_dues(before, now);
                uses.note(&mut found, now);
                if let Some(value) = dropped {
                    reclaimer.take(Garbage::Value(value), Why::Overwritten);
                }
            }
            Err(value) => {
                let mut entry = new_entry(key, value, deadline, now);
                entry.get_mut().set_access(found.get().access());
                entry.get_mut().set_tally(found.get().tally());
                let old = found.replace(entry, before, now);
                uses.note(&mut found, now);
                reclaimer.take(Garbage::Entry(old), Why::Overwritten);
            }
        }
        if before.key.is_none() && deadline.is_some() {
            uses.pressure.note_candidate(key.hash, uses.db);
        }
    }

    /// Finds a key to change its value, which is a use of it; `None` when there is none.
    #[inline]
    pub fn change(&mut self, key: Key<'_>, now: UnixMs) -> Option<EntryMut<'_>> {
        let Shard { table, stats, reclaimer, journal, uses, .. } = self;
        let mut found = find_live(table, stats, reclaimer, journal, key, now)?;
        uses.note(&mut found, now);
        Some(found.into_mut())
    }

    /// Lets `work` change the collection at `key`, which is a use of it; one left empty is removed. `None` when there is no
    /// such key. One lookup.
    #[inline]
    pub fn edit<T: Collection, R>(
        &mut self,
        key: Key<'_>,
        now: UnixMs,
        work: impl FnOnce(&mut T) -> R,
    ) -> Option<Result<Edited<R>, WrongType>> {
        let Shard { table, stats, reclaimer, due_ms, journal, uses, .. } = self;
        let mut found = find_live(table, stats, reclaimer, journal, key, now)?;
        uses.note(&mut found, now);
        let before = found.get().dues();
        let Some(value) = found.get_mut().into_object().and_then(T::of_mut) else { return Some(Err(WrongType)) };
        let result = work(value);
        let removed = value.is_empty();
        if removed {
            // What its fields waited for is gone with them: the table must still count what it has counted.
            found.note_dues(before, now);
            reclaimer.take(Garbage::Entry(found.remove()), Why::Overwritten);
        } else if found.get().dues() != before {
            found.note_dues(before, now);
            *due_ms = found.get().due().map_or(*due_ms, |due| due.0.min(*due_ms));
        }
        Some(Ok(Edited { result, removed }))
    }

    /// Adds to a live integer in place, keeping the deadline, or stores `delta` under a key that is not there: `Some(None)` when
    /// the sum does not fit, `None` when there is another value, or one that has expired. One lookup.
    #[inline]
    pub fn add_to_integer(&mut self, key: Key<'_>, delta: i64, now: UnixMs) -> Option<Option<i64>> {
        let Shard { table, journal, uses, .. } = self;
        let Some(mut found) = table.find(key) else {
            create(table, journal, uses, key, new_entry(key, StringSource::Int(delta), None, now), now);
            return Some(Some(delta));
        };
        let entry = found.get();
        let Some(StringRef::Int(value)) = entry.string() else { return None };
        if entry.deadline().is_some_and(|deadline| deadline <= now) {
            return None;
        }
        let sum = value.checked_add(delta);
        if let Some(sum) = sum {
            found.get_mut().set_integer(sum);
            uses.note(&mut found, now);
        }
        Some(sum)
    }

    /// Stores an entry whose key is not in the table.
    pub fn insert(&mut self, hash: u64, entry: Entry, now: UnixMs) {
        self.journal.created(entry.get().key());
        self.insert_again(hash, entry, now);
    }

    /// As [`Shard::insert`], for a key that was there before this command.
    pub fn insert_again(&mut self, hash: u64, mut entry: Entry, now: UnixMs) {
        self.uses.welcome(&mut entry, hash, now);
        if let Some(due) = entry.get().due() {
            self.due_ms = self.due_ms.min(due.0);
        }
        self.table.insert(hash, entry, now);
    }

    /// Makes room for about so many keys, if there is none yet.
    pub fn reserve(&mut self, keys: usize) {
        self.table.reserve(keys);
    }

    /// Stores an entry that comes from a file, whose key is not in the table, with the counter of uses that it had.
    pub fn load(&mut self, hash: u64, mut entry: Entry, frequency: Option<u8>, now: UnixMs) {
        if self.uses.pressure.mode() != 0 {
            self.uses.pressure.note_loaded(&mut entry.get_mut(), frequency, now);
        }
        if let Some(due) = entry.get().due() {
            self.due_ms = self.due_ms.min(due.0);
        }
        self.table.insert(hash, entry, now);
    }

    /// Gives a live key another deadline, or none, and with `touch` notes the use; `false` when there is no such key.
    pub fn set_deadline(&mut self, key: Key<'_>, deadline: Option<UnixMs>, now: UnixMs, touch: bool) -> bool {
        let Shard { table, stats, reclaimer, journal, uses, due_ms, .. } = self;
        let Some(mut found) = find_live(table, stats, reclaimer, journal, key, now) else { return false };
        if touch {
            uses.note(&mut found, now);
        }
        let before = found.get().dues();
        let moved = deadline.is_some_and(|deadline| found.get_mut().move_deadline(deadline));
        if moved {
            found.note_dues(before, now);
        } else if found.get().deadline() != deadline {
            let pointed = found.get_mut().take_pointed();
            let entry = found.get();
            let mut copy = Entry::new(entry.key(), pointed.unwrap_or_else(|| entry.to_source()), deadline);
            copy.get_mut().set_access(entry.access());
            copy.get_mut().set_tally(entry.tally());
            found.replace(copy, before, now);
        }
        if let Some(deadline) = deadline {
            *due_ms = (*due_ms).min(deadline.0);
        }
        if before.key.is_none() && deadline.is_some() {
            uses.pressure.note_candidate(key.hash, uses.db);
        }
        true
    }

    /// One turn of active expiry: removes what is due in some segments. `true` while there is more to do.
    pub fn expire_turn(&mut self, now: UnixMs) -> bool {
        if self.walk.is_none() && self.due_ms > now.0 {
            return false;
        }
        let (at, mut due_ms) = self.walk.take().unwrap_or((self.first, i64::MAX));
        if at == self.first {
            // What is stored from here on lowers this again.
            self.due_ms = i64::MAX;
        }
        let Shard { table, stats, reclaimer, journal, .. } = self;
        let mut fields = EXPIRE_FIELDS;
        let next = table.expire(at, EXPIRE_WORK, now, &mut due_ms, &mut fields, &mut |gone| match gone {
            Expired::Entry(entry) => {
                stats.expired_active += u64::from(count_expired(entry.get(), stats, now));
                note_expired(entry.get(), journal, now);
                reclaimer.take(Garbage::Entry(entry), Why::Expired);
            }
            Expired::Fields(key, fields) => journal.removed(&key, Happening::FieldsExpired { fields, emptied: false }),
        });
        self.stats.expired_fields += (EXPIRE_FIELDS - fields) as u64;
        match next {
            Some(at) => self.walk = Some((at, due_ms)),
            None => self.due_ms = self.due_ms.min(due_ms),
        }
        // Behind the last segment, fields that were too many for one turn are still due.
        next.is_some() || self.due_ms <= now.0
    }

    /// Moves blocks of a segment that lie in sparse slabs, see [`Table::compact`].
    pub fn compact(&mut self, at: u64, scratch: &mut Scratch) -> (usize, Option<u64>) {
        self.table.compact(at, scratch)
    }

    /// What eviction sees of the key with this mark; `None` when there is none.
    pub fn resident(&mut self, mark: u32, policy: EvictionPolicy, now: UnixMs) -> Option<Resident> {
        let Shard { table, uses, .. } = self;
        table.find_mark(mark).and_then(|found| resident(found.get(), policy, &uses.pressure, now))
    }

    /// Notes where the key with this mark stands, and what is left of its uses; `false` when there is none.
    pub fn set_place(&mut self, mark: u32, place: Place, uses: u8) -> bool {
        let Some(mut found) = self.table.find_mark(mark) else { return false };
        found.notes().set_tally(u16::from(uses) << 2 | place as u16);
        true
    }

    /// Lets `decide` say what becomes of the key with this mark, if it may be evicted; `None` when there is none.
    pub fn decide(
        &mut self,
        mark: u32,
        policy: EvictionPolicy,
        now: UnixMs,
        victims: &Victims,
        decide: &mut dyn FnMut(Resident) -> Fate,
    ) -> Option<Fate> {
        let Shard { table, stats, reclaimer, journal, uses, .. } = self;
        let mut found = table.find_mark(mark)?;
        let fate = decide(resident(found.get(), policy, &uses.pressure, now)?);
        match fate {
            Fate::Stays => {}
            Fate::Moves(place, uses) => found.notes().set_tally(u16::from(uses) << 2 | place as u16),
            Fate::Goes => take_victim(found, stats, reclaimer, journal, uses, victims, now),
        }
        Some(fate)
    }

    /// Removes the key with this mark because memory is short; `false` when there is none.
    pub fn evict(&mut self, mark: u32, now: UnixMs, victims: &Victims) -> bool {
        let Shard { table, stats, reclaimer, journal, uses, .. } = self;
        let Some(found) = table.find_mark(mark) else { return false };
        take_victim(found, stats, reclaimer, journal, uses, victims, now);
        true
    }

    /// Calls `visit` for the keys that may be evicted among those at the position `at` (a hash). Returns the next position, `None`
    /// at the end, as [`Table::visit`].
    pub fn candidates(
        &self,
        at: u64,
        policy: EvictionPolicy,
        now: UnixMs,
        visit: &mut dyn FnMut(u32, Resident),
    ) -> Option<u64> {
        if policy.is_volatile() && self.table.timed() == 0 {
            return None;
        }
        self.table.visit(at, &mut |entry| {
            if let Some(seen) = resident(entry, policy, &self.uses.pressure, now) {
                visit(mark_of(self.table.hash(entry.key())), seen);
            }
        })
    }

    /// Takes everything out, if there is anything; the table returned is to be dropped where that disturbs nobody.
    pub fn take(&mut self) -> Option<Table> {
        let table = &self.table;
        self.journal.changed_where(|key| table.has(key));
        self.walk = None;
        self.due_ms = i64::MAX;
        if self.table.is_bare() { None } else { Some(self.table.take()) }
    }

    /// Exchanges the keys of two shards; the counters stay.
    ///
    /// Of the keys that somebody watches those that have expired go first: one in place of none, or of another, is no change.
    pub fn swap(&mut self, other: &mut Shard, now: UnixMs) {
        let watched: Vec<Box<[u8]>> = self.journal.watched().chain(other.journal.watched()).map(Box::from).collect();
        for key in &watched {
            let key = self.table.key(key);
            self.meet(key, now, false);
            other.meet(key, now, false);
        }
        let (one, two) = (&self.table, &other.table);
        for journal in [&mut self.journal, &mut other.journal] {
            journal.changed_where(|key| one.has(key) || two.has(key));
        }
        self.table.swap(&mut other.table);
        std::mem::swap(&mut self.due_ms, &mut other.due_ms);
        std::mem::swap(&mut self.walk, &mut other.walk);
    }

    /// How much is stale, from evenly spread samples of some hundred keys; nothing, without a look, when nothing is due.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn stale(&self, now: UnixMs) -> Stale {
        if self.walk.is_none() && self.due_ms > now.0 {
            return Stale::default();
        }
        let (mut keys, mut hashes) = ((0_u32, 0_u32), (0_u32, 0_u32));
        let mut look = |entry: EntryRef<'_>| {
            for (due, (stale, all)) in [(entry.dues().key, &mut keys), (entry.dues().fields, &mut hashes)] {
                *all += u32::from(due.is_some());
                *stale += u32::from(due.is_some_and(|due| due <= now));
            }
        };
        if self.table.len() <= FEW_KEYS {
            let mut at = Some(self.first);
            while let Some(position) = at {
                at = self.table.visit(position, &mut look);
            }
        } else {
            let stride = u64::MAX.wrapping_shr(self.bits) / STALE_HOMES;
            for number in 0..STALE_HOMES {
                self.table.visit(self.first + number * stride, &mut look);
            }
        }
        let estimate = |(stale, all): (u32, u32), count: usize| f64::from(stale) / f64::from(all.max(1)) * count as f64;
        Stale { keys: estimate(keys, self.table.timed()), hashes: estimate(hashes, self.table.volatile()) }
    }

    /// Average milliseconds to live over some keys that expire, 0 when there is none.
    pub fn average_ttl_ms(&self, now: UnixMs) -> i64 {
        if self.table.timed() == 0 {
            return 0;
        }
        let (mut sum, mut count, mut at) = (0_i64, 0_i64, Some(self.first));
        // Where few keys expire the walk is longer: every key that it meets costs a cache line.
        for _ in 0..64 {
            let Some(position) = at.filter(|_| count < 16) else { break };
            at = self.table.visit(position, &mut |entry| {
                if let Some(deadline) = entry.deadline() {
                    sum = sum.saturating_add((deadline.0.saturating_sub(now.0)).max(0));
                    count += 1;
                }
            });
        }
        sum.checked_div(count).unwrap_or(0)
    }
}

/// Finds a key that has not expired.
#[inline(always)]
fn find_live<'t>(
    table: &'t mut Table,
    stats: &mut ShardStats,
    reclaimer: &Reclaimer,
    journal: &mut Journal,
    key: Key<'_>,
    now: UnixMs,
) -> Option<Occupied<'t>> {
    let mut found = table.find(key)?;
    if found.get().is_due(now) && !settle(found.again(), stats, reclaimer, journal, now) {
        return None;
    }
    Some(found)
}

/// Removes an entry that has expired; of one that has not, the fields that have. Whether the entry is still there.
#[cold]
fn settle(
    mut found: Occupied<'_>,
    stats: &mut ShardStats,
    reclaimer: &Reclaimer,
    journal: &mut Journal,
    now: UnixMs,
) -> bool {
    if !found.get().is_live(now) {
        count_expired(found.get(), stats, now);
        note_expired(found.get(), journal, now);
        reclaimer.take(Garbage::Entry(found.remove()), Why::Expired);
        return false;
    }
    let before = found.get().dues();
    let mut fields = Vec::new();
    let count = found.get_mut().expire_fields(now, SETTLE_FIELDS, &mut |name| fields.push(name.into()));
    stats.expired_fields += count as u64;
    if count > 0 {
        journal.removed(found.get().key(), Happening::FieldsExpired { fields, emptied: false });
    }
    found.note_dues(before, now);
    true
}

/// Reports an entry that has expired, or lost its last field by that.
fn note_expired(entry: EntryRef<'_>, journal: &mut Journal, now: UnixMs) {
    let itself = entry.deadline().is_some_and(|deadline| deadline <= now);
    // Of a key that goes with its last fields, their names say nothing more.
    let what = if itself { Happening::Expired } else { Happening::FieldsExpired { fields: Vec::new(), emptied: true } };
    journal.removed(entry.key(), what);
}

/// What eviction sees of an entry under `policy`; `None` when it must stay.
fn resident(entry: EntryRef<'_>, policy: EvictionPolicy, pressure: &Pressure, now: UnixMs) -> Option<Resident> {
    let deadline = entry.deadline();
    if policy.is_volatile() && deadline.is_none() {
        return None;
    }
    let tally = entry.tally();
    let place = match tally & 3 {
        1 => Place::Window,
        2 => Place::Main,
        _ => Place::None,
    };
    let score = match policy {
        // What has expired goes first, whatever the policy.
        _ if deadline.is_some_and(|deadline| deadline <= now) => u64::MAX,
        EvictionPolicy::VolatileTtl => u64::MAX - deadline.map_or(0, |deadline| deadline.0.max(0).cast_unsigned()),
        _ if policy.is_lfu() => u64::from(u8::MAX - pressure.frequency(entry.access(), now)),
        _ => u64::from(pressure.age(tally)),
    };
    let uses = if score == u64::MAX { 0 } else { tally >> 2 & 3 };
    Some(Resident { place, uses: u8::try_from(uses).unwrap_or(0), score })
}

/// Takes a victim out.
fn take_victim(
    found: Occupied<'_>,
    stats: &mut ShardStats,
    reclaimer: &Reclaimer,
    journal: &mut Journal,
    uses: &Uses,
    victims: &Victims,
    now: UnixMs,
) {
    let entry = found.get();
    if entry.is_live(now) {
        stats.evicted += 1;
        journal.removed(entry.key(), Happening::Evicted);
        if uses.pressure.mode() & FREQUENCY == 0 {
            victims.note(access_seconds(now).wrapping_sub(entry.access()) & 0x00ff_ffff);
        }
    } else {
        count_expired(entry, stats, now);
        note_expired(entry, journal, now);
    }
    reclaimer.take(Garbage::Entry(found.remove()), Why::Evicted);
}

/// Counts an entry that has expired, or the fields of one that has none left; `true`: the entry.
fn count_expired(entry: EntryRef<'_>, stats: &mut ShardStats, now: UnixMs) -> bool {
    let itself = entry.deadline().is_some_and(|deadline| deadline <= now);
    let fields = if itself { 0 } else { entry.object().map_or(0, ObjectRef::len) };
    stats.expired += u64::from(itself);
    stats.expired_fields += fields as u64;
    itself
}

/// The access clock: seconds, of which entries keep 24 bits.
#[inline]
pub fn access_seconds(now: UnixMs) -> u32 {
    // Of a number without a sign the seconds are a multiplication.
    u32::try_from((now.0.unsigned_abs() / 1000) & 0x00ff_ffff).unwrap_or(0)
}

/// Stores an entry whose key is not in the table; its deadline is the caller's to note.
fn create(table: &mut Table, journal: &mut Journal, uses: &Uses, key: Key<'_>, mut entry: Entry, now: UnixMs) {
    journal.created(key.bytes);
    uses.welcome(&mut entry, key.hash, now);
    table.insert(key.hash, entry, now);
}

fn new_entry(key: Key<'_>, value: StringSource<'_>, deadline: Option<UnixMs>, now: UnixMs) -> Entry {
    let mut entry = Entry::new(key.bytes, value, deadline);
    entry.get_mut().set_access(access_seconds(now));
    entry
}
