//! Intsets: small sets of integers as a sorted run of equally wide numbers, in the format of RDB files and DUMP.
//!
//! ```text
//! byte 0..4   width of a member in bytes, u32: 2, 4 or 8
//! byte 4..8   number of members, u32
//! then        the members, ascending, signed and little-endian
//! ```
//!
//! Invariant: the bytes are a valid intset ([`Intset::validate`]); the width suffices for the widest member that was ever
//! in the set. Must not know: keys, thresholds. Source: the intset encoding of the RDB format.

use super::blob::TaggedBlob;
use std::iter::FusedIterator;

/// The most members that the format's callers may put into one intset: 1 GiB of the widest.
pub const MAX_MEMBERS: usize = 1 << 27;

const HEADER_BYTES: usize = 8;
const EMPTY: [u8; HEADER_BYTES] = [2, 0, 0, 0, 0, 0, 0, 0];

/// A sorted set of integers in one allocation.
#[derive(Clone, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Intset(pub(super) TaggedBlob<2>);

const _: () = assert!(size_of::<Option<Intset>>() == 8);

impl Default for Intset {
    fn default() -> Self {
        Self::new()
    }
}

impl Intset {
    /// An empty set.
    #[must_use]
    pub fn new() -> Intset {
        Intset(TaggedBlob::from(&EMPTY[..]))
    }

    /// Takes bytes that somebody else made; `None` unless they are a valid intset of at most [`MAX_MEMBERS`]. O(bytes).
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Intset> {
        let (header, members) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [a, b, c, d, e, f, g, h] = *header;
        let (width, len) = (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize);
        let whole = matches!(width, 2 | 4 | 8) && len <= MAX_MEMBERS && len * width == members.len();
        if whole && members_of(members, width).is_sorted_by(|low, high| low < high) {
            Some(Intset(TaggedBlob::from(bytes)))
        } else {
            None
        }
    }

    /// The whole set as RDB files and DUMP hold it.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Bytes that the allocation takes. O(1).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }

    /// Number of members. O(1).
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        (self.0.len() - HEADER_BYTES) / self.width()
    }

    /// Whether there are no members. O(1).
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len() == HEADER_BYTES
    }

    /// Whether `value` is a member. O(log members).
    #[inline]
    #[must_use]
    pub fn contains(&self, value: i64) -> bool {
        width_of(value) <= self.width() && self.place(value).is_ok()
    }

    /// The member at `index` in ascending order. O(1).
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<i64> {
        let width = self.width();
        let start = index.checked_mul(width)?.checked_add(HEADER_BYTES)?;
        self.0.get(start..start.checked_add(width)?).map(read)
    }

    /// The smallest member. O(1).
    #[must_use]
    pub fn first(&self) -> Option<i64> {
        self.get(0)
    }

    /// The greatest member. O(1).
    #[must_use]
    pub fn last(&self) -> Option<i64> {
        self.get(self.len().checked_sub(1)?)
    }

    /// A member, each as likely as the other. O(1).
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> Option<i64> {
        // The upper half of the product: even to one part in 2^37, without a division.
        let drawn = (u128::from(rng()) * self.len() as u128) >> 64;
        self.get(usize::try_from(drawn).unwrap_or(0)) // below the length
    }

    /// The members in ascending order, from either end.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        members_of(&self.0[HEADER_BYTES..], self.width())
    }

    /// Adds `value`; `false` when it was there. O(members). The caller keeps the set below [`MAX_MEMBERS`].
    pub fn insert(&mut self, value: i64) -> bool {
        let needed = width_of(value);
        if needed > self.width() {
            self.widen(needed);
        }
        let Err(index) = self.place(value) else { return false };
        let (width, len) = (self.width(), self.len());
        let start = HEADER_BYTES + index * width;
        self.0.splice(start..start, &value.to_le_bytes()[..width]);
        self.set_len(len + 1);
        true
    }

    /// Removes `value`; `false` when it was not there. O(members).
    pub fn remove(&mut self, value: i64) -> bool {
        if width_of(value) > self.width() {
            return false;
        }
        let Ok(index) = self.place(value) else { return false };
        let (width, len) = (self.width(), self.len());
        let start = HEADER_BYTES + index * width;
        self.0.splice(start..start + width, &[]);
        self.set_len(len - 1);
        true
    }

    /// Checks the invariant. O(bytes).
    ///
    /// # Errors
    /// What is wrong, for a test's message.
    pub fn validate(&self) -> Result<(), String> {
        match Intset::from_bytes(&self.0) {
            Some(_) => Ok(()),
            None => Err(format!("not an intset: {:?}", self.0)),
        }
    }

    #[inline]
    fn width(&self) -> usize {
        usize::from(self.0[0])
    }

    fn set_len(&mut self, len: usize) {
        let len = u32::try_from(len).unwrap_or(u32::MAX); // a blob has at most 2^31 members
        self.0[4..HEADER_BYTES].copy_from_slice(&len.to_le_bytes());
    }

    /// Where `value` is, or where it would have to be inserted.
    #[inline]
    fn place(&self, value: i64) -> Result<usize, usize> {
        let members = &self.0[HEADER_BYTES..];
        match self.width() {
            2 => search(members.as_chunks().0, |bytes| i64::from(i16::from_le_bytes(*bytes)), value),
            4 => search(members.as_chunks().0, |bytes| i64::from(i32::from_le_bytes(*bytes)), value),
            _ => search(members.as_chunks().0, |bytes| i64::from_le_bytes(*bytes), value),
        }
    }

    /// Makes every member `width` bytes wide. O(members).
    fn widen(&mut self, width: usize) {
        let members: Vec<i64> = self.iter().collect();
        let mut wide = TaggedBlob::zeroed(HEADER_BYTES + members.len() * width);
        wide[..HEADER_BYTES].copy_from_slice(&self.0[..HEADER_BYTES]);
        wide[0] = if width == 8 { 8 } else { 4 };
        for (room, member) in wide[HEADER_BYTES..].chunks_exact_mut(width).zip(members) {
            room.copy_from_slice(&member.to_le_bytes()[..width]);
        }
        self.0 = wide;
    }
}

