//! Streams in the format.
//!
//! ```text
//! nodes       number, each: first id (a string of 16 bytes, big-endian), listpack
//! figures     length, last id (ms, seq); from type 19 on: first id, greatest deleted id, entries added
//! groups      number, each: name, last id; from type 19 on: entries read
//!   pending   number, each: id (16 bytes), delivered (ms, 8 bytes), deliveries
//!   consumers number, each: name, seen (ms, 8 bytes); from type 21 on: active (ms, 8 bytes); ids pending (16 bytes each)
//! ```
//!
//! Source: the RDB format.

use super::bytes::{Malformed, Reader, put_count, put_number, put_string};
use crate::util::pieces::Pieces;
use crate::value::stream::Stream;
use crate::value::stream::entries::{Entries, Figures};
use crate::value::stream::group::{Group, Groups, Pending};
use crate::value::stream::id::StreamId;
use crate::value::stream::walk::Part;

/// The type that is written: the latest that Redis 7.0 reads.
pub const WRITTEN: u8 = 19;
const OLDEST: u8 = 15;
const WITH_ACTIVE: u8 = 21;

/// The number that stands for an unknown count of entries read.
const UNKNOWN: u64 = u64::MAX;

/// Appends the value.
pub fn save(stream: &Stream, out: &mut Pieces) {
    let entries = stream.entries();
    put_count(entries.nodes().len(), &mut out.bytes);
    for (first, pack) in entries.nodes() {
        put_string(&first.to_bytes(), out);
        put_string(&pack, out);
    }
    save_figures(entries.figures(), stream.groups().len(), out);
    for (name, group) in stream.groups().iter() {
        save_group_head((name, group.last_id, group.entries_read, group.pending_len()), out);
        save_group(group, out);
    }
}

/// Appends a part.
pub fn save_part(part: Part<'_>, out: &mut Pieces) {
    match part {
        Part::Node(first, pack) => {
            put_string(&first.to_bytes(), out);
            put_string(&pack, out);
        }
        Part::Figures(figures, groups) => save_figures(figures, groups, out),
        Part::Group(name, last_id, read, pending) => save_group_head((name, last_id, read, pending), out),
        Part::Pending(id, pending) => save_pending(id, pending, out),
        Part::Consumers(count) => put_count(count, &mut out.bytes),
        Part::Consumer(name, seen_ms, pending) => save_consumer(name, seen_ms, pending, out),
        Part::Owned(id) => out.bytes.extend_from_slice(&id.to_bytes()),
    }
}

fn save_figures(figures: &Figures, groups: usize, out: &mut Pieces) {
    put_number(figures.len, &mut out.bytes);
    for id in [figures.last_id, figures.first_id, figures.max_deleted_id] {
        put_id(id, &mut out.bytes);
    }
    put_number(figures.added, &mut out.bytes);
    put_count(groups, &mut out.bytes);
}

fn put_id(id: StreamId, out: &mut Vec<u8>) {
    put_number(id.ms, out);
    put_number(id.seq, out);
}

/// Name, last id, entries read, number of deliveries.
type GroupHead<'a> = (&'a [u8], StreamId, Option<i64>, usize);

fn save_group_head((name, last_id, entries_read, pending): GroupHead<'_>, out: &mut Pieces) {
    put_string(name, out);
    put_id(last_id, &mut out.bytes);
    put_number(entries_read.map_or(UNKNOWN, i64::cast_unsigned), &mut out.bytes);
    put_count(pending, &mut out.bytes);
}

fn save_pending(id: StreamId, pending: &Pending, out: &mut Pieces) {
    out.bytes.extend_from_slice(&id.to_bytes());
    out.bytes.extend_from_slice(&pending.delivered_ms.to_le_bytes());
    put_number(pending.count, &mut out.bytes);
}

fn save_consumer(name: &[u8], seen_ms: i64, pending: usize, out: &mut Pieces) {
    put_string(name, out);
    out.bytes.extend_from_slice(&seen_ms.to_le_bytes());
    put_count(pending, &mut out.bytes);
}

