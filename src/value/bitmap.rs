//! Bitmaps: strings seen as arrays of bits and of bit fields. Bit 0 is the highest bit of the first byte.
//!
//! Invariant: bits behind the end of a string read as 0; nothing here makes a string longer. Must not know: how strings are
//! held, replies. Source: the bitmap commands of the Redis command reference; the counting follows W. Mula, N. Kurz and
//! D. Lemire, "Faster population counts using AVX2 instructions" (2016), in words that every 64-bit processor has.

use std::ops::Range;

/// Bytes of the parts in which strings are combined: one of the result, one of a source and the scratch stay in the
/// innermost cache.
const PART: usize = 8 << 10;

/// The bit at `offset`. O(1).
pub fn bit(text: &[u8], offset: u64) -> bool {
    let byte = usize::try_from(offset / 8).ok().and_then(|index| text.get(index));
    byte.is_some_and(|byte| byte & mask(offset) != 0)
}

/// Sets the bit at `offset`, which must lie within the text; else nothing happens. O(1).
pub fn set_bit(text: &mut [u8], offset: u64, on: bool) {
    let byte = usize::try_from(offset / 8).ok().and_then(|index| text.get_mut(index));
    if let Some(byte) = byte {
        *byte = if on { *byte | mask(offset) } else { *byte & !mask(offset) };
    }
}

const fn mask(offset: u64) -> u8 {
    0x80 >> (offset % 8)
}

/// Four words side by side, which compilers turn into vector instructions.
type Lane = [u64; 4];

/// Bytes of a [`Lane`].
const LANE: usize = 32;
/// Bytes that [`count`] takes at once: 16 lanes.
const BLOCK: usize = 16 * LANE;

fn lane(bytes: &[u8; LANE]) -> Lane {
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|index| u64::from_le_bytes(words[index]))
}

