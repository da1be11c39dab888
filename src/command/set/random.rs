//! SPOP and SRANDMEMBER.

use super::{remove_emptied, reply_member};
use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::limits;
use crate::call::spec::Outcome;
use crate::keyspace::Key;
use crate::keyspace::attention::Switch;
use crate::value::object::Collection;
use crate::value::set::Set;

/// Bytes up to which a reply of members that may repeat grows: a few bytes of request could ask for any number of them.
const MOST_REPLY_BYTES: usize = 1 << 30;

/// `SPOP key [count]`
///
/// Takes out random members and replies them: one or null, with `count` a set. O(1) for each.
pub(super) fn spop<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    if args.remaining() > 0 {
        const NEGATIVE: CommandError = CommandError::text("ERR value is out of range, must be positive");
        if args.remaining() > 1 {
            return Err(CommandError::Syntax);
        }
        let count = args.integer_or(NEGATIVE)?;
        return pop_many(ctx, key, u64::try_from(count).map_err(|_| NEGATIVE)?);
    }

    let Context { db, reply, shared, .. } = ctx;
    let Some(set) = db.get_mut::<Set>(key)? else {
        reply.null();
        return Ok(Outcome::Done);
    };
    let (mut members, logs) = (Vec::new(), shared.keyspace.attention().is_on(Switch::Log));
    set.pop(&mut rand::random, &mut |item| {
        reply_member(reply, item);
        if logs {
            members.push(item.to_vec());
        }
    });
    let empty = set.is_empty();
    popped(ctx, key, empty);
    log_popped(ctx, key, &members);
    Ok(Outcome::Done)
}

/// Logs which members chance has chosen; with none named, the whole set.
fn log_popped(ctx: &mut Context<'_>, key: Key<'_>, members: &[Vec<u8>]) {
    if members.is_empty() {
        return ctx.effect(&[b"DEL", key.bytes]);
    }
    if ctx.logs() {
        let words: Vec<&[u8]> =
            [&b"SREM"[..], key.bytes].into_iter().chain(members.iter().map(|member| &**member)).collect();
        ctx.effect(&words);
    }
}

fn pop_many(ctx: &mut Context<'_>, key: Key<'_>, count: u64) -> Result<Outcome, CommandError> {
    let limits = limits::set(&ctx.shared.config);
    let Context { db, reply, shared, .. } = ctx;
    let len = db.get_mut::<Set>(key)?.map_or(0, |set| set.len());
    if len > 0 && count >= len as u64 {
        db.look(key); // all of it: in Redis that is a read of the whole set
    }
    let set = db.get_mut::<Set>(key)?;
    let (Some(set), 1..) = (set, count) else {
        reply.set(0);
        return Ok(Outcome::Done);
    };
    let all = set.len();
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(all);
    reply.set(count);
    let (mut members, logs) = (Vec::new(), shared.keyspace.attention().is_on(Switch::Log));
    if count < all {
        set.pop_many(count, &mut rand::random, &limits, &mut |item| {
            reply_member(reply, item);
            if logs {
                members.push(item.to_vec());
            }
        });
    } else {
        set.iter().for_each(|item| reply_member(reply, item));
    }
    popped(ctx, key, count == all);
    log_popped(ctx, key, &members);
    Ok(Outcome::Done)
}

fn popped(ctx: &mut Context<'_>, key: Key<'_>, empty: bool) {
    ctx.touch(key, Event::Set("spop"));
    remove_emptied(ctx, key, empty);
}

/// `SRANDMEMBER key [count]`
///
/// Replies a random member or null; with `count` an array of so many different ones, or if it is negative of so many that
/// may repeat. O(1) for each. Deviation: a reply of more than 1 GiB is refused.
pub(super) fn srandmember<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    if args.remaining() > 1 {
        return Err(CommandError::Syntax);
    }
    let count = if args.remaining() == 0 { None } else { Some(read_count(args)?) };

    let Context { db, reply, .. } = ctx;
    let set = db.get::<Set>(key)?;
    match (set, count) {
        (None, None) => reply.null(),
        (None, Some(_)) => reply.array(0),
        (Some(set), None) => set.random(&mut rand::random).into_iter().for_each(|item| reply_member(reply, item)),
        (Some(set), Some(count @ 0..)) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX).min(set.len());
            reply.array(count);
            set.sample(count, &mut rand::random, &mut |item| reply_member(reply, item));
        }
        (Some(set), Some(count)) => {
            let most = reply.output().len().saturating_add(MOST_REPLY_BYTES);
            reply.array(usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX));
            set.draw(count.unsigned_abs(), &mut rand::random, &mut |item| {
                reply_member(reply, item);
                reply.output().len() < most
            });
            if reply.output().len() >= most {
                return Err(CommandError::OutOfRange("value"));
            }
        }
    }
    Ok(Outcome::Done)
}

fn read_count(args: &mut Args<'_>) -> Result<i64, CommandError> {
    const RANGE: CommandError = CommandError::text(
        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
    );
    let count = args.integer()?;
    if count == i64::MIN { Err(RANGE) } else { Ok(count) }
}
