//! The key table of a shard: extendible hashing over [`segment`](super::segment)s.
//!
//! A directory, indexed by the bits of the hash behind the shard's own, points to segments. A full segment grows alone,
//! by steps of a quarter, and then splits alone; an emptied one shrinks and merges with its buddy. There is no
//! rehash of the whole table, no doubling of memory, no pause that grows with the number of keys: the largest single
//! step moves some 400 pointers, or copies the directory (8 bytes for 300 keys).
//!
//! A walk ([`Table::visit`]) goes through homes in the order of the hash, so a position is a hash, and an entry that is
//! present from start to end is met at least once whatever splits, merges or moves meanwhile.
//!
//! The directory and the segments can be read without the shard's lock through a [`Peek`], for prefetching only; they
//! are therefore retired through an epoch. Must not know: the lock, the clock, clients.
//! Sources: Fagin et al., Extendible Hashing (1979); Lu et al., Dash (VLDB 2020).

#![expect(unsafe_code, reason = "segments are shared between directory slots and read by the prefetch pass")]

use super::entry::{Dues, Entry, EntryMut, EntryRef};
use super::hash::{Key, KeyHasher};
use super::segment::{
    Item, Mark, Near, Place, SPLIT_STEP, Scratch, Segment, addresses, candidates_between, prefetch, step_for,
};
use super::snapshot::Walk;
use crate::util::clock::UnixMs;
use crate::util::memory::note_own;
use crate::value::object::ObjectRef;
use crossbeam_epoch::{self as epoch, Guard};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Bits of the hash that shard and directory may use; behind them, 16 choose the bucket, and 8 are the fingerprint.
const MAX_PREFIX_BITS: u32 = 40;

const ADDRESS_BITS: u32 = 48;

/// The pass over the coarse deadlines of a segment that is due, in cache lines.
const DUE_SEGMENT_WORK: usize = 8;

/// Keys of a segment that is made for keys to come, on average at most: four standard deviations below what makes it split.
const RESERVED_KEYS: usize = 330;

/// Retired segments of fewer bytes than this wait until [`BAG_ITEMS`] of them fill a bag of the epoch, which is there anyway: for each of them a new one
/// would take more than the segment does.
const FLUSHED_BYTES: usize = 2048;

/// Retired things in a bag of the epoch, which has room for one more: what notes that the bag is gone.
const BAG_ITEMS: u32 = 63;

/// What the epoch takes to remember one retired segment by itself, in bytes: a bag for 64.
const BAG_BYTES: usize = 2560;
const BAG_OWN: i64 = 2560;
const _: () = assert!(BAG_OWN.unsigned_abs() == BAG_BYTES as u64);

/// Elements of a removed collection that count as work: those of larger ones are freed elsewhere.
const FREED_ELEMENTS: usize = 64;

/// Segments in the order of their prefix; one of depth d stands in 2^(bits - d) neighbouring slots. Above the address,
/// a slot holds the segment's step, so that the home bucket is known without touching the segment.
struct Directory {
    bits: u32,
    slots: Box<[AtomicPtr<u8>]>,
}

impl Directory {
    fn new(bits: u32, segments: impl Iterator<Item = *mut u8>) -> Directory {
        Directory { bits, slots: segments.map(AtomicPtr::new).collect() }
    }

    #[inline]
    fn index(&self, hash: u64, prefix_bits: u32) -> usize {
        // Two shifts, because a shift by 64 is none.
        ((hash << prefix_bits) >> 1 >> (63 - self.bits)) as usize
    }

    #[inline]
    fn slot(&self, hash: u64, prefix_bits: u32) -> (*mut u8, u8, u32) {
        let word = self.slots[self.index(hash, prefix_bits)].load(Acquire);
        let tag = word.addr() >> ADDRESS_BITS;
        let [step, depth, ..] = tag.to_le_bytes();
        (word.map_addr(|address| address & ((1 << ADDRESS_BITS) - 1)), step, u32::from(depth))
    }
}

fn tagged(segment: Segment) -> *mut u8 {
    let tag = usize::from(u16::from_le_bytes([segment.step(), segment.depth()]));
    segment.as_raw().map_addr(|address| address | tag << ADDRESS_BITS)
}

/// The part of a table that can be looked at without its shard's lock, to prefetch.
pub struct Peek {
    directory: epoch::Atomic<Directory>,
    prefix_bits: u32,
}

impl Peek {
    /// Where the search for the key of this hash begins.
    #[inline]
    pub fn near(&self, hash: u64, guard: &Guard) -> Near {
        // SAFETY: the directory is never null and is retired through the epoch.
        let directory = unsafe { self.directory.load(Acquire, guard).deref() };
        let (segment, step, depth) = directory.slot(hash, self.prefix_bits);
        Near::new(segment, step, Mark::new(hash, self.prefix_bits + depth))
    }

    /// Address of the segment of `hash`, where its header lies.
    pub fn segment(&self, hash: u64, guard: &Guard) -> *mut u8 {
        // SAFETY: the directory is never null and is retired through the epoch.
        let directory = unsafe { self.directory.load(Acquire, guard).deref() };
        directory.slot(hash, self.prefix_bits).0
    }

