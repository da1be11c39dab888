//! The element: one allocation with a name, and where the collection wants them a value and a word of eight bytes.
//!
//! A set's member has a name alone; a hash's field has a value and perhaps a deadline; a sorted set's member a score.
//!
//! ```text
//! byte  0    bit 0: a word follows   bit 1: there is a value   bit 2: long
//!            short: bits 3..8 the name's length, at most 31
//!            long:  bits 3..5 and 5..7: width of the name's and the value's length, 1 2 4 8 bytes
//! then       the word, 8 bytes, if present (unaligned)
//!            the name's length, if long
//!            the value's length, if there is a value; one byte if short
//!            name
//!            value
//! ```
//!
//! Invariant: the allocation's size is `size_class(shape.total())` of the shape that the first bytes describe. The upper 16
//! bits of the pointer are the table's (an element in a bucket carries hash bits there) and count for nothing here.
//! Must not know: the table, what name, value and word mean.

#![expect(
    unsafe_code,
    reason = "one allocation of variable layout an element; pays 24 bytes each against boxed slices"
)]

use crate::util::memory::size_class;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::ptr::NonNull;

const WORD: u8 = 1;
const VALUE: u8 = 2;
const LONG: u8 = 4;
const FLAG_BITS: u32 = 3;

const WORD_BYTES: usize = 8;
const SHORT_NAME_MAX: usize = 31;
const SHORT_VALUE_MAX: usize = 255;
const ADDRESS_BITS: u32 = 48;
const ADDRESS_MASK: usize = (1 << ADDRESS_BITS) - 1;

const _: () = assert!(size_of::<Option<Element>>() == 8 && size_of::<usize>() == 8);

/// Where the parts of an element lie; offsets in bytes from its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    head: u8,
    /// Of the lengths, behind the word.
    lengths: usize,
    name_width: usize,
    value_width: usize,
    name_len: usize,
    value_len: usize,
}

impl Shape {
    #[inline]
    fn new(name_len: usize, value_len: Option<usize>, word: bool) -> Shape {
        let flags = if word { WORD } else { 0 } | if value_len.is_some() { VALUE } else { 0 };
        let lengths = 1 + if word { WORD_BYTES } else { 0 };
        match u8::try_from(name_len) {
            Ok(short) if name_len <= SHORT_NAME_MAX && value_len.is_none_or(|len| len <= SHORT_VALUE_MAX) => Shape {
                head: flags | short << FLAG_BITS,
                lengths,
                name_width: 0,
                value_width: usize::from(value_len.is_some()),
                name_len,
                value_len: value_len.unwrap_or(0),
            },
            _ => Shape::long(name_len, value_len, flags, lengths),
        }
    }

    #[cold]
    fn long(name_len: usize, value_len: Option<usize>, flags: u8, lengths: usize) -> Shape {
        let (name_code, value_code) = (width_code(name_len), value_len.map_or(0, width_code));
        Shape {
            head: flags | LONG | name_code << FLAG_BITS | value_code << (FLAG_BITS + 2),
            lengths,
            name_width: 1 << name_code,
            value_width: value_len.map_or(0, |_| 1 << value_code),
            name_len,
            value_len: value_len.unwrap_or(0),
        }
    }

    #[inline]
    fn name(self) -> usize {
        self.lengths + self.name_width + self.value_width
    }

    #[inline]
    fn value(self) -> usize {
        self.name() + self.name_len
    }

    #[inline]
    fn total(self) -> usize {
        self.value().saturating_add(self.value_len)
    }

    #[inline]
    fn layout(self) -> Layout {
        // Two slices together exceed isize only if they overlap; what asks for that much is out of memory.
        Layout::from_size_align(size_class(self.total()), 8)
            .unwrap_or_else(|_| handle_alloc_error(Layout::new::<u64>()))
    }

    fn has(self, flag: u8) -> bool {
        self.head & flag != 0
    }
}

/// Code of the fewest bytes (1, 2, 4, 8) that hold `len`.
fn width_code(len: usize) -> u8 {
    match len {
        0..=0xff => 0,
        0x100..=0xffff => 1,
        0x1_0000..=0xffff_ffff => 2,
        _ => 3,
    }
}

/// A name with what belongs to it; eight bytes here, one allocation of a size class elsewhere.
#[repr(transparent)]
pub struct Element(NonNull<u8>);

// SAFETY: an element owns its allocation, which holds plain bytes.
unsafe impl Send for Element {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Element {}

impl Element {
    /// Allocates an element and copies `name` and `value` into it.
    #[inline]
    pub fn new(name: &[u8], value: Option<&[u8]>, word: Option<u64>) -> Element {
        let shape = Shape::new(name.len(), value.map(<[u8]>::len), word.is_some());
        let element = Element::allocate(shape);
        element.write_head(shape);
        element.write(shape.name(), name);
        element.write(shape.value(), value.unwrap_or_default());
        if let Some(word) = word {
            element.write(1, &word.to_ne_bytes());
        }
        element
    }

