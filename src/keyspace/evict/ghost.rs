//! The keys that were lately turned out, remembered for a while by 16 bits of their hashes and the place where these stand.
//!
//! Lines of 32 words, newest first; the hash names the line. So a line forgets what was turned out 32 keys of its own before, and
//! the whole about as many keys as it has words: a FIFO but for chance, at 2 bytes a key, with nothing linked and one cache line
//! touched. One key in two thousand is taken for another that is remembered. Invariant: a word is 0, free, or of a mark whose line this
//! is, or was before the lines became more. Must not know: entries, queues.
//! Source: the ghost queue of S3-FIFO (Yang et al., SOSP 2023); fingerprints as in Fan et al., Cuckoo Filter (CoNEXT 2014).

use super::lines::Lines;

const WORDS: usize = 32;

/// What is remembered of a key: not 0.
type Word = u16;

type Line = [Word; WORDS];

/// A set that forgets.
pub struct Ghost {
    lines: Lines<Line>,
}

impl Ghost {
    /// A ghost that remembers about `capacity` keys.
    pub fn new(capacity: usize) -> Ghost {
        Ghost { lines: Lines::new(capacity.div_ceil(WORDS), [0; WORDS]) }
    }

    /// Bytes taken from the allocator.
    pub fn memory_bytes(&self) -> usize {
        self.lines.memory_bytes()
    }

    /// Comes nearer to remembering about `capacity` keys, where that differs by more than an eighth. O(1).
    pub fn fit(&mut self, capacity: usize) {
        // A new line may know what those knew that its range touches, in turn, the newest first.
        self.lines.fit(capacity.div_ceil(WORDS).max(1), |old| {
            let mut line = [0; WORDS];
            let words = (0..WORDS).flat_map(|age| old.iter().map(move |line| line[age])).filter(|word| *word != 0);
            line.iter_mut().zip(words).for_each(|(to, word)| *to = word);
            line
        });
    }

    /// The hash that names the line of a key, and its word there.
    fn place(mark: u32) -> (u32, Word) {
        // Both halves have to be mixed: shadows take keys whose lowest bits are zero, and these are the lowest of a product too.
        let mixed = (mark ^ mark >> 16).wrapping_mul(0x9e37_79b1);
        let [low, high, ..] = mixed.to_le_bytes();
        (mixed, Word::from_le_bytes([low, high]).max(1))
    }

    /// Requests from memory what it knows of a key.
    pub fn prefetch(&self, mark: u32) {
        self.lines.prefetch(Ghost::place(mark).0);
    }

    /// Remembers a key.
    pub fn add(&mut self, mark: u32) {
        let (hash, word) = Ghost::place(mark);
        let line = self.lines.get_mut(hash);
        line.copy_within(..WORDS - 1, 1);
        line[0] = word;
    }

    /// Forgets a key; `true` when it was remembered.
    pub fn take(&mut self, mark: u32) -> bool {
        let (hash, word) = Ghost::place(mark);
        let line = self.lines.get_mut(hash);
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

    /// The shadows of a cache of a hundred million keys take those whose lowest sixteen bits are zero.
    #[test]
    fn tells_keys_of_a_sample_apart() {
        let mut ghost = Ghost::new(1000);
        (1..=900_u32).for_each(|n| ghost.add(n << 16));
        let taken_for_others = (1001..=3000_u32).filter(|n| ghost.take(n << 16)).count();
        assert!(taken_for_others < 10, "{taken_for_others} of 2000");
    }

    #[test]
    fn keeps_what_it_knows_when_it_grows() {
        let mut ghost = Ghost::new(100);
        (1..=50_u32).for_each(|mark| ghost.add(mark * 77_777));
        (0..200).for_each(|_| ghost.fit(5000));
        assert!((1..=50_u32).filter(|mark| ghost.take(mark * 77_777)).count() > 45);
    }
}
