//! Streams: entries under ascending ids, and groups of consumers that share the work on them.
//!
//! Entries lie in nodes, which are listpacks of the very layout that snapshots hold, so that DUMP and RDB copy them. A
//! stream stays when it has no entries left. Invariant: that of its entries and that of each group; a group may have ids
//! pending whose entries are gone. Must not know: keys, clocks, locks, clients, RESP. Source: the Redis manual on streams.

pub mod entries;
pub mod group;
pub mod id;
pub mod node;
mod radix;
pub mod trim;

use super::object::{Collection, Kind, Object, ObjectMut, ObjectRef};
use entries::Entries;
use group::{Group, Groups};
use id::StreamId;
use trim::{Refs, Trim};

/// A stream.
#[derive(Default, Clone, PartialEq, Eq, Debug)]
pub struct Stream(Box<Body>);

#[derive(Default, Clone, PartialEq, Eq, Debug)]
struct Body {
    entries: Entries,
    groups: Groups,
}

impl Stream {
    /// A stream of these parts, as a snapshot has them.
    pub fn new(entries: Entries, groups: Groups) -> Stream {
        Stream(Box::new(Body { entries, groups }))
    }

    /// The entries.
    pub fn entries(&self) -> &Entries {
        &self.0.entries
    }

    /// The entries, to change them.
    pub fn entries_mut(&mut self) -> &mut Entries {
        &mut self.0.entries
    }

    /// The groups.
    pub fn groups(&self) -> &Groups {
        &self.0.groups
    }

    /// The groups, to change them.
    pub fn groups_mut(&mut self) -> &mut Groups {
        &mut self.0.groups
    }

    /// The entries and one group, to read those while that notes it; `None` when there is no such group.
    pub fn with_group(&mut self, name: &[u8]) -> Option<(&mut Entries, &mut Group)> {
        let Body { entries, groups } = &mut *self.0;
        Some((entries, groups.get_mut(name)?))
    }

    /// Trims; returns how many entries went. See [`Entries::trim`].
    pub fn trim(&mut self, trim: &Trim) -> u64 {
        let Body { entries, groups } = &mut *self.0;
        entries.trim(trim, groups)
    }

    /// Deletes an entry as `refs` says; what became of it. O(log n + entries of a node + groups log n).
    pub fn delete(&mut self, id: StreamId, refs: Refs) -> Deletion {
        let Body { entries, groups } = &mut *self.0;
        if refs == Refs::Respect && groups.refer_to(id) && entries.get(id).is_some() {
            return Deletion::Referenced;
        }
        let deleted = entries.delete(id);
        if deleted && refs == Refs::Forget {
            groups.forget(id);
        }
        if deleted { Deletion::Deleted } else { Deletion::Missing }
    }

    /// How far the group lags behind the stream, where the figures tell.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let entries = self.entries();
        let added = entries.figures().added.cast_signed();
        if added == 0 {
            return Some(0);
        }
        let read = group.entries_read.filter(|_| !entries.has_tombstones(group.last_id, StreamId::MAX));
        let read = read.or_else(|| entries.position(group.last_id))?;
        Some(added.wrapping_sub(read))
    }
}

/// What became of an entry that was to be deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deletion {
    /// There was none.
    Missing,
    /// It is gone.
    Deleted,
    /// It stays because a group still refers to it.
    Referenced,
}

impl Collection for Stream {
    const KIND: Kind = Kind::Stream;

    fn of(object: ObjectRef<'_>) -> Option<&Stream> {
        if let ObjectRef::Stream(it) = object { Some(it) } else { None }
    }

    fn of_mut(object: ObjectMut<'_>) -> Option<&mut Stream> {
        if let ObjectMut::Stream(it) = object { Some(it) } else { None }
    }

    fn into_object(self) -> Object {
        Object::Stream(self)
    }

    fn len(&self) -> usize {
        usize::try_from(self.entries().len()).unwrap_or(usize::MAX)
    }

    fn encoding(&self) -> &'static str {
        "stream"
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Body>() + self.entries().memory_bytes() + self.groups().memory_bytes()
    }
}
