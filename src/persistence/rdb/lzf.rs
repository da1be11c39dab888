//! LZF, the compression of long strings in snapshots.
//!
//! ```text
//! 000lllll  then l+1 bytes as they are
//! lllooooo oooooooo            l+2 (3..8) bytes from o+1 behind
//! 111ooooo llllllll oooooooo   l+9 (9..264) bytes from o+1 behind
//! ```
//!
//! Invariant: decompression allocates only after the length of what comes out has been found to be the one promised.
//! Source: the format of liblzf (Marc Lehmann); the crate for it is deprecated.

const HASH_BITS: u32 = 13;
const MAX_LITERAL: usize = 32;
const MAX_OFFSET: usize = 1 << 13;
const MAX_MATCH: usize = 264;
const MIN_MATCH: usize = 3;

/// After so many short texts in a row that do not shrink only every so many is tried, until one does: those of one application are alike, and
/// trying takes longer than everything else that is done to such a text.
const FUTILE: u32 = 32;
const TRIED: u32 = 8;

/// The longest text that is short.
const SHORT: usize = 256;

/// Places by the hash of the three bytes that stand there.
type Heads = [u32; 1 << HASH_BITS];

/// What compresses: it remembers where which three bytes stood last.
pub struct Compressor {
    /// Places, counted on from text to text, so that those of earlier texts can be told without wiping the table.
    heads: Box<Heads>,
    /// Where the current text begins; what lies below is of an earlier one.
    base: u32,
    out: Vec<u8>,
    /// Short texts since one shrank; behind [`FUTILE`] the count goes round.
    futile: u32,
}

impl Default for Compressor {
    fn default() -> Compressor {
        Compressor { heads: Box::new([0; 1 << HASH_BITS]), base: 1, out: Vec::new(), futile: 0 }
    }
}

impl Compressor {
    /// The compressed form of `data`, if it is at least four bytes shorter (as Redis wants it). `None` too, mostly, for a short text behind many
    /// that were not. O(length).
    pub fn compress(&mut self, data: &[u8]) -> Option<&[u8]> {
        if data.len() > SHORT {
            return self.try_to_compress(data);
        }
        if !self.is_worth_trying() {
            return None;
        }
        self.try_to_compress(data)?;
        self.futile = 0;
        Some(&self.out)
    }

    /// Whether to try the next short text.
    fn is_worth_trying(&mut self) -> bool {
        self.futile += 1;
        if self.futile == FUTILE + TRIED {
            self.futile = FUTILE;
            return true;
        }
        self.futile <= FUTILE
    }

    fn try_to_compress(&mut self, data: &[u8]) -> Option<&[u8]> {
        let limit = data.len().checked_sub(4)?;
        let base = self.make_room(u32::try_from(data.len()).ok()?)?;
        let Compressor { heads, out, .. } = self;
        out.clear();
        let (mut at, mut literal) = (0, 0);
        while let Some((from, found)) = next_match(heads, data, base, at) {
            put_literal(&data[literal..found], out);
            let most = MAX_MATCH.min(data.len() - found);
            let same =
                MIN_MATCH + common_prefix(&data[from + MIN_MATCH..from + most], &data[found + MIN_MATCH..found + most]);
            put_match(found - from - 1, same, out);
            if out.len() >= limit {
                return None;
            }
            at = found + same;
            literal = at;
        }
        if out.len() + (data.len() - literal) >= limit {
            return None; // so it is for most texts that do not repeat themselves
        }
        put_literal(&data[literal..], out);
        (out.len() <= limit).then_some(&out[..])
    }

    /// The base of a text of `len` bytes. `None` for one that is too long.
    fn make_room(&mut self, len: u32) -> Option<u32> {
        if self.base.checked_add(len).is_none() {
            self.heads.fill(0);
            self.base = 1;
        }
        let base = self.base;
        self.base = base.checked_add(len)?;
        Some(base)
    }
}

/// The first place from `at` on whose three bytes stood in the text before, behind where they did. Notes the places on the way. Most texts are
/// short and have none: this loop is what compression costs.
fn next_match(heads: &mut Heads, data: &[u8], base: u32, at: usize) -> Option<(usize, usize)> {
    let mut place = base.wrapping_add(u32::try_from(at).ok()?);
    for (ahead, three) in data.get(at..)?.windows(MIN_MATCH).enumerate() {
        let from = std::mem::replace(&mut heads[hash(three)], place);
        place = place.wrapping_add(1);
        if from >= base {
            let (from, at) = ((from - base) as usize, at + ahead);
            if at - from <= MAX_OFFSET && data[from..from + MIN_MATCH] == *three {
                return Some((from, at));
            }
        }
    }
    None
}

/// How many bytes two texts of one length have in common at the beginning. Compares eight at a time.
fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    let (words, rest) = one.as_chunks();
    let (others, other_rest) = other.as_chunks();
    for (number, (word, other)) in words.iter().zip(others).enumerate() {
        let different = u64::from_le_bytes(*word) ^ u64::from_le_bytes(*other);
        if different != 0 {
            return number * size_of::<u64>() + different.trailing_zeros() as usize / 8;
        }
    }
    one.len() - rest.len() + rest.iter().zip(other_rest).take_while(|(one, other)| one == other).count()
}

