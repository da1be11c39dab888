//! The line about a client that CLIENT LIST and CLIENT INFO show.
//!
//! Fields and their order are Valkey 9.1's. Those about what larder does not have (transactions,
//! reply buffers of fixed size) show the value of a client that does not use it.

use super::{tracking, until_zero};
use crate::call::clients::{Client, Labels, Listen};
use crate::call::context::Context;
use crate::call::tracked::mode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Every letter that may stand in `flags`.
pub(super) const FLAG_LETTERS: &[u8] = b"ABEIMNOPRSTUbcdeirtux";

/// Every letter that may stand in `capa`.
pub(super) const CAPABILITY_LETTERS: &[u8] = b"r";

/// The letters of `flags`: `N` when there is no other.
pub(super) fn flags(client: &Client) -> String {
    let is = |flag: &AtomicBool| flag.load(Relaxed);
    let letters = [
        (is(&client.monitor), 'O'),
        (is(&client.subscribed), 'P'),
        (is(&client.paused), 'b'),
        (client.tracked.is(mode::ON), 't'),
        (client.tracked.is(mode::BROKEN), 'R'),
        (client.tracked.is(mode::BROADCAST), 'B'),
        (is(&client.closing), 'c'),
        (client.unix, 'U'),
        (is(&client.no_evict), 'e'),
        (is(&client.no_touch), 'T'),
    ];
    let set: String = letters.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect();
    if set.is_empty() { "N".to_owned() } else { set }
}

/// The letters of `capa`.
pub(super) fn capabilities(client: &Client) -> &'static str {
    if client.follows_redirects.load(Relaxed) { "r" } else { "" }
}

/// Whole seconds since the client connected.
pub(super) fn age_s(ctx: &Context<'_>, client: &Client) -> i64 {
    (ctx.now.0.saturating_sub(client.connected.0) / 1000).max(0)
}

/// Whole seconds since the client last sent something; 0 for the one that asks.
pub(super) fn idle_s(ctx: &Context<'_>, client: &Client) -> i64 {
    if client.id == ctx.session.client.id {
        return 0;
    }
    (ctx.now.0.saturating_sub(client.active_ms.load(Relaxed)) / 1000).max(0)
}

/// The line, its line end included. O(1).
pub(super) fn line(ctx: &Context<'_>, client: &Client) -> String {
    let Labels { name, lib_name, lib_ver } = client.labels.lock().clone();
    let [name, lib_name, lib_ver] =
        [&name, &lib_name, &lib_ver].map(|label| String::from_utf8_lossy(until_zero(label)).into_owned());
    let (id, addr, laddr, fd) = (client.id, &client.addr, &client.laddr, client.fd);
    let (age, idle) = (age_s(ctx, client), idle_s(ctx, client));
    let (flags, capa) = (flags(client), capabilities(client));
    let (sizes, listens) = (sizes(ctx, client), listens(client));
    let (db, resp, command) = (client.db.load(Relaxed), client.resp.load(Relaxed), last_command(ctx, client));
    let (net_in, net_out) = (client.net_in.load(Relaxed), client.net_out.load(Relaxed));
    let (commands, redirect) = (client.commands.load(Relaxed), tracking::redirect(&client.tracked));
    let (multi, watch) = (client.queued.load(Relaxed), client.watched.load(Relaxed));
    format!(
        "id={id} addr={addr} laddr={laddr} fd={fd} name={name} age={age} idle={idle} flags={flags} capa={capa} db={db} \
         {listens} multi={multi} watch={watch} {sizes} cmd={command} user=default redir={redirect} resp={resp} \
         lib-name={lib_name} lib-ver={lib_ver} tot-net-in={net_in} tot-net-out={net_out} tot-cmds={commands}\n"
    )
}

/// The fields that count subscriptions.
fn listens(client: &Client) -> String {
    let subscriptions = client.subscriptions.lock();
    let [sub, psub, ssub] = [Listen::Channel, Listen::Pattern, Listen::Shard].map(|kind| subscriptions.count(kind));
    format!("sub={sub} psub={psub} ssub={ssub}")
}

/// The fields about memory, in bytes: replies that wait count as `omem`, in one list node; and what the server waits for.
fn sizes(ctx: &Context<'_>, client: &Client) -> String {
    let query = client.query_bytes.load(Relaxed);
    let output = client.waiting_bytes();
    let arguments = if client.id == ctx.session.client.id { ctx.request.payload_bytes() } else { 0 };
    let queued = client.queued_bytes.load(Relaxed);
    let total = size_of::<Client>() + query + output + arguments + queued;
    let nodes = u8::from(output > 0);
    let events = if output > 0 { "rw" } else { "r" };
    format!(
        "qbuf={query} qbuf-free=0 argv-mem={arguments} multi-mem={queued} rbs=0 rbp=0 obl=0 oll={nodes} omem={output} \
         tot-mem={total} events={events}"
    )
}

fn last_command(ctx: &Context<'_>, client: &Client) -> String {
    let id = usize::try_from(client.last_command.load(Relaxed)).unwrap_or(usize::MAX);
    ctx.shared.commands.get(id).map_or_else(|| "NULL".to_owned(), |command| command.full_name())
}
