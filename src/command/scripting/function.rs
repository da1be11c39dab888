//! The subcommands of FUNCTION.

use super::host::LoadHost;
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::help;
use crate::call::shared::Shared;
use crate::call::spec::Outcome;
use crate::persistence::rdb::functions;
use crate::protocol::reply::Reply;
use crate::script::cache::may_select;
use crate::script::engine::Registered;
use crate::script::header::ScriptFlags;
use crate::script::library::{Libraries, Library, RestorePolicy};
use crate::script::long::{FUNCTION_BUSY, NotKilled, SCRIPT_BUSY};
use crate::util::glob;
use std::sync::atomic::Ordering::Relaxed;

/// The error for a script that was not ended.
pub fn not_killed(why: NotKilled) -> CommandError {
    CommandError::text(match why {
        NotKilled::NoneRuns => "NOTBUSY No scripts in execution right now.",
        NotKilled::OtherKind { function: true } => FUNCTION_BUSY,
        NotKilled::OtherKind { function: false } => SCRIPT_BUSY,
        NotKilled::Wrote => {
            "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the \
             script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
        }
    })
}

/// Changes the libraries, and notes their figures.
/// Loads libraries from their texts: all or none, as `policy` says of those that are there.
///
/// # Errors
/// What is wrong with the first that is, with its code word.
pub fn restore_libraries(shared: &Shared, codes: &[Vec<u8>], policy: RestorePolicy) -> Result<(), Vec<u8>> {
    if codes.is_empty() && policy != RestorePolicy::Flush {
        return Ok(());
    }
    let load = |libraries: &mut Libraries| libraries.restore(codes, policy, &mut LoadHost).map_err(CommandError::Bytes);
    change_libraries(shared, load).map_err(|error| error.reply_text())
}

fn change<R>(
    ctx: &mut Context<'_>,
    work: impl FnOnce(&mut Libraries) -> Result<R, CommandError>,
) -> Result<R, CommandError> {
    let result = change_libraries(ctx.shared, work)?;
    ctx.dirty += 1;
    Ok(result)
}

fn change_libraries<R>(
    shared: &Shared,
    work: impl FnOnce(&mut Libraries) -> Result<R, CommandError>,
) -> Result<R, CommandError> {
    let scripts = &shared.scripts;
    let mut libraries = scripts.libraries.lock();
    if libraries.is_away() {
        return Err(CommandError::text(FUNCTION_BUSY));
    }
    let result = work(&mut libraries)?;
    let selects = libraries.all().any(|library| may_select(&library.code));
    scripts.functions_select.store(selects, Relaxed);
    scripts.note_libraries(&libraries);
    Ok(result)
}

/// An error that ends with a word of the request, up to a NUL.
fn quoting(text: &[u8], word: &[u8]) -> CommandError {
    let word = word.split(|byte| *byte == 0).next().unwrap_or_default();
    CommandError::Bytes([text, word].concat())
}

/// `FUNCTION LOAD [REPLACE] function-code`
///
/// Replies the name of the library. O(length) and what its text does, for at most half a second.
pub fn load<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let mut replace = false;
    while args.remaining() > 1 {
        if !args.word("replace") {
            return Err(quoting(b"ERR Unknown option given: ", args.bytes()?));
        }
        replace = true;
    }
    let code = args.bytes()?;
    let load = |libraries: &mut Libraries| libraries.load(code, replace, &mut LoadHost).map_err(CommandError::Bytes);
    let name = change(ctx, load)?;
    ctx.reply.bulk(&name);
    Ok(Outcome::Done)
}

/// `FUNCTION DELETE library-name`. O(functions of the library).
pub fn delete<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let name = args.bytes()?;
    args.finish()?;
    change(ctx, |libraries| {
        let deleted = libraries.delete(name);
        deleted.then_some(()).ok_or(CommandError::text("ERR Library not found"))
    })?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `FUNCTION FLUSH [ASYNC|SYNC]`. O(functions).
