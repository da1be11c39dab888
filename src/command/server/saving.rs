//! Snapshots on disk: SAVE, BGSAVE, LASTSAVE.
//!
//! Must not know: threads, the format.

use crate::call::args::Args;
use crate::call::context::{Blocking, Context};
use crate::call::error::CommandError;
use crate::call::saving::Running;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, Outcome, Slices};
use crate::keyspace::snapshot::NoCut;
use std::sync::Arc;

const SAVES: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_ASYNC_LOADING);

const SAVING: CommandError = CommandError::text("ERR Background save already in progress");
const REWRITING: CommandError = CommandError::text(
    "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE \
     whenever possible.",
);
const NOT_SAVING: CommandError = CommandError::text("ERR Background saving is currently not in progress or scheduled");

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "save",
        arity: 1,
        flags: SAVES.and(Flags::NO_MULTI),
        since: "1.0.0",
        group: Group::Server,
        summary: "Saves a snapshot, and replies when it is on disk.",
        complexity: "O(N) with the number of keys; other clients are served meanwhile",
        run: save,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "bgsave",
        arity: -1,
        flags: SAVES,
        since: "1.0.0",
        group: Group::Server,
        summary: "Saves a snapshot in the background.",
        complexity: "O(1) for whoever asks",
        syntax: "[operation<schedule=SCHEDULE@3.2.2|cancel=CANCEL@8.1.0>]",
        history: &[("3.2.2", "The word `SCHEDULE`."), ("8.1.0", "The word `CANCEL`.")],
        run: bgsave,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "lastsave",
        arity: 1,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        categories: Categories::ADMIN.and(Categories::DANGEROUS),
        since: "1.0.0",
        group: Group::Server,
        summary: "Answers when the last snapshot was complete.",
        complexity: "O(1)",
        tips: &["nondeterministic_output"],
        run: lastsave,
        ..CommandSpec::DEFAULT
    },
];

/// `SAVE`
///
/// Replies OK when the snapshot is on disk. O(keys) for whoever asks; in difference to Redis, others are served meanwhile.
fn save<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    if ctx.shared.saving.running().is_some() {
        return Err(SAVING);
    }
    Ok(Outcome::Slices(Box::new(Saving(None))))
}

/// A snapshot that a client waits for: first to be begun, then on its way.
struct Saving(Option<Arc<Running>>);

impl Slices for Saving {
    fn step(&mut self, ctx: &mut Context<'_>) -> bool {
        let Some(running) = &self.0 else {
            let begun = ctx.shared.begin_save(false);
            self.0 = begun.ok().map(|job| ctx.shared.saving.submit(job));
            return false;
        };
        match running.outcome() {
            None => return false,
            Some(Ok(())) => ctx.reply.ok(),
            // Redis says no more either; the log does.
            Some(Err(_)) => ctx.fail(&CommandError::text("ERR")),
        }
        true
    }

    fn waits(&self) -> bool {
        self.0.is_some()
    }
}

/// `BGSAVE [SCHEDULE|CANCEL]`
///
/// Replies that a snapshot was begun: it holds what every key holds now. With SCHEDULE, and inside a transaction, it may be begun a
/// little later. CANCEL ends one that is in progress, or forgets one that is scheduled. O(shards).
fn bgsave<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let schedule = match args.remaining() {
        0 => false,
        1 if args.word("cancel") => return cancel(ctx),
        1 if args.word("schedule") => true,
        _ => return Err(CommandError::Syntax),
    };
    let saving = &ctx.shared.saving;
    if saving.running().is_some() {
        return Err(SAVING);
    }
    // A transaction holds the locks that a cut needs.
    if ctx.blocking != Blocking::Allowed {
        saving.want(true);
        ctx.reply.simple("Background saving scheduled");
        return Ok(Outcome::Done);
    }
    match ctx.shared.begin_save(true) {
        Ok(job) => {
            tracing::info!("Background saving started");
            saving.submit(job);
            ctx.reply.simple("Background saving started");
        }
        Err(NoCut::Locked) => {
            saving.want(true);
            ctx.reply.simple("Background saving started");
        }
        Err(NoCut::InFlight) if schedule => {
            saving.want(true);
            ctx.reply.simple("Background saving scheduled");
        }
        Err(NoCut::InFlight) => return Err(REWRITING),
    }
    Ok(Outcome::Done)
}

fn cancel(ctx: &mut Context<'_>) -> Result<Outcome, CommandError> {
    let saving = &ctx.shared.saving;
    if let Some(running) = saving.running().filter(|running| running.background) {
        running.cancel();
        ctx.reply.simple("Background saving cancelled");
    } else if saving.want(false) {
        ctx.reply.simple("Scheduled background saving cancelled");
    } else {
        return Err(NOT_SAVING);
    }
    Ok(Outcome::Done)
}

/// `LASTSAVE`
///
/// Replies the Unix time, in seconds, of the last snapshot that was complete; that of the start before there is one. O(1).
fn lastsave<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.reply.integer(ctx.shared.saving.report().saved_at.seconds());
    Ok(Outcome::Done)
}
