//! Listpacks: short lists of strings and integers in one run of bytes, in the format of RDB files and DUMP.
//!
//! ```text
//! byte 0..4   bytes in all, u32
//! byte 4..6   number of elements, u16; 65535: so many or more, count them
//! then        elements: head, body, and the length of both, to be read backwards
//! last byte   0xff
//!
//! 0iiiiiii                       integer 0..=127           1110llll llllllll   text of up to 4095 bytes
//! 10llllll                       text of up to 63 bytes    11110000 u32        text
//! 110iiiii iiiiiiii              integer of 13 bits        11110001..=11110100 integer of 16, 24, 32, 64 bits
//! ```
//!
//! Invariant: the bytes are a valid listpack ([`Listpack::validate`]), of at most [`MAX_BYTES`] where the caller asks
//! [`Listpack::fits`] before adding. Integers are little-endian, except the 13-bit ones and the lengths inside a head. A
//! text that is the canonical form of a 64-bit integer is held as that integer. Must not know: keys, thresholds, what
//! the elements mean. Source: the listpack specification (github.com/antirez/listpack).

mod encoding;
#[cfg(test)]
mod tests;

pub use encoding::{Item, Needle};

use super::blob::TaggedBlob;
pub(super) use encoding::{Encoded, decode, encode, end_of};
use encoding::{Sizes, check, size_bytes, start_before, written_size};
use std::iter::FusedIterator;
use std::ops::Range;

/// Bytes of a listpack above which [`Listpack::fits`] refuses, as in Redis.
pub const MAX_BYTES: usize = 1 << 30;

/// The most bytes that an element takes beyond its text.
pub const OVERHEAD_BYTES: usize = 10;

pub(super) const HEADER_BYTES: usize = 6;
pub(super) const END: u8 = 0xff;
pub(super) const UNKNOWN_COUNT: u16 = u16::MAX;
pub(super) const EMPTY: [u8; 7] = [7, 0, 0, 0, 0, 0, END];

/// Where an element starts, in bytes from the listpack's start; good until the listpack is changed before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct At(usize);

impl At {
    /// The offset in bytes.
    #[must_use]
    pub fn offset(self) -> usize {
        self.0
    }
}

/// A list of strings and integers in one allocation.
#[derive(Clone, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Listpack(pub(super) TaggedBlob<1>);

const _: () = assert!(size_of::<Option<Listpack>>() == 8);

impl Default for Listpack {
    fn default() -> Self {
        Self::new()
    }
}

/// Reading.
impl Listpack {
    /// An empty listpack.
    #[must_use]
    pub fn new() -> Listpack {
        Listpack(TaggedBlob::from(&EMPTY[..]))
    }