fn ones(lane: Lane) -> u64 {
    lane.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// Adds two lanes to `sum`, every bit a number of its own, and returns the carries, each worth twice a bit of `sum`.
#[inline(always)]
fn carry(sum: &mut Lane, a: Lane, b: Lane) -> Lane {
    let mut carries = [0; 4];
    for index in 0..4 {
        let half = sum[index] ^ a[index];
        carries[index] = (sum[index] & a[index]) | (half & b[index]);
        sum[index] = half ^ b[index];
    }
    carries
}

/// Running sums of bits worth 1, 2, 4 and 8.
#[derive(Default)]
struct Sums {
    one: Lane,
    two: Lane,
    four: Lane,
    eight: Lane,
}

impl Sums {
    /// Adds 128 bytes; returns the carries worth 4.
    #[inline(always)]
    fn add_four_lanes(&mut self, bytes: &[[u8; LANE]; 4]) -> Lane {
        let low = carry(&mut self.one, lane(&bytes[0]), lane(&bytes[1]));
        let high = carry(&mut self.one, lane(&bytes[2]), lane(&bytes[3]));
        carry(&mut self.two, low, high)
    }

    /// Adds a block; returns the carries worth 16.
    #[inline(always)]
    fn add(&mut self, block: &[u8; BLOCK]) -> Lane {
        let (lanes, _) = block.as_chunks::<LANE>();
        let (fours, _) = lanes.as_chunks::<4>();
        let (a, b) = (self.add_four_lanes(&fours[0]), self.add_four_lanes(&fours[1]));
        let low = carry(&mut self.four, a, b);
        let (a, b) = (self.add_four_lanes(&fours[2]), self.add_four_lanes(&fours[3]));
        let high = carry(&mut self.four, a, b);
        carry(&mut self.eight, low, high)
    }

    fn total(&self) -> u64 {
        8 * ones(self.eight) + 4 * ones(self.four) + 2 * ones(self.two) + ones(self.one)
    }
}

/// Number of bits that are 1. O(length): sixteen words are added up by logic before one is counted.
pub fn count(text: &[u8]) -> u64 {
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let mut sums = Sums::default();
    let sixteens: u64 = blocks.iter().map(|block| ones(sums.add(block))).sum();
    let (words, bytes) = rest.as_chunks::<8>();
    let words: u64 = words.iter().map(|word| u64::from(u64::from_le_bytes(*word).count_ones())).sum();
    let bytes: u64 = bytes.iter().map(|byte| u64::from(byte.count_ones())).sum();
    16 * sixteens + sums.total() + words + bytes
}

/// A range of bits as the bytes it touches, with the bits of the first and of the last byte that lie outside.
struct Cut {
    bytes: Range<usize>,
    before: u8,
    behind: u8,
}

impl Cut {
    /// `None` when no bit of `text` lies in `bits`.
    fn new(text: &[u8], bits: &Range<u64>) -> Option<Cut> {
        let total = (text.len() as u64).saturating_mul(8);
        let (start, end) = (bits.start, bits.end.min(total));
        if start >= end {
            return None;
        }
        let bytes = usize::try_from(start / 8).ok()?..usize::try_from(end.div_ceil(8)).ok()?;
        let before = !(0xff_u8 >> (start % 8));
        let behind = 0xff_u8.checked_shr(u32::try_from((end - 1) % 8 + 1).unwrap_or(8)).unwrap_or(0);
        Some(Cut { bytes, before, behind })
    }
}

/// Number of bits among `bits` that are 1. O(length of the range).
pub fn count_range(text: &[u8], bits: Range<u64>) -> u64 {
    let Some(cut) = Cut::new(text, &bits) else { return 0 };
    let part = &text[cut.bytes];
    let outside = |byte: Option<&u8>, mask: u8| u64::from((byte.copied().unwrap_or(0) & mask).count_ones());
    count(part) - outside(part.first(), cut.before) - outside(part.last(), cut.behind)
}

/// The first bit among `bits` that is `on`; those behind the end of the text do not count. O(distance).
pub fn first(text: &[u8], bits: Range<u64>, on: bool) -> Option<u64> {
    let cut = Cut::new(text, &bits)?;
    let skip = if on { 0 } else { 0xff };
    let last = cut.bytes.end - 1;
    // Bits that are looked for show as 1 in `seen`; those outside the range are taken out.
    let seen = |index: usize, byte: u8| {
        let before = if index == cut.bytes.start { cut.before } else { 0 };
        let behind = if index == last { cut.behind } else { 0 };
        (byte ^ skip) & !before & !behind
    };
    let found = |index: usize, seen: u8| Some(index as u64 * 8 + u64::from(seen.leading_zeros()));

    let mut at = cut.bytes.start;
    while at <= last {
        let here = seen(at, text[at]);
        if here != 0 {
            return found(at, here);
        }
        at += 1 + same(&text[at + 1..=last], skip);
    }
    None
}

/// How many bytes at the start of `text` surely are `byte`: whole blocks, of 64 and then of 8.
fn same(text: &[u8], byte: u8) -> usize {
    let (blocks, rest) = text.as_chunks::<64>();
    let equal =
        blocks.iter().take_while(|block| block.iter().fold(0, |bits, other| bits | (other ^ byte)) == 0).count();
    if equal < blocks.len() {
        return equal * 64 + words_same(&blocks[equal], byte);
    }
    equal * 64 + words_same(rest, byte)
}

fn words_same(text: &[u8], byte: u8) -> usize {
    let (words, _) = text.as_chunks::<8>();
    words.iter().take_while(|word| **word == [byte; 8]).count() * 8
}

/// How strings are combined, bit by bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// In all.
    And,
    /// In any.
    Or,
    /// In an odd number of them.
    Xor,
    /// Not in the one string given.
    Not,
    /// In the first, and in none of the others.
    Diff,
    /// In any of the others, and not in the first.
    Diff1,
    /// In the first, and in any of the others.
    AndOr,
    /// In exactly one.
    One,
}

/// The strings combined; shorter ones are filled up with 0. O(strings * length), in parts that stay in cache.
pub fn combine(operation: Operation, texts: &[&[u8]]) -> Vec<u8> {
    let len = texts.iter().map(|text| text.len()).max().unwrap_or(0);
    let mut result = vec![0; len];
    let mut scratch = [0; PART];
    for (number, out) in result.chunks_mut(PART).enumerate() {
        let parts = texts.iter().map(|text| part(text, number * PART));
        combine_part(operation, out, &mut scratch, parts);
    }
    result
}

