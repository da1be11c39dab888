//! CLIENT: names, modes, the list of clients, closing and pausing them.
//!
//! Invariant: the bytes of names are printable ASCII without spaces up to the first zero, where CLIENT LIST ends them, so
//! that they cannot break its lines.

use super::filter::ClientFilter;
use super::{ANYTIME, describe, quoting, tracking, until_zero};
use crate::call::args::Args;
use crate::call::clients::{Client, Pause};
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::help;
use crate::call::session::ReplyMode;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, Outcome};
use crate::util::clock::UnixMs;
use bytes::Bytes;
use std::sync::atomic::Ordering::Relaxed;

const OWN: Flags = ANYTIME.and(Flags::ALLOW_BUSY);
const ADMIN: Flags = ANYTIME.and(Flags::ADMIN);

const KILL_SYNTAX: &str = "filter<old-format~ip:port:string!2.8.12|new-format<[ID client-id:integer...@2.8.12]|[TYPE \
     client-type<normal=NORMAL|master=MASTER@3.2.0|primary=PRIMARY@8.0.0|slave=SLAVE|replica=REPLICA@5.0.0|\
     pubsub=PUBSUB>@2.8.12]|[USER username:string]|[ADDR addr~ip:port:string]|[LADDR laddr~ip:port:string@6.2.0]|\
     [SKIPME skipme<yes=YES|no=NO>]|[MAXAGE maxage:integer@8.0.0]|[NAME name:string@9.0.0]|[IDLE idle:integer@9.0.0]|\
     [FLAGS flags:string@9.0.0]|[LIB-NAME lib-name:string@9.0.0]|[LIB-VER lib-ver:string@9.0.0]|[DB \
     db:integer@9.0.0]|[CAPA capa:string@9.0.0]|[IP ip:string@9.0.0]|[NOT-TYPE not-client-type<normal=NORMAL|\
     master=MASTER|primary=PRIMARY|slave=SLAVE|replica=REPLICA|pubsub=PUBSUB>@9.0.0]|[NOT-ID \
     not-client-id:integer...@9.0.0]|[NOT-USER not-username:string@9.0.0]|[NOT-ADDR not-addr~ip:port:string@9.0.0]|\
     [NOT-LADDR not-laddr~ip:port:string@9.0.0]|[NOT-NAME not-name:string@9.0.0]|[NOT-FLAGS not-flags:string@9.0.0]|\
     [NOT-LIB-NAME not-lib-name:string@9.0.0]|[NOT-LIB-VER not-lib-ver:string@9.0.0]|[NOT-DB not-db:integer@9.0.0]|\
     [NOT-CAPA not-capa:string@9.0.0]|[NOT-IP not-ip:string@9.0.0]>...>";

const LIST_SYNTAX: &str = "[TYPE client-type<normal=NORMAL|master=MASTER|replica=REPLICA|pubsub=PUBSUB>@5.0.0] [ID \
     client-id:integer...@6.2.0] [USER username:string@8.1.0] [ADDR addr~ip:port:string@8.1.0] [LADDR \
     laddr~ip:port:string@8.1.0] [SKIPME skipme<yes=YES|no=NO>@8.1.0] [MAXAGE maxage:integer@8.1.0] [NAME \
     name:string@9.0.0] [IDLE idle:integer@9.0.0] [FLAGS flags:string@9.0.0] [LIB-NAME lib-name:string@9.0.0] \
     [LIB-VER lib-ver:string@9.0.0] [DB db:integer@9.0.0] [CAPA capa:string@9.0.0] [IP ip:string@9.0.0] [NOT-TYPE \
     not-client-type<normal=NORMAL|master=MASTER|replica=REPLICA|pubsub=PUBSUB>@9.0.0] [NOT-ID \
     not-client-id:integer...@9.0.0] [NOT-USER not-username:string@9.0.0] [NOT-ADDR not-addr~ip:port:string@9.0.0] \
     [NOT-LADDR not-laddr~ip:port:string@9.0.0] [NOT-NAME not-name:string@9.0.0] [NOT-FLAGS not-flags:string@9.0.0] \
     [NOT-LIB-NAME not-lib-name:string@9.0.0] [NOT-LIB-VER not-lib-ver:string@9.0.0] [NOT-DB not-db:integer@9.0.0] \
     [NOT-CAPA not-capa:string@9.0.0] [NOT-IP not-ip:string@9.0.0]";