    /// Takes bytes that somebody else made; `None` unless they are a valid listpack of at most [`MAX_BYTES`]. O(bytes).
    ///
    /// Redis gives the largest size that 2, 3 or 4 bytes can hold a byte more than Valkey; such an element is rewritten
    /// as Valkey has it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Listpack> {
        match check(bytes)? {
            Sizes::Shortest => Some(Listpack(TaggedBlob::from(bytes))),
            Sizes::Mixed => rewritten(bytes),
        }
    }

    /// The whole listpack as RDB files and DUMP hold it.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Bytes that the allocation takes. O(1).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }

    /// Number of elements. O(1) below 65535, else O(elements).
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.known_len().unwrap_or_else(|| self.entries().count())
    }

    /// Whether there are no elements. O(1).
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len() <= EMPTY.len()
    }

    /// Whether elements with `more_bytes` of text in all may be added: a listpack stays below 1 GiB.
    #[must_use]
    pub fn fits(&self, more_bytes: usize) -> bool {
        self.0.len().saturating_add(more_bytes) <= MAX_BYTES
    }

    /// The first element's place. O(1).
    #[inline]
    #[must_use]
    pub fn first(&self) -> Option<At> {
        self.element_at(HEADER_BYTES)
    }

    /// The last element's place. O(1).
    #[inline]
    #[must_use]
    pub fn last(&self) -> Option<At> {
        start_before(&self.0, self.end()).map(At)
    }

    /// The place of the element behind `at`. O(1).
    #[inline]
    #[must_use]
    pub fn next(&self, at: At) -> Option<At> {
        self.element_at(end_of(&self.0, at.0)?)
    }

    /// The place of the element before `at`. O(1).
    #[inline]
    #[must_use]
    pub fn prev(&self, at: At) -> Option<At> {
        start_before(&self.0, at.0).map(At)
    }

    /// The element at `at`; an empty text when `at` is not a place of this listpack. O(1).
    #[inline]
    #[must_use]
    pub fn get(&self, at: At) -> Item<'_> {
        let item = decode(&self.0, at.0).map(|(item, _)| item);
        debug_assert!(item.is_some(), "no element at {}", at.0);
        item.unwrap_or(Item::Text(&[]))
    }

    /// The place of the element at `index`, which counts from the end when it is negative. O(distance to the nearer
    /// end).
    #[must_use]
    pub fn at_index(&self, index: i64) -> Option<At> {
        let (mut from_start, mut steps) = (index >= 0, usize::try_from(index.unsigned_abs()).ok()?);
        if let Some(len) = self.known_len() {
            let place = if from_start { steps } else { len.checked_sub(steps)? };
            if place >= len {
                return None;
            }
            from_start = place <= len / 2;
            steps = if from_start { place } else { len - place };
        }
        let (bytes, mut at) = (&self.0[..], if from_start { HEADER_BYTES } else { self.end() });
        for _ in 0..steps {
            at = if from_start { end_of(bytes, at)? } else { start_before(bytes, at)? };
        }
        self.element_at(at)
    }

    /// The first place at or behind `from` whose text is `needle`, looking at one element and then skipping `skip`.
    /// O(bytes); decodes no integers where `needle` is none.
    #[must_use]
    pub fn find(&self, from: At, needle: &[u8], skip: usize) -> Option<At> {
        let (bytes, needle) = (&self.0[..], Needle::new(needle));
        let mut at = from.0;
        loop {
            if needle.is_at(bytes, at)? {
                return Some(At(at));
            }
            for _ in 0..=skip {
                at = end_of(bytes, at)?;
            }
        }
    }

    /// The elements, from either end.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.entries())
    }

    /// The elements with their places, from either end.
    #[inline]
    pub fn entries(&self) -> Entries<'_> {
        Entries::of(&self.0)
    }

    /// Checks the invariant. O(bytes).
    ///
    /// # Errors
    /// What is wrong, for a test's message.
    pub fn validate(&self) -> Result<(), String> {
        if !matches!(check(&self.0), Some(Sizes::Shortest)) {
            return Err(format!("not a listpack: {:?}", self.0));
        }
        let (there, back) = (self.entries().count(), self.entries().rev().count());
        if there == back { Ok(()) } else { Err(format!("{there} elements forwards, {back} backwards")) }
    }

    /// Offset of the end mark.
    #[inline]
    fn end(&self) -> usize {
        self.0.len() - 1
    }

    /// The number of elements where the header tells it.
    #[inline]
    fn known_len(&self) -> Option<usize> {
        let count = u16::from_le_bytes([self.0[4], self.0[5]]);
        if count == UNKNOWN_COUNT { None } else { Some(usize::from(count)) }
    }

    #[inline]
    fn element_at(&self, offset: usize) -> Option<At> {
        if offset < self.end() { Some(At(offset)) } else { None }
    }
}

/// Changing.
impl Listpack {
    /// Appends `text`. Amortised O(length). The caller asks [`Listpack::fits`] first, here and below.
    #[inline]
    pub fn push_back(&mut self, text: &[u8]) -> At {
        self.push_back_item(Item::new(text))
    }

    /// Appends an integer. Amortised O(1).
    #[inline]
    pub fn push_back_int(&mut self, value: i64) -> At {
        self.push_back_item(Item::Int(value))
    }

    /// Appends `item` in the form given, as when elements move between listpacks. Amortised O(length).
    #[inline]
    pub fn push_back_item(&mut self, item: Item<'_>) -> At {
        self.insert(self.end(), item)
    }

    /// Puts `text` first. O(bytes).
    #[inline]
    pub fn push_front(&mut self, text: &[u8]) -> At {
        self.push_front_item(Item::new(text))
    }

    /// Puts `item` first, in the form given. O(bytes).
    #[inline]
    pub fn push_front_item(&mut self, item: Item<'_>) -> At {
        self.insert(HEADER_BYTES, item)
    }

