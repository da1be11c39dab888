//! What removes members: named ones, and those of a range.

use super::range::{read_lex_range, read_score_range};
use super::{changed, remove_if_empty};
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::keyspace::Key;
use crate::value::object::Collection;
use crate::value::sorted_set::{SortedSet, ranks};
use std::ops::Range;

/// `ZREM key member [member ...]`
///
/// Replies the number of members removed; the key goes with the last one. O(log n) a member.
pub(super) fn zrem<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let mut removed = 0;
    if let Some(set) = ctx.db.get_mut::<SortedSet>(key)? {
        while args.remaining() > 0 && !set.is_empty() {
            removed += usize::from(set.remove(args.bytes()?).is_some());
        }
    }
    finish(ctx, key, "zrem", removed);
    Ok(Outcome::Done)
}

/// `ZREMRANGEBYRANK key start stop`
///
/// Removes the members in a range of ranks and replies how many. O(log n + removed).
pub(super) fn zremrangebyrank<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let (start, stop) = (args.integer()?, args.integer()?);
    args.finish()?;

    remove(ctx, key, "zremrangebyrank", |set| ranks(start, stop, set.len()))
}

/// `ZREMRANGEBYSCORE key min max`
///
/// Removes the members with scores in a range and replies how many. O(log n + removed).
pub(super) fn zremrangebyscore<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let range = read_score_range(args.bytes()?, args.bytes()?)?;
    args.finish()?;

    remove(ctx, key, "zremrangebyscore", |set| set.score_ranks(&range))
}

/// `ZREMRANGEBYLEX key min max`
///
/// Removes the members in a range, provided that all scores are equal, and replies how many. O(log n + removed).
pub(super) fn zremrangebylex<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let range = read_lex_range(args.bytes()?, args.bytes()?)?;
    args.finish()?;

    remove(ctx, key, "zremrangebylex", |set| set.lex_ranks(&range, false))
}

fn remove(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    event: &'static str,
    choose: impl FnOnce(&SortedSet) -> Range<usize>,
) -> Result<Outcome, CommandError> {
    let mut removed = 0;
    if let Some(set) = ctx.db.get_mut::<SortedSet>(key)? {
        let ranks = choose(set);
        removed = ranks.len();
        set.remove_ranks(ranks);
    }
    finish(ctx, key, event, removed);
    Ok(Outcome::Done)
}

fn finish(ctx: &mut Context<'_>, key: Key<'_>, event: &'static str, removed: usize) {
    if removed > 0 {
        changed(ctx, key, event, removed);
        remove_if_empty(ctx, key);
    }
    ctx.reply.count(removed);
}
