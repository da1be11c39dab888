//! XPENDING: what a group has delivered and not seen acknowledged.

use super::{no_group, range_end, range_start, reply_id};
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::protocol::reply::Reply;
use crate::util::clock::UnixMs;
use crate::value::stream::Stream;
use crate::value::stream::group::{Group, Pending};
use crate::value::stream::id::StreamId;

/// `XPENDING key group [[IDLE min-idle-time] start end count [consumer]]`
///
/// Replies a summary, or the deliveries between two ids that are pending. O(listed and passed over).
pub(super) fn xpending<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, name) = (args.key()?, args.bytes()?);
    let filter = if args.remaining() == 0 { None } else { Some(Filter::read(args)?) };
    let group = ctx.db.get::<Stream>(key)?.and_then(|stream| stream.groups().get(name));
    let group = group.ok_or_else(|| no_group(key, name, b""))?;
    match filter {
        None => reply_summary(&mut ctx.reply, group),
        Some(filter) => filter.reply(&mut ctx.reply, group, ctx.now),
    }
    Ok(Outcome::Done)
}

/// Which deliveries are listed.
struct Filter<'a> {
    min_idle_ms: i64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Filter<'a> {
    fn read(args: &mut Args<'a>) -> Result<Filter<'a>, CommandError> {
        if !(3..=6).contains(&args.remaining()) {
            return Err(CommandError::Syntax);
        }
        let mut min_idle_ms = 0;
        if args.word("IDLE") {
            min_idle_ms = args.integer()?;
            if args.remaining() < 3 {
                return Err(CommandError::Syntax);
            }
        }
        let (start, end) = (args.bytes()?, args.bytes()?);
        let count = usize::try_from(args.integer()?).unwrap_or(0);
        let (start, end) = (range_start(start)?, range_end(end)?);
        Ok(Filter { min_idle_ms, start, end, count, consumer: args.bytes().ok() })
    }

    fn reply(&self, reply: &mut Reply<'_>, group: &Group, now: UnixMs) {
        let (place, mut listed) = (reply.deferred(), 0);
        let mut list = |id, pending: &Pending| {
            reply_pending(reply, group, id, pending, now);
            listed += 1;
        };
        let idle = |pending: &Pending| self.min_idle_ms <= 0 || now.0 - pending.delivered_ms >= self.min_idle_ms;
        match self.consumer {
            None => {
                let pending = group.pending(self.start, self.end).filter(|(_, pending)| idle(pending));
                pending.take(self.count).for_each(|(id, pending)| list(id, pending));
            }
            Some(name) => {
                let consumer = group.find_consumer(name).and_then(|id| group.consumer(id));
                let ids = consumer.into_iter().flat_map(|consumer| consumer.pending(self.start, self.end));
                let pending = ids.filter_map(|id| Some((id, group.pending_at(id)?)));
                pending.filter(|(_, pending)| idle(pending)).take(self.count).for_each(|(id, it)| list(id, it));
            }
        }
        reply.finish_array(place, listed);
    }
}

fn reply_pending(reply: &mut Reply<'_>, group: &Group, id: StreamId, pending: &Pending, now: UnixMs) {
    reply.array(4);
    reply_id(reply, id);
    reply.bulk(group.consumer_name(pending.consumer));
    reply.integer(now.0.saturating_sub(pending.delivered_ms).max(0));
    reply.integer(pending.count.cast_signed());
}

/// How many are pending, the first and the last id, and how many each consumer has.
fn reply_summary(reply: &mut Reply<'_>, group: &Group) {
    reply.array(4);
    reply.count(group.pending_len());
    let Some((first, last)) = group.pending_ends() else {
        reply.null();
        reply.null();
        return reply.null_array();
    };
    reply_id(reply, first);
    reply_id(reply, last);
    let busy = || group.consumers().filter(|consumer| consumer.pending_len() > 0);
    reply.array(busy().count());
    for consumer in busy() {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk(consumer.pending_len().to_string().as_bytes());
    }
}
