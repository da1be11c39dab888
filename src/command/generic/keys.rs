//! Whether keys exist, and what removes, renames, copies and moves them.

use super::database_index;
use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::keyspace::entry::EntryRef;
use crate::keyspace::reclaim::Why;

const SAME_KEY: CommandError = CommandError::text("ERR source and destination objects are the same");

/// `DEL key [key ...]`
///
/// Replies the number of keys removed. O(1) a key: what takes long to free is freed in the background, unless
/// `lazyfree-lazy-user-del` says no.
pub fn del<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    remove(ctx, args, Why::Deleted)
}

/// `UNLINK key [key ...]`
///
/// As [`del`], but always freed in the background.
pub fn unlink<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    remove(ctx, args, Why::Unlinked)
}

fn remove(ctx: &mut Context<'_>, args: &mut Args<'_>, why: Why) -> Result<Outcome, CommandError> {
    let mut removed = 0;
    while args.remaining() > 0 {
        let key = args.key()?;
        if ctx.db.remove_for(key, why) {
            ctx.touch(key, Event::Generic("del"));
            removed += 1;
        }
    }
    ctx.reply.integer(removed);
    Ok(Outcome::Done)
}

/// `EXISTS key [key ...]`
///
/// Replies how many of the keys exist; one named twice counts twice. O(1) a key; no use of the key.
pub fn exists<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let mut found = 0;
    while args.remaining() > 0 {
        found += i64::from(ctx.db.look(args.key()?).is_some());
    }
    ctx.reply.integer(found);
    Ok(Outcome::Done)
}

/// `TOUCH key [key ...]`
///
/// Replies how many of the keys exist, and notes their use even for a client that said NO-TOUCH. O(1) a key.
pub fn touch<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let mut found = 0;
    while args.remaining() > 0 {
        found += i64::from(ctx.db.touch(args.key()?));
    }
    ctx.reply.integer(found);
    Ok(Outcome::Done)
}

/// `TYPE key`
///
/// Replies the type's name as a simple string, `none` for a missing key. O(1).
pub fn type_of<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;
    let name = ctx.db.look(key).map_or("none", EntryRef::type_name);
    ctx.reply.simple(name);
    Ok(Outcome::Done)
}

/// `RENAME key newkey`
///
/// Replies OK; whatever had the new name is gone. A missing key is an error. O(1): the value is not copied.
pub fn rename<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    if rename_unless(ctx, args, false)? {
        ctx.reply.ok();
    }
    Ok(Outcome::Done)
}

/// `RENAMENX key newkey`
///
/// Replies 1, or 0 when the new name is taken, be it by the key itself. A missing key is an error. O(1).
pub fn renamenx<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let renamed = rename_unless(ctx, args, true)?;
    ctx.reply.integer(i64::from(renamed));
    Ok(Outcome::Done)
}

/// Renames a key; with `keep`, only to a name that is free. Whether the key now has the new name, which without `keep`
/// it always has.
fn rename_unless<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, keep: bool) -> Result<bool, CommandError> {
    let (from, to) = (args.key()?, args.key()?);
    args.finish()?;
    if ctx.db.meet(from).is_none() {
        return Err(CommandError::NoSuchKey);
    }
    if from.bytes == to.bytes {
        return Ok(!keep);
    }
    if keep && ctx.db.meet(to).is_some() {
        return Ok(false);
    }
    ctx.db.rename(from, ctx.session.db, to);
    ctx.touch(from, Event::Generic("rename_from"));
    ctx.touch(to, Event::Generic("rename_to"));
    Ok(true)
}

/// `COPY source destination [DB destination-db] [REPLACE]`
///
/// Replies 1, or 0 when the source is missing or the destination taken. O(1): large strings are shared, not copied.
pub fn copy<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (from, to) = (args.key()?, args.key()?);
    let (mut db, mut replace) = (ctx.session.db, false);
    while args.remaining() > 0 {
        if args.word("REPLACE") {
            replace = true;
        } else if args.word("DB") {
            db = database_index(ctx, args)?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if db == ctx.session.db && from.bytes == to.bytes {
        return Err(SAME_KEY);
    }
    let copied =
        ctx.db.read(from).is_some() && (replace || ctx.db.meet_in(db, to).is_none()) && ctx.db.copy(from, db, to);
    if copied {
        ctx.touch_in(db, to, Event::Generic("copy_to"));
    }
    ctx.reply.integer(i64::from(copied));
    Ok(Outcome::Done)
}

/// `MOVE key db`
///
/// Replies 1, or 0 when the key is missing or exists in the other database too. O(1): the value is not copied.
pub fn move_key<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let (from, to) = (ctx.session.db, database_index(ctx, args)?);
    args.finish()?;
    if from == to {
        return Err(SAME_KEY);
    }
    let moved = ctx.db.meet(key).is_some() && ctx.db.meet_in(to, key).is_none() && ctx.db.rename(key, to, key);
    if moved {
        ctx.touch(key, Event::Generic("move_from"));
        ctx.touch_in(to, key, Event::Generic("move_to"));
    }
    ctx.reply.integer(i64::from(moved));
    Ok(Outcome::Done)
}

/// `RANDOMKEY`
///
/// Replies a key, every one about equally likely, or null when the database is empty. O(1) unless nearly all keys that
/// were there are gone.
pub fn randomkey<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let Context { db, reply, session, .. } = ctx;
    if !db.random_key(session.db, &mut rand::random, &mut |entry| reply.bulk(entry.key())) {
        reply.null();
    }
    Ok(Outcome::Done)
}
