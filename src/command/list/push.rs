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
    let (count, elements) = (args.remaining(), args.rest());

    let len = match ctx.db.get_mut::<List>(key)? {
        Some(list) => add(list, elements, side, fill),
        None if missing == Missing::IsLeft => {
            ctx.reply.integer(0);
            return Ok(Outcome::Done);
        }
        None => push_new(ctx, key, elements, side),
    };
    ctx.touch(key, Event::List(push_event(side)));
    ctx.dirty += count as u64 - 1; // the arity demands an element
    ctx.reply.count(len);
    Ok(Outcome::Done)
}

#[cold]
fn push_new<'a>(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    elements: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    side: Side,
) -> usize {
    let mut list = List::default();
    let len = add(&mut list, elements, side, fill(ctx));
    ctx.db.put(key, list, Ttl::Clear);
    len
}

/// Puts elements at an end; returns the length.
#[inline]
fn add<'a>(
    list: &mut List,
    elements: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    side: Side,
    fill: Fill,
) -> usize {
    list.grow(fill, elements.clone().map(<[u8]>::len).sum(), elements.len());
    if elements.len() == 1 {
        elements.for_each(|element| list.push(side, element));
    } else {
        list.push_all(side, elements);
    }
    list.len()
}

/// The event of an element put at an end.
pub(super) fn push_event(side: Side) -> &'static str {
    match side {
        Side::Left => "lpush",
        Side::Right => "rpush",
    }
}
