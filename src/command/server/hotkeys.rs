//! HOTKEYS: which keys take the most processor time and network bytes, and which are asked for most.
//!
//! START, STOP and what GET replies while there is a session are those of Redis 8.6. Without a session GET replies null as
//! there, or, where `hotkeys-top-k` is not 0, the list of Valkey's HOTKEYS, from the samples that are always taken. Must
//! not know: how anything is counted.

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::help::help;
use crate::call::hot::{Report, Wanted};
use crate::call::spec::{CommandSpec, Flags, Group, Outcome};
use crate::protocol::reply::Reply;

const FLAGS: Flags = Flags::ADMIN.and(Flags::NOSCRIPT);

/// Keys in a report when the session was not told how many.
const DEFAULT_COUNT: usize = 10;

const MAX_COUNT: i64 = 64;

const MAX_DURATION_S: i64 = 1_000_000;

/// The last hash slot: all are looked at.
const LAST_SLOT: i64 = 16_383;

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    name: "hotkeys",
    arity: -2,
    since: "8.6.0",
    group: Group::Server,
    summary: "Commands about hot keys.",
    complexity: "Depends on the subcommand.",
    subcommands: &[
        CommandSpec {
            name: "get",
            arity: 2,
            flags: FLAGS,
            since: "8.6.0",
            group: Group::Server,
            summary: "Shows the keys that took most.",
            complexity: "O(K) with K being the number of keys shown.",
            run: hotkeys_get,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "help",
            arity: 2,
            flags: Flags::LOADING.and(Flags::STALE),
            since: "8.6.0",
            group: Group::Server,
            summary: "Lists the subcommands of HOTKEYS.",
            complexity: "O(1)",
            run: hotkeys_help,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "reset",
            arity: 2,
            flags: FLAGS,
            since: "8.6.0",
            group: Group::Server,
            summary: "Forgets what was counted.",
            complexity: "O(1)",
            run: hotkeys_reset,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "start",
            arity: -2,
            flags: FLAGS,
            since: "8.6.0",
            group: Group::Server,
            summary: "Begins to count what each key takes.",
            complexity: "O(1)",
            syntax: "METRICS metrics(count:integer [cpu=CPU] [net=NET]) [COUNT k:integer] [DURATION seconds:integer] \
                     [SAMPLE ratio:integer]",
            run: hotkeys_start,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "stop",
            arity: 2,
            flags: FLAGS,
            since: "8.6.0",
            group: Group::Server,
            summary: "Ends counting; what was counted stays.",
            complexity: "O(1)",
            run: hotkeys_stop,
            ..CommandSpec::DEFAULT
        },
    ],
    ..CommandSpec::DEFAULT
}];

