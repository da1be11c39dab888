//! The entries of a stream: nodes in order of their first ids, and the figures that outlive deleted entries.
//!
//! Invariant: ids ascend through all nodes and none exceeds `last_id`; `len` counts the live entries, `first_id` is the
//! first of them (0-0 without one). Must not know: groups, the clock.

use super::id::StreamId;
use super::kept::Slot;
use super::node::{self, Entry, Field, Node, NodeLimits};
use crate::value::listpack;
use std::borrow::Cow;
use std::collections::{BTreeMap, btree_map};

/// The most bytes that the fields and values of an entry may have together (1 GiB), as in Redis.
pub const MAX_ENTRY_BYTES: usize = listpack::MAX_BYTES;

/// The id that a new entry is to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewId {
    /// The time, or right behind the last id where the clock lags.
    Auto,
    /// The next free sequence number of this millisecond.
    AnySeq(u64),
    /// This one.
    Exactly(StreamId),
}

/// Figures of a stream that its nodes do not tell, as snapshots hold them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Number of live entries.
    pub len: u64,
    /// The greatest id ever given.
    pub last_id: StreamId,
    /// The first live id, 0-0 without one.
    pub first_id: StreamId,
    /// The greatest id ever deleted by name.
    pub max_deleted_id: StreamId,
    /// Entries ever added.
    pub added: u64,
}

/// The entries of a stream.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Entries {
    pub(super) nodes: BTreeMap<StreamId, Node>,
    /// What a walk needs of nodes that change; before each change it is told.
    pub(super) kept: Slot<Node>,
    pub(super) figures: Figures,
}

impl Entries {
    /// The entries of these nodes, each with the id of its first entry, ascending; `None` when a node is not valid or the
    /// figures are not theirs. The first live id is looked up, whatever the figures say.
    pub fn from_nodes<B: AsRef<[u8]>>(nodes: impl Iterator<Item = (StreamId, B)>, figures: Figures) -> Option<Entries> {
        let mut entries = Entries { nodes: BTreeMap::new(), kept: Slot::default(), figures };
        let (mut len, mut last) = (0, None);
        for (first, bytes) in nodes {
            let node = Node::from_bytes(first, bytes.as_ref())?;
            if last.is_some_and(|last| last >= first) {
                return None;
            }
            last = Some(node.last_id(first));
            len += node.live() as u64;
            entries.nodes.insert(first, node);
        }
        entries.find_first();
        (len == figures.len && last <= Some(figures.last_id)).then_some(entries)
    }

