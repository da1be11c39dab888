//! Sets of byte strings, in the form that their size and members allow.
//!
//! | form | OBJECT ENCODING | for |
//! |---|---|---|
//! | [`Intset`] | `intset` | integers alone, up to `set-max-intset-entries` |
//! | [`Listpack`] | `listpack` | few short members, up to `set-max-listpack-entries` and `-value` |
//! | [`Table`] | `hashtable` | everything else |
//!
//! Here is the set; `algebra` has intersection, union and difference, `random` what is drawn by chance. Invariants: no
//! member twice; a set goes from one form to the next exactly when Valkey's does, and never back, except where a
//! function says so. Must not know: keys, options (thresholds come in as [`Limits`]), replies. Source of the
//! conversions: what Valkey 9.1 answers to OBJECT ENCODING.

pub mod algebra;
pub mod random;
#[cfg(test)]
mod tests;

use super::element::Element;
use super::intset::{self, Intset};
use super::listpack::{self, At, Item, Listpack};
use super::object::{Collection, Kind, Object, ObjectMut, ObjectRef};
use super::table::{self, Table};
use super::word::{Form, Word};
use crate::util::number;
use std::fmt;

/// Sizes up to which the compact forms are kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Members of an intset.
    pub intset: usize,
    /// Members of a listpack.
    pub listpack: usize,
    /// Bytes of a member of a listpack.
    pub value: usize,
}

/// A set.
pub struct Set(Word<Intset, Listpack, Box<Table>>);

impl Set {
    /// An empty set in the form that suits its first member best; `expected` members are about to come.
    #[must_use]
    pub fn for_member(member: &[u8], expected: usize, limits: &Limits) -> Set {
        if expected <= limits.intset && number::parse_i64(member).is_some() {
            Set::default()
        } else if expected <= limits.listpack {
            Set::compact()
        } else {
            Set::large()
        }
    }

    /// An empty set in the form of a listpack.
    #[must_use]
    pub fn compact() -> Set {
        Set(Word::b(Listpack::new()))
    }

    /// An empty set in the form of a table.
    #[must_use]
    pub fn large() -> Set {
        Set(Word::c(Box::default()))
    }

    /// Gives up a compact form when `expected` members, counted with repeats, are too many for it. O(members) then.
    #[inline]
    pub fn expect(&mut self, expected: usize, limits: &Limits) {
        let most = match self.0.get() {
            Form::A(_) => limits.intset,
            Form::B(_) => limits.listpack,
            Form::C(_) => return,
        };
        if expected > most {
            self.become_table();
        }
    }

    /// The table of members, once there is one.
    pub fn table(&self) -> Option<&Table> {
        match self.form() {
            Form::C(table) => Some(table),
            _ => None,
        }
    }

    /// As [`Set::table`], to walk through it.
    pub(super) fn walkable_mut(&mut self) -> Option<&mut Table> {
        if let Form::C(table) = self.0.get_mut() { Some(table) } else { None }
    }

    /// The form it has.
    #[inline]
    #[must_use]
    pub fn form(&self) -> Form<&Intset, &Listpack, &Table> {
        self.0.get()
    }

    /// Whether `member` is in the set. O(1), of a compact form O(members).
    #[inline]
    #[must_use]
    pub fn contains(&self, member: &[u8]) -> bool {
        match self.0.get() {
            Form::A(ints) => number::parse_i64(member).is_some_and(|value| ints.contains(value)),
            Form::B(pack) => find(pack, member).is_some(),
            Form::C(table) => table.contains(member),
        }
    }

    /// As [`Set::contains`], for a member of another set.
    #[must_use]
    pub fn contains_item(&self, item: Item<'_>) -> bool {
        match (self.0.get(), item) {
            (Form::A(ints), item) => item.integer().is_some_and(|value| ints.contains(value)),
            (_, item) => self.contains(item.text(&mut itoa::Buffer::new())),
        }
    }

    /// Adds `member`; `false` when it was there. O(1), of a compact form O(members).
    #[inline]
    pub fn insert(&mut self, member: &[u8], limits: &Limits) -> bool {
        match self.0.get_mut() {
            Form::C(table) => insert_into(table, member),
            _ => self.insert_compact(Item::new(member), member, limits),
        }
    }

