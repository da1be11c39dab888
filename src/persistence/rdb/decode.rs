//! Blocks of a file become entries, on any number of threads.
//!
//! Invariant: of several faults the one that lies first in the file is reported. Must not know: where blocks come from.

use super::bytes::{Malformed, Reader};
use super::dump::VALKEY;
use super::load::{Fault, Options, Progress};
use super::queue::Block;
use super::records::{Found, Version, key_at};
use super::value::{self, Loaded};
use crate::keyspace::entry::Entry;
use crate::keyspace::intake::{Arrival, Intake};
use crate::keyspace::{Keyspace, View, access_seconds};
use crate::util::clock::UnixMs;
use crate::util::memory::flush_drift;
use crate::value::object::Source;
use crate::value::string::{INLINE_MAX, StringSource};
use bytes::Bytes;
use parking_lot::Mutex;
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What all threads that decode one file share.
pub struct Job<'a> {
    /// Where entries go; `None`: they are only looked at.
    pub keyspace: Option<&'a Keyspace>,
    /// How to load.
    pub options: &'a Options,
    /// Who is told how far it is.
    pub progress: &'a Progress,
    /// The format.
    pub version: Version,
    fault: Mutex<Option<Fault>>,
    failed: AtomicBool,
}

impl<'a> Job<'a> {
    /// One without faults.
    pub fn new(
        keyspace: Option<&'a Keyspace>,
        options: &'a Options,
        progress: &'a Progress,
        version: Version,
    ) -> Job<'a> {
        Job { keyspace, options, progress, version, fault: Mutex::default(), failed: AtomicBool::new(false) }
    }

    /// Whether there was a fault.
    pub fn failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    /// Reports a fault.
    pub fn fail(&self, fault: Fault) {
        let mut first = self.fault.lock();
        if first.as_ref().is_none_or(|first| fault.offset < first.offset) {
            *first = Some(fault);
        }
        self.failed.store(true, Relaxed);
    }

    /// The first fault.
    pub fn take_fault(&self) -> Option<Fault> {
        self.fault.lock().take()
    }

    /// The entry of a key; `None` when its value is none of its type.
    fn decode(&self, key: &[u8], found: &Found, bytes: &[u8]) -> Option<Entry> {
        let version = if self.version.valkey { VALKEY } else { self.version.number };
        let (mut reader, deadline) = (Reader::new(bytes), found.deadline.map(UnixMs));
        let value = value::load(found.kind, version, &mut reader, &self.options.limits).ok()?;
        if !reader.rest().is_empty() {
            return None;
        }
        Some(match value {
            Loaded::Object(object) => Entry::new(key, Source::Object(object), deadline),
            // Not copied once more.
            Loaded::Text(Cow::Owned(text)) if text.len() > INLINE_MAX => {
                Entry::new(key, StringSource::Large(Bytes::from(text)), deadline)
            }
            Loaded::Text(text) => Entry::new(key, StringSource::new(&text), deadline),
        })
    }

    /// One that decodes for this job.
    pub fn decoder(&self) -> Decoder<'_, 'a> {
        let Options { now, replace, .. } = *self.options;
        let intake = self.keyspace.map(|keyspace| Intake::new(keyspace, now, replace));
        Decoder { job: self, intake, held: None, db: 0 }
    }
}

/// Decodes blocks, one after the other.
pub struct Decoder<'j, 'a> {
    job: &'j Job<'a>,
    intake: Option<Intake<'a>>,
    /// All shards, if they are held; then there is one decoder only.
    pub held: Option<&'j mut View<'static>>,
    db: usize,
}

/// What became of an entry.
enum Fate {
    Stored,
    Expired,
    Empty,
}

impl Decoder<'_, '_> {
    /// Decodes and stores the entries of a block.
    pub fn decode(&mut self, block: &Block) {
        let (mut stored, mut expired, mut empty, mut timed) = (0, 0, 0, 0);
        for (tag, (db, found)) in block.entries.iter().enumerate() {
            if *db != self.db {
                self.flush(block);
                self.db = *db;
            }
            timed += u64::from(found.deadline.is_some());
            match self.entry(&block.bytes, found, tag) {
                Ok(Fate::Stored) => stored += 1,
                Ok(Fate::Expired) => expired += 1,
                Ok(Fate::Empty) => empty += 1,
                Err(what) => {
                    let offset = block.start + found.value.start as u64;
                    self.job.fail(Fault { offset, what });
                    break;
                }
            }
        }
        self.flush(block);
        let progress = self.job.progress;
        progress.keys.fetch_add(stored, Relaxed);
        progress.expired.fetch_add(expired, Relaxed);
        progress.empty.fetch_add(empty, Relaxed);
        progress.timed.fetch_add(timed, Relaxed);
        flush_drift();
    }

