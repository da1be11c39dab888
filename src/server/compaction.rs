//! Compaction: entries and strings move out of pages that are mostly free, so that these go back to the system.
//!
//! A thread of its own looks once a second at what the allocator loses to free blocks between used ones. Above a tenth of
//! what is in use it passes through the keyspace, a segment under its lock at a time, and takes a tenth of a core for it, a
//! fourth where the loss is a half. Its blocks come from the fullest pages, because it keeps no cache of free ones.
//! Collections stay where they are. Must not know: how blocks are found and moved.

use crate::call::shared::Shared;
use crate::keyspace::Scratch;
use crate::util::clock::Ticks;
use crate::util::memory::{allocator_figures, forgo_cache};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Between two looks at the allocator.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Less loss than this is nobody's concern, in bytes.
const LEAST_LOSS: u64 = 16 << 20;

/// One stretch of work; the thread then sleeps for a multiple of it.
const STRETCH_NANOS: u64 = 500_000;
const STRETCH: Duration = Duration::from_nanos(STRETCH_NANOS);

/// Runs for ever. Blocks.
pub fn run(shared: &'static Shared) {
    forgo_cache();
    let mut scratch = Scratch::default();
    loop {
        std::thread::sleep(LOOK_EVERY);
        if shared.config.compaction() && !shared.cron_paused.load(Relaxed) {
            let figures = allocator_figures();
            if let Some(rest) = rest_for(figures.allocated, figures.active) {
                pass(shared, rest, &mut scratch);
            }
        }
    }
}

/// Stretches of rest between two of work, by what the allocator has handed out and the pages that this lies in; `None` where
/// there is no need to work.
fn rest_for(allocated: u64, active: u64) -> Option<u32> {
    let loss = active.saturating_sub(allocated);
    match loss {
        _ if loss < LEAST_LOSS || loss < allocated / 10 => None,
        _ if loss > allocated / 2 => Some(3),
        _ => Some(9),
    }
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
            if Ticks::now().nanos_since(started) > STRETCH_NANOS {
                std::thread::sleep(STRETCH * rest);
                started = Ticks::now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_where_a_tenth_is_lost() {
        const MIB: u64 = 1 << 20;
        assert_eq!(rest_for(0, 0), None);
        assert_eq!(rest_for(10 * MIB, 25 * MIB), None, "too little to matter");
        assert_eq!(rest_for(1000 * MIB, 1099 * MIB), None);
        assert_eq!(rest_for(1000 * MIB, 1100 * MIB), Some(9));
        assert_eq!(rest_for(100 * MIB, 200 * MIB), Some(3));
        assert_eq!(rest_for(2, 1), None, "the figures are not of one moment");
    }
}
