//! Intersection, union and difference of sets.
//!
//! Members travel in batches: each is hashed once, the cache lines that it needs in the other sets are requested for the
//! whole batch, and only then is it looked up. Integers alone are merged, for intsets are sorted. Results that are
//! stored take the form that Valkey would give them, which depends on the order in which members are added.
//! Must not know: keys, replies.

use super::{Limits, Set};
use crate::util::hash;
use crate::value::intset::Intset;
use crate::value::listpack::Item;
use crate::value::object::Collection;
use crate::value::table::Table;
use crate::value::word::Form;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Members looked up together: enough for their cache misses to overlap, few enough to stay in the first-level cache.
const BATCH: usize = 32;

/// From so many times fewer values on, each is looked up by bisection instead of a merge.
const BISECT: usize = 16;

/// Up to so many sets, each is told from those before it faster by comparing than by hashing.
const FEW: usize = 8;

/// What calls stop at.
type Visit<'v, 'a> = &'v mut dyn FnMut(Item<'a>) -> bool;

/// A member on its way through other sets, with the hash of its text.
#[derive(Clone, Copy)]
struct Probe<'a> {
    item: Item<'a>,
    hash: u64,
}

impl<'a> Probe<'a> {
    #[inline]
    fn new(item: Item<'a>) -> Probe<'a> {
        Probe { item, hash: hash::hash(item.text(&mut itoa::Buffer::new())) }
    }
}

impl PartialEq for Probe<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
            && match (self.item, other.item) {
                (Item::Int(value), Item::Text(text)) | (Item::Text(text), Item::Int(value)) => {
                    Item::Int(value).equals(text)
                }
                (one, other) => one == other,
            }
    }
}

impl Eq for Probe<'_> {}

impl Hash for Probe<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Hands on a hash that is one already.
#[derive(Default)]
struct Carry(u64);

impl Hasher for Carry {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Members met so far, by reference.
type Seen<'a> = HashSet<Probe<'a>, BuildHasherDefault<Carry>>;

/// Calls `each` with the members of `set`, [`BATCH`] at a time, until it says stop.
fn batches<'a>(set: &'a Set, each: &mut dyn FnMut(&mut Vec<Probe<'a>>) -> bool) {
    let (mut members, mut batch) = (set.iter(), Vec::with_capacity(BATCH));
    loop {
        batch.clear();
        batch.extend(members.by_ref().take(BATCH).map(Probe::new));
        if batch.is_empty() || !each(&mut batch) {
            return;
        }
    }
}

/// Leaves those members in the batch that `set` has, or those that it has not.
fn keep(batch: &mut Vec<Probe<'_>>, set: &Set, wanted: bool) {
    let Form::C(table) = set.form() else {
        return batch.retain(|probe| set.contains_item(probe.item) == wanted);
    };
    request(batch, table);
    let mut buffer = itoa::Buffer::new();
    batch.retain(|probe| table.get_hashed(probe.hash, probe.item.text(&mut buffer)).is_some() == wanted);
}

/// Requests what the lookups of a batch need: the buckets, then the elements that these name.
fn request(batch: &[Probe<'_>], table: &Table) {
    batch.iter().for_each(|probe| table.prefetch(probe.hash));
    batch.iter().for_each(|probe| table.prefetch_element(probe.hash));
}

/// The intsets, if all sets are such.
fn all_ints<'a>(sets: &[&'a Set]) -> Option<Vec<&'a Intset>> {
    let ints = sets.iter().map(|set| if let Form::A(ints) = set.form() { Some(ints) } else { None });
    ints.collect()
}

/// The sets, each once and where it is first: looking at one again changes no result, but a request may name the same key
/// 100,000 times. O(sets).
fn distinct<'a>(sets: &[&'a Set]) -> Vec<&'a Set> {
    let (mut distinct, mut seen) = (Vec::<&Set>::with_capacity(sets.len()), HashSet::new());
    for set in sets {
        let new = if sets.len() <= FEW {
            !distinct.iter().any(|known| std::ptr::eq(*known, *set))
        } else {
            seen.insert(std::ptr::from_ref(*set))
        };
        if new {
            distinct.push(*set);
        }
    }
    distinct
}

/// Calls `found` with the members that all sets have, until it says stop. O(smallest set x distinct sets).
pub fn intersect<'a>(sets: &[&'a Set], found: Visit<'_, 'a>) {
    let mut sets = distinct(sets);
    sets.sort_by_key(|set| set.len());
    if let Some(ints) = all_ints(&sets) {
        intersect_ints(&ints, found);
    } else if let [smallest, others @ ..] = &sets[..] {
        batches(smallest, &mut |batch| {
            others.iter().for_each(|set| keep(batch, set, true));
            batch.iter().all(|probe| found(probe.item))
        });
    }
}

