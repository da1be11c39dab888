//! Databases as wholes, and what the server says of itself in a line: its clock, its role, its picture.
//!
//! Invariant: a flush or a swap is seen by every other command either wholly or not at all. Must not know: shards.

use crate::call::args::Args;
use crate::call::context::{Blocking, Context};
use crate::call::error::CommandError;
use crate::call::saving::note_flushed;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, Outcome, Scope, Slices};
use crate::config::REDIS_VERSION;
use crate::keyspace::reclaim::Flushed;
use crate::util::clock::unix_us;
use crate::util::number;

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "dbsize",
        arity: 1,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::KEYSPACE,
        since: "1.0.0",
        group: Group::Server,
        summary: "Counts the keys of the database.",
        complexity: "O(1), whatever the number of keys",
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        run: dbsize,
        scope: Scope::Walk,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "flushall",
        arity: -1,
        flags: Flags::WRITE,
        categories: Categories::KEYSPACE.and(Categories::DANGEROUS),
        scope: Scope::Server,
        since: "1.0.0",
        group: Group::Server,
        summary: "Removes every key of every database.",
        complexity: "O(1) for whoever asks; memory is freed in the background. O(n) for n keys with `SYNC`.",
        syntax: "[flush-type<async=ASYNC@4.0.0|sync=SYNC@6.2.0>]",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        history: &[("4.0.0", "The word `ASYNC`."), ("6.2.0", "The word `SYNC`.")],
        run: flushall,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "flushdb",
        arity: -1,
        flags: Flags::WRITE,
        categories: Categories::KEYSPACE.and(Categories::DANGEROUS),
        scope: Scope::Server,
        since: "1.0.0",
        group: Group::Server,
        summary: "Removes every key of the database.",
        complexity: "O(1) for whoever asks; memory is freed in the background. O(n) for n keys with `SYNC`.",
        syntax: "[flush-type<async=ASYNC@4.0.0|sync=SYNC@6.2.0>]",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        history: &[("4.0.0", "The word `ASYNC`."), ("6.2.0", "The word `SYNC`.")],
        run: flushdb,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "swapdb",
        arity: 3,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::KEYSPACE.and(Categories::DANGEROUS),
        scope: Scope::Server,
        since: "4.0.0",
        group: Group::Server,
        summary: "Exchanges the contents of two databases.",
        complexity: "O(1)",
        syntax: "index1:integer index2:integer",
        run: swapdb,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "time",
        arity: 1,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        since: "2.6.0",
        group: Group::Server,
        summary: "Answers the server's clock.",
        complexity: "O(1)",
        tips: &["nondeterministic_output"],
        run: time,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "role",
        arity: 1,
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST),
        categories: Categories::ADMIN.and(Categories::DANGEROUS),
        since: "2.8.12",
        group: Group::Server,
        summary: "Answers the replication role.",
        complexity: "O(1)",
        run: role,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "lolwut",
        arity: -1,
        flags: Flags::READONLY.and(Flags::FAST),
        since: "5.0.0",
        group: Group::Server,
        summary: "Shows a small picture and the version.",
        syntax: "[VERSION version:integer]",
        run: lolwut,
        ..CommandSpec::DEFAULT
    },
];

/// What LOLWUT shows: a shelf.
const SHELF: &str = concat!(
    "  .---.  .---.    _____    .---.  \n",
    "  |=+=|  |===|   /     \\   |=+=|  \n",
    " (     )( jam ) |  tea  | (     ) \n",
    "  `---'  `---'   \\_____/   `---'  \n",
    "==================================\n",
);

/// `DBSIZE`
///
/// Replies the number of keys, those included that have expired and are not yet removed. O(shards).
fn dbsize<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let len = ctx.db.len(ctx.session.db);
    ctx.reply.count(len);
    Ok(Outcome::Done)
}

/// `FLUSHALL [ASYNC|SYNC]`
///
/// Replies OK. The keys are gone at once, O(shards); with SYNC, or without a word where `lazyfree-lazy-user-flush` says no,
/// the reply leaves when their memory is free, which is done a little at a time while others are served.
fn flushall<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let lazy = is_lazy(ctx, args)?;
    let databases = ctx.db.keyspace().databases();
    let flushed = (0..databases).map(|db| flush(ctx, db)).collect();
    log_flush(ctx);
    ctx.touch_all(!waits(ctx, lazy));
    note_flushed(ctx.shared);
    Ok(free(ctx, flushed, lazy))
}

/// `FLUSHDB [ASYNC|SYNC]`: of the selected database, otherwise as [`flushall`].
fn flushdb<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let lazy = is_lazy(ctx, args)?;
    let flushed = vec![flush(ctx, ctx.session.db)];
    log_flush(ctx);
    ctx.touch_all(!waits(ctx, lazy));
    Ok(free(ctx, flushed, lazy))
}

/// A flush is logged though there was nothing, as in Valkey: it is what somebody wanted at this point.
fn log_flush(ctx: &mut Context<'_>) {
    if ctx.dirty == 0 && ctx.logs() {
        let request = ctx.request;
        ctx.effect(&request.iter().collect::<Vec<_>>());
    }
}

