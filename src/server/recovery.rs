//! The start: what is on disk comes back before the server is ready.
//!
//! Invariant: a file that cannot be loaded stops the server with the place and the reason, and is left as it is; it never starts
//! empty over data that is there. Clients are answered meanwhile, that data is being loaded. Must not know: formats.

use super::append_log;
use crate::call::append_log::files::Plan;
use crate::call::loading;
use crate::call::shared::Shared;
use crate::command::scripting::restore_libraries;
use crate::persistence::disk::{Disk, RealDisk};
use crate::persistence::rdb::load::{LoadError, Loaded, Progress, load_file};
use crate::script::library::RestorePolicy;
use crate::util::clock::{Ticks, UnixMs};
use crate::util::memory::count_to_the_end;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::oneshot;

/// How often the log says how far loading is.
const REPORT: Duration = Duration::from_secs(5);

/// What is on disk.
enum Source {
    /// A snapshot, in this file.
    Snapshot(PathBuf),
    /// An append-only file.
    Log(Plan),
}

/// Data that is being loaded.
pub struct Recovery {
    shared: &'static Shared,
    /// The end of it; `None` when there is nothing to load.
    done: Option<oneshot::Receiver<Result<(), String>>>,
}

/// Begins to load what is on disk, on a thread of its own and those that it starts. From here on clients are refused what needs data.
///
/// # Errors
/// The disk cannot be read.
pub fn begin(shared: &'static Shared) -> Result<Recovery, String> {
    let Some((source, bytes)) = find(shared)? else { return Ok(Recovery { shared, done: None }) };
    shared.loading.begin(bytes, UnixMs::now());
    let (sender, done) = oneshot::channel();
    let load = move || {
        count_to_the_end();
        let result = load(shared, source);
        if result.is_ok() {
            shared.loading.end(); // otherwise nobody is to see what there is of the data
        }
        // Whoever waited is gone when the server ends meanwhile.
        let _ = sender.send(result);
    };
    let started = std::thread::Builder::new().name("larder-load".to_owned()).spawn(load);
    started.map_err(|error| format!("Can't start a thread: {error}"))?;
    Ok(Recovery { shared, done: Some(done) })
}

impl Recovery {
    /// Waits for its end.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub async fn end(&mut self) -> Result<(), String> {
        let Some(done) = &mut self.done else { return Ok(()) };
        loop {
            tokio::select! {
                result = &mut *done => return result.unwrap_or_else(|_| Err("Loading ended early".to_owned())),
                () = tokio::time::sleep(REPORT) => report(self.shared),
            }
        }
    }
}

/// What there is to load, and its length in bytes. A log that is on and has no files yet is begun.
fn find(shared: &'static Shared) -> Result<Option<(Source, u64)>, String> {
    if shared.config.appendonly() && !append_log::is_half_begun(shared)? {
        return match append_log::find(shared)? {
            Some(plan) => {
                let bytes = plan.bytes();
                Ok(Some((Source::Log(plan), bytes)))
            }
            None => append_log::open(shared, None).map(|()| None),
        };
    }
    let path = shared.config.dir().join(shared.config.dbfilename());
    let found = RealDisk::default().len(&path).map_err(|error| format!("Can't look at {}: {error}", path.display()))?;
    Ok(found.map(|bytes| (Source::Snapshot(path), bytes)))
}

fn report(shared: &Shared) {
    let progress = shared.loading.progress();
    let (bytes, total) = (progress.bytes.load(Relaxed), progress.total_bytes.load(Relaxed));
    let percent = bytes.saturating_mul(100).checked_div(total).unwrap_or(0);
    tracing::info!("Loading: {percent}% of {total} bytes read, {} keys", progress.keys.load(Relaxed));
}

fn load(shared: &'static Shared, source: Source) -> Result<(), String> {
    let failed = |why: String| format!("Fatal error loading the DB, the file is left as it is: {why}");
    match source {
        Source::Snapshot(path) => match load_snapshot(shared, &RealDisk::default(), &path) {
            Ok(_) => Ok(()),
            Err(error) => Err(failed(format!("{error}. Terminating server after rdb file reading failure."))),
        },
        Source::Log(plan) => append_log::load(shared, plan).map_err(failed),
    }
}

/// Loads a snapshot with its functions; [`Loading::begin`](crate::call::loading::Loading::begin) was called.
///
/// # Errors
/// What is wrong with the file, and where.
pub fn load_snapshot(shared: &Shared, disk: &dyn Disk, path: &Path) -> Result<Loaded, LoadError> {
    let (now, started) = (UnixMs::now(), Ticks::now());
    let options = loading::options(&shared.config, now);
    let loaded = load_file(disk, path, Some(&shared.keyspace), &options, shared.loading.progress())?;
    describe(&loaded, now);
    restore_libraries(shared, &loaded.libraries, RestorePolicy::Append).map_err(|text| {
        let what = format!("a library of functions can't be loaded: {}", String::from_utf8_lossy(&text));
        LoadError { path: path.to_owned(), offset: loaded.end, what }
    })?;
    tell(shared.loading.progress(), Ticks::now().nanos_since(started));
    Ok(loaded)
}

/// Says in the log where a file comes from.
fn describe(loaded: &Loaded, now: UnixMs) {
    let text = |name: &str| loaded.aux(name).map(|value| String::from_utf8_lossy(value).into_owned());
    for (name, server) in [("redis-ver", "Redis"), ("valkey-ver", "Valkey")] {
        if let Some(version) = text(name) {
            tracing::info!("Loading RDB produced by {server} version {version}");
        }
    }
    if let Some(made) = text("ctime").and_then(|time| time.parse::<i64>().ok()) {
        tracing::info!("RDB age {} seconds", now.seconds().saturating_sub(made));
    }
}

fn tell(progress: &Progress, nanos: u64) {
    let [keys, expired, empty] = [&progress.keys, &progress.expired, &progress.empty].map(|count| count.load(Relaxed));
    tracing::info!("Done loading RDB, keys loaded: {keys}, keys expired: {expired}, empty keys skipped: {empty}.");
    let millis = nanos / 1_000_000;
    tracing::info!("DB loaded from disk: {}.{:03} seconds", millis / 1000, millis % 1000);
}
