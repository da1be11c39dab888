//! XCLAIM and XAUTOCLAIM: entries that one consumer has had pending for too long are given to another.

use super::effect::Delivery;
use super::{exact_id, no_group, range_start, reply_entry, reply_id};
use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::keyspace::Key;
use crate::protocol::reply::Reply;
use crate::util::number;
use crate::value::stream::Stream;
use crate::value::stream::entries::Entries;
use crate::value::stream::group::{ConsumerId, Group};
use crate::value::stream::id::{StreamId, until_nul};
use smallvec::SmallVec;

/// XAUTOCLAIM looks at so many pending entries for each that it may claim.
const LOOKS_A_CLAIM: i64 = 10;
/// The greatest COUNT of XAUTOCLAIM: beyond it Redis's own arithmetic would overflow.
const MOST_CLAIMS: i64 = i64::MAX / 16;
/// COUNT of XAUTOCLAIM when it is not given.
const USUAL_CLAIMS: i64 = 100;

/// One claiming: who claims, what, and what is noted of it.
struct Claim {
    consumer: ConsumerId,
    min_idle_ms: i64,
    now_ms: i64,
    delivered_ms: i64,
    /// Deliveries to note; `None`: one more, or as many with `just_id`.
    count: Option<u64>,
    just_id: bool,
}

impl Claim {
    /// Whether an entry that was last delivered then has been idle long enough.
    fn is_idle(&self, delivered_ms: i64) -> bool {
        self.min_idle_ms == 0 || self.now_ms.saturating_sub(delivered_ms) >= self.min_idle_ms
    }

    /// Gives the entry to the consumer and replies it.
    fn claim(&self, id: StreamId, before: u64, entries: &Entries, group: &mut Group, reply: &mut Reply<'_>) {
        let again = before.wrapping_add(u64::from(!self.just_id));
        let count = self.count.unwrap_or(again);
        group.deliver(id, self.consumer, self.delivered_ms, count);
        if let Some(consumer) = group.consumer_mut(self.consumer) {
            consumer.active_ms = self.now_ms;
        }
        match entries.get(id) {
            Some(entry) if !self.just_id => reply_entry(reply, &entry),
            _ => reply_id(reply, id),
        }
    }
}

/// The words behind the ids of XCLAIM.
#[derive(Default)]
struct Options {
    force: bool,
    just_id: bool,
    delivered_ms: Option<i64>,
    count: Option<u64>,
    last_id: StreamId,
}

impl Options {
    fn read(args: &mut Args<'_>, now_ms: i64) -> Result<Options, CommandError> {
        let mut options = Options::default();
        while args.remaining() > 0 {
            let followed = args.remaining() > 1;
            if args.word("FORCE") {
                options.force = true;
            } else if args.word("JUSTID") {
                options.just_id = true;
            } else if followed && args.word("IDLE") {
                let idle = args.integer_or(CommandError::text("ERR Invalid IDLE option argument for XCLAIM"))?;
                options.delivered_ms = Some(now_ms.wrapping_sub(idle));
            } else if followed && args.word("TIME") {
                let time = args.integer_or(CommandError::text("ERR Invalid TIME option argument for XCLAIM"))?;
                options.delivered_ms = Some(time);
            } else if followed && args.word("RETRYCOUNT") {
                let error = CommandError::text("ERR Invalid RETRYCOUNT option argument for XCLAIM");
                options.count = u64::try_from(args.integer_or(error)?).ok();
            } else if followed && args.word("LASTID") {
                options.last_id = exact_id(args.bytes()?)?;
            } else {
                return Err(unknown_option(args.bytes()?));
            }
        }
        Ok(options)
    }

    /// When the entries count as delivered: now, unless a time in the past is given. -1 is how Redis says that none is.
    fn delivered_ms(&self, now_ms: i64) -> i64 {
        self.delivered_ms.filter(|time| (0..=now_ms).contains(time)).unwrap_or(now_ms)
    }
}

fn unknown_option(word: &[u8]) -> CommandError {
    CommandError::Bytes([b"ERR Unrecognized XCLAIM option '", until_nul(word), b"'"].concat())
}

/// Ids as long as arguments are ids; the words behind them are options.
fn read_ids(args: &mut Args<'_>) -> SmallVec<[StreamId; 8]> {
    let mut ids = SmallVec::new();
    while let Some(id) = args.peek().and_then(|text| exact_id(text).ok()) {
        ids.push(id);
        let _ = args.bytes();
    }
    ids
}

