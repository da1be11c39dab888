//! The 80-bit floating point numbers behind INCRBYFLOAT and HINCRBYFLOAT, in integer arithmetic.
//!
//! Invariant: reading, adding and printing give the same text as a C `long double` of x86 (64-bit mantissa, round to
//! nearest even) printed with 17 decimals and stripped of trailing zeros. Results are exact before the one rounding.
//!
//! It knows nothing of requests. Source: IEEE 754 rounding; the accepted texts are those of `strtold`.

use std::cmp::Ordering;

/// The longest text that is read, in bytes: Valkey copies it to a buffer of 5 KiB and needs room for a NUL.
const TEXT_BYTES: usize = 5 * 1024 - 1;
/// Values reach from 2^-16445 to below 2^16384; a mantissa of 64 bits with this exponent ends below that.
const MAX_EXPONENT: i32 = 16384 - 64;
/// The exponent of the smallest denormal number: what rounds to less is an underflow.
const MIN_EXPONENT: i32 = -16445;
/// Stands for infinity, as an exponent.
const INFINITE: i32 = i32::MAX;
/// 10^17: the decimals that are printed.
const DECIMALS: u128 = 100_000_000_000_000_000;

/// A number `mantissa * 2^exponent` with a mantissa of 64 bits; never NaN.
///
/// The mantissa has its top bit set, or is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

impl Extended {
    /// Zero.
    pub const ZERO: Self = Self { negative: false, mantissa: 0, exponent: 0 };