    /// Calls `line` with the addresses of what is needed first to find the key whose hash has `mark` as its topmost 32 bits,
    /// and to take it out: its home bucket, the next, and the head of its segment.
    pub fn marked_bucket(&self, mark: u32, guard: &Guard, line: &mut impl FnMut(*mut u8)) {
        let lowest = u64::from(mark) << 32;
        // SAFETY: as above.
        let directory = unsafe { self.directory.load(Acquire, guard).deref() };
        let (segment, step, depth) = directory.slot(lowest, self.prefix_bits);
        Near::new(segment, step, Mark::new(lowest, self.prefix_bits + depth)).buckets(line);
        line(segment);
    }

    /// Calls `found` with the addresses of the entries in these buckets which may be that key's.
    pub fn marked_entries(&self, mark: u32, guard: &Guard, found: &mut impl FnMut(*mut u8)) {
        let lowest = u64::from(mark) << 32;
        // SAFETY: as above.
        let directory = unsafe { self.directory.load(Acquire, guard).deref() };
        let (segment, step, depth) = directory.slot(lowest, self.prefix_bits);
        let [first, last] = range_of(mark, self.prefix_bits + depth);
        // SAFETY: as above.
        unsafe { candidates_between(segment, step, [first.h16, last.h16], found) };
    }
}

/// The lowest and the highest marks, in a segment of this prefix, of keys whose hashes have `mark` as their topmost 32 bits.
#[inline]
fn range_of(mark: u32, prefix_bits: u32) -> [Mark; 2] {
    let lowest = u64::from(mark) << 32;
    [lowest, lowest | u64::from(u32::MAX)].map(|hash| Mark::new(hash, prefix_bits))
}

impl Peek {
    /// Starts loading the entries of the segment that `hash` belongs to: some 20 ns each.
    pub fn prefetch_segment(&self, hash: u64, guard: &Guard) {
        // SAFETY: the directory is never null and is retired through the epoch.
        let directory = unsafe { self.directory.load(Acquire, guard).deref() };
        let (segment, step, _) = directory.slot(hash, self.prefix_bits);
        let mut load = |entry: *mut u8| {
            prefetch(entry);
            prefetch(entry.wrapping_add(64));
        };
        // SAFETY: the segment that the directory names is retired through the epoch too.
        unsafe { addresses(segment, step, &mut load) };
    }
}

/// A table of entries.
pub struct Table {
    peek: Arc<Peek>,
    hasher: KeyHasher,
    len: usize,
    timed: usize,
    volatile: usize,
    segments: usize,
    /// The snapshot that the entries are part of.
    walk: Option<Box<Walk>>,
    /// Number of segments of each depth.
    depths: [u32; MAX_PREFIX_BITS as usize + 1],
}

/// What a turn of active expiry has removed.
pub enum Expired {
    /// An entry, with its key.
    Entry(Entry),
    /// Fields of the hash at this key.
    Fields(Box<[u8]>, Vec<Box<[u8]>>),
}

impl Table {
    /// An empty table for hashes whose first `prefix_bits` bits are the same for all keys.
    pub fn new(prefix_bits: u32, hasher: KeyHasher) -> Table {
        let segment = Segment::new(0, 0);
        let directory = Directory::new(0, std::iter::once(tagged(segment)));
        let peek = Arc::new(Peek { directory: epoch::Atomic::new(directory), prefix_bits });
        let mut depths = [0; MAX_PREFIX_BITS as usize + 1];
        depths[0] = 1;
        Table { peek, hasher, len: 0, timed: 0, volatile: 0, segments: 1, walk: None, depths }
    }

