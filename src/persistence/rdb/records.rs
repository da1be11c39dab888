//! A snapshot file as a sequence of records: what its opcodes say, and where its values lie.
//!
//! ```text
//! "REDIS" 4 digits, or "VALKEY" 3 digits
//! 0xfa name value        auxiliary field        0xf5 text            library of functions
//! 0xfe number            database of the keys   0xfb keys timed      how many they are
//! 0xf4 slot keys timed   size of a slot         0xf3 name n (from to)*  slots that were arriving
//! 0xfc 8 bytes, 0xfd 4 bytes   deadline of the next key, in ms or s     0xf9 byte, 0xf8 number   its frequency, its idle time
//! type key value         an entry
//! 0xff, 8 bytes          end, checksum of all before it (from version 5 on; 0: none)
//! ```
//!
//! Invariant: a record is read whole or not at all. Must not know: where the bytes come from, what values mean.
//! Source: the RDB format of Redis 7 and 8 and of Valkey 9.

use super::bytes::Reader;
use super::dump::VALKEY;
use super::walk::{Stop, Walk};
use crate::keyspace::MAX_KEY_BYTES;
use std::borrow::Cow;
use std::ops::Range;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 9;

/// The versions of Redis that are read, up to this.
const LATEST_REDIS: u16 = 12;

/// The first version of Redis that is not open to everybody: from here to Valkey's own numbers they are foreign to Valkey.
const FIRST_FOREIGN: u16 = 12;

/// The first version that ends with a checksum.
const WITH_CHECKSUM: u16 = 5;

/// The version of the format that a header names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Version {
    /// The number.
    pub number: u16,
    /// Whether it counts Valkey's versions.
    pub valkey: bool,
}

impl Version {
    /// Reads a header. `any`: versions that are not known are tried too.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(header: &[u8], any: bool) -> Result<Version, String> {
        const SIGNATURE: &str = "Wrong signature trying to load DB from file: this is no snapshot";
        let (digits, valkey) = match (header.strip_prefix(b"REDIS"), header.strip_prefix(b"VALKEY")) {
            (Some(digits), _) => (digits, false),
            (_, Some(digits)) => (digits, true),
            _ => return Err(SIGNATURE.to_owned()),
        };
        let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok()).ok_or(SIGNATURE)?;
        let version = Version { number, valkey };
        if version.is_known() || any && number > 0 {
            Ok(version)
        } else {
            Err(format!("Can't handle RDB format version {number}"))
        }
    }

    /// Whether it is read without being asked to try.
    pub fn is_known(self) -> bool {
        if self.valkey { self.number == VALKEY } else { (1..=LATEST_REDIS).contains(&self.number) }
    }

    /// What it is called when it is not one of those of Valkey 9 or of the open versions of Redis.
    pub fn origin(self) -> Option<&'static str> {
        match self.number {
            FIRST_FOREIGN..VALKEY if !self.valkey => Some("foreign"),
            number if number > VALKEY => Some("future"),
            _ => None,
        }
    }

    /// Whether a checksum stands behind the end.
    pub fn has_checksum(self) -> bool {
        self.number >= WITH_CHECKSUM
    }
}

/// An entry in bytes; places count from their beginning.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Type of the value.
    pub kind: u8,
    /// Where the key lies, in the form of a string.
    pub key: usize,
    /// Where the value lies.
    pub value: Range<usize>,
    /// When it expires, in ms since the epoch.
    pub deadline: Option<i64>,
    /// Seconds since its last use.
    pub idle_s: Option<u64>,
    /// Logarithmic counter of its uses.
    pub frequency: Option<u8>,
}

/// A record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record<'a> {
    /// An entry of the current database.
    Entry(Found),
    /// The number of the current database from here on.
    Database(u64),
    /// How many keys the current database has.
    Sizes(u64),
    /// Something about the file.
    Aux(Cow<'a, [u8]>, Cow<'a, [u8]>),
    /// The text of a library of functions.
    Library(Cow<'a, [u8]>),
    /// Nothing that matters here.
    Other,
    /// The end; the checksum is not read.
    End,
}

