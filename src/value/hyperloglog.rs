//! HyperLogLogs: strings that estimate how many different elements were added to them, within 0.81 %.
//!
//! ```text
//! bytes 0..4     HYLL
//! byte  4        0 dense, 1 sparse
//! bytes 5..8     zero
//! bytes 8..16    the last estimate, little endian; the highest bit of the last byte says that it is out of date
//! then           dense:  16384 registers of 6 bits, each filling bytes from the lowest bit up
//!                sparse: runs of registers, in order
//!                          00nnnnnn            n + 1 registers are 0                 (ZERO)
//!                          01nnnnnn nnnnnnnn   n + 1 registers are 0, high bits first  (XZERO)
//!                          1vvvvvnn            n + 1 registers are v + 1             (VAL)
//! ```
//!
//! An element's hash chooses a register by its 14 low bits; the register keeps the largest position, counted from 1, of the
//! lowest 1 among the other 50. A sparse string turns dense when it would outgrow a limit or a register exceeds 32.
//!
//! Invariant: after the same elements the bytes are those that Redis has, so that strings can be moved between servers.
//! Whatever the bytes, nothing here panics. Must not know: keys, replies, options. Source: the format of Redis, told by its
//! documentation and observed; P. Flajolet et al., "HyperLogLog" (2007); O. Ertl, "New cardinality estimation algorithms
//! for HyperLogLog sketches" (2017); A. Appleby's MurmurHash64A.

use bytes::BytesMut;
use std::fmt::Write;
use std::ops::Range;

/// Number of registers.
pub const REGISTERS: usize = 1 << INDEX_BITS;

const INDEX_BITS: u32 = 14;
const HASH_BITS: u32 = 64 - INDEX_BITS;
const HASH_SEED: u64 = 0xadc8_3b19;

const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING: usize = 4;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
const ESTIMATE: Range<usize> = 8..16;
/// Where the byte with the mark "out of date" stands.
const STALE: usize = 15;
const HEADER: usize = 16;
/// Length of a dense string: four registers fill three bytes.
const DENSE_LEN: usize = HEADER + REGISTERS / 4 * 3;

/// The longest runs that the opcodes can tell.
const ZERO_MAX: usize = 64;
const VALUE_RUN_MAX: usize = 4;
/// The highest register that a sparse string can hold.
const VALUE_MAX: u8 = 32;

/// The runs of a sparse string do not add up to its registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupted;

/// Whether a string starts like a HyperLogLog and is, if dense, as long as one.
pub fn is_hyperloglog(text: &[u8]) -> bool {
    text.len() >= HEADER
        && text.starts_with(MAGIC)
        && match text[ENCODING] {
            DENSE => text.len() == DENSE_LEN,
            encoding => encoding == SPARSE,
        }
}

/// A HyperLogLog without elements.
pub fn empty() -> BytesMut {
    let mut text = BytesMut::zeroed(HEADER);
    text[..MAGIC.len()].copy_from_slice(MAGIC);
    text[ENCODING] = SPARSE;
    text.extend_from_slice(Runs::new().zeros(REGISTERS).bytes());
    text
}

/// Whether the registers are held as runs.
pub fn is_sparse(text: &[u8]) -> bool {
    text.get(ENCODING) == Some(&SPARSE)
}

/// The estimate kept in the string, if it is up to date.
pub fn kept_estimate(text: &[u8]) -> Option<u64> {
    let bytes = text.get(ESTIMATE).and_then(|bytes| bytes.try_into().ok())?;
    let estimate = u64::from_le_bytes(bytes);
    (estimate >> 63 == 0).then_some(estimate)
}

/// Keeps an estimate in the string.
pub fn keep_estimate(text: &mut [u8], estimate: u64) {
    if let Some(bytes) = text.get_mut(ESTIMATE) {
        bytes.copy_from_slice(&estimate.to_le_bytes());
    }
}

/// Marks the estimate as out of date.
pub fn forget_estimate(text: &mut [u8]) {
    if let Some(byte) = text.get_mut(STALE) {
        *byte |= 0x80;
    }
}

/// What an element does: this register becomes at least this value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    register: usize,
    value: u8,
}

impl Mark {
    /// The mark of an element. O(length).
    pub fn of(element: &[u8]) -> Mark {
        let hash = hash(element);
        // A 1 above the bits that count ends the run of zeros.
        let run = (hash >> INDEX_BITS | 1 << HASH_BITS).trailing_zeros();
        let register = usize::try_from(hash % REGISTERS as u64).unwrap_or(0);
        Mark { register, value: u8::try_from(run + 1).unwrap_or(u8::MAX) }
    }
}

