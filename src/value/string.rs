//! Strings: an integer, bytes inside the key's own entry, or large bytes in an allocation of their own.
//!
//! Invariant: a value whose text is a canonical 64-bit integer may be held as that integer; every reader sees the same
//! bytes either way.

use crate::util::number;
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;

/// Longest string that lives inside its key's entry, in bytes. Above it, the 32 bytes of a [`Bytes`] handle are a small
/// price for growing in place and for replying without a copy.
pub const INLINE_MAX: usize = 1024;

/// A string as it is held.
#[derive(Clone, Copy, Debug)]
pub enum StringRef<'a> {
    /// Held as an integer.
    Int(i64),
    /// Bytes inside the entry; `true` when an in-place change (APPEND, SETRANGE) made them, which Redis calls `raw`.
    Inline(&'a [u8], bool),
    /// Bytes in their own, shared allocation.
    Large(&'a Bytes),
}

impl<'a> StringRef<'a> {
    /// Length of the text in bytes.
    #[expect(clippy::len_without_is_empty, reason = "an empty string is asked for by its length")]
    pub fn len(self) -> usize {
        match self {
            StringRef::Int(n) => number::i64_len(n),
            StringRef::Inline(bytes, _) => bytes.len(),
            StringRef::Large(bytes) => bytes.len(),
        }
    }

    /// The text; allocates only for an integer.
    pub fn text(self) -> Cow<'a, [u8]> {
        match self {
            StringRef::Int(n) => Cow::Owned(itoa::Buffer::new().format(n).as_bytes().to_vec()),
            StringRef::Inline(bytes, _) => Cow::Borrowed(bytes),
            StringRef::Large(bytes) => Cow::Borrowed(bytes),
        }
    }

    /// The integer it is or spells, if it does.
    pub fn integer(self) -> Option<i64> {
        match self {
            StringRef::Int(n) => Some(n),
            StringRef::Inline(bytes, _) => number::parse_i64(bytes),
            StringRef::Large(_) => None,
        }
    }

    /// Whether the text is exactly `text`. O(length); allocates nothing.
    pub fn equals(self, text: &[u8]) -> bool {
        match self {
            StringRef::Int(n) => number::parse_i64(text) == Some(n),
            StringRef::Inline(bytes, _) => bytes == text,
            StringRef::Large(bytes) => bytes == text,
        }
    }

    /// The text in memory of its own, shared with the value where that is large.
    pub fn to_bytes(self) -> Bytes {
        match self {
            StringRef::Large(bytes) => bytes.clone(),
            small => Bytes::from(small.text().into_owned()),
        }
    }

    /// A copy that can be stored again, without copying large bytes.
    pub fn to_source(self) -> StringSource<'a> {
        match self {
            StringRef::Int(n) => StringSource::Int(n),
            StringRef::Inline(bytes, changed) => StringSource::Inline(bytes, changed),
            StringRef::Large(bytes) => StringSource::Large(bytes.clone()),
        }
    }
}

/// A string about to be stored.
#[derive(Clone, Debug)]
pub enum StringSource<'a> {
    /// An integer.
    Int(i64),
    /// At most [`INLINE_MAX`] bytes, to be copied into the entry; `true`: made by an in-place change.
    Inline(&'a [u8], bool),
    /// Longer bytes.
    Large(Bytes),
}

