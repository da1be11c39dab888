//! The ages of evicted keys: the seconds since each was last used.
//!
//! Ages are counted in classes an eighth to a fourth of an age wide, in two windows of which one is filled and the other
//! is the last complete one, so that what is reported is never older than two windows. Noting an age is three atomic
//! additions. Must not know: how victims are chosen, the clock.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Ages below this have a class each; above it, a doubling has four.
const EXACT: u32 = 8;

const CLASSES: usize = 8 + 4 * 29;

/// What is known about recent victims.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VictimReport {
    /// How many there were in the two windows.
    pub count: u64,
    /// Seconds since the most recently used of them was used; 0 when there were none.
    pub youngest_s: u32,
    /// Half of them had been used more recently than this, to an eighth; 0 when there were none.
    pub median_s: u32,
}

/// The recorder.
pub struct Victims {
    evicted: AtomicU64,
    windows: [Window; 2],
    current: AtomicUsize,
}

struct Window {
    classes: [AtomicU32; CLASSES],
    youngest_s: AtomicU32,
}

impl Window {
    fn new() -> Window {
        Window { classes: [const { AtomicU32::new(0) }; CLASSES], youngest_s: AtomicU32::new(u32::MAX) }
    }

    fn clear(&self) {
        self.classes.iter().for_each(|class| class.store(0, Relaxed));
        self.youngest_s.store(u32::MAX, Relaxed);
    }
}

impl Default for Victims {
    fn default() -> Victims {
        Victims { evicted: AtomicU64::new(0), windows: [Window::new(), Window::new()], current: AtomicUsize::new(0) }
    }
}

impl Victims {
    /// Notes a victim that was last used `age_s` seconds ago. Some 5 ns.
    pub fn note(&self, age_s: u32) {
        self.evicted.fetch_add(1, Relaxed);
        let window = &self.windows[self.current.load(Relaxed) % 2];
        window.classes[class_of(age_s)].fetch_add(1, Relaxed);
        if age_s < window.youngest_s.load(Relaxed) {
            window.youngest_s.fetch_min(age_s, Relaxed);
        }
    }

    /// Victims since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    /// Begins a window and forgets the one before the last. To be called once a minute.
    pub fn turn(&self) {
        let next = (self.current.load(Relaxed) + 1) % 2;
        self.windows[next].clear();
        self.current.store(next, Relaxed);
    }

    /// Sums up both windows.
    pub fn report(&self) -> VictimReport {
        let in_class =
            |class: usize| self.windows.iter().map(|window| u64::from(window.classes[class].load(Relaxed))).sum();
        let counts: Vec<u64> = (0..CLASSES).map(in_class).collect();
        let count: u64 = counts.iter().sum();
        let youngest_s = self.windows.iter().map(|window| window.youngest_s.load(Relaxed)).min().unwrap_or(0);
        if count == 0 || youngest_s == u32::MAX {
            return VictimReport::default();
        }
        let mut below = 0;
        let median = counts.iter().position(|in_class| {
            below += in_class;
            below * 2 >= count
        });
        VictimReport { count, youngest_s, median_s: median.map_or(0, middle_of).max(youngest_s) }
    }
}

fn class_of(age_s: u32) -> usize {
    if age_s < EXACT {
        return age_s as usize;
    }
    let power = age_s.ilog2();
    let quarter = age_s >> (power - 2) & 3;
    (EXACT + (power - 3) * 4 + quarter) as usize
}

/// The middle of the ages of a class.
fn middle_of(class: usize) -> u32 {
    let class = u32::try_from(class).unwrap_or(0);
    if class < EXACT {
        return class;
    }
    let (power, quarter) = ((class - EXACT) / 4 + 3, (class - EXACT) % 4);
    let width = 1_u32 << (power - 2);
    (1 << power) + quarter * width + width / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_age_lies_near_the_middle_of_its_class() {
        for age in (0..5000).chain((0..32).map(|power| 1 << power)).chain([u32::MAX, 0x00ff_ffff]) {
            let (class, middle) = (class_of(age), middle_of(class_of(age)));
            assert!(class < CLASSES);
            assert!(age.abs_diff(middle) <= age / 8, "{age} is reported as {middle}");
        }
        assert!((1..5000).all(|age| class_of(age - 1) <= class_of(age)));
    }

    #[test]
    fn reports_the_last_two_windows() {
        let victims = Victims::default();
        assert_eq!(victims.report(), VictimReport::default());
        (1..=99).for_each(|age| victims.note(age));
        let report = victims.report();
        assert_eq!((report.count, report.youngest_s), (99, 1));
        assert!((45..=56).contains(&report.median_s), "{report:?}");
        victims.turn();
        victims.note(7);
        assert_eq!(victims.report().count, 100);
        victims.turn();
        assert_eq!(victims.report(), VictimReport { count: 1, youngest_s: 7, median_s: 7 });
        victims.turn();
        assert_eq!((victims.report(), victims.evicted()), (VictimReport::default(), 100));
    }
}
