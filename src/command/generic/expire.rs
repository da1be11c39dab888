//! Deadlines of keys: the EXPIRE family sets them, the TTL family answers them.

use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::expiry::{Conditions, TimeForm};
use crate::call::spec::Outcome;
use crate::keyspace::entry::EntryRef;
use crate::util::clock::UnixMs;
use crate::util::number;

fn read_conditions(args: &mut Args<'_>) -> Result<Conditions, CommandError> {
    let mut read = Conditions::default();
    while args.remaining() > 0 {
        read.read_word(args)?;
    }
    read.check()?;
    Ok(read)
}

/// `EXPIRE key seconds [NX|XX|GT|LT]`
///
/// Replies 1, or 0 when the key is missing or a condition stopped it. A time that is past removes the key. O(1).
pub fn expire<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    set_deadline(ctx, args, TimeForm::Seconds, "expire")
}

/// `PEXPIRE key milliseconds [NX|XX|GT|LT]`, otherwise as [`expire`].
pub fn pexpire<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    set_deadline(ctx, args, TimeForm::Millis, "pexpire")
}

/// `EXPIREAT key unix-time-seconds [NX|XX|GT|LT]`, otherwise as [`expire`].
pub fn expireat<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    set_deadline(ctx, args, TimeForm::UnixSeconds, "expireat")
}

/// `PEXPIREAT key unix-time-milliseconds [NX|XX|GT|LT]`, otherwise as [`expire`].
pub fn pexpireat<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    set_deadline(ctx, args, TimeForm::UnixMillis, "pexpireat")
}

fn set_deadline<'a>(
    ctx: &mut Context<'a>,
    args: &mut Args<'a>,
    form: TimeForm,
    command: &'static str,
) -> Result<Outcome, CommandError> {
    let (key, amount) = (args.key()?, args.bytes()?);
    // The options' errors come before the number's, as in Redis.
    let conditions = read_conditions(args)?;
    let amount = number::parse_i64(amount).ok_or(CommandError::NotInteger)?;
    let deadline = form.deadline(amount, ctx.now, command)?;

    let old = ctx.db.meet(key).map(EntryRef::deadline);
    let set = old.is_some_and(|old| conditions.allow(old, deadline));
    if set && deadline <= ctx.now {
        ctx.db.expire(key);
        ctx.touch(key, Event::Expired);
        ctx.effect(&[b"DEL", key.bytes]);
    } else if set {
        ctx.db.set_deadline(key, Some(deadline));
        ctx.touch(key, Event::Generic("expire"));
        ctx.effect_deadline(key, deadline);
    }
    ctx.reply.integer(i64::from(set));
    Ok(Outcome::Done)
}

/// `PERSIST key`
///
/// Replies 1, or 0 when the key is missing or has no deadline. O(1).
pub fn persist<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;
    let timed = ctx.db.meet(key).is_some_and(|entry| entry.deadline().is_some());
    if timed {
        ctx.db.set_deadline(key, None);
        ctx.touch(key, Event::Generic("persist"));
    }
    ctx.reply.integer(i64::from(timed));
    Ok(Outcome::Done)
}

/// `TTL key`
///
/// Replies the seconds to live, rounded; -1 without a deadline, -2 for a missing key. O(1); no use of the key.
pub fn ttl<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    answer_deadline(ctx, args, |deadline, now| rounded_seconds(deadline.0.saturating_sub(now.0)))
}

/// `PTTL key`: milliseconds, otherwise as [`ttl`].
pub fn pttl<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    answer_deadline(ctx, args, |deadline, now| deadline.0.saturating_sub(now.0))
}

/// `EXPIRETIME key`
///
/// Replies the deadline as Unix time in seconds, rounded; -1 and -2 as [`ttl`]. O(1); no use of the key.
pub fn expiretime<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    answer_deadline(ctx, args, |deadline, _| rounded_seconds(deadline.0))
}

/// `PEXPIRETIME key`: milliseconds, otherwise as [`expiretime`].
pub fn pexpiretime<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    answer_deadline(ctx, args, |deadline, _| deadline.0)
}

fn answer_deadline<'a>(
    ctx: &mut Context<'a>,
    args: &mut Args<'a>,
    answer: fn(UnixMs, UnixMs) -> i64,
) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;
    let number = match ctx.db.look(key).map(EntryRef::deadline) {
        None => -2,
        Some(None) => -1,
        Some(Some(deadline)) => answer(deadline, ctx.now),
    };
    ctx.reply.integer(number);
    Ok(Outcome::Done)
}

/// Seconds, halves rounded up.
fn rounded_seconds(ms: i64) -> i64 {
    ms.div_euclid(1000) + i64::from(ms.rem_euclid(1000) >= 500)
}
