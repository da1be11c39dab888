//! The connection group: who the client is, what it speaks, which database it uses.
//!
//! Must not know: sockets. Everything a connection is to others lies in its record in the registry.

mod client;
mod filter;

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::session::ReplyMode;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, Outcome};
use crate::config::REDIS_VERSION;
use crate::protocol::reply::Resp;
use crate::util::number;
use client::{
    client_getname, client_help, client_id, client_info, client_kill, client_list, client_no_evict, client_no_touch,
    client_pause, client_reply, client_setinfo, client_setname, client_unblock, client_unpause, set_name,
};
use std::sync::atomic::Ordering::Relaxed;

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "auth",
        arity: -2,
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::NO_AUTH)
            .and(Flags::ALLOW_BUSY),
        categories: Categories::CONNECTION,
        since: "1.0.0",
        group: Group::Connection,
        summary: "Authenticates the connection.",
        complexity: "O(N)",
        syntax: "[username:string@6.0.0] password:string",
        history: &[("6.0.0", "New: more forms.")],
        run: auth,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "client",
        arity: -2,
        flags: Flags::NONE,
        categories: Categories::NONE,
        since: "2.4.0",
        group: Group::Connection,
        summary: "A container for commands on client connections.",
        complexity: "O(1)",
        subcommands: &[
            CommandSpec {
                name: "getname",
                arity: 2,
                flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::ALLOW_BUSY),
                categories: Categories::CONNECTION,
                since: "2.6.9",
                group: Group::Connection,
                summary: "Replies the name of the connection.",
                complexity: "O(1)",
                run: client_getname,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "help",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                categories: Categories::CONNECTION,
                since: "5.0.0",
                group: Group::Connection,
                summary: "Lists the subcommands.",
                complexity: "O(1)",
                run: client_help,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "id",
                arity: 2,
                flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::ALLOW_BUSY),
                categories: Categories::CONNECTION,
                since: "5.0.0",
                group: Group::Connection,
                summary: "Replies the id of the connection.",
                complexity: "O(1)",
                run: client_id,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "info",
                arity: 2,
                flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
                categories: Categories::CONNECTION,
                since: "6.2.0",
                group: Group::Connection,
                summary: "Describes the connection.",
                complexity: "O(1)",
                tips: &["nondeterministic_output"],
                run: client_info,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "kill",
                arity: -3,
                flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
                categories: Categories::CONNECTION,
                since: "2.4.0",
                group: Group::Connection,
                summary: "Closes connections.",
                complexity: "O(N)",
                syntax: "filter<old-format~ip:port:string!2.8.12|new-format<[ID client-id:integer...@2.8.12]|[TYPE client-type<normal=NORMAL|master=MASTER@3.2.0|primary=PRIMARY@8.0.0|slave=SLAVE|replica=REPLICA@5.0.0|pubsub=PUBSUB>@2.8.12]|[USER username:string]|[ADDR addr~ip:port:string]|[LADDR laddr~ip:port:string@6.2.0]|[SKIPME skipme<yes=YES|no=NO>]|[MAXAGE maxage:integer@8.0.0]|[NAME name:string@9.0.0]|[IDLE idle:integer@9.0.0]|[FLAGS flags:string@9.0.0]|[LIB-NAME lib-name:string@9.0.0]|[LIB-VER lib-ver:string@9.0.0]|[DB db:integer@9.0.0]|[CAPA capa:string@9.0.0]|[IP ip:string@9.0.0]|[NOT-TYPE not-client-type<normal=NORMAL|master=MASTER|primary=PRIMARY|slave=SLAVE|replica=REPLICA|pubsub=PUBSUB>@9.0.0]|[NOT-ID not-client-id:integer...@9.0.0]|[NOT-USER not-username:string@9.0.0]|[NOT-ADDR not-addr~ip:port:string@9.0.0]|[NOT-LADDR not-laddr~ip:port:string@9.0.0]|[NOT-NAME not-name:string@9.0.0]|[NOT-FLAGS not-flags:string@9.0.0]|[NOT-LIB-NAME not-lib-name:string@9.0.0]|[NOT-LIB-VER not-lib-ver:string@9.0.0]|[NOT-DB not-db:integer@9.0.0]|[NOT-CAPA not-capa:string@9.0.0]|[NOT-IP not-ip:string@9.0.0]>...>",
                history: &[
                    ("2.8.12", "New: more forms."),
                    ("2.8.12", "New: ID."),
                    ("3.2.0", "New: master, TYPE."),
                    ("5.0.0", "New: slave, TYPE, replica."),
                    ("6.2.0", "New: LADDR."),
                    ("8.0.0", "New: MAXAGE."),
                    ("8.0.0", "New: master, TYPE, primary."),
                    ("8.1.0", "New: ID."),
                    ("9.0.0", "New: more forms."),
                ],
                run: client_kill,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "list",
                arity: -2,
                flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
                categories: Categories::CONNECTION,
                since: "2.4.0",
                group: Group::Connection,
                summary: "Describes connections, a line each.",
                complexity: "O(N)",
                syntax: "[TYPE client-type<normal=NORMAL|master=MASTER|replica=REPLICA|pubsub=PUBSUB>@5.0.0] [ID client-id:integer...@6.2.0] [USER username:string@8.1.0] [ADDR addr~ip:port:string@8.1.0] [LADDR laddr~ip:port:string@8.1.0] [SKIPME skipme<yes=YES|no=NO>@8.1.0] [MAXAGE maxage:integer@8.1.0] [NAME name:string@9.0.0] [IDLE idle:integer@9.0.0] [FLAGS flags:string@9.0.0] [LIB-NAME lib-name:string@9.0.0] [LIB-VER lib-ver:string@9.0.0] [DB db:integer@9.0.0] [CAPA capa:string@9.0.0] [IP ip:string@9.0.0] [NOT-TYPE not-client-type<normal=NORMAL|master=MASTER|replica=REPLICA|pubsub=PUBSUB>@9.0.0] [NOT-ID not-client-id:integer...@9.0.0] [NOT-USER not-username:string@9.0.0] [NOT-ADDR not-addr~ip:port:string@9.0.0] [NOT-LADDR not-laddr~ip:port:string@9.0.0] [NOT-NAME not-name:string@9.0.0] [NOT-FLAGS not-flags:string@9.0.0] [NOT-LIB-NAME not-lib-name:string@9.0.0] [NOT-LIB-VER not-lib-ver:string@9.0.0] [NOT-DB not-db:integer@9.0.0] [NOT-CAPA not-capa:string@9.0.0] [NOT-IP not-ip:string@9.0.0]",
                tips: &["nondeterministic_output"],
                history: &[
                    ("2.8.12", "New: id."),
                    ("5.0.0", "New: TYPE."),
                    ("6.0.0", "New: user."),
                    ("6.2.0", "New: argv-mem, tot-mem, laddr, redir, ID."),
                    ("7.0.0", "New: resp, multi-mem, rbs, rbp."),
                    ("7.0.3", "New: ssub."),
                    ("8.0.0", "New: master, TYPE, primary."),
                    ("8.1.0", "New: more forms."),
                    ("9.0.0", "New: more forms."),
                ],
                run: client_list,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "no-evict",
                arity: 3,
                flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE).and(Flags::ALLOW_BUSY),
                categories: Categories::CONNECTION,
                since: "7.0.0",
                group: Group::Connection,
                summary: "Keeps the connection from being closed to save memory.",
                complexity: "O(1)",
                syntax: "enabled<on=ON|off=OFF>",
                run: client_no_evict,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "no-touch",
                arity: 3,
                flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::ALLOW_BUSY),
                categories: Categories::CONNECTION,
                since: "7.2.0",
                group: Group::Connection,
                summary: "Lets the reads of this connection not count as uses of keys.",
                complexity: "O(1)",
                syntax: "enabled<on=ON|off=OFF>",
                run: client_no_touch,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "pause",
                arity: -3,
                flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
                categories: Categories::CONNECTION,
                since: "3.0.0",
                group: Group::Connection,
                summary: "Holds requests back for a time.",
                complexity: "O(1)",
                syntax: "timeout:integer [mode<write=WRITE|all=ALL>@6.2.0]",
                history: &[("6.2.0", "New: CLIENT PAUSE WRITE, mode.")],
                run: client_pause,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "reply",
                arity: 3,
                flags: Flags::NOSCRIPT
                    .and(Flags::LOADING)
                    .and(Flags::STALE)
                    .and(Flags::NO_MULTI)
                    .and(Flags::ALLOW_BUSY),
                categories: Categories::CONNECTION,
                since: "3.2.0",
                group: Group::Connection,
                summary: "Switches replies on or off.",
                complexity: "O(1)",
                syntax: "action<on=ON|off=OFF|skip=SKIP>",
                run: client_reply,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "setinfo",
                arity: 4,
                flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::ALLOW_BUSY),
                categories: Categories::CONNECTION,
                since: "7.2.0",
                group: Group::Connection,
                summary: "Notes the name or version of the client library.",
                complexity: "O(1)",
                syntax: "attr<LIB-NAME libname:string|LIB-VER libver:string>",
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                run: client_setinfo,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "setname",
                arity: 3,
                flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::ALLOW_BUSY),
                categories: Categories::CONNECTION,
                since: "2.6.9",
                group: Group::Connection,
                summary: "Names the connection.",
                complexity: "O(1)",
                syntax: "connection-name:string",
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                run: client_setname,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "unblock",
                arity: -3,
                flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
                categories: Categories::CONNECTION,
                since: "5.0.0",
                group: Group::Connection,
                summary: "Ends the wait of a blocked client.",
                complexity: "O(log N)",
                syntax: "client-id:integer [unblock-type<timeout=TIMEOUT|error=ERROR>]",
                run: client_unblock,
                ..CommandSpec::DEFAULT
            },
            CommandSpec {
                name: "unpause",
                arity: 2,
                flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
                categories: Categories::CONNECTION,
                since: "6.2.0",
                group: Group::Connection,
                summary: "Ends a pause.",
                complexity: "O(N)",
                run: client_unpause,
                ..CommandSpec::DEFAULT
            },
        ],
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
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::NO_AUTH)
            .and(Flags::ALLOW_BUSY),
        categories: Categories::CONNECTION,
        since: "6.0.0",
        group: Group::Connection,
        summary: "Chooses the protocol version and introduces the client.",
        complexity: "O(1)",
        syntax: "[arguments(protover:integer [AUTH auth(username:string password:string)] [SETNAME clientname:string])]",
        history: &[("8.1.0", "New: availability_zone, availability-zone."), ("6.2.0", "New: protover.")],
        run: hello,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "ping",
        arity: -1,
        flags: Flags::FAST,
        categories: Categories::CONNECTION,
        since: "1.0.0",
        group: Group::Connection,
        summary: "Replies PONG, or its argument.",
        complexity: "O(1)",
        syntax: "[message:string]",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        run: ping,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "quit",
        arity: -1,
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::NO_AUTH)
            .and(Flags::ALLOW_BUSY),
        categories: Categories::CONNECTION,
        since: "1.0.0",
        group: Group::Connection,
        summary: "Closes the connection.",
        complexity: "O(1)",
        run: quit,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "reset",
        arity: 1,
        flags: Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::FAST)
            .and(Flags::NO_AUTH)
            .and(Flags::ALLOW_BUSY),
        categories: Categories::CONNECTION,
        since: "6.2.0",
        group: Group::Connection,
        summary: "Puts the connection into the state of a new one.",
        complexity: "O(1)",
        run: reset,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "select",
        arity: 2,
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST).and(Flags::ALLOW_BUSY),
        categories: Categories::CONNECTION,
        since: "1.0.0",
        group: Group::Connection,
        summary: "Chooses the database of the connection.",
        complexity: "O(1)",
        syntax: "index:integer",
        run: select,
        ..CommandSpec::DEFAULT
    },
];

