//! Compaction: entries and strings move out of pages that are mostly free, so that these go back to the system.
//!
//! A thread of its own looks once a second at what the allocator loses to free blocks between used ones. Above a tenth of
//! what is in use it passes through the keyspace, a segment under its lock at a time, and takes a tenth of a core for it, half
//! of one where the loss is a half. Its blocks come from the fullest pages, because it keeps no cache of free ones. Passes that
//! gain little (collections stay where they are) become rarer. Must not know: how blocks are found and moved.

use crate::call::shared::Shared;
use crate::keyspace::Scratch;
use crate::util::clock::Ticks;
use crate::util::memory::{allocator_figures, forgo_cache};
use crate::util::turns::take_short_turns;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Between two looks at the allocator.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Between two passes that gained little, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(256);

/// Less loss than this is nobody's concern, in bytes.
const LEAST_LOSS: u64 = 16 << 20;

/// One stretch of work; the thread then sleeps for a multiple of it.
const STRETCH_NANOS: u64 = 500_000;
const STRETCH: Duration = Duration::from_nanos(STRETCH_NANOS);

/// The slices of the processor that the thread asks for: it is seldom interrupted while it holds a lock.
const SLICE: Duration = Duration::from_micros(100);

/// Runs for ever. Blocks.
pub fn run(shared: &'static Shared) {
    forgo_cache();
    take_short_turns(SLICE);
    let (mut scratch, mut pause) = (Scratch::default(), LOOK_EVERY);
    loop {
        std::thread::sleep(pause);
        if shared.config.compaction() && !shared.cron_paused.load(Relaxed) {
            let before = loss();
            pause = match rest_for(before) {
                Some(rest) => {
                    pass(shared, rest, &mut scratch);
                    pause_after(before, loss(), pause)
                }
                None => LOOK_EVERY,
            };
        }
    }
}

/// What the allocator has handed out, and how much larger the pages are that this lies in, in bytes.
#[derive(Clone, Copy)]
struct Loss {
    allocated: u64,
    lost: u64,
}

fn loss() -> Loss {
    let figures = allocator_figures();
    Loss { allocated: figures.allocated, lost: figures.active.saturating_sub(figures.allocated) }
}

/// Stretches of rest between two of work; `None` where there is no need to work.
fn rest_for(Loss { allocated, lost }: Loss) -> Option<u32> {
    match lost {
        _ if lost < LEAST_LOSS || lost < allocated / 10 => None,
        _ if lost > allocated / 2 => Some(1),
        _ if lost > allocated / 4 => Some(3),
        _ => Some(9),
    }
}

/// How long to wait after a pass that was waited for as long as `pause`: longer, when it gained less than an eighth.
fn pause_after(before: Loss, after: Loss, pause: Duration) -> Duration {
    let gained = after.lost < before.lost - before.lost / 8;
    if gained { LOOK_EVERY } else { (pause * 2).min(LONGEST_PAUSE) }
}

/// One walk through all keys.
fn pass(shared: &Shared, rest: u32, scratch: &mut Scratch) {
    let keyspace = &shared.keyspace;
    let mut started = Ticks::now();
    for (db, shard) in (0..keyspace.databases()).flat_map(|db| (0..keyspace.shards()).map(move |shard| (db, shard))) {
        let mut next = Some(0);
        while let Some(at) = next {
            let moved;
            (moved, next) = keyspace.compact_turn(db, shard, at, scratch);
            shared.stats.compacted.fetch_add(moved as u64, Relaxed);
            if Ticks::now().nanos_since(started) > STRETCH_NANOS || gives_way(shared) {
                std::thread::sleep(STRETCH * rest);
                while gives_way(shared) {
                    std::thread::sleep(STRETCH);
                }
                started = Ticks::now();
            }
        }
    }
}

/// Whether much expires: then what lies in sparse pages now is as likely to go by itself, and both would want the same locks.
fn gives_way(shared: &Shared) -> bool {
    shared.expiring.available_permits() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn loss(allocated: u64, active: u64) -> Loss {
        Loss { allocated: allocated * MIB, lost: (active * MIB).saturating_sub(allocated * MIB) }
    }

    #[test]
    fn works_where_a_tenth_is_lost() {
        for (allocated, active, rest) in [
            (0, 0, None),
            (10, 25, None), // too little to matter
            (1000, 1099, None),
            (1000, 1100, Some(9)),
            (1000, 1251, Some(3)),
            (100, 200, Some(1)),
            (2, 1, None), // the figures are not of one moment
        ] {
            assert_eq!(rest_for(loss(allocated, active)), rest, "{allocated} {active}");
        }
    }

    #[test]
    fn passes_that_gain_little_become_rare() {
        let second = Duration::from_secs(1);
        assert_eq!(pause_after(loss(100, 200), loss(100, 150), second * 16), second);
        assert_eq!(pause_after(loss(100, 200), loss(100, 190), second), second * 2);
        assert_eq!(pause_after(loss(100, 200), loss(100, 250), LONGEST_PAUSE), LONGEST_PAUSE);
    }
}