/// MurmurHash64A with the seed of Redis.
fn hash(element: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
    let (words, rest) = element.as_chunks::<8>();
    let mut hash = HASH_SEED ^ (element.len() as u64).wrapping_mul(MULTIPLIER);
    for word in words {
        let word = u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        hash = (hash ^ (word ^ word >> 47).wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u64::from(*byte));
        hash = (hash ^ tail).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(MULTIPLIER);
    hash ^ hash >> 47
}

/// Whether adding would change a register, or would find the string corrupted. O(1) dense, O(length) sparse.
pub fn would_change(text: &[u8], mark: Mark) -> bool {
    if is_sparse(text) {
        let found = Place::find(text, mark.register, Cursor::START);
        found.is_none_or(|place| place.run.value < mark.value)
    } else {
        dense_register(text, mark.register) < mark.value
    }
}

/// Adds an element by its mark; `true` when a register changed, which also makes the estimate out of date. A sparse string
/// longer than `sparse_max` bytes turns dense. O(1) dense, O(length) sparse.
///
/// # Errors
/// The runs end before the register, or they do not add up when the string has to turn dense. It is unchanged then.
pub fn add(text: &mut BytesMut, mark: Mark, sparse_max: usize) -> Result<bool, Corrupted> {
    let mut cursor = Cursor::START;
    add_from(text, mark, sparse_max, &mut cursor)
}

fn add_from(text: &mut BytesMut, mark: Mark, sparse_max: usize, cursor: &mut Cursor) -> Result<bool, Corrupted> {
    let mut changed = Sparse::Promote;
    if is_sparse(text) {
        changed = add_sparse(text, mark, sparse_max, cursor)?;
        if changed == Sparse::Promote {
            to_dense(text)?;
        }
    }
    let changed = match changed {
        Sparse::Unchanged => false,
        Sparse::Changed => true,
        Sparse::Promote => raise_dense(text, mark),
    };
    if changed {
        forget_estimate(text);
    }
    Ok(changed)
}

/// How adding to a sparse string went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sparse {
    Unchanged,
    Changed,
    /// Nothing is changed yet: the string has to turn dense first.
    Promote,
}

/// A run of equal registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    /// 0 for ZERO and XZERO.
    value: u8,
    registers: usize,
    /// Length of its opcode in bytes.
    len: usize,
}

impl Run {
    /// The run whose opcode stands at `at`; `None` at the end. A byte that is missing at the end counts as 0.
    fn read(text: &[u8], at: usize) -> Option<Run> {
        let first = *text.get(at)?;
        let low = usize::from(first & 0x3f);
        Some(match first >> 6 {
            0 => Run { value: 0, registers: low + 1, len: 1 },
            1 => {
                let second = usize::from(text.get(at + 1).copied().unwrap_or(0));
                Run { value: 0, registers: (low << 8 | second) + 1, len: 2 }
            }
            _ => Run { value: (first >> 2 & 0x1f) + 1, registers: usize::from(first & 3) + 1, len: 1 },
        })
    }
}

/// Opcodes in the making: at most XZERO VAL XZERO.
struct Runs {
    bytes: [u8; 5],
    len: usize,
}

