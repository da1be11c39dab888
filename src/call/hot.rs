//! Hot keys: which keys the requests are about.
//!
//! Two ways to look. Always: one request in [`SAMPLED`] of each worker is looked at, at random, and its keys are counted in
//! windows of [`WINDOW_S`] seconds. On demand (`HOTKEYS START`): every request, or one in so many, with the processor time
//! and the bytes that it took. Both count in Space-Saving sketches: a key that had over 1/[`COUNTERS`] of what was counted is
//! always found. Sampling adds the error of a sample: a key that was met n times had n x 64 requests, give or take
//! 128 x sqrt(n) (two standard deviations). Must not know: what commands do, connections.

use crate::util::clock::UnixMs;
use crate::util::heavy::{Heavy, Sketch};
use crate::util::memory::as_own;
use crate::util::process::CpuTimes;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// One request in so many is looked at when nobody asked for more.
pub const SAMPLED: u32 = 64;

/// Length of a window of the samples.
pub const WINDOW_S: u64 = 10;

/// Counters of a window, for each worker and for all together.
const COUNTERS: usize = 64;

/// Counters that a session keeps for each key that it is asked for, as Redis.
const COUNTERS_A_KEY: usize = 10;

/// Longer keys are not counted, so that memory is bounded: a sketch of 64 takes some 130 KiB at most.
const KEY_BYTES: usize = 1024;

/// A hot key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HotKey {
    /// Its database.
    pub db: u16,
    /// The key.
    pub key: Vec<u8>,
    /// Requests a second over the last window, an estimate.
    pub per_second: u64,
}

/// What a worker samples.
#[derive(Default)]
struct Windows {
    live: Sketch,
    last: Sketch,
    /// What is counted: a database and a key.
    item: Vec<u8>,
}

/// The registry of hot keys.
pub struct HotKeys {
    workers: Box<[Mutex<Windows>]>,
    /// When the live windows began, and how long the last ones were.
    began: Mutex<(UnixMs, u64)>,
    /// Whether a session wants every request.
    tracking: AtomicBool,
    session: Mutex<Option<Tracking>>,
}

impl HotKeys {
    /// Nothing counted yet, for so many workers.
    pub fn new(workers: usize, now: UnixMs) -> HotKeys {
        let windows =
            || Mutex::new(Windows { live: Sketch::new(COUNTERS), last: Sketch::new(COUNTERS), item: Vec::new() });
        HotKeys {
            workers: (0..workers).map(|_| windows()).collect(),
            began: Mutex::new((now, 0)),
            tracking: AtomicBool::new(false),
            session: Mutex::default(),
        }
    }

    /// Counts a request for `key` that the sampling of worker number `worker` has chosen. Some 100 ns.
    pub fn sample(&self, worker: usize, db: usize, key: &[u8]) {
        if key.len() <= KEY_BYTES
            && let Some(windows) = self.workers.get(worker)
        {
            let db = u16::try_from(db).unwrap_or(u16::MAX);
            as_own(|| {
                let Windows { live, item, .. } = &mut *windows.lock();
                item.clear();
                item.extend_from_slice(&db.to_le_bytes());
                item.extend_from_slice(key);
                live.add(item, 1);
            });
        }
    }

    /// Ends windows that are over. To be called about once a second.
    pub fn turn(&self, now: UnixMs) {
        let mut began = self.began.lock();
        let ms = u64::try_from(now.0.saturating_sub(began.0.0)).unwrap_or(0);
        if ms < WINDOW_S * 1000 {
            return;
        }
        *began = (now, ms);
        for windows in &self.workers {
            let mut windows = windows.lock();
            as_own(|| windows.last = std::mem::replace(&mut windows.live, Sketch::new(COUNTERS)));
        }
    }