    fn allocate(shape: Shape) -> Element {
        let layout = shape.layout();
        // SAFETY: a size class is never 0.
        Element(NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout)))
    }

    #[inline]
    fn start(&self) -> *mut u8 {
        self.0.as_ptr().map_addr(|address| address & ADDRESS_MASK)
    }

    /// Copies `bytes` to `offset`. All callers hold `&mut` or the only handle, and stay within the shape.
    #[inline]
    fn write(&self, offset: usize, bytes: &[u8]) {
        // SAFETY: within the allocation, as above; `bytes` is borrowed from elsewhere.
        unsafe { self.start().add(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    #[inline]
    fn write_head(&self, shape: Shape) {
        self.write(0, &[shape.head]);
        let (name_len, value_len) = (shape.name_len.to_le_bytes(), shape.value_len.to_le_bytes());
        self.write(shape.lengths, &name_len[..shape.name_width]);
        self.write(shape.lengths + shape.name_width, &value_len[..shape.value_width]);
    }

    #[inline]
    fn bytes(&self, offset: usize, len: usize) -> &[u8] {
        // SAFETY: callers pass parts of the shape, all of which were written; nothing changes them while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.start().add(offset), len) }
    }

    #[inline]
    fn length_at(&self, offset: usize, width: usize) -> usize {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.bytes(offset, width));
        usize::from_le_bytes(bytes)
    }

    #[inline]
    fn head(&self) -> u8 {
        // SAFETY: every element starts with this byte.
        unsafe { self.start().read() }
    }

    #[inline]
    fn shape(&self) -> Shape {
        let head = self.head();
        if head & LONG != 0 {
            return self.long_shape(head);
        }
        let lengths = 1 + usize::from(head & WORD) * WORD_BYTES;
        let value_width = usize::from(head & VALUE != 0);
        let value_len = if value_width != 0 { usize::from(self.bytes(lengths, 1)[0]) } else { 0 };
        Shape { head, lengths, name_width: 0, value_width, name_len: usize::from(head >> FLAG_BITS), value_len }
    }

    #[cold]
    fn long_shape(&self, head: u8) -> Shape {
        let lengths = 1 + usize::from(head & WORD) * WORD_BYTES;
        let name_width = 1 << (head >> FLAG_BITS & 3);
        let value_width = if head & VALUE == 0 { 0 } else { 1 << (head >> (FLAG_BITS + 2) & 3) };
        let name_len = self.length_at(lengths, name_width);
        let value_len = self.length_at(lengths + name_width, value_width);
        Shape { head, lengths, name_width, value_width, name_len, value_len }
    }

    /// The name.
    #[inline]
    pub fn name(&self) -> &[u8] {
        let shape = self.shape();
        self.bytes(shape.name(), shape.name_len)
    }

    /// The value, if it was made with one.
    #[inline]
    pub fn value(&self) -> Option<&[u8]> {
        let shape = self.shape();
        shape.has(VALUE).then(|| self.bytes(shape.value(), shape.value_len))
    }

    /// The word, if it has a slot for one.
    #[inline]
    pub fn word(&self) -> Option<u64> {
        // SAFETY: the flag says that a word follows the first byte.
        (self.head() & WORD != 0).then(|| unsafe { self.start().add(1).cast::<u64>().read_unaligned() })
    }

    /// Changes the word; `false` when there is no slot for one (see [`Element::with_word`]). Moves nothing.
    #[inline]
    pub fn set_word(&mut self, word: u64) -> bool {
        let present = self.head() & WORD != 0;
        if present {
            self.write(1, &word.to_ne_bytes());
        }
        present
    }

    /// Changes or adds the value: in place where the size class stays the same, else in a new allocation.
    pub fn set_value(&mut self, value: &[u8]) {
        let old = self.shape();
        let new = Shape::new(old.name_len, Some(value.len()), old.has(WORD));
        if old.layout() != new.layout() {
            *self = Element::new(self.name(), Some(value), self.word()).tagged(self.tag());
            return;
        }
        if old.name() != new.name() {
            // SAFETY: both places of the name lie within the allocation, which both shapes fit.
            unsafe { self.start().add(old.name()).copy_to(self.start().add(new.name()), old.name_len) };
        }
        self.write_head(new);
        self.write(new.value(), value);
    }

    /// The same name and value with this word, or without one. Copies when the slot comes or goes.
    pub fn with_word(mut self, word: Option<u64>) -> Element {
        match word {
            None if self.word().is_none() => self,
            Some(word) if self.set_word(word) => self,
            _ => Element::new(self.name(), self.value(), word).tagged(self.tag()),
        }
    }

    /// Bytes of its allocation.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.shape().layout().size()
    }

    /// Address of the allocation; stays the same until [`Element::set_value`] or [`Element::with_word`] moves it.
    #[inline]
    pub fn as_raw(&self) -> NonNull<u8> {
        // SAFETY: masking leaves the address that the allocator gave.
        unsafe { NonNull::new_unchecked(self.start()) }
    }

    /// Gives the allocation away; [`Element::from_raw`] takes it back.
    #[inline]
    pub fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).as_raw()
    }

    /// Takes back what [`Element::into_raw`] gave.
    ///
    /// # Safety
    /// `start` comes from `into_raw` and is not used again elsewhere.
    #[inline]
    pub unsafe fn from_raw(start: NonNull<u8>) -> Element {
        Element(start)
    }

    /// Looks at an element through a copy of its address.
    ///
    /// # Safety
    /// `start` holds what [`Element::as_raw`] gave, and the element is neither changed, moved nor freed while the result is used.
    #[inline]
    pub unsafe fn borrow_raw(start: &NonNull<u8>) -> &Element {
        // SAFETY: an element is such a pointer (`repr(transparent)`).
        unsafe { &*std::ptr::from_ref(start).cast::<Element>() }
    }

    /// The 16 bits that the table keeps above the address.
    #[inline]
    pub(super) fn tag(&self) -> u16 {
        let [.., a, b] = (self.0.as_ptr().addr()).to_le_bytes();
        u16::from_le_bytes([a, b])
    }

    /// The same element with `tag` above its address.
    #[inline]
    pub(super) fn tagged(self, tag: u16) -> Element {
        let start = self.into_raw();
        debug_assert!(start.as_ptr().addr() >> ADDRESS_BITS == 0);
        let packed = start.as_ptr().map_addr(|address| address | usize::from(tag) << ADDRESS_BITS);
        // SAFETY: the address is not null, and a tag does not make it so.
        Element(unsafe { NonNull::new_unchecked(packed) })
    }
}

