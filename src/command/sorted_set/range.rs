//! What returns or stores a range: by rank, by score or by member, from either end.

use super::{limits, reply_members, store};
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::util::number;
use crate::value::object::Collection;
use crate::value::sorted_set::{LexBound, LexRange, ScoreRange, SortedSet, ranks};
use std::ops::Range;

const NOT_SCORES: CommandError = CommandError::text("ERR min or max is not a float");
const NOT_MEMBERS: CommandError = CommandError::text("ERR min or max not valid string range item");
const LIMIT_OF_RANKS: CommandError =
    CommandError::text("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
const SCORES_OF_MEMBERS: CommandError =
    CommandError::text("ERR syntax error, WITHSCORES not supported in combination with BYLEX");

/// What the ends of a range are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// What a command fixes of the words that ZRANGE takes.
#[derive(Clone, Copy)]
struct Form {
    by: Option<By>,
    reverse: Option<bool>,
    /// Scores may be asked for.
    scores: bool,
}

/// A range of one of the three kinds.
enum Ends<'a> {
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(LexRange<'a>),
}

/// A range as a request describes it.
struct Query<'a> {
    ends: Ends<'a>,
    reverse: bool,
    with_scores: bool,
    /// So many of the range are left out; when negative all of it, or all but so many of a large set.
    offset: i64,
    /// At most so many are taken; all when negative.
    count: i64,
}

/// Reads a range of scores: a number at either end, `(` before one that is left out. As in Redis, a NUL ends a number.
pub(super) fn read_score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, CommandError> {
    let end = |text: &[u8]| {
        let (open, number) = text.strip_prefix(b"(").map_or((false, text), |rest| (true, rest));
        let number = number.split(|byte| *byte == 0).next().unwrap_or(number);
        number::parse_f64_lenient(number).map(|score| (score, open)).ok_or(NOT_SCORES)
    };
    let ((min, above_min), (max, below_max)) = (end(min)?, end(max)?);
    Ok(ScoreRange { min, above_min, max, below_max })
}

/// Reads a range of members: `[` or `(` before a member, `-` and `+` for all.
pub(super) fn read_lex_range<'a>(min: &'a [u8], max: &'a [u8]) -> Result<LexRange<'a>, CommandError> {
    let end = |text: &'a [u8]| match text {
        b"-" => Ok(LexBound::Lowest),
        b"+" => Ok(LexBound::Highest),
        [b'[', member @ ..] => Ok(LexBound::Included(member)),
        [b'(', member @ ..] => Ok(LexBound::Excluded(member)),
        _ => Err(NOT_MEMBERS),
    };
    Ok(LexRange { min: end(min)?, max: end(max)? })
}

impl<'a> Query<'a> {
    /// Reads the two ends and the words behind them, as far as `form` leaves them open.
    fn read(args: &mut Args<'a>, form: Form) -> Result<Query<'a>, CommandError> {
        let (start, stop) = (args.bytes()?, args.bytes()?);
        let (mut by, mut reverse, mut with_scores) = (form.by, form.reverse, false);
        let (mut offset, mut count) = (0, -1);
        while args.remaining() > 0 {
            if form.scores && args.word("WITHSCORES") {
                with_scores = true;
            } else if args.remaining() > 2 && args.word("LIMIT") {
                (offset, count) = (args.integer()?, args.integer()?);
            } else if reverse.is_none() && args.word("REV") {
                reverse = Some(true);
            } else if by.is_none() && args.word("BYLEX") {
                by = Some(By::Lex);
            } else if by.is_none() && args.word("BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if count != -1 && by == By::Rank {
            return Err(LIMIT_OF_RANKS);
        }
        if with_scores && by == By::Lex {
            return Err(SCORES_OF_MEMBERS);
        }
        Ok(Query { ends: Ends::read(by, reverse, start, stop)?, reverse, with_scores, offset, count })
    }

    /// The ranks it names in `set`, from the low end.
    fn ranks(&self, set: &SortedSet) -> Range<usize> {
        match &self.ends {
            Ends::Ranks(start, stop) => {
                let ranks = ranks(*start, *stop, set.len());
                if self.reverse { set.len() - ranks.end..set.len() - ranks.start } else { ranks }
            }
            Ends::Scores(range) => self.limited(set.score_ranks(range), set),
            Ends::Members(range) => self.limited(set.lex_ranks(range, self.reverse), set),
        }
    }

    /// What LIMIT leaves of `ranks`.
    fn limited(&self, ranks: Range<usize>, set: &SortedSet) -> Range<usize> {
        let skipped = match usize::try_from(self.offset) {
            Ok(skipped) => skipped.min(ranks.len()),
            // No offset is meant to be negative; this is what Valkey makes of it.
            Err(_) if set.as_listpack().is_some() => ranks.len(),
            Err(_) => {
                let left = usize::try_from(self.offset.unsigned_abs()).unwrap_or(usize::MAX);
                ranks.len().checked_sub(left).unwrap_or_else(|| ranks.len())
            }
        };
        let taken = usize::try_from(self.count).unwrap_or(usize::MAX).min(ranks.len() - skipped);
        if self.reverse {
            let end = ranks.end - skipped;
            return end - taken..end;
        }
        let start = ranks.start + skipped;
        start..start + taken
    }
}

impl<'a> Ends<'a> {
    fn read(by: By, reverse: bool, start: &'a [u8], stop: &'a [u8]) -> Result<Ends<'a>, CommandError> {
        let rank = |text| number::parse_i64(text).ok_or(CommandError::NotInteger);
        let (min, max) = if reverse { (stop, start) } else { (start, stop) };
        Ok(match by {
            By::Rank => Ends::Ranks(rank(start)?, rank(stop)?),
            By::Score => Ends::Scores(read_score_range(min, max)?),
            By::Lex => Ends::Members(read_lex_range(min, max)?),
        })
    }
}

fn reply_range<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, form: Form) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let query = Query::read(args, form)?;
    args.finish()?;

    match ctx.db.get::<SortedSet>(key)? {
        Some(set) => {
            reply_members(&mut ctx.reply, set.walk(query.ranks(set), query.reverse), query.with_scores);
        }
        None => ctx.reply.array(0),
    }
    Ok(Outcome::Done)
}

