//! A shard: a table and the state that belongs to it, all under one lock.
//!
//! Must not know: the lock around it, other shards, clients.

use super::entry::{Entry, EntryMut, EntryRef};
use super::hash::{Key, KeyHasher};
use super::reclaim::{Garbage, Reclaimer};
use super::table::{Occupied, Table};
use super::waiters::Waiters;
use crate::util::clock::UnixMs;
use crate::value::string::{StringRef, StringSource};

/// Segments looked at in one turn of active expiry; each costs a cache line, and one full of expired keys some 40 us.
const EXPIRE_SEGMENTS: usize = 512;

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
}

impl std::ops::AddAssign for ShardStats {
    fn add_assign(&mut self, other: ShardStats) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.expired += other.expired;
        self.expired_active += other.expired_active;
    }
}

/// A table with its expiry state and counters.
pub struct Shard {
    table: Table,
    /// No key expires before this; `i64::MAX` when none does.
    due_ms: i64,
    /// Where the active cycle goes on, and the earliest deadline that it has met on its way.
    walk: Option<(u64, i64)>,
    /// Any hash of the shard: where walks begin.
    first: u64,
    /// Counters.
    pub stats: ShardStats,
    /// Who waits for its keys.
    pub waiters: Waiters,
}

impl Shard {
    /// An empty shard: number `index` of 2^`bits`.
    pub fn new(index: u64, bits: u32, hasher: KeyHasher) -> Shard {
        let first = if bits == 0 { 0 } else { index << (64 - bits) };
        let table = Table::new(bits, hasher);
        Shard { table, due_ms: i64::MAX, walk: None, first, stats: ShardStats::default(), waiters: Waiters::default() }
    }