    /// The part that can be looked at without the lock.
    pub fn peek(&self) -> Arc<Peek> {
        Arc::clone(&self.peek)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of entries that expire.
    pub fn timed(&self) -> usize {
        self.timed
    }

    /// Number of entries with a hash of which fields expire.
    pub fn volatile(&self) -> usize {
        self.volatile
    }

    /// Number of segments.
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// Bytes of directory and segments, arrays of deadlines included as if every segment had one once as many keys as
    /// there are segments expire. Reads the directory alone: a microsecond for 10 000 segments.
    pub fn memory_bytes(&self) -> usize {
        let directory = self.directory();
        let (mut bytes, mut index) = (directory.slots.len() * size_of::<AtomicPtr<u8>>(), 0);
        let with_deadlines = (self.timed + self.volatile).min(self.segments);
        while let Some(slot) = directory.slots.get(index) {
            let [step, depth, ..] = (slot.load(Relaxed).addr() >> ADDRESS_BITS).to_le_bytes();
            let (plain, deadlines) = Segment::bytes_at(step);
            bytes += plain + deadlines * with_deadlines / self.segments.max(1);
            index += 1 << (directory.bits - u32::from(depth));
        }
        bytes
    }

    /// Exchanges the contents of two tables of the same shard number; their peeks follow.
    pub fn swap(&mut self, other: &mut Table) {
        debug_assert_eq!(self.peek.prefix_bits, other.peek.prefix_bits);
        let guard = &epoch::pin();
        let mine = self.peek.directory.load(Relaxed, guard);
        let theirs = other.peek.directory.swap(mine, Release, guard);
        self.peek.directory.store(theirs, Release);
        std::mem::swap(&mut self.len, &mut other.len);
        std::mem::swap(&mut self.timed, &mut other.timed);
        std::mem::swap(&mut self.volatile, &mut other.volatile);
        std::mem::swap(&mut self.segments, &mut other.segments);
        std::mem::swap(&mut self.depths, &mut other.depths);
        std::mem::swap(&mut self.hasher, &mut other.hasher);
        std::mem::swap(&mut self.walk, &mut other.walk);
    }

    /// Whether there is nothing to take out: it is as small as a new one, and no snapshot walks through it.
    pub fn is_bare(&self) -> bool {
        self.len == 0 && self.segments == 1 && self.walk.is_none() && self.segment_of(0).memory_bytes() < FLUSHED_BYTES
    }

    /// Takes everything out at once, in O(1): what is returned holds it.
    pub fn take(&mut self) -> Table {
        let mut taken = Table::new(self.peek.prefix_bits, self.hasher.clone());
        self.swap(&mut taken);
        taken
    }

    #[inline]
    fn directory(&self) -> &Directory {
        // SAFETY: only `&mut self` replaces the directory, so it lives while `self` is borrowed.
        unsafe { self.peek.directory.load(Relaxed, epoch::unprotected()).deref() }
    }

    #[inline]
    fn segment_of(&self, hash: u64) -> Segment {
        let (start, ..) = self.directory().slot(hash, self.peek.prefix_bits);
        // SAFETY: the directory names live segments only, and `self` is the lock holder's.
        unsafe { Segment::from_raw(start) }
    }

    #[inline]
    fn mark(&self, hash: u64, segment: &Segment) -> Mark {
        Mark::new(hash, self.peek.prefix_bits + u32::from(segment.depth()))
    }

    /// Finds where `key` lies. Step and depth come from the directory, so that the segment's header, a cache line that
    /// nobody has prefetched, is not touched.
    #[inline(always)]
    fn place(&self, key: Key<'_>) -> Option<(Segment, Place)> {
        let (start, step, depth) = self.directory().slot(key.hash, self.peek.prefix_bits);
        // SAFETY: the directory names live segments only, and `self` is the lock holder's.
        let segment = unsafe { Segment::from_raw(start) };
        let mark = Mark::new(key.hash, self.peek.prefix_bits + depth);
        let place = segment.find(step, mark, |entry| entry.key() == key.bytes)?;
        Some((segment, place))
    }

    /// Finds `key`.
    #[inline]
    pub fn get(&self, key: Key<'_>) -> Option<EntryRef<'_>> {
        let (segment, place) = self.place(key)?;
        Some(segment.entry(place))
    }

    /// Whether there is an entry of this key, expired or not. Hashes the key.
    pub fn has(&self, key: &[u8]) -> bool {
        self.get(self.hasher.key(key)).is_some()
    }

    /// Finds `key`, to change or remove its entry.
    #[inline]
    pub fn find(&mut self, key: Key<'_>) -> Option<Occupied<'_>> {
        let (segment, place) = self.place(key)?;
        Some(Occupied { table: self, segment, place, hash: key.hash })
    }

    /// Finds a key whose hash has `mark` as its topmost 32 bits.
    pub fn find_mark(&mut self, mark: u32) -> Option<Occupied<'_>> {
        let (start, step, depth) = self.directory().slot(u64::from(mark) << 32, self.peek.prefix_bits);
        // SAFETY: the directory names live segments only, and `self` is the lock holder's.
        let segment = unsafe { Segment::from_raw(start) };
        let [first, last] = range_of(mark, self.peek.prefix_bits + depth);
        let mut found = 0;
        let place = segment.find_between(step, first.h16, last.h16, |entry| {
            found = self.hasher.hash(entry.key());
            found >> 32 == u64::from(mark)
        })?;
        Some(Occupied { table: self, segment, place, hash: found })
    }

    // Snapshots: `Occupied::get_mut`, `into_mut`, `replace` and `remove`, `insert` and `expire` are all the ways in which
    // what a key holds can change, and each of them passes here.

    /// The snapshot that the entries are part of.
    pub fn walk(&self) -> Option<&Walk> {
        self.walk.as_deref()
    }

    /// Makes the entries part of a snapshot.
    pub fn begin_walk(&mut self, walk: Box<Walk>) {
        self.walk = Some(walk);
    }

    /// Takes the walk out, for the walker to go on.
    pub fn take_walk(&mut self) -> Option<Box<Walk>> {
        self.walk.take()
    }

    /// Must come before a change of what there is under this hash: a snapshot in flight that has not met it records it.
    #[inline]
    fn keep(&mut self, hash: u64) {
        if self.walk.is_some() {
            self.keep_walked(hash);
        }
    }

    #[cold]
    #[inline(never)]
    fn keep_walked(&mut self, hash: u64) {
        // Step and depth come from the directory, as in `place`.
        let (start, step, depth) = self.directory().slot(hash, self.peek.prefix_bits);
        let mark = Mark::new(hash, self.peek.prefix_bits + depth);
        if let Some(walk) = self.walk.as_mut().filter(|walk| walk.is_open(hash)) {
            // SAFETY: the directory names live segments only, and `self` is the lock holder's.
            keep(walk, &self.hasher, unsafe { Segment::from_raw(start) }, step, mark, hash);
        }
    }

    /// Adds an entry whose key, of this hash, is not in the table.
    pub fn insert(&mut self, hash: u64, entry: Entry, now: UnixMs) {
        self.keep(hash);
        follow(&entry);
        let mut segment = self.segment_of(hash);
        while segment.is_full() {
            self.grow(hash, segment);
            segment = self.segment_of(hash);
        }
        self.len += 1;
        self.count(Dues::default(), entry.get().dues());
        segment.insert(self.mark(hash, &segment), entry, now);
    }

    /// Counts an entry that waited for `before` and now waits for `after`.
    #[inline]
    fn count(&mut self, before: Dues, after: Dues) {
        self.timed = self.timed + usize::from(after.key.is_some()) - usize::from(before.key.is_some());
        self.volatile = self.volatile + usize::from(after.fields.is_some()) - usize::from(before.fields.is_some());
    }

    fn grow(&mut self, hash: u64, segment: Segment) {
        let prefix = self.peek.prefix_bits + u32::from(segment.depth());
        if segment.step() < SPLIT_STEP || prefix >= MAX_PREFIX_BITS {
            self.rebuild(hash, segment, segment.step() + 1);
        } else {
            self.split(hash, segment);
        }
    }

    /// Moves a segment's entries, untouched, into one of another size.
    fn rebuild(&mut self, hash: u64, old: Segment, step: u8) {
        let mut new = Segment::new(step, old.depth());
        for item in old.items() {
            new.adopt(item, item.mark, &old);
        }
        self.publish(hash, new);
        retire(old);
    }

    fn split(&mut self, hash: u64, old: Segment) {
        if u32::from(old.depth()) == self.directory().bits {
            self.resize_directory(1);
        }
        let prefix = self.peek.prefix_bits + u32::from(old.depth());
        let bit = 1_u64 << (63 - prefix);
        let mut counts = [0; 2];
        for Item { start, mark, .. } in old.items() {
            counts[mark.half()] += 1;
            if mark.split(prefix).is_none() {
                // Their keys lie all over the memory: all are requested before the first is looked at.
                prefetch(start.as_ptr());
            }
        }
        let depth = old.depth() + 1;
        let mut halves = counts.map(|len| Segment::new(step_for(len, SPLIT_STEP), depth));
        for item in old.items() {
            let mark = item.mark.split(prefix).unwrap_or_else(|| Mark::new(self.rehash(item), prefix + 1));
            halves[item.mark.half()].adopt(item, mark, &old);
        }
        self.publish(hash & !bit, halves[0]);
        self.publish(hash | bit, halves[1]);
        self.depths[usize::from(old.depth())] -= 1;
        self.depths[usize::from(depth)] += 2;
        self.segments += 1;
        retire(old);
    }

    /// Makes an empty table ready for about so many keys: they come in without a segment having to split. Does nothing to one that
    /// holds keys, or has held some.
    pub fn reserve(&mut self, keys: usize) {
        let most = MAX_PREFIX_BITS - self.peek.prefix_bits;
        let bits = (0..most).find(|bits| keys >> bits <= RESERVED_KEYS).unwrap_or(most);
        if self.len > 0 || self.segments > 1 || bits == 0 {
            return;
        }
        let (step, depth) = (step_for(keys >> bits, SPLIT_STEP), usize::try_from(bits).unwrap_or(0));
        let old = self.segment_of(0);
        let segments = (0..1_u64 << bits).map(|_| tagged(Segment::new(step, u8::try_from(bits).unwrap_or(0))));
        let new = Directory::new(bits, segments);
        let guard = &epoch::pin();
        let retired = self.peek.directory.swap(epoch::Owned::new(new), Release, guard);
        // SAFETY: no longer reachable; whoever still reads it is pinned.
        unsafe { guard.defer_destroy(retired) };
        collect_in_time(guard);
        retire(old);
        self.segments = 1 << bits;
        self.depths[0] = 0;
        self.depths[depth] = u32::try_from(self.segments).unwrap_or(u32::MAX);
    }

    /// A key with its hash.
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        self.hasher.key(bytes)
    }

    /// Hash of `key`.
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key)
    }

    fn rehash(&self, item: Item) -> u64 {
        // SAFETY: items name live entries, and the table is borrowed.
        self.hasher.hash(unsafe { EntryRef::from_raw(item.start) }.key())
    }

    /// Stores `segment` in every directory slot that shares its prefix with `hash`.
    fn publish(&self, hash: u64, segment: Segment) {
        let directory = self.directory();
        let copies = 1_usize << (directory.bits - u32::from(segment.depth()));
        let first = directory.index(hash, self.peek.prefix_bits) & !(copies - 1);
        for slot in &directory.slots[first..first + copies] {
            slot.store(tagged(segment), Release);
        }
    }

    /// Doubles (1) or halves (-1) the directory.
    fn resize_directory(&mut self, change: i32) {
        let old = self.directory();
        let bits = old.bits.saturating_add_signed(change);
        let words = (0..1_usize << bits).map(|i| {
            let from = if change > 0 { i >> 1 } else { i << 1 };
            old.slots[from].load(Relaxed)
        });
        let new = Directory::new(bits, words);
        let guard = &epoch::pin();
        let retired = self.peek.directory.swap(epoch::Owned::new(new), Release, guard);
        // SAFETY: no longer reachable; whoever still reads it is pinned.
        unsafe { guard.defer_destroy(retired) };
        collect_in_time(guard);
    }

    /// Makes the segment of `hash` smaller, or merges it with its buddy, when it has become sparse.
    fn shrink(&mut self, hash: u64) {
        let segment = self.segment_of(hash);
        if !segment.is_sparse() {
            return;
        }
        let step = step_for(segment.len(), SPLIT_STEP);
        if let Some(buddy) = self.buddy(hash, segment)
            && step_for(segment.len() + buddy.len(), SPLIT_STEP) < SPLIT_STEP - 1
        {
            return self.merge(hash, segment, buddy);
        }
        if step < segment.step() {
            self.rebuild(hash, segment, step);
        }
    }

    fn buddy(&self, hash: u64, segment: Segment) -> Option<Segment> {
        let depth = u32::from(segment.depth()).checked_sub(1)?;
        let buddy = self.segment_of(hash ^ 1 << (63 - self.peek.prefix_bits - depth));
        (buddy.depth() == segment.depth()).then_some(buddy)
    }

    fn merge(&mut self, hash: u64, segment: Segment, buddy: Segment) {
        let depth = segment.depth() - 1;
        let bit = 1_u64 << (63 - self.peek.prefix_bits - u32::from(depth));
        let (lower, upper) = if hash & bit == 0 { (segment, buddy) } else { (buddy, segment) };
        let mut new = Segment::new(step_for(segment.len() + buddy.len(), SPLIT_STEP), depth);
        let prefix = self.peek.prefix_bits + u32::from(depth);
        for (half, number) in [(lower, 0), (upper, 1)] {
            for item in half.items() {
                new.adopt(item, item.mark.merged(number, prefix), &half);
            }
        }
        self.publish(hash, new);
        self.depths[usize::from(depth) + 1] -= 2;
        self.depths[usize::from(depth)] += 1;
        self.segments -= 1;
        retire(lower);
        retire(upper);
        let bits = self.directory().bits as usize;
        if bits > 1 && self.depths[bits] == 0 && self.depths[bits - 1] == 0 {
            self.resize_directory(-1);
        }
    }

    /// Calls `visit` for the entries of the home that the position `at` (a hash) falls into, and returns the next
    /// position, `None` at the end. Some 6 entries a call.
    pub fn visit<'t>(&'t self, at: u64, visit: &mut impl FnMut(EntryRef<'t>)) -> Option<u64> {
        let segment = self.segment_of(at);
        let prefix = self.peek.prefix_bits + u32::from(segment.depth());
        let base = at & !(u64::MAX >> prefix);
        match segment.visit_home(self.mark(at, &segment).h16, visit) {
            Some(h16) => Some(base | u64::from(h16) << (48 - prefix)),
            None => self.behind(base, prefix),
        }
    }

    /// Whether two positions lie in one segment.
    pub fn is_one_segment(&self, one: u64, other: u64) -> bool {
        self.segment_of(one).as_raw() == self.segment_of(other).as_raw()
    }

    /// The position behind the segment at `base`, `None` behind the last.
    fn behind(&self, base: u64, prefix: u32) -> Option<u64> {
        let next = if prefix == 0 { 0 } else { base.wrapping_add(1 << (64 - prefix)) };
        let last = next == 0 || (self.peek.prefix_bits > 0 && (next ^ base) >> (64 - self.peek.prefix_bits) != 0);
        (!last).then_some(next)
    }

    /// An entry chosen by `random`, or `None` where that falls on a free slot. Every entry is about equally likely.
    pub fn pick(&self, random: u64) -> Option<EntryRef<'_>> {
        let [a, b, c, d, ..] = random.to_le_bytes();
        self.segment_of(random).at(u32::from_le_bytes([a, b, c, d]) as usize)
    }

    /// Walks the segments from position `at` for about `work` cache lines (some 100 ns each) and removes what has expired in
    /// each that is due: entries, and up to `fields` fields of hashes, which are taken off there; `expired` is told of both. Returns where to go on,
    /// `None` at the end; and lowers `due_ms` to the earliest time met on the way at which something is due.
    pub fn expire(
        &mut self,
        at: u64,
        work: usize,
        now: UnixMs,
        due_ms: &mut i64,
        fields: &mut usize,
        expired: &mut impl FnMut(Expired),
    ) -> Option<u64> {
        let (mut next, mut done) = (Some(at), 0);
        while let Some(at) = next
            && done < work
        {
            done += 1;
            let mut segment = self.segment_of(at);
            let prefix = self.peek.prefix_bits + u32::from(segment.depth());
            let base = at & !(u64::MAX >> prefix);
            next = self.behind(base, prefix);
            if segment.due_ms() <= now.0 {
                let (before, mut counts, mut faded) = (segment.len(), (0, 0), Vec::new());
                let mut gone = |entry: Entry| {
                    let (dues, elements) = (entry.get().dues(), entry.get().object().map_or(0, ObjectRef::len));
                    counts =
                        (counts.0 + usize::from(dues.key.is_some()), counts.1 + usize::from(dues.fields.is_some()));
                    expired(Expired::Entry(entry));
                    1 + elements.min(FREED_ELEMENTS)
                };
                let mut settled = 0;
                done += DUE_SEGMENT_WORK;
                let (walk, hasher, home) = (&mut self.walk, &self.hasher, segment);
                done += segment.expire(now, work.saturating_sub(done).max(1), &mut gone, &mut |mut entry| {
                    let mut names = Vec::new();
                    if let Some(walk) = walk {
                        let hash = hasher.hash(entry.get().key());
                        if walk.is_open(hash) {
                            keep(walk, hasher, home, home.step(), Mark::new(hash, prefix), hash);
                        }
                    }
                    let removed = entry.expire_fields(now, *fields, &mut |name| names.push(name.into()));
                    if removed > 0 {
                        *fields -= removed;
                        faded.push(Expired::Fields(entry.get().key().into(), names));
                    }
                    settled += usize::from(entry.get().dues().fields.is_none());
                    removed * 2
                });
                faded.into_iter().for_each(&mut *expired);
                self.timed -= counts.0;
                self.volatile -= counts.1 + settled;
                self.len -= before - segment.len();
                if done >= work && segment.due_ms() <= now.0 && *fields > 0 {
                    next = Some(at); // there is more to do here
                } else {
                    *due_ms = (*due_ms).min(segment.due_ms());
                }
                if before != segment.len() {
                    self.shrink(at);
                }
            } else {
                *due_ms = (*due_ms).min(segment.due_ms());
            }
        }
        next
    }

    /// Moves what lies in sparse slabs among the entries of the segment at position `at`; returns how many blocks that were,
    /// and where to go on, `None` at the end.
    pub fn compact(&mut self, at: u64, scratch: &mut Scratch) -> (usize, Option<u64>) {
        let mut segment = self.segment_of(at);
        let prefix = self.peek.prefix_bits + u32::from(segment.depth());
        (segment.compact(scratch), self.behind(at & !(u64::MAX >> prefix), prefix))
    }

    /// Frees the entries of the segments from position `at` on, until about `entries` are gone, and returns where to go on,
    /// `None` at the end; 0 is the beginning. The segments stay as large as they are: for a table that is taken out, see [`Table::take`].
    pub fn drain(&mut self, at: u64, entries: usize) -> Option<u64> {
        let (mut next, mut freed) = (Some(at), 0);
        while let Some(at) = next
            && freed < entries
        {
            let mut segment = self.segment_of(at);
            let prefix = self.peek.prefix_bits + u32::from(segment.depth());
            next = self.behind(at & !(u64::MAX >> prefix), prefix);
            self.len -= segment.len();
            freed += segment.len();
            segment.drain(&mut |entry| self.count(entry.get().dues(), Dues::default()));
        }
        next
    }

    fn each_segment(&self, mut visit: impl FnMut(Segment)) {
        let directory = self.directory();
        let mut index = 0;
        while let Some(slot) = directory.slots.get(index) {
            let start = slot.load(Relaxed).map_addr(|address| address & ((1 << ADDRESS_BITS) - 1));
            // SAFETY: the directory names live segments.
            let segment = unsafe { Segment::from_raw(start) };
            index += 1 << (directory.bits - u32::from(segment.depth()));
            visit(segment);
        }
    }

    /// Checks the invariants; for tests.
    #[cfg(test)]
    pub fn validate(&self) {
        let (mut len, mut timed, mut volatile, mut count) = (0, 0, 0, 0);
        let mut depths = [0; MAX_PREFIX_BITS as usize + 1];
        self.each_segment(|segment| {
            segment.validate(self.peek.prefix_bits + u32::from(segment.depth()), |key| self.hasher.hash(key));
            len += segment.len();
            for item in segment.items() {
                // SAFETY: items name live entries, and the table is borrowed.
                let dues = unsafe { EntryRef::from_raw(item.start) }.dues();
                timed += usize::from(dues.key.is_some());
                volatile += usize::from(dues.fields.is_some());
            }
            count += 1;
            depths[usize::from(segment.depth())] += 1;
        });
        assert_eq!((len, timed, volatile, count), (self.len, self.timed, self.volatile, self.segments));
        assert_eq!(depths, self.depths);
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.each_segment(|segment| {
            for item in segment.items() {
                // SAFETY: the table owns its entries, and nobody looks them up any more.
                drop(unsafe { Entry::from_raw(item.start) });
            }
            retire(segment);
        });
        let guard = &epoch::pin();
        let directory = self.peek.directory.load(Relaxed, guard);
        // SAFETY: nobody finds the directory any more but through peeks, which are pinned while they read. A peek may
        // outlive the table, but is only used while its shard, which owns the table, exists.
        unsafe { guard.defer_destroy(directory) };
        collect_in_time(guard);
    }
}

