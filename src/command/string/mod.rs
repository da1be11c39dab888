//! The string commands, as the group "string" of the Redis command reference has them.
//!
//! Here are the rows and the commands that read; `store` has those that write values, `count` those that add to
//! numbers, `lcs` the comparison of two strings. Must not know: how a string is held beyond what `value` tells.

mod count;
mod lcs;
mod store;

use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec, Outcome};
use crate::protocol::reply::{LARGE_REPLY, Reply};
use crate::value::string::StringRef;
use count::{decr, decrby, incr, incrby, incrbyfloat};
use lcs::lcs;
use std::ops::Range;
use store::{append, getex, getset, mset, msetex, msetnx, psetex, set, set_key_flags, setex, setnx, setrange};

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "append",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::INSERT))],
        since: "2.0.0",
        group: Group::String,
        summary: "Adds bytes to the end of a string, which is created when missing.",
        complexity: "O(1) amortised in the bytes appended; a value that a slow reader still holds is copied once.",
        syntax: "key:key#0 value:string",
        run: append,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "decr",
        arity: 2,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
        since: "1.0.0",
        group: Group::String,
        summary: "Subtracts one from an integer; a missing key counts as 0.",
        complexity: "O(1)",
        syntax: "key:key#0",
        run: decr,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "decrby",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
        since: "1.0.0",
        group: Group::String,
        summary: "Subtracts a number from an integer; a missing key counts as 0.",
        complexity: "O(1)",
        syntax: "key:key#0 decrement:integer",
        run: decrby,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "delifeq",
        arity: 3,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::RM.and(KeyFlags::DELETE))],
        since: "9.0.0",
        group: Group::String,
        summary: "Deletes a key if its string equals the one given.",
        complexity: "O(N) where N is the length of the string.",
        syntax: "key:key#0 value:string",
        run: delifeq,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "get",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "1.0.0",
        group: Group::String,
        summary: "Returns a string.",
        complexity: "O(1); strings of 16 KiB and more are sent without a copy.",
        syntax: "key:key#0",
        run: get,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "getdel",
        arity: 2,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
        since: "6.2.0",
        group: Group::String,
        summary: "Returns a string and deletes its key.",
        complexity: "O(1)",
        syntax: "key:key#0",
        run: getdel,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "getex",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::STRING,
        keys: &[KeySpec {
            notes: "Updates: it changes the deadline",
            ..KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))
        }],
        since: "6.2.0",
        group: Group::String,
        summary: "Returns a string and sets or removes its deadline.",
        complexity: "O(1)",
        syntax: "key:key#0 [expiration<EX seconds:integer|PX milliseconds:integer|EXAT unix-time-seconds:unix-time|PXAT unix-time-milliseconds:unix-time|persist=PERSIST>]",
        run: getex,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "getrange",
        arity: 4,
        flags: Flags::READONLY,
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.4.0",
        group: Group::String,
        summary: "Returns part of a string.",
        complexity: "O(N) where N is the length of the part; 16 KiB and more are sent without a copy.",
        syntax: "key:key#0 start:integer end:integer",
        run: getrange,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "getset",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
        since: "1.0.0",
        group: Group::String,
        summary: "Stores a string and returns the one before.",
        complexity: "O(1)",
        syntax: "key:key#0 value:string",
        run: getset,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "incr",
        arity: 2,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
        since: "1.0.0",
        group: Group::String,
        summary: "Adds one to an integer; a missing key counts as 0.",
        complexity: "O(1)",
        syntax: "key:key#0",
        run: incr,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "incrby",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
        since: "1.0.0",
        group: Group::String,
        summary: "Adds a number to an integer; a missing key counts as 0.",
        complexity: "O(1)",
        syntax: "key:key#0 increment:integer",
        run: incrby,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "incrbyfloat",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
        since: "2.6.0",
        group: Group::String,
        summary: "Adds a floating-point number to a number; a missing key counts as 0.",
        complexity: "O(1)",
        syntax: "key:key#0 increment:double",
        run: incrbyfloat,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "lcs",
        arity: -3,
        flags: Flags::READONLY,
        categories: Categories::STRING,
        keys: &[KeySpec::range(1, 1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "7.0.0",
        group: Group::String,
        summary: "Finds the longest common subsequence of two strings.",
        complexity: "O(N*M/64) where N and M are the lengths of the strings.",
        syntax: "key1:key#0 key2:key#0 [len=LEN] [idx=IDX] [MINMATCHLEN min-match-len:integer] [withmatchlen=WITHMATCHLEN]",
        run: lcs,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "mget",
        arity: -2,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::STRING,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "1.0.0",
        group: Group::String,
        summary: "Returns several strings at once.",
        complexity: "O(N) where N is the number of keys.",
        syntax: "key:key#0...",
        tips: &["request_policy:multi_shard"],
        run: mget,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "mset",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::STRING,
        keys: &[KeySpec::range(1, -1, 2, KeyFlags::OW.and(KeyFlags::UPDATE))],
        since: "1.0.1",
        group: Group::String,
        summary: "Stores several strings at once.",
        complexity: "O(N) where N is the number of keys.",
        syntax: "data(key:key#0 value:string)...",
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        run: mset,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "msetex",
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS),
        categories: Categories::STRING,
        keys: &[KeySpec::counted(1, 2, KeyFlags::OW.and(KeyFlags::UPDATE))],
        since: "9.1.0",
        group: Group::String,
        summary: "Stores several strings at once, with a condition and a deadline for all.",
        complexity: "O(N) where N is the number of keys.",
        syntax: "numkeys:integer data(key:key#0 value:string)... [condition<nx=NX|xx=XX>] [expiration<EX seconds:integer|PX milliseconds:integer|EXAT unix-time-seconds:unix-time|PXAT unix-time-milliseconds:unix-time|keepttl=KEEPTTL>]",
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        run: msetex,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "msetnx",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::STRING,
        keys: &[KeySpec::range(1, -1, 2, KeyFlags::OW.and(KeyFlags::INSERT))],
        since: "1.0.1",
        group: Group::String,
        summary: "Stores several strings at once if none of their keys exists.",
        complexity: "O(N) where N is the number of keys.",
        syntax: "data(key:key#0 value:string)...",
        run: msetnx,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "psetex",
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::OW.and(KeyFlags::UPDATE))],
        since: "2.6.0",
        group: Group::String,
        summary: "Stores a string that expires after so many milliseconds.",
        complexity: "O(1)",
        syntax: "key:key#0 milliseconds:integer value:string",
        run: psetex,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "set",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::STRING,
        keys: &[KeySpec {
            notes: "Reads only with the option GET",
            ..KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE).and(KeyFlags::VARIABLE_FLAGS))
        }],
        since: "1.0.0",
        group: Group::String,
        summary: "Stores a string, whatever the key held, with a condition and a deadline on request.",
        complexity: "O(1)",
        syntax: "key:key#0 value:string [condition<nx=NX@2.6.12|xx=XX@2.6.12|IFEQ comparison-value:string{Stores only over a string that equals this one.}@8.1.0>] [get=GET@6.2.0] [expiration<EX seconds:integer@2.6.12|PX milliseconds:integer@2.6.12|EXAT unix-time-seconds:unix-time@6.2.0|PXAT unix-time-milliseconds:unix-time@6.2.0|keepttl=KEEPTTL@6.0.0>]",
        history: &[
            ("2.6.12", "Options EX, PX, NX and XX."),
            ("6.0.0", "Option KEEPTTL."),
            ("6.2.0", "Options GET, EXAT and PXAT."),
            ("7.0.0", "NX and GET together."),
            ("8.1.0", "Option IFEQ."),
        ],
        variable_flags: Some(set_key_flags),
        run: set,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "setex",
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::OW.and(KeyFlags::UPDATE))],
        since: "2.0.0",
        group: Group::String,
        summary: "Stores a string that expires after so many seconds.",
        complexity: "O(1)",
        syntax: "key:key#0 seconds:integer value:string",
        run: setex,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "setnx",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::OW.and(KeyFlags::INSERT))],
        since: "1.0.0",
        group: Group::String,
        summary: "Stores a string if its key does not exist.",
        complexity: "O(1)",
        syntax: "key:key#0 value:string",
        run: setnx,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "setrange",
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "2.2.0",
        group: Group::String,
        summary: "Overwrites part of a string from an offset on; what lies between is filled with zero bytes.",
        complexity: "O(N) where N is the number of bytes written, zeros included.",
        syntax: "key:key#0 offset:integer value:string",
        run: setrange,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "strlen",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        since: "2.2.0",
        group: Group::String,
        summary: "Returns the length of a string in bytes.",
        complexity: "O(1)",
        syntax: "key:key#0",
        run: strlen,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "substr",
        arity: 4,
        flags: Flags::READONLY,
        categories: Categories::STRING,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "1.0.0",
        group: Group::String,
        summary: "Returns part of a string (the old name of GETRANGE).",
        complexity: "O(N) where N is the length of the part.",
        syntax: "key:key#0 start:integer end:integer",
        run: substr,
        ..CommandSpec::DEFAULT
    },
];

