//! The sorted set commands, as the group "sorted-set" of the Redis command reference has them.
//!
//! Here are the rows and what the files share: `add` has what gives scores, `count` what asks about scores and ranks,
//! `range` what returns ranges, `remove` and `pop` what takes members away, `combine` the unions, intersections and
//! differences, `random` and `scan` what their names say. Must not know: how a sorted set is held.

pub(super) mod add;
mod combine;
mod count;
mod pop;
mod random;
mod range;
mod remove;
mod scan;

use crate::call::context::{Context, Event};
use crate::call::limits;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec};
use crate::keyspace::{Key, Ttl};
use crate::protocol::reply::{Reply, Resp};
use crate::value::listpack::Item;
use crate::value::object::Collection;
use crate::value::sorted_set::{Limits, SortedSet};
use add::{zadd, zincrby};
use combine::{zdiff, zdiffstore, zinter, zintercard, zinterstore, zunion, zunionstore};
use count::{zcard, zcount, zlexcount, zmscore, zrank, zrevrank, zscore};
use pop::{bzmpop, bzpopmax, bzpopmin, zmpop, zpopmax, zpopmin};
use random::zrandmember;
use range::{zrange, zrangebylex, zrangebyscore, zrangestore, zrevrange, zrevrangebylex, zrevrangebyscore};
use remove::{zrem, zremrangebylex, zremrangebyrank, zremrangebyscore};
use scan::zscan;

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "bzmpop",
        arity: -5,
        flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::counted(2, 1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
        since: "7.0.0",
        group: Group::SortedSet,
        summary: "Removes members at one end of the first sorted set that is not empty; waits for one.",
        complexity: "O(K + M log N) for K keys and M members out of N.",
        syntax: "timeout:double numkeys:integer key:key#0... where<min=MIN|max=MAX> [COUNT count:integer]",
        run: bzmpop,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "bzpopmax",
        arity: -3,
        flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::FAST),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::range(1, -2, 1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
        since: "5.0.0",
        group: Group::SortedSet,
        summary: "Removes the highest member of the first sorted set that is not empty; waits for one.",
        complexity: "O(K + log N) for K keys and N members.",
        syntax: "key:key#0... timeout:double",
        history: &[("6.0.0", "The timeout may have a fraction.")],
        run: bzpopmax,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "bzpopmin",
        arity: -3,
        flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::FAST),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::range(1, -2, 1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
        since: "5.0.0",
        group: Group::SortedSet,
        summary: "Removes the lowest member of the first sorted set that is not empty; waits for one.",
        complexity: "O(K + log N) for K keys and N members.",
        syntax: "key:key#0... timeout:double",
        history: &[("6.0.0", "The timeout may have a fraction.")],
        run: bzpopmin,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zadd",
        element: 3,
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "1.2.0",
        group: Group::SortedSet,
        summary: "Gives members scores, adding those that are missing.",
        complexity: "O(log N) a member.",
        syntax: "key:key#0 [condition<nx=NX|xx=XX>@3.0.2] [comparison<gt=GT|lt=LT>@6.2.0] [change=CH@3.0.2] [increment=INCR@3.0.2] data(score:double member:string)...",
        history: &[("2.4.0", "Takes several members."), ("3.0.2", "NX, XX, CH and INCR."), ("6.2.0", "GT and LT.")],
        run: zadd,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zcard",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        since: "1.2.0",
        group: Group::SortedSet,
        summary: "Counts the members.",
        complexity: "O(1)",
        syntax: "key:key#0",
        run: zcard,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zcount",
        arity: 4,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.0.0",
        group: Group::SortedSet,
        summary: "Counts the members with scores in a range.",
        complexity: "O(log N)",
        syntax: "key:key#0 min:double max:double",
        run: zcount,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zdiff",
        arity: -3,
        flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::counted(1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "6.2.0",
        group: Group::SortedSet,
        summary: "Returns the members of the first sorted set that no other has.",
        complexity: "O(L + M log M) for L members of the first set, each looked up in the others, M of which are left.",
        syntax: "numkeys:integer key:key#0... [withscores=WITHSCORES]",
        run: zdiff,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zdiffstore",
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS),
        categories: Categories::SORTEDSET,
        keys: &[
            KeySpec::one(1, KeyFlags::OW.and(KeyFlags::UPDATE)),
            KeySpec::counted(2, 1, KeyFlags::RO.and(KeyFlags::ACCESS)),
        ],
        since: "6.2.0",
        group: Group::SortedSet,
        summary: "Stores the members of the first sorted set that no other has.",
        complexity: "O(L + M log M) for L members of the first set, each looked up in the others, M of which are left.",
        syntax: "destination:key#0 numkeys:integer key:key#1...",
        run: zdiffstore,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zincrby",
        element: 3,
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
        since: "1.2.0",
        group: Group::SortedSet,
        summary: "Adds to the score of a member; a missing one counts as 0.",
        complexity: "O(log N)",
        syntax: "key:key#0 increment:integer member:string",
        run: zincrby,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zinter",
        arity: -3,
        flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::counted(1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "6.2.0",
        group: Group::SortedSet,
        summary: "Returns the members that all the sorted sets have.",
        complexity: "O(N*K + M log M) for N members of the smallest of K sets and M in the result.",
        syntax: "numkeys:integer key:key#0... [WEIGHTS weight:integer...] [AGGREGATE aggregate<sum=SUM|min=MIN|max=MAX>] [withscores=WITHSCORES]",
        run: zinter,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zintercard",
        arity: -3,
        flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::counted(1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "7.0.0",
        group: Group::SortedSet,
        summary: "Counts the members that all the sorted sets have.",
        complexity: "O(N*K) for N members of the smallest of K sets; less with a limit.",
        syntax: "numkeys:integer key:key#0... [LIMIT limit:integer]",
        run: zintercard,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zinterstore",
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS),
        categories: Categories::SORTEDSET,
        keys: &[
            KeySpec::one(1, KeyFlags::OW.and(KeyFlags::UPDATE)),
            KeySpec::counted(2, 1, KeyFlags::RO.and(KeyFlags::ACCESS)),
        ],
        since: "2.0.0",
        group: Group::SortedSet,
        summary: "Stores the members that all the sorted sets have.",
        complexity: "O(N*K + M log M) for N members of the smallest of K sets and M in the result.",
        syntax: "destination:key#0 numkeys:integer key:key#1... [WEIGHTS weight:integer...] [AGGREGATE aggregate<sum=SUM|min=MIN|max=MAX>]",
        run: zinterstore,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zlexcount",
        arity: 4,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.8.9",
        group: Group::SortedSet,
        summary: "Counts the members in a range of members.",
        complexity: "O(log N)",
        syntax: "key:key#0 min:string max:string",
        run: zlexcount,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zmpop",
        arity: -4,
        flags: Flags::WRITE.and(Flags::MOVABLEKEYS),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::counted(1, 1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
        since: "7.0.0",
        group: Group::SortedSet,
        summary: "Removes members at one end of the first sorted set that is not empty.",
        complexity: "O(K + M log N) for K keys and M members out of N.",
        syntax: "numkeys:integer key:key#0... where<min=MIN|max=MAX> [COUNT count:integer]",
        run: zmpop,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zmscore",
        arity: -3,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "6.2.0",
        group: Group::SortedSet,
        summary: "Returns the scores of several members.",
        complexity: "O(1) a member.",
        syntax: "key:key#0 member:string...",
        run: zmscore,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zpopmax",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
        since: "5.0.0",
        group: Group::SortedSet,
        summary: "Removes the highest members and returns them.",
        complexity: "O(log N + M) for M members removed.",
        syntax: "key:key#0 [count:integer]",
        run: zpopmax,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zpopmin",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
        since: "5.0.0",
        group: Group::SortedSet,
        summary: "Removes the lowest members and returns them.",
        complexity: "O(log N + M) for M members removed.",
        syntax: "key:key#0 [count:integer]",
        run: zpopmin,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zrandmember",
        arity: -2,
        flags: Flags::READONLY,
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "6.2.0",
        group: Group::SortedSet,
        summary: "Returns members at random.",
        complexity: "O(M log N) for M members; O(N) when most of them are asked for.",
        syntax: "key:key#0 [options(count:integer [withscores=WITHSCORES])]",
        tips: &["nondeterministic_output"],
        run: zrandmember,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zrange",
        arity: -4,
        flags: Flags::READONLY,
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "1.2.0",
        group: Group::SortedSet,
        summary: "Returns the members in a range of ranks, scores or members.",
        complexity: "O(log N + M) for M members returned.",
        syntax: "key:key#0 start:string stop:string [sortby<byscore=BYSCORE|bylex=BYLEX>@6.2.0] [rev=REV@6.2.0] [LIMIT limit(offset:integer count:integer)@6.2.0] [withscores=WITHSCORES]",
        history: &[("6.2.0", "REV, BYSCORE, BYLEX and LIMIT.")],
        run: zrange,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zrangebylex",
        arity: -4,
        flags: Flags::READONLY,
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.8.9",
        group: Group::SortedSet,
        summary: "Returns the members in a range of members.",
        complexity: "O(log N + M) for M members returned.",
        syntax: "key:key#0 min:string max:string [LIMIT limit(offset:integer count:integer)]",
        run: zrangebylex,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zrangebyscore",
        arity: -4,
        flags: Flags::READONLY,
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "1.0.5",
        group: Group::SortedSet,
        summary: "Returns the members with scores in a range.",
        complexity: "O(log N + M) for M members returned.",
        syntax: "key:key#0 min:double max:double [withscores=WITHSCORES@2.0.0] [LIMIT limit(offset:integer count:integer)]",
        history: &[("2.0.0", "WITHSCORES.")],
        run: zrangebyscore,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zrangestore",
        arity: -5,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::SORTEDSET,
        keys: &[
            KeySpec::one(1, KeyFlags::OW.and(KeyFlags::UPDATE)),
            KeySpec::one(2, KeyFlags::RO.and(KeyFlags::ACCESS)),
        ],
        since: "6.2.0",
        group: Group::SortedSet,
        summary: "Stores the members in a range of ranks, scores or members.",
        complexity: "O(log N + M log M) for M members stored.",
        syntax: "dst:key#0 src:key#1 min:string max:string [sortby<byscore=BYSCORE|bylex=BYLEX>] [rev=REV] [LIMIT limit(offset:integer count:integer)]",
        run: zrangestore,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zrank",
        element: 2,
        arity: -3,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.0.0",
        group: Group::SortedSet,
        summary: "Counts the members below one.",
        complexity: "O(log N)",
        syntax: "key:key#0 member:string [withscore=WITHSCORE]",
        history: &[("7.2.0", "WITHSCORE.")],
        run: zrank,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zrem",
        element: 2,
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::DELETE))],
        since: "1.2.0",
        group: Group::SortedSet,
        summary: "Removes members.",
        complexity: "O(log N) a member.",
        syntax: "key:key#0 member:string...",
        history: &[("2.4.0", "Takes several members.")],
        run: zrem,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zremrangebylex",
        arity: 4,
        flags: Flags::WRITE,
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::DELETE))],
        since: "2.8.9",
        group: Group::SortedSet,
        summary: "Removes the members in a range of members.",
        complexity: "O(log N + M) for M members removed.",
        syntax: "key:key#0 min:string max:string",
        run: zremrangebylex,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zremrangebyrank",
        arity: 4,
        flags: Flags::WRITE,
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::DELETE))],
        since: "2.0.0",
        group: Group::SortedSet,
        summary: "Removes the members in a range of ranks.",
        complexity: "O(log N + M) for M members removed.",
        syntax: "key:key#0 start:integer stop:integer",
        run: zremrangebyrank,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zremrangebyscore",
        arity: 4,
        flags: Flags::WRITE,
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::DELETE))],
        since: "1.2.0",
        group: Group::SortedSet,
        summary: "Removes the members with scores in a range.",
        complexity: "O(log N + M) for M members removed.",
        syntax: "key:key#0 min:double max:double",
        run: zremrangebyscore,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zrevrange",
        arity: -4,
        flags: Flags::READONLY,
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "1.2.0",
        group: Group::SortedSet,
        summary: "Returns the members in a range of ranks, highest first.",
        complexity: "O(log N + M) for M members returned.",
        syntax: "key:key#0 start:integer stop:integer [withscores=WITHSCORES]",
        run: zrevrange,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zrevrangebylex",
        arity: -4,
        flags: Flags::READONLY,
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.8.9",
        group: Group::SortedSet,
        summary: "Returns the members in a range of members, last first.",
        complexity: "O(log N + M) for M members returned.",
        syntax: "key:key#0 max:string min:string [LIMIT limit(offset:integer count:integer)]",
        run: zrevrangebylex,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zrevrangebyscore",
        arity: -4,
        flags: Flags::READONLY,
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.2.0",
        group: Group::SortedSet,
        summary: "Returns the members with scores in a range, highest first.",
        complexity: "O(log N + M) for M members returned.",
        syntax: "key:key#0 max:double min:double [withscores=WITHSCORES] [LIMIT limit(offset:integer count:integer)]",
        history: &[("2.1.6", "Ends may be left out.")],
        run: zrevrangebyscore,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zrevrank",
        element: 2,
        arity: -3,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.0.0",
        group: Group::SortedSet,
        summary: "Counts the members above one.",
        complexity: "O(log N)",
        syntax: "key:key#0 member:string [withscore=WITHSCORE]",
        history: &[("7.2.0", "WITHSCORE.")],
        run: zrevrank,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zscan",
        arity: -3,
        flags: Flags::READONLY,
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.8.0",
        group: Group::SortedSet,
        summary: "Walks through the members with a cursor.",
        complexity: "O(1) a member.",
        syntax: "key:key#0 cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [noscores=NOSCORES]",
        tips: &["nondeterministic_output"],
        history: &[("8.0.0", "NOSCORES.")],
        run: zscan,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zscore",
        element: 2,
        arity: 3,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "1.2.0",
        group: Group::SortedSet,
        summary: "Returns the score of a member.",
        complexity: "O(1)",
        syntax: "key:key#0 member:string",
        run: zscore,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zunion",
        arity: -3,
        flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
        categories: Categories::SORTEDSET,
        keys: &[KeySpec::counted(1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "6.2.0",
        group: Group::SortedSet,
        summary: "Returns the members that any of the sorted sets has.",
        complexity: "O(N + M log M) for N members in all and M in the result.",
        syntax: "numkeys:integer key:key#0... [WEIGHTS weight:integer...] [AGGREGATE aggregate<sum=SUM|min=MIN|max=MAX>] [withscores=WITHSCORES]",
        run: zunion,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "zunionstore",
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS),
        categories: Categories::SORTEDSET,
        keys: &[
            KeySpec::one(1, KeyFlags::OW.and(KeyFlags::UPDATE)),
            KeySpec::counted(2, 1, KeyFlags::RO.and(KeyFlags::ACCESS)),
        ],
        since: "2.0.0",
        group: Group::SortedSet,
        summary: "Stores the members that any of the sorted sets has.",
        complexity: "O(N + M log M) for N members in all and M in the result.",
        syntax: "destination:key#0 numkeys:integer key:key#1... [WEIGHTS weight:integer...] [AGGREGATE aggregate<sum=SUM|min=MIN|max=MAX>]",
        run: zunionstore,
        ..CommandSpec::DEFAULT
    },
];

