//! Hashes: fields, each with a value and perhaps a deadline.
//!
//! A small hash is a listpack of field, value, field, value; a larger one a table of elements; one with a deadline on any
//! field a table with an index of the deadlines ([`timed`]). Forms only grow: none but the last is ever left for a
//! smaller one, and that for the table when no deadline remains.
//!
//! Invariant: a field whose deadline has come is there for nobody, from that millisecond on, whether or not its memory has
//! been given back ([`Hash::expire`]): all that reads takes the time. Must not know: keys, clocks, the configuration.
//! Source of the two encodings: Redis, whose names OBJECT ENCODING answers.

mod timed;

#[cfg(test)]
mod tests;

use super::element::Element;
use super::listpack::{self, At, Item, Listpack};
use super::object::{Collection, Kind, Object, ObjectMut, ObjectRef};
use super::table::{self, Table};
use super::word::{Form, Word};
use crate::util::memory::size_class;
use timed::Timed;
pub use timed::deadline_of;

/// How large a hash may be and still be a listpack.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most fields.
    pub entries: usize,
    /// Longest field or value, in bytes.
    pub value_bytes: usize,
}

/// Up to so many fields a new hash is written in one step: each is compared with all others.
const MOST_AT_ONCE: usize = 16;

/// What a write does to the deadline of its field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lifetime {
    /// The field no longer expires.
    Clear,
    /// The deadline, if there is one, stays.
    Keep,
    /// The field expires then, in Unix milliseconds.
    Until(i64),
}

impl Lifetime {
    /// The deadline of a field that had `before`.
    fn after(self, before: Option<i64>) -> Option<i64> {
        match self {
            Lifetime::Clear => None,
            Lifetime::Keep => before,
            Lifetime::Until(deadline) => Some(deadline),
        }
    }
}

/// A hash, in one word.
pub struct Hash(Word<Listpack, Box<Table>, Box<Timed>>);

impl Default for Hash {
    fn default() -> Hash {
        Hash(Word::a(Listpack::new()))
    }
}

impl Clone for Hash {
    /// O(bytes).
    fn clone(&self) -> Hash {
        Hash(match self.0.get() {
            Form::A(pack) => Word::a(pack.clone()),
            Form::B(table) => Word::b(Box::new(table.clone())),
            Form::C(timed) => Word::c(Box::new(timed.clone())),
        })
    }
}

impl Collection for Hash {
    const KIND: Kind = Kind::Hash;

    fn of(object: ObjectRef<'_>) -> Option<&Hash> {
        if let ObjectRef::Hash(it) = object { Some(it) } else { None }
    }

    fn of_mut(object: ObjectMut<'_>) -> Option<&mut Hash> {
        if let ObjectMut::Hash(it) = object { Some(it) } else { None }
    }

    fn into_object(self) -> Object {
        Object::Hash(self)
    }

    /// Fields whose deadline has come are counted until they are taken out.
    fn len(&self) -> usize {
        match self.0.get() {
            Form::A(pack) => pack.len() / 2,
            Form::B(table) => table.len(),
            Form::C(timed) => timed.table().len(),
        }
    }

    #[inline]
    fn is_empty(&self) -> bool {
        match self.0.get() {
            Form::A(pack) => pack.is_empty(),
            Form::B(table) => table.is_empty(),
            Form::C(timed) => timed.table().is_empty(),
        }
    }

    fn encoding(&self) -> &'static str {
        match self.0.get() {
            Form::A(_) => "listpack",
            Form::B(_) | Form::C(_) => "hashtable",
        }
    }

    fn memory_bytes(&self) -> usize {
        match self.0.get() {
            Form::A(pack) => pack.memory_bytes(),
            Form::B(table) => size_class(size_of::<Table>()) + table.memory_bytes(),
            Form::C(timed) => size_class(size_of::<Timed>()) + timed.memory_bytes(),
        }
    }
}

/// The place of a field in a listpack of pairs, and that of its value.
#[inline]
fn find_pair(pack: &Listpack, field: &[u8]) -> Option<(At, At)> {
    let at = pack.find(pack.first()?, field, 1)?;
    Some((at, pack.next(at)?))
}