impl Clone for Element {
    fn clone(&self) -> Element {
        let shape = self.shape();
        let copy = Element::allocate(shape);
        copy.write(0, self.bytes(0, shape.total()));
        copy.tagged(self.tag())
    }
}

impl Drop for Element {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: allocated with this layout (the module's invariant), and not used again.
        unsafe { dealloc(self.start(), self.shape().layout()) };
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (name, value) = (text(self.name()), self.value().map(text));
        f.debug_struct("Element").field("name", &name).field("value", &value).field("word", &self.word()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            prop::collection::vec(any::<u8>(), 0..700),
            (0_usize..70_000).prop_map(|len| vec![b'x'; len]),
        ]
    }

    proptest! {
        #[test]
        fn holds_what_it_was_given(
            name in bytes(),
            first in prop::option::of(bytes()),
            word in prop::option::of(any::<u64>()),
            steps in prop::collection::vec((0_u8..4, bytes(), any::<u64>()), 0..12),
            tag in any::<u16>(),
        ) {
            let mut element = Element::new(&name, first.as_deref(), word).tagged(tag);
            let (mut value, mut word) = (first, word);
            for (kind, bytes, number) in steps {
                match kind {
                    0 => prop_assert_eq!(element.set_word(number), word.replace(number).is_some() || { word = None; false }),
                    1 => {
                        word = (number % 2 == 0).then_some(number);
                        element = element.with_word(word);
                    }
                    2 => element = element.clone(),
                    _ => {
                        element.set_value(&bytes);
                        value = Some(bytes);
                    }
                }
                prop_assert_eq!(element.name(), &name[..]);
                prop_assert_eq!(element.value(), value.as_deref());
                prop_assert_eq!(element.word(), word);
                prop_assert_eq!(element.tag(), tag);
            }
            // SAFETY: what was given away is taken back once.
            let again = unsafe { Element::from_raw(element.into_raw()) };
            prop_assert_eq!((again.name(), again.tag()), (&name[..], 0));
        }
    }

    #[test]
    fn short_elements_take_few_bytes() {
        let sizes = [
            (Element::new(&[b'm'; 13], None, None), 16),
            (Element::new(&[b'm'; 15], None, None), 16),
            (Element::new(&[b'm'; 13], None, Some(1)), 32),
            (Element::new(&[b'm'; 23], None, Some(1)), 32),
            (Element::new(&[b'f'; 10], Some(&[b'v'; 8]), None), 32),
            (Element::new(&[b'f'; 7], Some(&[b'v'; 7]), None), 16),
            (Element::new(&[b'f'; 10], Some(&[b'v'; 12]), Some(1)), 32),
            (Element::new(&[b'm'; 94], None, None), 96),
        ];
        for (element, bytes) in sizes {
            assert_eq!(element.memory_bytes(), bytes, "{element:?}");
        }
    }
}
