//! Active expiry: each worker reclaims what has expired in the shards that fall to it.
//!
//! A cycle begins ten times a second or more often and ends when nothing is due any more: there is no sampling, so
//! that nothing is left to luck. Invariant: a slice of it ends within a millisecond, and between two slices every connection
//! that is ready has been served. How long a slice may be follows from how busy these keep the worker, see [`slice_nanos`].
//! Must not know: how a shard finds what is due.

use super::worker::Bench;
use crate::call::shared::Shared;
use crate::call::stats::WorkerStats;
use crate::util::clock::{Ticks, UnixMs, thread_cpu_nanos};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

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

/// Runs until the worker ends. `bench` is the worker's.
pub async fn run(shared: &'static Shared, number: usize, bench: Rc<RefCell<Bench>>) {
    loop {
        let hz = u64::from(shared.config.hz()).max(1);
        tokio::time::sleep(Duration::from_millis((1000 / hz).clamp(SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS))).await;
        let stands = shared.cron_paused.load(Relaxed) || shared.loading.is_on();
        if shared.active_expire.load(Relaxed) && !stands {
            cycle(shared, number, &bench).await;
        }
    }
}

/// Removes everything that is due in the shards of worker `number`.
async fn cycle(shared: &Shared, number: usize, bench: &RefCell<Bench>) {
    let stats = &shared.stats.workers[number];
    let begun = Ticks::now();
    let (mut started, mut slice) = (begun, SHORT_SLICE_NANOS);
    for shard in (number..shared.keyspace.shards()).step_by(shared.stats.workers.len()) {
        while shared.keyspace.expire_turn(shard, UnixMs::now(), &mut |db, news| shared.hear_all(db, &news)) {
            let now = Ticks::now();
            if now.nanos_since(started) < slice {
                continue;
            }
            note(stats, now, started);
            stats.expire_caps.add(1);
            let others = let_others(bench).await;
            started = Ticks::now();
            let effort = u64::from(shared.config.active_expire_effort());
            slice = slice_nanos(others, started.nanos_since(begun), effort);
        }
    }
    note(stats, Ticks::now(), started);
}

/// Lets every connection that is ready be served; returns the nanoseconds of the processor that this took.
async fn let_others(bench: &RefCell<Bench>) -> u64 {
    let before = thread_cpu_nanos();
    tokio::task::yield_now().await;
    if bench.borrow().parkers > 0 {
        // Requests have been read and wait for their cache lines: they run before the next slice.
        tokio::task::yield_now().await;
    }
    thread_cpu_nanos().saturating_sub(before)
}

fn note(stats: &WorkerStats, now: Ticks, started: Ticks) {
    stats.expire_nanos.add(now.nanos_since(started));
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
