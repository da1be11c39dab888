//! Numbers as the C library that Valkey's scripts stand on converts them.
//!
//! Invariant: `general` is `printf("%.Ng")`, `prefix` is `strtod`, `truncated` and `truncated_unsigned` are the
//! conversions that x86-64 compilers emit, which give an answer for what C leaves open. Pure functions.

/// 2^63, the first double that no `i64` holds.
const TWO_63: f64 = 9_223_372_036_854_775_808.0;

/// The integer part; `i64::MIN` for what does not fit, NaN included. O(1).
#[expect(clippy::cast_possible_truncation, reason = "cutting off the fraction is the point; the range is checked")]
pub(super) fn truncated(value: f64) -> i64 {
    if (-TWO_63..TWO_63).contains(&value) { value as i64 } else { i64::MIN }
}

/// The integer part as unsigned, wrapping for negative numbers; 0 from 2^64 on. O(1).
pub(super) fn truncated_unsigned(value: f64) -> u64 {
    if value >= TWO_63 {
        truncated(value - TWO_63).cast_unsigned() ^ (1 << 63)
    } else {
        truncated(value).cast_unsigned()
    }
}

/// Appends `value` as `printf("%.{digits}g")` writes it. O(digits).
pub(super) fn general(out: &mut Vec<u8>, value: f64, digits: usize) {
    const EXACT: f64 = 100_000_000_000_000.0; // integers below this print as they are, with 14 digits or more
    if digits >= 14 && value.abs() < EXACT && value.fract() == 0.0 && (value != 0.0 || value.is_sign_positive()) {
        let mut buffer = itoa::Buffer::new();
        out.extend_from_slice(buffer.format(truncated(value)).as_bytes());
        return;
    }
    if value.is_nan() {
        out.extend_from_slice(if value.is_sign_negative() { b"-nan" } else { b"nan" });
    } else if value.is_infinite() {
        out.extend_from_slice(if value < 0.0 { b"-inf" } else { b"inf" });
    } else {
        general_finite(out, value, digits.max(1));
    }
}

fn general_finite(out: &mut Vec<u8>, value: f64, digits: usize) {
    let scientific = format!("{:.*e}", digits - 1, value);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let last = i32::try_from(digits).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= last {
        out.extend_from_slice(without_zeros(mantissa).as_bytes());
        let sign = if exponent < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("e{sign}{:02}", exponent.unsigned_abs()).as_bytes());
    } else {
        let decimals = usize::try_from(last - 1 - exponent).unwrap_or(0);
        out.extend_from_slice(without_zeros(&format!("{value:.decimals$}")).as_bytes());
    }
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Reads the longest number at the start of `text`: the number and its length, or `None`.
///
/// Decimal, hexadecimal with a binary exponent, `inf`, `infinity`, `nan` and `nan(word)` in any letter case, after an
/// optional sign. Spaces are not skipped. O(length).
pub(super) fn prefix(text: &[u8]) -> Option<(f64, usize)> {
    let negative = text.first() == Some(&b'-');
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let rest = text.get(sign..)?;
    let (value, length) = word(rest).or_else(|| hexadecimal(rest)).or_else(|| decimal(rest))?;
    Some((if negative { -value } else { value }, sign + length))
}

/// Reads `text` as the interpreter reads a string where it wants a number: one number between spaces, up to a NUL.
pub(super) fn whole(text: &[u8]) -> Option<f64> {
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let text = &text[..memchr::memchr(0, text).unwrap_or(text.len())];
    let (_, text) = text.split_at(run(text, is_space));
    let (value, length) = prefix(text)?;
    text[length..].iter().all(|byte| is_space(*byte)).then_some(value)
}

fn starts_with(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
}

fn word(text: &[u8]) -> Option<(f64, usize)> {
    if starts_with(text, b"infinity") {
        Some((f64::INFINITY, 8))
    } else if starts_with(text, b"inf") {
        Some((f64::INFINITY, 3))
    } else if starts_with(text, b"nan") {
        let inner = text.get(4..).unwrap_or_default();
        let letters = run(inner, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let closed = text.get(3) == Some(&b'(') && inner.get(letters) == Some(&b')');
        Some((f64::NAN, if closed { 5 + letters } else { 3 }))
    } else {
        None
    }
}

fn run(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|byte| belongs(**byte)).count()
}

fn decimal(text: &[u8]) -> Option<(f64, usize)> {
    let whole = run(text, |byte| byte.is_ascii_digit());
    let mut end = whole;
    if text.get(end) == Some(&b'.') {
        let fraction = run(&text[end + 1..], |byte| byte.is_ascii_digit());
        if whole + fraction > 0 {
            end += 1 + fraction;
        }
    }
    if end == 0 {
        return None;
    }
    end += exponent_length(&text[end..], b'e');
    let digits = std::str::from_utf8(&text[..end]).ok()?;
    Some((digits.parse().ok()?, end))
}

/// The length of `e`, an optional sign and digits; 0 when there is no digit.
fn exponent_length(text: &[u8], letter: u8) -> usize {
    if !text.first().is_some_and(|byte| byte.eq_ignore_ascii_case(&letter)) {
        return 0;
    }
    let sign = usize::from(matches!(text.get(1), Some(b'-' | b'+')));
    let digits = run(&text[1 + sign..], |byte| byte.is_ascii_digit());
    if digits == 0 { 0 } else { 1 + sign + digits }
}

fn hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    if !starts_with(text, b"0x") {
        return None;
    }
    let mut mantissa = Mantissa::default();
    let mut end = 2;
    let mut point = false;
    while let Some(byte) = text.get(end) {
        match char::from(*byte).to_digit(16) {
            Some(digit) => mantissa.push(digit, point),
            None if *byte == b'.' && !point => point = true,
            None => break,
        }
        end += 1;
    }
    if !mantissa.seen {
        return None;
    }
    if text[end - 1] == b'.' && end == 3 {
        return None;
    }
    let length = exponent_length(&text[end..], b'p');
    let exponent = std::str::from_utf8(&text[end..end + length]).ok()?.get(1..).unwrap_or("0");
    Some((mantissa.value(clamped(exponent)), end + length))
}

/// An exponent, held to a range beyond which every result is zero or infinite.
fn clamped(text: &str) -> i64 {
    const FAR: i64 = 1 << 40;
    let magnitude = text.trim_start_matches(['+', '-']).parse::<i64>().unwrap_or(FAR).min(FAR);
    if text.starts_with('-') { -magnitude } else { magnitude }
}

/// The digits of a hexadecimal number: the first 60 bits or so, and whether anything followed.
#[derive(Default)]
struct Mantissa {
    bits: u64,
    exponent: i64,
    seen: bool,
}

impl Mantissa {
    fn push(&mut self, digit: u32, fraction: bool) {
        self.seen = true;
        if self.bits >> 60 == 0 {
            self.bits = self.bits << 4 | u64::from(digit);
            self.exponent -= if fraction { 4 } else { 0 };
        } else {
            self.bits |= u64::from(digit != 0); // far below what a double holds: only rounding must know
            self.exponent += if fraction { 0 } else { 4 };
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "rounding to a double is the point")]
    fn value(&self, exponent: i64) -> f64 {
        let mut value = self.bits as f64;
        let mut left = self.exponent.saturating_add(exponent).clamp(-4000, 4000);
        while left != 0 && value != 0.0 && value.is_finite() {
            let step = left.clamp(-1000, 1000);
            value *= 2f64.powi(i32::try_from(step).unwrap_or(0));
            left -= step;
        }
        value
    }
}
