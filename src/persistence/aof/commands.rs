//! A base of commands, as `aof-use-rdb-preamble no` wants it: a RESTORE for each key.
//!
//! Source: none, but RESTORE is what makes any value again in one step, whatever its encoding.

use crate::keyspace::entry::EntryRef;
use crate::keyspace::snapshot::{Cut, Given, PartRecorder, Recorder};
use crate::persistence::disk::{Disk, DiskFile};
use crate::persistence::rdb::dump::seal;
use crate::persistence::rdb::value;
use crate::protocol::batch::encode;
use crate::util::clock::UnixMs;
use crate::util::pieces::Pieces;
use crate::util::turns::take_short_turns;
use crate::value::walk::Part;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Bytes that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// Bytes between two syncs.
const SYNC_BYTES: usize = 4 << 20;

/// The longest turn under a lock, in nanoseconds, and the rest before each and the slice of processor time, as for a snapshot.
const TURN_NANOS: u64 = 50_000;
const REST: Duration = Duration::from_micros(20);
const SLICE: Duration = Duration::from_micros(100);

/// What is to be given to [`Keyspace::cut`](crate::keyspace::Keyspace::cut) for [`save`].
pub fn recorder() -> Box<dyn Recorder> {
    Box::new(Restores)
}

/// Records, for each key, a frame that says which it is (deadline, 8 bytes; type; key), and one with the value: as it is, for what is
/// compressed and summed is so under no lock.
struct Restores;

impl Restores {
    fn put_head(entry: EntryRef<'_>, out: &mut Pieces) {
        let deadline = entry.deadline().map_or(0, |deadline| deadline.0);
        out.bytes.extend_from_slice(&deadline.to_le_bytes());
        out.bytes.push(value::type_of(entry));
        out.bytes.extend_from_slice(entry.key());
        out.end_frame();
    }
}

impl Recorder for Restores {
    fn entry(&self, entry: EntryRef<'_>, now: UnixMs, out: &mut Pieces) {
        Restores::put_head(entry, out);
        value::save(entry, now, out);
        out.end_frame();
    }

    fn parts(&self) -> Option<&dyn PartRecorder> {
        Some(self)
    }
}

impl PartRecorder for Restores {
    fn head(&self, entry: EntryRef<'_>, now: UnixMs, out: &mut Pieces) -> u8 {
        Restores::put_head(entry, out);
        value::save_head(entry, now, out);
        out.end_frame();
        value::type_of(entry)
    }

    fn part(&self, kind: u8, part: Part<'_>, now: UnixMs, out: &mut Pieces) {
        value::save_part(kind, part, now, out);
    }
}

/// Encodes the request that makes a key again.
fn put_restore(head: &Pieces, value: &Pieces, out: &mut Vec<u8>) {
    let Some((deadline, [kind, key @ ..])) = head.bytes.split_first_chunk() else { return };
    let (mut digits, payload) = (itoa::Buffer::new(), seal(*kind, value));
    let deadline = digits.format(i64::from_le_bytes(*deadline)).as_bytes();
    encode([&b"RESTORE"[..], key, deadline, &payload, b"ABSTTL"].into_iter(), out);
}

/// What a base is written with, beside what there was at the cut.
#[derive(Clone, Copy)]
pub struct Base<'b> {
    /// Texts of libraries of functions.
    pub functions: &'b [Box<[u8]>],
    /// The time that it begins with, in seconds; `None` for no time.
    pub stamp_s: Option<i64>,
    /// It is synced piece by piece.
    pub syncs: bool,
}

/// Writes a base into the file at `path`, and syncs it; returns its length. Ends early once it is `cancelled`. Blocks.
///
/// # Errors
/// What the system says, or that nobody wants the cut any more.
pub fn save(
    disk: &dyn Disk,
    path: &Path,
    mut cut: Cut<'_>,
    Base { functions, stamp_s, syncs }: Base<'_>,
    cancelled: &AtomicBool,
) -> io::Result<u64> {
    let mut out = Out { file: disk.create_long(path)?, buffer: Vec::new(), written: 0, unsynced: 0, syncs };
    if let Some(stamp_s) = stamp_s {
        out.buffer.extend_from_slice(format!("#TS:{stamp_s}\r\n").as_bytes());
    }
    for code in functions {
        encode([&b"FUNCTION"[..], b"LOAD", code].into_iter(), &mut out.buffer);
    }
    let (mut pieces, mut long, mut selected) = (Pieces::default(), None::<(Pieces, Pieces)>, None);
    take_short_turns(SLICE);
    loop {
        std::thread::sleep(REST);
        let Some((db, given)) = cut.turn(TURN_NANOS, &mut pieces) else { break };
        if cut.is_cancelled() || cancelled.load(Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        if selected != Some(db) && !pieces.is_empty() {
            selected = Some(db);
            encode([&b"SELECT"[..], itoa::Buffer::new().format(db).as_bytes()].into_iter(), &mut out.buffer);
        }
        match &mut long {
            Some((_, value)) => value.append(&mut pieces),
            None => {
                for frames in pieces.frames().chunks_exact_mut(2) {
                    let [head, value] = [0, 1].map(|at| std::mem::take(&mut frames[at]));
                    match given {
                        Given::Entries => put_restore(&head, &value, &mut out.buffer),
                        Given::Part | Given::LastPart => long = Some((head, value)),
                    }
                }
            }
        }
        if let Some((head, value)) = long.take_if(|_| given == Given::LastPart) {
            put_restore(&head, &value, &mut out.buffer);
        }
        out.write_when_full()?;
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
    fn write_when_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.unsynced += self.buffer.len();
        self.buffer.clear();
        if self.syncs && self.unsynced >= SYNC_BYTES {
            self.file.write_out()?;
            self.unsynced = 0;
        }
        Ok(())
    }
}