const WRONG_PASSWORD: CommandError =
    CommandError::text("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD_SET: CommandError = CommandError::text(
    "ERR AUTH <password> called without any password configured for the default user. \
     Are you sure your configuration is correct?",
);

/// Compares in a time that depends on the lengths alone.
fn same_secret(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differing, (x, y)| differing | (x ^ y)) == 0
}

/// Whether these credentials are right. Without a password set, the default user may come with any.
fn credentials_fit(ctx: &Context<'_>, user: &[u8], password: &[u8]) -> bool {
    let expected = ctx.shared.config.requirepass();
    user == b"default" && expected.is_none_or(|expected| same_secret(&expected, password))
}

/// `AUTH [username] password`
///
/// Replies OK. O(length of the password).
fn auth<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (user, password) = match args.remaining() {
        1 => (&b"default"[..], args.bytes()?),
        _ => (args.bytes()?, args.bytes()?),
    };
    let named = args.request().argc() == 3;
    args.finish()?;

    if !named && ctx.shared.config.requirepass().is_none() {
        return Err(NO_PASSWORD_SET);
    }
    if !credentials_fit(ctx, user, password) {
        return Err(WRONG_PASSWORD);
    }
    ctx.session.authenticated = true;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `ECHO message`
fn echo<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let message = args.bytes()?;
    args.finish()?;
    ctx.reply.bulk(message);
    Ok(Outcome::Done)
}

