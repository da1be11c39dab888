//! Snapshots on disk: when one is due, whether one is in flight, how the last ones went.
//!
//! A *job* is a cut through the keyspace on its way into a file. Whoever wants a snapshot makes the cut where it is, so that
//! everything that was answered before is in it, and leaves the job to the thread that runs [`run`]. Invariant: one job at
//! a time; the count of changes since the last snapshot falls by those that the file has, no more. Must not know:
//! commands, threads, the format.

use super::error::CommandError;
use super::shared::Shared;
use crate::config::Config;
use crate::keyspace::snapshot::{Cut, NoCut};
use crate::persistence::disk::{Disk, RealDisk};
use crate::persistence::rdb::save::{Options, Progress, SaveError, recorder, save_file};
use crate::util::clock::UnixMs;
use parking_lot::{Condvar, Mutex};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// After a failure, save points wait this long for the next try, as in Redis.
const RETRY_MS: i64 = 5000;

/// Between two looks whether a cut can be made now.
const LOOK: Duration = Duration::from_millis(20);

/// What writes are answered while snapshots fail.
const MISCONF: &str = "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk. \
     Commands that may modify the data set are disabled, because this instance is configured to report errors during \
     writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Valkey logs for details \
     about the RDB error.";

/// What scripts that write are answered meanwhile.
const MISCONF_SCRIPT: &str = "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to \
     disk. Writable scripts are blocked. Use 'no-writes' flag for read only scripts.";

/// How the last snapshots went.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// When the last one was complete; the start of the server before there is one.
    pub saved_at: UnixMs,
    /// Whether the last one in the background succeeded.
    pub ok: bool,
    /// When the last one in the background was begun.
    tried_at: UnixMs,
    /// Seconds that the last one in the background took, -1 before there is one.
    pub took_s: i64,
    /// How many there were.
    pub saves: u64,
    /// Of the last one, bytes that writers had to record because they came before the walk.
    pub kept_bytes: u64,
    /// Nanoseconds for which the last cut held locks.
    pub cut_nanos: u64,
    /// How many cuts there were for snapshots in the background.
    pub cuts: u64,
}

/// A snapshot in flight.
pub struct Running {
    /// How far it is.
    pub progress: Progress,
    /// In the background, and not for a client that waits.
    pub background: bool,
    /// When it was begun.
    pub since: UnixMs,
    /// Not so before it is over: whether there is a file now.
    outcome: Mutex<Option<Result<(), String>>>,
}

impl Running {
    /// What came of it; `None` while it goes on. An error is why there is no file.
    pub fn outcome(&self) -> Option<Result<(), String>> {
        self.outcome.lock().clone()
    }

    /// Ends it soon, without a file.
    pub fn cancel(&self) {
        self.progress.cancelled.store(true, Relaxed);
    }
}

/// A cut on its way into a file.
pub struct Job {
    shared: &'static Shared,
    cut: Cut<'static>,
    functions: Vec<Box<[u8]>>,
    /// Changes since the snapshot before, at the cut.
    dirty: u64,
    running: Arc<Running>,
}

#[derive(Default)]
struct Plans {
    job: Option<Job>,
    /// Somebody wants a snapshot as soon as one can be made.
    wanted: bool,
    running: Option<Arc<Running>>,
}

/// What the server knows of its snapshots.
pub struct Saving {
    /// The file system.
    pub disk: Arc<dyn Disk>,
    plans: Mutex<Plans>,
    work: Condvar,
    report: Mutex<Report>,
    failing: AtomicBool,
}

impl Saving {
    /// Before the first snapshot of a server that started at `started`.
    pub fn new(started: UnixMs) -> Saving {
        let (saved_at, tried_at) = (started, UnixMs::default());
        let report =
            Report { saved_at, ok: true, tried_at, took_s: -1, saves: 0, kept_bytes: 0, cut_nanos: 0, cuts: 0 };
        Saving {
            disk: Arc::new(RealDisk::default()),
            plans: Mutex::default(),
            work: Condvar::new(),
            report: Mutex::new(report),
            failing: AtomicBool::new(false),
        }
    }

    /// `CONFIG RESETSTAT`: as if no snapshot had been counted.
    pub fn reset_stats(&self) {
        let mut report = self.report.lock();
        (report.saves, report.cuts, report.cut_nanos) = (0, 0, 0);
    }

    /// How the last snapshots went.
    pub fn report(&self) -> Report {
        *self.report.lock()
    }

