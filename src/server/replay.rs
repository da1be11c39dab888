//! Running what an append-only file holds again.
//!
//! Invariant: a unit is run whole or not at all, in the order of the file; a file that is no log stops it with its name and the
//! place. Must not know: any particular command.

use super::append_log;
use crate::call::append_log::files::{self, Plan};
use crate::call::blocking::Blocked;
use crate::call::clients::{Client, Peer};
use crate::call::loading;
use crate::call::session::Session;
use crate::call::shared::Shared;
use crate::command::scripting::restore_libraries;
use crate::dispatch::Dispatcher;
use crate::persistence::aof::reader::{End, ReadError, Reader};
use crate::persistence::rdb::load::{self as rdb, Options};
use crate::protocol::batch::{Batch, RequestView, encode};
use crate::protocol::reply::{Output, Reply};
use crate::script::library::RestorePolicy;
use crate::util::clock::{Ticks, UnixMs};
use bytes::Bytes;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What a file begins with that is a snapshot.
const SNAPSHOTS: [&[u8]; 2] = [b"REDIS", b"VALKEY"];

/// Words of a request that a warning shows, and bytes of each.
const SHOWN: usize = 8;

/// A client that is nobody's, to run what files hold.
struct Player {
    shared: &'static Shared,
    client: Arc<Client>,
    session: Session,
    dispatcher: Dispatcher,
    batch: Batch,
    out: Output,
}

impl Drop for Player {
    fn drop(&mut self) {
        self.shared.clients.remove(&self.client);
    }
}

impl Player {
    fn new(shared: &'static Shared) -> Player {
        let peer = Peer { addr: String::new(), laddr: String::new(), fd: -1, unix: false, worker: 0 };
        let client = shared.clients.add(peer, UnixMs::now());
        let session = Session::new(Arc::clone(&client), true);
        let dispatcher = Dispatcher::new(shared, 0);
        Player { shared, client, session, dispatcher, batch: Batch::new(), out: Output::new() }
    }

    /// Runs what `reader` yields; returns how the file ends.
    fn play(&mut self, reader: &mut Reader, path: &Path) -> Result<End, String> {
        loop {
            let before = reader.offset();
            let units = reader.next(&mut self.batch).map_err(|error| bad(path, &error))?;
            let buffer = match units {
                Ok(buffer) => buffer,
                Err(end) => return Ok(end),
            };
            let mut warn = |request: RequestView<'_>, error: &[u8]| {
                let words = request.iter().take(SHOWN).map(|word| word.iter().take(64).copied().collect::<Vec<u8>>());
                let words: Vec<String> = words.map(|word| word.escape_ascii().to_string()).collect();
                let error = String::from_utf8_lossy(error);
                tracing::warn!("{}: a request was answered '{error}': {}", path.display(), words.join(" "));
            };
            let run = self.dispatcher.replay((&self.batch, buffer), &mut self.session, &mut self.out, &mut warn);
            run.map_err(|(_, error)| {
                let text = error.reply_text();
                format!("{} behind byte {before}: {}", path.display(), String::from_utf8_lossy(&text))
            })?;
            self.shared.loading.progress().bytes.fetch_add(reader.offset() - before, Relaxed);
        }
    }
}

fn bad(path: &Path, error: &ReadError) -> String {
    format!("Bad file format reading the append only file {}: {error}", path.display())
}

/// Loads the files of a log; returns how many bytes of the last one are to be kept.
///
/// # Errors
/// What is wrong with which file, and where.
pub fn load(shared: &'static Shared, plan: &Plan) -> Result<u64, String> {
    let mut player = Player::new(shared);
    let mut kept = 0;
    for (index, (path, bytes)) in plan.parts.iter().enumerate() {
        let started = Ticks::now();
        let behind: u64 = plan.parts.iter().skip(index + 1).map(|(_, bytes)| bytes).sum();
        let (end, offset) = load_part(&mut player, path, index == 0)?;
        kept = offset;
        match end {
            End::Whole => {}
            // A new file is begun while the end of the one before is on its way to the disk.
            _ if behind > 0 => {
                let text = "the file ends too early, and it is not the last one with data";
                return Err(format!(
                    "Bad file format reading the append only file {}: {text} at offset {offset}",
                    path.display()
                ));
            }
            _ => {
                accept_cut(shared, path, *bytes, offset, end)?;
                cut_off(shared, path, offset)?;
            }
        }
        let nanos = Ticks::now().nanos_since(started);
        let seconds = (nanos / 1_000_000_000, nanos / 1_000_000 % 1000);
        tracing::info!("DB loaded from {}: {}.{:03} seconds", path.display(), seconds.0, seconds.1);
    }
    Ok(kept)
}