const TRACKING_SYNTAX: &str = "status<on=ON|off=OFF> [REDIRECT client-id:integer] [PREFIX prefix:string...+] [bcast=BCAST] \
     [optin=OPTIN] [optout=OPTOUT] [noloop=NOLOOP]";

const MORE_FILTERS: &str = "Filters `NAME`, `IDLE`, `FLAGS`, `LIB-NAME`, `LIB-VER`, `DB`, `CAPA`, `IP`, and the negations of all but \
     `IDLE`, `MAXAGE`, `SKIPME`.";

const BAD_NAME: CommandError =
    CommandError::text("ERR Client names cannot contain spaces, newlines or special characters.");
const NO_SUCH_CLIENT: CommandError = CommandError::text("ERR No such client");
const NOT_IMPORTING: CommandError = CommandError::text("ERR Server is not in import mode");
const BAD_MODE: CommandError = CommandError::text("ERR CLIENT PAUSE mode must be WRITE or ALL");
const BAD_TIMEOUT: CommandError = CommandError::text("ERR timeout is not an integer or out of range");
const NEGATIVE_TIMEOUT: CommandError = CommandError::text("ERR timeout is negative");
const LATE_TIMEOUT: CommandError = CommandError::text("ERR timeout is out of range");
const UNBLOCKED: &[u8] = b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n";

const BAD_REASON: CommandError = CommandError::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");

