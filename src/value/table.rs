//! The table of large hashes, sets and sorted sets: elements found by name. Extendible hashing over
//! [`segment`](super::segment)s, as in the keyspace, for one owner.
//!
//! A directory, indexed by the top bits of the hash, points to segments. A full segment grows alone, by steps of a quarter,
//! and then splits alone; an emptied one shrinks and merges with its buddy. Nothing ever rehashes the whole table:
//! the largest single step moves some 400 pointers, or copies the directory (8 bytes for 300 elements). A table of
//! one segment has no directory, so that a small one costs 256 bytes.
//!
//! An element's allocation stays where it is while the table grows and shrinks: a second index may keep its address.
//!
//! A walk ([`Table::scan`]) goes through homes in the order of the hash, so a cursor is a hash, and an element that is
//! present from start to end is met at least once whatever splits, merges or moves meanwhile. Another kind of walk
//! (`walk`) shows all elements as they were when it began; for its sake every change passes `Table::keep`.
//! Must not know: what elements mean. Sources: Fagin et al., Extendible Hashing (1979); Lu et al., Dash (VLDB 2020).

#![expect(
    unsafe_code,
    reason = "a segment is named by several directory slots; a tag in each saves a cache miss a lookup"
)]

mod iter;
#[cfg(test)]
mod tests;
mod walk;

pub use iter::{IntoIter, Iter};
pub use walk::Walk;

use super::element::Element;
use super::segment::{
    BUCKETS_BITS, MOST_SLOTS, Mark, Place, SPLIT_SLOTS, SPLIT_STEP, Segment, bytes_at, prefetch, step_for,
};
use crate::util::hash;
use std::fmt;

/// Bits of the hash that the directory may use; behind them, 16 choose the bucket and 8 are the fingerprint.
const MAX_DEPTH: u8 = 28;

const ADDRESS_BITS: u32 = 48;

/// Tries of a random choice before the next element in order is taken: reached with a probability under 10^-10, or when
/// the source of numbers is broken.
const RANDOM_TRIES: usize = 512;

/// Elements looked at to estimate the memory of all.
const SAMPLES: usize = 32;

/// Homes that a scan walks through for each element that it is asked for.
const HOMES_PER_COUNT: usize = 10;

/// Elements of one home bucket and a bit: how often a removal looks whether the segment has become sparse.
const SHRINK_EVERY: usize = 8;

/// A segment with its depth (5 bits) and number of buckets (11) above the address, so that a lookup need not touch the
/// segment's header.
#[derive(Clone, Copy)]
struct Link(*mut u8);

const _: () = assert!(MAX_DEPTH < 1 << (usize::BITS - ADDRESS_BITS - BUCKETS_BITS));

impl Link {
    fn to(segment: Segment) -> Link {
        let tag = segment.buckets() | usize::from(segment.depth()) << BUCKETS_BITS;
        Link(segment.as_raw().map_addr(|address| address | tag << ADDRESS_BITS))
    }

    #[inline]
    fn segment(self) -> Segment {
        // SAFETY: links are made from live segments, and the table drops them before it frees what they name.
        unsafe { Segment::from_raw(self.0.map_addr(|address| address & ((1 << ADDRESS_BITS) - 1))) }
    }

    #[inline]
    fn depth(self) -> u8 {
        let [.., top] = self.0.addr().to_le_bytes();
        top >> (BUCKETS_BITS - 8)
    }

    #[inline]
    fn buckets(self) -> usize {
        self.0.addr() >> ADDRESS_BITS & ((1 << BUCKETS_BITS) - 1)
    }

    #[inline]
    fn mark(self, hash: u64) -> Mark {
        Mark::new(hash, u32::from(self.depth()))
    }
}

/// Segments in the order of their prefix; one of depth d stands in 2^(bits - d) neighbouring slots.
enum Directory {
    One([Link; 1]),
    Many(Box<[Link]>),
}

