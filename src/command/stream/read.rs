//! XREAD and XREADGROUP: what came behind an id in several streams, waited for if need be.
//!
//! Both look at every stream's key, group and id before they reply anything, so that an error of the last one leaves the
//! first unread.

use super::claim::{announce, see};
use super::effect::Delivery;
use super::{exact_id, no_group, reply_entries, reply_entry, reply_id};
use crate::call::args::Args;
use crate::call::blocking::OnTimeout;
use crate::call::context::{Blocking, Context};
use crate::call::error::CommandError;
use crate::call::keys::behind_keyword;
use crate::call::spec::Outcome;
use crate::keyspace::{Key, View, WrongType};
use crate::protocol::batch::{OwnedRequest, RequestView};
use crate::protocol::reply::{Deferred, Reply, Resp};
use crate::value::stream::Stream;
use crate::value::stream::entries::Entries;
use crate::value::stream::group::{ConsumerId, Group};
use crate::value::stream::id::{StreamId, until_nul};
use smallvec::SmallVec;
use std::time::Duration;

/// What stands before the streams.
struct Options<'a> {
    /// Entries a stream; `usize::MAX`: all.
    count: usize,
    /// How long to wait, if at all; the inner `None` is for ever.
    block: Option<Option<Duration>>,
    /// Group and consumer.
    group: Option<(&'a [u8], &'a [u8])>,
    no_ack: bool,
    keys: SmallVec<[Key<'a>; 4]>,
    /// Where the first id stands in the request.
    ids_at: usize,
    ids: SmallVec<[&'a [u8]; 4]>,
}

impl<'a> Options<'a> {
    fn read(args: &mut Args<'a>, name: &str) -> Result<Options<'a>, CommandError> {
        let (keys, ids) = (SmallVec::new(), SmallVec::new());
        let (block, group) = (None, None);
        let mut options = Options { count: usize::MAX, block, group, no_ack: false, keys, ids_at: 0, ids };
        let grouped = name == "xreadgroup";
        loop {
            let followed = args.remaining() > 1;
            if followed && args.word("BLOCK") {
                options.block = Some(args.timeout_ms()?);
            } else if followed && args.word("COUNT") {
                let count = usize::try_from(args.integer()?).unwrap_or(0);
                options.count = if count == 0 { usize::MAX } else { count };
            } else if followed && args.word("STREAMS") {
                options.read_streams(args, name)?;
                break;
            } else if args.remaining() > 2 && args.word("GROUP") {
                options.group = Some((args.bytes()?, args.bytes()?));
                only_grouped("GROUP", grouped)?;
            } else if args.word("NOACK") {
                options.no_ack = true;
                only_grouped("NOACK", grouped)?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    fn read_streams(&mut self, args: &mut Args<'a>, name: &str) -> Result<(), CommandError> {
        if !args.remaining().is_multiple_of(2) {
            let special = if name == "xread" { '$' } else { '>' };
            return Err(CommandError::from(format!(
                "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{special}' must be specified."
            )));
        }
        let count = args.remaining() / 2;
        for _ in 0..count {
            self.keys.push(args.key()?);
        }
        self.ids_at = args.request().argc() - count;
        for _ in 0..count {
            self.ids.push(args.bytes()?);
        }
        Ok(())
    }
}

fn only_grouped(word: &str, grouped: bool) -> Result<(), CommandError> {
    if grouped {
        return Ok(());
    }
    let text = format!("ERR The {word} option is only supported by XREADGROUP. You called XREAD instead.");
    Err(CommandError::from(text))
}

/// The index behind the word STREAMS, which may also be the name of a group or a consumer. The first one of a request that
/// has something else before it.
pub(super) fn behind_streams(request: RequestView<'_>, word: &str) -> Option<usize> {
    let mut at = 1;
    loop {
        let argument = request.get(at)?;
        let is = |name: &[u8]| argument.eq_ignore_ascii_case(name);
        at += match () {
            () if is(word.as_bytes()) => return Some(at + 1),
            () if is(b"BLOCK") || is(b"COUNT") => 2,
            () if is(b"GROUP") => 3,
            () if is(b"NOACK") => 1,
            () => return behind_keyword(request, word, 1),
        };
    }
}

/// The streams of a reply: a map of RESP3, pairs in RESP2; nothing is written before the first one.
struct Streams {
    place: Option<Deferred>,
    count: usize,
}

impl Streams {
    fn new() -> Streams {
        Streams { place: None, count: 0 }
    }

    /// Begins the next stream.
    fn begin(&mut self, reply: &mut Reply<'_>, key: Key<'_>) {
        if self.place.is_none() {
            self.place = Some(reply.deferred());
        }
        self.count += 1;
        if reply.resp() == Resp::V2 {
            reply.array(2);
        }
        reply.bulk(key.bytes);
    }

    /// Ends the reply; `false` when there was no stream, so that there is no reply yet.
    fn finish(self, reply: &mut Reply<'_>) -> bool {
        let Some(place) = self.place else { return false };
        match reply.resp() {
            Resp::V2 => reply.finish_array(place, self.count),
            Resp::V3 => reply.finish_map(place, self.count),
        }
        true
    }
}

/// `XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]`
///
/// Replies the entries behind each id, of those streams that have some: `$` is the last id when the command came, `+` the
/// place before the last id. Null when there is nothing, after waiting if BLOCK says so. O(entries replied).
pub(super) fn xread<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let options = Options::read(args, "xread")?;
    let mut after: SmallVec<[StreamId; 4]> = SmallVec::new();
    for (key, id) in options.keys.iter().zip(&options.ids) {
        after.push(after_id(find(&mut ctx.db, *key, ctx.blocking)?, id)?);
    }
    let mut streams = Streams::new();
    for (key, after) in options.keys.iter().zip(&after) {
        let Some(stream) = find(&mut ctx.db, *key, ctx.blocking)? else { continue };
        let entries = stream.entries();
        if entries.last_id() > *after
            && let Some(start) = after.next()
            && entries.last().is_some_and(|last| last.id >= start)
        {
            streams.begin(&mut ctx.reply, *key);
            reply_entries(&mut ctx.reply, entries.range(start, StreamId::MAX).take(options.count));
        }
    }
    if streams.finish(&mut ctx.reply) {
        return Ok(Outcome::Done);
    }
    wait(ctx, &options, &after)
}

/// The stream at `key`. A client that waits is not told when a value of another type takes its place, and waits on.
fn find<'c>(db: &'c mut View<'_>, key: Key<'_>, blocking: Blocking) -> Result<Option<&'c Stream>, CommandError> {
    match db.get::<Stream>(key) {
        Err(WrongType) if blocking == Blocking::Serving => Ok(None),
        found => Ok(found?),
    }
}

/// The id behind which a stream is read.
fn after_id(stream: Option<&Stream>, text: &[u8]) -> Result<StreamId, CommandError> {
    let entries = stream.map(Stream::entries);
    match until_nul(text) {
        b"$" => Ok(entries.map_or(StreamId::MIN, Entries::last_id)),
        // Right before the last id ever given, as in Valkey: when that entry is deleted, there is nothing to read.
        b"+" => Ok(entries.and_then(|entries| entries.last_id().previous()).unwrap_or_default()),
        b">" => Err(CommandError::text(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
        )),
        _ => exact_id(text),
    }
}

/// Waits for any of the streams, if that is asked for. `$` becomes the id that it was: it must not move while the client
/// waits.
fn wait(ctx: &mut Context<'_>, options: &Options<'_>, after: &[StreamId]) -> Result<Outcome, CommandError> {
    let Some(timeout) = options.block else {
        ctx.reply.null_array();
        return Ok(Outcome::Done);
    };
    if !options.ids.iter().any(|id| until_nul(id) == b"$") {
        return ctx.block(&options.keys, timeout, OnTimeout::NullArray);
    }
    let mut request = OwnedRequest::new();
    for (index, word) in ctx.request.iter().enumerate() {
        let id = index.checked_sub(options.ids_at).and_then(|index| after.get(index));
        match id {
            Some(id) if until_nul(word) == b"$" => request.push(&id.text()),
            _ => request.push(word),
        }
    }
    ctx.block_as(request, &options.keys, timeout, OnTimeout::NullArray)
}

/// Which entries a consumer asks for.
#[derive(Clone, Copy)]
enum Wanted {
    /// What nobody in the group has been given.
    New,
    /// What it has pending behind this id.
    Pending(StreamId),
}

impl Wanted {
    fn read(text: &[u8]) -> Result<Wanted, CommandError> {
        let special = match until_nul(text) {
            b">" => return Ok(Wanted::New),
            special @ (b"$" | b"+") => char::from(special[0]),
            _ => {
                // The greatest id has nothing behind it; Redis itself means it by `>`.
                let id = exact_id(text)?;
                return Ok(id.next().map_or(Wanted::New, Wanted::Pending));
            }
        };
        Err(CommandError::from(format!(
            "ERR The {special} ID is meaningless in the context of XREADGROUP: you want to read the history of this \
             consumer by specifying a proper ID, or use the > ID to get new messages. The {special} ID would just return \
             an empty result set."
        )))
    }
}

/// `XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]`
///
/// With `>` gives the consumer what nobody in the group has been given yet, pending until it is acknowledged; with an id
/// replies what it has pending behind that. Null when there is nothing new, after waiting if BLOCK says so. O(log n) an
/// entry.
pub(super) fn xreadgroup<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let options = Options::read(args, "xreadgroup")?;
    let Some((name, consumer)) = options.group else {
        return Err(CommandError::text("ERR Missing GROUP option for XREADGROUP"));
    };
    let mut wanted: SmallVec<[Wanted; 4]> = SmallVec::new();
    for (key, id) in options.keys.iter().zip(&options.ids) {
        let group = ctx.db.get::<Stream>(*key)?.and_then(|stream| stream.groups().get(name));
        group.ok_or_else(|| no_group(*key, name, b" in XREADGROUP with GROUP option"))?;
        wanted.push(Wanted::read(id)?);
    }
    let mut streams = Streams::new();
    for (key, wanted) in options.keys.iter().zip(wanted) {
        read_group(ctx, *key, wanted, name, consumer, &options, &mut streams)?;
    }
    if streams.finish(&mut ctx.reply) {
        return Ok(Outcome::Done);
    }
    wait(ctx, &options, &[])
}

/// Serves one stream, if it has what is wanted.
fn read_group(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    wanted: Wanted,
    name: &[u8],
    consumer: &[u8],
    options: &Options<'_>,
    streams: &mut Streams,
) -> Result<(), CommandError> {
    let now_ms = ctx.now.0;
    ctx.db.look(key); // a second hit, as in Redis: once to check the groups, once to read
    let Some(stream) = ctx.db.get_mut::<Stream>(key)? else { return Ok(()) };
    let Some((entries, group)) = stream.with_group(name) else { return Ok(()) };
    let consumer_name = consumer;
    let (consumer, made) = group.consumer_or_new(consumer, now_ms);
    see(group, consumer, now_ms);
    let mut given = Vec::new();
    let reading = Reading { entries, consumer, now_ms, count: options.count, no_ack: options.no_ack };
    let served = match wanted {
        Wanted::Pending(start) => {
            streams.begin(&mut ctx.reply, key);
            reading.reply_pending(group, start, &mut ctx.reply, &mut given);
            true
        }
        Wanted::New => match entries.last().filter(|last| last.id > group.last_id) {
            Some(_) => {
                streams.begin(&mut ctx.reply, key);
                reading.reply_new(group, &mut ctx.reply, &mut given);
                true
            }
            None => false,
        },
    };
    if served || made {
        announce(ctx, key, made);
        Delivery { key, group: name, consumer: consumer_name, made, given, gone: Vec::new() }.log(ctx)?;
    }
    Ok(())
}

/// A consumer reading a stream.
struct Reading<'s> {
    entries: &'s Entries,
    consumer: ConsumerId,
    now_ms: i64,
    count: usize,
    no_ack: bool,
}

