//! The order of a large sorted set: a B+tree over (score, member) that knows how many entries lie below every edge.
//!
//! Invariants: entries ascend; an edge holds the count and the first entry of the node below it, so that a rank is a sum
//! over one path and no separator outlives its entry; all leaves lie at the same depth; no node is empty. A leaf that is
//! full spills into a neighbour before it splits, and entries that come in order leave full leaves behind. A walk asks the
//! tree for one leaf after the other, by rank: leaves are not linked.
//!
//! Must not know: what a member is. The caller orders them with a closure; the tree copies handles around. Source: B+trees
//! (Comer 1979) with subtree counts (order statistics), spilling as in B*-trees (Knuth 6.2.4).

use std::cmp::Ordering;

/// Entries of a leaf: with their number they fill 1016 bytes, which the allocator serves from its class of 1024.
pub(super) const LEAF: usize = 63;

/// Edges of an inner node, 48 bytes each: a class of 3072.
const FAN: usize = 64;

/// A neighbour with at most so many entries takes some of a full leaf's.
const SPILL: usize = LEAF - 4;

/// Neighbours that have at most so many entries, or edges, together become one.
const JOIN: usize = LEAF - LEAF / 8;

/// An ordered sequence of scores with handles of their members.
pub(super) struct Tree<H> {
    root: Node<H>,
    len: usize,
}

enum Node<H> {
    Leaf(Box<Leaf<H>>),
    Inner(Vec<Edge<H>>),
}

/// Scores lie apart from handles: a search reads few lines of memory.
struct Leaf<H> {
    len: usize,
    scores: [f64; LEAF],
    members: [H; LEAF],
}

struct Edge<H> {
    /// Entries below.
    count: usize,
    /// The first of them.
    first: Entry<H>,
    node: Node<H>,
}

const _: () = assert!(size_of::<Leaf<usize>>() == 1016 && size_of::<Edge<usize>>() == 48);

/// A score and the handle of its member.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Entry<H> {
    pub(super) score: f64,
    pub(super) member: H,
}

/// Entries of one leaf, in order.
#[derive(Clone, Copy)]
pub(super) struct Run<'a, H> {
    scores: &'a [f64],
    members: &'a [H],
}

impl<'a, H: Copy> Run<'a, H> {
    /// Number of entries.
    pub(super) fn len(self) -> usize {
        self.scores.len()
    }

    /// The entry at `index`, if there are so many.
    #[inline]
    pub(super) fn get(self, index: usize) -> Option<Entry<H>> {
        Some(Entry { score: *self.scores.get(index)?, member: *self.members.get(index)? })
    }

    /// As [`Run::get`], with the handle where it lies.
    #[inline]
    pub(super) fn look(self, index: usize) -> Option<(f64, &'a H)> {
        Some((*self.scores.get(index)?, self.members.get(index)?))
    }

    /// The part of it that `range` names.
    fn part(self, range: std::ops::Range<usize>) -> Run<'a, H> {
        Run { scores: &self.scores[range.clone()], members: &self.members[range] }
    }
}

/// How a descent finds its way: to an entry, or to where it belongs.
trait Seek<H> {
    /// Which edge to follow.
    fn edge(&mut self, edges: &[Edge<H>]) -> usize;
    /// Which place of the leaf.
    fn slot(&mut self, leaf: &Leaf<H>) -> usize;
}

/// By order: the closure says how an entry compares to what is looked for.
struct Order<F>(F);

impl<H: Copy, F: FnMut(f64, H) -> Ordering> Seek<H> for Order<F> {
    #[inline]
    fn edge(&mut self, edges: &[Edge<H>]) -> usize {
        let behind = edges.partition_point(|edge| (self.0)(edge.first.score, edge.first.member) != Ordering::Greater);
        behind.saturating_sub(1)
    }

