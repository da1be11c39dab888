//! Quicklists: long lists as a deque of nodes, each a pack of elements or one large element.
//!
//! Which node an element goes to, and when nodes are split and merged, is as in Redis, so that OBJECT ENCODING, DEBUG
//! OBJECT and the nodes of a DUMP come out alike; only how a node grows is ours ([`super::pack`]). Invariant: no node is
//! empty, and `len` is the sum of their elements. Must not know: when a list becomes a quicklist or ceases to be one.
//! Source: quicklist of Redis 7.

use super::nodes::Nodes;
use super::pack::Pack;
use super::{Fill, NodeRef, Side};
use crate::value::listpack::{Item, Listpack, Needle};
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::VecDeque;

/// Bytes that joining two listpacks saves: a header and an end mark.
const JOINED_BYTES: usize = 7;

/// What Redis allows for the head and the size of an element, when it judges whether one fits.
const ELEMENT_BYTES: usize = 8;

/// A node: some elements in a row.
#[derive(Clone, Debug)]
pub enum Node {
    /// Elements as a listpack.
    Packed(Pack),
    /// One large element.
    Plain(Bytes),
}

impl Node {
    /// Number of elements. O(1).
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Node::Packed(pack) => pack.len(),
            Node::Plain(_) => 1,
        }
    }

    /// The node as DUMP and RDB files hold it.
    pub fn to_ref(&self) -> NodeRef<'_> {
        match self {
            Node::Packed(pack) => NodeRef::Packed(Cow::Borrowed(pack.bytes())),
            Node::Plain(bytes) => NodeRef::Plain(bytes),
        }
    }

    fn of(text: &[u8], fill: Fill) -> Node {
        if fill.is_large(text.len()) {
            return Node::Plain(Bytes::copy_from_slice(text));
        }
        let mut pack = Pack::new();
        pack.push(Side::Right, Item::new(text));
        Node::Packed(pack)
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Node::Packed(pack) => pack.memory_bytes(),
            Node::Plain(bytes) => bytes.len(),
        }
    }

    /// The pack, if a text of `bytes` may be added to it.
    #[inline]
    fn with_room(&mut self, bytes: usize, fill: Fill) -> Option<&mut Pack> {
        match self {
            Node::Packed(pack) if fill.holds(pack.size() + bytes + ELEMENT_BYTES, pack.len() + 1) => Some(pack),
            _ => None,
        }
    }
}

/// A long list.
#[derive(Clone, Debug)]
pub struct Quicklist {
    nodes: Nodes,
    len: usize,
    fill: Fill,
}

/// An element's place: its node, and its index there.
type Place = (usize, usize);

/// Reading.
impl Quicklist {
    /// A list of the elements of `pack`, whose nodes are to be as large as `fill` says.
    pub fn from_listpack(pack: &Listpack, fill: Fill) -> Quicklist {
        let mut list = Quicklist { nodes: Nodes::default(), len: 0, fill };
        list.append_listpack(pack);
        list
    }

    /// Number of elements. O(1).
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The nodes in order.
    pub fn nodes(&self) -> &VecDeque<Node> {
        &self.nodes
    }

    /// The nodes, for those who walk through them.
    pub fn walkable(&self) -> &Nodes {
        &self.nodes
    }

    /// As [`Quicklist::walkable`], to begin a walk or go on with it.
    pub fn walkable_mut(&mut self) -> &mut Nodes {
        &mut self.nodes
    }

    /// The only node, if there is but one.
    pub fn only_node(&self) -> Option<&Node> {
        self.nodes.front().filter(|_| self.nodes.len() == 1)
    }

    /// Bytes taken from the allocator, by a sample of the nodes. O(1).
    pub fn memory_bytes(&self) -> usize {
        let sampled = self.nodes.iter().step_by(self.nodes.len() / 8 + 1);
        let (count, bytes) = sampled.fold((0, 0), |(count, sum), node| (count + 1, sum + node.memory_bytes()));
        let nodes = bytes * self.nodes.len() / count.max(1);
        nodes + self.nodes.capacity() * size_of::<Node>() + size_of::<Quicklist>()
    }