/// The subcommands.
pub(super) const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "caching",
        arity: 3,
        flags: OWN,
        categories: Categories::CONNECTION,
        since: "6.0.0",
        group: Group::Connection,
        summary: "Chooses whether the keys of the next command are tracked.",
        complexity: "O(1)",
        syntax: "mode<yes=YES|no=NO>",
        run: tracking::caching,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "capa",
        arity: -3,
        flags: OWN,
        categories: Categories::CONNECTION,
        since: "8.0.0",
        group: Group::Connection,
        summary: "Tells what the client is able to follow.",
        complexity: "O(N) where N is the number of capabilities given",
        syntax: "capability:string...",
        run: capa,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "getname",
        arity: 2,
        flags: OWN,
        categories: Categories::CONNECTION,
        since: "2.6.9",
        group: Group::Connection,
        summary: "Gives the name of this connection.",
        complexity: "O(1)",
        run: getname,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "getredir",
        arity: 2,
        flags: OWN,
        categories: Categories::CONNECTION,
        since: "6.0.0",
        group: Group::Connection,
        summary: "Tells who is told of changes in place of this connection.",
        complexity: "O(1)",
        run: tracking::getredir,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "help",
        arity: 2,
        flags: Flags::LOADING.and(Flags::STALE),
        categories: Categories::CONNECTION,
        since: "5.0.0",
        group: Group::Connection,
        summary: "Describes the subcommands.",
        complexity: "O(1)",
        run: help,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "id",
        arity: 2,
        flags: OWN,
        categories: Categories::CONNECTION,
        since: "5.0.0",
        group: Group::Connection,
        summary: "Gives the number of this connection.",
        complexity: "O(1)",
        run: id,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "import-source",
        arity: 3,
        flags: ANYTIME,
        categories: Categories::CONNECTION,
        since: "8.1.0",
        group: Group::Connection,
        summary: "Marks this connection as the source of an import.",
        complexity: "O(1)",
        syntax: "enabled<on=ON|off=OFF>",
        run: import_source,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "info",
        arity: 2,
        flags: ANYTIME,
        categories: Categories::CONNECTION,
        since: "6.2.0",
        group: Group::Connection,
        summary: "Describes this connection.",
        complexity: "O(1)",
        tips: &["nondeterministic_output"],
        run: info,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "kill",
        arity: -3,
        flags: ADMIN,
        categories: Categories::CONNECTION,
        since: "2.4.0",
        group: Group::Connection,
        summary: "Closes connections.",
        complexity: "O(N) where N is the number of connections",
        syntax: KILL_SYNTAX,
        history: &[
            ("2.8.12", "Filters."),
            ("2.8.12", "The `ID` filter."),
            ("3.2.0", "The type `master`."),
            ("5.0.0", "The type `replica`, of which `slave` is the old name."),
            ("6.2.0", "The `LADDR` filter."),
            ("8.0.0", "The `MAXAGE` filter."),
            ("8.0.0", "The type `primary`, of which `master` is the old name."),
            ("8.1.0", "Several ids in one `ID` filter."),
            ("9.0.0", MORE_FILTERS),
        ],
        run: kill,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "list",
        arity: -2,
        flags: ADMIN,
        categories: Categories::CONNECTION,
        since: "2.4.0",
        group: Group::Connection,
        summary: "Describes all connections, or those that filters let through.",
        complexity: "O(N) where N is the number of connections",
        syntax: LIST_SYNTAX,
        tips: &["nondeterministic_output"],
        history: &[
            ("2.8.12", "The field `id`."),
            ("5.0.0", "The `TYPE` filter."),
            ("6.0.0", "The field `user`."),
            ("6.2.0", "The fields `argv-mem`, `tot-mem`, `laddr`, `redir`; the `ID` filter."),
            ("7.0.0", "The fields `resp`, `multi-mem`, `rbs`, `rbp`."),
            ("7.0.3", "The field `ssub`."),
            ("8.0.0", "The type `primary`, of which `master` is the old name."),
            ("8.1.0", "Filters `USER`, `ADDR`, `LADDR`, `SKIPME`, `MAXAGE`."),
            ("9.0.0", MORE_FILTERS),
        ],
        run: list,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "no-evict",
        arity: 3,
        flags: ADMIN.and(Flags::ALLOW_BUSY),
        categories: Categories::CONNECTION,
        since: "7.0.0",
        group: Group::Connection,
        summary: "Spares this connection when memory for clients runs short.",
        complexity: "O(1)",
        syntax: "enabled<on=ON|off=OFF>",
        run: no_evict,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "no-touch",
        arity: 3,
        flags: OWN,
        categories: Categories::CONNECTION,
        since: "7.2.0",
        group: Group::Connection,
        summary: "Chooses whether the reads of this connection count as uses of keys.",
        complexity: "O(1)",
        syntax: "enabled<on=ON|off=OFF>",
        run: no_touch,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "pause",
        arity: -3,
        flags: ADMIN,
        categories: Categories::CONNECTION,
        since: "3.0.0",
        group: Group::Connection,
        summary: "Holds back the requests of all clients for a time.",
        complexity: "O(1)",
        syntax: "timeout:integer [mode<write=WRITE|all=ALL>@6.2.0]",
        history: &[("6.2.0", "The mode `WRITE`.")],
        run: pause,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "reply",
        arity: 3,
        flags: OWN.and(Flags::NO_MULTI),
        categories: Categories::CONNECTION,
        since: "3.2.0",
        group: Group::Connection,
        summary: "Chooses whether this connection gets replies.",
        complexity: "O(1)",
        syntax: "action<on=ON|off=OFF|skip=SKIP>",
        run: reply,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "setinfo",
        arity: 4,
        flags: OWN,
        categories: Categories::CONNECTION,
        since: "7.2.0",
        group: Group::Connection,
        summary: "Notes the name or version of the client library.",
        complexity: "O(1)",
        syntax: "attr<LIB-NAME libname:string|LIB-VER libver:string>",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        run: setinfo,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "setname",
        arity: 3,
        flags: OWN,
        categories: Categories::CONNECTION,
        since: "2.6.9",
        group: Group::Connection,
        summary: "Names this connection.",
        complexity: "O(1)",
        syntax: "connection-name:string",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        run: setname,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "tracking",
        arity: -3,
        flags: ANYTIME,
        categories: Categories::CONNECTION,
        since: "6.0.0",
        group: Group::Connection,
        summary: "Chooses whether this connection is told of changes to the keys it reads.",
        complexity: "O(1) but for the options: O(N) for N prefixes",
        syntax: TRACKING_SYNTAX,
        run: tracking::tracking,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "trackinginfo",
        arity: 2,
        flags: ANYTIME,
        categories: Categories::CONNECTION,
        since: "6.2.0",
        group: Group::Connection,
        summary: "Describes what this connection is told of changes.",
        complexity: "O(N) where N is the number of prefixes",
        run: tracking::trackinginfo,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "unblock",
        arity: -3,
        flags: ADMIN,
        categories: Categories::CONNECTION,
        since: "5.0.0",
        group: Group::Connection,
        summary: "Ends the wait of another connection in a blocking command.",
        complexity: "O(log N) where N is the number of connections",
        syntax: "client-id:integer [unblock-type<timeout=TIMEOUT|error=ERROR>]",
        run: unblock,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "unpause",
        arity: 2,
        flags: ADMIN,
        categories: Categories::CONNECTION,
        since: "6.2.0",
        group: Group::Connection,
        summary: "Lets paused clients go on.",
        complexity: "O(N) where N is the number of connections",
        run: unpause,
        ..CommandSpec::DEFAULT
    },
];

