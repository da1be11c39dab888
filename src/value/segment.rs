//! A segment of a collection's table: some 63 buckets of one cache line each.
//!
//! ```text
//! segment = header (64 bytes), then `buckets` x bucket
//! bucket  = 7 elements (8 bytes each), 7 fingerprint bytes, 1 overflow byte            = 64 bytes
//! element = 48 bits of address, and above them 16 bits of the hash: those right behind the segment's own prefix
//! ```
//!
//! Invariants: a fingerprint byte is 0 exactly when its slot is free. An element lies in its *home* bucket,
//! `h16 * buckets >> 16`, or behind it (cyclically) past full buckets only, each of which counts it in its overflow
//! byte (255 is sticky until the segment is rebuilt). So home and order are known without touching an element: growing
//! moves pointers only, and a walk over homes is a walk in hash order.
//!
//! The layout is the keyspace's, without what many readers and deadlines need there. Must not know: the directory.
//! Sources: F14 (overflow counts), Dash (fingerprints in segments of extendible hashing).

#![expect(unsafe_code, reason = "header and cache-line buckets in one allocation that several directory slots name")]

use super::element::Element;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Slots of a bucket: what fits a cache line beside the tags.
pub const SLOTS: usize = 7;

/// Bucket counts that a segment can have: with its header line each is exactly a size class of the allocator.
const LADDER: [u16; 18] = [3, 5, 7, 11, 15, 19, 23, 27, 31, 39, 47, 55, 63, 127, 255, 511, 1023, 2047];

/// The largest step of the ladder before a segment splits; those above serve hashes that agree in all directory bits.
pub const SPLIT_STEP: u8 = 12;

/// Slots of the largest segment that still splits, and of the largest of all.
pub const SPLIT_SLOTS: usize = LADDER[SPLIT_STEP as usize] as usize * SLOTS;
/// See [`SPLIT_SLOTS`].
pub const MOST_SLOTS: usize = LADDER[LADDER.len() - 1] as usize * SLOTS;

/// Bits that hold any number of buckets.
pub const BUCKETS_BITS: u32 = 11;

const _: () = assert!(LADDER[LADDER.len() - 1] >> BUCKETS_BITS == 0);

/// Fill at which a segment grows, in percent of its slots: at 90, 12 % of the elements lie behind their home bucket.
const MAX_FILL_PERCENT: usize = 94;

/// Fill that a rebuilt segment is given room for, so that it does not grow again at once.
const BUILD_FILL_PERCENT: usize = 78;

/// Fill below which a segment may be too large.
const SPARSE_PERCENT: usize = 35;

const LOW_SEVEN: u64 = 0x0080_8080_8080_8080;
const OVERFLOW_SHIFT: u32 = 56;
const OVERFLOW_ONE: u64 = 1 << OVERFLOW_SHIFT;
const STICKY: u64 = 255;

#[repr(C, align(64))]
struct Header {
    buckets: u16,
    step: u8,
    /// Bits of the directory that the segment's elements share.
    depth: u8,
    len: u32,
}

/// One cache line of slots.
#[repr(C, align(64))]
struct Bucket {
    slots: [Option<Element>; SLOTS],
    tags: u64,
}

const _: () = assert!(size_of::<Bucket>() == 64 && size_of::<Header>() == 64);

/// The hash bits that a segment looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The 16 bits behind the prefix, which fix the home bucket.
    pub h16: u16,
    /// 1 to 255, compared before an element is touched.
    pub fingerprint: u8,
}

impl Mark {
    /// The marks of `hash` in a segment of `depth`.
    #[inline]
    pub fn new(hash: u64, depth: u32) -> Mark {
        let [low, ..] = hash.to_le_bytes();
        let [.., a, b] = (hash << depth).to_le_bytes();
        Mark { h16: u16::from_le_bytes([a, b]), fingerprint: low.max(1) }
    }
}

/// A slot of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    bucket: usize,
    slot: usize,
}

/// Exact bytes of `tags` equal to `byte`, as 0x80 in each of the low seven.
#[inline]
fn equal_bytes(tags: u64, byte: u8) -> u64 {
    let x = tags ^ (u64::from(byte) * 0x0101_0101_0101_0101);
    !(((x & 0x7f7f_7f7f_7f7f_7f7f) + 0x7f7f_7f7f_7f7f_7f7f) | x) & LOW_SEVEN
}

#[inline]
fn slot_of(matches: u64) -> usize {
    (matches.trailing_zeros() / 8) as usize
}

/// The number of buckets at `step` of the ladder.
#[inline]
fn buckets_at(step: u8) -> usize {
    usize::from(LADDER[usize::from(step) % LADDER.len()])
}

