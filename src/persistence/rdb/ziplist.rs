//! Ziplists and zipmaps, which Redis before 7.0 wrote for small collections: read only.
//!
//! ```text
//! ziplist = bytes u32, tail u32 (where the last entry begins), count u16, entries, 0xff
//! entry   = length of the entry before (1 byte, or 0xfe and 4), encoding, data
//! zipmap  = count u8, (field length, field, value length, free u8, value, free bytes)*, 0xff
//! ```
//!
//! Invariant: everything is checked against the bytes at hand. Source: the RDB format.

use super::bytes::{Malformed, Reader};
use std::borrow::Cow;

/// The elements of a ziplist, in order.
pub fn ziplist(bytes: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, Malformed> {
    let mut reader = Reader::new(bytes);
    let total = u32::from_le_bytes(reader.array()?) as usize;
    let tail = u32::from_le_bytes(reader.array()?) as usize;
    let count = u16::from_le_bytes(reader.array()?);
    if total != bytes.len() {
        return Err(Malformed);
    }
    let mut elements = Vec::new();
    let (mut before, mut last) = (0, bytes.len() - reader.rest().len());
    while reader.rest().first() != Some(&0xff) {
        let start = reader.rest().len();
        last = bytes.len() - start;
        let previous = match reader.byte()? {
            0xfe => u32::from_le_bytes(reader.array()?) as usize,
            short => usize::from(short),
        };
        if previous != before {
            return Err(Malformed);
        }
        elements.push(element(&mut reader)?);
        before = start - reader.rest().len();
    }
    let counted = count == u16::MAX || usize::from(count) == elements.len();
    if reader.rest().len() == 1 && counted && tail == last { Ok(elements) } else { Err(Malformed) }
}

fn element<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, [u8]>, Malformed> {
    let integer = |n: i64| Ok(Cow::Owned(n.to_string().into_bytes()));
    let text = |len: usize, reader: &mut Reader<'a>| reader.take(len).map(Cow::Borrowed);
    match reader.byte()? {
        first @ 0x00..=0x3f => text(usize::from(first), reader),
        first @ 0x40..=0x7f => {
            let len = u16::from_be_bytes([first & 0x3f, reader.byte()?]);
            text(usize::from(len), reader)
        }
        0x80 => {
            let len = u32::from_be_bytes(reader.array()?) as usize;
            text(len, reader)
        }
        0xc0 => integer(i64::from(i16::from_le_bytes(reader.array()?))),
        0xd0 => integer(i64::from(i32::from_le_bytes(reader.array()?))),
        0xe0 => integer(i64::from_le_bytes(reader.array()?)),
        0xf0 => {
            let [a, b, c] = reader.array()?;
            integer(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8))
        }
        0xfe => integer(i64::from(i8::from_le_bytes(reader.array()?))),
        first @ 0xf1..=0xfd => integer(i64::from(first & 0x0f) - 1),
        _ => Err(Malformed),
    }
}

/// Fields and values of a zipmap, in turn.
pub fn zipmap(bytes: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, Malformed> {
    let mut reader = Reader::new(bytes);
    let _count = reader.byte()?;
    let mut elements = Vec::new();
    while let Some(len) = zipmap_len(&mut reader)? {
        elements.push(Cow::Borrowed(reader.take(len)?));
        let len = zipmap_len(&mut reader)?.ok_or(Malformed)?;
        let free = usize::from(reader.byte()?);
        elements.push(Cow::Borrowed(reader.take(len)?));
        reader.take(free)?;
    }
    if reader.rest().is_empty() { Ok(elements) } else { Err(Malformed) }
}

fn zipmap_len(reader: &mut Reader<'_>) -> Result<Option<usize>, Malformed> {
    Ok(match reader.byte()? {
        0xff => None,
        0xfe => match u32::from_le_bytes(reader.array()?) {
            0..=0xfd => return Err(Malformed), // nobody writes what fits a byte in this form
            len => Some(len as usize),
        },
        len => Some(usize::from(len)),
    })
}