    #[inline]
    fn slot(&mut self, leaf: &Leaf<H>) -> usize {
        let (mut low, mut high) = (0, leaf.len);
        while low < high {
            let middle = low.midpoint(high);
            if (self.0)(leaf.scores[middle], leaf.members[middle]) == Ordering::Less {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// By order, and only to what is equal.
struct Exact<F>(Order<F>);

impl<H: Copy, F: FnMut(f64, H) -> Ordering> Seek<H> for Exact<F> {
    #[inline]
    fn edge(&mut self, edges: &[Edge<H>]) -> usize {
        self.0.edge(edges)
    }

    #[inline]
    fn slot(&mut self, leaf: &Leaf<H>) -> usize {
        let slot = self.0.slot(leaf);
        let equal = leaf.run().get(slot).is_some_and(|entry| (self.0.0)(entry.score, entry.member).is_eq());
        if equal { slot } else { leaf.len }
    }
}

/// By rank.
struct Rank(usize);

impl<H> Seek<H> for Rank {
    #[inline]
    fn edge(&mut self, edges: &[Edge<H>]) -> usize {
        let mut at = 0;
        while at + 1 < edges.len() && self.0 >= edges[at].count {
            self.0 -= edges[at].count;
            at += 1;
        }
        at
    }

    #[inline]
    fn slot(&mut self, _: &Leaf<H>) -> usize {
        self.0
    }
}

/// Behind the last entry.
struct End;

impl<H> Seek<H> for End {
    #[inline]
    fn edge(&mut self, edges: &[Edge<H>]) -> usize {
        edges.len() - 1
    }

    #[inline]
    fn slot(&mut self, leaf: &Leaf<H>) -> usize {
        leaf.len
    }
}

impl<H: Copy> Default for Tree<H> {
    fn default() -> Tree<H> {
        Tree::new()
    }
}

impl<H: Copy> Tree<H> {
    /// A tree without entries; allocates nothing.
    pub(super) const fn new() -> Tree<H> {
        Tree { root: Node::Inner(Vec::new()), len: 0 }
    }

    /// Number of entries.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes taken from the allocator. O(entries / 4000).
    pub(super) fn memory_bytes(&self) -> usize {
        self.root.memory_bytes()
    }

    /// How many entries lie before what is looked for: `order` says how an entry compares to it. O(log n).
    pub(super) fn rank(&self, order: impl FnMut(f64, H) -> Ordering) -> usize {
        let (mut node, mut seek, mut before) = (&self.root, Order(order), 0);
        loop {
            match node {
                Node::Leaf(leaf) => return before + seek.slot(leaf),
                Node::Inner(edges) if edges.is_empty() => return 0,
                Node::Inner(edges) => {
                    let at = seek.edge(edges);
                    before += edges[..at].iter().map(|edge| edge.count).sum::<usize>();
                    node = &edges[at].node;
                }
            }
        }
    }

    /// The entries of a leaf from that of `rank` on; none at the end. O(log n).
    pub(super) fn run(&self, rank: usize) -> Run<'_, H> {
        let (run, at) = self.leaf(rank);
        run.part(at.min(run.len())..run.len())
    }

    /// The entries of a leaf up to that of rank `end` - 1; none at the start. O(log n).
    pub(super) fn run_before(&self, end: usize) -> Run<'_, H> {
        let (run, at) = self.leaf(end.saturating_sub(1));
        run.part(0..if end == 0 { 0 } else { (at + 1).min(run.len()) })
    }

    /// The entry of a rank. O(log n).
    #[cfg(test)]
    fn get(&self, rank: usize) -> Option<Entry<H>> {
        self.run(rank).get(0)
    }

    /// The entries of the leaf where `rank` lies, and its place there.
    fn leaf(&self, rank: usize) -> (Run<'_, H>, usize) {
        let (mut node, mut seek) = (&self.root, Rank(rank));
        loop {
            match node {
                Node::Leaf(leaf) => return (leaf.run(), seek.0),
                Node::Inner(edges) if edges.is_empty() => return (Run { scores: &[], members: &[] }, 0),
                Node::Inner(edges) => node = &edges[seek.edge(edges)].node,
            }
        }
    }

    /// Adds an entry where `order` says; it must not be there. O(log n).
    pub(super) fn insert(&mut self, entry: Entry<H>, order: impl FnMut(f64, H) -> Ordering) {
        self.add(entry, &mut Order(order));
    }

    /// Adds an entry that lies behind all others. O(log n), and full leaves are left behind.
    pub(super) fn push(&mut self, entry: Entry<H>) {
        self.add(entry, &mut End);
    }

    fn add(&mut self, entry: Entry<H>, seek: &mut impl Seek<H>) {
        self.len += 1;
        if self.len == 1 {
            self.root = Node::Leaf(Leaf::of(entry));
            return;
        }
        if let Some(split) = self.root.add(entry, seek) {
            let left = std::mem::replace(&mut self.root, Node::Inner(Vec::with_capacity(4)));
            if let Node::Inner(edges) = &mut self.root {
                edges.extend([Edge::above(left), Edge::above(split)]);
            }
        }
    }

    /// Removes the entry that `order` finds equal; `false` when there is none. O(log n).
    pub(super) fn remove(&mut self, order: impl FnMut(f64, H) -> Ordering) -> bool {
        self.take(&mut Exact(Order(order)), 1, &mut |_| {}) == 1
    }

    /// Removes up to `count` entries from `rank` on, all of one leaf, and shows them to `taken`; returns how many. O(log n).
    pub(super) fn remove_run(&mut self, rank: usize, count: usize, taken: &mut dyn FnMut(Entry<H>)) -> usize {
        self.take(&mut Rank(rank), count, taken)
    }

    fn take(&mut self, seek: &mut impl Seek<H>, count: usize, taken: &mut dyn FnMut(Entry<H>)) -> usize {
        if self.len == 0 {
            return 0;
        }
        let removed = self.root.take(seek, count, taken);
        self.len -= removed;
        if self.len == 0 {
            self.root = Node::Inner(Vec::new());
        }
        while let Node::Inner(edges) = &mut self.root
            && edges.len() == 1
            && let Some(only) = edges.pop()
        {
            self.root = only.node;
        }
        removed
    }

    /// Moves the entry that `old` finds equal to where `new` finds `entry`, if that is inside the same leaf; else changes
    /// nothing and returns `false`. O(log n).
    pub(super) fn shift(
        &mut self,
        entry: Entry<H>,
        old: impl FnMut(f64, H) -> Ordering,
        new: impl FnMut(f64, H) -> Ordering,
    ) -> bool {
        self.len > 0 && self.root.shift(entry, &mut Exact(Order(old)), &mut Order(new))
    }
}

impl<H: Copy> Node<H> {
    fn first(&self) -> Option<Entry<H>> {
        match self {
            Node::Leaf(leaf) => leaf.run().get(0),
            Node::Inner(edges) => edges.first().map(|edge| edge.first),
        }
    }

    fn count(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len,
            Node::Inner(edges) => edges.iter().map(|edge| edge.count).sum(),
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Node::Leaf(_) => crate::util::memory::size_class(size_of::<Leaf<H>>()),
            Node::Inner(edges) => {
                let own = crate::util::memory::size_class(edges.capacity() * size_of::<Edge<H>>());
                match edges.first() {
                    Some(Edge { node: leaf @ Node::Leaf(_), .. }) => own + edges.len() * leaf.memory_bytes(),
                    _ => own + edges.iter().map(|edge| edge.node.memory_bytes()).sum::<usize>(),
                }
            }
        }
    }

    /// Adds an entry below; returns what was split off to the right.
    fn add(&mut self, entry: Entry<H>, seek: &mut impl Seek<H>) -> Option<Node<H>> {
        match self {
            Node::Leaf(leaf) => {
                let slot = seek.slot(leaf);
                leaf.insert(slot, entry).map(Node::Leaf)
            }
            Node::Inner(edges) => add_below(edges, entry, seek).map(Node::Inner),
        }
    }

    fn take(&mut self, seek: &mut impl Seek<H>, count: usize, taken: &mut dyn FnMut(Entry<H>)) -> usize {
        match self {
            Node::Leaf(leaf) => {
                let slot = seek.slot(leaf);
                leaf.take(slot, count, taken)
            }
            Node::Inner(edges) => take_below(edges, seek, count, taken),
        }
    }

    fn shift(&mut self, entry: Entry<H>, old: &mut impl Seek<H>, new: &mut impl Seek<H>) -> bool {
        match self {
            Node::Leaf(leaf) => {
                let (from, to) = (old.slot(leaf), new.slot(leaf));
                leaf.shift(from, to, entry)
            }
            Node::Inner(edges) => {
                let at = old.edge(edges);
                let edge = &mut edges[at];
                let shifted = edge.node.shift(entry, old, new);
                edge.refresh();
                shifted
            }
        }
    }
}

impl<H: Copy> Edge<H> {
    /// An edge to a node, which is not empty.
    fn above(node: Node<H>) -> Edge<H> {
        let Some(first) = node.first() else { unreachable!("no node is empty") };
        Edge { count: node.count(), first, node }
    }

