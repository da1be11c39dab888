//! Texts of numbers in configuration: integers, octal numbers, bytes with units, percentages.
//!
//! Invariant: a text is accepted whole or not at all, and no unit overflows silently.
//! It must not know any option. Source: the units documented at the head of `redis.conf`.

/// `1k` = 1000, `1kb` = 1024 and so on, longest multiple last of each kind.
const UNITS: [(&[u8], u64); 8] = [
    (b"", 1),
    (b"b", 1),
    (b"k", 1000),
    (b"kb", 1 << 10),
    (b"m", 1_000_000),
    (b"mb", 1 << 20),
    (b"g", 1_000_000_000),
    (b"gb", 1 << 30),
];

/// Reads a decimal integer: an optional minus sign and digits without leading zeros, nothing else.
pub fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = digits == b"0" && text == b"0" || matches!(digits.first(), Some(b'1'..=b'9'));
    if !canonical || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads an octal number of digits only.
pub fn octal(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    i64::from_str_radix(text, 8).ok()
}

/// Reads bytes with an optional unit (`b k kb m mb g gb`, any letter case); no digit is 0, as Redis reads it. `None` also
/// when the product overflows.
pub fn memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number = if number.is_empty() { 0 } else { std::str::from_utf8(number).ok()?.parse::<u64>().ok()? };
    let &(_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(factor)
}

/// Reads `N%`.
pub fn percent(text: &[u8]) -> Option<i64> {
    integer(text.strip_suffix(b"%")?).filter(|n| *n >= 0)
}

/// Writes bytes with the greatest binary unit that divides them, as CONFIG REWRITE does.
pub fn memory_text(bytes: u64) -> String {
    let (name, factor) = [("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10), ("", 1)]
        .into_iter()
        .find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor))
        .unwrap_or(("", 1));
    format!("{}{name}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_units() {
        let cases: [(&str, Option<u64>); 15] = [
            ("0", Some(0)),
            ("1b", Some(1)),
            ("1k", Some(1000)),
            ("1KB", Some(1024)),
            ("2m", Some(2_000_000)),
            ("2Mb", Some(2 << 20)),
            ("3g", Some(3_000_000_000)),
            ("3gB", Some(3 << 30)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("17179869184gb", None),
            ("1.5gb", None),
            (" 1", None),
            ("-1", None),
            ("100tb", None),
        ];
        for (text, expected) in cases {
            assert_eq!(memory(text.as_bytes()), expected, "{text}");
        }
        assert_eq!((memory(b""), memory(b"mb")), (Some(0), Some(0)));
    }

    #[test]
    fn memory_texts_read_back() {
        for bytes in [0, 1, 1000, 1024, 1025 << 10, 64 << 20, 3 << 30, 1_234_567] {
            assert_eq!(memory(memory_text(bytes).as_bytes()), Some(bytes));
        }
        assert_eq!(memory_text(64 << 20), "64mb");
    }

    #[test]
    fn integers_are_canonical() {
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        for bad in ["", "-", "-0", "007", "+1", "1 ", "0x1", "9223372036854775808"] {
            assert_eq!(integer(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(octal(b"0700"), Some(0o700));
        assert_eq!(octal(b"8"), None);
        assert_eq!(percent(b"50%"), Some(50));
        assert_eq!(percent(b"5%%"), None);
    }
}
