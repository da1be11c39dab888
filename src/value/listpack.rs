//! Listpacks: short lists of strings and integers in one run of bytes, in the format of RDB files and DUMP or, while they are
//! small, in a shorter one ([`short`]).
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
//! Invariant: the bytes are a valid listpack of either layout ([`Listpack::validate`]), of at most [`MAX_BYTES`] where the caller asks
//! [`Listpack::fits`] before adding. Integers are little-endian, except the 13-bit ones and the lengths inside a head. A
//! text that is the canonical form of a 64-bit integer is held as that integer. Must not know: keys, thresholds, what
//! the elements mean. Source: the listpack specification (github.com/antirez/listpack).

mod encoding;
mod entries;
mod short;
#[cfg(test)]
mod tests;

pub use encoding::{Item, Needle};
pub use entries::{Entries, Iter};

use super::blob::TaggedBlob;
pub(super) use encoding::{Encoded, decode, encode, end_of};
use encoding::{Sizes, check, written_size};
use short::Layout;
use std::borrow::Cow;

/// Bytes of a listpack above which [`Listpack::fits`] refuses, as in Redis.
pub const MAX_BYTES: usize = 1 << 30;

/// The most bytes that an element takes beyond its text.
pub const OVERHEAD_BYTES: usize = 10;

pub(super) const HEADER_BYTES: usize = 6;
pub(super) const END: u8 = 0xff;
pub(super) const UNKNOWN_COUNT: u16 = u16::MAX;
pub(super) const EMPTY: [u8; 7] = [7, 0, 0, 0, 0, 0, END];

/// Where an element starts, in bytes from the listpack's start; good until the listpack is changed before it, or grows or
/// shrinks behind it (it may take the other layout). What the changing functions return is good.
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
#[derive(Clone, Debug)]
#[repr(transparent)]
pub struct Listpack(pub(super) TaggedBlob<1>);

const _: () = assert!(size_of::<Option<Listpack>>() == 8);