/// What CLIENT HELP says.
const HELP: &[&str] = &[
    "CACHING (YES|NO)",
    "    Track the keys of the next command, or do not.",
    "CAPA <capability> [<capability> ...]",
    "    Tell what this client is able to follow: REDIRECT.",
    "GETNAME",
    "    The name of this connection.",
    "GETREDIR",
    "    The connection that is told of changes in place of this one.",
    "ID",
    "    The number of this connection.",
    "IMPORT-SOURCE (ON|OFF)",
    "    Mark this connection as the source of an import.",
    "INFO",
    "    A line about this connection.",
    "KILL <ip:port>",
    "    Close the connection from this address.",
    "KILL <filter> <value> [<filter> <value> ...]",
    "    Close all connections that the filters let through; see LIST. This one only with SKIPME NO.",
    "LIST [<filter> <value> ...]",
    "    A line about each connection, or each that all filters let through:",
    "    * ID <id> [<id> ...]                   its number",
    "    * TYPE (NORMAL|PRIMARY|REPLICA|PUBSUB) what it is for",
    "    * USER <name>                          who it is",
    "    * ADDR <ip:port>, LADDR <ip:port>      its address and the server's",
    "    * IP <ip>                              its address without the port",
    "    * NAME, LIB-NAME, LIB-VER <text>       what it calls itself and its library",
    "    * FLAGS, CAPA <letters>                letters that its line shows",
    "    * DB <index>                           its database",
    "    * MAXAGE, IDLE <seconds>               for how long it has been connected or silent, at least",
    "    * SKIPME (YES|NO)                      whether this connection is left out",
    "    NOT- before a name, but IDLE, MAXAGE and SKIPME, reverses it.",
    "NO-EVICT (ON|OFF)",
    "    Spare this connection when memory for clients runs short.",
    "NO-TOUCH (ON|OFF)",
    "    Do not count reads of this connection as uses of keys.",
    "PAUSE <milliseconds> [WRITE|ALL]",
    "    Hold back writes, or all requests, of every client for a time.",
    "REPLY (ON|OFF|SKIP)",
    "    Send replies, send none, or leave out the next one.",
    "SETINFO (LIB-NAME|LIB-VER) <text>",
    "    Note the name or the version of the client library.",
    "SETNAME <name>",
    "    Name this connection.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
    "    Tell this connection of changes to the keys that it reads, or that begin with a prefix.",
    "TRACKINGINFO",
    "    What this connection is told of changes.",
    "UNBLOCK <id> [TIMEOUT|ERROR]",
    "    End the wait of a connection in a blocking command.",
    "UNPAUSE",
    "    End the pause.",
];

