//! The list commands, as the group "list" of the Redis command reference has them.
//!
//! Here are the rows and the commands that read; `push` has those that add at the ends, `pop` those that take from them,
//! `transfer` those that move an element between lists, `change` those that edit inside. Must not know: how a list is
//! held beyond what `value` tells.

mod change;
mod pop;
mod push;
mod transfer;

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::limits;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec, Outcome};
use crate::protocol::reply::Reply;
use crate::value::list::{Fill, List, Side};
use crate::value::listpack::{Item, Needle};
use crate::value::object::Collection;
use change::{linsert, lrem, lset, ltrim};
use pop::{blmpop, blpop, brpop, lmpop, lpop, rpop};
use push::{lpush, lpushx, rpush, rpushx};
use transfer::{blmove, brpoplpush, lmove, rpoplpush};

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "blmove",
        arity: 6,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::BLOCKING),
        categories: Categories::LIST,
        keys: &[
            KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE)),
            KeySpec::one(2, KeyFlags::RW.and(KeyFlags::INSERT)),
        ],
        since: "6.2.0",
        group: Group::List,
        summary: "Moves an element from an end of one list to an end of another; waits until there is one.",
        complexity: "O(1)",
        syntax: "source:key#0 destination:key#1 wherefrom<left=LEFT|right=RIGHT> whereto<left=LEFT|right=RIGHT> timeout:double",
        run: blmove,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "blmpop",
        arity: -5,
        flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
        categories: Categories::LIST,
        keys: &[KeySpec::counted(2, 1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
        since: "7.0.0",
        group: Group::List,
        summary: "Takes elements from the first of several lists that has any; waits until one has.",
        complexity: "O(N+M) where N is the number of keys and M the number of elements.",
        syntax: "timeout:double numkeys:integer key:key#0... where<left=LEFT|right=RIGHT> [COUNT count:integer]",
        run: blmpop,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "blpop",
        arity: -3,
        flags: Flags::WRITE.and(Flags::BLOCKING),
        categories: Categories::LIST,
        keys: &[KeySpec::range(1, -2, 1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
        since: "2.0.0",
        group: Group::List,
        summary: "Takes the first element of the first list that has any; waits until one has.",
        complexity: "O(N) where N is the number of keys.",
        syntax: "key:key#0... timeout:double",
        history: &[("6.0.0", "The timeout may have a fraction.")],
        run: blpop,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "brpop",
        arity: -3,
        flags: Flags::WRITE.and(Flags::BLOCKING),
        categories: Categories::LIST,
        keys: &[KeySpec::range(1, -2, 1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
        since: "2.0.0",
        group: Group::List,
        summary: "Takes the last element of the first list that has any; waits until one has.",
        complexity: "O(N) where N is the number of keys.",
        syntax: "key:key#0... timeout:double",
        history: &[("6.0.0", "The timeout may have a fraction.")],
        run: brpop,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "brpoplpush",
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::BLOCKING),
        categories: Categories::LIST,
        keys: &[
            KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE)),
            KeySpec::one(2, KeyFlags::RW.and(KeyFlags::INSERT)),
        ],
        since: "2.2.0",
        group: Group::List,
        summary: "Moves the last element of a list to the start of another; waits until there is one.",
        complexity: "O(1)",
        syntax: "source:key#0 destination:key#1 timeout:double",
        history: &[("6.0.0", "The timeout may have a fraction.")],
        run: brpoplpush,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "lindex",
        arity: 3,
        flags: Flags::READONLY,
        categories: Categories::LIST,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "1.0.0",
        group: Group::List,
        summary: "Returns the element at an index.",
        complexity: "O(N) where N is the distance to the nearer end; whole nodes are passed at once.",
        syntax: "key:key#0 index:integer",
        run: lindex,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "linsert",
        arity: 5,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::LIST,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::INSERT))],
        since: "2.2.0",
        group: Group::List,
        summary: "Inserts an element before or after another one.",
        complexity: "O(N) where N is the distance from the start to that element.",
        syntax: "key:key#0 where<before=BEFORE|after=AFTER> pivot:string element:string",
        run: linsert,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "llen",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::LIST,
        keys: &[KeySpec::one(1, KeyFlags::RO)],
        since: "1.0.0",
        group: Group::List,
        summary: "Returns the number of elements of a list.",
        complexity: "O(1)",
        syntax: "key:key#0",
        run: llen,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "lmove",
        arity: 5,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::LIST,
        keys: &[
            KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE)),
            KeySpec::one(2, KeyFlags::RW.and(KeyFlags::INSERT)),
        ],
        since: "6.2.0",
        group: Group::List,
        summary: "Moves an element from an end of one list to an end of another and returns it.",
        complexity: "O(1)",
        syntax: "source:key#0 destination:key#1 wherefrom<left=LEFT|right=RIGHT> whereto<left=LEFT|right=RIGHT>",
        run: lmove,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "lmpop",
        arity: -4,
        flags: Flags::WRITE.and(Flags::MOVABLEKEYS),
        categories: Categories::LIST,
        keys: &[KeySpec::counted(1, 1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
        since: "7.0.0",
        group: Group::List,
        summary: "Takes elements from the first of several lists that has any.",
        complexity: "O(N+M) where N is the number of keys and M the number of elements.",
        syntax: "numkeys:integer key:key#0... where<left=LEFT|right=RIGHT> [COUNT count:integer]",
        run: lmpop,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "lpop",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::LIST,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
        since: "1.0.0",
        group: Group::List,
        summary: "Takes elements from the start of a list.",
        complexity: "O(N) where N is the number of elements taken.",
        syntax: "key:key#0 [count:integer@6.2.0]",
        history: &[("6.2.0", "The argument `count`.")],
        run: lpop,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "lpos",
        arity: -3,
        flags: Flags::READONLY,
        categories: Categories::LIST,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "6.0.6",
        group: Group::List,
        summary: "Finds the indices of elements that equal a given one.",
        complexity: "O(N) where N is the number of elements looked at.",
        syntax: "key:key#0 element:string [RANK rank:integer] [COUNT num-matches:integer] [MAXLEN len:integer]",
        run: lpos,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "lpush",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::LIST,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::INSERT))],
        since: "1.0.0",
        group: Group::List,
        summary: "Puts elements at the start of a list, which is created when missing.",
        complexity: "O(N) where N is the number of elements given.",
        syntax: "key:key#0 element:string...",
        history: &[("2.4.0", "Several elements.")],
        run: lpush,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "lpushx",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::LIST,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::INSERT))],
        since: "2.2.0",
        group: Group::List,
        summary: "Puts elements at the start of a list if it exists.",
        complexity: "O(N) where N is the number of elements given.",
        syntax: "key:key#0 element:string...",
        history: &[("4.0.0", "Several elements.")],
        run: lpushx,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "lrange",
        arity: 4,
        flags: Flags::READONLY,
        categories: Categories::LIST,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "1.0.0",
        group: Group::List,
        summary: "Returns a range of elements.",
        complexity: "O(S+N) where S is the distance of the range from the nearer end, by nodes, and N its length.",
        syntax: "key:key#0 start:integer stop:integer",
        run: lrange,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "lrem",
        arity: 4,
        flags: Flags::WRITE,
        categories: Categories::LIST,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::DELETE))],
        since: "1.0.0",
        group: Group::List,
        summary: "Removes elements that equal a given one.",
        complexity: "O(N) where N is the length of the list.",
        syntax: "key:key#0 count:integer element:string",
        run: lrem,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "lset",
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::LIST,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
        since: "1.0.0",
        group: Group::List,
        summary: "Replaces the element at an index.",
        complexity: "O(N) where N is the distance to the nearer end; whole nodes are passed at once.",
        syntax: "key:key#0 index:integer element:string",
        run: lset,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "ltrim",
        arity: 4,
        flags: Flags::WRITE,
        categories: Categories::LIST,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::DELETE))],
        since: "1.0.0",
        group: Group::List,
        summary: "Removes all elements but those of a range.",
        complexity: "O(N) where N is the number of elements removed, by nodes.",
        syntax: "key:key#0 start:integer stop:integer",
        run: ltrim,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "rpop",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        categories: Categories::LIST,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
        since: "1.0.0",
        group: Group::List,
        summary: "Takes elements from the end of a list.",
        complexity: "O(N) where N is the number of elements taken.",
        syntax: "key:key#0 [count:integer@6.2.0]",
        history: &[("6.2.0", "The argument `count`.")],
        run: rpop,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "rpoplpush",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::LIST,
        keys: &[
            KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE)),
            KeySpec::one(2, KeyFlags::RW.and(KeyFlags::INSERT)),
        ],
        since: "1.2.0",
        group: Group::List,
        summary: "Moves the last element of a list to the start of another and returns it.",
        complexity: "O(1)",
        syntax: "source:key#0 destination:key#1",
        run: rpoplpush,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "rpush",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::LIST,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::INSERT))],
        since: "1.0.0",
        group: Group::List,
        summary: "Appends elements to a list, which is created when missing.",
        complexity: "O(N) where N is the number of elements given.",
        syntax: "key:key#0 element:string...",
        history: &[("2.4.0", "Several elements.")],
        run: rpush,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "rpushx",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::LIST,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::INSERT))],
        since: "2.2.0",
        group: Group::List,
        summary: "Appends elements to a list if it exists.",
        complexity: "O(N) where N is the number of elements given.",
        syntax: "key:key#0 element:string...",
        history: &[("4.0.0", "Several elements.")],
        run: rpushx,
        ..CommandSpec::DEFAULT
    },
];