impl Directory {
    #[inline]
    fn slots(&self) -> &[Link] {
        match self {
            Directory::One(link) => link,
            Directory::Many(links) => links,
        }
    }

    #[inline]
    fn slots_mut(&mut self) -> &mut [Link] {
        match self {
            Directory::One(link) => link,
            Directory::Many(links) => links,
        }
    }
}

/// A table of elements, found by name.
pub struct Table {
    directory: Directory,
    /// Somebody takes the elements as they were at some moment.
    walk: Option<Box<Walk>>,
    len: usize,
    /// Bytes of all segments.
    segment_bytes: usize,
    /// Number of segments of depth `bits`; when there is none, half the directory suffices.
    deepest: u32,
    /// The directory has 2^bits slots.
    bits: u8,
}

// SAFETY: a table owns its segments and elements, all of which may be sent.
unsafe impl Send for Table {}
// SAFETY: shared access only reads.
unsafe impl Sync for Table {}

/// Where an element lies.
#[derive(Clone, Copy)]
struct Found {
    segment: Segment,
    place: Place,
}

impl Table {
    /// An empty table. Allocates 256 bytes.
    pub fn new() -> Table {
        Table {
            directory: Directory::One([Link::to(Segment::new(0, 0))]),
            walk: None,
            len: 0,
            segment_bytes: bytes_at(0),
            deepest: 1,
            bits: 0,
        }
    }

    /// The hash of a name, for the methods that take one.
    #[inline]
    pub fn hash(name: &[u8]) -> u64 {
        hash::hash(name)
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    fn index(&self, hash: u64) -> usize {
        // Two shifts, because a shift by 64 is none.
        (hash >> 1 >> (63 - u32::from(self.bits))) as usize
    }

    #[inline]
    fn link(&self, hash: u64) -> Link {
        self.directory.slots()[self.index(hash)]
    }

    #[inline]
    fn find(&self, hash: u64, name: &[u8]) -> Option<Found> {
        let link = self.link(hash);
        let segment = link.segment();
        let place = segment.find(link.buckets(), link.mark(hash), name)?;
        Some(Found { segment, place })
    }

    /// Starts loading the bucket of `hash`: the first of the two cache misses of a lookup.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        let link = self.link(hash);
        prefetch(link.segment().home_address(link.buckets(), link.mark(hash)));
    }

    /// Starts loading the element that `hash` probably belongs to: the second, once the first has arrived.
    #[inline]
    pub fn prefetch_element(&self, hash: u64) {
        let link = self.link(hash);
        if let Some(element) = link.segment().candidate(link.buckets(), link.mark(hash)) {
            prefetch(element.as_raw().as_ptr());
        }
    }

