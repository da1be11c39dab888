//! Writing a snapshot: the whole file, from a [`Cut`] through the keyspace.
//!
//! ```text
//! REDIS0010 or VALKEY080      9 bytes
//! 250 name value              notes (aux): about the server, and whether an append-only file goes on behind
//! 245 text                    a library of functions
//! 254 number                  database; may come again
//! 251 keys expiring           once a database, to make room
//!   252 deadline              8 bytes, Unix ms
//!   248 seconds, 249 counter  how long the key was idle, how often it was used; only under policies that go by these
//!   type key value            (see `value`)
//! 255 checksum                CRC-64, 8 bytes; 0 for none
//! ```
//!
//! Invariant: a file appears under its name whole and synced, or not at all. All compressing, summing and writing is done
//! without a lock. The version is the lowest that suits: 10, which everything from Redis 7.0 on reads; Valkey's 80 only where
//! fields of hashes expire, for which Redis and Valkey have no form in common. Must not know: commands, who asks.
//! Source: the RDB format.

use super::bytes::{put_count, put_number, put_string, put_text, running_checksum};
use super::functions::LIBRARY;
use super::lzf::Compressor;
use super::value;
use crate::config::{Config, EvictionPolicy, REDIS_VERSION};
use crate::keyspace::entry::EntryRef;
use crate::keyspace::evict::pressure::Pressure;
use crate::keyspace::snapshot::{Cut, PartRecorder, Recorder, Size};
use crate::keyspace::{Keyspace, access_seconds};
use crate::persistence::disk::{Disk, DiskFile};
use crate::util::bug::text;
use crate::util::clock::{Ticks, UnixMs};
use crate::util::memory::{count_to_the_end, used_bytes};
use crate::util::pieces::{Piece, Pieces};
use crate::util::turns::{give_way, stand_back, take_short_turns};
use crate::value::walk::Part;
use crc_fast::Digest;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

const IDLE: u8 = 248;
const FREQUENCY: u8 = 249;
const AUX: u8 = 250;
const RESIZE: u8 = 251;
const DEADLINE_MS: u8 = 252;
const SELECT: u8 = 254;
const END: u8 = 255;

/// How long a shard is locked at a time: others wait for it.
const TURN_NANOS: u64 = 50_000;

/// The rest before each turn. Who has just slept is not interrupted soon: so it is before a lock that others who need the processor come
/// first, and not while it is held. It is about as long as a turn, with what the system adds to so short a sleep.
const REST: Duration = Duration::from_micros(20);

/// What is recorded is handed over to be written from so many bytes on, and so often before the walk has to wait.
const HAND_OVER_BYTES: usize = 64 * 1024;
const QUEUE: usize = 32;

/// How much less the writing thread gets of a processor for which others wait too, in the steps of nice(1).
const WRITER_NICE: i32 = 5;

/// The slices of processor time in which the other thread has its share: two turns.
const SLICE: Duration = Duration::from_micros(100);

/// Bytes that are summed and written at once.
const WRITE_BYTES: usize = 64 * 1024;

/// Bytes after which what the system holds of a file is written out while more comes, so that the last sync is short.
const SYNC_BYTES: u64 = 4 << 20;

/// With a delay for each key, how long it lasts until somebody looks whether it still holds.
const DELAY_STEP: Duration = Duration::from_millis(5);

/// How far it is, and whether it is still wanted; shared with whoever is curious.
#[derive(Default, Debug)]
pub struct Progress {
    /// Keys that are recorded.
    pub keys: AtomicU64,
    /// Keys that there were at the cut.
    pub total: AtomicU64,
    /// Bytes of what writers had to record because they came before the walk.
    pub kept_bytes: AtomicU64,
    /// To be set by whoever wants it to end.
    pub cancelled: AtomicBool,
    /// How long it took to remove what was written of a file, in nanoseconds.
    pub removed_nanos: AtomicU64,
}

/// Why there is no snapshot.
#[derive(Debug)]
pub enum SaveError {
    /// Nobody wants it any more.
    Cancelled,
    /// The file system says no.
    Disk(io::Error),
}