const ZERO_RANK: CommandError = CommandError::text(
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from \
     the end of the list",
);

const LEAST_RANK: CommandError =
    CommandError::text("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");

/// How large nodes may be, by `list-max-listpack-size`.
#[inline]
fn fill(ctx: &Context<'_>) -> Fill {
    limits::list(&ctx.shared.config)
}

/// Replies an element.
#[inline]
fn reply_element(reply: &mut Reply<'_>, element: Item<'_>) {
    match element {
        Item::Int(value) => reply.bulk_integer(value),
        Item::Text(text) => reply.bulk(text),
    }
}

/// The index that a number means in a list of `len`: negative ones count from the end. `None` when it lies outside.
fn index_in(number: i64, len: usize) -> Option<usize> {
    let index = match usize::try_from(number) {
        Ok(index) => index,
        Err(_) => len.checked_sub(usize::try_from(number.unsigned_abs()).ok()?)?,
    };
    (index < len).then_some(index)
}

/// The elements from `start` to `stop`, both included and counted from the end when negative: the first one's index and how
/// many there are.
fn range_in(start: i64, stop: i64, len: usize) -> (usize, usize) {
    let from_end = |number: i64| match usize::try_from(number) {
        Ok(index) => Some(index),
        Err(_) => usize::try_from(number.unsigned_abs()).ok().and_then(|back| len.checked_sub(back)),
    };
    let start = from_end(start).unwrap_or(0);
    let behind = from_end(stop).map_or(0, |stop| stop.saturating_add(1).min(len));
    (start, behind.saturating_sub(start))
}

