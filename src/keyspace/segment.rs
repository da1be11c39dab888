//! A segment of the table: some 63 buckets of one cache line each, and their bookkeeping.
//!
//! ```text
//! segment = header (64 bytes), then `buckets` x bucket
//! bucket  = 7 entry pointers (8 bytes each), 7 fingerprint bytes, 1 overflow byte      = 64 bytes
//! pointer = 48 bits of address, and above them 16 bits of the hash: those right behind the segment's own prefix
//! ```
//!
//! Invariants: a fingerprint byte is 0 exactly when its slot is free. An entry lies in its *home* bucket,
//! `h16 * buckets >> 16`, or behind it (cyclically) past full buckets only, each of which counts it in its overflow
//! byte (255 is sticky until the segment is rebuilt). So home and order are known without touching an entry: growing
//! moves pointers only, and a walk over homes is a walk in hash order. Once a key of the segment, or a field of its hash,
//! expires, `deadlines` holds a 16-bit lower bound for each slot, and `due_ms` one for the segment.
//!
//! Buckets are read by the prefetch pass without the shard's lock: that is why their words are atomics and why
//! the memory of a segment is retired through an epoch, never freed at once. Must not know: the directory, the lock.
//! Sources: F14 (overflow counts), Dash (fingerprints in segments of extendible hashing).

#![expect(unsafe_code, reason = "cache-line buckets with packed pointers; 4x cheaper lookups than a table of structs")]

use super::entry::{Entry, EntryMut, EntryRef};
use crate::util::clock::UnixMs;
use crate::util::memory::{find_sparse, size_class};
use crate::value::string::StringRef;
use bytes::Bytes;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

/// Slots of a bucket: what fits a cache line beside the tags.
pub const SLOTS: usize = 7;

/// Bucket counts that a segment can have: with its header line each is exactly a size class of the allocator. 55 is left out:
/// blocks of 3,584 bytes lie eight to a slab of seven pages, and the few segments of that size that stay behind when the
/// others have grown held whole slabs, 4 bytes a key, where blocks of 4,096 bytes go back one by one.
const LADDER: [u16; 13] = [3, 7, 15, 31, 39, 47, 63, 127, 255, 511, 1023, 2047, 4095];

/// The largest step of the ladder before a segment splits; those above serve hashes that agree in all directory bits.
pub const SPLIT_STEP: u8 = 6;

/// Fill at which a segment grows, in percent of its slots: at 90, 12 % of the entries lie behind their home bucket.
const MAX_FILL_PERCENT: usize = 94;

/// Fill that a rebuilt segment is given room for, so that it does not grow again at once.
const BUILD_FILL_PERCENT: usize = 78;

const ADDRESS_BITS: u32 = 48;
const LOW_SEVEN: u64 = 0x0080_8080_8080_8080;
const STICKY: u64 = 255;

/// A coarse deadline counts these milliseconds from the segment's base.
const COARSE_MS: i64 = 256;
/// Coarse value of slots whose deadline lies before the base: always looked at.
const COARSE_FIRST: u16 = 1;
/// Coarse value of deadlines beyond the range of 4.6 hours: looked at when the base moves.
const COARSE_FAR: u16 = u16::MAX;
/// A base older than this is moved to the present at the next walk.
const REBASE_MS: i64 = 2 * 3600 * 1000;

#[repr(C, align(64))]
struct Header {
    buckets: u16,
    step: u8,
    /// Bits of the shard's directory that the segment's entries share.
    depth: u8,
    len: u32,
    /// Slots with a coarse deadline.
    timed: u32,
    base_ms: i64,
    due_ms: i64,
    deadlines: *mut u16,
}

/// One cache line of slots.
#[repr(C, align(64))]
pub struct Bucket {
    slots: [AtomicPtr<u8>; SLOTS],
    tags: AtomicU64,
}

const _: () = assert!(size_of::<Bucket>() == 64 && size_of::<Header>() == 64);

/// Words of a bucket: its slots and its tags.
const BUCKET_WORDS: usize = SLOTS + 1;

/// Blocks above this are pages of their own, which leave no gaps.
const SLAB_BYTES: usize = 14 * 1024;

/// What compaction works with, kept from segment to segment.
#[derive(Default)]
pub struct Scratch {
    places: Vec<Place>,
    blocks: Vec<*const u8>,
    sparse: Vec<bool>,
    won: usize,
}

impl Scratch {
    /// Bytes that what was moved since the last call has left free, where all of its slabs are emptied.
    pub fn take_won(&mut self) -> usize {
        std::mem::take(&mut self.won)
    }
}

/// The hash bits that a segment looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The 16 bits behind the prefix, which fix the home bucket.
    pub h16: u16,
    /// Eight bits of the hash, 1 for 0, compared before an entry is touched: see [`fingerprint_bit`].
    pub fingerprint: u8,
}