impl From<io::Error> for SaveError {
    fn from(error: io::Error) -> SaveError {
        SaveError::Disk(error)
    }
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SaveError::Cancelled => f.write_str("cancelled"),
            SaveError::Disk(error) => error.fmt(f),
        }
    }
}

/// What a snapshot came to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Saved {
    /// Keys, those included that had expired and were left out.
    pub keys: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Bytes of what writers had to record because they came before the walk.
    pub kept_bytes: u64,
    /// Nanoseconds for which a lock was held at most at a time.
    pub longest_nanos: u64,
}

/// What to write beside the keys.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Compression, checksum, syncs and delays are read from it, those that can change while it goes on.
    pub config: &'a Config,
    /// Texts of the libraries of functions at the cut.
    pub functions: &'a [Box<[u8]>],
    /// The file is the base of an append-only file.
    pub aof_base: bool,
}

/// What is to be given to [`Keyspace::cut`] for [`write_snapshot`].
pub fn recorder(keyspace: &Keyspace, policy: EvictionPolicy) -> Box<dyn Recorder> {
    Box::new(Uses::new(keyspace, policy))
}

impl Recorder for Uses {
    fn entry(&self, entry: EntryRef<'_>, now: UnixMs, out: &mut Pieces) {
        self.put_head(entry, now, out);
        value::save(entry, now, out);
    }

    fn parts(&self) -> Option<&dyn PartRecorder> {
        Some(self)
    }
}

impl PartRecorder for Uses {
    fn head(&self, entry: EntryRef<'_>, now: UnixMs, out: &mut Pieces) -> u8 {
        self.put_head(entry, now, out);
        value::save_head(entry, now, out);
        value::type_of(entry)
    }

    fn part(&self, kind: u8, part: Part<'_>, now: UnixMs, out: &mut Pieces) {
        value::save_part(kind, part, now, out);
    }
}

/// What the access clock of entries means.
enum Uses {
    Unknown,
    Timed,
    Counted(Arc<Pressure>),
}

impl Uses {
    fn new(keyspace: &Keyspace, policy: EvictionPolicy) -> Uses {
        match policy {
            policy if policy.is_lfu() => Uses::Counted(keyspace.shared_pressure()),
            EvictionPolicy::AllkeysLru | EvictionPolicy::VolatileLru => Uses::Timed,
            _ => Uses::Unknown,
        }
    }

    /// What stands before a value.
    fn put_head(&self, entry: EntryRef<'_>, now: UnixMs, out: &mut Pieces) {
        if let Some(deadline) = entry.deadline() {
            out.bytes.push(DEADLINE_MS);
            out.bytes.extend_from_slice(&deadline.0.to_le_bytes());
        }
        self.put(entry.access(), now, &mut out.bytes);
        out.bytes.push(value::type_of(entry));
        put_string(entry.key(), out);
    }

    fn put(&self, access: u32, now: UnixMs, out: &mut Vec<u8>) {
        match self {
            Uses::Unknown => {}
            Uses::Timed => {
                out.push(IDLE);
                put_number(u64::from(access_seconds(now).wrapping_sub(access) & 0x00ff_ffff), out);
            }
            Uses::Counted(pressure) => out.extend_from_slice(&[FREQUENCY, pressure.frequency(access, now)]),
        }
    }
}

/// Writes a snapshot into the file at `path`, in place of what is there, at one stroke; `temporary` is a name beside it. When it fails
/// what was there stays.
///
/// # Errors
/// See [`SaveError`].
pub fn save_file(
    disk: &dyn Disk,
    (path, temporary): (&Path, &Path),
    cut: Cut<'_>,
    options: Options<'_>,
    progress: &Progress,
) -> Result<Saved, SaveError> {
    let mut file = disk.create_long(temporary)?;
    // A bug here is no reason for the server to end: it goes on with a snapshot that has failed.
    let write = AssertUnwindSafe(|| write_snapshot(cut, &mut *file, options, progress));
    let written =
        catch_unwind(write).unwrap_or_else(|bug| Err(io::Error::other(format!("a bug: {}", text(&*bug))).into()));
    let done = written.and_then(|saved| Ok(disk.install(temporary, path).map(|()| saved)?));
    if done.is_err() {
        // It may be gone already, and nothing more can be done if it cannot be removed.
        let started = Ticks::now();
        let _ = disk.remove(temporary);
        progress.removed_nanos.store(Ticks::now().nanos_since(started), Relaxed);
    }
    done
}

