//! Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Between MULTI and EXEC dispatch queues what a client sends; EXEC runs it on locks that cover all of it, so that a
//! transaction is one step for every other client. A command that fails does not end it: the others run, as in Redis.

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::run::Nested;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec, Outcome, Scope};
use crate::call::transaction::Transaction;
use crate::keyspace::attention::Listener;
use crate::protocol::batch::OwnedRequest;
use crate::protocol::reply::Output;
use std::sync::atomic::Ordering::Relaxed;

/// The rows of the group.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "discard",
        arity: 1,
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::ALLOW_BUSY),
        categories: Categories::TRANSACTION,
        at_once: true,
        since: "2.0.0",
        group: Group::Transactions,
        summary: "Forgets the queued commands of a transaction.",
        complexity: "O(N), N being the number of queued commands and watched keys.",
        run: discard,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "exec",
        arity: 1,
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::SKIP_SLOWLOG),
        categories: Categories::TRANSACTION,
        scope: Scope::Transaction,
        at_once: true,
        since: "1.2.0",
        group: Group::Transactions,
        summary: "Runs the queued commands of a transaction.",
        complexity: "That of the commands.",
        run: exec,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "multi",
        arity: 1,
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::NO_MULTI)
            .and(Flags::ALLOW_BUSY),
        categories: Categories::TRANSACTION,
        at_once: true,
        since: "1.2.0",
        group: Group::Transactions,
        summary: "Begins a transaction.",
        complexity: "O(1)",
        run: multi,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "unwatch",
        arity: 1,
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::ALLOW_BUSY),
        categories: Categories::TRANSACTION,
        since: "2.2.0",
        group: Group::Transactions,
        summary: "Forgets which keys are watched.",
        complexity: "O(N), N being the number of watched keys.",
        run: unwatch,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "watch",
        arity: -2,
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::NO_MULTI)
            .and(Flags::ALLOW_BUSY),
        categories: Categories::TRANSACTION,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO)],
        at_once: true,
        since: "2.2.0",
        group: Group::Transactions,
        summary: "Watches keys: a transaction runs only if none of them has changed.",
        complexity: "O(N), N being the number of keys.",
        syntax: "key:key#0...",
        run: watch,
        ..CommandSpec::DEFAULT
    },
];

/// `MULTI`
///
/// What follows is queued until EXEC or DISCARD. Dispatch refuses it inside a transaction. O(1).
fn multi<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.session.transaction = Some(Box::default());
    ctx.session.client.queued.store(0, Relaxed);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `DISCARD`
///
/// Forgets what was queued, and the watches. O(commands + watched keys).
fn discard<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    if ctx.session.transaction.is_none() {
        return Err(CommandError::text("ERR DISCARD without MULTI"));
    }
    ctx.session.discard(ctx.shared);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `WATCH key [key ...]`
///
/// EXEC answers null, and runs nothing, if one of the keys changes before it. A key that has expired by now is one that is
/// not there. O(keys).
fn watch<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let mut keys = Vec::new();
    while args.remaining() > 0 {
        keys.push(args.key()?);
    }
    args.finish()?;
    let (db, attention) = (ctx.session.db, ctx.shared.keyspace.attention());
    let watch = ctx.session.watch.get_or_insert_with(|| {
        attention.enter(Listener::Watching);
        Box::default()
    });
    for key in keys {
        if watch.add(db, key.bytes) {
            ctx.db.peek(key); // takes out what has expired: that it goes later is no change
            ctx.db.watch(key, &watch.mark);
        }
    }
    ctx.session.client.watched.store(watch.len(), Relaxed);
    ctx.session.client.watched_bytes.store(watch.memory_bytes(), Relaxed);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `UNWATCH`
///
/// Ends all watches. O(watched keys).
fn unwatch<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.session.unwatch(ctx.shared);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `EXEC`
///
/// Replies the array of the commands' replies; null when a watched key has changed, and an error when a command was refused
/// while it was queued: then nothing runs. The cost is that of the commands.
fn exec<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let Some(transaction) = ctx.session.transaction.take() else {
        return Err(CommandError::text("ERR EXEC without MULTI"));
    };
    ctx.session.client.queued.store(-1, Relaxed);
    ctx.session.client.queued_bytes.store(0, Relaxed);
    ctx.session.frozen_us = None;
    ctx.replaced = true; // its commands are logged, not itself
    if transaction.refused {
        ctx.session.unwatch(ctx.shared); // no shard is locked for a transaction that is not going to run
        return Err(CommandError::text("EXECABORT Transaction discarded because of previous errors."));
    }
    if end_watch(ctx) {
        ctx.reply.null_array();
    } else if !run_queued(ctx, &transaction) {
        return Ok(Outcome::Overflow);
    }
    Ok(Outcome::Done)
}

/// Ends all watches, on the locks of their shards; whether one of the keys has changed.
fn end_watch(ctx: &mut Context<'_>) -> bool {
    let Some(watch) = ctx.session.watch.take() else { return false };
    for (db, key) in watch.keys() {
        let key = ctx.shared.key(key);
        ctx.db.peek_in(db, key); // one that has expired meanwhile has changed
        ctx.db.unwatch(db, key, &watch.mark);
    }
    ctx.session.note_unwatched(ctx.shared);
    watch.is_broken()
}

/// Runs all of them. `false` when the replies are more than may wait for the client: then they are dropped, but all has run.
fn run_queued(ctx: &mut Context<'_>, transaction: &Transaction) -> bool {
    let (mut out, mark, most, mut fits) = (Output::new(), ctx.reply.output().mark(), most_bytes(ctx), true);
    ctx.reply.array(transaction.queued.len());
    for request in &transaction.queued {
        run_one(ctx, request, &mut out);
        fits &= ctx.reply.output().len() + out.len() <= most;
        if fits {
            out.move_rest_to(ctx.reply.output());
        } else {
            out.clear();
            ctx.reply.output().truncate_to(mark);
        }
    }
    fits
}

/// Bytes of replies that may yet wait for the client.
fn most_bytes(ctx: &Context<'_>) -> usize {
    let client = &ctx.session.client;
    match ctx.shared.config.output_limits(client.class()).hard_bytes {
        0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(client.output_bytes.load(Relaxed)),
    }
}

fn run_one(ctx: &mut Context<'_>, request: &OwnedRequest, out: &mut Output) {
    let (Ok(command), first_arg) = ctx.shared.commands.resolve(request.view()) else { return };
    ctx.run_nested(
        Nested { command, first_arg, request: request.view(), resp: ctx.session.resp, by_script: false },
        out,
    );
}
