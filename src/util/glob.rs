//! Glob patterns as KEYS, SCAN, PSUBSCRIBE, ACL rules and CONFIG GET use them.
//!
//! Invariant: matching is iterative and its steps are counted, so that no pattern recurses or runs long. Every element
//! but `*` takes exactly one byte, so only the last `*` seen ever needs another try.
//!
//! | element | takes |
//! |---|---|
//! | `*` | any bytes, also none (but a whole text that is empty matches only the empty pattern, as in Valkey) |
//! | `?` | any byte |
//! | `[ab]` `[^ab]` `[a-z]` `[z-a]` | a byte of the class, or not of it; an open class ends with the pattern |
//! | `\x` | the byte `x`, also inside a class |
//!
//! It knows bytes, not keys or characters.

use memchr::memchr;

/// Pattern elements that one match may examine: some tens of milliseconds.
const STEPS: usize = 10_000_000;

/// True if `text` matches `pattern`; with `nocase` ASCII letters match in either case.
///
/// O(pattern * text) at worst, cut off after ten million steps: what would take longer does not match.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    let mut steps = STEPS;
    matches_within(pattern, text, nocase, &mut steps)
}

/// As [`matches`], with a step budget that several calls share; once `steps` is 0 nothing matches.
#[must_use]
pub fn matches_within(pattern: &[u8], text: &[u8], nocase: bool, steps: &mut usize) -> bool {
    let (mut rest, mut at) = (pattern, 0);
    let mut star: Option<(&[u8], usize)> = None;
    while at < text.len() {
        if let [b'*', after @ ..] = rest {
            if after.is_empty() {
                return true;
            }
            rest = after;
            star = Some((after, at));
            continue;
        }
        let (matched, after) = element(rest, text[at], nocase, steps);
        if matched {
            rest = after;
            at += 1;
            continue;
        }
        let Some((again, from)) = star else { return false };
        let Some(next) = next_candidate(again, text, from + 1, nocase) else { return false };
        if *steps == 0 {
            return false;
        }
        (rest, at) = (again, next);
        star = Some((again, next));
    }
    rest.is_empty() || (!text.is_empty() && rest.iter().all(|byte| *byte == b'*'))
}

/// The first position from `from` on where `rest`, which follows a `*`, may begin to match.
fn next_candidate(rest: &[u8], text: &[u8], from: usize, nocase: bool) -> Option<usize> {
    match rest.first() {
        Some(literal) if !nocase && !is_special(*literal) => {
            text.get(from..).and_then(|tail| memchr(*literal, tail)).map(|found| from + found)
        }
        _ => Some(from),
    }
}

/// True if `byte` satisfies the first element of `pattern` (not `*`), and what follows that element.
#[inline]
fn element<'a>(pattern: &'a [u8], byte: u8, nocase: bool, steps: &mut usize) -> (bool, &'a [u8]) {
    *steps = steps.saturating_sub(1);
    match pattern {
        [] => (false, &[]),
        [b'?', rest @ ..] => (true, rest),
        [b'[', rest @ ..] => class(rest, byte, nocase, steps),
        [b'\\', escaped, rest @ ..] | [escaped, rest @ ..] => (same(*escaped, byte, nocase), rest),
    }
}

/// As [`element`] for a class behind its `[`.
fn class<'a>(mut rest: &'a [u8], byte: u8, nocase: bool, steps: &mut usize) -> (bool, &'a [u8]) {
    let negated = rest.first() == Some(&b'^');
    if negated {
        rest = &rest[1..];
    }
    let mut found = false;
    while let [first, after @ ..] = rest {
        *steps = steps.saturating_sub(1);
        (found, rest) = match (first, after) {
            (b'\\', [escaped, after @ ..]) => (found | (*escaped == byte), after),
            (b']', _) => return (found != negated, after),
            (start, [b'-', end, after @ ..]) => (found | in_range(*start, *end, byte, nocase), after),
            _ => (found | same(*first, byte, nocase), after),
        };
    }
    (found != negated, rest)
}

