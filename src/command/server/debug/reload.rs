//! DEBUG RELOAD: the data goes to disk and comes back, or comes from the snapshot that is there.
//!
//! Invariant: nothing changes between what is saved and what is loaded: all shards are locked from the moment on at which the file
//! holds what they do. Must not know: formats.

use super::done;
use crate::call::args::Args;
use crate::call::context::{Blocking, Context};
use crate::call::error::CommandError;
use crate::call::loading;
use crate::call::saving::save_now;
use crate::call::shared::Shared;
use crate::call::spec::Outcome;
use crate::command::scripting::restore_libraries;
use crate::keyspace::{LockPlan, View};
use crate::persistence::rdb::load::{Loaded, check_version, load_held};
use crate::script::library::RestorePolicy;
use crate::util::clock::UnixMs;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

/// So often the data is saved again because something changed behind the snapshot: clients are refused meanwhile, so that only
/// what was being run can have done it.
const ROUNDS: usize = 20;

/// The words.
struct Options {
    save: bool,
    flush: bool,
    merge: bool,
}

impl Options {
    fn read(args: &mut Args<'_>) -> Result<Options, CommandError> {
        let mut options = Options { save: true, flush: true, merge: false };
        while args.remaining() > 0 {
            if args.word("MERGE") {
                options.merge = true;
            } else if args.word("NOFLUSH") {
                options.flush = false;
            } else if args.word("NOSAVE") {
                options.save = false;
            } else {
                let text = "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.";
                return Err(CommandError::text(text));
            }
        }
        Ok(options)
    }

    fn policy(&self) -> RestorePolicy {
        match self {
            Options { flush: true, .. } => RestorePolicy::Flush,
            Options { merge: true, .. } => RestorePolicy::Replace,
            _ => RestorePolicy::Append,
        }
    }
}

/// `DEBUG RELOAD [MERGE|NOFLUSH|NOSAVE ...]`
///
/// Replies OK. NOSAVE: the file that is there is loaded. NOFLUSH: what there is stays, and a key that the file has too is an error
/// unless MERGE lets the file's take its place. O(data); clients are told that data is being loaded.
pub fn reload<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let options = Options::read(args)?;
    if ctx.blocking != Blocking::Allowed {
        return Err(CommandError::text("ERR DEBUG RELOAD takes locks that a transaction holds"));
    }
    let shared = ctx.shared;
    if shared.loading.is_on() {
        return Err(CommandError::Loading);
    }
    shared.loading.begin(0, ctx.now);
    let result = run(ctx, &options);
    shared.loading.end();
    ctx.touch_all(true);
    result?;
    done(ctx)
}

fn run(ctx: &mut Context<'_>, options: &Options) -> Result<(), CommandError> {
    let (shared, now) = (ctx.shared, UnixMs::now());
    let is_missing = || shared.saving.disk.len(&file(shared)).is_ok_and(|bytes| bytes.is_none());
    if !options.save && is_missing() {
        return Ok(()); // as in Valkey
    }
    // Nothing is given up for a file of which no key would be read.
    if !options.save {
        check_version(&*shared.saving.disk, &file(shared), &loading::options(&shared.config, now)).map_err(refused)?;
    }
    let mut view = if options.save { save(shared, now)? } else { lock(shared, now)? };
    let databases = if options.flush { shared.keyspace.databases() } else { 0 };
    // Freed while the file is loaded, so that there is no need of twice the memory.
    (0..databases).for_each(|db| view.flush(db).leave_to(shared.keyspace.reclaimer()));
    let loaded = load(shared, &mut view, options, now).and_then(|loaded| {
        let restored = restore_libraries(shared, &loaded.libraries, options.policy());
        restored.map_err(|text| String::from_utf8_lossy(&text).into_owned())
    });
    for db in 0..shared.keyspace.databases() {
        ctx.ready.extend(view.rouse_all(db).into_iter().map(|key| (db, key)));
    }
    drop(view);
    loaded.map_err(refused)
}

fn refused(error: impl std::fmt::Display) -> CommandError {
    tracing::error!("DEBUG RELOAD: {error}");
    CommandError::text("ERR Error trying to load the RDB dump, check server logs.")
}

/// Locks everything as it is.
fn lock(shared: &'static Shared, now: UnixMs) -> Result<View<'static>, CommandError> {
    let view = View::lock(&shared.keyspace, 0, now, false, LockPlan::All, std::iter::empty());
    if view.gave_up() { Err(super::keys::HELD_FOR_LONG) } else { Ok(view) }
}

/// Saves a snapshot and locks everything as the snapshot has it.
fn save(shared: &'static Shared, now: UnixMs) -> Result<View<'static>, CommandError> {
    for _ in 0..ROUNDS {
        // Redis says no more either; the log does.
        save_now(shared).map_err(|_| CommandError::text("ERR"))?;
        let view = lock(shared, now)?;
        if shared.stats.dirty.load(Relaxed) == 0 {
            return Ok(view);
        }
    }
    Err(CommandError::text("ERR the data changes all the time"))
}

fn file(shared: &Shared) -> PathBuf {
    shared.config.dir().join(shared.config.dbfilename())
}

fn load(shared: &Shared, view: &mut View<'static>, options: &Options, now: UnixMs) -> Result<Loaded, String> {
    let (disk, path) = (&*shared.saving.disk, file(shared));
    let total = disk.len(&path).map_err(|error| error.to_string())?;
    shared.loading.begin(total.unwrap_or(0), now);
    let usual = loading::options(&shared.config, now);
    let checksum = usual.checksum && !shared.loading.skip_checksums.load(Relaxed);
    let how = loading::Options { replace: options.merge, checksum, ..usual };
    load_held(disk, &path, view, &how, shared.loading.progress()).map_err(|error| error.to_string())
}
