//! DEBUG: what test suites and those who look for faults need. Refused unless `enable-debug-command` allows it.
//!
//! Its subcommands have no rows: COMMAND knows the one command DEBUG, and a wrong number of arguments is answered like an
//! unknown subcommand. They declare no keys, so each locks what it looks at itself. Subcommands that would stop the server
//! on purpose are refused. Must not know: sockets.

mod digest;
mod keys;
mod protocol;
mod reload;

use crate::call::append_log::Task;
use crate::call::args::Args;
use crate::call::blocking::OnTimeout;
use crate::call::context::{Blocking, Context};
use crate::call::error::CommandError;
use crate::call::help::{help, unknown_or_arity};
use crate::call::shared::random_id;
use crate::call::spec::{CommandSpec, Flags, Group, Handler, Outcome, Scope};
use crate::config::units;
use crate::protocol::batch::OwnedRequest;
use crate::util::clock::Ticks;
use crate::util::number;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

/// The row.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    name: "debug",
    arity: -2,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    since: "1.0.0",
    group: Group::Server,
    summary: "Commands for tests and for finding faults.",
    complexity: "Depends on the subcommand.",
    internal: true,
    scope: Scope::WalkServer,
    run: debug,
    ..CommandSpec::DEFAULT
}];

/// A subcommand: its name, how few and how many arguments follow it, its handler.
struct Subcommand(&'static str, usize, usize, Handler);

/// Any number of arguments.
const ANY: usize = usize::MAX;

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand("HELP", 0, 0, debug_help),
    Subcommand("AOF-FLUSH-SLEEP", 1, 1, aof_flush_sleep),
    Subcommand("CHANGE-REPL-ID", 0, 0, change_repl_id),
    Subcommand("DIGEST", 0, 0, digest::dataset),
    Subcommand("DIGEST-VALUE", 0, ANY, digest::values),
    Subcommand("ERROR", 1, 1, error),
    Subcommand("HTSTATS", 1, ANY, keys::htstats),
    Subcommand("HTSTATS-KEY", 1, ANY, keys::htstats_key),
    Subcommand("LISTPACK", 1, 1, keys::listpack),
    Subcommand("LOADAOF", 0, 0, load_aof),
    Subcommand("LOG", 1, 1, log),
    Subcommand("OBJECT", 1, 2, keys::object),
    Subcommand("PAUSE-CRON", 1, 1, pause_cron),
    Subcommand("POPULATE", 1, 3, keys::populate),
    Subcommand("PROTOCOL", 1, 1, protocol::protocol),
    Subcommand("QUICKLIST", 1, 2, keys::quicklist),
    Subcommand("QUICKLIST-PACKED-THRESHOLD", 1, 1, packed_threshold),
    Subcommand("RELOAD", 0, ANY, reload::reload),
    Subcommand("REPLYBUFFER", 2, 2, reply_buffer),
    Subcommand("SDSLEN", 1, 1, keys::sdslen),
    Subcommand("SET-ACTIVE-EXPIRE", 1, 1, set_active_expire),
    Subcommand("SET-DISABLE-DENY-SCRIPTS", 1, 1, set_disable_deny_scripts),
    Subcommand("SET-SKIP-CHECKSUM-VALIDATION", 1, 1, set_skip_checksums),
    Subcommand("SLEEP", 1, 1, sleep),
    Subcommand("STRUCTSIZE", 0, 0, struct_size),
    // Switches of what larder does not have: nothing happens either way, so that "OK" is the whole truth.
    Subcommand("CLIENT-ENFORCE-REPLY-LIST", 1, 1, nothing_to_switch), // one kind of output buffer
    Subcommand("CLOSE-CLUSTER-LINK-ON-PACKET-DROP", 1, 1, nothing_to_switch), // no cluster bus
    Subcommand("DELAY-RDB-CLIENT-FREE-SECONDS", 1, 1, nothing_to_switch), // no replicas
    Subcommand("DICT-RESIZING", 1, 1, nothing_to_switch),             // the table is never resized as a whole
    Subcommand("DISABLE-CLUSTER-RANDOM-PING", 1, 1, nothing_to_switch), // no cluster bus
    Subcommand("DISABLE-CLUSTER-RECONNECTION", 1, 1, nothing_to_switch), // no cluster bus
    Subcommand("DROP-CLUSTER-PACKET-FILTER", 1, 1, nothing_to_switch), // no cluster bus
    Subcommand("FORCE-FREE-PRIMARY-ASYNC", 1, 1, nothing_to_switch),  // no replicas
    Subcommand("HASHTABLE-CAN-ABORT-SHRINK", 1, 1, nothing_to_switch), // the table is never resized as a whole
    Subcommand("PAUSE-AFTER-FORK", 1, 1, nothing_to_switch),          // never forks
    // Refused.
    Subcommand("ASSERT", 0, ANY, refused_crash),
    Subcommand("CRASH-AND-RECOVER", 0, ANY, refused_crash),
    Subcommand("LEAK", 1, 1, refused_crash),
    Subcommand("OOM", 0, ANY, refused_crash),
    Subcommand("PANIC", 0, ANY, refused_crash),
    Subcommand("RESTART", 0, ANY, refused_crash),
    Subcommand("SEGFAULT", 0, ANY, refused_crash),
    Subcommand("CLIENT-EVICTION", 0, 0, refused_eviction),
    Subcommand("CLUSTERLINK", 1, ANY, refused_cluster),
    Subcommand("FORCE-TLS-WRITE-ERROR", 1, 1, refused_tls),
    Subcommand("REPLICATE", 1, ANY, refused_replication),
];

