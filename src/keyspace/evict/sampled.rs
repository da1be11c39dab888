//! `sampled`: what Redis does: of some keys chosen by chance, and the best of those chosen before, the one goes that the policy names.
//!
//! Recency is an ordinal, not a second, so that it does not matter how fast requests come. Nothing is kept but a pool of 16 marks;
//! a key whose score has changed since it was put there is asked again. Serves all policies: the score says which.
//! Source: the idea of approximated LRU and its pool, Redis (`evict.c`).

use super::{Algorithm, Residents, Turn};

/// Keys that are remembered from turn to turn.
const POOL: usize = 16;

/// The algorithm.
pub struct Sampled {
    samples: usize,
    /// Ascending by score.
    pool: Vec<(u64, u32)>,
}

impl Sampled {
    /// Compares `samples` keys a turn.
    pub fn new(samples: usize) -> Sampled {
        Sampled { samples: samples.max(1), pool: Vec::with_capacity(POOL + 1) }
    }

    fn offer(&mut self, score: u64, mark: u32) {
        if self.pool.iter().any(|(_, other)| *other == mark) {
            return;
        }
        let at = self.pool.partition_point(|(other, _)| *other < score);
        self.pool.insert(at, (score, mark));
        if self.pool.len() > POOL {
            self.pool.remove(0);
        }
    }
}

impl Algorithm for Sampled {
    fn insert(&mut self, _: u32, _: usize, _: &mut dyn Residents) {}

    fn adopt(&mut self, _: u32, _: &mut dyn Residents) {}

    fn used(&mut self, _: u32) {}

    fn wants(&self) -> u32 {
        u32::MAX
    }

    fn evict(&mut self, residents: &mut dyn Residents) -> Turn {
        let mut met = false;
        residents.sample(self.samples, &mut |mark, seen| {
            met = true;
            self.offer(seen.score, mark);
        });
        while let Some((score, mark)) = self.pool.pop() {
            let Some(seen) = residents.look(mark) else { continue };
            if seen.score < score && self.pool.last().is_some_and(|(next, _)| *next > seen.score) {
                // Used since it was put here.
                self.offer(seen.score, mark);
                continue;
            }
            if residents.evict(mark) {
                return Turn::Evicted;
            }
        }
        if met { Turn::Searching } else { Turn::Empty }
    }

    fn marks(&self) -> usize {
        0
    }

    fn scrub(&mut self, _: usize, _: &mut dyn Residents) {}

    fn memory_bytes(&self) -> usize {
        self.pool.capacity() * size_of::<(u64, u32)>()
    }
}

/// Any key, for the policies that ask for chance alone.
pub struct Random;

impl Algorithm for Random {
    fn insert(&mut self, _: u32, _: usize, _: &mut dyn Residents) {}

    fn adopt(&mut self, _: u32, _: &mut dyn Residents) {}

    fn used(&mut self, _: u32) {}

    fn wants(&self) -> u32 {
        u32::MAX
    }

    fn evict(&mut self, residents: &mut dyn Residents) -> Turn {
        let (mut chosen, mut seen) = (None, 0_u32);
        residents.sample(1, &mut |mark, _| {
            seen += 1;
            if rand::random_range(0..seen) == 0 {
                chosen = Some(mark);
            }
        });
        match chosen {
            Some(mark) if residents.evict(mark) => Turn::Evicted,
            Some(_) => Turn::Searching,
            None => Turn::Empty,
        }
    }

    fn marks(&self) -> usize {
        0
    }

    fn scrub(&mut self, _: usize, _: &mut dyn Residents) {}

    fn memory_bytes(&self) -> usize {
        0
    }
}
