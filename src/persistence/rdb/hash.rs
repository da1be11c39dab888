//! Hashes in the format.
//!
//! ```text
//! 4    number of fields, each: field, value
//! 22   of Valkey, version 80: number, each: field, value, deadline (Unix ms, 8 bytes; -1 for none)
//! 24   of Redis, version 12: base deadline (8 bytes), number, each: deadline - base + 1 (0 for none), field, value
//! 25   of Redis, version 12: base deadline (8 bytes), listpack of field, value, deadline (0 for none)
//! ```
//!
//! Source: the RDB format.

use super::bytes::{Malformed, Reader, put_count, put_string};
use super::dump::VALKEY;
use super::value::{Limits, load_listpack, old_hash, pairs};
use crate::util::pieces::Pieces;
use crate::value::element::Element;
use crate::value::hash::{Hash, Lifetime, deadline_of};
use crate::value::listpack::Item;
use crate::value::object::Collection;

const PLAIN: u8 = 4;
const LISTPACK: u8 = 16;
const TIMED: u8 = 22;

/// Stands for no deadline.
const NEVER: i64 = -1;

/// The type of a hash.
pub fn type_of(hash: &Hash) -> u8 {
    match hash.listpack() {
        Some(_) => LISTPACK,
        None if hash.due().is_some() => TIMED,
        None => PLAIN,
    }
}

/// Whether only Valkey reads a hash of this type.
pub fn is_timed(kind: u8) -> bool {
    kind == TIMED
}

/// Appends the value as of `now`.
pub fn save(hash: &Hash, now: i64, out: &mut Pieces) {
    if let Some(pack) = hash.listpack() {
        return put_string(&pack.bytes(), out);
    }
    let timed = hash.due().is_some();
    put_count(hash.live_len(now), &mut out.bytes);
    for (field, value) in hash.iter(now) {
        save_field(hash, now, (field, value), timed, out);
    }
}

/// Appends a field of a hash of type `kind`, unless it had expired at `now`.
pub fn save_element(kind: u8, field: &Element, now: i64, out: &mut Pieces) {
    let deadline = deadline_of(field);
    if kind == TIMED && deadline.is_some_and(|deadline| deadline <= now) {
        return;
    }
    put_string(field.name(), out);
    put_string(field.value().unwrap_or_default(), out);
    if kind == TIMED {
        out.bytes.extend_from_slice(&deadline.unwrap_or(NEVER).to_le_bytes());
    }
}

fn save_field(hash: &Hash, now: i64, (field, value): (Item<'_>, Item<'_>), timed: bool, out: &mut Pieces) {
    let mut name = itoa::Buffer::new();
    let field = field.text(&mut name);
    put_string(field, out);
    put_string(value.text(&mut itoa::Buffer::new()), out);
    if timed {
        let deadline = hash.deadline(field, now).flatten().unwrap_or(NEVER);
        out.bytes.extend_from_slice(&deadline.to_le_bytes());
    }
}

/// A hash in the making: a field that comes twice is an error.
struct Builder<'l> {
    hash: Hash,
    limits: &'l Limits,
}

impl Builder<'_> {
    fn add(&mut self, field: &[u8], value: &[u8], deadline: Option<i64>) -> Result<(), Malformed> {
        let lifetime = deadline.map_or(Lifetime::Clear, Lifetime::Until);
        // As of the beginning of time, so that a field that has expired is a field still.
        let new = self.hash.set(field, value, lifetime, i64::MIN, self.limits.hash);
        if new { Ok(()) } else { Err(Malformed) }
    }

    fn add_items(&mut self, field: Item<'_>, value: Item<'_>, deadline: Option<i64>) -> Result<(), Malformed> {
        self.add(field.text(&mut itoa::Buffer::new()), value.text(&mut itoa::Buffer::new()), deadline)
    }
}

/// Reads a hash of type `kind`, written in `version`.
pub fn load(kind: u8, version: u16, reader: &mut Reader<'_>, limits: &Limits) -> Result<Hash, Malformed> {
    let mut builder = Builder { hash: Hash::default(), limits };
    match kind {
        PLAIN => load_pairs(reader, &mut builder)?,
        9 | 13 => {
            for pair in pairs(&old_hash(kind, &reader.string()?)?)? {
                builder.add(&pair[0], &pair[1], None)?;
            }
        }
        LISTPACK => {
            let pack = load_listpack(&reader.string()?)?;
            let mut items = pack.iter();
            while let Some(field) = items.next() {
                builder.add_items(field, items.next().ok_or(Malformed)?, None)?;
            }
        }
        TIMED if version == VALKEY => {
            for _ in 0..reader.count(10)? {
                let (field, value) = (reader.string()?, reader.string()?);
                builder.add(&field, &value, Some(reader.millis()?).filter(|deadline| *deadline != NEVER))?;
            }
        }
        24 if version != VALKEY => load_relative(reader, &mut builder)?,
        25 if version != VALKEY => load_triples(reader, &mut builder)?,
        _ => return Err(Malformed),
    }
    if builder.hash.is_empty() { Err(Malformed) } else { Ok(builder.hash) }
}

fn load_pairs(reader: &mut Reader<'_>, builder: &mut Builder<'_>) -> Result<(), Malformed> {
    for _ in 0..reader.count(2)? {
        let (field, value) = (reader.string()?, reader.string()?);
        builder.add(&field, &value, None)?;
    }
    Ok(())
}

fn load_relative(reader: &mut Reader<'_>, builder: &mut Builder<'_>) -> Result<(), Malformed> {
    let base = reader.millis()?;
    for _ in 0..reader.count(3)? {
        let later = i64::try_from(reader.number()?).map_err(|_| Malformed)?;
        let deadline = match later {
            0 => None,
            later => Some(base.checked_add(later - 1).ok_or(Malformed)?),
        };
        let (field, value) = (reader.string()?, reader.string()?);
        builder.add(&field, &value, deadline)?;
    }
    Ok(())
}

fn load_triples(reader: &mut Reader<'_>, builder: &mut Builder<'_>) -> Result<(), Malformed> {
    let _base = reader.millis()?;
    let pack = load_listpack(&reader.string()?)?;
    let mut items = pack.iter();
    while let Some(field) = items.next() {
        let value = items.next().ok_or(Malformed)?;
        let deadline = items.next().and_then(|item| item.integer()).ok_or(Malformed)?;
        builder.add_items(field, value, (deadline != 0).then_some(deadline))?;
    }
    Ok(())
}