/// Reads the record at the place of `walk`.
pub fn next<'a>(walk: &mut Walk<'a>) -> Result<Record<'a>, Stop> {
    let opcode = *walk.rest().first().ok_or(Stop::More(1))?;
    if !(0xf3..=0xff).contains(&opcode) || matches!(opcode, 0xf8 | 0xf9 | 0xfc | 0xfd) {
        return entry(walk).map(Record::Entry);
    }
    walk.byte()?;
    Ok(match opcode {
        0xff => Record::End,
        0xfe => Record::Database(walk.number()?),
        0xfb => {
            let keys = walk.number()?;
            walk.number()?;
            Record::Sizes(keys)
        }
        0xfa => {
            let name = string(walk)?;
            Record::Aux(name, string(walk)?)
        }
        0xf5 => Record::Library(string(walk)?),
        0xf4 => {
            for _ in 0..3 {
                walk.number()?;
            }
            Record::Other
        }
        0xf3 => {
            walk.string()?;
            for _ in 0..walk.number()? {
                walk.number()?;
                walk.number()?;
            }
            Record::Other
        }
        0xf6 => return Err(Stop::Bad("functions in the form of a release candidate of Redis 7.0, which nobody reads")),
        _ => return Err(Stop::Bad("data of a module, and there are no modules here")),
    })
}

/// What stands before an entry, and the entry.
fn entry(walk: &mut Walk<'_>) -> Result<Found, Stop> {
    let (mut deadline, mut idle_s, mut frequency) = (None, None, None);
    loop {
        match walk.byte()? {
            0xfc => deadline = Some(i64::from_le_bytes(walk.array()?)),
            0xfd => deadline = Some(i64::from(i32::from_le_bytes(walk.array()?)) * 1000),
            0xf8 => idle_s = Some(walk.number()?),
            0xf9 => frequency = Some(walk.byte()?),
            0xf3..=0xff => return Err(Stop::Bad("what belongs to a key stands before something else")),
            kind => {
                let key = walk.at();
                walk.string()?;
                let start = walk.at();
                walk.value(kind)?;
                return Ok(Found { kind, key, value: start..walk.at(), deadline, idle_s, frequency });
            }
        }
    }
}

/// The type of the value of the entry that begins at `place`, if so much is there.
pub fn kind_at(bytes: &[u8], place: usize) -> Option<u8> {
    let mut walk = Walk::new(bytes, place);
    loop {
        let passed = match walk.byte().ok()? {
            0xfc => walk.skip(8),
            0xfd => walk.skip(4),
            0xf8 => walk.number().map(|_| ()),
            0xf9 => walk.skip(1),
            kind => return Some(kind),
        };
        passed.ok()?;
    }
}

fn string<'a>(walk: &mut Walk<'a>) -> Result<Cow<'a, [u8]>, Stop> {
    let bytes = walk.rest();
    walk.string()?;
    Reader::new(bytes).string().map_err(|_| Stop::Bad("a compressed string that is damaged"))
}

/// The key at `place` of `bytes`.
pub fn key_at(bytes: &[u8], place: usize) -> Result<Cow<'_, [u8]>, &'static str> {
    let key =
        Reader::new(bytes.get(place..).unwrap_or_default()).string().map_err(|_| "a compressed key that is damaged")?;
    if key.len() > MAX_KEY_BYTES { Err("a key that is too long") } else { Ok(key) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        for (header, version) in [("REDIS0001", (1, false)), ("REDIS0012", (12, false)), ("VALKEY080", (80, true))] {
            let read = Version::read(header.as_bytes(), false).map(|version| (version.number, version.valkey));
            assert_eq!(read, Ok(version), "{header}");
        }
        for header in ["REDIS0000", "REDIS0013", "VALKEY081", "VALKEY011", "RODIS0009", "REDIS00+9", "REDIS00 9"] {
            assert!(Version::read(header.as_bytes(), false).is_err(), "{header}");
        }
        assert!(Version::read(b"REDIS0099", true).is_ok() && Version::read(b"REDIS0000", true).is_err());
    }

    #[test]
    fn records_are_read_whole_or_not_at_all() {
        let bytes =
            b"\xfa\x01a\xc0\x05\xfe\x03\xfb\x02\x01\xf4\x01\x02\x03\xfc\x01\0\0\0\0\0\0\0\xf9\x07\0\x01k\x01v\xff";
        let (mut walk, mut records) = (Walk::new(bytes, 0), Vec::new());
        while records.last() != Some(&Record::End) {
            records.push(next(&mut walk).expect("a record"));
        }
        let entry = Found { kind: 0, key: 26, value: 28..30, deadline: Some(1), idle_s: None, frequency: Some(7) };
        let (name, value) = (Cow::Borrowed(&b"a"[..]), Cow::Borrowed(&b"5"[..]));
        let expected = [
            Record::Aux(name, value),
            Record::Database(3),
            Record::Sizes(2),
            Record::Other,
            Record::Entry(entry),
            Record::End,
        ];
        assert_eq!(records, expected);
        assert!(walk.rest().is_empty());
    }
}
