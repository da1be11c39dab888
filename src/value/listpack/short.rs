//! The two layouts of a listpack: *whole*, as files hold it, and *short*, which memory holds while it is small.
//!
//! ```text
//! whole   total (4), number (2), then elements of head, body and size, then 0xff
//! short   number (1), then elements of head and body
//! ```
//!
//! What a short one leaves out follows from what it has: a size is the length of the head and body before it. So it
//! takes 6 bytes less and one less for each element, and only going backwards costs more, a walk from the front: therefore
//! [`MOST_ELEMENTS`]. Twenty elements of 8 bytes take 181 bytes instead of 207, and with the blob's length fall from the
//! allocator's class of 224 bytes into that of 192.
//!
//! Invariant: a short listpack has at most [`MOST_ELEMENTS`] elements and [`MOST_BYTES`] bytes; a whole one has more than
//! [`FEW_ELEMENTS`] or more than [`MOST_BYTES`]. With that the length and the first byte tell them apart: a whole one
//! of at most 255 bytes starts with its total, which is at least 7 + 2 x 17, and a short one with at most 32. Between the
//! two limits either may be, so that a listpack which grows and shrinks there is not rewritten each time. Must not know:
//! where the bytes lie.

use super::encoding::{Encoded, decode, end_of, size_bytes, start_before, write_size};
use super::{EMPTY, END, HEADER_BYTES};

/// Elements of a short listpack at most. Going backwards over all of them takes half the square of their number in steps.
pub(super) const MOST_ELEMENTS: usize = 32;

/// A whole listpack with no more elements than these becomes short when its bytes allow it.
pub(super) const FEW_ELEMENTS: usize = 16;

/// Bytes of a short listpack at most; above, the size class hardly ever depends on what is left out.
pub(super) const MOST_BYTES: usize = 255;

/// Where the first element of a short listpack is.
pub(super) const NUMBER_BYTES: usize = 1;

/// A short listpack without elements.
pub(super) const NONE: [u8; NUMBER_BYTES] = [0];

const _: () = assert!(MOST_ELEMENTS < EMPTY.len() + 2 * (FEW_ELEMENTS + 1) && FEW_ELEMENTS <= MOST_ELEMENTS);
const _: () = assert!(MOST_BYTES <= u8::MAX as usize);

/// How the bytes of a listpack are laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Layout {
    Short,
    Whole,
}

impl Layout {
    /// That of a listpack in memory; see the module's invariant.
    #[inline]
    pub(super) fn of(bytes: &[u8]) -> Layout {
        let short = bytes.len() <= MOST_BYTES && bytes.first().is_none_or(|first| usize::from(*first) <= MOST_ELEMENTS);
        if short { Layout::Short } else { Layout::Whole }
    }

    /// Where the first element is.
    #[inline]
    pub(super) fn start(self) -> usize {
        match self {
            Layout::Short => NUMBER_BYTES,
            Layout::Whole => HEADER_BYTES,
        }
    }

    /// Where the last element ends.
    #[inline]
    pub(super) fn end(self, bytes: &[u8]) -> usize {
        match self {
            Layout::Short => bytes.len(),
            Layout::Whole => bytes.len() - 1,
        }
    }

    /// Bytes of an element whose head and body have `size`.
    #[inline]
    pub(super) fn element_bytes(self, size: usize) -> usize {
        match self {
            Layout::Short => size,
            Layout::Whole => size + size_bytes(size),
        }
    }

    /// Where the element at `at` ends; `None` when there is none.
    #[inline]
    pub(super) fn end_of(self, bytes: &[u8], at: usize) -> Option<usize> {
        match self {
            Layout::Short => match *bytes.get(at)? {
                0..=0x7f => Some(at + 1),
                first @ 0x80..=0xbf => Some(at + usize::from(first & 0x3f) + 1),
                _ => Some(at + decode(bytes, at)?.1),
            },
            Layout::Whole => end_of(bytes, at),
        }
    }