/// Replies a string: one of 16 KiB or more from its own memory.
#[inline(always)]
fn reply_string(reply: &mut Reply<'_>, string: StringRef<'_>) {
    match string {
        StringRef::Int(n) => reply.bulk_integer(n),
        StringRef::Inline(bytes, _) => reply.bulk(bytes),
        StringRef::Large(bytes) if bytes.len() < LARGE_REPLY => reply.bulk(bytes),
        StringRef::Large(bytes) => reply.bulk_large(bytes.clone()),
    }
}

/// Replies a string, or null for a missing one; says whether there was one.
#[inline(always)]
fn reply_found(reply: &mut Reply<'_>, string: Option<StringRef<'_>>) -> bool {
    match string {
        Some(string) => reply_string(reply, string),
        None => reply.null(),
    }
    string.is_some()
}

/// `GET key`
///
/// Replies the string, or null. O(1); allocates nothing.
fn get<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;

    reply_found(&mut ctx.reply, ctx.db.string(key)?);
    Ok(Outcome::Done)
}

/// `MGET key [key ...]`
///
/// Replies the strings in order, null for what is missing or no string. O(keys); allocates nothing.
fn mget<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    ctx.reply.array(args.remaining());
    while args.remaining() > 0 {
        let key = args.key()?;
        reply_found(&mut ctx.reply, ctx.db.string(key).unwrap_or(None));
    }
    Ok(Outcome::Done)
}