/// Records the entries of a hash of which that is not done, or begins to; and that nothing is left to do for them. Usually there is one,
/// or, for a key that comes into being, none.
fn keep(walk: &mut Walk, hasher: &KeyHasher, mut segment: Segment, step: u8, mark: Mark, hash: u64) {
    let is_it = |entry: EntryRef<'_>| hasher.hash(entry.key()) == hash;
    while let Some(place) = segment.find(step, mark, |entry| is_it(entry) && walk.is_long(entry)) {
        walk.begin_long(segment.entry_mut(place));
    }
    segment.find(step, mark, |entry| {
        if is_it(entry) && walk.is_whole(entry) {
            walk.save(entry);
        }
        false
    });
    walk.close(hash);
}

/// Tells whoever walks through the collection of an entry where that is now.
#[inline]
fn follow(entry: &Entry) {
    if let Some(claim) = entry.get().object().and_then(ObjectRef::claim) {
        claim.rename(entry.get().key());
    }
}

/// Frees a segment once no prefetch pass can be reading it. Until then it is no data any more, but the server's own: with a hundred keys, what
/// waits to be freed is as much as a fifth of them take.
fn retire(segment: Segment) {
    // The segment is out of the directory, so that only those pinned now can still read it; its memory may be freed by any
    // thread.
    let guard = epoch::pin();
    let bytes = segment.memory_bytes();
    let at_once = bytes >= FLUSHED_BYTES;
    let own = i64::try_from(if at_once { bytes + BAG_BYTES } else { bytes }).unwrap_or(0);
    note_own(own);
    let free = move || {
        // SAFETY: called once nobody is left who was pinned when it was still in the directory.
        unsafe { segment.free() };
        note_own(-own);
    };
    // SAFETY: as above.
    unsafe { guard.defer_unchecked(free) };
    if at_once {
        // Retired segments would otherwise gather by the hundred while the table grows: some megabytes that nobody needs.
        guard.flush();
    } else {
        collect_in_time(&guard);
    }
}

