//! The longest common subsequence of two strings, in steps.
//!
//! Rows are the bytes of `a`, columns those of `b`. The lengths of a row of the usual table grow by 0 or 1 from column to
//! column, so a row is one bit a column (0 where it grows), and 64 columns are advanced by one addition: O(n * m / 64).
//! For the path the rows are kept, an eighth of a byte a cell; the way back needs no more, because where the bytes
//! differ the cell above is the larger one exactly when the row grows there.
//!
//! Invariant: the path is the one that LCS of Redis walks: diagonal where the bytes are equal, else up where the cell
//! above is larger than the one to the left, else left. Must not know: keys, replies, limits of the server.
//! Source: Hyyrö, Bit-parallel LCS-length computation revisited (2004).

use bytes::Bytes;
use std::collections::TryReserveError;

const WORD_BITS: usize = 64;

/// Cost of a row beside its words, in the unit of [`Lcs::step`].
const ROW_COST: usize = 8;

/// Equal bytes that follow each other in both strings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Where they begin in the first string.
    pub a: usize,
    /// Where they begin in the second.
    pub b: usize,
    /// How many there are.
    pub len: usize,
}

/// What is being done.
enum Phase {
    /// Noting which bytes `a` has, from this position on.
    Alphabet(usize),
    /// Noting where each byte stands in `b`, from this position on.
    Masks(usize),
    /// Computing this row.
    Rows(usize),
    /// Walking back from this row and column.
    Path(usize, usize),
    Done,
}

/// A computation in progress.
pub struct Lcs {
    a: Bytes,
    b: Bytes,
    phase: Phase,
    /// Words of a row.
    words: usize,
    /// For each byte, which mask it has, if it is in `a`.
    slots: Box<[Option<usize>; 256]>,
    /// How many masks there are.
    alphabet: usize,
    /// One bit a column for each slot: set where that byte stands in `b`.
    masks: Vec<u64>,
    /// The present row.
    row: Vec<u64>,
    /// All rows, when the path is wanted.
    rows: Option<Vec<u64>>,
    runs: Vec<Run>,
}

impl Lcs {
    /// Prepares the computation; with `path`, [`Lcs::runs`] will tell more than the length. Reserves `a * b / 8` bytes for
    /// the path and at most as much again, and fails where that is not to be had.
    pub fn new(a: Bytes, b: Bytes, path: bool) -> Result<Lcs, TryReserveError> {
        // Only the length: the same either way, so the shorter one makes the rows.
        let (a, b) = if !path && a.len() > b.len() { (b, a) } else { (a, b) };
        let words = b.len().div_ceil(WORD_BITS);
        // At most one mask a row: reserved here, where it can still fail, and filled once their number is known.
        let masks = reserved(words.saturating_mul(a.len().min(256)))?;
        let mut row = reserved(words)?;
        row.resize(words, u64::MAX);
        let rows = if path { Some(reserved(words.saturating_mul(a.len()))?) } else { None };
        let (phase, slots) = (Phase::Alphabet(0), Box::new([None; 256]));
        Ok(Lcs { a, b, phase, words, slots, alphabet: 0, masks, row, rows, runs: Vec::new() })
    }

    /// About how many units of [`Lcs::step`] the whole will take.
    pub fn cost(&self) -> usize {
        let path = if self.rows.is_some() { self.a.len() + self.b.len() } else { 0 };
        self.a.len().saturating_mul(self.words + ROW_COST + 1).saturating_add(self.b.len()).saturating_add(path)
    }

    /// Works for about `budget` units of some nanoseconds; `true` once all is done.
    pub fn step(&mut self, budget: usize) -> bool {
        self.phase = match self.phase {
            Phase::Alphabet(from) => self.note_alphabet(from, budget),
            Phase::Masks(from) => self.note_masks(from, budget),
            Phase::Rows(from) => self.compute_rows(from, budget),
            Phase::Path(i, j) => self.walk_back(i, j, budget),
            Phase::Done => Phase::Done,
        };
        matches!(self.phase, Phase::Done)
    }

    fn note_alphabet(&mut self, from: usize, budget: usize) -> Phase {
        let to = from.saturating_add(budget).min(self.a.len());
        for byte in &self.a[from..to] {
            self.slots[usize::from(*byte)].get_or_insert_with(|| {
                self.alphabet += 1;
                self.alphabet - 1
            });
        }
        if to < self.a.len() {
            return Phase::Alphabet(to);
        }
        self.masks.resize(self.alphabet * self.words, 0);
        Phase::Masks(0)
    }

    fn note_masks(&mut self, from: usize, budget: usize) -> Phase {
        let to = from.saturating_add(budget).min(self.b.len());
        for (position, byte) in self.b[from..to].iter().enumerate() {
            if let Some(slot) = self.slots[usize::from(*byte)] {
                let column = from + position;
                self.masks[slot * self.words + column / WORD_BITS] |= 1 << (column % WORD_BITS);
            }
        }
        if to < self.b.len() { Phase::Masks(to) } else { Phase::Rows(0) }
    }