fn in_range(start: u8, end: u8, byte: u8, nocase: bool) -> bool {
    // Bytes above 0x7f stand before the others, as where `char` is signed.
    let (low, high) = (start.cast_signed().min(end.cast_signed()), start.cast_signed().max(end.cast_signed()));
    if nocase {
        let lower = |byte: i8| byte.cast_unsigned().to_ascii_lowercase().cast_signed();
        return (lower(low)..=lower(high)).contains(&lower(byte.cast_signed()));
    }
    (low..=high).contains(&byte.cast_signed())
}

#[inline]
fn same(one: u8, other: u8, nocase: bool) -> bool {
    one == other || (nocase && one.eq_ignore_ascii_case(&other))
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b'\\')
}

/// True if `pattern` matches one text only, itself. O(length).
#[must_use]
pub fn is_literal(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| is_special(*byte))
}

/// The bytes that every matching text begins with: `pattern` up to its first special byte. O(length).
#[must_use]
pub fn literal_prefix(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|byte| is_special(*byte)).unwrap_or(pattern.len());
    &pattern[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        for (texts, expected) in [(yes, true), (no, false)] {
            for text in texts {
                assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), false), expected, "{pattern} on {text}");
            }
        }
    }

    #[test]
    fn elements() {
        check("", &[""], &["a"]);
        check("*", &["a", "abc"], &[""]);
        check("a*", &["a", "ab", "abb"], &["ba", ""]);
        check("a**c*", &["ac", "abc", "abcd", "abccd"], &["ab"]);
        check("*abab", &["abab", "ababab", "abaabab"], &["ababa"]);
        check("h?llo", &["hello", "h?llo"], &["hllo", "heello"]);
        check("h[ae]llo", &["hello", "hallo"], &["hillo"]);
        check("h[^e]llo", &["hallo"], &["hello"]);
        check("[a-c][c-a]", &["ab", "cb"], &["ad", "da"]);
        check("\\*\\?\\[\\\\", &["*?[\\"], &["a?[\\"]);
        check("[\\]a]", &["]", "a"], &["\\"]);
    }

    #[test]
    fn odd_classes_follow_valkey() {
        check("[^]", &["a", "^"], &["", "ab"]);
        check("[]", &[], &["a", "]", ""]);
        check("[a-", &["a", "-"], &["b"]);
        check("[a-]", &["]", "a", "^"], &["-", "b"]);
        check("[", &[], &["[", "a"]);
        check("a\\", &["a\\"], &["a"]);
        check("[\\", &["\\"], &["["]);
    }

    #[test]
    fn letter_case() {
        assert!(matches(b"HeL[l-o]\\O*", b"hELLo world", true));
        assert!(!matches(b"HELLO", b"hello", false));
        assert!(!matches(b"[\\A]", b"a", true), "an escape in a class is exact, as in Valkey");
    }

    #[test]
    fn high_bytes_stand_before_the_others() {
        assert!(matches(b"[\x80-a]", b"A", false));
        assert!(matches(b"[\x80-a]", b"\xff", false));
        assert!(!matches(b"[a-\xff]", b"b", false));
    }

    #[test]
    fn hostile_patterns_end() {
        let text = b"a".repeat(100_000);
        for pattern in [b"*a".repeat(50_000), b"*[a".repeat(50_000), b"*?".repeat(60_000), b"*a*a*a*a*b".to_vec()] {
            assert!(!matches(&[pattern.as_slice(), b"b"].concat(), &text, false));
        }
        let mut steps = 0;
        assert!(!matches_within(b"*?b", b"aab", false, &mut steps));
    }

    #[test]
    fn literals() {
        assert!(is_literal(b"user:1"));
        assert!(!is_literal(b"user:?"));
        assert_eq!(literal_prefix(b"user:*:x"), b"user:");
        assert_eq!(literal_prefix(b"user"), b"user");
    }
}
