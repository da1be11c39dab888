//! MEMORY: what keys, tables and clients take, and the allocator under them.
//!
//! Amounts are the allocator's size classes, see [`crate::util::memory`]; names of fields are Valkey's.

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::help::help;
use crate::call::spec::{CommandSpec, Flags, Group, KeyFlags, KeySpec, Outcome, Scope};
use crate::command::server::account::{Account, fraction, peak, startup};
use crate::keyspace::entry::EntryRef;
use crate::protocol::reply::Reply;
use crate::util::memory::{ALLOCATOR, allocator_figures, allocator_version, purge, resident_bytes, used_bytes};

const REPORT_TIPS: &[&str] = &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    name: "memory",
    arity: -2,
    since: "4.0.0",
    group: Group::Server,
    summary: "Commands about the memory in use.",
    complexity: "Depends on the subcommand.",
    subcommands: &[
        CommandSpec {
            name: "doctor",
            arity: 2,
            since: "4.0.0",
            group: Group::Server,
            summary: "Explains what is odd about the memory in use, in words.",
            complexity: "O(N) with the number of clients.",
            tips: REPORT_TIPS,
            scope: Scope::WalkServer,
            run: memory_doctor,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "help",
            arity: 2,
            flags: Flags::LOADING.and(Flags::STALE),
            since: "4.0.0",
            group: Group::Server,
            summary: "Lists the subcommands of MEMORY.",
            complexity: "O(1)",
            run: memory_help,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "malloc-stats",
            arity: 2,
            flags: Flags::LOADING,
            since: "4.0.0",
            group: Group::Server,
            summary: "Describes the allocator and what it holds.",
            complexity: "O(1)",
            tips: REPORT_TIPS,
            run: memory_malloc_stats,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "purge",
            arity: 2,
            flags: Flags::LOADING,
            since: "4.0.0",
            group: Group::Server,
            summary: "Gives unused memory back to the system.",
            complexity: "Depends on how much memory is unused.",
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            run: memory_purge,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "stats",
            arity: 2,
            since: "4.0.0",
            group: Group::Server,
            summary: "Shows what the memory is used for.",
            complexity: "O(N) with the number of clients.",
            tips: REPORT_TIPS,
            scope: Scope::WalkServer,
            run: memory_stats,
            ..CommandSpec::DEFAULT
        },
        CommandSpec {
            name: "usage",
            arity: -3,
            flags: Flags::READONLY,
            keys: &[KeySpec::one(2, KeyFlags::RO)],
            since: "4.0.0",
            group: Group::Server,
            summary: "Tells how many bytes a key and its value take.",
            complexity: "O(1) for a string.",
            syntax: "key:key#0 [SAMPLES count:integer]",
            run: memory_usage,
            ..CommandSpec::DEFAULT
        },
    ],
    ..CommandSpec::DEFAULT
}];

