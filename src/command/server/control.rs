//! Commands that watch or stop the server.

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::shared::ShutdownRequest;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, Outcome};

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "monitor",
        arity: 1,
        flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
        categories: Categories::NONE,
        since: "1.0.0",
        group: Group::Server,
        summary: "Shows every request that the server runs.",
        run: monitor,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "shutdown",
        arity: -1,
        flags: Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::NO_MULTI)
            .and(Flags::ALLOW_BUSY),
        categories: Categories::NONE,
        since: "1.0.0",
        group: Group::Server,
        summary: "Stops the server.",
        complexity: "O(N)",
        syntax: "[abort-selector<save-selector-block([save-selector<nosave=NOSAVE|save=SAVE>] [now=NOW@7.0.0] [force=FORCE@7.0.0] [safe=SAFE@9.0.0] [failover=FAILOVER@9.0.0])|abort=ABORT@7.0.0>]",
        history: &[("7.0.0", "New: NOW, FORCE, ABORT."), ("9.0.0", "New: SAFE, FAILOVER.")],
        run: shutdown,
        ..CommandSpec::DEFAULT
    },
];

/// `MONITOR`
///
/// Replies OK; then every request that the server runs follows as a line, until RESET.
fn monitor<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.session.monitor = true;
    ctx.shared.clients.set_monitor(&ctx.session.client, true);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [SAFE] [FAILOVER] | ABORT`
///
/// No reply: the connection closes. Nothing is saved, whatever is asked, while there is no persistence; `SAVE` is
/// refused for that reason.
fn shutdown<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (mut nosave, mut save, mut now, mut other, mut abort) = (false, false, false, false, false);
    while args.remaining() > 0 {
        match () {
            () if args.word("NOSAVE") => nosave = true,
            () if args.word("SAVE") => save = true,
            () if args.word("NOW") => now = true,
            () if args.word("FORCE") || args.word("SAFE") || args.word("FAILOVER") => other = true,
            () if args.word("ABORT") => abort = true,
            () => return Err(CommandError::Syntax),
        }
    }
    if (abort && (nosave || save || now || other)) || (nosave && save) {
        return Err(CommandError::Syntax);
    }
    if abort {
        return Err(CommandError::text("ERR No shutdown in progress."));
    }
    if save {
        return Err(CommandError::text("ERR Errors trying to SHUTDOWN. Check logs."));
    }
    ctx.shared.shutdown.ask(ShutdownRequest { now, failed: false });
    Ok(Outcome::Close)
}
