//! How often keys were used lately, estimated in a few bits a key.
//!
//! A count-min sketch whose four rows lie in one cache line: a key's hash names the line, and in each row one of 32 counters
//! of 4 bits. Its estimate is the smallest of them: never below the truth but for the cap of 15 and for ageing, which halves every
//! counter, bit by bit, once so many additions a key have been made. Must not know: entries, queues.
//! Sources: Einziger, Friedman and Manes, TinyLFU (ACM TOS 2017); that only the smallest counters of a key are raised: Estan and Varghese, New
//! directions in traffic measurement and accounting (SIGCOMM 2002).

use super::lines::Lines;
use super::spread;

/// Counters of one line: four rows of 32, 4 bits each.
type Line = [u64; 8];

const ROWS: usize = 4;

/// Additions for each key of capacity before all counters are halved.
const SAMPLE_FACTOR: usize = 32;

/// Lines that are halved with one addition while that is due: all of them are before one key in a thousand has been added to.
const HALVED_AT_ONCE: usize = 64;

/// Keys of capacity for each line, at most: 4.3 to 5.4 bytes a key. 4 to 8 of them, in steps of powers of two, hit 0.01 points more in the mean of
/// 40 rows (docs/eviction.md).
const KEYS_A_LINE: usize = 15;

/// Few keys often stand against many others: 4 kilobytes tell them apart.
const LEAST_LINES: usize = 64;

/// An estimator of frequencies.
pub struct Sketch {
    lines: Lines<Line>,
    capacity: usize,
    additions: usize,
    /// A hash of the next line to be halved, while that is due.
    halve: Option<u32>,
}

impl Sketch {
    /// A sketch for about `capacity` keys.
    pub fn new(capacity: usize) -> Sketch {
        let lines = Lines::new(Sketch::lines_for(capacity), [0; 8]);
        Sketch { lines, capacity: capacity.max(1), additions: 0, halve: None }
    }

    /// Enough lines, in steps of a quarter of a power of two: each is a growth by more than an eighth.
    fn lines_for(capacity: usize) -> usize {
        let lines = capacity.div_ceil(KEYS_A_LINE).max(LEAST_LINES);
        lines.next_multiple_of((lines.next_power_of_two() / 8).max(1))
    }

    /// Bytes taken from the allocator.
    pub fn memory_bytes(&self) -> usize {
        self.lines.memory_bytes()
    }

    /// Counts on about `capacity` keys, and comes nearer to having lines for as many where that differs by more than an eighth. O(1).
    pub fn fit(&mut self, capacity: usize) {
        self.capacity = capacity.max(1);
        self.lines.fit(Sketch::lines_for(capacity).max(self.lines.count()), either);
    }

    /// The hash that names the line of a key: another part of it than the counters.
    fn line(spread: u64) -> u32 {
        (spread >> 32) as u32
    }

    /// Requests the line of a key from memory.
    pub fn prefetch(&self, mark: u32) {
        self.lines.prefetch(Sketch::line(spread(mark)));
    }

    fn counter(row: usize, spread: u64) -> (usize, u32) {
        let place = (spread >> (5 * row)) & 31;
        (2 * row + (place >> 4) as usize, (place & 15) as u32 * 4)
    }

    /// The estimate for a key: 0 to 15.
    pub fn estimate(&self, mark: u32) -> u32 {
        let spread = spread(mark);
        let line = self.lines.get(Sketch::line(spread));
        let counts = (0..ROWS).map(|row| {
            let (word, shift) = Sketch::counter(row, spread);
            (line[word] >> shift & 15) as u32
        });
        counts.min().unwrap_or(0)
    }

    /// Notes a use of a key.
    pub fn add(&mut self, mark: u32) {
        let spread = spread(mark);
        let line = self.lines.get_mut(Sketch::line(spread));
        let counters: [(usize, u32); ROWS] = std::array::from_fn(|row| Sketch::counter(row, spread));
        let least = counters.iter().map(|(word, shift)| line[*word] >> shift & 15).min().unwrap_or(0);
        if least < 15 {
            self.additions += 1;
            // The others have counted more for other keys already: raising them too would only make these seem to be used more.
            for (word, shift) in counters {
                line[word] += u64::from(line[word] >> shift & 15 == least) << shift;
            }
        }
        if self.additions >= SAMPLE_FACTOR * self.capacity {
            self.additions /= 2;
            self.halve = Some(0);
        }
        if self.halve.is_some() {
            self.halve_some();
        }
    }

    fn halve_some(&mut self) {
        for _ in 0..HALVED_AT_ONCE {
            let Some(hash) = self.halve else { return };
            for word in self.lines.get_mut(hash) {
                *word = *word >> 1 & 0x7777_7777_7777_7777;
            }
            self.halve = self.lines.behind(hash);
        }
    }
}

/// What is known of the keys of some lines: of each counter the largest, so that no estimate becomes smaller.
fn either(lines: &[Line]) -> Line {
    lines.iter().skip(1).fold(lines.first().copied().unwrap_or_default(), |all, line| {
        std::array::from_fn(|word| {
            (0..64)
                .step_by(4)
                .fold(0, |counters, shift| counters | (all[word] >> shift & 15).max(line[word] >> shift & 15) << shift)
        })
    })
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
        (100..100 + 32_000_u32).for_each(|mark| sketch.add(mark.wrapping_mul(0x9e37_79b1)));
        assert!(sketch.estimate(7) < 15);
    }

    /// From size to size, also where a new line stands for keys of two old ones.
    #[test]
    fn keeps_what_it_knows_when_it_grows() {
        let mut sketch = Sketch::new(1000);
        (0..5).for_each(|_| sketch.add(77));
        (0..3000_u32).for_each(|mark| (0..mark % 4).for_each(|_| sketch.add(mark.wrapping_mul(0x9e37_79b1))));
        let known = |sketch: &Sketch| -> Vec<u32> {
            (0..3000_u32)
                .map(|mark| sketch.estimate(mark.wrapping_mul(0x9e37_79b1)))
                .chain([sketch.estimate(77)])
                .collect()
        };
        let (mut before, mut sizes) = (known(&sketch), 0);
        for capacity in (1000..40_000).step_by(500) {
            let lines = sketch.lines.count();
            (0..40_000).for_each(|_| sketch.fit(capacity));
            let after = known(&sketch);
            assert!(before.iter().zip(&after).all(|(before, after)| after >= before), "at {capacity}");
            assert!(sketch.lines.count() * KEYS_A_LINE >= capacity && sketch.memory_bytes() <= 6 * capacity + 6000);
            sizes += usize::from(sketch.lines.count() != lines);
            before = after;
        }
        assert!(sizes > 15, "{sizes}");
    }
}