    /// The node of the element at `index`, and its index there. O(nodes to the nearer end).
    pub fn place(&self, index: usize) -> Option<Place> {
        if index >= self.len {
            return None;
        }
        let mut rest = index;
        if index < self.len / 2 {
            for (at, node) in self.nodes.iter().enumerate() {
                match rest.checked_sub(node.len()) {
                    Some(less) => rest = less,
                    None => return Some((at, rest)),
                }
            }
        }
        rest = self.len - index;
        for (at, node) in self.nodes.iter().enumerate().rev() {
            match node.len().checked_sub(rest) {
                Some(inside) => return Some((at, inside)),
                None => rest -= node.len(),
            }
        }
        None
    }

    /// The element at an end.
    #[inline]
    pub fn end(&self, side: Side) -> Option<Item<'_>> {
        let node = match side {
            Side::Left => self.nodes.front(),
            Side::Right => self.nodes.back(),
        };
        match node? {
            Node::Packed(pack) => pack.end(side),
            Node::Plain(bytes) => Some(Item::Text(bytes)),
        }
    }

    /// The element at `index`. O(nodes + node).
    pub fn get(&self, index: usize) -> Option<Item<'_>> {
        let (at, inside) = self.place(index)?;
        match &self.nodes[at] {
            Node::Packed(pack) => pack.get(inside),
            Node::Plain(bytes) => Some(Item::Text(bytes)),
        }
    }
}

/// Changing.
impl Quicklist {
    /// Appends the elements of a listpack as a node of their own. O(bytes).
    pub fn append_listpack(&mut self, pack: &Listpack) {
        if !pack.is_empty() {
            let pack = Pack::from_listpack(pack);
            self.len += pack.len();
            self.nodes.push_back(Node::Packed(pack));
        }
    }

    /// Appends one large element as a node of its own.
    pub fn append_plain(&mut self, bytes: Bytes) {
        self.nodes.push_back(Node::Plain(bytes));
        self.len += 1;
    }

    /// Puts an element at an end. Amortised O(its length).
    #[inline]
    pub fn push(&mut self, side: Side, text: &[u8]) {
        let fill = self.fill;
        match self.end_node(side).and_then(|node| node.with_room(text.len(), fill)) {
            Some(pack) => pack.push(side, Item::new(text)),
            None => self.push_node(side, Node::of(text, fill)),
        }
        self.len += 1;
    }

    #[inline]
    fn end_node(&mut self, side: Side) -> Option<&mut Node> {
        match side {
            Side::Left => self.nodes.front_mut(),
            Side::Right => self.nodes.back_mut(),
        }
    }

    #[cold]
    fn push_node(&mut self, side: Side, node: Node) {
        if let Some(Node::Packed(full)) = self.end_node(side) {
            full.trim();
        }
        match side {
            Side::Left => self.nodes.push_front(node),
            Side::Right => self.nodes.push_back(node),
        }
    }

