//! Small copies of the cache that find out which rule hits most.
//!
//! Each *arm* runs [`Queues`] under another rule over the keys of a sample: those whose marks have their lowest bits zero, so many
//! bits that an arm holds some 500 keys. It keeps marks only. After every [`ROUND`] requests for each key that an arm holds the hits
//! are added up, older ones counting less, and the rule of the arm with the most is followed. Must not know: entries.

use super::duo::{Queues, Rule};
use super::{MAX_USES, Place, Resident, Residents, Turn};

/// The rules that compete; the first is followed until another has proved better.
const RULES: [Rule; 4] = [
    Rule { quick: true, window_percent: 10 },
    Rule { quick: true, window_percent: 3 },
    Rule { quick: false, window_percent: 1 },
    Rule { quick: false, window_percent: 10 },
];

/// Keys that an arm holds at most, and half of which it holds at least where there are enough.
const ARM_KEYS: usize = 1024;

/// Requests for each key of an arm between two looks at the hits.
const ROUND: usize = 1;

/// What is left of older hits at each look, in percent.
const MEMORY_PERCENT: u64 = 90;

/// By how much more, in thousandths of all requests, an arm must hit for its rule to replace another.
const MARGIN: u64 = 10;

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
    /// Of this round.
    hits: u64,
    /// Of all rounds, older ones counting less.
    score: u64,
}

/// The arms.
pub struct Shadows {
    arms: Vec<Arm>,
    /// Keys that each may hold.
    capacity: usize,
    /// Lowest bits of a mark that must be zero for its key to be in the sample.
    bits: u32,
    requests: usize,
    /// As the arms' scores.
    total: u64,
    followed: usize,
}

impl Shadows {
    /// Empty arms, for a cache of about `live` keys.
    pub fn new(live: usize) -> Shadows {
        let mut shadows = Shadows { arms: Vec::new(), capacity: 0, bits: 0, requests: 0, total: 0, followed: env("INIT", 0) };
        shadows.fit(live, false);
        shadows
    }

    /// The bits of a mark that must be zero for its key to be in the sample.
    pub fn mask(&self) -> u32 {
        (1 << self.bits) - 1
    }

    /// The rule to follow.
    pub fn rule(&self) -> Rule {
        rules()[self.followed]
    }

    /// Bytes taken from the allocator.
    pub fn memory_bytes(&self) -> usize {
        self.arms.iter().map(|arm| arm.queues.memory_bytes() + arm.marks.slots.len() * 5).sum()
    }

    /// Lets the arms hold their share of about `live` keys, if the cache is `full`: until then they hold whatever comes, as it does.
    pub fn fit(&mut self, live: usize, full: bool) {
        let sample = live >> self.bits;
        if self.arms.is_empty() || self.bits > 0 && sample < env("ARM", 1024) / 4 {
            self.bits = (live / env("ARM", 1024)).checked_ilog2().map_or(0, |bits| bits + 1);
            self.start_again();
        }
        while live >> self.bits > env("ARM", 1024) {
            self.bits += 1;
            self.thin_out();
        }
        self.capacity = if full { (live >> self.bits).max(8) } else { usize::MAX };
    }

    /// Empties the arms; what they have scored still counts.
    fn start_again(&mut self) {
        let scores: Vec<u64> = self.arms.iter().map(|arm| arm.score).collect();
        let arm = |(number, rule)| Arm {
            queues: Queues::new(64, rule),
            marks: Marks::with_capacity(64),
            hits: 0,
            score: scores.get(number).copied().unwrap_or(0),
        };
        self.arms = rules().into_iter().enumerate().map(arm).collect();
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
            queues.scrub(queues.len(), marks);
        }
    }

    /// Shows a key of the sample to all arms; `true` when the rule to follow has changed.
    pub fn access(&mut self, mark: u32) -> bool {
        // No mark is 0 in the arms, where 0 stands for a free slot.
        let mark = if mark == 0 { 1 << 31 } else { mark };
        for Arm { queues, marks, hits, .. } in &mut self.arms {
            if marks.has(mark) {
                *hits += 1;
                marks.use_one(mark);
                continue;
            }
            while marks.len >= self.capacity && queues.evict(marks) != Turn::Empty {}
            marks.add(mark);
            queues.insert(mark, marks);
        }
        self.requests += 1;
        let full = self.capacity < usize::MAX;
        full && self.requests >= self.capacity * env("ROUND", 4) / 4 && self.judge()
    }

    fn judge(&mut self) -> bool {
        for arm in &mut self.arms {
            arm.score = arm.score * env("MEM", 90) as u64 / 100 + std::mem::take(&mut arm.hits) * 1000;
            arm.queues.fit(self.capacity);
        }
        self.total = self.total * env("MEM", 90) as u64 / 100 + std::mem::take(&mut self.requests) as u64 * 1000;
        let Some((best, arm)) = self.arms.iter().enumerate().max_by_key(|(number, arm)| (arm.score, usize::MAX - number))
        else {
            return false;
        };
        if std::env::var("DBG").is_ok() { eprintln!("cap {} bits {} {:?} followed {}", self.capacity, self.bits, self.arms.iter().map(|a| a.score * 1000 / self.total.max(1)).collect::<Vec<_>>(), self.followed); }
        let ahead = arm.score > self.arms[self.followed].score + self.total * env("MARGIN", 10) as u64 / 1000;
        if ahead {
            self.followed = best;
        }
        ahead
    }
}

fn env(name: &str, default: usize) -> usize {
    use std::sync::Mutex; use std::collections::HashMap;
    static E: Mutex<Option<HashMap<String, usize>>> = Mutex::new(None);
    thread_local! { static L: std::cell::RefCell<HashMap<String, usize>> = Default::default(); }
    let _ = &E;
    L.with(|l| *l.borrow_mut().entry(name.to_string()).or_insert_with(|| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)))
}

fn rules() -> Vec<Rule> { let q = env("QA", 10); let q2 = env("QB", 3); let f1 = env("FA", 1); let f2 = env("FB", 10);
  vec![Rule { quick: true, window_percent: q }, Rule { quick: true, window_percent: q2 }, Rule { quick: false, window_percent: f1 }, Rule { quick: false, window_percent: f2 }] }
