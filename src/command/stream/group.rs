//! XGROUP and XACK: consumer groups and what they have acknowledged.

use super::delete::read_ids;
use super::{exact_id, id_or_end, no_group_in};
use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::help::{help as show_help, unknown_or_arity};
use crate::call::spec::Outcome;
use crate::value::stream::Stream;
use crate::value::stream::group::Group;
use crate::value::stream::id::until_nul;

const NO_KEY: CommandError = CommandError::text(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option \
     to create an empty stream automatically.",
);

/// `XGROUP HELP`
pub(super) fn help<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    show_help(
        &mut ctx.reply,
        "XGROUP",
        &[
            "CREATE <key> <group> <id|$> [MKSTREAM] [ENTRIESREAD <count>]",
            "    Make a group that goes on behind the id; MKSTREAM makes a missing stream.",
            "CREATECONSUMER <key> <group> <consumer>",
            "    Make a consumer.",
            "DELCONSUMER <key> <group> <consumer>",
            "    Remove a consumer and what it has pending.",
            "DESTROY <key> <group>",
            "    Remove a group.",
            "SETID <key> <group> <id|$> [ENTRIESREAD <count>]",
            "    Set the id behind which a group goes on.",
        ],
    );
    Ok(Outcome::Done)
}

/// The most arguments of XGROUP CREATE, every option once.
const MOST_CREATE: usize = 8;
/// The most arguments of XGROUP SETID.
const MOST_SET_ID: usize = 7;

fn wrong_arguments(args: &Args<'_>) -> CommandError {
    unknown_or_arity("XGROUP", args.request().arg(1))
}

/// The words behind the id of CREATE and SETID.
#[derive(Default)]
struct Options {
    make_stream: bool,
    entries_read: Option<i64>,
}

impl Options {
    fn read(args: &mut Args<'_>, create: bool) -> Result<Options, CommandError> {
        let mut options = Options::default();
        while args.remaining() > 0 {
            if create && args.word("MKSTREAM") {
                options.make_stream = true;
            } else if args.remaining() > 1 && args.word("ENTRIESREAD") {
                let count = args.integer()?;
                if count < -1 {
                    return Err(CommandError::text("ERR value for ENTRIESREAD must be positive or -1"));
                }
                options.entries_read = Some(count).filter(|count| *count >= 0);
            } else {
                return Err(wrong_arguments(args));
            }
        }
        Ok(options)
    }
}

/// `XGROUP CREATE key group id|$ [MKSTREAM] [ENTRIESREAD entries-read]`
///
/// Makes a group that goes on behind the id; an error when there is one of this name. O(1).
pub(super) fn create<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, group, id) = (args.key()?, args.bytes()?, args.bytes()?);
    let options = Options::read(args, true)?;
    let missing = ctx.db.get_mut::<Stream>(key)?.is_none();
    if missing && !options.make_stream {
        return Err(NO_KEY);
    }
    if args.request().argc() > MOST_CREATE {
        return Err(wrong_arguments(args));
    }
    let id = if until_nul(id) == b"$" { None } else { Some(exact_id(id)?) };

    let stream: &mut Stream = ctx.db.get_or_new(key)?;
    let id = id.unwrap_or_else(|| stream.entries().last_id());
    if !stream.groups_mut().insert(group, Group::new(id, options.entries_read)) {
        return Err(CommandError::text("BUSYGROUP Consumer Group name already exists"));
    }
    ctx.touch(key, Event::Stream("xgroup-create"));
    if missing {
        ctx.modified(key);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `XGROUP SETID key group id|$ [ENTRIESREAD entries-read]`
///
/// Sets the id behind which a group goes on, and forgets how many entries it has read unless that is said. O(1).
pub(super) fn set_id<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, name, id) = (args.key()?, args.bytes()?, args.bytes()?);
    let options = Options::read(args, false)?;
    let stream = ctx.db.get_mut::<Stream>(key)?.ok_or(NO_KEY)?;
    let (entries, group) = stream.with_group(name).ok_or_else(|| no_group_in(key, name))?;
    if args.request().argc() > MOST_SET_ID {
        return Err(wrong_arguments(args));
    }
    group.last_id = if until_nul(id) == b"$" { entries.last_id() } else { id_or_end(id, 0)? };
    group.entries_read = options.entries_read;
    ctx.touch(key, Event::Stream("xgroup-setid"));
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `XGROUP DESTROY key group`
///
/// Removes a group, and replies how many (0 or 1). Those who wait in it are told that it is gone. O(pending).
pub(super) fn destroy<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, group) = (args.key()?, args.bytes()?);
    args.finish()?;
    let stream = ctx.db.get_mut::<Stream>(key)?.ok_or(NO_KEY)?;
    let removed = stream.remove_group(group);
    if removed {
        ctx.touch(key, Event::Stream("xgroup-destroy"));
    }
    ctx.reply.integer(i64::from(removed));
    Ok(Outcome::Done)
}

/// `XGROUP CREATECONSUMER key group consumer`
///
/// Makes a consumer, and replies how many (0 or 1). O(1).
pub(super) fn create_consumer<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, name, consumer) = (args.key()?, args.bytes()?, args.bytes()?);
    args.finish()?;
    let stream = ctx.db.get_mut::<Stream>(key)?.ok_or(NO_KEY)?;
    let group = stream.groups_mut().get_mut(name).ok_or_else(|| no_group_in(key, name))?;
    let (_, made) = group.consumer_or_new(consumer, ctx.now.0);
    if made {
        ctx.touch(key, Event::Stream("xgroup-createconsumer"));
    }
    ctx.reply.integer(i64::from(made));
    Ok(Outcome::Done)
}

/// `XGROUP DELCONSUMER key group consumer`
///
/// Removes a consumer, and replies how many entries it had pending. O(log n) for each of them.
pub(super) fn delete_consumer<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, name, consumer) = (args.key()?, args.bytes()?, args.bytes()?);
    args.finish()?;
    let stream = ctx.db.get_mut::<Stream>(key)?.ok_or(NO_KEY)?;
    let group = stream.groups_mut().get_mut(name).ok_or_else(|| no_group_in(key, name))?;
    let removed = group.remove_consumer(consumer);
    if removed.is_some() {
        ctx.touch(key, Event::Stream("xgroup-delconsumer"));
    }
    ctx.reply.count(removed.unwrap_or(0));
    Ok(Outcome::Done)
}

/// `XACK key group id [id ...]`
///
/// Acknowledges deliveries and replies how many were pending. O(log n) an id. Without such a group the ids are not looked
/// at, as in Redis.
pub(super) fn xack<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, name) = (args.key()?, args.bytes()?);
    let mut acknowledged = 0;
    ctx.db.look(key); // it writes, but counts as a read
    let stream = ctx.db.get_mut::<Stream>(key)?;
    if let Some(group) = stream.and_then(|stream| stream.groups_mut().get_mut(name)) {
        let ids = read_ids(args)?;
        acknowledged = ids.into_iter().filter(|id| group.acknowledge(*id).is_some()).count();
    }
    if acknowledged > 0 {
        ctx.touch(key, Event::Silent);
    }
    ctx.reply.count(acknowledged);
    Ok(Outcome::Done)
}