    /// The table, to read.
    #[inline]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Finds a key that has not expired at `now`; one that has is removed.
    #[inline]
    pub fn live(&mut self, key: Key<'_>, now: UnixMs) -> Option<Occupied<'_>> {
        let Shard { table, stats, .. } = self;
        let found = table.find(key)?;
        if found.get().deadline().is_some_and(|deadline| deadline <= now) {
            found.remove();
            stats.expired += 1;
            return None;
        }
        Some(found)
    }

    /// Finds a key for reading: counts a hit or a miss and, with `touch`, notes the use.
    #[inline]
    pub fn read(&mut self, key: Key<'_>, now: UnixMs, touch: bool) -> Option<EntryRef<'_>> {
        let Shard { table, stats, .. } = self;
        let Some(mut found) = table.find(key) else {
            stats.misses += 1;
            return None;
        };
        if found.get().deadline().is_some_and(|deadline| deadline <= now) {
            found.remove();
            stats.expired += 1;
            stats.misses += 1;
            return None;
        }
        stats.hits += 1;
        if touch {
            note_use(&mut found, now);
        }
        Some(found.into_ref())
    }

    /// Stores a string under `key`, whatever was there. What it displaces goes to `reclaimer` when freeing it takes long.
    #[inline]
    pub fn put_string(
        &mut self,
        key: Key<'_>,
        value: StringSource<'_>,
        deadline: Option<UnixMs>,
        now: UnixMs,
        reclaimer: &Reclaimer,
    ) {
        if let Some(deadline) = deadline {
            self.due_ms = self.due_ms.min(deadline.0);
        }
        let Some(mut found) = self.table.find(key) else {
            return self.table.insert(key.hash, new_entry(key, value, deadline, now), now);
        };
        let before = found.get().deadline();
        match found.get_mut().overwrite(value, deadline) {
            Ok(dropped) => {
                if before.is_some() || deadline.is_some() {
                    found.deadline_changed(now);
                }
                note_use(&mut found, now);
                if let Some(value) = dropped {
                    reclaimer.take(Garbage::Value(value));
                }
            }
            Err(value) => {
                let old = found.replace(new_entry(key, value, deadline, now), now);
                reclaimer.take(Garbage::Entry(old));
            }
        }
        self.stats.expired += u64::from(before.is_some_and(|deadline| deadline <= now));
    }

    /// Finds a key to change its value, which is a use of it; `None` when there is none.
    #[inline]
    pub fn change(&mut self, key: Key<'_>, now: UnixMs) -> Option<EntryMut<'_>> {
        let mut found = self.live(key, now)?;
        note_use(&mut found, now);
        Some(found.into_mut())
    }

    /// Adds to a live integer in place, keeping the deadline: `Some(None)` when the sum does not fit, `None` when there is
    /// no value held as an integer.
    #[inline]
    pub fn add_in_place(&mut self, key: Key<'_>, delta: i64, now: UnixMs) -> Option<Option<i64>> {
        let mut found = self.table.find(key)?;
        let entry = found.get();
        let Some(StringRef::Int(value)) = entry.string() else { return None };
        if entry.deadline().is_some_and(|deadline| deadline <= now) {
            return None;
        }
        let sum = value.checked_add(delta);
        if let Some(sum) = sum {
            found.get_mut().set_integer(sum);
            note_use(&mut found, now);
        }
        Some(sum)
    }

    /// Stores an entry whose key is not in the table.
    pub fn insert(&mut self, hash: u64, entry: Entry, now: UnixMs) {
        if let Some(deadline) = entry.get().deadline() {
            self.due_ms = self.due_ms.min(deadline.0);
        }
        self.table.insert(hash, entry, now);
    }

    /// Gives a live key another deadline, or none, and with `touch` notes the use; `false` when there is no such key.
    pub fn set_deadline(&mut self, key: Key<'_>, deadline: Option<UnixMs>, now: UnixMs, touch: bool) -> bool {
        let Some(mut found) = self.live(key, now) else { return false };
        if touch {
            note_use(&mut found, now);
        }
        let moved = deadline.is_some_and(|deadline| found.get_mut().move_deadline(deadline));
        if moved {
            found.deadline_changed(now);
        } else if found.get().deadline() != deadline {
            let pointed = found.get_mut().take_pointed();
            let entry = found.get();
            let mut copy = Entry::new(entry.key(), pointed.unwrap_or_else(|| entry.to_source()), deadline);
            copy.get_mut().set_access(entry.access());
            found.replace(copy, now);
        }
        if let Some(deadline) = deadline {
            self.due_ms = self.due_ms.min(deadline.0);
        }
        true
    }

    /// One turn of active expiry: removes what is due in some segments. `true` while there is more to do.
    pub fn expire_turn(&mut self, now: UnixMs, reclaimer: &Reclaimer) -> bool {
        if self.walk.is_none() && self.due_ms > now.0 {
            return false;
        }
        let (at, mut due_ms) = self.walk.take().unwrap_or((self.first, i64::MAX));
        if at == self.first {
            // What is stored from here on lowers this again.
            self.due_ms = i64::MAX;
        }
        let mut count = 0;
        let next = self.table.expire(at, EXPIRE_SEGMENTS, now, &mut due_ms, &mut |entry| {
            count += 1;
            reclaimer.take(Garbage::Entry(entry));
        });
        self.stats.expired += count;
        self.stats.expired_active += count;
        match next {
            Some(at) => self.walk = Some((at, due_ms)),
            None => self.due_ms = self.due_ms.min(due_ms),
        }
        next.is_some()
    }

    /// Takes everything out; the table returned is to be dropped where that disturbs nobody.
    pub fn take(&mut self) -> Table {
        self.walk = None;
        self.due_ms = i64::MAX;
        self.table.take()
    }

    /// Exchanges the keys of two shards; the counters stay.
    pub fn swap(&mut self, other: &mut Shard) {
        self.table.swap(&mut other.table);
        std::mem::swap(&mut self.due_ms, &mut other.due_ms);
        std::mem::swap(&mut self.walk, &mut other.walk);
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

/// The access clock: seconds, of which entries keep 24 bits.
#[inline]
pub fn access_seconds(now: UnixMs) -> u32 {
    u32::try_from(now.seconds() & 0x00ff_ffff).unwrap_or(0)
}

#[inline]
fn note_use(found: &mut Occupied<'_>, now: UnixMs) {
    let seconds = access_seconds(now);
    // Compared first: most uses fall into the same second, and a store would dirty the line for other cores.
    if found.get().access() != seconds {
        found.get_mut().set_access(seconds);
    }
}

fn new_entry(key: Key<'_>, value: StringSource<'_>, deadline: Option<UnixMs>, now: UnixMs) -> Entry {
    let mut entry = Entry::new(key.bytes, value, deadline);
    entry.get_mut().set_access(access_seconds(now));
    entry
}
