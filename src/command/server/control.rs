//! MONITOR and SHUTDOWN.
//!
//! Must not know: how the server stops, or how monitors are fed.

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::shared::ShutdownRequest;
use crate::call::spec::{CommandSpec, Flags, Group, Outcome};

const ADMIN: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE);

const NO_SHUTDOWN: CommandError = CommandError::text("ERR No shutdown in progress.");

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "monitor",
        arity: 1,
        flags: ADMIN,
        since: "1.0.0",
        group: Group::Server,
        summary: "Shows every request that the server gets from now on.",
        run: monitor,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "shutdown",
        arity: -1,
        flags: ADMIN.and(Flags::NO_MULTI).and(Flags::ALLOW_BUSY),
        since: "1.0.0",
        group: Group::Server,
        summary: "Stops the server.",
        complexity: "O(N) with the number of keys when they are saved, else O(1)",
        syntax: "[abort-selector<save-selector-block([save-selector<nosave=NOSAVE|save=SAVE>] [now=NOW@7.0.0] \
                 [force=FORCE@7.0.0] [safe=SAFE@9.0.0] [failover=FAILOVER@9.0.0])|abort=ABORT@7.0.0>]",
        history: &[("7.0.0", "The words `NOW`, `FORCE` and `ABORT`."), ("9.0.0", "The words `SAFE` and `FAILOVER`.")],
        run: shutdown,
        ..CommandSpec::DEFAULT
    },
];

/// `MONITOR`: `OK`, then a line for each request; nothing for a client that is a monitor already.
fn monitor<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    if !ctx.session.monitor {
        ctx.session.monitor = true;
        ctx.shared.clients.set_monitor(&ctx.session.client, true);
        ctx.reply.ok();
    }
    Ok(Outcome::Done)
}

/// What SHUTDOWN was told.
#[derive(Default)]
struct Words {
    save: bool,
    nosave: bool,
    now: bool,
    abort: bool,
    failover: bool,
    /// FORCE, SAFE: about saving and replicas, which do not hold this server up.
    other: bool,
}

impl Words {
    fn read(args: &mut Args<'_>) -> Result<Words, CommandError> {
        let mut words = Words::default();
        while args.remaining() > 0 {
            let word = match () {
                () if args.word("save") => &mut words.save,
                () if args.word("nosave") => &mut words.nosave,
                () if args.word("now") => &mut words.now,
                () if args.word("abort") => &mut words.abort,
                () if args.word("failover") => &mut words.failover,
                () if args.word("force") || args.word("safe") => &mut words.other,
                () => return Err(CommandError::Syntax),
            };
            *word = true;
        }
        let contradicts = words.save && words.nosave;
        let any = words.save || words.nosave || words.now || words.other || words.failover;
        if contradicts || words.abort && any {
            return Err(CommandError::Syntax);
        }
        Ok(words)
    }
}

/// `SHUTDOWN [SAVE|NOSAVE] [NOW] [FORCE] [SAFE] [FAILOVER]`, or `SHUTDOWN ABORT`. Success has no reply: the connection
/// closes. A shutdown waits for nothing that could be aborted.
fn shutdown<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let words = Words::read(args)?;
    if words.abort {
        return Err(NO_SHUTDOWN);
    }
    if words.failover {
        return Err(CommandError::text("ERR SHUTDOWN FAILOVER is only supported in cluster mode."));
    }
    if words.save {
        // Whoever asks for the data to be saved must not lose it: while nothing can be saved, this cannot be done.
        return Err(CommandError::text("ERR Errors trying to SHUTDOWN. Check logs."));
    }
    ctx.shared.shutdown.ask(ShutdownRequest { now: words.now, failed: false });
    Ok(Outcome::Close)
}
