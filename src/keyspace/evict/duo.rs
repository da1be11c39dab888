//! `duo`: a window and a main queue, and of three rules for what passes from one to the other the one that hits most.
//!
//! A new key enters the *window*, a FIFO. What leaves it goes to *main*, a CLOCK whose hand gives every key as many more rounds as it
//! was used since the last (at most 3), or out:
//!
//! - *quick* (after S3-FIFO): to main if it was used at all in the window; else out, remembered by the *ghost* for as long as 0.9 of the
//!   cache lasts. A key that comes back meanwhile enters main at once.
//! - *frequent* (after W-TinyLFU): it duels with the key under main's hand; the one that was used more, over all its lives, as the
//!   *sketch* estimates, stays, the newcomer's first use not counted;
//! - *recent*: every new key enters main at once, and a use gives it one round more, however many there were. That is CLOCK, which hits
//!   what LRU hits.
//!
//! Quick is better where new keys replace old ones for good, frequent where more keys than fit come round and round, recent where what
//! is used much today is forgotten tomorrow: [`Shadows`] find out which, and how large a window. Invariant: every key of the database has its mark in one of the queues (a mark may stand
//! for no key any more). A use costs no more than a counter in the entry: the sketch learns of it when the hand comes by, which even
//! hits more than counting at once. Memory: 4 bytes a key for the queues, 1.8 for the ghost, 4 to 8 for the sketch.
//! Sources: Yang et al., FIFO queues are all you need for cache eviction (SOSP 2023); Einziger, Friedman and Manes, TinyLFU (ACM TOS
//! 2017).

use super::ghost::Ghost;
use super::queue::Queue;
use super::shadows::Shadows;
use super::sketch::Sketch;
use super::{Algorithm, Fate, MAX_USES, Place, Resident, Residents, Turn};

/// Who passes from the window to main.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Who was used there, or comes back soon.
    Quick,
    /// Who was used more than the key under main's hand.
    Frequent,
    /// Everybody, at once.
    Recent,
}

/// What decides who passes from the window to main.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Who passes.
    pub kind: Kind,
    /// Share of the window in percent of all keys.
    pub window_percent: usize,
}

/// Keys that one turn looks at.
const STEPS: usize = 64;

/// Keys that the ghost remembers, in percent of those that are there.
const GHOST_PERCENT: usize = 90;

/// The window has this many marks at least: of one or two it is chance which is compared with main's hand.
const LEAST_WINDOW: usize = 4;

/// So many new keys and an eighth of all without an eviction are no chance: the cache was not full.
const FILLED_AT_ONCE: usize = 64;

/// Marks at the front of each queue whose keys are requested from memory before their turn comes: about what four batches of requests
/// make go.
const NAMED: usize = 64;

/// The window and main, with what they need to remember: duo under a given rule.
pub struct Queues {
    window: Queue,
    main: Queue,
    ghost: Ghost,
    sketch: Sketch,
    rule: Rule,
    /// Keys that came since the last time one was to go.
    fresh: usize,
    /// The window holds more than it should because it was filled without evictions or its share has shrunk.
    overfull: bool,
}

impl Queues {
    /// Empty queues.
    pub fn new(rule: Rule) -> Queues {
        let (window, main, ghost, sketch) = (Queue::default(), Queue::default(), Ghost::new(0), Sketch::new(0));
        Queues { window, main, ghost, sketch, rule, fresh: 0, overfull: false }
    }

    /// Number of marks.
    pub fn marks(&self) -> usize {
        self.window.len() + self.main.len()
    }

    /// Follows `rule` from now on.
    pub fn follow(&mut self, rule: Rule) {
        self.overfull = true;
        self.rule = rule;
    }

    /// Bytes taken from the allocator.
    pub fn memory_bytes(&self) -> usize {
        self.window.memory_bytes() + self.main.memory_bytes() + self.ghost.memory_bytes() + self.sketch.memory_bytes()
    }

    /// Comes nearer to remembering as much as fits about `capacity` keys. O(1).
    pub fn fit(&mut self, capacity: usize) {
        self.ghost.fit(capacity * GHOST_PERCENT / 100);
        self.sketch.fit(capacity);
    }

    /// Takes up a new key.
    pub fn insert(&mut self, mark: u32, residents: &mut dyn Residents) {
        self.fresh += 1;
        self.sketch.add(mark);
        let returns = self.ghost.take(mark);
        match self.rule.kind {
            Kind::Quick if returns => self.pass(mark, 0, residents),
            Kind::Recent => self.pass(mark, 0, residents),
            _ => {
                residents.welcome(mark);
                self.window.push(mark);
            }
        }
    }