    /// The nodes as snapshots hold them, each with the id of its first entry.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (StreamId, Cow<'_, [u8]>)> {
        self.nodes.iter().map(|(first, node)| (*first, node.pack().bytes()))
    }

    /// Figures beside the nodes.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Number of entries. O(1).
    pub fn len(&self) -> u64 {
        self.figures.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.figures.len == 0
    }

    /// The greatest id ever given.
    pub fn last_id(&self) -> StreamId {
        self.figures.last_id
    }

    /// The id a new entry would get; `None` when there is none left, or it would not be greater than the last.
    pub fn next_id(&self, wanted: NewId, now_ms: u64) -> Option<StreamId> {
        let last = self.figures.last_id;
        match wanted {
            NewId::Auto if now_ms > last.ms => Some(StreamId::new(now_ms, 0)),
            NewId::Auto => last.next(),
            NewId::AnySeq(ms) if ms == last.ms => last.next().filter(|next| next.ms == ms),
            NewId::AnySeq(ms) => Some(StreamId::new(ms, 0)).filter(|id| *id > last),
            NewId::Exactly(id) => Some(id).filter(|id| *id > last),
        }
    }

    /// Adds an entry; `id` must be greater than the last and the fields no longer than [`MAX_ENTRY_BYTES`]. O(log nodes +
    /// bytes).
    pub fn append(&mut self, id: StreamId, fields: &[Field<'_>], limits: NodeLimits) {
        let bytes = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        let most = if limits.bytes == 0 { MAX_ENTRY_BYTES } else { limits.bytes.min(MAX_ENTRY_BYTES) };
        let limits = NodeLimits { bytes: most, ..limits };
        match self.nodes.last_entry().filter(|last| last.get().has_room(bytes, limits)) {
            Some(mut last) => {
                let first = *last.key();
                self.kept.note(first, || Some(last.get().clone()));
                last.get_mut().push(first, id, fields);
            }
            None => {
                let mut node = Node::new(fields);
                node.push(id, id, fields);
                self.kept.note(id, || None);
                self.nodes.insert(id, node);
            }
        }
        let figures = &mut self.figures;
        if figures.len == 0 {
            figures.first_id = id;
        }
        figures.len += 1;
        figures.added = figures.added.wrapping_add(1);
        figures.last_id = id;
    }

    /// The live entries from `start` to `end`, both included, in order. O(log nodes) and a walk through one node, from
    /// its nearer end, to the first; O(bytes) for each.
    pub fn range(&self, start: StreamId, end: StreamId) -> Range<'_> {
        let from = self.node_of(start).unwrap_or(start);
        let nodes = if start <= end { self.nodes.range(from..=end) } else { Default::default() };
        Range { nodes, node: None, start, end }
    }

    /// As [`Entries::range`], from the last to the first.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> RangeBack<'_> {
        let from = self.node_of(start).unwrap_or(start);
        let nodes = if start <= end { self.nodes.range(from..=end) } else { Default::default() };
        RangeBack { nodes, node: None, start, end }
    }

    /// The entry `id`, if it lives.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.range(id, id).next()
    }

    /// The first live entry.
    pub fn first(&self) -> Option<Entry<'_>> {
        self.range(StreamId::MIN, StreamId::MAX).next()
    }

    /// The last live entry.
    pub fn last(&self) -> Option<Entry<'_>> {
        self.range_back(StreamId::MIN, StreamId::MAX).next()
    }

    /// The node that an entry `id` would be in.
    fn node_of(&self, id: StreamId) -> Option<StreamId> {
        self.nodes.range(..=id).next_back().map(|(first, _)| *first)
    }

    /// Deletes an entry; `false` when there is none. A node without live entries goes. O(log nodes + entries of a node).
    pub fn delete(&mut self, id: StreamId) -> bool {
        let Some(first) = self.node_of(id) else { return false };
        let Some(node) = self.nodes.get_mut(&first) else { return false };
        self.kept.note(first, || Some(node.clone()));
        if !node.delete(first, id) {
            return false;
        }
        if node.live() == 0 {
            self.nodes.remove(&first);
        }
        let figures = &mut self.figures;
        figures.len -= 1;
        figures.max_deleted_id = figures.max_deleted_id.max(id);
        if figures.first_id == id || figures.len == 0 {
            self.find_first();
        }
        true
    }

    /// Looks for the first live entry anew.
    pub(super) fn find_first(&mut self) {
        self.figures.first_id = self.first().map_or(StreamId::MIN, |entry| entry.id);
    }

    /// Sets what XSETID sets; the caller has compared them with what is there.
    pub fn set_last_id(&mut self, last_id: StreamId, added: Option<u64>, max_deleted_id: Option<StreamId>) {
        let figures = &mut self.figures;
        figures.last_id = last_id;
        figures.added = added.unwrap_or(figures.added);
        figures.max_deleted_id = max_deleted_id.unwrap_or(figures.max_deleted_id);
    }

    /// Number of nodes of the radix tree in which Redis would keep the nodes. O(nodes).
    pub fn radix_nodes(&self) -> usize {
        super::radix::nodes(self.nodes.keys().copied())
    }

    /// Bytes taken from the allocator: exact for few nodes, else from a sample of them. O(1).
    pub fn memory_bytes(&self) -> usize {
        const SAMPLE: usize = 10;
        let count = self.nodes.len();
        let sampled = count.min(SAMPLE);
        let ends = self
            .nodes
            .values()
            .take(SAMPLE / 2)
            .chain(self.nodes.values().rev().take(sampled.saturating_sub(SAMPLE / 2)));
        let bytes: usize = ends.map(|node| node.pack().memory_bytes()).sum();
        // A leaf of the B-tree has room for 11 nodes.
        let leaves = count.div_ceil(11) * 12 * size_of::<(StreamId, Node)>();
        bytes * count / sampled.max(1) + leaves
    }

    // Logical counters, by which groups tell how far they have read

    /// Whether an entry from `start` on may have been deleted by name.
    pub fn has_tombstones(&self, start: StreamId) -> bool {
        let Figures { len, max_deleted_id, .. } = self.figures;
        len > 0 && max_deleted_id != StreamId::MIN && start <= max_deleted_id
    }

    /// How many entries were ever added up to `id`, where the figures tell.
    pub fn position(&self, id: StreamId) -> Option<i64> {
        let Figures { len, last_id, first_id, max_deleted_id, added } = self.figures;
        let before_first = added.wrapping_sub(len).cast_signed();
        if added == 0 {
            return Some(0);
        }
        if len == 0 && id <= last_id {
            return Some(added.cast_signed());
        }
        if id != StreamId::MIN && id < max_deleted_id {
            return None;
        }
        if id == last_id {
            return Some(added.cast_signed());
        }
        let unbroken = max_deleted_id == StreamId::MIN || max_deleted_id < first_id;
        match id.cmp(&first_id) {
            _ if id > last_id || !unbroken => None,
            std::cmp::Ordering::Less => Some(before_first),
            std::cmp::Ordering::Equal => Some(before_first.wrapping_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// Asserts the invariant.
    #[cfg(test)]
    pub fn validate(&self) {
        let mut ids = Vec::new();
        for (first, node) in &self.nodes {
            assert!(node.is_valid(*first), "{first:?}");
            ids.extend(node.entries(*first).map(|entry| entry.id));
        }
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert!(ids.last().is_none_or(|last| *last <= self.figures.last_id));
        let live = self.nodes.values().map(|node| node.live() as u64).sum::<u64>();
        assert_eq!(live, self.figures.len);
        assert_eq!(self.figures.first_id, self.first().map_or(StreamId::MIN, |entry| entry.id));
    }
}

/// Live entries in order, see [`Entries::range`].
pub struct Range<'a> {
    nodes: btree_map::Range<'a, StreamId, Node>,
    node: Option<node::Entries<'a>>,
    start: StreamId,
    end: StreamId,
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let (start, end) = (self.start, self.end);
            if let Some(node) = &mut self.node
                && let Some(entry) = node.find(|entry| entry.id > end || (entry.id >= start && entry.is_live()))
            {
                return Some(entry).filter(|entry| entry.id <= end);
            }
            let (first, node) = self.nodes.next()?;
            self.node = Some(node.entries_from(*first, start));
        }
    }
}

/// Live entries in reverse order, see [`Entries::range_back`].
pub struct RangeBack<'a> {
    nodes: btree_map::Range<'a, StreamId, Node>,
    node: Option<node::EntriesBack<'a>>,
    start: StreamId,
    end: StreamId,
}

impl<'a> Iterator for RangeBack<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let (start, end) = (self.start, self.end);
            if let Some(node) = &mut self.node
                && let Some(entry) = node.find(|entry| entry.id < start || (entry.id <= end && entry.is_live()))
            {
                return Some(entry).filter(|entry| entry.id >= start);
            }
            let (first, node) = self.nodes.next_back()?;
            self.node = Some(node.entries_back(*first));
        }
    }
}