    /// Reads the first entry below again.
    #[inline]
    fn refresh(&mut self) {
        if let Some(first) = self.node.first() {
            self.first = first;
        }
    }

    fn recount(&mut self) {
        self.count = self.node.count();
        self.refresh();
    }
}

fn add_below<H: Copy>(edges: &mut Vec<Edge<H>>, entry: Entry<H>, seek: &mut impl Seek<H>) -> Option<Vec<Edge<H>>> {
    let mut at = seek.edge(edges);
    if edges[at].count >= LEAF && matches!(edges[at].node, Node::Leaf(_)) && spill(edges, at) {
        at = seek.edge(edges);
    }
    let edge = &mut edges[at];
    let split = edge.node.add(entry, seek);
    match split {
        None => {
            edge.count += 1;
            edge.refresh();
            None
        }
        Some(node) => {
            edge.recount();
            insert_edge(edges, at + 1, Edge::above(node))
        }
    }
}

/// Puts an edge in; when there are too many, the right part is split off. At the end only the new one is.
fn insert_edge<H>(edges: &mut Vec<Edge<H>>, at: usize, edge: Edge<H>) -> Option<Vec<Edge<H>>> {
    if edges.len() < FAN {
        edges.insert(at, edge);
        return None;
    }
    if at == edges.len() {
        return Some(vec![edge]);
    }
    let mut right = edges.split_off(FAN / 2);
    if at <= edges.len() {
        edges.insert(at, edge);
    } else {
        right.insert(at - edges.len(), edge);
    }
    Some(right)
}

/// Moves entries of the full leaf at `at` to a neighbour that has room; `false` when neither has.
fn spill<H: Copy>(edges: &mut [Edge<H>], at: usize) -> bool {
    let roomy = |edge: &Edge<H>| edge.count <= SPILL;
    let left = if edges.get(at + 1).is_some_and(roomy) {
        at
    } else if at > 0 && roomy(&edges[at - 1]) {
        at - 1
    } else {
        return false;
    };
    let (one, two) = edges.split_at_mut(left + 1);
    if let (Some(Edge { node: Node::Leaf(a), .. }), Some(Edge { node: Node::Leaf(b), .. })) =
        (one.last_mut(), two.first_mut())
    {
        let even = (a.len + b.len) / 2;
        a.level(b, even);
    }
    edges[left].recount();
    edges[left + 1].recount();
    true
}

fn take_below<H: Copy>(
    edges: &mut Vec<Edge<H>>,
    seek: &mut impl Seek<H>,
    count: usize,
    taken: &mut dyn FnMut(Entry<H>),
) -> usize {
    let at = seek.edge(edges);
    let edge = &mut edges[at];
    let removed = edge.node.take(seek, count, taken);
    edge.count -= removed;
    if edge.count == 0 {
        edges.remove(at);
        return removed;
    }
    edge.refresh();
    if !join(edges, at) && at > 0 {
        join(edges, at - 1);
    }
    removed
}

/// Makes one node of those at `at` and behind it, if they are small; `false` when not.
fn join<H: Copy>(edges: &mut Vec<Edge<H>>, at: usize) -> bool {
    let [a, b, ..] = &mut edges[at..] else { return false };
    match (&mut a.node, &mut b.node) {
        (Node::Leaf(left), Node::Leaf(right)) if left.len + right.len <= JOIN => {
            let all = left.len + right.len;
            left.level(right, all);
        }
        (Node::Inner(left), Node::Inner(right)) if left.len() + right.len() <= JOIN => left.append(right),
        _ => return false,
    }
    a.count += b.count;
    edges.remove(at + 1);
    true
}

impl<H: Copy> Leaf<H> {
    /// A leaf of one entry.
    fn of(entry: Entry<H>) -> Box<Leaf<H>> {
        Box::new(Leaf { len: 1, scores: [entry.score; LEAF], members: [entry.member; LEAF] })
    }