    /// The hottest keys of the last complete window, hottest first.
    pub fn hottest(&self, most: usize) -> Vec<HotKey> {
        let ms = self.began.lock().1.max(1);
        let mut all = Sketch::new(COUNTERS);
        self.workers.iter().for_each(|windows| all.merge(&windows.lock().last));
        let per_second = |heavy: &Heavy| {
            let requests = (heavy.weight - heavy.error / 2).saturating_mul(u64::from(SAMPLED));
            requests.saturating_mul(1000) / ms
        };
        let read = |heavy: Heavy| {
            let (db, key) = heavy.item.split_at_checked(2)?;
            let db = u16::from_le_bytes(db.try_into().ok()?);
            Some(HotKey { db, key: key.to_vec(), per_second: per_second(&heavy) })
        };
        all.top(most).into_iter().filter_map(read).collect()
    }

    /// By how many requests a second the rates may be too high, beyond what sampling adds: those of a key with few requests are
    /// mixed with those of others.
    pub fn error_per_second(&self) -> u64 {
        let ms = self.began.lock().1.max(1);
        let samples: u64 = self.workers.iter().map(|windows| windows.lock().last.total()).sum();
        samples.saturating_mul(u64::from(SAMPLED)).saturating_mul(1000) / (COUNTERS as u64 * ms)
    }

    /// Forgets the samples.
    pub fn forget(&self) {
        as_own(|| {
            for windows in &self.workers {
                let mut windows = windows.lock();
                windows.live.clear();
                windows.last.clear();
            }
        });
    }

    // Sessions

    /// Whether every request is wanted.
    #[inline]
    pub fn is_tracking(&self) -> bool {
        self.tracking.load(Relaxed)
    }

    /// Begins a session in the place of one that has ended; `false` when one is in progress.
    pub fn start(&self, wanted: Wanted, now: UnixMs) -> bool {
        let mut session = self.session.lock();
        self.end_if_over(&mut session, now);
        if session.as_ref().is_some_and(Tracking::is_active) {
            return false;
        }
        *session = Some(Tracking::new(wanted, now));
        self.tracking.store(true, Relaxed);
        true
    }

    /// Ends the session in progress, keeping what it has counted; `false` when there is none.
    pub fn stop(&self, now: UnixMs) -> bool {
        let mut session = self.session.lock();
        self.end_if_over(&mut session, now);
        let active = session.as_mut().filter(|session| session.is_active());
        let stopped = active.map(|session| session.end(now)).is_some();
        self.tracking.store(false, Relaxed);
        stopped
    }

    /// Forgets the session; `false`, and nothing done, when it is in progress.
    pub fn reset(&self, now: UnixMs) -> bool {
        let mut session = self.session.lock();
        self.end_if_over(&mut session, now);
        if session.as_ref().is_some_and(Tracking::is_active) {
            return false;
        }
        *session = None;
        true
    }

    /// What the session has counted; `None` when there is none.
    pub fn report(&self, now: UnixMs) -> Option<Report> {
        let mut session = self.session.lock();
        self.end_if_over(&mut session, now);
        session.as_ref().map(|session| session.report(now))
    }

    /// Counts a request that ran for `nanos` and moved `bytes`, with its keys, in the session in progress.
    pub fn track<'k>(&self, now: UnixMs, nanos: u64, bytes: u64, keys: impl ExactSizeIterator<Item = &'k [u8]>) {
        let mut session = self.session.lock();
        self.end_if_over(&mut session, now);
        if let Some(session) = session.as_mut().filter(|session| session.is_active()) {
            session.count(nanos, bytes, keys);
        }
    }

    /// Counts a command of a transaction, in both ways.
    pub fn note_nested<'k>(
        &self,
        worker: usize,
        db: usize,
        now: UnixMs,
        nanos: u64,
        bytes: u64,
        keys: impl ExactSizeIterator<Item = &'k [u8]> + Clone,
    ) {
        if rand::random::<u32>().is_multiple_of(SAMPLED) {
            keys.clone().for_each(|key| self.sample(worker, db, key));
        }
        if self.is_tracking() {
            self.track(now, nanos, bytes, keys);
        }
    }

    fn end_if_over(&self, session: &mut Option<Tracking>, now: UnixMs) {
        if let Some(session) = session
            && session.is_active()
            && session.until.is_some_and(|until| until <= now)
        {
            session.end(session.until.unwrap_or(now));
            self.tracking.store(false, Relaxed);
        }
    }
}