    /// Where the element that ends at `end` starts; `None` when there is none. O(1), or O(elements) of a short listpack.
    #[inline]
    pub(super) fn start_before(self, bytes: &[u8], end: usize) -> Option<usize> {
        match self {
            Layout::Short => short_before(bytes, end).1,
            Layout::Whole => start_before(bytes, end),
        }
    }

    /// Where the last but one element before `end` starts. As [`Layout::start_before`] twice, in one walk.
    #[inline]
    pub(super) fn pair_before(self, bytes: &[u8], end: usize) -> Option<usize> {
        match self {
            Layout::Short => short_before(bytes, end).0,
            Layout::Whole => start_before(bytes, start_before(bytes, end)?),
        }
    }

    /// Fills `room`, which has the length of the element.
    #[inline]
    pub(super) fn write(self, element: &Encoded<'_>, room: &mut [u8]) {
        match self {
            Layout::Short => element.write_bare(room),
            Layout::Whole => element.write(room),
        }
    }
}

/// Where the last two elements before `end` of a short listpack start, as far as there are such. O(elements).
fn short_before(bytes: &[u8], end: usize) -> (Option<usize>, Option<usize>) {
    let (mut first, mut second, mut next) = (0, 0, NUMBER_BYTES);
    while next < end {
        (first, second) = (second, next);
        next = Layout::Short.end_of(bytes, next).unwrap_or(end);
    }
    ((first != 0).then_some(first), (second != 0).then_some(second))
}

/// The heads and bodies of a listpack, and the offsets between which each lies. Ends at the first that is none.
fn elements(layout: Layout, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = layout.start();
    std::iter::from_fn(move || {
        let (_, size) = decode(bytes, at).filter(|_| at < layout.end(bytes))?;
        let found = (at, &bytes[at..at + size]);
        at += layout.element_bytes(size);
        Some(found)
    })
}

/// Bytes that a short listpack takes when it is written whole. O(elements).
pub(super) fn whole_bytes(short: &[u8]) -> usize {
    let sizes = elements(Layout::Short, short).map(|(_, element)| Layout::Whole.element_bytes(element.len()));
    EMPTY.len() + sizes.sum::<usize>()
}

/// A short listpack written whole, and where the element (or the end) at `mark` is in that. O(bytes).
pub(super) fn to_whole(short: &[u8], mark: usize) -> (Vec<u8>, usize) {
    let mut whole = Vec::with_capacity(whole_bytes(short));
    whole.extend_from_slice(&EMPTY[..HEADER_BYTES]);
    whole[4] = short.first().copied().unwrap_or(0);
    let mut marked = None;
    for (at, element) in elements(Layout::Short, short) {
        marked = marked.or_else(|| (at >= mark).then_some(whole.len()));
        let end = whole.len() + element.len();
        whole.extend_from_slice(element);
        whole.resize(end + size_bytes(element.len()), 0);
        write_size(&mut whole[end..], element.len());
    }
    let marked = marked.unwrap_or(whole.len());
    whole.push(END);
    let total = u32::try_from(whole.len()).unwrap_or(u32::MAX); // some hundred bytes
    whole[..4].copy_from_slice(&total.to_le_bytes());
    (whole, marked)
}

/// A whole listpack made short, and where the element (or the end) at `mark` is in that; `None` when it has more elements
/// than `most` or too many bytes. O(elements) of a short listpack.
pub(super) fn to_short(whole: &[u8], most: usize, mark: usize) -> Option<(Vec<u8>, usize)> {
    if whole.len() > EMPTY.len() + MOST_BYTES + 2 * MOST_ELEMENTS {
        return None;
    }
    let (mut short, mut marked, mut number) = (NONE.to_vec(), None, 0_u8);
    for (at, element) in elements(Layout::Whole, whole) {
        marked = marked.or_else(|| (at >= mark).then_some(short.len()));
        number = number.checked_add(1)?;
        short.extend_from_slice(element);
        if usize::from(number) > most || short.len() > MOST_BYTES {
            return None;
        }
    }
    let marked = marked.unwrap_or(short.len());
    short[0] = number;
    Some((short, marked))
}
