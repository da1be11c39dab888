//! Walks over a table's elements that borrow it or use it up.

use super::{Element, Found, Table, prefetch};

/// A position between elements, in the order of the directory and the slots.
#[derive(Clone, Copy, Default)]
struct Walk {
    index: usize,
    slot: usize,
}

impl Walk {
    #[inline]
    fn next(&mut self, table: &Table) -> Option<Found> {
        while let Some(link) = table.directory.slots().get(self.index) {
            let segment = link.segment();
            if let Some(place) = segment.occupied_from(self.slot) {
                self.slot = place.number() + 1;
                return Some(Found { segment, place });
            }
            *self = Walk { index: self.index + (1 << (table.bits - link.depth())), slot: 0 };
        }
        None
    }
}

/// Elements that are requested from memory before they are due: each is a cache miss of its own, and a core waits for some
/// ten at once.
const AHEAD: usize = 16;

/// The elements of a table; see [`Table::iter`].
#[derive(Clone)]
pub struct Iter<'t> {
    table: &'t Table,
    walk: Walk,
    /// Those that have been requested, in a ring that begins at `left % AHEAD`, counted down.
    ahead: [Option<&'t Element>; AHEAD],
    left: usize,
}

impl<'t> Iter<'t> {
    pub(super) fn new(table: &'t Table) -> Iter<'t> {
        let mut iter = Iter { table, walk: Walk::default(), ahead: [None; AHEAD], left: table.len };
        for place in 0..AHEAD.min(table.len) {
            iter.ahead[(table.len - place) % AHEAD] = iter.request();
        }
        iter
    }

    /// The next element that the walk comes to, to be loaded meanwhile.
    #[inline]
    fn request(&mut self) -> Option<&'t Element> {
        let found = self.walk.next(self.table)?;
        let element = found.segment.element(found.place)?;
        prefetch(element.as_raw().as_ptr());
        Some(element)
    }
}

impl<'t> Iterator for Iter<'t> {
    type Item = &'t Element;

    #[inline]
    fn next(&mut self) -> Option<&'t Element> {
        let place = self.left % AHEAD;
        let due = self.ahead[place].take()?;
        self.ahead[place] = self.request();
        self.left -= 1;
        Some(due)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'t> IntoIterator for &'t Table {
    type Item = &'t Element;
    type IntoIter = Iter<'t>;

    fn into_iter(self) -> Iter<'t> {
        self.iter()
    }
}

/// The elements of a table that is used up; see [`Table::drain`].
pub struct IntoIter {
    table: Table,
    walk: Walk,
}

impl Iterator for IntoIter {
    type Item = Element;

    fn next(&mut self) -> Option<Element> {
        let mut found = self.walk.next(&self.table)?;
        self.table.len -= 1;
        // Overflow counts go wrong, but nothing is looked up in this table any more.
        found.segment.take(found.place).map(|element| element.tagged(0))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.table.len, Some(self.table.len))
    }
}

impl ExactSizeIterator for IntoIter {}

impl IntoIterator for Table {
    type Item = Element;
    type IntoIter = IntoIter;

    /// Copies of the elements while somebody else walks through them.
    fn into_iter(self) -> IntoIter {
        IntoIter { table: self.unwalked(), walk: Walk::default() }
    }
}
