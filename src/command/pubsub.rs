//! The pub/sub group: listening to channels, sending messages, asking who listens.
//!
//! Invariants: nothing is sent to a client between the confirmation that it listens no more and its next subscription;
//! a client that publishes to itself gets the message behind the reply. Must not know: how messages reach
//! other clients. Source: the Redis command reference; Valkey 9.1 where it is silent.

use crate::call::args::Args;
use crate::call::clients::Listen;
use crate::call::context::{Blocking, Context};
use crate::call::error::CommandError;
use crate::call::help;
use crate::call::spec::{CommandSpec, Flags, Group, KeyFlags, KeySpec, Outcome};
use crate::call::tracked::Name;
use crate::protocol::reply::{Output, Reply};
use bytes::Bytes;

const ASKING: Flags = Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE);
const LISTENING: Flags = ASKING.and(Flags::NOSCRIPT);
const SENDING: Flags = ASKING.and(Flags::FAST).and(Flags::MAY_REPLICATE);

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "psubscribe",
        arity: -2,
        flags: LISTENING,
        while_subscribed: true,
        since: "2.0.0",
        group: Group::PubSub,
        summary: "Listens to all channels whose names match patterns.",
        complexity: "O(N) where N is the number of patterns",
        syntax: "pattern:pattern...",
        run: psubscribe,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "publish",
        arity: 3,
        flags: SENDING,
        since: "2.0.0",
        group: Group::PubSub,
        summary: "Sends a message to all who listen to a channel.",
        complexity: "O(N+M) where N is the number of clients that listen to the channel and M the number of patterns that anybody listens to",
        syntax: "channel:string message:string",
        run: publish,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "pubsub",
        arity: -2,
        since: "2.8.0",
        group: Group::PubSub,
        summary: "Commands that tell who listens to what.",
        complexity: "Depends on the subcommand.",
        subcommands: &[
            CommandSpec {
                name: "channels",
                arity: -2,
                flags: ASKING,
                since: "2.8.0",
                group: Group::PubSub,
                summary: "Lists the channels that somebody listens to.",
                complexity: "O(N) where N is the number of channels that somebody listens to",
                syntax: "[pattern:pattern]",
                run: channels,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "help",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                since: "6.2.0",
                group: Group::PubSub,
                summary: "Describes the subcommands.",
                complexity: "O(1)",
                run: help,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "numpat",
                arity: 2,
                flags: ASKING,
                since: "2.8.0",
                group: Group::PubSub,
                summary: "Counts the patterns that somebody listens to.",
                complexity: "O(1)",
                run: numpat,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "numsub",
                arity: -2,
                flags: ASKING,
                since: "2.8.0",
                group: Group::PubSub,
                summary: "Counts those who listen to each of some channels.",
                complexity: "O(N) where N is the number of channels named",
                syntax: "[channel:string...]",
                run: numsub,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "shardchannels",
                arity: -2,
                flags: ASKING,
                since: "7.0.0",
                group: Group::PubSub,
                summary: "Lists the sharded channels that somebody listens to.",
                complexity: "O(N) where N is the number of sharded channels that somebody listens to",
                syntax: "[pattern:pattern]",
                run: shardchannels,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "shardnumsub",
                arity: -2,
                flags: ASKING,
                since: "7.0.0",
                group: Group::PubSub,
                summary: "Counts those who listen to each of some sharded channels.",
                complexity: "O(N) where N is the number of sharded channels named",
                syntax: "[shardchannel:string...]",
                run: shardnumsub,
                ..CommandSpec::DEFAULT
            },
        ],
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "punsubscribe",
        arity: -1,
        flags: LISTENING,
        while_subscribed: true,
        since: "2.0.0",
        group: Group::PubSub,
        summary: "Listens no more to patterns.",
        complexity: "O(N) where N is the number of patterns",
        syntax: "[pattern:pattern...]",
        run: punsubscribe,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "spublish",
        arity: 3,
        flags: SENDING,
        keys: &[KeySpec::one(1, KeyFlags::NOT_KEY)],
        since: "7.0.0",
        group: Group::PubSub,
        summary: "Sends a message to all who listen to a sharded channel.",
        complexity: "O(N) where N is the number of clients that listen to the channel",
        syntax: "shardchannel:string message:string",
        run: spublish,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "ssubscribe",
        arity: -2,
        flags: LISTENING,
        while_subscribed: true,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::NOT_KEY)],
        since: "7.0.0",
        group: Group::PubSub,
        summary: "Listens to sharded channels.",
        complexity: "O(N) where N is the number of channels",
        syntax: "shardchannel:string...",
        run: ssubscribe,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "subscribe",
        arity: -2,
        flags: LISTENING,
        while_subscribed: true,
        since: "2.0.0",
        group: Group::PubSub,
        summary: "Listens to channels.",
        complexity: "O(N) where N is the number of channels",
        syntax: "channel:string...",
        run: subscribe,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "sunsubscribe",
        arity: -1,
        flags: LISTENING,
        while_subscribed: true,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::NOT_KEY)],
        since: "7.0.0",
        group: Group::PubSub,
        summary: "Listens no more to sharded channels.",
        complexity: "O(N) where N is the number of channels",
        syntax: "[shardchannel:string...]",
        run: sunsubscribe,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "unsubscribe",
        arity: -1,
        flags: LISTENING,
        while_subscribed: true,
        since: "2.0.0",
        group: Group::PubSub,
        summary: "Listens no more to channels.",
        complexity: "O(N) where N is the number of channels",
        syntax: "[channel:string...]",
        run: unsubscribe,
        ..CommandSpec::DEFAULT
    },
];

