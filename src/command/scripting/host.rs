//! The server as a script sees it: commands run on the locks that the script holds.

use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::keys::declared_keys;
use crate::call::run::Nested;
use crate::call::spec::{Flags, Scope};
use crate::call::table::{Command, Unknown};
use crate::protocol::batch::RequestView;
use crate::protocol::reply::{Output, Reply, Resp};
use crate::script::host::{Host, LogLevel};
use crate::util::memory::used_bytes;

const NOT_ALLOWED: CommandError = CommandError::text("ERR This Valkey command is not allowed from script");
const READ_ONLY: CommandError = CommandError::text("ERR Write commands are not allowed from read-only scripts.");
const OTHER_DATABASES: CommandError = CommandError::text(
    "ERR This script did not show that it works beyond its database: name the command in its text or arguments",
);

/// What is true of one run of a script from its first step to its last.
#[derive(Clone, Copy, Default)]
pub struct Standing {
    /// It may not write.
    pub read_only: bool,
    /// Memory was over the limit when it began, and it did not say that it minds not.
    pub out_of_memory: bool,
    /// It holds every shard there is.
    pub everything: bool,
    /// It holds every shard of its database, at least.
    pub database: bool,
    /// It has run a command that writes.
    pub wrote: bool,
    /// It wanted to work in another database and could not.
    pub strayed: bool,
    /// Effects of later commands go to nobody.
    pub muted: bool,
    /// It counts as failed, although its reply is not an error.
    pub failed: bool,
}

/// A run of a script in a step.
pub struct ScriptHost<'c, 'a> {
    /// The run of EVAL or FCALL.
    pub ctx: &'c mut Context<'a>,
    /// What is true of it.
    pub standing: Standing,
}

impl ScriptHost<'_, '_> {
    /// The row of a request, if the script may run it.
    fn check(&mut self, request: RequestView<'_>) -> Result<(&'static Command, usize), CommandError> {
        let shared = self.ctx.shared;
        let (command, first_arg) = shared.commands.resolve(request);
        let command = command.map_err(|unknown| unknown_command(unknown, request))?;
        let spec = command.spec;
        let refusal = if !spec.accepts(request.argc()) {
            Some(CommandError::text("ERR Wrong number of args calling command from script"))
        } else if spec.flags.has(Flags::NOSCRIPT) {
            return Err(NOT_ALLOWED);
        } else {
            self.refusal(command, request)
        };
        if refusal.is_some() {
            shared.stats.workers[self.ctx.session.client.worker].commands[command.id].rejected.add(1);
        }
        refusal.map_or(Ok((command, first_arg)), Err)
    }

    /// Whether the locks that are held cover what a command touches.
    fn holds_keys(&self, command: &Command, request: RequestView<'_>) -> bool {
        let (db, hasher, mut held) = (self.ctx.session.db, self.ctx.shared.keyspace.hasher(), true);
        let found = declared_keys(command.spec, request, &mut |index, _| {
            held &= self.ctx.db.holds(db, hasher.hash(request.arg(index)));
        });
        found.is_ok() && held && matches!(command.spec.scope, Scope::Keys)
    }

    fn refusal(&mut self, command: &Command, request: RequestView<'_>) -> Option<CommandError> {
        let flags = command.spec.flags;
        if flags.has(Flags::DENYOOM) && self.standing.out_of_memory && !self.standing.wrote {
            return Some(CommandError::OutOfMemory);
        }
        if (flags.has(Flags::WRITE) || flags.has(Flags::MAY_REPLICATE)) && self.standing.read_only {
            return Some(READ_ONLY);
        }
        if flags.has(Flags::WRITE)
            && !self.standing.wrote
            && let Some(refused) = &*self.ctx.session.writes_refused.borrow()
        {
            return Some(refused.error(false));
        }
        let stays = match command.spec.scope.of(self.ctx.shared, request) {
            Scope::Keys | Scope::Database | Scope::Walk | Scope::Chosen(_) | Scope::Asked(_) => true,
            Scope::KeysEverywhere | Scope::Server | Scope::WalkServer | Scope::Select | Scope::Transaction => false,
        };
        if !self.standing.database && !self.holds_keys(command, request) {
            return Some(OTHER_KEYS);
        }
        if !stays && !self.standing.everything {
            self.standing.strayed = true;
            return Some(OTHER_DATABASES);
        }
        None
    }
}