impl<'a> StringSource<'a> {
    /// The form in which a client's bytes are stored: as an integer where they spell one canonically.
    pub fn new(bytes: &'a [u8]) -> StringSource<'a> {
        match number::parse_i64(bytes) {
            Some(n) => StringSource::Int(n),
            None => StringSource::changed_as(bytes, false),
        }
    }

    /// The form of bytes that APPEND, SETRANGE and the like made: never an integer.
    pub fn changed(bytes: &'a [u8]) -> StringSource<'a> {
        StringSource::changed_as(bytes, true)
    }

    fn changed_as(bytes: &'a [u8], changed: bool) -> StringSource<'a> {
        if bytes.len() <= INLINE_MAX {
            StringSource::Inline(bytes, changed)
        } else {
            StringSource::Large(Bytes::copy_from_slice(bytes))
        }
    }

    /// Bytes that own their allocation: kept as they are when large.
    pub fn owned(bytes: &'a Bytes) -> StringSource<'a> {
        if bytes.len() <= INLINE_MAX { StringSource::new(bytes) } else { StringSource::Large(bytes.clone()) }
    }

    /// Length of the text in bytes.
    #[expect(clippy::len_without_is_empty, reason = "an empty string is asked for by its length")]
    pub fn len(&self) -> usize {
        match self {
            StringSource::Int(n) => number::i64_len(*n),
            StringSource::Inline(bytes, _) => bytes.len(),
            StringSource::Large(bytes) => bytes.len(),
        }
    }
}

/// Lets `edit` change large bytes: in place when nobody else reads them, on a copy otherwise. Amortised O(change).
pub fn edit_large(bytes: Bytes, edit: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut text = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    edit(&mut text);
    text.freeze()
}

/// Most bytes that a text gets beyond what it needs, those of Valkey's `SDS_MAX_PREALLOC`: twice 500 MB for one byte more is
/// too much.
const SPARE_MAX: usize = 1 << 20;

/// Adds `suffix` to the end. Amortised O(length of `suffix`): short texts double, and long ones mostly grow where they are.
pub fn append(text: &mut BytesMut, suffix: &[u8]) {
    make_room(text, text.len() + suffix.len());
    text.extend_from_slice(suffix);
}

/// Makes room for a long text to become `len` bytes long, and [`SPARE_MAX`] more. What is short is left to the buffer itself,
/// which doubles.
///
/// O(1) while the block stays in its size class. As there are four of them from one power of two to the next, a text that
/// grows megabyte by megabyte is copied at most each time that it has grown by a seventh.
fn make_room(text: &mut BytesMut, len: usize) {
    if len > SPARE_MAX && len > text.capacity() {
        let mut bytes = Vec::from(std::mem::take(text)); // the same block: only a vector can grow by exactly so much
        bytes.reserve_exact(len + SPARE_MAX - bytes.len());
        *text = BytesMut::from(Bytes::from(bytes));
    }
}

/// From this size on a block may be of fresh pages, which are zero: below it the allocator has to clear what it has.
const FRESH_BYTES: usize = 1 << 20;

/// Fills a text up with zero bytes to a length, if it is shorter. One that grows by far is not touched where it is zero: the system then
/// gives pages as they are used, and a bit at the end of 512 MiB costs no 200 ms.
pub fn fill_up(text: &mut BytesMut, len: usize) {
    if len >= FRESH_BYTES && len / 2 >= text.len() {
        let mut grown = BytesMut::zeroed(len);
        grown[..text.len()].copy_from_slice(text);
        *text = grown;
    } else if len > text.len() {
        make_room(text, len);
        text.resize(len, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_filled_up_with_zeros_and_never_cut() {
        for (before, len) in
            [(0, 5), (3, 5), (5, 3), (3, FRESH_BYTES), (FRESH_BYTES - 1, FRESH_BYTES), (FRESH_BYTES, 0)]
        {
            let mut text = BytesMut::from(&vec![7; before][..]);
            fill_up(&mut text, len);
            assert_eq!(text.len(), before.max(len));
            assert!(text[..before].iter().all(|byte| *byte == 7) && text[before..].iter().all(|byte| *byte == 0));
        }
    }

    /// What a stored text takes.
    fn capacity(bytes: Bytes) -> usize {
        bytes.try_into_mut().expect("nobody else reads it").capacity()
    }

    /// One byte more had made 1 GB of 500 MB: the buffer doubled.
    #[test]
    fn long_texts_grow_by_a_megabyte() {
        const LEN: usize = 10 << 20;
        let made: [fn() -> Bytes; 3] = [
            || BytesMut::zeroed(LEN).freeze(),
            || Bytes::from(vec![0; LEN + 1]).slice(1..),
            || BytesMut::zeroed(LEN + 1).split_off(1).freeze(),
        ];
        let edits: [fn(&mut BytesMut); 2] = [|text| append(text, b"y"), |text| fill_up(text, LEN + 1)];
        for (make, edit) in made.iter().flat_map(|make| edits.iter().map(move |edit| (make, edit))) {
            let text = edit_large(make(), edit);
            assert_eq!((text.len(), text[..LEN].iter().all(|byte| *byte == 0)), (LEN + 1, true));
            assert!(capacity(text) <= LEN + 1 + SPARE_MAX);

            let (other, shared) = (make(), make());
            let reader = shared.clone();
            let text = edit_large(shared, edit);
            assert_eq!((reader, text.len()), (other, LEN + 1), "a reader keeps what it has");
            assert!(capacity(text) <= LEN + 1 + SPARE_MAX);
        }
    }

    #[test]
    fn texts_that_grow_little_by_little_are_seldom_reallocated() {
        let (mut text, mut model, mut grown) = (Bytes::new(), Vec::new(), 0);
        for step in 0..5000_u16 {
            let suffix = [step.to_le_bytes(); 500].concat();
            let before = text.as_ptr();
            let mut room = 0;
            text = edit_large(text, |text| {
                room = text.capacity();
                append(text, &suffix);
            });
            model.extend_from_slice(&suffix);
            if text.len() > room {
                grown += 1;
            } else {
                assert_eq!(text.as_ptr(), before, "moved although there was room");
            }
        }
        assert_eq!(text, model);
        assert!(grown <= 11 + 5, "grew {grown} times to {} bytes", text.len());
    }
}