fn accept_cut(shared: &Shared, path: &Path, bytes: u64, offset: u64, end: End) -> Result<(), String> {
    let name = path.display();
    if !shared.config.aof_load_truncated() {
        return Err(format!(
            "Unexpected end of file reading the append only file {name} at offset {offset} of {bytes}. You can make a copy and \
             use 'larder check-aof --fix FILE', or set 'aof-load-truncated' to yes and restart the server"
        ));
    }
    tracing::warn!("!!! Warning: short read while loading the AOF file {name} !!!");
    if end == End::CutTransaction {
        tracing::warn!("Revert incomplete MULTI/EXEC transaction from AOF file {name}");
    }
    tracing::warn!(
        "AOF {name} loaded anyway because aof-load-truncated is enabled: truncated to {offset} of {bytes} bytes"
    );
    Ok(())
}

/// Cuts a file off, so that what is written next stands behind whole units, and the next start does not find it as it was.
fn cut_off(shared: &Shared, path: &Path, len: u64) -> Result<(), String> {
    let cut = shared.append_log.disk.append(path).and_then(|mut file| {
        file.truncate(len)?;
        file.sync()
    });
    cut.map_err(|error| format!("Can't cut {} off after {len} bytes: {error}", path.display()))
}

/// Loads one file; returns how it ends, and the bytes of it that are whole.
fn load_part(player: &mut Player, path: &Path, first: bool) -> Result<(End, u64), String> {
    let shared = player.shared;
    let source = shared.append_log.disk.open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut reader = Reader::new(source, 0);
    let head = reader.peek(6).map_err(|error| format!("{}: {error}", path.display()))?;
    if first && SNAPSHOTS.iter().any(|magic| head.starts_with(magic)) {
        reader = load_snapshot(shared, path, reader)?;
    }
    // Each file selects its databases anew.
    player.session.db = 0;
    let end = player.play(&mut reader, path)?;
    Ok((end, reader.offset()))
}

/// Loads the snapshot that a file begins with; returns a reader of what follows it.
fn load_snapshot(shared: &'static Shared, path: &Path, reader: Reader) -> Result<Reader, String> {
    let now = UnixMs::now();
    let options = Options { keep_expired: true, ..loading::options(&shared.config, now) };
    let told = |offset: u64, what: &str| format!("{} at byte {offset}: {what}", path.display());
    tracing::info!("Reading RDB base file on AOF loading...");
    let total = shared.append_log.disk.len(path).ok().flatten();
    let mut source = reader.into_source();
    let loaded = rdb::load(&mut source, total, Some(&shared.keyspace), &options, shared.loading.progress());
    let loaded = loaded.map_err(|fault| told(fault.offset, &fault.what))?;
    restore_libraries(shared, &loaded.libraries, RestorePolicy::Append)
        .map_err(|text| told(loaded.end, &String::from_utf8_lossy(&text)))?;
    let rest = Cursor::new(loaded.rest).chain(source);
    Ok(Reader::new(Box::new(rest), loaded.end))
}

/// `DEBUG LOADAOF`: empties everything and loads the log again.
pub fn load_again(shared: &'static Shared, blocked: &Blocked) {
    let mut out = Output::new();
    let mut reply = Reply::new(&mut out, blocked.resp);
    match reload(shared) {
        Ok(()) => {
            tracing::info!("Append Only File loaded by DEBUG LOADAOF");
            reply.ok();
        }
        Err(why) => {
            tracing::error!("{why}");
            reply.error("ERR Error trying to load the AOF files, check server logs.");
        }
    }
    blocked.end(Bytes::from(out.to_vec()));
}

fn reload(shared: &'static Shared) -> Result<(), String> {
    let log = &shared.append_log;
    let plan = files::plan(&*log.disk, &shared.config)?;
    shared.loading.begin(plan.as_ref().map_or(0, Plan::bytes), UnixMs::now());
    let result = empty_and_load(shared, log.is_on());
    shared.loading.end();
    result
}

/// With clients kept away by the status of loading.
fn empty_and_load(shared: &'static Shared, was_on: bool) -> Result<(), String> {
    let log = &shared.append_log;
    // What was read before the status changed may still run.
    std::thread::sleep(std::time::Duration::from_millis(5));
    append_log::finish(shared);
    log.files().close();
    let mut player = Player::new(shared);
    let mut flush = Vec::new();
    for words in [&[&b"FLUSHALL"[..], b"SYNC"][..], &[b"FUNCTION", b"FLUSH", b"SYNC"]] {
        encode(words.iter().copied(), &mut flush);
    }
    player.play(&mut Reader::new(Box::new(Cursor::new(flush)), 0), Path::new("flush"))?;
    drop(player);
    let plan = files::plan(&*log.disk, &shared.config)?;
    match plan {
        Some(plan) if was_on => append_log::load(shared, plan),
        Some(plan) => load(shared, &plan).map(|_| ()),
        None if was_on => append_log::open(shared, None),
        None => Ok(()),
    }
}