    /// Notes that the data is as a file holds it: it was just loaded.
    pub fn note_loaded(&self, now: UnixMs) {
        self.report.lock().saved_at = now;
    }

    /// The snapshot in flight.
    pub fn running(&self) -> Option<Arc<Running>> {
        self.plans.lock().running.clone()
    }

    /// Whether somebody wants a snapshot as soon as one can be made.
    pub fn is_wanted(&self) -> bool {
        self.plans.lock().wanted
    }

    /// Wants a snapshot, or (`false`) no longer; returns whether one was wanted before.
    pub fn want(&self, wanted: bool) -> bool {
        let before = std::mem::replace(&mut self.plans.lock().wanted, wanted);
        self.work.notify_one();
        before
    }

    /// Leaves a job to the thread that runs [`run`].
    pub fn submit(&self, job: Job) -> Arc<Running> {
        let running = Arc::clone(&job.running);
        self.plans.lock().job = Some(job);
        self.work.notify_one();
        running
    }

    /// Whether the last snapshot in the background failed. One load.
    #[inline]
    pub fn is_failing(&self) -> bool {
        self.failing.load(Relaxed)
    }

    /// Whether a save point is reached after so many changes.
    pub fn is_due(&self, config: &Config, dirty: u64, now: UnixMs) -> bool {
        let report = self.report();
        let (since_s, tried_ms) = (now.seconds() - report.saved_at.seconds(), now.0 - report.tried_at.0);
        let reached =
            |(seconds, changes): (u64, u64)| dirty >= changes && since_s > i64::try_from(seconds).unwrap_or(i64::MAX);
        (report.ok || tried_ms > RETRY_MS) && config.save_points().into_iter().any(reached)
    }

    fn finish(&self, running: &Running, result: &Result<u64, SaveError>, dirty: &AtomicU64, had: u64) {
        let mut report = self.report.lock();
        match result {
            Ok(kept_bytes) => {
                report.saved_at = UnixMs::now();
                report.saves += 1;
                report.kept_bytes = *kept_bytes;
                report.ok = true;
                dirty.fetch_sub(had, Relaxed);
            }
            Err(SaveError::Cancelled) => {}
            Err(SaveError::Disk(_)) if !running.background => {}
            Err(SaveError::Disk(_)) => report.ok = false,
        }
        if running.background {
            report.took_s = UnixMs::now().seconds() - running.since.seconds();
        }
        self.failing.store(!report.ok, Relaxed);
    }
}

/// Why writes are refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WritesRefused {
    /// Snapshots that are wanted fail.
    Snapshots,
    /// The log cannot be written, for this reason.
    Log(CommandError),
}

impl WritesRefused {
    /// What a command is answered; a script as a whole when `script`.
    pub fn error(&self, script: bool) -> CommandError {
        match self {
            WritesRefused::Snapshots if script => CommandError::text(MISCONF_SCRIPT),
            WritesRefused::Snapshots => CommandError::text(MISCONF),
            WritesRefused::Log(error) => error.clone(),
        }
    }
}

impl Shared {
    /// Makes the cut for a snapshot. The caller holds no lock of a shard.
    ///
    /// # Errors
    /// See [`NoCut`].
    pub fn begin_save(&'static self, background: bool) -> Result<Job, NoCut> {
        let (mut functions, mut dirty) = (Vec::new(), 0);
        let record = recorder(&self.keyspace, self.config.maxmemory_policy());
        let (since, progress) = (UnixMs::now(), Progress::default());
        let running = Arc::new(Running { progress, background, since, outcome: Mutex::default() });
        let cut = self.keyspace.cut(record, &mut || {
            functions = self.function_texts();
            dirty = self.stats.dirty.load(Relaxed);
            // What is wanted from here on, this one does not have.
            let mut plans = self.saving.plans.lock();
            plans.wanted &= !background;
            plans.running = Some(Arc::clone(&running));
        })?;
        running.progress.total.store(cut.keys(), Relaxed);
        let mut report = self.saving.report.lock();
        if background {
            // SAVE forks nowhere.
            report.cut_nanos = cut.cut_nanos();
            report.cuts += 1;
            report.tried_at = since;
        }
        Ok(Job { shared: self, cut, functions, dirty, running })
    }

    /// Why writes are refused now, if they are. A few loads unless a disk has failed.
    pub fn refuses_writes(&self) -> Option<WritesRefused> {
        let (saving, config) = (&self.saving, &self.config);
        let refuses = saving.is_failing() && config.stop_writes_on_bgsave_error() && !config.save_points().is_empty();
        let refusal = refuses.then_some(WritesRefused::Snapshots);
        refusal.or_else(|| self.append_log.refusal().map(WritesRefused::Log))
    }

