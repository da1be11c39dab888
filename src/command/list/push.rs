//! The list commands that add at the ends.

use super::fill;
use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::keyspace::{Key, Ttl};
use crate::value::list::{Fill, List, Side};
use crate::value::object::Collection;

/// `LPUSH key element [element ...]`
///
/// Puts the elements at the start, one after the other, and replies the length. O(elements given).
pub(super) fn lpush<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    push(ctx, args, Side::Left, Missing::IsMade)
}

/// `RPUSH key element [element ...]`
///
/// Appends the elements and replies the length. O(elements given).
pub(super) fn rpush<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    push(ctx, args, Side::Right, Missing::IsMade)
}

/// `LPUSHX key element [element ...]`
///
/// As LPUSH if the list exists, else replies 0. O(elements given).
pub(super) fn lpushx<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    push(ctx, args, Side::Left, Missing::IsLeft)
}

/// `RPUSHX key element [element ...]`
///
/// As RPUSH if the list exists, else replies 0. O(elements given).
pub(super) fn rpushx<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    push(ctx, args, Side::Right, Missing::IsLeft)
}

/// What becomes of a key that does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    IsMade,
    IsLeft,
}

#[inline]
fn push<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, side: Side, missing: Missing) -> Result<Outcome, CommandError> {
    let (key, fill) = (args.key()?, fill(ctx));
    let count = args.remaining();

    let len = match ctx.db.get_mut::<List>(key)? {
        Some(list) => add(list, args, side, fill)?,
        None if missing == Missing::IsLeft => {
            ctx.reply.integer(0);
            return Ok(Outcome::Done);
        }
        None => push_new(ctx, key, args, side)?,
    };
    ctx.touch(key, Event::List(push_event(side)));
    ctx.dirty += count as u64 - 1; // the arity demands an element
    ctx.reply.count(len);
    Ok(Outcome::Done)
}

#[cold]
fn push_new(ctx: &mut Context<'_>, key: Key<'_>, args: &mut Args<'_>, side: Side) -> Result<usize, CommandError> {
    let mut list = List::default();
    let len = add(&mut list, args, side, fill(ctx))?;
    ctx.db.put(key, list, Ttl::Clear);
    Ok(len)
}

/// Puts what is left of the arguments at an end; returns the length.
#[inline]
fn add(list: &mut List, args: &mut Args<'_>, side: Side, fill: Fill) -> Result<usize, CommandError> {
    let (mut ahead, mut bytes) = (args.clone(), 0);
    while ahead.remaining() > 0 {
        bytes += ahead.bytes()?.len();
    }
    list.grow(fill, bytes, args.remaining());
    while args.remaining() > 0 {
        list.push(side, args.bytes()?);
    }
    Ok(list.len())
}

/// The event of an element put at an end.
pub(super) fn push_event(side: Side) -> &'static str {
    match side {
        Side::Left => "lpush",
        Side::Right => "rpush",
    }
}
