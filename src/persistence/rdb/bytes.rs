//! The primitives of the format: lengths, strings, numbers, the checksum.
//!
//! ```text
//! 00llllll                    length of 6 bits
//! 01llllll llllllll           length of 14 bits, big-endian
//! 10000000 4 bytes            length of 32 bits, big-endian
//! 10000001 8 bytes            length of 64 bits, big-endian
//! 11000000/1/2 1/2/4 bytes    instead of a string: an integer, little-endian
//! 11000011 length length ..   instead of a string: LZF; compressed length, length, bytes
//! ```
//!
//! Invariant: a reader never looks beyond its bytes, and never allocates by a length that these do not hold.
//! Source: the RDB format.

use super::lzf::{self, Compressor};
use crate::util::number;
use crate::util::pieces::{Piece, Pieces};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use std::borrow::Cow;

const CHECKSUM: CrcAlgorithm = CrcAlgorithm::Crc64Redis;

/// Strings from this length on are compressed when that pays.
const COMPRESSED_FROM: usize = 21;

/// Strings from this length on are not copied by whoever holds a lock: a copy takes longer than a count.
const SHARED_FROM: usize = 256;

/// Longest text of an integer that is written as one.
const INTEGER_TEXT: usize = 11;

/// The checksum at the end of a file and of a dump.
pub fn checksum(data: &[u8]) -> u64 {
    crc_fast::checksum(CHECKSUM, data)
}

/// The checksum of bytes that come piece by piece.
pub fn running_checksum() -> Digest {
    Digest::new(CHECKSUM)
}

/// Bytes that do not follow the format, or that are cut short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// What stands where a length may stand.
enum Length {
    Plain(u64),
    /// A special form of a string.
    Encoded(u8),
}

/// Reads primitives from bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// At the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    fn any_length(&mut self) -> Result<Length, Malformed> {
        let first = self.byte()?;
        Ok(match first {
            0x00..=0x3f => Length::Plain(u64::from(first)),
            0x40..=0x7f => Length::Plain(u64::from(u16::from_be_bytes([first & 0x3f, self.byte()?]))),
            0x80 => Length::Plain(u64::from(u32::from_be_bytes(self.array()?))),
            0x81 => Length::Plain(u64::from_be_bytes(self.array()?)),
            0x82..=0xbf => return Err(Malformed),
            0xc0..=0xff => Length::Encoded(first & 0x3f),
        })
    }

    /// A number in the form of a length.
    pub fn number(&mut self) -> Result<u64, Malformed> {
        match self.any_length()? {
            Length::Plain(number) => Ok(number),
            Length::Encoded(_) => Err(Malformed),
        }
    }

    /// A count of things each of which takes at least `each` bytes of what is left: more cannot be there, so nothing is
    /// allocated for a count that lies.
    pub fn count(&mut self, each: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        if count > self.0.len() / each.max(1) { Err(Malformed) } else { Ok(count) }
    }

    /// A string, in any of its forms.
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, Malformed> {
        let integer = |n: i64| Ok(Cow::Owned(n.to_string().into_bytes()));
        match self.any_length()? {
            Length::Plain(len) => Ok(Cow::Borrowed(self.take(usize::try_from(len).map_err(|_| Malformed)?)?)),
            Length::Encoded(0) => integer(i64::from(i8::from_le_bytes(self.array()?))),
            Length::Encoded(1) => integer(i64::from(i16::from_le_bytes(self.array()?))),
            Length::Encoded(2) => integer(i64::from(i32::from_le_bytes(self.array()?))),
            Length::Encoded(3) => {
                let packed_len = self.count(1)?;
                let len = usize::try_from(self.number()?).map_err(|_| Malformed)?;
                lzf::decompress(self.take(packed_len)?, len).map(Cow::Owned).ok_or(Malformed)
            }
            Length::Encoded(_) => Err(Malformed),
        }
    }

    /// A score of sorted sets, version 2: 8 bytes.
    pub fn double(&mut self) -> Result<f64, Malformed> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// A score of sorted sets, version 1: text behind its length, 253 to 255 for what is no number.
    pub fn text_double(&mut self) -> Result<f64, Malformed> {
        match self.byte()? {
            255 => Ok(f64::NEG_INFINITY),
            254 => Ok(f64::INFINITY),
            253 => Ok(f64::NAN),
            len => number::parse_f64_lenient(self.take(usize::from(len))?).ok_or(Malformed),
        }
    }

    /// Milliseconds, 8 bytes.
    pub fn millis(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_le_bytes(self.array()?))
    }
}