impl PartialEq for Listpack {
    /// Whether the elements are the same, however they are laid out.
    fn eq(&self, other: &Listpack) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Listpack {}

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
        Listpack(TaggedBlob::from(&short::NONE[..]))
    }

    /// Takes bytes that somebody else made; `None` unless they are a valid listpack of at most [`MAX_BYTES`]. O(bytes).
    ///
    /// Redis gives the largest size that 2, 3 or 4 bytes can hold a byte more than Valkey; such an element is rewritten
    /// as Valkey has it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Listpack> {
        match check(bytes)? {
            Sizes::Shortest => Some(Listpack::from_valid(bytes)),
            Sizes::Mixed => rewritten(bytes),
        }
    }

    /// Takes bytes that are a valid listpack. O(bytes).
    pub(super) fn from_valid(bytes: &[u8]) -> Listpack {
        let short = short::to_short(bytes, short::MOST_ELEMENTS, 0);
        Listpack(TaggedBlob::from(short.as_ref().map_or(bytes, |(short, _)| &short[..])))
    }

    /// The listpack as RDB files and DUMP hold it. O(1), or O(bytes) of a short one.
    #[must_use]
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match self.layout() {
            Layout::Short => Cow::Owned(short::to_whole(&self.0, 0).0),
            Layout::Whole => Cow::Borrowed(&self.0),
        }
    }

    /// Length of [`Listpack::bytes`]. O(1), or O(elements) of a short one.
    #[inline]
    #[must_use]
    pub fn size(&self) -> usize {
        match self.layout() {
            Layout::Short => short::whole_bytes(&self.0),
            Layout::Whole => self.0.len(),
        }
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
        self.0.len() <= short::NONE.len()
    }

    /// Whether elements with `more_bytes` of text in all may be added: a listpack stays below 1 GiB.
    #[must_use]
    pub fn fits(&self, more_bytes: usize) -> bool {
        self.0.len().saturating_add(more_bytes) <= MAX_BYTES - EMPTY.len() - short::MOST_ELEMENTS
    }

    /// The first element's place. O(1).
    #[inline]
    #[must_use]
    pub fn first(&self) -> Option<At> {
        self.element_at(self.layout().start())
    }

    /// The last element's place. O(1), or O(elements) of a short listpack.
    #[inline]
    #[must_use]
    pub fn last(&self) -> Option<At> {
        self.layout().start_before(&self.0, self.end()).map(At)
    }

    /// The place of the element behind `at`. O(1).
    #[inline]
    #[must_use]
    pub fn next(&self, at: At) -> Option<At> {
        self.element_at(self.layout().end_of(&self.0, at.0)?)
    }

    /// The place of the element before `at`. O(1), or O(elements) of a short listpack.
    #[inline]
    #[must_use]
    pub fn prev(&self, at: At) -> Option<At> {
        self.layout().start_before(&self.0, at.0).map(At)
    }

    /// The place of the last element but one. O(1), or O(elements) of a short listpack.
    #[inline]
    #[must_use]
    pub fn last_pair(&self) -> Option<At> {
        self.layout().pair_before(&self.0, self.end()).map(At)
    }

    /// The place two elements before `at`. O(1), or O(elements) of a short listpack.
    #[inline]
    #[must_use]
    pub fn prev_pair(&self, at: At) -> Option<At> {
        self.layout().pair_before(&self.0, at.0).map(At)
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
        let layout = self.layout();
        let (mut from_start, mut steps) = (index >= 0, usize::try_from(index.unsigned_abs()).ok()?);
        if let Some(len) = self.known_len() {
            let place = if from_start { steps } else { len.checked_sub(steps)? };
            if place >= len {
                return None;
            }
            from_start = layout == Layout::Short || place <= len / 2;
            steps = if from_start { place } else { len - place };
        }
        let (bytes, mut at) = (&self.0[..], if from_start { layout.start() } else { self.end() });
        for _ in 0..steps {
            at = if from_start { layout.end_of(bytes, at)? } else { layout.start_before(bytes, at)? };
        }
        self.element_at(at)
    }

    /// The first place at or behind `from` whose text is `needle`, looking at one element and then skipping `skip`.
    /// O(bytes); decodes no integers where `needle` is none.
    #[must_use]
    pub fn find(&self, from: At, needle: &[u8], skip: usize) -> Option<At> {
        match self.layout() {
            Layout::Short => find(Layout::Short, &self.0, from, &Needle::new(needle), skip),
            Layout::Whole => find(Layout::Whole, &self.0, from, &Needle::new(needle), skip),
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
        Entries::laid_out(self.layout(), &self.0)
    }

    /// Checks the invariant. O(bytes).
    ///
    /// # Errors
    /// What is wrong, for a test's message.
    pub fn validate(&self) -> Result<(), String> {
        let (layout, bytes) = (self.layout(), self.bytes());
        if !matches!(check(&bytes), Some(Sizes::Shortest)) {
            return Err(format!("not a listpack: {:?}", self.0));
        }
        let (there, back) = (self.entries().count(), self.entries().rev().count());
        if there != back || there != self.len() || self.size() != bytes.len() {
            return Err(format!("{there} elements forwards, {back} backwards, {} by number", self.len()));
        }
        let (mut walked, small) = (self.entries(), self.0.len() <= short::MOST_BYTES);
        walked.by_ref().for_each(drop);
        match layout {
            Layout::Short if !walked.extent().is_empty() => Err("bytes left over".to_owned()),
            Layout::Whole if small && there <= short::FEW_ELEMENTS => Err("whole, and small".to_owned()),
            Layout::Short | Layout::Whole => Ok(()),
        }
    }

    #[inline]
    fn layout(&self) -> Layout {
        Layout::of(&self.0)
    }

    /// Where the last element ends.
    #[inline]
    fn end(&self) -> usize {
        self.layout().end(&self.0)
    }

    /// The number of elements where the first bytes tell it.
    #[inline]
    fn known_len(&self) -> Option<usize> {
        match self.layout() {
            Layout::Short => Some(usize::from(self.0[0])),
            Layout::Whole => self.whole_len(),
        }
    }

    /// As [`Listpack::known_len`], of a listpack that is whole or about to be.
    #[inline]
    fn whole_len(&self) -> Option<usize> {
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
        self.insert(self.layout().start(), item)
    }

    /// Appends all texts at once: one allocation of the size that is needed. O(bytes added).
    pub fn push_back_all<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]> + Clone) {
        let (layout, bytes) = self.prepare(texts.clone());
        let end = layout.end(&self.0);
        let mut room = self.0.gap(end..end, bytes);
        for text in texts {
            let element = encode(Item::new(text));
            let (own, rest) = room.split_at_mut(layout.element_bytes(element.size()));
            layout.write(&element, own);
            room = rest;
        }
        if layout == Layout::Whole {
            self.set_total();
        }
    }

    /// Puts all texts first, one before the other, so that the last one comes first. O(bytes).
    pub fn push_front_all<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]> + Clone) {
        let (layout, bytes) = self.prepare(texts.clone());
        let start = layout.start();
        let mut room = self.0.gap(start..start, bytes);
        for text in texts {
            let element = encode(Item::new(text));
            let (rest, own) = room.split_at_mut(room.len() - layout.element_bytes(element.size()));
            layout.write(&element, own);
            room = rest;
        }
        if layout == Layout::Whole {
            self.set_total();
        }
    }

    /// Takes the layout that these texts need and counts them; returns it, and the bytes that they take as elements.
    fn prepare<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]>) -> (Layout, usize) {
        let (mut short, mut whole, mut count) = (0, 0, 0);
        for text in texts {
            let element = encode(Item::new(text));
            (short, whole, count) = (short + element.size(), whole + element.len(), count + 1);
        }
        if self.stays_short(count, short) {
            self.count_short(count);
            return (Layout::Short, short);
        }
        self.lengthen(0);
        self.count_more(count);
        (Layout::Whole, whole)
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
        let behind = self.layout().end_of(&self.0, at.0).unwrap_or_else(|| self.end());
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
        let (mut layout, mut at, element) = (self.layout(), at.0, encode(item));
        let mut behind = layout.end_of(&self.0, at).unwrap_or(at).min(self.end());
        if layout == Layout::Short && !self.stays_short(0, element.size().saturating_sub(behind - at)) {
            (layout, at) = (Layout::Whole, self.lengthen(at));
            behind = end_of(&self.0, at).unwrap_or(at).min(layout.end(&self.0));
        }
        let bytes = layout.element_bytes(element.size());
        layout.write(&element, self.0.gap(at..behind, bytes));
        if layout == Layout::Whole && bytes != behind - at {
            self.set_total();
            at = self.settle(at);
        }
        At(at)
    }

    /// Removes the element at `at`; returns the place of the one that was behind it. O(bytes behind).
    #[inline]
    pub fn remove(&mut self, at: At) -> Option<At> {
        self.remove_range(at, 1)
    }

    /// Removes up to `count` elements from `at` on; returns the place of the next one. O(bytes behind).
    pub fn remove_range(&mut self, at: At, count: usize) -> Option<At> {
        let (layout, mut behind, mut removed) = (self.layout(), at.0, 0);
        while removed < count {
            let Some(end) = layout.end_of(&self.0, behind) else { break };
            (behind, removed) = (end, removed + 1);
        }
        self.0.splice(at.0..behind.min(layout.end(&self.0)), &[]);
        let next = self.count_less(layout, removed, at.0);
        self.element_at(next)
    }

    /// Removes the elements at these places, which are in order. O(bytes).
    pub fn remove_all(&mut self, places: &[At]) {
        let Some(first) = places.first() else { return };
        let (layout, mut kept, mut from) = (self.layout(), first.0, first.0);
        for at in places {
            self.0.copy_within(from..at.0, kept);
            kept += at.0 - from;
            from = layout.end_of(&self.0, at.0).unwrap_or(at.0);
        }
        self.0.splice(kept..from, &[]);
        self.count_less(layout, places.len(), 0);
    }

    /// Removes all elements.
    pub fn clear(&mut self) {
        *self = Listpack::new();
    }

    #[inline]
    fn insert(&mut self, offset: usize, item: Item<'_>) -> At {
        let element = encode(item);
        if self.stays_short(1, element.size()) {
            element.write_bare(self.0.gap(offset..offset, element.size()));
            self.count_short(1);
            return At(offset);
        }
        let offset = self.lengthen(offset);
        element.write(self.0.gap(offset..offset, element.len()));
        self.count_more(1);
        self.set_total();
        At(offset)
    }

    /// Whether it is short, and still is with so many more elements and bytes of heads and bodies.
    #[inline]
    fn stays_short(&self, more: usize, more_bytes: usize) -> bool {
        self.layout() == Layout::Short
            && self.0.len().saturating_add(more_bytes) <= short::MOST_BYTES
            && usize::from(self.0[0]) + more <= short::MOST_ELEMENTS
    }

    /// Makes a short listpack whole; returns where what was at `mark` is then. To be made longer at once.
    fn lengthen(&mut self, mark: usize) -> usize {
        if self.layout() == Layout::Whole {
            return mark;
        }
        let (whole, mark) = short::to_whole(&self.0, mark);
        self.0 = TaggedBlob::from(&whole[..]);
        mark
    }

    /// Makes a whole listpack short if it has become small; returns where what was at `mark` is then.
    #[inline]
    fn settle(&mut self, mark: usize) -> usize {
        if self.0.len() > short::MOST_BYTES {
            return mark;
        }
        let Some((short, mark)) = short::to_short(&self.0, short::FEW_ELEMENTS, mark) else { return mark };
        self.0 = TaggedBlob::from(&short[..]);
        mark
    }

    /// Brings the number of a short listpack up to date after elements were added.
    #[inline]
    fn count_short(&mut self, more: usize) {
        // At most `MOST_ELEMENTS` in all, as `stays_short` says.
        self.0[0] += u8::try_from(more).unwrap_or(0);
    }

    /// Brings the number of a whole listpack up to date after `count` elements were added.
    #[inline]
    fn count_more(&mut self, count: usize) {
        if let Some(len) = self.whole_len() {
            self.set_count(len + count);
        }
    }

    /// Brings the first bytes up to date after `count` elements were removed; returns where what is at `mark` is then.
    fn count_less(&mut self, layout: Layout, count: usize, mark: usize) -> usize {
        if layout == Layout::Short {
            self.0[0] = self.0[0].saturating_sub(u8::try_from(count).unwrap_or(u8::MAX));
            return mark;
        }
        if let Some(len) = self.whole_len() {
            self.set_count(len.saturating_sub(count));
        }
        self.set_total();
        self.settle(mark)
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

/// See [`Listpack::find`]. For each layout a loop of its own.
#[inline(always)]
fn find(layout: Layout, bytes: &[u8], from: At, needle: &Needle<'_>, skip: usize) -> Option<At> {
    let mut at = from.0;
    loop {
        if needle.is_at(bytes, at)? {
            return Some(At(at));
        }
        for _ in 0..=skip {
            at = layout.end_of(bytes, at)?;
        }
    }
}
