//! Packs: listpacks with room before and behind them, so that both ends grow and shrink without moving the rest.
//!
//! ```text
//! buffer   | room | listpack: header, elements, end mark | room |
//!                 ^ start                                ^ end
//! ```
//!
//! Invariant: `buffer[start..end]` is a valid listpack at any time, so that a file or DUMP takes it as it is, and `len` is
//! the number of its elements. Putting an element at an end rewrites the six bytes of the header; when the room there is
//! used up, what there is in all is shared out again, or doubled. Must not know: how long a pack may become.

use crate::util::memory::size_class;
use crate::value::list::Side;
use crate::value::listpack::{
    EMPTY, END, Encoded, Entries, HEADER_BYTES, Item, Listpack, UNKNOWN_COUNT, decode, encode, end_of,
};
use std::ops::Range;

/// The smallest buffer in bytes.
const LEAST_BYTES: usize = 64;

/// A buffer is given back when less than this part of it is used.
const SPARSE: usize = 4;

/// A listpack with room at both ends.
#[derive(Clone, Debug)]
pub struct Pack {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    len: usize,
}

impl Pack {
    /// An empty pack.
    pub fn new() -> Pack {
        Pack::from_valid(&EMPTY, 0)
    }

    /// A copy of a listpack. O(bytes).
    pub fn from_listpack(pack: &Listpack) -> Pack {
        Pack::from_valid(&pack.bytes(), pack.len())
    }

    /// A copy of a valid listpack of `len` elements.
    fn from_valid(bytes: &[u8], len: usize) -> Pack {
        let mut buffer = buffer(bytes.len());
        buffer[..bytes.len()].copy_from_slice(bytes);
        Pack { buffer, start: 0, end: bytes.len(), len }
    }

    /// The listpack.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Number of elements. O(1).
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the listpack. O(1).
    #[inline]
    pub fn size(&self) -> usize {
        self.end - self.start
    }

    /// Bytes that the buffer takes from the allocator. O(1).
    pub fn memory_bytes(&self) -> usize {
        size_class(self.buffer.len())
    }

