//! A table of cache lines that takes another size bit by bit: no call copies more than a few lines, however many there are.
//!
//! A hash names its line by its size, as a share of all lines: a line stands for a range of hashes. A table of another size is filled
//! from the front, a few lines a call, each from the old lines that its range touches. Hashes below this *frontier* are looked up in the
//! new table, the others in the old one, whose pieces are freed behind the frontier. Invariant: of every hash there is one line. Must not
//! know: what a line holds.

use crate::keyspace::segment::prefetch;
use crate::util::memory::size_class;
use smallvec::SmallVec;

/// Lines of one allocation.
const PIECE: usize = 256;

/// Lines of the new table that one call fills. A table grows by an eighth at most before the next begins, and a line stands for a
/// dozen keys: it is filled long before that.
const STEPS: usize = 2;

struct Table<L> {
    pieces: Vec<Box<[L]>>,
    lines: usize,
}

impl<L: Copy> Table<L> {
    fn place(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.lines as u64) >> 32) as usize
    }

    fn line(&self, at: usize) -> &L {
        &self.pieces[at / PIECE][at % PIECE]
    }

    fn line_mut(&mut self, at: usize) -> &mut L {
        &mut self.pieces[at / PIECE][at % PIECE]
    }

    fn memory_bytes(&self) -> usize {
        let pieces = self.pieces.iter().filter(|piece| !piece.is_empty());
        pieces.map(|piece| size_class(size_of_val(&**piece))).sum::<usize>()
            + size_class(self.pieces.capacity() * size_of::<Box<[L]>>())
    }
}

/// The lines.
pub struct Lines<L> {
    table: Table<L>,
    /// The table that is to take its place, and how many of its lines are filled.
    next: Option<(Table<L>, usize)>,
    blank: L,
}

impl<L: Copy> Lines<L> {
    /// `lines` copies of `blank`, at least one.
    pub fn new(lines: usize, blank: L) -> Lines<L> {
        let lines = lines.max(1);
        let piece = |first| vec![blank; PIECE.min(lines - first)].into();
        Lines { table: Table { pieces: (0..lines).step_by(PIECE).map(piece).collect(), lines }, next: None, blank }
    }

    /// Bytes taken from the allocator. O(lines / 256).
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.next.as_ref().map_or(0, |(next, _)| next.memory_bytes())
    }

    /// Number of lines.
    pub fn count(&self) -> usize {
        self.table.lines
    }

    /// The line of a hash.
    #[inline]
    pub fn get(&self, hash: u32) -> &L {
        match &self.next {
            Some((next, filled)) if next.place(hash) < *filled => next.line(next.place(hash)),
            _ => self.table.line(self.table.place(hash)),
        }
    }

    /// The line of a hash, to be changed.
    #[inline]
    pub fn get_mut(&mut self, hash: u32) -> &mut L {
        match &mut self.next {
            Some((next, filled)) if next.place(hash) < *filled => next.line_mut(next.place(hash)),
            _ => self.table.line_mut(self.table.place(hash)),
        }
    }

    /// Requests the line of a hash from memory.
    #[inline]
    pub fn prefetch(&self, hash: u32) {
        prefetch((&raw const *self.get(hash)).cast_mut().cast());
    }

    /// The first hash behind those of the line of `hash`; `None` behind the last line.
    pub fn behind(&self, hash: u32) -> Option<u32> {
        let table = match &self.next {
            Some((next, filled)) if next.place(hash) < *filled => next,
            _ => &self.table,
        };
        let first = (((table.place(hash) as u64 + 1) << 32).div_ceil(table.lines as u64)).max(u64::from(hash) + 1);
        u32::try_from(first).ok()
    }

    /// Comes nearer to `lines` lines, or to half as many as there are, where that differs by more than an eighth; `inherit` makes a
    /// new line of those whose keys may be its own. To be called for each key that comes. O(1).
    pub fn fit(&mut self, lines: usize, inherit: impl Fn(&[L]) -> L) {
        let have = self.table.lines;
        if self.next.is_none() {
            if lines.abs_diff(have) * 8 <= have {
                return;
            }
            let lines = lines.max(have.div_ceil(2));
            self.next = Some((Table { pieces: Vec::with_capacity(lines.div_ceil(PIECE)), lines }, 0));
        }
        for _ in 0..STEPS {
            let Some((next, filled)) = &mut self.next else { return };
            let (at, lines) = (*filled, next.lines);
            if at == lines {
                self.table = Table { pieces: std::mem::take(&mut next.pieces), lines };
                self.next = None;
                return;
            }
            let (first, behind) = (at * have / lines, (at + 1) * have / lines);
            let touched = first..((at + 1) * have).div_ceil(lines);
            let ancestors: SmallVec<[L; 3]> = touched.map(|old| *self.table.line(old)).collect();
            if at.is_multiple_of(PIECE) {
                next.pieces.push(vec![self.blank; PIECE.min(lines - at)].into());
            }
            *next.line_mut(at) = inherit(&ancestors);
            *filled += 1;
            self.table.pieces[first / PIECE..behind / PIECE].fill_with(Box::default);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Each line holds the range of hashes that it stands for, as the newest line that it inherits from does.
        #[test]
        fn every_hash_has_one_line_at_every_step(sizes in prop::collection::vec(1_usize..3000, 1..6), hashes in prop::collection::vec(any::<u32>(), 50)) {
            let mut lines = Lines::new(1, [0_u32; 2]);
            for size in sizes {
                // A mark left in the line of a hash is found there, and in all lines that come of it.
                for (at, hash) in hashes.iter().enumerate() {
                    lines.get_mut(*hash)[at % 2] |= 1 << (at / 2);
                }
                for _ in 0..20_000 {
                    lines.fit(size, |ancestors| {
                        ancestors.iter().fold([0; 2], |all, one| [all[0] | one[0], all[1] | one[1]])
                    });
                    let probe = hashes[size % hashes.len()];
                    prop_assert!(lines.get(probe)[size % hashes.len() % 2] >> (size % hashes.len() / 2) & 1 == 1);
                }
                for (at, hash) in hashes.iter().enumerate() {
                    prop_assert!(lines.get(*hash)[at % 2] >> (at / 2) & 1 == 1);
                }
                prop_assert!(lines.next.is_none());
                prop_assert!(lines.table.lines.abs_diff(size) * 8 <= lines.table.lines);
                let mut walk = (0..=u32::MAX).next();
                let mut count = 0;
                while let Some(hash) = walk {
                    (walk, count) = (lines.behind(hash), count + 1);
                }
                prop_assert_eq!(count, lines.table.lines);
                prop_assert!(lines.memory_bytes() <= size_class(lines.table.lines * 8) + lines.table.pieces.len() * 600 + 64);
            }
        }
    }
}