    /// Makes a database ready for about so many keys.
    pub fn reserve(&mut self, db: usize, keys: usize) {
        let held = self.held.as_deref_mut();
        if let Some(intake) = &self.intake {
            intake.reserve(db, keys, held);
        }
    }

    fn flush(&mut self, block: &Block) {
        let (db, held) = (self.db, self.held.as_deref_mut());
        let Some(Err(tag)) = self.intake.as_mut().map(|intake| intake.flush(db, held)) else { return };
        if let Some((db, found)) = block.entries.get(tag) {
            let offset = block.start + found.key as u64;
            let what = format!("RDB has duplicated key '{}' in DB {db}", name(&block.bytes, found));
            self.job.fail(Fault { offset, what });
        }
    }

    fn entry(&mut self, bytes: &[u8], found: &Found, tag: usize) -> Result<Fate, String> {
        let options = self.job.options;
        let key = key_at(bytes, found.key)?;
        let value = &bytes[found.value.clone()];
        let Some(mut entry) = self.job.decode(&key, found, value) else {
            return if is_empty(found.kind, value) {
                Ok(Fate::Empty)
            } else {
                let (kind, key) = (value::name_of(found.kind), name(bytes, found));
                tracing::error!("{kind} integrity check failed.");
                Err(format!(
                    "the value of key '{key}', of type {}, is damaged: {kind} integrity check failed",
                    found.kind
                ))
            };
        };
        if !options.keep_expired && !entry.get().is_live(options.now) {
            return Ok(Fate::Expired);
        }
        let idle_ms = found.idle_s.and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0).saturating_mul(1000);
        entry.get_mut().set_access(access_seconds(UnixMs(options.now.0.saturating_sub(idle_ms))));
        if let (Some(intake), Some(keyspace)) = (&mut self.intake, self.job.keyspace) {
            let hash = keyspace.hasher().hash(&key);
            intake.add(Arrival { hash, entry, frequency: found.frequency, tag });
        }
        Ok(Fate::Stored)
    }
}

/// A key as a message can show it.
fn name(bytes: &[u8], found: &Found) -> String {
    let key = key_at(bytes, found.key).unwrap_or_default();
    key.iter().take(128).flat_map(|byte| byte.escape_ascii()).map(char::from).collect()
}

/// Whether a value is a collection without elements, which old versions of Redis have written at times and nobody misses.
fn is_empty(kind: u8, value: &[u8]) -> bool {
    let (mut reader, deadlines) = (Reader::new(value), matches!(kind, 24 | 25));
    if deadlines && reader.take(8).is_err() {
        return false;
    }
    match kind {
        14 | 18 => has_empty_nodes(kind, &mut reader).unwrap_or(false),
        1..=5 | 22 | 24 => reader.number() == Ok(0),
        _ => reader.string().is_ok_and(|packed| is_empty_pack(kind, &packed)),
    }
}

/// Whether a list of ziplists (14) or of nodes has no node with an element.
fn has_empty_nodes(kind: u8, reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    for _ in 0..reader.number()? {
        let packed = kind == 14 || reader.number()? == value::PACKED;
        let bytes = reader.string()?;
        if !packed || !is_empty_pack(if kind == 14 { 10 } else { 16 }, &bytes) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_empty_pack(kind: u8, packed: &[u8]) -> bool {
    let word = |at: usize| packed.get(at..at + 2).map(|word| u16::from_le_bytes([word[0], word[1]]));
    match kind {
        9 => packed.first() == Some(&0),
        10 | 12 | 13 => word(8) == Some(0),
        11 => word(4) == Some(0) && word(6) == Some(0),
        16 | 17 | 20 | 25 => word(4) == Some(0),
        _ => false,
    }
}
