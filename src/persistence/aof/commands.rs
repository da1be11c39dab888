//! A base of commands, as `aof-use-rdb-preamble no` wants it: a RESTORE for each key.
//!
//! Source: none, but RESTORE is what makes any value again in one step, whatever its encoding.

use crate::keyspace::entry::EntryRef;
use crate::keyspace::snapshot::{Cut, Given, PartRecorder, Recorder};
use crate::persistence::disk::{Disk, DiskFile};
use crate::persistence::rdb::dump::{dump, seal};
use crate::persistence::rdb::value;
use crate::protocol::batch::encode;
use crate::util::clock::UnixMs;
use crate::util::pieces::Pieces;
use crate::value::walk::Part;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Bytes that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// Bytes between two syncs.
const SYNC_BYTES: usize = 4 << 20;

/// The longest turn under a lock, in nanoseconds, and the rest before each, as for a snapshot.
const TURN_NANOS: u64 = 50_000;
const REST: Duration = Duration::from_micros(20);

/// What is to be given to [`Keyspace::cut`](crate::keyspace::Keyspace::cut) for [`save`].
pub fn recorder() -> Box<dyn Recorder> {
    Box::new(Restores)
}

/// Records a RESTORE for each key. What is recorded in parts is put together to one when all are there: see [`Long`].
struct Restores;

impl Recorder for Restores {
    fn entry(&self, entry: EntryRef<'_>, now: UnixMs, out: &mut Pieces) {
        put_restore(entry.key(), deadline_of(entry), &dump(entry, now), &mut out.bytes);
    }

    fn parts(&self) -> Option<&dyn PartRecorder> {
        Some(self)
    }
}

impl PartRecorder for Restores {
    fn head(&self, entry: EntryRef<'_>, now: UnixMs, out: &mut Pieces) -> u8 {
        let kind = value::type_of(entry);
        out.bytes.extend_from_slice(&deadline_of(entry).to_le_bytes());
        out.bytes.extend_from_slice(&(entry.key().len() as u64).to_le_bytes());
        out.bytes.extend_from_slice(entry.key());
        out.bytes.push(kind);
        value::save_head(entry, now, out);
        kind
    }

    fn part(&self, kind: u8, part: Part<'_>, now: UnixMs, out: &mut Pieces) {
        value::save_part(kind, part, now, out);
    }
}

fn deadline_of(entry: EntryRef<'_>) -> i64 {
    entry.deadline().map_or(0, |deadline| deadline.0)
}

fn put_restore(key: &[u8], deadline: i64, payload: &[u8], out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    let words: [&[u8]; 5] = [b"RESTORE", key, digits.format(deadline).as_bytes(), payload, b"ABSTTL"];
    encode(words.into_iter(), out);
}

/// A collection that comes in parts.
#[derive(Default)]
struct Long {
    key: Vec<u8>,
    deadline: i64,
    kind: u8,
    value: Pieces,
}

impl Long {
    /// Reads what [`Restores::head`] records: deadline, length of the key (8 bytes each), key, type, and how the value begins.
    fn begin(head: &[u8]) -> Option<Long> {
        let (deadline, rest) = head.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        let (kind, begin) = rest.split_first()?;
        let mut value = Pieces::default();
        value.bytes.extend_from_slice(begin);
        Some(Long { key: key.to_vec(), deadline: i64::from_le_bytes(*deadline), kind: *kind, value })
    }

    fn put_restore(&self, out: &mut Vec<u8>) {
        put_restore(&self.key, self.deadline, &seal(self.kind, &self.value), out);
    }
}

/// Writes a base into the file at `path`, and syncs it; returns its length. `functions` are the texts of libraries; with `syncs` it
/// is synced piece by piece. Blocks.
///
/// # Errors
/// What the system says, or that nobody wants the cut any more.
pub fn save(disk: &dyn Disk, path: &Path, mut cut: Cut<'_>, functions: &[Box<[u8]>], syncs: bool) -> io::Result<u64> {
    let mut out = Out { file: disk.create(path)?, buffer: Vec::new(), written: 0, unsynced: 0, syncs };
    for code in functions {
        encode([&b"FUNCTION"[..], b"LOAD", code].into_iter(), &mut out.buffer);
    }
    let (mut pieces, mut long, mut selected) = (Pieces::default(), None, None);
    loop {
        std::thread::sleep(REST);
        let Some((db, given)) = cut.turn(TURN_NANOS, &mut pieces) else { break };
        if cut.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        if selected != Some(db) && !pieces.is_empty() {
            selected = Some(db);
            encode([&b"SELECT"[..], itoa::Buffer::new().format(db).as_bytes()].into_iter(), &mut out.buffer);
        }
        match (&mut long, given) {
            (_, Given::Entries) => out.push(&pieces.bytes)?,
            (None, _) => long = Long::begin(&pieces.bytes),
            (Some(long), _) => long.value.append(&mut pieces),
        }
        if let Some(long) = long.take_if(|_| given == Given::LastPart) {
            long.put_restore(&mut out.buffer);
            out.push(&[])?;
        }
        pieces.clear();
    }
    drop(cut);
    out.write()?;
    out.file.sync()?;
    Ok(out.written)
}

struct Out {
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    written: u64,
    unsynced: usize,
    syncs: bool,
}

impl Out {
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.unsynced += self.buffer.len();
        self.buffer.clear();
        if self.syncs && self.unsynced >= SYNC_BYTES {
            self.file.sync()?;
            self.unsynced = 0;
        }
        Ok(())
    }
}