/// Writes a snapshot behind what is in `file`, and syncs it. Blocks; holds a lock for about [`TURN_NANOS`] at a time.
///
/// Two threads share the work. This one takes what is recorded, and sleeps before each lock: so the system has no reason to interrupt it
/// while it holds one. The other one, which needs a processor for longer, holds no lock, and gives way to those who serve requests.
///
/// # Errors
/// See [`SaveError`].
pub fn write_snapshot(
    mut cut: Cut<'_>,
    file: &mut dyn DiskFile,
    options: Options<'_>,
    progress: &Progress,
) -> Result<Saved, SaveError> {
    let sizes = cut.sizes().to_vec();
    progress.total.store(cut.keys(), Relaxed);
    let mut writer = Writer::new(file, options.config);
    writer.header(&options, sizes.iter().any(|size| size.volatile > 0));
    let (sender, receiver) = sync_channel(QUEUE);
    let (empties, empty) = channel();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("larder-write".to_owned());
        let writing = thread.spawn_scoped(scope, move || {
            count_to_the_end();
            stand_back();
            give_way(WRITER_NICE);
            writer.run(&receiver, &empties, &sizes)
        })?;
        let walked = walk(&mut cut, &sender, &empty, options.config, progress);
        let (keys, kept_bytes, longest_nanos) = (cut.recorded(), cut.saved_bytes(), cut.longest_nanos());
        drop((cut, sender));
        let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        walked?;
        Ok(Saved { keys, bytes: written?, kept_bytes, longest_nanos })
    })
}

/// What is written next: some records and their database; `None` at the end.
type Batch = Option<(usize, Pieces)>;

/// Takes everything that is recorded, and hands it over. Ends early, without an error, when nobody takes it any more.
fn walk(
    cut: &mut Cut<'_>,
    sender: &SyncSender<Batch>,
    empty: &Receiver<Pieces>,
    config: &Config,
    progress: &Progress,
) -> Result<(), SaveError> {
    take_short_turns(SLICE);
    let (mut waiting, mut of, mut pieces) = (Pieces::default(), 0, Pieces::default());
    loop {
        std::thread::sleep(REST);
        let turn = cut.turn(TURN_NANOS, &mut pieces);
        if progress.cancelled.load(Relaxed) || cut.is_cancelled() {
            return Err(SaveError::Cancelled);
        }
        let to_hand_over = turn.is_none_or(|(db, _)| db != of) || waiting.bytes.len() >= HAND_OVER_BYTES;
        if to_hand_over && !waiting.is_empty() {
            let full = std::mem::replace(&mut waiting, empty.try_recv().unwrap_or_default());
            if sender.send(Some((of, full))).is_err() {
                return Ok(());
            }
        }
        let Some((db, _)) = turn else {
            let _ = sender.send(None);
            return Ok(());
        };
        of = db;
        waiting.append(&mut pieces);
        let before = progress.keys.swap(cut.recorded(), Relaxed);
        progress.kept_bytes.store(cut.saved_bytes(), Relaxed);
        delay(config, cut.recorded().saturating_sub(before), progress);
    }
}

/// Waits as long as tests want it to for so many keys.
fn delay(config: &Config, keys: u64, progress: &Progress) {
    let mut slept = Duration::ZERO;
    while let Ok(micros @ 1..) = u64::try_from(config.rdb_key_save_delay_us()) {
        let whole = Duration::from_micros(micros.saturating_mul(keys));
        if slept >= whole || progress.cancelled.load(Relaxed) {
            return;
        }
        let step = DELAY_STEP.min(whole - slept);
        std::thread::sleep(step);
        slept += step;
    }
}