#[inline]
fn value_of(element: &Element) -> Item<'_> {
    Item::Text(element.value().unwrap_or_default())
}

/// Reading. `now` is in Unix milliseconds.
impl Hash {
    /// The value of a field. O(1); O(bytes) while it is a listpack.
    #[inline]
    pub fn get(&self, field: &[u8], now: i64) -> Option<Item<'_>> {
        match self.0.get() {
            Form::A(pack) => find_pair(pack, field).map(|(_, value)| pack.get(value)),
            Form::B(table) => table.get(field).map(value_of),
            Form::C(timed) => timed.get(field, now).map(value_of),
        }
    }

    /// Whether there is such a field. O(1); O(bytes) while it is a listpack.
    pub fn contains(&self, field: &[u8], now: i64) -> bool {
        self.get(field, now).is_some()
    }

    /// The deadline of a field in Unix milliseconds, `Some(None)` when it has none, `None` when there is no such field.
    pub fn deadline(&self, field: &[u8], now: i64) -> Option<Option<i64>> {
        match self.0.get() {
            Form::C(timed) => timed.get(field, now).map(deadline_of),
            _ => self.get(field, now).map(|_| None),
        }
    }

    /// Number of fields that have not expired. O(1), and O(fields) of those that have and are still there.
    pub fn live_len(&self, now: i64) -> usize {
        match self.0.get() {
            Form::C(timed) => timed.live_len(now),
            _ => self.len(),
        }
    }

    /// Fields and values in no particular order.
    pub fn iter(&self, now: i64) -> Iter<'_> {
        match self.0.get() {
            Form::A(pack) => Iter::Pack(pack.iter()),
            Form::B(table) => Iter::Table(table.iter(), None),
            Form::C(timed) => Iter::Table(timed.table().iter(), Some(now)),
        }
    }

    /// A field and its value drawn with numbers from `random`, each equally likely; `None` when there is none. O(1);
    /// O(bytes) while it is a listpack.
    pub fn random(&self, random: &mut dyn FnMut() -> u64, now: i64) -> Option<(Item<'_>, Item<'_>)> {
        match self.0.get() {
            Form::A(pack) => {
                let pairs = pack.len() / 2;
                let number = usize::try_from(random() % u64::try_from(pairs.max(1)).ok()?).ok()?;
                let at = pack.at_index(i64::try_from(number * 2).ok()?)?;
                Some((pack.get(at), pack.get(pack.next(at)?)))
            }
            Form::B(table) => table.random(random).map(pair_of),
            Form::C(timed) => timed.random(random, now).map(pair_of),
        }
    }

    /// Calls `visit` for about `count` fields from `cursor` on, 0 at first; returns where to go on, 0 at the end. What is
    /// there from the first call to the last is met, whatever happens in between. A listpack is met as a whole.
    pub fn scan(&self, cursor: u64, count: usize, now: i64, visit: &mut dyn FnMut(Item<'_>, Item<'_>)) -> u64 {
        let (table, now) = match self.0.get() {
            Form::A(_) => {
                self.iter(now).for_each(|(field, value)| visit(field, value));
                return 0;
            }
            Form::B(table) => (table, None),
            Form::C(timed) => (timed.table(), Some(now)),
        };
        table.scan(cursor, count, &mut |element| {
            if now.is_none_or(|now| timed::is_live(element, now)) {
                visit(Item::Text(element.name()), value_of(element));
            }
        })
    }

    /// The earliest deadline of a field in Unix milliseconds, if any has one. O(log fields).
    #[inline]
    pub fn due(&self) -> Option<i64> {
        if let Form::C(timed) = self.0.get() { timed.due() } else { None }
    }

    /// Whether every field has expired. O(log fields).
    pub fn is_over(&self, now: i64) -> bool {
        if let Form::C(timed) = self.0.get() { timed.is_over(now) } else { false }
    }

    /// The table of fields, expired ones included, once there is one.
    pub fn table(&self) -> Option<&Table> {
        match self.0.get() {
            Form::A(_) => None,
            Form::B(table) => Some(table),
            Form::C(timed) => Some(timed.table()),
        }
    }

    /// As [`Hash::table`], to walk through it.
    pub(super) fn walkable_mut(&mut self) -> Option<&mut Table> {
        match self.0.get_mut() {
            Form::A(_) => None,
            Form::B(table) => Some(table),
            Form::C(timed) => Some(timed.walkable_mut()),
        }
    }

    /// Whether it is so small that it is kept as a listpack, whose bytes these are.
    pub fn listpack(&self) -> Option<&Listpack> {
        if let Form::A(pack) = self.0.get() { Some(pack) } else { None }
    }
}