    /// Removes the element at an end and hands it to `take` before it goes. O(1).
    #[inline]
    pub fn pop<R>(&mut self, side: Side, take: impl FnOnce(Item<'_>) -> R) -> Option<R> {
        let (taken, emptied) = match self.end_node(side)? {
            Node::Packed(pack) => (pack.pop(side, take)?, pack.len() == 0),
            Node::Plain(bytes) => (take(Item::Text(bytes)), true),
        };
        if emptied {
            self.pop_node(side);
        }
        self.len -= 1;
        Some(taken)
    }

    #[cold]
    fn pop_node(&mut self, side: Side) {
        let _ = match side {
            Side::Left => self.nodes.pop_front(),
            Side::Right => self.nodes.pop_back(),
        };
        if self.nodes.capacity() > 16 && self.nodes.len() < self.nodes.capacity() / 4 {
            self.nodes.shrink_to(self.nodes.len() * 2);
        }
    }

    /// Removes up to `count` elements from `index` on. O(nodes + node).
    pub fn remove(&mut self, index: usize, count: usize) {
        let Some((first, inside)) = self.place(index) else { return };
        let mut left = count.min(self.len - index);
        self.len -= left;
        let mut at = first;
        if inside > 0
            && let Node::Packed(pack) = &mut self.nodes[at]
        {
            let here = left.min(pack.len() - inside);
            pack.remove(inside, here);
            (left, at) = (left - here, at + 1);
        }
        let mut whole = 0;
        while let Some(node) = self.nodes.get(at + whole)
            && left > 0
        {
            match left.checked_sub(node.len()) {
                Some(less) => (left, whole) = (less, whole + 1),
                None => {
                    if let Node::Packed(pack) = &mut self.nodes[at + whole] {
                        pack.remove(0, left);
                    }
                    left = 0;
                }
            }
        }
        self.nodes.drop_range(at..at + whole);
    }

    /// Removes up to `count` elements that equal `needle`, the first ones from `side`; returns how many. O(bytes).
    pub fn remove_matching(&mut self, needle: Needle<'_>, count: usize, side: Side) -> usize {
        let mut left = count;
        let nodes = self.nodes.len();
        for turn in 0..nodes {
            if left == 0 {
                break;
            }
            let at = if side == Side::Left { turn } else { nodes - 1 - turn };
            left -= match &self.nodes[at] {
                Node::Packed(pack) => {
                    let places = matching(pack, needle, left, side);
                    if let (Node::Packed(pack), false) = (&mut self.nodes[at], places.is_empty()) {
                        pack.remove_places(&places);
                    }
                    places.len()
                }
                Node::Plain(bytes) if needle.is(Item::Text(bytes)) => {
                    self.nodes[at] = Node::Packed(Pack::new());
                    1
                }
                Node::Plain(_) => 0,
            };
        }
        self.nodes.drop_empty();
        self.len -= count - left;
        count - left
    }

    /// Replaces the element at `index`. O(nodes + node).
    pub fn set(&mut self, index: usize, text: &[u8]) {
        let Some((at, inside)) = self.place(index) else { return };
        let large = self.fill.is_large(text.len());
        match &mut self.nodes[at] {
            Node::Plain(bytes) if large => *bytes = Bytes::copy_from_slice(text),
            Node::Packed(pack) if !large => {
                pack.replace(inside, Item::new(text));
                if self.fill.is_overfull(pack.size()) {
                    self.halve(at);
                }
            }
            Node::Plain(_) => {
                self.insert(index, Side::Right, text);
                self.nodes.remove(at);
                self.len -= 1;
            }
            Node::Packed(_) => self.set_large(at, inside, text),
        }
    }

    /// Splits a node that has outgrown its limit, because its elements were replaced by longer ones. (Redis lets it grow, up
    /// to 1 GiB; each change then moves all of it.)
    #[cold]
    fn halve(&mut self, at: usize) {
        let half = self.nodes[at].len() / 2;
        if half > 0 {
            let behind = self.split(at, half);
            self.nodes.insert(at + 1, Node::Packed(behind));
        }
    }

    /// Puts a large element in the place of a packed one.
    fn set_large(&mut self, at: usize, inside: usize, text: &[u8]) {
        let behind = self.split(at, inside + 1);
        let Node::Packed(pack) = &mut self.nodes[at] else { return };
        pack.remove(inside, 1);
        let emptied = pack.len() == 0;
        let large = Node::Plain(Bytes::copy_from_slice(text));
        let place = if emptied {
            self.nodes[at] = large;
            at
        } else {
            self.nodes.insert(at + 1, large);
            at + 1
        };
        if behind.len() > 0 {
            self.nodes.insert(place + 1, Node::Packed(behind));
        }
    }

    /// Cuts the elements from `inside` on off the packed node at `at`.
    fn split(&mut self, at: usize, inside: usize) -> Pack {
        match &mut self.nodes[at] {
            Node::Packed(pack) => pack.split_off(inside),
            Node::Plain(_) => Pack::new(),
        }
    }

    /// Inserts an element at one side of the one at `index`. O(nodes + node).
    pub fn insert(&mut self, index: usize, side: Side, text: &[u8]) {
        let Some((at, inside)) = self.place(index) else { return };
        let (fill, node_len) = (self.fill, self.nodes[at].len());
        self.len += 1;
        // Where the element would stand in its node, and the node beside it at that end.
        let (slot, beside, at_end) = match side {
            Side::Left => (inside, at.checked_sub(1), inside == 0),
            Side::Right => (inside + 1, Some(at + 1), inside + 1 == node_len),
        };
        let new_node = at + usize::from(side == Side::Right);
        if fill.is_large(text.len()) {
            return self.insert_large(at, slot, at_end.then_some(new_node), text);
        }
        if let Some(pack) = self.nodes[at].with_room(text.len(), fill) {
            return pack.insert(slot, Item::new(text));
        }
        if !at_end {
            return self.insert_split(at, slot, side, text);
        }
        let beside = beside.and_then(|beside| self.nodes.get_mut(beside));
        match beside.and_then(|beside| beside.with_room(text.len(), fill)) {
            Some(pack) => pack.push(side.other(), Item::new(text)),
            None => self.nodes.insert(new_node, Node::of(text, fill)),
        }
    }

    /// Inserts a large element: as a node at `new_node`, or amid the node at `at`.
    fn insert_large(&mut self, at: usize, slot: usize, new_node: Option<usize>, text: &[u8]) {
        let large = Node::of(text, self.fill);
        if let Some(new_node) = new_node {
            return self.nodes.insert(new_node, large);
        }
        let behind = self.split(at, slot);
        self.nodes.insert(at + 1, large);
        self.nodes.insert(at + 2, Node::Packed(behind));
    }

    /// Inserts an element amid a full node, which is split.
    fn insert_split(&mut self, at: usize, slot: usize, side: Side, text: &[u8]) {
        let mut behind = self.split(at, slot);
        match (side, &mut self.nodes[at]) {
            (Side::Right, _) => behind.push(Side::Left, Item::new(text)),
            (Side::Left, Node::Packed(pack)) => pack.push(Side::Right, Item::new(text)),
            (Side::Left, Node::Plain(_)) => {}
        }
        self.nodes.insert(at + 1, Node::Packed(behind));
        // Redis keeps the half with the element that was asked for, and merges around it.
        self.merge_around(if side == Side::Right { at } else { at + 1 });
    }

    /// Merges the node at `center` and those beside it where the result is no larger than a node may be.
    fn merge_around(&mut self, mut center: usize) {
        if center >= 2 && self.merge(center - 2) {
            center -= 1;
        }
        self.merge(center + 1);
        if center >= 1 && self.merge(center - 1) {
            center -= 1;
        }
        self.merge(center);
    }

    /// Merges the node at `at` with the next one, if both fit in one.
    fn merge(&mut self, at: usize) -> bool {
        let (Some(Node::Packed(one)), Some(Node::Packed(other))) = (self.nodes.get(at), self.nodes.get(at + 1)) else {
            return false;
        };
        if !self.fill.holds(one.size() + other.size() - JOINED_BYTES, one.len() + other.len()) {
            return false;
        }
        if let (Some(Node::Packed(behind)), Some(Node::Packed(pack))) =
            (self.nodes.remove(at + 1), self.nodes.get_mut(at))
        {
            pack.append(&behind);
        }
        true
    }

    /// Checks the invariant. O(bytes).
    ///
    /// # Errors
    /// What is wrong, for a test's message.
    pub fn validate(&self) -> Result<(), String> {
        let mut len = 0;
        for node in self.nodes.iter() {
            len += node.len();
            if node.len() == 0 {
                return Err("an empty node".to_owned());
            }
            if let Node::Packed(pack) = node {
                let there = Listpack::from_bytes(pack.bytes()).ok_or("not a listpack")?.len();
                if there != pack.len() {
                    return Err(format!("{there} elements, {} counted", pack.len()));
                }
            }
        }
        if len == self.len { Ok(()) } else { Err(format!("{len} elements, {} counted", self.len)) }
    }
}

/// The places of up to `most` elements that equal `needle`, the first ones from `side`.
fn matching(pack: &Pack, needle: Needle<'_>, most: usize, side: Side) -> Vec<usize> {
    let mut places: Vec<usize> =
        pack.entries().filter(|(_, item)| needle.is(*item)).map(|(at, _)| at.offset()).collect();
    let spared = places.len().saturating_sub(most);
    match side {
        Side::Left => places.truncate(most),
        Side::Right => drop(places.drain(..spared)),
    }
    places
}