    /// Texts of all libraries of functions.
    pub fn function_texts(&self) -> Vec<Box<[u8]>> {
        self.scripts.libraries.lock().all().map(|library| library.code.clone()).collect()
    }
}

impl Job {
    /// Writes the file. Blocks.
    pub fn run(self) -> Result<(), String> {
        let Job { shared, cut, functions, dirty, running } = self;
        let (config, directory) = (&shared.config, shared.config.dir());
        let (path, temporary) = (directory.join(config.dbfilename()), temporary_file(config));
        let options = Options { config, functions: &functions, aof_base: false };
        let result = save_file(&*shared.saving.disk, (&path, &temporary), cut, options, &running.progress);
        match &result {
            Ok(saved) => tracing::info!(
                "DB saved on disk: {} keys, {} bytes; requests were held up for {} us at the cut and {} us behind it at most",
                saved.keys,
                saved.bytes,
                shared.saving.report().cut_nanos / 1000,
                saved.longest_nanos / 1000
            ),
            Err(SaveError::Cancelled) => tracing::warn!("Saving was cancelled"),
            Err(SaveError::Disk(error)) => {
                tracing::error!("Can't save the DB to {}: {error}", path.display());
            }
        }
        let result = result.map(|saved| saved.kept_bytes);
        shared.saving.finish(&running, &result, &shared.stats.dirty, dirty);
        if running.background {
            match &result {
                Ok(_) => tracing::info!("Background saving terminated with success"),
                Err(SaveError::Cancelled) => {
                    shared.note_latency("rdb-unlink-temp-file", running.progress.removed_nanos.load(Relaxed));
                }
                Err(SaveError::Disk(_)) => tracing::error!("Background saving error"),
            }
        }
        let outcome = result.map(|_| ()).map_err(|error| error.to_string());
        let mut plans = shared.saving.plans.lock();
        plans.running.take_if(|other| Arc::ptr_eq(other, &running)); // the next may have begun
        drop(plans);
        *running.outcome.lock() = Some(outcome.clone());
        outcome
    }
}

/// The file that a snapshot is before it has its name.
pub fn temporary_file(config: &Config) -> PathBuf {
    config.dir().join(format!("temp-{}.rdb", std::process::id()))
}

/// Saves a snapshot on the calling thread, which holds no lock of a shard, after one that is in flight. Blocks.
///
/// # Errors
/// Why there is no file.
pub fn save_now(shared: &'static Shared) -> Result<(), String> {
    loop {
        match shared.begin_save(false) {
            Ok(job) => return job.run(),
            Err(NoCut::InFlight | NoCut::Locked) => std::thread::sleep(LOOK / 20),
        }
    }
}

/// Writes what is submitted and what is wanted. Runs for ever. Blocks.
pub fn run(shared: &'static Shared) {
    let saving = &shared.saving;
    loop {
        let mut plans = saving.plans.lock();
        if let Some(job) = plans.job.take() {
            drop(plans);
            let _ = job.run(); // whoever wants to know asks what is running, or the report
            continue;
        }
        if !plans.wanted {
            saving.work.wait(&mut plans);
            continue;
        }
        drop(plans);
        match shared.begin_save(true) {
            Ok(job) => {
                tracing::info!("Background saving started");
                let _ = job.run(); // as above
            }
            Err(NoCut::InFlight | NoCut::Locked) => std::thread::sleep(LOOK),
        }
    }
}

/// Wants a snapshot when a save point is reached; to be called some times a second.
pub fn look(shared: &'static Shared, now: UnixMs) {
    let (saving, dirty) = (&shared.saving, shared.stats.dirty.load(Relaxed));
    if dirty > 0 && !shared.keyspace.is_cutting() && !saving.is_wanted() && saving.is_due(&shared.config, dirty, now) {
        tracing::info!("{dirty} changes since the last snapshot: saving");
        saving.want(true);
    }
}

/// FLUSHALL has emptied everything: a snapshot in flight is of no more use, and where there are save points a file with what is gone
/// must not stay. As Redis.
pub fn note_flushed(shared: &Shared) {
    if let Some(running) = shared.saving.running() {
        running.cancel();
    }
    if !shared.config.save_points().is_empty() {
        shared.saving.want(true);
    }
}
