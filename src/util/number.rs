//! Numbers as Redis reads and writes them.
//!
//! Invariant: a text is accepted exactly when Redis accepts it, and a number has exactly the text that Redis gives it;
//! clients compare these strings. Pure functions that allocate nothing.
//!
//! Integers are strict (no spaces, no plus, no leading zeros). Doubles print the shortest digits that read back, laid
//! out as Valkey lays them out. `util::extended` stands in for the 80-bit `long double` behind INCRBYFLOAT.

use super::shortest;

/// The longest text of an `i64` in bytes: `-9223372036854775808`.
pub const I64_DIGITS: usize = 20;

/// Reads a signed 64-bit integer in its canonical form; `None` for anything else.
///
/// Refused: the empty text, spaces, `+1`, `01`, `-0`, and what does not fit. O(length), at most 20 bytes are read.
#[inline]
#[must_use]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    match text {
        [digit @ b'0'..=b'9'] => Some(i64::from(digit - b'0')),
        [b'-', digits @ ..] => {
            let magnitude = parse_u64(digits)?;
            if magnitude == 0 { None } else { 0i64.checked_sub_unsigned(magnitude) }
        }
        _ => parse_u64(text).and_then(|value| i64::try_from(value).ok()),
    }
}

/// Reads an unsigned 64-bit integer in its canonical form; `None` for anything else. O(length).
#[inline]
#[must_use]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] if text.len() <= I64_DIGITS => {
            let (head, tail) = text.split_at(text.len().min(19));
            tail.iter().try_fold(digits_value(head)?, |value, digit| {
                let digit = digit.wrapping_sub(b'0');
                if digit > 9 { None } else { value.checked_mul(10)?.checked_add(u64::from(digit)) }
            })
        }
        _ => None,
    }
}

/// The value of at most 19 ASCII digits, which cannot overflow.
#[inline]
fn digits_value(digits: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    Some(value)
}

/// Length in bytes of the decimal text of `value`. O(1).
#[must_use]
pub const fn i64_len(value: i64) -> usize {
    let digits = match value.unsigned_abs().checked_ilog10() {
        Some(log) => log as usize + 1,
        None => 1,
    };
    digits + (value < 0) as usize
}

/// A short text on the stack: what the `format_` functions return.
#[derive(Clone, Copy)]
pub struct Text {
    bytes: [u8; 32],
    len: u8,
}

impl Text {
    fn new() -> Self {
        Self { bytes: [0; 32], len: 0 }
    }

    /// Appends what still fits; the longest text, a double of 17 digits with its exponent, takes 25 bytes.
    fn push(&mut self, part: &[u8]) {
        let room = &mut self.bytes[usize::from(self.len)..];
        let fits = part.len().min(room.len());
        room[..fits].copy_from_slice(&part[..fits]);
        self.len += u8::try_from(fits).unwrap_or(0); // at most 32
    }

    fn push_zeros(&mut self, count: i32) {
        for _ in 0..count {
            self.push(b"0");
        }
    }

    /// The text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::ops::Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// The decimal text of an integer. O(1).
#[inline]
#[must_use]
pub fn format_i64(value: i64) -> Text {
    let mut text = Text::new();
    text.push(itoa::Buffer::new().format(value).as_bytes());
    text
}

/// Doubles whose magnitude is at most this print as integers when they are integers (2^62, as Valkey has it).
const INTEGER_TEXT: f64 = 4_611_686_018_427_387_904.0;

/// The text of a double as replies show it: `inf`, `-inf`, `nan`, an integer, or short digits that read back. O(1).
///
/// With an exponent (`1.5e+300`, `1.234e-4`) where Valkey has one: when zeros would pad it or the point lies deep.
#[must_use]
pub fn format_f64(value: f64) -> Text {
    if value.abs() <= INTEGER_TEXT && value.fract() == 0.0 && (value != 0.0 || value.is_sign_positive()) {
        #[expect(clippy::cast_possible_truncation, reason = "an integer within 2^62 of zero")]
        return format_i64(value as i64);
    }
    format_f64_shortest(value)
}

/// The text of a double in the fewest digits that read back, also of whole numbers: zeros pad it, or an exponent stands behind it. O(1).
#[must_use]
pub fn format_f64_shortest(value: f64) -> Text {
    let mut text = Text::new();
    if value.is_nan() {
        text.push(b"nan");
        return text;
    }
    if value.is_sign_negative() {
        text.push(b"-");
    }
    if value.is_infinite() {
        text.push(b"inf");
    } else if value == 0.0 {
        text.push(b"0");
    } else {
        lay_out(&shortest::digits(value.abs()), &mut text);
    }
    text
}

/// The text of a double with 17 significant digits, as C's `%.17g` lays it out: not the shortest, but what Valkey sends in
/// places where a `long double` is printed. O(1) for usual numbers.
#[must_use]
pub fn format_f64_long(value: f64) -> String {
    if !value.is_finite() {
        return String::from_utf8_lossy(&format_f64(value)).into_owned();
    }
    let scientific = format!("{value:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    match usize::try_from(16 - exponent) {
        Ok(decimals) if exponent >= -4 => trimmed(&format!("{value:.decimals$}")),
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{}e{sign}{:02}", trimmed(mantissa), exponent.unsigned_abs())
        }
    }
}

