//! Compaction: entries and strings move out of pages that are mostly free, so that these go back to the system.
//!
//! A thread of its own looks four times a second at what the allocator loses to free blocks between used ones. Above a tenth of
//! what is in use it passes through the keyspace, a segment under its lock at a time, and takes a tenth of a core for it, more
//! where more is lost, but hardly any from busy workers as long as that is less than a half: what is sparse then is often filled again
//! by the next writes. Its blocks come from the fullest pages, because it keeps no cache of free ones. A pass ends
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
const LOOK_NANOS: u64 = 250_000_000;
const LOOK_EVERY: Duration = Duration::from_nanos(LOOK_NANOS);

/// Looks between two passes that gained little, at most.
const MOST_LOOKS: u32 = 1024;

/// Less loss than this is nobody's concern, in bytes.
const LEAST_LOSS: u64 = 16 << 20;

/// One stretch of work; how long the thread sleeps behind it, [`rest_for`] says.
const STRETCH_NANOS: u64 = 500_000;
const STRETCH: Duration = Duration::from_nanos(STRETCH_NANOS);

/// How long the workers are looked at before they are called busy or not.
const LOAD_SPAN_NANOS: u64 = 10_000_000;

/// The slices of the processor that the thread asks for: it is seldom interrupted while it holds a lock.
const SLICE: Duration = Duration::from_micros(100);

