//! The filters of `CLIENT LIST` and `CLIENT KILL`.

use super::client::flags_of;
use crate::call::args::Args;
use crate::call::clients::Client;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::util::clock::UnixMs;
use crate::util::number;
use std::sync::atomic::Ordering::Relaxed;

enum Condition<'a> {
    Ids(Vec<u64>),
    Addr(&'a [u8]),
    Laddr(&'a [u8]),
    Ip(&'a [u8]),
    /// Whether clients of the named type exist at all: today all are normal.
    Normal(bool),
    User(&'a [u8]),
    MaxAge(i64),
    Idle(i64),
    Flags(&'a [u8]),
    Name(&'a [u8]),
    LibName(&'a [u8]),
    LibVer(&'a [u8]),
    Db(usize),
}

impl Condition<'_> {
    fn holds(&self, client: &Client, now: UnixMs) -> bool {
        let age = |since: i64| now.0.saturating_sub(since) / 1000;
        match self {
            Condition::Ids(ids) => ids.contains(&client.id),
            Condition::Addr(addr) => client.addr.as_bytes() == *addr,
            Condition::Laddr(addr) => client.laddr.as_bytes() == *addr,
            Condition::Ip(ip) => client.addr.rsplit_once(':').is_some_and(|(own, _)| own.as_bytes() == *ip),
            Condition::Normal(normal) => *normal,
            Condition::User(user) => *user == b"default",
            Condition::MaxAge(seconds) => age(client.connected.0) >= *seconds,
            Condition::Idle(seconds) => age(client.active_ms.load(Relaxed)) >= *seconds,
            Condition::Flags(flags) => flags.iter().all(|flag| flags_of(client).as_bytes().contains(flag)),
            Condition::Name(name) => client.labels.lock().name == *name,
            Condition::LibName(name) => client.labels.lock().lib_name == *name,
            Condition::LibVer(version) => client.labels.lock().lib_ver == *version,
            Condition::Db(db) => client.db.load(Relaxed) == *db,
        }
    }
}

/// Which clients a command is about.
pub struct Filter<'a> {
    conditions: Vec<(bool, Condition<'a>)>,
    skip_me: bool,
}

impl<'a> Filter<'a> {
    /// The client that comes from `addr`, be it oneself.
    pub fn address(addr: &'a [u8]) -> Filter<'a> {
        Filter { conditions: vec![(true, Condition::Addr(addr))], skip_me: false }
    }

    /// Reads pairs of a filter's name and its value to the end of the arguments.
    pub fn read(args: &mut Args<'a>, skip_me: bool, ctx: &Context<'_>) -> Result<Filter<'a>, CommandError> {
        let mut filter = Filter { conditions: Vec::new(), skip_me };
        while args.remaining() > 0 {
            let word = args.bytes()?.to_ascii_uppercase();
            if word == b"SKIPME" && args.remaining() > 0 {
                filter.skip_me = args.word("YES");
                if !filter.skip_me && !args.word("NO") {
                    return Err(CommandError::Syntax);
                }
                continue;
            }
            let (wanted, name) = match word.strip_prefix(b"NOT-") {
                Some(name) => (false, name),
                None => (true, &word[..]),
            };
            filter.conditions.push((wanted, condition(name, args, ctx)?));
        }
        Ok(filter)
    }

    /// Whether it takes `client`, asked by client `own`.
    pub fn takes(&self, client: &Client, own: u64, now: UnixMs) -> bool {
        !(self.skip_me && client.id == own)
            && self.conditions.iter().all(|(wanted, condition)| condition.holds(client, now) == *wanted)
    }
}

fn condition<'a>(name: &[u8], args: &mut Args<'a>, ctx: &Context<'_>) -> Result<Condition<'a>, CommandError> {
    if args.remaining() == 0 {
        return Err(CommandError::Syntax);
    }
    Ok(match name {
        b"ID" => Condition::Ids(ids(args)?),
        b"ADDR" => Condition::Addr(args.bytes()?),
        b"LADDR" => Condition::Laddr(args.bytes()?),
        b"IP" => Condition::Ip(args.bytes()?),
        b"TYPE" => Condition::Normal(kind(args.bytes()?)?),
        b"USER" => Condition::User(user(args.bytes()?)?),
        b"MAXAGE" => Condition::MaxAge(seconds(args, "maxage")?),
        b"IDLE" => Condition::Idle(seconds(args, "idle")?),
        b"FLAGS" => Condition::Flags(args.bytes()?),
        b"NAME" => Condition::Name(args.bytes()?),
        b"LIB-NAME" => Condition::LibName(args.bytes()?),
        b"LIB-VER" => Condition::LibVer(args.bytes()?),
        b"DB" => Condition::Db(database(args, ctx)?),
        _ => return Err(CommandError::Syntax),
    })
}

/// One or more ids: numbers as far as they go.
fn ids(args: &mut Args<'_>) -> Result<Vec<u64>, CommandError> {
    let mut ids = Vec::new();
    while let Some(text) = args.peek() {
        match number::parse_i64(text) {
            Some(id) if id > 0 => ids.push(id.unsigned_abs()),
            None if !ids.is_empty() => break,
            _ => return Err(CommandError::text("ERR client-id should be greater than 0")),
        }
        args.bytes()?;
    }
    Ok(ids)
}

fn kind(text: &[u8]) -> Result<bool, CommandError> {
    match text.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(true),
        b"master" | b"primary" | b"slave" | b"replica" | b"pubsub" => Ok(false),
        _ => Err(CommandError::Bytes([b"ERR Unknown client type '", text, b"'"].concat())),
    }
}

fn user(text: &[u8]) -> Result<&[u8], CommandError> {
    if text == b"default" { Ok(text) } else { Err(CommandError::Bytes([b"ERR No such user '", text, b"'"].concat())) }
}

fn seconds(args: &mut Args<'_>, name: &str) -> Result<i64, CommandError> {
    let refused = || CommandError::from(format!("ERR {name} is not an integer or out of range"));
    let seconds = args.integer_or(refused())?;
    if seconds > 0 { Ok(seconds) } else { Err(format!("ERR {name} should be greater than 0").into()) }
}

fn database(args: &mut Args<'_>, ctx: &Context<'_>) -> Result<usize, CommandError> {
    let refused = || CommandError::text("ERR DB is not an integer or out of range");
    let db = args.integer_or(refused())?;
    usize::try_from(db)
        .ok()
        .filter(|db| *db < ctx.db.keyspace().databases())
        .ok_or(CommandError::text("ERR DB number should be between 0 and 15"))
}
