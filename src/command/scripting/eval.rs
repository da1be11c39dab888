//! EVAL, EVALSHA, FCALL, and their forms that only read.

use super::host::{Standing, over_limit};
use super::is_narrow;
use super::run::{Call, Runner, run};
use crate::call::account::Record;
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::script::Engine;
use crate::script::cache::{Script, digest, sha};
use crate::script::engine::Chunk;
use crate::script::header::{ScriptFlags, script_header};
use crate::script::long::FUNCTION_BUSY;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const NO_SCRIPT: CommandError = CommandError::text("NOSCRIPT No matching script.");

/// Index of the first key in a request.
const FIRST_KEY: usize = 3;

/// `EVAL script numkeys [key ...] [arg ...]`
///
/// Replies what the script returns. The script is kept, so that EVALSHA finds it.
pub fn eval<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    eval_text(ctx, args, false)
}

/// `EVAL_RO script numkeys [key ...] [arg ...]`: as EVAL, without commands that write.
pub fn eval_ro<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    eval_text(ctx, args, true)
}

/// `EVALSHA sha1 numkeys [key ...] [arg ...]`
///
/// As EVAL, for a script that is known: NOSCRIPT otherwise.
pub fn evalsha<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    eval_sha(ctx, args, false)
}

/// `EVALSHA_RO sha1 numkeys [key ...] [arg ...]`: as EVALSHA, without commands that write.
pub fn evalsha_ro<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    eval_sha(ctx, args, true)
}

/// `FCALL function numkeys [key ...] [arg ...]`
///
/// Replies what the function returns.
pub fn fcall<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    call_function(ctx, args, false)
}

/// `FCALL_RO function numkeys [key ...] [arg ...]`: as FCALL, for a function that says that it does not write.
pub fn fcall_ro<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    call_function(ctx, args, true)
}

/// The number of keys, and a check that so many follow.
fn key_count(args: &mut Args<'_>, malformed: CommandError) -> Result<usize, CommandError> {
    let count = args.integer_or(malformed)?;
    let rest = args.rest().len();
    if count < 0 {
        return Err(CommandError::text("ERR Number of keys can't be negative"));
    }
    let count = usize::try_from(count).ok().filter(|count| *count <= rest);
    count.ok_or(CommandError::text("ERR Number of keys can't be greater than number of args"))
}

/// Shows the request to the monitors, before the commands that it runs.
fn show(ctx: &Context<'_>) {
    if ctx.shared.clients.monitors() > 0 {
        let (command, request, client) = (ctx.command, ctx.request, &ctx.session.client);
        Record { command, request, client, db: ctx.session.db, now: ctx.now, by_script: false }.show(ctx.shared);
    }
}

fn eval_text<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, read_only: bool) -> Result<Outcome, CommandError> {
    show(ctx);
    let text = args.bytes()?;
    if let Ok(Some(header)) = script_header(text) {
        admit(ctx, header.flags)?;
    }
    let keys = key_count(args, CommandError::NotInteger)?;
    let mut engine = engine(ctx)?;
    match known(ctx, &mut engine, text) {
        Ok((script, chunk)) => run_script(ctx, engine, &script, Call { chunk, first_key: FIRST_KEY, keys }, read_only),
        Err(error) => {
            ctx.shared.scripts.give_engine(ctx.session.client.worker, engine);
            Err(error)
        }
    }
}

fn eval_sha<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, read_only: bool) -> Result<Outcome, CommandError> {
    show(ctx);
    let sha = sha(args.bytes()?).ok_or(NO_SCRIPT)?;
    if over_limit(ctx)
        && let Some(flags) = ctx.shared.scripts.cache.find(&sha).and_then(|script| script.flags)
    {
        admit(ctx, flags)?;
    }
    let keys = key_count(args, CommandError::NotInteger)?;
    let mut engine = engine(ctx)?;
    let found = match engine.find(&sha) {
        Some(found) => Some(found),
        None => {
            let script = ctx.shared.scripts.cache.find(&sha);
            script.and_then(|script| {
                let chunk = engine.compile(&script.text).ok()?; // it was compiled when it came
                engine.keep(Arc::clone(&script), chunk);
                Some((script, chunk))
            })
        }
    };
    // One that was not known when the locks were chosen is not known.
    let covered = |script: &Script| ctx.db.holds_database(ctx.session.db) || is_narrow(ctx.shared, script);
    let Some((script, chunk)) = found.filter(|(script, _)| covered(script)) else {
        ctx.shared.scripts.give_engine(ctx.session.client.worker, engine);
        return Err(NO_SCRIPT);
    };
    run_script(ctx, engine, &script, Call { chunk, first_key: FIRST_KEY, keys }, read_only)
}