fn pair_of(element: &Element) -> (Item<'_>, Item<'_>) {
    (Item::Text(element.name()), value_of(element))
}

/// Changing.
impl Hash {
    /// Sets the value of a field, and its deadline as `lifetime` says; `true` when the field is new. O(1); O(bytes) while
    /// it is a listpack. One lookup.
    pub fn set(&mut self, field: &[u8], value: &[u8], lifetime: Lifetime, now: i64, limits: Limits) -> bool {
        match self.0.get_mut() {
            Form::A(pack) => {
                let added =
                    if matches!(lifetime, Lifetime::Until(_)) { None } else { pack_set(pack, field, value, limits) };
                added.unwrap_or_else(|| {
                    self.grow();
                    self.set(field, value, lifetime, now, limits)
                })
            }
            Form::B(table) => {
                if let Lifetime::Until(_) = lifetime {
                    self.timed();
                    return self.set(field, value, lifetime, now, limits);
                }
                let (element, added) = table.get_or_insert(field, || Element::new(field, Some(value), None));
                if !added {
                    element.set_value(value);
                }
                added
            }
            Form::C(timed) => {
                let added = timed.set(field, value, lifetime, now);
                self.settle();
                added
            }
        }
    }

    /// Sets the values of several fields, in order; returns how many are new. As [`Hash::set`] for each; those of a small new
    /// hash are written in one step.
    pub fn set_all<'t>(
        &mut self,
        pairs: impl Iterator<Item = (&'t [u8], &'t [u8])> + Clone,
        lifetime: Lifetime,
        now: i64,
        limits: Limits,
    ) -> usize {
        if let Form::A(pack) = self.0.get_mut()
            && !matches!(lifetime, Lifetime::Until(_))
            && pack.is_empty()
            && let Some(count) = count_different(pairs.clone(), limits)
        {
            pack.push_back_all(pairs.flat_map(|(field, value)| [field, value]));
            return count;
        }
        pairs.filter(|(field, value)| self.set(field, value, lifetime, now, limits)).count()
    }

    /// Removes a field; `false` when there is none. O(1); O(bytes) while it is a listpack.
    pub fn remove(&mut self, field: &[u8], now: i64) -> bool {
        match self.0.get_mut() {
            Form::A(pack) => {
                let found = find_pair(pack, field);
                if let Some((at, _)) = found {
                    pack.remove_range(at, 2);
                }
                found.is_some()
            }
            Form::B(table) => table.remove(field).is_some(),
            Form::C(timed) => {
                let removed = timed.remove(field).is_some_and(|element| timed::is_live(&element, now));
                self.settle();
                removed
            }
        }
    }

    /// Gives a field another deadline, or none; `false` when there is no such field. O(log fields); the first deadline turns
    /// a listpack into a table.
    pub fn set_deadline(&mut self, field: &[u8], deadline: Option<i64>, now: i64) -> bool {
        if deadline.is_some() && self.contains(field, now) {
            self.timed();
        }
        if let Form::C(timed) = self.0.get_mut() {
            let found = timed.set_deadline(field, deadline, now);
            self.settle();
            return found;
        }
        deadline.is_none() && self.contains(field, now)
    }

    /// Takes out up to `most` of the fields whose deadline has come, those first that expired first; returns how many.
    pub fn expire(&mut self, now: i64, most: usize, gone: &mut dyn FnMut(&[u8])) -> usize {
        let Form::C(timed) = self.0.get_mut() else { return 0 };
        let count = timed.expire(now, most, gone);
        self.settle();
        count
    }

    /// Prepares for a write of `fields` fields at once. As in Redis, too many for a listpack make a table even where some are
    /// there already, or named twice.
    #[inline]
    pub fn expect(&mut self, fields: usize, limits: Limits) {
        if fields > limits.entries {
            self.grow();
        }
    }

    /// Turns a listpack into a table.
    fn grow(&mut self) {
        if let Form::A(pack) = self.0.get() {
            let mut table = Table::new();
            let (mut names, mut values) = (itoa::Buffer::new(), itoa::Buffer::new());
            for (field, value) in Pairs(pack.iter()) {
                let element = Element::new(field.text(&mut names), Some(value.text(&mut values)), None);
                drop(table.insert(element));
            }
            self.0 = Word::b(Box::new(table));
        }
    }

    /// Turns any form into one that holds deadlines.
    fn timed(&mut self) {
        self.grow();
        if let Form::B(table) = self.0.get_mut() {
            self.0 = Word::c(Box::new(Timed::new(std::mem::take(table))));
        }
    }

    /// Leaves the form that holds deadlines once there are none.
    #[inline]
    fn settle(&mut self) {
        if let Form::C(timed) = self.0.get_mut()
            && timed.due().is_none()
        {
            self.0 = Word::b(Box::new(timed.take_table()));
        }
    }

    /// Checks the invariants; for tests.
    #[cfg(test)]
    fn validate(&self) {
        match self.0.get() {
            Form::A(pack) => {
                assert_eq!(pack.validate(), Ok(()));
                assert!(pack.len().is_multiple_of(2));
            }
            Form::B(table) => {
                table.validate();
                assert!(table.iter().all(|element| element.word().is_none()));
            }
            Form::C(timed) => timed.validate(),
        }
    }
}