/// The thresholds of the configuration.
pub(super) fn limits(ctx: &Context<'_>) -> Limits {
    limits::sorted_set(&ctx.shared.config)
}

/// Notes that `changes` members of the sorted set at `key` changed.
fn changed(ctx: &mut Context<'_>, key: Key<'_>, event: &'static str, changes: usize) {
    ctx.touch(key, Event::SortedSet(event));
    ctx.dirty += changes.saturating_sub(1) as u64;
}

/// Removes the key of a sorted set that has no members left.
fn remove_if_empty(ctx: &mut Context<'_>, key: Key<'_>) {
    if ctx.db.remove_if_empty(key) {
        ctx.notify(key, Event::Generic("del"));
    }
}

/// Stores a result at `key`, over whatever is there, or deletes the key when the result is empty; replies its size.
pub(super) fn store(ctx: &mut Context<'_>, key: Key<'_>, set: SortedSet, event: &'static str) {
    ctx.reply.count(set.len());
    if !set.is_empty() {
        ctx.db.put(key, set, Ttl::Clear);
        ctx.touch(key, Event::SortedSet(event));
    } else if ctx.db.remove(key) {
        ctx.touch(key, Event::Generic("del"));
    }
}

pub(super) fn reply_member(reply: &mut Reply<'_>, member: Item<'_>) {
    match member {
        Item::Int(value) => reply.bulk_integer(value),
        Item::Text(text) => reply.bulk(text),
    }
}

/// Replies members, on request with their scores: as pairs in RESP3, one after the other in RESP2.
fn reply_members<'a>(
    reply: &mut Reply<'_>,
    members: impl ExactSizeIterator<Item = (Item<'a>, f64)>,
    with_scores: bool,
) {
    let pairs = with_scores && reply.resp() == Resp::V3;
    reply.array(if with_scores && !pairs { members.len() * 2 } else { members.len() });
    for (member, score) in members {
        if pairs {
            reply.array(2);
        }
        reply_member(reply, member);
        if with_scores {
            reply.double(score);
        }
    }
}