/// Runs for ever. Blocks.
pub fn run(shared: &'static Shared) {
    forgo_cache();
    take_short_turns(SLICE);
    let (mut scratch, mut first) = (Scratch::default(), 0);
    let (mut patience, mut load) = (Patience::default(), Load::new());
    loop {
        std::thread::sleep(LOOK_EVERY);
        if shared.config.compaction() && !shared.cron_paused.load(Relaxed) {
            let before = loss();
            let shares = shares_for(before);
            if let Some(shares) = shares.filter(|_| patience.is_over(before)) {
                let won = pass(&mut Turns::new(shared, shares, &mut load), before, &mut first, &mut scratch);
                patience.note(before, won, loss());
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

    /// `won`: bytes by which the pass has made the loss smaller. Writes beside it may have made as much of it anew, and then the next pass is worth as much.
    fn note(&mut self, before: Loss, won: u64, after: Loss) {
        let gained = is_worth(before, won.max(before.lost.saturating_sub(after.lost)));
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

/// How much of a core a pass takes, in percent: beside workers that have time left, and beside busy ones.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shares {
    idle: u32,
    busy: u32,
}

/// `None` where there is no need to work.
fn shares_for(Loss { allocated, lost }: Loss) -> Option<Shares> {
    match lost {
        _ if lost < LEAST_LOSS || lost < allocated / 10 => None,
        _ if lost > allocated / 2 => Some(Shares { idle: 80, busy: 50 }),
        _ if lost > allocated / 4 => Some(Shares { idle: 25, busy: 2 }),
        _ => Some(Shares { idle: 10, busy: 1 }),
    }
}

/// The rest behind a stretch of work that takes so many percent of a core.
fn rest_for(percent: u32) -> Duration {
    STRETCH * (100 - percent) / percent
}

/// How much of their time the workers had to do something.
struct Load {
    since: Ticks,
    /// Nanoseconds of work of all workers until then.
    worked: u64,
    is_high: bool,
}

impl Load {
    fn new() -> Load {
        Load { since: Ticks::now(), worked: 0, is_high: false }
    }

    /// Whether the workers were busy for more than a quarter of the last [`LOAD_SPAN_NANOS`] or more.
    fn is_high(&mut self, shared: &Shared) -> bool {
        let (now, workers) = (Ticks::now(), shared.stats.workers.len() as u64);
        let span = now.nanos_since(self.since);
        if span >= LOAD_SPAN_NANOS {
            let worked = shared.stats.sum(|worker| worker.turn_nanos.load());
            self.is_high = worked.saturating_sub(self.worked) > span * workers / 4;
            (self.since, self.worked) = (now, worked);
        }
        self.is_high
    }
}

/// The stretches of one pass.
struct Turns<'p> {
    shared: &'p Shared,
    shares: Shares,
    load: &'p mut Load,
    /// When the present one began.
    started: Ticks,
    /// When the allocator was asked last.
    looked: Ticks,
}

impl Turns<'_> {
    fn new<'p>(shared: &'p Shared, shares: Shares, load: &'p mut Load) -> Turns<'p> {
        Turns { shared, shares, load, started: Ticks::now(), looked: Ticks::now() }
    }

    /// Called between two segments: rests if the stretch is over. Returns whether to go on: not when busy workers have filled what was
    /// lost, nor when nobody wants it any more.
    fn go_on(&mut self) -> bool {
        if Ticks::now().nanos_since(self.started) <= STRETCH_NANOS && !gives_way(self.shared) {
            return true;
        }
        let busy = self.load.is_high(self.shared);
        std::thread::sleep(rest_for(if busy { self.shares.busy } else { self.shares.idle }));
        while gives_way(self.shared) {
            std::thread::sleep(STRETCH);
        }
        self.started = Ticks::now();
        if self.started.nanos_since(self.looked) >= LOOK_NANOS {
            self.looked = self.started;
            // A pass takes seconds, in which writes make the loss larger or fill it.
            match shares_for(loss()) {
                Some(shares) => self.shares = shares,
                None => return !busy,
            }
        }
        self.shared.config.compaction()
    }
}

/// One walk through all keys, beginning with shard `first`, or through that shard of all databases, if all would win too little as well.
/// Returns the bytes won; one that is not needed any more makes its last shard the `first` of the next.
fn pass(turns: &mut Turns<'_>, before: Loss, first: &mut usize, scratch: &mut Scratch) -> u64 {
    let (keyspace, mut won) = (&turns.shared.keyspace, 0);
    let shards = keyspace.shards();
    for (number, shard) in (*first..shards).chain(0..*first).enumerate() {
        let needed = (0..keyspace.databases()).all(|db| compact(turns, (db, shard), scratch));
        won += scratch.take_won() as u64;
        if !needed {
            *first = shard;
            break;
        }
        if number == 0 && !is_worth(before, won * shards as u64) {
            break;
        }
    }
    won
}

/// Whether so many bytes are a gain: an eighth of the loss.
fn is_worth(before: Loss, bytes: u64) -> bool {
    bytes >= before.lost / 8
}

/// Compacts a shard of a database, or a part of it when it says `false`.
fn compact(turns: &mut Turns<'_>, (db, shard): (usize, usize), scratch: &mut Scratch) -> bool {
    let (mut next, mut needed) = (Some(0), true);
    while let Some(at) = next.filter(|_| needed) {
        let moved;
        (moved, next) = turns.shared.keyspace.compact_turn(db, shard, at, scratch);
        turns.shared.stats.compacted.fetch_add(moved as u64, Relaxed);
        needed = turns.go_on();
    }
    needed
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
        for (allocated, active, shares) in [
            (0, 0, None),
            (10, 25, None), // too little to matter
            (1000, 1099, None),
            (1000, 1100, Some((10, 1))),
            (1000, 1251, Some((25, 2))),
            (100, 200, Some((80, 50))),
            (2, 1, None), // the figures are not of one moment
        ] {
            let shares = shares.map(|(idle, busy)| Shares { idle, busy });
            assert_eq!(shares_for(loss(allocated, active)), shares, "{allocated} {active}");
        }
    }

    #[test]
    fn rests_leave_the_share() {
        assert_eq!(
            [1, 2, 10, 25, 50, 80].map(rest_for).map(|rest| rest.as_micros()),
            [49_500, 24_500, 4_500, 1_500, 500, 125]
        );
    }

    #[test]
    fn passes_that_gain_little_become_rare() {
        let (mut patience, loss) = (Patience::default(), loss(100, 200));
        for wait in [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024] {
            patience.note(loss, 0, loss);
            assert_eq!((1..2000).find(|_| patience.is_over(loss)), Some(wait));
        }
    }

    #[test]
    fn a_pass_that_gains_and_a_loss_that_grows_end_the_wait() {
        let mut patience = Patience::default();
        (0..11).for_each(|_| patience.note(loss(100, 200), 0, loss(100, 200)));
        assert!(!patience.is_over(loss(100, 200)));
        assert!(patience.is_over(loss(100, 250)));
        patience.note(loss(100, 200), 0, loss(100, 150));
        assert!(patience.is_over(loss(100, 150)));
        patience.note(loss(100, 200), 20 * MIB, loss(100, 220));
        assert!(patience.is_over(loss(100, 200)), "what was won came anew");
    }
}
