//! OBJECT: how a value is held and when it was used.

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::help;
use crate::call::spec::Outcome;
use crate::keyspace::access_seconds;
use crate::keyspace::entry::EntryRef;

/// Uses that a new key starts with in Redis, so that it is not the first to be evicted.
const INITIAL_FREQUENCY: i64 = 5;

/// Seconds at which the access clock of entries starts again.
const CLOCK_PERIOD: u32 = 1 << 24;

const HELP: &[&str] = &[
    "ENCODING <key>",
    "    Name the form in which the value of <key> is held.",
    "FREQ <key>",
    "    Answer how often <key> is used, on a logarithmic scale; under the LFU policies only.",
    "IDLETIME <key>",
    "    Answer how many seconds ago <key> was last used; not under the LFU policies.",
    "REFCOUNT <key>",
    "    Answer how many references to the value of <key> there are.",
];

/// `OBJECT ENCODING key`
///
/// Replies the name that Redis gives the form in which the value is held, null for a missing key. O(1).
pub fn encoding<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let name = look(ctx, args, |entry| entry.encoding())?;
    match name {
        Some(name) => ctx.reply.bulk(name.as_bytes()),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

/// `OBJECT REFCOUNT key`
///
/// Replies 1, for values are not shared between keys, or null for a missing key. O(1).
pub fn refcount<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let count = look(ctx, args, |_| 1)?;
    answer(ctx, count)
}

/// `OBJECT IDLETIME key`
///
/// Replies the seconds since the last use, null for a missing key. An error under the LFU policies. O(1).
pub fn idletime<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let access = look(ctx, args, |entry| entry.access())?;
    if access.is_some() && ctx.shared.config.maxmemory_policy().is_lfu() {
        const TEXT: &str = "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when \
                            switching between policies at runtime LRU and LFU data will take some time to adjust.";
        return Err(CommandError::text(TEXT));
    }
    let now = access_seconds(ctx.now);
    // The clock is modular: after 194 days it starts again.
    let idle = access.map(|access| i64::from(now.wrapping_sub(access) % CLOCK_PERIOD));
    answer(ctx, idle)
}

/// `OBJECT FREQ key`
///
/// Replies the frequency of use, null for a missing key. An error unless an LFU policy is set. O(1).
/// Deviation: uses are not counted, so this is what Redis answers for a new key.
pub fn freq<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let frequency = look(ctx, args, |_| INITIAL_FREQUENCY)?;
    if frequency.is_some() && !ctx.shared.config.maxmemory_policy().is_lfu() {
        const TEXT: &str = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note \
                            that when switching between policies at runtime LRU and LFU data will take some time to \
                            adjust.";
        return Err(CommandError::text(TEXT));
    }
    answer(ctx, frequency)
}

/// `OBJECT HELP`
///
/// Replies lines of text.
pub fn help<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    help::help(&mut ctx.reply, "OBJECT", HELP);
    Ok(Outcome::Done)
}

/// What `ask` says about the entry of the only argument, a key; no use of it.
fn look<'a, R>(
    ctx: &mut Context<'a>,
    args: &mut Args<'a>,
    ask: impl FnOnce(EntryRef<'_>) -> R,
) -> Result<Option<R>, CommandError> {
    let key = args.key()?;
    args.finish()?;
    Ok(ctx.db.inspect(key).map(ask))
}

fn answer(ctx: &mut Context<'_>, number: Option<i64>) -> Result<Outcome, CommandError> {
    match number {
        Some(number) => ctx.reply.integer(number),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}
