//! A census of the keys: bytes by type and the biggest keys, counted in the background, a little at a time.
//!
//! A pass walks through all databases in hash order, some fifty keys under a lock, for [`SLICE_NANOS`] ten times a second:
//! a five-hundredth of a core, some 15,000 keys a second. What is reported is the last complete pass; a key that was there
//! throughout was counted in it once. Must not know: clients, requests.

use crate::keyspace::entry::EntryRef;
use crate::keyspace::{Keyspace, LockPlan, View};
use crate::util::clock::{Ticks, UnixMs};
use crate::value::object::Kind;
use parking_lot::Mutex;

/// Keys that are kept as the biggest.
pub const BIGGEST: usize = 10;

/// Time of one step, in nanoseconds.
const SLICE_NANOS: u64 = 200_000;

/// Homes of some six keys each that are visited under one lock.
const HOMES: usize = 8;

/// A new pass begins no sooner after the last one began, in milliseconds.
const PASS_EVERY_MS: i64 = 1000;

/// Bytes that are kept of the name of a big key.
const NAME_BYTES: usize = 1024;

/// The types in the order of their figures.
pub const KINDS: [Kind; 6] = [Kind::String, Kind::List, Kind::Hash, Kind::Set, Kind::SortedSet, Kind::Stream];

/// A big key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BigKey {
    /// Its database.
    pub db: usize,
    /// Its name, up to [`NAME_BYTES`] of it.
    pub key: Vec<u8>,
    /// Its type.
    pub kind: Kind,
    /// Bytes that it takes from the allocator.
    pub bytes: usize,
}

/// Keys and bytes of a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Share {
    /// Keys.
    pub keys: u64,
    /// Bytes of their entries and values.
    pub bytes: u64,
}

/// What a pass has counted.
#[derive(Clone, Debug, Default)]
pub struct Count {
    /// By type, in the order of [`KINDS`].
    pub shares: [Share; 6],
    /// The biggest keys, biggest first.
    pub biggest: Vec<BigKey>,
    /// When the pass began and ended; the same moment for none.
    pub began: UnixMs,
    /// See `began`.
    pub ended: UnixMs,
}

impl Count {
    fn add(&mut self, db: usize, entry: EntryRef<'_>) {
        let (kind, bytes) = (entry.kind(), entry.memory_bytes());
        if let Some(place) = KINDS.iter().position(|other| *other == kind) {
            self.shares[place].keys += 1;
            self.shares[place].bytes += bytes as u64;
        }
        let smallest = self.biggest.last().filter(|_| self.biggest.len() == BIGGEST);
        if smallest.is_none_or(|smallest| smallest.bytes < bytes) {
            let key = entry.key();
            let place = self.biggest.partition_point(|other| other.bytes >= bytes);
            self.biggest.insert(place, BigKey { db, key: key[..key.len().min(NAME_BYTES)].to_vec(), kind, bytes });
            self.biggest.truncate(BIGGEST);
        }
    }
}

/// The pass in progress; for whoever does the counting.
#[derive(Default)]
pub struct Pass {
    /// Where it goes on: database and position. `None` between two passes.
    at: Option<(usize, u64)>,
    count: Count,
}

/// The last complete pass.
#[derive(Default)]
pub struct Census(Mutex<Count>);

impl Census {
    /// What the last complete pass has counted.
    pub fn last(&self) -> Count {
        self.0.lock().clone()
    }

    /// Counts on for about [`SLICE_NANOS`], and begins a pass when it is time.
    pub fn step(&self, pass: &mut Pass, keyspace: &Keyspace, now: UnixMs) {
        if pass.at.is_none() {
            if now.0.saturating_sub(pass.count.began.0) < PASS_EVERY_MS {
                return;
            }
            pass.count = Count { began: now, ..Count::default() };
            pass.at = Some((0, 0));
        }
        let started = Ticks::now();
        while let Some((db, position)) = pass.at {
            pass.at = next(&mut pass.count, keyspace, now, db, position);
            if Ticks::now().nanos_since(started) > SLICE_NANOS {
                return;
            }
        }
        pass.count.ended = now;
        *self.0.lock() = pass.count.clone();
    }
}

/// Counts some keys; returns where to go on.
fn next(count: &mut Count, keyspace: &Keyspace, now: UnixMs, db: usize, position: u64) -> Option<(usize, u64)> {
    let mut view = View::lock(keyspace, db, now, false, LockPlan::Keys, std::iter::empty());
    match view.walk(db, position, HOMES, &mut |entry| count.add(db, entry)) {
        Some(position) => Some((db, position)),
        None => (db + 1 < keyspace.databases()).then_some((db + 1, 0)),
    }
}
