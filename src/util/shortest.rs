//! The digits of a double: short ones that read back to it.
//!
//! Invariant: the digits lie strictly inside the interval that reads back to the double, and they are the ones that
//! Valkey prints. In 499 of 500 cases those are the shortest possible; in the rest, one digit more or not the nearest
//! of the shortest. That is why no printer that always finds the shortest can stand here.
//!
//! Source: algorithm Grisu2 in F. Loitsch, "Printing floating-point numbers quickly and accurately with integers"
//! (PLDI 2010), with powers of ten eight decades apart and scaled exponents between -60 and -32.

use std::sync::LazyLock;

use super::extended::{Natural, scale_natural};

/// The exponent of the first power of ten in the table.
const FIRST_POWER: i32 = -348;
/// Decades between neighbours in the table: their exponents then differ by less than the width of the target range.
const POWER_STEP: i32 = 8;
/// Powers in the table: up to 10^340.
const POWERS: usize = 87;
/// The range of binary exponents after scaling: the integral part of the digits fits 32 bits.
const SCALED_EXPONENTS: std::ops::RangeInclusive<i32> = -60..=-32;

/// Powers of ten to 64 bits, rounded; exact arithmetic at first use.
static TABLE: LazyLock<[Float; POWERS]> = LazyLock::new(|| {
    let mut exponent = FIRST_POWER - POWER_STEP;
    [(); POWERS].map(|()| {
        exponent += POWER_STEP;
        let (mantissa, exponent) = scale_natural(Natural::from(1), exponent).map_or((0, 0), |power| power.parts());
        Float { mantissa, exponent }
    })
});

/// A positive number `mantissa * 2^exponent`.
#[derive(Clone, Copy)]
struct Float {
    mantissa: u64,
    exponent: i32,
}

impl Float {
    fn normalized(self) -> Self {
        let shift = self.mantissa.leading_zeros();
        Self { mantissa: self.mantissa << shift, exponent: self.exponent - shift.cast_signed() }
    }

    /// The product, rounded to 64 bits.
    fn times(self, other: Self) -> Self {
        let product = u128::from(self.mantissa) * u128::from(other.mantissa) + (1 << 63);
        Self { mantissa: (product >> 64) as u64, exponent: self.exponent + other.exponent + 64 }
    }
}

/// A number `digits * 10^exponent`.
pub(super) struct Decimal {
    digits: [u8; 20],
    /// How many digits there are, 1 to 18.
    pub(super) count: u8,
    /// The power of ten of the last digit.
    pub(super) exponent: i32,
}

impl Decimal {
    /// The digits in ASCII, the first one not zero.
    pub(super) fn digits(&self) -> &[u8] {
        &self.digits[..usize::from(self.count)]
    }

    #[expect(clippy::cast_possible_truncation, reason = "a digit")]
    fn push(&mut self, digit: u64) {
        let digit = digit as u8;
        if digit != 0 || self.count != 0 {
            self.digits[usize::from(self.count)] = b'0' + digit;
            self.count += 1;
        }
    }
}

/// The digits of a finite double above zero. O(1).
pub(super) fn digits(value: f64) -> Decimal {
    let exact = decode(value);
    let (lower, upper) = boundaries(exact);
    let (power, decades) = scaling_power(upper.exponent);
    let mut lower = lower.times(power);
    let mut upper = upper.times(power);
    // Each product may be off by one unit: stay inside on both sides.
    lower.mantissa += 1;
    upper.mantissa -= 1;
    generate(exact.normalized().times(power), lower, upper, -decades)
}

/// The exact value of a double.
fn decode(value: f64) -> Float {
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    match i32::try_from(bits >> 52 & 0x7ff) {
        Ok(0) | Err(_) => Float { mantissa: fraction, exponent: -1074 },
        Ok(exponent) => Float { mantissa: fraction | 1 << 52, exponent: exponent - 1075 },
    }
}

/// The middles between a double and its neighbours, to one exponent, the upper one normalized.
fn boundaries(value: Float) -> (Float, Float) {
    let upper = Float { mantissa: value.mantissa * 2 + 1, exponent: value.exponent - 1 }.normalized();
    // Below a power of two the neighbours are twice as dense.
    let shift = if value.mantissa == 1 << 52 { 2 } else { 1 };
    let (mantissa, exponent) = ((value.mantissa << shift) - 1, value.exponent - shift);
    let lower = mantissa << (exponent - upper.exponent);
    (Float { mantissa: lower, exponent: upper.exponent }, upper)
}

/// The power of ten that brings `exponent` into [`SCALED_EXPONENTS`], and its decimal exponent.
fn scaling_power(exponent: i32) -> (Float, i32) {
    let fits = |power: &Float| SCALED_EXPONENTS.contains(&(exponent + power.exponent + 64));
    #[expect(clippy::cast_possible_truncation, reason = "within 400 of zero")]
    let estimate = (f64::from(exponent + 87) * -std::f64::consts::LOG10_2) as i32;
    let mut index = usize::try_from((estimate - FIRST_POWER) / POWER_STEP).unwrap_or(0).min(POWERS - 1);
    while !fits(&TABLE[index]) {
        let below = exponent + TABLE[index].exponent + 64 < *SCALED_EXPONENTS.start();
        if below { index += 1 } else { index -= 1 }
    }
    (TABLE[index], FIRST_POWER + i32::try_from(index).unwrap_or(0) * POWER_STEP)
}

/// Digits of `upper` until the rest is inside the interval, then the last one moved towards `exact`.
fn generate(exact: Float, lower: Float, upper: Float, exponent: i32) -> Decimal {
    let mut decimal = Decimal { digits: [0; 20], count: 0, exponent };
    let point = upper.exponent.unsigned_abs();
    let one = 1u64 << point;
    let mut room = upper.mantissa - lower.mantissa;
    let mut distance = upper.mantissa - exact.mantissa;
    let (mut whole, mut fraction) = (upper.mantissa >> point, upper.mantissa & (one - 1));
    for power in (0..10).rev() {
        let unit = 10u64.pow(power);
        decimal.push(whole / unit);
        whole %= unit;
        let rest = (whole << point) + fraction;
        if rest <= room {
            decimal.exponent += power.cast_signed();
            return approach(decimal, room, rest, unit << point, distance);
        }
    }
    loop {
        fraction = fraction.wrapping_mul(10);
        room = room.wrapping_mul(10);
        distance = distance.wrapping_mul(10);
        decimal.exponent -= 1;
        decimal.push(fraction >> point);
        fraction &= one - 1;
        if fraction < room {
            return approach(decimal, room, fraction, one, distance);
        }
    }
}

/// Lowers the last digit while that brings `rest`, the distance from the upper end, nearer to `distance`.
fn approach(mut decimal: Decimal, room: u64, mut rest: u64, unit: u64, distance: u64) -> Decimal {
    let last = usize::from(decimal.count).saturating_sub(1);
    while rest < distance && room - rest >= unit && (rest + unit < distance || distance - rest > rest + unit - distance)
    {
        decimal.digits[last] -= 1;
        rest += unit;
    }
    decimal
}