/// `MEMORY USAGE key [SAMPLES count]`: bytes of the key with its value, null for a missing key. Exact for strings, so that
/// the number of samples does not matter. Neither a use nor a hit.
fn memory_usage<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    while args.remaining() > 0 {
        if !args.word("SAMPLES") || args.integer()? < 0 {
            return Err(CommandError::Syntax);
        }
    }
    match ctx.db.peek(key).map(EntryRef::memory_bytes) {
        Some(bytes) => ctx.reply.count(bytes),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

/// `MEMORY PURGE`
///
/// Replies OK when the unused pages have gone back to the system, or are on their way there.
fn memory_purge<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    if !purge() {
        return Err(CommandError::text("ERR Error purging dirty pages"));
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// One field of MEMORY STATS.
#[derive(Clone, Copy)]
enum Field {
    Bytes(u64),
    Ratio(f64),
    /// Bytes above other bytes; below zero where they are fewer.
    Difference(u64, u64),
    /// The tables of one database.
    Tables(u64),
}

/// `MEMORY STATS`: a map. Fields of what larder does not have are 0; deadlines are in the entries, not in a table.
fn memory_stats<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let account = Account::of(ctx);
    let fields = fields(&account);
    ctx.reply.map(fields.len());
    for (name, field) in fields {
        ctx.reply.bulk(name.as_bytes());
        reply_field(&mut ctx.reply, &field);
    }
    Ok(Outcome::Done)
}

fn reply_field(reply: &mut Reply<'_>, field: &Field) {
    let integer = |reply: &mut Reply<'_>, bytes: u64| reply.integer(i64::try_from(bytes).unwrap_or(i64::MAX));
    match field {
        Field::Bytes(bytes) => integer(reply, *bytes),
        Field::Ratio(ratio) => reply.double(*ratio),
        Field::Difference(bytes, less) => reply.integer(bytes.cast_signed().saturating_sub(less.cast_signed())),
        Field::Tables(bytes) => {
            reply.map(2);
            reply.bulk(b"overhead.hashtable.main");
            integer(reply, *bytes);
            reply.bulk(b"overhead.hashtable.expires");
            integer(reply, 0);
        }
    }
}

fn fields(account: &Account) -> Vec<(String, Field)> {
    use Field::{Bytes, Difference, Ratio, Tables};
    let mut fields: Vec<(String, Field)> = Vec::new();
    let mut add = |list: &[(&str, Field)]| fields.extend(list.iter().map(|(name, field)| ((*name).to_owned(), *field)));
    add(&[
        ("peak.allocated", Bytes(account.peak)),
        ("total.allocated", Bytes(account.used)),
        ("startup.allocated", Bytes(account.startup)),
        ("replication.backlog", Bytes(0)),
        ("replicas.repl.buffer", Bytes(0)),
        ("clients.slaves", Bytes(0)),
        ("clients.normal", Bytes(account.clients)),
        ("cluster.links", Bytes(0)),
        ("cluster.slot_import", Bytes(0)),
        ("cluster.slot_export", Bytes(0)),
        ("aof.buffer", Bytes(account.log)),
        ("lua.caches", Bytes(account.scripts)),
        ("functions.caches", Bytes(account.functions)),
    ]);
    for (db, bytes) in &account.tables {
        add(&[(&format!("db.{db}"), Tables(*bytes))]);
    }
    let per_key = account.dataset().checked_div(account.keys).unwrap_or(0);
    let figures = allocator_figures();
    add(&[
        ("overhead.db.hashtable.lut", Bytes(account.table_bytes())),
        ("overhead.db.hashtable.rehashing", Bytes(0)),
        ("overhead.total", Bytes(account.overhead())),
        ("db.dict.rehashing.count", Bytes(0)),
        ("keys.count", Bytes(account.keys)),
        ("keys.bytes-per-key", Bytes(per_key)),
        ("dataset.bytes", Bytes(account.dataset())),
        ("dataset.percentage", Ratio(100.0 * fraction(account.dataset(), account.used - account.startup))),
        ("peak.percentage", Ratio(100.0 * fraction(account.used, account.peak))),
        ("allocator.allocated", Bytes(figures.allocated)),
        ("allocator.active", Bytes(figures.active)),
        ("allocator.resident", Bytes(figures.resident)),
        ("allocator.muzzy", Bytes(0)),
        ("allocator-fragmentation.ratio", Ratio(fraction(figures.active, figures.allocated))),
        ("allocator-fragmentation.bytes", Difference(figures.active, figures.allocated)),
        ("allocator-rss.ratio", Ratio(fraction(figures.resident, figures.active))),
        ("allocator-rss.bytes", Difference(figures.resident, figures.active)),
        ("rss-overhead.ratio", Ratio(fraction(account.resident, figures.resident))),
        ("rss-overhead.bytes", Difference(account.resident, figures.resident)),
        ("fragmentation", Ratio(account.ratio())),
        ("fragmentation.bytes", Difference(account.resident, account.used)),
    ]);
    fields
}

/// `MEMORY MALLOC-STATS`: a summary in words. Looks at no key, so that it needs no shard: O(1).
fn memory_malloc_stats<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let used = used_bytes();
    let text = format!(
        "{ALLOCATOR} {}\nin use: {} bytes\nhighest in use: {} bytes\nin use before the first key: {} bytes\nresident: {} bytes\n",
        allocator_version(),
        used,
        peak(ctx, used),
        startup(used),
        resident_bytes(),
    );
    ctx.reply.verbatim(*b"txt", text.as_bytes());
    Ok(Outcome::Done)
}

