//! The nodes of a long list, which can be walked through while they change.
//!
//! A walk numbers the nodes that there are at its beginning. Those that nobody has touched since lie in *runs*: stretches of nodes
//! that are still neighbours. Whoever is about to change a node takes it out of its run and leaves a copy under its number, or
//! the node itself where it goes as a whole.
//! Invariant, while there is a walk: every number from the next one on is either that of one node of one run or has been kept, not
//! both; runs ascend by place and by number. Must not know: what a node is to a list.

use super::NodeRef;
use super::quicklist::Node;
use crate::value::walk::{Claim, Left};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::{Deref, Index, IndexMut, Range};

/// Nodes in a row: a deque for those who read.
#[derive(Default)]
pub struct Nodes {
    nodes: VecDeque<Node>,
    walk: Option<Box<Walk>>,
}

/// Nodes that have been neighbours since the walk began, and that nobody has touched.
#[derive(Clone, Copy)]
struct Run {
    /// Place of the first, see [`Walk::place`].
    place: isize,
    number: usize,
    len: usize,
}

impl Run {
    fn end(self) -> isize {
        self.place.saturating_add_unsigned(self.len)
    }
}

/// How far a walk has got.
struct Walk {
    /// `None` in a list that nobody uses any more.
    claim: Option<Claim>,
    /// The number of the next node to be shown, and of all at the beginning.
    next: usize,
    count: usize,
    /// How many more nodes there are in front than at the beginning.
    shift: isize,
    runs: VecDeque<Run>,
    kept: BTreeMap<usize, Node>,
}

impl Walk {
    fn is_over(&self) -> bool {
        self.claim.as_ref().is_some_and(Claim::is_over)
    }

    /// The place of the node at `at`: what comes and goes in front changes nobody's.
    fn place(&self, at: usize) -> isize {
        0_isize.saturating_add_unsigned(at) - self.shift
    }

    /// Ends runs at a place, so that none reaches across it; returns the index of the first run from there on.
    fn split(&mut self, place: isize) -> usize {
        let index = self.runs.partition_point(|run| run.end() <= place);
        match self.runs.get_mut(index) {
            Some(run) if run.place < place => {
                let before = usize::try_from(place - run.place).unwrap_or(run.len);
                let behind = Run { place, number: run.number + before, len: run.len - before };
                run.len = before;
                self.runs.insert(index + 1, behind);
                index + 1
            }
            _ => index,
        }
    }

    /// Takes what there is at these places out of its runs: gives the runs that it was.
    fn carve(&mut self, places: Range<isize>) -> Vec<Run> {
        let first = self.split(places.start);
        let last = self.split(places.end);
        self.runs.drain(first..last).collect()
    }

    /// A node was put in at `at`.
    fn inserted(&mut self, at: usize) {
        if at == 0 {
            self.shift += 1;
            return;
        }
        let first = self.split(self.place(at));
        self.runs.range_mut(first..).for_each(|run| run.place += 1);
    }

    /// `count` nodes, which are in no run any more, were taken out at `at`.
    fn removed(&mut self, at: usize, count: usize) {
        let count = isize::try_from(count).unwrap_or(0); // more bytes than there are addresses
        if at == 0 {
            self.shift -= count;
            return;
        }
        let first = self.split(self.place(at));
        self.runs.range_mut(first..).for_each(|run| run.place -= count);
    }
}

impl Nodes {
    /// The walk in progress; one that was given up is forgotten.
    fn walk(&mut self) -> Option<&mut Walk> {
        self.walk.take_if(|walk| walk.is_over());
        self.walk.as_deref_mut()
    }

    /// Must come before a change of the node at `at`.
    #[inline]
    fn keep(&mut self, at: usize) {
        if self.walk.is_some() {
            self.keep_walked(at);
        }
    }

    #[cold]
    #[inline(never)]
    fn keep_walked(&mut self, at: usize) {
        let Some(walk) = self.walk() else { return };
        let place = walk.place(at);
        let carved = walk.carve(place..place + 1);
        if let (Some(walk), Some(run), Some(node)) = (&mut self.walk, carved.first(), self.nodes.get(at)) {
            walk.kept.insert(run.number, node.clone());
        }
    }

    /// A node, to change it.
    #[inline]
    pub fn get_mut(&mut self, at: usize) -> Option<&mut Node> {
        self.keep(at);
        self.nodes.get_mut(at)
    }

    /// The first node, to change it.
    #[inline]
    pub fn front_mut(&mut self) -> Option<&mut Node> {
        self.get_mut(0)
    }

    /// The last node, to change it.
    #[inline]
    pub fn back_mut(&mut self) -> Option<&mut Node> {
        self.get_mut(self.nodes.len().wrapping_sub(1))
    }

    /// Puts a node in at `at`.
    pub fn insert(&mut self, at: usize, node: Node) {
        if let Some(walk) = self.walk() {
            walk.inserted(at);
        }
        self.nodes.insert(at, node);
    }

