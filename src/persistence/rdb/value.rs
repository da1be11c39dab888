//! One value of the format: a type byte, then what it says.
//!
//! | type | value | written |
//! |---|---|---|
//! | 0 | string | always |
//! | 1, 10, 14, 18 | list: texts; a ziplist; ziplists; nodes | 18 |
//! | 2, 11, 20 | set: texts; intset; listpack | 11 for an intset, else 2 |
//! | 3, 5, 12, 17 | sorted set: scores as text; scores as doubles; ziplist; listpack | 17 while small, else 5 |
//! | 4, 9, 13, 16, 22, 24, 25 | hash: texts; zipmap; ziplist; listpack; with deadlines (see `hash`) | 16 while small, else 4; 22 with deadlines |
//! | 15, 19, 21 | stream (see `stream`) | 19 |
//!
//! Invariant: what is written Redis 7.0 reads, but for deadlines of fields, which it does not know. What is read is checked in
//! full, whoever wrote it, and no more is allocated than that much content takes. Source: the RDB format.

use super::bytes::{Malformed, Reader, put_count, put_shared_string, put_string};
use super::ziplist::{ziplist, zipmap};
use super::{hash, stream};
use crate::keyspace::entry::EntryRef;
use crate::util::clock::UnixMs;
use crate::util::number;
use crate::util::pieces::Pieces;
use crate::value::list::{Fill, List, LoadedNode, NodeRef, Side};
use crate::value::listpack::{Item, Listpack};
use crate::value::object::{Collection, Object, ObjectRef};
use crate::value::set::{self, Set};
use crate::value::sorted_set::{self, Collected, SortedSet};
use crate::value::string::StringRef;
use crate::value::walk::Part;
use crate::value::word::Form;
use bytes::Bytes;
use std::borrow::Cow;

/// Thresholds of the compact forms.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Of a node of a list.
    pub list: Fill,
    /// Of a hash.
    pub hash: crate::value::hash::Limits,
    /// Of a set.
    pub set: set::Limits,
    /// Of a sorted set.
    pub sorted_set: sorted_set::Limits,
}

impl Default for Limits {
    /// Those of Redis and Valkey where nothing else is configured.
    fn default() -> Limits {
        Limits {
            list: Fill::new(-2),
            hash: crate::value::hash::Limits { entries: 512, value_bytes: 64 },
            set: set::Limits { intset: 512, listpack: 128, value: 64 },
            sorted_set: sorted_set::Limits { entries: 128, value_bytes: 64 },
        }
    }
}

/// Type bytes that are written.
mod types {
    pub const STRING: u8 = 0;
    pub const SET: u8 = 2;
    pub const SORTED_SET: u8 = 5;
    pub const INTSET: u8 = 11;
    pub const SORTED_SET_LISTPACK: u8 = 17;
    pub const LIST: u8 = 18;
}

/// Kinds of nodes of a list.
const PLAIN: u64 = 1;
pub(super) const PACKED: u64 = 2;

/// The type byte of an entry's value.
pub fn type_of(entry: EntryRef<'_>) -> u8 {
    match entry.object() {
        None => types::STRING,
        Some(ObjectRef::List(_)) => types::LIST,
        Some(ObjectRef::Set(set)) => match set.form() {
            Form::A(_) => types::INTSET,
            _ => types::SET,
        },
        Some(ObjectRef::SortedSet(set)) if set.as_listpack().is_some() => types::SORTED_SET_LISTPACK,
        Some(ObjectRef::SortedSet(_)) => types::SORTED_SET,
        Some(ObjectRef::Hash(hash)) => hash::type_of(hash),
        Some(ObjectRef::Stream(_)) => stream::WRITTEN,
    }
}

/// What a type byte stands for, in the words of Valkey's log.
pub fn name_of(kind: u8) -> &'static str {
    match kind {
        0 => "String",
        1 | 14 | 18 => "List",
        2 => "Set",
        3 | 5 => "Zset",
        4 | 22 | 24 | 25 => "Hash",
        9 => "Zipmap",
        10 => "List ziplist",
        11 => "Intset",
        12 => "Zset ziplist",
        13 => "Hash ziplist",
        15 | 19 | 21 => "Stream listpack",
        16 => "Hash listpack",
        17 => "Zset listpack",
        20 => "Set listpack",
        _ => "Unknown type",
    }
}