/// Those that lock what they look at themselves, and would wait for ever for the transaction that they are in.
const LOCKING: &[&str] =
    &["DIGEST-VALUE", "HTSTATS-KEY", "LISTPACK", "OBJECT", "POPULATE", "QUICKLIST", "RELOAD", "SDSLEN"];

/// `DEBUG subcommand [argument ...]`
fn debug<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    if !ctx.shared.config.enable_debug_command().allows(ctx.session.client.is_local()) {
        const TEXT: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you \
                            can run it from a local connection, otherwise you need to set this option in the \
                            configuration file, and then restart the server.";
        return Err(CommandError::text(TEXT));
    }
    let name = args.bytes()?;
    let known = SUBCOMMANDS.iter().find(|known| known.0.as_bytes().eq_ignore_ascii_case(name));
    match known {
        Some(Subcommand(name, ..)) if ctx.blocking == Blocking::Refused && LOCKING.contains(name) => {
            let text = format!("ERR DEBUG {name} locks what it looks at, which a transaction has locked already");
            Err(text.into())
        }
        Some(Subcommand(_, least, most, run)) if (*least..=*most).contains(&args.remaining()) => run(ctx, args),
        _ => Err(unknown_or_arity("DEBUG", name)),
    }
}

fn done(ctx: &mut Context<'_>) -> Result<Outcome, CommandError> {
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// A switch as C's `atoi` reads it: whatever is no number is off.
fn switch(args: &mut Args<'_>) -> Result<bool, CommandError> {
    Ok(number::parse_i64(args.bytes()?).unwrap_or(0) != 0)
}

/// The longest that SLEEP sleeps.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// How often a sleeper looks whether the server is to stop.
const SLEEP_STEP: Duration = Duration::from_millis(10);

/// `DEBUG SLEEP seconds`: its worker does nothing else meanwhile, as the whole server does in Redis; other workers go on.
fn sleep<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let seconds = number::parse_f64_lenient(args.bytes()?).filter(|seconds| *seconds > 0.0).unwrap_or(0.0);
    let length = Duration::try_from_secs_f64(seconds).unwrap_or(SLEEP_MAX).min(SLEEP_MAX);
    let started = Ticks::now();
    while !ctx.shared.shutdown.requested.load(Acquire) {
        let slept = Duration::from_nanos(Ticks::now().nanos_since(started));
        let Some(rest) = length.checked_sub(slept).filter(|rest| !rest.is_zero()) else { break };
        std::thread::sleep(rest.min(SLEEP_STEP));
    }
    done(ctx)
}

/// `DEBUG SET-ACTIVE-EXPIRE 0|1`: whether expired keys are reclaimed before somebody looks at them.
fn set_active_expire<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    ctx.shared.active_expire.store(switch(args)?, Relaxed);
    done(ctx)
}

/// `DEBUG AOF-FLUSH-SLEEP microseconds`: whoever writes the append-only file sleeps before each write.
fn aof_flush_sleep<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let us = number::parse_i64(args.bytes()?).and_then(|us| u64::try_from(us).ok()).unwrap_or(0);
    ctx.shared.append_log.flush_sleep_us.store(us, Relaxed);
    done(ctx)
}

/// `DEBUG LOADAOF`: empties everything and loads the append-only file. Others are told meanwhile that data is being loaded.
fn load_aof<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    if ctx.blocking != Blocking::Allowed {
        return Err(CommandError::text("ERR DEBUG LOADAOF is not possible in a transaction"));
    }
    let outcome = ctx.block_as(OwnedRequest::new(), &[], None, OnTimeout::Null)?;
    if let Outcome::Block(blocked) = &outcome {
        ctx.shared.append_log.ask(Task::Load(Arc::clone(blocked)));
    }
    Ok(outcome)
}

/// `DEBUG SET-SKIP-CHECKSUM-VALIDATION 0|1`: whether RESTORE and RELOAD take bytes whose checksum is wrong.
fn set_skip_checksums<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    ctx.shared.loading.skip_checksums.store(switch(args)?, Relaxed);
    done(ctx)
}

/// `DEBUG PAUSE-CRON 0|1`: whether what the server does by the clock stands still.
fn pause_cron<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    ctx.shared.cron_paused.store(switch(args)?, Relaxed);
    done(ctx)
}

/// `DEBUG CHANGE-REPL-ID`
fn change_repl_id<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    *ctx.shared.replication.id.lock() = random_id();
    done(ctx)
}

/// `DEBUG LOG message`
fn log<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    // A line end would let a client forge lines of the log.
    let message = String::from_utf8_lossy(args.bytes()?).replace(char::is_control, " ");
    tracing::warn!("DEBUG LOG: {message}");
    done(ctx)
}

