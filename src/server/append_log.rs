//! The append-only file at work: the threads that write, sync and rewrite it, and what becomes of it at the start and the end.
//!
//! Invariants: clients are served only when everything that the log holds has been run again; new files take the place of the old
//! ones only when they hold all of it and are synced. Must not know: any particular command.

use super::{replay, threads};
use crate::call::append_log::files::{self, Plan};
use crate::call::append_log::{Policy, Task};
use crate::call::shared::Shared;
use crate::persistence::aof::commands;
use crate::persistence::aof::writer::{Fault, LogFile};
use crate::persistence::rdb::save::{Options, Progress, SaveError, recorder, save_file};
use crate::util::clock::{Ticks, UnixMs};
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::time::Duration;

/// What nobody waits for is written within this time; and so often the keeper looks whether a rewrite is due.
const TICK: Duration = Duration::from_millis(100);

/// Between two syncs, and between two attempts to write to a log that fails.
const SECOND: Duration = Duration::from_secs(1);

/// Between two looks whether a cut can be made.
const LOOK: Duration = Duration::from_millis(20);

/// Rewrites that fail one after the other before they become rare, as in Redis.
const FAILURES: u64 = 3;

/// The longest time between two of these, in minutes.
const RAREST_MINUTES: i64 = 60;

/// The share of a minute, in milliseconds.
const MINUTE_MS: i64 = 60_000;

/// Starts the threads.
///
/// # Errors
/// The system has none.
pub fn start(shared: &'static Shared) -> io::Result<()> {
    threads::start("larder-log", move || write_always(shared))?;
    threads::start("larder-sync", move || sync_always(shared))?;
    threads::start("larder-rewrite", move || keep_always(shared))
}

/// Whether the log was about to begin when the server ended: then the snapshot is the data, and the log begins behind it.
///
/// # Errors
/// The files cannot be read.
pub fn is_half_begun(shared: &Shared) -> Result<bool, String> {
    let half = files::is_half_begun(&*shared.append_log.disk, &shared.config)?;
    if half {
        tracing::warn!(
            "The server ended before the append-only file had its first base: the snapshot is loaded instead"
        );
        shared.append_log.follow(&shared.config);
    }
    Ok(half)
}

/// What there is to load, if the log is on; `None` for nothing.
///
/// # Errors
/// Files that cannot be those of a log that is whole.
pub fn find(shared: &Shared) -> Result<Option<Plan>, String> {
    files::plan(&*shared.append_log.disk, &shared.config)
}

/// Loads what was found, and opens the log.
///
/// # Errors
/// What is wrong with which file.
pub fn load(shared: &'static Shared, plan: Plan) -> Result<(), String> {
    let started = Ticks::now();
    let len = replay::load(shared, &plan)?;
    shared.stats.dirty.store(0, Relaxed); // nothing has changed since
    let nanos = Ticks::now().nanos_since(started);
    tracing::info!(
        "DB loaded from append only file: {}.{:03} seconds",
        nanos / 1_000_000_000,
        nanos / 1_000_000 % 1000
    );
    open(shared, Some((plan, len)))
}

/// Opens the log behind what was loaded, or a new one, and sends the effects of writes to it.
///
/// # Errors
/// What the system says.
pub fn open(shared: &'static Shared, loaded: Option<(Plan, u64)>) -> Result<(), String> {
    let log = &shared.append_log;
    if loaded.is_none()
        && log.disk.len(&shared.config.dir().join(shared.config.dbfilename())).is_ok_and(|len| len.is_some())
    {
        tracing::warn!(
            "'appendonly' is on and there is no append-only file yet: {} is not loaded",
            shared.config.dbfilename()
        );
    }
    let file = log.files().open(&*log.disk, &shared.config, loaded);
    let file = file.map_err(|error| format!("Can't open the append-only file: {error}"))?;
    log.log.switch_to(file);
    log.log.write().map_err(|fault| format!("Can't open the append-only file: {}", fault.text()))?;
    log.attach(shared);
    log.has_begun();
    Ok(())
}

/// Writes and syncs what is left, at the end of the server.
pub fn finish(shared: &Shared) {
    let log = &shared.append_log;
    if log.is_on() {
        tracing::info!("Calling fsync() on the AOF file.");
        if let Err(fault) = log.stop(shared, shared.keyspace.attention()) {
            tracing::warn!("The end of the append-only file may be lost: {}", fault.text());
        }
    }
}

