//! How often keys were used lately, estimated in a few bits a key.
//!
//! A count-min sketch whose four rows lie in one cache line: a key's hash names the line, and in each row one of 32 counters
//! of 4 bits. Its estimate is the smallest of them: never below the truth but for the cap of 15 and for ageing, which halves every
//! counter once ten additions a key have been made. Must not know: entries, queues.
//! Source: Einziger, Friedman and Manes, TinyLFU (ACM TOS 2017).

use super::spread;
use crate::keyspace::segment::prefetch;

/// Counters of one line: four rows of 32, 4 bits each.
type Line = [u64; 8];

const ROWS: usize = 4;

/// Additions for each key of capacity before all counters are halved.
const SAMPLE_FACTOR: usize = 24;

/// Keys of capacity for each line, at most: 4 to 8 bytes a key.
const KEYS_A_LINE: usize = 16;

/// Few keys often stand against many others: 4 kilobytes tell them apart.
const LEAST_LINES: usize = 64;

/// An estimator of frequencies.
pub struct Sketch {
    lines: Vec<Line>,
    capacity: usize,
    additions: usize,
}

impl Sketch {
    /// A sketch for about `capacity` keys.
    pub fn new(capacity: usize) -> Sketch {
        let lines = capacity.div_ceil(KEYS_A_LINE).next_power_of_two().max(LEAST_LINES);
        Sketch { lines: vec![[0; 8]; lines], capacity: capacity.max(1), additions: 0 }
    }

    /// Bytes taken from the allocator.
    pub fn memory_bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }

    /// Makes room for about `capacity` keys, if it has less, keeping what is known. O(capacity), when that has doubled.
    pub fn fit(&mut self, capacity: usize) {
        self.capacity = capacity.max(1);
        while self.lines.len() * KEYS_A_LINE < capacity {
            // One more bit of the hash now names the line: what was one line is known of both.
            self.lines = self.lines.iter().flat_map(|line| [*line, *line]).collect();
        }
    }

    fn line(&self, spread: u64) -> usize {
        // The topmost bits, so that doubling splits every line into neighbours.
        (spread >> 1 >> (63 - self.lines.len().ilog2())) as usize
    }

    /// Requests the line of a key from memory.
    pub fn prefetch(&self, mark: u32) {
        prefetch((&raw const self.lines[self.line(spread(mark))]).cast_mut().cast());
    }

    fn counter(row: usize, spread: u64) -> (usize, u32) {
        let place = (spread >> (5 * row)) & 31;
        (2 * row + (place >> 4) as usize, (place & 15) as u32 * 4)
    }

    /// The estimate for a key: 0 to 15.
    pub fn estimate(&self, mark: u32) -> u32 {
        let spread = spread(mark);
        let line = &self.lines[self.line(spread)];
        let counts = (0..ROWS).map(|row| {
            let (word, shift) = Sketch::counter(row, spread);
            (line[word] >> shift & 15) as u32
        });
        counts.min().unwrap_or(0)
    }

    /// Notes a use of a key.
    pub fn add(&mut self, mark: u32) {
        let spread = spread(mark);
        let at = self.line(spread);
        let line = &mut self.lines[at];
        let mut added = false;
        for row in 0..ROWS {
            let (word, shift) = Sketch::counter(row, spread);
            if line[word] >> shift & 15 < 15 {
                line[word] += 1 << shift;
                added = true;
            }
        }
        self.additions += usize::from(added);
        if self.additions >= SAMPLE_FACTOR * self.capacity {
            self.halve();
        }
    }

    fn halve(&mut self) {
        for word in self.lines.iter_mut().flatten() {
            *word = *word >> 1 & 0x7777_7777_7777_7777;
        }
        self.additions /= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_up_to_its_cap_and_forgets_by_halves() {
        let mut sketch = Sketch::new(1000);
        (0..9).for_each(|_| sketch.add(7));
        assert_eq!((sketch.estimate(7), sketch.estimate(8)), (9, 0));
        (0..9).for_each(|_| sketch.add(7));
        assert_eq!(sketch.estimate(7), 15);
        (100..100 + 24_000_u32).for_each(|mark| sketch.add(mark.wrapping_mul(0x9e37_79b1)));
        assert!(sketch.estimate(7) < 15);
    }

    #[test]
    fn keeps_what_it_knows_when_it_grows() {
        let mut sketch = Sketch::new(1000);
        (0..5).for_each(|_| sketch.add(77));
        sketch.fit(100_000);
        assert_eq!(sketch.estimate(77), 5);
    }
}