/// The first of the bits of the hash that are the fingerprint in a segment with this prefix: the first multiple of eight from which on they hold the
/// bit behind the 16. So a segment that splits or merges gives its entries their new marks without a look at their keys, but for each eighth split.
#[inline]
const fn fingerprint_bit(prefix_bits: u32) -> u32 {
    (prefix_bits & !7) + 16
}

impl Mark {
    /// The marks of `hash` in a segment whose prefix (shard bits included) has `prefix_bits` bits, at most 40.
    #[inline]
    pub fn new(hash: u64, prefix_bits: u32) -> Mark {
        let [low, ..] = (hash >> (56 - fingerprint_bit(prefix_bits))).to_le_bytes();
        let [.., a, b] = (hash << prefix_bits).to_le_bytes();
        Mark { h16: u16::from_le_bytes([a, b]), fingerprint: low.max(1) }
    }

    /// Which half of a segment of this prefix, split, the entry belongs to: 0 or 1.
    pub fn half(self) -> usize {
        usize::from(self.h16 >> 15)
    }

    /// The marks in that half. `None` where only the hash tells them.
    pub fn split(self, prefix_bits: u32) -> Option<Mark> {
        let known = prefix_bits % 8;
        let next = u16::from(self.fingerprint >> (7 - known) & 1);
        (known < 7).then_some(Mark { h16: self.h16 << 1 | next, ..self })
    }

    /// The marks in the segment of this prefix that the two halves of it, of which the entry lies in number `half`, become.
    pub fn merged(self, half: u16, prefix_bits: u32) -> Mark {
        let [low, _] = self.h16.to_le_bytes();
        let fingerprint = if prefix_bits % 8 == 7 { low.max(1) } else { self.fingerprint };
        Mark { h16: self.h16 >> 1 | half << 15, fingerprint }
    }
}

/// A slot of a segment: where its word lies behind the header, counted in words. One number, which fits a register beside the segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place(usize);

impl Place {
    #[inline]
    fn new(bucket: usize, slot: usize) -> Place {
        Place(bucket * BUCKET_WORDS + slot)
    }

    #[inline]
    fn bucket(self) -> usize {
        self.0 / BUCKET_WORDS
    }

    #[inline]
    fn slot(self) -> usize {
        self.0 % BUCKET_WORDS
    }

    /// The number of the slot among all slots, as deadlines are counted.
    fn index(self) -> usize {
        self.bucket() * SLOTS + self.slot()
    }
}

/// One occupied slot, as a rebuild moves it.
#[derive(Clone, Copy)]
pub struct Item {
    /// The entry's allocation.
    pub start: NonNull<u8>,
    /// Its hash bits.
    pub mark: Mark,
    /// Its coarse deadline, 0 for none.
    coarse: u16,
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

#[inline]
fn unpack(word: *mut u8) -> (u16, *mut u8) {
    let [.., a, b] = (word.addr() as u64).to_le_bytes();
    (u16::from_le_bytes([a, b]), word.map_addr(|address| address & ((1 << ADDRESS_BITS) - 1)))
}

#[inline]
fn pack(h16: u16, start: NonNull<u8>) -> *mut u8 {
    debug_assert!(start.as_ptr().addr() >> ADDRESS_BITS == 0);
    start.as_ptr().map_addr(|address| address | (usize::from(h16) << ADDRESS_BITS))
}

/// The ladder with as many steps as four bits count, so that the lookup needs no test.
const STEPS: [u16; 16] = {
    let (mut steps, mut step) = ([LADDER[LADDER.len() - 1]; 16], 0);
    while step < LADDER.len() {
        steps[step] = LADDER[step];
        step += 1;
    }
    steps
};

/// The number of buckets at `step` of the ladder.
#[inline]
pub fn buckets_at(step: u8) -> usize {
    usize::from(STEPS[usize::from(step & 15)])
}

#[inline]
fn home_of(h16: u16, buckets: usize) -> usize {
    (usize::from(h16) * buckets) >> 16
}

/// The lowest step with room for `len` entries and some more; at most `limit`.
pub fn step_for(len: usize, limit: u8) -> u8 {
    (0..limit).find(|step| len * 100 <= buckets_at(*step) * SLOTS * BUILD_FILL_PERCENT).unwrap_or(limit)
}

/// Address of the home bucket of `mark` in the segment of `step` at `segment`, which is not touched.
#[inline]
fn home_address(segment: *mut u8, step: u8, mark: Mark) -> *mut u8 {
    segment.wrapping_add((1 + home_of(mark.h16, buckets_at(step))) * size_of::<Bucket>())
}

/// Where the search for a key begins, and what it looks for. Its segment may be retired meanwhile, but must not be freed: an epoch
/// guard sees to it.
#[derive(Clone, Copy)]
pub struct Near {
    segment: *mut u8,
    home: *mut u8,
    mark: Mark,
    step: u8,
}

impl Near {
    /// Of a key of which nothing is to be requested.
    pub const NOWHERE: Near = Near {
        segment: std::ptr::null_mut(),
        home: std::ptr::null_mut(),
        mark: Mark { h16: 0, fingerprint: 1 },
        step: 0,
    };

