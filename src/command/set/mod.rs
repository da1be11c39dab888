//! The set commands, as the group "set" of the Redis command reference has them.
//!
//! Here are the rows and the commands on members; `algebra` has intersections, unions and differences, `random` what is
//! drawn by chance, `scan` SSCAN. Must not know: how a set is held beyond what `value` tells.

mod algebra;
mod random;
mod scan;

use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::limits;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec, Outcome};
use crate::keyspace::{Key, Ttl};
use crate::protocol::reply::Reply;
use crate::value::listpack::Item;
use crate::value::object::Collection;
use crate::value::set::Set;
use algebra::{sdiff, sdiffstore, sinter, sintercard, sinterstore, sunion, sunionstore};
use random::{spop, srandmember};
use scan::sscan;

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "sadd",
        element: 2,
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::SET,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::INSERT))],
        since: "1.0.0",
        group: Group::Set,
        summary: "Adds members to a set, which is created when missing.",
        complexity: "O(1) for each member.",
        syntax: "key:key#0 member:string...",
        history: &[("2.4.0", "More than one member.")],
        run: sadd,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "scard",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::SET,
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        since: "1.0.0",
        group: Group::Set,
        summary: "Counts the members of a set.",
        complexity: "O(1)",
        syntax: "key:key#0",
        run: scard,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "sdiff",
        arity: -2,
        flags: Flags::READONLY,
        categories: Categories::SET,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "1.0.0",
        group: Group::Set,
        summary: "Returns the members of the first set that none of the others has.",
        complexity: "O(N) where N is the number of members of all sets, or of the first times the number of sets if that is less.",
        syntax: "key:key#0...",
        tips: &["nondeterministic_output_order"],
        run: sdiff,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "sdiffstore",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::SET,
        keys: &[
            KeySpec::one(1, KeyFlags::OW.and(KeyFlags::UPDATE)),
            KeySpec::range(2, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS)),
        ],
        since: "1.0.0",
        group: Group::Set,
        summary: "Stores the difference of sets.",
        complexity: "As for SDIFF.",
        syntax: "destination:key#0 key:key#1...",
        run: sdiffstore,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "sinter",
        arity: -2,
        flags: Flags::READONLY,
        categories: Categories::SET,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "1.0.0",
        group: Group::Set,
        summary: "Returns the members that all sets have.",
        complexity: "O(N*M) for M sets of which the smallest has N members.",
        syntax: "key:key#0...",
        tips: &["nondeterministic_output_order"],
        run: sinter,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "sintercard",
        arity: -3,
        flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
        categories: Categories::SET,
        keys: &[KeySpec::counted(1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "7.0.0",
        group: Group::Set,
        summary: "Counts the members that all sets have, up to a limit.",
        complexity: "As for SINTER.",
        syntax: "numkeys:integer key:key#0... [LIMIT limit:integer]",
        run: sintercard,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "sinterstore",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::SET,
        keys: &[
            KeySpec::one(1, KeyFlags::OW.and(KeyFlags::UPDATE)),
            KeySpec::range(2, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS)),
        ],
        since: "1.0.0",
        group: Group::Set,
        summary: "Stores the intersection of sets.",
        complexity: "As for SINTER.",
        syntax: "destination:key#0 key:key#1...",
        run: sinterstore,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "sismember",
        element: 2,
        arity: 3,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::SET,
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        since: "1.0.0",
        group: Group::Set,
        summary: "Tells whether something is a member of a set.",
        complexity: "O(1)",
        syntax: "key:key#0 member:string",
        run: sismember,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "smembers",
        arity: 2,
        flags: Flags::READONLY,
        categories: Categories::SET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "1.0.0",
        group: Group::Set,
        summary: "Returns all members of a set.",
        complexity: "O(N) for N members.",
        syntax: "key:key#0",
        tips: &["nondeterministic_output_order"],
        run: smembers,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "smismember",
        arity: -3,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::SET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "6.2.0",
        group: Group::Set,
        summary: "Tells for each of several things whether it is a member of a set.",
        complexity: "O(N) for N questions.",
        syntax: "key:key#0 member:string...",
        run: smismember,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "smove",
        arity: 4,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::SET,
        keys: &[
            KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE)),
            KeySpec::one(2, KeyFlags::RW.and(KeyFlags::INSERT)),
        ],
        since: "1.0.0",
        group: Group::Set,
        summary: "Moves a member from one set to another.",
        complexity: "O(1)",
        syntax: "source:key#0 destination:key#1 member:string",
        run: smove,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "spop",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::SET,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
        since: "1.0.0",
        group: Group::Set,
        summary: "Takes random members out of a set.",
        complexity: "O(N) for N members, O(1) for one.",
        syntax: "key:key#0 [count:integer@3.2.0]",
        tips: &["nondeterministic_output"],
        history: &[("3.2.0", "`count`")],
        run: spop,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "srandmember",
        arity: -2,
        flags: Flags::READONLY,
        categories: Categories::SET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "1.0.0",
        group: Group::Set,
        summary: "Returns random members of a set.",
        complexity: "O(N) for N members, O(1) for one.",
        syntax: "key:key#0 [count:integer@2.6.0]",
        tips: &["nondeterministic_output"],
        history: &[("2.6.0", "`count`")],
        run: srandmember,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "srem",
        element: 2,
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::SET,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::DELETE))],
        since: "1.0.0",
        group: Group::Set,
        summary: "Removes members from a set.",
        complexity: "O(N) for N members.",
        syntax: "key:key#0 member:string...",
        history: &[("2.4.0", "More than one member.")],
        run: srem,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "sscan",
        arity: -3,
        flags: Flags::READONLY,
        categories: Categories::SET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.8.0",
        group: Group::Set,
        summary: "Walks through the members of a set, some at each call.",
        complexity: "O(N) for N members looked at; all of a small set.",
        syntax: "key:key#0 cursor:integer [MATCH pattern:pattern] [COUNT count:integer]",
        tips: &["nondeterministic_output"],
        run: sscan,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "sunion",
        arity: -2,
        flags: Flags::READONLY,
        categories: Categories::SET,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "1.0.0",
        group: Group::Set,
        summary: "Returns the members of all sets.",
        complexity: "O(N) for N members of all sets.",
        syntax: "key:key#0...",
        tips: &["nondeterministic_output_order"],
        run: sunion,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "sunionstore",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::SET,
        keys: &[
            KeySpec::one(1, KeyFlags::OW.and(KeyFlags::UPDATE)),
            KeySpec::range(2, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS)),
        ],
        since: "1.0.0",
        group: Group::Set,
        summary: "Stores the union of sets.",
        complexity: "O(N) for N members of all sets.",
        syntax: "destination:key#0 key:key#1...",
        run: sunionstore,
        ..CommandSpec::DEFAULT
    },
];