impl Runs {
    const fn new() -> Runs {
        Runs { bytes: [0; 5], len: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(mut self, byte: u8) -> Runs {
        self.bytes[self.len] = byte;
        self.len += 1;
        self
    }

    /// Appends 0 to 16384 registers that are 0.
    fn zeros(self, registers: usize) -> Runs {
        let Some(less) = registers.checked_sub(1) else { return self };
        // At most 16383: 6 bits and 8.
        let [high, low] = u16::try_from(less).unwrap_or(u16::MAX).to_be_bytes();
        if registers <= ZERO_MAX { self.push(low) } else { self.push(0x40 | high & 0x3f).push(low) }
    }

    /// Appends 0 to 4 registers with a value of 1 to 32.
    fn values(self, value: u8, registers: usize) -> Runs {
        match registers.checked_sub(1) {
            Some(less) => self.push(0x80 | (value - 1) << 2 | u8::try_from(less).unwrap_or(3)),
            None => self,
        }
    }

    fn run(self, value: u8, registers: usize) -> Runs {
        if value == 0 { self.zeros(registers) } else { self.values(value, registers) }
    }
}

/// An opcode from which to search on: where it stands and the first register it tells about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cursor {
    at: usize,
    first: usize,
}

impl Cursor {
    const START: Cursor = Cursor { at: HEADER, first: 0 };
}

/// The run that a register lies in.
struct Place {
    run: Run,
    here: Cursor,
    /// The opcode before, and the one before that, as far as the search met them.
    before: Option<Cursor>,
    earlier: Option<Cursor>,
}

impl Place {
    /// Searches from `from`, which must be the start or stand before the register's opcode.
    fn find(text: &[u8], register: usize, from: Cursor) -> Option<Place> {
        let (mut here, mut before, mut earlier) = (from, None, None);
        loop {
            let run = Run::read(text, here.at)?;
            if register < here.first + run.registers {
                return Some(Place { run, here, before, earlier });
            }
            (earlier, before) = (before, Some(here));
            here = Cursor { at: here.at + run.len, first: here.first + run.registers };
        }
    }
}

fn add_sparse(text: &mut BytesMut, mark: Mark, sparse_max: usize, cursor: &mut Cursor) -> Result<Sparse, Corrupted> {
    if mark.value > VALUE_MAX {
        return Ok(Sparse::Promote);
    }
    let place = Place::find(text, mark.register, *cursor).ok_or(Corrupted)?;
    if place.run.value >= mark.value {
        return Ok(Sparse::Unchanged);
    }
    let Run { value, registers, len } = place.run;
    let Cursor { at, first } = place.here;
    if at + len > text.len() {
        return Err(Corrupted);
    }
    let (left, right) = (mark.register - first, first + registers - 1 - mark.register);
    let runs = Runs::new().run(value, left).values(mark.value, 1).run(value, right);
    if runs.len > len && text.len() + runs.len - len > sparse_max {
        return Ok(Sparse::Promote);
    }
    replace(text, at..at + len, runs.bytes());
    merge_values(text, place.before.unwrap_or(Cursor::START).at);
    if let Some(earlier) = place.earlier {
        *cursor = earlier;
    }
    Ok(Sparse::Changed)
}

/// Puts `bytes` where `range` was.
fn replace(text: &mut BytesMut, range: Range<usize>, bytes: &[u8]) {
    let (len, behind) = (text.len(), range.start + bytes.len());
    if behind > range.end {
        text.resize(len + behind - range.end, 0);
    }
    text.copy_within(range.end..len, behind);
    text.truncate(len + behind - range.end);
    text[range.start..behind].copy_from_slice(bytes);
}

/// Joins neighbouring runs of one value where an opcode can tell the sum. Five opcodes from `at` on are looked at, which
/// reaches everything that one change can have made joinable.
fn merge_values(text: &mut BytesMut, mut at: usize) {
    for _ in 0..5 {
        let Some(run) = Run::read(text, at) else { return };
        let next = Run::read(text, at + run.len).filter(|next| run.value != 0 && next.value == run.value);
        match next.map(|next| run.registers + next.registers) {
            Some(registers) if registers <= VALUE_RUN_MAX => {
                replace(text, at..at + 2, Runs::new().values(run.value, registers).bytes());
            }
            _ => at += run.len,
        }
    }
}

/// Makes a sparse string dense, keeping its estimate; `false` when it was dense. O(registers).
///
/// # Errors
/// The runs do not add up to all registers; the string is unchanged.
pub fn to_dense(text: &mut BytesMut) -> Result<bool, Corrupted> {
    if !is_sparse(text) {
        return Ok(false);
    }
    let mut registers = Registers::new();
    registers.merge(text)?;
    let mut dense = dense_header(text);
    registers.pack_into(&mut dense);
    *text = dense;
    Ok(true)
}

/// A dense string with the header of `text` and all registers 0.
fn dense_header(text: &[u8]) -> BytesMut {
    let mut dense = BytesMut::zeroed(DENSE_LEN);
    dense[..HEADER].copy_from_slice(&text[..HEADER]);
    dense[ENCODING] = DENSE;
    dense
}

/// The 6 bits of a register and where they lie: byte, and shift within it.
fn dense_place(register: usize) -> (usize, u32) {
    let bit = register * 6;
    (HEADER + bit / 8, u32::try_from(bit % 8).unwrap_or(0))
}

/// The byte at `at` and the one behind it, which the last register lacks.
fn pair(text: &[u8], at: usize) -> u16 {
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    u16::from_le_bytes([byte(at), byte(at + 1)])
}

fn dense_register(text: &[u8], register: usize) -> u8 {
    let (at, shift) = dense_place(register);
    (pair(text, at) >> shift).to_le_bytes()[0] & 63
}

/// Raises a register to the mark's value; `false` when it is as high already.
fn raise_dense(text: &mut [u8], mark: Mark) -> bool {
    if dense_register(text, mark.register) >= mark.value {
        return false;
    }
    let (at, shift) = dense_place(mark.register);
    let changed = pair(text, at) & !(63 << shift) | u16::from(mark.value & 63) << shift;
    for (byte, changed) in text.iter_mut().skip(at).zip(changed.to_le_bytes()) {
        *byte = changed;
    }
    true
}

/// The registers of one HyperLogLog or of several, one a byte.
pub struct Registers(Box<[u8]>);

impl Default for Registers {
    fn default() -> Registers {
        Registers::new()
    }
}

impl Registers {
    /// All 0.
    pub fn new() -> Registers {
        Registers(vec![0; REGISTERS].into_boxed_slice())
    }