    /// Finds an element.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<&Element> {
        self.get_hashed(hash::hash(name), name)
    }

    /// As [`Table::get`], with the name's hash.
    #[inline]
    pub fn get_hashed(&self, hash: u64, name: &[u8]) -> Option<&Element> {
        let found = self.find(hash, name)?;
        found.segment.element(found.place)
    }

    /// Whether there is an element of this name.
    #[inline]
    pub fn contains(&self, name: &[u8]) -> bool {
        self.get(name).is_some()
    }

    /// Finds an element to change its value or word through its own methods. To put another in its place, use
    /// [`Table::insert`]: an element assigned through the reference would not be found again.
    #[inline]
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Element> {
        self.get_mut_hashed(hash::hash(name), name)
    }

    /// As [`Table::get_mut`], with the name's hash.
    #[inline]
    pub fn get_mut_hashed(&mut self, hash: u64, name: &[u8]) -> Option<&mut Element> {
        self.keep(hash);
        let mut found = self.find(hash, name)?;
        found.segment.element_mut(found.place)
    }

    /// Adds an element; returns the one of the same name that it displaces.
    #[inline]
    pub fn insert(&mut self, element: Element) -> Option<Element> {
        self.insert_hashed(hash::hash(element.name()), element)
    }

    /// As [`Table::insert`], with the name's hash.
    pub fn insert_hashed(&mut self, hash: u64, element: Element) -> Option<Element> {
        self.keep(hash);
        if let Some(mut found) = self.find(hash, element.name()) {
            return found.segment.replace(found.place, element);
        }
        self.add(hash, element);
        None
    }

    /// Finds an element, or adds the one that `make` makes, which must have this name. `true`: added. One lookup.
    #[inline]
    pub fn get_or_insert(&mut self, name: &[u8], make: impl FnOnce() -> Element) -> (&mut Element, bool) {
        self.get_or_insert_hashed(hash::hash(name), name, make)
    }

    /// As [`Table::get_or_insert`], with the name's hash.
    pub fn get_or_insert_hashed(
        &mut self,
        hash: u64,
        name: &[u8],
        make: impl FnOnce() -> Element,
    ) -> (&mut Element, bool) {
        self.keep(hash);
        let found = self.find(hash, name);
        let mut at = found.unwrap_or_else(|| self.add(hash, make()));
        let Some(element) = at.segment.element_mut(at.place) else { unreachable!("found or put there just now") };
        debug_assert_eq!(element.name(), name);
        (element, found.is_none())
    }

    /// Removes and returns an element.
    #[inline]
    pub fn remove(&mut self, name: &[u8]) -> Option<Element> {
        self.remove_hashed(hash::hash(name), name)
    }

    /// As [`Table::remove`], with the name's hash.
    pub fn remove_hashed(&mut self, hash: u64, name: &[u8]) -> Option<Element> {
        self.keep(hash);
        let found = self.find(hash, name)?;
        self.remove_found(hash, found)
    }

    fn remove_found(&mut self, hash: u64, mut found: Found) -> Option<Element> {
        let element = found.segment.remove(found.place)?;
        self.len -= 1;
        if found.segment.len().is_multiple_of(SHRINK_EVERY) {
            self.shrink(hash);
        }
        Some(element)
    }

    /// Must come before a change of what there is under this hash: a walk in progress that has not met it keeps it.
    #[inline]
    fn keep(&mut self, hash: u64) {
        if self.walk.is_some() {
            self.keep_walked(hash);
        }
    }

    /// Adds an element whose name is not in the table.
    fn add(&mut self, hash: u64, element: Element) -> Found {
        let mut segment = self.link(hash).segment();
        while segment.is_full() {
            self.grow(hash, segment);
            segment = self.link(hash).segment();
        }
        self.len += 1;
        let place = segment.insert(Mark::new(hash, u32::from(segment.depth())), element);
        Found { segment, place }
    }

    fn grow(&mut self, hash: u64, segment: Segment) {
        if segment.step() < SPLIT_STEP || segment.depth() >= MAX_DEPTH {
            self.rebuild(hash, segment, segment.step() + 1);
        } else {
            self.split(hash, segment);
        }
    }

    /// Moves a segment's elements, untouched, into one of another size.
    fn rebuild(&mut self, hash: u64, mut old: Segment, step: u8) {
        let mut new = Segment::new(step, old.depth());
        old.empty(|mark, element| {
            new.insert(mark, element);
        });
        self.publish(hash, new);
        self.retire(old);
    }

    fn split(&mut self, hash: u64, mut old: Segment) {
        if old.depth() == self.bits {
            self.double_directory();
        }
        let (depth, bit) = (old.depth() + 1, 1_u64 << (63 - old.depth()));
        old.prefetch_elements();
        let hashes: Vec<u64> = old.elements().map(|element| hash::hash(element.name())).collect();
        let upper = hashes.iter().filter(|hash| *hash & bit != 0).count();
        let mut halves = [hashes.len() - upper, upper].map(|len| Segment::new(step_for(len, SPLIT_STEP), depth));
        let mut in_order = hashes.into_iter();
        old.empty(|_, element| {
            let hash = in_order.next().unwrap_or_else(|| hash::hash(element.name()));
            halves[usize::from(hash & bit != 0)].insert(Mark::new(hash, u32::from(depth)), element);
        });
        self.publish(hash & !bit, halves[0]);
        self.publish(hash | bit, halves[1]);
        self.deepest += if depth == self.bits { 2 } else { 0 };
        self.retire(old);
    }

    /// Stores `segment` in every directory slot that shares its prefix with `hash`.
    fn publish(&mut self, hash: u64, segment: Segment) {
        let copies = 1_usize << (self.bits - segment.depth());
        let first = self.index(hash) & !(copies - 1);
        self.directory.slots_mut()[first..first + copies].fill(Link::to(segment));
        self.segment_bytes += bytes_at(segment.step());
    }

    /// Frees an emptied segment that the directory no longer names.
    fn retire(&mut self, segment: Segment) {
        debug_assert_eq!(segment.len(), 0);
        self.segment_bytes -= bytes_at(segment.step());
        // SAFETY: the directory was all that named it.
        unsafe { segment.free() };
    }

    fn double_directory(&mut self) {
        let doubled = self.directory.slots().iter().flat_map(|link| [*link, *link]).collect();
        self.directory = Directory::Many(doubled);
        self.bits += 1;
        self.deepest = 0;
    }

    fn halve_directory(&mut self) {
        let halved: Box<[Link]> = self.directory.slots().iter().copied().step_by(2).collect();
        self.bits -= 1;
        let deepest = halved.iter().filter(|link| link.depth() == self.bits).count();
        self.deepest = u32::try_from(deepest).unwrap_or(u32::MAX);
        self.directory = match &halved[..] {
            [one] => Directory::One([*one]),
            _ => Directory::Many(halved),
        };
    }

    /// Makes the segment of `hash` smaller, or merges it with its buddy, when it has become sparse. `true`: did so.
    fn shrink(&mut self, hash: u64) -> bool {
        let segment = self.link(hash).segment();
        if !segment.is_sparse() {
            return false;
        }
        if let Some(buddy) = self.buddy(hash, segment)
            && step_for(segment.len() + buddy.len(), SPLIT_STEP) < SPLIT_STEP - 2
        {
            self.merge(hash, segment, buddy);
            return true;
        }
        let step = step_for(segment.len(), SPLIT_STEP);
        let smaller = step < segment.step();
        if smaller {
            self.rebuild(hash, segment, step);
        }
        smaller
    }

    fn buddy(&self, hash: u64, segment: Segment) -> Option<Segment> {
        let depth = segment.depth().checked_sub(1)?;
        let buddy = self.link(hash ^ 1 << (63 - depth)).segment();
        (buddy.depth() == segment.depth()).then_some(buddy)
    }

    fn merge(&mut self, hash: u64, segment: Segment, buddy: Segment) {
        let depth = segment.depth() - 1;
        let bit = 1_u64 << (63 - depth);
        let (lower, upper) = if hash & bit == 0 { (segment, buddy) } else { (buddy, segment) };
        let mut new = Segment::new(step_for(segment.len() + buddy.len(), SPLIT_STEP), depth);
        for (mut half, high) in [(lower, 0), (upper, 0x8000)] {
            half.empty(|mark, element| {
                new.insert(Mark { h16: mark.h16 >> 1 | high, ..mark }, element);
            });
        }
        self.deepest -= if depth + 1 == self.bits { 2 } else { 0 };
        self.publish(hash, new);
        self.retire(lower);
        self.retire(upper);
        while self.deepest == 0 && self.bits > 0 {
            self.halve_directory();
        }
    }

    /// First hash behind the segment at `base`, `None` behind the last.
    fn behind(base: u64, depth: u8) -> Option<u64> {
        let next = if depth == 0 { 0 } else { base.wrapping_add(1 << (64 - u32::from(depth))) };
        (next != 0).then_some(next)
    }

    /// The segment that `at` falls into, and its first hash.
    fn segment_at(&self, at: u64) -> (Segment, u64) {
        let segment = self.link(at).segment();
        (segment, at & !(u64::MAX >> segment.depth()))
    }

    fn visit_home(&self, at: u64, visit: &mut dyn FnMut(&Element)) -> Option<u64> {
        let (segment, base) = self.segment_at(at);
        let depth = segment.depth();
        match segment.visit_home(Mark::new(at, u32::from(depth)).h16, visit) {
            Some(h16) => Some(base | u64::from(h16) << (48 - depth)),
            None => Table::behind(base, depth),
        }
    }

    /// Calls `visit` for about `count` elements from `cursor` on (0 at first; any number does no harm) and returns
    /// where to go on, 0 at the end. Whatever happens to the table between calls, what is in it from the first
    /// to the last is met at least once; some may be met again.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(&Element)) -> u64 {
        let (mut at, mut met) = (cursor, 0);
        let mut homes = count.saturating_mul(HOMES_PER_COUNT);
        loop {
            let next = self.visit_home(at, &mut |element| {
                met += 1;
                visit(element);
            });
            let Some(next) = next else { return 0 };
            homes = homes.saturating_sub(1);
            if met >= count || homes == 0 {
                return next;
            }
            at = next;
        }
    }

    /// A random place: a directory slot and one of the slots that its segment has for each directory slot, drawn again
    /// where that is none or free. So all elements are equally likely, whatever size and depth their segments have.
    fn random_place(&self, random: &mut dyn FnMut() -> u64) -> Option<(u64, Found)> {
        if self.is_empty() {
            return None;
        }
        let each = match self.bits {
            0 => self.link(0).segment().slots(),
            MAX_DEPTH => MOST_SLOTS,
            _ => SPLIT_SLOTS,
        };
        let mut number = 0;
        for _ in 0..RANDOM_TRIES {
            number = random();
            let (segment, base) = self.segment_at(number);
            let share = self.index(number) - self.index(base);
            // The lower half of the number, scaled to below `each`: bits that the directory does not use.
            let [a, b, c, d, ..] = number.to_le_bytes();
            let slot = (u32::from_le_bytes([a, b, c, d]) as usize * each) >> 32;
            if let Some(place) = segment.at(share * each + slot) {
                return Some((number, Found { segment, place }));
            }
        }
        self.first_from(number).or_else(|| self.first_from(0))
    }

    /// The first element of the segment that `at` falls into or of one behind it.
    fn first_from(&self, at: u64) -> Option<(u64, Found)> {
        let mut next = Some(at);
        while let Some(at) = next {
            let (segment, base) = self.segment_at(at);
            if let Some(place) = segment.occupied_from(0) {
                return Some((at, Found { segment, place }));
            }
            next = Table::behind(base, segment.depth());
        }
        None
    }

    /// An element drawn with numbers from `random`, each equally likely; `None` when there is none. Some 2 tries.
    pub fn random(&self, random: &mut dyn FnMut() -> u64) -> Option<&Element> {
        let (_, found) = self.random_place(random)?;
        found.segment.element(found.place)
    }

    /// Removes and returns an element drawn as by [`Table::random`].
    pub fn take_random(&mut self, random: &mut dyn FnMut() -> u64) -> Option<Element> {
        let (hash, found) = self.random_place(random)?;
        if self.walk.is_some() {
            let hash = hash::hash(found.segment.element(found.place)?.name());
            self.keep_walked(hash);
        }
        self.remove_found(hash, found)
    }

    /// Removes every element for which `keep` is false; each is asked about once, and may be changed.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut Element) -> bool) {
        let mut index = 0;
        while index < self.directory.slots().len() {
            let mut segment = self.directory.slots()[index].segment();
            for place in segment.places() {
                if self.walk.is_some()
                    && let Some(element) = segment.element(place)
                {
                    self.keep_walked(hash::hash(element.name()));
                }
                if segment.element_mut(place).is_some_and(|element| !keep(element)) {
                    drop(segment.remove(place));
                    self.len -= 1;
                }
            }
            index += 1 << (self.bits - segment.depth());
        }
        self.compact();
    }

    /// Shrinks every segment that has become sparse.
    fn compact(&mut self) {
        let mut next = Some(0);
        while let Some(at) = next {
            while self.shrink(at) {}
            let (segment, base) = self.segment_at(at);
            next = Table::behind(base, segment.depth());
        }
    }

    /// The elements in no particular order.
    pub fn iter(&self) -> Iter<'_> {
        Iter::new(self)
    }

    /// Takes all elements out.
    pub fn drain(&mut self) -> IntoIter {
        std::mem::take(self).into_iter()
    }

    /// Bytes of directory and segments. O(1).
    pub fn table_bytes(&self) -> usize {
        let directory = if self.bits == 0 { 0 } else { size_of_val(self.directory.slots()) };
        self.segment_bytes + directory
    }

    /// Bytes of directory, segments and elements, the elements estimated from 32 of them.
    pub fn memory_bytes(&self) -> usize {
        let samples = self.len.min(SAMPLES);
        let bytes: usize = self.iter().take(samples).map(Element::memory_bytes).sum();
        self.table_bytes() + bytes * self.len / samples.max(1)
    }

    /// Checks the invariants; for tests.
    #[cfg(test)]
    pub(super) fn validate(&self) {
        let (mut len, mut bytes, mut deepest, mut index) = (0, 0, 0, 0);
        let slots = self.directory.slots();
        assert_eq!(slots.len(), 1 << self.bits);
        while index < slots.len() {
            let segment = slots[index].segment();
            assert_eq!((slots[index].buckets(), slots[index].depth()), (segment.buckets(), segment.depth()));
            segment.validate(hash::hash);
            let copies = 1 << (self.bits - segment.depth());
            assert!(slots[index..index + copies].iter().all(|link| link.0 == slots[index].0));
            for place in segment.places() {
                let hash = hash::hash(segment.element(place).expect("occupied").name());
                assert!((index..index + copies).contains(&self.index(hash)));
            }
            len += segment.len();
            bytes += bytes_at(segment.step());
            deepest += u32::from(segment.depth() == self.bits);
            index += copies;
        }
        assert_eq!((len, bytes, deepest), (self.len, self.segment_bytes, self.deepest));
        assert!(deepest > 0, "a directory larger than needed");
    }
}

