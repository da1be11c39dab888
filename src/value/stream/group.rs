//! Consumer groups: who has been given which entries and has not yet acknowledged them.
//!
//! Invariant: an id is pending for exactly the consumer that its record in the group names, so the consumers' lists are a
//! partition of the group's. Must not know: the entries themselves, the clock (times come in as Unix ms).

use super::id::StreamId;
use super::kept::Slot;
use std::collections::{BTreeMap, BTreeSet};

/// Names a consumer within its group, as long as it exists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct ConsumerId(u32);

/// Names no consumer.
const NOBODY: ConsumerId = ConsumerId(u32::MAX); // 4 Gi consumers would need 300 GiB

/// A delivery that has not been acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pending {
    /// To whom it was delivered.
    pub consumer: ConsumerId,
    /// When, in Unix ms.
    pub delivered_ms: i64,
    /// How often.
    pub count: u64,
}

/// A member of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Consumer {
    name: Box<[u8]>,
    /// When it last asked for anything, in Unix ms.
    pub seen_ms: i64,
    /// When it was last given anything, in Unix ms; negative: never.
    pub active_ms: i64,
    pending: BTreeSet<StreamId>,
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// How many entries it has not acknowledged. O(1).
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The ids from `start` to `end`, both included, that it has not acknowledged, in order.
    pub fn pending(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = StreamId> {
        let end = if start > end { None } else { Some(end) };
        end.into_iter().flat_map(move |end| self.pending.range(start..=end).copied())
    }
}

/// A place for a consumer.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    Taken(Consumer),
    /// With the next free place, or [`NOBODY`].
    Free(ConsumerId),
}

// What a free place says lies where the consumer would.
const _: () = assert!(size_of::<Place>() == size_of::<Consumer>());

impl Place {
    fn taken(&self) -> Option<&Consumer> {
        if let Place::Taken(consumer) = self { Some(consumer) } else { None }
    }
}

/// A consumer group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// The last id delivered to anybody.
    pub last_id: StreamId,
    /// How many entries of the stream's history lie up to `last_id`, where that is known.
    pub entries_read: Option<i64>,
    pub(super) pending: BTreeMap<StreamId, Pending>,
    /// What a walk needs of deliveries that change; before each change it is told.
    pub(super) kept: Slot<Pending>,
    /// By number. Places that become free are taken again, and given back when all are.
    consumers: Vec<Place>,
    /// The first of the free places, which name each other.
    free: ConsumerId,
    names: BTreeMap<Box<[u8]>, ConsumerId>,
}

impl Group {
    /// A group that goes on behind `last_id`.
    pub fn new(last_id: StreamId, entries_read: Option<i64>) -> Group {
        let (pending, consumers, names) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        Group { last_id, entries_read, pending, kept: Slot::default(), consumers, free: NOBODY, names }
    }

    /// Number of deliveries not acknowledged. O(1).
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The delivery of `id`, if it is pending. O(log n).
    pub fn pending_at(&self, id: StreamId) -> Option<&Pending> {
        self.pending.get(&id)
    }

    /// The pending deliveries from `start` to `end`, both included, in order of id.
    pub fn pending(&self, start: StreamId, end: StreamId) -> impl DoubleEndedIterator<Item = (StreamId, &Pending)> {
        let end = if start > end { None } else { Some(end) };
        end.into_iter().flat_map(move |end| self.pending.range(start..=end).map(|(id, pending)| (*id, pending)))
    }

    /// The first and the last pending id.
    pub fn pending_ends(&self) -> Option<(StreamId, StreamId)> {
        Some((*self.pending.first_key_value()?.0, *self.pending.last_key_value()?.0))
    }

    // Consumers

    /// Number of consumers. O(1).
    pub fn consumers_len(&self) -> usize {
        self.names.len()
    }