    fn compute_rows(&mut self, from: usize, budget: usize) -> Phase {
        let to = from.saturating_add(budget / (self.words + ROW_COST) + 1).min(self.a.len());
        for byte in &self.a[from..to] {
            let slot = self.slots[usize::from(*byte)].unwrap_or(0);
            advance(&mut self.row, &self.masks[slot * self.words..][..self.words]);
            if let Some(rows) = &mut self.rows {
                rows.extend_from_slice(&self.row);
            }
        }
        match &self.rows {
            _ if to < self.a.len() => Phase::Rows(to),
            Some(_) => Phase::Path(self.a.len(), self.b.len()),
            None => Phase::Done,
        }
    }

    /// `i` and `j` bytes of the strings are left to walk over.
    fn walk_back(&mut self, mut i: usize, mut j: usize, budget: usize) -> Phase {
        for _ in 0..budget {
            if i == 0 || j == 0 {
                return Phase::Done;
            }
            if self.a[i - 1] == self.b[j - 1] {
                (i, j) = (i - 1, j - 1);
                self.extend_run(i, j);
            } else if self.grows(i - 1, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        Phase::Path(i, j)
    }

    fn grows(&self, row: usize, column: usize) -> bool {
        let rows = self.rows.as_deref().unwrap_or(&[]);
        rows[row * self.words + column / WORD_BITS] >> (column % WORD_BITS) & 1 == 0
    }

    fn extend_run(&mut self, a: usize, b: usize) {
        match self.runs.last_mut() {
            Some(run) if run.a == a + 1 && run.b == b + 1 => *run = Run { a, b, len: run.len + 1 },
            _ => self.runs.push(Run { a, b, len: 1 }),
        }
    }

    /// The length, once all is done.
    #[expect(clippy::len_without_is_empty, reason = "the length is the result, not the size of a container")]
    pub fn len(&self) -> usize {
        self.row.iter().map(|word| word.count_zeros() as usize).sum()
    }

    /// What is common, from the last run to the first, once all is done.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The subsequence itself, once all is done. O(length).
    pub fn text(&self) -> Vec<u8> {
        self.runs.iter().rev().flat_map(|run| &self.a[run.a..run.a + run.len]).copied().collect()
    }
}

/// Makes a row the next one, for a byte that stands where `mask` is set.
fn advance(row: &mut [u64], mask: &[u64]) {
    let mut carry = false;
    for (word, mask) in row.iter_mut().zip(mask) {
        let (sum, over) = word.overflowing_add(*word & mask);
        let (sum, again) = sum.overflowing_add(u64::from(carry));
        carry = over | again;
        *word = sum | (*word & !mask);
    }
}

fn reserved(len: usize) -> Result<Vec<u64>, TryReserveError> {
    let mut words = Vec::new();
    words.try_reserve_exact(len)?;
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(a: &[u8], b: &[u8], path: bool, budget: usize) -> Lcs {
        let mut lcs = Lcs::new(Bytes::copy_from_slice(a), Bytes::copy_from_slice(b), path).unwrap();
        while !lcs.step(budget) {}
        lcs
    }

    /// The table in full and the way back through it: (length, runs from the end).
    fn model(a: &[u8], b: &[u8]) -> (usize, Vec<Run>) {
        let mut table = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                let longer = table[i - 1][j].max(table[i][j - 1]);
                table[i][j] = if a[i - 1] == b[j - 1] { table[i - 1][j - 1] + 1 } else { longer };
            }
        }
        let (mut i, mut j, mut pairs) = (a.len(), b.len(), Vec::new());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                pairs.push((i, j));
            } else if table[i - 1][j] > table[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        let mut runs: Vec<Run> = Vec::new();
        for (a, b) in pairs {
            match runs.last_mut() {
                Some(run) if run.a == a + 1 && run.b == b + 1 => *run = Run { a, b, len: run.len + 1 },
                _ => runs.push(Run { a, b, len: 1 }),
            }
        }
        (table[a.len()][b.len()], runs)
    }

    proptest! {
        #[test]
        fn walks_the_path_of_the_full_table(
            a in prop::collection::vec(b'a'..b'f', 0..200),
            b in prop::collection::vec(b'a'..b'f', 0..200),
            budget in 1_usize..1000,
        ) {
            let (len, runs) = model(&a, &b);
            let lcs = run(&a, &b, true, budget);
            prop_assert_eq!(lcs.len(), len);
            prop_assert_eq!(lcs.text().len(), len);
            prop_assert_eq!(lcs.runs(), runs);
            prop_assert_eq!(run(&a, &b, false, budget).len(), len);
        }
    }

    #[test]
    fn finds_what_the_reference_shows() {
        let lcs = run(b"ohmytext", b"mynewtext", true, usize::MAX);
        assert_eq!((lcs.len(), lcs.text()), (6, b"mytext".to_vec()));
        assert_eq!(lcs.runs(), [Run { a: 4, b: 5, len: 4 }, Run { a: 2, b: 0, len: 2 }]);
    }
}
