//! What the server counts.
//!
//! Invariant: counters of a worker are written by that worker alone, so that counting is a load, an addition and a store;
//! whoever reads adds the workers up.

use super::error::CommandError;
use crate::util::memory::as_own;
use histogram::AtomicHistogram;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Histograms resolve values to 1/16 and reach 2^40 ns (18 minutes).
const GROUPING_POWER: u8 = 4;
const MAX_VALUE_POWER: u8 = 40;

/// Once there are so many different error codes, further ones of scripts are counted together, under a code of their own, as Valkey does.
const MAX_ERROR_CODES: usize = 128;
const OTHER_ERROR_CODES: &str = "ERRORSTATS_OVERFLOW";

/// A counter with one writer.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; by its one writer.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// The count.
    pub fn load(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Starts again from zero. An addition that happens at the same moment may be lost or survive.
    pub fn reset(&self) {
        self.0.store(0, Relaxed);
    }
}

/// Counters of one command on one worker.
#[derive(Default)]
pub struct CommandStats {
    /// Runs.
    pub calls: Counter,
    /// Time in the handler, in nanoseconds.
    pub nanos: Counter,
    /// Refused before they ran.
    pub rejected: Counter,
    /// Ran and answered an error.
    pub failed: Counter,
    /// Boxed: most commands are never called, and each worker has this for all of them.
    histogram: OnceLock<Box<AtomicHistogram>>,
}

impl CommandStats {
    /// Counts `calls` runs of `nanos` nanoseconds together; `track` enters them in the histogram, each with the mean.
    #[inline]
    pub fn ran(&self, calls: u64, nanos: u64, track: bool) {
        self.calls.add(calls);
        self.nanos.add(nanos);
        if track {
            self.record(calls, nanos / calls.max(1));
        }
    }

    /// Whether a run took less than `nanos` on average so far; not before the first one.
    #[inline]
    pub fn usually_takes_less(&self, nanos: u64) -> bool {
        self.nanos.load() < self.calls.load().saturating_mul(nanos)
    }

    #[inline]
    fn record(&self, calls: u64, nanos: u64) {
        let histogram = self.histogram.get_or_init(|| {
            #[expect(clippy::expect_used, reason = "constants that the crate accepts; a test makes one")]
            as_own(|| Box::new(AtomicHistogram::new(GROUPING_POWER, MAX_VALUE_POWER).expect("valid powers")))
        });
        // Fails only for values beyond the range, which are then not counted: 18 minutes in one command.
        let _ = histogram.add(nanos.min((1 << MAX_VALUE_POWER) - 1), calls);
    }

    /// The distribution of run times in nanoseconds, if any was tracked.
    pub fn histogram(&self) -> Option<histogram::Histogram> {
        self.histogram.get().map(|histogram| histogram.load())
    }

    fn reset(&self) {
        if self.calls.load() > 0 {
            self.reset_histogram();
        }
        for counter in [&self.calls, &self.nanos, &self.rejected, &self.failed] {
            counter.reset();
        }
    }

    /// Forgets the distribution. What is counted is taken off again: exchanging each of 608 counts, nearly all of them 0, for 0 takes 3 us.
    fn reset_histogram(&self) {
        let Some(histogram) = self.histogram.get() else { return };
        let counted = histogram.load();
        let mut left = counted.as_slice().iter().fold(0, |sum: u64, count| sum.wrapping_add(*count));
        for bucket in counted.iter().filter(|bucket| bucket.count() > 0) {
            let _ = histogram.add(bucket.start(), bucket.count().wrapping_neg()); // in range, or it would not be there
            left = left.wrapping_sub(bucket.count());
            if left == 0 {
                return;
            }
        }
    }
}

/// Counters of one worker.
pub struct WorkerStats {
    /// By the command's id in the command table.
    pub commands: Box<[CommandStats]>,
    /// Bytes received.
    pub net_in: Counter,
    /// Bytes sent.
    pub net_out: Counter,
    /// Commands run.
    pub processed: Counter,
    /// Reads and writes of sockets.
    pub reads: Counter,
    /// Writes of sockets.
    pub writes: Counter,
    /// Nanoseconds of active expiry.
    pub expire_nanos: Counter,
    /// Slices of active expiry that ended with more to do.
    pub expire_caps: Counter,
    /// Looks at the sockets.
    pub turns: Counter,
    /// Nanoseconds of work between them.
    pub turn_nanos: Counter,
    /// Clients it serves.
    pub clients: AtomicU64,
}

