//! Lists: one listpack while that is small, else a deque of listpacks.
//!
//! When a list changes from one to the other is as in Redis: it grows into a quicklist when what is about to be added
//! would pass `list-max-listpack-size`, and becomes a listpack again when what is left is one node of half that size. The
//! caller says so with [`List::grow`] before it adds and with [`List::shrink`] after it has removed. Must not know: keys,
//! clients, where thresholds come from. Source: the list type of Redis 7.

mod iter;
mod nodes;
mod pack;
mod quicklist;

use super::listpack::{Item, Listpack, Needle};
use super::object::{Collection, Kind, Object, ObjectMut, ObjectRef};
use super::word::{Form, Word};
use bytes::Bytes;
pub use iter::Iter;
pub use nodes::Nodes;
use quicklist::{Node, Quicklist};
use std::borrow::Cow;

/// An end of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The head, index 0.
    Left,
    /// The tail, index -1.
    Right,
}

impl Side {
    /// The opposite end.
    #[must_use]
    pub fn other(self) -> Side {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }
}

/// Bytes of a node whose limit is a number of elements.
const SAFE_BYTES: usize = 8192;

/// Bytes of a node by `list-max-listpack-size`, from -1 on downwards.
const NODE_BYTES: [usize; 5] = [4096, 8192, 16384, 32768, 65536];

/// How large a node may be: `list-max-listpack-size`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fill {
    /// So many bytes.
    Bytes(usize),
    /// So many elements, and 8 KiB.
    Elements(usize),
}

impl Fill {
    /// The meaning of the option's number: elements, or -1 to -5 for 4 to 64 KiB.
    #[must_use]
    pub fn new(option: i64) -> Fill {
        match usize::try_from(option) {
            Ok(elements) => Fill::Elements(elements.max(1)),
            Err(_) => {
                let step = usize::try_from(option.unsigned_abs() - 1).unwrap_or(usize::MAX);
                Fill::Bytes(NODE_BYTES[step.min(NODE_BYTES.len() - 1)])
            }
        }
    }

    /// Whether a node may have so many bytes and elements.
    #[inline]
    fn holds(self, bytes: usize, len: usize) -> bool {
        match self {
            Fill::Bytes(most) => bytes <= most,
            Fill::Elements(most) => bytes <= SAFE_BYTES && len <= most,
        }
    }

    /// Whether half of a node may have so many.
    fn half_holds(self, bytes: usize, len: usize) -> bool {
        match self {
            Fill::Bytes(most) => bytes <= most / 2,
            Fill::Elements(most) => len <= most / 2,
        }
    }

    /// Whether a node of so many bytes, which has grown in other ways than by being added to, is to be split.
    fn is_overfull(self, bytes: usize) -> bool {
        match self {
            Fill::Bytes(most) => bytes > 2 * most,
            Fill::Elements(_) => bytes > 2 * SAFE_BYTES,
        }
    }

    /// Whether a listpack may have so many that was loaded as a quicklist.
    fn loaded_holds(self, bytes: usize, len: usize) -> bool {
        match self {
            Fill::Bytes(most) => bytes <= most,
            Fill::Elements(most) => len <= most,
        }
    }

    /// Whether an element of so many bytes is a node of its own.
    #[inline]
    fn is_large(self, bytes: usize) -> bool {
        match self {
            Fill::Bytes(most) => bytes > most,
            Fill::Elements(_) => bytes > SAFE_BYTES,
        }
    }
}

/// Some elements in a row, as DUMP and RDB files hold them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeRef<'a> {
    /// A listpack.
    Packed(Cow<'a, [u8]>),
    /// One large element.
    Plain(&'a [u8]),
}

/// A list of texts.
#[derive(Debug)]
pub struct List(Word<Listpack, Box<Quicklist>>);

impl Default for List {
    fn default() -> List {
        List::from(Listpack::new())
    }
}

impl Clone for List {
    fn clone(&self) -> List {
        List(match self.0.get() {
            Form::A(pack) => Word::a(pack.clone()),
            Form::B(list) => Word::b(Box::new(list.clone())),
            Form::C(never) => match *never {},
        })
    }
}

impl From<Listpack> for List {
    fn from(pack: Listpack) -> List {
        List(Word::a(pack))
    }
}

impl Collection for List {
    const KIND: Kind = Kind::List;

    #[inline]
    fn of(object: ObjectRef<'_>) -> Option<&List> {
        if let ObjectRef::List(it) = object { Some(it) } else { None }
    }

    #[inline]
    fn of_mut(object: ObjectMut<'_>) -> Option<&mut List> {
        if let ObjectMut::List(it) = object { Some(it) } else { None }
    }

    fn into_object(self) -> Object {
        Object::List(self)
    }

    #[inline]
    fn len(&self) -> usize {
        match self.0.get() {
            Form::A(pack) => pack.len(),
            Form::B(list) => list.len(),
            Form::C(never) => match *never {},
        }
    }

    #[inline]
    fn is_empty(&self) -> bool {
        match self.0.get() {
            Form::A(pack) => pack.is_empty(),
            Form::B(list) => list.len() == 0,
            Form::C(never) => match *never {},
        }
    }

    fn encoding(&self) -> &'static str {
        match self.0.get() {
            Form::A(_) => "listpack",
            Form::B(_) => "quicklist",
            Form::C(never) => match *never {},
        }
    }

    fn memory_bytes(&self) -> usize {
        match self.0.get() {
            Form::A(pack) => pack.memory_bytes(),
            Form::B(list) => list.memory_bytes(),
            Form::C(never) => match *never {},
        }
    }
}