    /// The values.
    pub fn values(&self) -> &[u8] {
        &self.0
    }

    /// Raises registers to those of a string. O(registers).
    ///
    /// # Errors
    /// Its runs do not add up; some registers may have been raised.
    pub fn merge(&mut self, text: &[u8]) -> Result<(), Corrupted> {
        if is_sparse(text) {
            return each_run(text, |range, value| {
                self.0[range].iter_mut().for_each(|register| *register = (*register).max(value));
            });
        }
        let (groups, _) = text.get(HEADER..).unwrap_or(&[]).as_chunks::<3>();
        let (quads, _) = self.0.as_chunks_mut::<4>();
        for (quad, group) in quads.iter_mut().zip(groups) {
            for (register, value) in quad.iter_mut().zip(unpacked(*group)) {
                *register = (*register).max(value);
            }
        }
        Ok(())
    }

    /// The estimate of how many different elements were added. O(registers).
    pub fn estimate(&self) -> u64 {
        let mut histogram = Histogram::default();
        let (quads, _) = self.0.as_chunks::<4>();
        quads.iter().for_each(|quad| histogram.add(*quad));
        histogram.estimate()
    }

    /// Writes the registers into a dense string.
    fn pack_into(&self, dense: &mut [u8]) {
        let (groups, _) = dense[HEADER..].as_chunks_mut::<3>();
        let (quads, _) = self.0.as_chunks::<4>();
        for (group, quad) in groups.iter_mut().zip(quads) {
            let bits = quad.iter().rev().fold(0_u32, |bits, value| bits << 6 | u32::from(value & 63));
            let [a, b, c, _] = bits.to_le_bytes();
            *group = [a, b, c];
        }
    }

    /// Makes a string hold these registers, none of which may be below its own, and its estimate out of date. `dense`: it
    /// is to be dense whatever it was. O(registers) dense; a sparse string grows register by register.
    ///
    /// # Errors
    /// The string is corrupted.
    pub fn store(&self, text: &mut BytesMut, dense: bool, sparse_max: usize) -> Result<(), Corrupted> {
        if dense {
            to_dense(text)?;
        }
        let mut cursor = Cursor::START;
        for (register, value) in self.0.iter().enumerate().filter(|(_, value)| **value > 0) {
            if !is_sparse(text) {
                self.pack_into(text);
                break;
            }
            add_from(text, Mark { register, value: *value }, sparse_max, &mut cursor)?;
        }
        forget_estimate(text);
        Ok(())
    }
}

/// The four registers in three bytes.
fn unpacked([a, b, c]: [u8; 3]) -> [u8; 4] {
    [a & 63, a >> 6 | (b & 15) << 2, b >> 4 | (c & 3) << 4, c >> 2]
}

/// Calls `out` with the registers and the value of each run of a sparse string.
fn each_run(text: &[u8], mut out: impl FnMut(Range<usize>, u8)) -> Result<(), Corrupted> {
    let mut here = Cursor::START;
    while let Some(run) = Run::read(text, here.at) {
        let end = here.first + run.registers;
        if end > REGISTERS {
            return Err(Corrupted);
        }
        out(here.first..end, run.value);
        here = Cursor { at: here.at + run.len, first: end };
    }
    if here.first == REGISTERS { Ok(()) } else { Err(Corrupted) }
}

/// The estimate of how many different elements were added to a string. O(registers) dense, O(length) sparse.
///
/// # Errors
/// The runs do not add up.
pub fn estimate(text: &[u8]) -> Result<u64, Corrupted> {
    let mut histogram = Histogram::default();
    if is_sparse(text) {
        let count = |range: Range<usize>, value| histogram.0[0][usize::from(value)] += range.len() as u64;
        each_run(text, count)?;
    } else {
        let (groups, _) = text.get(HEADER..).unwrap_or(&[]).as_chunks::<3>();
        groups.iter().for_each(|group| histogram.add(unpacked(*group)));
    }
    Ok(histogram.estimate())
}

/// How many registers have each value, in four counts to be added up: neighbours are often equal, and one count would
/// have to wait for itself.
struct Histogram([[u64; 64]; 4]);

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram([[0; 64]; 4])
    }
}

