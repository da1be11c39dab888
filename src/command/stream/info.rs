//! XINFO: the figures of a stream, its groups and their consumers.

use super::{no_group_in, reply_entries, reply_entry, reply_id};
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::help::{help as show_help, unknown_or_arity};
use crate::call::spec::Outcome;
use crate::protocol::reply::Reply;
use crate::value::stream::Stream;
use crate::value::stream::group::{Consumer, Group};
use crate::value::stream::id::StreamId;
use crate::value::stream::node::Entry;

/// Entries, and pending deliveries of each list, that FULL shows without COUNT.
const FULL_COUNT: usize = 10;

/// `XINFO HELP`
pub(super) fn help<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    show_help(
        &mut ctx.reply,
        "XINFO",
        &[
            "CONSUMERS <key> <group>",
            "    List the consumers of a group.",
            "GROUPS <key>",
            "    List the groups of a stream.",
            "STREAM <key> [FULL [COUNT <count>]]",
            "    Show the figures of a stream; FULL adds entries, groups and what they have pending.",
        ],
    );
    Ok(Outcome::Done)
}

/// `XINFO STREAM key [FULL [COUNT count]]`
///
/// Replies a map of figures. O(nodes), FULL also O(what it lists).
pub(super) fn stream<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let stream = ctx.db.get::<Stream>(key)?.ok_or(CommandError::NoSuchKey)?;
    let full = read_full(args)?;
    let reply = &mut ctx.reply;
    reply.map(if full.is_some() { 9 } else { 10 });
    reply_figures(reply, stream);
    match full {
        Some(count) => reply_contents(reply, stream, count),
        None => {
            reply.bulk(b"groups");
            reply.count(stream.groups().len());
            let (first, last) = (stream.entries().first(), stream.entries().last());
            for (name, entry) in [(&b"first-entry"[..], first), (b"last-entry", last)] {
                reply.bulk(name);
                reply_maybe_entry(reply, entry);
            }
        }
    }
    Ok(Outcome::Done)
}

/// How much FULL shows; `None` without it. Redis looks the key up before it looks at these words.
fn read_full(args: &mut Args<'_>) -> Result<Option<usize>, CommandError> {
    let wrong = unknown_or_arity("XINFO", args.request().arg(1));
    match args.remaining() {
        0 => return Ok(None),
        1 | 3 if args.word("FULL") => {}
        _ => return Err(wrong),
    }
    if args.remaining() == 0 {
        return Ok(Some(FULL_COUNT));
    }
    if !args.word("COUNT") {
        return Err(wrong);
    }
    Ok(Some(match usize::try_from(args.integer()?) {
        Ok(0) => usize::MAX,
        Ok(count) => count,
        Err(_) => FULL_COUNT,
    }))
}

fn reply_figures(reply: &mut Reply<'_>, stream: &Stream) {
    let (entries, figures) = (stream.entries(), stream.entries().figures());
    reply_number(reply, "length", figures.len.cast_signed());
    reply_count(reply, "radix-tree-keys", entries.nodes().len());
    reply_count(reply, "radix-tree-nodes", entries.radix_nodes());
    reply.bulk(b"last-generated-id");
    reply_id(reply, figures.last_id);
    reply.bulk(b"max-deleted-entry-id");
    reply_id(reply, figures.max_deleted_id);
    reply_number(reply, "entries-added", figures.added.cast_signed());
    reply.bulk(b"recorded-first-entry-id");
    reply_id(reply, figures.first_id);
}

fn reply_number(reply: &mut Reply<'_>, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.integer(value);
}

fn reply_count(reply: &mut Reply<'_>, name: &str, count: usize) {
    reply.bulk(name.as_bytes());
    reply.count(count);
}

fn reply_maybe_entry(reply: &mut Reply<'_>, entry: Option<Entry<'_>>) {
    match entry {
        Some(entry) => reply_entry(reply, &entry),
        None => reply.null(),
    }
}

