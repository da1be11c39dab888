//! MONITOR and SHUTDOWN.
//!
//! Must not know: how the server stops, or how monitors are fed.

use crate::call::args::Args;
use crate::call::context::{Blocking, Context};
use crate::call::error::CommandError;
use crate::call::shared::ShutdownRequest;
use crate::call::spec::{CommandSpec, Flags, Group, Outcome, Slices};
use std::sync::atomic::Ordering::Acquire;

const ADMIN: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE);

const NOT_STOPPED: CommandError = CommandError::text("ERR Errors trying to SHUTDOWN. Check logs.");

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
    if ctx.blocking != Blocking::Allowed {
        return Err(CommandError::text("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
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
    force: bool,
    /// About slots of a cluster, which this server has not.
    safe: bool,
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
                () if args.word("force") => &mut words.force,
                () if args.word("safe") => &mut words.safe,
                () => return Err(CommandError::Syntax),
            };
            *word = true;
        }
        let contradicts = words.save && words.nosave;
        let any = words.save || words.nosave || words.now || words.force || words.safe || words.failover;
        if contradicts || words.abort && any {
            return Err(CommandError::Syntax);
        }
        Ok(words)
    }

    fn save(&self) -> Option<bool> {
        match (self.save, self.nosave) {
            (false, false) => None,
            (save, _) => Some(save),
        }
    }
}

/// `SHUTDOWN [SAVE|NOSAVE] [NOW] [FORCE] [SAFE] [FAILOVER]`, or `SHUTDOWN ABORT`. Success has no reply: the connection
/// closes. While a snapshot is saved first, writes wait and reads go on; ABORT ends that, and so does an error, after which the
/// server goes on unless FORCE says otherwise.
fn shutdown<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let words = Words::read(args)?;
    let stopping = &ctx.shared.shutdown;
    if words.abort {
        if !stopping.give_up() {
            return Err(NO_SHUTDOWN);
        }
        ctx.reply.ok();
        return Ok(Outcome::Done);
    }
    if words.failover {
        return Err(CommandError::text("ERR SHUTDOWN FAILOVER is only supported in cluster mode."));
    }
    let failures = stopping.failures.load(Acquire);
    stopping.ask(ShutdownRequest { now: words.now, failed: false, save: words.save(), force: words.force });
    match words.nosave {
        true => Ok(Outcome::Close),
        false => Ok(Outcome::Slices(Box::new(Stopping(failures)))),
    }
}

/// Waits for the end, or for the server to give it up more often than so many times.
struct Stopping(u64);

impl Slices for Stopping {
    fn step(&mut self, ctx: &mut Context<'_>) -> bool {
        let failed = ctx.shared.shutdown.failures.load(Acquire) > self.0;
        if failed {
            ctx.fail(&NOT_STOPPED);
        }
        failed
    }

    fn waits(&self) -> bool {
        true
    }
}