    /// The search for `mark` in the segment of `step` at `segment`, which is not touched.
    #[inline]
    pub fn new(segment: *mut u8, step: u8, mark: Mark) -> Near {
        Near { segment, home: home_address(segment, step, mark), mark, step }
    }

    /// Calls `line` with the addresses of the home bucket and of the next, in which one key in twenty lies. Behind the last
    /// bucket comes the first; the address that is given then is of no use, and of no harm.
    #[inline]
    pub fn buckets(self, line: &mut impl FnMut(*mut u8)) {
        (0..NEAR_BUCKETS).for_each(|number| line(self.home.wrapping_add(number * size_of::<Bucket>())));
    }

    /// Calls `line` with the addresses of what is needed behind these buckets, to find the key or to store it. Looked for without
    /// a lock.
    ///
    /// # Safety
    /// The segment has not been freed.
    #[inline]
    pub unsafe fn rest(self, line: &mut impl FnMut(*mut u8)) {
        if self.home.is_null() {
            return;
        }
        // SAFETY: `home_address` names a bucket of the segment; buckets consist of atomics, and stay allocated (the caller's promise).
        let found = match unsafe { &*self.home.cast::<Bucket>() }.look(self.mark) {
            Look::Behind => self.look_behind(),
            found => found,
        };
        match found {
            Look::Entry(entry) => {
                line(entry);
                line(entry.wrapping_add(size_of::<Bucket>()));
            }
            // An insertion changes the head of the segment.
            Look::Nothing => line(self.segment),
            Look::Behind => {
                line(self.home.wrapping_add(NEAR_BUCKETS * size_of::<Bucket>()));
                line(self.segment);
            }
        }
    }

    /// Looks into the bucket behind the home bucket.
    #[inline(never)]
    fn look_behind(self) -> Look {
        let buckets = buckets_at(self.step);
        let next = home_of(self.mark.h16, buckets) + 1;
        let index = if next == buckets { 0 } else { next };
        // SAFETY: as in `rest`, from where this is called; a segment of this step has so many buckets behind its header.
        unsafe { &*self.segment.cast::<Bucket>().add(1 + index) }.look(self.mark)
    }
}

/// What a look into one bucket, without a lock, says of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    /// It is probably this entry.
    Entry(*mut u8),
    /// It lies behind this bucket, if anywhere.
    Behind,
    /// There is no such key.
    Nothing,
}

impl Bucket {
    #[inline]
    fn look(&self, mark: Mark) -> Look {
        let tags = self.tags.load(Relaxed);
        let mut matches = equal_bytes(tags, mark.fingerprint);
        while matches != 0 {
            let (h16, start) = unpack(self.slots[slot_of(matches)].load(Relaxed));
            if h16 == mark.h16 {
                return Look::Entry(start);
            }
            matches &= matches - 1;
        }
        if tags >> 56 == 0 { Look::Nothing } else { Look::Behind }
    }
}

impl Bucket {
    /// The slots whose words, if they are taken, have 16 bits from `first` to `last`. All are compared before one is named: which one it is
    /// cannot be guessed, and a branch for each would be guessed wrong.
    #[inline]
    fn between(&self, first: u16, last: u16) -> impl Iterator<Item = usize> + use<> {
        let width = last.wrapping_sub(first);
        let mut slots = self.slots.iter().enumerate().fold(0_u32, |slots, (slot, word)| {
            let (h16, _) = unpack(word.load(Relaxed));
            slots | u32::from(h16.wrapping_sub(first) <= width) << slot
        });
        std::iter::from_fn(move || {
            let slot = slots.trailing_zeros() as usize;
            slots &= slots.wrapping_sub(1);
            (slot < SLOTS).then_some(slot)
        })
    }
}

/// Buckets that are requested from memory together: the home bucket and, for the keys that lie behind it, the next.
const NEAR_BUCKETS: usize = 2;