/// `LEFT` or `RIGHT`.
fn side(args: &mut Args<'_>) -> Result<Side, CommandError> {
    match () {
        () if args.word("left") => Ok(Side::Left),
        () if args.word("right") => Ok(Side::Right),
        () => Err(CommandError::Syntax),
    }
}

/// `LLEN key`
///
/// Replies the number of elements, 0 for a missing key. O(1).
fn llen<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;

    let len = ctx.db.get::<List>(key)?.map_or(0, List::len);
    ctx.reply.count(len);
    Ok(Outcome::Done)
}

/// `LINDEX key index`
///
/// Replies the element, or null. The key is looked up before the index is judged, so that a missing one is null whatever
/// the index says. O(nodes + node).
fn lindex<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, index) = (args.key()?, args.integer());
    let Some(list) = ctx.db.get::<List>(key)? else {
        ctx.reply.null();
        return Ok(Outcome::Done);
    };
    match index_in(index?, list.len()).and_then(|index| list.get(index)) {
        Some(element) => reply_element(&mut ctx.reply, element),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

/// `LRANGE key start stop`
///
/// Replies the elements from `start` to `stop`, both included. O(nodes + elements).
fn lrange<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, start, stop) = (args.key()?, args.integer()?, args.integer()?);
    args.finish()?;

    let Some(list) = ctx.db.get::<List>(key)? else {
        ctx.reply.array(0);
        return Ok(Outcome::Done);
    };
    let (start, count) = range_in(start, stop, list.len());
    ctx.reply.array(count);
    list.iter_from(start, Side::Left).take(count).for_each(|element| reply_element(&mut ctx.reply, element));
    Ok(Outcome::Done)
}

