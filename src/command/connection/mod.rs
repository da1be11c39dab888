//! The connection group: what a client says about itself and its connection.
//!
//! Invariant: what others see of a client ([`Client`](crate::call::clients::Client)) is kept in step with what its
//! session does. Must not know: sockets; a connection is closed by an outcome or a letter. Source: the Redis command
//! reference; Valkey 9.1 where it is silent.

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::session::{ReplyMode, Session};
use crate::call::spec::{Categories, CommandSpec, Flags, Group, Outcome, Scope};
use crate::protocol::reply::Resp;
use std::sync::atomic::Ordering::Relaxed;

mod client;
mod describe;
mod filter;
mod handshake;
mod tracking;

const ANYTIME: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const GREETING: Flags = ANYTIME.and(Flags::FAST).and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY);

const DB_TOO_LARGE: CommandError =
    CommandError::text("ERR value is out of range, value must between -2147483648 and 2147483647");

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "auth",
        arity: -2,
        flags: GREETING,
        categories: Categories::CONNECTION,
        since: "1.0.0",
        group: Group::Connection,
        summary: "Proves who the client is, by password.",
        complexity: "O(1)",
        syntax: "[username:string@6.0.0] password:string",
        history: &[("6.0.0", "A user name may come before the password.")],
        run: handshake::auth,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "client",
        arity: -2,
        flags: Flags::NONE,
        categories: Categories::NONE,
        since: "2.4.0",
        group: Group::Connection,
        summary: "Commands about connections.",
        complexity: "Depends on the subcommand.",
        subcommands: client::SUBCOMMANDS,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "echo",
        arity: 2,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        categories: Categories::CONNECTION,
        since: "1.0.0",
        group: Group::Connection,
        summary: "Replies its argument.",
        complexity: "O(1)",
        syntax: "message:string",
        run: echo,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "hello",
        arity: -1,
        flags: GREETING,
        categories: Categories::CONNECTION,
        since: "6.0.0",
        group: Group::Connection,
        summary: "Opens a conversation: protocol version, password, name.",
        complexity: "O(1)",
        syntax: "[arguments(protover:integer [AUTH auth(username:string password:string)] [SETNAME clientname:string])]",
        history: &[
            ("8.1.0", "Replies `availability_zone` when that option is set."),
            ("6.2.0", "The version may be left out."),
        ],
        run: handshake::hello,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "ping",
        arity: -1,
        flags: Flags::FAST,
        categories: Categories::CONNECTION,
        while_subscribed: true,
        since: "1.0.0",
        group: Group::Connection,
        summary: "Tells that the server is alive.",
        complexity: "O(1)",
        syntax: "[message:string]",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        run: ping,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "quit",
        arity: -1,
        flags: GREETING,
        categories: Categories::CONNECTION,
        while_subscribed: true,
        since: "1.0.0",
        group: Group::Connection,
        summary: "Closes this connection.",
        complexity: "O(1)",
        run: quit,
        at_once: true,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "reset",
        arity: 1,
        flags: GREETING,
        categories: Categories::CONNECTION,
        while_subscribed: true,
        since: "6.2.0",
        group: Group::Connection,
        summary: "Makes this connection as it was when it opened.",
        complexity: "O(1)",
        run: reset,
        at_once: true,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "select",
        arity: 2,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST).and(Flags::ALLOW_BUSY),
        categories: Categories::CONNECTION,
        since: "1.0.0",
        group: Group::Connection,
        summary: "Chooses the database of this connection.",
        complexity: "O(1)",
        syntax: "index:integer",
        run: select,
        scope: Scope::Select,
        ..CommandSpec::DEFAULT
    },
];

/// What Valkey, which prints C strings, shows of `text`.
fn until_zero(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// An error whose text quotes bytes of the client between two pieces of text.
fn quoting(before: &str, given: &[u8], after: &str) -> CommandError {
    CommandError::Bytes([before.as_bytes(), until_zero(given), after.as_bytes()].concat())
}

/// `ECHO message`. O(length).
fn echo<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let message = args.bytes()?;
    args.finish()?;
    ctx.reply.bulk(message);
    Ok(Outcome::Done)
}

/// `PING [message]`: `PONG`, or the message; a RESP2 client that listens to channels gets `pong` and the message in the form
/// of a message. O(length).
fn ping<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    match args.remaining() {
        words @ (0 | 1) if ctx.session.client.subscribed.load(Relaxed) && ctx.session.resp == Resp::V2 => {
            ctx.reply.push(2);
            ctx.reply.bulk(b"pong");
            ctx.reply.bulk(if words == 0 { b"" } else { args.bytes()? });
        }
        0 => ctx.reply.simple("PONG"),
        1 => ctx.reply.bulk(args.bytes()?),
        _ => return Err(CommandError::WrongArity("ping".into())),
    }
    Ok(Outcome::Done)
}

/// `QUIT`: `OK`, then closes. Arguments are ignored, as in Redis.
fn quit<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    ctx.reply.ok();
    Ok(Outcome::Close)
}

/// `SELECT index`.
fn select<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let index = i32::try_from(args.integer()?).map_err(|_| DB_TOO_LARGE)?;
    args.finish()?;
    let db = usize::try_from(index).ok().filter(|db| *db < ctx.shared.keyspace.databases());
    set_db(ctx.session, db.ok_or(CommandError::DbIndex)?);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `RESET`: back to database 0, RESP2, no name, no modes, no subscriptions, no tracking; without a password only where none is set. The names of the
/// library and the capabilities stay, as in Valkey.
fn reset<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.session.discard(ctx.shared);
    let session = &mut *ctx.session;
    set_db(session, 0);
    session.authenticated = ctx.shared.config.requirepass().is_none();
    session.monitor = false;
    session.no_touch = false;
    // Under CLIENT REPLY SKIP even the reply of RESET is left out.
    if session.reply_mode == ReplyMode::Off {
        session.reply_mode = ReplyMode::On;
    }
    let client = &session.client;
    ctx.shared.clients.set_monitor(client, false);
    ctx.shared.pubsub.leave(client);
    ctx.shared.untrack(client);
    client.take_pushes(ctx.reply.output()); // no message comes behind the reply
    client.no_touch.store(false, Relaxed);
    client.no_evict.store(false, Relaxed);
    client.labels.lock().name.clear();
    set_resp(ctx, Resp::V2);
    ctx.reply.simple("RESET");
    Ok(Outcome::Done)
}

fn set_db(session: &mut Session, db: usize) {
    session.db = db;
    session.client.db.store(db, Relaxed);
}

/// Changes the protocol version, this command's own reply included.
fn set_resp(ctx: &mut Context<'_>, resp: Resp) {
    ctx.session.resp = resp;
    ctx.session.client.settle(); // what was sent so far was encoded for the old one
    ctx.session.client.resp.store(if resp == Resp::V3 { 3 } else { 2 }, Relaxed);
    ctx.reply.set_resp(resp);
}