/// What a session is asked to count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// Processor time.
    pub cpu: bool,
    /// Bytes received and sent.
    pub net: bool,
    /// Keys in the report.
    pub count: usize,
    /// After so many seconds it ends by itself; 0: never.
    pub duration_s: u32,
    /// One request in so many is entered in the sketches.
    pub ratio: u32,
}

/// A session.
struct Tracking {
    wanted: Wanted,
    started: UnixMs,
    until: Option<UnixMs>,
    /// When it ended, and the processor time at that moment.
    ended: Option<(UnixMs, CpuTimes)>,
    cpu_before: CpuTimes,
    nanos: u64,
    bytes: u64,
    by_cpu: Sketch,
    by_net: Sketch,
}

/// What a session has counted.
pub struct Report {
    /// What it was asked for.
    pub wanted: Wanted,
    /// Whether it is in progress.
    pub active: bool,
    /// When it began.
    pub started: UnixMs,
    /// How long it lasted, in milliseconds.
    pub duration_ms: i64,
    /// Time in handlers of all requests, in nanoseconds.
    pub nanos: u64,
    /// Bytes of all requests and replies.
    pub bytes: u64,
    /// Processor time of the process meanwhile, outside the kernel and in it, in seconds.
    pub cpu_s: (f64, f64),
    /// Keys by processor time, in microseconds.
    pub by_cpu: Vec<(Vec<u8>, u64)>,
    /// Keys by bytes.
    pub by_net: Vec<(Vec<u8>, u64)>,
}

impl Tracking {
    fn new(wanted: Wanted, now: UnixMs) -> Tracking {
        let duration_ms = i64::from(wanted.duration_s) * 1000;
        let sketch = || Sketch::new(wanted.count * COUNTERS_A_KEY);
        Tracking {
            wanted,
            started: now,
            until: (duration_ms > 0).then(|| UnixMs(now.0.saturating_add(duration_ms))),
            ended: None,
            cpu_before: CpuTimes::of_process(),
            nanos: 0,
            bytes: 0,
            by_cpu: sketch(),
            by_net: sketch(),
        }
    }

    fn is_active(&self) -> bool {
        self.ended.is_none()
    }

    fn end(&mut self, now: UnixMs) {
        self.ended = Some((now, CpuTimes::of_process()));
    }

    /// A request with several keys is shared out among them.
    fn count<'k>(&mut self, nanos: u64, bytes: u64, keys: impl ExactSizeIterator<Item = &'k [u8]>) {
        self.nanos = self.nanos.saturating_add(nanos);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.wanted.ratio > 1 && !rand::random::<u32>().is_multiple_of(self.wanted.ratio) {
            return;
        }
        let share = (keys.len() as u64).max(1);
        for key in keys.filter(|key| key.len() <= KEY_BYTES) {
            if self.wanted.cpu {
                self.by_cpu.add(key, nanos / share);
            }
            if self.wanted.net {
                self.by_net.add(key, bytes / share);
            }
        }
    }

    fn report(&self, now: UnixMs) -> Report {
        let (ended, cpu) = self.ended.unwrap_or_else(|| (now, CpuTimes::of_process()));
        let list = |sketch: &Sketch, unit: u64| {
            let heaviest = sketch.top(self.wanted.count).into_iter();
            heaviest.map(|heavy| (heavy.item, heavy.weight / unit)).filter(|(_, weight)| *weight > 0).collect()
        };
        Report {
            wanted: self.wanted,
            active: self.is_active(),
            started: self.started,
            duration_ms: ended.0.saturating_sub(self.started.0).max(0),
            nanos: self.nanos,
            bytes: self.bytes,
            cpu_s: (cpu.user_s - self.cpu_before.user_s, cpu.system_s - self.cpu_before.system_s),
            by_cpu: list(&self.by_cpu, 1000),
            by_net: list(&self.by_net, 1),
        }
    }
}