/// What LPOS looks for.
struct Search {
    /// How many matches are passed over.
    skipped: u64,
    /// From where.
    side: Side,
    /// How many matches are replied; `None` for one that is not in an array.
    count: Option<u64>,
    /// How many elements are looked at.
    looked_at: u64,
}

impl Search {
    fn read(args: &mut Args<'_>) -> Result<Search, CommandError> {
        let mut search = Search { skipped: 0, side: Side::Left, count: None, looked_at: u64::MAX };
        while args.remaining() > 0 {
            if args.remaining() == 1 {
                return Err(CommandError::Syntax);
            } else if args.word("rank") {
                let rank = args.integer()?;
                if rank == i64::MIN {
                    return Err(LEAST_RANK);
                }
                search.skipped = rank.unsigned_abs().checked_sub(1).ok_or(ZERO_RANK)?;
                search.side = if rank < 0 { Side::Right } else { Side::Left };
            } else if args.word("count") {
                let count = natural(args, CommandError::text("ERR COUNT can't be negative"))?;
                search.count = Some(if count == 0 { u64::MAX } else { count });
            } else if args.word("maxlen") {
                let most = natural(args, CommandError::text("ERR MAXLEN can't be negative"))?;
                search.looked_at = if most == 0 { u64::MAX } else { most };
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(search)
    }

    /// The indices of the matches, in the order in which they are met.
    fn run(&self, list: &List, needle: Needle<'_>) -> Vec<usize> {
        let (len, count) = (list.len(), self.count.unwrap_or(1));
        let limit = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let elements = list.iter(self.side).take(limit(self.looked_at)).enumerate();
        let matches = elements.filter(|(_, element)| needle.is(*element)).map(|(passed, _)| match self.side {
            Side::Left => passed,
            Side::Right => len - 1 - passed,
        });
        matches.skip(limit(self.skipped)).take(limit(count)).collect()
    }
}

/// The next argument as an integer that is not negative.
fn natural(args: &mut Args<'_>, error: CommandError) -> Result<u64, CommandError> {
    let number = args.integer_or(error.clone())?;
    u64::try_from(number).map_err(|_| error)
}

/// `LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]`
///
/// Replies the index of the first match, or null; with `COUNT` an array of indices. O(elements looked at).
fn lpos<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, element) = (args.key()?, args.bytes()?);
    let search = Search::read(args)?;

    let found = ctx.db.get::<List>(key)?.map(|list| search.run(list, Needle::new(element))).unwrap_or_default();
    match (search.count, found.first()) {
        (None, None) => ctx.reply.null(),
        (None, Some(index)) => ctx.reply.count(*index),
        (Some(_), _) => {
            ctx.reply.array(found.len());
            found.iter().for_each(|index| ctx.reply.count(*index));
        }
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_count_from_either_end() {
        assert_eq!(index_in(0, 3), Some(0));
        assert_eq!(index_in(-1, 3), Some(2));
        assert_eq!(index_in(-3, 3), Some(0));
        for outside in [3, -4, i64::MAX, i64::MIN] {
            assert_eq!(index_in(outside, 3), None);
        }
        assert_eq!(index_in(0, 0), None);
    }

    #[test]
    fn ranges_are_cut_to_the_list() {
        assert_eq!(range_in(0, -1, 3), (0, 3));
        assert_eq!(range_in(-100, 100, 3), (0, 3));
        assert_eq!(range_in(1, 1, 3), (1, 1));
        assert_eq!(range_in(-2, -2, 3), (1, 1));
        assert_eq!(range_in(2, 1, 3).1, 0);
        assert_eq!(range_in(3, 5, 3).1, 0);
        assert_eq!(range_in(0, -4, 3).1, 0);
        assert_eq!(range_in(i64::MIN, i64::MAX, 3), (0, 3));
        assert_eq!(range_in(i64::MAX, i64::MIN, 3).1, 0);
    }
}