/// Notes for LATENCY what took long, under the names that Redis gives it.
fn note_latency(shared: &Shared) {
    let [write, sync] = shared.append_log.take_longest();
    let circumstance = match () {
        () if shared.append_log.is_syncing() => "aof-write-pending-fsync",
        () if is_saving(shared) => "aof-write-active-child",
        () => "aof-write-alone",
    };
    for (event, nanos) in [("aof-write", write), (circumstance, write), ("aof-fsync-always", sync)] {
        shared.note_latency(event, nanos);
    }
}

/// Whether a snapshot or a rewrite is being written.
fn is_saving(shared: &Shared) -> bool {
    shared.append_log.report().since.is_some() || shared.saving.running().is_some()
}

/// Whether the log is not to be synced now.
fn is_lax(shared: &Shared) -> bool {
    shared.config.no_appendfsync_on_rewrite() && is_saving(shared)
}

// The thread that writes

/// What the writing thread knows of a log that fails.
#[derive(Default)]
struct Trouble {
    tries: u32,
    last: Option<Ticks>,
}

fn write_always(shared: &'static Shared) {
    let (log, mut trouble) = (&shared.append_log, Trouble::default());
    loop {
        log.writing.wait(log.is_on().then_some(TICK));
        if log.is_on() {
            write(shared, &mut trouble);
        }
        log.wake();
        note_latency(shared);
    }
}