/// The part of a text from byte `at` on, as much as there is of it.
fn part(text: &[u8], at: usize) -> &[u8] {
    text.get(at..text.len().min(at + PART)).unwrap_or(&[])
}

/// Combines parts into `out`, which is zero and as long as the longest of them.
fn combine_part<'a>(
    operation: Operation,
    out: &mut [u8],
    scratch: &mut [u8; PART],
    mut parts: impl Iterator<Item = &'a [u8]>,
) {
    let first = parts.next().unwrap_or(&[]);
    let others = &mut scratch[..out.len()];
    match operation {
        Operation::And => {
            apply(out, first, |_, b| b);
            parts.for_each(|part| narrow(out, part));
        }
        Operation::Or => std::iter::once(first).chain(parts).for_each(|part| apply(out, part, |a, b| a | b)),
        Operation::Xor => std::iter::once(first).chain(parts).for_each(|part| apply(out, part, |a, b| a ^ b)),
        Operation::Not => {
            apply(out, first, |_, b| b);
            out.iter_mut().for_each(|byte| *byte = !*byte);
        }
        Operation::One => one_of(out, others, std::iter::once(first).chain(parts)),
        Operation::Diff => {
            apply(out, first, |_, b| b);
            parts.for_each(|part| apply(out, part, |a, b| a & !b));
        }
        Operation::Diff1 => {
            parts.for_each(|part| apply(out, part, |a, b| a | b));
            apply(out, first, |a, b| a & !b);
        }
        Operation::AndOr => {
            parts.for_each(|part| apply(out, part, |a, b| a | b));
            narrow(out, first);
        }
    }
}

fn apply(out: &mut [u8], part: &[u8], change: impl Fn(u8, u8) -> u8) {
    out.iter_mut().zip(part).for_each(|(byte, other)| *byte = change(*byte, *other));
}

/// As [`apply`] with AND, where a short part counts as filled up with 0.
fn narrow(out: &mut [u8], part: &[u8]) {
    apply(out, part, |a, b| a & b);
    if let Some(rest) = out.get_mut(part.len()..) {
        rest.fill(0);
    }
}

/// Bits that are in exactly one part; `several` is overwritten with those in more than one.
fn one_of<'a>(out: &mut [u8], several: &mut [u8], parts: impl Iterator<Item = &'a [u8]>) {
    several.fill(0);
    for part in parts {
        for ((any, more), byte) in out.iter_mut().zip(several.iter_mut()).zip(part) {
            *more |= *any & byte;
            *any |= byte;
        }
    }
    apply(out, several, |a, b| a & !b);
}

/// What happens to a number that does not fit its field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overflow {
    /// Its high bits are lost.
    Wrap,
    /// It becomes the nearest number that fits.
    Saturate,
    /// Nothing is stored.
    Fail,
}

/// The type of a bit field: `u1` to `u63`, `i1` to `i64`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    signed: bool,
    /// 1 to 64; below 64 when unsigned.
    bits: u8,
}

impl Field {
    /// A field of so many bits, if there is such a type.
    pub fn new(signed: bool, bits: i64) -> Option<Field> {
        let bits = u8::try_from(bits).ok()?;
        (1..=if signed { 64 } else { 63 }).contains(&bits).then_some(Field { signed, bits })
    }

    /// Width in bits.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// The number in the field that starts at bit `offset`. O(1).
    pub fn read(self, text: &[u8], offset: u64) -> i64 {
        let (window, shift) = (window(text, offset), offset % 8);
        let (up, down) = (window << shift, 128 - u32::from(self.bits));
        // At most 64 signed or 63 unsigned bits are left.
        let value = if self.signed { up.cast_signed() >> down } else { (up >> down).cast_signed() };
        i64::try_from(value).unwrap_or(0)
    }

    /// Stores a number that fits, see [`Field::fit`]. The field must lie within the text. O(1).
    pub fn write(self, text: &mut [u8], offset: u64, value: i64) {
        let (shift, down) = (offset % 8, 128 - u32::from(self.bits));
        let mask = (u128::MAX << down) >> shift;
        let bits = (i128::from(value).cast_unsigned() << down) >> shift;
        let bytes = ((window(text, offset) & !mask) | bits).to_be_bytes();
        let start = usize::try_from(offset / 8).unwrap_or(usize::MAX);
        if let Some(rest) = text.get_mut(start..) {
            apply(rest, &bytes, |_, byte| byte);
        }
    }

