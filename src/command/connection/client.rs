//! `CLIENT`: what a client says of itself, and what can be done to others.

use super::filter::Filter;
use crate::call::args::Args;
use crate::call::clients::{Client, Pause};
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::help::help;
use crate::call::session::ReplyMode;
use crate::call::spec::Outcome;
use crate::util::clock::UnixMs;
use std::sync::atomic::Ordering::Relaxed;

/// Checks a text that lists of clients print: no spaces, no control characters. `what` begins the error.
pub fn checked_label<'a>(text: &'a [u8], what: &str) -> Result<&'a [u8], CommandError> {
    if text.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(text);
    }
    Err(format!("ERR {what} cannot contain spaces, newlines or special characters.").into())
}

/// Names the connection; an empty name is none.
pub fn set_name(ctx: &Context<'_>, name: &[u8]) {
    ctx.session.client.labels.lock().name = name.to_vec();
}

/// `CLIENT SETNAME connection-name`
pub fn client_setname<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let name = checked_label(args.bytes()?, "Client names")?;
    args.finish()?;
    set_name(ctx, name);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CLIENT GETNAME`
pub fn client_getname<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let name = ctx.session.client.labels.lock().name.clone();
    if name.is_empty() {
        ctx.reply.null();
    } else {
        ctx.reply.bulk(&name);
    }
    Ok(Outcome::Done)
}

/// `CLIENT SETINFO <LIB-NAME name | LIB-VER version>`
pub fn client_setinfo<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let attribute = args.bytes()?;
    let value = args.bytes()?;
    args.finish()?;
    let lower = String::from_utf8_lossy(attribute).to_ascii_lowercase();
    if lower != "lib-name" && lower != "lib-ver" {
        return Err(CommandError::Bytes([b"ERR Unrecognized option '", attribute, b"'"].concat()));
    }
    checked_label(value, &lower)?;
    let mut labels = ctx.session.client.labels.lock();
    if lower == "lib-name" {
        labels.lib_name = value.to_vec();
    } else {
        labels.lib_ver = value.to_vec();
    }
    drop(labels);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CLIENT ID`
pub fn client_id<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.reply.integer(i64::try_from(ctx.session.client.id).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// The flags of a client, as `CLIENT LIST` shows them.
pub fn flags_of(client: &Client) -> String {
    let mut flags = String::new();
    for (on, letter) in [
        (client.monitor.load(Relaxed), 'O'),
        (client.paused.load(Relaxed), 'b'),
        (client.closing.load(Relaxed), 'c'),
        (client.unix, 'U'),
        (client.no_evict.load(Relaxed), 'e'),
        (client.no_touch.load(Relaxed), 'T'),
    ] {
        if on {
            flags.push(letter);
        }
    }
    if flags.is_empty() { "N".to_owned() } else { flags }
}

/// One line of `CLIENT LIST`, without the line end. Fields of what larder does not have say so: no multi, no redirection,
/// no reply buffer of the client's own.
pub fn describe(ctx: &Context<'_>, client: &Client) -> Vec<u8> {
    let labels = client.labels.lock().clone();
    let seconds = |since: i64| (ctx.now.0.saturating_sub(since)).max(0) / 1000;
    let id = usize::try_from(client.last_command.load(Relaxed)).unwrap_or(usize::MAX);
    let command = ctx.shared.commands.get(id).map_or_else(|| "NULL".to_owned(), |command| command.full_name());
    let (query, output) = (client.query_bytes.load(Relaxed), client.output_bytes.load(Relaxed));
    let memory = size_of::<Client>() + query + output;
    let mut line =
        format!("id={} addr={} laddr={} fd={} name=", client.id, client.addr, client.laddr, client.fd).into_bytes();
    line.extend_from_slice(&labels.name);
    line.extend_from_slice(
        format!(
            " age={} idle={} flags={} capa= db={} sub=0 psub=0 ssub=0 multi=-1 watch=0 qbuf={query} qbuf-free=0 \
             argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={output} oll=0 omem={output} tot-mem={memory} events={} cmd={command} \
             user=default redir=-1 resp={} lib-name=",
            seconds(client.connected.0),
            seconds(client.active_ms.load(Relaxed)),
            flags_of(client),
            client.db.load(Relaxed),
            if output > 0 { "rw" } else { "r" },
            client.resp.load(Relaxed),
        )
        .as_bytes(),
    );
    line.extend_from_slice(&labels.lib_name);
    line.extend_from_slice(b" lib-ver=");
    line.extend_from_slice(&labels.lib_ver);
    let (net_in, net_out, commands) =
        (client.net_in.load(Relaxed), client.net_out.load(Relaxed), client.commands.load(Relaxed));
    line.extend_from_slice(format!(" tot-net-in={net_in} tot-net-out={net_out} tot-cmds={commands}").as_bytes());
    line
}

/// `CLIENT INFO`
pub fn client_info<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    let mut text = describe(ctx, &ctx.session.client);
    text.push(b'\n');
    ctx.reply.verbatim(*b"txt", &text);
    Ok(Outcome::Done)
}

/// `CLIENT LIST [filter value ...]`
pub fn client_list<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let filter = Filter::read(args, false, ctx)?;
    args.finish()?;
    let own = ctx.session.client.id;
    let mut text = Vec::new();
    for client in ctx.shared.clients.all() {
        if filter.takes(&client, own, ctx.now) {
            text.extend_from_slice(&describe(ctx, &client));
            text.push(b'\n');
        }
    }
    ctx.reply.verbatim(*b"txt", &text);
    Ok(Outcome::Done)
}

