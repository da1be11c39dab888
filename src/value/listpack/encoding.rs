//! How an element lies in a listpack: head, body, size; and the check of a whole listpack.
//!
//! Invariant: decoding never reads outside the bytes it is given, whatever they are, and encoding an item gives bytes
//! that decode to it. Must not know: the listpack's allocation.

use super::{EMPTY, END, HEADER_BYTES, MAX_BYTES, UNKNOWN_COUNT};
use crate::util::number;

/// An element as it is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// An integer.
    Int(i64),
    /// Bytes.
    Text(&'a [u8]),
}

impl<'a> Item<'a> {
    /// The form in which `text` is held: an integer where it spells one canonically. O(1).
    #[inline]
    #[must_use]
    pub fn new(text: &'a [u8]) -> Item<'a> {
        number::parse_i64(text).map_or(Item::Text(text), Item::Int)
    }

    /// The text, written to `buffer` for an integer. Allocates nothing.
    #[inline]
    pub fn text<'b>(self, buffer: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Item::Int(value) => buffer.format(value).as_bytes(),
            Item::Text(text) => text,
        }
    }

    /// Length of the text in bytes. O(1).
    #[inline]
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Item::Int(value) => number::i64_len(value),
            Item::Text(text) => text.len(),
        }
    }

    /// Whether the text is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        matches!(self, Item::Text([]))
    }

    /// Whether the text is exactly `text`. O(length); allocates nothing.
    #[inline]
    #[must_use]
    pub fn equals(self, text: &[u8]) -> bool {
        match self {
            Item::Int(value) => number::parse_i64(text) == Some(value),
            Item::Text(own) => own == text,
        }
    }

    /// The integer that it is or spells, if it does.
    #[inline]
    #[must_use]
    pub fn integer(self) -> Option<i64> {
        match self {
            Item::Int(value) => Some(value),
            Item::Text(text) => number::parse_i64(text),
        }
    }

    /// The text in memory of its own.
    #[must_use]
    pub fn to_vec(self) -> Vec<u8> {
        self.text(&mut itoa::Buffer::new()).to_vec()
    }
}

/// The first bytes of an element: what it is, and an integer's value or a text's length.
struct Head {
    bytes: [u8; 9],
    len: usize,
}

impl Head {
    #[inline]
    fn new(parts: &[u8]) -> Head {
        let mut bytes = [0; 9];
        bytes[..parts.len()].copy_from_slice(parts);
        Head { bytes, len: parts.len() }
    }

    #[inline]
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// An element as it will stand in a listpack.
pub(in crate::value) struct Encoded<'a> {
    head: Head,
    body: &'a [u8],
    /// Bytes of head and body.
    size: usize,
}

impl Encoded<'_> {
    /// Bytes that it takes, its size included.
    #[inline]
    pub(in crate::value) fn len(&self) -> usize {
        self.size + size_bytes(self.size)
    }

    /// Bytes of head and body.
    #[inline]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Fills `room`, which is as long as it is.
    #[inline]
    pub(in crate::value) fn write(&self, room: &mut [u8]) {
        let (bare, size_room) = room.split_at_mut(self.size);
        self.write_bare(bare);
        write_size(size_room, self.size);
    }

    /// Fills `room`, which is as long as head and body.
    #[inline]
    pub(super) fn write_bare(&self, room: &mut [u8]) {
        let (head_room, body_room) = room.split_at_mut(self.head.len);
        head_room.copy_from_slice(self.head.as_slice());
        body_room.copy_from_slice(self.body);
    }
}