impl Histogram {
    fn add(&mut self, values: [u8; 4]) {
        for (counts, value) in self.0.iter_mut().zip(values) {
            counts[usize::from(value & 63)] += 1;
        }
    }

    /// Registers with a value, as a float: at most 16384.
    fn count(&self, value: usize) -> f64 {
        let count: u64 = self.0.iter().map(|counts| counts[value]).sum();
        f64::from(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Ertl's estimator, every operation in the order of Redis so that the last digit agrees.
    fn estimate(&self) -> u64 {
        const LIMIT: f64 = 0.721_347_520_444_481_7; // 1 / (2 ln 2)
        let registers = f64::from(1_u32 << INDEX_BITS);
        let highest = HASH_BITS as usize + 1;
        let mut sum = registers * tau((registers - self.count(highest)) / registers);
        for value in (1..highest).rev() {
            sum = (sum + self.count(value)) * 0.5;
        }
        sum += registers * sigma(self.count(0) / registers);
        rounded(LIMIT * registers * registers / sum)
    }
}

/// Corrects for registers that are as high as can be.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

/// Corrects for registers that are 0.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

/// The nearest integer. What is none, which only registers set by hand can lead to, becomes the number that 64-bit
/// processors give Redis.
fn rounded(estimate: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "rounded, and what does not fit is excluded")]
    let rounded = if estimate.is_finite() { estimate.round() as i64 } else { i64::MIN };
    rounded.cast_unsigned()
}

