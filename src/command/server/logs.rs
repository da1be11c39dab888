//! SLOWLOG and COMMANDLOG: the commands that took long, and those with large requests or replies.
//!
//! Must not know: how commands get into the logs; dispatch enters them.

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::help::{help, unknown_or_arity};
use crate::call::logs::{LogEntry, LogKind};
use crate::call::spec::{Categories, CommandSpec, Flags, Group, Outcome};
use crate::protocol::reply::Reply;
use crate::util::number;

const LOG_FLAGS: Flags = Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE);
const HELP_FLAGS: Flags = Flags::LOADING.and(Flags::STALE);
const TYPE: &str = "type<slow=SLOW|large-request=LARGE-REQUEST|large-reply=LARGE-REPLY>";

/// Entries that SLOWLOG GET shows when it is not told how many.
const DEFAULT_COUNT: usize = 10;

const BAD_COUNT: CommandError = CommandError::text("ERR count should be greater than or equal to -1");
const BAD_TYPE: CommandError =
    CommandError::text("ERR type should be one of the following: slow, large-request, large-reply");

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "slowlog",
        arity: -2,
        flags: Flags::NONE,
        categories: Categories::NONE,
        since: "2.2.12",
        group: Group::Server,
        summary: "Commands about the log of slow commands.",
        complexity: "Depends on the subcommand.",
        subcommands: &[
            CommandSpec {
                name: "get",
                arity: -2,
                flags: LOG_FLAGS,
                since: "2.2.12",
                group: Group::Server,
                summary: "Shows the newest slow commands.",
                complexity: "O(N) with the number of entries shown.",
                syntax: "[count:integer]",
                tips: &["request_policy:all_nodes", "nondeterministic_output"],
                history: &[("4.0.0", "Entries hold the client's address and name.")],
                run: slowlog_get,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "help",
                arity: 2,
                flags: HELP_FLAGS,
                since: "6.2.0",
                group: Group::Server,
                summary: "Lists the subcommands of SLOWLOG.",
                complexity: "O(1)",
                run: slowlog_help,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "len",
                arity: 2,
                flags: LOG_FLAGS,
                since: "2.2.12",
                group: Group::Server,
                summary: "Counts the entries of the slow log.",
                complexity: "O(1)",
                tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
                run: slowlog_len,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "reset",
                arity: 2,
                flags: LOG_FLAGS,
                since: "2.2.12",
                group: Group::Server,
                summary: "Empties the slow log.",
                complexity: "O(N) with the number of entries.",
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                run: slowlog_reset,
                ..CommandSpec::DEFAULT
            },
        ],
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "commandlog",
        arity: -2,
        flags: Flags::NONE,
        categories: Categories::NONE,
        since: "8.1.0",
        group: Group::Server,
        summary: "Commands about the logs of slow commands, large requests and large replies.",
        complexity: "Depends on the subcommand.",
        subcommands: &[
            CommandSpec {
                name: "get",
                arity: 4,
                flags: LOG_FLAGS,
                since: "8.1.0",
                group: Group::Server,
                summary: "Shows the newest entries of one log.",
                complexity: "O(N) with the number of entries shown.",
                syntax: "count:integer type<slow=SLOW|large-request=LARGE-REQUEST|large-reply=LARGE-REPLY>",
                tips: &["request_policy:all_nodes", "nondeterministic_output"],
                run: commandlog_get,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "help",
                arity: 2,
                flags: HELP_FLAGS,
                since: "8.1.0",
                group: Group::Server,
                summary: "Lists the subcommands of COMMANDLOG.",
                complexity: "O(1)",
                run: commandlog_help,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "len",
                arity: 3,
                flags: LOG_FLAGS,
                since: "8.1.0",
                group: Group::Server,
                summary: "Counts the entries of one log.",
                complexity: "O(1)",
                syntax: TYPE,
                tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
                run: commandlog_len,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "reset",
                arity: 3,
                flags: LOG_FLAGS,
                since: "8.1.0",
                group: Group::Server,
                summary: "Empties one log.",
                complexity: "O(N) with the number of entries.",
                syntax: TYPE,
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                run: commandlog_reset,
                ..CommandSpec::DEFAULT
            },
        ],
        ..CommandSpec::DEFAULT
    },
];

