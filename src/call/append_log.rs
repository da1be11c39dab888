//! The append-only file as the server sees it: what a reply has to wait for, who waits, how the log fares.
//!
//! Invariant: a reply leaves only when everything that was in the log when it was made is written (`appendfsync` `everysec` and
//! `no`) or synced (`always`); while the log fails, what a client has written is not acknowledged and further writes are
//! refused. A server without a log pays one load. Must not know: threads, sockets, any particular command.

pub mod files;

use super::blocking::Blocked;
use super::clients::Client;
use super::effects::Sink;
use super::error::CommandError;
use super::shared::Shared;
use crate::config::Config;
use crate::keyspace::attention::Attention;
use crate::persistence::aof::writer::{Fault, Log, LogFile};
use crate::persistence::disk::{Disk, RealDisk};
use crate::persistence::rdb::save::Progress;
use crate::protocol::batch::RequestView;
use crate::protocol::reply::Reply;
use crate::util::clock::{Ticks, UnixMs};
use files::Files;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst,
};
use std::time::Duration;

/// A write that takes longer than this is slow: the next ones are left to the log's own thread.
const SLOW_NANOS: u64 = 3_000_000;

/// When the log is synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Policy {
    /// There is no log.
    Off = 0,
    /// When the system likes.
    No = 1,
    /// Once a second.
    EverySecond = 2,
    /// Before a reply leaves.
    Always = 3,
}

/// What the log's keeper is asked for.
pub enum Task {
    /// New files in place of what the log has grown to, unless [`AppendLog::wish`] has another number by then.
    Rewrite(u64),
    /// `DEBUG LOADAOF`, for this client.
    Load(Arc<Blocked>),
}

/// A thread that sleeps until there is something to do.
#[derive(Default)]
pub struct Bell {
    rung: Mutex<bool>,
    wake: Condvar,
}

impl Bell {
    /// Wakes the thread.
    pub fn ring(&self) {
        let mut rung = self.rung.lock();
        if !*rung {
            *rung = true;
            self.wake.notify_one();
        }
    }

    /// Sleeps until somebody rings, at most for `patience` (`None`: for ever). Blocks.
    pub fn wait(&self, patience: Option<Duration>) {
        let mut rung = self.rung.lock();
        match patience {
            _ if *rung => {}
            None => self.wake.wait(&mut rung),
            Some(patience) => drop(self.wake.wait_for(&mut rung, patience)),
        }
        *rung = false;
    }
}

/// Somebody whose replies wait.
struct Waiter {
    position: u64,
    client: Arc<Client>,
}

/// Somebody in WAITAOF.
struct SyncWaiter {
    position: u64,
    blocked: Arc<Blocked>,
    /// It waits for nothing else.
    ends: bool,
}

/// The figures of INFO that are no positions.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// A rewrite is in flight, or about to be.
    pub rewriting: bool,
    /// One waits for a snapshot to end.
    pub scheduled: bool,
    /// When the one in flight began.
    pub since: Option<UnixMs>,
    /// Seconds that the last one took; -1 before there is one.
    pub took_s: i64,
    /// Whether the last one succeeded.
    pub ok: bool,
    /// How many succeeded.
    pub rewrites: u64,
    /// How many have failed since.
    pub failures: u64,
    /// No rewrite is begun by itself before this time.
    pub not_before: UnixMs,
    /// Bytes recorded by writers during the last one.
    pub kept_bytes: u64,
}

impl Default for Report {
    fn default() -> Report {
        Report {
            rewriting: false,
            scheduled: false,
            since: None,
            took_s: -1,
            ok: true,
            rewrites: 0,
            failures: 0,
            not_before: UnixMs(0),
            kept_bytes: 0,
        }
    }
}