#[inline]
pub(in crate::value) fn encode(item: Item<'_>) -> Encoded<'_> {
    let (head, body) = match item {
        Item::Int(value) => (int_head(value), &[][..]),
        Item::Text(text) => (text_head(text.len()), text),
    };
    let size = head.len + body.len();
    Encoded { head, body, size }
}

#[inline]
fn int_head(value: i64) -> Head {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    match value {
        0..=0x7f => Head::new(&[a]),
        -0x1000..=0xfff => Head::new(&[0xc0 | b & 0x1f, a]),
        -0x8000..=0x7fff => Head::new(&[0xf1, a, b]),
        -0x80_0000..=0x7f_ffff => Head::new(&[0xf2, a, b, c]),
        -0x8000_0000..=0x7fff_ffff => Head::new(&[0xf3, a, b, c, d]),
        _ => Head::new(&[0xf4, a, b, c, d, e, f, g, h]),
    }
}

#[inline]
fn text_head(len: usize) -> Head {
    // Lengths beyond 32 bits never reach a listpack: the blob refuses them.
    let [a, b, c, d, ..] = len.to_le_bytes();
    match len {
        0..=0x3f => Head::new(&[0x80 | a]),
        0x40..=0xfff => Head::new(&[0xe0 | b, a]),
        _ => Head::new(&[0xf0, a, b, c, d]),
    }
}

/// How many bytes hold the size of an element of `size` bytes: seven bits each.
#[inline]
pub(super) fn size_bytes(size: usize) -> usize {
    match size {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        0x20_0000..=0x0fff_ffff => 4,
        _ => 5,
    }
}

/// Fills `room` with `size`, seven bits a byte, the lowest last; every byte but the first says that more is before it.
#[inline]
pub(super) fn write_size(room: &mut [u8], size: usize) {
    let mut rest = size;
    for place in (0..room.len()).rev() {
        let more = if place == 0 { 0 } else { 0x80 };
        room[place] = more | rest.to_le_bytes()[0] & 0x7f;
        rest >>= 7;
    }
}

/// The element at `at` and the size of its head and body; `None` when it does not lie within the bytes.
#[inline]
pub(in crate::value) fn decode(bytes: &[u8], at: usize) -> Option<(Item<'_>, usize)> {
    let (first, rest) = bytes.get(at..)?.split_first()?;
    match *first {
        small @ 0..=0x7f => Some((Item::Int(i64::from(small)), 1)),
        0x80..=0xbf => text(rest, 0, usize::from(first & 0x3f)),
        0xc0..=0xdf => {
            let raw = i16::from_be_bytes([first & 0x1f, *rest.first()?]);
            Some((Item::Int(i64::from(raw << 3 >> 3)), 2))
        }
        0xe0..=0xef => text(rest, 1, usize::from(u16::from_be_bytes([first & 0xf, *rest.first()?]))),
        0xf0 => text(rest, 4, u32::from_le_bytes(*rest.first_chunk()?) as usize),
        0xf1 => Some((Item::Int(i64::from(i16::from_le_bytes(*rest.first_chunk()?))), 3)),
        0xf2 => {
            let [a, b, c] = *rest.first_chunk()?;
            Some((Item::Int(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)), 4))
        }
        0xf3 => Some((Item::Int(i64::from(i32::from_le_bytes(*rest.first_chunk()?))), 5)),
        0xf4 => Some((Item::Int(i64::from_le_bytes(*rest.first_chunk()?)), 9)),
        _ => None,
    }
}

/// A text of `len` bytes behind `skipped` bytes of `rest`, which lacks the head's first byte.
#[inline]
fn text(rest: &[u8], skipped: usize, len: usize) -> Option<(Item<'_>, usize)> {
    Some((Item::Text(rest.get(skipped..skipped + len)?), 1 + skipped + len))
}

/// Where the element at `at` ends, its size included; `None` when there is none.
#[inline]
pub(in crate::value) fn end_of(bytes: &[u8], at: usize) -> Option<usize> {
    // The two most frequent forms do without the rest of the element.
    match *bytes.get(at)? {
        0..=0x7f => Some(at + 2),
        first @ 0x80..=0xbf => Some(at + usize::from(first & 0x3f) + 2),
        _ => {
            let (_, size) = decode(bytes, at)?;
            Some(at + size + size_bytes(size))
        }
    }
}

/// A text to look for, with what tells most other elements from it at a glance.
#[derive(Clone, Copy, Debug)]
pub struct Needle<'a> {
    text: &'a [u8],
    integer: Option<i64>,
    /// First byte of the element that holds the text, if one byte tells its length; else one that no element has.
    head: u8,
    last: Option<u8>,
}