/// `DEBUG ERROR text`: replies that error.
fn error<'a>(_: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    Err(CommandError::Bytes(args.bytes()?.to_vec()))
}

/// `DEBUG STRUCTSIZE`: bytes of what there is many of.
fn struct_size<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (client, session) = (size_of::<crate::call::clients::Client>(), size_of::<crate::call::session::Session>());
    let handle = size_of::<bytes::Bytes>();
    let text = format!("bits:{} client:{client} session:{session} largestring:{handle} ", usize::BITS);
    ctx.reply.bulk(text.as_bytes());
    Ok(Outcome::Done)
}

fn nothing_to_switch<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    done(ctx)
}

/// `DEBUG SET-DISABLE-DENY-SCRIPTS 0`: it is always so. A script holds locks, for which commands denied to it would wait.
fn set_disable_deny_scripts<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    match args.bytes()? {
        b"0" => done(ctx),
        _ => Err(CommandError::text("ERR Commands that are denied to scripts cannot be allowed on this server")),
    }
}

/// `DEBUG QUICKLIST-PACKED-THRESHOLD size`: checked as in Redis; there are no quicklists to apply it to.
fn packed_threshold<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    const TEXT: &str = "ERR argument must be a memory value bigger than 1 and smaller than 4gb";
    match units::memory(args.bytes()?) {
        Some(bytes) if bytes < 1 << 32 => done(ctx),
        _ => Err(CommandError::text(TEXT)),
    }
}

/// `DEBUG REPLYBUFFER PEAK-RESET-TIME NEVER|RESET|milliseconds` or `RESIZING 0|1`: larder's output buffers are shared by
/// the clients of a worker, so that there is no peak of one client to reset and nothing to resize.
fn reply_buffer<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    if args.word("PEAK-RESET-TIME") {
        if !args.word("NEVER") && !args.word("RESET") {
            args.integer()?;
        }
        return done(ctx);
    }
    if args.word("RESIZING") { done(ctx) } else { Err(unknown_or_arity("DEBUG", b"REPLYBUFFER")) }
}

fn refused_replication<'a>(_: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    Err(CommandError::text("ERR larder has no replicas yet"))
}

fn refused_crash<'a>(_: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    Err(CommandError::text("ERR larder has no subcommand that stops or damages the server"))
}

fn refused_cluster<'a>(_: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    Err(CommandError::text("ERR Debug option only available for cluster mode enabled setup!"))
}

fn refused_eviction<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    Err(CommandError::text(match ctx.shared.config.maxmemory_clients() {
        0 => "ERR maxmemory-clients is disabled.",
        _ => "ERR larder does not evict clients yet",
    }))
}

fn refused_tls<'a>(_: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    Err(CommandError::text("ERR TLS is not enabled"))
}

const HELP: &[&str] = &[
    "CHANGE-REPL-ID",
    "    Take a new replication id.",
    "DIGEST",
    "    Show a digest of all data: equal data, equal digest, here and in Redis.",
    "DIGEST-VALUE [<key> ...]",
    "    Show digests of the values of the keys.",
    "ERROR <text>",
    "    Reply the error <text>.",
    "HTSTATS <database> [full]",
    "    Describe the table of a database.",
    "LOG <message>",
    "    Write <message> to the log.",
    "OBJECT <key> [fast]",
    "    Describe how the value of <key> is held.",
    "PAUSE-CRON <0|1>",
    "    Stop (1) or resume (0) what the server does by the clock.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Create keys <prefix>:<number> (key:<number>) with values of <size> bytes.",
    "PROTOCOL <type>",
    "    Reply a sample of <type>: string, integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
    "    true or false.",
    "RELOAD [NOSAVE|NOFLUSH|MERGE ...]",
    "    Save the data and load it, or (NOSAVE) load the snapshot that is there; NOFLUSH keeps the data that is there,",
    "    MERGE lets the snapshot's keys replace keys that are there.",
    "SDSLEN <key>",
    "    Show lengths of <key> and its value.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Whether expired keys are reclaimed before somebody looks at them.",
    "SET-DISABLE-DENY-SCRIPTS <0>",
    "    Scripts call no commands that are denied to them; that cannot be switched off.",
    "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
    "    Whether RESTORE and RELOAD take bytes whose checksum is wrong.",
    "SLEEP <seconds>",
    "    Let this client's worker do nothing for <seconds>.",
    "STRUCTSIZE",
    "    Show sizes of data structures.",
    "AOF-FLUSH-SLEEP, CLIENT-ENFORCE-REPLY-LIST, DELAY-RDB-CLIENT-FREE-SECONDS, DICT-RESIZING,",
    "HASHTABLE-CAN-ABORT-SHRINK, PAUSE-AFTER-FORK, QUICKLIST-PACKED-THRESHOLD, REPLYBUFFER",
    "    Accepted without effect: larder has nothing for them to switch.",
];

/// `DEBUG HELP`
fn debug_help<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    help(&mut ctx.reply, "DEBUG", HELP);
    Ok(Outcome::Done)
}