/// What PUBSUB HELP says.
const HELP: &[&str] = &[
    "CHANNELS [<pattern>]",
    "    The channels that somebody listens to, all or those that match.",
    "NUMPAT",
    "    How many patterns somebody listens to.",
    "NUMSUB [<channel> ...]",
    "    How many clients listen to each of these channels,",
    "    not counting those that do by a pattern.",
    "SHARDCHANNELS [<pattern>]",
    "    The sharded channels that somebody listens to, all or those that match.",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    How many clients listen to each of these sharded channels.",
];

/// What is confirmed: the word, the name, and how many subscriptions the client has then.
struct Confirmation {
    word: &'static [u8],
    name: Option<Name>,
    count: usize,
}

impl Confirmation {
    fn write(&self, reply: &mut Reply<'_>) {
        reply.push(3);
        reply.bulk(self.word);
        match &self.name {
            Some(name) => reply.bulk(name),
            None => reply.null(),
        }
        reply.count(self.count);
    }
}

/// Subscriptions of the client that count together: to channels and patterns, or to sharded channels.
fn count(ctx: &Context<'_>, kind: Listen) -> usize {
    let subscriptions = ctx.session.client.subscriptions.lock();
    match kind {
        Listen::Shard => subscriptions.count(Listen::Shard),
        _ => subscriptions.count(Listen::Channel) + subscriptions.count(Listen::Pattern),
    }
}

/// Sends confirmations. They are messages rather than replies: CLIENT REPLY OFF does not keep them back.
fn confirm(ctx: &mut Context<'_>, confirmations: &[Confirmation]) {
    if ctx.session.keeps_replies() {
        confirmations.iter().for_each(|confirmation| confirmation.write(&mut ctx.reply));
        return;
    }
    let mut out = Output::new();
    let mut reply = Reply::new(&mut out, ctx.session.resp);
    confirmations.iter().for_each(|confirmation| confirmation.write(&mut reply));
    ctx.session.client.push(&Bytes::from(out.to_vec()), usize::MAX);
    ctx.session.own_pushes = true;
}

fn listen(ctx: &mut Context<'_>, args: &mut Args<'_>, kind: Listen, word: &'static [u8]) -> Outcome {
    let mut confirmations = Vec::with_capacity(args.remaining());
    for name in args.rest() {
        ctx.shared.pubsub.subscribe(&ctx.session.client, kind, name);
        confirmations.push(Confirmation { word, name: Some(Name::from(name)), count: count(ctx, kind) });
    }
    confirm(ctx, &confirmations);
    Outcome::Done
}

/// Ends the subscriptions named, or all of a kind; then sends what was received until then, then the confirmations.
fn ignore(ctx: &mut Context<'_>, args: &mut Args<'_>, kind: Listen, word: &'static [u8]) -> Outcome {
    let pubsub = &ctx.shared.pubsub;
    let names = match args.remaining() {
        0 => pubsub.names_of(&ctx.session.client, kind),
        _ => args.rest().map(Name::from).collect(),
    };
    let mut confirmations = Vec::with_capacity(names.len().max(1));
    for name in names {
        pubsub.unsubscribe(&ctx.session.client, kind, &name);
        confirmations.push(Confirmation { word, name: Some(name), count: count(ctx, kind) });
    }
    if confirmations.is_empty() {
        confirmations.push(Confirmation { word, name: None, count: count(ctx, kind) });
    }
    // In a transaction the confirmations are parts of a reply, which no message may interrupt.
    if ctx.blocking == Blocking::Allowed && ctx.session.keeps_replies() {
        ctx.session.client.take_pushes(ctx.reply.output());
    }
    confirm(ctx, &confirmations);
    Outcome::Done
}