/// `ZRANGE key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`
///
/// Replies the members in a range of ranks, or of scores or members; with REV from the high end, which then comes first.
/// O(log n) and O(1) a member.
pub(super) fn zrange<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    reply_range(ctx, args, Form { by: None, reverse: None, scores: true })
}

/// `ZREVRANGE key start stop [WITHSCORES]`
///
/// Replies the members in a range of ranks that count from the high end. O(log n) and O(1) a member.
pub(super) fn zrevrange<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    reply_range(ctx, args, Form { by: Some(By::Rank), reverse: Some(true), scores: true })
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`
///
/// Replies the members with scores in a range. O(log n) and O(1) a member.
pub(super) fn zrangebyscore<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    reply_range(ctx, args, Form { by: Some(By::Score), reverse: Some(false), scores: true })
}

/// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]`
///
/// Replies the members with scores in a range, the highest first. O(log n) and O(1) a member.
pub(super) fn zrevrangebyscore<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    reply_range(ctx, args, Form { by: Some(By::Score), reverse: Some(true), scores: true })
}

/// `ZRANGEBYLEX key min max [LIMIT offset count]`
///
/// Replies the members in a range, provided that all scores are equal. O(log n) and O(1) a member.
pub(super) fn zrangebylex<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    reply_range(ctx, args, Form { by: Some(By::Lex), reverse: Some(false), scores: true })
}

/// `ZREVRANGEBYLEX key max min [LIMIT offset count]`
///
/// Replies the members in a range, the last first, provided that all scores are equal. O(log n) and O(1) a member.
pub(super) fn zrevrangebylex<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    reply_range(ctx, args, Form { by: Some(By::Lex), reverse: Some(true), scores: true })
}

/// `ZRANGESTORE dst src start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count]`
///
/// Stores what ZRANGE would reply and replies its size; an empty range deletes `dst`. O(log n) and O(1) a member.
pub(super) fn zrangestore<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (destination, source) = (args.key()?, args.key()?);
    let query = Query::read(args, Form { by: None, reverse: None, scores: false })?;
    args.finish()?;

    let limits = limits(ctx);
    let mut stored = SortedSet::default();
    if let Some(set) = ctx.db.get::<SortedSet>(source)? {
        let ranks = query.ranks(set);
        stored.prepare(ranks.len(), 0, limits);
        // In the order of the reply: what comes before a member too long for a listpack loses the sign of -0, as in Valkey.
        for (member, score) in set.walk(ranks, query.reverse) {
            stored.set(member.text(&mut itoa::Buffer::new()), score, limits);
        }
    }
    store(ctx, destination, stored, "zrangestore");
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_count_from_the_end_where_the_walk_begins() {
        let limited = |offset, count, reverse| {
            let ends = Ends::Ranks(0, 0);
            Query { ends, reverse, with_scores: false, offset, count }.limited(10..20, &SortedSet::default())
        };
        assert_eq!(limited(0, -1, false), 10..20);
        assert_eq!(limited(2, 3, false), 12..15);
        assert_eq!(limited(2, 3, true), 15..18);
        assert_eq!(limited(8, 100, true), 10..12);
        assert!(
            limited(-1, 5, false).is_empty() && limited(100, 5, true).is_empty() && limited(0, 0, false).is_empty()
        );
    }
}