/// Counts something retired; with each full bag what others can no longer be reading is freed, up to eight bags of it. The epoch alone
/// does that once in 128 pins, and within a batch, which holds a guard, all are one: a client that flushes small databases, or creates and
/// deletes a thousand keys a batch, would retire faster than that for as long as it lives.
fn collect_in_time(guard: &Guard) {
    thread_local!(static RETIRED: Cell<u32> = const { Cell::new(0) });
    let retired = RETIRED.get() + 1;
    RETIRED.set(retired % BAG_ITEMS);
    if retired == BAG_ITEMS {
        note_own(BAG_OWN);
        guard.defer(|| note_own(-BAG_OWN));
        guard.flush();
    }
}

/// The entry of a key, found in its table.
pub struct Occupied<'t> {
    table: &'t mut Table,
    segment: Segment,
    place: Place,
    hash: u64,
}

impl<'t> Occupied<'t> {
    /// Reads the entry.
    #[inline]
    pub fn get(&self) -> EntryRef<'_> {
        self.segment.entry(self.place)
    }

    /// The same entry, for a function that is seldom called: what it is given lies in memory, and this one stays in registers.
    #[inline(always)]
    pub fn again(&mut self) -> Occupied<'_> {
        Occupied { table: &mut *self.table, segment: self.segment, place: self.place, hash: self.hash }
    }

    /// The hash of its key.
    #[inline]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Reads the entry for as long as the table is borrowed.
    #[inline]
    pub fn into_ref(self) -> EntryRef<'t> {
        self.segment.entry(self.place)
    }

    /// Changes the entry; a change of what it waits for must be followed by [`Occupied::note_dues`].
    #[inline]
    pub fn get_mut(&mut self) -> EntryMut<'_> {
        self.table.keep(self.hash);
        self.segment.entry_mut(self.place)
    }

    /// Changes what is noted of its use: access clock and tally, nothing else.
    #[inline]
    pub fn notes(&mut self) -> EntryMut<'_> {
        self.segment.entry_mut(self.place)
    }

    /// Goes on with a walk through the collection of the entry, which changes nothing that anybody else can see.
    pub fn unkept(&mut self) -> EntryMut<'_> {
        self.segment.entry_mut(self.place)
    }

    /// Changes the value of the entry for as long as the table is borrowed; what it waits for must stay.
    #[inline]
    pub fn into_mut(mut self) -> EntryMut<'t> {
        self.table.keep(self.hash);
        self.segment.entry_mut(self.place)
    }

    /// Lets the table know that the entry, which waited for `before`, may now wait for something else.
    #[inline]
    pub fn note_dues(&mut self, before: Dues, now: UnixMs) {
        let after = self.get().dues();
        if before != after {
            self.segment.note_due(self.place, after.earliest(), now);
            self.table.count(before, after);
        }
    }

    /// Puts another entry with the same key in its place and returns the old one, which waited for `before` when its value
    /// was still there.
    pub fn replace(&mut self, entry: Entry, before: Dues, now: UnixMs) -> Entry {
        self.table.keep(self.hash);
        follow(&entry);
        self.table.count(before, entry.get().dues());
        self.segment.replace(self.place, entry, now)
    }

    /// Takes the entry out.
    pub fn remove(mut self) -> Entry {
        self.table.keep(self.hash);
        let entry = self.segment.remove(self.place);
        self.table.len -= 1;
        self.table.count(entry.get().dues(), Dues::default());
        if self.segment.len().is_multiple_of(8) {
            self.table.shrink(self.hash);
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::string::StringSource;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn name(n: u32) -> Vec<u8> {
        format!("key:{n}").into_bytes()
    }

    /// A table of prefix 0 bits (or of shard 0b101 of 3 bits, whose keys alone it takes) beside a map.
    struct Pair {
        table: Table,
        hasher: KeyHasher,
        model: BTreeMap<Vec<u8>, Option<i64>>,
    }

    impl Pair {
        fn new() -> Pair {
            let hasher = KeyHasher::with_seed(7);
            Pair { table: Table::new(0, hasher.clone()), hasher, model: BTreeMap::new() }
        }

        fn put(&mut self, n: u32, deadline: Option<i64>, now: UnixMs) {
            let key = name(n);
            let hashed = self.hasher.key(&key);
            let entry = Entry::new(&key, StringSource::Int(i64::from(n)), deadline.map(UnixMs));
            match self.table.find(hashed) {
                Some(mut found) => {
                    let before = found.get().dues();
                    drop(found.replace(entry, before, now));
                }
                None => self.table.insert(hashed.hash, entry, now),
            }
            self.model.insert(key, deadline);
        }

        fn remove(&mut self, n: u32) {
            let key = name(n);
            let removed = self.table.find(self.hasher.key(&key)).map(Occupied::remove).is_some();
            assert_eq!(removed, self.model.remove(&key).is_some());
        }

        fn expire(&mut self, now: UnixMs) {
            let (mut at, mut due, mut expired) = (Some(0), i64::MAX, BTreeSet::new());
            while let Some(from) = at {
                at = self.table.expire(from, 8, now, &mut due, &mut 100, &mut |gone| {
                    let Expired::Entry(entry) = gone else { return };
                    expired.insert(entry.get().key().to_vec());
                });
            }
            let expected: BTreeSet<_> =
                self.model.iter().filter(|(_, d)| d.is_some_and(|d| d <= now.0)).map(|(k, _)| k.clone()).collect();
            assert_eq!(expired, expected);
            self.model.retain(|_, deadline| deadline.is_none_or(|deadline| deadline > now.0));
            let earliest = self.model.values().flatten().min();
            assert!(earliest.is_none_or(|earliest| due <= *earliest), "a due time after a deadline loses the key");
        }

        fn check(&self) {
            self.table.validate();
            assert_eq!(self.table.len(), self.model.len());
            for (key, deadline) in &self.model {
                let found = self.table.get(self.hasher.key(key)).expect("present");
                assert_eq!(found.deadline().map(|d| d.0), *deadline);
            }
            let (mut at, mut seen) = (Some(0), BTreeSet::new());
            while let Some(from) = at {
                at = self.table.visit(from, &mut |entry| {
                    assert!(seen.insert(entry.key().to_vec()), "met once while nothing changes");
                });
                assert!(at.is_none_or(|at| at > from));
            }
            assert!(seen.iter().eq(self.model.keys()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        #[test]
        fn does_what_a_map_does(steps in prop::collection::vec((0_u8..8, 0_u32..6000, 1_u32..700, 0_i64..40_000_000), 1..40)) {
            let mut pair = Pair::new();
            let mut now = UnixMs(1_000_000);
            for (kind, first, count, time) in steps {
                match kind {
                    0..=2 => (first..first + count).for_each(|n| pair.put(n, None, now)),
                    3 => (first..first + count).for_each(|n| pair.put(n, Some(now.0 + time + i64::from(n) * 37), now)),
                    4 | 5 => (first..first + count * 4).for_each(|n| pair.remove(n)),
                    6 => pair.expire(now),
                    _ => now.0 += time,
                }
            }
            pair.check();
            pair.expire(UnixMs(now.0 + 1_000_000_000));
            pair.check();
        }
    }

    #[test]
    fn grows_and_shrinks_back_to_nothing() {
        let (mut pair, now) = (Pair::new(), UnixMs(5));
        (0..60_000).for_each(|n| pair.put(n, None, now));
        pair.check();
        assert!(pair.table.segments() > 100);
        let bytes = pair.table.memory_bytes();
        assert!(bytes < 60_000 * 14, "{bytes} bytes of table for 60,000 keys");
        (0..59_990).for_each(|n| pair.remove(n));
        pair.check();
        assert!(pair.table.segments() < 8, "{} segments for 10 keys", pair.table.segments());
    }

    #[test]
    fn what_room_was_made_for_comes_in_without_a_split() {
        let (mut pair, now) = (Pair::new(), UnixMs(5));
        pair.table.reserve(60_000);
        let segments = pair.table.segments();
        pair.check();
        (0..60_000).for_each(|n| pair.put(n, None, now));
        pair.check();
        assert_eq!(pair.table.segments(), segments);
        let bytes = pair.table.memory_bytes();
        assert!(bytes < 60_000 * 14, "{bytes} bytes of table for 60,000 keys");
        pair.table.reserve(1_000_000); // too late, and no harm
        (0..59_990).for_each(|n| pair.remove(n));
        pair.check();
        assert!(pair.table.segments() < 8, "{} segments for 10 keys", pair.table.segments());
    }

    #[test]
    fn what_is_taken_out_is_whole_and_leaves_an_empty_table() {
        let (mut pair, now) = (Pair::new(), UnixMs(5));
        (0..2_000).for_each(|n| pair.put(n, Some(i64::from(n) + 10), now));
        let peek = pair.table.peek();
        let taken = pair.table.take();
        assert_eq!((pair.table.len(), taken.len(), taken.timed()), (0, 2_000, 2_000));
        taken.validate();
        pair.table.validate();
        let key = name(1);
        let mut lines = 0;
        let guard = epoch::pin();
        // SAFETY: the guard keeps the segment.
        unsafe { peek.near(pair.hasher.hash(&key), &guard).rest(&mut |_| lines += 1) };
        assert_eq!(lines, 1, "nothing but the head of the segment is left to look at");
    }
}
