//! What asks about scores, ranks and numbers of members.

use super::range::{read_lex_range, read_score_range};
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::protocol::reply::Reply;
use crate::value::object::Collection;
use crate::value::sorted_set::SortedSet;

/// `ZCARD key`
///
/// Replies the number of members, 0 for a missing key. O(1).
pub(super) fn zcard<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;

    let len = ctx.db.get::<SortedSet>(key)?.map_or(0, Collection::len);
    ctx.reply.count(len);
    Ok(Outcome::Done)
}

/// `ZCOUNT key min max`
///
/// Replies the number of members with scores in the range. O(log n).
pub(super) fn zcount<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let range = read_score_range(args.bytes()?, args.bytes()?)?;
    args.finish()?;

    let count = ctx.db.get::<SortedSet>(key)?.map_or(0, |set| set.score_ranks(&range).len());
    ctx.reply.count(count);
    Ok(Outcome::Done)
}

/// `ZLEXCOUNT key min max`
///
/// Replies the number of members in the range, provided that all scores are equal. O(log n).
pub(super) fn zlexcount<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let range = read_lex_range(args.bytes()?, args.bytes()?)?;
    args.finish()?;

    let count = ctx.db.get::<SortedSet>(key)?.map_or(0, |set| set.lex_ranks(&range, false).len());
    ctx.reply.count(count);
    Ok(Outcome::Done)
}

fn reply_score(reply: &mut Reply<'_>, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

/// `ZSCORE key member`
///
/// Replies the score, or null. O(1).
pub(super) fn zscore<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, member) = (args.key()?, args.bytes()?);
    args.finish()?;

    let score = ctx.db.get::<SortedSet>(key)?.and_then(|set| set.score(member));
    reply_score(&mut ctx.reply, score);
    Ok(Outcome::Done)
}

/// `ZMSCORE key member [member ...]`
///
/// Replies the score of each member, null for one that is missing. O(1) a member.
pub(super) fn zmscore<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let set = ctx.db.get::<SortedSet>(key)?;
    ctx.reply.array(args.remaining());
    while args.remaining() > 0 {
        let member = args.bytes()?;
        reply_score(&mut ctx.reply, set.and_then(|set| set.score(member)));
    }
    Ok(Outcome::Done)
}

/// `ZRANK key member [WITHSCORE]`
///
/// Replies how many members come before this one, or null; with its score on request. O(log n).
pub(super) fn zrank<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    rank(ctx, args, false)
}

/// `ZREVRANK key member [WITHSCORE]`
///
/// Replies how many members come behind this one, or null; with its score on request. O(log n).
pub(super) fn zrevrank<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    rank(ctx, args, true)
}

fn rank<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, reverse: bool) -> Result<Outcome, CommandError> {
    let (key, member) = (args.key()?, args.bytes()?);
    // One word too many is an error of arity, which the row cannot say.
    if args.remaining() > 1 {
        return Err(CommandError::WrongArity(ctx.command_name().into()));
    }
    let with_score = args.word("WITHSCORE");
    args.finish()?;

    let set = ctx.db.get::<SortedSet>(key)?;
    let found = set.and_then(|set| set.rank(member).map(|(rank, score)| (set.len(), rank, score)));
    let reply = &mut ctx.reply;
    match found {
        Some((len, rank, score)) => {
            if with_score {
                reply.array(2);
            }
            reply.count(if reverse { len - 1 - rank } else { rank });
            if with_score {
                reply.double(score);
            }
        }
        None if with_score => reply.null_array(),
        None => reply.null(),
    }
    Ok(Outcome::Done)
}