/// Reading.
impl List {
    /// The element at an end. O(1).
    #[inline]
    #[must_use]
    pub fn end(&self, side: Side) -> Option<Item<'_>> {
        match self.0.get() {
            Form::A(pack) => match side {
                Side::Left => pack.iter().next(),
                Side::Right => pack.iter().next_back(),
            },
            Form::B(list) => list.end(side),
            Form::C(never) => match *never {},
        }
    }

    /// The element at `index`. O(nodes + node).
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Item<'_>> {
        match self.0.get() {
            Form::A(pack) => pack.at_index(i64::try_from(index).ok()?).map(|at| pack.get(at)),
            Form::B(list) => list.get(index),
            Form::C(never) => match *never {},
        }
    }

    /// All elements from `side` on.
    #[must_use]
    pub fn iter(&self, side: Side) -> Iter<'_> {
        match side {
            Side::Left => self.iter_from(0, side),
            Side::Right => self.iter_from(self.len().saturating_sub(1), side),
        }
    }

    /// The elements from `index` on, going away from `side`; none when there is no such index. O(nodes + node) to begin.
    #[must_use]
    pub fn iter_from(&self, index: usize, side: Side) -> Iter<'_> {
        match self.0.get() {
            Form::A(pack) => Iter::of_listpack(pack, index, side),
            Form::B(list) => Iter::of_quicklist(list, index, side),
            Form::C(never) => match *never {},
        }
    }

    /// The nodes, as DUMP and RDB files hold them; one for a list that is a listpack.
    pub fn nodes(&self) -> impl Iterator<Item = NodeRef<'_>> {
        let (small, large) = match self.0.get() {
            Form::A(pack) => (Some(NodeRef::Packed(pack.bytes())), None),
            Form::B(list) => (None, Some(list.nodes())),
            Form::C(never) => match *never {},
        };
        small.into_iter().chain(large.into_iter().flatten().map(Node::to_ref))
    }

    /// The nodes of a quicklist, which can be walked through.
    pub fn walkable(&self) -> Option<&Nodes> {
        if let Form::B(list) = self.0.get() { Some(list.walkable()) } else { None }
    }

    /// As [`List::walkable`], to begin a walk or go on with it.
    pub fn walkable_mut(&mut self) -> Option<&mut Nodes> {
        if let Form::B(list) = self.0.get_mut() { Some(list.walkable_mut()) } else { None }
    }

    /// Checks the invariant. O(bytes).
    ///
    /// # Errors
    /// What is wrong, for a test's message.
    pub fn validate(&self) -> Result<(), String> {
        match self.0.get() {
            Form::A(pack) => pack.validate(),
            Form::B(list) => list.validate(),
            Form::C(never) => match *never {},
        }
    }
}

/// Changing.
impl List {
    /// Prepares for `more` elements of `more_bytes` of text in all: what would be too much for a listpack becomes a quicklist.
    /// To be called before elements are added or replaced. O(1), or O(bytes) when it changes.
    #[inline]
    pub fn grow(&mut self, fill: Fill, more_bytes: usize, more: usize) {
        if let Form::A(pack) = self.0.get()
            && !fill.holds(pack.size() + more_bytes, pack.len() + more)
        {
            self.0 = Word::b(Box::new(Quicklist::from_listpack(pack, fill)));
        }
    }

    /// Makes a quicklist that has shrunk to half a node a listpack. To be called after elements were removed. O(1), or
    /// O(bytes) when it changes.
    #[inline]
    pub fn shrink(&mut self, fill: Fill) {
        if let Form::B(list) = self.0.get()
            && let Some(Node::Packed(pack)) = list.only_node()
            && fill.half_holds(pack.size(), pack.len())
        {
            self.0 = Word::a(Listpack::from_valid(pack.bytes()));
        }
    }

    /// Puts an element at an end. Amortised O(its length); O(bytes) at the left of a listpack.
    #[inline]
    pub fn push(&mut self, side: Side, text: &[u8]) {
        match (self.0.get_mut(), side) {
            (Form::A(pack), Side::Left) => drop(pack.push_front(text)),
            (Form::A(pack), Side::Right) => drop(pack.push_back(text)),
            (Form::B(list), side) => list.push(side, text),
            (Form::C(never), _) => match *never {},
        }
    }

