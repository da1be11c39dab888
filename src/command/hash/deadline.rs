//! Deadlines of fields: the HEXPIRE family sets them, the HTTL family answers them.
//!
//! Replies are arrays with a number for each field named: -2 no such field, -1 no deadline, 0 a condition stopped it, 1 done,
//! 2 the field went because the time is past.

use super::Rest;
use super::store::announce_removal;
use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::expiry::{Conditions, TimeForm};
use crate::call::spec::Outcome;
use crate::keyspace::Key;
use crate::util::clock::UnixMs;
use crate::util::number;
use crate::value::hash::Hash;

const NO_FIELD: i64 = -2;
const NO_DEADLINE: i64 = -1;
const STOPPED: i64 = 0;
const DONE: i64 = 1;
const GONE: i64 = 2;

/// What is wrong with a list of fields whose number does not fit.
pub(super) const NUMFIELDS: CommandError =
    CommandError::text("ERR numfields should be greater than 0 and match the provided number of fields");

/// Reads `numfields field [field ...]`, with `words` arguments a field, to the end of the request; `mismatch` is the error
/// when there are more or fewer.
pub(super) fn read_fields<'a>(
    args: &mut Args<'a>,
    words: usize,
    mismatch: CommandError,
) -> Result<Rest<'a>, CommandError> {
    let count = args.integer()?;
    let rest = Rest(args.clone());
    let fits = usize::try_from(count).ok().filter(|count| *count > 0).and_then(|count| count.checked_mul(words));
    if fits == Some(rest.len()) { Ok(rest) } else { Err(mismatch) }
}

/// Whether the word FIELDS is still to come, with something behind it.
pub(super) fn has_fields(args: &Args<'_>) -> bool {
    let mut words = Rest(args.clone());
    words.any(|word| word.eq_ignore_ascii_case(b"FIELDS")) && words.len() > 0
}

/// The deadline that a number states, which must not be negative; 0 is the past.
pub(super) fn read_deadline(
    form: TimeForm,
    text: &[u8],
    now: UnixMs,
    command: &'static str,
) -> Result<UnixMs, CommandError> {
    let value = number::parse_i64(text).ok_or(CommandError::NotInteger)?;
    if value < 0 {
        return Err(CommandError::InvalidExpire(command));
    }
    form.deadline(value, now, command)
}

/// `HEXPIRE key seconds [NX|XX|GT|LT] FIELDS numfields field [field ...]`
///
/// Gives fields a time to live; see the module for the numbers replied. A time that is past removes them, and the key when
/// none is left. O(fields named).
pub(super) fn hexpire<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    expire(ctx, args, TimeForm::Seconds, "hexpire")
}

/// `HPEXPIRE key milliseconds [NX|XX|GT|LT] FIELDS numfields field [field ...]`, otherwise as [`hexpire`].
pub(super) fn hpexpire<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    expire(ctx, args, TimeForm::Millis, "hpexpire")
}

/// `HEXPIREAT key unix-time-seconds [NX|XX|GT|LT] FIELDS numfields field [field ...]`, otherwise as [`hexpire`].
pub(super) fn hexpireat<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    expire(ctx, args, TimeForm::UnixSeconds, "hexpireat")
}

/// `HPEXPIREAT key unix-time-milliseconds [NX|XX|GT|LT] FIELDS numfields field [field ...]`, otherwise as [`hexpire`].
pub(super) fn hpexpireat<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    expire(ctx, args, TimeForm::UnixMillis, "hpexpireat")
}

fn expire<'a>(
    ctx: &mut Context<'a>,
    args: &mut Args<'a>,
    form: TimeForm,
    command: &'static str,
) -> Result<Outcome, CommandError> {
    let (key, time) = (args.key()?, args.bytes()?);
    if !has_fields(args) {
        return Err(NUMFIELDS);
    }
    let mut conditions = Conditions::default();
    while !args.word("FIELDS") {
        conditions.read_word(args)?;
    }
    conditions.check()?;
    let fields = read_fields(args, 1, NUMFIELDS)?;
    let deadline = read_deadline(form, time, ctx.now, command)?;

    let now = ctx.now;
    let event = if deadline > now { "hexpire" } else { "hexpired" };
    let mut changed = Vec::new();
    let outcome = change_each(ctx, key, fields, event, |hash, field| match hash.deadline(field, now.0) {
        None => NO_FIELD,
        Some(before) if !conditions.allow(before.map(UnixMs), deadline) => STOPPED,
        Some(_) if deadline <= now => {
            hash.remove(field, now.0);
            changed.push(field);
            GONE
        }
        Some(_) => {
            hash.set_deadline(field, Some(deadline.0), now.0);
            changed.push(field);
            DONE
        }
    });
    if !changed.is_empty() {
        if deadline <= now {
            ctx.db.count_expired_fields(key, changed.len());
        }
        log_deadlines(ctx, key, Some(deadline), changed.into_iter());
    }
    outcome
}

