//! Streams: entries under ascending ids, and groups of consumers that share the work on them.
//!
//! Entries lie in nodes, which are listpacks of the very layout that snapshots hold, so that DUMP and RDB copy them. A
//! stream stays when it has no entries left. Invariant: that of its entries and that of each group; a group may have ids
//! pending whose entries are gone. Must not know: keys, clocks, locks, clients, RESP. Source: the Redis manual on streams.

pub mod entries;
pub mod group;
pub mod id;
mod kept;
pub mod node;
mod radix;
pub mod trim;
pub mod walk;

use super::object::{Collection, Kind, Object, ObjectMut, ObjectRef};
use entries::Entries;
use group::{Group, Groups};
use id::StreamId;
use trim::{Refs, Trim};
use walk::Walk;

/// A stream.
#[derive(Default, Clone, PartialEq, Eq, Debug)]
pub struct Stream(Box<Body>);

#[derive(Default, Clone, PartialEq, Eq, Debug)]
struct Body {
    entries: Entries,
    groups: Groups,
    walk: Walk,
}

impl Stream {
    /// A stream of these parts, as a snapshot has them.
    pub fn new(entries: Entries, groups: Groups) -> Stream {
        Stream(Box::new(Body { entries, groups, walk: Walk::default() }))
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

    /// Removes a group; `false` when there is none.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        let Some(group) = self.0.groups.take(name) else { return false };
        self.0.walk.keep(name, group);
        true
    }

    /// The entries and one group, to read those while that notes it; `None` when there is no such group.
    pub fn with_group(&mut self, name: &[u8]) -> Option<(&mut Entries, &mut Group)> {
        let Body { entries, groups, .. } = &mut *self.0;
        Some((entries, groups.get_mut(name)?))
    }

    /// Trims; returns how many entries went. See [`Entries::trim`].
    pub fn trim(&mut self, trim: &Trim) -> u64 {
        let Body { entries, groups, .. } = &mut *self.0;
        entries.trim(trim, groups)
    }

    /// Deletes an entry as `refs` says, which holds for deliveries of entries long gone too; what became of it. O(log n +
    /// entries of a node + groups log n).
    pub fn delete(&mut self, id: StreamId, refs: Refs) -> Deletion {
        let Body { entries, groups, .. } = &mut *self.0;
        match refs {
            Refs::Respect if groups.refer_to(id) => return Deletion::Referenced,
            Refs::Forget => groups.forget(id),
            _ => {}
        }
        let deleted = entries.delete(id);
        if deleted { Deletion::Deleted } else { Deletion::Missing }
    }

    /// How far the group lags behind the stream, where the figures tell.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let entries = self.entries();
        let added = entries.figures().added.cast_signed();
        if added == 0 {
            return Some(0);
        }
        let read = group.entries_read.filter(|_| !entries.has_tombstones(group.last_id));
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

#[cfg(test)]
mod tests {
    use super::entries::{Figures, NewId};
    use super::node::NodeLimits;
    use super::trim::TrimTo;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Fields = Vec<(Vec<u8>, Vec<u8>)>;
    /// Id to names and values.
    type Model = BTreeMap<StreamId, Fields>;

    #[derive(Clone, Debug)]
    enum Step {
        Append(NewId, u64, Vec<(u8, i64)>),
        Delete(u64, u64),
        Trim(TrimTo, bool, u64),
        Range(StreamId, StreamId),
    }

    fn id() -> impl Strategy<Value = StreamId> {
        (0..60_u64, 0..3_u64).prop_map(|(ms, seq)| StreamId { ms, seq })
    }

    fn step() -> impl Strategy<Value = Step> {
        let new = prop_oneof![Just(NewId::Auto), (0..60_u64).prop_map(NewId::AnySeq), id().prop_map(NewId::Exactly)];
        let fields = prop::collection::vec((b'a'..b'd', -5..500_i64), 1..4);
        let to = prop_oneof![(0..30_u64).prop_map(TrimTo::Len), id().prop_map(TrimTo::Id)];
        prop_oneof![
            8 => (new, 0..60_u64, fields).prop_map(|(id, now, fields)| Step::Append(id, now, fields)),
            3 => (0..60_u64, 0..3_u64).prop_map(|(ms, seq)| Step::Delete(ms, seq)),
            1 => (to, any::<bool>(), 0..9_u64).prop_map(|(to, whole, limit)| Step::Trim(to, whole, limit)),
            2 => (id(), id()).prop_map(|(start, end)| Step::Range(start, end)),
        ]
    }

    fn read(entry: node::Entry<'_>) -> (StreamId, Fields) {
        (entry.id, entry.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect())
    }

    fn append(stream: &mut Stream, model: &mut Model, id: StreamId, fields: &[(u8, i64)], limits: NodeLimits) {
        let texts: Vec<_> =
            fields.iter().map(|(name, value)| (vec![*name; 3], value.to_string().into_bytes())).collect();
        let fields: Vec<_> = texts.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        stream.entries_mut().append(id, &fields, limits);
        model.insert(id, texts);
    }