    /// As [`Set::insert`], for a member of another set.
    pub fn insert_item(&mut self, item: Item<'_>, limits: &Limits) -> bool {
        let mut buffer = itoa::Buffer::new();
        match (self.0.get_mut(), item) {
            (Form::C(table), item) => insert_into(table, item.text(&mut buffer)),
            (_, Item::Text(text)) => self.insert(text, limits),
            (_, item) => self.insert_compact(item, item.text(&mut buffer), limits),
        }
    }

    /// As [`Set::insert_item`], with the hash of the member's text.
    fn insert_hashed(&mut self, hash: u64, item: Item<'_>, limits: &Limits) -> bool {
        let Form::C(table) = self.0.get_mut() else { return self.insert_item(item, limits) };
        let mut buffer = itoa::Buffer::new();
        let member = item.text(&mut buffer);
        table.get_or_insert_hashed(hash, member, || Element::new(member, None, None)).1
    }

    fn insert_compact(&mut self, item: Item<'_>, text: &[u8], limits: &Limits) -> bool {
        match (self.0.get_mut(), item) {
            (Form::A(ints), Item::Int(value)) => {
                let added = ints.insert(value);
                if added && ints.len() > limits.intset.min(intset::MAX_MEMBERS) {
                    self.become_table();
                }
                return added;
            }
            (Form::A(ints), _) if fits_listpack(ints, text, limits) => self.become_listpack(),
            (Form::B(pack), item) => {
                if find(pack, text).is_some() {
                    return false;
                }
                if pack.len() < limits.listpack && text.len() <= limits.value && pack.fits(text.len()) {
                    pack.push_back_item(item);
                    return true;
                }
                self.become_table();
            }
            _ => self.become_table(),
        }
        match self.0.get_mut() {
            Form::B(pack) => {
                pack.push_back_item(item);
                true
            }
            Form::C(table) => insert_into(table, text),
            Form::A(_) => false, // has just become something else
        }
    }

    /// Removes `member`; `false` when it was not there. O(1), of a compact form O(members).
    #[inline]
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self.0.get_mut() {
            Form::A(ints) => number::parse_i64(member).is_some_and(|value| ints.remove(value)),
            Form::B(pack) => match find(pack, member) {
                Some(at) => {
                    pack.remove(at);
                    true
                }
                None => false,
            },
            Form::C(table) => table.remove(member).is_some(),
        }
    }

    /// As [`Set::remove`], for a member of another set.
    pub fn remove_item(&mut self, item: Item<'_>) -> bool {
        self.remove(item.text(&mut itoa::Buffer::new()))
    }

    /// The members: of an intset in ascending order, of a listpack in the order they came, else in none.
    #[inline]
    pub fn iter(&self) -> Members<'_> {
        match self.0.get() {
            Form::A(ints) => Members::Ints(ints.iter()),
            Form::B(pack) => Members::Pack(pack.iter()),
            Form::C(table) => Members::Table(table.iter()),
        }
    }

    /// Calls `visit` for about `count` members from `cursor` on and returns where to go on, 0 at the end, as
    /// [`Table::scan`]; compact forms are met as a whole.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(Item<'_>)) -> u64 {
        if let Form::C(table) = self.0.get() {
            return table.scan(cursor, count, &mut |element| visit(Item::Text(element.name())));
        }
        self.iter().for_each(visit);
        0
    }

    /// Checks the invariants; for tests.
    ///
    /// # Panics
    /// When one does not hold.
    pub fn validate(&self) {
        match self.0.get() {
            Form::A(ints) => assert_eq!(ints.validate(), Ok(())),
            Form::B(pack) => {
                assert_eq!(pack.validate(), Ok(()));
                let mut members: Vec<_> = pack.iter().map(Item::to_vec).collect();
                members.sort_unstable();
                assert!(members.windows(2).all(|pair| pair[0] != pair[1]), "a member twice");
            }
            Form::C(table) => {
                assert_eq!(table.iter().count(), table.len());
                assert!(table.iter().all(|element| element.value().is_none() && element.word().is_none()));
            }
        }
    }

    /// Makes an intset of a set of integers that are few enough, whatever its form.
    pub fn become_intset(&mut self, limits: &Limits) {
        if matches!(self.0.get(), Form::A(_)) || self.len() > limits.intset.min(intset::MAX_MEMBERS) {
            return;
        }
        let mut values: Vec<i64> = Vec::with_capacity(self.len());
        values.extend(self.iter().map_while(Item::integer));
        if values.len() == self.len() {
            values.sort_unstable();
            self.0 = Word::a(values.into_iter().collect());
        }
    }

    fn become_listpack(&mut self) {
        let mut pack = Listpack::new();
        self.iter().for_each(|item| {
            pack.push_back_item(item);
        });
        self.0 = Word::b(pack);
    }

    fn become_table(&mut self) {
        let mut table = Box::<Table>::default();
        let mut buffer = itoa::Buffer::new();
        for item in self.iter() {
            table.insert(Element::new(item.text(&mut buffer), None, None));
        }
        self.0 = Word::c(table);
    }
}