/// The entries and the groups, up to `count` of each list.
fn reply_contents(reply: &mut Reply<'_>, stream: &Stream, count: usize) {
    reply.bulk(b"entries");
    reply_entries(reply, stream.entries().range(StreamId::MIN, StreamId::MAX).take(count));
    reply.bulk(b"groups");
    reply.array(stream.groups().len());
    for (name, group) in stream.groups().iter() {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(name);
        reply_progress(reply, stream, group);
        reply_group_contents(reply, group, count);
    }
}

/// How far a group has come.
fn reply_progress(reply: &mut Reply<'_>, stream: &Stream, group: &Group) {
    reply.bulk(b"last-delivered-id");
    reply_id(reply, group.last_id);
    for (name, value) in [("entries-read", group.entries_read), ("lag", stream.lag(group))] {
        reply.bulk(name.as_bytes());
        match value {
            Some(value) => reply.integer(value),
            None => reply.null(),
        }
    }
}

fn reply_group_contents(reply: &mut Reply<'_>, group: &Group, count: usize) {
    reply_count(reply, "pel-count", group.pending_len());
    reply.bulk(b"pending");
    reply.array(group.pending_len().min(count));
    for (id, pending) in group.pending(StreamId::MIN, StreamId::MAX).take(count) {
        reply.array(4);
        reply_id(reply, id);
        reply.bulk(group.consumer_name(pending.consumer));
        reply.integer(pending.delivered_ms);
        reply.integer(pending.count.cast_signed());
    }
    reply.bulk(b"consumers");
    reply.array(group.consumers_len());
    for consumer in group.consumers() {
        reply_consumer(reply, group, consumer, count);
    }
}

fn reply_consumer(reply: &mut Reply<'_>, group: &Group, consumer: &Consumer, count: usize) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(consumer.name());
    reply_number(reply, "seen-time", consumer.seen_ms);
    reply_number(reply, "active-time", consumer.active_ms);
    reply_count(reply, "pel-count", consumer.pending_len());
    reply.bulk(b"pending");
    reply.array(consumer.pending_len().min(count));
    for id in consumer.pending(StreamId::MIN, StreamId::MAX).take(count) {
        let (time, times) = group.pending_at(id).map_or((0, 0), |it| (it.delivered_ms, it.count));
        reply.array(3);
        reply_id(reply, id);
        reply.integer(time);
        reply.integer(times.cast_signed());
    }
}

/// `XINFO GROUPS key`
///
/// Replies a map for each group. O(groups).
pub(super) fn groups<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;
    let stream = ctx.db.get::<Stream>(key)?.ok_or(CommandError::NoSuchKey)?;
    let reply = &mut ctx.reply;
    reply.array(stream.groups().len());
    for (name, group) in stream.groups().iter() {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        reply_count(reply, "consumers", group.consumers_len());
        reply_count(reply, "pending", group.pending_len());
        reply_progress(reply, stream, group);
    }
    Ok(Outcome::Done)
}

/// `XINFO CONSUMERS key group`
///
/// Replies a map for each consumer. O(consumers).
pub(super) fn consumers<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, name) = (args.key()?, args.bytes()?);
    args.finish()?;
    let now_ms = ctx.now.0;
    let stream = ctx.db.get::<Stream>(key)?.ok_or(CommandError::NoSuchKey)?;
    let group = stream.groups().get(name).ok_or_else(|| no_group_in(key, name))?;
    let reply = &mut ctx.reply;
    reply.array(group.consumers_len());
    for consumer in group.consumers() {
        let inactive = if consumer.active_ms < 0 { -1 } else { (now_ms - consumer.active_ms).max(0) };
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(consumer.name());
        reply_count(reply, "pending", consumer.pending_len());
        reply_number(reply, "idle", (now_ms - consumer.seen_ms).max(0));
        reply_number(reply, "inactive", inactive);
    }
    Ok(Outcome::Done)
}