    /// Appends all texts at once: one allocation of the size that is needed. O(bytes added).
    pub fn push_back_all<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]> + Clone) {
        let (bytes, count) = encoded_len(texts.clone());
        let end = self.end();
        let mut room = self.0.gap(end..end, bytes);
        for text in texts {
            let element = encode(Item::new(text));
            let (own, rest) = room.split_at_mut(element.len());
            element.write(own);
            room = rest;
        }
        self.count_more(count);
    }

    /// Puts all texts first, one before the other, so that the last one comes first. O(bytes).
    pub fn push_front_all<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]> + Clone) {
        let (bytes, count) = encoded_len(texts.clone());
        let mut room = self.0.gap(HEADER_BYTES..HEADER_BYTES, bytes);
        for text in texts {
            let element = encode(Item::new(text));
            let (rest, own) = room.split_at_mut(room.len() - element.len());
            element.write(own);
            room = rest;
        }
        self.count_more(count);
    }

    /// Inserts `text` before the element at `at`; returns its place, which is `at`. O(bytes behind).
    #[inline]
    pub fn insert_before(&mut self, at: At, text: &[u8]) -> At {
        self.insert_before_item(at, Item::new(text))
    }

    /// Inserts `item` before the element at `at`, in the form given. O(bytes behind).
    #[inline]
    pub fn insert_before_item(&mut self, at: At, item: Item<'_>) -> At {
        self.insert(at.0, item)
    }

    /// Inserts `text` behind the element at `at`; returns its place. O(bytes behind).
    #[inline]
    pub fn insert_after(&mut self, at: At, text: &[u8]) -> At {
        self.insert_after_item(at, Item::new(text))
    }

    /// Inserts `item` behind the element at `at`, in the form given. O(bytes behind).
    #[inline]
    pub fn insert_after_item(&mut self, at: At, item: Item<'_>) -> At {
        let behind = end_of(&self.0, at.0).unwrap_or_else(|| self.end());
        self.insert(behind, item)
    }

    /// Replaces the element at `at` by `text`; its place stays. O(bytes behind), or O(length) at equal size.
    #[inline]
    pub fn replace(&mut self, at: At, text: &[u8]) -> At {
        self.replace_item(at, Item::new(text))
    }

    /// Replaces the element at `at` by an integer. O(bytes behind), or O(1) at equal size.
    #[inline]
    pub fn replace_int(&mut self, at: At, value: i64) -> At {
        self.replace_item(at, Item::Int(value))
    }

    /// Replaces the element at `at` by `item`, in the form given. O(bytes behind), or O(length) at equal size.
    #[inline]
    pub fn replace_item(&mut self, at: At, item: Item<'_>) -> At {
        let behind = end_of(&self.0, at.0).unwrap_or(at.0).min(self.end());
        self.write(at.0..behind, item);
        self.set_total();
        at
    }

    /// Removes the element at `at`; returns the place of the one that was behind it. O(bytes behind).
    #[inline]
    pub fn remove(&mut self, at: At) -> Option<At> {
        self.remove_range(at, 1)
    }

    /// Removes up to `count` elements from `at` on; returns the place of the next one. O(bytes behind).
    pub fn remove_range(&mut self, at: At, count: usize) -> Option<At> {
        let (mut behind, mut removed) = (at.0, 0);
        while removed < count {
            let Some(end) = end_of(&self.0, behind) else { break };
            (behind, removed) = (end, removed + 1);
        }
        self.0.splice(at.0..behind.min(self.end()), &[]);
        if let Some(len) = self.known_len() {
            self.set_count(len.saturating_sub(removed));
        }
        self.set_total();
        self.element_at(at.0)
    }

    /// Removes the elements at these places, which are in order. O(bytes).
    pub fn remove_all(&mut self, places: &[At]) {
        let (Some(len), Some(first)) = (self.known_len(), places.first()) else {
            for at in places.iter().rev() {
                self.remove(*at);
            }
            return;
        };
        let (mut kept, mut from) = (first.0, first.0);
        for at in places {
            self.0.copy_within(from..at.0, kept);
            kept += at.0 - from;
            from = end_of(&self.0, at.0).unwrap_or(at.0);
        }
        self.0.splice(kept..from, &[]);
        self.set_count(len.saturating_sub(places.len()));
        self.set_total();
    }

    /// Removes all elements.
    pub fn clear(&mut self) {
        *self = Listpack::new();
    }

    /// Appends all elements of `other`. O(bytes of `other`).
    pub fn append(&mut self, other: &Listpack) {
        let end = self.end();
        self.merge(end, other);
    }

    /// Puts all elements of `other` before the first. O(bytes of both).
    pub fn prepend(&mut self, other: &Listpack) {
        self.merge(HEADER_BYTES, other);
    }

    /// Moves the elements from `at` on into a listpack of their own. O(elements).
    #[must_use]
    pub fn split_off(&mut self, at: At) -> Listpack {
        let (len, kept) = (self.len(), self.entries().take_while(|(place, _)| *place < at).count());
        let mut tail = Listpack::new();
        tail.0.splice(HEADER_BYTES..EMPTY.len(), &self.0[at.0..]);
        tail.set_count(len - kept);
        tail.set_total();
        let end = self.end();
        self.0.splice(at.0..end, &[]);
        self.set_count(kept);
        self.set_total();
        tail
    }

    fn merge(&mut self, offset: usize, other: &Listpack) {
        let len = self.known_len().and_then(|len| Some(len + other.known_len()?));
        self.0.splice(offset..offset, &other.0[HEADER_BYTES..other.end()]);
        self.set_count(len.unwrap_or(MAX_BYTES));
        self.set_total();
    }

    #[inline]
    fn insert(&mut self, offset: usize, item: Item<'_>) -> At {
        self.write(offset..offset, item);
        self.count_more(1);
        At(offset)
    }

    /// Brings the header up to date after `count` elements were added.
    #[inline]
    fn count_more(&mut self, count: usize) {
        if let Some(len) = self.known_len() {
            self.set_count(len + count);
        }
        self.set_total();
    }

    /// Puts `item` in the place of the bytes of `range`.
    #[inline]
    fn write(&mut self, range: Range<usize>, item: Item<'_>) {
        let element = encode(item);
        element.write(self.0.gap(range, element.len()));
    }

    #[inline]
    fn set_count(&mut self, count: usize) {
        let count = u16::try_from(count).unwrap_or(UNKNOWN_COUNT);
        self.0[4..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
    }

    #[inline]
    fn set_total(&mut self) {
        let total = u32::try_from(self.0.len()).unwrap_or(u32::MAX); // a blob is at most that long
        self.0[..4].copy_from_slice(&total.to_le_bytes());
    }
}