    /// The consumers in order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.names.values().filter_map(|id| self.consumer(*id))
    }

    /// Who they are, in the order of [`Group::consumers`].
    pub fn consumer_ids(&self) -> impl Iterator<Item = ConsumerId> {
        self.names.values().copied()
    }

    /// The consumer of this name. O(log n).
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerId> {
        self.names.get(name).copied()
    }

    /// A consumer.
    pub fn consumer(&self, id: ConsumerId) -> Option<&Consumer> {
        self.consumers.get(id.0 as usize)?.taken()
    }

    /// A consumer's name; empty when there is no such consumer.
    pub fn consumer_name(&self, id: ConsumerId) -> &[u8] {
        self.consumer(id).map_or(&[], Consumer::name)
    }

    /// A consumer, to note when it was seen or active.
    pub fn consumer_mut(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        if let Place::Taken(consumer) = self.consumers.get_mut(id.0 as usize)? { Some(consumer) } else { None }
    }

    /// The consumer of this name, made where there is none; `true` when it was made. O(log n).
    pub fn consumer_or_new(&mut self, name: &[u8], now_ms: i64) -> (ConsumerId, bool) {
        if let Some(found) = self.find_consumer(name) {
            return (found, false);
        }
        let consumer = Consumer { name: name.into(), seen_ms: now_ms, active_ms: -1, pending: BTreeSet::new() };
        let id = self.place(consumer);
        self.names.insert(name.into(), id);
        (id, true)
    }

    /// Puts a consumer in a free place, or behind all. O(1), in the mean.
    fn place(&mut self, consumer: Consumer) -> ConsumerId {
        let id = self.free;
        match self.consumers.get_mut(id.0 as usize) {
            Some(place) => {
                if let Place::Free(next) = *place {
                    self.free = next;
                }
                *place = Place::Taken(consumer);
                id
            }
            None => {
                self.consumers.push(Place::Taken(consumer));
                u32::try_from(self.consumers.len() - 1).map_or(NOBODY, ConsumerId)
            }
        }
    }

    /// Takes a consumer out of its place.
    fn vacate(&mut self, id: ConsumerId) -> Option<Consumer> {
        let place = std::mem::replace(self.consumers.get_mut(id.0 as usize)?, Place::Free(self.free));
        self.free = id;
        if let Place::Taken(consumer) = place { Some(consumer) } else { None }
    }

    /// Removes a consumer and forgets what was pending for it; returns how much that was, `None` when there is no such
    /// consumer. O(pending log n).
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let id = self.names.remove(name)?;
        let consumer = self.vacate(id)?;
        if self.names.is_empty() {
            (self.consumers, self.free) = (Vec::new(), NOBODY);
        }
        for id in &consumer.pending {
            let pending = self.pending.remove(id);
            self.kept.note(*id, || pending);
        }
        Some(consumer.pending.len())
    }

    // Deliveries

    /// Notes that `id` was delivered to `consumer`, whoever had it before. O(log n).
    pub fn deliver(&mut self, id: StreamId, consumer: ConsumerId, delivered_ms: i64, count: u64) {
        let before = self.pending.insert(id, Pending { consumer, delivered_ms, count });
        self.kept.note(id, || before);
        match before {
            Some(before) if before.consumer == consumer => return,
            Some(before) => self.forget(before.consumer, id),
            None => {}
        }
        if let Some(consumer) = self.consumer_mut(consumer) {
            consumer.pending.insert(id);
        }
    }

    /// Forgets the delivery of `id`; returns it, `None` when it was not pending. O(log n).
    pub fn acknowledge(&mut self, id: StreamId) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        self.kept.note(id, || Some(pending));
        self.forget(pending.consumer, id);
        Some(pending)
    }

    fn forget(&mut self, consumer: ConsumerId, id: StreamId) {
        if let Some(consumer) = self.consumer_mut(consumer) {
            consumer.pending.remove(&id);
        }
    }

    /// Notes another delivery of what is pending, to the same consumer; `false` when it is not pending. O(log n).
    pub fn redeliver(&mut self, id: StreamId, delivered_ms: i64) -> bool {
        let Some(pending) = self.pending.get_mut(&id) else { return false };
        self.kept.note(id, || Some(*pending));
        pending.delivered_ms = delivered_ms;
        pending.count = pending.count.wrapping_add(1);
        true
    }

    /// Bytes taken from the allocator, about. O(consumers).
    pub fn memory_bytes(&self) -> usize {
        // A B-tree's leaves are two thirds full, and inner nodes add a tenth.
        let pending = self.pending.len() * (size_of::<(StreamId, Pending)>() + size_of::<StreamId>()) * 5 / 3;
        let names: usize = self.names.keys().map(|name| 2 * name.len() + 32).sum();
        pending + names + self.consumers.capacity() * size_of::<Place>()
    }

    /// Asserts the invariant.
    #[cfg(test)]
    pub fn validate(&self) {
        let listed: usize = self.consumers().map(Consumer::pending_len).sum();
        assert_eq!(listed, self.pending.len());
        assert_eq!(self.names.len(), self.consumers.iter().filter_map(Place::taken).count());
        let mut free = Vec::new();
        let mut next = self.free;
        while let Some(Place::Free(further)) = self.consumers.get(next.0 as usize) {
            free.push(next);
            next = *further;
        }
        assert_eq!((next, self.names.len() + free.len()), (NOBODY, self.consumers.len()), "every free place is named");
        for (id, pending) in &self.pending {
            assert!(self.consumer(pending.consumer).is_some_and(|consumer| consumer.pending.contains(id)));
        }
        for (name, id) in &self.names {
            assert_eq!(&**name, self.consumer_name(*id));
        }
    }
}

