//! Libraries of functions as FUNCTION DUMP writes them: the text of each, as in a snapshot.
//!
//! ```text
//! (0xF5, text string) for each library, version u16 LE, checksum u64 LE over all before it
//! ```
//!
//! Source: the RDB format of Redis, from version 10 on.

use super::bytes::{Reader, checksum, put_text};
use super::dump::VERSION;
use super::lzf::Compressor;

/// What stands before a library.
pub const LIBRARY: u8 = 0xF5;

const ENVELOPE_BYTES: usize = 10;

/// The latest version that is read: that of Valkey from 9.0 on.
const LATEST: u16 = super::dump::VALKEY;

/// Why bytes were not restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Too short, of an unknown version, or changed on the way.
    Envelope,
    /// A dump of something else.
    NotFunctions,
    /// No text where one should be.
    Content,
}

/// The bytes of libraries, given by their texts. O(bytes).
pub fn dump<'a>(codes: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut out, mut compressor) = (Vec::new(), Compressor::default());
    for code in codes {
        out.push(LIBRARY);
        put_text(code, Some(&mut compressor), &mut out);
    }
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&checksum(&out).to_le_bytes());
    out
}

/// The texts of libraries. O(bytes).
///
/// # Errors
/// See [`Refusal`].
pub fn restore(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let (content, envelope) =
        bytes.len().checked_sub(ENVELOPE_BYTES).map(|at| bytes.split_at(at)).ok_or(Refusal::Envelope)?;
    let mut envelope = Reader::new(envelope);
    let version = envelope.array().map(u16::from_le_bytes).map_err(|_| Refusal::Envelope)?;
    let sum = envelope.array().map(u64::from_le_bytes).map_err(|_| Refusal::Envelope)?;
    if version > LATEST || checksum(&bytes[..bytes.len() - size_of::<u64>()]) != sum {
        return Err(Refusal::Envelope);
    }
    let (mut reader, mut codes) = (Reader::new(content), Vec::new());
    while !reader.rest().is_empty() {
        if reader.byte() != Ok(LIBRARY) {
            return Err(Refusal::NotFunctions);
        }
        codes.push(reader.string().map_err(|_| Refusal::Content)?.into_owned());
    }
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let codes = [&b"#!lua name=a\nx"[..], &[b'y'; 5000]];
        let bytes = dump(codes.into_iter());
        assert_eq!(restore(&bytes), Ok(codes.map(<[u8]>::to_vec).to_vec()));
        assert_eq!(restore(&bytes[1..]), Err(Refusal::Envelope));
        assert_eq!(restore(b"xxx"), Err(Refusal::Envelope));
        for cut in 0..bytes.len() {
            assert!(restore(&bytes[..cut]).is_err());
        }
    }
}
