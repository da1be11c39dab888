//! Blobs: growable bytes behind one thin pointer.
//!
//! ```text
//! byte 0..4   length in bytes, u32
//! byte 4..    the bytes, then zeroes or leftovers up to the allocation's size class
//! ```
//!
//! Invariant: the allocation's size is `size_class(4 + length)`, so that neither a capacity is stored nor memory held
//! that the allocator would not have given anyway; every byte of it is initialised. The pointer always carries the
//! type's `TAG` in its two low bits, which lets [`super::word`] tell owners apart. Must not know: what the bytes mean.

#![expect(unsafe_code, reason = "a buffer of 8 bytes instead of Vec's 24 in each of millions of small collections")]

use crate::util::memory::size_class;
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;

/// Bytes of the stored length.
const HEADER_BYTES: usize = 4;

/// Above the pointer's tag bits, so that a tag never changes which block is meant.
const ALIGN: usize = 8;

/// A blob whose pointer carries no tag.
pub type Blob = TaggedBlob<0>;

/// Bytes that own their allocation, behind a pointer that carries `TAG` (0 to 3) in its low bits.
#[repr(transparent)]
pub struct TaggedBlob<const TAG: usize>(NonNull<u8>);

const _: () = assert!(size_of::<Option<Blob>>() == 8);

// SAFETY: a blob owns its allocation, which holds plain bytes.
unsafe impl<const TAG: usize> Send for TaggedBlob<TAG> {}
// SAFETY: as above; shared access only reads.
unsafe impl<const TAG: usize> Sync for TaggedBlob<TAG> {}

/// The layout of a blob of `len` bytes.
#[inline]
fn layout(len: usize) -> Layout {
    // A length of at most u32::MAX never overflows isize.
    Layout::from_size_align(size_class(HEADER_BYTES + len), ALIGN).unwrap_or(Layout::new::<u64>())
}

/// `len` as the header holds it.
///
/// # Panics
/// When `len` is above [`Blob::MAX_BYTES`], which the owners' own limits keep from happening.
#[inline]
fn stored(len: usize) -> u32 {
    u32::try_from(len).expect("a blob of at most 4 GiB: the limits of its owners are far below")
}

impl<const TAG: usize> TaggedBlob<TAG> {
    /// The longest blob in bytes.
    pub const MAX_BYTES: usize = u32::MAX as usize;

    const TAG_FITS: () = assert!(TAG < 4);

    /// An empty blob; allocates its 16 bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::zeroed(0)
    }

    /// `len` zero bytes. O(len).
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let (header, layout) = (stored(len), layout(len));
        // SAFETY: the layout has at least the header's bytes.
        let start = unsafe { alloc_zeroed(layout) };
        let mut blob = Self::tagged(start, layout);
        blob.set_len(header);
        blob
    }

    /// Takes over a block of `layout` that the allocator gave, or ends the process when it gave none.
    #[inline]
    fn tagged(start: *mut u8, layout: Layout) -> Self {
        const { Self::TAG_FITS };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        // SAFETY: the block has at least 16 bytes, so that three bytes further it is still the block.
        Self(unsafe { start.byte_add(TAG) })
    }

    /// The allocation's first byte.
    #[inline]
    fn start(&self) -> NonNull<u8> {
        // SAFETY: the pointer is always the block's start plus `TAG`.
        unsafe { self.0.byte_sub(TAG) }
    }

    #[inline]
    fn stored_len(&self) -> usize {
        // SAFETY: a block starts with its length and is aligned to 8.
        unsafe { self.start().cast::<u32>().read() as usize }
    }

    #[inline]
    fn set_len(&mut self, len: u32) {
        // SAFETY: as in `stored_len`, and `self` is borrowed mutably.
        unsafe { self.start().cast::<u32>().write(len) };
    }

    /// Bytes that the allocation takes. O(1).
    #[inline]
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_class(HEADER_BYTES + self.stored_len())
    }

    /// Makes the blob `len` bytes long. What is new holds zeroes or leftovers. O(1) within the size class, else O(len).
    fn resize(&mut self, len: usize) {
        let (header, old, new) = (stored(len), layout(self.stored_len()), layout(len));
        if old.size() != new.size() {
            // SAFETY: the block was allocated with `old`, which follows from its length; the new size is not zero.
            let start = unsafe { realloc(self.start().as_ptr(), old, new.size()) };
            let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(new));
            if new.size() > old.size() {
                // SAFETY: the block now reaches to the new size.
                unsafe { start.add(old.size()).write_bytes(0, new.size() - old.size()) };
            }
            // SAFETY: as in `tagged`.
            self.0 = unsafe { start.byte_add(TAG) };
        }
        self.set_len(header);
    }

    /// Replaces `range` by `insert` bytes of any content, which the caller fills in. O(bytes behind the range).
    ///
    /// # Panics
    /// When the range is not within the blob.
    #[inline]
    pub fn gap(&mut self, range: Range<usize>, insert: usize) -> &mut [u8] {
        let old = self.stored_len();
        assert!(range.start <= range.end && range.end <= old, "a range outside the blob");
        let (start, end) = (range.start, range.start + insert);
        let new = old - range.len() + insert;
        if new > old {
            self.resize(new);
        }
        if end != range.end {
            self.copy_within(range.end..old, end);
        }
        if new < old {
            self.resize(new);
        }
        &mut self[start..end]
    }

    /// Replaces `range` by `bytes`. O(bytes behind the range); allocates only when the size class changes.
    ///
    /// # Panics
    /// When the range is not within the blob.
    #[inline]
    pub fn splice(&mut self, range: Range<usize>, bytes: &[u8]) {
        self.gap(range, bytes.len()).copy_from_slice(bytes);
    }

    /// Cuts the blob to its first `len` bytes; nothing happens when it is shorter.
    pub fn truncate(&mut self, len: usize) {
        if len < self.stored_len() {
            self.resize(len);
        }
    }

    /// Appends `bytes`. Amortised O(length of `bytes`).
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let end = self.stored_len();
        self.splice(end..end, bytes);
    }

    /// Gives the allocation away; [`TaggedBlob::from_raw`] takes it back. The pointer carries the tag.
    #[inline]
    pub fn into_raw(self) -> NonNull<u8> {
        let raw = self.0;
        std::mem::forget(self);
        raw
    }

    /// Takes back what [`TaggedBlob::into_raw`] gave.
    ///
    /// # Safety
    /// `raw` came from `into_raw` of a blob with the same tag, and nobody else takes it back.
    #[inline]
    pub unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        debug_assert_eq!(raw.addr().get() % ALIGN, TAG);
        Self(raw)
    }
}