    /// Puts a node in front.
    pub fn push_front(&mut self, node: Node) {
        self.insert(0, node);
    }

    /// Puts a node behind the last.
    pub fn push_back(&mut self, node: Node) {
        self.insert(self.nodes.len(), node);
    }

    /// Takes the node at `at` out.
    pub fn remove(&mut self, at: usize) -> Option<Node> {
        self.keep(at);
        if let Some(walk) = self.walk() {
            walk.removed(at, 1);
        }
        self.nodes.remove(at)
    }

    /// Takes the first node out.
    pub fn pop_front(&mut self) -> Option<Node> {
        self.remove(0)
    }

    /// Takes the last node out.
    pub fn pop_back(&mut self) -> Option<Node> {
        self.remove(self.nodes.len().checked_sub(1)?)
    }

    /// Drops these nodes; a walk in progress gets them as they are.
    pub fn drop_range(&mut self, range: Range<usize>) {
        let mut gone = self.nodes.drain(range.clone());
        let Some(walk) = self.walk.as_deref_mut().filter(|walk| !walk.is_over()) else { return };
        let mut place = walk.place(range.start);
        for run in walk.carve(place..place.saturating_add_unsigned(range.len())) {
            // Those before it have been kept already, or are new.
            let skipped = usize::try_from(run.place - place).unwrap_or(0);
            let numbers = run.number..run.number + run.len;
            walk.kept.extend(numbers.zip(gone.by_ref().skip(skipped).take(run.len)));
            place = run.end();
        }
        drop(gone);
        walk.removed(range.start, range.len());
    }

    /// Drops the nodes that are empty.
    pub fn drop_empty(&mut self) {
        if self.walk().is_none() {
            return self.nodes.retain(|node| node.len() > 0);
        }
        let empty: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].len() == 0).collect();
        self.nodes.retain(|node| node.len() > 0);
        if let Some(walk) = &mut self.walk {
            // They have been changed, and so are in no run.
            empty.into_iter().rev().for_each(|at| walk.removed(at, 1));
        }
    }

    /// Gives room back.
    pub fn shrink_to(&mut self, capacity: usize) {
        self.nodes.shrink_to(capacity);
    }

    /// Begins a walk. A walk that was given up is forgotten.
    pub fn begin_walk(&mut self, claim: Claim) {
        let count = self.nodes.len();
        let runs = VecDeque::from([Run { place: 0, number: 0, len: count }]);
        let (next, shift, kept) = (0, 0, BTreeMap::new());
        self.walk = Some(Box::new(Walk { claim: Some(claim), next, count, shift, runs, kept }));
    }

    /// Who walks through it.
    pub fn claim(&self) -> Option<&Claim> {
        self.walk.as_ref().and_then(|walk| walk.claim.as_ref())
    }

    /// Shows nodes in order, as they were when the walk began, until `more`, which is asked after each, says no; `true` when all have been
    /// shown: then the walk has ended.
    pub fn walk_on(&mut self, more: &mut dyn FnMut() -> bool, visit: &mut dyn FnMut(NodeRef<'_>)) -> bool {
        let Some(mut walk) = self.walk.take() else { return true };
        while walk.next < walk.count {
            if let Some(node) = walk.kept.remove(&walk.next) {
                visit(node.to_ref());
            } else if let Some(run) = walk.runs.front_mut() {
                debug_assert_eq!(run.number, walk.next);
                if let Some(node) = usize::try_from(run.place + walk.shift).ok().and_then(|at| self.nodes.get(at)) {
                    visit(node.to_ref());
                }
                *run = Run { place: run.place + 1, number: run.number + 1, len: run.len - 1 };
                if run.len == 0 {
                    walk.runs.pop_front();
                }
            }
            walk.next += 1;
            if !more() {
                break;
            }
        }
        let done = walk.next == walk.count;
        if !done {
            self.walk = Some(walk);
        }
        done
    }

    #[cold]
    fn leave_walked(&mut self) {
        let Some(mut walk) = self.walk.take().filter(|walk| !walk.is_over()) else { return };
        if let Some(claim) = walk.claim.take() {
            claim.leave(Left::Nodes(Nodes { nodes: std::mem::take(&mut self.nodes), walk: Some(walk) }));
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if self.walk.is_some() {
            self.leave_walked();
        }
    }
}

impl Deref for Nodes {
    type Target = VecDeque<Node>;

    #[inline]
    fn deref(&self) -> &VecDeque<Node> {
        &self.nodes
    }
}

impl Index<usize> for Nodes {
    type Output = Node;

    #[inline]
    fn index(&self, at: usize) -> &Node {
        &self.nodes[at]
    }
}

impl IndexMut<usize> for Nodes {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut Node {
        self.keep(at);
        &mut self.nodes[at]
    }
}

impl Clone for Nodes {
    fn clone(&self) -> Nodes {
        Nodes { nodes: self.nodes.clone(), walk: None }
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nodes.fmt(f)
    }
}