/// `STRLEN key`
///
/// Replies the length in bytes, 0 for a missing key. O(1).
fn strlen<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;

    let len = ctx.db.string(key)?.map_or(0, StringRef::len);
    ctx.reply.count(len);
    Ok(Outcome::Done)
}

/// `GETRANGE key start end`
///
/// Replies the bytes from `start` to `end`, both included and counted from the end when negative; an empty string for a
/// missing key or an empty range. O(bytes replied), 16 KiB and more without a copy.
fn getrange<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let (start, end) = (args.integer()?, args.integer()?);
    args.finish()?;

    match ctx.db.string(key)? {
        Some(string) => reply_part(&mut ctx.reply, string, span(start, end, string.len())),
        None => ctx.reply.bulk(b""),
    }
    Ok(Outcome::Done)
}

/// `SUBSTR key start end`, the old name of [`getrange`].
fn substr<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    getrange(ctx, args)
}

/// Replies a range that lies within the string.
fn reply_part(reply: &mut Reply<'_>, string: StringRef<'_>, part: Range<usize>) {
    match string {
        StringRef::Int(n) => reply.bulk(&itoa::Buffer::new().format(n).as_bytes()[part]),
        StringRef::Inline(bytes, _) => reply.bulk(&bytes[part]),
        StringRef::Large(bytes) if part.len() < LARGE_REPLY => reply.bulk(&bytes[part]),
        StringRef::Large(bytes) => reply.bulk_large(bytes.slice(part)),
    }
}

/// The bytes of a string of `len` that `start` and `end` mean. As Redis has it, an `end` before the first byte is the first
/// byte, unless both are negative and the wrong way round.
fn span(start: i64, end: i64, len: usize) -> Range<usize> {
    let from_end = |index: i64| match usize::try_from(index) {
        Ok(index) => index,
        Err(_) => len.saturating_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let backwards = start < 0 && end < 0 && start > end;
    let (start, behind) = (from_end(start), from_end(end).saturating_add(1).min(len));
    if backwards || start >= behind { 0..0 } else { start..behind }
}

/// `GETDEL key`
///
/// Replies the string, or null, and deletes the key. O(1).
fn getdel<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;

    if reply_found(&mut ctx.reply, ctx.db.string(key)?) {
        ctx.db.remove(key);
        ctx.touch(key, Event::Generic("del"));
    }
    Ok(Outcome::Done)
}

/// `DELIFEQ key value`
///
/// Deletes the key if its string is `value`; replies 1 if so, else 0. O(length).
fn delifeq<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, value) = (args.key()?, args.bytes()?);
    args.finish()?;

    let equal = ctx.db.string_to_change(key)?.is_some_and(|string| string.equals(value));
    if equal {
        ctx.db.remove(key);
        ctx.touch(key, Event::Generic("del"));
    }
    ctx.reply.integer(i64::from(equal));
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected ranges are what Valkey 9.1 replied for `hello`.
    #[test]
    fn ranges_are_those_of_redis() {
        for (start, end, part) in [
            (0, -1, "hello"),
            (0, -100, "h"),
            (-100, -200, ""),
            (-200, -100, "h"),
            (-1, -2, ""),
            (5, 5, ""),
            (4, 100, "o"),
            (3, 2, ""),
            (-3, -1, "llo"),
            (i64::MIN, i64::MAX, "hello"),
            (i64::MAX, i64::MIN, ""),
        ] {
            assert_eq!(&"hello"[span(start, end, 5)], part, "{start} {end}");
        }
        assert_eq!(span(0, -1, 0), 0..0);
        assert_eq!(span(0, 0, 0), 0..0);
    }
}