/// `SLOWLOG GET [count]`: entries newest first; -1 shows all.
fn slowlog_get<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    if args.remaining() > 1 {
        return Err(unknown_or_arity("SLOWLOG", args.request().arg(1)));
    }
    let count = if args.remaining() == 0 { DEFAULT_COUNT } else { entry_count(args)? };
    show(ctx, LogKind::Slow, count)
}

/// `SLOWLOG LEN`.
fn slowlog_len<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    ctx.reply.count(ctx.shared.logs.len(LogKind::Slow));
    Ok(Outcome::Done)
}

/// `SLOWLOG RESET`.
fn slowlog_reset<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    ctx.shared.logs.reset(LogKind::Slow);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `COMMANDLOG GET count type`: as SLOWLOG GET, of any log.
fn commandlog_get<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let count = entry_count(args)?;
    let kind = log_kind(args)?;
    show(ctx, kind, count)
}

/// `COMMANDLOG LEN type`.
fn commandlog_len<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let kind = log_kind(args)?;
    ctx.reply.count(ctx.shared.logs.len(kind));
    Ok(Outcome::Done)
}

/// `COMMANDLOG RESET type`.
fn commandlog_reset<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    ctx.shared.logs.reset(log_kind(args)?);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// -1 is all of them.
fn entry_count(args: &mut Args<'_>) -> Result<usize, CommandError> {
    match number::parse_i64(args.bytes()?) {
        Some(-1) => Ok(usize::MAX),
        Some(count) => usize::try_from(count).map_err(|_| BAD_COUNT),
        None => Err(BAD_COUNT),
    }
}

fn log_kind(args: &mut Args<'_>) -> Result<LogKind, CommandError> {
    let kinds =
        [("slow", LogKind::Slow), ("large-request", LogKind::LargeRequest), ("large-reply", LogKind::LargeReply)];
    kinds.into_iter().find(|(name, _)| args.word(name)).map(|(_, kind)| kind).ok_or(BAD_TYPE)
}

fn show(ctx: &mut Context<'_>, kind: LogKind, count: usize) -> Result<Outcome, CommandError> {
    let entries = ctx.shared.logs.newest(kind, count);
    ctx.reply.array(entries.len());
    for entry in &entries {
        show_entry(&mut ctx.reply, entry);
    }
    Ok(Outcome::Done)
}

fn show_entry(reply: &mut Reply<'_>, entry: &LogEntry) {
    reply.array(6);
    reply.integer(i64::try_from(entry.id).unwrap_or(i64::MAX));
    reply.integer(entry.unix_s);
    reply.integer(entry.amount);
    reply.array(entry.args.len());
    for argument in &entry.args {
        reply.bulk(argument);
    }
    reply.bulk(entry.addr.as_bytes());
    reply.bulk(&entry.name);
}

/// `SLOWLOG HELP`.
fn slowlog_help<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    help(
        &mut ctx.reply,
        "SLOWLOG",
        &[
            "GET [<count>]",
            "    Show the newest <count> slow commands (10 when not given, all for -1), each as:",
            "    id, Unix time, microseconds, arguments, client address, client name.",
            "LEN",
            "    Show the number of entries.",
            "RESET",
            "    Remove all entries.",
        ],
    );
    Ok(Outcome::Done)
}

/// `COMMANDLOG HELP`.
fn commandlog_help<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    help(
        &mut ctx.reply,
        "COMMANDLOG",
        &[
            "GET <count> <type>",
            "    Show the newest <count> entries (all for -1) of the log <type>, each as:",
            "    id, Unix time, amount, arguments, client address, client name.",
            "    The amount is microseconds for slow, bytes for large-request and large-reply.",
            "LEN <type>",
            "    Show the number of entries of the log <type>.",
            "RESET <type>",
            "    Remove all entries of the log <type>.",
        ],
    );
    Ok(Outcome::Done)
}