    fn run(&self) -> Run<'_, H> {
        Run { scores: &self.scores[..self.len], members: &self.members[..self.len] }
    }

    /// Puts an entry in; when the leaf is full, the right part is split off. At either end the new one stays alone.
    fn insert(&mut self, slot: usize, entry: Entry<H>) -> Option<Box<Leaf<H>>> {
        if self.len < LEAF {
            self.put(slot, entry);
            return None;
        }
        let mut right = Leaf::of(entry);
        if slot == self.len {
            return Some(right);
        }
        let keep = if slot == 0 { 0 } else { LEAF / 2 };
        right.len = 0;
        self.level(&mut right, keep);
        if slot <= self.len {
            self.put(slot, entry);
        } else {
            right.put(slot - self.len, entry);
        }
        Some(right)
    }

    fn put(&mut self, slot: usize, entry: Entry<H>) {
        self.scores.copy_within(slot..self.len, slot + 1);
        self.members.copy_within(slot..self.len, slot + 1);
        self.scores[slot] = entry.score;
        self.members[slot] = entry.member;
        self.len += 1;
    }

    /// Removes up to `count` entries from `slot` on; returns how many.
    fn take(&mut self, slot: usize, count: usize, taken: &mut dyn FnMut(Entry<H>)) -> usize {
        let end = slot.saturating_add(count).min(self.len);
        for at in slot..end {
            taken(Entry { score: self.scores[at], member: self.members[at] });
        }
        if slot >= end {
            return 0;
        }
        self.scores.copy_within(end..self.len, slot);
        self.members.copy_within(end..self.len, slot);
        self.len -= end - slot;
        end - slot
    }