#[inline]
fn home_of(h16: u16, buckets: usize) -> usize {
    (usize::from(h16) * buckets) >> 16
}

/// The lowest step with room for `len` elements and some more; at most `limit`.
pub fn step_for(len: usize, limit: u8) -> u8 {
    (0..limit).find(|step| len * 100 <= buckets_at(*step) * SLOTS * BUILD_FILL_PERCENT).unwrap_or(limit)
}

/// Bytes that a segment at `step` takes from the allocator.
pub fn bytes_at(step: u8) -> usize {
    (buckets_at(step) + 1) * size_of::<Bucket>()
}

fn layout_at(step: u8) -> Layout {
    Layout::from_size_align(bytes_at(step), 64).unwrap_or(Layout::new::<Bucket>())
}

/// A handle to a segment, copied freely inside the table that owns it: that table, borrowed, keeps it valid, and `&mut`
/// on the table is what allows changes.
#[derive(Clone, Copy)]
pub struct Segment(NonNull<Header>);

impl Segment {
    /// Allocates an empty segment.
    pub fn new(step: u8, depth: u8) -> Segment {
        let layout = layout_at(step);
        // SAFETY: the layout is not empty; all-zero is a valid header, and a bucket whose slots are all `None`.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        let mut segment = Segment(start.cast());
        *segment.header_mut() = Header { buckets: LADDER[usize::from(step) % LADDER.len()], step, depth, len: 0 };
        segment
    }

    /// The segment at `start`.
    ///
    /// # Safety
    /// `start` comes from [`Segment::as_raw`], and the segment is not freed while the result is used.
    #[inline]
    pub unsafe fn from_raw(start: *mut u8) -> Segment {
        // SAFETY: as_raw never gives null.
        Segment(unsafe { NonNull::new_unchecked(start) }.cast())
    }