/// What HELLO was asked for.
#[derive(Default)]
struct Greeting<'a> {
    resp: Option<Resp>,
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> Greeting<'a> {
    fn read(args: &mut Args<'a>) -> Result<Greeting<'a>, CommandError> {
        let mut greeting = Greeting::default();
        if args.remaining() == 0 {
            return Ok(greeting);
        }
        let refused = CommandError::text("ERR Protocol version is not an integer or out of range");
        greeting.resp = match args.integer_or(refused)? {
            2 => Some(Resp::V2),
            3 => Some(Resp::V3),
            _ => return Err(CommandError::text("NOPROTO unsupported protocol version")),
        };
        while args.remaining() > 0 {
            if args.remaining() >= 3 && args.word("AUTH") {
                greeting.credentials = Some((args.bytes()?, args.bytes()?));
            } else if args.remaining() >= 2 && args.word("SETNAME") {
                greeting.name = Some(client::checked_label(args.bytes()?, "Client names")?);
            } else {
                let word = args.bytes()?;
                return Err(CommandError::Bytes([b"ERR Syntax error in HELLO option '", word, b"'"].concat()));
            }
        }
        Ok(greeting)
    }
}

/// `HELLO [protover [AUTH username password] [SETNAME clientname]]`
///
/// Replies a map that describes the server, in the protocol chosen. Nothing changes unless all of it can.
fn hello<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let greeting = Greeting::read(args)?;
    args.finish()?;

    match greeting.credentials {
        Some((user, password)) if !credentials_fit(ctx, user, password) => return Err(WRONG_PASSWORD),
        Some(_) => ctx.session.authenticated = true,
        None if !ctx.session.authenticated => {
            return Err(CommandError::text(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                 the same time",
            ));
        }
        None => {}
    }
    if let Some(name) = greeting.name {
        set_name(ctx, name);
    }
    if let Some(resp) = greeting.resp {
        speak(ctx, resp);
    }
    describe_server(ctx);
    Ok(Outcome::Done)
}