fn engine(ctx: &Context<'_>) -> Result<Box<Engine>, CommandError> {
    ctx.shared.scripts.take_engine(ctx.session.client.worker).map_err(|text| CommandError::from(format!("ERR {text}")))
}

/// The script of this text, compiled; it is kept if it is new.
fn known(ctx: &Context<'_>, engine: &mut Engine, text: &[u8]) -> Result<(Arc<Script>, Chunk), CommandError> {
    if let Some(found) = engine.find(&digest(text)) {
        return Ok(found);
    }
    learn(ctx, engine, text, false)
}

/// Compiles a script, keeps it, and for ever if `loaded`.
pub fn learn(
    ctx: &Context<'_>,
    engine: &mut Engine,
    text: &[u8],
    loaded: bool,
) -> Result<(Arc<Script>, Chunk), CommandError> {
    let script = Script::new(text).map_err(|error| CommandError::from(format!("ERR {error}")))?;
    let chunk = engine.compile(text).map_err(CommandError::Bytes)?;
    let script = ctx.shared.scripts.cache.add(script, loaded);
    engine.keep(Arc::clone(&script), chunk);
    Ok((script, chunk))
}

/// Refuses a script of these flags when no command that writes could run now; asked before anything else about the request.
fn admit(ctx: &Context<'_>, flags: ScriptFlags) -> Result<(), CommandError> {
    if flags.has(ScriptFlags::NO_WRITES) {
        return Ok(());
    }
    if let Some(refused) = &*ctx.session.writes_refused.borrow() {
        return Err(refused.error(true));
    }
    if over_limit(ctx) && !flags.has(ScriptFlags::ALLOW_OOM) { Err(CommandError::OutOfMemory) } else { Ok(()) }
}

/// What a script may do, by its own words (`None`: it says nothing) and those of the command.
fn standing(ctx: &Context<'_>, flags: Option<ScriptFlags>, read_only: bool) -> Result<Standing, CommandError> {
    let out_of_memory = over_limit(ctx);
    let no_writes = flags.is_some_and(|flags| flags.has(ScriptFlags::NO_WRITES));
    let allows = flags.is_some_and(|flags| flags.has(ScriptFlags::ALLOW_OOM));
    if flags.is_some() && read_only && !no_writes {
        return Err(CommandError::text("ERR Can not execute a script with write flag using *_ro command."));
    }
    Ok(Standing {
        read_only: read_only || no_writes,
        out_of_memory: out_of_memory && !allows,
        everything: ctx.db.holds_everything(),
        database: ctx.db.holds_database(ctx.session.db),
        ..Standing::default()
    })
}

fn run_script(
    ctx: &mut Context<'_>,
    engine: Box<Engine>,
    script: &Script,
    call: Call,
    read_only: bool,
) -> Result<Outcome, CommandError> {
    ctx.shared.scripts.cache.touch(script);
    let admitted = script.flags.map_or(Ok(()), |flags| admit(ctx, flags));
    match admitted.and_then(|()| standing(ctx, script.flags, read_only)) {
        Ok(standing) => run(ctx, Runner::Script(engine), call, standing, &|| script.selects.store(true, Relaxed)),
        Err(error) => {
            ctx.shared.scripts.give_engine(ctx.session.client.worker, engine);
            Err(error)
        }
    }
}

fn call_function<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, read_only: bool) -> Result<Outcome, CommandError> {
    show(ctx);
    let (name, shared) = (args.bytes()?, ctx.shared);
    let mut libraries = shared.scripts.libraries.lock();
    let function = libraries.function(name).ok_or(CommandError::text("ERR Function not found"))?;
    admit(ctx, function.flags)?;
    let keys = key_count(args, CommandError::text("ERR Bad number of keys provided"))?;
    let standing = standing(ctx, Some(function.flags), read_only)?;
    // Another worker's function that runs for long has it: this request would have been kept back a moment later.
    let vm = libraries.take_vm().map_err(|_| CommandError::text(FUNCTION_BUSY))?;
    drop(libraries);
    let call = Call { chunk: function.chunk, first_key: FIRST_KEY, keys };
    run(ctx, Runner::Function(vm, name.to_vec()), call, standing, &|| {
        shared.scripts.functions_select.store(true, Relaxed);
    })
}
