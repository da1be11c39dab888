//! The envelope of DUMP: type, value, version, checksum.
//!
//! ```text
//! type u8, value, version u16 LE, checksum u64 LE over all before it
//! ```
//!
//! Source: the DUMP and RESTORE commands of Redis.

use super::bytes::{Reader, checksum, finish};
use super::lzf::Compressor;
use super::value::{self, Limits, Loaded};
use crate::keyspace::entry::EntryRef;
use crate::util::clock::UnixMs;
use crate::util::pieces::Pieces;

/// The version that is written: that of Redis 7.0, and every form that is written was known then.
pub const VERSION: u16 = 10;

/// The latest version of Redis that is read.
const LATEST_REDIS: u16 = 12;

/// The version of Valkey from 9.0 on; between the two lie those of others.
pub const VALKEY: u16 = 80;

const ENVELOPE_BYTES: usize = 10;

/// Why bytes were not restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Too short, of an unknown version, or changed on the way.
    Envelope,
    /// No value.
    Content,
}

/// The bytes of an entry's value as of `now`. O(size).
pub fn dump(entry: EntryRef<'_>, now: UnixMs) -> Vec<u8> {
    let kind = value::type_of(entry);
    let mut pieces = Pieces::default();
    value::save(entry, now, &mut pieces);
    seal(kind, &pieces)
}

/// As [`dump`], of a value of type `kind` that is recorded already.
pub fn seal(kind: u8, value: &Pieces) -> Vec<u8> {
    let mut out = vec![kind];
    finish(value, Some(&mut Compressor::default()), &mut out);
    let version = if super::hash::is_timed(kind) { VALKEY } else { VERSION };
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&checksum(&out).to_le_bytes());
    out
}

/// How strict [`restore`] is.
#[derive(Clone, Copy, Debug)]
pub struct Checks {
    /// The checksum is verified.
    pub checksum: bool,
    /// Only versions of the format that are known are read.
    pub version: bool,
}

/// The value that `bytes` hold. O(size); allocates about what the value takes.
pub fn restore<'a>(bytes: &'a [u8], checks: Checks, limits: &Limits) -> Result<Loaded<'a>, Refusal> {
    let (content, envelope) =
        bytes.len().checked_sub(ENVELOPE_BYTES).map(|at| bytes.split_at(at)).ok_or(Refusal::Envelope)?;
    let mut envelope = Reader::new(envelope);
    let version = envelope.array().map(u16::from_le_bytes).map_err(|_| Refusal::Envelope)?;
    let sum = envelope.array().map(u64::from_le_bytes).map_err(|_| Refusal::Envelope)?;
    let known = version <= LATEST_REDIS || version == VALKEY || !checks.version;
    if !known || checks.checksum && checksum(&bytes[..bytes.len() - size_of::<u64>()]) != sum {
        return Err(Refusal::Envelope);
    }
    let mut reader = Reader::new(content);
    let kind = reader.byte().map_err(|_| Refusal::Content)?;
    match value::load(kind, version, &mut reader, limits) {
        Ok(value) if reader.rest().is_empty() => Ok(value),
        _ => {
            tracing::warn!(
                "RESTORE was given a payload that is damaged: {} integrity check failed.",
                value::name_of(kind)
            );
            Err(Refusal::Content)
        }
    }
}