/// Chooses one request in [`SAMPLED`] at random, so that a period in the requests does not hide a key from it.
#[derive(Debug)]
pub struct Chance {
    left: u32,
    state: u32,
}

impl Chance {
    /// A sequence that differs from that of another `seed`.
    pub fn new(seed: u32) -> Chance {
        Chance { left: SAMPLED, state: seed.wrapping_mul(0x9e37_79b9) | 1 }
    }

    /// Whether this is one. A subtraction, nearly always.
    #[inline]
    pub fn hit(&mut self) -> bool {
        self.left -= 1;
        if self.left == 0 {
            self.draw();
            return true;
        }
        false
    }

    /// Distances of 1 to 127, all equally likely: 64 on average. The generator is Marsaglia's xorshift.
    #[cold]
    fn draw(&mut self) {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        self.left = 1 + (self.state >> 8) % (2 * SAMPLED - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixMs = UnixMs(1_000_000);

    fn later(seconds: i64) -> UnixMs {
        UnixMs(START.0 + seconds * 1000)
    }

    #[test]
    fn one_request_in_64_is_chosen() {
        let mut chance = Chance::new(7);
        let hits = (0..6_400_000).filter(|_| chance.hit()).count();
        assert!((98_000..102_000).contains(&hits), "{hits}");
    }

    #[test]
    fn a_window_is_reported_when_it_is_over() {
        let hot = HotKeys::new(2, START);
        for round in 0..1000 {
            hot.sample(round % 2, 3, b"hot");
            hot.sample(0, 0, format!("cold {round}").as_bytes());
        }
        hot.sample(0, 0, &[b'k'; KEY_BYTES + 1]);
        hot.turn(later(9));
        assert_eq!(hot.hottest(9), []);
        hot.turn(later(10));
        let hottest = hot.hottest(1);
        assert_eq!((hottest[0].db, &hottest[0].key[..]), (3, &b"hot"[..]));
        assert!((5_900..7_000).contains(&hottest[0].per_second), "{hottest:?}");
        hot.turn(later(20));
        assert_eq!(hot.hottest(9), []);
    }

    #[test]
    fn a_session_counts_until_it_ends() {
        let hot = HotKeys::new(1, START);
        let wanted = Wanted { cpu: true, net: true, count: 2, duration_s: 5, ratio: 1 };
        assert!(hot.report(START).is_none() && !hot.stop(START) && hot.start(wanted, START));
        assert!(!hot.start(wanted, later(4)) && !hot.reset(later(4)) && hot.is_tracking());
        hot.track(later(1), 9_000, 30, [&b"a"[..], b"b", b"c"].into_iter());
        hot.track(later(2), 2_500, 50, [&b"b"[..]].into_iter());
        hot.track(later(3), 1_000, 7, std::iter::empty());
        hot.track(later(5), 1_000, 7, [&b"late"[..]].into_iter());
        assert!(!hot.is_tracking());
        let report = hot.report(later(60)).expect("kept");
        assert_eq!((report.active, report.duration_ms, report.nanos, report.bytes), (false, 5000, 12_500, 87));
        assert_eq!(report.by_cpu, [((*b"b").into(), 5), ((*b"a").into(), 3)]);
        assert_eq!(report.by_net, [((*b"b").into(), 60), ((*b"a").into(), 10)]);
        assert!(hot.reset(later(6)) && hot.report(later(6)).is_none() && hot.reset(later(6)));
        assert!(hot.start(Wanted { duration_s: 0, ..wanted }, later(7)) && hot.stop(later(8)) && !hot.stop(later(8)));
    }
}
