//! Ranges of a sorted set: by score, by member, by rank.
//!
//! Invariant: what lies in a range is contiguous in a sorted set; for ranges of members only where all scores are equal,
//! which is the caller's business, as in Redis. Must not know: texts of requests, encodings.

use std::cmp::Ordering;
use std::ops::Range;

/// Scores from `min` to `max`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ScoreRange {
    /// Not NaN.
    pub min: f64,
    /// Whether `min` itself is left out.
    pub above_min: bool,
    /// Not NaN.
    pub max: f64,
    /// Whether `max` itself is left out.
    pub below_max: bool,
}

impl ScoreRange {
    /// Whether a score lies before the range.
    #[inline]
    pub fn is_above(&self, score: f64) -> bool {
        if self.above_min { score <= self.min } else { score < self.min }
    }

    /// Whether a score lies behind the range.
    #[inline]
    pub fn is_below(&self, score: f64) -> bool {
        if self.below_max { score >= self.max } else { score > self.max }
    }
}

/// One end of a range of members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LexBound<'a> {
    /// Before every member.
    Lowest,
    /// Behind every member.
    Highest,
    /// At a member.
    Included(&'a [u8]),
    /// At a member, which is left out.
    Excluded(&'a [u8]),
}

impl LexBound<'_> {
    fn compare(&self, member: &[u8]) -> Ordering {
        match self {
            LexBound::Lowest => Ordering::Less,
            LexBound::Highest => Ordering::Greater,
            LexBound::Included(bound) | LexBound::Excluded(bound) => (*bound).cmp(member),
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, LexBound::Excluded(_))
    }
}

/// Members from `min` to `max`, in the order of their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LexRange<'a> {
    /// The lower end.
    pub min: LexBound<'a>,
    /// The upper end.
    pub max: LexBound<'a>,
}

impl LexRange<'_> {
    /// Whether a member lies before the range.
    #[inline]
    pub fn is_above(&self, member: &[u8]) -> bool {
        let order = self.min.compare(member);
        order.is_gt() || order.is_eq() && self.min.is_open()
    }

    /// Whether a member lies behind the range.
    #[inline]
    pub fn is_below(&self, member: &[u8]) -> bool {
        let order = self.max.compare(member);
        order.is_lt() || order.is_eq() && self.max.is_open()
    }
}

/// The ranks from `start` to `stop`, both included and counted from the end when negative, among `len`.
pub fn ranks(start: i64, stop: i64, len: usize) -> Range<usize> {
    let from_end = |index: i64| match usize::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => len.checked_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let start = from_end(start).unwrap_or(0);
    let behind = from_end(stop).map_or(0, |stop| stop.saturating_add(1).min(len));
    if start < behind { start..behind } else { 0..0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_from_either_end() {
        for (start, stop, expected) in [
            (0, -1, 0..5),
            (1, 3, 1..4),
            (-2, -1, 3..5),
            (-100, 100, 0..5),
            (3, 2, 0..0),
            (5, 10, 0..0),
            (0, -6, 0..0),
            (i64::MIN, i64::MAX, 0..5),
        ] {
            assert_eq!(ranks(start, stop, 5), expected, "{start} {stop}");
        }
        assert_eq!(ranks(0, -1, 0), 0..0);
    }

    #[test]
    fn open_ends_leave_their_member_out() {
        let range = LexRange { min: LexBound::Excluded(b"b"), max: LexBound::Included(b"d") };
        assert!(range.is_above(b"a") && range.is_above(b"b") && !range.is_above(b"ba"));
        assert!(!range.is_below(b"d") && range.is_below(b"da"));
        let nothing = LexRange { min: LexBound::Highest, max: LexBound::Lowest };
        assert!(nothing.is_above(b"x") && nothing.is_below(b"x"));
        let scores = ScoreRange { min: 1.0, above_min: true, max: 2.0, below_max: false };
        assert!(scores.is_above(1.0) && !scores.is_above(1.5) && !scores.is_below(2.0) && scores.is_below(2.5));
    }
}