impl Default for Table {
    fn default() -> Table {
        Table::new()
    }
}

impl Clone for Table {
    fn clone(&self) -> Table {
        let slots = self.directory.slots();
        let mut copies: Vec<Link> = Vec::with_capacity(slots.len());
        while let Some(link) = slots.get(copies.len()) {
            let copy = Link::to(link.segment().copy());
            copies.resize(copies.len() + (1 << (self.bits - link.depth())), copy);
        }
        let directory = match copies[..] {
            [one] => Directory::One([one]),
            _ => Directory::Many(copies.into_boxed_slice()),
        };
        let Table { len, segment_bytes, deepest, bits, .. } = *self;
        Table { directory, walk: None, len, segment_bytes, deepest, bits }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if self.walk.is_some() {
            self.leave_walked();
        }
        let mut index = 0;
        while let Some(link) = self.directory.slots().get(index) {
            index += 1 << (self.bits - link.depth());
            // SAFETY: the walk meets each segment once, and nothing is looked up any more.
            unsafe { link.segment().free() };
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}

impl Extend<Element> for Table {
    fn extend<I: IntoIterator<Item = Element>>(&mut self, elements: I) {
        for element in elements {
            drop(self.insert(element));
        }
    }
}

impl FromIterator<Element> for Table {
    fn from_iter<I: IntoIterator<Item = Element>>(elements: I) -> Table {
        let mut table = Table::new();
        table.extend(elements);
        table
    }
}