#[inline]
fn insert_into(table: &mut Table, member: &[u8]) -> bool {
    table.get_or_insert(member, || Element::new(member, None, None)).1
}

#[inline]
fn find(pack: &Listpack, member: &[u8]) -> Option<At> {
    pack.find(pack.first()?, member, 0)
}

/// Whether an intset may become a listpack to take a member that is no integer.
fn fits_listpack(ints: &Intset, member: &[u8], limits: &Limits) -> bool {
    // No integer is longer than the longer one of the two ends.
    let longest = [ints.first(), ints.last()].into_iter().flatten().map(number::i64_len).max().unwrap_or(0);
    let bytes = ints.len().saturating_mul(longest + listpack::OVERHEAD_BYTES).saturating_add(member.len());
    ints.len() < limits.listpack
        && member.len() <= limits.value
        && longest <= limits.value
        && bytes <= listpack::MAX_BYTES
}

impl Default for Set {
    /// An empty intset.
    fn default() -> Set {
        Set(Word::a(Intset::new()))
    }
}

impl Clone for Set {
    fn clone(&self) -> Set {
        Set(match self.0.get() {
            Form::A(ints) => Word::a(ints.clone()),
            Form::B(pack) => Word::b(pack.clone()),
            Form::C(table) => Word::c(Box::new(table.clone())),
        })
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Members in turn, see [`Set::iter`].
#[derive(Clone)]
pub enum Members<'a> {
    /// Of an intset.
    Ints(intset::Iter<'a>),
    /// Of a listpack.
    Pack(listpack::Iter<'a>),
    /// Of a table.
    Table(table::Iter<'a>),
}

impl<'a> Iterator for Members<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        match self {
            Members::Ints(ints) => ints.next().map(Item::Int),
            Members::Pack(pack) => pack.next(),
            Members::Table(table) => table.next().map(|element| Item::Text(element.name())),
        }
    }
}

impl<'a> IntoIterator for &'a Set {
    type Item = Item<'a>;
    type IntoIter = Members<'a>;

    fn into_iter(self) -> Members<'a> {
        self.iter()
    }
}

impl Collection for Set {
    const KIND: Kind = Kind::Set;

    #[inline]
    fn of(object: ObjectRef<'_>) -> Option<&Set> {
        if let ObjectRef::Set(it) = object { Some(it) } else { None }
    }

    #[inline]
    fn of_mut(object: ObjectMut<'_>) -> Option<&mut Set> {
        if let ObjectMut::Set(it) = object { Some(it) } else { None }
    }

    fn into_object(self) -> Object {
        Object::Set(self)
    }

    #[inline]
    fn len(&self) -> usize {
        match self.0.get() {
            Form::A(ints) => ints.len(),
            Form::B(pack) => pack.len(),
            Form::C(table) => table.len(),
        }
    }

    fn encoding(&self) -> &'static str {
        match self.0.get() {
            Form::A(_) => "intset",
            Form::B(_) => "listpack",
            Form::C(_) => "hashtable",
        }
    }

    fn memory_bytes(&self) -> usize {
        match self.0.get() {
            Form::A(ints) => ints.memory_bytes(),
            Form::B(pack) => pack.memory_bytes(),
            Form::C(table) => size_of::<Table>() + table.memory_bytes(),
        }
    }
}