fn hash(three: &[u8]) -> usize {
    let word = u32::from_le_bytes([three[0], three[1], three[2], 0]);
    (word.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
}

fn put_literal(bytes: &[u8], out: &mut Vec<u8>) {
    for run in bytes.chunks(MAX_LITERAL) {
        out.push(low_byte(run.len() - 1));
        out.extend_from_slice(run);
    }
}

fn put_match(offset: usize, len: usize, out: &mut Vec<u8>) {
    let high = low_byte(offset >> 8);
    if len < 9 {
        out.push(low_byte(len - 2) << 5 | high);
    } else {
        out.extend_from_slice(&[0xe0 | high, low_byte(len - 9)]);
    }
    out.push(low_byte(offset & 0xff));
}

fn low_byte(number: usize) -> u8 {
    number.to_le_bytes()[0]
}

/// One step of the compressed form.
enum Step<'a> {
    Literal(&'a [u8]),
    Match { back: usize, len: usize },
}

/// Splits the first step off; `None` when it is cut short.
fn step(data: &[u8]) -> Option<(Step<'_>, &[u8])> {
    let (control, rest) = data.split_first()?;
    let control = usize::from(*control);
    if control < MAX_LITERAL {
        let (bytes, rest) = rest.split_at_checked(control + 1)?;
        return Some((Step::Literal(bytes), rest));
    }
    let (more, rest) = if control >> 5 == 7 {
        let (more, rest) = rest.split_first()?;
        (usize::from(*more), rest)
    } else {
        (0, rest)
    };
    let (low, rest) = rest.split_first()?;
    let back = (control & 0x1f) << 8 | usize::from(*low);
    Some((Step::Match { back: back + 1, len: (control >> 5) + more + 2 }, rest))
}

/// The `len` bytes that `data` was made from; `None` when it makes other than that, or reaches back before the beginning.
/// O(len), and two passes over `data`.
pub fn decompress(data: &[u8], len: usize) -> Option<Vec<u8>> {
    let (mut rest, mut made) = (data, 0);
    while !rest.is_empty() {
        let (found, behind) = step(rest)?;
        made += match found {
            Step::Literal(bytes) => bytes.len(),
            Step::Match { back, len } if back <= made => len,
            Step::Match { .. } => return None,
        };
        rest = behind;
    }
    if made != len {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    rest = data;
    while let Some((found, behind)) = step(rest) {
        match found {
            Step::Literal(bytes) => out.extend_from_slice(bytes),
            Step::Match { back, len } if back >= len => {
                out.extend_from_within(out.len() - back..out.len() - back + len);
            }
            Step::Match { back, len } => (0..len).for_each(|_| out.push(out[out.len() - back])),
        }
        rest = behind;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn gives_back_what_it_was_given(data in prop::collection::vec(0_u8..4, 0..3000), repeat in 1_usize..4) {
            let data = data.repeat(repeat);
            // So that it has to begin again now and then.
            let mut compressor = Compressor { base: u32::MAX - 10_000, ..Compressor::default() };
            compressor.compress(&data);
            compressor.compress(&data);
            if let Some(packed) = compressor.compress(&data).map(<[u8]>::to_vec) {
                prop_assert!(packed.len() + 4 <= data.len());
                prop_assert_eq!(decompress(&packed, data.len()), Some(data.clone()));
                prop_assert_eq!(decompress(&packed, data.len() + 1), None);
            }
        }

        #[test]
        fn rubbish_is_refused_or_has_the_promised_length(data in prop::collection::vec(any::<u8>(), 0..300), len in 0_usize..5000) {
            if let Some(out) = decompress(&data, len) {
                prop_assert_eq!(out.len(), len);
            }
        }
    }

    #[test]
    fn short_texts_are_tried_less_often_while_none_shrinks() {
        let (mut compressor, futile, run) = (Compressor::default(), b"abcdefghijklmnopqrstuvwxyz", [b'x'; 40]);
        assert!((0..1000).all(|_| compressor.compress(futile).is_none()));
        assert!(compressor.compress(&[b'x'; 1000]).is_some(), "long ones always are");
        let missed = (0..100).take_while(|_| compressor.compress(&run).is_none()).count();
        assert!((1..8).contains(&missed), "{missed}");
        assert!((0..100).all(|_| compressor.compress(&run).is_some()));
        // Where some shrink all are tried.
        assert!((0..100).all(|_| compressor.compress(futile).is_none() && compressor.compress(&run).is_some()));
    }

    #[test]
    fn runs_shrink() {
        let mut compressor = Compressor::default();
        let packed = compressor.compress(&[b'x'; 10_000]).expect("a run compresses");
        assert!(packed.len() < 130, "{}", packed.len());
        assert_eq!(compressor.compress(b"abcdefgh"), None);
    }
}