/// `SUBSCRIBE channel ...`: a confirmation for each channel.
fn subscribe<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    Ok(listen(ctx, args, Listen::Channel, b"subscribe"))
}

/// `PSUBSCRIBE pattern ...`: a confirmation for each pattern.
fn psubscribe<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    Ok(listen(ctx, args, Listen::Pattern, b"psubscribe"))
}

/// `SSUBSCRIBE shardchannel ...`: a confirmation for each channel. Not in a transaction, as in Valkey.
fn ssubscribe<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    if ctx.blocking != Blocking::Allowed {
        return Err(CommandError::text("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
    }
    Ok(listen(ctx, args, Listen::Shard, b"ssubscribe"))
}

/// `UNSUBSCRIBE [channel ...]`: a confirmation for each channel, one with a null if none is named and there is none.
fn unsubscribe<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    Ok(ignore(ctx, args, Listen::Channel, b"unsubscribe"))
}

/// `PUNSUBSCRIBE [pattern ...]`: as UNSUBSCRIBE.
fn punsubscribe<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    Ok(ignore(ctx, args, Listen::Pattern, b"punsubscribe"))
}

/// `SUNSUBSCRIBE [shardchannel ...]`: as UNSUBSCRIBE.
fn sunsubscribe<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    Ok(ignore(ctx, args, Listen::Shard, b"sunsubscribe"))
}

/// `PUBLISH channel message`: how often it was received. O(receivers + patterns).
fn publish<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (channel, message) = (args.bytes()?, args.bytes()?);
    args.finish()?;
    let (own, shared) = (ctx.session.client.id, ctx.shared);
    let published = shared.pubsub.publish(channel, message, own, &shared.config);
    ctx.session.own_pushes |= published.own;
    ctx.reply.count(published.receivers);
    Ok(Outcome::Done)
}

/// `SPUBLISH shardchannel message`: how often it was received. O(receivers).
fn spublish<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (channel, message) = (args.bytes()?, args.bytes()?);
    args.finish()?;
    let (own, shared) = (ctx.session.client.id, ctx.shared);
    let published = shared.pubsub.publish_sharded(channel, message, own, &shared.config);
    ctx.session.own_pushes |= published.own;
    ctx.reply.count(published.receivers);
    Ok(Outcome::Done)
}

fn list_names<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, kind: Listen) -> Result<Outcome, CommandError> {
    let pattern = if args.remaining() > 0 { Some(args.bytes()?) } else { None };
    if args.remaining() > 0 {
        return Err(help::unknown_or_arity("PUBSUB", args.request().arg(1)));
    }
    let names = ctx.shared.pubsub.names(kind, pattern);
    ctx.reply.array(names.len());
    names.iter().for_each(|name| ctx.reply.bulk(name));
    Ok(Outcome::Done)
}

fn count_listeners<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, kind: Listen) -> Result<Outcome, CommandError> {
    ctx.reply.array(args.remaining() * 2);
    for channel in args.rest() {
        ctx.reply.bulk(channel);
        ctx.reply.count(ctx.shared.pubsub.listeners(kind, channel));
    }
    Ok(Outcome::Done)
}

/// `PUBSUB CHANNELS [pattern]`.
fn channels<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    list_names(ctx, args, Listen::Channel)
}

/// `PUBSUB SHARDCHANNELS [pattern]`.
fn shardchannels<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    list_names(ctx, args, Listen::Shard)
}

/// `PUBSUB NUMSUB [channel ...]`: channels and numbers in turn.
fn numsub<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    count_listeners(ctx, args, Listen::Channel)
}

/// `PUBSUB SHARDNUMSUB [shardchannel ...]`: channels and numbers in turn.
fn shardnumsub<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    count_listeners(ctx, args, Listen::Shard)
}

/// `PUBSUB NUMPAT`.
fn numpat<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.reply.count(ctx.shared.pubsub.count(Listen::Pattern));
    Ok(Outcome::Done)
}

/// `PUBSUB HELP`.
fn help<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    help::help(&mut ctx.reply, "PUBSUB", HELP);
    Ok(Outcome::Done)
}
