//! A run of neighbouring entries in one listpack, byte for byte the node of a Redis stream.
//!
//! ```text
//! head     live, deleted, n, name 1 .. name n, 0
//! entry    flags, ms - head's ms, seq - head's seq, value 1 .. value n, elements before this        (flag 2 set)
//! entry    flags, ms - head's ms, seq - head's seq, m, name 1, value 1 .. name m, value m, elements before this
//! ```
//!
//! The head is filed under the id of the first entry ever put in, from which the differences count, and holds that entry's
//! field names: entries of the same names (flag 2) do not repeat them. Flag 1 marks a deleted entry, whose bytes stay. The
//! last element of an entry lets it be walked backwards; the 0 that ends the head says that nothing comes before.
//!
//! Invariant: [`Node::is_valid`]. Where the bytes were another's, that has been checked, so readers take a wrong element for
//! 0 and never panic. Must not know: other nodes, groups. Source: the comment on this layout in Redis's t_stream.c.

use super::id::StreamId;
use crate::value::listpack::{At, Item, Listpack};

/// The entry is deleted.
const DELETED: i64 = 1;
/// The entry has the names of the head.
const SAME_NAMES: i64 = 2;
/// Elements of an entry beside its fields and the last: flags and two differences.
const FIXED: usize = 3;

/// A field and its value, as a client gives them.
pub type Field<'a> = (&'a [u8], &'a [u8]);

/// How full a node may get.
#[derive(Clone, Copy, Debug)]
pub struct NodeLimits {
    /// Bytes of the listpack (`stream-node-max-bytes`); 0: as many as a listpack holds.
    pub bytes: usize,
    /// Entries, deleted ones among them (`stream-node-max-entries`); 0: any number.
    pub entries: usize,
}

/// A listpack of entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node(Listpack);

const _: () = assert!(size_of::<Option<Node>>() == 8);

/// What the head of a node says.
struct Head {
    live: At,
    deleted: At,
    fields: usize,
    /// The first name; the element behind the names when there are none.
    names: At,
    /// The first entry.
    entries: Option<At>,
}

/// An entry of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    pack: &'a Listpack,
    flags: i64,
    /// Where the flags are.
    at: At,
    len: usize,
    /// The first name, where names are not repeated.
    names: Option<At>,
    /// The first value, or the first name where they are repeated.
    data: At,
}