    /// Takes up a key that was there before.
    pub fn adopt(&mut self, mark: u32, residents: &mut dyn Residents) {
        let uses = residents.look(mark).map_or(0, |seen| seen.uses);
        self.pass(mark, uses, residents);
    }

    fn pass(&mut self, mark: u32, uses: u8, residents: &mut dyn Residents) {
        residents.set(mark, Place::Main, uses);
        self.main.push(mark);
    }

    /// Lets a key that was never used in main go from the window.
    fn turn_out(&mut self, mark: u32, residents: &mut dyn Residents) -> bool {
        self.ghost.add(mark);
        residents.evict(mark)
    }

    fn learn(&mut self, mark: u32, uses: u8) {
        (0..uses).for_each(|_| self.sketch.add(mark));
    }

    /// Marks that the window should hold.
    fn window_target(&self) -> usize {
        match self.rule.kind {
            Kind::Recent => 0,
            _ => (self.marks() * self.rule.window_percent / 100).max(LEAST_WINDOW),
        }
    }

    /// Whether what leaves the window passes to main without a duel, because the window is too large by far. Not where it is by some keys:
    /// what memory is free comes and goes by as much, and keys that pass then push out those that have won their duels.
    fn is_overfull(&mut self) -> bool {
        self.overfull |= self.fresh > FILLED_AT_ONCE + self.marks() / 8;
        self.fresh = 0;
        self.overfull
    }

    /// See [`Algorithm::expect`].
    pub fn expect(&self, mark: u32) {
        self.ghost.prefetch(mark);
        self.sketch.prefetch(mark);
    }

    /// See [`Algorithm::name_next`].
    pub fn name_next(&mut self, named: &mut dyn FnMut(u32)) {
        let Queues { window, main, ghost, sketch, .. } = self;
        window.name_next(NAMED, &mut |mark| {
            ghost.prefetch(mark);
            sketch.prefetch(mark);
            named(mark);
        });
        main.name_next(NAMED, &mut |mark| {
            sketch.prefetch(mark);
            named(mark);
        });
    }

    /// Looks at up to [`STEPS`] keys for one to evict.
    pub fn evict(&mut self, residents: &mut dyn Residents) -> Turn {
        let mut steps = STEPS;
        while steps > 0 {
            let target = self.window_target();
            if self.window.len() <= target && !self.main.is_empty() {
                self.overfull = false;
                if self.hand(&mut steps, Fate::Goes, residents).is_some() {
                    self.main.pop();
                    return Turn::Evicted;
                }
                continue;
            }
            steps -= 1;
            let overfull = self.is_overfull();
            let Some(mark) = self.window.pop() else { return Turn::Empty };
            let gone = match self.rule.kind {
                Kind::Quick => self.leave_quick(mark, residents),
                Kind::Frequent if !overfull => self.leave_frequent(mark, &mut steps, residents),
                _ => self.leave_freely(mark, residents),
            };
            if gone {
                return Turn::Evicted;
            }
        }
        Turn::Searching
    }

    fn leave_freely(&mut self, mark: u32, residents: &mut dyn Residents) -> bool {
        if let Some(seen) = residents.look(mark).filter(|seen| seen.place != Place::Main) {
            self.pass(mark, seen.uses, residents);
        }
        false
    }

    fn leave_frequent(&mut self, mark: u32, steps: &mut usize, residents: &mut dyn Residents) -> bool {
        let seen = residents.look(mark).filter(|seen| seen.place != Place::Main);
        seen.is_some_and(|seen| self.duel(mark, seen, steps, residents))
    }

    fn leave_quick(&mut self, mark: u32, residents: &mut dyn Residents) -> bool {
        let mut uses = 0;
        let fate = residents.decide(mark, &mut |seen| {
            uses = seen.uses;
            match seen {
                Resident { place: Place::Main, .. } => Fate::Stays,
                Resident { uses: 0, .. } => Fate::Goes,
                _ => Fate::Moves(Place::Main, 0),
            }
        });
        match fate {
            None | Some(Fate::Stays) => return false,
            Some(Fate::Moves(..)) => self.main.push(mark),
            Some(Fate::Goes) => self.ghost.add(mark),
        }
        self.learn(mark, uses);
        fate == Some(Fate::Goes)
    }