    /// Moves the entry at `from` to stand before what is at `to`, with new contents, if both sides of that are known here.
    fn shift(&mut self, from: usize, to: usize, entry: Entry<H>) -> bool {
        if from >= self.len || to == 0 || to >= self.len {
            return false;
        }
        let place = if to > from { to - 1 } else { to };
        if place > from {
            self.scores.copy_within(from + 1..=place, from);
            self.members.copy_within(from + 1..=place, from);
        } else {
            self.scores.copy_within(place..from, place + 1);
            self.members.copy_within(place..from, place + 1);
        }
        self.scores[place] = entry.score;
        self.members[place] = entry.member;
        true
    }

    /// Moves entries between this leaf and the next one until this one has `len`.
    fn level(&mut self, next: &mut Leaf<H>, len: usize) {
        if len < self.len {
            let moved = self.len - len;
            next.scores.copy_within(0..next.len, moved);
            next.members.copy_within(0..next.len, moved);
            next.scores[..moved].copy_from_slice(&self.scores[len..self.len]);
            next.members[..moved].copy_from_slice(&self.members[len..self.len]);
            next.len += moved;
        } else {
            let moved = len - self.len;
            self.scores[self.len..len].copy_from_slice(&next.scores[..moved]);
            self.members[self.len..len].copy_from_slice(&next.members[..moved]);
            next.scores.copy_within(moved..next.len, 0);
            next.members.copy_within(moved..next.len, 0);
            next.len -= moved;
        }
        self.len = len;
    }
}

#[cfg(test)]
mod tests;
