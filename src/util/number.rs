//! Numbers as Redis reads and writes them.
//!
//! Invariant: a text is accepted exactly when Redis accepts it, and a number has exactly the text that Redis gives it;
//! clients compare these strings. Pure functions; only long texts of extended floats allocate.
//!
//! Integers are strict (no spaces, no plus, no leading zeros). Doubles print the shortest digits that read back, laid
//! out as Valkey lays them out. [`Extended`] stands in for the 80-bit `long double` behind INCRBYFLOAT.

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
            let value = tail.iter().try_fold(digits_value(head)?, |value, digit| {
                let digit = digit.wrapping_sub(b'0');
                if digit > 9 { None } else { value.checked_mul(10)?.checked_add(u64::from(digit)) }
            });
            value
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

    /// Appends what still fits.
    fn push(&mut self, part: &[u8]) {
        for byte in part {
            if let Some(slot) = self.bytes.get_mut(usize::from(self.len)) {
                *slot = *byte;
                self.len += 1;
            }
        }
    }

    fn push_zeros(&mut self, count: usize) {
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

/// The text of a double as replies show it: `inf`, `-inf`, `nan`, else the shortest digits that read back. O(1).
#[must_use]
pub fn format_f64(value: f64) -> Text {
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
        return text;
    }
    text.push(ryu::Buffer::new().format_finite(value.abs()).as_bytes());
    text
}

/// Reads a double as Redis reads a score or a timeout; `None` for anything else. The caller refuses NaN.
#[must_use]
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