/// Replies a member as a bulk string.
#[inline]
fn reply_member(reply: &mut Reply<'_>, item: Item<'_>) {
    match item {
        Item::Int(value) => reply.bulk_integer(value),
        Item::Text(text) => reply.bulk(text),
    }
}

/// What is left of the arguments, as members.
fn members<'a>(args: &mut Args<'a>) -> impl Iterator<Item = &'a [u8]> {
    std::iter::from_fn(|| args.bytes().ok())
}

/// Removes the key of a set that has become empty, and announces it.
fn remove_emptied(ctx: &mut Context<'_>, key: Key<'_>, empty: bool) {
    if empty && ctx.db.remove(key) {
        ctx.notify(key, Event::Generic("del"));
    }
}

/// `SADD key member [member ...]`
///
/// Replies how many members are new. O(1) for each.
fn sadd<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, count) = (args.key()?, args.remaining());
    let limits = limits::set(&ctx.shared.config);

    let added = if let Some(set) = ctx.db.get_mut::<Set>(key)? {
        set.expect(count, &limits);
        members(args).filter(|member| set.insert(member, &limits)).count()
    } else {
        let mut set = Set::for_member(args.peek().unwrap_or(b""), count, &limits);
        let added = members(args).filter(|member| set.insert(member, &limits)).count();
        ctx.db.put(key, set, Ttl::Clear);
        added
    };
    if added > 0 {
        ctx.touch(key, Event::Set("sadd"));
    }
    ctx.reply.count(added);
    Ok(Outcome::Done)
}