    fn trim(stream: &mut Stream, model: &mut Model, trim: Trim) {
        let before: Vec<StreamId> = model.keys().copied().collect();
        let doomed = match trim.to {
            TrimTo::Len(len) => before.len().saturating_sub(usize::try_from(len).unwrap()),
            TrimTo::Id(id) => before.iter().filter(|it| **it < id).count(),
        };
        let gone = usize::try_from(stream.trim(&trim)).unwrap();
        match trim.whole_nodes {
            true => assert!(gone <= doomed && (trim.limit == 0 || gone as u64 <= trim.limit)),
            false if trim.limit == 0 => assert_eq!(gone, doomed),
            false => assert!(gone <= doomed),
        }
        before[..gone].iter().for_each(|id| drop(model.remove(id)));
    }

    fn apply(stream: &mut Stream, model: &mut Model, step: Step, limits: NodeLimits) {
        match step {
            Step::Append(new, now, fields) => {
                if let Some(id) = stream.entries().next_id(new, now) {
                    assert!(id > stream.entries().last_id());
                    append(stream, model, id, &fields, limits);
                }
            }
            Step::Delete(ms, seq) => {
                let id = StreamId { ms, seq };
                let expected = if model.remove(&id).is_some() { Deletion::Deleted } else { Deletion::Missing };
                assert_eq!(stream.delete(id, Refs::Keep), expected);
            }
            Step::Trim(to, whole_nodes, limit) => {
                trim(stream, model, Trim { to, whole_nodes, limit, refs: Refs::Keep });
            }
            Step::Range(start, end) => check_range(stream, model, start, end),
        }
    }

    fn check_range(stream: &Stream, model: &Model, start: StreamId, end: StreamId) {
        let inside = |id: &StreamId| start <= *id && *id <= end;
        let expected: Vec<_> = model.iter().filter(|(id, _)| inside(id)).map(|(id, it)| (*id, it.clone())).collect();
        let forward: Vec<_> = stream.entries().range(start, end).map(read).collect();
        let mut backward: Vec<_> = stream.entries().range_back(start, end).map(read).collect();
        backward.reverse();
        assert_eq!(forward, expected);
        assert_eq!(backward, expected);
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(
            steps in prop::collection::vec(step(), 0..150),
            bytes in prop_oneof![Just(0_usize), 20..200_usize],
            entries in 0..6_usize,
        ) {
            let (mut stream, mut model) = (Stream::default(), Model::new());
            for step in steps {
                apply(&mut stream, &mut model, step, NodeLimits { bytes, entries });
                stream.entries().validate();
                prop_assert_eq!(stream.len(), model.len());
            }
            check_range(&stream, &model, StreamId::MIN, StreamId::MAX);
            let loaded = Entries::from_nodes(stream.entries().nodes(), *stream.entries().figures());
            prop_assert_eq!(loaded.as_ref(), Some(stream.entries()));
            let lying = Figures { len: stream.entries().len() + 1, ..*stream.entries().figures() };
            prop_assert!(Entries::from_nodes(stream.entries().nodes(), lying).is_none());
        }
    }

    const FEW: NodeLimits = NodeLimits { bytes: 0, entries: 3 };

    fn numbered(count: u64) -> Stream {
        let mut stream = Stream::default();
        (1..=count).for_each(|ms| stream.entries_mut().append(StreamId::new(ms, 0), &[(b"f", b"v")], FEW));
        stream
    }

    #[test]
    fn references_decide_what_may_go() {
        let mut stream = numbered(8);
        let mut group = Group::new(StreamId::new(6, 0), None);
        let (consumer, _) = group.consumer_or_new(b"c", 0);
        [1, 5].into_iter().for_each(|ms| group.deliver(StreamId::new(ms, 0), consumer, 0, 1));
        stream.groups_mut().insert(b"g", group);

        let id = |ms| StreamId::new(ms, 0);
        assert_eq!(stream.delete(id(5), Refs::Respect), Deletion::Referenced);
        assert_eq!(stream.delete(id(7), Refs::Respect), Deletion::Referenced);
        assert_eq!(stream.delete(id(9), Refs::Respect), Deletion::Referenced);
        assert_eq!(stream.delete(id(9), Refs::Forget), Deletion::Missing);
        let trim = Trim { to: TrimTo::Len(0), whole_nodes: false, limit: 0, refs: Refs::Respect };
        assert_eq!(stream.trim(&trim), 4); // 2, 3, 4 and 6
        let left: Vec<u64> = stream.entries().range(StreamId::MIN, StreamId::MAX).map(|entry| entry.id.ms).collect();
        assert_eq!(left, [1, 5, 7, 8]);
        assert_eq!(stream.delete(id(5), Refs::Forget), Deletion::Deleted);
        assert_eq!(stream.trim(&Trim { refs: Refs::Forget, ..trim }), 3);
        assert_eq!(stream.groups().get(b"g").map(Group::pending_len), Some(0));
        stream.entries().validate();
    }

    #[test]
    fn a_stream_without_entries_keeps_its_figures() {
        let mut stream = numbered(3);
        (1..=3).for_each(|ms| assert_eq!(stream.delete(StreamId::new(ms, 0), Refs::Keep), Deletion::Deleted));
        let figures = *stream.entries().figures();
        assert_eq!((figures.len, figures.added, figures.first_id), (0, 3, StreamId::MIN));
        assert_eq!((figures.last_id.ms, figures.max_deleted_id.ms), (3, 3));
        assert_eq!(stream.entries().radix_nodes(), 1);
    }
}