/// `CLIENT HELP`.
fn help<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    help::help(&mut ctx.reply, "CLIENT", HELP);
    Ok(Outcome::Done)
}

/// `CLIENT ID`.
fn id<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.reply.integer(i64::try_from(ctx.session.client.id).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// `CLIENT GETNAME`: the name, or null.
fn getname<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let name = ctx.session.client.labels.lock().name.clone();
    if name.is_empty() {
        ctx.reply.null();
    } else {
        ctx.reply.bulk(&name);
    }
    Ok(Outcome::Done)
}

fn is_label(text: &[u8]) -> bool {
    until_zero(text).iter().all(u8::is_ascii_graphic)
}

/// Refuses a name for a connection that would break the lines of CLIENT LIST.
pub(super) fn check_name(name: &[u8]) -> Result<(), CommandError> {
    if is_label(name) { Ok(()) } else { Err(BAD_NAME) }
}

/// `CLIENT SETNAME name`; an empty one takes the name away.
fn setname<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let name = args.bytes()?;
    args.finish()?;
    check_name(name)?;
    ctx.session.client.labels.lock().name = name.to_vec();
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CLIENT SETINFO LIB-NAME|LIB-VER text`.
fn setinfo<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (option, text) = (args.bytes()?, args.bytes()?);
    args.finish()?;
    let is_name = option.eq_ignore_ascii_case(b"lib-name");
    if !is_name && !option.eq_ignore_ascii_case(b"lib-ver") {
        return Err(quoting("ERR Unrecognized option '", option, "'"));
    }
    if !is_label(text) {
        return Err(quoting("ERR ", option, " cannot contain spaces, newlines or special characters."));
    }
    let mut labels = ctx.session.client.labels.lock();
    *(if is_name { &mut labels.lib_name } else { &mut labels.lib_ver }) = text.to_vec();
    drop(labels);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CLIENT INFO`: the line of CLIENT LIST about this connection.
fn info<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let line = describe::line(ctx, &ctx.session.client);
    ctx.reply.verbatim(*b"txt", line.as_bytes());
    Ok(Outcome::Done)
}

/// `CLIENT LIST [filter value ...]`: a line about each client, oldest first. O(clients).
fn list<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let filter = ClientFilter::read(ctx, args)?;
    let all = ctx.shared.clients.all();
    let shown = all.iter().filter(|client| filter.matches(ctx, client, false));
    let page: String = shown.map(|client| describe::line(ctx, client)).collect();
    ctx.reply.verbatim(*b"txt", page.as_bytes());
    Ok(Outcome::Done)
}

/// `CLIENT KILL address`: `OK`; or `CLIENT KILL filter value ...`: how many were closed. A client that closes itself gets
/// the reply first. O(clients).
fn kill<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    if args.remaining() == 1 {
        let addr = args.bytes()?;
        let found = ctx.shared.clients.all().into_iter().find(|client| client.addr.as_bytes() == addr);
        let outcome = kill_one(ctx, &*found.ok_or(NO_SUCH_CLIENT)?);
        ctx.reply.ok();
        return Ok(outcome);
    }
    let filter = ClientFilter::read(ctx, args)?;
    let (mut killed, mut outcome) = (0, Outcome::Done);
    for client in ctx.shared.clients.all() {
        if filter.matches(ctx, &client, true) {
            killed += 1;
            if let Outcome::Close = kill_one(ctx, &client) {
                outcome = Outcome::Close;
            }
        }
    }
    ctx.reply.count(killed);
    Ok(outcome)
}

