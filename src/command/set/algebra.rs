//! The set commands that compare sets with each other.
//!
//! Every key is looked up, and its type checked, before anything is made of the sets; a missing one is an empty set.

use super::reply_member;
use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::limits;
use crate::call::spec::Outcome;
use crate::keyspace::{Key, Ttl};
use crate::value::object::Collection;
use crate::value::set::algebra::{difference, difference_set, intersect, intersection_set, union, union_set};
use crate::value::set::{Limits, Set};
use smallvec::SmallVec;

/// The keys of a request, without an allocation for the usual few.
type Keys<'a> = SmallVec<[Key<'a>; 8]>;

/// The next `count` arguments as keys.
fn keys<'a>(args: &mut Args<'a>, count: usize) -> Result<Keys<'a>, CommandError> {
    (0..count).map(|_| args.key()).collect()
}

/// `SINTER key [key ...]`
///
/// Replies the members that all sets have. O(smallest set x sets).
pub(super) fn sinter<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let keys = keys(args, args.remaining())?;
    let Context { db, reply, .. } = ctx;
    let sets = db.get_all::<Set>(&keys)?;

    let (place, mut count) = (reply.deferred(), 0);
    if let Some(sets) = sets.into_iter().collect::<Option<Vec<&Set>>>() {
        intersect(&sets, &mut |item| {
            reply_member(reply, item);
            count += 1;
            true
        });
    }
    reply.finish_set(place, count);
    Ok(Outcome::Done)
}

/// `SINTERCARD numkeys key [key ...] [LIMIT limit]`
///
/// Replies how many members all sets have, `limit` if there are more and it is not 0. O(smallest set x sets).
pub(super) fn sintercard<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    const NUMKEYS: CommandError = CommandError::text("ERR numkeys should be greater than 0");
    let number = args.integer_or(NUMKEYS)?;
    let number = usize::try_from(number).ok().filter(|number| *number > 0).ok_or(NUMKEYS)?;
    if number > args.remaining() {
        return Err(CommandError::text("ERR Number of keys can't be greater than number of args"));
    }
    let (keys, mut limit) = (keys(args, number)?, 0);
    while args.remaining() > 0 {
        if !args.word("LIMIT") || args.remaining() == 0 {
            return Err(CommandError::Syntax);
        }
        limit = read_limit(args)?;
    }

    let sets = ctx.db.get_all::<Set>(&keys)?;
    let mut count = 0;
    if let Some(sets) = sets.into_iter().collect::<Option<Vec<&Set>>>() {
        intersect(&sets, &mut |_| {
            count += 1;
            count != limit
        });
    }
    ctx.reply.count(count);
    Ok(Outcome::Done)
}

fn read_limit(args: &mut Args<'_>) -> Result<usize, CommandError> {
    const NEGATIVE: CommandError = CommandError::text("ERR LIMIT can't be negative");
    let limit = args.integer_or(NEGATIVE)?;
    if limit < 0 { Err(NEGATIVE) } else { Ok(usize::try_from(limit).unwrap_or(usize::MAX)) }
}

/// `SUNION key [key ...]`
///
/// Replies the members of all sets. O(members of all sets).
pub(super) fn sunion<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let keys = keys(args, args.remaining())?;
    let Context { db, reply, .. } = ctx;
    let sets: Vec<&Set> = db.get_all::<Set>(&keys)?.into_iter().flatten().collect();

    let (place, mut count) = (reply.deferred(), 0);
    union(&sets, &mut |item| {
        reply_member(reply, item);
        count += 1;
    });
    reply.finish_set(place, count);
    Ok(Outcome::Done)
}

/// `SDIFF key [key ...]`
///
/// Replies the members of the first set that no other has. O(members of all sets) at most.
pub(super) fn sdiff<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let keys = keys(args, args.remaining())?;
    let Context { db, reply, .. } = ctx;
    let sets = db.get_all::<Set>(&keys)?;

    let (place, mut count) = (reply.deferred(), 0);
    difference(&minuend_first(sets), &mut |item| {
        reply_member(reply, item);
        count += 1;
    });
    reply.finish_set(place, count);
    Ok(Outcome::Done)
}

/// The sets that there are, none when the first is missing.
fn minuend_first(sets: Vec<Option<&Set>>) -> Vec<&Set> {
    if matches!(sets[..], [Some(_), ..]) { sets.into_iter().flatten().collect() } else { Vec::new() }
}

/// `SINTERSTORE destination key [key ...]`
///
/// Stores the intersection, or removes the key when that is empty; replies its size. O(smallest set x sets).
pub(super) fn sinterstore<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    store(ctx, args, "sinterstore", |sets, limits| {
        let sets = sets.into_iter().collect::<Option<Vec<&Set>>>();
        sets.map_or_else(Set::default, |sets| intersection_set(&sets, limits))
    })
}

/// `SUNIONSTORE destination key [key ...]`
///
/// Stores the union, or removes the key when that is empty; replies its size. O(members of all sets).
pub(super) fn sunionstore<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    store(ctx, args, "sunionstore", |sets, limits| union_set(&sets.into_iter().flatten().collect::<Vec<_>>(), limits))
}

/// `SDIFFSTORE destination key [key ...]`
///
/// Stores the difference, or removes the key when that is empty; replies its size. O(members of all sets) at most.
pub(super) fn sdiffstore<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    store(ctx, args, "sdiffstore", |sets, limits| difference_set(&minuend_first(sets), limits))
}

fn store<'a>(
    ctx: &mut Context<'a>,
    args: &mut Args<'a>,
    event: &'static str,
    make: impl FnOnce(Vec<Option<&Set>>, &Limits) -> Set,
) -> Result<Outcome, CommandError> {
    let destination = args.key()?;
    let keys = keys(args, args.remaining())?;

    let result = make(ctx.db.get_all::<Set>(&keys)?, &limits::set(&ctx.shared.config));
    let len = result.len();
    if len > 0 {
        ctx.db.put(destination, result, Ttl::Clear);
        ctx.touch(destination, Event::Set(event));
    } else if ctx.db.remove(destination) {
        ctx.touch(destination, Event::Generic("del"));
    }
    ctx.reply.count(len);
    Ok(Outcome::Done)
}