fn save_group(group: &Group, out: &mut Pieces) {
    for (id, pending) in group.pending(StreamId::MIN, StreamId::MAX) {
        save_pending(id, pending, out);
    }
    put_count(group.consumers_len(), &mut out.bytes);
    for consumer in group.consumers() {
        save_consumer(consumer.name(), consumer.seen_ms, consumer.pending_len(), out);
        for id in consumer.pending(StreamId::MIN, StreamId::MAX) {
            out.bytes.extend_from_slice(&id.to_bytes());
        }
    }
}

/// Reads a stream of type `kind`.
pub fn load(kind: u8, reader: &mut Reader<'_>) -> Result<Stream, Malformed> {
    let mut nodes = Vec::new();
    for _ in 0..reader.count(2)? {
        let first = <[u8; 16]>::try_from(&reader.string()?[..]).map_err(|_| Malformed)?;
        nodes.push((StreamId::from_bytes(first), reader.string()?));
    }
    let (len, last_id) = (reader.number()?, read_id(reader)?);
    let mut figures = Figures { len, last_id, added: len, ..Figures::default() };
    if kind > OLDEST {
        figures.first_id = read_id(reader)?;
        figures.max_deleted_id = read_id(reader)?;
        figures.added = reader.number()?;
    }
    let borrowed = nodes.iter().map(|(first, pack)| (*first, &pack[..]));
    let entries = Entries::from_nodes(borrowed, figures).ok_or(Malformed)?;
    let mut groups = Groups::default();
    for _ in 0..reader.count(1)? {
        let name = reader.string()?;
        let group = load_group(kind, reader, &entries)?;
        if !groups.insert(&name, group) {
            return Err(Malformed);
        }
    }
    Ok(Stream::new(entries, groups))
}

fn read_id(reader: &mut Reader<'_>) -> Result<StreamId, Malformed> {
    Ok(StreamId { ms: reader.number()?, seq: reader.number()? })
}

fn raw_id(reader: &mut Reader<'_>) -> Result<StreamId, Malformed> {
    reader.array().map(StreamId::from_bytes)
}

fn load_group(kind: u8, reader: &mut Reader<'_>, entries: &Entries) -> Result<Group, Malformed> {
    let last_id = read_id(reader)?;
    let entries_read = match kind {
        OLDEST => entries.position(last_id),
        // As in Valkey it may have run over, and then is negative.
        _ => Some(reader.number()?).filter(|read| *read != UNKNOWN).map(u64::cast_signed),
    };
    let mut group = Group::new(last_id, entries_read);
    let mut deliveries = std::collections::BTreeMap::new();
    for _ in 0..reader.count(25)? {
        let id = raw_id(reader)?;
        let delivery = (reader.millis()?, reader.number()?);
        if deliveries.insert(id, delivery).is_some() {
            return Err(Malformed);
        }
    }
    for _ in 0..reader.count(10)? {
        load_consumer(kind, reader, &mut group, &mut deliveries)?;
    }
    // A delivery that is nobody's could never be acknowledged.
    if deliveries.is_empty() { Ok(group) } else { Err(Malformed) }
}

fn load_consumer(
    kind: u8,
    reader: &mut Reader<'_>,
    group: &mut Group,
    deliveries: &mut std::collections::BTreeMap<StreamId, (i64, u64)>,
) -> Result<(), Malformed> {
    let name = reader.string()?;
    let seen_ms = reader.millis()?;
    let active_ms = if kind >= WITH_ACTIVE { reader.millis()? } else { seen_ms };
    let (consumer, made) = group.consumer_or_new(&name, seen_ms);
    if !made {
        return Err(Malformed);
    }
    if let Some(consumer) = group.consumer_mut(consumer) {
        consumer.active_ms = active_ms;
    }
    for _ in 0..reader.count(16)? {
        let id = raw_id(reader)?;
        let (delivered_ms, count) = deliveries.remove(&id).ok_or(Malformed)?;
        group.deliver(id, consumer, delivered_ms, count);
    }
    Ok(())
}