/// Appends the value of an entry as of `now`, its type left out. O(size).
pub fn save(entry: EntryRef<'_>, now: UnixMs, out: &mut Pieces) {
    match entry.object() {
        None => match entry.string() {
            Some(StringRef::Large(bytes)) => put_shared_string(bytes, out),
            Some(string) => put_string(&string.text(), out),
            None => {}
        },
        Some(ObjectRef::List(list)) => save_list(list, out),
        Some(ObjectRef::Set(set)) => save_set(set, out),
        Some(ObjectRef::SortedSet(set)) => save_sorted_set(set, out),
        Some(ObjectRef::Hash(it)) => hash::save(it, now.0, out),
        Some(ObjectRef::Stream(it)) => stream::save(it, out),
    }
}

/// Appends what stands before the parts of a long collection, its type left out: how many there are.
pub fn save_head(entry: EntryRef<'_>, now: UnixMs, out: &mut Pieces) {
    let count = match entry.object() {
        Some(ObjectRef::List(list)) => list.walkable().map_or(1, |nodes| nodes.len()),
        Some(ObjectRef::Hash(it)) => it.live_len(now.0),
        Some(ObjectRef::Stream(it)) => it.entries().nodes().len(),
        object => object.map_or(0, ObjectRef::len),
    };
    put_count(count, &mut out.bytes);
}

/// Appends a part of a long collection that was of type `kind` as of `now`.
pub fn save_part(kind: u8, part: Part<'_>, now: UnixMs, out: &mut Pieces) {
    match part {
        Part::Element(member) if kind == types::SET => put_string(member.name(), out),
        Part::Element(member) if kind == types::SORTED_SET => {
            put_string(member.name(), out);
            out.bytes.extend_from_slice(&sorted_set::score_of(member).to_le_bytes());
        }
        Part::Element(field) => hash::save_element(kind, field, now.0, out),
        Part::Node(node) => save_node(node, out),
        Part::Stream(part) => stream::save_part(part, out),
    }
}

fn save_list(list: &List, out: &mut Pieces) {
    put_count(list.nodes().count(), &mut out.bytes);
    list.nodes().for_each(|node| save_node(node, out));
}

fn save_node(node: NodeRef<'_>, out: &mut Pieces) {
    let (kind, bytes) = match node {
        NodeRef::Plain(bytes) => (PLAIN, Cow::Borrowed(bytes)),
        NodeRef::Packed(bytes) => (PACKED, bytes),
    };
    super::bytes::put_number(kind, &mut out.bytes);
    put_string(&bytes, out);
}

fn save_set(set: &Set, out: &mut Pieces) {
    if let Form::A(intset) = set.form() {
        return put_string(intset.bytes(), out);
    }
    put_count(set.len(), &mut out.bytes);
    for member in set.iter() {
        put_string(member.text(&mut itoa::Buffer::new()), out);
    }
}

fn save_sorted_set(set: &SortedSet, out: &mut Pieces) {
    if let Some(pack) = set.as_listpack() {
        return put_string(&pack.bytes(), out);
    }
    put_count(set.len(), &mut out.bytes);
    save_scored(set, 0..set.len(), out);
}

/// From the highest score down, as Redis writes them: it then inserts at the head of its list each time.
fn save_scored(set: &SortedSet, ranks: std::ops::Range<usize>, out: &mut Pieces) {
    for (member, score) in set.walk(ranks, true) {
        put_string(member.text(&mut itoa::Buffer::new()), out);
        out.bytes.extend_from_slice(&score.to_le_bytes());
    }
}

/// Reads a value of type `kind`, written in `version` of the format.
pub fn load<'a>(kind: u8, version: u16, reader: &mut Reader<'a>, limits: &Limits) -> Result<Loaded<'a>, Malformed> {
    Ok(Loaded::Object(match kind {
        0 => return reader.string().map(Loaded::Text),
        1 | 10 | 14 | 18 => Object::List(load_list(kind, reader, limits.list)?),
        2 | 11 | 20 => Object::Set(load_set(kind, reader, &limits.set)?),
        3 | 5 | 12 | 17 => Object::SortedSet(load_sorted_set(kind, reader, limits.sorted_set)?),
        4 | 9 | 13 | 16 | 22 | 24 | 25 => Object::Hash(hash::load(kind, version, reader, limits)?),
        15 | 19 | 21 => Object::Stream(stream::load(kind, reader)?),
        _ => return Err(Malformed),
    }))
}

/// A value that was read.
pub enum Loaded<'a> {
    /// A string.
    Text(Cow<'a, [u8]>),
    /// A collection.
    Object(Object),
}

