//! The hash commands, as the group "hash" of the Redis command reference has them.
//!
//! Here are the rows and the commands that read; `store` has those that write values, `deadline` those about the deadlines
//! of fields, `together` those that read or write values and deadlines at once, `walk` HSCAN and HRANDFIELD. Must not
//! know: how a hash is held beyond what `value` tells.

mod deadline;
mod store;
mod together;
mod walk;

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::limits;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec, Outcome};
use crate::protocol::reply::Reply;
use crate::value::hash::{Hash, Limits};
use crate::value::listpack::Item;
use deadline::{hexpire, hexpireat, hexpiretime, hpersist, hpexpire, hpexpireat, hpexpiretime, hpttl, httl};
use store::{hdel, hincrby, hincrbyfloat, hmset, hset, hsetnx};
use together::{hgetdel, hgetex, hsetex};
use walk::{hrandfield, hscan};

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "hdel",
        element: 2,
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::DELETE))],
        since: "2.0.0",
        group: Group::Hash,
        summary: "Removes fields, and the key when none is left.",
        complexity: "O(fields removed)",
        syntax: "key:key#0 field:string...",
        history: &[("2.4.0", "Takes several fields.")],
        run: hdel,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hexists",
        element: 2,
        arity: 3,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        since: "2.0.0",
        group: Group::Hash,
        summary: "Tells whether a hash has a field.",
        complexity: "O(1)",
        syntax: "key:key#0 field:string",
        run: hexists,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hexpire",
        arity: -6,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "9.0.0",
        group: Group::Hash,
        summary: "Gives fields a time to live in seconds.",
        complexity: "O(fields named)",
        syntax: "key:key#0 seconds:integer [condition<nx=NX|xx=XX|gt=GT|lt=LT>] FIELDS fields(numfields:integer field:string...)",
        run: hexpire,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hexpireat",
        arity: -6,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "9.0.0",
        group: Group::Hash,
        summary: "Lets fields expire at a Unix time in seconds.",
        complexity: "O(fields named)",
        syntax: "key:key#0 unix-time-seconds:integer [condition<nx=NX|xx=XX|gt=GT|lt=LT>@9.0.0] FIELDS fields(numfields:integer#0 field:string...)",
        run: hexpireat,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hexpiretime",
        arity: -5,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "9.0.0",
        group: Group::Hash,
        summary: "Answers the Unix times in seconds at which fields expire.",
        complexity: "O(fields named)",
        syntax: "key:key#0 FIELDS fields(numfields:integer#0 field:string...)",
        run: hexpiretime,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hget",
        element: 2,
        arity: 3,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.0.0",
        group: Group::Hash,
        summary: "Answers the value of a field.",
        complexity: "O(1)",
        syntax: "key:key#0 field:string",
        run: hget,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hgetall",
        arity: 2,
        flags: Flags::READONLY,
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.0.0",
        group: Group::Hash,
        summary: "Answers all fields with their values.",
        complexity: "O(fields)",
        syntax: "key:key#0",
        tips: &["nondeterministic_output_order"],
        run: hgetall,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hgetdel",
        arity: -5,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
        since: "9.1.0",
        group: Group::Hash,
        summary: "Answers the values of fields and removes them.",
        complexity: "O(fields named)",
        syntax: "key:key#0 FIELDS fields(numfields:integer#0 field:string...)",
        run: hgetdel,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hgetex",
        arity: -5,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
        since: "9.0.0",
        group: Group::Hash,
        summary: "Answers the values of fields and sets or clears their deadlines.",
        complexity: "O(fields named)",
        syntax: "key:key#0 [expiration<EX seconds:integer|PX milliseconds:integer|EXAT unix-time-seconds:unix-time|PXAT unix-time-milliseconds:unix-time|persist=PERSIST>] FIELDS fields(numfields:integer#0 field:string...)",
        run: hgetex,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hincrby",
        element: 2,
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
        since: "2.0.0",
        group: Group::Hash,
        summary: "Adds to the integer in a field; a missing one counts as 0.",
        complexity: "O(1)",
        syntax: "key:key#0 field:string increment:integer",
        run: hincrby,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hincrbyfloat",
        element: 2,
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
        since: "2.6.0",
        group: Group::Hash,
        summary: "Adds to the number in a field with a fraction; a missing one counts as 0.",
        complexity: "O(1)",
        syntax: "key:key#0 field:string increment:double",
        run: hincrbyfloat,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hkeys",
        arity: 2,
        flags: Flags::READONLY,
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.0.0",
        group: Group::Hash,
        summary: "Answers all fields.",
        complexity: "O(fields)",
        syntax: "key:key#0",
        tips: &["nondeterministic_output_order"],
        run: hkeys,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hlen",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        since: "2.0.0",
        group: Group::Hash,
        summary: "Answers how many fields a hash has.",
        complexity: "O(1)",
        syntax: "key:key#0",
        run: hlen,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hmget",
        arity: -3,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.0.0",
        group: Group::Hash,
        summary: "Answers the values of several fields.",
        complexity: "O(fields named)",
        syntax: "key:key#0 field:string...",
        run: hmget,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hmset",
        element: 2,
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "2.0.0",
        group: Group::Hash,
        summary: "Sets the values of several fields.",
        complexity: "O(fields named)",
        syntax: "key:key#0 data(field:string value:string)...",
        run: hmset,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hpersist",
        arity: -5,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "9.0.0",
        group: Group::Hash,
        summary: "Takes the deadlines off fields.",
        complexity: "O(fields named)",
        syntax: "key:key#0 FIELDS fields(numfields:integer#0 field:string...)",
        run: hpersist,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hpexpire",
        arity: -6,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "9.0.0",
        group: Group::Hash,
        summary: "Gives fields a time to live in milliseconds.",
        complexity: "O(fields named)",
        syntax: "key:key#0 milliseconds:integer [condition<nx=NX|xx=XX|gt=GT|lt=LT>@9.0.0] FIELDS fields(numfields:integer#0 field:string...)",
        run: hpexpire,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hpexpireat",
        arity: -6,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "9.0.0",
        group: Group::Hash,
        summary: "Lets fields expire at a Unix time in milliseconds.",
        complexity: "O(fields named)",
        syntax: "key:key#0 unix-time-milliseconds:integer [condition<nx=NX|xx=XX|gt=GT|lt=LT>@9.0.0] FIELDS fields(numfields:integer#0 field:string...)",
        run: hpexpireat,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hpexpiretime",
        arity: -5,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "9.0.0",
        group: Group::Hash,
        summary: "Answers the Unix times in milliseconds at which fields expire.",
        complexity: "O(fields named)",
        syntax: "key:key#0 FIELDS fields(numfields:integer#0 field:string...)",
        run: hpexpiretime,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hpttl",
        arity: -5,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "9.0.0",
        group: Group::Hash,
        summary: "Answers how many milliseconds fields have to live.",
        complexity: "O(fields named)",
        syntax: "key:key#0 FIELDS fields(numfields:integer#0 field:string...)",
        run: hpttl,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hrandfield",
        arity: -2,
        flags: Flags::READONLY,
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "6.2.0",
        group: Group::Hash,
        summary: "Answers fields chosen at random.",
        complexity: "O(fields answered), or O(fields) when they are more than a third of all.",
        syntax: "key:key#0 [options(count:integer [withvalues=WITHVALUES])]",
        tips: &["nondeterministic_output"],
        run: hrandfield,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hscan",
        arity: -3,
        flags: Flags::READONLY,
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.8.0",
        group: Group::Hash,
        summary: "Walks through the fields of a hash in steps.",
        complexity: "O(1) a step, O(fields) for the whole walk.",
        syntax: "key:key#0 cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [novalues=NOVALUES]",
        tips: &["nondeterministic_output"],
        run: hscan,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hset",
        element: 2,
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "2.0.0",
        group: Group::Hash,
        summary: "Sets the values of fields, new ones among them.",
        complexity: "O(fields named)",
        syntax: "key:key#0 data(field:string value:string)...",
        history: &[("4.0.0", "Takes several fields with their values.")],
        run: hset,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hsetex",
        arity: -6,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::INSERT))],
        since: "9.0.0",
        group: Group::Hash,
        summary: "Sets the values of fields together with their deadline.",
        complexity: "O(fields named)",
        syntax: "key:key#0 [key-condition<nx=NX|xx=XX>] [fields-condition<fnx=FNX|fxx=FXX>] [expiration<EX seconds:integer|PX milliseconds:integer|EXAT unix-time-seconds:unix-time|PXAT unix-time-milliseconds:unix-time|keepttl=KEEPTTL>] FIELDS fields(numfields:integer#0 data(field:string value:string)...)",
        run: hsetex,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hsetnx",
        element: 2,
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::INSERT))],
        since: "2.0.0",
        group: Group::Hash,
        summary: "Sets the value of a field that does not exist yet.",
        complexity: "O(1)",
        syntax: "key:key#0 field:string value:string",
        run: hsetnx,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hstrlen",
        element: 2,
        arity: 3,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        since: "3.2.0",
        group: Group::Hash,
        summary: "Answers the length of a field's value.",
        complexity: "O(1)",
        syntax: "key:key#0 field:string",
        run: hstrlen,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "httl",
        arity: -5,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "9.0.0",
        group: Group::Hash,
        summary: "Answers how many seconds fields have to live.",
        complexity: "O(fields named)",
        syntax: "key:key#0 FIELDS fields(numfields:integer#0 field:string...)",
        run: httl,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hvals",
        arity: 2,
        flags: Flags::READONLY,
        categories: Categories::HASH,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.0.0",
        group: Group::Hash,
        summary: "Answers all values.",
        complexity: "O(fields)",
        syntax: "key:key#0",
        tips: &["nondeterministic_output_order"],
        run: hvals,
        ..CommandSpec::DEFAULT
    },
];

