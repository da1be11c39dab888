//! Walks through a table while it changes: every element is met as it was at the beginning.
//!
//! The walk goes through homes in the order of the hash. Whoever is about to change what there is under a hash that it has not come
//! to leaves a copy of it first, once. Invariant: for a hash below the position, or among those touched, nothing is left to be met
//! but what is kept. Who has the elements in an order of their own may go by that instead, and leaves the position where it is: then
//! what is not before the last one met has been met too. Must not know: what elements mean.
//! Source: the snapshots without fork of Dragonfly, a level further down.

use super::{Element, Table, hash};
use crate::util::hashes::Hashes;
use crate::value::walk::{Claim, Left};
use std::cmp::Ordering;

/// Kept elements that lie together: a longer array would have to be moved as it grows.
const BATCH: usize = 1024;

/// How elements lie to each other in an order that is not that of their hashes.
type Order = fn(&Element, &Element) -> Ordering;

/// How far a walk has got.
pub struct Walk {
    /// `None` in a table that nobody uses any more.
    claim: Option<Claim>,
    /// The hash from which on nothing has been met, `None` behind the last.
    position: Option<u64>,
    /// A copy of the last element that was met downwards in another order, which is unchanged since unless it was touched.
    last: Option<(Element, Order)>,
    touched: Hashes,
    /// Copies of what has changed since the beginning.
    kept: Vec<Vec<Element>>,
}

impl Walk {
    fn is_over(&self) -> bool {
        self.claim.as_ref().is_some_and(Claim::is_over)
    }

    /// Notes that what there is under this hash is dealt with; `true` when it was not yet.
    fn close(&mut self, hash: u64) -> bool {
        self.position.is_some_and(|position| hash >= position) && self.touched.insert(hash)
    }

    /// Whether it was met in an order that is not that of hashes.
    fn is_met(&self, element: &Element) -> bool {
        self.last.as_ref().is_some_and(|(last, order)| order(element, last).is_ge())
    }

    /// The last one that was met in an order that is not that of hashes.
    pub fn last(&self) -> Option<&Element> {
        self.last.as_ref().map(|(element, _)| element)
    }

    /// All from `last` on have been met; downwards in `order`, which has to stay the same.
    pub fn rest_at(&mut self, last: &Element, order: Order) {
        self.last = Some((last.clone(), order));
    }

    /// Shows an element, unless that is done with.
    pub fn show(&self, element: &Element, visit: &mut dyn FnMut(&Element)) {
        if !self.touched.contains(hash::hash(element.name())) {
            visit(element);
        }
    }

    fn keep(&mut self, element: &Element) {
        match self.kept.last_mut().filter(|batch| batch.len() < BATCH) {
            Some(batch) => batch.push(element.clone()),
            None => {
                let mut batch = Vec::with_capacity(BATCH.min(16 << self.kept.len().min(6)));
                batch.push(element.clone());
                self.kept.push(batch);
            }
        }
    }

    /// Gives out kept elements until `more` says no; whether none is left.
    pub fn give(&mut self, more: &mut dyn FnMut() -> bool, visit: &mut dyn FnMut(&Element)) -> bool {
        while let Some(batch) = self.kept.last_mut() {
            while let Some(element) = batch.pop() {
                visit(&element);
                if !more() {
                    return self.kept.iter().all(Vec::is_empty);
                }
            }
            self.kept.pop();
        }
        true
    }
}

impl Table {
    /// Begins a walk. A walk that was given up is forgotten.
    pub fn begin_walk(&mut self, claim: Claim) {
        let touched = Hashes::new(self.len / 4, 0);
        let walk = Walk { claim: Some(claim), position: Some(0), last: None, touched, kept: Vec::new() };
        self.walk = Some(Box::new(walk));
    }

    /// Takes the walk, for one who knows another order of the elements than that of their hashes. Until it is put back, or has ended,
    /// nothing may be done to the table.
    pub fn take_walk(&mut self) -> Option<Box<Walk>> {
        self.walk.take()
    }

    /// Puts back a walk that goes on.
    pub fn put_walk(&mut self, walk: Box<Walk>) {
        self.walk = Some(walk);
    }

    /// Who walks through it.
    #[inline]
    pub fn claim(&self) -> Option<&Claim> {
        self.walk.as_ref().and_then(|walk| walk.claim.as_ref())
    }

    /// Shows elements as they were when the walk began, until `more`, which is asked after some, says no; `true` when all have been shown: then the walk has ended.
    pub fn walk_on(&mut self, more: &mut dyn FnMut() -> bool, visit: &mut dyn FnMut(&Element)) -> bool {
        let Some(mut walk) = self.walk.take() else { return true };
        let given = walk.give(more, visit);
        while let Some(from) = walk.position.filter(|_| given) {
            let (segment, base) = self.segment_at(from);
            segment.prefetch_elements();
            let end = Table::behind(base, segment.depth());
            walk.position = self.walk_homes(&walk, from, end, more, visit);
            if !more() {
                break;
            }
        }
        let done = walk.position.is_none() && given;
        if !done {
            self.walk = Some(walk);
        }
        done
    }

    /// Shows what has not changed, home by home from `from` on and before `end`; returns the new position.
    fn walk_homes(
        &self,
        walk: &Walk,
        from: u64,
        end: Option<u64>,
        more: &mut dyn FnMut() -> bool,
        visit: &mut dyn FnMut(&Element),
    ) -> Option<u64> {
        let mut at = from;
        loop {
            let next = self.visit_home(at, &mut |element| {
                // A home may begin before the position when the segment was rebuilt since.
                let hash = hash::hash(element.name());
                if hash >= at && !walk.touched.contains(hash) && !walk.is_met(element) {
                    visit(element);
                }
            });
            match next {
                Some(next) if Some(next) != end && more() => at = next,
                next => return next,
            }
        }
    }

    /// Must come before a change of what there is under this hash.
    #[cold]
    #[inline(never)]
    pub(super) fn keep_walked(&mut self, hash: u64) {
        let Some(mut walk) = self.walk.take_if(|walk| !walk.is_over()) else {
            self.walk = None;
            return;
        };
        if walk.close(hash) {
            self.visit_home(hash, &mut |element| {
                if hash::hash(element.name()) == hash && !walk.is_met(element) {
                    walk.keep(element);
                }
            });
        }
        self.walk = Some(walk);
    }

    /// A table that nobody walks through: where somebody does, a copy.
    pub(super) fn unwalked(self) -> Table {
        match self.walk {
            None => self,
            Some(_) => Table::clone(&self), // and what this one holds is left to the walk
        }
    }

    /// Leaves everything to a walk in progress; does nothing when there is none.
    #[cold]
    #[inline(never)]
    pub(super) fn leave_walked(&mut self) {
        let Some(mut walk) = self.walk.take().filter(|walk| !walk.is_over()) else { return };
        if let Some(claim) = walk.claim.take() {
            let mut left = std::mem::take(self);
            left.walk = Some(walk);
            claim.leave(Left::Table(left));
        }
    }
}