    /// Puts elements at an end, one after the other. Amortised O(their length); O(bytes) at the left of a listpack.
    #[inline]
    pub fn push_all<'a>(&mut self, side: Side, texts: impl Iterator<Item = &'a [u8]> + Clone) {
        match (self.0.get_mut(), side) {
            (Form::A(pack), Side::Left) => pack.push_front_all(texts),
            (Form::A(pack), Side::Right) => pack.push_back_all(texts),
            (Form::B(list), side) => texts.for_each(|text| list.push(side, text)),
            (Form::C(never), _) => match *never {},
        }
    }

    /// Removes the element at an end and hands it to `take` before it goes. O(1); O(bytes) at the left of a listpack.
    #[inline]
    pub fn pop<R>(&mut self, side: Side, take: impl FnOnce(Item<'_>) -> R) -> Option<R> {
        match self.0.get_mut() {
            Form::A(pack) => {
                let at = if side == Side::Left { pack.first() } else { pack.last() }?;
                let taken = take(pack.get(at));
                pack.remove(at);
                Some(taken)
            }
            Form::B(list) => list.pop(side, take),
            Form::C(never) => match *never {},
        }
    }

    /// Removes up to `count` elements from `index` on. O(nodes + node).
    pub fn remove(&mut self, index: usize, count: usize) {
        match self.0.get_mut() {
            Form::A(pack) => {
                let at = i64::try_from(index).ok().and_then(|index| pack.at_index(index));
                if let Some(at) = at {
                    pack.remove_range(at, count);
                }
            }
            Form::B(list) => list.remove(index, count),
            Form::C(never) => match *never {},
        }
    }

    /// Removes up to `count` elements from an end. O(count).
    pub fn remove_end(&mut self, side: Side, count: usize) {
        let from = if side == Side::Left { 0 } else { self.len().saturating_sub(count) };
        self.remove(from, count);
    }

    /// Removes up to `count` elements that equal `text`, the first ones from `side`; returns how many. O(bytes).
    pub fn remove_matching(&mut self, text: &[u8], count: usize, side: Side) -> usize {
        let needle = Needle::new(text);
        match self.0.get_mut() {
            Form::A(pack) => {
                let mut found =
                    pack.entries().filter(|(_, item)| needle.is(*item)).map(|(at, _)| at).collect::<Vec<_>>();
                let spared = found.len().saturating_sub(count);
                match side {
                    Side::Left => found.truncate(count),
                    Side::Right => drop(found.drain(..spared)),
                }
                pack.remove_all(&found);
                found.len()
            }
            Form::B(list) => list.remove_matching(needle, count, side),
            Form::C(never) => match *never {},
        }
    }

    /// Replaces the element at `index`; nothing happens when there is none. O(nodes + node).
    pub fn set(&mut self, index: usize, text: &[u8]) {
        match self.0.get_mut() {
            Form::A(pack) => {
                let at = i64::try_from(index).ok().and_then(|index| pack.at_index(index));
                if let Some(at) = at {
                    pack.replace(at, text);
                }
            }
            Form::B(list) => list.set(index, text),
            Form::C(never) => match *never {},
        }
    }

    /// Inserts an element at one side of the one at `index`; nothing happens when there is none. O(nodes + node).
    pub fn insert(&mut self, index: usize, side: Side, text: &[u8]) {
        match self.0.get_mut() {
            Form::A(pack) => {
                let Some(at) = i64::try_from(index).ok().and_then(|index| pack.at_index(index)) else { return };
                match side {
                    Side::Left => pack.insert_before(at, text),
                    Side::Right => pack.insert_after(at, text),
                };
            }
            Form::B(list) => list.insert(index, side, text),
            Form::C(never) => match *never {},
        }
    }

    /// Appends a node of a file or of DUMP; the list becomes a quicklist. [`List::shrink_loaded`] makes up for it.
    pub fn append_node(&mut self, node: LoadedNode, fill: Fill) {
        if let Form::A(pack) = self.0.get() {
            self.0 = Word::b(Box::new(Quicklist::from_listpack(pack, fill)));
        }
        if let Form::B(list) = self.0.get_mut() {
            match node {
                LoadedNode::Packed(pack) => list.append_listpack(&pack),
                LoadedNode::Plain(bytes) => list.append_plain(bytes),
            }
        }
    }

    /// Makes a list that was put together from nodes a listpack, if it is one node that a listpack may be. O(1), or O(bytes)
    /// when it changes.
    pub fn shrink_loaded(&mut self, fill: Fill) {
        if let Form::B(list) = self.0.get()
            && let Some(Node::Packed(pack)) = list.only_node()
            && fill.loaded_holds(pack.size(), pack.len())
        {
            self.0 = Word::a(Listpack::from_valid(pack.bytes()));
        }
    }
}

/// A node on its way into a list.
#[derive(Clone, Debug)]
pub enum LoadedNode {
    /// Elements.
    Packed(Listpack),
    /// One large element.
    Plain(Bytes),
}

#[cfg(test)]
mod tests;