    /// The least and the greatest number that fits.
    fn limits(self) -> (i128, i128) {
        if self.signed {
            let half = 1_i128 << (self.bits - 1);
            (-half, half - 1)
        } else {
            (0, (1_i128 << self.bits) - 1)
        }
    }

    /// The number that a field holds after `value` went into it; `None` when it does not fit and [`Overflow::Fail`] says
    /// so.
    pub fn fit(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (least, most) = self.limits();
        let fitting = match overflow {
            _ if (least..=most).contains(&value) => value,
            Overflow::Wrap => least + (value - least).rem_euclid(most - least + 1),
            Overflow::Saturate => value.clamp(least, most),
            Overflow::Fail => return None,
        };
        i64::try_from(fitting).ok()
    }

    /// What SET tries to store for `value`: an unsigned field takes it as the 64-bit pattern that it is. As in Redis, a
    /// signed one narrower than 64 bits takes numbers farther than 2^63 below its greatest for ones above it: they
    /// saturate upwards.
    pub fn assigned(self, value: i64) -> i128 {
        let (_, most) = self.limits();
        let wraps = !self.signed || self.bits < 64 && most - i128::from(value) > i128::from(i64::MAX);
        if wraps && value < 0 { i128::from(value) + (1 << 64) } else { i128::from(value) }
    }
}

