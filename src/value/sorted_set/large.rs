//! A large sorted set: a table that finds members by name, and a tree that holds them in order.
//!
//! Invariant: the tree's entries are exactly the table's elements, by their addresses, with the scores of the elements'
//! words. An element is in the tree only while it is in the table: taken out of the tree first, freed then. Must not know:
//! thresholds, listpacks.

#![expect(
    unsafe_code,
    reason = "the tree points at the table's elements: a copy of the name, or a hash lookup a comparison, costs far more"
)]

use super::range::{LexRange, ScoreRange};
use super::tree::{Entry, Run, Tree};
use crate::util::memory::size_class;
use crate::value::element::Element;
use crate::value::segment::prefetch;
use crate::value::table::{Table, Walk};
use std::cmp::Ordering;
use std::ops::Range;
use std::ptr::NonNull;

/// The address of an element of the table next to it.
#[derive(Clone, Copy)]
pub(super) struct Handle(NonNull<u8>);

// SAFETY: an address by itself gives no access; elements may be sent.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    fn of(element: &Element) -> Handle {
        Handle(element.as_raw())
    }

    /// The element. To be called only on handles of a tree whose table is borrowed as long.
    fn element(&self) -> &Element {
        // SAFETY: handles are private to this file, which keeps the invariant above: the element is in the table, and what
        // borrows the handle borrows the set, so that it stays.
        unsafe { Element::borrow_raw(&self.0) }
    }

    /// The member; as [`Handle::element`].
    fn name(&self) -> &[u8] {
        self.element().name()
    }
}

/// A large sorted set.
#[derive(Default)]
pub(super) struct Large {
    members: Table,
    order: Tree<Handle>,
}

/// How entries lie to (score, member).
fn order_to(score: f64, member: &[u8]) -> impl FnMut(f64, Handle) -> Ordering {
    move |own, handle| own.partial_cmp(&score).unwrap_or(Ordering::Equal).then_with(|| handle.name().cmp(member))
}

/// How elements lie to each other, by (score, member).
fn order(a: &Element, b: &Element) -> Ordering {
    score_of(a).partial_cmp(&score_of(b)).unwrap_or(Ordering::Equal).then_with(|| a.name().cmp(b.name()))
}

/// Counts entries for which `before` holds, which come first.
fn partition(before: impl Fn(f64, &Handle) -> bool) -> impl FnMut(f64, Handle) -> Ordering {
    move |score, handle| if before(score, &handle) { Ordering::Less } else { Ordering::Greater }
}

/// The score of a member.
pub fn score_of(element: &Element) -> f64 {
    f64::from_bits(element.word().unwrap_or(0))
}

impl Large {
    /// The members by name.
    pub fn table(&self) -> &Table {
        &self.members
    }

    /// As [`Large::table`], to begin a walk through it; nothing else may be done there.
    pub(super) fn walkable_mut(&mut self) -> &mut Table {
        &mut self.members
    }

    /// As [`Table::walk_on`], from the highest score down. Who reads a snapshot fills a skip list from it, for which that is several
    /// times as fast; so what was kept of members that were written meanwhile comes in between, in no order.
    pub(super) fn walk_on(&mut self, more: &mut dyn FnMut() -> bool, visit: &mut dyn FnMut(&Element)) -> bool {
        let Some(mut walk) = self.members.take_walk() else { return true };
        let done = walk.give(more, visit) && self.walk_down(&mut walk, more, visit);
        if !done {
            self.members.put_walk(walk);
        }
        done
    }

    /// Shows members leaf by leaf; `true` at the end.
    fn walk_down(&self, walk: &mut Walk, more: &mut dyn FnMut() -> bool, visit: &mut dyn FnMut(&Element)) -> bool {
        let mut left = walk.last().map_or(self.len(), |last| self.order.rank(order_to(score_of(last), last.name())));
        while left > 0 {
            let run = self.order.run_before(left);
            let members = || (0..run.len()).rev().filter_map(|at| run.look(at)).map(|(_, handle)| handle.element());
            members().for_each(|member| prefetch(member.as_raw().as_ptr()));
            members().for_each(|member| walk.show(member, visit));
            left = left.saturating_sub(run.len().max(1));
            if !more()
                && let Some(last) = members().next_back()
            {
                walk.rest_at(last, order);
                return left == 0;
            }
        }
        true
    }

    /// A set of the elements of a table, whose words are scores. O(n log n).
    pub(super) fn from_table(members: Table) -> Large {
        let mut entries: Vec<(f64, Handle)> =
            members.iter().map(|element| (score_of(element), Handle::of(element))).collect();
        entries.sort_unstable_by(|a, b| order_to(b.0, b.1.name())(a.0, a.1));
        let mut order = Tree::new();
        entries.into_iter().for_each(|(score, member)| order.push(Entry { score, member }));
        Large { members, order }
    }

