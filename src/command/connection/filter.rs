//! The filters that CLIENT LIST and CLIENT KILL share.
//!
//! Invariant: a filter is read whole before it is asked. A term that is given again replaces the earlier one; ids add up.

use super::describe;
use super::handshake::DEFAULT_USER;
use super::quoting;
use crate::call::args::Args;
use crate::call::clients::Client;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::util::number;
use std::collections::BTreeSet;
use std::mem::discriminant;
use std::sync::atomic::Ordering::Relaxed;

const BAD_ID: CommandError = CommandError::text("ERR client-id should be greater than 0");

/// What kind of client, as `TYPE` names it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientType {
    Normal,
    Replica,
    PubSub,
    Primary,
}

impl ClientType {
    fn of(client: &Client) -> ClientType {
        if client.subscribed.load(Relaxed) { ClientType::PubSub } else { ClientType::Normal }
    }

    fn read(word: &[u8]) -> Result<ClientType, CommandError> {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        match () {
            () if is("normal") => Ok(ClientType::Normal),
            () if is("slave") || is("replica") => Ok(ClientType::Replica),
            () if is("pubsub") => Ok(ClientType::PubSub),
            () if is("master") || is("primary") => Ok(ClientType::Primary),
            () => Err(quoting("ERR Unknown client type '", word, "'")),
        }
    }
}

