//! The subcommands of SCRIPT.

use super::eval::learn;
use super::function::not_killed;
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::help;
use crate::call::spec::Outcome;
use crate::script::cache::sha;

/// `SCRIPT LOAD script`
///
/// Keeps a script until SCRIPT FLUSH, and replies its digest. O(length).
pub fn load<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let text = args.bytes()?;
    args.finish()?;
    let worker = ctx.session.client.worker;
    let mut engine =
        ctx.shared.scripts.take_engine(worker).map_err(|text| CommandError::from(format!("ERR {text}")))?;
    let learned = learn(ctx, &mut engine, text, true);
    ctx.shared.scripts.give_engine(worker, engine);
    let (script, _) = learned?;
    ctx.reply.bulk(&script.sha);
    Ok(Outcome::Done)
}

/// `SCRIPT EXISTS sha1 [sha1 ...]`: 1 or 0 for each. O(digests).
pub fn exists<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let digests = args.rest();
    ctx.reply.array(digests.len());
    for digest in digests {
        let known = sha(digest).is_some_and(|sha| ctx.shared.scripts.cache.find(&sha).is_some());
        ctx.reply.integer(i64::from(known));
    }
    Ok(Outcome::Done)
}

/// `SCRIPT SHOW sha1`: the text. O(1).
pub fn show<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let name = sha(args.bytes()?);
    args.finish()?;
    let script = name.and_then(|sha| ctx.shared.scripts.cache.find(&sha));
    ctx.reply.bulk(&script.ok_or(CommandError::text("NOSCRIPT No matching script."))?.text);
    Ok(Outcome::Done)
}

/// `SCRIPT FLUSH [ASYNC|SYNC]`: forgets all scripts. O(scripts).
pub fn flush<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let known = args.word("async") || args.word("sync") || args.remaining() == 0;
    if !known || args.remaining() > 0 {
        return Err(CommandError::text("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
    }
    ctx.shared.scripts.flush();
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `SCRIPT KILL`: ends a script that runs for long and has changed nothing. O(1).
pub fn kill<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.shared.scripts.long.kill(false).map_err(not_killed)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `SCRIPT DEBUG YES|SYNC|NO`: there is no debugger, so only NO is accepted.
pub fn debug<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    if args.word("no") {
        ctx.reply.ok();
        return Ok(Outcome::Done);
    }
    if args.word("yes") || args.word("sync") {
        return Err(CommandError::text("ERR Scripts can't be debugged on this server"));
    }
    Err(CommandError::text("ERR Use SCRIPT DEBUG YES/SYNC/NO"))
}

/// `SCRIPT HELP`
pub fn help<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let lines = &[
        "DEBUG (YES|SYNC|NO)",
        "    There is no debugger: only NO is accepted.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Tell which scripts are known.",
        "FLUSH [ASYNC|SYNC]",
        "    Forget all scripts.",
        "KILL",
        "    End a script that runs for long and has changed nothing.",
        "LOAD <script>",
        "    Make a script known without running it.",
        "SHOW <sha1>",
        "    Show the text of a script.",
    ];
    help::help(&mut ctx.reply, "SCRIPT", lines);
    Ok(Outcome::Done)
}
