//! The keys that were lately turned out, remembered for a while by 32 bits of their hashes.
//!
//! Lines of 16 words, newest first; the hash names the line. So a line forgets what was turned out 16 keys of its own before, and
//! the whole about as many keys as it has words: a FIFO but for chance, at 4 bytes a key, with nothing linked and one cache line
//! touched. Invariant: a word is 0, free, or a mark whose line this is. Must not know: entries, queues.
//! Source: the ghost queue of S3-FIFO (Yang et al., SOSP 2023).

use crate::keyspace::segment::prefetch;
use crate::util::memory::size_class;

const WORDS: usize = 16;

/// A set that forgets.
#[derive(Default)]
pub struct Ghost {
    lines: Vec<[u32; WORDS]>,
}

impl Ghost {
    /// A ghost that remembers about `capacity` keys.
    pub fn new(capacity: usize) -> Ghost {
        Ghost { lines: vec![[0; WORDS]; capacity.div_ceil(WORDS).max(1)] }
    }

    /// Bytes taken from the allocator.
    pub fn memory_bytes(&self) -> usize {
        size_class(self.lines.capacity() * size_of::<[u32; WORDS]>())
    }

    /// Remembers about `capacity` keys from now on. O(capacity) when that differs by more than an eighth, else nothing.
    pub fn fit(&mut self, capacity: usize) {
        let (lines, have) = (capacity.div_ceil(WORDS).max(1), self.lines.len());
        if lines.abs_diff(have) * 8 <= have {
            return;
        }
        let old = std::mem::replace(self, Ghost::new(capacity));
        for word in old.lines.iter().flat_map(|line| line.iter().rev()).filter(|word| **word != 0) {
            self.add(*word);
        }
    }

    fn place(&self, mark: u32) -> usize {
        // The low half is mixed first: lanes and shadows choose their keys by the high bits.
        let mixed = u64::from(mark.wrapping_mul(0x9e37_79b1));
        ((mixed * self.lines.len() as u64) >> 32) as usize
    }

    fn line(&mut self, mark: u32) -> &mut [u32; WORDS] {
        let at = self.place(mark);
        &mut self.lines[at]
    }

    /// Requests from memory what it knows of a key.
    pub fn prefetch(&self, mark: u32) {
        prefetch((&raw const self.lines[self.place(mark)]).cast_mut().cast());
    }

    /// Remembers a key.
    pub fn add(&mut self, mark: u32) {
        let line = self.line(mark);
        line.copy_within(..WORDS - 1, 1);
        line[0] = mark;
    }

    /// Forgets a key; `true` when it was remembered.
    pub fn take(&mut self, mark: u32) -> bool {
        let line = self.line(mark);
        let Some(at) = line.iter().position(|word| *word == mark) else { return false };
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
        assert!((900..=1010).contains(&count), "{count}");
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
