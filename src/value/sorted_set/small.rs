//! A small sorted set: a listpack of members, each followed by its score, in the order of (score, member).
//!
//! Invariant: the listpack is the one that Redis would write: an integral score within 2^62 of zero is an integer (so that
//! -0 becomes 0), any other its shortest text. Must not know: thresholds.

use super::range::LexRange;
use crate::util::number::{self, Text};
use crate::value::listpack::{At, Item, Listpack, OVERHEAD_BYTES};
use std::cmp::Ordering;
use std::ops::Range;

/// Scores of this magnitude and more are held as text.
const INTEGER_LIMIT: f64 = 4_611_686_018_427_387_904.0;

/// The longest text of a score.
const SCORE_BYTES: usize = 25;

/// A score in the form that it is held in.
enum Held {
    Int(i64),
    Text(Text),
}

impl Held {
    fn new(score: f64) -> Held {
        if score.abs() < INTEGER_LIMIT && score.fract() == 0.0 {
            #[expect(clippy::cast_possible_truncation, reason = "an integer within 2^62 of zero")]
            return Held::Int(score as i64);
        }
        Held::Text(number::format_f64(score))
    }

    fn item(&self) -> Item<'_> {
        match self {
            Held::Int(value) => Item::Int(*value),
            Held::Text(text) => Item::new(text.as_bytes()),
        }
    }
}

fn score_of(item: Item<'_>) -> f64 {
    match item {
        Item::Int(value) => value as f64,
        Item::Text(text) => number::parse_f64_lenient(text).unwrap_or(0.0),
    }
}

/// Members with their scores, in order or backwards.
#[derive(Clone)]
pub(super) struct Pairs<'a> {
    list: &'a Listpack,
    at: Option<At>,
    reverse: bool,
}