/// The 16 bytes from the byte of bit `offset` on, as one number; what lies behind the text is 0.
fn window(text: &[u8], offset: u64) -> u128 {
    let start = usize::try_from(offset / 8).unwrap_or(usize::MAX);
    let mut bytes = [0; 16];
    apply(&mut bytes, text.get(start..).unwrap_or(&[]), |_, byte| byte);
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits_of(text: &[u8]) -> Vec<bool> {
        (0..text.len() as u64 * 8).map(|offset| bit(text, offset)).collect()
    }

    #[test]
    fn bit_zero_is_the_highest() {
        assert!(bit(b"\x80", 0) && !bit(b"\x80", 1) && !bit(b"\x80", 8) && !bit(b"", u64::MAX));
        let mut text = *b"\x00\xff";
        set_bit(&mut text, 7, true);
        set_bit(&mut text, 8, false);
        set_bit(&mut text, 99, true);
        assert_eq!(text, *b"\x01\x7f");
    }

    #[test]
    fn fields_wrap_and_saturate() {
        let (u8_, i4) = (Field::new(false, 8).unwrap(), Field::new(true, 4).unwrap());
        assert_eq!(u8_.fit(256, Overflow::Wrap), Some(0));
        assert_eq!(u8_.fit(-1, Overflow::Wrap), Some(255));
        assert_eq!(u8_.fit(u8_.assigned(-1), Overflow::Saturate), Some(255));
        assert_eq!(u8_.fit(-1, Overflow::Saturate), Some(0));
        assert_eq!(i4.fit(8, Overflow::Wrap), Some(-8));
        assert_eq!(i4.fit(-9, Overflow::Wrap), Some(7));
        assert_eq!(i4.fit(-9, Overflow::Fail), None);
        assert_eq!(i4.fit(i4.assigned(-9), Overflow::Saturate), Some(-8));
        assert_eq!(i4.fit(i4.assigned(i64::MIN), Overflow::Saturate), Some(7));
        assert_eq!(i4.fit(i4.assigned(i64::MIN), Overflow::Wrap), Some(0));
        let i64_ = Field::new(true, 64).unwrap();
        assert_eq!(i64_.fit(i128::from(i64::MAX) + 1, Overflow::Wrap), Some(i64::MIN));
        assert_eq!(i64_.fit(i128::from(i64::MIN) * 2, Overflow::Saturate), Some(i64::MIN));
        for (signed, bits) in [(false, 64), (false, 0), (true, 65), (true, -1), (true, 300)] {
            assert_eq!(Field::new(signed, bits), None);
        }
    }

    const OPERATIONS: [Operation; 8] = [
        Operation::And,
        Operation::Or,
        Operation::Xor,
        Operation::Not,
        Operation::Diff,
        Operation::Diff1,
        Operation::AndOr,
        Operation::One,
    ];

    fn combined_byte(operation: Operation, bytes: &[u8]) -> u8 {
        let others = bytes[1..].iter().fold(0, |a, b| a | b);
        let times = |bit: u8| bytes.iter().filter(|byte| *byte >> bit & 1 == 1).count();
        match operation {
            Operation::And => bytes.iter().fold(0xff, |a, b| a & b),
            Operation::Or => bytes[0] | others,
            Operation::Xor => bytes.iter().fold(0, |a, b| a ^ b),
            Operation::Not => !bytes[0],
            Operation::Diff => bytes[0] & !others,
            Operation::Diff1 => others & !bytes[0],
            Operation::AndOr => bytes[0] & others,
            Operation::One => (0..8).filter(|bit| times(*bit) == 1).fold(0, |byte, bit| byte | 1 << bit),
        }
    }

    /// Text with long stretches of one byte.
    fn text(most: usize) -> impl Strategy<Value = Vec<u8>> {
        let stretch = (prop_oneof![Just(0_u8), Just(0xff), any::<u8>()], 0..most / 2);
        let stretches = prop::collection::vec(stretch, 0..4);
        stretches.prop_map(|parts| parts.into_iter().flat_map(|(byte, times)| vec![byte; times]).collect())
    }

    proptest! {
        #[test]
        fn counts_and_finds_as_bit_by_bit(text in text(900), start in 0_u64..9000, len in 0_u64..9000, on: bool) {
            let bits = bits_of(&text);
            let range = start..start + len;
            let inside = || bits.iter().enumerate().filter(|(at, _)| range.contains(&(*at as u64)));
            prop_assert_eq!(count_range(&text, range.clone()), inside().filter(|(_, bit)| **bit).count() as u64);
            prop_assert_eq!(count(&text), bits.iter().filter(|bit| **bit).count() as u64);
            let found = inside().find(|(_, bit)| **bit == on).map(|(at, _)| at as u64);
            prop_assert_eq!(first(&text, range, on), found);
        }

        #[test]
        fn combines_as_byte_by_byte(texts in prop::collection::vec(text(300), 1..5), number in 0_usize..8, long: bool) {
            let mut texts = texts;
            if long {
                texts[0].resize(PART + 100, 0xa5);
            }
            let slices: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            let result = combine(OPERATIONS[number], &slices);
            let len = texts.iter().map(Vec::len).max().unwrap_or(0);
            let expected: Vec<u8> = (0..len).map(|at| {
                let bytes: Vec<u8> = texts.iter().map(|text| text.get(at).copied().unwrap_or(0)).collect();
                combined_byte(OPERATIONS[number], &bytes)
            }).collect();
            prop_assert_eq!(result, expected);
        }

        #[test]
        fn fields_as_bit_by_bit(text in prop::collection::vec(any::<u8>(), 1..40), signed: bool, bits in 1_i64..=64, at: u16, value: i64) {
            let field = Field::new(signed, bits).or_else(|| Field::new(true, bits)).unwrap();
            let mut text = text;
            let offset = u64::from(at) % (text.len() as u64 * 8);
            let pattern = |text: &[u8]| (0..u64::from(field.bits())).fold(0_u64, |sum, n| sum << 1 | u64::from(bit(text, offset + n)));
            let low = |value: i64| value.cast_unsigned() & (u64::MAX >> (64 - field.bits()));
            prop_assert_eq!(low(field.read(&text, offset)), pattern(&text));
            let value = field.fit(i128::from(value), Overflow::Wrap).unwrap();
            text.resize(text.len() + 8, 0x5a);
            let before = bits_of(&text);
            field.write(&mut text, offset, value);
            prop_assert_eq!(field.read(&text, offset), value);
            for (at, bit) in bits_of(&text).into_iter().enumerate() {
                let inside = (offset..offset + u64::from(field.bits())).contains(&(at as u64));
                prop_assert!(inside || bit == before[at]);
            }
        }
    }
}