/// The groups of a stream, in order of their names.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Groups(BTreeMap<Box<[u8]>, Group>);

impl Groups {
    /// Number of groups. O(1).
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The group of this name. O(log n).
    pub fn get(&self, name: &[u8]) -> Option<&Group> {
        self.0.get(name)
    }

    /// The group of this name, to change it. O(log n).
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.0.get_mut(name)
    }

    /// Adds a group; `false` when there is one of this name, which stays. O(log n).
    pub fn insert(&mut self, name: &[u8], group: Group) -> bool {
        let free = !self.0.contains_key(name);
        if free {
            self.0.insert(name.into(), group);
        }
        free
    }

    /// Takes a group out; see [`Stream::remove_group`](super::Stream::remove_group).
    pub(super) fn take(&mut self, name: &[u8]) -> Option<Group> {
        self.0.remove(name)
    }

    /// All groups, to begin a walk.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&[u8], &mut Group)> {
        self.0.iter_mut().map(|(name, group)| (&**name, group))
    }

    /// The groups in order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.0.iter().map(|(name, group)| (&**name, group))
    }

    /// Number of deliveries of all groups that are not acknowledged. O(groups).
    pub fn pending_len(&self) -> usize {
        self.0.values().map(Group::pending_len).sum()
    }

    /// Whether any group waits for the acknowledgement of `id`, or has not got to it yet. O(groups log n).
    pub fn refer_to(&self, id: StreamId) -> bool {
        self.0.values().any(|group| group.last_id < id || group.pending.contains_key(&id))
    }

    /// Makes every group forget the delivery of `id`. O(groups log n).
    pub fn forget(&mut self, id: StreamId) {
        for group in self.0.values_mut() {
            group.acknowledge(id);
        }
    }

    /// Bytes taken from the allocator, about. O(groups and consumers).
    pub fn memory_bytes(&self) -> usize {
        self.0.iter().map(|(name, group)| size_of::<Group>() + name.len() + 16 + group.memory_bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The model: id -> (consumer's name, time, count), and all names.
    type Model = (BTreeMap<u64, (u8, i64, u64)>, BTreeSet<u8>);

    #[derive(Clone, Debug)]
    enum Step {
        Deliver(u64, u8, i64),
        Acknowledge(u64),
        Redeliver(u64, i64),
        RemoveConsumer(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..20_u64, 0..5_u8, 0..100_i64).prop_map(|(id, name, time)| Step::Deliver(id, name, time)),
            2 => (0..20_u64).prop_map(Step::Acknowledge),
            1 => (0..20_u64, 0..100_i64).prop_map(|(id, time)| Step::Redeliver(id, time)),
            1 => (0..5_u8).prop_map(Step::RemoveConsumer),
        ]
    }

    fn apply(group: &mut Group, (pending, names): &mut Model, step: Step) {
        let id = |seq| StreamId::new(1, seq);
        match step {
            Step::Deliver(seq, name, time) => {
                let (consumer, made) = group.consumer_or_new(&[name], time);
                assert_eq!(made, names.insert(name));
                group.deliver(id(seq), consumer, time, 1);
                pending.insert(seq, (name, time, 1));
            }
            Step::Acknowledge(seq) => {
                assert_eq!(group.acknowledge(id(seq)).is_some(), pending.remove(&seq).is_some());
            }
            Step::Redeliver(seq, time) => {
                let found = pending.get_mut(&seq);
                assert_eq!(group.redeliver(id(seq), time), found.is_some());
                if let Some((_, at, count)) = found {
                    (*at, *count) = (time, *count + 1);
                }
            }
            Step::RemoveConsumer(name) => {
                let before = pending.len();
                pending.retain(|_, (owner, ..)| *owner != name);
                let expected = names.remove(&name).then_some(before - pending.len());
                assert_eq!(group.remove_consumer(&[name]), expected);
            }
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec(step(), 0..200)) {
            let (mut group, mut model) = (Group::new(StreamId::MIN, None), Model::default());
            for step in steps {
                apply(&mut group, &mut model, step);
                group.validate();
            }
            let shown: Vec<_> = group
                .pending(StreamId::MIN, StreamId::MAX)
                .map(|(id, it)| (id.seq, (group.consumer_name(it.consumer)[0], it.delivered_ms, it.count)))
                .collect();
            prop_assert_eq!(shown, model.0.into_iter().collect::<Vec<_>>());
            let names: Vec<u8> = group.consumers().map(|consumer| consumer.name()[0]).collect();
            prop_assert_eq!(names, model.1.into_iter().collect::<Vec<_>>());
        }
    }

    /// Each new consumer looked for a free place from the first on, and the places of those that had gone stayed for good.
    #[test]
    fn free_places_are_named_and_given_back() {
        let mut group = Group::new(StreamId::MIN, None);
        let name = |number: u32| number.to_be_bytes();
        (0..1000).for_each(|number| assert!(group.consumer_or_new(&name(number), 0).1));
        assert_eq!(group.free, NOBODY, "none is free: nothing to look for");
        let gone: Vec<ConsumerId> = (0..1000).step_by(3).filter_map(|it| group.find_consumer(&name(it))).collect();
        (0..1000).step_by(3).for_each(|number| assert_eq!(group.remove_consumer(&name(number)), Some(0)));
        group.validate();
        for (place, number) in gone.iter().rev().zip(1000..) {
            assert_eq!(group.free, *place, "the next one is known");
            assert_eq!(group.consumer_or_new(&name(number), 0), (*place, true));
        }
        group.validate();
        assert_eq!((group.consumers_len(), group.consumers.len(), group.free), (1000, 1000, NOBODY));
        assert_eq!((0..2000).filter_map(|number| group.remove_consumer(&name(number))).count(), 1000);
        assert_eq!((group.consumers_len(), group.consumers.capacity()), (0, 0));
        assert_eq!(group.consumer_or_new(b"c", 0), (ConsumerId(0), true));
        group.validate();
    }

    #[test]
    fn empty_ranges_are_empty() {
        let mut group = Group::new(StreamId::MIN, None);
        let (consumer, _) = group.consumer_or_new(b"c", 0);
        group.deliver(StreamId::new(1, 1), consumer, 0, 1);
        assert_eq!(group.pending(StreamId::MAX, StreamId::MIN).count(), 0);
        assert_eq!(group.consumer(consumer).map(|it| it.pending(StreamId::MAX, StreamId::MIN).count()), Some(0));
        assert_eq!(group.pending_ends(), Some((StreamId::new(1, 1), StreamId::new(1, 1))));
    }
}