impl<'a> Pairs<'a> {
    /// From `rank` on, or from there backwards.
    pub(super) fn from(list: &'a Listpack, rank: usize, reverse: bool) -> Pairs<'a> {
        let at = i64::try_from(rank.saturating_mul(2)).ok().and_then(|index| list.at_index(index));
        Pairs { list, at, reverse }
    }

    fn all(list: &'a Listpack) -> Pairs<'a> {
        Pairs { list, at: list.first(), reverse: false }
    }

    fn places(self) -> impl Iterator<Item = (At, (Item<'a>, f64))> {
        let mut pairs = self;
        std::iter::from_fn(move || Some((pairs.at?, pairs.next()?)))
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Item<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Item<'a>, f64)> {
        let at = self.at?;
        let score = self.list.next(at)?;
        self.at = if self.reverse { self.list.prev_pair(at) } else { self.list.next(score) };
        Some((self.list.get(at), score_of(self.list.get(score))))
    }
}

/// How a pair lies to (score, member).
fn compare((item, own): (Item<'_>, f64), score: f64, member: &[u8]) -> Ordering {
    let by_score = own.partial_cmp(&score).unwrap_or(Ordering::Equal);
    by_score.then_with(|| item.text(&mut itoa::Buffer::new()).cmp(member))
}

/// Whether one more member of `len` bytes keeps the listpack below its greatest size.
pub(super) fn fits(list: &Listpack, len: usize) -> bool {
    list.fits(len.saturating_add(SCORE_BYTES + 2 * OVERHEAD_BYTES))
}

/// The place and the score of a member. O(n).
pub(super) fn find(list: &Listpack, member: &[u8]) -> Option<(At, f64)> {
    let at = list.find(list.first()?, member, 1)?;
    Some((at, score_of(list.get(list.next(at)?))))
}

/// The rank and the score of a member. O(n).
pub(super) fn rank(list: &Listpack, member: &[u8]) -> Option<(usize, f64)> {
    let (at, score) = find(list, member)?;
    Some((Pairs::all(list).places().take_while(|(place, _)| *place < at).count(), score))
}

/// Adds a member that is not there. O(n); O(1) when it comes last.
pub(super) fn insert(list: &mut Listpack, member: &[u8], score: f64) {
    let last = list.last_pair().and_then(|at| Pairs { list, at: Some(at), reverse: false }.next());
    let behind = if last.is_none_or(|last| compare(last, score, member).is_lt()) {
        None
    } else {
        Pairs::all(list).places().find(|(_, pair)| compare(*pair, score, member).is_gt()).map(|(at, _)| at)
    };
    let held = Held::new(score);
    match behind {
        Some(at) => {
            let at = list.insert_before(at, member);
            list.insert_after_item(at, held.item());
        }
        None => push(list, member, &held),
    }
}

/// Gives the member at a place another score than the `old` one. O(n); its neighbour there tells whether it may stay.
pub(super) fn set_score(list: &mut Listpack, at: At, member: &[u8], score: f64, old: f64) {
    let up = score > old;
    let own = list.next(at);
    let neighbour = if up { own.and_then(|own| list.next(own)) } else { list.prev_pair(at) };
    let neighbour = neighbour.and_then(|at| Pairs { list, at: Some(at), reverse: false }.next());
    let stays = neighbour.is_none_or(|pair| compare(pair, score, member).is_gt() == up);
    match own.filter(|_| stays) {
        Some(own) => _ = list.replace_item(own, Held::new(score).item()),
        None => {
            remove(list, at);
            insert(list, member, score);
        }
    }
}

fn push(list: &mut Listpack, member: &[u8], score: &Held) {
    list.push_back(member);
    list.push_back_item(score.item());
}

/// Adds a member behind all others. O(length).
pub(super) fn append(list: &mut Listpack, member: &[u8], score: f64) {
    push(list, member, &Held::new(score));
}

/// Removes the member at a place. O(bytes).
pub(super) fn remove(list: &mut Listpack, at: At) {
    list.remove_range(at, 2);
}

/// Removes the members of these ranks. O(bytes).
pub(super) fn remove_ranks(list: &mut Listpack, ranks: Range<usize>) {
    if let Some(at) = i64::try_from(ranks.start * 2).ok().and_then(|index| list.at_index(index)) {
        list.remove_range(at, ranks.len() * 2);
    }
}

/// The ranks of the scores for which `above` and `below` are both false. O(n).
pub(super) fn score_ranks(list: &Listpack, above: impl Fn(f64) -> bool, below: impl Fn(f64) -> bool) -> Range<usize> {
    let start = Pairs::all(list).take_while(|(_, score)| above(*score)).count();
    let inside = Pairs::from(list, start, false).take_while(|(_, score)| !below(*score)).count();
    start..start + inside
}

/// The ranks of the members in a range. O(n). Where scores differ, that is what Redis finds when it looks for the first
/// (`reverse`: the last) member inside and goes on from there.
pub(super) fn lex_ranks(list: &Listpack, range: &LexRange<'_>, reverse: bool) -> Range<usize> {
    let members: Vec<Vec<u8>> = Pairs::all(list).map(|(item, _)| item.to_vec()).collect();
    let (above, below) = (|at: usize| range.is_above(&members[at]), |at: usize| range.is_below(&members[at]));
    let len = members.len();
    if len == 0 || above(len - 1) || below(0) {
        return 0..0;
    }
    if reverse {
        let end = (0..len).rev().find(|at| !below(*at)).map_or(0, |last| last + 1);
        let inside = (0..end).rev().take_while(|at| !above(*at)).count();
        return end - inside..end;
    }
    let start = (0..len).find(|at| !above(*at)).unwrap_or(len);
    let inside = (start..len).take_while(|at| !below(*at)).count();
    start..start + inside
}

/// Whether a listpack is a small sorted set: pairs in order, scores that are numbers, no member twice. O(n log n).
pub(super) fn is_valid(list: &Listpack) -> bool {
    let scores = list.iter().skip(1).step_by(2);
    let numbers = scores.clone().all(|item| match item {
        Item::Int(_) => true,
        Item::Text(text) => !text.is_empty() && number::parse_f64_lenient(text).is_some(),
    });
    if !numbers || !list.len().is_multiple_of(2) {
        return false;
    }
    let pairs: Vec<(f64, Vec<u8>)> = Pairs::all(list).map(|(item, score)| (score, item.to_vec())).collect();
    let mut members: Vec<&[u8]> = pairs.iter().map(|(_, member)| &member[..]).collect();
    members.sort_unstable();
    pairs.is_sorted_by(|a, b| a < b) && members.is_sorted_by(|a, b| a < b)
}

/// Checks the invariants; for tests.
#[cfg(test)]
pub(super) fn validate(list: &Listpack) {
    assert_eq!(list.validate(), Ok(()));
    assert!(is_valid(list));
}
