//! HSCAN and HRANDFIELD.

use super::{reply_found, reply_item};
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::command::generic::scan::{CURSOR_SHIFT, DEFAULT_COUNT, read_count, read_cursor};
use crate::protocol::reply::{Output, Reply, Resp};
use crate::util::glob;
use crate::value::hash::Hash;
use crate::value::listpack::Item;
use std::collections::HashSet;

/// The most fields that HRANDFIELD draws with repetitions: 16 million, some seconds of work.
const MOST_DRAWN: usize = 1 << 24;

/// Where more than one field in so many is wanted, all are gathered and shuffled; else draws that come twice are thrown
/// away.
const GATHERED_SHARE: usize = 3;

/// What HSCAN answers of what it meets.
struct Filter<'a> {
    count: usize,
    pattern: Option<&'a [u8]>,
    values: bool,
}

impl<'a> Filter<'a> {
    fn read(args: &mut Args<'a>) -> Result<Filter<'a>, CommandError> {
        let mut filter = Filter { count: DEFAULT_COUNT, pattern: None, values: true };
        while args.remaining() > 0 {
            if args.word("COUNT") {
                filter.count = read_count(args)?;
            } else if args.word("MATCH") {
                filter.pattern = Some(args.bytes()?).filter(|pattern| *pattern != b"*");
            } else if args.word("NOVALUES") {
                filter.values = false;
            } else if args.word("NOSCORES") {
                return Err(CommandError::text("ERR NOSCORES option can only be used in ZSCAN"));
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(filter)
    }

    fn takes(&self, field: Item<'_>) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, field.text(&mut itoa::Buffer::new()), false))
    }
}

/// `HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]`
///
/// Replies the next cursor, "0" at the end, and fields with their values. Every field that is there from start to end is
/// answered. About `count` fields are looked at; all of a hash that is a listpack. O(count). As in Valkey, the options
/// of a missing key are not looked at.
pub(super) fn hscan<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let cursor = read_cursor(args.bytes()?).ok_or(CommandError::text("ERR invalid cursor"))?;

    let now = ctx.now.0;
    let Some(hash) = ctx.db.get::<Hash>(key)? else {
        reply_page(&mut ctx.reply, 0, 0, &mut Output::new());
        return Ok(Outcome::Done);
    };
    let filter = Filter::read(args)?;
    let (mut page, mut parts) = (Output::new(), 0);
    let next = hash.scan(cursor << CURSOR_SHIFT, filter.count, now, &mut |field, value| {
        if filter.takes(field) {
            let mut reply = Reply::new(&mut page, Resp::V2);
            reply_item(&mut reply, field);
            if filter.values {
                reply_item(&mut reply, value);
            }
            parts += 1 + usize::from(filter.values);
        }
    });
    reply_page(&mut ctx.reply, next >> CURSOR_SHIFT, parts, &mut page);
    Ok(Outcome::Done)
}

fn reply_page(reply: &mut Reply<'_>, cursor: u64, parts: usize, page: &mut Output) {
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(cursor).as_bytes());
    reply.array(parts);
    page.move_rest_to(reply.output());
}

/// `HRANDFIELD key [count [WITHVALUES]]`
///
/// Replies a field, or null; with `count` an array of so many different ones, or all, and with a negative count one of
/// exactly so many, in which fields may come repeatedly. O(count), or O(fields) when more than a third are wanted. More
/// than 16 million repetitions are out of range.
pub(super) fn hrandfield<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let wanted = if args.remaining() > 0 { Some(read_wanted(args)?) } else { None };

    let now = ctx.now.0;
    let hash = ctx.db.get::<Hash>(key)?;
    match (wanted, hash) {
        (None, hash) => {
            let drawn = hash.and_then(|hash| hash.random(&mut rand::random, now));
            reply_found(&mut ctx.reply, drawn.map(|(field, _)| field));
        }
        (Some(_), None) => ctx.reply.array(0),
        (Some(wanted), Some(hash)) if wanted.repeated => {
            wanted.reply_head(&mut ctx.reply);
            for _ in 0..wanted.count {
                // A hash that a lookup found is never empty.
                let drawn = hash.random(&mut rand::random, now).unwrap_or((Item::Text(b""), Item::Text(b"")));
                wanted.reply_pair(&mut ctx.reply, drawn);
            }
        }
        (Some(wanted), Some(hash)) => {
            let count = wanted.count.min(hash.live_len(now));
            let wanted = Wanted { count, ..wanted };
            wanted.reply_head(&mut ctx.reply);
            for pair in different(hash, count, now) {
                wanted.reply_pair(&mut ctx.reply, pair);
            }
        }
    }
    Ok(Outcome::Done)
}

/// What HRANDFIELD is to answer.
#[derive(Clone, Copy)]
struct Wanted {
    count: usize,
    repeated: bool,
    values: bool,
}

fn read_wanted(args: &mut Args<'_>) -> Result<Wanted, CommandError> {
    const RANGE: CommandError = CommandError::text(
        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
    );
    let number = args.integer()?;
    if number == i64::MIN {
        return Err(RANGE);
    }
    let values = args.word("WITHVALUES");
    args.finish()?;
    let count = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
    let repeated = number < 0;
    if values && number.unsigned_abs() > i64::MAX.unsigned_abs() / 2 || repeated && count > MOST_DRAWN {
        return Err(CommandError::OutOfRange("value"));
    }
    Ok(Wanted { count, repeated, values })
}

impl Wanted {
    fn reply_head(self, reply: &mut Reply<'_>) {
        let flat = self.values && reply.resp() == Resp::V2;
        reply.array(self.count * if flat { 2 } else { 1 });
    }

    fn reply_pair(self, reply: &mut Reply<'_>, (field, value): (Item<'_>, Item<'_>)) {
        if self.values && reply.resp() == Resp::V3 {
            reply.array(2);
        }
        reply_item(reply, field);
        if self.values {
            reply_item(reply, value);
        }
    }
}

/// `count` different fields, at most as many as there are, each set of them equally likely.
fn different(hash: &Hash, count: usize, now: i64) -> Vec<(Item<'_>, Item<'_>)> {
    let len = hash.live_len(now);
    if count >= len {
        return hash.iter(now).collect();
    }
    if hash.listpack().is_some() || count * GATHERED_SHARE > len {
        let mut all: Vec<_> = hash.iter(now).collect();
        for place in 0..count {
            let other = place + below(all.len() - place);
            all.swap(place, other);
        }
        all.truncate(count);
        return all;
    }
    let (mut seen, mut drawn) = (HashSet::new(), Vec::with_capacity(count));
    while drawn.len() < count {
        let Some(pair) = hash.random(&mut rand::random, now) else { break };
        if seen.insert(pair.0.to_vec()) {
            drawn.push(pair);
        }
    }
    drawn
}

/// A number below `limit`, which is not 0.
fn below(limit: usize) -> usize {
    let number = rand::random::<u64>() % u64::try_from(limit).unwrap_or(u64::MAX).max(1);
    usize::try_from(number).unwrap_or(0)
}