/// Calls `found` with the addresses of the entries of the segment of `step` at `segment` whose 16 bits lie from `first` to `last`, looked for
/// without a lock in the home bucket and, if there is none, in the next.
///
/// # Safety
/// The segment cannot be freed meanwhile (an epoch guard sees to it).
#[inline]
pub unsafe fn candidates_between(segment: *mut u8, step: u8, [first, last]: [u16; 2], found: &mut impl FnMut(*mut u8)) {
    let buckets = buckets_at(step);
    let mut index = home_of(first, buckets);
    for _ in 0..NEAR_BUCKETS {
        // SAFETY: a segment of this step has so many buckets behind its header; they consist of atomics, and stay allocated (the caller's
        // promise).
        let bucket = unsafe { &*segment.cast::<Bucket>().add(1 + index) };
        let mut any = false;
        for slot in bucket.between(first, last) {
            any = true;
            found(unpack(bucket.slots[slot].load(Relaxed)).1);
        }
        if any || bucket.tags.load(Relaxed) >> 56 == 0 {
            break;
        }
        index = if index + 1 == buckets { 0 } else { index + 1 };
    }
}

/// Calls `visit` with the addresses of all entries of the segment of `step` at `segment`, without a lock: what is there may change
/// meanwhile, and the entries must not be touched.
///
/// # Safety
/// The segment cannot be freed meanwhile (an epoch guard sees to it).
pub unsafe fn addresses(segment: *mut u8, step: u8, visit: &mut impl FnMut(*mut u8)) {
    for index in 0..buckets_at(step) {
        // SAFETY: a segment of this step has so many buckets behind its header; they consist of atomics, and stay allocated
        // (the caller's promise).
        let bucket = unsafe { &*segment.cast::<Bucket>().add(1 + index) };
        let tags = bucket.tags.load(Relaxed);
        for (slot, word) in bucket.slots.iter().enumerate() {
            if tags >> (8 * slot) & 0xff != 0 {
                visit(unpack(word.load(Relaxed)).1);
            }
        }
    }
}

/// A segment of the table that made it. The table, borrowed, is what keeps it valid: see [`Segment::from_raw`].
#[derive(Clone, Copy)]
pub struct Segment(NonNull<Header>);

impl Segment {
    /// Allocates an empty segment.
    pub fn new(step: u8, depth: u8) -> Segment {
        let layout = Segment::layout(buckets_at(step));
        // SAFETY: the layout is not empty; all-zero is a valid header and an empty bucket.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        let mut segment = Segment(start.cast());
        let header = segment.header_mut();
        header.buckets = LADDER[usize::from(step)];
        header.step = step;
        header.depth = depth;
        header.due_ms = i64::MAX;
        segment
    }

    fn layout(buckets: usize) -> Layout {
        Layout::from_size_align((buckets + 1) * size_of::<Bucket>(), 64).unwrap_or(Layout::new::<Bucket>())
    }