impl<const TAG: usize> Drop for TaggedBlob<TAG> {
    fn drop(&mut self) {
        // SAFETY: the block was allocated with this layout, which follows from its length.
        unsafe { dealloc(self.start().as_ptr(), layout(self.stored_len())) };
    }
}

impl<const TAG: usize> Deref for TaggedBlob<TAG> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the block holds `stored_len` initialised bytes behind its header.
        unsafe { std::slice::from_raw_parts(self.start().add(HEADER_BYTES).as_ptr(), self.stored_len()) }
    }
}

impl<const TAG: usize> DerefMut for TaggedBlob<TAG> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start().add(HEADER_BYTES).as_ptr(), self.stored_len()) }
    }
}

impl<const TAG: usize> From<&[u8]> for TaggedBlob<TAG> {
    fn from(bytes: &[u8]) -> Self {
        let (header, layout) = (stored(bytes.len()), layout(bytes.len()));
        let used = HEADER_BYTES + bytes.len();
        // SAFETY: the layout has at least the header's bytes.
        let start = unsafe { alloc(layout) };
        let mut blob = Self::tagged(start, layout);
        let start = blob.start();
        // SAFETY: the block is fresh and holds header, bytes and what is left to its size.
        unsafe {
            start.add(HEADER_BYTES).as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            start.add(used).write_bytes(0, layout.size() - used);
        }
        blob.set_len(header);
        blob
    }
}

impl<const TAG: usize> Clone for TaggedBlob<TAG> {
    fn clone(&self) -> Self {
        Self::from(&self[..])
    }
}

impl<const TAG: usize> Default for TaggedBlob<TAG> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const TAG: usize> PartialEq for TaggedBlob<TAG> {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl<const TAG: usize> Eq for TaggedBlob<TAG> {}

impl<const TAG: usize> fmt::Debug for TaggedBlob<TAG> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self[..].fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_like_a_vector(
            start in proptest::collection::vec(any::<u8>(), 0..300),
            steps in proptest::collection::vec((any::<u16>(), any::<u16>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..40),
        ) {
            let (mut model, mut blob) = (start.clone(), TaggedBlob::<3>::from(&start[..]));
            for (one, other, bytes) in steps {
                let (one, other) = (usize::from(one) % (model.len() + 1), usize::from(other) % (model.len() + 1));
                let range = one.min(other)..one.max(other);
                match bytes.len() % 4 {
                    0 => model.truncate(one),
                    1 => model.extend_from_slice(&bytes),
                    _ => _ = model.splice(range.clone(), bytes.iter().copied()),
                }
                match bytes.len() % 4 {
                    0 => blob.truncate(one),
                    1 => blob.extend_from_slice(&bytes),
                    _ => blob.splice(range, &bytes),
                }
                prop_assert_eq!(&blob[..], &model[..]);
                prop_assert_eq!(blob.memory_bytes(), size_class(4 + model.len()));
            }
            prop_assert_eq!(&blob.clone(), &blob);
            // SAFETY: the pointer was given away just before, and only here.
            let back = unsafe { TaggedBlob::<3>::from_raw(blob.into_raw()) };
            prop_assert_eq!(&back[..], &model[..]);
        }
    }

    #[test]
    fn small_things_hold() {
        let mut blob = Blob::zeroed(5);
        blob[4] = 7;
        assert_eq!((&blob[..], format!("{blob:?}").as_str()), (&[0, 0, 0, 0, 7][..], "[0, 0, 0, 0, 7]"));
        assert!(Blob::new().is_empty() && Blob::default() == Blob::from(&b""[..]));
        assert_eq!(blob.gap(1..4, 1), [0], "what was there stays until it is overwritten");
    }

    #[test]
    #[should_panic(expected = "a range outside the blob")]
    fn ranges_outside_are_refused() {
        Blob::zeroed(5).splice(4..6, b"");
    }
}