/// `HOTKEYS START METRICS count [CPU] [NET] [COUNT k] [DURATION seconds] [SAMPLE ratio]`
///
/// Replies OK; every command is looked at from now on, which costs some 200 ns each.
fn hotkeys_start<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    const BUSY: CommandError = CommandError::text("ERR hotkey tracking session already in progress");
    if ctx.shared.hot.report(ctx.now).is_some_and(|report| report.active) {
        return Err(BUSY);
    }
    let wanted = read_wanted(args)?;
    if !ctx.shared.hot.start(wanted, ctx.now) {
        return Err(BUSY);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

fn read_wanted(args: &mut Args<'_>) -> Result<Wanted, CommandError> {
    let mut wanted = Wanted { count: DEFAULT_COUNT, ratio: 1, ..Wanted::default() };
    if args.remaining() < 2 || !args.word("METRICS") {
        return Err(CommandError::text("ERR METRICS parameter is required"));
    }
    read_metrics(args, &mut wanted)?;
    while args.remaining() > 0 {
        if args.remaining() > 1 && args.word("COUNT") {
            let count = within(args, 1, MAX_COUNT, "ERR COUNT must be between 1 and 64")?;
            wanted.count = usize::try_from(count).unwrap_or(DEFAULT_COUNT);
        } else if args.remaining() > 1 && args.word("DURATION") {
            wanted.duration_s = within(args, 1, MAX_DURATION_S, "ERR DURATION must be between 1 and 1000000")?;
        } else if args.remaining() > 1 && args.word("SAMPLE") {
            wanted.ratio = within(args, 1, i64::from(i32::MAX), "ERR SAMPLE ratio must be positive")?;
        } else if args.remaining() > 1 && args.word("SLOTS") {
            return Err(CommandError::text("ERR SLOTS parameter cannot be used in non-cluster mode"));
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(wanted)
}

/// The number of metrics and their names; as in Redis, unknown names count, for those who know more.
fn read_metrics(args: &mut Args<'_>, wanted: &mut Wanted) -> Result<(), CommandError> {
    let count = within(args, 1, 2, "ERR METRICS count must be > 0 and <= 2")?;
    for _ in 0..count {
        if args.remaining() == 0 {
            return Err(CommandError::text("ERR METRICS count does not match number of metric types provided"));
        }
        if args.word("CPU") {
            if std::mem::replace(&mut wanted.cpu, true) {
                return Err(CommandError::text("ERR METRICS CPU defined more than once!"));
            }
        } else if args.word("NET") {
            if std::mem::replace(&mut wanted.net, true) {
                return Err(CommandError::text("ERR METRICS NET defined more than once!"));
            }
        } else {
            args.bytes()?;
        }
    }
    if !wanted.cpu && !wanted.net {
        return Err(CommandError::text("ERR METRICS no valid metrics passed. Supported: CPU|NET"));
    }
    Ok(())
}

fn within(args: &mut Args<'_>, least: i64, most: i64, error: &'static str) -> Result<u32, CommandError> {
    let number = args.integer_or(CommandError::text(error))?;
    let number = Some(number).filter(|number| (least..=most).contains(number));
    number.and_then(|number| u32::try_from(number).ok()).ok_or_else(|| CommandError::text(error))
}

/// `HOTKEYS STOP`: OK, or null when nothing was being counted.
fn hotkeys_stop<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    if ctx.shared.hot.stop(ctx.now) {
        ctx.reply.ok();
    } else {
        ctx.reply.null();
    }
    Ok(Outcome::Done)
}

/// `HOTKEYS RESET`: OK; an error while a session is in progress. Forgets the samples too.
fn hotkeys_reset<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    if !ctx.shared.hot.reset(ctx.now) {
        return Err(CommandError::text("ERR hotkey tracking session in progress, stop tracking first"));
    }
    ctx.shared.hot.forget();
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `HOTKEYS GET`: what the session has counted, or what the samples tell; see the head of this file.
fn hotkeys_get<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let most = ctx.shared.config.hotkeys_top_k() as usize;
    match ctx.shared.hot.report(ctx.now) {
        Some(report) => write_report(&mut ctx.reply, &report),
        None if most == 0 => ctx.reply.null(),
        None => {
            let hottest = ctx.shared.hot.hottest(most);
            ctx.reply.array(hottest.len());
            for hot in hottest {
                ctx.reply.map(3);
                ctx.reply.bulk(b"key");
                ctx.reply.bulk(&hot.key);
                ctx.reply.bulk(b"db");
                ctx.reply.integer(i64::from(hot.db));
                ctx.reply.bulk(b"qps");
                ctx.reply.integer(hot.per_second.cast_signed());
            }
        }
    }
    Ok(Outcome::Done)
}

/// One report, in an array because a client of a cluster gathers those of all nodes.
fn write_report(reply: &mut Reply<'_>, report: &Report) {
    let wanted = report.wanted;
    reply.array(1);
    reply.map(7 + 3 * usize::from(wanted.cpu) + 2 * usize::from(wanted.net));
    let number = |reply: &mut Reply<'_>, name: &str, value: i64| {
        reply.bulk(name.as_bytes());
        reply.integer(value);
    };
    number(reply, "tracking-active", i64::from(report.active));
    number(reply, "sample-ratio", i64::from(wanted.ratio));
    reply.bulk(b"selected-slots");
    reply.array(1);
    reply.array(2);
    reply.integer(0);
    reply.integer(LAST_SLOT);
    number(reply, "all-commands-all-slots-us", (report.nanos / 1000).cast_signed());
    number(reply, "net-bytes-all-commands-all-slots", report.bytes.cast_signed());
    number(reply, "collection-start-time-unix-ms", report.started.0);
    number(reply, "collection-duration-ms", report.duration_ms);
    if wanted.cpu {
        number(reply, "total-cpu-time-user-ms", milliseconds(report.cpu_s.0));
        number(reply, "total-cpu-time-sys-ms", milliseconds(report.cpu_s.1));
    }
    if wanted.net {
        number(reply, "total-net-bytes", report.bytes.cast_signed());
    }
    if wanted.cpu {
        write_keys(reply, "by-cpu-time-us", &report.by_cpu);
    }
    if wanted.net {
        write_keys(reply, "by-net-bytes", &report.by_net);
    }
}

fn write_keys(reply: &mut Reply<'_>, name: &str, keys: &[(Vec<u8>, u64)]) {
    reply.bulk(name.as_bytes());
    reply.array(keys.len() * 2);
    for (key, weight) in keys {
        reply.bulk(key);
        reply.integer(weight.cast_signed());
    }
}

#[expect(clippy::cast_possible_truncation, reason = "some processor time in milliseconds; `as` saturates")]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

/// `HOTKEYS HELP`.
fn hotkeys_help<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    help(
        &mut ctx.reply,
        "HOTKEYS",
        &[
            "GET",
            "    Show the hottest keys: of the session, or where there is none of the last ten seconds.",
            "RESET",
            "    Forget what was counted. A session must have ended.",
            "START METRICS <count> [CPU] [NET] [COUNT <k>] [DURATION <seconds>] [SAMPLE <ratio>]",
            "    Begin a session that counts processor time and network bytes of each key.",
            "STOP",
            "    End the session. GET shows it until RESET.",
        ],
    );
    Ok(Outcome::Done)
}
