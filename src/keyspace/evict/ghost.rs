//! The keys that were lately turned out, remembered for a while by 16 bits of their hashes and the place where these stand.
//!
//! Lines of 32 words, newest first; the hash names the line. So a line forgets what was turned out 32 keys of its own before, and
//! the whole about as many keys as it has words: a FIFO but for chance, at 2 bytes a key, with nothing linked and one cache line
//! touched. One key in two thousand is taken for another that is remembered. Invariant: a word is 0, free, or of a mark whose line this
//! is, or was before the lines became more. Must not know: entries, queues.
//! Source: the ghost queue of S3-FIFO (Yang et al., SOSP 2023); fingerprints as in Fan et al., Cuckoo Filter (CoNEXT 2014).

use crate::keyspace::segment::prefetch;
use crate::util::memory::size_class;

const WORDS: usize = 32;

/// What is remembered of a key: not 0.
type Word = u16;

type Line = [Word; WORDS];

/// A set that forgets.
#[derive(Default)]
pub struct Ghost {
    lines: Vec<Line>,
}

impl Ghost {
    /// A ghost that remembers about `capacity` keys.
    pub fn new(capacity: usize) -> Ghost {
        Ghost { lines: vec![[0; WORDS]; capacity.div_ceil(WORDS).max(1)] }
    }

    /// Bytes taken from the allocator.
    pub fn memory_bytes(&self) -> usize {
        size_class(self.lines.capacity() * size_of::<Line>())
    }

    /// Remembers about `capacity` keys from now on. O(capacity) when that differs by more than an eighth, else nothing.
    pub fn fit(&mut self, capacity: usize) {
        let (lines, have) = (capacity.div_ceil(WORDS).max(1), self.lines.len());
        if lines.abs_diff(have) * 8 <= have {
            return;
        }
        // A line is a range of hashes: what a new one may know is what those knew that its range touches, in turn, the newest first.
        let old = std::mem::replace(self, Ghost::new(capacity)).lines;
        for (at, line) in self.lines.iter_mut().enumerate() {
            let touched = &old[at * have / lines..((at + 1) * have).div_ceil(lines)];
            let words = (0..WORDS).flat_map(|age| touched.iter().map(move |line| line[age])).filter(|word| *word != 0);
            line.iter_mut().zip(words).for_each(|(to, word)| *to = word);
        }
    }

    /// The line of a key, and its word there.
    fn place(&self, mark: u32) -> (usize, Word) {
        // The low half is mixed first: lanes and shadows choose their keys by the high bits.
        let mixed = mark.wrapping_mul(0x9e37_79b1);
        let [low, high, ..] = mixed.to_le_bytes();
        let line = (u64::from(mixed) * self.lines.len() as u64) >> 32;
        (line as usize, Word::from_le_bytes([low, high]).max(1))
    }

    /// Requests from memory what it knows of a key.
    pub fn prefetch(&self, mark: u32) {
        prefetch((&raw const self.lines[self.place(mark).0]).cast_mut().cast());
    }

    /// Remembers a key.
    pub fn add(&mut self, mark: u32) {
        let (at, word) = self.place(mark);
        let line = &mut self.lines[at];
        line.copy_within(..WORDS - 1, 1);
        line[0] = word;
    }

    /// Forgets a key; `true` when it was remembered.
    pub fn take(&mut self, mark: u32) -> bool {
        let (line, word) = self.place(mark);
        let line = &mut self.lines[line];
        let Some(at) = line.iter().position(|known| *known == word) else { return false };
        line.copy_within(at + 1.., at);
        line[WORDS - 1] = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_about_as_many_as_it_should_and_forgets_the_oldest() {
        let mut ghost = Ghost::new(1000);
        let marks: Vec<u32> = (1..=4000_u32).map(|n| n.wrapping_mul(0x85eb_ca6b)).collect();
        marks.iter().for_each(|mark| ghost.add(*mark));
        let known: Vec<bool> = marks.iter().map(|mark| ghost.take(*mark)).collect();
        let count = known.iter().filter(|known| **known).count();
        assert!((900..=1024 + 6).contains(&count), "{count}"); // whole lines, and some that are taken for others
        assert!(known[..2000].iter().filter(|known| **known).count() < 20);
        assert!(known[3500..].iter().filter(|known| **known).count() > 480);
        assert!(!ghost.take(marks[3999]), "taken once");
    }

    #[test]
    fn keeps_what_it_knows_when_it_grows() {
        let mut ghost = Ghost::new(100);
        (1..=50_u32).for_each(|mark| ghost.add(mark * 77_777));
        ghost.fit(5000);
        assert!((1..=50_u32).filter(|mark| ghost.take(mark * 77_777)).count() > 45);
    }
}