fn is_lazy(ctx: &Context<'_>, args: &mut Args<'_>) -> Result<bool, CommandError> {
    let lazy = args.word("ASYNC") || !args.word("SYNC") && ctx.shared.config.lazyfree_lazy_user_flush();
    args.finish()?;
    Ok(lazy)
}

fn flush(ctx: &mut Context<'_>, db: usize) -> Flushed {
    let flushed = ctx.db.flush(db);
    ctx.dirty += flushed.len() as u64;
    ctx.touch_awaited(db);
    flushed
}

/// Whether the reply waits for memory to be free.
fn waits(ctx: &Context<'_>, lazy: bool) -> bool {
    !lazy && ctx.blocking == Blocking::Allowed
}

fn free(ctx: &mut Context<'_>, flushed: Vec<Flushed>, lazy: bool) -> Outcome {
    if waits(ctx, lazy) {
        return Outcome::Slices(Box::new(Freeing(flushed)));
    }
    if lazy {
        let reclaimer = ctx.db.keyspace().reclaimer();
        flushed.into_iter().for_each(|flushed| flushed.leave_to(reclaimer));
    }
    ctx.reply.ok();
    Outcome::Done
}

/// A flush that waits for its memory to be free.
struct Freeing(Vec<Flushed>);

impl Slices for Freeing {
    fn step(&mut self, ctx: &mut Context<'_>) -> bool {
        while self.0.last_mut().is_some_and(Flushed::free_some) {
            self.0.pop();
        }
        if self.0.is_empty() {
            ctx.reply.ok();
            ctx.touch_all_own(); // what a client tells itself comes behind its reply
        }
        self.0.is_empty()
    }
}

/// `SWAPDB index1 index2`
///
/// Replies OK; clients of one database see the other's keys from now on. O(shards).
fn swapdb<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let first = read_index(args, "ERR invalid first DB index")?;
    let second = read_index(args, "ERR invalid second DB index")?;
    args.finish()?;
    let databases = ctx.db.keyspace().databases();
    let index = |number: i32| usize::try_from(number).ok().filter(|index| *index < databases);
    let (first, second) = index(first).zip(index(second)).ok_or(CommandError::DbIndex)?;
    ctx.db.swap(first, second);
    ctx.dirty += 1;
    ctx.touch_awaited(first);
    ctx.touch_awaited(second);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

fn read_index(args: &mut Args<'_>, error: &'static str) -> Result<i32, CommandError> {
    let number = args.integer_or(CommandError::text(error))?;
    i32::try_from(number).map_err(|_| CommandError::text(error))
}

/// `TIME`
///
/// Replies Unix time: the seconds, and the microseconds beyond them. To a script or transaction time stands still. O(1).
fn time<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let now_us = match ctx.blocking {
        Blocking::Refused => *ctx.session.frozen_us.get_or_insert_with(unix_us),
        _ => unix_us(),
    };
    ctx.reply.array(2);
    ctx.reply.bulk_integer(now_us.div_euclid(1_000_000));
    ctx.reply.bulk_integer(now_us.rem_euclid(1_000_000));
    Ok(Outcome::Done)
}

/// `ROLE`
///
/// Replies that this is a primary, at offset 0, without replicas. O(1).
fn role<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.reply.array(3);
    ctx.reply.bulk(b"master");
    ctx.reply.integer(0);
    ctx.reply.array(0);
    Ok(Outcome::Done)
}

/// `LOLWUT [VERSION version] [number ...]`
///
/// Replies a picture and the version. The numbers, which shape Valkey's pictures, are checked and change nothing. O(1).
fn lolwut<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let mut version = 9;
    if args.remaining() >= 2 && args.word("VERSION") {
        version = args.integer()?;
    }
    check_picture(version, args)?;
    let own = env!("CARGO_PKG_VERSION");
    let text = format!("{SHELF}Redis ver. {REDIS_VERSION}, larder ver. {own}\n");
    ctx.reply.verbatim(*b"txt", text.as_bytes());
    Ok(Outcome::Done)
}

/// The arguments that Valkey's picture of this version takes: integers of any number for old ones, of which it reads the
/// first ones; none, two or four for its own; anything for versions without a picture.
fn check_picture(version: i64, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (integers, floats) = match (version, args.remaining()) {
        (5, given) => (given.min(3), 0),
        (6, given) => (given.min(2), 0),
        (9, 0) => (0, 0),
        (9, 2) => (2, 0),
        (9, 4) => (2, 2),
        (9, _) => return Err(CommandError::text("ERR Syntax error. Use: LOLWUT [columns rows] [real imaginary]")),
        _ => (0, 0),
    };
    for _ in 0..integers {
        args.integer()?;
    }
    for _ in 0..floats {
        number::parse_f64(args.bytes()?).ok_or(CommandError::NotFloat)?;
    }
    Ok(())
}