/// Sets a field in a listpack; `None`, and nothing is changed, when that must become a table first.
#[inline]
fn pack_set(pack: &mut Listpack, field: &[u8], value: &[u8], limits: Limits) -> Option<bool> {
    let room = value.len() + field.len() + 2 * listpack::OVERHEAD_BYTES;
    if field.len().max(value.len()) > limits.value_bytes || !pack.fits(room) {
        return None;
    }
    let fields = pack.len() / 2;
    match find_pair(pack, field) {
        Some(_) if fields > limits.entries => None,
        Some((_, at)) => {
            pack.replace(at, value);
            Some(false)
        }
        None if fields >= limits.entries => None,
        None => {
            pack.push_back(field);
            pack.push_back(value);
            Some(true)
        }
    }
}

/// The number of fields that a new listpack can take in one step; `None` unless they are few, small and different.
fn count_different<'t>(mut pairs: impl Iterator<Item = (&'t [u8], &'t [u8])> + Clone, limits: Limits) -> Option<usize> {
    let longest = limits.value_bytes.min(usize::from(u16::MAX));
    let mut count = 0;
    while let Some((field, value)) = pairs.next() {
        count += 1;
        let fits = count <= limits.entries.min(MOST_AT_ONCE) && field.len().max(value.len()) <= longest;
        if !fits || pairs.clone().any(|(other, _)| other == field) {
            return None;
        }
    }
    Some(count)
}

/// The pairs of a listpack.
struct Pairs<'a>(listpack::Iter<'a>);

impl<'a> Iterator for Pairs<'a> {
    type Item = (Item<'a>, Item<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.next()?, self.0.next()?))
    }
}

/// Fields and values of a hash; see [`Hash::iter`].
pub enum Iter<'a> {
    /// Of a listpack.
    Pack(listpack::Iter<'a>),
    /// Of a table; with a time, those that live at that.
    Table(table::Iter<'a>, Option<i64>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Item<'a>, Item<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Iter::Pack(items) => Some((items.next()?, items.next()?)),
            Iter::Table(elements, None) => elements.next().map(pair_of),
            Iter::Table(elements, Some(now)) => elements.find(|element| timed::is_live(element, *now)).map(pair_of),
        }
    }
}
