//! Active expiry: each worker reclaims what has expired in the shards that fall to it.
//!
//! A cycle begins ten times a second or more often and ends when nothing is due any more: there is no sampling, so
//! that nothing is left to luck. Invariant: a slice of it ends within a millisecond, and between two slices every connection
//! that is ready has been served. How long a slice may be follows from how busy these keep the worker, see [`slice_nanos`].
//! Must not know: how a shard finds what is due.

use super::worker::Bench;
use crate::call::shared::Shared;
use crate::util::clock::{Ticks, UnixMs, thread_cpu_nanos};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::SemaphorePermit;

/// The longest time between two cycles: what expires is due for half of it on average.
const LONGEST_PAUSE_MS: u64 = 100;

/// The shortest: a cycle over a million keys of which some are always due takes a millisecond.
const SHORTEST_PAUSE_MS: u64 = 10;

/// The slice of a worker with nothing else to do: a request that comes in during it waits no longer than the kernel needs
/// to deliver it.
const SHORT_SLICE_NANOS: u64 = 75_000;

/// The longest slice; the turn of a shard that ends it takes up to 100 us more.
const LONG_SLICE_NANOS: u64 = 850_000;

/// The share of a busy worker's time that expiry takes, in percent: Valkey's, by `active-expire-effort`.
const LEAST_SHARE: u64 = 25;
const SHARE_OF_EFFORT: u64 = 2;

/// A cycle that lasts longer takes twice the share: what is due for half a second shall be gone after a whole one.
const LATE_NANOS: u64 = 400_000_000;

/// A worker whose requests take less than a quarter of its time asks so often whether anybody waits for its processor. The system
/// lets a thread that never sleeps work on for up to four milliseconds, whoever has come meanwhile.
const HELD_NANOS: u64 = 200_000;

/// Runs until the worker ends. `bench` is the worker's.
pub async fn run(shared: &'static Shared, number: usize, bench: Rc<RefCell<Bench>>) {
    loop {
        let hz = u64::from(shared.config.hz()).max(1);
        tokio::time::sleep(Duration::from_millis((1000 / hz).clamp(SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS))).await;
        let stands = shared.cron_paused.load(Relaxed) || shared.loading.is_on();
        if shared.active_expire.load(Relaxed) && !stands {
            Cycle::new(shared, number, &bench).run().await;
        }
    }
}

/// Removes everything that is due in the shards of one worker.
struct Cycle<'a> {
    shared: &'static Shared,
    number: usize,
    bench: &'a RefCell<Bench>,
    begun: Ticks,
    /// Of the slice.
    started: Ticks,
    slice_nanos: u64,
    courtesy: Courtesy,
}

impl<'a> Cycle<'a> {
    fn new(shared: &'static Shared, number: usize, bench: &'a RefCell<Bench>) -> Cycle<'a> {
        let now = Ticks::now();
        let (slice_nanos, courtesy) = (SHORT_SLICE_NANOS, Courtesy::new());
        Cycle { shared, number, bench, begun: now, started: now, slice_nanos, courtesy }
    }

    async fn run(&mut self) {
        let Shared { keyspace, stats, .. } = self.shared;
        let shared = self.shared;
        for shard in (self.number..keyspace.shards()).step_by(stats.workers.len()) {
            let mut permit = None;
            while keyspace.expire_turn(shard, UnixMs::now(), &mut |db, news| shared.hear_all(db, &news)) {
                if Ticks::now().nanos_since(self.started) < self.slice_nanos {
                    continue;
                }
                stats.workers[self.number].expire_caps.add(1);
                self.note();
                if permit.is_none() {
                    permit = self.permit().await;
                }
                self.let_others().await;
            }
        }
        self.note();
    }

    /// Waits until few enough expire; `None` when it has become late meanwhile: then all do what they can.
    async fn permit(&self) -> Option<SemaphorePermit<'static>> {
        let patience = LATE_NANOS.saturating_sub(Ticks::now().nanos_since(self.begun));
        if patience == 0 {
            return self.shared.expiring.try_acquire().ok();
        }
        tokio::time::timeout(Duration::from_nanos(patience), self.shared.expiring.acquire()).await.ok()?.ok()
    }

    /// Ends a slice.
    async fn let_others(&mut self) {
        let others = self.courtesy.let_others(self.bench).await;
        self.started = Ticks::now();
        let effort = u64::from(self.shared.config.active_expire_effort());
        self.slice_nanos = slice_nanos(others, self.started.nanos_since(self.begun), effort);
    }

    /// Counts a slice.
    fn note(&self) {
        self.shared.stats.workers[self.number].expire_nanos.add(Ticks::now().nanos_since(self.started));
    }
}

/// How a worker that has more to do than requests lets others have their turn.
pub struct Courtesy {
    /// When the processor was last offered, and what requests have taken since.
    offered: Ticks,
    others_nanos: u64,
}

impl Courtesy {
    /// One that offers it soon.
    pub fn new() -> Courtesy {
        Courtesy { offered: Ticks::now(), others_nanos: 0 }
    }

    /// Lets every connection that is ready be served, and whoever waits for the processor of a worker with few requests have it; returns the
    /// nanoseconds of the processor that requests took.
    pub async fn let_others(&mut self, bench: &RefCell<Bench>) -> u64 {
        let others = serve(bench).await;
        self.others_nanos += others;
        let held = Ticks::now().nanos_since(self.offered);
        if held > HELD_NANOS {
            if self.others_nanos < held / 4 {
                std::thread::yield_now();
            }
            (self.offered, self.others_nanos) = (Ticks::now(), 0);
        }
        others
    }
}

/// Lets every connection that is ready be served; returns the nanoseconds of the processor that this took.
async fn serve(bench: &RefCell<Bench>) -> u64 {
    let before = thread_cpu_nanos();
    tokio::task::yield_now().await;
    if bench.borrow().parkers > 0 {
        // Requests have been read and wait for their cache lines: they run before the next slice.
        tokio::task::yield_now().await;
    }
    thread_cpu_nanos().saturating_sub(before)
}

/// How long the next slice may be when everything else took `others` nanoseconds of the processor since the last one, the cycle lasts
/// `cycle` nanoseconds, and the option says `effort`.
fn slice_nanos(others: u64, cycle: u64, effort: u64) -> u64 {
    let share = LEAST_SHARE + SHARE_OF_EFFORT * effort.saturating_sub(1).min(9);
    let share = if cycle > LATE_NANOS { share * 2 } else { share };
    (others.saturating_mul(share) / (100 - share.min(90))).clamp(SHORT_SLICE_NANOS, LONG_SLICE_NANOS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: u64 = 1000;

    #[test]
    fn a_busy_worker_gives_a_share_and_an_idle_one_all() {
        assert_eq!(slice_nanos(0, 0, 1), 75 * MICRO);
        assert_eq!(slice_nanos(225 * MICRO, 0, 1), 75 * MICRO);
        assert_eq!(slice_nanos(900 * MICRO, 0, 1), 300 * MICRO);
        assert_eq!(slice_nanos(900 * MICRO, 0, 10), 678_947);
        assert_eq!(slice_nanos(600 * MICRO, LATE_NANOS + 1, 1), 600 * MICRO);
        for effort in [0, 1, 10, 99] {
            assert_eq!(slice_nanos(u64::MAX, u64::MAX, effort), LONG_SLICE_NANOS);
        }
    }
}