impl Reading<'_> {
    /// Delivers what is new.
    fn reply_new(&self, group: &mut Group, reply: &mut Reply<'_>, given: &mut Vec<StreamId>) {
        let Some(start) = group.last_id.next() else { return reply.array(0) };
        let (place, mut count) = (reply.deferred(), 0);
        for entry in self.entries.range(start, StreamId::MAX).take(self.count) {
            group.entries_read = self.entries_read(group, entry.id);
            group.last_id = entry.id;
            reply_entry(reply, &entry);
            if !self.no_ack {
                group.deliver(entry.id, self.consumer, self.now_ms, 1);
                given.push(entry.id);
            }
            count += 1;
        }
        if let Some(consumer) = group.consumer_mut(self.consumer).filter(|_| count > 0 && !self.no_ack) {
            consumer.active_ms = self.now_ms;
        }
        reply.finish_array(place, count);
    }

    /// How many entries the group has read once it has read `id` too.
    fn entries_read(&self, group: &Group, id: StreamId) -> Option<i64> {
        let begun = group.last_id >= self.entries.figures().first_id;
        match group.entries_read {
            Some(read) if begun && !self.entries.has_tombstones(group.last_id) => Some(read.wrapping_add(1)),
            read if self.entries.figures().added == 0 => read,
            _ => self.entries.position(id),
        }
    }

    /// Replies what is pending from `start` on, once more delivered; entries that are gone with a null for their fields.
    fn reply_pending(&self, group: &mut Group, start: StreamId, reply: &mut Reply<'_>, given: &mut Vec<StreamId>) {
        let consumer = group.consumer(self.consumer);
        let ids = consumer.into_iter().flat_map(|consumer| consumer.pending(start, StreamId::MAX));
        let ids: Vec<StreamId> = ids.take(self.count).collect();
        reply.array(ids.len());
        for id in ids {
            match self.entries.get(id) {
                Some(entry) => {
                    reply_entry(reply, &entry);
                    group.redeliver(id, self.now_ms);
                    given.push(id);
                }
                None => {
                    reply.array(2);
                    reply_id(reply, id);
                    reply.null_array();
                }
            }
        }
    }
}
