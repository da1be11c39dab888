//! Small copies of the cache that find out which rule hits most.
//!
//! Each *arm* runs [`Queues`] under another rule over the keys of a sample: those whose marks have their lowest bits zero, so many
//! bits that an arm holds 1000 to 2000 keys. It keeps marks only: some 20 bytes a key and arm. An arm is followed until another has hit
//! more than it, by so much more than chance explains. While the cache is not full the arms hold whatever comes, and nothing is
//! decided. Must not know: entries.

use super::duo::{Kind, Queues, Rule};
use super::{MAX_USES, Place, Resident, Residents, Turn};

/// The rules that compete.
const RULES: [Rule; 5] = [
    Rule { kind: Kind::Quick, window_percent: 20 },
    Rule { kind: Kind::Quick, window_percent: 3 },
    Rule { kind: Kind::Frequent, window_percent: 1 },
    Rule { kind: Kind::Frequent, window_percent: 10 },
    Rule { kind: Kind::Recent, window_percent: 0 },
];

/// The rule to begin with where all keys are in the sample: one that keeps what it has, which others can start from; the opposite costs
/// a turnover of the cache. Few keys are often fewer than come round.
const START_SMALL: usize = 2;

/// The rule to begin with where there are more: it is the best or next to it wherever keys do not come round, and turnovers are long.
const START: usize = 0;

/// A choice that another follows within so many times the patience was made too early: the next waits twice as long. A loop lets one arm
/// hit for a while and then another, each by more than chance explains, and whoever follows them in turn has what neither needs.
const FICKLE: f32 = 8.0;

/// Turnovers of an arm to wait after a choice that was made too early; and after many such.
const LEAST_PATIENCE: f32 = 1.0;
const MOST_PATIENCE: f32 = 16.0;

/// Keys that an arm holds at most, and half of which it holds at least where there are enough.
const ARM_KEYS: usize = 2048;

/// Looks at the arms while as many requests come as an arm holds keys.
const CHECKS: usize = 8;

/// What is left of older hits at each look: those of the last twelve times an arm's keys count.
const MEMORY: f32 = 0.99;

/// How much more of all requests an arm must hit.
const MARGIN: f32 = 0.003;

/// Standard deviations by which it must be ahead. (Of `split` requests that one arm hits and the other does not, chance alone gives
/// either of them half, give or take half the root of `split`; what is ahead is twice what exceeds the half.)
const DEVIATIONS: f32 = 3.0;

/// What it costs to follow another arm, in hits for each key that it holds: the cache has to come to hold what the arm does. An arm
/// must have hit so many more. Where phases are short, whoever asks for less pays for each and gains from none.
const COST: f32 = 0.13;

/// Keys by their marks, with what [`Residents`] tells of them: open addressing, five bytes a slot.
#[derive(Default)]
struct Marks {
    slots: Vec<u32>,
    states: Vec<u8>,
    len: usize,
}

impl Marks {
    fn with_capacity(capacity: usize) -> Marks {
        let slots = (capacity * 2).next_power_of_two().max(8);
        Marks { slots: vec![0; slots], states: vec![0; slots], len: 0 }
    }

