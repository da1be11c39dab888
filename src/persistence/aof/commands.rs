//! A base of commands, as `aof-use-rdb-preamble no` wants it: a RESTORE for each key.
//!
//! Source: none, but RESTORE is what makes any value again in one step, whatever its encoding.

use crate::keyspace::snapshot::{Cut, Record};
use crate::persistence::disk::{Disk, DiskFile};
use crate::persistence::rdb::dump::dump;
use crate::protocol::batch::encode;
use crate::util::pieces::Pieces;
use std::io;
use std::path::Path;

/// Bytes that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// Bytes between two syncs.
const SYNC_BYTES: usize = 4 << 20;

/// The longest turn under a lock, in nanoseconds.
const TURN_NANOS: u64 = 100_000;

/// What is to be given to [`Keyspace::cut`](crate::keyspace::Keyspace::cut) for [`save`].
pub fn recorder() -> Box<Record> {
    Box::new(|entry, now, out| {
        let mut digits = itoa::Buffer::new();
        let deadline = entry.deadline().map_or(0, |deadline| deadline.0);
        let (deadline, payload) = (digits.format(deadline).as_bytes(), dump(entry, now));
        let words: [&[u8]; 5] = [b"RESTORE", entry.key(), deadline, &payload, b"ABSTTL"];
        encode(words.into_iter(), &mut out.bytes);
    })
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
    let (mut pieces, mut selected) = (Pieces::default(), None);
    while let Some(db) = cut.turn(TURN_NANOS, &mut pieces) {
        if cut.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        if selected != Some(db) && !pieces.is_empty() {
            selected = Some(db);
            encode([&b"SELECT"[..], itoa::Buffer::new().format(db).as_bytes()].into_iter(), &mut out.buffer);
        }
        out.push(&pieces.bytes)?;
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