/// What is counted over the whole server.
pub struct Stats {
    /// Counters of each worker.
    pub workers: Box<[WorkerStats]>,
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections refused: too many.
    pub rejected_connections: AtomicU64,
    /// Error replies.
    pub error_replies: AtomicU64,
    /// Clients closed for not reading.
    pub output_limit_disconnections: AtomicU64,
    /// Clients closed because all of them together used too much memory.
    pub evicted_clients: AtomicU64,
    /// Clients closed for too long an unfinished request.
    pub query_limit_disconnections: AtomicU64,
    /// Writes since the start.
    pub dirty: AtomicU64,
    /// Blocks moved out of sparse pages.
    pub compacted: AtomicU64,
    /// Highest `used_memory` seen.
    pub peak_memory: AtomicU64,
    errors: Mutex<BTreeMap<String, u64>>,
    /// Requests of the last samples, for `instantaneous_*`; kept by the server's clock tick.
    pub rates: Mutex<Rates>,
}

/// Rates over the last 1.6 seconds, as `instantaneous_*` in INFO.
#[derive(Clone, Copy, Default, Debug)]
pub struct Rates {
    /// Commands a second.
    pub commands: u64,
    /// Bytes a second received.
    pub net_in: u64,
    /// Bytes a second sent.
    pub net_out: u64,
    /// Looks of all workers at their sockets a second.
    pub turns: u64,
    /// Nanoseconds of work between two of them.
    pub turn_nanos: u64,
}

impl Stats {
    /// Zeroes for `workers` workers and `commands` commands.
    pub fn new(workers: usize, commands: usize) -> Stats {
        let worker = || WorkerStats {
            commands: (0..commands).map(|_| CommandStats::default()).collect(),
            net_in: Counter::default(),
            net_out: Counter::default(),
            processed: Counter::default(),
            reads: Counter::default(),
            writes: Counter::default(),
            expire_nanos: Counter::default(),
            expire_caps: Counter::default(),
            turns: Counter::default(),
            turn_nanos: Counter::default(),
            clients: AtomicU64::new(0),
        };
        Stats {
            workers: (0..workers).map(|_| worker()).collect(),
            connections: AtomicU64::new(0),
            rejected_connections: AtomicU64::new(0),
            error_replies: AtomicU64::new(0),
            output_limit_disconnections: AtomicU64::new(0),
            evicted_clients: AtomicU64::new(0),
            query_limit_disconnections: AtomicU64::new(0),
            dirty: AtomicU64::new(0),
            compacted: AtomicU64::new(0),
            peak_memory: AtomicU64::new(0),
            errors: Mutex::default(),
            rates: Mutex::default(),
        }
    }

    /// Sum of a counter over the workers.
    pub fn sum(&self, counter: impl Fn(&WorkerStats) -> u64) -> u64 {
        self.workers.iter().map(counter).sum()
    }

    /// Nanoseconds that all commands together have taken.
    pub fn command_nanos(&self) -> u64 {
        self.sum(|worker| worker.commands.iter().map(|command| command.nanos.load()).sum())
    }

    /// Counts an error reply under its code word.
    #[cold]
    pub fn count_error(&self, error: &CommandError) {
        if matches!(error, CommandError::Counted(_)) {
            return;
        }
        self.error_replies.fetch_add(1, Relaxed);
        let mut errors = self.errors.lock();
        let code = error.code();
        // Scripts, whose codes may be any word, give their errors as bytes.
        let ours = !matches!(error, CommandError::Bytes(_)) || code == "ERR";
        let has_room = ours || errors.len() < MAX_ERROR_CODES || errors.contains_key(&code);
        *errors.entry(if has_room { code } else { OTHER_ERROR_CODES.to_owned() }).or_default() += 1;
    }

    /// Error replies by code word.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.lock().clone()
    }

    /// `CONFIG RESETSTAT`.
    pub fn reset(&self) {
        for worker in &self.workers {
            worker.commands.iter().for_each(CommandStats::reset);
            let WorkerStats { net_in, net_out, processed, reads, writes, expire_nanos, expire_caps, .. } = worker;
            let WorkerStats { turns, turn_nanos, .. } = worker;
            for counter in [net_in, net_out, processed, reads, writes, expire_nanos, expire_caps, turns, turn_nanos] {
                counter.reset();
            }
        }
        for counter in [
            &self.connections,
            &self.rejected_connections,
            &self.error_replies,
            &self.output_limit_disconnections,
            &self.evicted_clients,
            &self.query_limit_disconnections,
        ] {
            counter.store(0, Relaxed);
        }
        self.errors.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_forgets_all_that_was_counted() {
        let (stats, counted) = (CommandStats::default(), |stats: &CommandStats| {
            stats.histogram().map_or(0, |histogram| histogram.as_slice().iter().sum::<u64>())
        });
        for _ in 0..3 {
            for (calls, nanos) in [(1, 0), (16, 900), (1, 500), (1, 501), (7, 1 << 30), (1, u64::MAX)] {
                stats.ran(calls, nanos, true);
            }
            assert_eq!((stats.calls.load(), counted(&stats)), (27, 27));
            stats.reset();
            assert_eq!((stats.calls.load(), stats.nanos.load(), counted(&stats)), (0, 0, 0));
        }
    }
}
