//! The list commands that change what is inside a list.

use super::pop::removed;
use super::{LEAST_RANK, fill, index_in, range_in};
use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::value::list::{List, Side};
use crate::value::listpack::Needle;
use crate::value::object::Collection;

/// `LINSERT key BEFORE|AFTER pivot element`
///
/// Inserts beside the first element that equals `pivot`, and replies the length; -1 without a pivot, 0 for a missing key.
/// O(elements before the pivot).
pub(super) fn linsert<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, fill) = (args.key()?, fill(ctx));
    let side = match () {
        () if args.word("after") => Side::Right,
        () if args.word("before") => Side::Left,
        () => return Err(CommandError::Syntax),
    };
    let (pivot, element) = (Needle::new(args.bytes()?), args.bytes()?);

    let Some(list) = ctx.db.get_mut::<List>(key)? else {
        ctx.reply.integer(0);
        return Ok(Outcome::Done);
    };
    // Before the pivot is looked for, as in Redis: a list may change its encoding though nothing is inserted.
    list.grow(fill, element.len(), 1);
    let Some(index) = list.iter(Side::Left).position(|element| pivot.is(element)) else {
        ctx.reply.integer(-1);
        return Ok(Outcome::Done);
    };
    list.insert(index, side, element);
    let len = list.len();
    ctx.touch(key, Event::List("linsert"));
    ctx.reply.count(len);
    Ok(Outcome::Done)
}

/// `LSET key index element`
///
/// Replaces an element. The key is looked up before the index is judged. O(nodes + node).
pub(super) fn lset<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, index, element, fill) = (args.key()?, args.integer(), args.bytes()?, fill(ctx));

    let list = ctx.db.get_mut::<List>(key)?.ok_or(CommandError::NoSuchKey)?;
    let index = index?;
    list.grow(fill, element.len(), 1);
    let index = index_in(index, list.len()).ok_or(CommandError::text("ERR index out of range"))?;
    list.set(index, element);
    list.shrink(fill);
    ctx.touch(key, Event::List("lset"));
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `LREM key count element`
///
/// Removes elements that equal `element`: the first `count`, the last for a negative count, all for 0; replies how many.
/// O(bytes of the list).
pub(super) fn lrem<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, count, element, fill) = (args.key()?, args.integer()?, args.bytes()?, fill(ctx));
    if count == i64::MIN {
        return Err(LEAST_RANK);
    }

    let Some(list) = ctx.db.get_mut::<List>(key)? else {
        ctx.reply.integer(0);
        return Ok(Outcome::Done);
    };
    let side = if count < 0 { Side::Right } else { Side::Left };
    let most = if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) };
    let gone = list.remove_matching(element, most, side);
    if gone > 0 {
        list.shrink(fill);
        let empty = list.is_empty();
        removed(ctx, key, "lrem", empty);
        ctx.dirty += gone as u64 - 1;
    }
    ctx.reply.count(gone);
    Ok(Outcome::Done)
}

/// `LTRIM key start stop`
///
/// Removes what lies outside the range; a list that is left empty goes. O(nodes + node).
pub(super) fn ltrim<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, start, stop, fill) = (args.key()?, args.integer()?, args.integer()?, fill(ctx));

    if let Some(list) = ctx.db.get_mut::<List>(key)? {
        let len = list.len();
        let (start, kept) = range_in(start, stop, len);
        if kept == 0 {
            // The whole key goes below, and a large list is freed in the background.
        } else {
            list.remove_end(Side::Right, len - start - kept);
            list.remove_end(Side::Left, start);
            list.shrink(fill);
        }
        if kept == len {
            // Told of, but no change.
            ctx.notify(key, Event::List("ltrim"));
        } else {
            removed(ctx, key, "ltrim", kept == 0);
            ctx.dirty = (ctx.dirty + (len - kept) as u64).saturating_sub(1);
        }
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}
