//! Long collections of a cut: recorded in parts, each under the lock of the shard in which the collection is by then.
//!
//! A walk through the collection (`value::walk`) begins when the cut's walk comes to it, or before a write to it. From then on it is no
//! concern of the tables: it keeps what it was, is followed by its name wherever RENAME or MOVE may take it, and leaves what it
//! held to the walk when it is deleted. Invariant: its parts follow each other, and nothing else is given out in between. Must not
//! know: what the parts look like.

use super::super::entry::{EntryMut, EntryRef};
use super::super::table::Table;
use super::super::{Key, Keyspace};
use super::{Cut, Given, PartRecorder, State, Walk};
use crate::util::clock::Ticks;
use crate::util::pieces::Pieces;
use crate::value::object::ObjectRef;
use crate::value::walk::{Claim, Left, Part};
use std::sync::atomic::Ordering::Relaxed;

/// Collections of so many steps are recorded in parts: the others take less than a turn.
const LONG: usize = 512;

/// A collection that is recorded in parts.
pub struct Long {
    claim: Claim,
    /// The database in which it was at the cut.
    db: usize,
    kind: u8,
    head: Pieces,
    /// What it has left, once it is gone.
    left: Option<Left>,
}

/// Whether a walk through the entry's collection is in progress.
fn is_claimed(entry: EntryRef<'_>) -> bool {
    entry.object().and_then(ObjectRef::claim).is_some_and(|claim| !claim.is_over())
}

impl Walk {
    /// Whether an entry is to be recorded in parts, and has not begun to be.
    pub fn is_long(&self, entry: EntryRef<'_>) -> bool {
        let is_long = || entry.object().and_then(ObjectRef::walk_len).is_some_and(|steps| steps >= LONG);
        self.state.record.parts().is_some() && is_long() && !is_claimed(entry) && entry.is_live(self.state.now)
    }

    /// Whether an entry is to be recorded as a whole.
    pub fn is_whole(&self, entry: EntryRef<'_>) -> bool {
        !is_claimed(entry)
    }

    /// Begins to record an entry in parts.
    pub fn begin_long(&self, entry: EntryMut<'_>) {
        let Some(parts) = self.state.record.parts() else { return };
        let (claim, mut head) = (Claim::new(entry.get().key()), Pieces::default());
        let kind = parts.head(entry.get(), self.state.now, &mut head);
        if let Some(object) = entry.into_object() {
            object.begin_walk(&claim);
        }
        self.state.longs.lock().push_back(Long { claim, db: self.place.0, kind, head, left: None });
    }
}

impl Table {
    /// Begins to record the collection at `key` in parts.
    pub(super) fn begin_long(&mut self, walk: &mut Walk, key: Key<'_>) {
        if let Some(mut found) = self.find(key) {
            walk.begin_long(found.unkept());
        }
    }

    /// Goes on with the walk through the collection at `key`; `None` when that is not the claimed one.
    fn walk_long(&mut self, key: Key<'_>, claim: &Claim, work: &mut Work<'_>) -> Option<bool> {
        let mut found = self.find(key)?;
        let object = found.get().object()?;
        if !object.claim()?.is(claim) {
            return None;
        }
        let object = found.unkept().into_object()?;
        Some(object.walk_on(&mut || Ticks::now().nanos_since(work.started) < work.nanos, &mut |part| {
            work.parts.part(work.kind, part, work.state.now, work.out);
        }))
    }
}

/// A turn's work at a long collection.
struct Work<'w> {
    parts: &'w dyn PartRecorder,
    state: &'w State,
    kind: u8,
    started: Ticks,
    nanos: u64,
    out: &'w mut Pieces,
}

impl Cut<'_> {
    /// Begins to give a long collection out.
    pub(super) fn begin_long(&mut self, mut long: Long, out: &mut Pieces) -> (usize, Given) {
        let db = long.db;
        out.append(&mut long.head);
        self.long = Some(long);
        (db, Given::Part)
    }

    /// Gives out more of a long collection.
    pub(super) fn turn_long(&mut self, nanos: u64, out: &mut Pieces) -> Option<(usize, Given)> {
        let mut long = self.long.take()?;
        let done = self.walk_long(&mut long, nanos, out);
        let db = long.db;
        if done {
            self.state.recorded.fetch_add(1, Relaxed);
            return Some((db, Given::LastPart));
        }
        self.long = Some(long);
        Some((db, Given::Part))
    }

    /// Looks for the collection and walks on through it; `true` at its end. Where it is not to be found it is on its way, or being
    /// given up by whoever freed it.
    fn walk_long(&mut self, long: &mut Long, nanos: u64, out: &mut Pieces) -> bool {
        let (keyspace, state) = (self.keyspace, std::sync::Arc::clone(&self.state));
        let Some(parts) = state.record.parts() else { return true };
        let mut work = Work { parts, state: &state, kind: long.kind, started: Ticks::now(), nanos, out };
        if long.left.is_none() {
            long.left = long.claim.take_left();
        }
        if let Some(left) = &mut long.left {
            let mut part = |part: Part<'_>| work.parts.part(work.kind, part, state.now, work.out);
            return left.walk_on(&mut || Ticks::now().nanos_since(work.started) < nanos, &mut part);
        }
        let name = long.claim.name();
        let key = keyspace.hasher().key(&name);
        if let Some(done) = self.walk_live(long, key, &mut work) {
            return done;
        }
        let mut orphans = state.orphans.lock();
        let mut orphans = self.orphan.iter_mut().chain(orphans.iter_mut());
        orphans.find_map(|orphan| orphan.table.walk_long(key, &long.claim, &mut work)).unwrap_or(false)
    }

    /// As [`Cut::walk_long`], in the databases.
    fn walk_live(&mut self, long: &Long, key: Key<'_>, work: &mut Work<'_>) -> Option<bool> {
        let keyspace: &Keyspace = self.keyspace;
        for db in std::iter::once(long.db).chain(0..keyspace.databases()) {
            let Some(cells) = keyspace.databases[db].get() else { continue };
            let mut shard = cells[keyspace.shard_of(key.hash)].shard.lock();
            work.started = Ticks::now();
            if let Some(done) = shard.table_mut().walk_long(key, &long.claim, work) {
                drop(shard);
                self.longest_nanos = self.longest_nanos.max(Ticks::now().nanos_since(work.started));
                return Some(done);
            }
        }
        None
    }

    /// Nobody walks through the long collections any more.
    pub(super) fn give_up_longs(&mut self) {
        let longs = std::mem::take(&mut *self.state.longs.lock());
        longs.iter().chain(&self.long).for_each(|long| long.claim.give_up());
    }
}