    fn home(&self, mark: u32) -> usize {
        let bits = self.slots.len().ilog2();
        (mark.wrapping_mul(0x9e37_79b1) >> (32 - bits)) as usize
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    /// Where the mark is, or the free slot where it would be.
    fn slot(&self, mark: u32) -> usize {
        let mut at = self.home(mark);
        while self.slots[at] != 0 && self.slots[at] != mark {
            at = self.next(at);
        }
        at
    }

    fn has(&self, mark: u32) -> bool {
        self.slots[self.slot(mark)] == mark
    }

    fn add(&mut self, mark: u32) {
        if self.len * 8 >= self.slots.len() * 5 {
            self.grow();
        }
        let at = self.slot(mark);
        self.len += usize::from(self.slots[at] == 0);
        (self.slots[at], self.states[at]) = (mark, 0);
    }

    fn grow(&mut self) {
        let old = std::mem::replace(self, Marks::with_capacity(self.slots.len()));
        for (mark, state) in old.slots.into_iter().zip(old.states).filter(|(mark, _)| *mark != 0) {
            let at = self.slot(mark);
            (self.slots[at], self.states[at]) = (mark, state);
        }
        self.len = old.len;
    }

    fn use_one(&mut self, mark: u32) {
        let at = self.slot(mark);
        let uses = self.states[at] >> 2;
        self.states[at] = self.states[at] & 3 | (uses + 1).min(MAX_USES) << 2;
    }

    fn remove(&mut self, mark: u32) -> bool {
        let mut gap = self.slot(mark);
        if self.slots[gap] == 0 {
            return false;
        }
        let mut at = self.next(gap);
        while self.slots[at] != 0 {
            // Moves back what its own search would no longer find behind the gap.
            let distance = |from: usize, to: usize| to.wrapping_sub(from) & (self.slots.len() - 1);
            if distance(self.home(self.slots[at]), at) >= distance(gap, at) {
                (self.slots[gap], self.states[gap]) = (self.slots[at], self.states[at]);
                gap = at;
            }
            at = self.next(at);
        }
        self.slots[gap] = 0;
        self.len -= 1;
        true
    }
}

impl Residents for Marks {
    fn look(&mut self, mark: u32) -> Option<Resident> {
        let at = self.slot(mark);
        let place = match self.states[at] & 3 {
            1 => Place::Window,
            2 => Place::Main,
            _ => Place::None,
        };
        (self.slots[at] != 0).then(|| Resident { place, uses: self.states[at] >> 2, score: 0 })
    }

    fn set(&mut self, mark: u32, place: Place, uses: u8) {
        let at = self.slot(mark);
        self.states[at] = place as u8 | uses << 2;
    }

    fn evict(&mut self, mark: u32) -> bool {
        self.remove(mark)
    }

    fn sample(&mut self, _: usize, _: &mut dyn FnMut(u32, Resident)) {}
}

struct Arm {
    queues: Queues,
    marks: Marks,
    /// Hits beyond those of the arm that is followed, older ones counting less.
    lead: f32,
    /// Requests that one of the two hit and the other did not, likewise.
    split: f32,
}

/// The arms.
pub struct Shadows {
    arms: Vec<Arm>,
    /// Keys that each may hold.
    capacity: usize,
    /// Lowest bits of a mark that must be zero for its key to be in the sample.
    bits: u32,
    requests: usize,
    /// Requests in all, older ones counting less.
    total: f32,
    followed: usize,
    /// Requests since another arm was last chosen, in turnovers of an arm.
    since: f32,
    /// So many of these there must be before another arm is chosen.
    patience: f32,
    /// Whether the cache has been full.
    begun: bool,
}

impl Shadows {
    /// Empty arms, for a cache of about `live` keys.
    pub fn new(live: usize) -> Shadows {
        let mut shadows = Shadows {
            arms: Vec::new(),
            capacity: 0,
            bits: 0,
            requests: 0,
            total: 0.0,
            followed: START_SMALL,
            since: 0.0,
            patience: 0.0,
            begun: false,
        };
        shadows.fit(live, false);
        shadows
    }

    /// The bits of a mark that must be zero for its key to be in the sample.
    pub fn mask(&self) -> u32 {
        (1 << self.bits) - 1
    }

    /// The rule to follow.
    pub fn rule(&self) -> Rule {
        RULES[self.followed]
    }

    /// Bytes taken from the allocator.
    pub fn memory_bytes(&self) -> usize {
        self.arms.iter().map(|arm| arm.queues.memory_bytes() + arm.marks.slots.len() * 5).sum()
    }