    /// Reads a number as `strtold` does: decimal, hexadecimal with `0x`, `inf` or `infinity`, no surrounding spaces.
    ///
    /// `None` for anything else, for NaN, for what is out of range, and for texts of 5 KiB and more. O(1) for usual
    /// numbers, O(length^2) for the longest.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_BYTES {
            return None;
        }
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
            return Some(Self { negative, mantissa: 1 << 63, exponent: INFINITE });
        }
        let magnitude = match text {
            [b'0', b'x' | b'X', digits @ ..] => hexadecimal(digits),
            digits => decimal(digits),
        };
        magnitude.filter(|magnitude| !magnitude.underflows()).map(|magnitude| Self { negative, ..magnitude })
    }

    /// True for what a `long double` rounds to zero although it is none: at most half the smallest denormal number.
    fn underflows(self) -> bool {
        let below = self.exponent + 64;
        self.mantissa != 0 && (below < MIN_EXPONENT || (below == MIN_EXPONENT && self.mantissa == 1 << 63))
    }

    /// An integer, exactly. O(1).
    #[must_use]
    pub fn from_i64(value: i64) -> Self {
        let magnitude = round(u128::from(value.unsigned_abs()), 0, false).unwrap_or(Self::ZERO);
        Self { negative: value < 0, ..magnitude }
    }

    /// Mantissa and exponent of the magnitude.
    pub(super) fn parts(self) -> (u64, i32) {
        (self.mantissa, self.exponent)
    }

    /// True for either infinity.
    #[must_use]
    pub fn is_infinite(self) -> bool {
        self.exponent == INFINITE
    }

    /// True for numbers below zero, and for the zero that has a minus sign.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.negative
    }

    /// The sum, or `None` when it is infinite or not a number. O(1).
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if self.is_infinite() || other.is_infinite() {
            return None;
        }
        match (self.mantissa, other.mantissa) {
            (_, 0) => Some(self),
            (0, _) => Some(other),
            _ if (self.exponent, self.mantissa) < (other.exponent, other.mantissa) => other.add_smaller(self),
            _ => self.add_smaller(other),
        }
    }

    /// Adds a number that is not larger in magnitude; both are finite and not zero.
    fn add_smaller(self, other: Self) -> Option<Self> {
        let large = u128::from(self.mantissa) << 63; // a bit is left for the carry
        let (small, lost) = shift_right(u128::from(other.mantissa) << 63, self.exponent.abs_diff(other.exponent));
        let value = if self.negative == other.negative {
            large + small
        } else {
            large - small - u128::from(lost) // what was lost lies between this difference and the next larger one
        };
        if value == 0 {
            return Some(Self::ZERO);
        }
        round(value, self.exponent - 63, lost).map(|sum| Self { negative: self.negative, ..sum })
    }

    /// The least integer that is not below `self * factor` (rounded to 64 bits, as C multiplies), for timeouts.
    ///
    /// `None` when it does not fit or is infinite. O(1).
    #[must_use]
    pub fn ceil_times(self, factor: u32) -> Option<i64> {
        if self.is_infinite() {
            return None;
        }
        if self.mantissa == 0 || factor == 0 {
            return Some(0);
        }
        let product = round(u128::from(self.mantissa) * u128::from(factor), self.exponent, false)?;
        if product.exponent > 0 {
            return None;
        }
        let (whole, rest) = shift_right(u128::from(product.mantissa), product.exponent.unsigned_abs());
        let whole = i64::try_from(whole).ok()?;
        if self.negative { Some(-whole) } else { whole.checked_add(i64::from(rest)) }
    }

    /// The text: at most 17 decimals, no trailing zeros, no exponent, no minus before zero; `inf`, `-inf`.
    ///
    /// O(1) below 2^64, O(digits^2) above.
    #[must_use]
    pub fn format(self) -> Vec<u8> {
        let mut text = match self.exponent {
            INFINITE => "inf".to_owned(),
            1.. => Natural::from(u128::from(self.mantissa)).shifted_left(self.exponent.unsigned_abs()).into_decimal(),
            _ => self.format_small(),
        };
        if self.negative && text != "0" {
            text.insert(0, '-');
        }
        text.into_bytes()
    }

    /// The magnitude of a number below 2^64, rounded half to even at the last decimal.
    fn format_small(self) -> String {
        let scaled = u128::from(self.mantissa) * DECIMALS;
        let shift = self.exponent.unsigned_abs();
        let (whole, _) = shift_right(scaled, shift);
        let up = match shift {
            0 | 129.. => false,
            _ => {
                let below = if shift == 128 { scaled } else { scaled & ((1 << shift) - 1) };
                match below.cmp(&(1 << (shift - 1))) {
                    Ordering::Less => false,
                    Ordering::Equal => whole % 2 == 1,
                    Ordering::Greater => true,
                }
            }
        };
        let whole = whole + u128::from(up);
        let text = format!("{}.{:017}", whole / DECIMALS, whole % DECIMALS);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// `value / 2^by` rounded down, and whether bits were lost.
fn shift_right(value: u128, by: u32) -> (u128, bool) {
    match value.checked_shr(by) {
        Some(shifted) => (shifted, shifted << by != value),
        None => (0, value != 0),
    }
}

/// `value * 2^exponent` to 64 bits, half to even; `lost` says that the exact value is a little larger, in which case
/// `value` has more than 65 bits. `None` when it is too large.
fn round(value: u128, exponent: i32, lost: bool) -> Option<Extended> {
    if value == 0 {
        return Some(Extended::ZERO);
    }
    let top = value << value.leading_zeros();
    let exponent = exponent + 64 - i32::try_from(value.leading_zeros()).ok()?;
    let (mut high, low) = ((top >> 64) as u64, top & u128::from(u64::MAX));
    let mut carried = 0;
    if low > 1 << 63 || (low == 1 << 63 && (lost || high % 2 == 1)) {
        let (sum, overflow) = high.overflowing_add(1);
        high = if overflow { 1 << 63 } else { sum };
        carried = i32::from(overflow);
    }
    let exponent = exponent + carried;
    if exponent > MAX_EXPONENT {
        return None;
    }
    Some(Extended { negative: false, mantissa: high, exponent })
}

/// Splits a trailing exponent off: digits before `letter` (in either case), and its value, which saturates.
fn split_exponent(text: &[u8], letter: u8) -> Option<(&[u8], i64)> {
    let Some(at) = text.iter().position(|byte| byte.eq_ignore_ascii_case(&letter)) else { return Some((text, 0)) };
    let (negative, digits) = match &text[at + 1..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(1_000_000));
    Some((&text[..at], if negative { -value } else { value }))
}

/// The digits of `text` around at most one point, and how many stand behind it; at least one digit is needed.
fn split_point(text: &[u8], is_digit: fn(&u8) -> bool) -> Option<(impl Iterator<Item = u8> + Clone + '_, usize)> {
    let point = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
    let fraction = text.get(point + 1..).unwrap_or(&[]);
    let valid = point + fraction.len() > 0 && text[..point].iter().chain(fraction).all(is_digit);
    valid.then(|| (text[..point].iter().chain(fraction).copied(), fraction.len()))
}

/// Reads an unsigned hexadecimal number behind its `0x`.
fn hexadecimal(text: &[u8]) -> Option<Extended> {
    let (mantissa, exponent) = split_exponent(text, b'p')?;
    let (digits, fraction) = split_point(mantissa, u8::is_ascii_hexdigit)?;
    let (mut value, mut dropped, mut lost) = (0u128, 0i64, false);
    for digit in digits {
        let digit = char::from(digit).to_digit(16)?;
        if value >> 124 == 0 {
            value = value << 4 | u128::from(digit);
        } else {
            dropped += 4;
            lost |= digit != 0;
        }
    }
    if value == 0 {
        return Some(Extended::ZERO);
    }
    let exponent = exponent + dropped - 4 * i64::try_from(fraction).ok()?;
    round(value, i32::try_from(exponent).ok()?, lost)
}

/// Reads an unsigned decimal number.
fn decimal(text: &[u8]) -> Option<Extended> {
    let (mantissa, exponent) = split_exponent(text, b'e')?;
    let (digits, fraction) = split_point(mantissa, u8::is_ascii_digit)?;
    let digits = digits.skip_while(|digit| *digit == b'0');
    let count = i64::try_from(digits.clone().count()).ok()?;
    if count == 0 {
        return Some(Extended::ZERO);
    }
    let exponent = exponent - i64::try_from(fraction).ok()?;
    if (count + exponent).abs() > 5000 {
        return None; // beyond 10^4933 or below 10^-4951 whatever the digits
    }
    let exponent = i32::try_from(exponent).ok()?;
    if count <= 19 {
        let value = digits.fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
        return scale(value, exponent);
    }
    scale_natural(Natural::from_digits(digits), exponent)
}

/// `value * 10^exponent`, `value` not zero.
fn scale(value: u64, exponent: i32) -> Option<Extended> {
    match exponent {
        0..=19 => round(u128::from(value) * 10u128.pow(exponent.unsigned_abs()), 0, false),
        // The quotient has at least 128 - 60 bits.
        -18..=-1 => {
            let shift = u128::from(value).leading_zeros();
            let (dividend, divisor) = (u128::from(value) << shift, 10u128.pow(exponent.unsigned_abs()));
            round(dividend / divisor, -i32::try_from(shift).ok()?, dividend % divisor != 0)
        }
        _ => scale_natural(Natural::from(u128::from(value)), exponent),
    }
}

/// `value * 10^exponent` by exact arithmetic, `value` not zero.
pub(super) fn scale_natural(mut value: Natural, exponent: i32) -> Option<Extended> {
    if exponent >= 0 {
        value.multiply_power_of_ten(exponent.unsigned_abs());
        let (top, dropped, lost) = value.top_bits();
        return round(top, i32::try_from(dropped).ok()?, lost);
    }
    let mut divisor = Natural::from(1);
    divisor.multiply_power_of_ten(exponent.unsigned_abs());
    // Either side is shifted so that the quotient has 67 or 68 bits.
    let up = (divisor.bits() + 67).saturating_sub(value.bits());
    let down = value.bits().saturating_sub(divisor.bits() + 67);
    let (quotient, lost) = value.shifted_left(up).divide(divisor.shifted_left(down));
    round(quotient, i32::try_from(i64::from(down) - i64::from(up)).ok()?, lost)
}

/// A natural number of any size: 32-bit limbs, the lowest first, the highest not zero.
#[derive(Clone, Debug)]
pub(super) struct Natural {
    limbs: Vec<u32>,
}

impl From<u128> for Natural {
    fn from(mut value: u128) -> Self {
        let mut limbs = Vec::new();
        while value != 0 {
            limbs.push(u32::try_from(value & u128::from(u32::MAX)).unwrap_or(0)); // masked: it fits
            value >>= 32;
        }
        Self { limbs }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
fn low_limb(value: u64) -> u32 {
    value as u32
}

impl Natural {
    /// From ASCII digits.
    fn from_digits(digits: impl Iterator<Item = u8>) -> Self {
        let mut value = Self { limbs: Vec::new() };
        let (mut chunk, mut scale) = (0, 1);
        for digit in digits {
            chunk = chunk * 10 + u32::from(digit - b'0');
            scale *= 10;
            if scale == 1_000_000_000 {
                value.multiply_add(scale, chunk);
                (chunk, scale) = (0, 1);
            }
        }
        value.multiply_add(scale, chunk);
        value
    }

    fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for limb in &mut self.limbs {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = low_limb(carry);
            carry >>= 32;
        }
        if carry != 0 {
            self.limbs.push(low_limb(carry));
        }
    }

    fn multiply_power_of_ten(&mut self, exponent: u32) {
        for _ in 0..exponent / 9 {
            self.multiply_add(1_000_000_000, 0);
        }
        self.multiply_add(10u32.pow(exponent % 9), 0);
    }

    /// The number of significant bits.
    fn bits(&self) -> u32 {
        let Some(high) = self.limbs.last() else { return 0 };
        u32::try_from(self.limbs.len()).unwrap_or(u32::MAX / 32).saturating_mul(32) - high.leading_zeros()
    }

    fn shifted_left(&self, by: u32) -> Self {
        let (whole, part) = (by / 32, by % 32);
        let mut limbs = vec![0; whole as usize];
        let mut carry = 0;
        for limb in &self.limbs {
            let shifted = u64::from(*limb) << part | carry;
            limbs.push(low_limb(shifted));
            carry = shifted >> 32;
        }
        limbs.push(low_limb(carry));
        Self { limbs }.trimmed()
    }

    fn halve(&mut self) {
        let mut carry = 0;
        for limb in self.limbs.iter_mut().rev() {
            let low = *limb & 1;
            *limb = *limb >> 1 | carry << 31;
            carry = low;
        }
        if self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }

    fn trimmed(mut self) -> Self {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
        self
    }

    /// Its 96 to 128 highest bits, how many were dropped, and whether one of those was set.
    fn top_bits(&self) -> (u128, u32, bool) {
        let (low, high) = self.limbs.split_at(self.limbs.len().saturating_sub(4));
        let top = high.iter().rev().fold(0u128, |top, limb| top << 32 | u128::from(*limb));
        (top, u32::try_from(low.len()).unwrap_or(u32::MAX / 32) * 32, low.iter().any(|limb| *limb != 0))
    }

    fn at_least(&self, other: &Self) -> bool {
        let by_length = self.limbs.len().cmp(&other.limbs.len());
        by_length.then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev())) != Ordering::Less
    }

    /// Subtracts a number that is not larger.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (index, limb) in self.limbs.iter_mut().enumerate() {
            let (difference, first) = limb.overflowing_sub(other.limbs.get(index).copied().unwrap_or(0));
            let (difference, second) = difference.overflowing_sub(u32::from(borrow));
            *limb = difference;
            borrow = first || second;
        }
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }

    /// The quotient, which must be below 2^128, and whether there is a remainder. A bit at a time: callers need 68.
    fn divide(mut self, divisor: Self) -> (u128, bool) {
        let steps = self.bits().saturating_sub(divisor.bits());
        let mut divisor = divisor.shifted_left(steps);
        let mut quotient = 0u128;
        for _ in 0..=steps {
            quotient <<= 1;
            if self.at_least(&divisor) {
                self.subtract(&divisor);
                quotient |= 1;
            }
            divisor.halve();
        }
        (quotient, !self.limbs.is_empty())
    }

    fn into_decimal(mut self) -> String {
        let mut chunks = Vec::new();
        while !self.limbs.is_empty() {
            let mut rest = 0u64;
            for limb in self.limbs.iter_mut().rev() {
                let value = rest << 32 | u64::from(*limb);
                *limb = low_limb(value / 1_000_000_000);
                rest = value % 1_000_000_000;
            }
            if self.limbs.last() == Some(&0) {
                self.limbs.pop();
            }
            chunks.push(rest);
        }
        let mut text = chunks.pop().unwrap_or(0).to_string();
        for chunk in chunks.iter().rev() {
            text.push_str(&format!("{chunk:09}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> String {
        let parse = |text: &str| Extended::parse(text.as_bytes()).unwrap();
        parse(a).checked_add(parse(b)).map_or_else(|| "none".to_owned(), |sum| String::from_utf8(sum.format()).unwrap())
    }

    /// Expected texts are those that Valkey 9.1 replied to SET and INCRBYFLOAT.
    #[test]
    fn sums_are_those_of_a_long_double() {
        for (a, b, expected) in [
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0.1", "0.2", "0.3"),
            ("3", "-5e-18", "3"),
            ("3", "-6e-18", "2.99999999999999999"),
            ("0", "1.5e-17", "0.00000000000000002"),
            ("0", "5e-18", "0"),
            ("-1e-18", "0", "0"),
            ("-0", "0", "0"),
            ("1e18", "0.1", "1000000000000000000.125"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("0", "1e22", "10000000000000000000000"),
            ("0", "123456789012345678901234567890", "123456789012345678899921813504"),
            ("0x1.8", "0X1P-2", "1.75"),
            ("9.99999e-4951", "-1e-4950", "0"),
            ("inf", "1", "none"),
            ("-inf", "inf", "none"),
            ("1.18973149535723176502e4932", "1.18973149535723176502e4932", "none"),
        ] {
            assert_eq!(sum(a, b), expected, "{a} + {b}");
        }
    }

    #[test]
    fn what_strtold_refuses() {
        for text in [
            "", "+", "-", ".", "1e", "1e+", " 1", "1 ", "nan", "0x", "0x.", "0x1p", "1_0", "--1", "infinit", "1e4933",
            "1e-4960", "1.1.1", "1e5.5",
        ] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text}");
        }
        assert!(Extended::parse(&b"0".repeat(TEXT_BYTES)).is_some());
        assert!(Extended::parse(&b"0".repeat(TEXT_BYTES + 1)).is_none());
    }

    #[test]
    fn the_largest_number_prints() {
        let text = Extended::parse(b"1.18973149535723176502e4932").unwrap().format();
        assert!(text.len() == 4933 && text.starts_with(b"118973149535723176502126385303"));
    }

    #[test]
    fn timeouts_round_up() {
        let ceil = |text: &[u8]| Extended::parse(text).unwrap().ceil_times(1000);
        assert_eq!(ceil(b"0.001"), Some(1));
        assert_eq!(ceil(b"0.0011"), Some(2));
        assert_eq!(ceil(b"1e-30"), Some(1));
        assert_eq!(ceil(b"-0.5"), Some(-500));
        assert_eq!(ceil(b"0"), Some(0));
        assert_eq!(ceil(b"9223372036854775"), Some(9_223_372_036_854_775_000));
        assert_eq!(ceil(b"1e16"), None);
        assert_eq!(ceil(b"inf"), None);
    }
}