fn kill_one(ctx: &Context<'_>, client: &Client) -> Outcome {
    if client.id == ctx.session.client.id {
        return Outcome::Close;
    }
    ctx.shared.kill_client(client);
    Outcome::Done
}

/// `CLIENT PAUSE milliseconds [WRITE|ALL]`. A pause in force is never shortened or narrowed. More arguments are ignored,
/// and mean ALL, as in Valkey.
fn pause<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let timeout = args.integer();
    let all = match args.remaining() {
        1 if args.word("write") => false,
        1 if !args.word("all") => return Err(BAD_MODE),
        _ => true,
    };
    let timeout_ms = timeout.map_err(|_| BAD_TIMEOUT)?;
    if timeout_ms < 0 {
        return Err(NEGATIVE_TIMEOUT);
    }
    let until = UnixMs(ctx.now.0.checked_add(timeout_ms).ok_or(LATE_TIMEOUT)?);
    ctx.shared.clients.add_pause(Pause { until, all }, ctx.now);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CLIENT UNPAUSE`.
fn unpause<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.shared.clients.set_pause(None);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CLIENT REPLY ON|OFF|SKIP`: only ON is answered.
fn reply<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    if args.word("on") {
        ctx.session.reply_mode = ReplyMode::On;
        ctx.reply.ok();
    } else if args.word("off") {
        ctx.session.reply_mode = ReplyMode::Off;
    } else if args.word("skip") {
        if ctx.session.reply_mode != ReplyMode::Off {
            ctx.session.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(Outcome::Done)
}

fn read_switch(args: &mut Args<'_>) -> Result<bool, CommandError> {
    let on = args.word("on");
    if !on && !args.word("off") {
        return Err(CommandError::Syntax);
    }
    args.finish()?;
    Ok(on)
}

/// `CLIENT NO-EVICT ON|OFF`.
fn no_evict<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let on = read_switch(args)?;
    ctx.session.client.no_evict.store(on, Relaxed);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CLIENT NO-TOUCH ON|OFF`.
fn no_touch<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let on = read_switch(args)?;
    ctx.session.no_touch = on;
    ctx.session.client.no_touch.store(on, Relaxed);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CLIENT CAPA capability ...`: unknown ones are ignored, and none is ever taken back.
fn capa<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    while args.remaining() > 0 {
        if args.bytes()?.eq_ignore_ascii_case(b"redirect") {
            ctx.session.client.follows_redirects.store(true, Relaxed);
        }
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CLIENT IMPORT-SOURCE ON|OFF`: this server is never in import mode, so only OFF succeeds.
fn import_source<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    if !args.word("off") {
        return Err(NOT_IMPORTING);
    }
    args.finish()?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`: 1 when the client waited, else 0. More arguments are ignored, as in Valkey.
fn unblock<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let id = args.integer();
    let mut error = false;
    if args.remaining() == 1 && !args.word("timeout") {
        error = args.word("error");
        if !error {
            return Err(BAD_REASON);
        }
    }
    let blocked = u64::try_from(id?).ok().and_then(|id| ctx.shared.blocked.find(id));
    let ended = blocked.is_some_and(|blocked| {
        blocked.end(if error { Bytes::from_static(UNBLOCKED) } else { blocked.timeout_reply() })
    });
    if ended && error {
        // It is the waiting client's error, made here; nobody else will count it.
        ctx.shared.stats.count_error(&CommandError::text("UNBLOCKED client unblocked via CLIENT UNBLOCK"));
    }
    ctx.reply.integer(i64::from(ended));
    Ok(Outcome::Done)
}