/// `SREM key member [member ...]`
///
/// Replies how many were members. O(1) for each.
fn srem<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;

    let (mut removed, mut empty) = (0, false);
    if let Some(set) = ctx.db.get_mut::<Set>(key)? {
        removed = members(args).filter(|member| set.remove(member)).count();
        empty = set.is_empty();
    }
    if removed > 0 {
        ctx.touch(key, Event::Set("srem"));
        remove_emptied(ctx, key, empty);
    }
    ctx.reply.count(removed);
    Ok(Outcome::Done)
}

/// `SCARD key`
///
/// Replies the number of members. O(1).
fn scard<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;
    let len = ctx.db.get::<Set>(key)?.map_or(0, Set::len);
    ctx.reply.count(len);
    Ok(Outcome::Done)
}

/// `SISMEMBER key member`
///
/// Replies 1 or 0. O(1).
fn sismember<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, member) = (args.key()?, args.bytes()?);
    args.finish()?;
    let found = ctx.db.get::<Set>(key)?.is_some_and(|set| set.contains(member));
    ctx.reply.integer(i64::from(found));
    Ok(Outcome::Done)
}

/// `SMISMEMBER key member [member ...]`
///
/// Replies 1 or 0 for each. O(1) for each.
fn smismember<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let Context { db, reply, .. } = ctx;
    let set = db.get::<Set>(key)?;
    reply.array(args.remaining());
    for member in members(args) {
        reply.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(Outcome::Done)
}

/// `SMEMBERS key`
///
/// Replies all members. O(members).
fn smembers<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;
    let Context { db, reply, .. } = ctx;
    let set = db.get::<Set>(key)?;
    reply.set(set.map_or(0, Set::len));
    set.into_iter().flatten().for_each(|item| reply_member(reply, item));
    Ok(Outcome::Done)
}

/// `SMOVE source destination member`
///
/// Replies 1, or 0 when there is no such member. O(1).
fn smove<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (source, destination, member) = (args.key()?, args.key()?, args.bytes()?);
    args.finish()?;
    let moved = move_member(ctx, source, destination, member)?;
    ctx.reply.integer(i64::from(moved));
    Ok(Outcome::Done)
}

fn move_member(
    ctx: &mut Context<'_>,
    source: Key<'_>,
    destination: Key<'_>,
    member: &[u8],
) -> Result<bool, CommandError> {
    let Some(set) = ctx.db.get_mut::<Set>(source)? else { return Ok(false) };
    if source.bytes == destination.bytes {
        return Ok(set.contains(member));
    }
    ctx.db.get_mut::<Set>(destination)?; // its type, before anything changes
    let Some(set) = ctx.db.get_mut::<Set>(source)? else { return Ok(false) };
    if !set.remove(member) {
        return Ok(false);
    }
    let empty = set.is_empty();
    ctx.touch(source, Event::Set("srem"));
    remove_emptied(ctx, source, empty);

    let limits = limits::set(&ctx.shared.config);
    let added = if let Some(set) = ctx.db.get_mut::<Set>(destination)? {
        set.insert(member, &limits)
    } else {
        let mut set = Set::for_member(member, 1, &limits);
        set.insert(member, &limits);
        ctx.db.put(destination, set, Ttl::Clear);
        true
    };
    if added {
        ctx.touch(destination, Event::Set("sadd"));
    }
    Ok(true)
}