/// The append-only file.
pub struct AppendLog {
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// The bytes on their way.
    pub log: Log,
    /// Rung when the log's thread has something to write.
    pub writing: Bell,
    /// Rung when something is to be synced before the second is over.
    pub syncing: Bell,
    /// Rung when there is a task.
    pub keeping: Bell,
    /// `DEBUG AOF-FLUSH-SLEEP`, in microseconds: a writer sleeps before it writes.
    pub flush_sleep_us: AtomicU64,
    policy: AtomicU8,
    /// The log is to begin, or has begun and has no base yet: nothing of it would be found at the next start.
    beginning: AtomicBool,
    stamps: AtomicBool,
    slow: AtomicBool,
    sync_runs: AtomicBool,
    delayed: AtomicU64,
    /// The longest write since somebody asked, and the longest sync that replies waited for, in nanoseconds.
    longest: [AtomicU64; 2],
    waiters: Mutex<Vec<Waiter>>,
    waiting_for_sync: Mutex<Vec<SyncWaiter>>,
    tasks: Mutex<VecDeque<Task>>,
    files: Mutex<Files>,
    report: Mutex<Report>,
    /// How often rewrites were called off.
    wish: AtomicU64,
    /// The rewrite in flight.
    rewrite: Mutex<Arc<Progress>>,
}

impl Default for AppendLog {
    fn default() -> AppendLog {
        AppendLog::on(Arc::new(RealDisk::default()))
    }
}

impl AppendLog {
    /// None yet, on this file system.
    pub fn on(disk: Arc<dyn Disk>) -> AppendLog {
        AppendLog {
            disk,
            log: Log::default(),
            writing: Bell::default(),
            syncing: Bell::default(),
            keeping: Bell::default(),
            flush_sleep_us: AtomicU64::new(0),
            policy: AtomicU8::new(Policy::Off as u8),
            beginning: AtomicBool::new(false),
            stamps: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            sync_runs: AtomicBool::new(false),
            delayed: AtomicU64::new(0),
            longest: Default::default(),
            waiters: Mutex::default(),
            waiting_for_sync: Mutex::default(),
            tasks: Mutex::default(),
            files: Mutex::default(),
            report: Mutex::default(),
            wish: AtomicU64::new(0),
            rewrite: Mutex::default(),
        }
    }

    // What replies wait for