impl Node {
    /// A node whose head has these names, and no entry.
    pub fn new(fields: &[Field<'_>]) -> Node {
        let mut pack = Listpack::new();
        pack.push_back_int(0);
        pack.push_back_int(0);
        push_count(&mut pack, fields.len());
        for (name, _) in fields {
            pack.push_back(name);
        }
        pack.push_back_int(0);
        Node(pack)
    }

    /// A node from the bytes of a snapshot whose first entry had the id `first`; `None` when they are not a valid one.
    pub fn from_bytes(first: StreamId, bytes: &[u8]) -> Option<Node> {
        let node = Node(Listpack::from_bytes(bytes)?);
        node.is_valid(first).then_some(node)
    }

    /// The listpack.
    pub fn pack(&self) -> &Listpack {
        &self.0
    }

    fn int(&self, at: At) -> i64 {
        self.0.get(at).integer().unwrap_or(0)
    }

    fn size(&self, at: At) -> usize {
        usize::try_from(self.int(at)).unwrap_or(0)
    }

    fn skip(&self, mut at: At, count: usize) -> Option<At> {
        for _ in 0..count {
            at = self.0.next(at)?;
        }
        Some(at)
    }

    fn head(&self) -> Option<Head> {
        let live = self.0.first()?;
        let deleted = self.0.next(live)?;
        let fields = self.0.next(deleted)?;
        let (names, fields) = (self.0.next(fields)?, self.size(fields));
        let entries = self.0.next(self.skip(names, fields)?);
        Some(Head { live, deleted, fields, names, entries })
    }

    /// Entries that are not deleted. O(1).
    pub fn live(&self) -> usize {
        self.0.first().map_or(0, |at| self.size(at))
    }

    /// Entries in all. O(1).
    fn filled(&self) -> usize {
        let deleted = self.0.first().and_then(|at| self.0.next(at));
        self.live() + deleted.map_or(0, |at| self.size(at))
    }

    /// Whether an entry of `bytes` bytes in names and values may still be put in. O(1).
    pub fn has_room(&self, bytes: usize, limits: NodeLimits) -> bool {
        let full = limits.bytes != 0 && self.0.size().saturating_add(bytes) >= limits.bytes;
        let many = limits.entries != 0 && self.filled() >= limits.entries;
        !full && !many
    }

    /// Adds an entry behind the others. `first` is the id of the node's first entry.
    pub fn push(&mut self, first: StreamId, id: StreamId, fields: &[Field<'_>]) {
        let same = self.has_names(fields);
        let pack = &mut self.0;
        pack.push_back_int(if same { SAME_NAMES } else { 0 });
        pack.push_back_int(id.ms.wrapping_sub(first.ms).cast_signed());
        pack.push_back_int(id.seq.wrapping_sub(first.seq).cast_signed());
        if !same {
            push_count(pack, fields.len());
        }
        for (name, value) in fields {
            if !same {
                pack.push_back(name);
            }
            pack.push_back(value);
        }
        push_count(pack, if same { fields.len() + FIXED } else { 2 * fields.len() + 1 + FIXED });
        self.count(1, 0);
    }

    fn has_names(&self, fields: &[Field<'_>]) -> bool {
        let Some(head) = self.head().filter(|head| head.fields == fields.len()) else { return false };
        let mut at = Some(head.names);
        fields.iter().all(|(name, _)| {
            let same = at.is_some_and(|at| self.0.get(at).equals(name));
            at = at.and_then(|at| self.0.next(at));
            same
        })
    }

    /// Adds to the numbers of live and of deleted entries.
    fn count(&mut self, live: i64, deleted: i64) {
        let Some(at) = self.0.first() else { return };
        let at = self.0.replace_int(at, self.int(at).saturating_add(live));
        if let (Some(at), true) = (self.0.next(at), deleted != 0) {
            self.0.replace_int(at, self.int(at).saturating_add(deleted));
        }
    }

    /// The entries from the first, deleted ones among them. `first` is the id of the node's first entry.
    pub fn entries(&self, first: StreamId) -> Entries<'_> {
        let head = self.head();
        Entries { node: self, first, at: head.as_ref().and_then(|head| head.entries), head }
    }

    /// The entries from the first whose id is not below `start`, and perhaps some before it, which is looked for from the end
    /// that is probably nearer.
    pub fn entries_from(&self, first: StreamId, start: StreamId) -> Entries<'_> {
        let mut entries = self.entries(first);
        if start <= first {
            return entries;
        }
        let mut back = self.entries_back(first);
        let Some(last) = back.next() else { return entries };
        if last.id.distance(start) < start.distance(first) {
            let behind = std::iter::once(last).chain(back).take_while(|entry| entry.id >= start);
            entries.at = behind.last().map(|entry| entry.at);
        }
        entries
    }

    /// The entries from the last, deleted ones among them.
    pub fn entries_back(&self, first: StreamId) -> EntriesBack<'_> {
        EntriesBack { node: self, first, at: self.0.last(), head: self.head() }
    }

    /// The id of the last entry, be it deleted.
    pub fn last_id(&self, first: StreamId) -> StreamId {
        self.entries_back(first).next().map_or(first, |entry| entry.id)
    }