/// The runs of a sparse string as text: `z:length` and `Z:length` for registers that are 0, `v:value,length` for others.
pub fn describe(text: &[u8]) -> String {
    let (mut shown, mut at) = (String::new(), HEADER);
    while let Some(run) = Run::read(text, at) {
        let space = if at == HEADER { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = match (run.value, run.len) {
            (0, 1) => write!(shown, "{space}z:{}", run.registers),
            (0, _) => write!(shown, "{space}Z:{}", run.registers),
            _ => write!(shown, "{space}v:{},{}", run.value, run.registers),
        };
        at += run.len;
    }
    shown
}

/// Checks on made-up elements that sparse and dense strings agree and that estimates are near. Some milliseconds.
pub fn self_test() -> bool {
    let (mut sparse, mut dense, mut registers) = (empty(), empty(), Registers::new());
    let mut good = to_dense(&mut dense) == Ok(true);
    for number in 0..20_000_u32 {
        let mark = Mark::of(&number.to_le_bytes());
        registers.0[mark.register] = registers.0[mark.register].max(mark.value);
        good &= add(&mut sparse, mark, 3000) == Ok(raise_dense(&mut dense, mark));
        if number % 1000 == 999 {
            let estimate = registers.estimate();
            // Six times the standard error.
            let off = estimate.abs_diff(u64::from(number) + 1) * 20;
            good &= off <= u64::from(number) && self::estimate(&sparse) == Ok(estimate);
            good &= self::estimate(&dense) == Ok(estimate);
        }
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 3000;

    fn with(elements: &[&str]) -> BytesMut {
        let mut text = empty();
        for element in elements {
            add(&mut text, Mark::of(element.as_bytes()), MAX).unwrap();
        }
        text
    }

    /// What Valkey 9.1 showed for the same elements.
    #[test]
    fn elements_go_where_redis_puts_them() {
        assert_eq!(describe(&empty()), "Z:16384");
        assert_eq!(&empty()[..], b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff");
        let text = with(&["a", "b", "c"]);
        assert_eq!(describe(&text), "Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603");
        assert_eq!(estimate(&text), Ok(3));
        assert_eq!(kept_estimate(&text), None);
    }

    #[test]
    fn estimates_are_kept_until_something_changes() {
        let mut text = with(&["a"]);
        keep_estimate(&mut text, 1);
        assert_eq!(kept_estimate(&text), Some(1));
        assert_eq!(add(&mut text, Mark::of(b"a"), MAX), Ok(false));
        assert_eq!(kept_estimate(&text), Some(1));
        assert_eq!(add(&mut text, Mark::of(b"b"), MAX), Ok(true));
        assert_eq!(kept_estimate(&text), None);
    }

    #[test]
    fn high_registers_and_length_make_it_dense() {
        let mut text = with(&["a"]);
        assert_eq!(add(&mut text, Mark { register: 7, value: 32 }, MAX), Ok(true));
        assert!(is_sparse(&text));
        assert_eq!(add(&mut text, Mark { register: 7, value: 33 }, MAX), Ok(true));
        assert!(!is_sparse(&text) && is_hyperloglog(&text));
        assert_eq!(dense_register(&text, 7), 33);
        let mut text = with(&["a"]);
        assert_eq!(add(&mut text, Mark { register: 7, value: 1 }, 18), Ok(true));
        assert!(!is_sparse(&text));
    }

    #[test]
    fn the_self_test_passes() {
        assert!(self_test());
    }

    #[test]
    fn registers_out_of_range_estimate_as_redis_does() {
        let mut text = with(&[]);
        to_dense(&mut text).unwrap();
        text[HEADER..].fill(0xff);
        assert_eq!(estimate(&text), Ok(1 << 63));
        assert_eq!(estimate(&empty()), Ok(0));
    }

    fn registers_of(text: &[u8]) -> Vec<u8> {
        let mut registers = Registers::new();
        registers.merge(text).unwrap();
        registers.0.to_vec()
    }

    fn marks() -> impl Strategy<Value = Vec<Mark>> {
        let mark = (prop_oneof![0..REGISTERS, 0..40_usize, 16300..REGISTERS], 1_u8..36);
        prop::collection::vec(mark.prop_map(|(register, value)| Mark { register, value }), 0..300)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn registers_are_those_of_a_model(marks in marks(), sparse_max in 0_usize..900) {
            let (mut text, mut model) = (empty(), vec![0_u8; REGISTERS]);
            for mark in marks {
                let raises = model[mark.register] < mark.value;
                prop_assert_eq!(would_change(&text, mark), raises);
                prop_assert_eq!(add(&mut text, mark, sparse_max), Ok(raises));
                model[mark.register] = model[mark.register].max(mark.value);
                prop_assert!(is_hyperloglog(&text));
            }
            prop_assert_eq!(registers_of(&text), model.clone());
            let registers = Registers(model.into_boxed_slice());
            prop_assert_eq!(estimate(&text), Ok(registers.estimate()));
        }

        #[test]
        fn storing_is_adding_in_order(a in marks(), b in marks(), sparse_max in 0_usize..900) {
            let (mut text, mut registers) = (empty(), Registers::new());
            for mark in a {
                add(&mut text, mark, sparse_max).unwrap();
            }
            registers.merge(&text).unwrap();
            for mark in b {
                registers.0[mark.register] = registers.0[mark.register].max(mark.value);
            }
            let mut one_by_one = text.clone();
            for (register, value) in registers.0.iter().enumerate().filter(|(_, value)| **value > 0) {
                add(&mut one_by_one, Mark { register, value: *value }, sparse_max).unwrap();
            }
            forget_estimate(&mut one_by_one);
            registers.store(&mut text, false, sparse_max).unwrap();
            prop_assert_eq!(&text, &one_by_one);
            prop_assert_eq!(registers_of(&text), registers.0.to_vec());
        }

        #[test]
        fn any_bytes_are_survived(runs in prop::collection::vec(any::<u8>(), 0..60), marks in marks(), encoding in 0_u8..2) {
            let mut text = empty();
            text.truncate(HEADER);
            text.extend_from_slice(&runs);
            text[ENCODING] = encoding;
            let _ = (describe(&text), estimate(&text), Registers::new().merge(&text));
            for mark in marks.into_iter().take(5) {
                let _ = (would_change(&text, mark), add(&mut text, mark, MAX));
            }
            let _ = Registers::new().store(&mut text, true, MAX);
        }
    }
}
