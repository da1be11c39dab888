//! ZRANDMEMBER.

use super::{reply_member, reply_members};
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::protocol::reply::Resp;
use crate::value::object::Collection;
use crate::value::sorted_set::SortedSet;
use std::collections::HashSet;

const OUT_OF_RANGE: CommandError = CommandError::text("ERR value is out of range");
const OUT_OF_NEGATIVE_RANGE: CommandError =
    CommandError::text("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");

/// Members, repeats included, that one request may ask for: some seconds of work. Redis tries more until it is killed.
const MOST_REPEATED: u64 = 1 << 24;

/// Up to this share of a set (1/n), ranks are drawn until they differ; beyond it, the set is walked.
const SPARSE: usize = 3;

/// What a request asks for behind the key.
struct Wanted {
    /// Negative: repeats are allowed.
    count: i64,
    with_scores: bool,
}

impl Wanted {
    fn read(args: &mut Args<'_>) -> Result<Wanted, CommandError> {
        let count = args.integer()?;
        if count == i64::MIN {
            return Err(OUT_OF_NEGATIVE_RANGE);
        }
        if args.remaining() == 0 {
            return Ok(Wanted { count, with_scores: false });
        }
        if args.remaining() > 1 || !args.word("WITHSCORES") {
            return Err(CommandError::Syntax);
        }
        if count.unsigned_abs() > i64::MAX.unsigned_abs() / 2 {
            return Err(OUT_OF_RANGE);
        }
        Ok(Wanted { count, with_scores: true })
    }

    /// The ranks of the members to reply, at most half of them taken by chance where that needs many draws.
    fn ranks(&self, len: usize) -> Vec<usize> {
        let count = usize::try_from(self.count.unsigned_abs()).unwrap_or(usize::MAX);
        if self.count < 0 {
            return (0..count).map(|_| below(len)).collect();
        }
        if count >= len {
            return (0..len).collect();
        }
        if count < len / SPARSE { drawn(count, len) } else { sampled(count, len) }
    }
}

/// A number below `len`, each equally likely.
fn below(len: usize) -> usize {
    let product = u128::from(rand::random::<u64>()) * len as u128;
    usize::try_from(product >> 64).unwrap_or(0)
}

/// Distinct ranks, in the order in which they are drawn. O(count) while that is a small part of `len`.
fn drawn(count: usize, len: usize) -> Vec<usize> {
    let mut known = HashSet::with_capacity(count);
    std::iter::repeat_with(|| below(len)).filter(|rank| known.insert(*rank)).take(count).collect()
}

/// Distinct ranks, ascending. O(len). Source: Knuth, algorithm S.
fn sampled(count: usize, len: usize) -> Vec<usize> {
    let mut left = count;
    (0..len)
        .filter(|rank| {
            let take = below(len - rank) < left;
            left -= usize::from(take);
            take
        })
        .collect()
}

/// `ZRANDMEMBER key [count [WITHSCORES]]`
///
/// Replies a member at random, or null; with a count so many different ones, as far as there are; with a negative count
/// exactly so many, repeats included. O(log n) a member. Refuses to repeat 16 million times and more.
pub(super) fn zrandmember<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    if args.remaining() == 0 {
        return one(ctx, key);
    }
    let wanted = Wanted::read(args)?;
    args.finish()?;

    let Some(set) = ctx.db.get::<SortedSet>(key)? else {
        ctx.reply.array(0);
        return Ok(Outcome::Done);
    };
    if wanted.count < 0 && wanted.count.unsigned_abs() > MOST_REPEATED {
        return Err(OUT_OF_RANGE);
    }
    let ranks = wanted.ranks(set.len());
    if ranks.len() == set.len() && wanted.count > 0 {
        reply_members(&mut ctx.reply, set.iter(), wanted.with_scores);
        return Ok(Outcome::Done);
    }
    let reply = &mut ctx.reply;
    let pairs = wanted.with_scores && reply.resp() == Resp::V3;
    reply.array(if wanted.with_scores && !pairs { ranks.len() * 2 } else { ranks.len() });
    for (member, score) in ranks.into_iter().filter_map(|rank| set.at(rank)) {
        if pairs {
            reply.array(2);
        }
        reply_member(reply, member);
        if wanted.with_scores {
            reply.double(score);
        }
    }
    Ok(Outcome::Done)
}

fn one(ctx: &mut Context<'_>, key: crate::keyspace::Key<'_>) -> Result<Outcome, CommandError> {
    let set = ctx.db.get::<SortedSet>(key)?;
    match set.and_then(|set| set.at(below(set.len()))) {
        Some((member, _)) => reply_member(&mut ctx.reply, member),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_ranks_are_different() {
        for (count, len) in [(1, 1), (3, 100), (60, 100), (99, 100), (100, 100), (500, 100)] {
            let ranks = Wanted { count, with_scores: false }.ranks(len);
            let known: HashSet<&usize> = ranks.iter().collect();
            assert!(known.len() == ranks.len() && ranks.iter().all(|rank| *rank < len));
            assert_eq!(ranks.len(), len.min(usize::try_from(count).unwrap_or(0)));
        }
        assert_eq!(Wanted { count: -500, with_scores: false }.ranks(3).len(), 500);
    }

    #[test]
    fn every_rank_is_as_likely() {
        let mut met = [0_u32; 10];
        for _ in 0..2000 {
            sampled(5, 10).into_iter().for_each(|rank| met[rank] += 1);
            drawn(5, 10).into_iter().for_each(|rank| met[rank] += 1);
        }
        assert!(met.iter().all(|count| (1700..2300).contains(count)), "{met:?}");
    }
}
