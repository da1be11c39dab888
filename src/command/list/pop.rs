//! The list commands that take elements from the ends.

use super::{fill, reply_element, side};
use crate::call::args::Args;
use crate::call::blocking::OnTimeout;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::keyspace::Key;
use crate::value::list::{List, Side};
use crate::value::object::Collection;

const BAD_COUNT: CommandError = CommandError::text("ERR value is out of range, must be positive");
const NO_KEYS: CommandError = CommandError::text("ERR numkeys should be greater than 0");
const NO_COUNT: CommandError = CommandError::text("ERR count should be greater than 0");

/// `LPOP key [count]`
///
/// Takes the first element and replies it, or null; with a count an array of up to that many, or a null array for a
/// missing key. O(elements taken).
pub(super) fn lpop<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    pop(ctx, args, Side::Left)
}

/// `RPOP key [count]`
///
/// As LPOP, from the end. O(elements taken).
pub(super) fn rpop<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    pop(ctx, args, Side::Right)
}

#[inline]
fn pop<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, side: Side) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    if args.remaining() > 0 {
        return pop_count(ctx, key, args, side);
    }
    if !pop_one(ctx, key, side, None)? {
        ctx.reply.null();
    }
    Ok(Outcome::Done)
}

/// Takes one element and replies it, behind `name` if that is given; `false`, and no reply, when the key is missing.
#[inline]
fn pop_one(ctx: &mut Context<'_>, key: Key<'_>, side: Side, name: Option<&[u8]>) -> Result<bool, CommandError> {
    let fill = fill(ctx);
    let Some(list) = ctx.db.get_mut::<List>(key)? else { return Ok(false) };
    if let Some(name) = name {
        ctx.reply.array(2);
        ctx.reply.bulk(name);
    }
    list.pop(side, |element| reply_element(&mut ctx.reply, element));
    list.shrink(fill);
    let empty = list.is_empty();
    removed(ctx, key, pop_event(side), empty);
    Ok(true)
}

#[cold]
fn pop_count<'a>(
    ctx: &mut Context<'a>,
    key: Key<'a>,
    args: &mut Args<'a>,
    side: Side,
) -> Result<Outcome, CommandError> {
    if args.remaining() > 1 {
        return Err(CommandError::WrongArity(ctx.command_name().into()));
    }
    let count = usize::try_from(args.integer_or(BAD_COUNT)?).map_err(|_| BAD_COUNT)?;
    if !pop_many(ctx, key, side, count, false)? {
        ctx.reply.null_array();
    }
    Ok(Outcome::Done)
}

/// Takes up to `count` elements and replies an array of them, behind the key's name if `named`; `false`, and no reply, when
/// the key is missing.
fn pop_many(ctx: &mut Context<'_>, key: Key<'_>, side: Side, count: usize, named: bool) -> Result<bool, CommandError> {
    let fill = fill(ctx);
    let Some(list) = ctx.db.get_mut::<List>(key)? else { return Ok(false) };
    let count = count.min(list.len());
    if named {
        ctx.reply.array(2);
        ctx.reply.bulk(key.bytes);
    }
    ctx.reply.array(count);
    list.iter(side).take(count).for_each(|element| reply_element(&mut ctx.reply, element));
    if count > 0 {
        list.remove_end(side, count);
        list.shrink(fill);
        let empty = list.is_empty();
        removed(ctx, key, pop_event(side), empty);
        ctx.dirty += count as u64 - 1;
        log_pop(ctx, key, side, count);
    }
    Ok(true)
}

/// Logs what was taken as taken from this list, without a wait.
fn log_pop(ctx: &mut Context<'_>, key: Key<'_>, side: Side, count: usize) {
    if ctx.logs() {
        let name: &[u8] = if side == Side::Left { b"LPOP" } else { b"RPOP" };
        ctx.effect(&[name, key.bytes, itoa::Buffer::new().format(count).as_bytes()]);
    }
}

/// The event of an element taken from an end.
pub(super) fn pop_event(side: Side) -> &'static str {
    match side {
        Side::Left => "lpop",
        Side::Right => "rpop",
    }
}

/// Announces that elements of `key` were removed; without any left the key goes too.
#[inline]
pub(super) fn removed(ctx: &mut Context<'_>, key: Key<'_>, event: &'static str, empty: bool) {
    ctx.touch(key, Event::List(event));
    if empty {
        ctx.db.remove(key);
        ctx.notify(key, Event::Generic("del"));
    }
}

/// `BLPOP key [key ...] timeout`
///
/// Takes the first element of the first of these lists that exists, and replies its key and the element; waits when none
/// does. O(keys).
pub(super) fn blpop<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    pop_or_wait(ctx, args, Side::Left)
}

/// `BRPOP key [key ...] timeout`
///
/// As BLPOP, from the end. O(keys).
pub(super) fn brpop<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    pop_or_wait(ctx, args, Side::Right)
}

fn pop_or_wait<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, side: Side) -> Result<Outcome, CommandError> {
    let mut keys = Vec::with_capacity(args.remaining());
    while args.remaining() > 1 {
        keys.push(args.key()?);
    }
    let timeout = args.timeout()?;

    for key in &keys {
        if pop_one(ctx, *key, side, Some(key.bytes))? {
            log_pop(ctx, *key, side, 1);
            return Ok(Outcome::Done);
        }
    }
    ctx.block(&keys, timeout, OnTimeout::NullArray)
}

/// What LMPOP and BLMPOP are to take.
struct Many<'a> {
    keys: Vec<Key<'a>>,
    side: Side,
    count: usize,
}

impl<'a> Many<'a> {
    /// Reads `numkeys key [key ...] LEFT|RIGHT [COUNT count]`.
    fn read(args: &mut Args<'a>) -> Result<Many<'a>, CommandError> {
        let count = usize::try_from(args.integer_or(NO_KEYS)?).ok().filter(|count| *count > 0).ok_or(NO_KEYS)?;
        if count >= args.remaining() {
            return Err(CommandError::Syntax);
        }
        let keys = (0..count).map(|_| args.key()).collect::<Result<_, _>>()?;
        let mut many = Many { keys, side: side(args)?, count: 1 };
        if args.word("count") {
            if args.remaining() == 0 {
                return Err(CommandError::Syntax);
            }
            let count = args.integer_or(NO_COUNT)?;
            many.count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(NO_COUNT)?;
        }
        args.finish()?;
        Ok(many)
    }

    /// Takes from the first list that exists; `false`, and no reply, when none does.
    fn take(&self, ctx: &mut Context<'_>) -> Result<bool, CommandError> {
        for key in &self.keys {
            if pop_many(ctx, *key, self.side, self.count, true)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// `LMPOP numkeys key [key ...] LEFT|RIGHT [COUNT count]`
///
/// Takes up to `count` elements from the first of these lists that exists, and replies its key and the elements, or a null
/// array. O(keys + elements taken).
pub(super) fn lmpop<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let many = Many::read(args)?;

    if !many.take(ctx)? {
        ctx.reply.null_array();
    }
    Ok(Outcome::Done)
}

/// `BLMPOP timeout numkeys key [key ...] LEFT|RIGHT [COUNT count]`
///
/// As LMPOP; waits when none of the lists exists. O(keys + elements taken).
pub(super) fn blmpop<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    // As in Redis, the timeout is judged last.
    let mut timeout = args.clone();
    args.bytes()?;
    let many = Many::read(args)?;
    let timeout = timeout.timeout()?;

    if many.take(ctx)? {
        return Ok(Outcome::Done);
    }
    ctx.block(&many.keys, timeout, OnTimeout::NullArray)
}
