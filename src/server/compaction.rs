//! Compaction: entries and strings move out of pages that are mostly free, so that these go back to the system.
//!
//! A thread of its own looks four times a second at what the allocator loses to free blocks between used ones. Above a tenth of
//! what is in use it passes through the keyspace, a segment under its lock at a time, and takes a tenth of a core for it, half
//! of one where the loss is a half. Its blocks come from the fullest pages, because it keeps no cache of free ones. A pass ends
//! behind its first shards when these win little (what is lost may lie between the nodes of collections, which stay where they
//! are), and passes that gain little become rarer. Must not know: how blocks are found and moved.

use crate::call::shared::Shared;
use crate::keyspace::Scratch;
use crate::util::clock::Ticks;
use crate::util::memory::{forgo_cache, is_freeing_much, refresh_figures};
use crate::util::turns::take_short_turns;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Between two looks at the allocator.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Looks between two passes that gained little, at most.
const MOST_LOOKS: u32 = 1024;

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
    let (mut scratch, mut patience) = (Scratch::default(), Patience::default());
    loop {
        std::thread::sleep(LOOK_EVERY);
        if shared.config.compaction() && !shared.cron_paused.load(Relaxed) {
            let before = loss();
            let rest = rest_for(before);
            if let Some(rest) = rest.filter(|_| patience.is_over(before)) {
                pass(shared, rest, before, &mut scratch);
                patience.note(before, loss());
            }
        }
    }
}

/// How long there is no pass after some that gained little: twice as long each time, but no longer than the loss stays as it is.
#[derive(Default)]
struct Patience {
    /// Looks that are left without a pass, and their number in the beginning.
    left: u32,
    looks: u32,
    /// What was lost in spite of the last pass.
    lost: u64,
}

impl Patience {
    /// To be called at each look at which something is to be won; whether a pass is due.
    fn is_over(&mut self, loss: Loss) -> bool {
        let grown = loss.lost > self.lost + self.lost / 8;
        self.left = if grown { 0 } else { self.left.saturating_sub(1) };
        self.left == 0
    }

    fn note(&mut self, before: Loss, after: Loss) {
        let gained = is_worth(before, before.lost.saturating_sub(after.lost));
        self.looks = if gained { 0 } else { (self.looks * 2).clamp(2, MOST_LOOKS) };
        (self.left, self.lost) = (self.looks, after.lost);
    }
}

/// What the allocator has handed out, and how much larger the pages are that this lies in, in bytes.
#[derive(Clone, Copy)]
struct Loss {
    allocated: u64,
    lost: u64,
}

fn loss() -> Loss {
    let figures = refresh_figures();
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

/// One walk through all keys, or through the first shards of all databases, if all would win too little as well.
fn pass(shared: &Shared, rest: u32, before: Loss, scratch: &mut Scratch) {
    let (keyspace, mut started) = (&shared.keyspace, Ticks::now());
    scratch.take_won();
    for shard in 0..keyspace.shards() {
        for db in 0..keyspace.databases() {
            compact(shared, (db, shard), rest, scratch, &mut started);
        }
        if shard == 0 && !is_worth(before, scratch.take_won() as u64 * keyspace.shards() as u64) {
            return;
        }
    }
}

/// Whether so many bytes are a gain: an eighth of the loss.
fn is_worth(before: Loss, bytes: u64) -> bool {
    bytes >= before.lost / 8
}

/// Compacts a shard of a database, with rests of so many stretches.
fn compact(shared: &Shared, (db, shard): (usize, usize), rest: u32, scratch: &mut Scratch, started: &mut Ticks) {
    let mut next = Some(0);
    while let Some(at) = next {
        let moved;
        (moved, next) = shared.keyspace.compact_turn(db, shard, at, scratch);
        shared.stats.compacted.fetch_add(moved as u64, Relaxed);
        if Ticks::now().nanos_since(*started) > STRETCH_NANOS || gives_way(shared) {
            std::thread::sleep(STRETCH * rest);
            while gives_way(shared) {
                std::thread::sleep(STRETCH);
            }
            *started = Ticks::now();
        }
    }
}

/// Whether much expires, is evicted or flushed: then what lies in sparse pages now is as likely to go by itself, and both would want the
/// same locks, those of the shards and those of the allocator.
fn gives_way(shared: &Shared) -> bool {
    shared.expiring.available_permits() == 0 || is_freeing_much()
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
        let (mut patience, loss) = (Patience::default(), loss(100, 200));
        for wait in [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024] {
            patience.note(loss, loss);
            assert_eq!((1..2000).find(|_| patience.is_over(loss)), Some(wait));
        }
    }

    #[test]
    fn a_pass_that_gains_and_a_loss_that_grows_end_the_wait() {
        let mut patience = Patience::default();
        (0..11).for_each(|_| patience.note(loss(100, 200), loss(100, 200)));
        assert!(!patience.is_over(loss(100, 200)));
        assert!(patience.is_over(loss(100, 250)));
        patience.note(loss(100, 200), loss(100, 150));
        assert!(patience.is_over(loss(100, 150)));
    }
}