    /// Adds a member that is not there and lies behind all others. O(1) but for the depth of the tree.
    pub(super) fn append(&mut self, member: &[u8], score: f64) {
        let make = || Element::new(member, None, Some(score.to_bits()));
        let (element, _) = self.members.get_or_insert(member, make);
        self.order.push(Entry { score, member: Handle::of(element) });
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_class(size_of::<Large>()) + self.members.memory_bytes() + self.order.memory_bytes()
    }

    /// The score of a member. O(1).
    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        self.members.get(member).map(score_of)
    }

    /// The rank and the score of a member. O(log n).
    pub(super) fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        Some((self.order.rank(order_to(score, member)), score))
    }

    /// Gives a member a score, adding it if it is not there; returns the score that it had. O(log n).
    pub(super) fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let make = || Element::new(member, None, Some(score.to_bits()));
        let (element, added) = self.members.get_or_insert(member, make);
        let entry = Entry { score, member: Handle::of(element) };
        if added {
            self.order.insert(entry, order_to(score, member));
            return None;
        }
        let old = score_of(element);
        if old != score {
            element.set_word(score.to_bits());
            if !self.order.shift(entry, order_to(old, member), order_to(score, member)) {
                self.order.remove(order_to(old, member));
                self.order.insert(entry, order_to(score, member));
            }
        }
        Some(old)
    }

    /// Removes a member; returns its score. O(log n).
    pub(super) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = self.score(member)?;
        self.order.remove(order_to(score, member));
        self.members.remove(member);
        Some(score)
    }

    /// Removes the members of these ranks. O(log n) for each leaf of the tree and O(1) for each member.
    pub(super) fn remove_ranks(&mut self, ranks: Range<usize>) {
        let Large { members, order } = self;
        let mut left = ranks.len();
        while left > 0 {
            let removed = order.remove_run(ranks.start, left, &mut |entry| {
                drop(members.remove(entry.member.name()));
            });
            if removed == 0 {
                break;
            }
            left -= removed;
        }
    }

    /// The ranks of a range of scores. O(log n).
    pub(super) fn score_ranks(&self, range: &ScoreRange) -> Range<usize> {
        let start = self.order.rank(partition(|score, _| range.is_above(score)));
        let end = self.order.rank(partition(|score, _| !range.is_below(score)));
        start..end.max(start)
    }

    /// The ranks of a range of members. O(log n).
    pub(super) fn lex_ranks(&self, range: &LexRange<'_>) -> Range<usize> {
        let start = self.order.rank(partition(|_, handle| range.is_above(handle.name())));
        let end = self.order.rank(partition(|_, handle| !range.is_below(handle.name())));
        start..end.max(start)
    }

    /// Meets about `count` members from `cursor` on; see [`Table::scan`].
    pub(super) fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&[u8], f64)) -> u64 {
        self.members.scan(cursor, count, &mut |element| visit(element.name(), score_of(element)))
    }

    #[cfg(test)]
    pub(super) fn validate(&self) {
        assert_eq!(self.members.len(), self.order.len());
        let pairs: Vec<(&[u8], f64)> = Entries::from(self, 0, false).collect();
        assert_eq!(pairs.len(), self.len());
        assert!(pairs.is_sorted_by(|a, b| (a.1, a.0) < (b.1, b.0)));
        assert!(pairs.iter().all(|(member, score)| self.score(member) == Some(*score)));
    }
}

impl Clone for Large {
    fn clone(&self) -> Large {
        let members = self.members.clone();
        let mut order = Tree::new();
        for (member, score) in Entries::from(self, 0, false) {
            if let Some(element) = members.get(member) {
                order.push(Entry { score, member: Handle::of(element) });
            }
        }
        Large { members, order }
    }
}

/// Members with their scores, in order or backwards.
#[derive(Clone)]
pub(super) struct Entries<'a> {
    set: &'a Large,
    run: Run<'a, Handle>,
    /// The place in the run; behind it when going backwards.
    at: usize,
    /// Rank of the run's first entry.
    rank: usize,
    reverse: bool,
}

impl<'a> Entries<'a> {
    /// From `rank` on, or from there backwards.
    pub(super) fn from(set: &'a Large, rank: usize, reverse: bool) -> Entries<'a> {
        if reverse {
            let run = set.order.run_before(rank.saturating_add(1).min(set.len()));
            return Entries { set, run, at: run.len(), rank: (rank + 1).saturating_sub(run.len()), reverse };
        }
        Entries { set, run: set.order.run(rank), at: 0, rank, reverse }
    }

    fn turn_leaf(&mut self) {
        if self.reverse {
            self.run = self.set.order.run_before(self.rank);
            self.rank -= self.run.len();
            self.at = self.run.len();
        } else {
            self.rank += self.run.len();
            self.run = self.set.order.run(self.rank);
            self.at = 0;
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<(&'a [u8], f64)> {
        if self.at == if self.reverse { 0 } else { self.run.len() } {
            self.turn_leaf();
        }
        let at = if self.reverse { self.at.checked_sub(1)? } else { self.at };
        let (score, handle) = self.run.look(at)?;
        self.at = if self.reverse { at } else { at + 1 };
        Some((handle.name(), score))
    }
}

#[cfg(test)]
mod tests;
