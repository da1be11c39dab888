//! Ids of stream entries: milliseconds and a sequence number, in the order of both.
//!
//! Source: the stream introduction of the Redis manual; what is accepted as a number beyond plain digits is what Valkey
//! accepts.

use crate::util::number;

/// The longest text of an id in bytes: two 64-bit numbers and the dash.
const ID_TEXT: usize = 20 + 1 + 20;

/// Longer texts are no ids, whatever they hold.
const LONGEST_TEXT: usize = 127;

/// The id of an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct StreamId {
    /// Unix milliseconds, unless the client chose otherwise.
    pub ms: u64,
    /// Tells entries of one millisecond apart.
    pub seq: u64,
}

/// What a client wrote for an id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdText {
    /// `ms-seq`.
    Whole(StreamId),
    /// `ms` alone.
    Time(u64),
    /// `ms-*`: the sequence number is to be found.
    AnySeq(u64),
}

impl StreamId {
    /// `0-0`, which no entry has.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    /// The last possible id.
    pub const MAX: StreamId = StreamId { ms: u64::MAX, seq: u64::MAX };

    /// The id with these two parts.
    pub const fn new(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    /// The id right behind this one; none behind the last.
    pub fn next(self) -> Option<StreamId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => Some(StreamId::new(self.ms.checked_add(1)?, 0)),
        }
    }

    /// The id right before this one; none before the first.
    pub fn previous(self) -> Option<StreamId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => Some(StreamId::new(self.ms.checked_sub(1)?, u64::MAX)),
        }
    }

    /// How far `other` lies before this id; 0 if it does not.
    pub(super) fn distance(self, other: StreamId) -> u128 {
        self.to_u128().saturating_sub(other.to_u128())
    }

    fn to_u128(self) -> u128 {
        (u128::from(self.ms) << 64) | u128::from(self.seq)
    }

    /// Big-endian bytes, the key of a node in snapshots.
    pub fn to_bytes(self) -> [u8; 16] {
        self.to_u128().to_be_bytes()
    }

    /// The id that [`StreamId::to_bytes`] gave these bytes for.
    pub fn from_bytes(bytes: [u8; 16]) -> StreamId {
        let [ms, seq] = [u64::from_be_bytes(first_eight(&bytes)), u64::from_be_bytes(first_eight(&bytes[8..]))];
        StreamId { ms, seq }
    }

    /// `ms-seq` in decimal.
    pub fn text(self) -> Text {
        let mut text = Text { bytes: [0; ID_TEXT], len: 0 };
        text.push(itoa::Buffer::new().format(self.ms).as_bytes());
        text.push(b"-");
        text.push(itoa::Buffer::new().format(self.seq).as_bytes());
        text
    }
}

fn first_eight(bytes: &[u8]) -> [u8; 8] {
    bytes.first_chunk().copied().unwrap_or_default()
}

impl IdText {
    /// Reads an id as clients write it; `None` when it is none. A NUL ends the text.
    pub fn parse(text: &[u8]) -> Option<IdText> {
        if text.len() > LONGEST_TEXT {
            return None;
        }
        let text = until_nul(text);
        let Some(dash) = memchr::memchr(b'-', text) else { return number(text).map(IdText::Time) };
        let ms = number(&text[..dash])?;
        match &text[dash + 1..] {
            b"*" => Some(IdText::AnySeq(ms)),
            seq => Some(IdText::Whole(StreamId::new(ms, number(seq)?))),
        }
    }

    /// The id, with this sequence number where none was written; `None` for `ms-*`.
    pub fn id(self, missing_seq: u64) -> Option<StreamId> {
        match self {
            IdText::Whole(id) => Some(id),
            IdText::Time(ms) => Some(StreamId::new(ms, missing_seq)),
            IdText::AnySeq(_) => None,
        }
    }
}

/// The text before its first NUL: special ids such as `$` are compared as C compares strings.
pub fn until_nul(text: &[u8]) -> &[u8] {
    memchr::memchr(0, text).map_or(text, |end| &text[..end])
}

/// A 64-bit number: plain digits, or what C's `strtoull` takes (leading space, a sign, zeros).
fn number(text: &[u8]) -> Option<u64> {
    if let Some(number) = number::parse_u64(text) {
        return Some(number);
    }
    if number::parse_i64(text).is_some() {
        return None; // a plain negative number
    }
    let blank = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let (negative, digits) = match &text[blank..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let number = decimal(digits)?;
    Some(if negative { number.wrapping_neg() } else { number })
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The text of an id, on the stack.
#[derive(Clone, Copy)]
pub struct Text {
    bytes: [u8; ID_TEXT],
    len: usize,
}

impl Text {
    fn push(&mut self, part: &[u8]) {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }
}

impl std::ops::Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Option<StreamId> {
        IdText::parse(text.as_bytes())?.id(7)
    }

    /// What Valkey 9.1 answered to XADD with these.
    #[test]
    fn ids_are_read_as_by_valkey() {
        for (text, ms, seq) in [
            ("1-1", 1, 1),
            ("5", 5, 7),
            ("01-1", 1, 1),
            ("+1-2", 1, 2),
            (" 1-3", 1, 3),
            ("1-+4", 1, 4),
            ("1--0", 1, 0),
            ("1- -5", 1, u64::MAX - 4),
            ("2\0-5", 2, 7),
            ("00000000000000000000000000000000000000004", 4, 7),
            ("18446744073709551615-18446744073709551615", u64::MAX, u64::MAX),
        ] {
            assert_eq!(id(text), Some(StreamId::new(ms, seq)), "{text:?}");
        }
        for text in ["", "-", "+", "$", "3-", "-3", "1--3", "0x3", "3-3-3", "1-\0x", "1-*x", "18446744073709551616"] {
            assert_eq!(id(text), None, "{text:?}");
        }
        assert_eq!(id(&"5".repeat(128)), None);
        assert_eq!(IdText::parse(b"4-*\0"), Some(IdText::AnySeq(4)));
    }

    #[test]
    fn neighbours_and_texts() {
        let edge = StreamId::new(5, u64::MAX);
        assert_eq!(edge.next(), Some(StreamId::new(6, 0)));
        assert_eq!(StreamId::new(6, 0).previous(), Some(edge));
        assert_eq!((StreamId::MAX.next(), StreamId::MIN.previous()), (None, None));
        assert_eq!(&*StreamId::MAX.text(), b"18446744073709551615-18446744073709551615");
        assert_eq!(&*StreamId::new(1, 0).text(), b"1-0");
        assert_eq!(StreamId::from_bytes(edge.to_bytes()), edge);
        assert!(edge.to_bytes() < StreamId::new(6, 0).to_bytes());
    }
}