    /// Where it lies.
    #[inline]
    pub fn as_raw(self) -> *mut u8 {
        self.0.as_ptr().cast()
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: a segment starts with a header.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn header_mut(&mut self) -> &mut Header {
        // SAFETY: as above; the owner is borrowed mutably.
        unsafe { self.0.as_mut() }
    }

    #[inline]
    fn bucket<'t>(self, index: usize) -> &'t Bucket {
        debug_assert!(index < self.buckets());
        // SAFETY: the header is followed by `buckets` buckets, and every index comes from `home_of` or counts below it.
        unsafe { &*self.0.as_ptr().cast::<Bucket>().add(1 + index) }
    }

    #[inline]
    fn bucket_mut<'t>(&mut self, index: usize) -> &'t mut Bucket {
        debug_assert!(index < self.buckets());
        // SAFETY: as above; the owner is borrowed mutably, and no two buckets are held at a time.
        unsafe { &mut *self.0.as_ptr().cast::<Bucket>().add(1 + index) }
    }

    /// Number of buckets.
    #[inline]
    pub fn buckets(&self) -> usize {
        usize::from(self.header().buckets)
    }

    /// Number of slots.
    #[inline]
    pub fn slots(&self) -> usize {
        self.buckets() * SLOTS
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.header().len as usize
    }

    /// Its step on the ladder of sizes.
    #[inline]
    pub fn step(&self) -> u8 {
        self.header().step
    }

    /// Directory bits that its elements share.
    #[inline]
    pub fn depth(&self) -> u8 {
        self.header().depth
    }

    /// Whether one more element would overfill it.
    #[inline]
    pub fn is_full(&self) -> bool {
        (self.len() + 1) * 100 > self.slots() * MAX_FILL_PERCENT
    }

    /// Whether it is so empty that a smaller one might do.
    pub fn is_sparse(&self) -> bool {
        self.len() * 100 < self.slots() * SPARSE_PERCENT
    }

    #[inline]
    fn next(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets() { 0 } else { bucket + 1 }
    }

    /// Address of the home bucket of `mark` in a segment known to have this many buckets, which is not touched.
    #[inline]
    pub fn home_address(self, buckets: usize, mark: Mark) -> *const u8 {
        self.as_raw().wrapping_add((1 + home_of(mark.h16, buckets)) * size_of::<Bucket>())
    }

    /// The element that probably has `mark`, looked for in its home bucket only; the element itself is not touched.
    #[inline]
    pub fn candidate<'t>(self, buckets: usize, mark: Mark) -> Option<&'t Element> {
        let bucket = self.bucket(home_of(mark.h16, buckets));
        bucket.matching(mark).next().map(|(_, element)| element)
    }

    /// Finds the slot of `name`, which has `mark`, in a segment known to have this many buckets.
    #[inline]
    pub fn find(self, buckets: usize, mark: Mark, name: &[u8]) -> Option<Place> {
        debug_assert_eq!(buckets, self.buckets());
        let home = home_of(mark.h16, buckets);
        let mut index = home;
        loop {
            let bucket = self.bucket(index);
            for (slot, element) in bucket.matching(mark) {
                if element.name() == name {
                    return Some(Place { bucket: index, slot });
                }
            }
            if bucket.tags >> OVERFLOW_SHIFT == 0 {
                return None;
            }
            index = if index + 1 == buckets { 0 } else { index + 1 };
            if index == home {
                return None;
            }
        }
    }

    /// The element at an occupied place; valid while the table is borrowed and the place not emptied.
    #[inline]
    pub fn element<'t>(self, place: Place) -> Option<&'t Element> {
        self.bucket(place.bucket).slots[place.slot].as_ref()
    }

    /// As [`Segment::element`], for changes.
    #[inline]
    pub fn element_mut<'t>(&mut self, place: Place) -> Option<&'t mut Element> {
        self.bucket_mut(place.bucket).slots[place.slot].as_mut()
    }

    /// Puts an element in; the segment must have a free slot.
    #[inline]
    pub fn insert(&mut self, mark: Mark, element: Element) -> Place {
        debug_assert!(self.len() < self.slots());
        let mut index = home_of(mark.h16, self.buckets());
        loop {
            let bucket = self.bucket_mut(index);
            let free = equal_bytes(bucket.tags, 0);
            if free != 0 {
                let slot = slot_of(free);
                bucket.slots[slot] = Some(element.tagged(mark.h16));
                bucket.tags |= u64::from(mark.fingerprint) << (8 * slot);
                self.header_mut().len += 1;
                return Place { bucket: index, slot };
            }
            if bucket.tags >> OVERFLOW_SHIFT != STICKY {
                bucket.tags += OVERFLOW_ONE;
            }
            index = self.next(index);
        }
    }

    /// Takes the element at `place` out, if there is one.
    #[inline]
    pub fn remove(&mut self, place: Place) -> Option<Element> {
        let element = self.take(place)?;
        let mut index = home_of(element.tag(), self.buckets());
        while index != place.bucket {
            let passed = self.bucket_mut(index);
            if passed.tags >> OVERFLOW_SHIFT != STICKY {
                debug_assert!(passed.tags >> OVERFLOW_SHIFT > 0);
                passed.tags = passed.tags.wrapping_sub(OVERFLOW_ONE);
            }
            index = self.next(index);
        }
        Some(element.tagged(0))
    }

    /// As [`Segment::remove`] from a segment in which nothing will be looked up any more.
    pub fn take(&mut self, place: Place) -> Option<Element> {
        let bucket = self.bucket_mut(place.bucket);
        let element = bucket.slots[place.slot].take()?;
        bucket.tags &= !(0xff << (8 * place.slot));
        self.header_mut().len -= 1;
        Some(element)
    }

    /// Puts `element` in the place of another with the same name; that one is returned.
    pub fn replace(&mut self, place: Place, element: Element) -> Option<Element> {
        let slot = &mut self.bucket_mut(place.bucket).slots[place.slot];
        let tag = slot.as_ref()?.tag();
        slot.replace(element.tagged(tag)).map(|old| old.tagged(0))
    }

    /// The first occupied place at or behind slot `from`, counted through the segment.
    #[inline]
    pub fn occupied_from(self, from: usize) -> Option<Place> {
        let (mut index, first) = (from / SLOTS, from % SLOTS);
        let mut skip = u64::MAX << (8 * first);
        while index < self.buckets() {
            let used = !equal_bytes(self.bucket(index).tags, 0) & LOW_SEVEN & skip;
            if used != 0 {
                return Some(Place { bucket: index, slot: slot_of(used) });
            }
            (index, skip) = (index + 1, u64::MAX);
        }
        None
    }

    /// The occupied places. An element may be taken out at a place that has been reached.
    pub fn places(self) -> impl Iterator<Item = Place> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let place = self.occupied_from(from)?;
            from = place.number() + 1;
            Some(place)
        })
    }

    /// The elements, in the order of their places.
    pub fn elements<'t>(self) -> impl Iterator<Item = &'t Element> {
        (0..self.buckets()).flat_map(move |index| self.bucket(index).slots.iter().flatten())
    }

    /// Starts loading every element: some 400 cache misses, all at once instead of a few at a time.
    pub fn prefetch_elements(self) {
        self.elements().for_each(|element| prefetch(element.as_raw().as_ptr()));
    }

    /// The place of slot `number`, if there is such a slot and it is occupied.
    pub fn at(self, number: usize) -> Option<Place> {
        let place = Place { bucket: number / SLOTS, slot: number % SLOTS };
        (number < self.slots() && self.element(place).is_some()).then_some(place)
    }

    /// Takes every element out, in the order of [`Segment::places`], and hands it to `take` with its hash bits.
    pub fn empty(&mut self, mut take: impl FnMut(Mark, Element)) {
        for index in 0..self.buckets() {
            let bucket = self.bucket_mut(index);
            let tags = std::mem::take(&mut bucket.tags).to_le_bytes();
            for (slot, fingerprint) in bucket.slots.iter_mut().zip(tags) {
                if let Some(element) = slot.take() {
                    take(Mark { h16: element.tag(), fingerprint }, element);
                }
            }
        }
        self.header_mut().len = 0;
    }

    /// Calls `visit` for every element whose home is the bucket that `h16` falls into; returns the first `h16` of the next
    /// home, or `None` behind the last.
    pub fn visit_home(self, h16: u16, visit: &mut dyn FnMut(&Element)) -> Option<u16> {
        let buckets = self.buckets();
        let home = home_of(h16, buckets);
        let mut index = home;
        loop {
            let bucket = self.bucket(index);
            bucket.slots.iter().flatten().filter(|e| home_of(e.tag(), buckets) == home).for_each(&mut *visit);
            index = self.next(index);
            if bucket.tags >> OVERFLOW_SHIFT == 0 || index == home {
                break;
            }
        }
        u16::try_from(((home + 1) << 16).div_ceil(buckets)).ok()
    }

    /// A copy with copies of all elements.
    pub fn copy(self) -> Segment {
        let mut copy = Segment::new(self.step(), self.depth());
        copy.header_mut().len = self.header().len;
        for index in 0..self.buckets() {
            let (from, to) = (self.bucket(index), copy.bucket_mut(index));
            to.slots.clone_from(&from.slots);
            to.tags = from.tags;
        }
        copy
    }

    /// Frees the segment and the elements still in it.
    ///
    /// # Safety
    /// Nobody uses this handle or a copy of it any more.
    pub unsafe fn free(mut self) {
        if self.len() > 0 {
            self.prefetch_elements();
            for index in 0..self.buckets() {
                self.bucket_mut(index).slots = [const { None }; SLOTS];
            }
        }
        // SAFETY: allocated with this layout in `new`; the caller says that it is unused.
        unsafe { dealloc(self.as_raw(), layout_at(self.step())) };
    }

    /// Checks the invariants; for tests.
    #[cfg(test)]
    pub fn validate(self, hash: impl Fn(&[u8]) -> u64) {
        let mut overflow = vec![0_u64; self.buckets()];
        let mut len = 0;
        for place in self.places() {
            let element = self.element(place).expect("an occupied slot");
            let fingerprint = self.bucket(place.bucket).tags.to_le_bytes()[place.slot];
            let mark = Mark { h16: element.tag(), fingerprint };
            assert_eq!(Mark::new(hash(element.name()), u32::from(self.depth())), mark);
            let mut index = home_of(element.tag(), self.buckets());
            while index != place.bucket {
                overflow[index] += 1;
                index = self.next(index);
            }
            len += 1;
        }
        assert_eq!(len, self.len());
        for (index, count) in overflow.iter().enumerate() {
            let bucket = self.bucket(index);
            let noted = bucket.tags >> OVERFLOW_SHIFT;
            assert!(noted == STICKY || noted == *count, "bucket {index}: {noted} noted, {count} passed");
            let tagged = bucket.tags.to_le_bytes()[..SLOTS].iter().map(|tag| *tag != 0).collect::<Vec<_>>();
            assert_eq!(tagged, bucket.slots.iter().map(Option::is_some).collect::<Vec<_>>());
        }
    }
}

/// Starts loading the cache line at `address`; a hint, valid for any address.
#[inline]
pub fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching has no effect but on the cache, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

impl Place {
    /// Its number, counted through the segment.
    #[inline]
    pub fn number(self) -> usize {
        self.bucket * SLOTS + self.slot
    }
}

impl Bucket {
    /// Slots whose element has `mark`, without a look at the element.
    #[inline]
    fn matching(&self, mark: Mark) -> impl Iterator<Item = (usize, &Element)> {
        let mut matches = equal_bytes(self.tags, mark.fingerprint);
        std::iter::from_fn(move || {
            while matches != 0 {
                let slot = slot_of(matches);
                matches &= matches - 1;
                if let Some(element) = &self.slots[slot]
                    && element.tag() == mark.h16
                {
                    return Some((slot, element));
                }
            }
            None
        })
    }
}