/// `XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE]
/// [JUSTID] [LASTID lastid]`
///
/// Gives a consumer those of the entries that have been pending for so long, and replies them. O(log n) an id. The group
/// is looked up first, so that its error goes first.
pub(super) fn xclaim<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, name, consumer) = (args.key()?, args.bytes()?, args.bytes()?);
    let mut delivery = Delivery { key, group: name, consumer, made: false, given: Vec::new(), gone: Vec::new() };
    let now_ms = ctx.now.0;
    // A hit or a miss first: it writes, but counts as a read.
    ctx.db.look(key);
    let group = ctx.db.get_mut::<Stream>(key)?.and_then(|stream| stream.with_group(name));
    let (entries, group) = group.ok_or_else(|| no_group(key, name, b""))?;
    let min_idle = args.integer_or(CommandError::text("ERR Invalid min-idle-time argument for XCLAIM"))?;
    let ids = read_ids(args);
    let options = Options::read(args, now_ms)?;

    group.last_id = group.last_id.max(options.last_id);
    let (consumer, made) = group.consumer_or_new(consumer, now_ms);
    let claim = Claim {
        consumer,
        min_idle_ms: min_idle.max(0),
        now_ms,
        delivered_ms: options.delivered_ms(now_ms),
        count: options.count,
        just_id: options.just_id,
    };
    see(group, consumer, now_ms);
    let (place, mut claimed) = (ctx.reply.deferred(), 0);
    for id in ids {
        let pending = group.pending_at(id).copied();
        if entries.get(id).is_none() {
            group.acknowledge(id);
            delivery.gone.push(id);
            continue;
        }
        let before = match pending {
            Some(pending) if claim.is_idle(pending.delivered_ms) => pending.count,
            None if options.force => 1,
            _ => continue,
        };
        claim.claim(id, before, entries, group, &mut ctx.reply);
        delivery.given.push(id);
        claimed += 1;
    }
    ctx.reply.finish_array(place, claimed);
    announce(ctx, key, made);
    delivery.made = made;
    delivery.log(ctx)?;
    Ok(Outcome::Done)
}

/// Notes that a consumer asked for something.
pub(super) fn see(group: &mut Group, consumer: ConsumerId, now_ms: i64) {
    if let Some(consumer) = group.consumer_mut(consumer) {
        consumer.seen_ms = now_ms;
    }
}

/// Notes a change of a group, in which a consumer was made or not.
pub(super) fn announce(ctx: &mut Context<'_>, key: Key<'_>, consumer_made: bool) {
    let event = if consumer_made { Event::Stream("xgroup-createconsumer") } else { Event::Silent };
    ctx.touch(key, event);
}

/// `XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]`
///
/// Looks at what is pending from an id on, gives a consumer what has been so for long enough, and replies where to go on,
/// the entries, and the ids that were pending though their entries are gone. O(log n) an entry looked at.
pub(super) fn xautoclaim<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, name, consumer_name) = (args.key()?, args.bytes()?, args.bytes()?);
    // A hit or a miss first: it writes, but counts as a read.
    ctx.db.look(key);
    let min_idle = args.integer_or(CommandError::text("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?;
    let start = range_start(args.bytes()?)?;
    let (count, just_id) = read_count(args)?;
    let now_ms = ctx.now.0;
    let group = ctx.db.get_mut::<Stream>(key)?.and_then(|stream| stream.with_group(name));
    let (entries, group) = group.ok_or_else(|| no_group(key, name, b""))?;

    let (consumer, made) = group.consumer_or_new(consumer_name, now_ms);
    see(group, consumer, now_ms);
    let claim = Claim { consumer, min_idle_ms: min_idle.max(0), now_ms, delivered_ms: now_ms, count: None, just_id };
    let sweep = Sweep::look(&claim, start, count, entries, group);

    let reply = &mut ctx.reply;
    reply.array(3);
    reply_id(reply, sweep.next);
    reply.array(sweep.idle.len());
    for (id, before) in &sweep.idle {
        claim.claim(*id, *before, entries, group, reply);
    }
    reply.array(sweep.gone.len());
    for id in &sweep.gone {
        group.acknowledge(*id);
        reply_id(reply, *id);
    }
    announce(ctx, key, made);
    let given = sweep.idle.into_iter().map(|(id, _)| id).collect();
    Delivery { key, group: name, consumer: consumer_name, made, given, gone: sweep.gone }.log(ctx)?;
    Ok(Outcome::Done)
}

/// `COUNT count` and `JUSTID`, in any order.
fn read_count(args: &mut Args<'_>) -> Result<(i64, bool), CommandError> {
    let (mut count, mut just_id) = (USUAL_CLAIMS, false);
    while args.remaining() > 0 {
        if args.remaining() > 1 && args.word("COUNT") {
            let number = number::parse_i64(args.bytes()?);
            let error = CommandError::text("ERR COUNT must be > 0");
            count = number.filter(|count| (1..=MOST_CLAIMS).contains(count)).ok_or(error)?;
        } else if args.word("JUSTID") {
            just_id = true;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok((count, just_id))
}

/// What XAUTOCLAIM finds.
struct Sweep {
    /// Entries to claim, with the number of their deliveries.
    idle: Vec<(StreamId, u64)>,
    /// Pending ids without an entry.
    gone: Vec<StreamId>,
    /// Where to go on, 0-0 at the end.
    next: StreamId,
}

impl Sweep {
    fn look(claim: &Claim, start: StreamId, count: i64, entries: &Entries, group: &Group) -> Sweep {
        let mut sweep = Sweep { idle: Vec::new(), gone: Vec::new(), next: StreamId::MIN };
        let (mut looks, mut left) = (count.saturating_mul(LOOKS_A_CLAIM), count);
        for (id, pending) in group.pending(start, StreamId::MAX) {
            if looks == 0 || left == 0 {
                sweep.next = id;
                break;
            }
            looks -= 1;
            if entries.get(id).is_none() {
                sweep.gone.push(id);
                left -= 1;
            } else if claim.is_idle(pending.delivered_ms) {
                sweep.idle.push((id, pending.count));
                left -= 1;
            }
        }
        sweep
    }
}
