//! Lookups and evictions of the last hour, as samples of counters that only grow.
//!
//! Invariant: samples are [`EVERY_S`] seconds apart or more, and those older than an hour are forgotten: 12 KiB. A figure
//! over a window is the difference to the youngest sample that is as old as the window, or to the oldest one. Must not
//! know: what is counted, or by whom.

use crate::util::clock::UnixMs;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// Seconds between two samples.
pub const EVERY_S: u64 = 5;

/// Samples of an hour.
const KEPT: usize = 3600 / EVERY_S as usize + 1;

/// Counters at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sample {
    /// When.
    pub at: UnixMs,
    /// Lookups that found their key.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Keys evicted.
    pub evicted: u64,
}

/// What happened between two samples.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Change {
    /// Lookups.
    pub lookups: u64,
    /// The share of them that found their key; 0 when there were none.
    pub hit_ratio: f64,
    /// Evictions a second.
    pub evicted_per_s: f64,
}

/// The samples, oldest first.
#[derive(Default)]
pub struct History(Mutex<VecDeque<Sample>>);

impl History {
    /// Adds a sample, if the last one is old enough.
    pub fn add(&self, sample: Sample) {
        let mut samples = self.0.lock();
        if samples.back().is_some_and(|last| elapsed_ms(*last, sample) < EVERY_S * 1000) {
            return;
        }
        samples.push_back(sample);
        if samples.len() > KEPT {
            samples.pop_front();
        }
    }

    /// What happened in the last `window_s` seconds before `now`, or since the first sample.
    pub fn change(&self, now: Sample, window_s: u64) -> Change {
        let samples = self.0.lock();
        let old_enough = |sample: &&Sample| elapsed_ms(**sample, now) >= window_s * 1000;
        match samples.iter().rev().find(old_enough).or(samples.front()) {
            Some(before) => between(*before, now),
            None => Change::default(),
        }
    }

    /// Forgets everything: the counters begin at zero again.
    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

fn elapsed_ms(from: Sample, to: Sample) -> u64 {
    u64::try_from(to.at.0.saturating_sub(from.at.0)).unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "ratios for people to read")]
fn between(before: Sample, now: Sample) -> Change {
    let hits = now.hits.saturating_sub(before.hits);
    let lookups = hits + now.misses.saturating_sub(before.misses);
    let evicted = now.evicted.saturating_sub(before.evicted);
    Change {
        lookups,
        hit_ratio: hits as f64 / lookups.max(1) as f64,
        evicted_per_s: evicted as f64 * 1000.0 / elapsed_ms(before, now).max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: i64, hits: u64, misses: u64, evicted: u64) -> Sample {
        Sample { at: UnixMs(second * 1000), hits, misses, evicted }
    }

    #[test]
    fn differences_over_windows() {
        let history = History::default();
        assert_eq!(history.change(sample(9, 5, 5, 5), 60), Change::default());
        // A hundred lookups a second, of which none hit in the first half hour and all in the second.
        for second in 0..=3600_u64 {
            let hits = second.saturating_sub(1800) * 100;
            history.add(sample(second.cast_signed(), hits, second * 100 - hits, second / 2));
        }
        assert_eq!(history.0.lock().len(), KEPT);
        let now = sample(3600, 180_000, 180_000, 1800);
        let minute = history.change(now, 60);
        assert_eq!((minute.lookups, minute.hit_ratio, minute.evicted_per_s), (6000, 1.0, 0.5));
        let hour = history.change(now, 3600);
        assert_eq!((hour.lookups, hour.hit_ratio), (360_000, 0.5));
        assert_eq!(history.change(now, 1_000_000), hour, "the oldest sample stands for longer windows");
        history.clear();
        assert_eq!(history.change(now, 60), Change::default());
    }
}
