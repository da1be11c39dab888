//! The string commands that add to numbers.

use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::keyspace::{Key, Ttl};
use crate::util::extended::Extended;
use crate::value::string::{INLINE_MAX, StringRef, StringSource};
use bytes::Bytes;

/// `INCR key`
///
/// Adds 1 and replies the sum. O(1), in place for a value held as an integer.
pub(super) fn incr<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;
    add(ctx, key, 1)
}

/// `DECR key`
///
/// Subtracts 1 and replies the difference. O(1).
pub(super) fn decr<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;
    add(ctx, key, -1)
}

/// `INCRBY key increment`
///
/// Adds and replies the sum; an error when it leaves 64 bits. O(1).
pub(super) fn incrby<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, delta) = (args.key()?, args.integer()?);
    args.finish()?;
    add(ctx, key, delta)
}

/// `DECRBY key decrement`
///
/// Subtracts and replies the difference. O(1). The least integer is refused whatever the key holds: it has no negative.
pub(super) fn decrby<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, delta) = (args.key()?, args.integer()?);
    args.finish()?;
    let delta = delta.checked_neg().ok_or(const { CommandError::text("ERR decrement would overflow") })?;
    add(ctx, key, delta)
}

#[inline]
fn add(ctx: &mut Context<'_>, key: Key<'_>, delta: i64) -> Result<Outcome, CommandError> {
    let sum = ctx.db.add_integer(key, delta)?;
    ctx.touch(key, Event::String("incrby"));
    ctx.reply.integer(sum);
    Ok(Outcome::Done)
}

/// `INCRBYFLOAT key increment`
///
/// Adds with the precision of an 80-bit float and replies the sum as text with at most 17 decimals, which is also what is
/// stored. O(1). The key is looked up before the increment is judged, so that WRONGTYPE goes first.
pub(super) fn incrbyfloat<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, increment) = (args.key()?, args.bytes()?);
    args.finish()?;

    let value = match ctx.db.string_to_change(key)? {
        Some(StringRef::Int(n)) => Extended::from_i64(n),
        Some(string) => Extended::parse(&string.text()).ok_or(CommandError::NotFloat)?,
        None => Extended::ZERO,
    };
    let increment = Extended::parse(increment).ok_or(CommandError::NotFloat)?;
    let sum = value.checked_add(increment).ok_or(CommandError::NanOrInfinity)?.format();

    ctx.db.put_string(key, float_source(&sum), Ttl::Keep);
    ctx.touch(key, Event::String("incrbyfloat"));
    ctx.effect(&[b"SET", key.bytes, &sum, b"KEEPTTL"]);
    ctx.reply.bulk(&sum);
    Ok(Outcome::Done)
}

/// A sum is stored as text even where it spells an integer: OBJECT ENCODING shows it. The largest have 5,000 digits.
fn float_source(text: &[u8]) -> StringSource<'_> {
    if text.len() <= INLINE_MAX {
        StringSource::Inline(text, false)
    } else {
        StringSource::Large(Bytes::copy_from_slice(text))
    }
}
