//! `CONFIG`: reading and changing the live configuration.
//!
//! Invariant: `CONFIG SET` changes all of its options or none. Most options are read wherever they matter, so that a
//! change needs no more; what does is put into effect here. Must not know: how values are read and printed. Source: the
//! replies of Valkey 9.1.

use crate::call::args::Args;
use crate::call::context::{Blocking, Context};
use crate::call::error::CommandError;
use crate::call::help::help;
use crate::call::notify;
use crate::call::open_files;
use crate::call::outside::CannotListen;
use crate::call::shared::Shared;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, Outcome, Scope};
use crate::config::{ChangedOption, Config, SetError};
use std::sync::atomic::Ordering::Relaxed;

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    name: "config",
    arity: -2,
    flags: Flags::NONE,
    categories: Categories::NONE,
    since: "2.0.0",
    group: Group::Server,
    summary: "Groups the commands about the configuration.",
    complexity: "That of the subcommand",
    subcommands: &[
        CommandSpec {
            name: "get",
            arity: -3,
            summary: "Reads options.",
            complexity: "O(N) with N being the number of patterns",
            syntax: "parameter:string...",
            history: &[("7.0.0", "Several patterns.")],
            run: config_get,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "help",
            arity: 2,
            flags: Flags::LOADING.and(Flags::STALE),
            since: "5.0.0",
            summary: "Lists the subcommands.",
            complexity: "O(1)",
            run: config_help,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "resetstat",
            arity: 2,
            summary: "Sets the counters that INFO shows to zero.",
            complexity: "O(N) with N being the number of counters",
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            scope: Scope::WalkServer,
            run: config_resetstat,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "rewrite",
            arity: 2,
            since: "2.8.0",
            summary: "Writes the live options to the configuration file.",
            complexity: "O(N) with N being the number of options",
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            run: config_rewrite,
            ..SUBCOMMAND
        },
        CommandSpec {
            name: "set",
            arity: -4,
            summary: "Changes options, all of those named or none.",
            complexity: "O(N) with N being the number of options",
            syntax: "data(parameter:string value:string)...",
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            history: &[("7.0.0", "Several options.")],
            run: config_set,
            ..SUBCOMMAND
        },
    ],
    ..CommandSpec::DEFAULT
}];

/// What the subcommands have in common.
const SUBCOMMAND: CommandSpec = CommandSpec {
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    since: "2.0.0",
    group: Group::Server,
    ..CommandSpec::DEFAULT
};

/// `CONFIG GET pattern [pattern ...]`
///
/// Replies a map of the options that any pattern matches and their values. O(patterns x options).
fn config_get<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let mut found = ctx.shared.config.matching(&rest(args)?);
    ctx.reply.map(found.len());
    found.sort(); // as Valkey 9.1 does
    for (name, value) in found {
        ctx.reply.bulk(name.as_bytes());
        ctx.reply.bulk(&value);
    }
    Ok(Outcome::Done)
}

/// Options that say which files are loaded: they stay as they are until that is done.
const SETTLED_BY_LOADING: [&str; 3] = ["appendonly", "dir", "repl-diskless-load"];