pub fn flush<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    if args.remaining() > 1 {
        return Err(help::unknown_or_arity("FUNCTION", ctx.request.arg(1)));
    }
    let known = args.word("async") || args.word("sync") || args.remaining() == 0;
    if !known {
        return Err(CommandError::text("ERR FUNCTION FLUSH only supports SYNC|ASYNC option"));
    }
    change(ctx, |libraries| {
        libraries.clear();
        Ok(())
    })?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]`. O(functions).
pub fn list<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (mut pattern, mut with_code) = (None, false);
    while args.remaining() > 0 {
        if !with_code && args.word("withcode") {
            with_code = true;
        } else if pattern.is_none() && args.word("libraryname") {
            let missing = |_| CommandError::text("ERR library name argument was not given");
            pattern = Some(args.bytes().map_err(missing)?);
        } else {
            return Err(quoting(b"ERR Unknown argument ", args.bytes()?));
        }
    }
    let libraries = ctx.shared.scripts.libraries.lock();
    let chosen: Vec<&Library> = libraries
        .all()
        .filter(|library| pattern.is_none_or(|pattern| glob::matches(pattern, &library.name, false)))
        .collect();
    ctx.reply.array(chosen.len());
    for library in chosen {
        show_library(&mut ctx.reply, library, with_code);
    }
    Ok(Outcome::Done)
}

fn show_library(reply: &mut Reply<'_>, library: &Library, with_code: bool) {
    reply.map(if with_code { 4 } else { 3 });
    reply.bulk(b"library_name");
    reply.bulk(&library.name);
    reply.bulk(b"engine");
    reply.bulk(b"LUA");
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        show_function(reply, function);
    }
    if with_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.code);
    }
}

fn show_function(reply: &mut Reply<'_>, function: &Registered) {
    reply.map(3);
    reply.bulk(b"name");
    reply.bulk(&function.name);
    reply.bulk(b"description");
    match &function.description {
        Some(text) => reply.bulk(text),
        None => reply.null(),
    }
    reply.bulk(b"flags");
    let flags = || ScriptFlags::NAMES.iter().filter(|(_, flag)| function.flags.has(*flag));
    reply.set(flags().count());
    for (name, _) in flags() {
        reply.simple(name);
    }
}

/// `FUNCTION STATS`
///
/// Which function runs for long, and how many libraries and functions there are. O(1).
pub fn stats<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let scripts = &ctx.shared.scripts;
    let run = scripts.long.first();
    if run.as_ref().is_some_and(|run| !run.function) {
        return Err(CommandError::text(SCRIPT_BUSY));
    }
    let reply = &mut ctx.reply;
    reply.map(2);
    reply.bulk(b"running_script");
    match run {
        None => reply.null(),
        Some(run) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(&run.name);
            reply.bulk(b"command");
            reply.array(run.command.len());
            run.command.iter().for_each(|word| reply.bulk(word));
            reply.bulk(b"duration_ms");
            reply.integer(i64::try_from(run.millis()).unwrap_or(i64::MAX));
        }
    }
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    for (name, count) in ["libraries_count", "functions_count"].iter().zip(&scripts.library_counts) {
        reply.bulk(name.as_bytes());
        reply.count(count.load(Relaxed));
    }
    Ok(Outcome::Done)
}

/// `FUNCTION KILL`: ends a function that runs for long and has changed nothing. O(1).
pub fn kill<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.shared.scripts.long.kill(true).map_err(not_killed)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `FUNCTION DUMP`: all libraries, for FUNCTION RESTORE. O(bytes).
pub fn dump<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let bytes = functions::dump(ctx.shared.scripts.libraries.lock().all().map(|library| &*library.code));
    ctx.reply.bulk(&bytes);
    Ok(Outcome::Done)
}

/// `FUNCTION RESTORE serialized-value [FLUSH|APPEND|REPLACE]`
///
/// Loads the libraries of a dump: all of them, or none. O(bytes) and what their texts do.
pub fn restore<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let bytes = args.bytes()?;
    if args.remaining() > 1 {
        return Err(help::unknown_or_arity("FUNCTION", ctx.request.arg(1)));
    }
    let policy = match () {
        () if args.remaining() == 0 || args.word("append") => RestorePolicy::Append,
        () if args.word("replace") => RestorePolicy::Replace,
        () if args.word("flush") => RestorePolicy::Flush,
        () => {
            let text = "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.";
            return Err(CommandError::text(text));
        }
    };
    let codes = functions::restore(bytes).map_err(|refusal| match refusal {
        functions::Refusal::Envelope => CommandError::text("ERR DUMP payload version or checksum are wrong"),
        functions::Refusal::NotFunctions => CommandError::text("ERR given type is not a function"),
        functions::Refusal::Content => CommandError::text("ERR failed loading functions"),
    })?;
    change(ctx, |libraries| libraries.restore(&codes, policy, &mut LoadHost).map_err(CommandError::Bytes))?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `FUNCTION HELP`
pub fn help<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let lines = &[
        "DELETE <LIBRARY NAME>",
        "    Remove a library with its functions.",
        "DUMP",
        "    All libraries, in a form that FUNCTION RESTORE reads.",
        "FLUSH [ASYNC|SYNC]",
        "    Remove all libraries.",
        "KILL",
        "    End a function that runs for long and has changed nothing.",
        "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
        "    List libraries and their functions.",
        "LOAD [REPLACE] <FUNCTION CODE>",
        "    Load a library.",
        "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
        "    Load the libraries of a dump.",
        "STATS",
        "    Tell which function runs, and how many there are.",
    ];
    help::help(&mut ctx.reply, "FUNCTION", lines);
    Ok(Outcome::Done)
}
