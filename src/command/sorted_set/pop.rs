//! What removes members at one end and returns them, waiting for some if asked to.

use super::{changed, remove_if_empty, reply_member, reply_members};
use crate::call::args::Args;
use crate::call::blocking::OnTimeout;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::keyspace::{Key, WrongType};
use crate::protocol::reply::{Reply, Resp};
use crate::value::object::Collection;
use crate::value::sorted_set::{SortedSet, Walk};
use smallvec::SmallVec;
use std::ops::Range;

const NO_KEYS: CommandError = CommandError::text("ERR numkeys should be greater than 0");
const NO_COUNT: CommandError = CommandError::text("ERR count should be greater than 0");
const NOT_POSITIVE: CommandError = CommandError::text("ERR value is out of range, must be positive");

/// The end where members are removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

impl End {
    fn event(self) -> &'static str {
        match self {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        }
    }

    /// The ranks of the `count` members at this end.
    fn ranks(self, count: usize, len: usize) -> Range<usize> {
        let count = count.min(len);
        match self {
            End::Min => 0..count,
            End::Max => len - count..len,
        }
    }
}

/// Shows up to `count` members to `show` and removes them; `false` when the key is missing.
fn pop(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    end: End,
    count: usize,
    show: impl FnOnce(&mut Reply<'_>, Walk<'_>),
) -> Result<bool, WrongType> {
    let Some(set) = ctx.db.get_mut::<SortedSet>(key)? else { return Ok(false) };
    let ranks = end.ranks(count, set.len());
    let popped = ranks.len();
    show(&mut ctx.reply, set.walk(ranks.clone(), end == End::Max));
    set.remove_ranks(ranks);
    if popped > 0 {
        changed(ctx, key, end.event(), popped);
        remove_if_empty(ctx, key);
        if ctx.logs() {
            let name: &[u8] = if end == End::Min { b"ZPOPMIN" } else { b"ZPOPMAX" };
            ctx.effect(&[name, key.bytes, itoa::Buffer::new().format(popped).as_bytes()]);
        }
    }
    Ok(true)
}

/// `ZPOPMIN key [count]`
///
/// Removes the lowest member, or `count` of them, and replies them with their scores. O(log n + removed).
pub(super) fn zpopmin<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    pop_one_key(ctx, args, End::Min)
}

/// `ZPOPMAX key [count]`
///
/// Removes the highest member, or `count` of them, and replies them with their scores. O(log n + removed).
pub(super) fn zpopmax<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    pop_one_key(ctx, args, End::Max)
}

fn pop_one_key<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, end: End) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    if args.remaining() > 1 {
        return Err(CommandError::Syntax);
    }
    let count = if args.remaining() > 0 { Some(read_size(args, 0, NOT_POSITIVE)?) } else { None };
    args.finish()?;

    let found = pop(ctx, key, end, count.unwrap_or(1), |reply, popped| match count {
        None if reply.resp() == Resp::V3 => reply_flat(reply, popped),
        _ => reply_members(reply, popped, true),
    })?;
    if !found {
        ctx.reply.array(0);
    }
    Ok(Outcome::Done)
}

fn read_size(args: &mut Args<'_>, least: usize, error: CommandError) -> Result<usize, CommandError> {
    let number = args.integer_or(error.clone())?;
    usize::try_from(number).ok().filter(|number| *number >= least).ok_or(error)
}

/// Members and scores, one after the other.
fn reply_flat(reply: &mut Reply<'_>, popped: Walk<'_>) {
    reply.array(popped.len() * 2);
    for (member, score) in popped {
        reply_member(reply, member);
        reply.double(score);
    }
}

/// `BZPOPMIN key [key ...] timeout`
///
/// Removes the lowest member of the first sorted set that is there and replies key, member and score; without any, waits
/// for one and replies a null array when the time is up. O(keys + log n).
pub(super) fn bzpopmin<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    pop_or_wait(ctx, args, End::Min)
}

/// `BZPOPMAX key [key ...] timeout`, as [`bzpopmin`] at the other end.
pub(super) fn bzpopmax<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    pop_or_wait(ctx, args, End::Max)
}

fn pop_or_wait<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, end: End) -> Result<Outcome, CommandError> {
    let mut keys: SmallVec<[Key<'a>; 4]> = SmallVec::new();
    while args.remaining() > 1 {
        keys.push(args.key()?);
    }
    let timeout = args.timeout()?;
    args.finish()?;

    for key in &keys {
        let found = pop(ctx, *key, end, 1, |reply, popped| {
            reply.array(3);
            reply.bulk(key.bytes);
            for (member, score) in popped {
                reply_member(reply, member);
                reply.double(score);
            }
        })?;
        if found {
            return Ok(Outcome::Done);
        }
    }
    ctx.block(&keys, timeout, OnTimeout::NullArray)
}

/// `numkeys key [key ...] MIN|MAX [COUNT count]`
struct Several<'a> {
    keys: SmallVec<[Key<'a>; 4]>,
    end: End,
    count: usize,
}

impl<'a> Several<'a> {
    fn read(args: &mut Args<'a>) -> Result<Several<'a>, CommandError> {
        let number = read_size(args, 1, NO_KEYS)?;
        if number >= args.remaining() {
            return Err(CommandError::Syntax);
        }
        let keys = (0..number).map(|_| args.key()).collect::<Result<_, _>>()?;
        let end = match () {
            () if args.word("MIN") => End::Min,
            () if args.word("MAX") => End::Max,
            () => return Err(CommandError::Syntax),
        };
        let mut count = None;
        while args.remaining() > 0 {
            if count.is_some() || args.remaining() < 2 || !args.word("COUNT") {
                return Err(CommandError::Syntax);
            }
            count = Some(read_size(args, 1, NO_COUNT)?);
        }
        Ok(Several { keys, end, count: count.unwrap_or(1) })
    }

    /// Pops from the first key that is there and replies; `false` when none is.
    fn pop(&self, ctx: &mut Context<'_>) -> Result<bool, WrongType> {
        for key in &self.keys {
            let found = pop(ctx, *key, self.end, self.count, |reply, popped| {
                reply.array(2);
                reply.bulk(key.bytes);
                reply.array(popped.len());
                for (member, score) in popped {
                    reply.array(2);
                    reply_member(reply, member);
                    reply.double(score);
                }
            })?;
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// `ZMPOP numkeys key [key ...] MIN|MAX [COUNT count]`
///
/// Removes members at one end of the first sorted set that is there; replies its key and the members with their scores, or
/// a null array. O(keys + log n + removed).
pub(super) fn zmpop<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let several = Several::read(args)?;
    args.finish()?;

    if !several.pop(ctx)? {
        ctx.reply.null_array();
    }
    Ok(Outcome::Done)
}

/// `BZMPOP timeout numkeys key [key ...] MIN|MAX [COUNT count]`
///
/// As [`zmpop`], but waits for a sorted set when none is there. The timeout is judged after the other arguments.
pub(super) fn bzmpop<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let mut first = args.clone();
    args.bytes()?;
    let several = Several::read(args)?;
    args.finish()?;
    let timeout = first.timeout()?;

    if several.pop(ctx)? { Ok(Outcome::Done) } else { ctx.block(&several.keys, timeout, OnTimeout::NullArray) }
}
