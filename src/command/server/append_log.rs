//! BGREWRITEAOF and WAITAOF: what clients ask of the append-only file.
//!
//! Must not know: how it is written. Source: the replies of Valkey 9.1.

use crate::call::append_log::{Task, write_acknowledged};
use crate::call::args::Args;
use crate::call::blocking::OnTimeout;
use crate::call::context::{Blocking, Context};
use crate::call::error::CommandError;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, Outcome};
use crate::protocol::batch::OwnedRequest;

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "bgrewriteaof",
        arity: 1,
        flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_ASYNC_LOADING),
        since: "1.0.0",
        group: Group::Server,
        summary: "Rewrites the append-only file in the background.",
        complexity: "O(1) for whoever asks",
        run: bgrewriteaof,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "waitaof",
        arity: 4,
        flags: Flags::BLOCKING,
        categories: Categories::CONNECTION,
        since: "7.2.0",
        group: Group::Generic,
        summary: "Waits until what this client has written is synced in the append-only file.",
        complexity: "O(1)",
        syntax: "numlocal:integer numreplicas:integer timeout:integer",
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        run: waitaof,
        ..CommandSpec::DEFAULT
    },
];

/// `BGREWRITEAOF`
///
/// Replies at once that the rewrite has been started, or that it will be when the snapshot in flight is over.
fn bgrewriteaof<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let shared = ctx.shared;
    let mut report = shared.append_log.report();
    if report.rewriting {
        return Err(CommandError::text("ERR Background append only file rewriting already in progress"));
    }
    let scheduled = shared.keyspace.is_cutting() || ctx.blocking == Blocking::Refused;
    let asked = std::mem::replace(&mut report.scheduled, scheduled);
    report.rewriting = !scheduled;
    let task = Task::Rewrite(shared.append_log.wish());
    drop(report);
    if !asked {
        shared.append_log.ask(task);
    }
    let what = if scheduled { "scheduled" } else { "started" };
    ctx.reply.simple(&format!("Background append only file rewriting {what}"));
    Ok(Outcome::Done)
}

/// `WAITAOF numlocal numreplicas timeout`
///
/// Replies whether everything that was in the log before is synced here (0 or 1), and on how many replicas. Waits for that, at
/// most `timeout` milliseconds, 0 for ever.
fn waitaof<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    const LOCAL: CommandError = CommandError::text("ERR value is out of range, value must between 0 and 1");
    const POSITIVE: CommandError = CommandError::text("ERR value is out of range, must be positive");
    let local = args.integer()?;
    if !(0..=1).contains(&local) {
        return Err(LOCAL);
    }
    let replicas = args.integer_or(POSITIVE)?;
    if replicas < 0 {
        return Err(POSITIVE);
    }
    let timeout = args.timeout_ms()?;
    let log = &ctx.shared.append_log;
    if local == 1 && !log.is_on() && !log.is_beginning() {
        let text = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
        return Err(CommandError::text(text));
    }
    let position = log.log.appended();
    let synced = log.is_on() && log.durable() >= position;
    if (replicas == 0 && (local == 0 || synced)) || ctx.blocking != Blocking::Allowed {
        write_acknowledged(synced, &mut ctx.reply);
        return Ok(Outcome::Done);
    }
    let outcome = ctx.block_as(OwnedRequest::new(), &[], timeout, OnTimeout::Acknowledged)?;
    if let Outcome::Block(blocked) = &outcome
        && (log.is_on() || log.is_beginning())
    {
        log.wait_for_sync(position.max(1), std::sync::Arc::clone(blocked), replicas == 0);
    }
    Ok(outcome)
}