/// A script that was shown to touch its keys alone does touch others: the proof is wrong.
const OTHER_KEYS: CommandError = CommandError::text("ERR This script touches keys that its locks do not cover");

fn unknown_command(unknown: Unknown, request: RequestView<'_>) -> CommandError {
    match unknown {
        Unknown::Command => CommandError::text("ERR Unknown command called from script"),
        Unknown::Subcommand(container) => {
            let hint = format!("'. Try {} HELP.", container.name.to_ascii_uppercase());
            let quoted = &request.arg(1)[..request.arg(1).len().min(128)];
            CommandError::Bytes([b"ERR unknown subcommand '", quoted, hint.as_bytes()].concat())
        }
    }
}

/// Whether memory is over `maxmemory` and nothing could be evicted before the request.
pub fn over_limit(ctx: &Context<'_>) -> bool {
    let limit = ctx.shared.config.maxmemory();
    limit != 0 && ctx.session.no_room.get() && used_bytes() > limit
}

impl Host for ScriptHost<'_, '_> {
    fn call(&mut self, request: RequestView<'_>, resp: Resp, out: &mut Output) {
        match self.check(request) {
            Err(error) => {
                self.ctx.shared.stats.count_error(&error);
                Reply::new(out, resp).error_bytes(&error.reply_text());
            }
            Ok((command, first_arg)) => {
                self.standing.wrote |= command.spec.flags.has(Flags::WRITE);
                let logged = self.ctx.effects.len();
                self.ctx.run_nested(Nested { command, first_arg, request, resp, by_script: true }, out);
                if self.standing.muted {
                    self.ctx.effects.truncate(logged);
                }
            }
        }
    }

    fn may_run(&mut self, request: RequestView<'_>) -> Option<bool> {
        self.ctx.shared.commands.resolve(request).0.ok().map(|_| true)
    }

    fn log(&mut self, level: LogLevel, text: &[u8]) {
        write_log(level, text);
    }

    fn set_propagation(&mut self, flags: u8) {
        self.standing.muted = flags == 0;
    }

    fn count_error(&mut self, text: Vec<u8>, counted: bool) {
        let error = if counted { CommandError::Counted(text) } else { CommandError::Bytes(text) };
        self.ctx.shared.stats.count_error(&error);
        self.standing.failed = true;
    }

    fn reply(&mut self) -> Reply<'_> {
        self.ctx.reply.reborrow()
    }
}

/// Writes a line of a script to the log.
pub fn write_log(level: LogLevel, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    match level {
        LogLevel::Debug => tracing::trace!("{text}"),
        LogLevel::Verbose => tracing::debug!("{text}"),
        LogLevel::Notice => tracing::info!("{text}"),
        LogLevel::Warning => tracing::warn!("{text}"),
    }
}

/// The server as a library sees it while it loads: it may write to the log.
pub struct LoadHost;

impl Host for LoadHost {
    fn call(&mut self, _: RequestView<'_>, resp: Resp, out: &mut Output) {
        Reply::new(out, resp).error_bytes(&NOT_ALLOWED.reply_text());
    }

    fn may_run(&mut self, _: RequestView<'_>) -> Option<bool> {
        None
    }

    fn log(&mut self, level: LogLevel, text: &[u8]) {
        write_log(level, text);
    }

    fn set_propagation(&mut self, _: u8) {}

    fn count_error(&mut self, _: Vec<u8>, _: bool) {}

    fn reply(&mut self) -> Reply<'_> {
        unreachable!("a library that loads has no result: only a run writes one")
    }
}