/// Appends a length.
pub fn put_number(number: u64, out: &mut Vec<u8>) {
    if let Some(short) = u16::try_from(number).ok().filter(|short| *short < 1 << 14) {
        let [high, low] = short.to_be_bytes();
        if short < 1 << 6 { out.push(low) } else { out.extend_from_slice(&[0x40 | high, low]) }
    } else if let Ok(word) = u32::try_from(number) {
        out.push(0x80);
        out.extend_from_slice(&word.to_be_bytes());
    } else {
        out.push(0x81);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// Appends a count.
pub fn put_count(count: usize, out: &mut Vec<u8>) {
    put_number(count as u64, out);
}

/// Appends a string: as an integer where it spells one of 32 bits; one that may be worth compressing is left to [`finish`].
pub fn put_string(text: &[u8], out: &mut Pieces) {
    if text.len() >= COMPRESSED_FROM {
        out.push_text(text);
    } else {
        put_text(text, None, &mut out.bytes);
    }
}

/// As [`put_string`], for a text that others hold too.
pub fn put_shared_string(text: &Bytes, out: &mut Pieces) {
    if text.len() >= SHARED_FROM { out.push_large(text) } else { put_string(text, out) }
}

/// Brings what is in `pieces` into its final form, behind what is in `out`.
pub fn finish(pieces: &Pieces, mut compressor: Option<&mut Compressor>, out: &mut Vec<u8>) {
    pieces.each(|piece| match piece {
        Piece::Plain(bytes) => out.extend_from_slice(bytes),
        Piece::Text(text) => put_text(text, compressor.as_deref_mut(), out),
    });
}

/// Appends a string, compressed where there is a compressor and that pays.
pub fn put_text(text: &[u8], compressor: Option<&mut Compressor>, out: &mut Vec<u8>) {
    if text.len() <= INTEGER_TEXT
        && let Some(n) = number::parse_i64(text).and_then(|n| i32::try_from(n).ok())
    {
        return put_integer(n, out);
    }
    if text.len() >= COMPRESSED_FROM
        && let Some(packed) = compressor.and_then(|compressor| compressor.compress(text))
    {
        out.push(0xc3);
        put_count(packed.len(), out);
        put_count(text.len(), out);
        return out.extend_from_slice(packed);
    }
    put_count(text.len(), out);
    out.extend_from_slice(text);
}

fn put_integer(n: i32, out: &mut Vec<u8>) {
    if let Ok(byte) = i8::try_from(n) {
        out.push(0xc0);
        out.extend_from_slice(&byte.to_le_bytes());
    } else if let Ok(short) = i16::try_from(n) {
        out.push(0xc1);
        out.extend_from_slice(&short.to_le_bytes());
    } else {
        out.push(0xc2);
        out.extend_from_slice(&n.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn strings_come_back(text in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec(0_u8..2, 0..20_000),
            any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            any::<i16>().prop_map(|n| n.to_string().into_bytes()),
        ], compress: bool) {
            let (mut pieces, mut out) = (Pieces::default(), Vec::new());
            put_string(&text, &mut pieces);
            finish(&pieces, compress.then(Compressor::default).as_mut(), &mut out);
            let mut reader = Reader::new(&out);
            let read = reader.string().map(Cow::into_owned);
            prop_assert_eq!(read.as_deref(), Ok(&text[..]));
            prop_assert!(reader.rest().is_empty());
        }

        #[test]
        fn numbers_come_back(number: u64, shift in 0_u32..64) {
            let mut out = Vec::new();
            put_number(number >> shift, &mut out);
            prop_assert_eq!(Reader::new(&out).number(), Ok(number >> shift));
        }
    }

    #[test]
    fn the_checksum_is_that_of_redis() {
        assert_eq!(checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn counts_that_lie_are_refused() {
        let mut out = Vec::new();
        put_number(1 << 40, &mut out);
        assert_eq!(Reader::new(&out).count(1), Err(Malformed));
        assert_eq!(Reader::new(&[0x0a, 1, 2]).string(), Err(Malformed));
    }
}