fn intersect_ints<'a>(sets: &[&'a Intset], found: Visit<'_, 'a>) {
    let [smallest, others @ ..] = sets else { return };
    let mut values: Vec<i64> = smallest.iter().collect();
    for other in others {
        if other.len() / BISECT > values.len() {
            values.retain(|value| other.contains(*value));
        } else {
            let mut theirs = other.iter().peekable();
            values.retain(|value| {
                while theirs.next_if(|their| their < value).is_some() {}
                theirs.peek() == Some(value)
            });
        }
    }
    let _ = values.into_iter().all(|value| found(Item::Int(value)));
}

/// Calls `found` with every member of any set, once each. O(members of all distinct sets).
pub fn union<'a>(sets: &[&'a Set], found: &mut dyn FnMut(Item<'a>)) {
    let mut sets = distinct(sets);
    if let Some(ints) = all_ints(&sets) {
        let mut values: Vec<i64> = ints.into_iter().flatten().collect();
        values.sort(); // ascending runs, which this sort merges
        values.dedup();
        return values.into_iter().for_each(|value| found(Item::Int(value)));
    }
    sets.sort_by_key(|set| set.len());
    let largest = sets.pop_if(|set| matches!(set.form(), Form::C(_)));
    if let Some(largest) = largest {
        largest.iter().for_each(&mut *found);
    }
    let (mut seen, several) = (Seen::default(), sets.len() > 1);
    for set in sets {
        batches(set, &mut |batch| {
            if let Some(largest) = largest {
                keep(batch, largest, false);
            }
            let new = batch.iter().filter(|probe| !several || seen.insert(**probe));
            new.for_each(|probe| found(probe.item));
            true
        });
    }
}

/// Calls `found` with the members of the first set that no other has. O(first set x others), or O(members of all sets),
/// of which each counts once.
pub fn difference<'a>(sets: &[&'a Set], found: &mut dyn FnMut(Item<'a>)) {
    let [first, others @ ..] = sets else { return };
    if others.iter().any(|other| std::ptr::eq(*other, *first)) {
        return;
    }
    let mut others = distinct(others);
    others.sort_by_key(|set| std::cmp::Reverse(set.len()));
    let mut seen = Seen::default();
    if removes(sets) {
        others.iter().for_each(|set| seen.extend(set.iter().map(Probe::new)));
        others.clear();
    }
    batches(first, &mut |batch| {
        others.iter().for_each(|set| keep(batch, set, false));
        batch.iter().filter(|probe| !seen.contains(*probe)).for_each(|probe| found(probe.item));
        true
    });
}

/// Whether Valkey makes a difference by removing the members of the others from a copy of the first set: where that is
/// less work than looking the first set's members up in the others.
fn removes(sets: &[&Set]) -> bool {
    let lookups = sets.first().map_or(0, |first| first.len() * sets.len()) / 2;
    lookups > sets.iter().map(|set| set.len()).sum()
}

/// The intersection as a set. O(smallest set x distinct sets).
#[must_use]
pub fn intersection_set(sets: &[&Set], limits: &Limits) -> Set {
    let smallest = sets.iter().min_by_key(|set| set.len());
    let sorted = smallest.is_some_and(|set| matches!(set.form(), Form::A(_)));
    let mut result = if sorted { Set::default() } else { Set::compact() };
    intersect(sets, &mut |item| {
        result.insert_item(item, limits);
        true
    });
    result.become_intset(limits);
    result
}

/// The union as a set. O(members of all distinct sets).
#[must_use]
pub fn union_set(sets: &[&Set], limits: &Limits) -> Set {
    let largest = sets.iter().max_by_key(|set| set.len()).filter(|set| set.outgrows(limits));
    let mut result = largest.map_or_else(Set::default, |set| (*set).clone());
    for set in distinct(sets).into_iter().filter(|set| largest.is_none_or(|largest| !std::ptr::eq(*set, *largest))) {
        result.add_all(set, limits);
    }
    result
}

/// The difference as a set. Costs as [`difference`].
#[must_use]
pub fn difference_set(sets: &[&Set], limits: &Limits) -> Set {
    let mut result = Set::default();
    match sets {
        [first, others @ ..] if removes(sets) => {
            if others.iter().any(|other| std::ptr::eq(*other, *first)) {
                return result;
            }
            result = union_set(&[first], limits);
            distinct(others).into_iter().flat_map(Set::iter).for_each(|item| {
                result.remove_item(item);
            });
        }
        _ => difference(sets, &mut |item| {
            result.insert_item(item, limits);
        }),
    }
    result
}

impl Set {
    /// Whether it is a table, and too large for any other form.
    fn outgrows(&self, limits: &Limits) -> bool {
        matches!(self.form(), Form::C(_)) && self.len() > limits.intset.max(limits.listpack)
    }

    /// Adds the members of `other`. O(members of `other`).
    pub fn add_all(&mut self, other: &Set, limits: &Limits) {
        batches(other, &mut |batch| {
            if let Form::C(table) = self.form() {
                batch.iter().for_each(|probe| table.prefetch(probe.hash));
            }
            batch.iter().for_each(|probe| {
                self.insert_hashed(probe.hash, probe.item, limits);
            });
            true
        });
    }
}