fn write(shared: &'static Shared, trouble: &mut Trouble) {
    let log = &shared.append_log;
    let faulty = log.log.is_faulty();
    let soon = trouble.last.is_some_and(|last| Ticks::now().nanos_since(last) < nanos(SECOND));
    if faulty && log.policy() == Policy::Always {
        log.fence(shared);
    }
    if faulty && soon {
        return;
    }
    let result = log.write_group(is_lax(shared));
    trouble.last = log.log.is_faulty().then(Ticks::now);
    match result {
        Ok(()) if matches!(log.log.fault(), Some(Fault::Write(_))) => {
            log.log.forgive_write();
            *trouble = Trouble::default();
            tracing::warn!("AOF write error looks solved. The server can write again.");
        }
        Ok(()) => {}
        Err(fault) => {
            trouble.tries += 1;
            complain(&fault);
            // The first failure may be over in a second. Then nobody knows, and whoever waits is not to wait for ever.
            if trouble.tries > 1 || log.policy() == Policy::Always {
                log.fence(shared);
            }
        }
    }
    if !log.log.is_faulty() {
        *trouble = Trouble::default();
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn complain(fault: &Fault) {
    match fault {
        Fault::Write(text) => tracing::error!("Error writing to the AOF file: {text}"),
        Fault::Sync(text) => tracing::error!("Fail to fsync the AOF file: {text}"),
    }
}

// The thread that syncs

fn sync_always(shared: &'static Shared) {
    let log = &shared.append_log;
    let mut last = Ticks::now();
    loop {
        log.syncing.wait(log.is_on().then_some(TICK));
        let wanted = log.is_sync_wanted();
        let due = log.policy() == Policy::EverySecond && Ticks::now().nanos_since(last) >= nanos(SECOND);
        if log.is_on() && !log.log.is_faulty() && (wanted || due) {
            last = Ticks::now();
            sync(shared, wanted);
        }
        if wanted {
            log.wake();
        }
    }
}

fn sync(shared: &'static Shared, wanted: bool) {
    let log = &shared.append_log;
    if wanted && log.log.write().is_err() {
        return log.writing.ring();
    }
    if log.log.synced() >= log.log.written() || is_lax(shared) {
        return;
    }
    if let Err(fault) = log.sync() {
        complain(&fault);
        tracing::error!("The append-only file is not trusted any more: new files are written");
        log.keeping.ring();
    }
    // Whoever had to leave its writing to the log's thread meanwhile.
    log.writing.ring();
}

// The thread that rewrites

fn keep_always(shared: &'static Shared) {
    let log = &shared.append_log;
    loop {
        log.keeping.wait((log.is_on() || shared.config.appendonly()).then_some(TICK));
        while let Some(task) = log.next_task() {
            match task {
                Task::Rewrite(wish) => rewrite(shared, false, wish),
                Task::Load(blocked) => replay::load_again(shared, &blocked),
            }
        }
        let wish = log.wish(); // before the options: whoever changes them calls off what was wanted by then
        let ready = !shared.loading.is_on() && UnixMs::now() >= log.report().not_before;
        if ready && shared.config.appendonly() && !log.is_on() {
            rewrite(shared, true, wish);
        }
        if log.is_on() && !shared.cron_paused.load(Relaxed) && is_due(shared) {
            rewrite(shared, false, wish);
        }
    }
}

/// Whether the log has grown enough to be rewritten, or has to be.
fn is_due(shared: &Shared) -> bool {
    let (log, config) = (&shared.append_log, &shared.config);
    let busy = shared.loading.is_on() || shared.keyspace.is_cutting();
    if busy || UnixMs::now() < log.report().not_before {
        return false;
    }
    if matches!(log.log.fault(), Some(Fault::Sync(_))) || log.is_beginning() {
        return true;
    }
    let (percent, files) = (config.auto_aof_rewrite_percentage(), log.files());
    let (bytes, base) = (files.bytes(log.log.file_bytes()), files.base_bytes.max(1));
    let grown = u128::from(bytes) * 100 / u128::from(base);
    let due = percent > 0 && bytes > config.auto_aof_rewrite_min_size() && grown >= u128::from(percent) + 100;
    if due {
        tracing::info!("Starting automatic rewriting of AOF on {}% growth", grown - 100);
    }
    due
}

/// Replaces the files of the log by a base of what there is now; with `begin` the log itself begins with it. Does nothing, or ends
/// without a trace, when what was wanted under the number `wish` is called off.
fn rewrite(shared: &'static Shared, begin: bool, wish: u64) {
    let log = &shared.append_log;
    let progress = log.begin_rewrite(wish);
    let called_off = || progress.cancelled.load(SeqCst);
    while shared.keyspace.is_cutting() && !called_off() && !shared.shutdown.requested.load(Acquire) {
        std::thread::sleep(LOOK);
    }
    let started = UnixMs::now();
    {
        let mut report = log.report(); // who calls it off holds this
        if called_off() {
            return;
        }
        (report.rewriting, report.scheduled, report.since) = (true, false, Some(started));
    }
    tracing::info!("Background append only file rewriting started");
    let result = try_rewrite(shared, begin, &progress);
    if called_off() {
        return clear_away(shared);
    }
    let mut report = log.report();
    (report.rewriting, report.since, report.ok) = (false, None, result.is_ok());
    let ended = UnixMs::now();
    report.took_s = ended.seconds() - started.seconds();
    match result {
        Ok(kept_bytes) => {
            (report.failures, report.kept_bytes, report.not_before) = (0, kept_bytes, UnixMs(0));
            report.rewrites += 1;
            tracing::info!("Background AOF rewrite finished successfully");
        }
        Err(why) => {
            report.failures += 1;
            report.not_before = UnixMs(ended.0 + pause_ms(report.failures, log.log.is_faulty()));
            tracing::error!("Background AOF rewrite failed: {why}");
        }
    }
}

/// Sees to it that a rewrite which was called off leaves nothing: a log that was to begin with it may have begun as it was switched off.
fn clear_away(shared: &Shared) {
    let log = &shared.append_log;
    tracing::info!("Background AOF rewrite ended: it is not wanted any more");
    if log.is_on() && !shared.config.appendonly() {
        let _ = log.stop(shared, shared.keyspace.attention()); // nothing was acknowledged for what it holds
        log.files().close();
    }
}

/// How long to wait after so many failures: at first not at all, then twice as long each time; where the log waits for it, not long.
fn pause_ms(failures: u64, urgent: bool) -> i64 {
    let doubled = |times: u64| 1_i64.checked_shl(u32::try_from(times).unwrap_or(u32::MAX)).unwrap_or(i64::MAX);
    match failures {
        _ if urgent => doubled(failures - 1).clamp(1, 32) * 1000,
        ..FAILURES => 0,
        _ => doubled(failures - FAILURES).clamp(1, RAREST_MINUTES) * MINUTE_MS,
    }
}

fn try_rewrite(shared: &'static Shared, begin: bool, progress: &Progress) -> Result<u64, String> {
    let (log, config) = (&shared.append_log, &shared.config);
    let (disk, rdb) = (&*log.disk, config.aof_use_rdb_preamble());
    let told = |error: io::Error| error.to_string();
    let logs = begin || log.is_on();
    if log.is_on() {
        // Little is left to be synced when the files change.
        let _ = log.log.write().and_then(|()| log.sync()); // a fault is noted, and seen to where it is
    }
    let file = logs.then(|| log.files().begin_rewrite(disk, config, begin)).transpose().map_err(told)?;
    let (temporary, path) = log.files().next_base(disk, config, rdb).map_err(told)?;
    let saved = save(shared, begin, file, (&path, &temporary), progress).map_err(|error| error.to_string());
    let renaming = Ticks::now();
    {
        let mut files = log.files();
        // Whoever switches the log off calls this off, and closes the files then: so the manifest never changes after that.
        if progress.cancelled.load(SeqCst) {
            let _ = disk.remove(&path); // perhaps there is none; no manifest names it
            return Err(SaveError::Cancelled.to_string());
        }
        let (base, _) = saved.as_ref().map_err(String::clone)?;
        files.install_base(disk, config, rdb, usize::from(logs), *base).map_err(told)?;
        log.has_begun();
    }
    let (_, kept_bytes) = saved?;
    shared.note_latency("aof-rename", Ticks::now().nanos_since(renaming));
    if log.log.is_faulty() {
        log.log.start_over();
        tracing::warn!("The append-only file has new files: the server can write again");
    }
    log.writing.ring();
    let mut files = log.files();
    files.base_bytes = files.bytes(log.log.file_bytes());
    if !logs {
        files.close();
    }
    Ok(kept_bytes)
}

/// Writes the base. At its cut the log goes over to `file`. Returns its length, and the bytes that writers recorded meanwhile.
fn save(
    shared: &'static Shared,
    begin: bool,
    mut file: Option<LogFile>,
    (path, temporary): (&Path, &Path),
    progress: &Progress,
) -> Result<(u64, u64), SaveError> {
    let (log, config) = (&shared.append_log, &shared.config);
    let (disk, rdb, mut functions) = (&*log.disk, config.aof_use_rdb_preamble(), Vec::new());
    let cut = loop {
        let record = if rdb { recorder(&shared.keyspace, config.maxmemory_policy()) } else { commands::recorder() };
        let cut = shared.keyspace.cut(record, &mut || {
            let wanted = !progress.cancelled.load(SeqCst);
            if let Some(file) = file.take_if(|_| wanted) {
                log.switch_to(file);
                if begin {
                    log.attach(shared);
                }
            }
            functions = shared.function_texts();
        });
        match cut {
            Ok(cut) => break cut,
            Err(_) if progress.cancelled.load(SeqCst) => return Err(SaveError::Cancelled),
            Err(_) if shared.shutdown.requested.load(Acquire) => return Err(SaveError::Cancelled),
            Err(_) => std::thread::sleep(LOOK),
        }
    };
    if rdb {
        let options = Options { config, functions: &functions, aof_base: true };
        let saved = save_file(disk, (path, temporary), cut, options, progress)?;
        return Ok((saved.bytes, saved.kept_bytes));
    }
    let kept_bytes = cut.saved_bytes();
    let stamp_s = config.aof_timestamp_enabled().then(|| UnixMs::now().seconds());
    let base = commands::Base { functions: &functions, stamp_s, syncs: config.aof_rewrite_incremental_fsync() };
    let written = commands::save(disk, temporary, cut, base, &progress.cancelled);
    let installed = written.and_then(|bytes| {
        disk.install(temporary, path)?;
        Ok(bytes)
    });
    if installed.is_err() {
        let _ = disk.remove(temporary); // perhaps there is none
    }
    Ok((installed?, kept_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrites_that_fail_become_rare() {
        let minutes = |failures| pause_ms(failures, false) / MINUTE_MS;
        assert_eq!([1, 2, 3, 4, 5, 9, 90].map(minutes), [0, 0, 1, 2, 4, 60, 60]);
        assert_eq!([1, 2, 6, 80].map(|failures| pause_ms(failures, true)), [1000, 2000, 32_000, 32_000]);
    }
}