fn speak(ctx: &mut Context<'_>, resp: Resp) {
    ctx.session.resp = resp;
    ctx.session.client.resp.store(if resp == Resp::V3 { 3 } else { 2 }, Relaxed);
    ctx.reply.set_resp(resp);
}

fn describe_server(ctx: &mut Context<'_>) {
    let id = i64::try_from(ctx.session.client.id).unwrap_or(i64::MAX);
    let proto = if ctx.session.resp == Resp::V3 { 3 } else { 2 };
    let zone = ctx.shared.config.availability_zone();
    let reply = &mut ctx.reply;
    reply.map(if zone.is_empty() { 7 } else { 8 });
    for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    for (name, value) in [("proto", proto), ("id", id)] {
        reply.bulk(name.as_bytes());
        reply.integer(value);
    }
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
    if !zone.is_empty() {
        reply.bulk(b"availability_zone");
        reply.bulk(zone.as_bytes());
    }
}

/// `PING [message]`
fn ping<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    if args.remaining() > 1 {
        return Err(CommandError::WrongArity("ping".into()));
    }
    match args.peek() {
        Some(message) => ctx.reply.bulk(message),
        None => ctx.reply.simple("PONG"),
    }
    Ok(Outcome::Done)
}

/// `QUIT`
fn quit<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    ctx.reply.ok();
    Ok(Outcome::Close)
}

/// `RESET`
///
/// Replies RESET. Afterwards the connection is as a new one, but for its id and the name of its library.
fn reset<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let client = std::sync::Arc::clone(&ctx.session.client);
    ctx.shared.clients.set_monitor(&client, false);
    client.no_evict.store(false, Relaxed);
    client.no_touch.store(false, Relaxed);
    client.db.store(0, Relaxed);
    client.labels.lock().name.clear();
    let session = &mut *ctx.session;
    (session.db, session.monitor, session.no_touch, session.reply_mode) = (0, false, false, ReplyMode::On);
    session.authenticated = ctx.shared.config.requirepass().is_none();
    speak(ctx, Resp::V2);
    ctx.reply.simple("RESET");
    Ok(Outcome::Done)
}

/// `SELECT index`
fn select<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let index = args.bytes()?;
    args.finish()?;
    let invalid = || CommandError::text("ERR value is not an integer or out of range");
    let index = number::parse_i64(index).ok_or_else(invalid)?;
    let db = usize::try_from(index).ok().filter(|db| *db < ctx.db.keyspace().databases());
    let db = db.ok_or(CommandError::DbIndex)?;
    ctx.session.db = db;
    ctx.session.client.db.store(db, Relaxed);
    ctx.reply.ok();
    Ok(Outcome::Done)
}