impl<'a> Needle<'a> {
    /// Reads `text`. O(1).
    #[inline]
    #[must_use]
    pub fn new(text: &'a [u8]) -> Needle<'a> {
        let head = if text.len() <= 0x3f { text_head(text.len()).bytes[0] } else { END };
        Needle { text, integer: number::parse_i64(text), head, last: text.last().copied() }
    }

    /// Whether the text of `item` is exactly this. O(length).
    #[inline]
    #[must_use]
    pub fn is(&self, item: Item<'_>) -> bool {
        match item {
            Item::Int(value) => self.integer == Some(value),
            Item::Text(text) => text == self.text,
        }
    }

    /// Whether the element at `at` is the text; `None` when there is no element.
    #[inline]
    pub(super) fn is_at(&self, bytes: &[u8], at: usize) -> Option<bool> {
        let first = *bytes.get(at)?;
        Some(match first {
            // Names that are equally long often start alike, and differ at the end.
            _ if first == self.head => {
                let end = at + self.text.len();
                bytes.get(end).copied() == self.last.or(Some(first)) && bytes.get(at + 1..=end)? == self.text
            }
            0x80..=0xbf => false,
            0xe0..=0xf0 => matches!(decode(bytes, at)?.0, Item::Text(text) if text == self.text),
            _ => self.integer.is_some() && decode(bytes, at)?.0.integer() == self.integer,
        })
    }
}

/// Where the element that ends at `end` starts; `None` when there is none.
#[inline]
pub(super) fn start_before(bytes: &[u8], end: usize) -> Option<usize> {
    let (mut size, mut shift, mut place) = (0usize, 0, end);
    while place > HEADER_BYTES && shift <= 28 {
        place -= 1;
        let byte = *bytes.get(place)?;
        size |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return place.checked_sub(size).filter(|start| *start >= HEADER_BYTES && size > 0);
        }
        shift += 7;
    }
    None
}

/// How the sizes of a valid listpack's elements are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sizes {
    /// All in as few bytes as they need, as everything here expects.
    Shortest,
    /// Some with a leading zero, as Redis writes the largest that 2, 3 or 4 bytes can hold.
    Mixed,
}

/// Checks that `bytes` are a listpack: total, number and every element's size as its head says, nothing left over before
/// the end mark. O(bytes).
pub(super) fn check(bytes: &[u8]) -> Option<Sizes> {
    let [a, b, c, d, e, f] = *bytes.first_chunk::<HEADER_BYTES>()?;
    let (total, count) = (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]));
    if total as usize != bytes.len() || !(EMPTY.len()..=MAX_BYTES).contains(&bytes.len()) || bytes.last() != Some(&END)
    {
        return None;
    }
    let (mut at, mut found, mut sizes) = (HEADER_BYTES, 0, Sizes::Shortest);
    while at < bytes.len() - 1 {
        let (_, size) = decode(bytes, at)?;
        let (width, form) = written_size(bytes.get(at + size..)?, size)?;
        (at, found) = (at + size + width, found + 1);
        if form == Sizes::Mixed {
            sizes = form;
        }
    }
    let counted = count == UNKNOWN_COUNT || usize::from(count) == found;
    if at == bytes.len() - 1 && counted { Some(sizes) } else { None }
}

/// In how many bytes `rest` starts with `size`, and whether these are as few as can be; `None` when it does not.
pub(super) fn written_size(rest: &[u8], size: usize) -> Option<(usize, Sizes)> {
    let (mut room, width) = ([0; 6], size_bytes(size));
    if width == 1 {
        let same = rest.first().is_some_and(|byte| usize::from(*byte) == size);
        return if same { Some((1, Sizes::Shortest)) } else { None };
    }
    write_size(&mut room[..width], size);
    if rest.starts_with(&room[..width]) {
        return Some((width, Sizes::Shortest));
    }
    let largest = width < 5 && size + 1 == 1 << (7 * width);
    write_size(&mut room[..=width], size);
    if largest && rest.starts_with(&room[..=width]) { Some((width + 1, Sizes::Mixed)) } else { None }
}