    /// Lets the arms hold their share of about `live` keys, if the cache is `full`: until then they hold whatever comes, as it does.
    /// `true` when the rule to follow has changed.
    pub fn fit(&mut self, live: usize, full: bool) -> bool {
        let sample = live >> self.bits;
        if self.arms.is_empty() || self.bits > 0 && sample < ARM_KEYS / 4 {
            self.bits = (live / ARM_KEYS).checked_ilog2().map_or(0, |bits| bits + 1);
            self.start_again();
        }
        while live >> self.bits > ARM_KEYS {
            self.bits += 1;
            self.thin_out();
        }
        self.capacity = if full { (live >> self.bits).max(8) } else { usize::MAX };
        let begins = full && !self.begun;
        if begins {
            self.begun = true;
            self.followed = if self.bits == 0 { START_SMALL } else { START };
        }
        begins
    }

    /// Empties the arms; what they have scored still counts.
    fn start_again(&mut self) {
        let arm = |rule| Arm { queues: Queues::new(rule), marks: Marks::with_capacity(64), lead: 0.0, split: 0.0 };
        self.arms = RULES.into_iter().map(arm).collect();
        self.requests = 0;
    }

    /// Drops the keys that are no longer in the sample.
    fn thin_out(&mut self) {
        let mask = self.mask();
        for Arm { queues, marks, .. } in &mut self.arms {
            let gone: Vec<u32> = marks.slots.iter().copied().filter(|mark| mark & mask != 0).collect();
            gone.into_iter().for_each(|mark| {
                marks.remove(mark);
            });
            queues.scrub(queues.marks(), marks);
        }
    }

    /// Shows a key of the sample to all arms; `true` when the rule to follow has changed.
    pub fn access(&mut self, mark: u32) -> bool {
        // No mark is 0 in the arms, where 0 stands for a free slot.
        let mark = if mark == 0 { 1 << 31 } else { mark };
        let reference = self.arms[self.followed].marks.has(mark);
        for Arm { queues, marks, lead, split } in &mut self.arms {
            let hit = marks.has(mark);
            if hit != reference {
                *lead += if hit { 1.0 } else { -1.0 };
                *split += 1.0;
            }
            if hit {
                marks.use_one(mark);
                continue;
            }
            while marks.len >= self.capacity && queues.evict(marks) != Turn::Empty {}
            marks.add(mark);
            queues.fit(marks.len);
            queues.insert(mark, marks);
        }
        self.requests += 1;
        let full = self.capacity < usize::MAX;
        full && self.requests * CHECKS >= self.capacity && self.judge()
    }

    fn judge(&mut self) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let requests = std::mem::take(&mut self.requests) as f32;
        self.total = self.total * MEMORY + requests;
        #[expect(clippy::cast_precision_loss, reason = "some thousand keys")]
        let capacity = self.capacity as f32;
        self.since += requests / capacity;
        for arm in &mut self.arms {
            arm.lead *= MEMORY;
            arm.split *= MEMORY;
        }
        let needed = self.total * MARGIN + capacity * COST;
        let proved = |arm: &Arm| arm.lead - needed - DEVIATIONS * arm.split.sqrt();
        if self.since < self.patience || !self.arms.iter().any(|arm| proved(arm) > 0.0) {
            return false;
        }
        // A change pays; then the best is the one that hits most. Another like the one that is followed is proved better sooner.
        let hits_most = (0..self.arms.len()).max_by(|a, b| self.arms[*a].lead.total_cmp(&self.arms[*b].lead));
        let best = hits_most.unwrap_or(self.followed);
        let fickle = self.since < FICKLE * self.patience.max(LEAST_PATIENCE);
        self.patience =
            if fickle { (self.patience * 2.0).clamp(LEAST_PATIENCE, MOST_PATIENCE) } else { self.patience / 2.0 };
        self.since = 0.0;
        self.followed = best;
        for arm in &mut self.arms {
            (arm.lead, arm.split) = (0.0, 0.0);
        }
        true
    }
}