/// Writes a field or a value.
#[inline]
fn reply_item(reply: &mut Reply<'_>, item: Item<'_>) {
    match item {
        Item::Int(value) => reply.bulk_integer(value),
        Item::Text(text) => reply.bulk(text),
    }
}

/// Writes a value, or null for a missing one.
#[inline]
fn reply_found(reply: &mut Reply<'_>, item: Option<Item<'_>>) {
    match item {
        Some(item) => reply_item(reply, item),
        None => reply.null(),
    }
}

/// How large a hash may be and still be a listpack, as configured now.
#[inline]
fn limits(ctx: &Context<'_>) -> Limits {
    limits::hash(&ctx.shared.config)
}

/// The arguments that are left, with their number.
#[derive(Clone)]
struct Rest<'a>(Args<'a>);

impl<'a> Rest<'a> {
    fn len(&self) -> usize {
        self.0.remaining()
    }
}

impl<'a> Iterator for Rest<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.bytes().ok()
    }
}

/// The arguments that are left, as fields with their values.
#[derive(Clone)]
struct Pairs<'a>(Rest<'a>);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.next()?, self.0.next()?))
    }
}

/// `HGET key field`
///
/// Replies the value, or null. O(1).
fn hget<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, field) = (args.key()?, args.bytes()?);
    args.finish()?;

    let now = ctx.now.0;
    let hash = ctx.db.get::<Hash>(key)?;
    reply_found(&mut ctx.reply, hash.and_then(|hash| hash.get(field, now)));
    Ok(Outcome::Done)
}

