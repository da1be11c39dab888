//! The hash commands that write values.

use super::{Pairs, Rest, limits};
use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::keyspace::Key;
use crate::util::extended::Extended;
use crate::value::hash::{Hash, Lifetime};
use crate::value::listpack::Item;
use crate::value::object::Collection;

/// `HSET key field value [field value ...]`
///
/// Sets all, without deadlines, and replies how many fields are new. O(fields named).
pub(super) fn hset<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let added = set_pairs(ctx, args, "hset")?;
    ctx.reply.count(added);
    Ok(Outcome::Done)
}

/// `HMSET key field value [field value ...]`
///
/// As [`hset`], but replies OK.
pub(super) fn hmset<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    set_pairs(ctx, args, "hmset")?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

#[inline]
fn set_pairs<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, command: &'static str) -> Result<usize, CommandError> {
    let (key, words) = (args.key()?, Rest(args.clone()));
    if !words.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity(command.into()));
    }

    let (limits, now) = (limits(ctx), ctx.now.0);
    let edited = ctx.db.edit_or_new(key, |hash: &mut Hash| {
        hash.expect(words.len() / 2, limits);
        hash.set_all(Pairs(words), Lifetime::Clear, now, limits)
    })?;
    ctx.touch(key, Event::Hash("hset"));
    Ok(edited.result)
}

/// `HSETNX key field value`
///
/// Sets the field if there is none; replies 1 if so, else 0. O(1).
pub(super) fn hsetnx<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, field, value) = (args.key()?, args.bytes()?, args.bytes()?);
    args.finish()?;

    let (limits, now) = (limits(ctx), ctx.now.0);
    let edited = ctx.db.edit_or_new(key, |hash: &mut Hash| {
        !hash.contains(field, now) && hash.set(field, value, Lifetime::Clear, now, limits)
    })?;
    if edited.result {
        ctx.touch(key, Event::Hash("hset"));
    }
    ctx.reply.integer(i64::from(edited.result));
    Ok(Outcome::Done)
}

/// `HINCRBY key field increment`
///
/// Adds and replies the sum; a missing field counts as 0, the deadline stays. O(1).
pub(super) fn hincrby<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, field, increment) = (args.key()?, args.bytes()?, args.integer()?);
    args.finish()?;

    let sum = add(ctx, key, field, |value| {
        let number = value.map_or(Some(0), Item::integer);
        let number = number.ok_or(CommandError::text("ERR hash value is not an integer"))?;
        let sum = number.checked_add(increment).ok_or(CommandError::Overflow)?;
        Ok((sum, itoa::Buffer::new().format(sum).as_bytes().to_vec()))
    })?;
    ctx.touch(key, Event::Hash("hincrby"));
    ctx.reply.integer(sum);
    Ok(Outcome::Done)
}

/// `HINCRBYFLOAT key field increment`
///
/// Adds with the precision of an 80-bit float and replies the sum as text with at most 17 decimals, which is also what is
/// stored; a missing field counts as 0, the deadline stays. O(1).
pub(super) fn hincrbyfloat<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, field, increment) = (args.key()?, args.bytes()?, args.bytes()?);
    args.finish()?;
    let increment = Extended::parse(increment).ok_or(CommandError::NotFloat)?;
    if increment.is_infinite() {
        return Err(CommandError::text("ERR value is NaN or Infinity"));
    }

    let text = add(ctx, key, field, |value| {
        let number = match value {
            None => Extended::ZERO,
            Some(Item::Int(number)) => Extended::from_i64(number),
            Some(Item::Text(text)) => {
                Extended::parse(text).ok_or(CommandError::text("ERR hash value is not a float"))?
            }
        };
        let sum = number.checked_add(increment).filter(|sum| !sum.is_infinite());
        let text = sum.ok_or(CommandError::NanOrInfinity)?.format();
        Ok((text.clone(), text))
    })?;
    ctx.touch(key, Event::Hash("hincrbyfloat"));
    log_float(ctx, key, field, &text)?;
    ctx.reply.bulk(&text);
    Ok(Outcome::Done)
}

/// Logs a sum as the text that it is; the deadline of the field stays.
fn log_float(ctx: &mut Context<'_>, key: Key<'_>, field: &[u8], text: &[u8]) -> Result<(), CommandError> {
    if !ctx.logs() {
        return Ok(());
    }
    let now = ctx.now.0;
    let timed = ctx.db.get_mut::<Hash>(key)?.and_then(|hash| hash.deadline(field, now).flatten()).is_some();
    if timed {
        ctx.effect(&[b"HSETEX", key.bytes, b"KEEPTTL", b"FIELDS", b"1", field, text]);
    } else {
        ctx.effect(&[b"HSET", key.bytes, field, text]);
    }
    Ok(())
}

/// Sets a field to the text that `sum` makes of its value; returns what comes with it. An error changes nothing.
fn add<R>(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    field: &[u8],
    sum: impl FnOnce(Option<Item<'_>>) -> Result<(R, Vec<u8>), CommandError>,
) -> Result<R, CommandError> {
    let (limits, now) = (limits(ctx), ctx.now.0);
    let edited = ctx.db.edit_or_new(key, |hash: &mut Hash| {
        let (result, text) = sum(hash.get(field, now))?;
        hash.set(field, &text, Lifetime::Keep, now, limits);
        Ok(result)
    })?;
    edited.result
}

/// `HDEL key field [field ...]`
///
/// Removes fields, and the key when none is left; replies how many there were. O(fields named).
pub(super) fn hdel<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, mut fields, now) = (args.key()?, Rest(args.clone()), ctx.now.0);

    let edited = ctx.db.edit(key, |hash: &mut Hash| {
        let mut removed = 0;
        while let Some(field) = fields.next()
            && !hash.is_empty()
        {
            removed += usize::from(hash.remove(field, now));
        }
        removed
    })?;
    let count = edited.map_or(0, |edited| edited.result);
    if count > 0 {
        ctx.touch(key, Event::Hash("hdel"));
    }
    announce_removal(ctx, key, edited.is_some_and(|edited| edited.removed));
    ctx.reply.count(count);
    Ok(Outcome::Done)
}

/// Announces that a key went with its last field, if it did.
pub(super) fn announce_removal(ctx: &mut Context<'_>, key: Key<'_>, removed: bool) {
    if removed {
        ctx.notify(key, Event::Generic("del"));
    }
}