impl<'a> Extend<&'a [u8]> for Listpack {
    fn extend<T: IntoIterator<Item = &'a [u8]>>(&mut self, texts: T) {
        for text in texts {
            self.push_back(text);
        }
    }
}

impl<'a> FromIterator<&'a [u8]> for Listpack {
    fn from_iter<T: IntoIterator<Item = &'a [u8]>>(texts: T) -> Listpack {
        let mut pack = Listpack::new();
        pack.extend(texts);
        pack
    }
}

impl<'a> IntoIterator for &'a Listpack {
    type Item = Item<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The elements of a listpack with their places.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

impl<'a> Entries<'a> {
    /// The elements of a whole listpack of other owners.
    #[inline]
    pub(super) fn of(bytes: &'a [u8]) -> Entries<'a> {
        Entries { bytes, front: HEADER_BYTES, back: bytes.len() - 1 }
    }

    /// The elements that begin and end there.
    #[inline]
    pub(super) fn between(bytes: &'a [u8], extent: Range<usize>) -> Entries<'a> {
        Entries { bytes, front: extent.start, back: extent.end }
    }

    /// Where the elements that are left begin and end, in bytes from the listpack's start.
    #[inline]
    pub(super) fn extent(&self) -> Range<usize> {
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
        self.front = at + size + size_bytes(size);
        Some((At(at), item))
    }
}

impl DoubleEndedIterator for Entries<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let at = start_before(self.bytes, self.back)?;
        let (item, _) = decode(self.bytes, at)?;
        self.back = at;
        Some((At(at), item))
    }
}

impl FusedIterator for Entries<'_> {}

/// The elements of a listpack.
#[derive(Clone, Debug)]
pub struct Iter<'a>(Entries<'a>);

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

/// The valid listpack `bytes` with all sizes as short as can be.
fn rewritten(bytes: &[u8]) -> Option<Listpack> {
    let (mut pack, mut at) = (Listpack::new(), HEADER_BYTES);
    while at < bytes.len() - 1 {
        let (item, size) = decode(bytes, at)?;
        pack.push_back_item(item);
        at += size + written_size(bytes.get(at + size..)?, size)?.0;
    }
    Some(pack)
}

/// Bytes that these texts take as elements, and their number.
fn encoded_len<'a>(texts: impl Iterator<Item = &'a [u8]>) -> (usize, usize) {
    texts.fold((0, 0), |(bytes, count), text| (bytes + encode(Item::new(text)).len(), count + 1))
}