impl Extend<i64> for Intset {
    fn extend<T: IntoIterator<Item = i64>>(&mut self, values: T) {
        for value in values {
            self.insert(value);
        }
    }
}

impl FromIterator<i64> for Intset {
    fn from_iter<T: IntoIterator<Item = i64>>(values: T) -> Intset {
        let mut set = Intset::new();
        set.extend(values);
        set
    }
}

impl<'a> IntoIterator for &'a Intset {
    type Item = i64;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The members of an intset in ascending order.
#[derive(Clone, Debug)]
pub struct Iter<'a>(std::slice::ChunksExact<'a, u8>);

impl Iterator for Iter<'_> {
    type Item = i64;

    #[inline]
    fn next(&mut self) -> Option<i64> {
        self.0.next().map(read)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }

    fn nth(&mut self, n: usize) -> Option<i64> {
        self.0.nth(n).map(read)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<i64> {
        self.0.next_back().map(read)
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl FusedIterator for Iter<'_> {}

fn members_of(members: &[u8], width: usize) -> Iter<'_> {
    Iter(members.chunks_exact(width))
}

/// A member of 2, 4 or 8 bytes.
#[inline]
fn read(member: &[u8]) -> i64 {
    match *member {
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => 0, // no other width exists
    }
}

/// The width in bytes that `value` needs.
#[inline]
fn width_of(value: i64) -> usize {
    match value {
        -0x8000..=0x7fff => 2,
        -0x8000_0000..=0x7fff_ffff => 4,
        _ => 8,
    }
}

#[inline]
fn search<const WIDTH: usize>(
    members: &[[u8; WIDTH]],
    read: impl Fn(&[u8; WIDTH]) -> i64,
    value: i64,
) -> Result<usize, usize> {
    // Ascending insertion is the usual way to fill a set.
    if members.last().is_some_and(|last| read(last) < value) {
        return Err(members.len());
    }
    members.binary_search_by(|member| read(member).cmp(&value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn values() -> impl Strategy<Value = i64> {
        prop_oneof![
            4 => -20i64..20,
            2 => 32_760i64..32_776,
            2 => -32_776i64..-32_760,
            1 => 2_147_483_640i64..2_147_483_656,
            1 => -2_147_483_656i64..-2_147_483_640,
            1 => any::<i64>(),
        ]
    }

    fn compare(set: &Intset, model: &BTreeSet<i64>) {
        set.validate().unwrap();
        assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
        assert!(set.iter().eq(model.iter().copied()) && set.iter().rev().eq(model.iter().rev().copied()));
        assert_eq!((set.first(), set.last()), (model.first().copied(), model.last().copied()));
        for (index, value) in model.iter().enumerate() {
            assert!(set.contains(*value));
            assert_eq!(set.get(index), Some(*value));
        }
        assert_eq!((set.get(model.len()), set.get(usize::MAX)), (None, None));
        assert_eq!(Intset::from_bytes(set.bytes()).as_ref(), Some(set));
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_set(steps in proptest::collection::vec((any::<bool>(), values()), 0..200)) {
            let (mut set, mut model) = (Intset::new(), BTreeSet::new());
            for (add, value) in steps {
                prop_assert_eq!(set.contains(value), model.contains(&value));
                if add {
                    prop_assert_eq!(set.insert(value), model.insert(value));
                } else {
                    prop_assert_eq!(set.remove(value), model.remove(&value));
                }
                prop_assert_eq!(set.len(), model.len());
            }
            compare(&set, &model);
        }

        #[test]
        fn flipped_bytes_are_refused_or_harmless(
            values in proptest::collection::vec(values(), 0..20),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = values.into_iter().collect::<Intset>().bytes().to_vec();
            for (place, value) in flips {
                let place = place.index(bytes.len());
                bytes[place] = value;
                Intset::from_bytes(&bytes).iter().for_each(|set| compare(set, &set.iter().collect()));
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            Intset::from_bytes(&bytes).iter().for_each(|set| compare(set, &set.iter().collect()));
        }
    }

    #[test]
    fn bytes_are_those_of_other_servers() {
        let mut set: Intset = [2, -1].into_iter().collect();
        assert_eq!(set.bytes(), b"\x02\0\0\0\x02\0\0\0\xff\xff\x02\0");
        set.insert(1 << 20);
        assert_eq!(set.bytes(), b"\x04\0\0\0\x03\0\0\0\xff\xff\xff\xff\x02\0\0\0\0\0\x10\0");
        set.insert(-1 << 40);
        assert_eq!((set.bytes()[0], set.len(), set.first(), set.memory_bytes()), (8, 4, Some(-1 << 40), 48));
        set.remove(-1 << 40);
        assert_eq!((set.bytes()[0], set.contains(2)), (8, true), "the width stays");
    }

    #[test]
    fn random_members_are_evenly_drawn() {
        let set: Intset = (0..10).collect();
        let (mut state, mut seen) = (1u64, [0u32; 10]);
        let mut rng = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state
        };
        for _ in 0..10_000 {
            let member = set.random(&mut rng).unwrap();
            seen[usize::try_from(member).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
        assert_eq!(set.random(&mut || u64::MAX), Some(9));
        assert_eq!(Intset::new().random(&mut rng), None);
    }
}