fn load_list(kind: u8, reader: &mut Reader<'_>, fill: Fill) -> Result<List, Malformed> {
    let mut list = List::default();
    let mut push = |text: &[u8]| {
        list.grow(fill, text.len(), 1);
        list.push(Side::Right, text);
    };
    match kind {
        1 => {
            for _ in 0..reader.count(1)? {
                push(&reader.string()?);
            }
        }
        10 => ziplist(&reader.string()?)?.iter().for_each(|text| push(text)),
        14 => {
            for _ in 0..reader.count(1)? {
                ziplist(&reader.string()?)?.iter().for_each(|text| push(text));
            }
        }
        _ => {
            for _ in 0..reader.count(2)? {
                if let Some(node) = load_node(reader)? {
                    list.append_node(node, fill);
                }
            }
            list.shrink_loaded(fill);
        }
    }
    if list.is_empty() { Err(Malformed) } else { Ok(list) }
}

/// A node of a list; `None` for a listpack without elements, which Redis passes over too.
fn load_node(reader: &mut Reader<'_>) -> Result<Option<LoadedNode>, Malformed> {
    let kind = reader.number()?;
    let bytes = reader.string()?;
    match kind {
        PLAIN => Ok(Some(LoadedNode::Plain(Bytes::from(bytes.into_owned())))),
        PACKED => {
            let pack = Listpack::from_bytes(&bytes).ok_or(Malformed)?;
            Ok((!pack.is_empty()).then_some(LoadedNode::Packed(pack)))
        }
        _ => Err(Malformed),
    }
}

/// A listpack that is not empty.
pub(super) fn load_listpack(bytes: &[u8]) -> Result<Listpack, Malformed> {
    Listpack::from_bytes(bytes).filter(|pack| !pack.is_empty()).ok_or(Malformed)
}

fn load_set(kind: u8, reader: &mut Reader<'_>, limits: &set::Limits) -> Result<Set, Malformed> {
    let mut set: Option<Set> = None;
    let mut add = |member: &[u8], expected: usize| {
        let set = set.get_or_insert_with(|| Set::for_member(member, expected, limits));
        if set.insert(member, limits) { Ok(()) } else { Err(Malformed) }
    };
    match kind {
        2 => {
            let count = reader.count(1)?;
            for _ in 0..count {
                add(&reader.string()?, count)?;
            }
        }
        11 => {
            let bytes = reader.string()?;
            let intset = crate::value::intset::Intset::from_bytes(&bytes).ok_or(Malformed)?;
            for n in intset.iter() {
                add(itoa::Buffer::new().format(n).as_bytes(), intset.len())?;
            }
        }
        _ => {
            let pack = load_listpack(&reader.string()?)?;
            for item in pack.iter() {
                add(item.text(&mut itoa::Buffer::new()), pack.len())?;
            }
        }
    }
    set.ok_or(Malformed)
}

fn load_sorted_set(kind: u8, reader: &mut Reader<'_>, limits: sorted_set::Limits) -> Result<SortedSet, Malformed> {
    let mut members = Collected::default();
    let mut add = |member: &[u8], score: f64| {
        let before = members.len();
        members.add(member, score, |_, new| new);
        if score.is_nan() || members.len() == before { Err(Malformed) } else { Ok(()) }
    };
    match kind {
        3 => {
            for _ in 0..reader.count(2)? {
                let member = reader.string()?;
                add(&member, reader.text_double()?)?;
            }
        }
        5 => {
            for _ in 0..reader.count(9)? {
                let member = reader.string()?;
                add(&member, reader.double()?)?;
            }
        }
        12 => {
            for pair in pairs(&ziplist(&reader.string()?)?)? {
                add(&pair[0], number::parse_f64_lenient(&pair[1]).ok_or(Malformed)?)?;
            }
        }
        _ => {
            let pack = load_listpack(&reader.string()?)?;
            let mut items = pack.iter();
            while let Some(member) = items.next() {
                let score = items.next().and_then(score_of).ok_or(Malformed)?;
                add(member.text(&mut itoa::Buffer::new()), score)?;
            }
        }
    }
    if members.is_empty() { Err(Malformed) } else { Ok(members.finish(limits)) }
}

#[expect(clippy::cast_precision_loss, reason = "scores are doubles")]
fn score_of(item: Item<'_>) -> Option<f64> {
    match item {
        Item::Int(n) => Some(n as f64),
        Item::Text(text) => number::parse_f64_lenient(text),
    }
}

/// Elements in twos.
pub(super) fn pairs<'p, 'a>(
    elements: &'p [Cow<'a, [u8]>],
) -> Result<std::slice::ChunksExact<'p, Cow<'a, [u8]>>, Malformed> {
    if elements.len().is_multiple_of(2) { Ok(elements.chunks_exact(2)) } else { Err(Malformed) }
}

/// The elements of a zipmap or ziplist that holds a hash.
pub(super) fn old_hash<'a>(kind: u8, bytes: &'a [u8]) -> Result<Vec<Cow<'a, [u8]>>, Malformed> {
    if kind == 9 { zipmap(bytes) } else { ziplist(bytes) }
}