    /// Brings the hand to a key that was not used since it last came by, which then has this fate; `None` when main is empty or the
    /// steps are used up.
    fn hand(&mut self, steps: &mut usize, unused: Fate, residents: &mut dyn Residents) -> Option<u32> {
        let rounds = |uses: u8| if self.rule.kind == Kind::Recent { 1 } else { uses.min(MAX_USES) };
        loop {
            let mark = self.main.front()?;
            *steps = steps.checked_sub(1)?;
            let mut unknown = false;
            let fate = residents.decide(mark, &mut |seen| {
                unknown = seen.place == Place::Window;
                match seen.uses {
                    _ if unknown => Fate::Stays,
                    0 => unused,
                    uses => Fate::Moves(Place::Main, rounds(uses) - 1),
                }
            });
            if fate == Some(unused) && !unknown {
                return Some(mark);
            }
            self.main.pop();
            if matches!(fate, Some(Fate::Moves(..))) {
                self.sketch.add(mark);
                self.main.push(mark);
            }
        }
    }

    fn duel(&mut self, mark: u32, seen: Resident, steps: &mut usize, residents: &mut dyn Residents) -> bool {
        let Some(other) = self.hand(steps, Fate::Stays, residents) else {
            self.learn(mark, seen.uses);
            return self.turn_out(mark, residents);
        };
        // The newcomer is here because it is being used, and that has been counted; that the other is used in this round may be yet to come. Without
        // the difference keys of a loop replace each other round by round, all used as often.
        let stronger = self.sketch.estimate(mark) + u32::from(seen.uses) > self.sketch.estimate(other) + 1;
        self.learn(mark, seen.uses);
        if !stronger {
            // The hand stays: who wins a duel is asked again before its neighbours.
            return self.turn_out(mark, residents);
        }
        self.main.pop();
        self.pass(mark, 0, residents);
        residents.evict(other)
    }

    /// Forgets marks of keys that are gone, among the next `steps`.
    pub fn scrub(&mut self, steps: usize, residents: &mut dyn Residents) {
        self.window.scrub(steps, &mut |mark| residents.look(mark).is_some_and(|seen| seen.place != Place::Main));
        self.main.scrub(steps, &mut |mark| residents.look(mark).is_some_and(|seen| seen.place != Place::Window));
    }
}

/// The algorithm: queues, and the shadows that choose their rule.
pub struct Duo {
    queues: Queues,
    shadows: Shadows,
    /// Insertions since the last eviction.
    quiet: usize,
}

impl Duo {
    /// For a database of about `capacity` keys.
    pub fn new(capacity: usize) -> Duo {
        let shadows = Shadows::new(capacity);
        Duo { queues: Queues::new(shadows.rule()), shadows, quiet: usize::MAX }
    }

    /// The rule that it follows.
    pub fn rule(&self) -> Rule {
        self.shadows.rule()
    }

    fn shadow(&mut self, mark: u32) {
        if mark & self.shadows.mask() == 0 && self.shadows.access(mark) {
            self.queues.follow(self.shadows.rule());
        }
    }
}

impl Algorithm for Duo {
    fn insert(&mut self, mark: u32, live: usize, residents: &mut dyn Residents) {
        self.queues.fit(live);
        self.quiet = self.quiet.saturating_add(1);
        if self.shadows.fit(live, self.quiet <= 64 + live / 16) {
            self.queues.follow(self.shadows.rule());
        }
        self.shadow(mark);
        self.queues.insert(mark, residents);
    }

    fn adopt(&mut self, mark: u32, residents: &mut dyn Residents) {
        self.queues.fit(self.queues.marks());
        self.queues.adopt(mark, residents);
    }

    fn used(&mut self, mark: u32) {
        self.shadow(mark);
    }

    fn wants(&self) -> u32 {
        self.shadows.mask()
    }

    fn evict(&mut self, residents: &mut dyn Residents) -> Turn {
        self.quiet = 0;
        self.queues.evict(residents)
    }

    fn expect(&self, mark: u32) {
        self.queues.expect(mark);
    }

    fn name_next(&mut self, named: &mut dyn FnMut(u32)) {
        self.queues.name_next(named);
    }

    fn marks(&self) -> usize {
        self.queues.marks()
    }

    fn scrub(&mut self, steps: usize, residents: &mut dyn Residents) {
        self.queues.scrub(steps, residents);
    }