/// Less than this in use tells nothing, in bytes.
const DOCTOR_MIN_BYTES: u64 = 5 * 1024 * 1024;

/// `MEMORY DOCTOR`: a report in words.
fn memory_doctor<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let account = Account::of(ctx);
    let clients = ctx.shared.clients.len() as u64;
    ctx.reply.verbatim(*b"txt", diagnosis(&account, clients).as_bytes());
    Ok(Outcome::Done)
}

fn diagnosis(account: &Account, clients: u64) -> String {
    if account.used < DOCTOR_MIN_BYTES {
        return "Less than 5 MiB are in use: too little to say anything about.\n".to_owned();
    }
    let mut findings = Vec::new();
    if account.peak > account.used / 2 * 3 {
        let (peak, used) = (account.peak, account.used);
        findings.push(format!(
            "{peak} bytes were once in use, {used} are now. Resident memory may stay high; MEMORY PURGE returns some."
        ));
    }
    if account.ratio() > 1.4 && account.resident - account.used > DOCTOR_MIN_BYTES * 2 {
        let ratio = account.ratio();
        findings
            .push(format!("Resident memory is {ratio:.2} times what is in use: freed blocks lie between used ones."));
    }
    if account.clients / clients.max(1) > 200 * 1024 {
        findings
            .push("Clients hold over 200 KiB each of unread replies and requests. CLIENT LIST shows which.".to_owned());
    }
    if findings.is_empty() {
        return "Nothing is odd about the memory in use.\n".to_owned();
    }
    findings.iter().map(|finding| format!("- {finding}\n")).collect()
}

/// `MEMORY HELP`.
fn memory_help<'a>(ctx: &mut Context<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
    help(
        &mut ctx.reply,
        "MEMORY",
        &[
            "DOCTOR",
            "    Explain what is odd about the memory in use.",
            "MALLOC-STATS",
            "    Describe the allocator and what it holds.",
            "PURGE",
            "    Give unused memory back to the system.",
            "STATS",
            "    Show what the memory is used for.",
            "USAGE <key> [SAMPLES <count>]",
            "    Show the bytes that <key> and its value take.",
        ],
    );
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        let tables = vec![(0, 1 << 20), (3, 4096)];
        Account {
            used: 64 << 20,
            peak: 64 << 20,
            startup: 1 << 20,
            resident: 70 << 20,
            clients: 4096,
            log: 0,
            scripts: 100,
            functions: 200,
            tables,
            keys: 1000,
        }
    }

    #[test]
    fn parts_add_up() {
        let account = account();
        assert_eq!(account.overhead() + account.dataset(), account.used);
        assert_eq!(fields(&account).len(), 34 + account.tables.len());
    }

    #[test]
    fn the_doctor_names_what_is_odd() {
        assert!(diagnosis(&account(), 1).starts_with("Nothing"));
        let high = Account { peak: 1 << 30, ..account() };
        assert!(diagnosis(&high, 1).contains("once in use"));
        let loose = Account { resident: 1 << 30, ..account() };
        assert!(diagnosis(&loose, 1).contains("16.00 times"));
        assert!(diagnosis(&Account { used: 1, ..account() }, 1).contains("too little"));
    }
}