/// Logs the deadline that fields were given, as the time that it is (`None`: taken off); fields whose time is past are gone.
pub(super) fn log_deadlines<'f>(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    deadline: Option<UnixMs>,
    fields: impl Iterator<Item = &'f [u8]>,
) {
    if !ctx.logs() {
        return;
    }
    let fields: Vec<&[u8]> = fields.collect();
    let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let count = count.format(fields.len()).as_bytes();
    let head: Vec<&[u8]> = match deadline {
        None => vec![b"HPERSIST", key.bytes, b"FIELDS", count],
        Some(deadline) if deadline <= ctx.now => vec![b"HDEL", key.bytes],
        Some(deadline) => vec![b"HPEXPIREAT", key.bytes, time.format(deadline.0).as_bytes(), b"FIELDS", count],
    };
    ctx.effect(&[head, fields].concat());
}

/// `HPERSIST key FIELDS numfields field [field ...]`
///
/// Takes the deadlines off fields; replies 1 for those that had one. O(fields named).
pub(super) fn hpersist<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    if !args.word("FIELDS") {
        return Err(CommandError::Syntax);
    }
    let fields = read_fields(args, 1, NUMFIELDS)?;

    let now = ctx.now.0;
    change_each(ctx, key, fields, "hpersist", |hash, field| match hash.deadline(field, now) {
        None => NO_FIELD,
        Some(None) => NO_DEADLINE,
        Some(Some(_)) => {
            hash.set_deadline(field, None, now);
            DONE
        }
    })
}

/// Lets `change` change each field, replies its numbers, and announces `event` if one of them says that something changed.
fn change_each<'f>(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    fields: Rest<'f>,
    event: &'static str,
    mut change: impl FnMut(&mut Hash, &'f [u8]) -> i64,
) -> Result<Outcome, CommandError> {
    let (count, reply, mut changed) = (fields.len(), &mut ctx.reply, false);
    let edited = ctx.db.edit(key, |hash: &mut Hash| {
        reply.array(count);
        for field in fields {
            let done = change(hash, field);
            changed |= done >= DONE;
            reply.integer(done);
        }
    })?;
    if edited.is_none() {
        reply_missing(ctx, count);
    }
    if changed {
        ctx.touch(key, Event::Hash(event));
    }
    announce_removal(ctx, key, edited.is_some_and(|edited| edited.removed));
    Ok(Outcome::Done)
}

fn reply_missing(ctx: &mut Context<'_>, count: usize) {
    ctx.reply.array(count);
    (0..count).for_each(|_| ctx.reply.integer(NO_FIELD));
}

/// `HTTL key FIELDS numfields field [field ...]`
///
/// Replies the seconds that fields have to live, rounded. O(fields named).
pub(super) fn httl<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let now = ctx.now.0;
    reply_deadlines(ctx, args, |deadline| seconds(deadline.saturating_sub(now)))
}

/// `HPTTL key FIELDS numfields field [field ...]`
///
/// Replies the milliseconds that fields have to live. O(fields named).
pub(super) fn hpttl<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let now = ctx.now.0;
    reply_deadlines(ctx, args, |deadline| deadline.saturating_sub(now))
}

/// `HEXPIRETIME key FIELDS numfields field [field ...]`
///
/// Replies the Unix times in seconds, rounded, at which fields expire. O(fields named).
pub(super) fn hexpiretime<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    reply_deadlines(ctx, args, seconds)
}

/// `HPEXPIRETIME key FIELDS numfields field [field ...]`
///
/// Replies the Unix times in milliseconds at which fields expire. O(fields named).
pub(super) fn hpexpiretime<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    reply_deadlines(ctx, args, |deadline| deadline)
}

/// Milliseconds as seconds, half ones rounded up.
fn seconds(millis: i64) -> i64 {
    millis / 1000 + i64::from(millis % 1000 >= 500)
}

fn reply_deadlines<'a>(
    ctx: &mut Context<'a>,
    args: &mut Args<'a>,
    show: impl Fn(i64) -> i64,
) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    if !args.word("FIELDS") {
        return Err(CommandError::Syntax);
    }
    let fields = read_fields(args, 1, CommandError::Syntax)?;

    let (hash, now) = (ctx.db.get::<Hash>(key)?, ctx.now.0);
    ctx.reply.array(fields.len());
    for field in fields {
        ctx.reply.integer(match hash.and_then(|hash| hash.deadline(field, now)) {
            None => NO_FIELD,
            Some(None) => NO_DEADLINE,
            Some(Some(deadline)) => show(deadline),
        });
    }
    Ok(Outcome::Done)
}