    fn entry(&self, first: StreamId, head: &Head, at: At) -> Option<Entry<'_>> {
        let flags = self.int(at);
        let ms_at = self.0.next(at)?;
        let seq_at = self.0.next(ms_at)?;
        let id = StreamId {
            ms: first.ms.wrapping_add(self.int(ms_at).cast_unsigned()),
            seq: first.seq.wrapping_add(self.int(seq_at).cast_unsigned()),
        };
        let next = self.0.next(seq_at)?;
        let same = flags & SAME_NAMES != 0;
        let (len, data) = if same { (head.fields, next) } else { (self.size(next), self.0.next(next)?) };
        Some(Entry { id, pack: &self.0, flags, at, len, names: same.then_some(head.names), data })
    }

    /// Marks the entry `id` deleted; `false` when there is none or it was already. O(entries).
    pub fn delete(&mut self, first: StreamId, id: StreamId) -> bool {
        let found = self.entries_from(first, id).find(|entry| entry.id >= id).filter(|entry| entry.id == id);
        let Some((at, flags)) = found.filter(|entry| entry.is_live()).map(|entry| (entry.at, entry.flags)) else {
            return false;
        };
        self.0.replace_int(at, flags | DELETED);
        self.count(-1, 1);
        true
    }

    /// Marks entries deleted from the first on: `judge` is told of each whether it lives, and says whether it
    /// goes. Returns how many went. O(entries).
    pub fn delete_front(&mut self, first: StreamId, mut judge: impl FnMut(StreamId, bool) -> Verdict) -> usize {
        let mut doomed = Vec::new();
        for entry in self.entries(first) {
            match judge(entry.id, entry.is_live()) {
                Verdict::Stop => break,
                Verdict::Delete if entry.is_live() => doomed.push((entry.at, entry.flags)),
                _ => {}
            }
        }
        for (at, flags) in &doomed {
            self.0.replace_int(*at, flags | DELETED); // one byte before and after, so the others stay where they are
        }
        let count = i64::try_from(doomed.len()).unwrap_or(i64::MAX);
        self.count(-count, count);
        doomed.len()
    }

    /// Whether the layout is right: every element there, the counts true, the ids ascending from `first`. O(bytes).
    pub fn is_valid(&self, first: StreamId) -> bool {
        let Some(head) = self.head() else { return false };
        let Some(end) = self.skip(head.names, head.fields) else { return false };
        let whole = |at: At| self.0.get(at).integer().is_some_and(|number| number >= 0);
        let counts = [Some(head.live), Some(head.deleted), self.0.next(head.deleted), Some(end)];
        if !counts.into_iter().all(|at| at.is_some_and(whole)) || self.int(end) != 0 {
            return false;
        }
        self.entries_are_valid(first, &head)
    }

    fn entries_are_valid(&self, first: StreamId, head: &Head) -> bool {
        let (mut at, mut live, mut all, mut before) = (head.entries, 0, 0, None);
        while let Some(start) = at {
            let Some((entry, next)) = self.valid_entry(first, head, start) else { return false };
            if before.is_some_and(|before| before >= entry.id) {
                return false;
            }
            before = Some(entry.id);
            live += usize::from(entry.is_live());
            all += 1;
            at = next;
        }
        all > 0 && live == self.live() && all == self.filled()
    }

    /// The entry at `at` if all its elements are there, and where the next one is.
    fn valid_entry(&self, first: StreamId, head: &Head, at: At) -> Option<(Entry<'_>, Option<At>)> {
        let numbers = [Some(at), self.skip(at, 1), self.skip(at, 2)];
        numbers.into_iter().try_for_each(|at| self.0.get(at?).integer().map(|_| ()))?;
        let entry = self.entry(first, head, at).filter(|entry| (0..4).contains(&entry.flags))?;
        let elements = entry.elements()?;
        let back = self.skip(at, elements)?;
        let true_back = self.0.get(back).integer() == i64::try_from(elements).ok();
        let true_len = entry.names.is_some() || self.0.get(self.skip(at, FIXED)?).integer()? >= 0;
        (true_back && true_len).then(|| (entry, self.0.next(back)))
    }
}

/// What becomes of an entry that trimming comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes.
    Delete,
    /// It stays.
    Keep,
    /// It stays, and so do all behind it.
    Stop,
}

fn push_count(pack: &mut Listpack, count: usize) {
    pack.push_back_int(i64::try_from(count).unwrap_or(i64::MAX));
}

impl<'a> Entry<'a> {
    /// Whether it is not deleted.
    pub fn is_live(&self) -> bool {
        self.flags & DELETED == 0
    }

    /// Number of fields. O(1).
    #[expect(clippy::len_without_is_empty, reason = "an entry has fields")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Its fields and values, in the order they were given.
    pub fn fields(&self) -> Fields<'a> {
        Fields { pack: self.pack, left: self.len, name: self.names, data: Some(self.data) }
    }

    /// Elements before the one that counts them; `None` for a length that no listpack has.
    fn elements(&self) -> Option<usize> {
        match self.names {
            Some(_) => self.len.checked_add(FIXED),
            None => self.len.checked_mul(2)?.checked_add(FIXED + 1),
        }
    }

    /// Where the next entry begins.
    fn next(&self) -> Option<At> {
        let mut at = self.data;
        let elements = if self.names.is_some() { self.len } else { 2 * self.len };
        for _ in 0..=elements {
            at = self.pack.next(at)?;
        }
        Some(at)
    }
}

/// The fields of an entry with their values.
pub struct Fields<'a> {
    pack: &'a Listpack,
    left: usize,
    /// The next name in the head, where names are not repeated.
    name: Option<At>,
    data: Option<At>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Item<'a>, Item<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = match self.name {
            Some(at) => {
                self.name = self.pack.next(at);
                at
            }
            None => {
                let at = self.data?;
                self.data = self.pack.next(at);
                at
            }
        };
        let value = self.data?;
        self.data = self.pack.next(value);
        Some((self.pack.get(name), self.pack.get(value)))
    }
}