    /// The segment at `start`.
    ///
    /// # Safety
    /// `start` comes from [`Segment::as_raw`]; the segment is not freed while the result is used, and its shard is locked
    /// (or owned) by the caller.
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
        // SAFETY: a segment starts with a header, which only the holder of the shard's lock looks at.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn header_mut(&mut self) -> &mut Header {
        // SAFETY: as in `header`.
        unsafe { self.0.as_mut() }
    }

    #[inline]
    fn bucket(&self, index: usize) -> &Bucket {
        debug_assert!(index < self.buckets());
        // SAFETY: the header is followed by `buckets` buckets, and every index comes from `home_of` or counts below it.
        unsafe { &*self.0.as_ptr().cast::<Bucket>().add(1 + index) }
    }

    /// Number of buckets.
    #[inline]
    pub fn buckets(&self) -> usize {
        usize::from(self.header().buckets)
    }

    /// Number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.header().len as usize
    }

    /// Its step on the ladder of sizes.
    #[inline]
    pub fn step(&self) -> u8 {
        self.header().step
    }

    /// Directory bits that its entries share.
    #[inline]
    pub fn depth(&self) -> u8 {
        self.header().depth
    }

    /// No entry expires before this; `i64::MAX` when none does.
    pub fn due_ms(&self) -> i64 {
        self.header().due_ms
    }

    /// Bytes that a segment at `step` of the ladder takes from the allocator, and those of its deadlines once it has any.
    pub fn bytes_at(step: u8) -> (usize, usize) {
        let buckets = buckets_at(step);
        (Segment::layout(buckets).size(), buckets * SLOTS * size_of::<u16>())
    }

    /// Bytes that it takes from the allocator, its entries aside.
    pub fn memory_bytes(self) -> usize {
        let (plain, deadlines) = Segment::bytes_at(self.step());
        size_class(plain) + if self.header().deadlines.is_null() { 0 } else { size_class(deadlines) }
    }

    /// Whether one more entry would overfill it.
    #[inline]
    pub fn is_full(&self) -> bool {
        (self.len() + 1) * 100 > self.buckets() * SLOTS * MAX_FILL_PERCENT
    }

    /// Whether it is so empty that a smaller one would do.
    pub fn is_sparse(&self) -> bool {
        self.len() * 100 < self.buckets() * SLOTS * 35
    }

    #[inline]
    fn next(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets() { 0 } else { bucket + 1 }
    }

    /// Finds the slot whose entry has `mark` and for which `is_it` holds, in a segment known to be at `step`.
    #[inline]
    pub fn find(&self, step: u8, mark: Mark, mut is_it: impl FnMut(EntryRef<'_>) -> bool) -> Option<Place> {
        debug_assert_eq!(step, self.step());
        let buckets = buckets_at(step);
        let home = home_of(mark.h16, buckets);
        let mut index = home;
        loop {
            let bucket = self.bucket(index);
            let tags = bucket.tags.load(Relaxed);
            let mut matches = equal_bytes(tags, mark.fingerprint);
            while matches != 0 {
                let slot = slot_of(matches);
                let (h16, start) = unpack(bucket.slots[slot].load(Relaxed));
                if h16 == mark.h16 {
                    let place = Place::new(index, slot);
                    debug_assert!(!start.is_null());
                    if is_it(self.entry(place)) {
                        return Some(place);
                    }
                }
                matches &= matches - 1;
            }
            if tags >> 56 == 0 {
                return None;
            }
            index = if index + 1 == buckets { 0 } else { index + 1 };
            if index == home {
                return None;
            }
        }
    }

    /// Finds the slot with a mark from `first` to `last` for which `is_it` holds, in a segment known to be at `step`.
    pub fn find_between(
        &self,
        step: u8,
        first: u16,
        last: u16,
        mut is_it: impl FnMut(EntryRef<'_>) -> bool,
    ) -> Option<Place> {
        debug_assert_eq!(step, self.step());
        let buckets = buckets_at(step);
        let (mut index, end) = (home_of(first, buckets), home_of(last, buckets));
        let mut homes = end - index;
        for _ in 0..buckets {
            let bucket = self.bucket(index);
            let tags = bucket.tags.load(Relaxed);
            for slot in bucket.between(first, last) {
                let place = Place::new(index, slot);
                if tags >> (8 * slot) & 0xff != 0 && is_it(self.entry(place)) {
                    return Some(place);
                }
            }
            if homes == 0 && tags >> 56 == 0 {
                return None;
            }
            homes = homes.saturating_sub(1);
            index = if index + 1 == buckets { 0 } else { index + 1 };
        }
        None
    }

    /// The entry at an occupied place; valid until it is removed or replaced.
    #[inline]
    pub fn entry<'t>(&self, place: Place) -> EntryRef<'t> {
        // SAFETY: places name occupied slots, whose pointers come from `Entry::into_raw`; the shard's lock keeps others off.
        unsafe { EntryRef::from_raw(self.start(place)) }
    }

    /// As [`Segment::entry`], for changes.
    #[inline]
    pub fn entry_mut<'t>(&mut self, place: Place) -> EntryMut<'t> {
        // SAFETY: as in `entry`; `&mut` on the table sees to it that there is one look at a time.
        unsafe { EntryMut::from_raw(self.start(place)) }
    }

    #[inline]
    fn start(&self, place: Place) -> NonNull<u8> {
        let (_, start) = unpack(self.bucket(place.bucket()).slots[place.slot()].load(Relaxed));
        // SAFETY: an occupied slot is never null.
        unsafe { NonNull::new_unchecked(start) }
    }

    /// Puts an entry in; the segment must have a free slot. `now` serves as base when it is the first that expires.
    pub fn insert(&mut self, mark: Mark, entry: Entry, now: UnixMs) -> Place {
        let due = entry.get().due();
        let place = self.put(mark, entry.into_raw());
        if due.is_some() {
            self.note_due(place, due, now);
        }
        place
    }

    fn put(&mut self, mark: Mark, start: NonNull<u8>) -> Place {
        debug_assert!(self.len() < self.buckets() * SLOTS);
        let mut index = home_of(mark.h16, self.buckets());
        loop {
            let bucket = self.bucket(index);
            let tags = bucket.tags.load(Relaxed);
            let free = equal_bytes(tags, 0);
            if free != 0 {
                let slot = slot_of(free);
                bucket.slots[slot].store(pack(mark.h16, start), Relaxed);
                bucket.tags.store(tags | u64::from(mark.fingerprint) << (8 * slot), Relaxed);
                self.header_mut().len += 1;
                return Place::new(index, slot);
            }
            if tags >> 56 != STICKY {
                bucket.tags.store(tags + (1 << 56), Relaxed);
            }
            index = self.next(index);
        }
    }

    /// Takes the entry at `place` out.
    pub fn remove(&mut self, place: Place) -> Entry {
        self.set_coarse(place, 0);
        let bucket = self.bucket(place.bucket());
        let (h16, start) = unpack(bucket.slots[place.slot()].load(Relaxed));
        let tags = bucket.tags.load(Relaxed);
        bucket.tags.store(tags & !(0xff << (8 * place.slot())), Relaxed);
        bucket.slots[place.slot()].store(std::ptr::null_mut(), Relaxed);
        let mut index = home_of(h16, self.buckets());
        while index != place.bucket() {
            let passed = self.bucket(index);
            let tags = passed.tags.load(Relaxed);
            if tags >> 56 != STICKY {
                debug_assert!(tags >> 56 > 0);
                passed.tags.store(tags.wrapping_sub(1 << 56), Relaxed);
            }
            index = self.next(index);
        }
        self.header_mut().len -= 1;
        // SAFETY: the slot held it since `into_raw`, and holds it no more.
        unsafe { Entry::from_raw(NonNull::new_unchecked(start)) }
    }

    /// Moves the entries, and the large strings that they point to, which lie in sparse slabs; returns how many blocks that
    /// were. Some 50 ns an entry and 150 ns a move.
    pub fn compact(&mut self, scratch: &mut Scratch) -> usize {
        scratch.places.clear();
        scratch.places.extend(self.places());
        scratch.blocks.clear();
        scratch.blocks.extend(scratch.places.iter().map(|place| self.start(*place).as_ptr().cast_const()));
        scratch.won += find_sparse(&scratch.blocks, &mut scratch.sparse);
        let mut moved = 0;
        for (place, _) in scratch.places.iter().zip(&scratch.sparse).filter(|(_, sparse)| **sparse) {
            let slot = &self.bucket(place.bucket()).slots[place.slot()];
            let (h16, start) = unpack(slot.load(Relaxed));
            // SAFETY: an occupied slot holds what `into_raw` gave, and is given another entry at once.
            let entry = unsafe { Entry::from_raw(NonNull::new_unchecked(start)) };
            slot.store(pack(h16, entry.moved().into_raw()), Relaxed);
            moved += 1;
        }
        moved + self.compact_large(scratch)
    }

    fn compact_large(&mut self, scratch: &mut Scratch) -> usize {
        scratch.blocks.clear();
        let (places, blocks) = (&mut scratch.places, &mut scratch.blocks);
        places.retain(|place| match self.entry(*place).string() {
            Some(StringRef::Large(bytes)) if bytes.len() <= SLAB_BYTES => {
                blocks.push(bytes.as_ptr());
                true
            }
            _ => false,
        });
        scratch.won += find_sparse(blocks, &mut scratch.sparse);
        let mut moved = 0;
        for (place, _) in scratch.places.iter().zip(&scratch.sparse).filter(|(_, sparse)| **sparse) {
            if let Some(bytes) = self.entry_mut(*place).large_mut() {
                *bytes = Bytes::copy_from_slice(bytes);
                moved += 1;
            }
        }
        moved
    }

    /// Takes all entries out. Some 60 ns each.
    pub fn drain(&mut self, taken: &mut impl FnMut(Entry)) {
        self.places().for_each(|place| prefetch(self.start(place).as_ptr()));
        for place in self.places() {
            taken(self.remove(place));
        }
    }

    /// Puts `entry` in the place of another with the same key; that one is returned.
    pub fn replace(&mut self, place: Place, entry: Entry, now: UnixMs) -> Entry {
        let due = entry.get().due();
        let slot = &self.bucket(place.bucket()).slots[place.slot()];
        let (h16, old) = unpack(slot.load(Relaxed));
        slot.store(pack(h16, entry.into_raw()), Relaxed);
        self.note_due(place, due, now);
        // SAFETY: as in `remove`.
        unsafe { Entry::from_raw(NonNull::new_unchecked(old)) }
    }

    fn deadlines_layout(&self) -> Layout {
        Layout::array::<u16>(self.buckets() * SLOTS).unwrap_or(Layout::new::<u16>())
    }

    #[inline]
    fn coarse(&self, index: usize) -> u16 {
        let deadlines = self.header().deadlines;
        // SAFETY: when it exists, the array has an element for each slot, and indices come from places.
        if deadlines.is_null() { 0 } else { unsafe { deadlines.add(index).read() } }
    }

    #[inline]
    fn set_coarse(&mut self, place: Place, coarse: u16) {
        if coarse == 0 && self.header().deadlines.is_null() {
            return;
        }
        if self.header().deadlines.is_null() {
            let layout = self.deadlines_layout();
            // SAFETY: the layout is not empty, and zero means "does not expire".
            let start = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
            self.header_mut().deadlines = start.as_ptr().cast();
        }
        let (old, index) = (self.coarse(place.index()), place.index());
        let header = self.header_mut();
        // SAFETY: the array exists and has an element for each slot.
        unsafe { header.deadlines.add(index).write(coarse) };
        header.timed = header.timed + u32::from(coarse != 0) - u32::from(old != 0);
    }

    /// Notes that the entry at `place` is now to be looked at then, or never.
    #[inline]
    pub fn note_due(&mut self, place: Place, due: Option<UnixMs>, now: UnixMs) {
        let Some(due) = due else { return self.set_coarse(place, 0) };
        let header = self.header_mut();
        if header.timed == 0 {
            header.base_ms = now.0;
            header.due_ms = i64::MAX;
        }
        header.due_ms = header.due_ms.min(due.0);
        let coarse = coarse_of(due, header.base_ms);
        self.set_coarse(place, coarse);
    }

    /// Looks at the entries that are due: removes those that have expired and hands them to `expired`, which says how much
    /// work that was; lets `fields` do so with the fields of a hash, some of which may stay due. Stops after about `most`
    /// such work; then what was not looked at stays due. One pass over the coarse deadlines takes under a microsecond. Returns
    /// the work done, a look at an entry that stays being 1.
    pub fn expire(
        &mut self,
        now: UnixMs,
        most: usize,
        expired: &mut impl FnMut(Entry) -> usize,
        fields: &mut impl FnMut(EntryMut<'_>) -> usize,
    ) -> usize {
        let (mut looks, mut work) = (0, 0);
        if now.0.saturating_sub(self.header().base_ms) > REBASE_MS {
            self.rebase(now);
            looks += self.len();
        }
        let (base, mut due) = (self.header().base_ms, i64::MAX);
        let horizon = coarse_of(now, base);
        self.request_due(horizon, most);
        for bucket in 0..self.buckets() {
            for slot in 0..SLOTS {
                let place = Place::new(bucket, slot);
                let coarse = self.coarse(place.index());
                if coarse == 0 {
                    continue;
                }
                if work >= most {
                    due = due.min(now.0);
                    break;
                }
                if coarse > horizon {
                    due = due.min(base.saturating_add(i64::from(coarse - 1) * COARSE_MS));
                    continue;
                }
                if !self.entry(place).is_live(now) {
                    work += expired(self.remove(place));
                    continue;
                }
                looks += 1;
                if self.entry(place).due().is_some_and(|due| due <= now) {
                    work += fields(self.entry_mut(place));
                }
                // The deadlines of fields may have gone since they were noted.
                let left = self.entry(place).due();
                due = due.min(left.map_or(i64::MAX, |due| due.0));
                self.set_coarse(place, left.map_or(0, |due| coarse_of(due, base)));
            }
        }
        self.header_mut().due_ms = due;
        looks + work
    }

    /// Requests from memory, up to `most` of them, the entries whose coarse deadline has come: they lie anywhere, and whoever waits
    /// for one at a time waits four times as long.
    fn request_due(&self, horizon: u16, most: usize) {
        let due = (0..self.buckets() * SLOTS).filter(|index| (1..=horizon).contains(&self.coarse(*index)));
        due.take(most).for_each(|index| {
            prefetch(self.start(Place::new(index / SLOTS, index % SLOTS)).as_ptr());
        });
    }

    fn rebase(&mut self, now: UnixMs) {
        self.header_mut().base_ms = now.0;
        for place in self.places() {
            if self.coarse(place.index()) != 0 {
                let due = self.entry(place).due();
                self.set_coarse(place, due.map_or(0, |due| coarse_of(due, now.0)));
            }
        }
    }

    /// The occupied places.
    fn places(self) -> impl Iterator<Item = Place> {
        (0..self.buckets()).flat_map(move |bucket| {
            let free = equal_bytes(self.bucket(bucket).tags.load(Relaxed), 0);
            (0..SLOTS).filter(move |slot| free >> (8 * slot) & 0x80 == 0).map(move |slot| Place::new(bucket, slot))
        })
    }

    /// Every entry, for moving it elsewhere or freeing it.
    pub fn items(self) -> impl Iterator<Item = Item> {
        self.places().map(move |place| {
            let bucket = self.bucket(place.bucket());
            let (h16, start) = unpack(bucket.slots[place.slot()].load(Relaxed));
            let fingerprint = bucket.tags.load(Relaxed).to_le_bytes()[place.slot()];
            // SAFETY: an occupied slot is never null.
            let start = unsafe { NonNull::new_unchecked(start) };
            Item { start, mark: Mark { h16, fingerprint }, coarse: self.coarse(place.index()) }
        })
    }

    /// Takes over an entry of `from`, a segment about to be retired, under the hash bits `mark`.
    pub fn adopt(&mut self, item: Item, mark: Mark, from: &Segment) {
        let place = self.put(mark, item.start);
        if item.coarse != 0 {
            let (base, due) = (from.header().base_ms, from.header().due_ms);
            let header = self.header_mut();
            if header.timed == 0 {
                header.base_ms = base;
            }
            header.due_ms = header.due_ms.min(due);
            let coarse = if header.base_ms == base { item.coarse } else { COARSE_FIRST };
            self.set_coarse(place, coarse);
        }
    }

    /// Calls `visit` for every entry whose home is the bucket that `h16` falls into; returns the first `h16` of the next
    /// home, or `None` behind the last.
    pub fn visit_home<'t>(&self, h16: u16, visit: &mut impl FnMut(EntryRef<'t>)) -> Option<u16> {
        let buckets = self.buckets();
        let home = home_of(h16, buckets);
        let mut index = home;
        loop {
            let bucket = self.bucket(index);
            let tags = bucket.tags.load(Relaxed);
            for (slot, word) in bucket.slots.iter().enumerate() {
                let (own, _) = unpack(word.load(Relaxed));
                if tags >> (8 * slot) & 0xff != 0 && home_of(own, buckets) == home {
                    visit(self.entry(Place::new(index, slot)));
                }
            }
            index = self.next(index);
            if tags >> 56 == 0 || index == home {
                break;
            }
        }
        u16::try_from(((home + 1) << 16).div_ceil(buckets)).ok()
    }

    /// The entry at slot `number` modulo the slots, if that is occupied.
    pub fn at<'t>(&self, number: usize) -> Option<EntryRef<'t>> {
        let number = number % (self.buckets() * SLOTS);
        let place = Place::new(number / SLOTS, number % SLOTS);
        let tag = self.bucket(place.bucket()).tags.load(Relaxed) >> (8 * place.slot()) & 0xff;
        (tag != 0).then(|| self.entry(place))
    }

    /// Frees the segment's own memory, not its entries.
    ///
    /// # Safety
    /// Nobody looks at it any more, the prefetch pass included.
    pub unsafe fn free(self) {
        let (buckets, deadlines) = (self.buckets(), self.header().deadlines);
        if !deadlines.is_null() {
            // SAFETY: allocated with this layout in `set_coarse`.
            unsafe { dealloc(deadlines.cast(), self.deadlines_layout()) };
        }
        // SAFETY: allocated with this layout in `new`; the caller says that it is unused.
        unsafe { dealloc(self.as_raw(), Segment::layout(buckets)) };
    }

    /// Checks the invariants; for tests.
    #[cfg(test)]
    pub fn validate(&self, prefix_bits: u32, hash: impl Fn(&[u8]) -> u64) {
        let mut overflow = vec![0_u64; self.buckets()];
        let (mut len, mut timed) = (0, 0);
        for place in self.places() {
            let item_tag = self.bucket(place.bucket()).tags.load(Relaxed).to_le_bytes()[place.slot()];
            let (h16, _) = unpack(self.bucket(place.bucket()).slots[place.slot()].load(Relaxed));
            let entry = self.entry(place);
            let mark = Mark::new(hash(entry.key()), prefix_bits);
            assert_eq!((mark.fingerprint, mark.h16), (item_tag, h16));
            let mut index = home_of(h16, self.buckets());
            while index != place.bucket() {
                overflow[index] += 1;
                index = self.next(index);
            }
            len += 1;
            let noted = self.coarse(place.index()) != 0;
            timed += u32::from(noted);
            // What was noted for fields may be out of date, but only towards too early.
            assert!(entry.due().is_none_or(|due| noted && due.0 >= self.due_ms()));
        }
        assert_eq!((len, timed), (self.len(), self.header().timed));
        for (index, count) in overflow.iter().enumerate() {
            let noted = self.bucket(index).tags.load(Relaxed) >> 56;
            assert!(noted == STICKY || noted == *count, "bucket {index}: {noted} noted, {count} passed");
        }
    }
}

/// Starts loading the cache line at `address`; a hint, valid for any address.
#[inline]
pub fn prefetch(address: *mut u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching has no effect but on the cache, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

fn coarse_of(due: UnixMs, base_ms: i64) -> u16 {
    let units = due.0.saturating_sub(base_ms).div_euclid(COARSE_MS).saturating_add(1);
    u16::try_from(units.max(i64::from(COARSE_FIRST))).unwrap_or(COARSE_FAR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn marks_follow_a_segment_that_splits_and_merges(hash: u64, zero in 0_u32..56) {
            // Eight zeros are a fingerprint that is written as one.
            let hash = hash & !(0xff_u64 << (56 - zero));
            for prefix in 0..40 {
                let (whole, half) = (Mark::new(hash, prefix), Mark::new(hash, prefix + 1));
                prop_assert_eq!(whole.half() as u64, hash << prefix >> 63);
                prop_assert_eq!(whole.split(prefix).unwrap_or(half), half);
                prop_assert_eq!(whole.split(prefix).is_none(), prefix % 8 == 7);
                prop_assert_eq!(half.merged(u16::from(whole.half() == 1), prefix), whole);
            }
        }
    }
}