    /// Whether there is a log; one load.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.policy.load(Relaxed) != Policy::Off as u8
    }

    /// When the log is synced.
    pub fn policy(&self) -> Policy {
        match self.policy.load(Relaxed) {
            0 => Policy::Off,
            1 => Policy::No,
            2 => Policy::EverySecond,
            _ => Policy::Always,
        }
    }

    /// What a reply that is ready now has to wait for: a position of the log, 0 for nothing.
    #[inline]
    pub fn owed(&self) -> u64 {
        if self.is_on() { self.log.appended() } else { 0 }
    }

    /// Up to where replies may leave.
    pub fn frontier(&self) -> u64 {
        match self.policy() {
            Policy::Off => u64::MAX,
            Policy::Always => self.log.synced(),
            _ => self.log.written(),
        }
    }

    /// Whether a reply that waits for `position` may leave. Writes what is needed for that, if that is all and takes no
    /// time; a client that has written nothing (`innocent`) does not wait for a log that fails.
    pub fn settle(&self, position: u64, innocent: bool) -> bool {
        if self.frontier() >= position {
            return true;
        }
        if self.log.is_faulty() {
            return innocent;
        }
        let hurried = self.policy() == Policy::Always || self.slow.load(Relaxed) || self.log.is_switching();
        if hurried || self.is_sync_running() {
            return false;
        }
        self.write_at_once();
        self.frontier() >= position
    }

    /// A sync makes a write wait, perhaps: the log's thread is to do that.
    fn is_sync_running(&self) -> bool {
        let runs = self.sync_runs.load(Relaxed);
        if runs {
            self.delayed.fetch_add(1, Relaxed);
        }
        runs
    }

    fn write_at_once(&self) {
        let started = Ticks::now();
        self.doze();
        let result = self.log.write_soon();
        if self.note(0, started) > SLOW_NANOS {
            self.slow.store(true, Relaxed);
        }
        if matches!(result, Some(Err(_))) {
            self.writing.ring();
        }
    }

    fn doze(&self) {
        let us = self.flush_sleep_us.load(Relaxed);
        if us > 0 {
            std::thread::sleep(Duration::from_micros(us));
        }
    }

    /// Wakes `client` when what waits for `position` may leave, and sees to it that it will. `false` when it may leave already.
    pub fn wait(&self, position: u64, client: &Arc<Client>) -> bool {
        {
            let mut waiters = self.waiters.lock();
            if self.frontier() >= position {
                return false;
            }
            waiters.push(Waiter { position, client: Arc::clone(client) });
        }
        self.writing.ring();
        true
    }

    /// Tells a client when the log is synced up to `position`, which `ends` its wait or not.
    pub fn wait_for_sync(&self, position: u64, blocked: Arc<Blocked>, ends: bool) {
        self.waiting_for_sync.lock().push(SyncWaiter { position, blocked, ends });
        self.syncing.ring();
    }

    /// Wakes those who have waited long enough.
    pub fn wake(&self) {
        let frontier = self.frontier();
        let mut waiters = self.waiters.lock();
        waiters.retain(|waiter| {
            let waits = waiter.position > frontier;
            if !waits {
                waiter.client.notify();
            }
            waits
        });
        drop(waiters);
        let synced = self.durable();
        self.waiting_for_sync.lock().retain(|SyncWaiter { position, blocked, ends }| {
            let waits = *position > synced;
            if !waits {
                blocked.synced.store(true, Relaxed);
                if *ends {
                    blocked.end(blocked.timeout_reply());
                }
            }
            waits && !blocked.ticket.is_done()
        });
    }

    /// Up to where a next start would find the log; everything when there is none.
    pub fn durable(&self) -> u64 {
        match () {
            () if self.beginning.load(Acquire) => 0,
            () if self.is_on() => self.log.synced(),
            () => u64::MAX,
        }
    }

    /// Whether the log is yet to begin, or has no base yet.
    pub fn is_beginning(&self) -> bool {
        self.beginning.load(Acquire)
    }

    /// The files of the log are found by a next start.
    pub fn has_begun(&self) {
        self.beginning.store(false, Release);
        self.syncing.ring();
    }

    /// Closes the clients that wait, without an answer: nobody knows whether what they did will last.
    pub fn fence(&self, shared: &Shared) {
        let waiters = std::mem::take(&mut *self.waiters.lock());
        if !waiters.is_empty() {
            tracing::warn!("Closing {} clients whose writes may be lost", waiters.len());
        }
        waiters.iter().for_each(|waiter| shared.kill_client(&waiter.client));
    }

    /// Whether somebody waits for a sync.
    pub fn is_sync_wanted(&self) -> bool {
        !self.waiting_for_sync.lock().is_empty()
    }

    // Writing and syncing, for the log's threads

    /// Writes what waits and, where every write is to be synced, syncs it.
    ///
    /// # Errors
    /// What failed.
    pub fn write_group(&self, lax: bool) -> Result<(), Fault> {
        let started = Ticks::now();
        self.doze();
        self.log.write()?;
        self.slow.store(self.note(0, started) > SLOW_NANOS, Relaxed);
        if self.policy() == Policy::Always && self.log.synced() < self.log.written() {
            let started = Ticks::now();
            match lax {
                false => self.log.sync()?,
                true => self.log.presume_synced(),
            }
            self.note(1, started);
        }
        Ok(())
    }

    /// Notes how long a write (0) or a sync (1) took, and returns it in nanoseconds.
    fn note(&self, what: usize, started: Ticks) -> u64 {
        let nanos = Ticks::now().nanos_since(started);
        if nanos > self.longest[what].load(Relaxed) {
            self.longest[what].fetch_max(nanos, Relaxed);
        }
        nanos
    }

    /// The longest write since this was last asked, and the longest sync that replies waited for, in nanoseconds.
    pub fn take_longest(&self) -> [u64; 2] {
        [0, 1].map(|what: usize| self.longest[what].swap(0, Relaxed))
    }

    /// Syncs what is written while others write on.
    ///
    /// # Errors
    /// What failed.
    pub fn sync(&self) -> Result<(), Fault> {
        self.sync_runs.store(true, Relaxed);
        let result = self.log.sync();
        self.sync_runs.store(false, Relaxed);
        result
    }

    /// Writes that were left to the log's thread because a sync was in progress.
    pub fn delayed(&self) -> u64 {
        self.delayed.load(Relaxed)
    }

    /// `CONFIG RESETSTAT`: as if no rewrite and no late write had been counted.
    pub fn reset_stats(&self) {
        let mut report = self.report();
        (report.rewrites, report.failures) = (0, 0);
        self.delayed.store(0, Relaxed);
    }

    /// Whether a sync is in progress.
    pub fn is_syncing(&self) -> bool {
        self.sync_runs.load(Relaxed)
    }

    // On and off

    /// Takes effects from now on. Under the locks of all shards, or before there are clients.
    pub fn attach(self: &Arc<Self>, shared: &Shared) {
        shared.effects.attach(Some(Arc::<AppendLog>::clone(self)), shared.keyspace.attention());
        self.set_policy(&shared.config);
    }

    /// Puts the options into effect.
    pub fn follow(&self, config: &Config) {
        self.stamps.store(config.aof_timestamp_enabled(), Relaxed);
        match self.is_on() {
            true => self.set_policy(config),
            false => self.beginning.store(config.appendonly(), Release),
        }
    }

    fn set_policy(&self, config: &Config) {
        self.stamps.store(config.aof_timestamp_enabled(), Relaxed);
        let policy = match config.appendfsync() {
            0 => Policy::EverySecond,
            1 => Policy::Always,
            _ => Policy::No,
        };
        self.policy.store(policy as u8, Release);
        // Whoever waits waits for something else now.
        self.writing.ring();
        self.syncing.ring();
    }

    /// Writes and syncs everything, then takes no more effects.
    ///
    /// # Errors
    /// The file cannot be written; there is no log any more all the same.
    pub fn stop(&self, shared: &Shared, attention: &Attention) -> Result<(), Fault> {
        shared.effects.attach(None, attention);
        let result = self.log.write().and_then(|()| self.log.sync());
        self.policy.store(Policy::Off as u8, Release);
        self.beginning.store(false, Release);
        self.log.close();
        self.wake();
        result
    }

    // Tasks

    /// Leaves a task to the log's keeper.
    pub fn ask(&self, task: Task) {
        self.tasks.lock().push_back(task);
        self.keeping.ring();
    }

    /// The next task.
    pub fn next_task(&self) -> Option<Task> {
        self.tasks.lock().pop_front()
    }

    // Rewrites that are not wanted any more

    /// The number of a rewrite that is wanted now; see [`begin_rewrite`](AppendLog::begin_rewrite).
    pub fn wish(&self) -> u64 {
        self.wish.load(SeqCst)
    }

    /// What is to be asked during a rewrite that was wanted under this number: whether it still is.
    pub fn begin_rewrite(&self, wish: u64) -> Arc<Progress> {
        let progress = Arc::new(Progress::default());
        *self.rewrite.lock() = Arc::clone(&progress);
        // Whoever calls it off counts first, and looks for the rewrite in flight then.
        progress.cancelled.store(self.wish() != wish, SeqCst);
        progress
    }

    /// Neither the rewrite in flight nor those that were asked for are wanted any more. Returns what the report said of them.
    pub fn call_off(&self) -> Report {
        let mut report = self.report.lock();
        self.wish.fetch_add(1, SeqCst);
        self.rewrite.lock().cancelled.store(true, SeqCst);
        let was = *report;
        (report.rewriting, report.scheduled, report.since) = (false, false, None);
        was
    }

    // Reports

    /// How rewrites fare.
    pub fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock()
    }

    /// The files.
    pub fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock()
    }

    /// Why a write is refused, if it is. One load when it is not.
    #[inline]
    pub fn refusal(&self) -> Option<CommandError> {
        if self.log.is_faulty() { self.misconf() } else { None }
    }

    #[cold]
    fn misconf(&self) -> Option<CommandError> {
        let fault = self.log.fault()?;
        Some(format!("MISCONF Errors writing to the AOF file: {}", fault.text()).into())
    }

    /// A change to a new file.
    pub fn switch_to(&self, file: LogFile) {
        self.log.switch_to(file);
        self.writing.ring();
    }
}