    /// All elements with their places.
    #[inline]
    pub fn entries(&self) -> Entries<'_> {
        Entries::of(self.bytes())
    }

    /// The elements from `index` on, or, for [`Side::Right`], up to `index`. O(distance to the nearer end).
    pub fn entries_from(&self, index: usize, side: Side) -> Entries<'_> {
        let at = self.offset(index);
        let end = self.size() - 1;
        match side {
            Side::Left => Entries::between(self.bytes(), at..end),
            Side::Right => Entries::between(self.bytes(), HEADER_BYTES..end_of(self.bytes(), at).unwrap_or(end)),
        }
    }

    /// The element at an end.
    #[inline]
    pub fn end(&self, side: Side) -> Option<Item<'_>> {
        match side {
            Side::Left => self.entries().next(),
            Side::Right => self.entries().next_back(),
        }
        .map(|(_, item)| item)
    }

    /// The element at `index`. O(distance to the nearer end).
    pub fn get(&self, index: usize) -> Option<Item<'_>> {
        decode(&self.bytes()[..self.size() - 1], self.offset(index)).map(|(item, _)| item)
    }

    /// Where the element at `index` begins; the end mark's place when there is none. O(distance to the nearer end).
    fn offset(&self, index: usize) -> usize {
        let mut entries = self.entries();
        if index >= self.len {
            return self.size() - 1;
        }
        if index <= self.len / 2 {
            let _ = index.checked_sub(1).and_then(|skipped| entries.nth(skipped));
            entries.extent().start
        } else {
            let _ = entries.nth_back(self.len - index - 1);
            entries.extent().end
        }
    }

    /// Puts an element at an end. Amortised O(its length).
    #[inline]
    pub fn push(&mut self, side: Side, item: Item<'_>) {
        let element = encode(item);
        let size = element.len();
        match side {
            Side::Left => {
                if self.start < size {
                    self.share_room(side, size);
                }
                self.start -= size;
                element.write(&mut self.buffer[self.start + HEADER_BYTES..][..size]);
            }
            Side::Right => {
                if self.buffer.len() - self.end < size {
                    self.share_room(side, size);
                }
                element.write(&mut self.buffer[self.end - 1..][..size]);
                self.end += size;
                self.buffer[self.end - 1] = END;
            }
        }
        self.len += 1;
        self.write_header();
    }

    /// Removes the element at an end and hands it to `take` before it goes. O(1).
    #[inline]
    pub fn pop<R>(&mut self, side: Side, take: impl FnOnce(Item<'_>) -> R) -> Option<R> {
        let mut entries = self.entries();
        let (_, element) = if side == Side::Left { entries.next() } else { entries.next_back() }?;
        let (taken, left) = (take(element), entries.extent());
        match side {
            Side::Left => self.start += left.start - HEADER_BYTES,
            Side::Right => {
                self.end = self.start + left.end + 1;
                self.buffer[self.end - 1] = END;
            }
        }
        self.len -= 1;
        self.write_header();
        self.give_back();
        Some(taken)
    }

    /// Inserts an element before the one at `index`, or last. O(bytes to the nearer end, and the search).
    pub fn insert(&mut self, index: usize, item: Item<'_>) {
        let at = self.offset(index);
        self.replace_bytes(at..at, &encode(item));
        self.len += 1;
        self.write_header();
    }

    /// Replaces the element at `index`. O(bytes to the nearer end, and the search).
    pub fn replace(&mut self, index: usize, item: Item<'_>) {
        let at = self.offset(index);
        if let Some(behind) = end_of(self.bytes(), at) {
            self.replace_bytes(at..behind, &encode(item));
            self.write_header();
        }
    }

    /// Removes up to `count` elements from `index` on. O(bytes to the nearer end, and the search).
    pub fn remove(&mut self, index: usize, count: usize) {
        let count = count.min(self.len.saturating_sub(index));
        let (from, to) = (self.offset(index), self.offset(index + count));
        self.close(from..to);
        self.len -= count;
        self.write_header();
        self.give_back();
    }

    /// Removes the elements at these places, which are in order. O(bytes).
    pub fn remove_places(&mut self, places: &[usize]) {
        let (start, mut kept, mut from) = (self.start, HEADER_BYTES, HEADER_BYTES);
        for &place in places {
            self.buffer.copy_within(start + from..start + place, start + kept);
            kept += place - from;
            from = end_of(self.bytes(), place).unwrap_or(place);
        }
        self.buffer.copy_within(start + from..self.end, start + kept);
        self.end -= from - kept;
        self.len -= places.len();
        self.write_header();
        self.give_back();
    }

    /// Moves the elements from `index` on into a pack of their own. O(bytes moved, and the search).
    pub fn split_off(&mut self, index: usize) -> Pack {
        let (at, mut tail) = (self.offset(index), Pack::new());
        tail.add(&self.bytes()[at..self.size() - 1], self.len - index);
        self.end = self.start + at + 1;
        self.buffer[self.end - 1] = END;
        self.len = index;
        self.write_header();
        self.give_back();
        tail
    }

    /// Appends all elements of `other`. O(bytes of `other`).
    pub fn append(&mut self, other: &Pack) {
        self.add(&other.bytes()[HEADER_BYTES..other.size() - 1], other.len);
    }

    /// Gives back room that the next elements will not need, because they go elsewhere. O(bytes) when there is some.
    pub fn trim(&mut self) {
        if size_class(self.size()) < self.memory_bytes() {
            *self = Pack::from_valid(self.bytes(), self.len);
        }
    }

    /// Appends elements as bytes.
    fn add(&mut self, elements: &[u8], len: usize) {
        if self.buffer.len() - self.end < elements.len() {
            self.share_room(Side::Right, elements.len());
        }
        self.buffer[self.end - 1..][..elements.len()].copy_from_slice(elements);
        self.end += elements.len();
        self.buffer[self.end - 1] = END;
        self.len += len;
        self.write_header();
    }

    /// Puts an element in the place of these bytes, moving whatever is less.
    fn replace_bytes(&mut self, range: Range<usize>, element: &Encoded<'_>) {
        let (at, old, new) = (range.start, range.len(), element.len());
        if new < old {
            self.close(at + new..at + old);
        } else {
            self.open(at + old, new - old);
        }
        element.write(&mut self.buffer[self.start + at..][..new]);
    }

    /// Makes room for `size` bytes before the byte at `at`.
    fn open(&mut self, at: usize, size: usize) {
        let side = if at < self.size() / 2 { Side::Left } else { Side::Right };
        match side {
            Side::Left => {
                if self.start < size {
                    self.share_room(side, size);
                }
                self.buffer.copy_within(self.start..self.start + at, self.start - size);
                self.start -= size;
            }
            Side::Right => {
                if self.buffer.len() - self.end < size {
                    self.share_room(side, size);
                }
                self.buffer.copy_within(self.start + at..self.end, self.start + at + size);
                self.end += size;
            }
        }
    }

    /// Takes the bytes of `range` out.
    fn close(&mut self, range: Range<usize>) {
        if range.start < self.size() - range.end {
            self.buffer.copy_within(self.start..self.start + range.start, self.start + range.len());
            self.start += range.len();
        } else {
            self.buffer.copy_within(self.start + range.end..self.end, self.start + range.start);
            self.end -= range.len();
        }
    }

    /// Makes room for `size` bytes at a side: of what is to spare there, three quarters go to that side, so that pushing
    /// at both in turn does not move everything each time.
    #[cold]
    fn share_room(&mut self, side: Side, size: usize) {
        let used = self.size() + size;
        let total = if used <= self.buffer.len() { self.buffer.len() } else { used.next_power_of_two() };
        let other = (total - used) / 4;
        let room = total - self.size() - other;
        self.lay_out(total, if side == Side::Left { room } else { other });
    }

    /// Moves the listpack to `start` in a buffer of `total` bytes.
    #[cold]
    fn lay_out(&mut self, total: usize, start: usize) {
        let size = self.size();
        if total == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, start);
        } else {
            let mut buffer = buffer(total);
            buffer[start..start + size].copy_from_slice(self.bytes());
            self.buffer = buffer;
        }
        (self.start, self.end) = (start, start + size);
    }

    /// Takes a smaller buffer when most of this one is room.
    #[inline]
    fn give_back(&mut self) {
        if self.buffer.len() > LEAST_BYTES && self.size() < self.buffer.len() / SPARSE {
            let total = (self.size() * 2).next_power_of_two();
            self.lay_out(total, (total - self.size()) / 2);
        }
    }

    #[inline]
    fn write_header(&mut self) {
        let total = u32::try_from(self.size()).unwrap_or(u32::MAX); // nodes stay far below
        let len = u16::try_from(self.len).unwrap_or(UNKNOWN_COUNT);
        let header = &mut self.buffer[self.start..][..HEADER_BYTES];
        header[..4].copy_from_slice(&total.to_le_bytes());
        header[4..].copy_from_slice(&len.to_le_bytes());
    }
}

/// A buffer for at least `bytes`, as long as the allocator makes it anyway.
fn buffer(bytes: usize) -> Box<[u8]> {
    vec![0; size_class(bytes.max(LEAST_BYTES))].into_boxed_slice()
}
