//! Walks over a listpack, from either end.
//!
//! Invariant: what is left lies between `front` and `back`, at the bounds of elements. Backwards, each step over a short
//! listpack walks from its start. Must not know: who owns the bytes.

use super::At;
use super::encoding::{Item, decode};
use super::short::Layout;
use std::iter::FusedIterator;
use std::ops::Range;

/// The elements of a listpack with their places.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    layout: Layout,
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

impl<'a> Entries<'a> {
    /// The elements of a whole listpack of other owners.
    #[inline]
    pub(in crate::value) fn of(bytes: &'a [u8]) -> Entries<'a> {
        Entries::laid_out(Layout::Whole, bytes)
    }

    #[inline]
    pub(super) fn laid_out(layout: Layout, bytes: &'a [u8]) -> Entries<'a> {
        Entries { layout, bytes, front: layout.start(), back: layout.end(bytes) }
    }

    /// The elements of a whole listpack of other owners that begin and end there.
    #[inline]
    pub(in crate::value) fn between(bytes: &'a [u8], extent: Range<usize>) -> Entries<'a> {
        Entries { layout: Layout::Whole, bytes, front: extent.start, back: extent.end }
    }

    /// Where the elements that are left begin and end, in bytes from the listpack's start.
    #[inline]
    pub(in crate::value) fn extent(&self) -> Range<usize> {
        self.front..self.back
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (At, Item<'a>);

    #[inline]
    fn next(&mut self) -> Option<(At, Item<'a>)> {
        let at = self.front;
        if at >= self.back {
            return None;
        }
        let (item, size) = decode(self.bytes, at)?;
        self.front = at + self.layout.element_bytes(size);
        Some((At(at), item))
    }
}

impl DoubleEndedIterator for Entries<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let at = self.layout.start_before(self.bytes, self.back)?;
        let (item, _) = decode(self.bytes, at)?;
        self.back = at;
        Some((At(at), item))
    }
}

impl FusedIterator for Entries<'_> {}

/// The elements of a listpack.
#[derive(Clone, Debug)]
pub struct Iter<'a>(pub(super) Entries<'a>);

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        self.0.next().map(|(_, item)| item)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|(_, item)| item)
    }
}

impl FusedIterator for Iter<'_> {}