/// Writes decimal digits with a point, zeros or an exponent.
fn lay_out(decimal: &shortest::Decimal, text: &mut Text) {
    let digits = decimal.digits();
    let count = i32::from(decimal.count);
    let scientific = decimal.exponent + count - 1;
    match decimal.exponent {
        zeros @ 0.. if scientific < count + 7 => {
            text.push(digits);
            text.push_zeros(zeros);
        }
        exponent @ ..0 if exponent > -7 || scientific.abs() < 4 => {
            let whole = usize::try_from(count + exponent).unwrap_or(0);
            let (before, after) = digits.split_at(whole);
            text.push(if whole == 0 { b"0" } else { before });
            text.push(b".");
            text.push_zeros(-(count + exponent));
            text.push(after);
        }
        _ => {
            let (first, rest) = digits.split_at(1);
            text.push(first);
            if !rest.is_empty() {
                text.push(b".");
                text.push(rest);
            }
            text.push(if scientific < 0 { b"e-" } else { b"e+" });
            text.push(itoa::Buffer::new().format(scientific.unsigned_abs()).as_bytes());
        }
    }
}

/// Reads a double as Redis reads a score or an increment: decimal, or `inf`/`infinity` in any letter case.
///
/// `None` for spaces, hexadecimal, NaN, an empty text, and digits that overflow or that underflow to zero.
/// O(length).
#[must_use]
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    if let Some(integer) = parse_i64(text) {
        return Some(integer as f64);
    }
    let value = parse_f64_lenient(text)?;
    let overflow = value.is_infinite() && text.iter().any(u8::is_ascii_digit);
    let underflow = value == 0.0 && has_nonzero_mantissa(text);
    if overflow || underflow || text.is_empty() { None } else { Some(value) }
}

/// Reads a double as Redis reads the end of a score range: as [`parse_f64`], but what overflows is infinite, what
/// underflows is zero, and so is the empty text.
#[must_use]
pub fn parse_f64_lenient(text: &[u8]) -> Option<f64> {
    if text.is_empty() {
        return Some(0.0);
    }
    let value = std::str::from_utf8(text).ok()?.parse::<f64>().ok()?;
    if value.is_nan() { None } else { Some(value) }
}

fn has_nonzero_mantissa(text: &[u8]) -> bool {
    let mantissa = text.iter().take_while(|byte| !byte.eq_ignore_ascii_case(&b'e'));
    mantissa.into_iter().any(|byte| matches!(byte, b'1'..=b'9'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_strict() {
        for value in [0, 1, 9, 10, -1, 42, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1, 1_000_000_000_000_000_000] {
            assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
            assert_eq!(format_i64(value).as_bytes(), value.to_string().as_bytes());
        }
        for text in [
            "",
            "-",
            "-0",
            "+1",
            "01",
            "-01",
            " 1",
            "1 ",
            "1a",
            "a",
            "--1",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "100000000000000000000",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"00"), None);
    }

    /// Expected texts are those that Valkey 9.1 replied to ZADD and ZSCORE.
    #[test]
    fn doubles_print_as_in_valkey() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (0.1, "0.1"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (0.0001234, "1.234e-4"),
            (0.0012345678, "0.0012345678"),
            (123456.7, "123456.7"),
            (12345678.12345678, "1.234567812345678e+7"),
            (1e18, "1000000000000000000"),
            (4611686018427388928.0, "4611686018427389000"),
            (5e18, "5e+18"),
            (12e20, "1.2e+21"),
            (1.5e-100, "1.5e-100"),
            (5e-324, "5e-324"),
            (-1.7976931348623157e308, "-1.7976931348623157e+308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            // Not the shortest, or not the nearest of the shortest.
            (838254607708662.2, "838254607708662.3"),
            (-152068.20435, "-1.5206820435000001e+5"),
            (0.4589708835265289, "0.45897088352652893"),
        ] {
            assert_eq!(String::from_utf8_lossy(&format_f64(value)), expected);
        }
    }

    /// Expected texts are those that Valkey 9.1 replied to ZSCAN.
    #[test]
    fn doubles_print_long_as_in_c() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (0.2, "0.20000000000000001"),
            (100.0, "100"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1e-7, "9.9999999999999995e-08"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (4611686018427387904.0, "4.6116860184273879e+18"),
            (-1.5e300, "-1.5000000000000001e+300"),
            (123456789.12345679, "123456789.12345679"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(format_f64_long(value), expected);
        }
    }

    #[test]
    fn doubles_read_back() {
        let mut bits = 0x1234_5678_9abc_def0u64;
        for _ in 0..100_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits(bits ^ bits >> 29);
            if value.is_finite() {
                assert_eq!(parse_f64(&format_f64(value)), Some(value));
            }
        }
    }

    #[test]
    fn doubles_are_read_as_scores() {
        for (text, value) in [
            ("+1", 1.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1E+5", 1e5),
            ("-inf", f64::NEG_INFINITY),
            ("Infinity", f64::INFINITY),
            ("1e-320", 1e-320),
            ("0e99999", 0.0),
            ("00001", 1.0),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
        }
        for text in
            ["", ".", "1e", "0x10", " 1", "1 ", "nan", "-nan", "1e400", "1e-400", "+-1", "1_0", "infinit", "1\0"]
        {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
        for (text, value) in [("", 0.0), ("1e400", f64::INFINITY), ("1e-400", 0.0)] {
            assert_eq!(parse_f64_lenient(text.as_bytes()), Some(value), "{text}");
        }
    }
}