    fn memory_bytes(&self) -> usize {
        self.queues.memory_bytes() + self.shadows.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// A keyspace of marks.
    #[derive(Default)]
    struct Keys(HashMap<u32, (Place, u8)>);

    impl Residents for Keys {
        fn look(&mut self, mark: u32) -> Option<Resident> {
            self.0.get(&mark).map(|(place, uses)| Resident { place: *place, uses: *uses, score: 0 })
        }

        fn set(&mut self, mark: u32, place: Place, uses: u8) {
            if let Some(state) = self.0.get_mut(&mark) {
                *state = (place, uses);
            }
        }

        fn evict(&mut self, mark: u32) -> bool {
            self.0.remove(&mark).is_some()
        }

        fn sample(&mut self, _: usize, _: &mut dyn FnMut(u32, Resident)) {}
    }

    fn put(keys: &mut Keys, duo: &mut Duo, mark: u32) {
        if let Some((_, uses)) = keys.0.get_mut(&mark) {
            *uses = (*uses + 1).min(MAX_USES);
            if mark & duo.wants() == 0 {
                duo.used(mark);
            }
            return;
        }
        keys.0.insert(mark, (Place::Window, 0));
        let live = keys.0.len();
        duo.insert(mark, live, keys);
    }

    proptest! {
        #[test]
        fn every_key_is_evicted_at_last(steps in prop::collection::vec((0_u8..8, 1_u32..3000, 1_u32..400), 1..60)) {
            let (mut keys, mut duo) = (Keys::default(), Duo::new(0));
            for (kind, first, count) in steps {
                for mark in (first..first + count).map(|n| n.wrapping_mul(0x9e37_79b1)) {
                    match kind {
                        0..=3 => put(&mut keys, &mut duo, mark),
                        4 => drop(keys.0.remove(&mark)),
                        5 => duo.scrub(2, &mut keys),
                        _ => {
                            let before = keys.0.len();
                            let turn = duo.evict(&mut keys);
                            assert_eq!(keys.0.len(), before - usize::from(turn == Turn::Evicted));
                        }
                    }
                }
            }
            while duo.evict(&mut keys) != Turn::Empty {}
            assert!(keys.0.is_empty(), "{} keys that nobody evicts", keys.0.len());
        }
    }

    #[test]
    fn a_loop_larger_than_the_cache_hits_as_much_of_it_as_fits() {
        let (mut keys, mut duo, mut hits) = (Keys::default(), Duo::new(0), 0);
        for turn in 0..60_000_u32 {
            let mark = (turn % 1000).wrapping_mul(0x9e37_79b1);
            hits += u32::from(keys.0.contains_key(&mark));
            put(&mut keys, &mut duo, mark);
            while keys.0.len() > 500 {
                duo.evict(&mut keys);
            }
        }
        assert!(hits > 24_000, "{hits} hits of 60000, and LRU has none");
    }

    /// On a server, what the keys may take comes and goes by some keys, and a loop then hit nothing: whenever there was room the window
    /// grew, and what it held too much of passed to main without a duel.
    #[test]
    fn a_loop_hits_though_room_comes_and_goes() {
        let (mut keys, mut duo, mut hits) = (Keys::default(), Duo::new(0), 0);
        for turn in 0..100_000_u32 {
            let mark = (turn % 1000).wrapping_mul(0x9e37_79b1);
            hits += u32::from(keys.0.contains_key(&mark));
            put(&mut keys, &mut duo, mark);
            let room = 252 - (turn / 100 * 7 % 12) as usize;
            while keys.0.len() > room {
                duo.evict(&mut keys);
            }
        }
        assert!(hits > 20_000, "{hits} hits of 100000");
    }

    #[test]
    fn recency_is_followed_where_popularity_drifts() {
        let (mut keys, mut duo, mut random) = (Keys::default(), Duo::new(0), 1_u32);
        for turn in 0..200_000_u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // The 1000 last keys of a long row that goes by, one at every other request, the newest ones most.
            let distance = 1000 * (random >> 22) / 1024 * (random >> 12 & 1023) / 1024;
            put(&mut keys, &mut duo, (turn / 2 + 1000 - distance).wrapping_mul(0x9e37_79b1));
            while keys.0.len() > 300 {
                duo.evict(&mut keys);
            }
        }
        assert_eq!(duo.rule().kind, Kind::Recent);
    }
}