/// The entries of a node from the first.
pub struct Entries<'a> {
    node: &'a Node,
    first: StreamId,
    at: Option<At>,
    head: Option<Head>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let entry = self.node.entry(self.first, self.head.as_ref()?, self.at?)?;
        self.at = entry.next();
        Some(entry)
    }
}

/// The entries of a node from the last.
pub struct EntriesBack<'a> {
    node: &'a Node,
    first: StreamId,
    /// The last element of the next entry, or of the head.
    at: Option<At>,
    head: Option<Head>,
}

impl<'a> Iterator for EntriesBack<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let mut at = self.at.take()?;
        let elements = self.node.size(at);
        if elements == 0 {
            return None;
        }
        for _ in 0..elements {
            at = self.node.0.prev(at)?;
        }
        self.at = self.node.0.prev(at);
        self.node.entry(self.first, self.head.as_ref()?, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'a>(words: &'a [&'a str]) -> Vec<Field<'a>> {
        words.chunks(2).map(|pair| (pair[0].as_bytes(), pair[1].as_bytes())).collect()
    }

    fn shown(entry: Entry<'_>) -> String {
        let words: Vec<String> = entry
            .fields()
            .flat_map(|(name, value)| [name, value])
            .map(|item| String::from_utf8_lossy(&item.to_vec()).into_owned())
            .collect();
        format!("{}-{} {}", entry.id.ms, entry.id.seq, words.join(" "))
    }

    fn sample() -> (StreamId, Node) {
        let first = StreamId::new(5, 9);
        let mut node = Node::new(&fields(&["a", "1", "b", "2"]));
        node.push(first, first, &fields(&["a", "1", "b", "2"]));
        node.push(first, StreamId::new(6, 0), &fields(&["a", "x", "b", ""]));
        node.push(first, StreamId::new(6, 1), &fields(&["a", "x"]));
        node.push(first, StreamId::new(u64::MAX, u64::MAX), &fields(&["b", "x", "a", "y", "7", "8"]));
        (first, node)
    }

    #[test]
    fn entries_read_back_in_both_directions() {
        let (first, node) = sample();
        let forward: Vec<String> = node.entries(first).map(shown).collect();
        let last = format!("{0}-{0} b x a y 7 8", u64::MAX);
        assert_eq!(forward, ["5-9 a 1 b 2", "6-0 a x b ", "6-1 a x", &last]);
        for (index, start) in [(5, 9), (5, 10), (6, 1), (6, 2), (u64::MAX, u64::MAX)].into_iter().enumerate() {
            let start = StreamId::new(start.0, start.1);
            let from: Vec<String> = node.entries_from(first, start).filter(|it| it.id >= start).map(shown).collect();
            assert_eq!(from, forward[[0, 1, 2, 3, 3][index]..]);
        }
        let mut backward: Vec<String> = node.entries_back(first).map(shown).collect();
        backward.reverse();
        assert_eq!(forward, backward);
        assert!(node.is_valid(first));
        assert_eq!(node.last_id(first), StreamId::MAX);
    }

    #[test]
    fn deleted_entries_stay_and_are_counted() {
        let (first, mut node) = sample();
        assert!(!node.delete(first, StreamId::new(6, 2)));
        assert!(node.delete(first, StreamId::new(6, 1)));
        assert!(!node.delete(first, StreamId::new(6, 1)));
        assert_eq!((node.live(), node.filled()), (3, 4));
        let judge = |id: StreamId, _| if id.ms > 6 { Verdict::Stop } else { Verdict::Delete };
        assert_eq!(node.delete_front(first, judge), 2);
        assert_eq!((node.live(), node.filled()), (1, 4));
        assert_eq!(node.entries(first).filter(Entry::is_live).count(), 1);
        assert!(node.is_valid(first));
    }

    #[test]
    fn no_change_of_one_byte_panics() {
        let (first, node) = sample();
        let bytes = node.pack().bytes().to_vec();
        assert!(Node::from_bytes(first, &bytes).is_some());
        for place in 0..bytes.len() {
            for value in [0, 1, 2, 3, 0x7f, 0x80, 0xc0, 0xdf, 0xe0, 0xf1, 0xf4, 0xff] {
                let mut changed = bytes.clone();
                changed[place] = value;
                let Some(node) = Node::from_bytes(first, &changed) else { continue };
                let forward = node.entries(first).map(shown).count();
                assert_eq!(forward, node.entries_back(first).map(shown).count());
            }
        }
    }
}