/// The file as it grows.
struct Writer<'f> {
    file: &'f mut dyn DiskFile,
    buffer: Vec<u8>,
    checksum: Option<Digest>,
    compressor: Option<Compressor>,
    /// Sync now and then.
    syncs: bool,
    written: u64,
    unsynced: u64,
    /// The database of what comes next.
    selected: Option<usize>,
    /// Databases that were selected before.
    known: Vec<usize>,
}

impl<'f> Writer<'f> {
    fn new(file: &'f mut dyn DiskFile, config: &Config) -> Writer<'f> {
        Writer {
            file,
            buffer: Vec::with_capacity(WRITE_BYTES * 2),
            checksum: config.rdbchecksum().then(running_checksum),
            compressor: config.rdbcompression().then(Compressor::default),
            syncs: config.rdb_save_incremental_fsync(),
            written: 0,
            unsynced: 0,
            selected: None,
            known: Vec::new(),
        }
    }

    fn header(&mut self, options: &Options<'_>, timed_fields: bool) {
        self.buffer.extend_from_slice(if timed_fields { b"VALKEY080" } else { b"REDIS0010" });
        self.note("redis-ver", REDIS_VERSION);
        self.note("redis-bits", &usize::BITS.to_string());
        self.note("ctime", &UnixMs::now().seconds().to_string());
        self.note("used-mem", &used_bytes().to_string());
        self.note("aof-base", if options.aof_base { "1" } else { "0" });
        for code in options.functions {
            self.buffer.push(LIBRARY);
            put_text(code, self.compressor.as_mut(), &mut self.buffer);
        }
    }

    fn note(&mut self, name: &str, value: &str) {
        self.buffer.push(AUX);
        put_text(name.as_bytes(), None, &mut self.buffer);
        put_text(value.as_bytes(), None, &mut self.buffer);
    }

    fn select(&mut self, db: usize, sizes: &[Size]) {
        if self.selected == Some(db) {
            return;
        }
        self.selected = Some(db);
        self.buffer.push(SELECT);
        put_count(db, &mut self.buffer);
        if !self.known.contains(&db)
            && let Some(size) = sizes.iter().find(|size| size.db == db)
        {
            self.known.push(db);
            self.buffer.push(RESIZE);
            put_count(size.keys, &mut self.buffer);
            put_count(size.timed, &mut self.buffer);
        }
    }

    fn push(&mut self, pieces: &Pieces) -> io::Result<()> {
        let mut result = Ok(());
        pieces.each(|piece| {
            match piece {
                Piece::Plain(bytes) => self.buffer.extend_from_slice(bytes),
                Piece::Text(text) => put_text(text, self.compressor.as_mut(), &mut self.buffer),
            }
            if self.buffer.len() >= WRITE_BYTES && result.is_ok() {
                result = self.write();
            }
        });
        result
    }

    fn write(&mut self) -> io::Result<()> {
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&self.buffer);
        }
        self.write_plain()
    }

    fn write_plain(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        let count = self.buffer.len() as u64;
        self.written += count;
        self.unsynced += count;
        self.buffer.clear();
        if self.syncs && self.unsynced >= SYNC_BYTES {
            self.file.write_out()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Writes what comes, and gives the emptied pieces back; returns the length of the file.
    fn run(mut self, batches: &Receiver<Batch>, empties: &Sender<Pieces>, sizes: &[Size]) -> Result<u64, SaveError> {
        while let Some((db, mut pieces)) = batches.recv().map_err(|_| SaveError::Cancelled)? {
            self.select(db, sizes);
            self.push(&pieces)?;
            pieces.clear();
            let _ = empties.send(pieces); // nobody wants it behind the last
        }
        Ok(self.end()?)
    }

    /// Returns the length of the file.
    fn end(mut self) -> io::Result<u64> {
        self.buffer.push(END);
        self.write()?;
        let sum = self.checksum.take().map_or(0_u64, |digest| digest.finalize());
        self.buffer.extend_from_slice(&sum.to_le_bytes());
        self.write_plain()?;
        self.file.sync()?;
        Ok(self.written)
    }
}
