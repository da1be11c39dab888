//! Hashes of which some fields have deadlines.
//!
//! A field's deadline stands in its element's word. An index orders the deadlines, each with the hash of its field's name:
//! that tells where in the table the field lies, at 16 bytes a deadline and without a copy of the name.
//!
//! Invariant: an element has a word exactly if it has a deadline, and then `(deadline, hash)` is in the index. Should two
//! fields agree in all 64 bits of the hash and in the deadline, they share one place there: then one of them may stay
//! longer in memory than it should, seen by nobody.

use super::Lifetime;
use crate::value::element::Element;
use crate::value::table::Table;
use std::collections::BTreeSet;

/// Random draws that may meet expired fields before all that live are gathered.
const RANDOM_TRIES: usize = 64;

/// Bytes that the index takes for a deadline: nodes of 11 places, on average three quarters full.
const INDEX_BYTES: usize = 24;

/// A table of fields and an index of their deadlines.
#[derive(Clone, Default)]
pub struct Timed {
    table: Table,
    index: BTreeSet<(i64, u64)>,
}

/// The deadline of a field in Unix milliseconds, if it has one.
#[inline]
pub fn deadline_of(element: &Element) -> Option<i64> {
    element.word().map(u64::cast_signed)
}

/// Whether a field has not expired.
#[inline]
pub fn is_live(element: &Element, now: i64) -> bool {
    deadline_of(element).is_none_or(|deadline| deadline > now)
}

fn new_element(field: &[u8], value: &[u8], deadline: Option<i64>) -> Element {
    Element::new(field, Some(value), deadline.map(i64::cast_unsigned))
}

impl Timed {
    /// Takes over fields without deadlines.
    pub fn new(table: Table) -> Timed {
        Timed { table, index: BTreeSet::new() }
    }

    /// All fields, the expired included.
    #[inline]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// As [`Timed::table`], to walk through it.
    pub fn walkable_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    /// Gives the fields away, which must have no deadlines.
    pub fn take_table(&mut self) -> Table {
        std::mem::take(&mut self.table)
    }

    /// Finds a field.
    #[inline]
    pub fn get(&self, field: &[u8], now: i64) -> Option<&Element> {
        self.table.get(field).filter(|element| is_live(element, now))
    }

    /// The earliest deadline.
    #[inline]
    pub fn due(&self) -> Option<i64> {
        self.index.first().map(|(deadline, _)| *deadline)
    }

    /// Whether every field has expired.
    pub fn is_over(&self, now: i64) -> bool {
        self.index.len() == self.table.len() && self.index.last().is_some_and(|(deadline, _)| *deadline <= now)
    }

    /// Number of fields that have not expired. O(fields that have).
    pub fn live_len(&self, now: i64) -> usize {
        self.table.len() - self.index.range(..=(now, u64::MAX)).count()
    }

    /// A field that has not expired, each equally likely.
    pub fn random(&self, random: &mut dyn FnMut() -> u64, now: i64) -> Option<&Element> {
        for _ in 0..RANDOM_TRIES {
            let element = self.table.random(random)?;
            if is_live(element, now) {
                return Some(element);
            }
        }
        let live: Vec<&Element> = self.table.iter().filter(|element| is_live(element, now)).collect();
        let number = random() % u64::try_from(live.len().max(1)).ok()?;
        live.get(usize::try_from(number).ok()?).copied()
    }

    /// Sets a value and a deadline; `true` when the field is new.
    pub fn set(&mut self, field: &[u8], value: &[u8], lifetime: Lifetime, now: i64) -> bool {
        let hash = Table::hash(field);
        let mut fresh = lifetime.after(None);
        let (element, mut added) = self.table.get_or_insert_hashed(hash, field, || new_element(field, value, fresh));
        if !added {
            let before = deadline_of(element);
            added = before.is_some_and(|deadline| deadline <= now);
            fresh = if added { fresh } else { lifetime.after(before) };
            if before.is_some() == fresh.is_some() {
                element.set_value(value);
            }
            self.change_deadline(field, hash, before, fresh, |_| new_element(field, value, fresh));
        } else if let Some(deadline) = fresh {
            self.index.insert((deadline, hash));
        }
        added
    }

    /// Moves a deadline in the index and in the field's word; `remake` makes the field anew where a word comes or goes.
    fn change_deadline(
        &mut self,
        field: &[u8],
        hash: u64,
        before: Option<i64>,
        after: Option<i64>,
        remake: impl FnOnce(&Element) -> Element,
    ) {
        if before == after {
            return;
        }
        if let Some(deadline) = before {
            self.index.remove(&(deadline, hash));
        }
        if let Some(deadline) = after {
            self.index.insert((deadline, hash));
        }
        let Some(element) = self.table.get_mut_hashed(hash, field) else { return };
        let word = after.map(i64::cast_unsigned);
        if !(before.is_some() && word.is_some_and(|word| element.set_word(word))) {
            let element = remake(element);
            drop(self.table.insert_hashed(hash, element));
        }
    }

    /// Gives a field another deadline, or none; `false` when there is no such field.
    pub fn set_deadline(&mut self, field: &[u8], deadline: Option<i64>, now: i64) -> bool {
        let hash = Table::hash(field);
        let Some(element) = self.table.get_hashed(hash, field).filter(|element| is_live(element, now)) else {
            return false;
        };
        let before = deadline_of(element);
        self.change_deadline(field, hash, before, deadline, |element| {
            new_element(field, element.value().unwrap_or_default(), deadline)
        });
        true
    }

    /// Removes and returns a field, expired or not.
    pub fn remove(&mut self, field: &[u8]) -> Option<Element> {
        let hash = Table::hash(field);
        let element = self.table.remove_hashed(hash, field)?;
        if let Some(deadline) = deadline_of(&element) {
            self.index.remove(&(deadline, hash));
        }
        Some(element)
    }

    /// Takes out up to `most` of the fields whose deadline has come, `gone` is told their names; returns how many.
    pub fn expire(&mut self, now: i64, most: usize, gone: &mut dyn FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < most
            && let Some((deadline, hash)) = self.index.first().copied()
            && deadline <= now
        {
            self.index.pop_first();
            count += self.take_out(deadline, hash, gone);
        }
        count
    }

    /// Removes the fields of this hash and deadline: one, as good as always.
    fn take_out(&mut self, deadline: i64, hash: u64, gone: &mut dyn FnMut(&[u8])) -> usize {
        let mut names: Vec<Box<[u8]>> = Vec::new();
        // A cursor is a hash: one home bucket is looked at.
        self.table.scan(hash, 1, &mut |element| {
            if deadline_of(element) == Some(deadline) && Table::hash(element.name()) == hash {
                names.push(element.name().into());
            }
        });
        names.iter().for_each(|name| gone(name));
        names.iter().filter(|name| self.table.remove_hashed(hash, name).is_some()).count()
    }

    /// Bytes beside the struct itself; the fields' from a sample.
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.index.len() * INDEX_BYTES
    }

    /// Checks the invariants; for tests.
    #[cfg(test)]
    pub fn validate(&self) {
        self.table.validate();
        let deadlines =
            self.table.iter().filter_map(|element| Some((deadline_of(element)?, Table::hash(element.name()))));
        assert_eq!(deadlines.collect::<BTreeSet<_>>(), self.index);
        assert!(!self.index.is_empty(), "a form for deadlines without any");
    }
}
