//! HSCAN and HRANDFIELD.

use super::{reply_found, reply_item};
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::command::generic::element_scan::ElementScan;
use crate::protocol::reply::{Reply, Resp};
use crate::value::hash::Hash;
use crate::value::listpack::Item;
use std::collections::HashSet;

/// Bytes up to which a reply of fields that may repeat grows: a few bytes of request could ask for any number of them.
const MOST_REPLY_BYTES: usize = 1 << 30;

/// Where more than one field in so many is wanted, all are gathered and shuffled; else draws that come twice are thrown
/// away.
const GATHERED_SHARE: usize = 3;

/// `HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]`
///
/// Replies the next cursor, "0" at the end, and fields with their values. Every field that is there from start to end is
/// met; of a large hash some may be met twice. About `count` fields are looked at, all of a small hash.
pub(super) fn hscan<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, cursor) = (args.key()?, ElementScan::cursor(args)?);
    let Context { db, reply, now, .. } = ctx;
    let Some(hash) = db.get::<Hash>(key)? else {
        ElementScan::reply_missing(reply);
        return Ok(Outcome::Done);
    };
    let scan = ElementScan::read(args, Some("NOVALUES"))?;
    let mut buffer = itoa::Buffer::new();
    ElementScan::reply(reply, |reply| {
        let mut written = 0;
        let next = hash.scan(cursor, scan.count, now.0, &mut |field, value| {
            if scan.takes(field.text(&mut buffer)) {
                reply_item(reply, field);
                written += 1;
                if !scan.names_only {
                    reply_item(reply, value);
                    written += 1;
                }
            }
        });
        (next, written)
    });
    Ok(Outcome::Done)
}

/// `HRANDFIELD key [count [WITHVALUES]]`
///
/// Replies a field, or null; with `count` an array of so many different ones, or all, and with a negative count one of
/// exactly so many, in which fields may come repeatedly. O(count), or O(fields) when more than a third are wanted.
/// Deviation: a reply of more than 1 GiB is refused.
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
            let most = ctx.reply.output().len().saturating_add(MOST_REPLY_BYTES);
            for pair in (0..wanted.count).map_while(|_| hash.random(&mut rand::random, now)) {
                wanted.reply_pair(&mut ctx.reply, pair);
                if ctx.reply.output().len() > most {
                    return Err(CommandError::OutOfRange("value"));
                }
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
    let (count, repeated) = (usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX), number < 0);
    if values && number.unsigned_abs() > i64::MAX.unsigned_abs() / 2 {
        return Err(CommandError::OutOfRange("value"));
    }
    Ok(Wanted { count, repeated, values })
}

impl Wanted {
    fn reply_head(self, reply: &mut Reply<'_>) {
        let flat = self.values && reply.resp() == Resp::V2;
        reply.array(self.count.saturating_mul(if flat { 2 } else { 1 }));
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