/// `CLIENT KILL <ip:port | filter value [filter value ...]>`
///
/// The old form replies OK or an error, the new one how many connections it closed. One's own is closed after the reply.
pub fn client_kill<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let old_form = args.remaining() == 1;
    let filter = if old_form { Filter::address(args.bytes()?) } else { Filter::read(args, true, ctx)? };
    args.finish()?;
    let own = ctx.session.client.id;
    let (mut killed, mut suicide) = (0, false);
    for client in ctx.shared.clients.all() {
        if filter.takes(&client, own, ctx.now) {
            killed += 1;
            if client.id == own {
                suicide = true;
            } else {
                client.kill();
            }
        }
    }
    match (old_form, killed) {
        (true, 0) => return Err(CommandError::text("ERR No such client")),
        (true, _) => ctx.reply.ok(),
        (false, killed) => ctx.reply.integer(killed),
    }
    Ok(if suicide { Outcome::Close } else { Outcome::Done })
}

/// `CLIENT PAUSE timeout [WRITE | ALL]`
///
/// Requests (of `WRITE`: those that write) wait until the time is over. A pause in force is prolonged, never shortened.
pub fn client_pause<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let bad = || CommandError::text("ERR timeout is not an integer or out of range");
    let timeout = args.integer_or(bad())?;
    let all = match args.remaining() {
        0 => true,
        _ if args.word("WRITE") => false,
        _ if args.word("ALL") => true,
        _ => return Err(CommandError::text("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    args.finish()?;
    if timeout < 0 {
        return Err(CommandError::text("ERR timeout is negative"));
    }
    let until = UnixMs(ctx.now.0.checked_add(timeout).ok_or_else(bad)?);
    let before = ctx.shared.clients.pause(ctx.now);
    let pause = Pause {
        until: before.map_or(until, |before| before.until.max(until)),
        all: all || before.is_some_and(|before| before.all),
    };
    ctx.shared.clients.set_pause(Some(pause));
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CLIENT UNPAUSE`
pub fn client_unpause<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    ctx.shared.clients.set_pause(None);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CLIENT REPLY ON | OFF | SKIP`
pub fn client_reply<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let mode = match () {
        () if args.word("ON") => ReplyMode::On,
        () if args.word("OFF") => ReplyMode::Off,
        // While replies are off, there is nothing to skip.
        () if args.word("SKIP") && ctx.session.reply_mode == ReplyMode::Off => ReplyMode::Off,
        () => {
            args.back();
            if !args.word("SKIP") {
                args.bytes()?;
                return Err(CommandError::Syntax);
            }
            ReplyMode::SkipNext
        }
    };
    args.finish()?;
    ctx.session.reply_mode = mode;
    if mode == ReplyMode::On {
        ctx.reply.ok();
    }
    Ok(Outcome::Done)
}

fn switch(args: &mut Args<'_>) -> Result<bool, CommandError> {
    let on = args.word("ON");
    if !on && !args.word("OFF") {
        return Err(CommandError::Syntax);
    }
    args.finish()?;
    Ok(on)
}

/// `CLIENT NO-EVICT ON | OFF`
pub fn client_no_evict<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let on = switch(args)?;
    ctx.session.client.no_evict.store(on, Relaxed);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CLIENT NO-TOUCH ON | OFF`
pub fn client_no_touch<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let on = switch(args)?;
    ctx.session.no_touch = on;
    ctx.session.client.no_touch.store(on, Relaxed);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `CLIENT UNBLOCK client-id [TIMEOUT | ERROR]`
///
/// Replies whether a blocked client was woken. No command blocks yet, so no client is ever blocked: 0.
pub fn client_unblock<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.integer()?;
    if args.remaining() > 0 && !args.word("TIMEOUT") && !args.word("ERROR") {
        return Err(CommandError::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
    }
    args.finish()?;
    ctx.reply.integer(0);
    Ok(Outcome::Done)
}

/// `CLIENT HELP`
pub fn client_help<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    help(
        &mut ctx.reply,
        "CLIENT",
        &[
            "GETNAME",
            "    Reply the name of this connection.",
            "ID",
            "    Reply the id of this connection.",
            "INFO",
            "    Describe this connection.",
            "KILL <ip:port>",
            "    Close the connection that comes from this address.",
            "KILL <filter> <value> [<filter> <value> ...]",
            "    Close the connections that all filters take: ADDR, LADDR, IP, TYPE, USER, ID, MAXAGE, IDLE, FLAGS, NAME,",
            "    LIB-NAME, LIB-VER, DB, each also as NOT-<filter>; SKIPME (YES|NO), default YES.",
            "LIST [<filter> <value> ...]",
            "    Describe the connections that all filters take.",
            "PAUSE <timeout> [WRITE|ALL]",
            "    Hold all requests, or those that write, back for so many milliseconds.",
            "UNPAUSE",
            "    End a pause.",
            "REPLY (ON|OFF|SKIP)",
            "    Switch the replies of this connection.",
            "SETNAME <name>",
            "    Name this connection.",
            "SETINFO (LIB-NAME|LIB-VER) <value>",
            "    Say which library this client uses.",
            "UNBLOCK <client-id> [TIMEOUT|ERROR]",
            "    End the wait of a blocked client.",
            "NO-EVICT (ON|OFF)",
            "    Keep this connection from being closed to save memory.",
            "NO-TOUCH (ON|OFF)",
            "    Let reads of this connection not count as uses of keys.",
        ],
    );
    Ok(Outcome::Done)
}