/// `CONFIG SET option value [option value ...]`
///
/// Replies OK. O(options).
fn config_set<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let words = rest(args)?;
    let (pairs, odd) = words.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(CommandError::Syntax);
    }
    let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|[name, value]| (*name, *value)).collect();
    let config = &ctx.shared.config;
    let waits = |name: &[u8]| SETTLED_BY_LOADING.iter().any(|option| name.eq_ignore_ascii_case(option.as_bytes()));
    if ctx.shared.loading.is_on() && pairs.iter().any(|(name, _)| waits(name)) {
        return Err(CommandError::Loading);
    }
    let changes =
        config.set_many_from(&pairs, ctx.session.client.is_local()).map_err(|error| refused(&error, &pairs))?;
    if let Err(error) = apply(ctx.shared, &changes) {
        config.undo(&changes);
        let _ = apply(ctx.shared, &changes); // what was in effect before was so without an error
        return Err(refused(&error, &pairs));
    }
    notify::attend(ctx.shared);
    ctx.shared.follow_budget();
    if ctx.blocking != Blocking::Refused {
        // Within a transaction the next turn of eviction does: it holds shards, for which others that evict wait.
        ctx.shared.keyspace.engine().follow(&ctx.shared.keyspace);
    }
    follow_log(ctx.shared, changes.iter().any(|change| change.name == "appendonly"));
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CONFIG RESETSTAT`
///
/// Replies OK. O(commands x workers + shards).
fn config_resetstat<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.shared.stats.reset();
    ctx.shared.history.clear();
    ctx.shared.scripts.cache.reset_evicted();
    ctx.shared.keyspace.reclaimer().stats().freed.store(0, Relaxed);
    ctx.db.reset_stats();
    ctx.shared.keyspace.engine().reset_exceeded();
    ctx.shared.saving.reset_stats();
    ctx.shared.append_log.reset_stats();
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CONFIG REWRITE`
///
/// Replies OK. Waits for the disk.
fn config_rewrite<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    match ctx.shared.config.rewrite() {
        Ok(()) => tracing::info!("CONFIG REWRITE executed with success."),
        Err(error) => {
            tracing::warn!("CONFIG REWRITE failed: {error}");
            return Err(format!("ERR {error}").into());
        }
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CONFIG HELP`
///
/// Replies an array of lines. O(1).
fn config_help<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    help(
        &mut ctx.reply,
        "CONFIG",
        &[
            "GET <pattern> [<pattern> ...]",
            "    Show the options whose names match a glob pattern.",
            "SET <option> <value> [<option> <value> ...]",
            "    Change options, all of them or none.",
            "RESETSTAT",
            "    Set the counters of INFO to zero.",
            "REWRITE",
            "    Write the live options to the configuration file.",
        ],
    );
    Ok(Outcome::Done)
}

fn rest<'a>(args: &mut Args<'a>) -> Result<Vec<&'a [u8]>, CommandError> {
    let mut words = Vec::with_capacity(args.remaining());
    while args.remaining() > 0 {
        words.push(args.bytes()?);
    }
    Ok(words)
}

/// The error reply; an unknown name is quoted in the bytes of the client, as far as a C string goes.
fn refused(error: &SetError, pairs: &[(&[u8], &[u8])]) -> CommandError {
    let text = format!("ERR {error}");
    let SetError::Unknown(shown) = error else { return text.into() };
    let given = pairs.iter().map(|(name, _)| *name).find(|name| String::from_utf8_lossy(name) == *shown);
    let given = given.and_then(|name| name.split(|byte| *byte == 0).next()).unwrap_or_default();
    let head = text.strip_suffix(&format!("{shown}'")).unwrap_or(&text);
    CommandError::Bytes([head.as_bytes(), given, b"'"].concat())
}

/// Puts into effect what the options say of the append-only file, which was `switched` on or off or stays as it was. Waits for the
/// disk when it is switched off.
fn follow_log(shared: &Shared, switched: bool) {
    let (log, on) = (&shared.append_log, shared.config.appendonly());
    if switched {
        call_off_rewrites(shared); // none is of use: the log begins with one of its own, or there is no log
    }
    log.follow(&shared.config);
    if on && !log.is_on() && !shared.loading.is_on() {
        let mut report = log.report();
        if report.since.is_none() {
            report.scheduled = shared.saving.running().is_some();
            report.rewriting = !report.scheduled;
        }
        drop(report);
        log.keeping.ring();
    } else if !on && log.is_on() {
        if let Err(fault) = log.stop(shared, shared.keyspace.attention()) {
            tracing::warn!("The end of the append-only file may be lost: {}", fault.text());
        }
        log.files().close();
    }
}

fn call_off_rewrites(shared: &Shared) {
    let was = shared.append_log.call_off();
    if was.rewriting {
        tracing::info!("Killing running AOF rewrite child: a thread, which ends of itself");
    } else if was.scheduled {
        tracing::info!("The scheduled rewrite of the append-only file is not wanted any more");
    }
}

/// Puts into effect what nobody reads from the configuration later on.
fn apply(shared: &Shared, changes: &[ChangedOption]) -> Result<(), SetError> {
    let config: &Config = &shared.config;
    for change in changes {
        if change.name == "dir" {
            std::env::set_current_dir(config.dir()).map_err(|error| {
                let text = error.to_string();
                let why = text.split(" (os error").next().unwrap_or_default().to_owned();
                SetError::not_applied(change, why)
            })?;
        }
        if change.name == "maxclients" {
            open_files::provide_for(config.maxclients(), config).map_err(|room| {
                let why = "The operating system is not able to handle the specified number of clients, try with";
                SetError::not_applied(change, format!("{why} {room}"))
            })?;
        }
        if change.name.starts_with("oom-score-adj") {
            shared.oom_scores.follow(config).map_err(|error| {
                tracing::warn!("Unable to set oom_score_adj: {error}");
                SetError::not_applied(change, "Failed to set current oom_score_adj. Check server logs.")
            })?;
        }
        if change.name == "loglevel"
            && let Some(outside) = shared.outside.get()
        {
            outside.log_from(config.loglevel());
        }
    }
    // Once for both.
    match changes.iter().find(|change| matches!(change.name, "bind" | "port")) {
        Some(change) => listen(shared, change),
        None => Ok(()),
    }
}

/// Listens where the options say.
fn listen(shared: &Shared, change: &ChangedOption) -> Result<(), SetError> {
    let Some(outside) = shared.outside.get() else { return Ok(()) };
    outside.listen().map_err(|CannotListen| {
        let why = match change.name {
            "bind" => "Failed to bind to specified addresses.",
            _ => "Unable to listen on this port. Check server logs.",
        };
        SetError::not_applied(change, why)
    })
}