/// Replies what WAITAOF does.
pub fn write_acknowledged(local: bool, reply: &mut Reply<'_>) {
    reply.array(2);
    reply.integer(i64::from(local));
    reply.integer(0);
}

impl Sink for AppendLog {
    fn append(&self, unit: &[(usize, RequestView<'_>)]) {
        let now_s = self.stamps.load(Relaxed).then(|| UnixMs::now().seconds());
        self.log.append(unit, now_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::disk::DiskFile;
    use crate::protocol::batch::OwnedRequest;
    use std::io;
    use std::path::Path;

    /// Takes everything, or nothing.
    struct Moody(Arc<AtomicBool>);

    impl DiskFile for Moody {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.load(Relaxed) { Ok(bytes.len()) } else { Err(io::Error::other("not now")) }
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn truncate(&mut self, _: u64) -> io::Result<()> {
            Ok(())
        }

        fn again(&self) -> io::Result<Box<dyn DiskFile>> {
            Ok(Box::new(Moody(Arc::clone(&self.0))))
        }
    }

    fn log(policy: Policy) -> (AppendLog, Arc<AtomicBool>) {
        let (log, takes) = (AppendLog::default(), Arc::new(AtomicBool::new(true)));
        log.log.switch_to(LogFile::new(Box::new(Moody(Arc::clone(&takes))), Path::new("moody"), 0));
        log.log.write().expect("nothing to write");
        log.policy.store(policy as u8, Relaxed);
        (log, takes)
    }

    fn append(log: &AppendLog) -> u64 {
        Sink::append(log, &[(0, OwnedRequest::from_args([&b"A"[..]]).view())]);
        log.owed()
    }

    #[test]
    fn a_reply_waits_for_what_the_policy_demands() {
        let (log, _) = log(Policy::EverySecond);
        let owed = append(&log);
        assert!(log.settle(owed, false) && log.log.written() == owed && log.log.synced() == 0);
        log.policy.store(Policy::Always as u8, Relaxed);
        assert!(!log.settle(owed, false) && !log.settle(owed, true), "who has read waits too");
        log.write_group(false).expect("a good mood");
        assert!(log.settle(owed, false) && log.log.synced() == owed);
        let owed = append(&log);
        log.write_group(true).expect("a good mood");
        assert!(log.settle(owed, false), "when no sync is wanted, none is waited for");
    }

    #[test]
    fn a_sync_in_progress_does_not_stop_a_worker() {
        let (log, _) = log(Policy::EverySecond);
        log.sync_runs.store(true, Relaxed);
        let owed = append(&log);
        assert!(!log.settle(owed, false) && log.delayed() == 1);
        log.write_group(false).expect("a good mood");
        assert!(log.settle(owed, false));
    }

    #[test]
    fn who_has_written_waits_for_a_log_that_fails_and_nobody_else() {
        let (log, takes) = log(Policy::EverySecond);
        takes.store(false, Relaxed);
        let owed = append(&log);
        assert!(!log.settle(owed, false));
        assert!(log.settle(owed, true) && !log.settle(owed, false));
        assert_eq!(
            log.refusal().map(|error| error.to_string()).as_deref(),
            Some("MISCONF Errors writing to the AOF file: not now")
        );
        takes.store(true, Relaxed);
        log.write_group(false).expect("a better mood");
        log.log.forgive_write();
        assert!(log.settle(owed, false) && log.refusal().is_none());
    }
}