/// `HMGET key field [field ...]`
///
/// Replies the values, null for a missing one. O(fields named).
fn hmget<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, fields, now) = (args.key()?, Rest(args.clone()), ctx.now.0);

    let hash = ctx.db.get::<Hash>(key)?;
    ctx.reply.array(fields.len());
    for field in fields {
        reply_found(&mut ctx.reply, hash.and_then(|hash| hash.get(field, now)));
    }
    Ok(Outcome::Done)
}

/// `HEXISTS key field`
///
/// Replies 1 or 0. O(1).
fn hexists<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, field) = (args.key()?, args.bytes()?);
    args.finish()?;

    let now = ctx.now.0;
    let found = ctx.db.get::<Hash>(key)?.is_some_and(|hash| hash.contains(field, now));
    ctx.reply.integer(i64::from(found));
    Ok(Outcome::Done)
}

/// `HLEN key`
///
/// Replies the number of fields. O(1). Unlike in Valkey, fields that have expired never count.
fn hlen<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;

    let now = ctx.now.0;
    let len = ctx.db.get::<Hash>(key)?.map_or(0, |hash| hash.live_len(now));
    ctx.reply.count(len);
    Ok(Outcome::Done)
}

/// `HSTRLEN key field`
///
/// Replies the length of the value, 0 for a missing one. O(1).
fn hstrlen<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, field) = (args.key()?, args.bytes()?);
    args.finish()?;

    let now = ctx.now.0;
    let value = ctx.db.get::<Hash>(key)?.and_then(|hash| hash.get(field, now));
    ctx.reply.count(value.map_or(0, Item::len));
    Ok(Outcome::Done)
}

/// `HGETALL key`
///
/// Replies a map of all fields. O(fields).
fn hgetall<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;

    let (hash, now) = (ctx.db.get::<Hash>(key)?, ctx.now.0);
    ctx.reply.map(hash.map_or(0, |hash| hash.live_len(now)));
    for (field, value) in hash.into_iter().flat_map(|hash| hash.iter(now)) {
        reply_item(&mut ctx.reply, field);
        reply_item(&mut ctx.reply, value);
    }
    Ok(Outcome::Done)
}

/// `HKEYS key`
///
/// Replies all fields. O(fields).
fn hkeys<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    reply_each(ctx, args, |(field, _)| field)
}

/// `HVALS key`
///
/// Replies all values. O(fields).
fn hvals<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    reply_each(ctx, args, |(_, value)| value)
}

fn reply_each<'a>(
    ctx: &mut Context<'a>,
    args: &mut Args<'a>,
    part: impl for<'h> Fn((Item<'h>, Item<'h>)) -> Item<'h>,
) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;

    let (hash, now) = (ctx.db.get::<Hash>(key)?, ctx.now.0);
    ctx.reply.array(hash.map_or(0, |hash| hash.live_len(now)));
    for pair in hash.into_iter().flat_map(|hash| hash.iter(now)) {
        reply_item(&mut ctx.reply, part(pair));
    }
    Ok(Outcome::Done)
}