/// One condition on a client.
enum Term<'a> {
    Ids(BTreeSet<i64>),
    Type(ClientType),
    DefaultUser,
    Addr(&'a [u8]),
    Laddr(&'a [u8]),
    Ip(&'a [u8]),
    Name(&'a [u8]),
    LibName(&'a [u8]),
    LibVer(&'a [u8]),
    Flags(&'a [u8]),
    Capabilities(&'a [u8]),
    Db(i64),
    MinAge(i64),
    MinIdle(i64),
}

impl Term<'_> {
    fn matches(&self, ctx: &Context<'_>, client: &Client) -> bool {
        // An unset label is absent rather than empty: the empty text matches none.
        let is = |label: &[u8], wanted: &[u8]| !label.is_empty() && label == wanted;
        match self {
            Term::Ids(ids) => i64::try_from(client.id).is_ok_and(|id| ids.contains(&id)),
            Term::Type(wanted) => *wanted == ClientType::of(client),
            Term::DefaultUser => true,
            Term::Addr(addr) => client.addr.as_bytes() == *addr,
            Term::Laddr(laddr) => client.laddr.as_bytes() == *laddr,
            Term::Ip(ip) => peer_ip(client).is_some_and(|own| own.as_bytes() == *ip),
            Term::Name(name) => is(&client.labels.lock().name, name),
            Term::LibName(name) => is(&client.labels.lock().lib_name, name),
            Term::LibVer(version) => is(&client.labels.lock().lib_ver, version),
            Term::Flags(letters) => holds_all(&describe::flags(client), letters),
            Term::Capabilities(letters) => holds_all(describe::capabilities(client), letters),
            Term::Db(db) => i64::try_from(client.db.load(Relaxed)).is_ok_and(|own| own == *db),
            Term::MinAge(seconds) => describe::age_s(ctx, client) >= *seconds,
            Term::MinIdle(seconds) => describe::idle_s(ctx, client) >= *seconds,
        }
    }
}

fn holds_all(own: &str, letters: &[u8]) -> bool {
    letters.iter().all(|letter| own.as_bytes().contains(letter))
}

/// The address without port and brackets; a client of the unix socket has none.
fn peer_ip(client: &Client) -> Option<&str> {
    let (ip, _) = client.addr.rsplit_once(':').filter(|_| !client.unix)?;
    Some(ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip))
}

/// A filter: every term must match, or not match where it is negated.
#[derive(Default)]
pub(super) struct ClientFilter<'a> {
    terms: Vec<(bool, Term<'a>)>,
    skip_me: Option<bool>,
}

impl<'a> ClientFilter<'a> {
    /// Reads all arguments that are left. Errors: a syntax error, or the texts of Valkey for a value out of its range.
    pub(super) fn read(ctx: &Context<'_>, args: &mut Args<'a>) -> Result<ClientFilter<'a>, CommandError> {
        // Only behind another filter may ID stand without a number; the other names miss their value where they read it.
        if args.remaining() == 1 {
            return Err(CommandError::Syntax);
        }
        let mut filter = ClientFilter::default();
        while args.remaining() > 0 {
            let name = args.bytes()?.to_ascii_lowercase();
            match name.as_slice() {
                b"skipme" => filter.skip_me = Some(read_yes(args)?),
                name => {
                    let base = name.strip_prefix(b"not-");
                    let term = read_term(ctx, base.unwrap_or(name), base.is_some(), args)?;
                    filter.put(base.is_some(), term);
                }
            }
        }
        Ok(filter)
    }

    fn put(&mut self, negated: bool, term: Term<'a>) {
        let same = |other: &&mut (bool, Term<'a>)| other.0 == negated && discriminant(&other.1) == discriminant(&term);
        match self.terms.iter_mut().find(same).map(|(_, term)| term) {
            None => self.terms.push((negated, term)),
            Some(earlier) => match (earlier, term) {
                (Term::Ids(ids), Term::Ids(more)) => ids.extend(more),
                (earlier, term) => *earlier = term,
            },
        }
    }

    /// Whether a client passes; `skip_me` unless the filter says otherwise.
    pub(super) fn matches(&self, ctx: &Context<'_>, client: &Client, skip_me: bool) -> bool {
        if self.skip_me.unwrap_or(skip_me) && client.id == ctx.session.client.id {
            return false;
        }
        self.terms.iter().all(|(negated, term)| term.matches(ctx, client) != *negated)
    }
}

fn read_yes(args: &mut Args<'_>) -> Result<bool, CommandError> {
    if args.word("yes") {
        Ok(true)
    } else if args.word("no") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

fn read_term<'a>(ctx: &Context<'_>, name: &[u8], negated: bool, args: &mut Args<'a>) -> Result<Term<'a>, CommandError> {
    Ok(match name {
        b"id" => Term::Ids(read_ids(args)?),
        b"type" => Term::Type(ClientType::read(args.bytes()?)?),
        b"user" => read_user(args.bytes()?)?,
        b"addr" => Term::Addr(args.bytes()?),
        b"laddr" => Term::Laddr(args.bytes()?),
        b"ip" => Term::Ip(args.bytes()?),
        b"name" => Term::Name(args.bytes()?),
        b"lib-name" => Term::LibName(args.bytes()?),
        b"lib-ver" => Term::LibVer(args.bytes()?),
        b"flags" => Term::Flags(read_letters(args.bytes()?, describe::FLAG_LETTERS, "flags", negated)?),
        b"capa" => Term::Capabilities(read_letters(args.bytes()?, describe::CAPABILITY_LETTERS, "capa", negated)?),
        b"db" => Term::Db(read_db(ctx, args.bytes()?, negated)?),
        b"maxage" if !negated => Term::MinAge(read_seconds(args.bytes()?, "maxage")?),
        b"idle" if !negated => Term::MinIdle(read_seconds(args.bytes()?, "idle")?),
        _ => return Err(CommandError::Syntax),
    })
}

/// Takes numbers as long as there are some; none at all is a filter that no id passes.
fn read_ids(args: &mut Args<'_>) -> Result<BTreeSet<i64>, CommandError> {
    let mut ids = BTreeSet::new();
    while let Some(id) = args.peek().and_then(number::parse_i64) {
        if id < 1 {
            return Err(BAD_ID);
        }
        ids.insert(id);
        args.bytes()?;
    }
    Ok(ids)
}

fn read_user(name: &[u8]) -> Result<Term<'static>, CommandError> {
    if name == DEFAULT_USER { Ok(Term::DefaultUser) } else { Err(quoting("ERR No such user '", name, "'")) }
}

fn read_letters<'a>(given: &'a [u8], known: &[u8], what: &str, negated: bool) -> Result<&'a [u8], CommandError> {
    if given.iter().all(|letter| known.contains(letter)) {
        return Ok(given);
    }
    let place = if negated { format!("NOT-{}", what.to_ascii_uppercase()) } else { "provided".to_owned() };
    Err(quoting(&format!("ERR Unknown {what} found in the {place} filter: "), given, ""))
}

fn read_db(ctx: &Context<'_>, given: &[u8], negated: bool) -> Result<i64, CommandError> {
    let name = if negated { "NOT-DB" } else { "DB" };
    let db = number::parse_i64(given).filter(|db| i32::try_from(*db).is_ok());
    let db = db.ok_or_else(|| format!("ERR {name} is not an integer or out of range"))?;
    let databases = ctx.shared.keyspace.databases();
    if usize::try_from(db).is_ok_and(|db| db < databases) {
        return Ok(db);
    }
    Err(format!("ERR {name} number should be between 0 and {}", databases.saturating_sub(1)).into())
}

fn read_seconds(given: &[u8], what: &str) -> Result<i64, CommandError> {
    let seconds = number::parse_i64(given).ok_or_else(|| format!("ERR {what} is not an integer or out of range"))?;
    if seconds < 1 {
        return Err(format!("ERR {what} should be greater than 0").into());
    }
    Ok(seconds)
}
